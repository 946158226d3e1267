"""What blank sky tells of an image: of its variance plane, and whether its noise is white.

Noise is measured in windows of blank sky, spread evenly over an image. Raw images carry no flags of their sources;
`psfmatch/image/BlankSky.h` says how they are left out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import BlankSky
from psfmatch.config.equality import ByValue
from psfmatch.errors import InputImagesError
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, MaskedImage, stampTuple
from psfmatch.threads import resolveThreads

__all__ = [
    "BlankSky",
    "Whiteness",
    "findBlankSky",
    "measureVarianceFactor",
    "measureWhiteness",
    "multiplyVariance",
]

log = logging.getLogger("psfmatch.noise")

SOURCE_PLANES = ("DETECTED", "DETECTED_NEGATIVE", "INTRP", *DEFAULT_BAD_PLANES)
"""Planes whose pixels are no blank sky."""
MAX_FACTOR = 10.0
"""Largest factor on a variance plane that is believed."""
TOLERANCE = 0.01
"""Mean correlation up to which noise counts as white: it changes the error of a flux by a few per cent at most."""
SIGMAS = 3.0
WHITENESS_PIXELS = 250_000
"""Pixels that are looked at."""


def findBlankSky(
    image: MaskedImage, subtrahend: MaskedImage | None = None, *, maxPixels: int = 300_000, threads: int = 1
) -> BlankSky:
    """Return windows of an image, or of what a subtrahend leaves of it, with what is blank sky in them.

    About maxPixels pixels are looked at, in windows of 64 x 64 on a regular grid; a difference is formed only there.
    The result does not depend on the number of threads.
    """
    given = [stampTuple(each, SOURCE_PLANES) for each in (image, subtrahend) if each is not None]
    return _core.findBlankSky(*given, maxPixels=maxPixels, nThreads=threads)


def measureVarianceFactor(sky: BlankSky, maxFactor: float = MAX_FACTOR) -> float:
    """Return what the variance must be multiplied by for blank sky to scatter by its noise.

    See `psfmatch.noise.scaleVariance`.
    """
    if sky.nPixels < 2:
        log.warning("Only %d pixels of blank sky with a variance: the variance plane stays as it is", sky.nPixels)
        return 1.0
    factor = sky.pullWidth() ** 2 / sky.freedom
    if not factor <= maxFactor:
        _, width, variance = sky.widths()
        typical = width**2 / sky.freedom / variance
        log.info("Factor %.3g of the variance plane pixel by pixel; by its median %.3g", factor, typical)
        factor = typical
    if not 0.0 < factor <= maxFactor:
        raise InputImagesError(
            f"the noise of the sky has {factor:.3g} times the variance that the variance plane says, where at most "
            f"{maxFactor:g} can be a matter of scale; check the units (gain) of the variance plane",
            factor=factor,
            maxFactor=maxFactor,
        )
    return factor


def multiplyVariance(maskedImage: MaskedImage, factor: float, threads: int | None = None) -> MaskedImage:
    """Return image and mask as they are, with a variance plane of its own, `factor` times the given one."""
    variance = _core.multipliedPlane(maskedImage.variance, factor, nThreads=resolveThreads(threads))
    return MaskedImage(maskedImage.image, maskedImage.mask, variance, maskedImage.xy0)


@dataclass(frozen=True, eq=False)
class Whiteness(ByValue):
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
    difference: Exposure | MaskedImage, *, threads: int = 1, where: BlankSky | None = None, rows: int | None = None
) -> Whiteness:
    """Measure the correlation of the noise of a difference image.

    Parameters
    ----------
    difference
        Not changed. Its variance plane serves to bring all pixels to one scale.
    threads
        Number of threads; the result does not depend on it.
    where
        Blank sky that was found on the same pixels before; by default it is looked for.
    rows
        Given where the image holds nothing but every so-manieth row of those windows, one below the other.
    """
    image = difference.maskedImage if isinstance(difference, Exposure) else difference
    if where is None:
        sky = findBlankSky(image, maxPixels=WHITENESS_PIXELS, threads=threads)
    elif rows is None:
        sky = _core.blankSkyAt(stampTuple(image, SOURCE_PLANES), where, nThreads=threads)
    else:
        sky = _core.blankSkyInRows(stampTuple(image, SOURCE_PLANES), where, rows, nThreads=threads)
    return Whiteness(*sky.whiteness(nThreads=threads))
