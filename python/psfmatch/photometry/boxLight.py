"""How much light sources have above the sky beside them, summed in boxes: no PSF needs to be known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage
from psfmatch.medians import medians

__all__ = ["BOX_SIDE", "boxLight"]

FloatArray = npt.NDArray[np.float64]

HALF_BOX = 7
"""Of the box about a source, pixels: 15x15 hold all but the wings of PSFs up to a FWHM of 5 px."""
BOX_SIDE = 2 * HALF_BOX + 1
SKY_RING = 5
"""Pixels beside the box on each side whose median is the sky."""
MIN_PIXELS = 30
"""Good ones in the box, and beside it."""


def boxLight(
    image: MaskedImage, x: npt.ArrayLike, y: npt.ArrayLike, planes: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Return light and error of sources in a box of 15x15 pixels, above the median of the 5 pixels beside it.

    Parameters
    ----------
    image
        The pixels; boxes may reach beyond them.
    x, y
        (n,) positions, parent pixels.
    planes
        Mask planes that make a pixel bad; so does a value or a variance that is not finite.

    Returns
    -------
    light, error
        (n,), counts; the error is that of the box's own pixels. Both NaN where fewer than 30 pixels of the box or
        beside it are good.
    """
    x0, y0 = image.xy0
    column, row = (
        np.floor(np.asarray(place, dtype=np.float64) - origin + 0.5).astype(np.int64)[:, np.newaxis]
        for place, origin in ((x, x0), (y, y0))
    )
    offset = np.arange(-HALF_BOX - SKY_RING, HALF_BOX + SKY_RING + 1)
    rows, columns = row + offset, column + offset
    height, width = image.image.shape
    isOn = ((rows >= 0) & (rows < height))[:, :, np.newaxis] & ((columns >= 0) & (columns < width))[:, np.newaxis]
    box = np.clip(rows, 0, height - 1)[:, :, np.newaxis], np.clip(columns, 0, width - 1)[:, np.newaxis]
    good = isOn & ~image.badPixels(planes, box)
    isInside = np.abs(offset) <= HALF_BOX
    inside, beside = good & (isInside[:, np.newaxis] & isInside), good & ~(isInside[:, np.newaxis] & isInside)
    values = image.image[box].astype(np.float64)
    sky = medians(np.where(beside, values, 0.0), beside)[:, np.newaxis, np.newaxis]
    isKnown = np.minimum(inside.sum(axis=(1, 2)), beside.sum(axis=(1, 2))) >= MIN_PIXELS
    light = np.where(inside, values - sky, 0.0).sum(axis=(1, 2))
    variance = np.where(inside, image.variance[box], 0.0).sum(axis=(1, 2), dtype=np.float64)
    return np.where(isKnown, light, math.nan), np.where(isKnown, np.sqrt(np.maximum(variance, 0.0)), math.nan)
