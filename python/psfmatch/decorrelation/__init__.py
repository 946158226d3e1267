"""Decorrelation of a difference image: the noise that the matching kernel has correlated is made white again.

`correction` makes the kernel that whitens, `correctedPixels` applies it to values, variances and mask, `decorrelation`
is the whole: where the kernel or the noise varies, and with the PSF that the result has. `smoothing` is for pairs of
equal PSFs, of which one image is smoothed before the fit.
"""

from psfmatch.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.decorrelation.correction import correctionKernel
from psfmatch.decorrelation.decorrelation import (
    Correction,
    Decorrelation,
    decorrelate,
    prepareCorrection,
    restoredSpread,
)
from psfmatch.decorrelation.smoothing import (
    SMOOTHING_SIGMA,
    smoothedExposure,
    smoothedFwhm,
    smoothedPsf,
    smoothingKernel,
)

__all__ = [
    "SMOOTHING_SIGMA",
    "CorrectedPsf",
    "Correction",
    "Decorrelation",
    "correctionKernel",
    "decorrelate",
    "prepareCorrection",
    "restoredSpread",
    "smoothedExposure",
    "smoothedFwhm",
    "smoothedPsf",
    "smoothingKernel",
]
