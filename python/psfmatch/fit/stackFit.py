"""The kernel between two images from the light of all their sources together, where no source alone tells it.

A fit to pixels takes the noise of the image that is convolved for light: where stars are faint that lowers the kernel
sum, by nine tenths at worst, and what freedom a kernel has is spent on noise. So both images are stacked at their
sources; the stacks, which have the signal-to-noise ratio of all sources together, tell a flux ratio, one width and one
shift, and no more (`psfmatch/fit/StackMatch.h`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage, stampTuple

__all__ = ["StackMatch", "matchSources"]

FloatArray = npt.NDArray[np.float64]
REACH_FWHM, MIN_RADIUS, MAX_RADIUS = 3.0, 12, 60
"""Half width of the stamps in units of the wider PSF's FWHM, and its limits, pixels."""
WIDEST = 1.5
"""Of a stack, in units of the width that its sources were found with: more is the glow of a crowd or a nebula."""
MAX_SOURCES = 300
MAX_WEIGHT = 4.0
"""Of a source, in units of the median: one bright star is not all that there is."""
MIN_SNR = 5.0
"""Of a stack that shows light."""


@dataclass(frozen=True, eq=False)
class StackMatch:
    """What takes the stacked light of one image to that of another.

    ratio, ratioError : light of the second in units of the first; variance, varianceError : of the kernel's width,
    square pixels; shift, shiftError : (x, y) pixels from the first image to the second, and the error along each axis;
    fwhms, snr : of both stacks, pixels, and of all light in each of them; nSources : stacked; chiSquare : per mode;
    power : of the shape, 1 of a Gaussian, 5/6 of the kernel between two seeing discs, less with wider wings; kernel :
    (h, w), as a convolution, its sum the ratio.
    """

    ratio: float
    ratioError: float
    variance: float
    varianceError: float
    shift: tuple[float, float]
    shiftError: float
    fwhms: tuple[float, float]
    snr: tuple[float, float]
    nSources: int
    chiSquare: float
    power: float
    kernel: FloatArray

    @property
    def isFound(self) -> bool:
        """Whether both images show light."""
        return self.kernel.size > 0 and min(self.snr) >= MIN_SNR and self.ratio > MIN_SNR * self.ratioError


NOTHING = StackMatch(
    math.nan, math.nan, 0.0, math.nan, (0.0, 0.0), math.nan, (math.nan, math.nan), (0.0, 0.0), 0, math.nan, 1.0,
    np.zeros((0, 0)),
)  # fmt: skip


def matchSources(
    first: MaskedImage,
    second: MaskedImage,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    weights: npt.ArrayLike,
    fwhms: tuple[float, float],
    shift: tuple[float, float] | None = None,
    threads: int = 1,
) -> StackMatch:
    """Stack two registered images at their sources and find what takes one stack to the other.

    Parameters
    ----------
    first, second
        Of one shape, on one grid; not changed. Pixels of `DEFAULT_BAD_PLANES` do not count.
    x, y
        (n,) places of sources of either image, array coordinates, the most useful first.
    weights
        (n,) of each source; what is not finite counts as the median.
    fwhms
        About those of both PSFs, pixels, as the sources were found with.
    shift
        (x, y) pixels, where it is known from elsewhere; None: it is found.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    match : StackMatch
        Not `isFound` where an image shows no light at the places.
    """
    x, y, weights = (np.asarray(values, dtype=np.float64)[:MAX_SOURCES] for values in (x, y, weights))
    known = np.isfinite(weights) & (weights > 0.0)
    typical = float(np.median(weights[known])) if known.any() else 1.0
    weights = np.clip(np.where(known, weights / typical, 1.0), 1.0 / MAX_WEIGHT, MAX_WEIGHT)
    images = [stampTuple(image, DEFAULT_BAD_PLANES) for image in (first, second)]
    radius = min(MAX_RADIUS, max(MIN_RADIUS, math.ceil(REACH_FWHM * max(fwhms))))
    stacks, count = _core.stackSources(images, x, y, weights, radius=radius, nThreads=threads)
    (one, variance, width), (other, otherVariance, otherWidth) = stacks
    if not (count and width > 0.0 and otherWidth > 0.0 and variance > 0.0 and otherVariance > 0.0):
        return replace(NOTHING, nSources=count)
    widest = WIDEST * max(fwhms)
    widths = min(width, widest), min(otherWidth, widest)
    found = _core.matchStacks(one, other, variances=(variance, otherVariance), fwhms=widths, shift=shift)
    # Stamps that overlap share their noise.
    scale = math.sqrt(max(1.0, found["chiSquare"]))
    for name in ("ratioError", "varianceError", "shiftError"):
        found[name] *= scale
    return StackMatch(**found, fwhms=widths, nSources=count)
