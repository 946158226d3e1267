"""The images that a kernel is chosen for, and their regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions
from psfmatch.exposure import MaskedImage
from psfmatch.modelChoice.family import Fwhms
from psfmatch.photometry import BOX_SIDE, lightRatios
from psfmatch.regions import RegionCells
from psfmatch.regions.layout import placesInside

__all__ = ["ImagePair"]

MAX_RATIOS = 200
"""Sources that tell the flux ratio."""


@dataclass(frozen=True)
class ImagePair:
    """Two images on one grid, of which one is to be convolved to match the other.

    sources : table with x and y (parent pixels), most useful first, may be empty; fwhms : FWHM (pixels) of both PSFs in
    the same sequence, None where unknown; threads : of all that is done with them; noiseCorrelation :
    (2 n + 1, 2 n + 1), of the noise of the image to convolve, by lags (y, x), None where it is white.
    """

    convolved: MaskedImage
    other: MaskedImage
    sources: Any
    fwhms: Fwhms
    threads: int = 1
    noiseCorrelation: npt.NDArray[np.float64] | None = None

    def layOut(self, options: KernelOptions, kernelSize: int, layout: str) -> RegionCells:
        """Return regions about the sources, or tiles, for kernels up to a size in pixels."""
        own = replace(options, regions=replace(options.regions, layout=layout))
        images = self.convolved, self.other
        return RegionCells(*images, own, kernelSize, self.sources, self.threads, self.noiseCorrelation)

    def fluxRatio(self, planes: Sequence[str]) -> float:
        """Return the light of the image to match over that of the image to convolve; 1 where no source tells it.

        The median of the sources' light above their surroundings, bad pixels (of the mask planes, or by their value)
        left out.
        """
        # Whole boxes only: of a position near the edge, or beyond, nothing is known.
        x, y = placesInside(self.sources, self.other.getBBox(), BOX_SIDE, most=MAX_RATIOS).T
        ratios = lightRatios(self.other, self.convolved, x, y, planes, threads=self.threads)
        ratio = float(np.median(ratios)) if ratios.size else 1.0
        return ratio if ratio > 0.0 else 1.0
