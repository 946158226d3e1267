"""Simulated image pairs with a known truth, fake kernel sets, and measures of a difference image.

Numpy and astropy only. `simulatePair` is the place to begin.
"""

from psfmatch.testing.fakes import FakeKernelSet, alardLuptonBasis, makeFakeKernelSet, makeNineStars
from psfmatch.testing.metrics import (
    backgroundPull,
    falseDetections,
    matchedFilter,
    robustSigma,
    starPull,
    transientCompleteness,
    transientFluxes,
    usableFraction,
)
from psfmatch.testing.options import DENSE_FIELD, FieldOptions
from psfmatch.testing.pairs import SimulatedPair, simulatePair
from psfmatch.testing.skies import makeTanWcs, renderStars
from psfmatch.testing.truth import Truth

__all__ = [
    "DENSE_FIELD",
    "FakeKernelSet",
    "FieldOptions",
    "SimulatedPair",
    "Truth",
    "alardLuptonBasis",
    "backgroundPull",
    "falseDetections",
    "makeFakeKernelSet",
    "makeNineStars",
    "makeTanWcs",
    "matchedFilter",
    "renderStars",
    "robustSigma",
    "simulatePair",
    "starPull",
    "transientCompleteness",
    "transientFluxes",
    "usableFraction",
]
