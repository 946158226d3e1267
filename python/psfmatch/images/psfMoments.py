"""Second moments of an object, and the widths that follow from them.

Adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583) are those under the Gaussian that matches the object itself, so
that noise and neighbours in the wings do not count.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from psfmatch import _core

__all__ = ["SIGMA_TO_FWHM", "adaptiveMoments", "adaptiveMomentsOfStamps", "coreMoments", "determinantFwhm", "traceFwhm"]

FloatArray = npt.NDArray[np.float64]
Moments = tuple[float, float, float]
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


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
    return _core.adaptiveMoments(
        np.asarray(stamps, dtype=np.float64), x, y, sigma=sigma, maxIterations=maxIterations, maxShift=maxShift
    )


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
