"""The numbers of a report, ready for JSON: those of the result and of its quality, and where in the field it is bad."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from psfmatch.config import configToDict
from psfmatch.errors import PsfMatchError
from psfmatch.io import writeWhole
from psfmatch.pictures.field import fieldRows, hotSpots, tellWorst
from psfmatch.quality import RULES, Quality
from psfmatch.threads import usingThreads

if TYPE_CHECKING:
    from astropy.table import Table

    from psfmatch.frontdoor import SubtractionResult

FORMAT = "psfmatch report"
VERDICTS = {
    "A": "As good as the noise allows.",
    "B": "Good; nothing in it misleads.",
    "C": "Usable with care; the reasons say where.",
    "D": "Poor.",
    "F": "Do not use.",
    None: "Not graded: the quality was not measured.",
}
DETECTION_COLUMNS = "id x y ra dec significance psfFlux psfFluxErr scienceFlux templateFlux chi2 dipoleId"
MOST_DETECTIONS = 50
CHOICE_FIELDS = "name chosen figure alternative alternativeFigure sentence"


@dataclass(frozen=True)
class Detections:
    """What has changed: `SubtractionResult.changes`, None if it could not be made; how it came about."""

    table: Table | None
    note: str = ""


def findDetections(result: SubtractionResult, threads: int | None = None) -> Detections:
    """Find what has changed, and tell where the PSF for it came from if that limits what is found."""
    try:
        with usingThreads(threads):
            table = result.changes
    except PsfMatchError as error:
        return Detections(None, f"Nothing could be looked for: {str(error).rstrip('.')}.")
    origin = table.meta["PSFFROM"]
    return Detections(table, f"PSF: {origin}." if "Gaussian" in origin else "")


def detectionCounts(detections: Detections) -> dict[str, int | None]:
    """Return how many changes there are, in all, of either sign, and how many pairs are dipoles; None: not known."""
    table = detections.table
    if table is None:
        return dict.fromkeys(("nDetections", "nPositive", "nNegative", "nDipoles"))
    meta = table.meta
    counts = {"nPositive": meta["NPOS"], "nNegative": meta["NNEG"], "nDipoles": meta["NDIPOLE"]}
    return {"nDetections": len(table), **counts}


def reportNumbers(
    result: SubtractionResult, *, title: str | None = None, detections: Detections | None = None
) -> dict[str, Any]:
    """Return all that a report tells in numbers and words, ready for JSON; what is not known or not finite is None.

    Parameters
    ----------
    result
        Of `psfmatch.subtract`.
    title
        What the pair is called.
    detections
        Of `psfmatch.pictures.findDetections`; None: they were not looked for.

    Returns
    -------
    numbers : dict
        grade, reasons, verdict and worstPart (words); quality : `Quality.toDict`; grades : what each figure alone
        allows; summary : `SubtractionResult.summary`; field, hotSpots : scatter of the difference (units
        of its noise, pulls cut off at 5) in ninths of the image and in the worst blocks; choices, steps; alignment,
        coverage, preparation, decorrelation, background, noise; detections : counts and the most significant rows;
        config : the active one.
    """
    quality = result.quality
    summary = result.summary()
    summary.pop("gradeReasons", None)
    field, spots = fieldRows(result), hotSpots(result)
    numbers = {
        "format": FORMAT,
        "formatVersion": 1,
        "psfmatch": version("psfmatch"),
        "title": title,
        "grade": summary.pop("grade", None),
        "verdict": VERDICTS[None if quality is None else quality.grade],
        "reasons": [] if quality is None else list(quality.reasons),
        "worstPart": tellWorst(field, spots),
        "quality": _dictOf(quality),
        "grades": {} if quality is None else _grades(quality),
        "summary": summary,
        "field": field,
        "hotSpots": spots,
        "noise": {**_partsOf(result.noise, "robustStdev median nPixels"), "varianceFactor": result.varianceFactor},
        "choices": [_partsOf(choice, CHOICE_FIELDS) for choice in result.choices],
        "steps": list(result.steps),
        "alignment": _dictOf(result.alignment),
        "coverage": _dictOf(result.coverage),
        "preparation": {name: value for name, value in result.preparation.toDict().items() if name != "alignment"},
        "decorrelation": _partsOf(result.decorrelation, "isApplied varianceRatio"),
        "background": _partsOf(result.background, "model order parameters"),
        "detections": None if detections is None else _detections(detections),
        "config": None if result.config is None else configToDict(result.config, activeOnly=True),
    }
    plain: dict[str, Any] = plainData(numbers)
    return plain


def _dictOf(part: Any) -> dict[str, Any] | None:
    return None if part is None else part.toDict()


def _partsOf(whole: Any, names: str) -> Any:
    return None if whole is None else {name: getattr(whole, name) for name in names.split()}


def writeNumbers(
    result: SubtractionResult,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    detections: Detections | None = None,
    numbers: Mapping[str, Any] | None = None,
) -> None:
    """Write the numbers of a result (or such as are given) to a JSON file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    if numbers is None:
        numbers = reportNumbers(result, title=title, detections=detections)
    writeWhole(path, (json.dumps(numbers, indent=1, allow_nan=False) + "\n").encode())


def isReport(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds the numbers of a report."""
    try:
        numbers = json.loads(Path(path).read_bytes())
    except ValueError:
        return False
    return isinstance(numbers, dict) and numbers.get("format") == FORMAT


def _grades(quality: Quality) -> dict[str, str]:
    """Return what each figure alone allows, by its name in the quality."""
    known = quality.toDict() | {"remainingExcess": quality.remainingExcess}
    graded = {rule.figure: rule for rule in RULES if known.get(rule.figure) is not None}
    names = {"remainingExcess": "nRemaining"}
    return {names.get(figure, figure): rule.grade(float(known[figure])) for figure, rule in graded.items()}


def _detections(detections: Detections) -> dict[str, Any]:
    table, note = detections.table, detections.note
    if table is None:
        return {"note": note, "nDetections": None, "rows": []}
    names = [name for name in DETECTION_COLUMNS.split() if name in table.colnames]
    flags = [name for name in table.colnames if name.startswith("flag")]
    rows = [
        {name: np.asarray(row[name]).item() for name in names}
        | {"flags": [name.removeprefix("flag") for name in flags if row[name]]}
        for row in table[:MOST_DETECTIONS]
    ]
    keys = {"threshold": "THRESH", "psfFwhmPix": "PSFFWHM", "noiseScale": "NOISESCL"}
    told = {name: table.meta.get(key) for name, key in keys.items()}
    return {"note": note, **detectionCounts(detections), **told, "rows": rows}


def plainData(value: Any) -> Any:
    """Return what JSON knows: no arrays, no numpy numbers, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plainData(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plainData(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
