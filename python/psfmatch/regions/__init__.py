"""Regions of the images whose pixels all enter the fit of the kernel, each with a weight of its own.

A region is a kernel candidate like a star's stamp, of one shape for all: around stars, or tiles of a regular grid over
all good pixels (`layout`). Pixels are rejected, not regions: where the residual under a solution without the region,
smoothed over five pixels, stands out among pixels of like predicted signal. `state` holds pixels, weights and
equations in the core while a fit goes on, `fit` is the whole way.
"""

from psfmatch.regions.fit import RegionFit, fitRegions
from psfmatch.regions.layout import makeRegions
from psfmatch.regions.models import usualModel
from psfmatch.regions.state import RegionCells, RegionState

__all__ = ["RegionCells", "RegionFit", "RegionState", "fitRegions", "makeRegions", "usualModel"]
