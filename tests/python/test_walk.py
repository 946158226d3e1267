"""The way of a template through `subtract`, as the contributor's page tells it, beside the one that it takes."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import psfmatch
from psfmatch import Exposure, MaskedImage
from psfmatch.testing import simulatePair

root = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
package = Path(psfmatch.__file__).parent
# The recipe and the tasks whose methods are its steps; what holds pixels; what everybody uses.
recipe = {"frontdoor", "tasks", "config", "threads", "errors"}
everywhere = recipe | {"images", "io", "pictures"}  # debug views draw nothing unless they are asked for
# They look at positions and candidates alone, or find that the template is registered already.
passing = {"toSourceTable", "candidateTable", "registerTemplate"}


def folderOf(frame):
    path = Path(frame.f_code.co_filename)
    return path.relative_to(package).parts[0].removesuffix(".py") if path.is_relative_to(package) else None


def holdsPixels(value):
    if isinstance(value, Exposure | MaskedImage):
        return True
    values = value.values() if isinstance(value, dict) else getattr(value, "__dict__", {}).values()
    return any(isinstance(each, Exposure | MaskedImage) for each in values)


@contextmanager
def recorded():
    """Record folder and function of every call that leaves the recipe with an image, and none below it."""
    steps, inside = [], []

    def watch(frame, event, _):
        if event == "call" and not inside:
            folder = folderOf(frame)
            if folder is None or folder in everywhere:
                return
            code = frame.f_code
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if any(holdsPixels(frame.f_locals.get(name)) for name in names):
                inside.append(frame)
                if code.co_name not in passing:
                    steps.append((folder, code.co_name))
        elif event == "return" and inside and frame is inside[-1]:
            inside.pop()

    sys.setprofile(watch)
    try:
        yield steps
    finally:
        sys.setprofile(None)


def toldSteps():
    """Return folder and functions of every row of the page's table."""
    page = (root / ".github" / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| \d+ \| `(\w+)` \| ([^|]*) \|", page, re.MULTILINE)
    return [(folder, re.findall(r"`(\w+)`", functions)) for folder, functions in rows]


def test_theWayOfATemplate():
    pair = simulatePair(seed=3, size=320)
    psfmatch.subtract(pair.template, pair.science, threads=1)  # what is imported late is imported now
    with recorded() as steps:
        result = psfmatch.subtract(pair.template, pair.science, threads=1)
    assert np.isfinite(result.difference.image).any()
    rooms = [folder for n, (folder, _) in enumerate(steps) if n == 0 or steps[n - 1][0] != folder]
    assert rooms == [folder for folder, _ in toldSteps()]
    assert len(set(rooms)) == len(rooms)  # none is entered twice
    assert len({*rooms, "frontdoor", "tasks"}) <= 8
    for folder, functions in toldSteps():
        called = dict.fromkeys(name for room, name in steps if room == folder)
        assert list(called) == functions, folder
