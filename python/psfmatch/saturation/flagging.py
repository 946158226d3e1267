"""The mask plane SAT, set on saturated pixels and about them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure, Mask, MaskedImage
from psfmatch.saturation.defects import DEFECT_PLANES, isWithoutReasons
from psfmatch.saturation.finding import Saturation
from psfmatch.strips import mapStrips

__all__ = ["flagSaturation"]


def flagSaturation(exposure: Exposure, saturation: Saturation | float | None, growth: float = 0.0) -> Exposure:
    """Return the exposure with SAT on saturated pixels and on all that lie near one.

    Parameters
    ----------
    exposure
        Not changed; the result shares image and variance.
    saturation
        What `findSaturation` found, or a level: pixels of these counts or more are saturated, unless they are bad
        (BAD, CR, NO_DATA) or infinite. Where the mask has no plane but BAD, a bad pixel is, too, if one beside it has
        half the level. None: only those with SAT already.
    growth
        Pixels; SAT is set on every pixel whose centre lies within so many of one with SAT.

    Returns
    -------
    flagged : Exposure
        The exposure itself if there is nothing to do.
    """
    if not growth >= 0.0:
        raise ValueError(f"growth is {growth}, must be 0 or more pixels")
    level = saturation.level if isinstance(saturation, Saturation) else saturation
    mask = np.asarray(exposure.mask)
    bit = np.int32(exposure.mask.getPlaneBitMask("SAT"))
    otherBits = np.int32(exposure.mask.getPlaneBitMask(DEFECT_PLANES, ignoreMissing=True))
    image = exposure.image
    isAnyHidden = level is not None and isWithoutReasons(exposure.mask)

    def find(strip: slice) -> tuple[npt.NDArray[np.intp], int]:
        hasPlane = (mask[strip] & bit) != 0
        nBefore = int(np.count_nonzero(hasPlane))
        if level is not None:
            with np.errstate(invalid="ignore"):
                isHigh = (image[strip] >= level) & (image[strip] < np.inf)
            isBad = (mask[strip] & otherBits) != 0
            # What lies under another bad plane, or is no number, is not light.
            hasPlane |= isHigh & ~isBad
            if isAnyHidden:
                hasPlane |= isHigh & isBad & _hasBrightNeighbour(image, strip, 0.5 * level)
        found = np.flatnonzero(hasPlane)
        return found + strip.start * image.shape[1], nBefore

    parts = mapStrips(find, image.shape)
    saturated = np.concatenate([part[0] for part in parts])
    if saturated.size == 0 or (saturated.size == sum(part[1] for part in parts) and growth < 1.0):
        return exposure
    flags = mask.copy()
    flags.reshape(-1)[saturated] |= bit
    rows, columns = np.divmod(saturated, image.shape[1])
    for dx, dy in _disc(growth):
        y, x = rows + dy, columns + dx
        inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
        flags[y[inside], x[inside]] |= bit
    return exposure.withPixels(MaskedImage(image, Mask(flags, exposure.mask.planes), exposure.variance, exposure.xy0))


def _hasBrightNeighbour(image: npt.NDArray[np.float32], strip: slice, level: float) -> npt.NDArray[np.bool_]:
    """Return which pixels of some rows touch with a side one that has the level: a hot pixel stands alone."""
    first, last = max(strip.start - 1, 0), min(strip.stop + 1, image.shape[0])
    with np.errstate(invalid="ignore"):
        isBright = np.pad(image[first:last] >= np.float32(level), 1)
    rows = slice(strip.start - first + 1, strip.stop - first + 1)
    above, below = slice(rows.start - 1, rows.stop - 1), slice(rows.start + 1, rows.stop + 1)
    sides: npt.NDArray[np.bool_] = isBright[rows, :-2] | isBright[rows, 2:]
    return sides | isBright[above, 1:-1] | isBright[below, 1:-1]


def _disc(radius: float) -> list[tuple[int, int]]:
    """Return the steps (x, y) to all pixels within a radius, but the middle."""
    reach = math.floor(radius)
    steps = range(-reach, reach + 1)
    return [(dx, dy) for dy in steps for dx in steps if 0 < dx * dx + dy * dy <= radius * radius]
