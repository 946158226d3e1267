"""What registration has left over: the shift of every bright star between the difference and the matched image.

A star that lies at (dx, dy) from its place in the matched image M leaves D = -dx M_x - dy M_y + c M + b in the
difference, to first order. The four numbers are fitted on the pixels about each star with weights 1 / variance;
M_x and M_y are differences over eleven pixels, good to 0.6 % for a FWHM of 2.5 pixels and to 5 % for 2.0; shifts of
0.4 px come out up to a tenth too small. Over the field the shifts are described by a mean, a plane, and what
scatters more than the errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config.equality import ByValue
from psfmatch.images import Box, MaskedImage
from psfmatch.io.sourceTable import AnyTable, SourceTable, columnsOf, lazily, tableField
from psfmatch.registration.offsets import excessVariance

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["ShiftField", "measureShiftField"]

FloatArray = npt.NDArray[np.float64]

BAD_PLANES = ("BAD", "CR", "EDGE", "INTRP", "NO_DATA", "SAT", "STREAK")
MAX_ERROR_PIX = 0.2
"""Shifts known worse than this say nothing about registration."""
MAX_SHIFT_PIX = 2.0
"""Beyond this a shift is no longer small against a star: something else is there."""
CLIP_SIGMA = 4.0
N_CLIPS = 10
MIN_PLANE_STARS = 6
MEDIAN_OF_SQUARES = 0.4549


@tableField("stars")
@dataclass(frozen=True, eq=False)
class ShiftField(ByValue):
    """Shifts of stars that are left in a difference.

    stars : one row per star measured: x, y (parent pixels), dx, dy, dxErr, dyErr (pixels), scale, scaleErr (share of
        the matched flux that the difference has too much), isUsed;
    mean, meanErr : (x, y) weighted mean of the used shifts, pixels; NaN without any;
    excessRms : (x, y) scatter about the mean beyond the errors, pixels;
    plane, planeErr : ((dx at the centre, change by x, change by y), the same of dy), pixels, the changes from
        the centre to the edge of the image; None where there are too few stars;
    planeExcessRms : (x, y) scatter beyond the errors about the plane.
    """

    stars: Table
    mean: tuple[float, float]
    meanErr: tuple[float, float]
    excessRms: tuple[float, float]
    plane: tuple[tuple[float, ...], tuple[float, ...]] | None
    planeErr: tuple[tuple[float, ...], tuple[float, ...]] | None
    planeExcessRms: tuple[float, float] | None

    @property
    def nUsed(self) -> int:
        """Number of stars behind the numbers."""
        return int(np.count_nonzero(columnsOf(self, "stars")["isUsed"]))

    @property
    def meanSize(self) -> float:
        """Length of the mean shift, pixels."""
        return math.hypot(*self.mean)

    def toDict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON: None for what is not known."""
        values = {
            "nStars": len(columnsOf(self, "stars")),
            "nUsed": self.nUsed,
            "mean": list(self.mean),
            "meanErr": list(self.meanErr),
            "excessRms": list(self.excessRms),
            "plane": None if self.plane is None else [list(row) for row in self.plane],
            "planeErr": None if self.planeErr is None else [list(row) for row in self.planeErr],
            "planeExcessRms": None if self.planeExcessRms is None else list(self.planeExcessRms),
        }
        if not self.nUsed:
            values.update({"mean": None, "meanErr": None, "excessRms": None})
        return values


