"""Second moments of an object, and the widths that follow from them.

Adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583) are those under the Gaussian that matches the object itself, so
that noise and neighbours in the wings do not count.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["SIGMA_TO_FWHM", "adaptiveMoments", "coreMoments", "determinantFwhm", "traceFwhm"]

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
    start = x, y
    pixels = np.asarray(image, dtype=np.float64)
    gridY, gridX = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    cxx, cyy, cxy = sigma**2, sigma**2, 0.0
    for _ in range(maxIterations):
        determinant = cxx * cyy - cxy**2
        if not (determinant > 0.0 and cxx > 0.0):
            break
        dx, dy = gridX - x, gridY - y
        exponent = (cyy * dx**2 - 2.0 * cxy * dx * dy + cxx * dy**2) / determinant
        weighted = pixels * np.exp(-0.5 * exponent)
        total = weighted.sum()
        if not total > 0.0:
            break
        x += float((weighted * dx).sum() / total)
        y += float((weighted * dy).sum() / total)
        # A Gaussian under its own Gaussian weight has half its second moments.
        new = tuple(2.0 * float((weighted * q).sum() / total) for q in (dx * dx, dy * dy, dx * dy))
        inside = 0.0 <= x < pixels.shape[1] and 0.0 <= y < pixels.shape[0]
        strayed = math.hypot(x - start[0], y - start[1]) > maxShift
        if not inside or strayed or max(new[0], new[1]) > max(pixels.shape) ** 2:
            break
        change = max(abs(a - b) for a, b in zip(new, (cxx, cyy, cxy), strict=True))
        cxx, cyy, cxy = new
        if change < 1e-6 * (cxx + cyy):
            return (cxx, cyy, cxy)
    return (math.nan, math.nan, math.nan)


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
