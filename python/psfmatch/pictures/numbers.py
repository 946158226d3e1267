"""The numbers of a report, ready for JSON: those of the result and of its quality, and where in the field it is bad."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from psfmatch.config import configToDict
from psfmatch.io import writeWhole
from psfmatch.quality import RULES, Quality
from psfmatch.reporting.field import fieldRows, hotSpots, tellWorst
from psfmatch.reporting.subject import Detections, Reported

__all__ = ["FORMAT", "detectionCounts", "isReport", "plainData", "reportNumbers", "writeNumbers"]

FORMAT = "psfmatch report"
VERDICTS = {
    "A": "As good as the noise allows.",
    "B": "Good; nothing in it misleads.",
    "C": "Usable with care; the reasons say where.",
    "D": "Poor.",
    "F": "Do not use.",
}
DETECTION_COLUMNS = (
    "id",
    "x",
    "y",
    "ra",
    "dec",
    "significance",
    "psfFlux",
    "psfFluxErr",
    "scienceFlux",
    "templateFlux",
    "chi2",
    "dipoleId",
)
MOST_DETECTIONS = 50


def reportNumbers(
    result: Reported, *, title: str | None = None, detections: Detections | None = None
) -> dict[str, Any]:
    """Return all that a report tells in numbers and words, ready for JSON; what is not known or not finite is None.

    Parameters
    ----------
    result
        Of `psfmatch.subtract`.
    title
        What the pair is called.
    detections
        Of `psfmatch.reporting.findDetections`; None: they were not looked for.

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
        "verdict": "Not graded: the quality was not measured." if quality is None else VERDICTS[quality.grade],
        "reasons": [] if quality is None else list(quality.reasons),
        "worstPart": tellWorst(field, spots),
        "quality": None if quality is None else quality.toDict(),
        "grades": {} if quality is None else _grades(quality),
        "summary": summary,
        "field": field,
        "hotSpots": spots,
        "noise": {
            "robustStdev": result.noise.robustStdev,
            "median": result.noise.median,
            "nPixels": result.noise.nPixels,
            "varianceFactor": result.varianceFactor,
        },
        "choices": [
            {
                "name": choice.name,
                "chosen": choice.chosen,
                "figure": choice.figure,
                "alternative": choice.alternative,
                "alternativeFigure": choice.alternativeFigure,
                "sentence": choice.sentence,
            }
            for choice in result.choices
        ],
        "steps": list(result.steps),
        "alignment": None if result.alignment is None else result.alignment.toDict(),
        "coverage": None if result.coverage is None else result.coverage.toDict(),
        "preparation": {name: value for name, value in result.preparation.toDict().items() if name != "alignment"},
        "decorrelation": None
        if result.decorrelation is None
        else {"isApplied": result.decorrelation.isApplied, "varianceRatio": result.decorrelation.varianceRatio},
        "background": {
            "model": result.background.model,
            "order": result.background.order,
            "parameters": result.background.parameters.tolist(),
        },
        "detections": None if detections is None else _detections(detections),
        "config": None if result.config is None else configToDict(result.config, activeOnly=True),
    }
    plain: dict[str, Any] = plainData(numbers)
    return plain


def writeNumbers(
    result: Reported,
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
    grades = {}
    for rule in RULES:
        if known.get(rule.figure) is not None:
            name = "nRemaining" if rule.figure == "remainingExcess" else rule.figure
            grades[name] = rule.grade(float(known[rule.figure]))
    return grades


def _detections(detections: Detections) -> dict[str, Any]:
    table, note = detections.table, detections.note
    if table is None:
        return {"note": note, "nDetections": None, "rows": []}
    flags = [name for name in table.colnames if name.startswith("flag")]
    rows = []
    for row in table[:MOST_DETECTIONS]:
        numbers: dict[str, Any] = {
            name: np.asarray(row[name]).item() for name in DETECTION_COLUMNS if name in table.colnames
        }
        numbers["flags"] = [name.removeprefix("flag") for name in flags if row[name]]
        rows.append(numbers)
    return {
        "note": note,
        **detectionCounts(detections),
        "threshold": table.meta.get("THRESH"),
        "psfFwhmPix": table.meta.get("PSFFWHM"),
        "noiseScale": table.meta.get("NOISESCL"),
        "rows": rows,
    }


def detectionCounts(detections: Detections) -> dict[str, int | None]:
    """Return how many changes there are, in all, of either sign, and how many pairs are dipoles; None: not known."""
    table = detections.table
    if table is None:
        return dict.fromkeys(("nDetections", "nPositive", "nNegative", "nDipoles"))
    counts = {"nPositive": table.meta["NPOS"], "nNegative": table.meta["NNEG"], "nDipoles": table.meta["NDIPOLE"]}
    return {"nDetections": len(table), **counts}


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
