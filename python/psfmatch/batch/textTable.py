"""Rows of a table in a text file, as people and spreadsheets write them.

Bytes in UTF-8, UTF-16 or a Western code page, with or without a byte-order mark; lines that end in any way; commas,
semicolons, tabs, vertical bars or blanks between the entries, and more of them at the end; quotes or none; empty lines,
comments, titles above the header. The separator is that which makes a header of the line with all needed names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection

__all__ = ["decodeText", "normalName", "textRows"]

SEPARATORS = (",", ";", "\t", "|", " ")
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def normalName(name: object) -> str:
    """Return the name of a column in lower case, with _ in place of blanks and dashes."""
    return re.sub(r"[\s-]+", "_", str(name).strip()).lower()


def decodeText(content: bytes) -> str | None:
    """Return the text of a file, None if it holds none."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        # What a spreadsheet of western Europe writes; there the first half is ASCII, too.
        return content.decode("cp1252", errors="replace")


def textRows(text: str, needed: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Return names and rows, all entries without blanks around them.

    Parameters
    ----------
    text
        Of the whole file.
    needed
        Names, in normal form, that the header has to have.

    Raises
    ------
    LookupError
        If there is no such header.
    ValueError
        If a row does not fit to it.
    """
    lines = [line.strip(" ") for line in re.split(r"\r\n|\r|\n", text)]
    start, separator, names = _findHeader(lines, needed)
    kept = [index for index, name in enumerate(names) if name]
    rows = []
    for number, line in enumerate(lines[start:], start + 1):
        row = [] if line.startswith("#") else _entries(line, separator)
        if not any(row) or all(re.fullmatch(r"[-=]{2,}", entry) for entry in row):
            continue  # empty, or a rule below the header
        while len(row) > len(names) and not row[-1]:
            row.pop()
        if len(row) > len(names):
            row = _rejoined(row, separator)
        if len(row) > len(names) or (len(row) < len(names) and separator in " |"):
            raise ValueError(f"line {number} has {len(row)} entries, but the header has {len(names)}: {line!r}")
        row += [""] * (len(names) - len(row))
        rows.append([row[index] for index in kept])
    return [names[index] for index in kept], rows


def _findHeader(lines: list[str], needed: Collection[str]) -> tuple[int, str, list[str]]:
    """Return the index of the line after the header, the separator, and the names; a comment is one if no other is."""
    for number, line in sorted(enumerate(lines, 1), key=lambda numbered: numbered[1].startswith("#")):
        for separator in SEPARATORS:
            names = _entries(line.lstrip(" #"), separator)
            if set(needed) <= set(map(normalName, names)):
                return number, separator, names
    raise LookupError(f"no line names the columns {' and '.join(sorted(needed))}")


def _entries(line: str, separator: str) -> list[str]:
    if separator == " ":
        line = " ".join(line.split())
    if separator == "|" and line.startswith("|"):
        line = line.removeprefix("|").removesuffix("|")
    return [entry.strip() for entry in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def _rejoined(row: list[str], separator: str) -> list[str]:
    """Return a row with ``file.fits[SCI,1]`` in one piece, where nobody has quoted it."""
    joined: list[str] = []
    for entry in row:
        if joined and joined[-1].count("[") > joined[-1].count("]"):
            joined[-1] += separator + entry
        else:
            joined.append(entry)
    return joined
