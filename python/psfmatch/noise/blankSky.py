"""Windows of blank sky, spread evenly over an image: where noise is measured.

Raw images carry no flags of their sources. So each window is smoothed over 5 x 5 pixels, which raises what is wider
than a pixel over the noise, and pixels near anything that stands out are left out, whichever its sign. Thresholds
follow the scatter that is found, not the variance plane.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
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
"""Side of the cells of a window whose sky is taken off, a plane each."""
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
    isBlank : blank sky with a positive variance; variances : image units squared; rows (ny, s), columns (nx, t) :
    which pixels of the image, n = ny nx, those of a row of windows together; freedom : independent
    pixels per pixel, less than 1 for the planes that were taken off.
    """

    values: Image
    pulls: Image
    variances: Image
    isBlank: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
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
    values = _withoutMedian(image, good)
    blank = good
    for _ in range(PASSES):
        blank = good & ~_sources(np.asarray(values / np.sqrt(variance)), good, blank)
        values = _withoutPlane(image, blank)
    values = np.where(blank, values, np.float32(0.0))
    nNumbers = 3 * len(values) * len(_cells(values))
    freedom = max(0.5, 1.0 - nNumbers / max(1, int(np.count_nonzero(blank))))
    return BlankSky(values, np.asarray(values / np.sqrt(variance)), variance, blank, rows, columns, freedom)


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


def _cells(image: Image) -> list[tuple[slice, slice, slice]]:
    """Return the cells of windows (n, s, t)."""
    corners = itertools.product(*(range(0, side, SKY_PIX) for side in image.shape[1:]))
    return [np.s_[:, top : top + SKY_PIX, left : left + SKY_PIX] for top, left in corners]


def _withoutMedian(image: Image, good: npt.NDArray[np.bool_]) -> Image:
    """Return windows without the median of the good pixels of each cell."""
    result = np.empty_like(image)
    for cell in _cells(image):
        count = np.count_nonzero(good[cell], axis=(1, 2))
        # What is not good sorts to the end.
        ordered = np.sort(np.where(good[cell], image[cell], np.float32(np.inf)).reshape(len(image), -1), axis=1)
        middle = ordered[np.arange(len(image)), np.maximum(count - 1, 0) // 2]
        result[cell] = image[cell] - np.where(count > 0, middle, np.float32(0.0))[:, np.newaxis, np.newaxis]
    return result


def _withoutPlane(image: Image, blank: npt.NDArray[np.bool_]) -> Image:
    """Return windows without the mean and the slopes, along x and y, of the blank pixels of each cell."""
    result = np.empty_like(image)
    for cell in _cells(image):
        pixels, weight = image[cell], blank[cell].astype(np.float32)
        count = np.maximum(weight.sum(axis=(1, 2)), 1.0)[:, np.newaxis, np.newaxis]
        pixels = pixels - (weight * pixels).sum(axis=(1, 2), keepdims=True) / count
        height, width = pixels.shape[1:]
        # One after the other: gaps leave the two slopes nearly independent, and the passes see to the rest.
        for position in (
            np.arange(width, dtype=np.float32)[np.newaxis],
            np.arange(height, dtype=np.float32)[:, np.newaxis],
        ):
            offset = position - (weight * position).sum(axis=(1, 2), keepdims=True) / count
            power = (weight * offset**2).sum(axis=(1, 2), keepdims=True)
            slope = (weight * offset * pixels).sum(axis=(1, 2), keepdims=True) / np.maximum(power, 1.0)
            pixels = pixels - slope * offset
        result[cell] = pixels
    return result


def _sources(pulls: Image, good: npt.NDArray[np.bool_], blank: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels near anything that stands out of windows (n, s, t), whose blank pixels are known roughly."""
    pulls = np.where(good, pulls, np.float32(0.0))
    middle, width = _scatter(pulls, blank)
    # One pixel, however bright, is no source.
    limit = np.float32(PIXEL_SIGMA) * width
    smoothed = np.clip(pulls - middle, -limit, limit)
    single = np.abs(pulls - middle) > limit
    for axis in (1, 2):
        smoothed = _overBox(smoothed, SMOOTHING_PIX // 2, axis, np.add)
    middle, width = _scatter(smoothed, blank)
    sources = np.abs(smoothed - middle) > np.float32(SOURCE_SIGMA) * width
    for axis in (1, 2):
        sources = _overBox(sources, GROW_PIX, axis, np.logical_or)
    return np.asarray(sources | single)


def _scatter(values: Image, blank: npt.NDArray[np.bool_]) -> tuple[np.float32, np.float32]:
    """Return median and robust standard deviation of every fourth blank pixel; infinite without any."""
    sample = values[:, ::2, ::2][blank[:, ::2, ::2]]
    if sample.size < 2:
        return np.float32(0.0), np.float32(np.inf)
    return np.float32(np.median(sample)), np.float32(robustStdev(sample))


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
