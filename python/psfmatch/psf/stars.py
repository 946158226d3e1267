"""Widths of the stars of an image, and which sources are stars."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.medians import medians
from psfmatch.psf.moments import adaptiveMomentsOfStamps, determinantFwhm
from psfmatch.strips import mapStrips
from psfmatch.threads import mapThreads

__all__ = ["measureWidths", "selectStarWidths", "starFwhms"]

FloatArray = npt.NDArray[np.float64]
BadPixels = npt.NDArray[np.bool_] | Callable[[Any], npt.NDArray[np.bool_]]
MIN_FWHM_PIX = 1.2
"""Narrower than this (pixels) are hot pixels and cosmic rays, not stars."""
CORE_RADIUS_PIX = 3
"""No bad pixel may lie within the core; a centre that leaves it has wandered to a neighbour."""
LEAST_REACH_PIX = 5
"""Sources nearer to the edge than this are not measured."""


def starFwhms(
    *images: tuple[npt.NDArray[np.float32], BadPixels], positions: FloatArray, threads: int = 1
) -> list[float | None]:
    """Measure the FWHM of the stars of one or several registered images.

    Parameters
    ----------
    *images
        Pixels and bad pixels of each image, as for `measureWidths`.
    positions : (N, 2)
        x and y of sources in array coordinates. Which of them are stars is judged by all images together.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    fwhms
        Median over the stars, in pixels, for each image; None where no source could be measured.
    """
    widths = mapThreads(lambda image: measureWidths(*image, positions[:, 0], positions[:, 1]), images, threads)
    stars = selectStarWidths(np.exp(np.mean(np.log(widths), axis=0)))
    if not stars.any():
        # No source can be measured in all of them: each image for itself.
        return [float(np.median(own[selectStarWidths(own)])) if selectStarWidths(own).any() else None for own in widths]
    return [float(np.median(own[stars])) for own in widths]


def measureWidths(
    image: npt.NDArray[np.float32],
    bad: BadPixels,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    radius: int = 15,
) -> FloatArray:
    """Measure the FWHM of every source of a list.

    Parameters
    ----------
    image
        Pixels, [y, x].
    bad
        Pixels not to be used, same shape, or a function that returns those of a part, given as an index of the array;
        a source with one within its core (3 pixels) is not measured.
    x, y
        Positions of N sources in array coordinates; a source more than 3 pixels away is another one.
    radius
        Half width in pixels of the stamps.

    Returns
    -------
    widths : (N,)
        In pixels; NaN where a source cannot be measured.
    """
    xs, ys = np.atleast_1d(np.asarray(x, dtype=float)), np.atleast_1d(np.asarray(y, dtype=float))
    if xs.shape != ys.shape:
        raise ValueError(f"{xs.size} values of x and {ys.size} of y make no positions")
    widths = np.full(xs.shape, math.nan)
    index, stamps = _stampsOf(image, bad, xs, ys, radius)
    if index.size:
        x, y = (values[index] - np.floor(values[index] + 0.5) + radius for values in (xs, ys))
        moments = adaptiveMomentsOfStamps(stamps, x, y, maxShift=CORE_RADIUS_PIX)
        widths[index] = [determinantFwhm((ixx, iyy, ixy)) for ixx, iyy, ixy in moments.tolist()]
    return widths


def _stampsOf(
    image: npt.NDArray[np.float32], bad: BadPixels, x: FloatArray, y: FloatArray, radius: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return which sources can be measured, and the pixels about each without the sky, zero where bad or outside.

    Near the edge a stamp is smaller, and zero about that. The sky is the median of the two outermost rows and columns
    on all sides.
    """
    height, width = image.shape
    column, row = np.floor(x + 0.5), np.floor(y + 0.5)
    reach = np.minimum.reduce([np.full(x.shape, float(radius)), column, row, width - 1 - column, height - 1 - row])
    index = np.flatnonzero(reach >= LEAST_REACH_PIX)
    offset = np.arange(-radius, radius + 1)
    distance = np.maximum(np.abs(offset[:, np.newaxis]), np.abs(offset))
    isCore = distance <= CORE_RADIUS_PIX
    stamps = np.empty((index.size, *distance.shape))
    isSound = np.empty(index.size, dtype=bool)

    def cut(strip: slice) -> None:
        rows, columns = (values[index[strip]].astype(int)[:, np.newaxis] + offset for values in (row, column))
        pick = np.clip(rows, 0, height - 1)[:, :, np.newaxis], np.clip(columns, 0, width - 1)[:, np.newaxis, :]
        isBad = bad(pick) if callable(bad) else bad[pick]
        most = reach[index[strip], np.newaxis, np.newaxis]
        good = ~isBad & (distance <= most)
        rim = good & (distance >= most - 1)
        values = image[pick].astype(np.float64)
        values -= medians(values, rim)[:, np.newaxis, np.newaxis]
        stamps[strip] = np.where(good, values, 0.0)
        isSound[strip] = rim.any(axis=(1, 2)) & ~(isBad & isCore).any(axis=(1, 2))

    # One thread: these are a few hundred small stamps.
    mapStrips(cut, stamps.shape, 1)
    return index[isSound], stamps[isSound]


def selectStarWidths(widths: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which of N widths belong to stars: the narrowest width that many sources share.

    Stars have one width; galaxies have many, all larger; artefacts are narrower but few. So of all groups of widths
    that agree within 6 % the narrowest one is taken that has at least three members and a quarter of those of
    the largest group (or the largest group, where none has three).
    """
    values = np.asarray(widths, dtype=np.float64)
    usable = np.isfinite(values) & (values > MIN_FWHM_PIX)
    if not usable.any():
        return usable
    logs = np.where(usable, np.log(np.where(usable, values, 1.0)), np.inf)
    ordered = np.sort(logs[usable])
    counts = np.searchsorted(ordered, ordered + 0.06, "right") - np.searchsorted(ordered, ordered - 0.06, "left")
    enough = counts >= min(counts.max(), max(3, 0.25 * counts.max()))
    first = int(np.argmax(enough))
    # From the edge of the group to its middle: the fullest window that begins inside the first.
    nearby = (ordered <= ordered[first] + 0.12) & enough
    centre = ordered[nearby][np.argmax(counts[nearby])]
    return np.asarray(usable & (np.abs(logs - centre) <= 0.06))
