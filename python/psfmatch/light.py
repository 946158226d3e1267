"""Whether a kernel makes light of the light of the image to convolve: if not, it has nothing to do with the sky.

An image that does not show the stars of the other (another field, sky alone, noise) can be scaled to it all the same:
its sky to that of the other, its noise to the faintest of the stars. So only what a plane in each stamp cannot do
counts as light. As noise is as likely as its negative, the sums of kernels that make light of noise scatter about zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from psfmatch import _core
from psfmatch.errors import KernelSolutionError
from psfmatch.exposure import Box
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.solutions import KernelSolution

__all__ = ["NOT_SHOWN", "requireLight", "sumOfLight"]

MIN_SIGNIFICANCE = 5.0
"""A kernel sum must be so many times its error above zero."""
MIN_WEIGHTED_SUMS = 5
"""Fewer sums do not tell their common scatter from their own errors."""
NOT_SHOWN = "the image to convolve does not show the light of the other. Check that both show the same sky, registered."


def requireLight(kernel: LinearCombinationKernel, bbox: Box, mean: float, error: float, count: int) -> None:
    """Raise KernelSolutionError unless a kernel's sum at the centre and the sum of light are positive.

    Parameters
    ----------
    kernel, bbox
        The spatial model, and the area it is for.
    mean, error, count
        The sum of light, its standard deviation, and the number of candidates or regions that tell it.
    """
    kernelSum = kernel.kernelSum(*bbox.centre)
    if kernelSum > 0.0 and mean > MIN_SIGNIFICANCE * error:
        return
    raise KernelSolutionError(
        f"the kernel sum is {kernelSum:.4g} at the centre, and by light alone {mean:.4g} +/- {error:.2g} from {count} "
        f"candidates, not significantly positive: {NOT_SHOWN}",
        kernelSum=kernelSum,
        nCandidates=count,
    )


def sumOfLight(solutions: Sequence[KernelSolution], hasSky: bool = True) -> tuple[float, float, int]:
    """Return the mean of the candidates' sums of light, its standard deviation, and their number.

    Sums are weighted by their noise, which is measured by the residuals, whatever the variances of the images say, and
    by the scatter that the best known have beyond it. The deviation is that of the sums from each other, or that of
    their noise where it is larger: few may agree by chance. Of images without sky all is light, and the kernel sums
    tell it.
    """
    told = [(s.lightSum, s.lightSumError) if hasSky else (s.kernelSum, s.kernelSumError) for s in solutions]
    sums, errors = np.array(told).T
    noise = errors * [_residual(solution) for solution in solutions]
    best = np.argsort(noise, kind="stable")[: max(MIN_WEIGHTED_SUMS, sums.size // 2)]
    common = max(0.0, _core.clippedStatistics(sums[best]).stdev ** 2 - float(np.median(noise[best])) ** 2)
    variances = noise**2 + common
    if not variances.all():
        # Sums without noise that agree: rounding is what is left.
        variances += (np.finfo(float).eps * np.abs(sums).max()) ** 2 or 1.0
    weights = 1.0 / variances
    mean = float(np.average(sums, weights=weights))
    scatter = float(np.linalg.norm(weights * (sums - mean))) * math.sqrt(sums.size / max(1, sums.size - 1))
    return mean, max(1.0 / math.sqrt(weights.sum()), scatter / float(weights.sum())), sums.size


def _residual(solution: KernelSolution) -> float:
    """Return the residuals of a candidate in sigma: at least 1 where the kernel has unknowns enough to leave none."""
    nFree = solution.nPixels - solution.coefficients.size
    if nFree > 0:
        return math.sqrt(solution.chiSquare / nFree)
    return max(1.0, math.sqrt(solution.chiSquare / max(1, solution.nPixels)))
