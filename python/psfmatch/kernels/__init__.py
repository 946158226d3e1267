"""Functions of position: the matching kernel, what it is made of, and the differential background."""

from psfmatch.kernels.basis import makeKernelBasisList, makeRegularizationMatrix, renormalizeBasis
from psfmatch.kernels.covariance import kernelUncertaintyPlane, noiseCovariance
from psfmatch.kernels.linearCombination import EdgeHandling, LinearCombinationKernel, backgroundFromTables
from psfmatch.kernels.psfField import PsfField, shiftedImages
from psfmatch.kernels.solutions import KernelSolution, ResidualSummary, SolutionSlot
from psfmatch.kernels.spatialFunction import (
    RAW_PIXELS,
    BSpline2D,
    Chebyshev2D,
    Polynomial2D,
    SpatialFunction2D,
    frameOf,
    makeSpatialFunction,
    spatialFunctionOf,
)

__all__ = [
    "RAW_PIXELS",
    "BSpline2D",
    "Chebyshev2D",
    "EdgeHandling",
    "KernelSolution",
    "LinearCombinationKernel",
    "Polynomial2D",
    "PsfField",
    "ResidualSummary",
    "SolutionSlot",
    "SpatialFunction2D",
    "backgroundFromTables",
    "frameOf",
    "kernelUncertaintyPlane",
    "makeKernelBasisList",
    "makeRegularizationMatrix",
    "makeSpatialFunction",
    "noiseCovariance",
    "renormalizeBasis",
    "shiftedImages",
    "spatialFunctionOf",
]
