"""Widths of the stars of an image, and which sources are stars."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import MaskedImage, stampTuple

__all__ = ["measureBroadWidths", "measureWidths", "selectStarWidths", "stackedFwhm", "starFwhms"]

FloatArray = npt.NDArray[np.float64]
STAMP_RADIUS = 15
BROAD_FWHM, BROAD_REACH, MAX_RADIUS = 9.0, 1.67, 60
"""Pixels, from which stars are broader than the usual stamps can hold: these then reach so many FWHM, to `MAX_RADIUS`
pixels at most."""
STACK_REACH = 2.5
"""Half width of the stamps that are stacked, in units of the FWHM."""
MIN_FWHM_PIX = 1.2
"""Narrower than this (pixels) are hot pixels and cosmic rays, not stars."""


def starFwhms(
    *images: MaskedImage, planes: Iterable[str], positions: FloatArray, threads: int = 1
) -> list[float | None]:
    """Measure the FWHM of the stars of one or several registered images.

    Parameters
    ----------
    *images
        Of one shape.
    planes
        Names of mask planes whose pixels are not used.
    positions : (N, 2)
        x and y of sources in array coordinates. Which of them are stars is judged by all images together.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    fwhms
        Median over the stars, in pixels, for each image; None where no source could be measured.
    """
    x, y = np.asarray(positions, dtype=np.float64).T
    planes = tuple(planes)
    widths = [measureBroadWidths(image, planes, x, y, threads) for image in images]
    stars = selectStarWidths(np.exp(np.mean(np.log(widths), axis=0)))
    if not stars.any():
        # No source can be measured in all of them: each image for itself.
        return [float(np.median(own[selectStarWidths(own)])) if selectStarWidths(own).any() else None for own in widths]
    return [float(np.median(own[stars])) for own in widths]


def measureWidths(
    image: MaskedImage,
    planes: Iterable[str],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    radius: int = STAMP_RADIUS,
    threads: int = 1,
) -> FloatArray:
    """Measure the FWHM of every source of a list: 2.3548 (Ixx Iyy - Ixy^2)^(1/4) of its adaptive moments.

    Parameters
    ----------
    image
        Its sky is taken off star by star: the median of the two outermost rows and columns of each stamp.
    planes
        Names of mask planes whose pixels are not used; a source with one within its core (3 pixels) is not measured.
    x, y
        Positions of N sources in array coordinates; a source more than 3 pixels away is another one.
    radius
        Half width in pixels of the stamps, which are smaller near the edge of the image.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    widths : (N,)
        In pixels; NaN where a source cannot be measured.

    Raises
    ------
    ValueError
        If x and y differ in number, or the radius is below 5.
    """
    return _core.starWidths(
        image.image,
        image.variance,
        np.asarray(image.mask),
        image.mask.getPlaneBitMask(planes, ignoreMissing=True),
        np.atleast_1d(np.asarray(x, dtype=np.float64)),
        np.atleast_1d(np.asarray(y, dtype=np.float64)),
        radius=radius,
        nThreads=threads,
    )


def measureBroadWidths(
    image: MaskedImage, planes: Iterable[str], x: npt.ArrayLike, y: npt.ArrayLike, threads: int = 1
) -> FloatArray:
    """Measure the FWHM of every source as `measureWidths` does, on larger stamps where the stars are broad."""
    radius, planes = STAMP_RADIUS, tuple(planes)
    widths = measureWidths(image, planes, x, y, radius, threads)
    while radius < MAX_RADIUS:
        isStar = selectStarWidths(widths)
        fwhm = float(np.median(widths[isStar])) if isStar.any() else 0.0
        larger = min(MAX_RADIUS, math.ceil(BROAD_REACH * fwhm))
        if not (fwhm > BROAD_FWHM and larger > radius):
            break
        radius = larger
        widths = measureWidths(image, planes, x, y, radius, threads)
    return widths


def stackedFwhm(
    image: MaskedImage, planes: Iterable[str], x: npt.ArrayLike, y: npt.ArrayLike, threads: int = 1
) -> float | None:
    """Return the FWHM (pixels) of faint sources laid upon one another; None if they show no width.

    Parameters are those of `measureWidths`. Of faint stars one by one noise decides which is the narrowest.
    """
    x, y = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y))
    radius, stamp = STAMP_RADIUS, stampTuple(image, tuple(planes))
    while True:
        (stack,), _ = _core.stackSources([stamp], x, y, np.ones(x.size), radius=radius, nThreads=threads)
        fwhm = stack[2]
        larger = min(MAX_RADIUS, math.ceil(STACK_REACH * fwhm)) if math.isfinite(fwhm) else 0
        if larger <= radius:
            return fwhm if math.isfinite(fwhm) else None
        radius = larger


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
