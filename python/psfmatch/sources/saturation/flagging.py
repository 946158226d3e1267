"""The mask plane SAT, set on saturated pixels and about them."""

from __future__ import annotations

import math

import numpy as np

from psfmatch import _core
from psfmatch.images import Exposure, Mask, MaskedImage
from psfmatch.sources.saturation.defects import DEFECT_PLANES, isWithoutReasons
from psfmatch.sources.saturation.finding import Saturation

__all__ = ["flagSaturation"]

NO_TRAILS = math.nan, math.nan, 1


def flagSaturation(
    exposure: Exposure,
    saturation: Saturation | float | None,
    growth: float = 0.0,
    threads: int = 1,
    trails: tuple[float, float, int] | None = None,
) -> Exposure:
    """Return the exposure with SAT on saturated pixels and on all that lie near one.

    Parameters
    ----------
    exposure
        Not changed; the result shares image and variance.
    saturation
        What `findSaturation` found, or a level: pixels of these counts or more are saturated, unless they are bad
        (BAD, CR, NO_DATA) or infinite. Where the mask has no plane but BAD, a bad pixel is, too, if one beside it has
        half the level. None: only those with SAT already.
    growth
        Pixels; SAT is set on every pixel whose centre lies within so many of one with SAT.
    threads
        Number of threads; the result does not depend on it.
    trails
        Least and most counts of bleed trails, and the pixels of the least clump there that is saturated; by default
        those that `findSaturation` found.

    Returns
    -------
    flagged : Exposure
        The exposure itself if there is nothing to do.
    """
    if not growth >= 0.0:
        raise ValueError(f"growth is {growth}, must be 0 or more pixels")
    if isinstance(saturation, Saturation):
        trails = trails or saturation.trails
    level = saturation.level if isinstance(saturation, Saturation) else saturation
    if level is None and trails is None and growth < 1.0:
        return exposure
    flags = _core.flagSaturation(
        exposure.image,
        np.asarray(exposure.mask),
        saturated=exposure.mask.getPlaneBitMask("SAT"),
        defects=exposure.mask.getPlaneBitMask(DEFECT_PLANES, ignoreMissing=True),
        level=math.nan if level is None else level,
        countsHidden=level is not None and isWithoutReasons(exposure.mask, threads),
        trails=trails or NO_TRAILS,
        growth=growth,
        nThreads=threads,
    )
    if flags is None:
        return exposure
    pixels = MaskedImage(exposure.image, Mask(flags, exposure.mask.planes), exposure.variance, exposure.xy0)
    return exposure.withPixels(pixels)
