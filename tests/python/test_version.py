"""The version is written once, in pyproject.toml; the package, its compiled core and the changelog follow it."""

import re
import tomllib
from pathlib import Path

import psfmatch
import psfmatch._core

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_packageAndCoreHaveTheVersionOfPyproject() -> None:
    assert psfmatch.__version__ == VERSION
    assert psfmatch._core.__version__ == VERSION


def test_noOtherFileOfTheBuildHoldsIt() -> None:
    holders = [ROOT / "CMakeLists.txt", *(ROOT / "cpp").rglob("*"), *(ROOT / "python").rglob("*.py")]
    assert not [
        path
        for path in [*holders, ROOT / "CITATION.cff"]
        if path.suffix != ".so" and path.is_file() and VERSION in path.read_text()
    ]


def test_changelogHasAnEntryForIt() -> None:
    assert re.search(rf"^## \[{re.escape(VERSION)}\] - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
