"""Pixels that the model of the other regions cannot explain: variable stars, transients, cosmic rays, blends."""

from __future__ import annotations

import numpy as np

from psfmatch.regions.pixels import BoolStack, PixelStack, Residuals, robustSpread
from psfmatch.strips import mapStrips
from psfmatch.threads import mapThreads

__all__ = ["boxSum", "findOutliers"]

SMOOTHING = 5
"""Side (pixels) of the box over which residuals are smoothed: about the core of a star."""
NEAR = 11
"""Side (pixels) of the box whose brightest light tells what a model may get wrong: the wings suffer with the core."""
SIGNAL_CLASSES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Borders of the classes of predicted signal, in standard deviations of a pixel."""
MIN_CLASS_REGIONS = 4
"""Pixels of fewer regions do not tell what is usual: a star's own misfit would be its measure."""
MIN_CLASS_PIXELS = 40
LARGEST_SPREAD = 1e30
"""Sigma: of pixels near the largest float, whose squares are none."""
MIN_SIGNAL = 20.0
"""Signal-to-noise of a region's light above which its flux tells whether it varies."""
NOISE_SPREAD = 1.3
"""Square of the spread that noise and the held-out solution's own errors may make."""
USUAL_ERROR = 0.01
"""Of the light: flat field, linearity and a varying kernel sum leave so much, where few regions tell what is usual."""
MANY_REGIONS = 12
"""Bright regions whose scatter tells what is usual without that."""


def findOutliers(residuals: Residuals, threshold: float, growth: int, threads: int = 1) -> BoolStack:
    """Return the pixels that the model cannot explain, with their surroundings.

    Parameters
    ----------
    residuals
        Of a model that has not seen the region, so that an outlier cannot hide by being fitted.
    threshold
        In units of the spread of the smoothed residual among pixels of like signal, and never less in sigma: where
        no model is perfect, bright stars must not be rejected for it. A class of few regions takes the spread of
        the class below, and what it has beyond noise in proportion to its signal.
    growth
        Pixels.
    threads
        Number of threads; the result does not depend on it.
    """
    smoothed, near = np.empty_like(residuals.pull), np.empty_like(residuals.signal)

    def smooth(part: slice) -> None:
        count = boxSum(residuals.usable[part].astype(np.float32), SMOOTHING)
        smoothed[part] = boxSum(residuals.pull[part], SMOOTHING) / np.sqrt(np.maximum(count, 1))
        # Where nothing is known of a pixel, nothing is of its noise.
        near[part] = boxMax(np.where(residuals.usable[part], residuals.signal[part], np.float32(0)), NEAR)

    mapStrips(smooth, smoothed.shape, threads)
    # The wings of a star that does not fit are as bad as its core, which its faint pixels do not tell.
    lights = residuals.signal, near
    limit = threshold * np.maximum(
        *mapThreads(lambda light: _usualSpread(smoothed, light, residuals.usable), lights, threads)
    )
    rejected = grown(residuals.usable & (np.abs(smoothed) > limit), growth)
    rejected[variableRegions(residuals, threshold)] = True
    return rejected


def _usualSpread(smoothed: PixelStack, light: PixelStack, usable: BoolStack) -> PixelStack:
    """Return how far smoothed residuals (sigma) scatter among pixels of like light; never less than 1."""
    nClasses, nPixels = len(SIGNAL_CLASSES) + 1, light[0].size
    classes = np.searchsorted(np.array(SIGNAL_CLASSES, dtype=np.float32), light.ravel()).astype(np.int8)
    classes[~usable.ravel()] = nClasses  # a class of their own, which is passed over
    # Class after class, and pixel after pixel in each.
    order = np.argsort(classes, kind="stable")
    ends = np.cumsum(np.bincount(classes, minlength=nClasses)).tolist()
    orderedResiduals, orderedLight = (values.ravel()[order] for values in (smoothed, light))
    usual = np.ones(nClasses + 1, dtype=np.float32)
    spread, middle = 1.0, 1.0
    for number, (start, end) in enumerate(zip([0, *ends], ends[:nClasses], strict=False)):
        if start == end:
            continue
        nRegions = 1 + np.count_nonzero(np.diff(order[start:end] // nPixels))
        ownMiddle = float(np.median(orderedLight[start:end]))
        if nRegions >= MIN_CLASS_REGIONS and end - start >= MIN_CLASS_PIXELS:
            spread, middle = robustSpread(orderedResiduals[start:end]), ownMiddle
            own = spread
        else:
            # What is beyond noise in the class below is an error in proportion to the light.
            excess = max(0.0, spread**2 - NOISE_SPREAD) ** 0.5
            error = USUAL_ERROR * SMOOTHING * ownMiddle
            own = (1.0 + (excess * max(1.0, ownMiddle / max(middle, 1.0))) ** 2 + error**2) ** 0.5
        usual[number] = min(max(1.0, own), LARGEST_SPREAD)
    return usual[classes].reshape(smoothed.shape)


def variableRegions(residuals: Residuals, threshold: float) -> BoolStack:
    """Return which regions (regions) have another flux than the model says, against the scatter of all others.

    The fraction of the predicted light that is left, d = sum(pull signal) / sum(signal^2), stands out from its median
    by `threshold` times its error and the robust spread of all: a variable star among so few that it moves the model of
    the others. Five bright regions are the least that tell what is usual.
    """
    signal = np.where(residuals.usable & (residuals.signal > 1.0), residuals.signal, np.float32(0)).astype(np.float64)
    power = (signal**2).sum(axis=(1, 2))
    isBright = power > MIN_SIGNAL**2
    variable = np.zeros(power.size, dtype=bool)
    if int(isBright.sum()) >= 5:
        left = (residuals.pull[isBright] * signal[isBright]).sum(axis=(1, 2)) / power[isBright]
        middle = np.median(left)
        spread = 1.4826 * np.median(np.abs(left - middle))
        usual = USUAL_ERROR if int(isBright.sum()) < MANY_REGIONS else 0.0
        error = np.sqrt(1.0 / power[isBright] + spread**2 + usual**2)
        variable[isBright] = np.abs(left - middle) > threshold * error
    return variable


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


def boxMax(values: PixelStack, side: int) -> PixelStack:
    """Return the largest value in a box about every pixel, within its region."""
    half = side // 2
    for axis in (1, 2):
        largest = values.copy()
        for step in range(1, half + 1):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            np.maximum(largest[tuple(behind)], values[tuple(ahead)], out=largest[tuple(behind)])
            np.maximum(largest[tuple(ahead)], values[tuple(behind)], out=largest[tuple(ahead)])
        values = largest
    return values


def grown(flags: BoolStack, radius: int) -> BoolStack:
    """Return the flags grown by a square of `radius` pixels on every side, within their regions."""
    touched = np.flatnonzero(flags.any(axis=(1, 2)))
    result = flags.copy()
    if touched.size and radius > 0:
        result[touched] = boxSum(flags[touched].astype(np.float32), 2 * radius + 1) > 0.5
    return result
