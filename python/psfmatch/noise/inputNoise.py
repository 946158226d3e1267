"""By how much the variance plane of an image is off, on a sky that may be a crowd.

Blank sky tells, where there is some. In a crowd what is left of it between the stars is their wings and the stars too
faint to be seen: it scatters by several times the noise. What pixels differ from their neighbours by holds little of
that, and grows with the distance as it does; `psfmatch/image/NeighbourNoise.h` says how that tells the noise.
"""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

from psfmatch import _core
from psfmatch.errors import InputImagesError
from psfmatch.images import MaskedImage, stampTuple
from psfmatch.noise.blankSky import (
    MAX_FACTOR,
    SOURCE_PLANES,
    findBlankSky,
    measureVarianceFactor,
    multiplyVariance,
)
from psfmatch.threads import resolveThreads

__all__ = ["NoiseFactor", "measureNoiseFactor", "scaleVariance"]

log = logging.getLogger("psfmatch.noise")

CROWDED = 1.5
"""Blank sky of more than so many times the variance that neighbours differ by is a crowd, or a nebula, not noise."""
FEW_PIXELS, MANY_PIXELS = 20_000, 300_000
NEARLY = 0.8
"""Few pixels tell what many need not be asked: their error is 5 %."""


class NoiseFactor(NamedTuple):
    """Variance of the noise in units of the variance plane: what to multiply by, and what told so.

    blank, neighbours : by the scatter of blank sky and by the differences of neighbours, NaN where these tell nothing.
    """

    factor: float
    blank: float
    neighbours: float

    @property
    def isOfCrowd(self) -> bool:
        """Whether blank sky shows more than noise."""
        return self.factor != self.blank


def measureNoiseFactor(maskedImage: MaskedImage, maxFactor: float = MAX_FACTOR, threads: int = 1) -> NoiseFactor:
    """Return what the variance plane of an image must be multiplied by to be that of its noise.

    Parameters, but for the number of threads, and errors are those of `scaleVariance`.
    """
    neighbours = _byNeighbours(maskedImage, FEW_PIXELS, threads)
    try:
        blank = measureVarianceFactor(findBlankSky(maskedImage, threads=threads), maxFactor)
    except InputImagesError:
        if not 0.0 < neighbours <= maxFactor:
            raise
        blank = math.inf
    isCrowded = 0.0 < NEARLY * CROWDED * neighbours < blank
    if isCrowded:
        neighbours = _byNeighbours(maskedImage, MANY_PIXELS, threads)
        isCrowded = 0.0 < CROWDED * neighbours < blank
    return NoiseFactor(neighbours if isCrowded else blank, blank, neighbours)


def scaleVariance(
    maskedImage: MaskedImage, *, maxFactor: float = MAX_FACTOR, threads: int | None = None
) -> tuple[MaskedImage, float]:
    """Scale the variance plane of an image to the noise of its sky.

    A wrong gain, a resampling or a coadd leave variance planes that are off by a common factor: the squared width of
    image / sqrt(variance), by quartiles, on blank sky; in a crowd by the differences of neighbouring pixels.

    Parameters
    ----------
    maskedImage
        Not changed.
    maxFactor
        Where the factor is above it, that of the typical variance is taken instead: squared width of the image over
        median variance, which single pixels with far too small a variance do not spoil.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    scaled : MaskedImage
        With image and mask of the input, and a variance plane of its own unless the factor is 1.
    factor : float
        1 where fewer than two pixels of blank sky have a positive variance.

    Raises
    ------
    InputImagesError
        If the factor is above maxFactor either way (``factor``, ``maxFactor``), or not positive: image and
        variance cannot be in the same units.
    """
    factor = measureNoiseFactor(maskedImage, maxFactor, resolveThreads(threads)).factor
    if not math.isclose(factor, 1.0, rel_tol=0.1):
        log.info("The variance plane is scaled by %.3f", factor)
    return (maskedImage if factor == 1.0 else multiplyVariance(maskedImage, factor, threads)), factor


def _byNeighbours(maskedImage: MaskedImage, maxPixels: int, threads: int) -> float:
    """Return the variance of the noise by differences of neighbours, in units of the variance plane; NaN: too few."""
    return _core.neighbourNoise(stampTuple(maskedImage, SOURCE_PLANES), maxPixels=maxPixels, nThreads=threads)
