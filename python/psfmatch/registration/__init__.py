"""The template on the pixels of the science image: where it lies, and how it gets there.

`alignment` measures it from the stars of both where coordinates are missing or off, `warper` resamples by what the WCSs
say, `surroundings` keeps what lies beyond the border, `coverage` says how much is covered. `examination` and `pair` do
all that together, `preparation` is the record of it.
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
from psfmatch.registration.examination import Examined, PairSteps, examinePair
from psfmatch.registration.faintLight import LightShift, measureLightShift
from psfmatch.registration.grids import compareGrids, registerTemplate
from psfmatch.registration.moving import movedBy
from psfmatch.registration.noiseCorrelation import resampledCorrelation
from psfmatch.registration.pair import LaidPair, PreparedPair, alignPair, completePair, layPair
from psfmatch.registration.preparation import Preparation, crossInputs, prepareInputs, registerInputs
from psfmatch.registration.shifts import ShiftField, measureShiftField
from psfmatch.registration.surroundings import Surroundings, surroundingsOf
from psfmatch.registration.warper import MovedPsf, WarpedPsf, Warper, movedPsf

__all__ = [
    "REQUIRED_FRACTION",
    "AlignedTransform",
    "Alignment",
    "Coverage",
    "Examined",
    "LaidPair",
    "LightShift",
    "MovedPsf",
    "PairSteps",
    "Preparation",
    "PreparedPair",
    "ShiftField",
    "Surroundings",
    "WarpedPsf",
    "Warper",
    "alignPair",
    "applyAlignment",
    "compareGrids",
    "completePair",
    "coveredArea",
    "crossInputs",
    "examinePair",
    "isCovered",
    "layPair",
    "measureAlignment",
    "measureCoverage",
    "measureLightShift",
    "measureShiftField",
    "movedBy",
    "movedPsf",
    "prepareInputs",
    "registerInputs",
    "registerTemplate",
    "requireCoverage",
    "resampledCorrelation",
    "surroundingsOf",
]
