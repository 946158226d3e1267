"""What a run knows about its difference beside the pixels: figures of quality, and what keeps the grade down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from psfmatch.frontdoor.fallbacks import Subtraction
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.images import DEFAULT_BAD_PLANES, Box, MaskedImage
from psfmatch.io import isEstimated
from psfmatch.io.sourceTable import SourceTable
from psfmatch.registration import Alignment

__all__ = [
    "appliedShift",
    "doubtsOfPlace",
    "estimatedHere",
    "heldOutFigures",
    "scatterOnLight",
    "starsAboveLevel",
    "toldFigures",
    "unusableShare",
    "varianceScales",
]

FEW_SOURCES, MIN_LIT = 4, 20
"""Of a stamp: fewer sources do not judge its kernel, and so many pixels of light do."""
LEAST_AGREEING = 2
"""Sources behind a template's place that light alone has told."""


def toldFigures(subtraction: Subtraction, inputs: Inputs) -> dict[str, Any]:
    """Return the figures that the run itself knows, by the names of `psfmatch.quality.Quality`; None is not known."""
    fit = getattr(subtraction.result, "kernelFit", None)
    box = inputs.science.getBBox()
    figures = {
        "conditionNumber": subtraction.task.metadata.get("spatialConditionNum"),
        "appliedShiftPix": None if inputs.alignment is None else appliedShift(inputs.alignment, box),
        "starsAboveLevel": starsAboveLevel(inputs),
        "coverage": inputs.coverage.templateFraction,
    }
    return figures | ({} if fit is None or fit.heldOut is None else heldOutFigures(fit.heldOut))


def heldOutFigures(table: SourceTable) -> dict[str, Any]:
    """Return the figures of residuals under solutions made without them: medians over bright regions, and by signal."""
    bright = table[(np.asarray(table["signal"]) > 5.0) & (np.asarray(table["nPixels"]) > 0)]
    rows = []
    signal, chiSquare = np.asarray(table["signal"]), np.asarray(table["chiSquare"])
    for low, high in ((0.0, 5.0), (5.0, 15.0), (15.0, 50.0), (50.0, 150.0), (150.0, math.inf)):
        inside = (signal >= low) & (signal < high) & np.isfinite(chiSquare)
        if inside.any():
            rows.append((low, high, int(inside.sum()), float(chiSquare[inside].mean())))
    means = {"heldOutMean": bright["mean"], "heldOutRms": bright["rms"]} if len(bright) else {}
    figures = {name: float(np.nanmedian(values)) for name, values in means.items()}
    return figures | {"heldOutChiSquareByFlux": tuple(rows)}


def scatterOnLight(
    subtraction: Subtraction, pixels: Mapping[str, Any] | None
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Return the scatter on light of a stamp that shows few sources, as a figure, or why that is not known."""
    if subtraction.onLight is None or pixels is None or pixels["nSources"] >= FEW_SOURCES:
        return {}, ()
    number, scatter = subtraction.onLight
    if number < MIN_LIT:
        return {}, (("C", f"{number} pixels of light beside what has changed check the kernel, {MIN_LIT} would do"),)
    return {"sourceRobust": scatter}, ()


def unusableShare(difference: MaskedImage) -> float:
    """Return the share of covered pixels that are unusable, borders apart: what has changed is none of them."""
    isCovered = ~difference.mask.hasAny("NO_DATA")
    bad = difference.badPixels(tuple(plane for plane in DEFAULT_BAD_PLANES if plane != "EDGE"))
    return float(bad[isCovered].mean()) if isCovered.any() else 1.0


def varianceScales(subtraction: Subtraction, inputs: Inputs, factor: float) -> tuple[float, ...]:
    """Return the factors on variances that somebody gave: estimates of ours may be off, or the fit of a stamp's own."""
    if subtraction.isNoiseTold:
        return (factor,)
    template, science = estimatedHere(inputs)
    record = inputs.preparation
    scales = [(record.templateVarianceFactor, template), (record.scienceVarianceFactor, science)]
    # A template resampled to smaller pixels has noise that is not white: no fault of any plane.
    scales.append((factor, template or science or inputs.templateCorrelation is not None))
    return tuple(scale for scale, isOurs in scales if not isOurs)


def estimatedHere(inputs: Inputs) -> tuple[bool, bool]:
    """Return whether the variances of template and science image were estimated here."""
    return isEstimated(inputs.template.metadata.get("VARSRC")), isEstimated(inputs.science.metadata.get("VARSRC"))


def starsAboveLevel(inputs: Inputs) -> float | None:
    """Return the share of bright stars that lie above the saturation level, in the image where it is larger."""
    shares = [saturation.starsAboveLevel for saturation in inputs.saturations if saturation is not None]
    return max((share for share in shares if share is not None), default=None)


def appliedShift(alignment: Alignment, box: Box) -> float | None:
    """Return the largest correction that was applied to the coordinates, in a corner of the image, pixels."""
    if not alignment.hasCoordinates:
        return None
    if alignment.method == "nominal":
        return 0.0
    corners = np.array([(x, y) for x in (box.x0, box.x1 - 1) for y in (box.y0, box.y1 - 1)]) - alignment.centre
    affine = np.array(alignment.affine)
    moved = corners @ affine[:, :2].T + affine[:, 2] - corners
    return float(np.hypot(moved[:, 0], moved[:, 1]).max())


def doubtsOfPlace(alignment: Alignment | None) -> tuple[tuple[str, str], ...]:
    """Return what keeps the grade down where the template's place hangs on one source, or its coordinates are wrong."""
    if alignment is None:
        return ()
    if alignment.foundBy == "correlation" and alignment.nUsed < LEAST_AGREEING:
        return (("D", "where the template lies hangs on a single source"),)
    if alignment.hasCoordinates and alignment.isTurned:
        return (("D", "the coordinates are wrong: the stars show the template turned or mirrored otherwise"),)
    return ()
