"""What is left of the sky and of the sources in a difference image.

The peaks of sources are found anew in template and science image: a list of kernel candidates has lost whatever fits
badly. A source that only one of the images shows counts too; a template that lacks stars is found by it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import SkyNoise, SourceFigures
from psfmatch.exposure import MaskedImage
from psfmatch.exposure.mask import DEFAULT_BAD_PLANES

__all__ = ["SkyNoise", "SourceFigures", "skyNoise", "sourceResiduals"]


def skyNoise(difference: MaskedImage, template: MaskedImage, science: MaskedImage, threads: int = 1) -> SkyNoise:
    """Measure the sky of a difference; template and science image lie on the same pixels.

    Returns
    -------
    sky : SkyNoise
        Difference over its noise in cells of 32 px spread over the image; NaN where there is no blank sky. nPixels :
        blank ones; robust, median : of the pulls; level : scatter of the cells' medians about zero beyond the noise, in
        units of a pixel's noise; outlierFraction : share of the usable pixels beyond 5 sigma where not both images show
        a source; lag1 : correlation of neighbouring pixels; absolute : mean |difference|, counts; sigma : median noise
        of a pixel, counts; maskedFraction, noDataFraction : of all pixels, bad ones but for the borders, and those
        without data.
    """
    badBits, noData, edge = (_bits(difference, planes) for planes in (DEFAULT_BAD_PLANES, "NO_DATA", "EDGE"))
    pixels = *_planes(difference), template.image, science.image
    return _core.skyNoise(*pixels, badBits=badBits, noData=noData, edge=edge, nThreads=threads)


def sourceResiduals(
    difference: MaskedImage,
    template: MaskedImage,
    science: MaskedImage,
    kernelSum: float,
    skyAbsolute: float,
    threads: int = 1,
) -> SourceFigures:
    """Measure what is left of the sources.

    Parameters
    ----------
    difference, template, science
        On the same pixels; template and science image before any convolution.
    kernelSum
        Counts of the difference per count of the template.
    skyAbsolute
        Mean |difference| of blank sky, counts.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    sources : SourceFigures
        Difference over its noise within 4 px of sources of signal-to-noise above 30; NaN where there are none.
        nSources : measured; nRemaining : those of them more than half of whose light is in the difference; all else is
        of the others. saturatedFraction : share of the bright sources that saturate, in the image where it is larger;
        robust, plain : widths of the pulls, robust over all sources, plain without the worst tenth; worstRegion :
        largest value, of the regions of a 3 x 3 division with five sources or more, that two thirds of their
        chi-squares per pixel exceed; badFraction : share of sources of chi-square per pixel above 4; fluxMean,
        fluxScatter, fluxError : median share of the light that is left, its scatter beyond the noise, error of the
        median; footprintRatioMean, footprintRatioStdev : (mean |difference| - that of the sky) / mean |science| over
        sources, absolute values; chiSquareByFlux : (least S/N, largest S/N, sources, median chi-square per pixel).
    """
    images = (difference, template, science)
    return _core.sourceFigures(
        *(_planes(image) for image in images),
        badBits=[_bits(image, DEFAULT_BAD_PLANES) for image in images],
        saturated=[_bits(image, "SAT") for image in images[1:]],
        kernelSum=kernelSum,
        skyAbsolute=skyAbsolute,
        nThreads=threads,
    )


def _planes(image: MaskedImage) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    return image.image, image.variance, np.asarray(image.mask)


def _bits(image: MaskedImage, planes: str | tuple[str, ...]) -> int:
    return image.mask.getPlaneBitMask(planes, ignoreMissing=True)
