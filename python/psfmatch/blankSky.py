"""Windows of blank sky, spread evenly over an image: where noise is measured.

Raw images carry no flags of their sources. So each window is smoothed over 5 x 5 pixels, which raises what is wider
than a pixel over the noise, and pixels near anything that stands out are left out, whichever its sign. Thresholds
follow the scatter that is found, not the variance plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage

__all__ = ["SOURCE_PLANES", "BlankSky", "findBlankSky", "robustStdev"]

Image = npt.NDArray[np.float32]

SOURCE_PLANES = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "SAT", "CR", "EDGE", "NO_DATA", "INTRP")
"""Planes whose pixels are no blank sky."""
WINDOW_PIX = 64
"""Side of a window."""
SKY_PIX = 32
"""Side of the cells of a window whose sky is taken off, one number each."""
SMOOTHING_PIX = 5
"""Side of the box over which sources are looked for."""
SOURCE_SIGMA = 4.0
"""Smoothed values farther than this from the median belong to sources. Places are left out where noise alone makes a
peak that high, and what is left is narrower for it: by 0.1 % in variance at 4 sigma, by 1.5 % at 3."""
GROW_PIX = 3
"""Pixels that are left out about what stands out."""
PIXEL_SIGMA = 5.0
"""Single pixels beyond this are cosmic rays or defects."""
PASSES = 2


@dataclass(frozen=True)
class BlankSky:
    """Pixels of windows (n, s, t), with zeros where they are not blank sky.

    values : image minus its local sky; pulls : values / sqrt(variance), 0 without a positive variance;
    isBlank : blank sky with a positive variance; variances : image units squared; freedom : independent
    pixels per pixel, less than 1 for the levels of the sky that were taken off.
    """

    values: Image
    pulls: Image
    variances: Image
    isBlank: npt.NDArray[np.bool_]
    freedom: float

    @property
    def nPixels(self) -> int:
        """Number of pixels of blank sky."""
        return int(np.count_nonzero(self.isBlank))


def robustStdev(values: npt.NDArray[np.floating]) -> float:
    """Return 0.7413 times the interquartile range; NaN of fewer than two values."""
    if values.size < 2:
        return math.nan
    low, high = np.percentile(values, (25.0, 75.0))
    return float(0.7413 * (high - low))


def findBlankSky(maskedImage: MaskedImage, planes: Iterable[str] = SOURCE_PLANES, maxPixels: int = 300_000) -> BlankSky:
    """Return windows of an image with what is blank sky in them.

    Parameters
    ----------
    maskedImage
        Image, not changed.
    planes
        Planes whose pixels are left out.
    maxPixels
        About how many pixels to look at; they lie in windows of 64 x 64 on a regular grid.
    """
    rows, columns = _windows(maskedImage.shape, maxPixels)
    pick = rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]
    shape = (rows.shape[0] * columns.shape[0], rows.shape[1], columns.shape[1])
    image, variance = (plane[pick].reshape(shape) for plane in (maskedImage.image, maskedImage.variance))
    bits = np.int32(maskedImage.mask.getPlaneBitMask(planes, ignoreMissing=True))
    good = (np.asarray(maskedImage.mask)[pick].reshape(shape) & bits) == 0
    good &= np.isfinite(image)
    good &= variance > 0.0
    good &= variance < np.inf
    image, variance = np.where(good, image, np.float32(0.0)), np.where(good, variance, np.float32(1.0))
    values: Image = image - _sky(image, good, _median)
    blank = good
    for _ in range(PASSES):
        blank = good & ~_sources(np.asarray(values / np.sqrt(variance)), good, blank)
        values = np.asarray(image - _sky(image, blank, _mean))
    values = np.where(blank, values, np.float32(0.0))
    nCells = len(values) * math.prod(-(-side // SKY_PIX) for side in values.shape[1:])
    freedom = max(0.5, 1.0 - nCells / max(1, int(np.count_nonzero(blank))))
    return BlankSky(values, np.asarray(values / np.sqrt(variance)), variance, blank, freedom)


def _windows(shape: tuple[int, int], maxPixels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows (ny, s) and columns (nx, t) of windows."""
    wanted = math.sqrt(maxPixels / math.prod(shape))
    indices = []
    for size in shape:
        side = min(WINDOW_PIX, size)
        count = max(1, min(size // side, math.ceil(wanted * size / side)))
        starts = ((np.arange(count) + 0.5) * size / count - 0.5 * side).astype(np.int64)
        indices.append(np.clip(starts, 0, size - side)[:, np.newaxis] + np.arange(side))
    return indices[0], indices[1]


def _sky(
    image: Image, blank: npt.NDArray[np.bool_], statistic: Callable[[Image, npt.NDArray[np.bool_]], Image]
) -> Image:
    """Return the sky of windows (n, s, t), constant in cells; 0 in a cell without blank pixels."""
    sky = np.zeros_like(image)
    for top in range(0, image.shape[1], SKY_PIX):
        for left in range(0, image.shape[2], SKY_PIX):
            cell = np.s_[:, top : top + SKY_PIX, left : left + SKY_PIX]
            level = statistic(image[cell].reshape(len(image), -1), blank[cell].reshape(len(image), -1))
            sky[cell] = level[:, np.newaxis, np.newaxis]
    return sky


def _median(values: Image, isGood: npt.NDArray[np.bool_]) -> Image:
    count = np.count_nonzero(isGood, axis=1)
    # What is not good sorts to the end.
    ordered = np.sort(np.where(isGood, values, np.float32(np.inf)), axis=1)
    middle = ordered[np.arange(len(values)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, middle, np.float32(0.0))


def _mean(values: Image, isGood: npt.NDArray[np.bool_]) -> Image:
    count = np.count_nonzero(isGood, axis=1)
    mean = np.where(isGood, values, np.float32(0.0)).sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
    return np.asarray(mean, dtype=np.float32)


def _sources(pulls: Image, good: npt.NDArray[np.bool_], blank: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels near anything that stands out of windows (n, s, t), whose blank pixels are known roughly."""
    pulls = np.where(good, pulls, np.float32(0.0))
    smoothed = pulls
    for axis in (1, 2):
        smoothed = _overBox(smoothed, SMOOTHING_PIX // 2, axis, np.add)
    standsOut = np.zeros_like(good)
    for image, limit in ((smoothed, SOURCE_SIGMA), (pulls, PIXEL_SIGMA)):
        sample = image[:, ::2, ::2][blank[:, ::2, ::2]]
        if sample.size < 2:
            continue
        middle, width = np.float32(np.median(sample)), np.float32(limit * robustStdev(sample))
        standsOut |= np.abs(image - middle) > width
    for axis in (1, 2):
        standsOut = _overBox(standsOut, GROW_PIX, axis, np.logical_or)
    return standsOut


def _overBox(windows: Any, half: int, axis: int, combine: np.ufunc) -> Any:
    """Return windows (n, s, t) in which each pixel is combined with its neighbours along an axis; beyond it is 0."""
    result = windows.copy()
    size = windows.shape[axis]
    for step in range(1, min(half, size - 1) + 1):
        low = tuple(slice(0, size - step) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(step, size) if a == axis else slice(None) for a in range(3))
        combine(result[low], windows[high], out=result[low])
        combine(result[high], windows[low], out=result[high])
    return result
