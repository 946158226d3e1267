"""docs/reference.md, read: its sections, the tables in them, and the rows and cells of these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "reference.md").read_text()


@dataclass(frozen=True)
class Row:
    """A row of a table, below the heading of its section."""

    section: str
    header: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def words(self) -> str:
        """The first cell without its marks, and the second where the first is a dash: what a row is called."""
        first = self.cells[0].strip("-").strip() or self.cells[1]
        return first.replace("`", "")


def cellsOf(line: str) -> tuple[str, ...]:
    """Return the cells of a line of a table; an escaped bar divides nothing."""
    return tuple(cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def readRows(text: str = TEXT) -> list[Row]:
    """Return all rows of all tables, in the order of the page."""
    rows: list[Row] = []
    section, lines = "", text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("|---"):
            header = cellsOf(lines[number - 1])
            for following in lines[number + 1 :]:
                if not following.startswith("|"):
                    break
                rows.append(Row(section, header, cellsOf(following)))
    return rows


def readParagraphs(text: str = TEXT) -> list[tuple[str, str]]:
    """Return section and words of each paragraph outside of the tables, in the order of the page."""
    found: list[tuple[str, str]] = []
    section, words = "", ""
    for line in (*text.splitlines(), ""):
        if line and line[0] not in "#|":
            words = f"{words} {line}".lstrip()
            continue
        if words:
            found.append((section, words))
        words = ""
        if line.startswith("#"):
            section = line.lstrip("# ")
    return found


ROWS = readRows()


def rowsOf(section: str) -> list[Row]:
    """Return the rows below a heading; an error if there are none."""
    found = [row for row in ROWS if row.section == section]
    assert found, f"the page has no table below {section!r}"
    return found


def codes(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


HOMES = {name: codes(row.cells[0])[0] for row in rowsOf("Where the names live") for name in codes(row.cells[1])}
"""Of every public name of the page the module from which it is imported."""
