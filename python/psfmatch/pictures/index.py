"""The index of a directory of reports or of a batch: all pairs, those that failed first, then the worst."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psfmatch.errors import InputImagesError
from psfmatch.io import requireNew, writeWhole
from psfmatch.messages import advice
from psfmatch.pairRecords import PairRecord, hasLedger, readLedgers
from psfmatch.reporting.markup import Markup, badge, escape, page, section, table, tell
from psfmatch.reporting.numbers import FORMAT, VERDICTS

__all__ = ["requireIndexPath", "writeIndex"]

log = logging.getLogger("psfmatch.reporting")

MARK = "<!-- psfmatch index -->"
"""By which a page of ours is known, which may be made anew."""

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
HEADINGS = ("", "pair", "worst reason", "changes", *(heading for _, heading in FIGURES))
NUMERIC = range(3, len(HEADINGS))


@dataclass(frozen=True)
class _Pair:
    """A pair whose numbers are there: its name, the directory of its files, the numbers, its row in the ledger."""

    name: str
    folder: Path
    numbers: dict[str, Any]
    record: PairRecord | None


def writeIndex(
    directory: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, overwrite: bool = True
) -> dict[str | None, int]:
    """Write an index page over all reports (``*.json`` of `writeNumbers`) of a directory, and all pairs of its ledgers.

    Parameters
    ----------
    directory
        Where the reports are, or the outputs of a batch; other files in it are left alone.
    path
        Of the page; by default index.html in the directory.
    overwrite
        Whether a file of this name may be replaced.

    Returns
    -------
    counts : dict
        How many pairs have each grade; None: without a grade. Pairs that failed have none and are not counted.

    Raises
    ------
    FileExistsError
        If there is such a file and ``overwrite`` is false.
    InputImagesError
        If there is neither a report nor a ledger.
    OSError
        If the directory cannot be read or the page cannot be written.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no directory")
    target = folder / "index.html" if path is None else Path(path)
    if not overwrite:
        requireNew(target)
    records = readLedgers(folder) if hasLedger(folder) else ()
    found, spoilt = _read(folder, records)
    if not found and not spoilt and not records:
        raise InputImagesError(f"{folder} holds no report: psfmatch batch and psfmatch report write NAME.json files")
    base = target.resolve().parent
    failed = [record for record in records if record.state == "failed"]
    unfinished = [record for record in records if record.state in ("pending", "running")]
    counts = {grade: sum(pair.numbers.get("grade") == grade for pair in found) for grade in WORST_FIRST}
    parts = [_failedSection(failed, folder, base)] if failed else []
    if unfinished:
        rows = [(record.name, record.state, record.template, record.science) for record in unfinished]
        parts.append(section("unfinished", "Not done", table(("pair", "state", "template", "science"), rows)))
    for grade in WORST_FIRST:
        chosen = [pair for pair in found if pair.numbers.get("grade") == grade]
        if chosen:
            verdict = "Not graded." if grade is None else VERDICTS[grade]
            rows = [_row(pair, base) for pair in chosen]
            parts.append(
                section(f"grade{grade or 'None'}", f"{grade or '?'}: {verdict}", table(HEADINGS, rows, NUMERIC))
            )
    if spoilt:
        parts.append(section("spoilt", "Could not be read", table(("file", "why"), spoilt)))
    title = f"{len(found) + len(failed) + len(unfinished)} pairs in {folder.resolve().name}"
    content = f"{MARK}\n<h1>{escape(title)}</h1>\n<p>{_counts(failed, unfinished, counts)}</p>\n" + "\n".join(parts)
    footer = (
        "Failed pairs first, then the worst; the figures are those of each report. Changes: how many were found, a "
        "dash where they were not looked for. Small pictures: the two images of one PSF, and the difference in units "
        "of its noise."
    )
    writeWhole(target, page(title, "", content, footer).encode())
    return {grade: number for grade, number in counts.items() if number}


def requireIndexPath(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise FileExistsError where an index would replace a file that is none; an older index is made anew."""
    target = Path(path)
    if overwrite or not target.exists():
        return
    if MARK not in target.read_text(encoding="utf-8", errors="replace"):
        how = advice("pass overwrite=True", "add --overwrite")
        raise FileExistsError(f"{target} exists already and is no index of psfmatch; {how} to replace it")


def _counts(failed: Sequence[PairRecord], unfinished: Sequence[PairRecord], counts: dict[str | None, int]) -> str:
    """Return in a line how many pairs there are of each kind."""
    told = [f'<a href="#failed">{badge("failed")}</a> {len(failed)} &ensp;'] if failed else []
    if unfinished:
        told.append(f'<a href="#unfinished">{badge("not done")}</a> {len(unfinished)} &ensp;')
    told += [
        f'<a href="#grade{grade or "None"}">{badge(grade)}</a> {number} &ensp;'
        for grade, number in counts.items()
        if number
    ]
    return " ".join(told)


def _failedSection(failed: Sequence[PairRecord], folder: Path, base: Path) -> str:
    """Return the pairs that failed, each with the reason and its log."""
    rows = [
        (
            record.name,
            f"{record.errorType}: {record.errorMessage}" if record.errorType else record.errorMessage or "unknown",
            record.template,
            record.science,
            _link(folder / f"{record.name}.log", base, "log"),
        )
        for record in failed
    ]
    return section("failed", "Failed", table(("pair", "why", "template", "science", ""), rows))


def _read(folder: Path, records: Sequence[PairRecord]) -> tuple[list[_Pair], list[tuple[str, str]]]:
    """Return reports by their names, in the sequence of these, and files that cannot be read with the reason.

    Of pairs that a ledger knows those are left out that are not done: what lies there is of an earlier run.
    """
    known = {record.name: record for record in records}
    places = {file.stem: file for file in folder.glob("*.json") if file.stem not in known}
    places |= {r.name: folder / (r.folder or "") / f"{r.name}.json" for r in records if r.state == "done"}
    found, spoilt = [], []
    for name, file in sorted(places.items()):
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
                found.append(_Pair(name, file.parent, numbers, known.get(name)))
        elif name in known:
            spoilt.append((file.name, "holds no numbers of a report"))
    return found, spoilt


def _row(pair: _Pair, base: Path) -> tuple[Any, ...]:
    """Return a row; the name is a link where there is a page."""
    quality = pair.numbers.get("quality") or {}
    reasons = [*(pair.numbers.get("failedGates") or ()), *(pair.numbers.get("reasons") or ()), ""]
    if pair.record is not None and pair.record.folder:
        reasons[0] = f"set apart in {pair.record.folder}: {reasons[0]}"
    changes = (pair.numbers.get("detections") or {}).get("nDetections")
    picture = pair.folder / f"{pair.name}.png"
    small = (
        f'<img src="{_address(picture, base)}" alt="{escape(pair.name)}" loading="lazy">' if picture.exists() else ""
    )
    return (
        Markup(small),
        _link(pair.folder / f"{pair.name}.html", base, pair.name),
        str(reasons[0]),
        changes if changes is not None or pair.record is None else pair.record.nDetections,
        *(tell(quality.get(figure)) for figure, _ in FIGURES),
    )


def _link(file: Path, base: Path, words: str) -> str:
    """Return words that lead to a file, if it is there."""
    return Markup(f'<a href="{_address(file, base)}">{escape(words)}</a>') if file.exists() else words


def _address(file: Path, base: Path) -> str:
    return escape(quote("./" + Path(os.path.relpath(file.resolve(), base)).as_posix()))
