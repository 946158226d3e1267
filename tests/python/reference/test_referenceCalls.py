"""Calls that the reference page writes out: the names exist, with these arguments in this order and these defaults."""

import ast
import inspect
import re
from importlib import import_module

import pytest
from referencePage import HOMES, TEXT, codes

from psfmatch import _core
from psfmatch.config.task import Task

# What the page says of objects that a user brings, of the reference's own functions, and of other packages.
OTHERS = """
getAveragePosition getX getY getCentroid getSource getPsfInstFlux run getPsfFwhm trace_set_at
""".split()  # noqa: SIM905
USES = ["Warper(badPlanes=())", "CandidateFitControl(covariance=True)"]
"""Calls with values that are not the defaults."""
CALLS = [code for code in codes(TEXT) if re.fullmatch(r"[\w.]+\(.*\)", code)]
PUBLIC = {name: getattr(import_module(home), name) for name, home in HOMES.items()}
CLASSES = [value for value in PUBLIC.values() if isinstance(value, type)]
PACKAGES = [import_module(home) for home in dict.fromkeys(HOMES.values())]
PLACES = [*PACKAGES, Task, _core, *CLASSES]
INSTANCES = {
    "result": PUBLIC["SubtractionResult"],
    "kernel": PUBLIC["LinearCombinationKernel"],
    "background": PUBLIC["SpatialFunction2D"],
    "candidate": PUBLIC["KernelCandidate"],
    "kernelSolution": PUBLIC["KernelSolution"],
}


def placesOf(name):
    """Return what a dotted name may stand for."""
    *owners, last = name.removeprefix("psfmatch.").split(".")
    places = PLACES
    if owners:
        owner = owners[-1]
        known = INSTANCES | PUBLIC | {place.__name__.removeprefix("psfmatch."): place for place in (*PACKAGES, _core)}
        places = [known[owner]]
    return [getattr(place, last) for place in places if hasattr(place, last)]


def argumentsOf(call):
    """Return the names of a call with their defaults, as far as these are written out."""
    source = re.sub(r"=(?=[,)])", "=...", call)
    parsed = ast.parse(source, mode="eval").body
    named = {}
    for argument in parsed.args:
        if isinstance(argument, ast.Name):
            named[argument.id] = ...
    for keyword in parsed.keywords:
        if keyword.arg is not None:
            named[keyword.arg] = keyword.value
    isPart = any(isinstance(a, ast.Constant) and a.value is ... for a in parsed.args)
    return named, isPart


def valueOf(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return {"DEBUG": 10}.get(ast.unparse(node), ...)


def misfit(called, call):
    """Return what the signature of `called` says otherwise, or None."""
    try:
        parameters = inspect.signature(called).parameters
    except ValueError:
        # The core's functions tell their signature in words; its options are the attributes of their classes.
        told = dir(called) if isinstance(called, type) else re.findall(r"\w+", inspect.getdoc(called).splitlines()[0])
        missing = set(argumentsOf(call)[0]) - set(told)
        return f"lacks {missing}" if missing else None
    own = [name for name in parameters if name not in ("self", "cls")]
    named, isPart = argumentsOf(call)
    if strange := [name for name in named if name not in own]:
        return f"has no {strange}: {own}"
    byPosition = [name for name in named if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    if not isPart and byPosition and not call.endswith("=)") and byPosition != own[: len(byPosition)]:
        return f"has another order: {own}"
    for name, node in named.items():
        if call in USES:
            continue
        if node is not ... and valueOf(node) is not ... and parameters[name].default != valueOf(node):
            return f"{name} is by default {parameters[name].default!r}"
    return None


@pytest.mark.parametrize("call", CALLS)
def test_calls(call):
    name = call.split("(")[0]
    if name.split(".")[-1] in OTHERS:
        return
    found = placesOf(name)
    assert found, f"nothing is called {name}"
    misfits = [misfit(called, call) for called in found if callable(called)]
    assert None in misfits or not misfits, misfits
