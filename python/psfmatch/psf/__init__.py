"""Point-spread functions as images, and their sizes.

A PSF is anything with ``computeKernelImage(x, y) -> 2-D array``: its image, centred on the middle pixel, at a
position in parent pixels. Sizes are FWHM in pixels; which of three definitions is meant has a name, see
`psfmatch.psf.widths`.
"""

from psfmatch.psf.exposures import NOT_THERE, evaluateMeanPsfFwhm, exposureFwhmPix, findFwhms, recordFwhms
from psfmatch.psf.moments import SIGMA_TO_FWHM, adaptiveMoments
from psfmatch.psf.stars import measureWidths, selectStarWidths, stackedFwhm, starFwhms
from psfmatch.psf.widths import DEFAULT_FWHM_PIX, FWHM_DEFINITIONS, getFwhmPix, getFwhmPixXY
from psfmatch.psfModels import (
    DoubleGaussianPsf,
    GaussianPsf,
    GridPsf,
    ImagePsf,
    ModelPsf,
    Psf,
    asPsf,
    averagePosition,
)

__all__ = [
    "DEFAULT_FWHM_PIX",
    "FWHM_DEFINITIONS",
    "NOT_THERE",
    "SIGMA_TO_FWHM",
    "DoubleGaussianPsf",
    "GaussianPsf",
    "GridPsf",
    "ImagePsf",
    "ModelPsf",
    "Psf",
    "adaptiveMoments",
    "asPsf",
    "averagePosition",
    "evaluateMeanPsfFwhm",
    "exposureFwhmPix",
    "findFwhms",
    "getFwhmPix",
    "getFwhmPixXY",
    "measureWidths",
    "recordFwhms",
    "selectStarWidths",
    "stackedFwhm",
    "starFwhms",
]
