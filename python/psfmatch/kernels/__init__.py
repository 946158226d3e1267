"""The matching kernel and the differential background as functions of position."""

from psfmatch.kernels.hotpants import hotpantsBasis, hotpantsTable, readHotpantsKernel
from psfmatch.kernels.linearCombination import EdgeHandling, LinearCombinationKernel, backgroundFromTables
from psfmatch.kernels.spatialFunction import (
    RAW_PIXELS,
    Chebyshev2D,
    Polynomial2D,
    SpatialFunction2D,
    frameOf,
    makeSpatialFunction,
)

__all__ = [
    "RAW_PIXELS",
    "Chebyshev2D",
    "EdgeHandling",
    "LinearCombinationKernel",
    "Polynomial2D",
    "SpatialFunction2D",
    "backgroundFromTables",
    "frameOf",
    "hotpantsBasis",
    "hotpantsTable",
    "makeSpatialFunction",
    "readHotpantsKernel",
]
