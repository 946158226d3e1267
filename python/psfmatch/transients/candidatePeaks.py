"""Peaks of the significance that may be sources, and which fits that began at them are not second ones of the same."""

from __future__ import annotations

import logging
import math

import numpy as np
import numpy.typing as npt

from psfmatch.transients.significance import Peaks, Significance, findPeaks

__all__ = ["areFirst", "candidatePeaks"]

log = logging.getLogger("psfmatch.differenceSources")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MAX_SOURCES = 50_000
"""More are a failed subtraction; the most significant ones are measured."""


def candidatePeaks(found: Significance, threshold: float) -> Peaks:
    """Return the peaks that may reach the threshold once their position is fitted."""
    sigma = found.psf.sigma
    # A source between four pixels, half a diagonal from each, shows exp(-r^2 / (4 sigma^2)) of its significance.
    least = threshold * math.exp(-0.5 / (4.0 * sigma**2))
    peaks = findPeaks(found.image, least, max(1, round(0.5 * found.psf.fwhm)))
    if peaks.x.size > MAX_SOURCES:
        log.warning(
            "%d peaks above %.1f sigma: the subtraction has failed; the first %d are measured",
            peaks.x.size, threshold, MAX_SOURCES,
        )  # fmt: skip
        peaks = Peaks(peaks.x[:MAX_SOURCES], peaks.y[:MAX_SOURCES], peaks.value[:MAX_SOURCES])
    return peaks


def areFirst(x: FloatArray, y: FloatArray, significance: FloatArray) -> BoolArray:
    """Return which fits are not a second one of the same source: within a pixel of one as significant, same sign."""
    isFirst = np.ones(x.size, dtype=bool)
    rank = np.argsort(np.argsort(-np.abs(significance), kind="stable"), kind="stable")
    order = np.argsort(y, kind="stable")
    first = np.arange(x.size)
    for step in range(1, x.size):
        first = first[first + step < x.size]
        a, b = order[first], order[first + step]
        isNear = y[b] - y[a] < 1.0
        first, a, b = first[isNear], a[isNear], b[isNear]
        if not first.size:
            break
        isSame = (np.hypot(x[b] - x[a], y[b] - y[a]) < 1.0) & (significance[a] * significance[b] > 0.0)
        a, b = a[isSame], b[isSame]
        isFirst[np.where(rank[a] > rank[b], a, b)] = False
    return isFirst
