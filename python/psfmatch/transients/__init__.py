"""What has changed between the two images: transients, variable stars, and what has moved; their fluxes."""

from psfmatch.transients.differenceSources import (
    DEFAULT_THRESHOLD,
    PhotometryImage,
    detectOnDifference,
    filterDifference,
    writeSources,
)
from psfmatch.transients.dipoles import DipoleControl
from psfmatch.transients.leastSquares import minimizeSquares
from psfmatch.transients.pointSources import PointSources, Stamps, cutStamps, fitPointSources, forcedPhotometry
from psfmatch.transients.significance import NoiseScale, Peaks, Significance, findPeaks, fluxImage, significanceImage

__all__ = [
    "DEFAULT_THRESHOLD",
    "DipoleControl",
    "NoiseScale",
    "Peaks",
    "PhotometryImage",
    "PointSources",
    "Significance",
    "Stamps",
    "cutStamps",
    "detectOnDifference",
    "filterDifference",
    "findPeaks",
    "fitPointSources",
    "fluxImage",
    "forcedPhotometry",
    "minimizeSquares",
    "significanceImage",
    "writeSources",
]
