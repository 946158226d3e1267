"""What objects tell of themselves is short, whatever they hold."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest
from astropy.table import Table
from reference.referencePage import HOMES

from psfmatch import ImagePsfMatchTask, applyKernel, subtract
from psfmatch.config import Struct
from psfmatch.config.brief import Brief, briefly, fieldsBriefly
from psfmatch.config.equality import ByValue
from psfmatch.difference import StoredKernel, SubtractionRecipe
from psfmatch.kernels import Chebyshev2D
from psfmatch.testing import simulatePair

MOST = 1000


def reachable(thing, depth=6):
    """All objects of ours that a thing holds, itself too, in lists, tuples and mappings as well."""
    found, seen, todo = [], {}, [(thing, depth)]
    while todo:
        each, left = todo.pop()
        if id(each) in seen or left < 0:
            continue
        seen[id(each)] = each  # held, so that no other object gets its number
        isOurs = (type(each).__module__ or "").startswith("psfmatch.")
        if isOurs:
            found.append(each)
        if isinstance(each, dict):
            todo += [(value, left - 1) for value in list(each.values())[:50]]
        elif isinstance(each, list | tuple):
            todo += [(value, left - 1) for value in each[:20]]
        elif isOurs and hasattr(each, "__dict__"):
            todo += [(value, left - 1) for value in vars(each).values()]
    return found


@pytest.fixture(scope="module")
def everything():
    pair = simulatePair(seed=3, size=256)
    result = subtract(pair.template, pair.science, threads=1)
    task = ImagePsfMatchTask(threads=1)
    recipe = SubtractionRecipe(convolved="template", divisor=1.0, shape=pair.science.shape, xy0=(0, 0))
    stored = StoredKernel(result.kernel, result.background, recipe)
    return {
        "pair": pair,
        "result": result,
        "score": result.score,
        "task": task,
        "struct": task.subtractExposures(pair.template, pair.science),
        "cells": next(iter(task.matchExposures(pair.template, pair.science).kernelCellSet)),
        "stored": stored,
        "applied": applyKernel(stored, pair.template, pair.science),
        "function": Chebyshev2D(np.arange(10) / 7.0, (0.0, 0.0, 1.0, 1.0)),
    }


def test_allAreShort(everything):
    objects = [each for thing in everything.values() for each in reachable(thing)]
    names = {type(each).__name__ for each in objects}
    assert {
        *("SubtractionResult", "Exposure", "MaskedImage", "Mask", "LinearCombinationKernel", "KernelSolution"),
        *("Decorrelation", "SubtractionRecipe", "StoredKernel", "KernelCandidate", "SpatialCell", "SpatialCellSet"),
        *(
            "Struct",
            "KernelFit",
            "RunOptions",
            "KernelOptions",
            "Score",
            "TaskMetadata",
            "Alignment",
            "Choice",
            "Quality",
        ),
    } <= names
    # Configurations tell all their fields as those of every LSST task do: as what makes them again.
    ours = [each for each in objects if not hasattr(each, "_fields")]
    long = {type(each).__name__: len(repr(each)) for each in ours if len(repr(each)) >= MOST}
    assert not long
    assert all(len(repr(each).splitlines()) <= 6 for each in ours)


def test_publicClassesThatHoldPixelsAreBrief():
    """A public dataclass tells fields that may be arrays only by way of `Brief`, or has its own words."""
    public = [getattr(import_module(home), name) for name, home in HOMES.items()]
    classes = [each for each in public if isinstance(each, type)]
    words = "Array", "Table", "Exposure"
    holders = [
        each
        for each in classes
        if dataclasses.is_dataclass(each)
        and any(word in str(field.type) for field in dataclasses.fields(each) for word in words)
    ]
    assert len(holders) >= 5
    # Where the function was written that a class tells of itself by.
    assert not {each.__name__ for each in holders if each.__repr__.__code__.co_filename.endswith("dataclasses.py")}
    assert all(issubclass(each, Brief) for each in holders)


def test_result(everything):
    lines = repr(everything["result"]).splitlines()
    assert lines[0] == f"SubtractionResult: grade {everything['result'].grade}, the template convolved"
    assert [line.split()[0] for line in lines[1:]] == ["difference", "kernel", "background", "candidates"]
    assert repr(everything["struct"]).startswith("Struct(matchedImage=MaskedImage(256x256 pixels from (0, 0))")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros((3, 4), dtype=np.float32), "<float32 3x4>"),
        (Table({"x": [1.0], "y": [2.0]}), "<table of 1 rows, 2 columns>"),
        (1.0 / 3.0, "0.333333"),
        ({"a": 1}, "<1 values>"),
        ((1, 2), "(1, 2)"),
        (tuple(range(9)), "<9 items>"),
        ("a" * 100, "'" + "a" * 56 + "..."),
        (np.float64(2.0), "2"),
    ],
)
def test_briefly(value, told):
    assert briefly(value) == told


@dataclasses.dataclass(frozen=True, eq=False)
class Holder(ByValue):
    pixels: np.ndarray
    name: str = ""
    more: tuple = ()
    hidden: float | None = None


class Named(Holder):
    def __repr__(self):
        return "its own words"


def test_fields():
    assert repr(Holder(np.ones(5))) == "Holder(pixels=<float64 5>)"
    assert repr(Holder(np.ones(5), "a", (1,), 2.0)) == "Holder(pixels=<float64 5>, name='a', more=(1,), hidden=2)"
    assert repr(Named(np.ones(5))) == "its own words"
    assert fieldsBriefly(Struct(**{f"n{i}": i for i in range(40)})).endswith("n13=13, ... 26 more)")
    assert len(fieldsBriefly(Struct(**{f"n{i}": "b" * 80 for i in range(14)}))) <= 900
