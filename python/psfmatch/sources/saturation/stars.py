"""Stars of good shape: peaks that fall off as the PSF does, and so are neither clipped nor cosmic rays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import BrightPixels, StarPeaks
from psfmatch.images import Exposure

__all__ = ["ShapedStars", "findShapedStars"]

DISTANCES = (1, 2, 4, 8)
"""Pixels from a peak at which its fall is measured: the first at which that of the PSF tells."""
PLAIN_FALL = 0.15
LEAST_FALL = 0.06
"""Smaller ones are made by noise on a flat top."""
FALLS = (0.6, 2.2)
"""Least and most falls of stars, as shares of those of the PSF: the smaller of those in x and y, and the larger."""
REFERENCE = (0.05, 0.5)
"""Peaks that tell the fall of the PSF, as shares of the brightest: they are neither clipped nor faint."""
BRIGHTEST = 0.98
MIN_REFERENCE = 3
MOST_PIXELS = (3, 2.0)
"""Pixels of a star's peak, and times those of a Gaussian, that unclipped stars exceed nowhere."""


@dataclass(frozen=True)
class ShapedStars:
    """Stars of good shape without a bad pixel, the brightest first.

    places : their highest pixels, row * width + column; peaks : their counts above the sky;
    psfSigma : of the PSF's core in pixels, 1 if no peak tells.
    """

    places: npt.NDArray[np.int64]
    peaks: npt.NDArray[np.float64]
    psfSigma: float

    def pixelsAbove(self, base: float, height: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return how many pixels a star of a height has above a base, both above the sky, at the most."""
        # A Gaussian has 2 pi sigma^2 ln(height / base).
        return MOST_PIXELS[0] + MOST_PIXELS[1] * 2.0 * np.pi * self.psfSigma**2 * np.log(np.asarray(height) / base)


def findShapedStars(exposure: Exposure, bright: BrightPixels, badBits: int, threads: int = 1) -> ShapedStars:
    """Find the stars of good shape among bright pixels; planes of badBits are not next to their peaks."""
    for distance in DISTANCES:
        peaks = _core.starPeaks(
            exposure.image, np.asarray(exposure.mask), bright, badBits=badBits, distance=distance, nThreads=threads
        )
        falls = np.array([np.minimum(peaks.fallX, peaks.fallY), np.maximum(peaks.fallX, peaks.fallY)])
        reference, larger = _referenceFalls(peaks, falls)
        if reference >= PLAIN_FALL:
            break
    chosen = np.flatnonzero((falls[0] > max(LEAST_FALL, FALLS[0] * reference)) & (falls[1] < FALLS[1] * larger))
    counts = peaks.counts[chosen]
    order = np.argsort(-counts, kind="stable")
    # Of a Gaussian's fall, 1 - exp(-d^2 / 2 sigma^2).
    isTold = 0.0 < reference < 1.0
    sigma = distance / math.sqrt(-2.0 * math.log1p(-reference)) if isTold else 1.0
    return ShapedStars(peaks.places[chosen[order]], counts[order], sigma)


def _referenceFalls(peaks: StarPeaks, falls: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the median smaller and larger falls of peaks of middling brightness, or of the fainter half.

    NaN without any.
    """
    # Flat tops have as many peaks as noise makes.
    isSteep = falls[0] > LEAST_FALL
    counts, falls = peaks.counts[isSteep], falls[:, isSteep]
    if not counts.size:
        return math.nan, math.nan
    low, high = np.array(REFERENCE) * np.quantile(counts, BRIGHTEST)
    isChosen = (counts >= low) & (counts <= high)
    if np.count_nonzero(isChosen) < MIN_REFERENCE:
        isChosen = counts <= np.median(counts)
    smaller, larger = np.median(falls[:, isChosen], axis=1)
    return float(smaller), float(larger)
