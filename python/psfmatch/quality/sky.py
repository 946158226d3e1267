"""The sky of a difference image: is its noise as predicted and white, is its level zero everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from psfmatch import _core
from psfmatch.exposure import MaskedImage
from psfmatch.exposure.mask import DEFAULT_BAD_PLANES

__all__ = ["SkyNoise", "skyNoise"]


@dataclass(frozen=True)
class SkyNoise:
    """Difference over its noise in cells of 32 px spread over the image; NaN where there is no blank sky.

    nPixels : blank ones; robust, median : of the pulls; level : scatter of the cells' medians about zero beyond the
    noise, in units of a pixel's noise; outlierFraction : share of the usable pixels beyond 5 sigma where not both
    images show a source; lag1 : correlation of neighbouring pixels; absolute : mean |difference|, counts; sigma :
    median noise of a pixel, counts; maskedFraction, noDataFraction : of all pixels, bad ones but for
    the borders, and those without data.
    """

    nPixels: int
    robust: float
    median: float
    level: float
    outlierFraction: float
    lag1: float
    absolute: float
    sigma: float
    maskedFraction: float
    noDataFraction: float


def skyNoise(difference: MaskedImage, template: MaskedImage, science: MaskedImage, threads: int = 1) -> SkyNoise:
    """Measure the sky of a difference; template and science image lie on the same pixels."""
    badBits, noData, edge = (
        difference.mask.getPlaneBitMask(planes, ignoreMissing=True)
        for planes in (DEFAULT_BAD_PLANES, "NO_DATA", "EDGE")
    )
    found = _core.skyNoise(
        difference.image,
        difference.variance,
        np.asarray(difference.mask),
        template.image,
        science.image,
        badBits=badBits,
        noData=noData,
        edge=edge,
        nThreads=threads,
    )
    return SkyNoise(**found)
