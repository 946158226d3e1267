"""The pages say what works: their Python runs, their commands exist, their links lead somewhere."""

import argparse
import dataclasses
import re
import shlex
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import psfmatch
from psfmatch.cli.command import _parser
from psfmatch.config import listFields
from psfmatch.quality import RULES, Quality
from psfmatch.testing import simulatePair

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"seed": 3, "size": 200, "brightStars": 300, "transients": (60.0, -40.0)}
PAGES = sorted((ROOT / "docs").glob("*.md"))


def blocks(path, language):
    """Return the code blocks of a page; those that are not to be run are ``{code-block}``."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the two images that all pages speak of."""
    folder = tmp_path_factory.mktemp("pages")
    pair = simulatePair(**SMALL)
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "science.fits")
    return folder


@pytest.fixture(scope="module")
def result(folder):
    return psfmatch.subtract(folder / "template.fits", folder / "science.fits", threads=1)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_pythonRuns(page, folder, result, monkeypatch, capsys):
    """Blocks run one after the other; subtractions without a configuration of the page's own are made once."""
    subtract = psfmatch.subtract

    def front(template, science, *, config=None, **options):
        return subtract(template, science, config=config, **options) if config is not None else result

    monkeypatch.chdir(folder)
    monkeypatch.setattr(psfmatch, "subtract", front, raising=False)
    monkeypatch.setattr("psfmatch.testing.simulatePair", lambda **options: simulatePair(**options | SMALL))
    names = {}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    if page.stem == "tutorial":
        # The difference that is stored, applied, repeated: one and the same.
        expected = names["result"].difference.image
        np.testing.assert_array_equal(names["again"].difference.image, expected)
        np.testing.assert_array_equal(names["repeated"].difference.image, expected)
        printed = capsys.readouterr().out
        assert names["result"].grade in printed
        assert len(names["changes"]) >= 2


def optionsOf(parser):
    """Return the options of a parser, and of its commands by name."""
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    return {name: set(command._option_string_actions) for name, command in commands.items()}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_commandsAndOptionsExist(page):
    known = optionsOf(_parser())
    # What HOTPANTS takes is its own matter.
    known["hotpants"] = None
    said = re.findall(r"^\$ psfmatch (.+?)\s*(?:#.*)?$", page.read_text(), re.MULTILINE)
    said += re.findall(r"`psfmatch ([a-z]+[^`]*)`", page.read_text())
    for words in map(shlex.split, said):
        command = words[0]
        assert command in known, f"{page.name}: psfmatch {command}"
        options = [word for word in words[1:] if re.match(r"--?[a-zA-Z]", word)]
        assert known[command] is None or set(options) <= known[command], f"{page.name}: psfmatch {' '.join(words)}"


def test_fieldsInThePagesExist():
    paths = {field.path for field in listFields(psfmatch.frontDoorConfig())}
    for page in PAGES:
        for path in re.findall(r"-c ((?:kernel\.active|selectDetection)\.\w+)=", page.read_text()):
            assert path in paths, f"{page.name}: {path}"


def test_namesInThePagesArePublic():
    for page in PAGES:
        for place, name in re.findall(r"\{py:obj\}`(psfmatch(?:\.[a-z]\w*)?)\.(\w+)`", page.read_text()):
            assert name in import_module(place).__all__, f"{page.name}: {place}.{name}"


def test_pagesAreInTheSite():
    told = (ROOT / "docs" / "index.md").read_text()
    hidden = "".join(re.findall(r"```\{toctree\}(.*?)```", told, re.DOTALL)).split()
    assert {page.stem for page in PAGES} - {"index"} <= set(hidden)


def test_figuresInThePageAreThoseOfTheQuality():
    figures = {field.name for field in dataclasses.fields(Quality)}
    text = (ROOT / "docs" / "report.md").read_text()
    paragraphs = re.findall(r"^\*\*[^*]+\*\* \(([^)]*)\)", text, re.MULTILINE)
    assert len(paragraphs) >= 9
    named = set(re.findall(r"`(\w+)`", " ".join(paragraphs)))
    assert named <= figures
    # Every figure that has a limit is told.
    told = set(re.findall(r"`(\w+)`", text))
    derived = {"remainingExcess": "remainingFraction", "fluxMeanSize": "fluxMean"}
    assert {derived.get(rule.figure, rule.figure) for rule in RULES} <= told
