"""Weights of pixels for a matched filter: 1 / variance, where the variance is that of a pixel's neighbourhood."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from psfmatch.images.mask import DEFAULT_BAD_PLANES
from psfmatch.images.maskedImage import MaskedImage
from psfmatch.threads import mapStrips

__all__ = ["UNUSABLE_PLANES", "weightImage"]

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]

UNUSABLE_PLANES = DEFAULT_BAD_PLANES
SMOOTHING_PIX = 3
"""Half side of the square over which the variance is averaged: a pixel's own noise enters with 2 %."""
PEAKED_VARIANCE = 1.5
"""Where the variance of 3x3 pixels is this many times the average, light is peaked there, and they count alone."""


def weightImage(
    maskedImage: MaskedImage, badPlanes: Iterable[str] = UNUSABLE_PLANES, threads: int | None = None
) -> FloatImage:
    """Return 1 / variance (h, w), the variance averaged over its neighbourhood; 0 for pixels that cannot be used."""
    isGood = ~maskedImage.badPixels(badPlanes)
    isGood &= maskedImage.variance > 0.0
    weight = np.empty(maskedImage.shape, dtype=np.float32)

    def fill(strip: slice) -> None:
        first = max(0, strip.start - SMOOTHING_PIX)
        wide = slice(first, strip.stop + SMOOTHING_PIX)
        weight[strip] = _weights(maskedImage.variance[wide], isGood[wide])[strip.start - first :][: len(weight[strip])]

    mapStrips(fill, maskedImage.shape, threads)
    return weight


def _weights(variance: FloatImage, isGood: BoolImage) -> FloatImage:
    """Return the weights of some rows; the outermost lack their neighbours."""
    filled, count = np.where(isGood, variance, np.float32(0)), isGood.astype(np.float32)
    average, core = (
        _boxSum(filled, radius) / np.maximum(_boxSum(count, radius), np.float32(1)) for radius in (SMOOTHING_PIX, 1)
    )
    average = np.where(core > PEAKED_VARIANCE * average, core, average)
    # The smallest normal number: what lies below has no finite inverse.
    isKnown = isGood & (average > np.finfo(np.float32).tiny * 4.0)
    return np.divide(1.0, average, out=np.zeros_like(average), where=isKnown)


def _boxSum(image: FloatImage, radius: int) -> FloatImage:
    """Return the sums over squares of half side `radius` about every pixel, always added in one order."""
    for axis in (0, 1):
        length = image.shape[axis]
        total = image.copy()
        for step in range(1, min(radius, length - 1) + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, length - step)
            total[tuple(behind)] += image[tuple(ahead)]
            total[tuple(ahead)] += image[tuple(behind)]
        image = total
    return image
