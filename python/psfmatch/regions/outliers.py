"""Pixels that the model of the other regions cannot explain: variable stars, transients, cosmic rays, blends."""

from __future__ import annotations

import numpy as np

from psfmatch.regions.pixels import BoolStack, PixelStack, Residuals, robustSpread

__all__ = ["boxSum", "findOutliers"]

SMOOTHING = 5
"""Side (pixels) of the box over which residuals are smoothed: about the core of a star."""
SIGNAL_CLASSES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Borders of the classes of predicted signal, in standard deviations of a pixel."""
MIN_CLASS_REGIONS = 4
"""Pixels of fewer regions do not tell what is usual: a star's own misfit would be its measure."""
MIN_CLASS_PIXELS = 40


def findOutliers(residuals: Residuals, threshold: float, growth: int) -> BoolStack:
    """Return the pixels that the model cannot explain, with their surroundings.

    Parameters
    ----------
    residuals
        Of a model that has not seen the region, so that an outlier cannot hide by being fitted.
    threshold
        In units of the spread of the smoothed residual among pixels of like signal, and never less in sigma: where
        no model is perfect, bright stars must not be rejected for it. A class of few regions takes the spread of
        the class below, in proportion to its signal.
    growth
        Pixels.
    """
    smoothed = boxSum(residuals.pull, SMOOTHING)
    smoothed /= np.sqrt(np.maximum(boxSum(residuals.usable.astype(np.float32), SMOOTHING), 1))
    limit = np.full(smoothed.shape, threshold, dtype=np.float32)
    classes = np.searchsorted(np.array(SIGNAL_CLASSES, dtype=np.float32), residuals.signal.ravel())
    classes = np.where(residuals.usable.ravel(), classes, -1).reshape(smoothed.shape)
    spread, middle = 1.0, 1.0
    for number in range(len(SIGNAL_CLASSES) + 1):
        members = classes == number
        if not members.any():
            continue
        nRegions = int(members.any(axis=(1, 2)).sum())
        ownMiddle = float(np.median(residuals.signal[members]))
        if nRegions >= MIN_CLASS_REGIONS and int(members.sum()) >= MIN_CLASS_PIXELS:
            spread, middle = robustSpread(smoothed[members]), ownMiddle
            own = spread
        else:
            own = spread * max(1.0, ownMiddle / max(middle, 1.0))
        limit[members] = threshold * max(1.0, own)
    return grown(residuals.usable & (np.abs(smoothed) > limit), growth)


def boxSum(values: PixelStack, side: int) -> PixelStack:
    """Return the sum over a box about every pixel; what lies outside counts as 0."""
    half = side // 2
    for axis in (1, 2):
        total = values.copy()
        for step in range(1, half + 1):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            total[tuple(behind)] += values[tuple(ahead)]
            total[tuple(ahead)] += values[tuple(behind)]
        values = total
    return values


def grown(flags: BoolStack, radius: int) -> BoolStack:
    """Return the flags grown by a square of `radius` pixels on every side, within their regions."""
    touched = np.flatnonzero(flags.any(axis=(1, 2)))
    result = flags.copy()
    if touched.size and radius > 0:
        result[touched] = boxSum(flags[touched].astype(np.float32), 2 * radius + 1) > 0.5
    return result
