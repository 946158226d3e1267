"""Saturated pixels: at which counts they begin, and the mask plane SAT set on them and about them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure, Mask, MaskedImage
from psfmatch.strips import mapStrips

__all__ = ["flagSaturation"]


def flagSaturation(exposure: Exposure, level: float | None, growth: float = 0.0) -> Exposure:
    """Return the exposure with SAT on saturated pixels and on all that lie near one.

    Parameters
    ----------
    exposure
        Not changed; the result shares image and variance.
    level
        Pixels of these counts or more are saturated; None: only those with SAT already.
    growth
        Pixels; SAT is set on every pixel whose centre lies within so many of one with SAT.

    Returns
    -------
    flagged : Exposure
        The exposure itself if there is nothing to do.
    """
    if not growth >= 0.0:
        raise ValueError(f"growth is {growth}, must be 0 or more pixels")
    mask = np.asarray(exposure.mask)
    bit = np.int32(exposure.mask.getPlaneBitMask("SAT"))
    image = exposure.image

    def find(strip: slice) -> tuple[npt.NDArray[np.intp], int]:
        hasPlane = (mask[strip] & bit) != 0
        nBefore = int(np.count_nonzero(hasPlane))
        if level is not None:
            with np.errstate(invalid="ignore"):
                hasPlane |= image[strip] >= level
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
    return Exposure(
        MaskedImage(image, Mask(flags, exposure.mask.planes), exposure.variance, exposure.xy0),
        exposure.wcs,
        exposure.psf,
        exposure.photoCalib,
        exposure.filter,
        dict(exposure.metadata),
    )


def _disc(radius: float) -> list[tuple[int, int]]:
    """Return the steps (x, y) to all pixels within a radius, but the middle."""
    reach = math.floor(radius)
    steps = range(-reach, reach + 1)
    return [(dx, dy) for dy in steps for dx in steps if 0 < dx * dx + dy * dy <= radius * radius]
