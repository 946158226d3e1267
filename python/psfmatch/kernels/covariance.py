"""The noise of a difference, from how it was made: what its pixels share, and what the fitted kernel adds.

The inputs' noise is taken as independent from pixel to pixel. A pixel of the difference is a sum of pixels of both
images, with weights phi of the one and phi (*) k of the other; two pixels have covariance where their weights meet.

The uncertainty of the kernel is a systematic error near bright stars. All pixels of a star err together: the plane
tells how far a residual there can be trusted, and does not average out as noise does. The formula is in
`psfmatch/kernel/KernelUncertainty.h`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import InputImagesError
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage, stampTuple
from psfmatch.kernels.linearCombination import LinearCombinationKernel
from psfmatch.threads import resolveThreads

__all__ = ["kernelUncertaintyPlane", "noiseCovariance"]


def noiseCovariance(
    x: float,
    y: float,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    correction: LinearCombinationKernel | None = None,
    smoothing: LinearCombinationKernel | None = None,
    maxLag: int = 3,
    scale: float = 1.0,
) -> npt.NDArray[np.float64]:
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
    smoothing
        Kernel with which the image that was not convolved was smoothed before; none where it was as it is.
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
    column, row = (int(np.floor(p + 0.5)) - p0 for p, p0 in zip((x, y), unconvolved.xy0, strict=True))
    if not (0 <= row < unconvolved.height and 0 <= column < unconvolved.width):
        raise ValueError(f"({x}, {y}) lies outside the image of {unconvolved.getBBox()}")
    phi = np.ones((1, 1)) if correction is None else correction.computeImage(x, y)
    weights = _core.composed(phi, kernel.computeImage(x, y))[0]
    own = phi if smoothing is None else _core.composed(phi, smoothing.computeImage(x, y))[0]
    pairs = ((own, unconvolved.variance), (weights, convolved.variance))
    parts = [_core.noiseCovariance(*pair, row=row, column=column, maxLag=maxLag) for pair in pairs]
    return np.asarray((parts[0] + parts[1]) / scale**2)


def kernelUncertaintyPlane(
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    variance: npt.NDArray[np.float32],
    *,
    correction: LinearCombinationKernel | None = None,
    scale: float = 1.0,
    minShare: float = 0.01,
    threads: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return the variance of the difference that comes from the uncertainty of the kernel.

    Parameters
    ----------
    kernel
        With a covariance: fitted with ``calculateKernelUncertainty``.
    convolved
        The image that the kernel is applied to, before it is. Its sky is taken off first: its product with the error of
        the kernel sum is made up for by the differential background that is fitted along with the kernel.
    variance : (ny, nx)
        Variance plane of the difference, to tell where the kernel matters.
    correction
        Kernel of the decorrelation, if the plane is for a decorrelated difference.
    scale
        What the difference was divided by: the kernel sum at the image's centre for a convolved science image.
    minShare
        Tiles of 32 pixels in which the term does not exceed this share of the variance, judged by their light and by
        what the kernel's errors make of the brightest sources, are zero.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    plane : (ny, nx) float32
        Image units squared.

    Raises
    ------
    ValueError
        If the kernel has no covariance, or minShare is negative.
    InputImagesError
        If the shapes differ.
    """
    if kernel.covariance is None:
        raise ValueError("the kernel has no covariance; set calculateKernelUncertainty before it is fitted")
    if not minShare >= 0.0:
        raise ValueError(f"minShare is {minShare}: it must be at least 0")
    if variance.shape != convolved.shape:
        raise InputImagesError(
            f"a variance of shape {variance.shape} does not belong to an image of shape {convolved.shape}",
            shape=convolved.shape,
            otherShape=variance.shape,
        )
    return _core.kernelUncertainty(
        stampTuple(convolved, DEFAULT_BAD_PLANES),
        variance,
        kernel.basis,
        kernel.scaledParameters,
        kernel.coreFunction,
        kernel.covariance,
        None if correction is None else (correction.basis, correction.scaledParameters, correction.coreFunction),
        *convolved.xy0,
        divisor=scale,
        minShare=minShare,
        nThreads=resolveThreads(threads),
    )
