"""Regions of the images whose pixels all enter the fit of the kernel, each with a weight of its own.

A region is a kernel candidate like a star's stamp, of one shape for all: around stars, or tiles of a regular grid over
all good pixels (`layout`). Pixels are rejected, not regions: where the residual under a solution without the region,
smoothed over five pixels, stands out among pixels of like predicted signal. The core holds pixels, weights and
equations (`psfmatch._core.RegionSolver`) while the choice of the model and the fit (`fit`) go on.
"""

from psfmatch.regions.fit import RegionFit, fitRegions, spatialModel
from psfmatch.regions.layout import RegionCells

__all__ = ["RegionCells", "RegionFit", "fitRegions", "spatialModel"]
