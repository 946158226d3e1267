"""Smoothing of one image before the fit, for pairs that no convolution turns into each other.

Of two images whose PSFs are equally wide neither is the other one convolved; where they are undersampled too, what is
left is that of the sampling. An image smoothed by a Gaussian of less than a pixel is within reach of a kernel again.
Its noise is correlated, by a known amount, and the correction of the difference takes that back
(`psfmatch.difference.decorrelation.correction`), but for frequencies that would have to be amplified most, at which
little of the sky is left and much of the misfit.
"""

from __future__ import annotations

import math

import numpy as np

from psfmatch.difference.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.images import SIGMA_TO_FWHM, Box, Exposure, MaskedImage, Psf, asPsf
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel

__all__ = ["SMOOTHING_SIGMA", "smoothedExposure", "smoothedFwhm", "smoothedPsf", "smoothingKernel"]

SMOOTHING_SIGMA = 0.7
"""Pixels. More costs signal-to-noise of faint sources, less leaves more of the misfit."""
REACH = 4.0
"""Of the kernel, standard deviations: beyond lies less than a ten-thousandth of its light."""


def smoothingKernel(sigma: float, box: Box) -> LinearCombinationKernel:
    """Return the Gaussian of sum 1, the same everywhere in the box; ValueError unless sigma (pixels) is positive."""
    if not (math.isfinite(sigma) and sigma > 0.0):
        raise ValueError(f"sigma is {sigma}: give a positive number of pixels")
    half = math.ceil(REACH * sigma)
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    image = np.outer(profile, profile)
    return LinearCombinationKernel(image[np.newaxis] / image.sum(), [[1.0]], bbox=box)


def smoothedExposure(
    exposure: Exposure,
    sigma: float,
    edges: EdgeHandling,
    *,
    instructionSet: str = "automatic",
    threads: int | None = None,
) -> Exposure:
    """Return image, variance, mask and PSF smoothed by a Gaussian; the given ones are not changed.

    The variance is that of each pixel alone: neighbours are correlated. Errors are those of `smoothingKernel`.
    """
    image = exposure.maskedImage
    kernel = smoothingKernel(sigma, image.getBBox())
    pixels = kernel.convolve(image, edges, instructionSet=instructionSet, threads=threads)
    smoothed = exposure.withPixels(MaskedImage(pixels.image, pixels.mask, pixels.variance, image.xy0))
    smoothed.psf = None if exposure.psf is None else smoothedPsf(exposure.psf, sigma, image.getBBox())
    return smoothed


def smoothedFwhm(fwhm: float, sigma: float) -> float:
    """Return the FWHM (pixels) of a Gaussian PSF of width `fwhm` that is smoothed."""
    return math.hypot(fwhm, sigma * SIGMA_TO_FWHM)


def smoothedPsf(psf: object, sigma: float, box: Box) -> Psf:
    """Return the PSF of an image of pixels `box` that was smoothed."""
    return CorrectedPsf(asPsf(psf), smoothingKernel(sigma, box))
