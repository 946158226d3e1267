"""The difference of two images whose PSFs are matched; its noise made white; how it was made, to be made again."""

from psfmatch.difference.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.difference.decorrelation.correction import correctionKernel
from psfmatch.difference.decorrelation.decorrelation import (
    Correction,
    Decorrelation,
    decorrelate,
    prepareCorrection,
    restoredSpread,
)
from psfmatch.difference.decorrelation.smoothing import (
    SMOOTHING_SIGMA,
    smoothedExposure,
    smoothedFwhm,
    smoothedPsf,
    smoothingKernel,
)
from psfmatch.difference.differenceNoise import DifferenceNoise, differenceNoise
from psfmatch.difference.recipe.applying import AppliedKernel, applyKernel
from psfmatch.difference.recipe.recipe import StoredKernel, SubtractionRecipe, convolveBy, edgeHandlingOf, warperOf
from psfmatch.difference.residualShift import residualShift
from psfmatch.difference.saturationTraces import SaturationTraces, flagSaturationTraces

__all__ = [
    "SMOOTHING_SIGMA",
    "AppliedKernel",
    "CorrectedPsf",
    "Correction",
    "Decorrelation",
    "DifferenceNoise",
    "SaturationTraces",
    "StoredKernel",
    "SubtractionRecipe",
    "applyKernel",
    "convolveBy",
    "correctionKernel",
    "decorrelate",
    "differenceNoise",
    "edgeHandlingOf",
    "flagSaturationTraces",
    "prepareCorrection",
    "residualShift",
    "restoredSpread",
    "smoothedExposure",
    "smoothedFwhm",
    "smoothedPsf",
    "smoothingKernel",
    "warperOf",
]
