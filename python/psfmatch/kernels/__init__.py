"""Functions of position: the matching kernel, what it is made of, and the differential background."""

from psfmatch.kernels.alardLupton import AlardLuptonBasis
from psfmatch.kernels.basis import (
    KernelBasis,
    makeKernelBasis,
    makeKernelBasisList,
    makeRegularizationMatrix,
    registerKernelBasis,
    renormalizeBasis,
)
from psfmatch.kernels.covariance import kernelUncertaintyPlane, noiseCovariance
from psfmatch.kernels.deltaFunctions import DeltaFunctionBasis
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
    "AlardLuptonBasis",
    "BSpline2D",
    "Chebyshev2D",
    "DeltaFunctionBasis",
    "EdgeHandling",
    "KernelBasis",
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
    "makeKernelBasis",
    "makeKernelBasisList",
    "makeRegularizationMatrix",
    "makeSpatialFunction",
    "noiseCovariance",
    "registerKernelBasis",
    "renormalizeBasis",
    "shiftedImages",
    "spatialFunctionOf",
]
