"""Whether the noise of a difference image is white: correlations of neighbouring pixels of blank sky.

They are measured on windows over the whole image, far from anything that stands out. Correlated noise makes
thresholds and flux errors wrong even where the variance plane is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.noise.blankSky import SOURCE_PLANES, BlankSky, findBlankSky

__all__ = ["Whiteness", "measureWhiteness"]

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
    correlations: npt.NDArray[np.float64] = field(repr=False)

    @property
    def isWhite(self) -> bool:
        """Whether both mean correlations are below 0.01, up to three times their error; False when unknown."""
        return max(abs(self.lag1), abs(self.lag2)) < TOLERANCE + SIGMAS * self.lagError


def measureWhiteness(
    difference: Exposure | MaskedImage,
    planes: Iterable[str] = SOURCE_PLANES,
    maxPixels: int = 250_000,
    threads: int = 1,
    where: BlankSky | None = None,
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
    threads
        Number of threads; the result does not depend on it.
    where
        Blank sky that was found on the same pixels before; `maxPixels` is then that search's.
    """
    maskedImage = difference.maskedImage if isinstance(difference, Exposure) else difference
    return Whiteness(*findBlankSky(maskedImage, planes, maxPixels, threads, where).whiteness(nThreads=threads))
