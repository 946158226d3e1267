"""The names of the package: what it gives when asked is what a type checker sees imported."""

import ast
from pathlib import Path

import pytest

import psfmatch


def test_namesForTypeCheckersAreThoseOfThePackage():
    tree = ast.parse(Path(psfmatch.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: (node.module or "").removeprefix("psfmatch.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == psfmatch._MODULE_OF


def test_whatProgramsMayImportIsWrittenOut():
    """What `mypy --strict` of a program counts as exported is a list of words, not one that is computed."""
    tree = ast.parse(Path(psfmatch.__file__).read_text())
    written = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    assert sorted(written) == sorted(["__version__", *psfmatch._MODULE_OF])


@pytest.mark.parametrize("name", psfmatch.__all__)
def test_everyNameIsThere(name):
    assert getattr(psfmatch, name) is not None
    assert name in dir(psfmatch)


def test_unknownName():
    with pytest.raises(AttributeError, match="module 'psfmatch' has no attribute 'subtrakt'"):
        _ = psfmatch.subtrakt
