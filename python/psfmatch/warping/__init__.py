"""The template brought onto the pixels of the science image by what the WCSs say.

`registration` tells whether two exposures have one pixel grid, which are cut and which resampled; `warper` resamples
image, variance, mask and PSF; `coverage` tells how much of the science image the template then covers.
"""

from psfmatch.warping.coverage import (
    REQUIRED_FRACTION,
    Coverage,
    coveredArea,
    isCovered,
    measureCoverage,
    requireCoverage,
)
from psfmatch.warping.noiseCorrelation import resampledCorrelation
from psfmatch.warping.registration import atOrigin, compareGrids, registerTemplate, requireSameShape
from psfmatch.warping.warper import MovedPsf, WarpedPsf, Warper, movedPsf

__all__ = [
    "REQUIRED_FRACTION",
    "Coverage",
    "MovedPsf",
    "WarpedPsf",
    "Warper",
    "atOrigin",
    "compareGrids",
    "coveredArea",
    "isCovered",
    "measureCoverage",
    "movedPsf",
    "registerTemplate",
    "requireCoverage",
    "requireSameShape",
    "resampledCorrelation",
]
