"""The kernel that was fitted to one candidate, how well it subtracts, and how well it is known."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.config.equality import ByValue

__all__ = ["KernelSolution", "ResidualSummary", "SolutionSlot", "kernelVariance"]

FloatArray = npt.NDArray[np.float64]


class SolutionSlot(enum.Enum):
    """Which solution of a candidate: on the original basis, on principal components, or the latest of them."""

    ORIG = "orig"
    PCA = "pca"
    RECENT = "recent"


@dataclass(frozen=True)
class ResidualSummary:
    """Mean and rms of residual / sqrt(variance) over `count` pixels of a stamp; ideally 0 and 1."""

    mean: float
    rms: float
    count: int


@dataclass(frozen=True, eq=False)
class KernelSolution(ByValue):
    """The kernel fitted to one candidate.

    basis : (n, h, w), coefficients : (n,), background : image units, kernelSum : flux ratio,
    matrix, rightHandSide : normal equations of n (+ 1 with background) unknowns, 1/variance weighted; empty where
    they are too large to keep, conditionNumber : of the scaled matrix, method : how it was solved, lostFraction : of
    fitted pixels, for being bad, kernelSumError : standard deviation of the sum as far as the weights tell it,
    chiSquare : sum of residual^2 / variance over the nPixels good pixels of the whole stamp, regularizationStrength :
    lambda of the penalty (0: none), covariance : of the unknowns, noiseMatrix : of the right-hand side; both None
    unless asked for.
    """

    basis: FloatArray
    coefficients: FloatArray
    background: float
    kernelSum: float
    matrix: FloatArray
    rightHandSide: FloatArray
    conditionNumber: float = math.nan
    method: str = "none"
    lostFraction: float = 0.0
    kernelSumError: float = math.nan
    chiSquare: float = math.nan
    nPixels: int = 0
    regularizationStrength: float = 0.0
    covariance: FloatArray | None = None
    noiseMatrix: FloatArray | None = None

    def computeImage(self) -> FloatArray:
        """Return the kernel, (h, w)."""
        return np.tensordot(self.coefficients, self.basis, axes=1)

    def computeSigmaImage(self) -> FloatArray:
        """Return the standard deviation of every pixel of the kernel, (h, w); RuntimeError without a covariance."""
        return np.sqrt(kernelVariance(self.basis, self._kernelCovariance()))

    @property
    def kernelSumSigma(self) -> float:
        """Standard deviation of the kernel sum; RuntimeError without a covariance."""
        sums = self.basis.sum(axis=(1, 2))
        return math.sqrt(max(0.0, float(sums @ self._kernelCovariance() @ sums)))

    def _kernelCovariance(self) -> FloatArray:
        if self.covariance is None:
            raise RuntimeError("no uncertainties were computed; set calculateKernelUncertainty")
        n = len(self.basis)
        return self.covariance[:n, :n]


def kernelVariance(basis: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return the variance (h, w) of every pixel of sum_i a_i K_i, for a covariance (n, n) of the a_i."""
    n, height, width = basis.shape
    images = basis.reshape(n, -1)
    variance: FloatArray = np.einsum("ip,ip->p", covariance @ images, images).reshape(height, width)
    # Round-off may leave a pixel of no variance a little below zero.
    return np.maximum(variance, 0.0)
