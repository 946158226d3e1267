"""A correction applied to the pixels of a difference: values, variances and mask.

The variance is made from those of the two images, whose noise is independent: ``v_n (*) phi^2 + v_c (*) q^2`` with
q = phi (*) k, squared pixel by pixel. The second term costs a convolution; short of that it follows from the one with
k^2 that the difference's variance plane holds already.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from psfmatch.decorrelation.correction import fitField, fitPositions
from psfmatch.exposure import Box, Mask, MaskedImage
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel
from psfmatch.noise import composed
from psfmatch.strips import mapStrips

__all__ = ["applyCorrection"]

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

LEVEL_SAMPLES = 1 << 16
"""About how many pixels give the level of the difference, which stands in for its bad pixels."""
FACTOR_ORDER = 4
"""Order of the polynomials for the factors of the fast variance, and for the composite kernel."""
BAD_PLANES = EdgeHandling().badPlanes
"""Planes whose pixels lend nothing to others."""
PLAIN = EdgeHandling(copyEdge=True, badPlanes=(), maskedKernelFraction=0.0)


def applyCorrection(
    difference: MaskedImage,
    correction: LinearCombinationKernel,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    scale: float,
    completeVariance: bool,
    maskedKernelFraction: float,
    threads: int,
) -> MaskedImage:
    """Return a difference through its correction; parameters are those of `psfmatch.decorrelation.decorrelate`.

    ``scale`` is what the difference was divided by. All images lie on the same pixels. Bad pixels keep value and
    variance, and their planes go to pixels where they hold more than maskedKernelFraction of sum |phi|.
    """
    shape, half = difference.shape, correction.shape[0] // 2
    bad, padded = _withoutBad(difference, unconvolved.variance, half, threads)
    xy0 = difference.xy0[0] - half, difference.xy0[1] - half
    through = correction.convolve(MaskedImage(padded[0], None, padded[1], xy0), PLAIN, threads=threads)
    inner = np.s_[half : half + shape[0], half : half + shape[1]]
    # What follows is done in place.
    image, variance = through.image[inner], through.variance[inner]
    box = difference.getBBox()
    theirs = _exactVariance(correction, kernel, convolved, box, threads) if completeVariance else None
    factors = None if completeVariance else _VarianceFactors(correction, kernel, box)
    taps = _tapsAbove(correction.computeImage(*box.centre), maskedKernelFraction)
    edge = np.int32(difference.mask.getPlaneBitMask("EDGE"))
    divisor = np.float32(scale**2)
    mask = np.empty(shape, dtype=np.int32)

    def finish(strip: slice) -> None:
        isBad = bad[strip] != 0
        np.copyto(image[strip], difference.image[strip], where=isBad)
        if factors is None:
            assert theirs is not None
            variance[strip] += theirs[strip]
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                matched = difference.variance[strip] * divisor
                matched -= unconvolved.variance[strip]
                variance[strip] += factors.spread(matched, convolved.variance[strip], strip)
        if divisor != 1.0:
            variance[strip] /= divisor
        np.copyto(variance[strip], difference.variance[strip], where=isBad)
        np.bitwise_or(np.asarray(difference.mask)[strip], _spreadPlanes(bad, strip, taps, edge), out=mask[strip])

    mapStrips(finish, shape, threads)
    return MaskedImage(image, Mask(mask, difference.mask.planes), variance, difference.xy0)


def _withoutBad(
    difference: MaskedImage, variance: Image, half: int, threads: int
) -> tuple[npt.NDArray[np.int32], tuple[Image, Image]]:
    """Return the bad planes of all bad pixels (h, w), and the difference and a variance with a border of `half`.

    Bad pixels and the border hold the level of the difference without any noise: they lend neither noise nor variance.
    """
    shape = difference.shape
    bits = np.int32(difference.mask.getPlaneBitMask(BAD_PLANES, ignoreMissing=True))
    noData = np.int32(difference.mask.getPlaneBitMask("NO_DATA"))
    level = np.float32(_level(difference, bits))
    bad = np.empty(shape, dtype=np.int32)
    planes = tuple(np.empty((shape[0] + 2 * half, shape[1] + 2 * half), dtype=np.float32) for _ in range(2))
    for plane, value in zip(planes, (level, np.float32(0.0)), strict=True):
        for border in (np.s_[:half], np.s_[shape[0] + half :], np.s_[:, :half], np.s_[:, shape[1] + half :]):
            plane[border] = value

    def fill(strip: slice) -> None:
        image, own, spread = difference.image[strip], variance[strip], difference.variance[strip]
        np.bitwise_and(np.asarray(difference.mask)[strip], bits, out=bad[strip])
        usable = np.isfinite(image)
        for values in (own, spread):
            usable &= values >= 0.0
            usable &= values < np.inf
        bad[strip][~usable] |= noData
        isBad = bad[strip] != 0
        rows = slice(strip.start + half, strip.stop + half)
        for plane, pixels, value in zip(planes, (image, own), (level, np.float32(0.0)), strict=True):
            target = plane[rows, half : half + shape[1]]
            np.copyto(target, pixels)
            np.copyto(target, value, where=isBad)

    mapStrips(fill, shape, threads)
    return bad, (planes[0], planes[1])


def _level(difference: MaskedImage, bits: np.int32) -> float:
    """Return the median of the good pixels of a lattice; 0 if there are none."""
    step = max(1, math.isqrt(difference.image.size // LEVEL_SAMPLES))
    values = difference.image[::step, ::step]
    values = values[np.isfinite(values) & ((np.asarray(difference.mask)[::step, ::step] & bits) == 0)]
    return float(np.median(values)) if values.size else 0.0


class _VarianceFactors:
    """``v_c (*) q^2``, q = phi (*) k, as ``beta v_c (*) k^2 + gamma v_c``.

    The factors give the sum and the second moment of q^2, so that sky is right, stars are right in sum, and their
    profiles to the fourth moment of the kernels.
    """

    def __init__(self, correction: LinearCombinationKernel, kernel: LinearCombinationKernel, box: Box) -> None:
        x, y = fitPositions(box)
        kernels = kernel.computeImages(x, y)
        sums, moments = _moments(kernels)
        newSums, newMoments = _moments(composed(correction.computeImages(x, y), kernels))
        with np.errstate(divide="ignore", invalid="ignore"):
            beta = np.where(moments > 0.0, newMoments / moments, 0.0)
        # Neither part may take more than there is.
        beta = np.clip(beta, 0.0, newSums / sums)
        self._sumOfSquares = np.float32(np.median(sums))
        self._beta, self._gamma = (_onPixels(values, box) for values in (beta, newSums - beta * sums))

    def spread(self, matched: Image, theirs: Image, strip: slice) -> Image:
        """Return the variance (h, w) of a strip from v_c (*) k^2, whose memory it takes, and v_c."""
        np.maximum(matched, np.float32(0.0), out=matched)
        usable = (theirs >= 0.0) & (theirs < np.inf)
        if not usable.all():
            theirs = np.where(usable, theirs, matched / self._sumOfSquares)
        own = self._gamma[0][strip] @ self._gamma[1]
        own *= theirs
        matched *= self._beta[0][strip] @ self._beta[1]
        matched += own
        return matched


def _moments(kernels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sum and second moment about the middle (square pixels) of squared kernels (n, h, w)."""
    squares = kernels**2
    y, x = (np.arange(size) - size // 2 for size in kernels.shape[1:])
    return squares.sum(axis=(1, 2)), (squares * (y[:, np.newaxis] ** 2 + x**2)).sum(axis=(1, 2))


def _onPixels(values: FloatArray, box: Box) -> tuple[Image, Image]:
    """Return arrays (h, n) and (n, w) whose product goes smoothly through values (n,) at the lattice."""
    coefficients, _ = fitField(values, box, FACTOR_ORDER)
    square = np.zeros((FACTOR_ORDER + 1, FACTOR_ORDER + 1))
    degrees = [(j, d - j) for d in range(FACTOR_ORDER + 1) for j in range(d + 1)]
    for (j, i), coefficient in zip(degrees, coefficients, strict=True):
        square[j, i] = coefficient
    alongX, alongY = (
        chebyshev.chebvander((2.0 * np.arange(size) + 1.0) / size - 1.0, FACTOR_ORDER)
        for size in (box.width, box.height)
    )
    return (alongY @ square).astype(np.float32), np.ascontiguousarray(alongX.T, dtype=np.float32)


def _exactVariance(
    correction: LinearCombinationKernel,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    box: Box,
    threads: int,
) -> Image:
    """Return ``v_c (*) (phi (*) k)^2``, (h, w); beyond the border the variance goes on as it is there."""
    images = composed(*(part.computeImages(*fitPositions(box)) for part in (correction, kernel)))
    basis, _ = fitField(images, box, FACTOR_ORDER)
    composite = LinearCombinationKernel(basis, np.eye(len(basis)), bbox=box)
    top, left = (side // 2 for side in composite.shape)
    variance = np.pad(convolved.variance, ((top, top), (left, left)), mode="edge")
    # The image counts for nothing; the variance comes along with it.
    carrier = MaskedImage(np.zeros_like(variance), None, variance, (box.x0 - left, box.y0 - top))
    result = composite.convolve(carrier, PLAIN, threads=threads).variance
    return result[top : top + box.height, left : left + box.width]


def _tapsAbove(phi: FloatArray, fraction: float) -> list[tuple[int, int]]:
    """Return (dy, dx) of the taps beside the middle one that hold more than a fraction of sum |phi|."""
    weights = np.abs(phi)
    far = np.argwhere(weights > fraction * weights.sum()) - np.array(phi.shape) // 2
    return [(int(dy), int(dx)) for dy, dx in far if dy or dx]


def _spreadPlanes(
    bad: npt.NDArray[np.int32], strip: slice, taps: list[tuple[int, int]], edge: np.int32
) -> npt.NDArray[np.int32]:
    """Return the planes that the pixels of a strip have or get from the bad pixels under their taps."""
    if not taps:
        return bad[strip]
    dy, dx = (max(abs(tap[axis]) for tap in taps) for axis in (0, 1))
    height, width = strip.stop - strip.start, bad.shape[1]
    around = np.full((height + 2 * dy, width + 2 * dx), edge, dtype=np.int32)
    top, bottom = max(0, strip.start - dy), min(bad.shape[0], strip.stop + dy)
    start = top - strip.start + dy
    around[start : start + bottom - top, dx : dx + width] = bad[top:bottom]
    planes = bad[strip].copy()
    for y, x in taps:
        planes |= around[dy + y : dy + y + height, dx + x : dx + x + width]
    return planes
