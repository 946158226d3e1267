"""What the uncertainty of the fitted kernel does to the difference: a systematic error near bright stars.

All pixels of a star err together: the plane tells how far a residual there can be trusted, and does not average out as
noise does. The formula is in `psfmatch/kernel/KernelUncertainty.h`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import InputImagesError
from psfmatch.exposure import MaskedImage
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.threads import resolveThreads

__all__ = ["kernelUncertaintyPlane"]


def kernelUncertaintyPlane(
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    variance: npt.NDArray[np.float32],
    *,
    correction: LinearCombinationKernel | None = None,
    scale: float = 1.0,
    minShare: float = 0.01,
    badPlanes: Iterable[str] = ("BAD", "SAT", "CR", "EDGE", "NO_DATA"),
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
    badPlanes
        Planes whose pixels of `convolved` do not count.
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
        *(convolved.image, convolved.variance, np.asarray(convolved.mask), variance),
        *(kernel.basis, kernel.scaledParameters, kernel.coreFunction, kernel.covariance),
        None if correction is None else (correction.basis, correction.scaledParameters, correction.coreFunction),
        *convolved.xy0,
        badBits=convolved.mask.getPlaneBitMask(badPlanes, ignoreMissing=True),
        divisor=scale,
        minShare=minShare,
        nThreads=resolveThreads(threads),
    )
