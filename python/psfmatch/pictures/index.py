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

from psfmatch.errors import InputImagesError, advice
from psfmatch.io import requireNew, writeWhole
from psfmatch.io.pairRecords import PairRecord, hasLedger, readLedgers
from psfmatch.pictures.markup import Markup, badge, escape, link, page, section, table
from psfmatch.pictures.numbers import FORMAT, VERDICTS

log = logging.getLogger("psfmatch.pictures")

MARK = "<!-- psfmatch index -->"
"""By which a page of ours is known, which may be made anew."""

WORST_FIRST = ("F", "D", "C", "B", "A", None)
FIGURES = {
    "noiseRobustStdev": "sky / noise",
    "sourceRobust": "sources / noise",
    "residualShiftPix": "shift left, px",
    "lag1": "correlation",
    "kernelSum": "kernel sum",
    "nUsed": "used",
    "nSources": "judged",
}
HEADINGS = ("", "pair", "worst reason", "changes", *FIGURES.values())
FOOTER = (
    "Failed pairs first, then the worst; the figures are those of each report. Changes: how many were found, a dash "
    "where they were not looked for. Small pictures: the two images of one PSF, and the difference over its noise."
)


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
    failed = [
        (r.name, _why(r), r.template, r.science, _link(folder / f"{r.name}.log", base, "log"))
        for r in records
        if r.state == "failed"
    ]
    unfinished = [(r.name, r.state, r.template, r.science) for r in records if r.state in ("pending", "running")]
    # Anchor, badge, heading and table of each section.
    sections: list[tuple[str, str | None, str, Sequence[str], Sequence[Any]]] = [
        ("failed", "failed", "Failed", ("pair", "why", "template", "science", ""), failed),
        ("unfinished", "not done", "Not done", ("pair", "state", "template", "science"), unfinished),
    ]
    counts: dict[str | None, int] = {}
    for grade in WORST_FIRST:
        rows = [_row(pair, base) for pair in found if pair.numbers.get("grade") == grade]
        verdict = "Not graded." if grade is None else VERDICTS[grade]
        sections.append((f"grade{grade}", grade, f"{grade or '?'}: {verdict}", HEADINGS, rows))
        counts |= {grade: len(rows)} if rows else {}
    shown = [each for each in sections if each[-1]]
    told = " ".join(f'<a href="#{name}">{badge(words)}</a> {len(rows)} &ensp;' for name, words, _, _, rows in shown)
    shown += [("spoilt", None, "Could not be read", ("file", "why"), spoilt)] if spoilt else []
    numeric = range(3, len(HEADINGS))
    parts = [
        section(n, title, table(heads, rows, numeric if heads is HEADINGS else ()))
        for n, _, title, heads, rows in shown
    ]
    title = f"{len(found) + len(failed) + len(unfinished)} pairs in {folder.resolve().name}"
    content = f"{MARK}\n<h1>{escape(title)}</h1>\n<p>{told}</p>\n" + "\n".join(parts)
    writeWhole(target, page(title, "", content, FOOTER).encode())
    return counts


def requireIndexPath(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise FileExistsError where an index would replace a file that is none; an older index is made anew."""
    target = Path(path)
    if not overwrite and target.exists() and MARK not in target.read_text(encoding="utf-8", errors="replace"):
        how = advice("pass overwrite=True", "add --overwrite")
        raise FileExistsError(f"{target} exists already and is no index of psfmatch; {how} to replace it")


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
        if not isinstance(numbers, dict) or numbers.get("format") != FORMAT:
            spoilt += [(file.name, "holds no numbers of a report")] if name in known else []
        elif numbers.get("grade") not in WORST_FIRST:
            spoilt.append((file.name, f"grade {numbers.get('grade')!r} is unknown"))
        else:
            found.append(_Pair(name, file.parent, numbers, known.get(name)))
    return found, spoilt


def _row(pair: _Pair, base: Path) -> tuple[Any, ...]:
    """Return a row; the name is a link where there is a page."""
    quality = pair.numbers.get("quality") or {}
    reason = str([*(pair.numbers.get("failedGates") or ()), *(pair.numbers.get("reasons") or ()), ""][0])
    changes = (pair.numbers.get("detections") or {}).get("nDetections")
    if pair.record is not None:
        reason = f"set apart in {pair.record.folder}: {reason}" if pair.record.folder else reason
        changes = pair.record.nDetections if changes is None else changes
    picture = pair.folder / f"{pair.name}.png"
    small = Markup(f'<img src="{escape(_address(picture, base))}" alt="{escape(pair.name)}" loading="lazy">')
    name = _link(pair.folder / f"{pair.name}.html", base, pair.name)
    return small if picture.exists() else "", name, reason, changes, *(quality.get(figure) for figure in FIGURES)


def _why(record: PairRecord) -> str:
    told = f"{record.errorType}: {record.errorMessage}" if record.errorType else record.errorMessage
    return told or "unknown"


def _link(file: Path, base: Path, words: str) -> str:
    """Return words that lead to a file, if it is there."""
    return link(_address(file, base), words) if file.exists() else words


def _address(file: Path, base: Path) -> str:
    return quote("./" + Path(os.path.relpath(file.resolve(), base)).as_posix())
