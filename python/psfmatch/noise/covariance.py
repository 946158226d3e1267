"""Covariance of the noise of neighbouring pixels of a difference image, and the PSF that it has, before and after
decorrelation.

The inputs' noise is taken as independent from pixel to pixel. A pixel of the difference is a sum of pixels of both
images, with weights phi of the one and phi (*) k of the other; two pixels have covariance where their weights meet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.psf import Psf, averagePosition

__all__ = ["CorrectedPsf", "composed", "noiseCovariance"]

FloatArray = npt.NDArray[np.float64]


class CorrectedPsf:
    """A PSF seen through a kernel: that of a decorrelated difference.

    Parameters
    ----------
    psf
        PSF of the image that was not convolved.
    correction
        The kernel that was applied to the difference.
    """

    def __init__(self, psf: Psf, correction: LinearCombinationKernel) -> None:
        self._psf, self._correction = psf, correction

    def getAveragePosition(self) -> tuple[float, float] | None:
        """Return where the PSF calls itself typical (x, y), parent pixels; None if it does not say."""
        return averagePosition(self._psf)

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), parent pixels, with sum 1 and the sides of PSF and kernel together, less one."""
        image = np.asarray(self._psf.computeKernelImage(x, y), dtype=np.float64)
        # The kernel correlates, so a star takes its mirror image.
        result = composed(image, self._correction.computeImage(x, y)[::-1, ::-1])
        return np.asarray(result / result.sum())


def composed(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the full convolution (h1 + h2 - 1, w1 + w2 - 1) of two images (or (n, ...) stacks of them)."""
    shape = tuple(a + b - 1 for a, b in zip(first.shape[-2:], second.shape[-2:], strict=True))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(first, s=shape) * np.fft.rfft2(second, s=shape), s=shape))


def noiseCovariance(
    x: float,
    y: float,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    correction: LinearCombinationKernel | None = None,
    maxLag: int = 3,
    scale: float = 1.0,
) -> FloatArray:
    """Return the covariance of the difference at a pixel with that at its neighbours.

    Parameters
    ----------
    x, y
        Pixel, parent coordinates; rounded.
    kernel
        Matching kernel.
    convolved, unconvolved
        The image that the kernel was applied to, before it was, and the other one.
    correction
        Kernel of the decorrelation; none for a difference as it is.
    maxLag
        Largest distance along x and y, pixels.
    scale
        What the difference was divided by: the kernel sum at the image's centre for a convolved science image.

    Returns
    -------
    covariance : (2 maxLag + 1, 2 maxLag + 1)
        Image units squared; the pixel's own variance in the middle. NaN where no variance near the pixel is known.

    Raises
    ------
    ValueError
        If maxLag is negative, or the pixel lies outside the image.
    """
    if maxLag < 0:
        raise ValueError(f"maxLag is {maxLag}: it must not be negative")
    column, row = (int(np.floor(p + 0.5)) - p0 for p, p0 in zip((x, y), unconvolved.xy0, strict=True))
    if not (0 <= row < unconvolved.height and 0 <= column < unconvolved.width):
        raise ValueError(f"({x}, {y}) lies outside the image of {unconvolved.getBBox()}")
    phi = np.ones((1, 1)) if correction is None else correction.computeImage(x, y)
    total = _covariance(phi, _around(unconvolved.variance, row, column, phi.shape), maxLag)
    weights = composed(phi, kernel.computeImage(x, y))
    total += _covariance(weights, _around(convolved.variance, row, column, weights.shape), maxLag)
    return np.asarray(total / scale**2)


def _around(variance: npt.NDArray[np.float32], row: int, column: int, shape: tuple[int, ...]) -> FloatArray:
    """Return the variances under a kernel; beyond the image the border's, for unusable ones the median."""
    rows = np.clip(np.arange(shape[0]) - shape[0] // 2 + row, 0, variance.shape[0] - 1)
    columns = np.clip(np.arange(shape[1]) - shape[1] // 2 + column, 0, variance.shape[1] - 1)
    values = variance[np.ix_(rows, columns)].astype(np.float64)
    usable = np.isfinite(values) & (values >= 0.0)
    return np.where(usable, values, np.median(values[usable]) if usable.any() else np.nan)


def _covariance(weights: FloatArray, variance: FloatArray, maxLag: int) -> FloatArray:
    """Return sum_w variance(w) weights(w) weights(w - d) for lags d = (dy, dx) of up to maxLag."""
    side = 2 * maxLag + 1
    padded = np.pad(weights, maxLag)
    weighted = weights * variance
    result = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            # Row i is lag i - maxLag: the weights moved by the lag.
            top, left = 2 * maxLag - i, 2 * maxLag - j
            result[i, j] = np.sum(weighted * padded[top : top + weights.shape[0], left : left + weights.shape[1]])
    return result
