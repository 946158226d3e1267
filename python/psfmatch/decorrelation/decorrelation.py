"""Decorrelation of a difference image: its noise made white, with variance plane, mask and PSF to match.

Convolving one image correlates its noise, and a variance plane cannot tell: detection thresholds, flux errors and
plain standard deviations are wrong together. The correction (`psfmatch.decorrelation.correction`) is one more
convolution, of the difference; its variance is made anew from the variances of the two images, which are independent.
Both are taken to have white noise: what an earlier resampling has correlated stays so, and `psfmatch.measureWhiteness`
tells.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import CellGrid
from psfmatch.decorrelation.correctedPixels import applyCorrection
from psfmatch.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.decorrelation.correction import makeCorrection
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.noise import noiseCovariance
from psfmatch.psf import Psf, asPsf
from psfmatch.threads import mapThreads, resolveThreads

__all__ = ["IGNORED_PLANES", "Decorrelation", "decorrelate"]

FloatArray = npt.NDArray[np.float64]

log = logging.getLogger("psfmatch.decorrelation")

IGNORED_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")
"""Planes whose pixels do not count for the typical variance of an image."""
MAX_MEANINGFUL_RATIO = 1e8
"""Variance ratio above which one of the variance planes must be wrong."""


@dataclass(frozen=True, eq=False)
class Decorrelation:
    """A difference whose noise is white.

    exposure : corrected image, variance, mask and PSF; kernel : the correction, a kernel of sum 1; psf : effective PSF
    of the corrected difference, None unless one was given; isApplied : False where no variance was known and the
    difference is as it was; varianceRatio : v_c (sum k)^2 / v_n at the centre.
    """

    exposure: Exposure
    kernel: LinearCombinationKernel
    psf: Psf | None
    isApplied: bool
    varianceRatio: float
    _matching: LinearCombinationKernel = field(repr=False)
    _convolved: MaskedImage = field(repr=False)
    _unconvolved: MaskedImage = field(repr=False)
    _scale: float = field(repr=False)

    def covariance(self, x: float, y: float, maxLag: int = 3) -> FloatArray:
        """Return the covariance that is left between the pixel at (x, y), parent pixels, and its neighbours.

        See `psfmatch.noise.noiseCovariance`: (2 maxLag + 1, 2 maxLag + 1), image units squared.
        """
        return self._covariance(x, y, maxLag, self.kernel)

    def differenceCovariance(self, x: float, y: float, maxLag: int = 3) -> FloatArray:
        """Return the same of the difference before it was decorrelated."""
        return self._covariance(x, y, maxLag, None)

    def _covariance(self, x: float, y: float, maxLag: int, correction: LinearCombinationKernel | None) -> FloatArray:
        return noiseCovariance(
            x,
            y,
            self._matching,
            self._convolved,
            self._unconvolved,
            correction=correction,
            maxLag=maxLag,
            scale=self._scale,
        )


def decorrelate(
    difference: Exposure,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    psf: Any = None,
    isScienceConvolved: bool = False,
    varying: bool = True,
    completeVariance: bool = False,
    ignoreMaskPlanes: tuple[str, ...] = IGNORED_PLANES,
    maskedKernelFraction: float = 0.05,
    threads: int | None = None,
) -> Decorrelation:
    """Make the noise of a difference image white.

    Parameters
    ----------
    difference
        ``science - matched - background``, or with a convolved science image
        ``(matched + background - template) / kernel sum at the image's centre``; its variance plane is that of
        `psfmatch.subtraction`. Not changed.
    kernel
        Matching kernel.
    convolved, unconvolved
        The image that the kernel was applied to, before it was, and the other one; on the difference's pixels.
    psf
        PSF of the difference, by default ``difference.psf``: that of the unconvolved image.
    isScienceConvolved
        Which of the two forms the difference has.
    varying
        Let the correction follow kernel and variances over the field; else it is that of the centre.
    completeVariance
        Propagate the variance of the convolved image exactly, by a convolution of its own; else from the
        difference's variance plane: the same on sky and right in sum everywhere, but in the cores of stars that
        outshine the sky off by 0.3 % where both images are equally deep, by 1 % (2.5 %) at a variance ratio of 10
        (100).
    ignoreMaskPlanes
        Planes whose pixels do not count for the typical variances.
    maskedKernelFraction
        A pixel receives the bad planes of another one where that holds more than this share of sum |phi|. At the
        default only large variance ratios spread single pixels, and only to their nearest neighbours: what is missing
        elsewhere is less than 1 % of the noise.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    decorrelation : Decorrelation
        Bad pixels (planes BAD, SAT, CR, EDGE, NO_DATA; values or variances that cannot be used) keep their values and
        lend nothing to others. Without any known variance the difference is returned as it is, and a warning logged.

    Raises
    ------
    InputImagesError
        If the images differ in shape.
    ValueError
        If maskedKernelFraction is not in [0, 1), or the kernel sum at the centre is not a positive number.
    """
    pixels = difference.maskedImage
    for image in (convolved, unconvolved):
        if image.shape != pixels.shape:
            raise InputImagesError(
                f"an image of shape {image.shape} cannot have made a difference of shape {pixels.shape}",
                shape=pixels.shape,
                otherShape=image.shape,
            )
    if not 0.0 <= maskedKernelFraction < 1.0:
        raise ValueError(f"maskedKernelFraction is {maskedKernelFraction}: it must be at least 0 and less than 1")
    box = pixels.getBBox()
    kernelSum = kernel.kernelSum(*box.centre)
    if not (np.isfinite(kernelSum) and kernelSum > 0.0):
        raise ValueError(f"the matching kernel's sum at the centre is {kernelSum}: it must be positive")
    nThreads = resolveThreads(threads)
    convolved, unconvolved = (
        MaskedImage(image.image, image.mask, image.variance, pixels.xy0) for image in (convolved, unconvolved)
    )
    ours, theirs = mapThreads(
        lambda image: measureVariances(image, ignoreMaskPlanes, resolveThreads(None)),
        (unconvolved, convolved),
        nThreads,
    )
    psf = difference.psf if psf is None else psf
    scale = kernelSum if isScienceConvolved else 1.0
    ratio = _varianceRatio(ours, theirs, kernelSum)
    if np.isnan(ratio):
        log.warning("Neither image has a usable variance plane: the difference is not decorrelated")
        identity = LinearCombinationKernel(np.ones((1, 1, 1)), [[1.0]], bbox=box)
        effective = None if psf is None else asPsf(psf)
        return Decorrelation(difference, identity, effective, False, ratio, kernel, convolved, unconvolved, scale)
    correction = makeCorrection(kernel, box, ours, theirs, varying=varying, threads=nThreads)
    effective = None if psf is None else CorrectedPsf(asPsf(psf), correction)
    result = applyCorrection(
        pixels,
        correction,
        kernel,
        convolved,
        unconvolved,
        scale=scale,
        completeVariance=completeVariance,
        maskedKernelFraction=maskedKernelFraction,
        threads=nThreads,
    )
    exposure = difference.withPixels(result)
    exposure.psf = effective
    log.info(
        "Decorrelated with a kernel of %d px, order %d; variance ratio %.3g",
        correction.shape[0],
        correction.order,
        ratio,
    )
    return Decorrelation(exposure, correction, effective, True, ratio, kernel, convolved, unconvolved, scale)


def measureVariances(image: MaskedImage, ignoredPlanes: tuple[str, ...], threads: int = 1) -> CellGrid:
    """Return the clipped means (3 sigma, 3 times) of the variances in 8 x 8 cells, of 32 px at least.

    A cell without a good pixel takes the median of the others; without any cell all are zero.
    """
    badBits = image.mask.getPlaneBitMask(ignoredPlanes, ignoreMissing=True)
    (x0, y0), mask = image.xy0, np.asarray(image.mask)
    return _core.measureCells(
        image.variance, image.variance, mask, badBits, isVariance=True, x0=x0, y0=y0, nThreads=threads
    )


def _varianceRatio(unconvolved: CellGrid, convolved: CellGrid, kernelSum: float) -> float:
    """Return v_c (sum k)^2 / v_n, NaN if nothing is known of either."""
    if not (unconvolved.isKnown or convolved.isKnown):
        return float("nan")
    below, above = float(np.median(unconvolved.values)), float(np.median(convolved.values)) * kernelSum**2
    ratio = above / below if below > 0.0 else float("inf")
    if ratio > MAX_MEANINGFUL_RATIO:
        log.warning(
            "The convolved image has %.2g times the variance of the other one, which counts as noiseless: one of the "
            "variance planes must be wrong; some correlation of the noise is left",
            ratio,
        )
    return ratio
