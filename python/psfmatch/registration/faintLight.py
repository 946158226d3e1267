"""How far the light of one image lies from that of another that is nearly registered, where no star tells it well.

Both images are seen through the width of their stars, less what is wider than a few of those, and multiplied at all
small displacements; the sums have their maximum where the light agrees. All light takes part, that of sources too faint
to be found as well. Leaving out one part of the field after the other tells the error.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage

__all__ = ["LightShift", "measureLightShift"]

FloatArray = npt.NDArray[np.float64]
WIDE = 4.0
"""Width of what is taken off, in units of the stars': a nebula's, or the sky's."""
PROFILE_SIGMAS = 3.0
N_CELLS = 5
LEAST_REACH = 3
PEAK_REACH = 2
"""Pixels, or a half of the stars' sigma, about the largest sum, through which a paraboloid is laid."""


class LightShift(NamedTuple):
    """x, y : pixels from the first image to the second; error : along each axis, infinite where there is no maximum."""

    x: float
    y: float
    error: float


NOT_FOUND = LightShift(0.0, 0.0, math.inf)


def measureLightShift(first: MaskedImage, second: MaskedImage, sigma: float, threads: int = 1) -> LightShift:
    """Measure the shift of all light from one image to another.

    Parameters
    ----------
    first, second
        Of one shape, registered to a few pixels; not changed. Pixels of `DEFAULT_BAD_PLANES` do not count.
    sigma
        Of the stars, pixels; shifts up to twice as much, or three pixels, are found.
    threads
        Number of threads; the result does not depend on it.
    """
    reach = max(LEAST_REACH, math.ceil(2.0 * sigma)) + PEAK_REACH
    if min(first.shape) < 2 * math.ceil(PROFILE_SIGMAS * WIDE * sigma) + 2 * reach + 1:
        return NOT_FOUND
    images = [_filtered(image, sigma, threads) for image in (first, second)]
    sums = _core.lagProducts(*images, reach=reach, nCells=N_CELLS, nThreads=threads)
    whole = sums.sum(axis=0)
    near = max(PEAK_REACH, round(0.5 * sigma))
    shift = _peak(whole, near)
    # Parts without light, as those beyond the border, tell nothing.
    without = [_peak(whole - part, near) for part in sums if part.any()]
    known = [other for other in without if other is not None]
    if shift is None or len(known) < len(without) or len(known) < 2:
        return NOT_FOUND
    squares = np.square(np.array(known) - np.mean(known, axis=0)).sum(axis=0)
    error = math.sqrt((len(known) - 1) / len(known) * float(squares.mean()))
    return LightShift(shift[0] - reach, shift[1] - reach, error)


def _filtered(image: MaskedImage, sigma: float, threads: int) -> npt.NDArray[np.float32]:
    """Return the light of an image of the width of the stars, (h, w); NaN where it is not known."""
    bits = image.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True)
    filled = _core.fillBadPixels(image.image, image.variance, np.asarray(image.mask), bits, nThreads=threads)
    narrow, wide = (
        _core.smoothedSamples(image.image, filled, profile=_profile(width), rowStep=1, columnStep=1, nThreads=threads)
        for width in (sigma, WIDE * sigma)
    )
    return np.asarray(narrow - wide)


def _profile(sigma: float) -> list[float]:
    half = math.ceil(PROFILE_SIGMAS * sigma)
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return [float(value) for value in profile / profile.sum()]


def _peak(sums: FloatArray, near: int) -> tuple[float, float] | None:
    """Return where (x, y) a paraboloid through the largest sum and its neighbours has its maximum; None without one."""
    row, column = np.unravel_index(int(np.argmax(sums)), sums.shape)
    y0, x0 = int(row), int(column)
    if not (near <= y0 < sums.shape[0] - near and near <= x0 < sums.shape[1] - near and sums[y0, x0] > 0.0):
        return None
    y, x = (values.ravel().astype(np.float64) for values in np.mgrid[-near : near + 1, -near : near + 1])
    values = sums[y0 - near : y0 + near + 1, x0 - near : x0 + near + 1].ravel()
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    _, bx, by, xx, xy, yy = np.linalg.lstsq(terms, values, rcond=None)[0]
    determinant = 4.0 * xx * yy - xy * xy
    if not (xx < 0.0 and determinant > 0.0):
        return None
    dx, dy = (xy * by - 2.0 * yy * bx) / determinant, (xy * bx - 2.0 * xx * by) / determinant
    if max(abs(dx), abs(dy)) > near:
        return None
    return float(x0 + dx), float(y0 + dy)