def measureShiftField(
    difference: MaskedImage,
    matched: MaskedImage,
    stars: AnyTable,
    radius: int = 6,
    scale: float = 1.0,
    badPlanes: tuple[str, ...] = BAD_PLANES,
    threads: int = 1,
) -> ShiftField:
    """Measure the shifts that are left at stars.

    Parameters
    ----------
    difference
        Science minus matched image, with its variance.
    matched
        The image that was convolved, of the same shape.
    stars
        x and y in parent pixels of the difference; bright and constant ones tell most.
    radius
        Half width in pixels of the squares that are fitted; the PSF's FWHM or more.
    scale
        Counts of the difference per count of the matched image: 1 / kernel sum where the science image was convolved
        and the difference brought back to its flux scale.
    badPlanes
        Names of mask planes of the difference whose pixels are not used.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    field : ShiftField
        Without a used star where none can be measured.

    Raises
    ------
    ValueError
        If the shapes differ, or the radius or the scale is not positive.
    """
    if difference.shape != matched.shape:
        raise ValueError(f"the difference has shape {difference.shape}, the matched image {matched.shape}")
    if radius < 1:
        raise ValueError(f"radius is {radius} pixels, must be positive")
    if not scale > 0.0:
        raise ValueError(f"scale is {scale}, must be positive")
    x, y = (np.asarray(stars[name], dtype=np.float64).reshape(-1) for name in ("x", "y"))
    found, errors = _core.starShifts(
        difference.image,
        difference.variance,
        np.asarray(difference.mask),
        matched.image,
        difference.mask.getPlaneBitMask(badPlanes, ignoreMissing=True),
        x - difference.xy0[0],
        y - difference.xy0[1],
        radius=radius,
        nThreads=threads,
    )
    found, errors = found / [scale, scale, scale, 1.0], errors / [scale, scale, scale, 1.0]
    shifts, shiftErrors = -found[:, :2], errors[:, :2]
    with np.errstate(invalid="ignore"):
        isUsed = np.asarray(((shiftErrors <= MAX_ERROR_PIX) & (np.abs(shifts) <= MAX_SHIFT_PIX)).all(axis=1))
    terms = _planeTerms(x, y, difference.getBBox())
    isUsed = _withoutOutliers(shifts, shiftErrors, terms[:, :1], isUsed)
    mean, meanErr, excess = _describe(shifts[isUsed], shiftErrors[isUsed], terms[isUsed, :1])
    plane = planeErr = planeExcess = None
    if isUsed.sum() >= MIN_PLANE_STARS:
        fitted, fittedErr, left = _describe(shifts[isUsed], shiftErrors[isUsed], terms[isUsed])
        plane, planeErr = _pair(fitted), _pair(fittedErr)
        planeExcess = float(left[0]), float(left[1])
    columns = {"x": x, "y": y, "dx": shifts[:, 0], "dy": shifts[:, 1]}
    columns |= {"dxErr": shiftErrors[:, 0], "dyErr": shiftErrors[:, 1], "scale": found[:, 2], "scaleErr": errors[:, 2]}
    inPixels = ("x", "y", "dx", "dy", "dxErr", "dyErr")
    return ShiftField(
        stars=lazily(SourceTable({**columns, "isUsed": isUsed}, units=dict.fromkeys(inPixels, "pix"))),
        mean=(float(mean[0, 0]), float(mean[1, 0])),
        meanErr=(float(meanErr[0, 0]), float(meanErr[1, 0])),
        excessRms=(float(excess[0]), float(excess[1])),
        plane=plane,
        planeErr=planeErr,
        planeExcessRms=planeExcess,
    )


def _planeTerms(x: FloatArray, y: FloatArray, box: Box) -> FloatArray:
    """Return 1 and the coordinates from -1 to 1 over the image, (n, 3)."""
    u, v = (x - box.centre[0]) / (0.5 * box.width), (y - box.centre[1]) / (0.5 * box.height)
    return np.column_stack([np.ones_like(u), u, v])


def _withoutOutliers(
    shifts: FloatArray, errors: FloatArray, terms: FloatArray, isUsed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which stars agree with the others: variables with a neighbour and blends do not."""
    candidates = isUsed
    if not candidates.any():
        return candidates
    # Medians first, which half of the stars cannot mislead.
    centre, scale = np.median(shifts[candidates], axis=0), np.zeros(2)
    for _ in range(N_CLIPS):
        squares = (shifts - centre) ** 2
        typical = np.median(squares[candidates], axis=0) / MEDIAN_OF_SQUARES
        scale = np.maximum(0.0, typical - np.median(errors[candidates] ** 2, axis=0))
        with np.errstate(invalid="ignore"):
            kept = candidates & (squares <= CLIP_SIGMA**2 * (errors**2 + scale)).all(axis=1)
        if not kept.any():
            return candidates
        mean, _, _ = _describe(shifts[kept], errors[kept], terms[kept])
        if (kept == isUsed).all():
            break
        isUsed, centre = kept, mean[:, 0]
    return kept


def _describe(shifts: FloatArray, errors: FloatArray, terms: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit terms (n, p) to the shifts (n, 2); return values and errors (2, p), and the scatter beyond errors (2,)."""
    p = terms.shape[1]
    values, sigmas, excess = np.full((2, p), np.nan), np.full((2, p), np.nan), np.full(2, np.nan)
    if len(shifts) < p:
        return values, sigmas, excess
    for axis in (0, 1):
        own, variance, floor = shifts[:, axis, np.newaxis], errors[:, axis, np.newaxis] ** 2, 0.0
        for _ in range(5):
            values[axis], sigmas[axis] = (part[0] for part in _core.fitLinear(terms, own, variance + floor))
            squares = (own[:, 0] - (terms * values[axis]).sum(axis=1)) ** 2
            floor = excessVariance(squares, variance, p) if len(shifts) > p else 0.0
        excess[axis] = math.sqrt(floor)
    return values, sigmas, excess


def _pair(matrix: FloatArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(float(value) for value in matrix[0]), tuple(float(value) for value in matrix[1])
