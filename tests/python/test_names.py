"""The front page and the packages' own names: there when they are asked for, where the reference page says."""

from importlib import import_module
from importlib.machinery import SourcelessFileLoader

import pytest
from reference.referencePage import HOMES

import psfmatch
from psfmatch.config.later import laterNames

PACKAGES = ["config", "frontdoor", "tasks", "transients"]
"""Those whose names are imported when somebody asks for them."""


@pytest.mark.parametrize("name", psfmatch.__all__)
def test_everyNameIsThere(name):
    assert getattr(psfmatch, name) is not None
    assert name in dir(psfmatch)


def test_frontPageIsThatOfTheReference():
    assert sorted(psfmatch.__all__) == sorted(name for name, home in HOMES.items() if home == "psfmatch")
    assert len(psfmatch.__all__) <= 45


@pytest.mark.parametrize("name", HOMES)
def test_namesAreWhereTheReferencePageSays(name):
    package = import_module(HOMES[name])
    assert getattr(package, name) is not None
    assert name in package.__all__


@pytest.mark.parametrize("package", PACKAGES)
def test_namesOfAPackage(package):
    module = import_module(f"psfmatch.{package}")
    assert len(module.__all__) > 4
    assert len(set(module.__all__)) == len(module.__all__)
    assert None not in [getattr(module, name) for name in module.__all__]


def test_starImport():
    names = {}
    exec("from psfmatch import *", names)
    assert names["subtract"] is psfmatch.subtract
    assert set(psfmatch.__all__) <= set(names)


@pytest.mark.parametrize("module", ["psfmatch", "psfmatch.tasks"])
def test_unknownName(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'subtrakt'"):
        _ = import_module(module).subtrakt


def test_withoutItsTextAModuleSaysWhatIsMissing(monkeypatch):
    spec = import_module("psfmatch.tasks").__spec__
    monkeypatch.setattr(spec, "loader", SourcelessFileLoader("psfmatch.tasks", spec.origin))
    with pytest.raises(ImportError, match=r"the text of psfmatch\.tasks is missing"):
        laterNames.__wrapped__("psfmatch.tasks")("PsfMatchTask")
