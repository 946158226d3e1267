"""Variance planes brought to the noise that an image shows.

A wrong gain, a resampling or a coadd leave variance planes that are off by a common factor. The pixels of blank sky
tell it: the squared width of image / sqrt(variance), by quartiles. Sources are kept out
(`psfmatch.noise.blankSky`): raw images do not flag them, and in crowded fields their wings would widen even the
quartiles.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import numpy as np

from psfmatch.errors import InputImagesError
from psfmatch.exposure import MaskedImage
from psfmatch.noise.blankSky import SOURCE_PLANES, BlankSky, findBlankSky
from psfmatch.strips import mapStrips
from psfmatch.threads import resolveThreads

__all__ = ["measureVarianceFactor", "multiplyVariance", "scaleVariance"]

log = logging.getLogger("psfmatch.varianceScaling")

MAX_FACTOR = 10.0
"""Largest factor that is believed."""


def scaleVariance(
    maskedImage: MaskedImage,
    *,
    planes: Iterable[str] = SOURCE_PLANES,
    maxFactor: float = MAX_FACTOR,
    maxPixels: int = 300_000,
    threads: int | None = None,
) -> tuple[MaskedImage, float]:
    """Scale the variance plane of an image to the noise of its sky; see `measureVarianceFactor`.

    Returns
    -------
    scaled : MaskedImage
        With image and mask of the input, and a variance plane of its own unless the factor is 1.
    factor : float
    """
    factor = measureVarianceFactor(
        maskedImage, planes=planes, maxFactor=maxFactor, maxPixels=maxPixels, threads=resolveThreads(threads)
    )
    if not math.isclose(factor, 1.0, rel_tol=0.1):
        log.info("The variance plane is scaled by %.3f", factor)
    return (maskedImage if factor == 1.0 else multiplyVariance(maskedImage, factor, threads)), factor


def multiplyVariance(maskedImage: MaskedImage, factor: float, threads: int | None = None) -> MaskedImage:
    """Return image and mask as they are, with a variance plane of its own, `factor` times the given one."""
    given, own = maskedImage.variance, np.empty_like(maskedImage.variance)
    with np.errstate(invalid="ignore", over="ignore"):
        mapStrips(lambda rows: np.multiply(given[rows], np.float32(factor), out=own[rows]), own.shape, threads)
    return MaskedImage(maskedImage.image, maskedImage.mask, own, maskedImage.xy0)


def measureVarianceFactor(
    maskedImage: MaskedImage,
    *,
    planes: Iterable[str] = SOURCE_PLANES,
    maxFactor: float = MAX_FACTOR,
    maxPixels: int = 300_000,
    threads: int = 1,
    sky: BlankSky | None = None,
) -> float:
    """Return what the variance plane must be multiplied by for the sky to scatter by its noise.

    Parameters
    ----------
    maskedImage
        Image, not changed.
    planes
        Planes whose pixels are left out.
    maxFactor
        Where the factor is above it, that of the typical variance is taken instead: squared width of the image over
        median variance, which single pixels with far too small a variance do not spoil.
    maxPixels
        About how many pixels to look at.
    threads
        Number of threads; the result does not depend on it.
    sky
        The image's blank sky, if it is known.

    Returns
    -------
    factor : float
        1 where fewer than two pixels of blank sky have a positive variance.

    Raises
    ------
    InputImagesError
        If the factor is above maxFactor either way (``factor``, ``maxFactor``), or not positive: image and
        variance cannot be in the same units.
    """
    sky = sky or findBlankSky(maskedImage, planes, maxPixels, threads)
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
