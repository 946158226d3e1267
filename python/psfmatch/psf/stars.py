"""Widths of the stars of an image, and which sources are stars."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from psfmatch.psf.moments import adaptiveMomentsOfStamps, determinantFwhm

__all__ = ["measureWidths", "selectStarWidths", "starFwhms"]

FloatArray = npt.NDArray[np.float64]
BadPixels = npt.NDArray[np.bool_] | Callable[[tuple[slice, slice]], npt.NDArray[np.bool_]]
MIN_FWHM_PIX = 1.2
"""Narrower than this (pixels) are hot pixels and cosmic rays, not stars."""
CORE_RADIUS_PIX = 3
"""No bad pixel may lie within the core; a centre that leaves it has wandered to a neighbour."""


def starFwhms(*images: tuple[npt.NDArray[np.float32], BadPixels], positions: FloatArray) -> list[float | None]:
    """Measure the FWHM of the stars of one or several registered images.

    Parameters
    ----------
    *images
        Pixels and bad pixels of each image, as for `measureWidths`.
    positions : (N, 2)
        x and y of sources in array coordinates. Which of them are stars is judged by all images together.

    Returns
    -------
    fwhms
        Median over the stars, in pixels, for each image; None where no source could be measured.
    """
    widths = [measureWidths(image, bad, positions[:, 0], positions[:, 1]) for image, bad in images]
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
        Pixels not to be used, same shape, or a function that returns those of a part, given as two slices; a source
        with one within its core (3 pixels) is not measured.
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
    widths = np.full(xs.shape, math.nan)
    found = [_stampOf(image, bad, sx, sy, radius) for sx, sy in zip(xs, ys, strict=True)]
    number = [i for i, stamp in enumerate(found) if stamp is not None]
    if number:
        stamps = np.array([stamp for stamp in found if stamp is not None])
        x, y = (values[number] - np.floor(values[number] + 0.5) + radius for values in (xs, ys))
        moments = adaptiveMomentsOfStamps(stamps, x, y, maxShift=CORE_RADIUS_PIX)
        widths[number] = [determinantFwhm((ixx, iyy, ixy)) for ixx, iyy, ixy in moments.tolist()]
    return widths


def _stampOf(image: npt.NDArray[np.float32], bad: BadPixels, x: float, y: float, radius: int) -> FloatArray | None:
    """Return the background-free pixels about a source, zero where bad or outside; None if it cannot be measured."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return None
    height, width = image.shape
    px, py = math.floor(x + 0.5), math.floor(y + 0.5)
    r = min(radius, px, py, width - 1 - px, height - 1 - py)
    if r < 5:
        return None
    box = (slice(py - r, py + r + 1), slice(px - r, px + r + 1))
    stampBad = bad(box) if callable(bad) else bad[box]
    rim = np.ones(stampBad.shape, dtype=bool)
    rim[2:-2, 2:-2] = False
    rim &= ~stampBad
    core = slice(r - CORE_RADIUS_PIX, r + CORE_RADIUS_PIX + 1)
    if stampBad[core, core].any() or not rim.any():
        return None
    inner = image[box].astype(np.float64)
    inner -= np.median(inner[rim])
    inner[stampBad] = 0.0
    stamp = np.zeros((2 * radius + 1, 2 * radius + 1))
    stamp[radius - r : radius + r + 1, radius - r : radius + r + 1] = inner
    return stamp


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
