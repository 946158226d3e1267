"""Second moments of an object, and the widths that follow from them.

Adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583) are those under the Gaussian that matches the object itself, so
that noise and neighbours in the wings do not count.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["SIGMA_TO_FWHM", "adaptiveMoments", "adaptiveMomentsOfStamps", "coreMoments", "determinantFwhm", "traceFwhm"]

FloatArray = npt.NDArray[np.float64]
Moments = tuple[float, float, float]
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
CHUNK = 16
"""Stamps that are iterated at once: with 31x31 pixels they stay in the cache."""


def adaptiveMoments(
    image: npt.ArrayLike,
    x: float,
    y: float,
    sigma: float = 1.5,
    maxIterations: int = 50,
    maxShift: float = math.inf,
) -> Moments:
    """Return (Ixx, Iyy, Ixy) in square pixels of the object near (x, y), array coordinates; NaN if none converges.

    Parameters
    ----------
    image
        Background-free pixels, [y, x].
    x, y
        First guess of the centre in pixels.
    sigma
        First guess of the width in pixels.
    maxIterations
        Rounds after which an object counts as not converging.
    maxShift
        Farthest that the centre may move from its first guess, in pixels: beyond, another object is being measured.
    """
    stamp = np.asarray(image, dtype=np.float64)[np.newaxis]
    moments = adaptiveMomentsOfStamps(stamp, np.array([x]), np.array([y]), sigma, maxIterations, maxShift)
    ixx, iyy, ixy = moments[0].tolist()
    return ixx, iyy, ixy


def adaptiveMomentsOfStamps(
    stamps: FloatArray,
    x: FloatArray,
    y: FloatArray,
    sigma: float = 1.5,
    maxIterations: int = 50,
    maxShift: float = math.inf,
) -> FloatArray:
    """Return the adaptive moments of N objects, (N, 3), each on a stamp of its own.

    Parameters are those of `adaptiveMoments`, for stamps (N, h, w) and first guesses (N,).
    """
    result = np.full((len(stamps), 3), math.nan)
    for first in range(0, len(stamps), CHUNK):
        chunk = slice(first, first + CHUNK)
        _iterate(stamps[chunk], np.stack([x[chunk], y[chunk]]), sigma, maxIterations, maxShift, result[chunk])
    return result


def _iterate(
    stamps: FloatArray, start: FloatArray, sigma: float, maxIterations: int, maxShift: float, result: FloatArray
) -> None:
    """Iterate all objects of a chunk at once until each converges or is given up; (N, 3) moments go to `result`."""
    height, width = stamps.shape[1:]
    gridX, gridY = np.arange(width), np.arange(height)
    active = np.arange(len(stamps))
    x, y = start
    weight = np.tile([sigma**2, sigma**2, 0.0], (len(stamps), 1))
    for _ in range(maxIterations):
        cxx, cyy, cxy = weight.T
        dx, dy = gridX - x[:, np.newaxis], gridY - y[:, np.newaxis]
        scale = -0.5 / (cxx * cyy - cxy**2)
        weighted = (scale * -2.0 * cxy)[:, np.newaxis, np.newaxis] * (dy[:, :, np.newaxis] * dx[:, np.newaxis])
        weighted += ((scale * cyy)[:, np.newaxis] * dx**2)[:, np.newaxis]
        weighted += ((scale * cxx)[:, np.newaxis] * dy**2)[:, :, np.newaxis]
        np.exp(weighted, out=weighted)
        weighted *= stamps
        columns, rows = weighted.sum(axis=1), weighted.sum(axis=2)
        total = columns.sum(axis=1)
        # A Gaussian under its own Gaussian weight has half its second moments.
        crossed = np.einsum("ij,ij->i", (weighted @ dx[:, :, np.newaxis])[:, :, 0], dy)
        sums = np.stack([(columns * dx**2).sum(axis=1), (rows * dy**2).sum(axis=1), crossed], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            new = 2.0 * sums / total[:, np.newaxis]
            x, y = x + (columns * dx).sum(axis=1) / total, y + (rows * dy).sum(axis=1) / total
        isGood = (total > 0.0) & (x >= 0.0) & (x < width) & (y >= 0.0) & (y < height)
        isGood &= np.hypot(x - start[0], y - start[1]) <= maxShift
        isGood &= new[:, :2].max(axis=1) <= max(height, width) ** 2
        isEllipse = (new[:, 0] > 0.0) & (new[:, 0] * new[:, 1] > new[:, 2] ** 2)
        isDone = isGood & (np.abs(new - weight).max(axis=1) < 1e-6 * (new[:, 0] + new[:, 1]))
        result[active[isDone]] = new[isDone]
        going = isGood & isEllipse & ~isDone
        weight = new
        if not going.all():
            active, stamps, weight = active[going], stamps[going], weight[going]
            x, y, start = x[going], y[going], start[:, going]
            if not active.size:
                return


def coreMoments(image: FloatArray, x: int, y: int, radius: int = 3) -> Moments:
    """Return (Ixx, Iyy, Ixy) in square pixels of the square within `radius` about a pixel; NaN without light."""
    core = image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
    gridY, gridX = np.mgrid[: core.shape[0], : core.shape[1]]
    total = core.sum()
    if not total > 0.0:
        return (math.nan, math.nan, math.nan)
    dx, dy = gridX - (core * gridX).sum() / total, gridY - (core * gridY).sum() / total
    return tuple(float((core * q).sum() / total) for q in (dx * dx, dy * dy, dx * dy))  # type: ignore[return-value]


def determinantFwhm(moments: Moments) -> float:
    """Return 2.3548 (Ixx Iyy - Ixy^2)^(1/4); NaN unless the moments are those of an ellipse."""
    determinant = moments[0] * moments[1] - moments[2] ** 2
    return SIGMA_TO_FWHM * determinant**0.25 if determinant > 0.0 else math.nan


def traceFwhm(moments: Moments) -> float:
    """Return 2.3548 ((Ixx + Iyy) / 2)^(1/2); NaN unless both are positive."""
    return SIGMA_TO_FWHM * math.sqrt(0.5 * (moments[0] + moments[1])) if min(moments[:2]) > 0.0 else math.nan
