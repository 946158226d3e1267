"""The index of a directory of reports: a table of all pairs, the worst first."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psfmatch.errors import InputImagesError
from psfmatch.io import writeWhole
from psfmatch.reporting.markup import Markup, badge, escape, page, section, table, tell
from psfmatch.reporting.numbers import FORMAT, VERDICTS

__all__ = ["writeIndex"]

log = logging.getLogger("psfmatch.reporting")

WORST_FIRST = ("F", "D", "C", "B", "A", None)
FIGURES = (
    ("noiseRobustStdev", "sky / noise"),
    ("sourceRobust", "sources / noise"),
    ("residualShiftPix", "shift left, px"),
    ("lag1", "correlation"),
    ("kernelSum", "kernel sum"),
    ("nUsed", "used"),
    ("nSources", "judged"),
)


def writeIndex(directory: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> dict[str | None, int]:
    """Write an index page over all reports (``*.json`` of `writeNumbers`) of a directory.

    Parameters
    ----------
    directory
        Where the reports are; other files in it are left alone.
    path
        Of the page; by default index.html in the directory.

    Returns
    -------
    counts : dict
        How many pairs have each grade; None: without a grade.

    Raises
    ------
    InputImagesError
        If there is no report.
    OSError
        If the directory cannot be read or the page cannot be written.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no directory")
    target = folder / "index.html" if path is None else Path(path)
    found, spoilt = _read(folder)
    if not found and not spoilt:
        raise InputImagesError(f"{folder} holds no report: psfmatch batch and psfmatch report write NAME.json files")
    base = os.path.relpath(folder.resolve(), target.resolve().parent)
    counts = {grade: sum(numbers.get("grade") == grade for _, numbers in found) for grade in WORST_FIRST}
    parts = []
    for grade in WORST_FIRST:
        chosen = [(name, numbers) for name, numbers in found if numbers.get("grade") == grade]
        if chosen:
            verdict = "Not graded." if grade is None else VERDICTS[grade]
            rows = [_row(folder, base, name, numbers) for name, numbers in chosen]
            headings = ("pair", "worst reason", *(heading for _, heading in FIGURES))
            parts.append(
                section(
                    f"grade{grade or 'None'}",
                    f"{grade or '?'}: {verdict}",
                    table(headings, rows, range(2, 2 + len(FIGURES))),
                )
            )
    if spoilt:
        rows = [(name, why) for name, why in spoilt]
        parts.append(section("spoilt", "Could not be read", table(("file", "why"), rows)))
    summary = " ".join(
        f'<a href="#grade{grade or "None"}">{badge(grade)}</a> {number} &ensp;'
        for grade, number in counts.items()
        if number
    )
    title = f"{len(found)} pairs in {folder.resolve().name}"
    content = f"<h1>{escape(title)}</h1>\n<p>{summary}</p>\n" + "\n".join(parts)
    writeWhole(target, page(title, "", content, "Worst first; the figures are those of each report.").encode())
    return {grade: number for grade, number in counts.items() if number}


def _read(folder: Path) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, str]]]:
    """Return reports by their names, in the sequence of these, and files that cannot be read with the reason."""
    found, spoilt = [], []
    for file in sorted(folder.glob("*.json")):
        try:
            numbers = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read: %s", file, error)
            spoilt.append((file.name, f"{type(error).__name__}: {error}"))
            continue
        if isinstance(numbers, dict) and numbers.get("format") == FORMAT:
            if numbers.get("grade") not in WORST_FIRST:
                spoilt.append((file.name, f"grade {numbers.get('grade')!r} is unknown"))
            else:
                found.append((file.stem, numbers))
    return found, spoilt


def _row(folder: Path, base: str, name: str, numbers: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row; the name is a link where there is a page."""
    hasPage = (folder / f"{name}.html").exists()
    link = quote(f"{base}/{name}.html")
    shown = Markup(f'<a href="{escape(link)}">{escape(name)}</a>') if hasPage else name
    quality = numbers.get("quality") or {}
    reasons = numbers.get("reasons") or [""]
    return (shown, str(reasons[0]), *(tell(quality.get(figure)) for figure, _ in FIGURES))
