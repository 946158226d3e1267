"""Which tests hold each row of the reference page: no row without one, and none that is not there.

A line of ``rows.txt`` is the beginning of a row's first cell, or behind ``>`` that of a paragraph outside of the
tables, and, behind the bar, tests as FILE:TEST without their ``test_``; a name that stands alone is of the file before
it. ``cpp`` names a file of the core's tests, ``lsst`` the one that needs lsst-pipe-base. Lines are in the order of the
page.
"""

import ast
import functools
import re
from pathlib import Path

import pytest
from referencePage import ROOT, ROWS, readParagraphs

WHOLE = {
    "Where the names live": "names:namesAreWhereTheReferencePageSays frontPageIsThatOfTheReference",
    "How a difference is graded": "quality:referencePageHasTheLimits ruleAtItsLimits gradeIsThatOfTheWorstFigure",
    # Figures that were measured: the page names program and day.
    "The bases compared": "referenceBeyond:programsThatMeasured",
}
"""Sections of which every row is held by the same tests."""
MEASURED = ("variance ratio", "correction")

LINES = (Path(__file__).parent / "rows.txt").read_text()


@functools.cache
def namesIn(name):
    """Return the names of the tests in the file of a name."""
    file = "test_pipeBase.py" if name == "lsst" else f"test_{name}.py"
    (path,) = (ROOT / "tests").rglob(file)
    found = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    return {function.removeprefix("test_") for function in found if function.startswith("test_")}


def checked(words):
    """Assert that each test of a line exists, and return how many there are."""
    names, file = words.split(), ""
    for name in names:
        *before, test = name.split(":")
        file = before[0] if before else file
        if file == "cpp":
            assert (ROOT / "tests" / "cpp" / f"test_{test}.cpp").is_file(), name
        else:
            assert test in namesIn(file), f"{file}:{test}"
    return len(names)


def linesOf(section):
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)\n(?=\n|\Z)", LINES, re.MULTILINE | re.DOTALL)
    return [tuple(part.strip() for part in line.split(" | ")) for line in text.splitlines()]


PARAGRAPHS = readParagraphs()
SECTIONS = list(dict.fromkeys(row.section for row in ROWS))


def rowsToHold(section):
    """Return the rows that need a test of their own: figures that were measured and plain defaults are held as such."""
    rows = [row for row in ROWS if row.section == section and row.header[: len(MEASURED)] != MEASURED]
    return [row for row in rows if row.cells[2:] != ("",) or row.header[:2] != ("field", "default")]


@pytest.mark.parametrize("section", SECTIONS)
def test_everyRowHasItsTests(section):
    if section in WHOLE:
        assert checked(WHOLE[section]) > 0
        return
    rows, lines = rowsToHold(section), [line for line in linesOf(section) if not line[0].startswith(">")]
    for row, (beginning, tests) in zip(rows, lines, strict=False):
        assert row.words.startswith(beginning), f"{row.words!r} is no {beginning!r}"
        assert checked(tests) > 0
    assert len(rows) == len(lines), [row.words for row in rows[len(lines) :]] or lines[len(rows) :]


@pytest.mark.parametrize("section", SECTIONS)
def test_everyParagraphHasItsTests(section):
    paragraphs = [words.replace("`", "") for title, words in PARAGRAPHS if title == section]
    lines = [line for line in linesOf(section) if line[0].startswith("> ")] if paragraphs else []
    for words, (beginning, tests) in zip(paragraphs, lines, strict=True):
        assert words.startswith(beginning.removeprefix("> ")), f"{words[:60]!r} is no {beginning!r}"
        assert checked(tests) > 0


def test_everyLineIsOfTheSections():
    named = re.findall(r"^## (.+)$", LINES, re.MULTILINE)
    assert set(named) | set(WHOLE) == set(SECTIONS)
    assert {title for title, _ in PARAGRAPHS} - set(SECTIONS) == {PARAGRAPHS[0][0]}
    assert LINES.count("\n> ") > 20
    with pytest.raises(AssertionError, match="warper:noSuchTest"):
        checked("warper:cacheSize noSuchTest")
