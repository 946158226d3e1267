"""The template on the pixels of the science image: where it lies, and how it gets there.

`alignment` measures it from the stars of both where coordinates are missing or off, `warper` resamples by what the WCSs
say, `surroundings` keeps what lies beyond the border, `coverage` says how much is covered.
"""

from psfmatch.registration.alignment import AlignedTransform, Alignment, applyAlignment, measureAlignment
from psfmatch.registration.coverage import (
    REQUIRED_FRACTION,
    Coverage,
    coveredArea,
    isCovered,
    measureCoverage,
    requireCoverage,
)
from psfmatch.registration.faintLight import LightShift, measureLightShift
from psfmatch.registration.grids import compareGrids, registerTemplate
from psfmatch.registration.moving import movedBy
from psfmatch.registration.noiseCorrelation import resampledCorrelation
from psfmatch.registration.shifts import ShiftField, measureShiftField
from psfmatch.registration.surroundings import Surroundings, surroundingsOf
from psfmatch.registration.warper import MovedPsf, WarpedPsf, Warper, movedPsf

__all__ = [
    "REQUIRED_FRACTION",
    "AlignedTransform",
    "Alignment",
    "Coverage",
    "LightShift",
    "MovedPsf",
    "ShiftField",
    "Surroundings",
    "WarpedPsf",
    "Warper",
    "applyAlignment",
    "compareGrids",
    "coveredArea",
    "isCovered",
    "measureAlignment",
    "measureCoverage",
    "measureLightShift",
    "measureShiftField",
    "movedBy",
    "movedPsf",
    "registerTemplate",
    "requireCoverage",
    "resampledCorrelation",
    "surroundingsOf",
]
