"""How far the sources of two images still lie apart in their difference, beyond what noise alone shows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from psfmatch.images import Exposure, MaskedImage
from psfmatch.io.sourceTable import AnyTable, columnsOf
from psfmatch.registration import ShiftField, measureShiftField

__all__ = ["residualShift"]

ERROR_SIGMAS = 2.0
"""Errors by which the mean shift of stars, and their scatter about it, may differ from none and tell nothing."""
MIN_SCATTER_STARS = 5
"""Fewer do not tell a scatter beyond their errors."""


def residualShift(
    difference: Exposure,
    matched: MaskedImage,
    stars: AnyTable,
    radius: int,
    scale: float,
    changed: npt.NDArray[np.bool_] | None,
    threads: int = 1,
) -> float | None:
    """Return the shift that the difference shows at stars, pixels: its mean, or its scatter where that is more.

    Both as far as they are beyond their errors, the mean beyond twice its own; a scatter that errors alone make in one
    of 44 fields, which is twice its own error, tells none, and neither do stars that have changed.
    """
    if changed is not None and len(stars):
        x, y = (
            np.clip(np.rint(np.asarray(stars[name])).astype(int) - first, 0, size - 1)
            for name, first, size in zip(("x", "y"), difference.xy0, changed.shape[::-1], strict=True)
        )
        stars = stars[~changed[y, x]]
    if not len(stars):
        return None
    field = measureShiftField(difference.maskedImage, matched, stars, radius, scale, threads=threads)
    mean = np.maximum(np.abs(field.mean) - ERROR_SIGMAS * np.array(field.meanErr), 0.0)
    isTold = _scattersBeyondErrors(field) if field.nUsed >= MIN_SCATTER_STARS else (False, False)
    scatter = [rms for rms, told in zip(field.excessRms, isTold, strict=True) if told]
    return float(np.nanmax([np.hypot(*mean), *scatter, 0.0]))


def _scattersBeyondErrors(field: ShiftField) -> tuple[bool, bool]:
    """Return whether the shifts in x and y scatter about their mean by more than twice the error of that scatter.

    Few stars have a chi-square that is far from Gaussian; its quantile is that of Wilson & Hilferty (1931, Proc. Natl.
    Acad. Sci. 17, 684).
    """
    stars = columnsOf(field, "stars")
    isUsed = np.asarray(stars["isUsed"])
    told = []
    for axis in ("dx", "dy"):
        shifts, errors = (np.asarray(stars[name])[isUsed] for name in (axis, f"{axis}Err"))
        weights = 1.0 / errors**2
        mean = float((weights * shifts).sum() / weights.sum())
        freedom, part = shifts.size - 1, 2.0 / (9.0 * (shifts.size - 1))
        most = freedom * (1.0 - part + ERROR_SIGMAS * math.sqrt(part)) ** 3
        told.append(bool((weights * (shifts - mean) ** 2).sum() > most))
    return told[0], told[1]
