"""Fluxes of point sources, on a difference as on any image, with a PSF that varies over it.

`boxLight` needs no PSF. `starPsf` measures it from the stars where nothing else tells it, `psfField` has it as few
images times smooth functions. `significance` is the matched filter, whose peaks are sources; `pointSources` fits the
PSF to them, with `leastSquares` where a model is not linear.
"""

from psfmatch.photometry.boxLight import BOX_SIDE, areOfOneImage, boxLight, lightRatios
from psfmatch.photometry.leastSquares import minimizeSquares
from psfmatch.photometry.pointSources import PointSources, Stamps, cutStamps, fitPointSources, forcedPhotometry
from psfmatch.photometry.psfField import PsfField, shiftedImages
from psfmatch.photometry.significance import (
    UNUSABLE_PLANES,
    NoiseScale,
    Peaks,
    Significance,
    findPeaks,
    fluxImage,
    significanceImage,
    weightImage,
)
from psfmatch.photometry.starPsf import StarPsf, psfFromStars, psfOrStars

__all__ = [
    "BOX_SIDE",
    "UNUSABLE_PLANES",
    "NoiseScale",
    "Peaks",
    "PointSources",
    "PsfField",
    "Significance",
    "Stamps",
    "StarPsf",
    "areOfOneImage",
    "boxLight",
    "cutStamps",
    "findPeaks",
    "fitPointSources",
    "fluxImage",
    "forcedPhotometry",
    "lightRatios",
    "minimizeSquares",
    "psfFromStars",
    "psfOrStars",
    "shiftedImages",
    "significanceImage",
    "weightImage",
]
