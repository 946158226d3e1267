"""What is left of the sources: peaks found anew in template and science image, and the difference at each of them.

The peaks do not come from the list of kernel candidates: that list has lost whatever fits badly. A source that only
one of the images shows counts too; a template that lacks stars is found by it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import MaskedImage
from psfmatch.exposure.mask import DEFAULT_BAD_PLANES

__all__ = ["SIGNAL_TO_NOISE_EDGES", "SourceResiduals", "sourceResiduals"]

FloatImage = npt.NDArray[np.float32]

SIGNAL_TO_NOISE_EDGES = (30.0, 100.0, 300.0, 1000.0, math.inf)


@dataclass(frozen=True)
class SourceResiduals:
    """Difference over its noise within 4 px of sources of signal-to-noise above 30; NaN where there are none.

    nSources : measured; nRemaining : those of them more than half of whose light is in the difference; all else is of
    the others. saturatedFraction : share of the bright sources that saturate, in the image where it is larger; robust,
    plain : widths of the pulls, robust over all sources, plain without the worst tenth; worstRegion : largest value, of
    the regions of a 3 x 3 division with five sources or more, that two thirds of their chi-squares per pixel exceed;
    badFraction : share of sources of chi-square per pixel above 4; fluxMean, fluxScatter, fluxError : median share of
    the light that is left, its scatter beyond the noise, error of the median; footprintRatioMean, footprintRatioStdev :
    (mean |difference| - that of the sky) / mean |science| over sources, absolute values; chiSquareByFlux : (least S/N,
    largest S/N, sources, median chi-square per pixel).
    """

    nSources: int
    nRemaining: int
    saturatedFraction: float
    robust: float
    plain: float
    worstRegion: float
    badFraction: float
    fluxMean: float
    fluxScatter: float
    fluxError: float
    footprintRatioMean: float
    footprintRatioStdev: float
    chiSquareByFlux: tuple[tuple[float, float, int, float], ...]


def sourceResiduals(
    difference: MaskedImage,
    template: MaskedImage,
    science: MaskedImage,
    kernelSum: float,
    skyAbsolute: float,
    threads: int = 1,
) -> SourceResiduals:
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
    """
    peaks = [
        _core.findPeaks(
            *_planes(source),
            badBits=_bits(source, DEFAULT_BAD_PLANES),
            saturated=_bits(source, "SAT"),
            nThreads=threads,
        )
        for source in (template, science)
    ]
    figures, counts, medians = _core.sourceFigures(
        *_planes(difference),
        template.image,
        science.image,
        *peaks,
        kernelSum=kernelSum,
        skyAbsolute=skyAbsolute,
        badBits=_bits(difference, DEFAULT_BAD_PLANES),
        signalToNoiseEdges=SIGNAL_TO_NOISE_EDGES,
        nThreads=threads,
    )
    rows = zip(itertools.pairwise(SIGNAL_TO_NOISE_EDGES), counts, medians, strict=False)
    return SourceResiduals(
        saturatedFraction=max(part.saturatedFraction for part in peaks),
        chiSquareByFlux=tuple((*edges, count, median) for edges, count, median in rows),
        **figures,
    )


def _planes(image: MaskedImage) -> tuple[FloatImage, FloatImage, npt.NDArray[np.int32]]:
    return image.image, image.variance, np.asarray(image.mask)


def _bits(image: MaskedImage, planes: str | Iterable[str]) -> int:
    return image.mask.getPlaneBitMask(planes, ignoreMissing=True)
