"""Whether a kernel makes light of the light of the image to convolve: if not, it has nothing to do with the sky.

An image that does not show the stars of the other (another field, sky alone, noise) can be scaled to it all the same:
its sky to that of the other, its noise to the faintest of the stars. So only what a plane in each stamp cannot do
counts as light. As noise is as likely as its negative, the sums of kernels that make light of noise scatter about zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from psfmatch.errors import KernelSolutionError
from psfmatch.exposure import Box
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.solutions import KernelSolution

__all__ = ["NOT_SHOWN", "requireLight", "sumOfLight"]

MIN_SIGNIFICANCE = 5.0
"""A kernel sum must be so many times its error above zero."""
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


def sumOfLight(solutions: Sequence[KernelSolution]) -> tuple[float, float, int]:
    """Return the mean of the candidates' sums of light, its standard deviation, and their number.

    Sums are weighted by their noise, which is measured by the residuals, whatever the variances of the images say. The
    deviation is that of the sums from each other, or that of their noise where it is larger: few may agree by chance.
    """
    sums = np.array([solution.lightSum for solution in solutions])
    noise = np.array([solution.lightSumError * _residual(solution) for solution in solutions])
    # Of sums without noise, rounding is what is left.
    weights = np.maximum(noise, np.finfo(float).eps * np.abs(sums).max()) ** -2.0
    mean = float(np.average(sums, weights=weights))
    scatter = float(np.linalg.norm(weights * (sums - mean))) * math.sqrt(sums.size / max(1, sums.size - 1))
    return mean, max(1.0 / math.sqrt(weights.sum()), scatter / float(weights.sum())), sums.size


def _residual(solution: KernelSolution) -> float:
    """Return the rms of a candidate's residuals in sigma, not below 1 where the kernel has unknowns enough for all."""
    rms = math.sqrt(solution.chiSquare / max(1, solution.nPixels))
    return rms if 2 * solution.coefficients.size <= solution.nPixels else max(1.0, rms)
