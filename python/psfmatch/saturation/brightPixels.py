"""The bright pixels of stars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure
from psfmatch.strips import mapStrips

__all__ = ["MIN_SIGNIFICANCE", "BrightPixels", "brightPixels"]

MIN_SIGNIFICANCE = 20.0
"""A plateau is so many standard deviations of the sky above it."""


@dataclass(frozen=True)
class BrightPixels:
    """Bright pixels that belong to something larger than a pixel.

    sky, noise : level and standard deviation of the sky, counts; counts : above the sky, (N,);
    isFlagged : (N,) where SAT is set; nFlagged : pixels with SAT in the whole image.
    """

    sky: float
    noise: float
    counts: npt.NDArray[np.float64]
    isFlagged: npt.NDArray[np.bool_]
    nFlagged: int


def brightPixels(exposure: Exposure, defectPlanes: Sequence[str]) -> BrightPixels:
    """Return the bright pixels without any of these planes that have bright neighbours."""
    image, mask = exposure.image, np.asarray(exposure.mask)
    height, width = image.shape
    step = max(1, math.isqrt(image.size // 200_000))
    sample = image[::step, ::step]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    bit = np.int32(exposure.mask.getPlaneBitMask("SAT"))
    defects = np.int32(exposure.mask.getPlaneBitMask(defectPlanes))
    empty = BrightPixels(math.nan, math.nan, np.empty(0), np.empty(0, dtype=bool), 0)
    if sample.size == 0:
        return empty
    sky = float(np.median(sample))
    noise = 1.4826 * float(np.median(np.abs(sample - sky)))
    # Half the least plateau, for what lies below it; in crowded fields no more than the brightest few per cent.
    bright = sky + max(0.5 * MIN_SIGNIFICANCE * noise, 0.4 * (float(np.quantile(sample, 0.995)) - sky))
    threshold = np.float32(max(bright, sky + 1e-6 * abs(sky)))

    def find(strip: slice) -> tuple[npt.NDArray[np.intp], int]:
        with np.errstate(invalid="ignore"):
            found = np.flatnonzero(image[strip] > threshold)
        return found + strip.start * width, int(np.count_nonzero(mask[strip] & bit))

    parts = mapStrips(find, image.shape)
    index = np.concatenate([part[0] for part in parts])
    rows, columns = np.divmod(index, width)
    inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    values = image.reshape(-1)
    flags = mask.reshape(-1)
    index = index[inside & np.isfinite(values[index]) & ((flags[index] & defects) == 0)]
    counts = values[index].astype(np.float64) - sky
    # Hot pixels stand alone; every pixel of a star but its outermost has bright neighbours.
    neighbours = np.zeros(index.size, dtype=np.int8)
    limit = (sky + 0.4 * counts).astype(np.float32)
    with np.errstate(invalid="ignore"):
        for offset in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
            neighbours += values[index + offset] >= limit
    isStar = neighbours >= 2
    return BrightPixels(sky, noise, counts[isStar], (flags[index[isStar]] & bit) != 0, sum(part[1] for part in parts))
