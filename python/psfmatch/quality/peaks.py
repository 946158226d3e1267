"""Peaks of an image: the places of bright sources, found without a catalogue and at little cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage
from psfmatch.exposure.mask import DEFAULT_BAD_PLANES

__all__ = ["Peaks", "findPeaks"]

IntArray = npt.NDArray[np.int64]

BLOCK = 16  # px; one peak is taken from each block
PEAK_SIGMA = 15.0  # of a pixel
LEAST_SHARPNESS = 0.15  # neighbours' mean over the peak: below are cosmic rays and hot pixels
MAX_SOURCES = 500
MAX_BLOCKS = 2000
MAX_PIXELS = 4_000_000  # that are searched


@dataclass(frozen=True, eq=False)
class Peaks:
    """x, y : places, indices of the arrays; saturatedFraction : share of the bright sources that saturate."""

    x: IntArray
    y: IntArray
    saturatedFraction: float


def findPeaks(source: MaskedImage) -> Peaks:
    """Return the highest good pixel of every block where it is a peak above the sky, at most 500, bright ones first.

    Of images of more than four megapixels bands spread over them are searched.
    """
    height, width = (side // BLOCK for side in source.shape)
    nothing = Peaks(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 0.0)
    if min(height, width) < 1:
        return nothing
    every = max(1, math.ceil(source.image.size / MAX_PIXELS))
    bits = np.int32(source.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True))
    mask = np.asarray(source.mask)
    rows = np.arange(height)[np.arange(height) // 8 % every == 0]  # bands of eight blocks
    highest = np.empty((len(rows), width), dtype=np.float32)
    saturated = np.int32(source.mask.getPlaneBitMask("SAT", ignoreMissing=True))
    hasSaturated = np.zeros((len(rows), width), dtype=bool)
    for i, row in enumerate(rows):
        strip = np.s_[row * BLOCK : (row + 1) * BLOCK, : width * BLOCK]
        isBad = (mask[strip] & bits) != 0
        planes = np.bitwise_or.reduce(mask[strip], axis=0).reshape(width, BLOCK)
        hasSaturated[i] = (np.bitwise_or.reduce(planes, axis=1) & saturated) != 0
        pixels = np.where(isBad, np.float32(-np.inf), source.image[strip])
        highest[i] = np.fmax.reduce(np.fmax.reduce(pixels, axis=0).reshape(width, BLOCK), axis=1)
    level, spread = _skyOf(source, bits)
    if not math.isfinite(level):
        return nothing
    found = np.flatnonzero(highest.ravel() > level + PEAK_SIGMA * spread)
    order = np.argsort(-highest.ravel()[found], kind="stable")
    nFound = len(found)
    found = found[_spreadOver(order, MAX_BLOCKS)]
    blockY, blockX = rows[found // width], found % width
    steps = np.arange(BLOCK)
    where = (blockY[:, None, None] * BLOCK + steps[:, None], blockX[:, None, None] * BLOCK + steps)
    patches = np.where(((mask[where] & bits) != 0) | ~np.isfinite(source.image[where]), -np.inf, source.image[where])
    best = patches.reshape(len(found), BLOCK**2).argmax(axis=1)
    y, x = blockY * BLOCK + best // BLOCK, blockX * BLOCK + best % BLOCK
    inside = (np.minimum(x, y) > 0) & (x < source.width - 1) & (y < source.height - 1)
    x, y = x[inside].astype(np.int64), y[inside].astype(np.int64)
    near = np.arange(-1, 2)
    around = source.image[y[:, None, None] + near[:, None], x[:, None, None] + near].astype(np.float64).reshape(-1, 9)
    peak = around[:, 4]
    noise = np.sqrt(np.maximum(source.variance[y, x].astype(np.float64), spread**2))
    sharpness = (np.nan_to_num(around, nan=level).sum(axis=1) - peak - 8 * level) / (8 * (peak - level))
    isPeak = (peak - level > PEAK_SIGMA * noise) & (sharpness > LEAST_SHARPNESS)
    # A block beside a bright source has its highest pixel on the border, below its neighbour.
    isPeak &= peak >= np.nan_to_num(around, nan=-np.inf).max(axis=1)
    chosen = _spreadOver(np.flatnonzero(isPeak), MAX_SOURCES)
    # A star and what bleeds from it reach over blocks side by side: the first of them counts.
    isFirst = hasSaturated.copy()
    isFirst[1:] &= ~hasSaturated[:-1]
    isFirst[:, 1:] &= ~hasSaturated[:, :-1]
    nSaturated = int(np.count_nonzero(isFirst))
    nPeaks = np.count_nonzero(isPeak) * nFound / max(len(found), 1)
    return Peaks(x[chosen], y[chosen], nSaturated / (nSaturated + nPeaks) if nSaturated else 0.0)


def _spreadOver(indices: IntArray, most: int) -> IntArray:
    """Return at most so many of the indices: the first half of them, and an even choice of the others."""
    if len(indices) <= most:
        return indices
    first = most // 2
    others = np.linspace(first, len(indices) - 1, most - first).astype(np.int64)
    return np.concatenate([indices[:first], indices[others]])


def _skyOf(source: MaskedImage, bits: np.int32) -> tuple[float, float]:
    """Return median and robust scatter of some hundred thousand good pixels."""
    step = max(1, math.isqrt(source.image.size // 100_000))
    pixels = source.image[::step, ::step]
    pixels = pixels[((np.asarray(source.mask)[::step, ::step] & bits) == 0) & np.isfinite(pixels)]
    if not pixels.size:
        return math.nan, math.nan
    middle = float(np.median(pixels))
    below = middle - pixels[pixels <= middle]  # sources lie above
    return middle, max(1.4826 * float(np.median(below)), 1e-9 * float(np.abs(pixels).max()) + 1e-30)
