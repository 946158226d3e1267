"""Whether the noise of a difference image is white: correlations of neighbouring pixels of blank sky.

They are measured on windows over the whole image, far from anything that stands out. Correlated noise makes
thresholds and flux errors wrong even where the variance plane is right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.noise.blankSky import SOURCE_PLANES, findBlankSky, robustStdev

__all__ = ["Whiteness", "measureWhiteness"]

FloatArray = npt.NDArray[np.float64]

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Along x, along y, and both diagonals, as (dy, dx)."""
MAX_LAG = 2
TOLERANCE = 0.01
"""Mean correlation up to which noise counts as white: it changes the error of a flux by a few per cent at most."""
SIGMAS = 3.0


@dataclass(frozen=True, eq=False)
class Whiteness:
    """Correlation of neighbouring pixels, and the scatter against the variance plane.

    lag1, lag2 : mean correlation over both axes and both diagonals, at one and two pixels; lagError : expected error of
    either for white noise; pullWidth : robust standard deviation of difference / sqrt(variance), pullWidthError : its
    expected error; nPixels : of blank sky; correlations : (5, 5), those of lags (dy, dx) of up to 2 pixels with 1 in
    the middle. All are NaN when there is no blank sky.
    """

    lag1: float
    lag2: float
    lagError: float
    pullWidth: float
    pullWidthError: float
    nPixels: int
    correlations: FloatArray = field(repr=False)

    @property
    def isWhite(self) -> bool:
        """Whether both mean correlations are below 0.01, up to three times their error; False when unknown."""
        return max(abs(self.lag1), abs(self.lag2)) < TOLERANCE + SIGMAS * self.lagError


def measureWhiteness(
    difference: Exposure | MaskedImage, planes: Iterable[str] = SOURCE_PLANES, maxPixels: int = 250_000
) -> Whiteness:
    """Measure the correlation of the noise of a difference image.

    Parameters
    ----------
    difference
        Not changed. Its variance plane serves to bring all pixels to one scale.
    planes
        Planes whose pixels are left out, besides those near anything that stands out.
    maxPixels
        About how many pixels to look at.
    """
    maskedImage = difference.maskedImage if isinstance(difference, Exposure) else difference
    sky = findBlankSky(maskedImage, planes, maxPixels)
    correlations = np.full((2 * MAX_LAG + 1, 2 * MAX_LAG + 1), math.nan)
    n = sky.nPixels
    nPairs = n
    if n > 1:
        pulls = sky.pulls.astype(np.float64)
        power = np.sum(pulls**2) / n
        for dy in range(MAX_LAG + 1):
            for dx in range(-MAX_LAG, MAX_LAG + 1):
                if dy == 0 and dx < 0:
                    continue
                covariance, count = _covariance(pulls, sky.isBlank, dy, dx)
                # Each number that was taken off a cell correlates its pixels by minus one over how many they are.
                value = covariance / power * sky.freedom + 1.0 - sky.freedom if count and power > 0.0 else math.nan
                correlations[MAX_LAG + dy, MAX_LAG + dx] = correlations[MAX_LAG - dy, MAX_LAG - dx] = value
                nPairs = min(nPairs, count)
    lag1, lag2 = (
        float(np.mean([correlations[MAX_LAG + lag * dy, MAX_LAG + lag * dx] for dy, dx in DIRECTIONS]))
        for lag in (1, 2)
    )
    # Products of white noise scatter by 1; the four directions are independent.
    lagError = 1.0 / math.sqrt(len(DIRECTIONS) * nPairs) if nPairs else math.nan
    # Of a Gaussian's interquartile range, relative: 1.36 / 1.349 of standard deviations / sqrt(n), and 1.167 in all.
    pullError = 1.167 / math.sqrt(n) if n else math.nan
    return Whiteness(
        lag1, lag2, lagError, robustStdev(sky.pulls[sky.isBlank]) / math.sqrt(sky.freedom), pullError, n, correlations
    )


def _covariance(pulls: FloatArray, isBlank: npt.NDArray[np.bool_], dy: int, dx: int) -> tuple[float, int]:
    """Return the mean product of pixels a lag apart in windows (n, s, t), and the number of pairs."""
    height, width = pulls.shape[1:]
    left, right = slice(max(0, -dx), width - max(0, dx)), slice(max(0, dx), width - max(0, -dx))
    first, second = np.s_[:, : height - dy, left], np.s_[:, dy:, right]
    count = int(np.count_nonzero(isBlank[first] & isBlank[second]))
    # Pixels that are not blank are zero.
    return (float(np.einsum("nij,nij->", pulls[first], pulls[second])) / count if count else 0.0), count
