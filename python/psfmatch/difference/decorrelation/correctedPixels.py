"""A correction applied to the pixels of a difference: values, variances and mask.

The variance is made from those of the two images, whose noise is independent: ``v_n (*) phi^2 + v_c (*) q^2`` with
q = phi (*) k, squared pixel by pixel. The second term costs a convolution; short of that it follows from the one with
k^2 that the difference's variance plane holds already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from psfmatch import _core
from psfmatch.config.equality import ByValue
from psfmatch.difference.decorrelation.correction import fitField, fitPositions
from psfmatch.images import DEFAULT_BAD_PLANES, Box, Mask, MaskedImage, withUsableBorder
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel

__all__ = ["SpreadVariance", "applyCorrection", "exactSpread", "factorsOfSpread"]

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

FACTOR_ORDER = 4
"""Order of the polynomials for the factors of the fast variance, and for the composite kernel."""
BAD_PLANES = DEFAULT_BAD_PLANES
"""Planes whose pixels lend nothing to others."""
PLAIN = EdgeHandling(copyEdge=True, badPlanes=(), maskedKernelFraction=0.0)


@dataclass(frozen=True, eq=False)
class SpreadVariance(ByValue):
    """``v_c (*) q^2``: the plane itself, or v_c and the factors (of the core) that make it of v_c (*) k^2."""

    plane: Image
    factors: tuple[FloatArray, FloatArray, FloatArray, float] | None

    def within(self, rows: slice) -> SpreadVariance:
        """Return that of some rows."""
        if self.factors is None:
            return SpreadVariance(self.plane[rows], None)
        beta, gamma, alongX, sumOfSquares = self.factors
        return SpreadVariance(self.plane[rows], (beta[rows], gamma[rows], alongX, sumOfSquares))


def applyCorrection(
    difference: MaskedImage,
    correction: LinearCombinationKernel,
    unconvolvedVariance: Image,
    spread: SpreadVariance,
    *,
    scale: float,
    maskedKernelFraction: float,
    threads: int,
) -> MaskedImage:
    """Return a difference through its correction; parameters are those of `psfmatch.difference.decorrelate`.

    ``scale`` is what the difference was divided by. All images lie on the same pixels. Bad pixels keep value and
    variance, and their planes go to pixels where they hold more than maskedKernelFraction of sum |phi|.
    """
    # What has been computed at the border lends light as all other pixels do; its flags it has afterwards, too.
    given, mask = difference.mask, withUsableBorder(difference).mask
    image, variance, flags = _core.correctDifference(
        difference.image,
        difference.variance,
        np.asarray(mask),
        unconvolvedVariance,
        spread.plane,
        spread.factors,
        correction.basis,
        correction.scaledParameters,
        correction.coreFunction,
        *difference.xy0,
        divisor=scale**2,
        maskedKernelFraction=maskedKernelFraction,
        badBits=mask.getPlaneBitMask(BAD_PLANES, ignoreMissing=True),
        edgeBit=mask.getPlaneBitMask("EDGE"),
        noDataBit=mask.getPlaneBitMask("NO_DATA"),
        nThreads=threads,
    )
    if mask is not given:
        flags |= np.asarray(given)
    return MaskedImage(image, Mask.ofBits(flags, mask.planes), variance, difference.xy0)


def factorsOfSpread(
    correction: LinearCombinationKernel, kernel: LinearCombinationKernel, convolved: MaskedImage, threads: int
) -> SpreadVariance:
    """Return beta (h, n), gamma (h, n), polynomials (n, w) and sum of k^2 as factors.

    ``v_c (*) q^2``, q = phi (*) k, is ``beta v_c (*) k^2 + gamma v_c``. The factors give the sum and the second moment
    of q^2, so that sky is right, stars are right in sum, and their profiles to the fourth moment of the kernels.
    """
    box = convolved.getBBox()
    x, y = fitPositions(box)
    kernels = kernel.computeImages(x, y)
    sums, moments = _moments(kernels)
    newSums, newMoments = _moments(_core.composed(correction.computeImages(x, y), kernels, nThreads=threads))
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(moments > 0.0, newMoments / moments, 0.0)
    # Neither part may take more than there is.
    beta = np.asarray(np.clip(beta, 0.0, newSums / sums), dtype=np.float64)
    alongX: FloatArray = np.asarray(
        chebyshev.chebvander((2.0 * np.arange(box.width) + 1.0) / box.width - 1.0, FACTOR_ORDER).T, dtype=np.float64
    )
    gamma = newSums - beta * sums
    factors = _ofRows(beta, box), _ofRows(gamma, box), alongX, float(np.median(sums))
    return SpreadVariance(convolved.variance, factors)


def _moments(kernels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sum and second moment about the middle (square pixels) of squared kernels (n, h, w)."""
    squares = kernels**2
    y, x = (np.arange(size) - size // 2 for size in kernels.shape[1:])
    return squares.sum(axis=(1, 2)), (squares * (y[:, np.newaxis] ** 2 + x**2)).sum(axis=(1, 2))


def _ofRows(values: FloatArray, box: Box) -> FloatArray:
    """Return the factors (h, n) of Chebyshev polynomials of x that go smoothly through values (n,) at the lattice."""
    coefficients, _ = fitField(values, box, FACTOR_ORDER)
    square = np.zeros((FACTOR_ORDER + 1, FACTOR_ORDER + 1))
    degrees = [(j, d - j) for d in range(FACTOR_ORDER + 1) for j in range(d + 1)]
    for (j, i), coefficient in zip(degrees, coefficients, strict=True):
        square[j, i] = coefficient
    y = (2.0 * np.arange(box.height) + 1.0) / box.height - 1.0
    return np.asarray(chebyshev.chebval(y, square).T, dtype=np.float64)


def exactSpread(
    correction: LinearCombinationKernel, kernel: LinearCombinationKernel, convolved: MaskedImage, threads: int
) -> SpreadVariance:
    """Return ``v_c (*) (phi (*) k)^2``; beyond the border the variance goes on as it is there."""
    box = convolved.getBBox()
    parts = (part.computeImages(*fitPositions(box)) for part in (correction, kernel))
    images = _core.composed(*parts, nThreads=threads)
    basis, _ = fitField(images, box, FACTOR_ORDER)
    composite = LinearCombinationKernel(basis, np.eye(len(basis)), bbox=box)
    top, left = (side // 2 for side in composite.shape)
    variance = np.pad(convolved.variance, ((top, top), (left, left)), mode="edge")
    # The image counts for nothing; the variance comes along with it.
    carrier = MaskedImage(np.zeros_like(variance), None, variance, (box.x0 - left, box.y0 - top))
    result = composite.convolve(carrier, PLAIN, threads=threads).variance
    return SpreadVariance(result[top : top + box.height, left : left + box.width], None)
