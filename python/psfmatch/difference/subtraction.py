"""The difference of two images whose PSFs are matched, with variance and mask.

Convolved template: D = science - matched - background. Convolved science image: D = (matched + background - template) /
kernel sum, which brings the difference back to the flux scale of the science image. Covariance between pixels, which
the convolution makes, is left out of the variance plane.
"""

from __future__ import annotations

import numpy as np

from psfmatch import _core
from psfmatch.images import Exposure, Mask, MaskedImage, atOrigin
from psfmatch.kernels import SpatialFunction2D
from psfmatch.threads import resolveThreads

__all__ = ["matchedExposure", "subtractMatched", "subtractMatchedScience", "subtractMatchedTemplate"]

OF_ONE_IMAGE = "DETECTED", "DETECTED_NEGATIVE"
"""Planes that tell of an image, not of its pixels: the difference of two has detections of its own."""


def subtractMatched(
    template: Exposure,
    science: Exposure,
    matched: MaskedImage,
    background: SpatialFunction2D,
    *,
    isScienceConvolved: bool = False,
    kernelSum: float = 1.0,
    threads: int | None = None,
) -> Exposure:
    """Return the difference with the science image's properties, and the PSF of the image that was not convolved.

    Parameters
    ----------
    template, science
        Exposures of one grid; their origins may differ.
    matched
        The convolved image, the science image's or the template's.
    background
        What the matched image lacks of the one that was not convolved.
    isScienceConvolved, kernelSum
        Which image was convolved; the difference is divided by the kernel sum where it was the science image.
    threads
        Number of threads; the result does not depend on it.
    """
    if isScienceConvolved:
        unconvolved = atOrigin(template.maskedImage, science.maskedImage)
        pixels = subtractMatchedScience(matched, unconvolved, background, kernelSum, threads)
    else:
        pixels = subtractMatchedTemplate(science.maskedImage, matched, background, threads)
    difference = science.withPixels(pixels)
    if isScienceConvolved:
        difference.psf = template.psf
    return difference


def matchedExposure(
    matched: MaskedImage, template: Exposure, science: Exposure, *, isScienceConvolved: bool
) -> Exposure:
    """Return the convolved pixels, which lie on the science image's grid, with the filter of what was convolved."""
    convolved = science if isScienceConvolved else template
    return Exposure(matched, wcs=science.coordinates, photoCalib=science.photoCalib, filter=convolved.filter)


def subtractMatchedTemplate(
    science: MaskedImage, matched: MaskedImage, background: SpatialFunction2D, threads: int | None = None
) -> MaskedImage:
    """Return science - matched - background; pixels that cannot be used carry NO_DATA, none DETECTED.

    Those are the pixels that `MaskedImage.badPixels` finds in either image, and those whose difference is not finite
    or its variance not positive. Images that have no variance at all count as noiseless: nothing tells their pixels
    apart. The result does not depend on the number of threads.
    """
    return _subtract(science, matched, background, 1.0, 1.0, threads)


def subtractMatchedScience(
    matched: MaskedImage,
    template: MaskedImage,
    background: SpatialFunction2D,
    kernelSum: float,
    threads: int | None = None,
) -> MaskedImage:
    """Return (matched + background - template) / kernelSum, flagged as by `subtractMatchedTemplate`."""
    return _subtract(matched, template, background, -1.0, kernelSum, threads)


def _subtract(
    minuend: MaskedImage,
    subtrahend: MaskedImage,
    background: SpatialFunction2D,
    sign: float,
    divisor: float,
    threads: int | None,
) -> MaskedImage:
    """Return (minuend - subtrahend - sign background) / divisor in one pass over all planes."""
    mask, bits = _alignedMask(minuend.mask, subtrahend.mask)
    dropped = mask.getPlaneBitMask(OF_ONE_IMAGE, ignoreMissing=True)
    image, variance, flags = _core.subtract(
        minuend.image,
        minuend.variance,
        np.asarray(minuend.mask),
        subtrahend.image,
        subtrahend.variance,
        np.asarray(mask),
        sign * background.scaledParameters,
        background.coreFunction,
        *minuend.xy0,
        divisor=divisor,
        ownBits=~dropped,
        otherBits=bits & ~dropped,
        noDataBit=mask.getPlaneBitMask("NO_DATA"),
        nThreads=resolveThreads(threads),
    )
    return MaskedImage(image, Mask.ofBits(flags, mask.planes), variance, minuend.xy0)


def _alignedMask(reference: Mask, other: Mask) -> tuple[Mask, int]:
    """Return a mask with the pixels of another and the planes of `reference`, and which of its bits count."""
    same = sum(1 << bit for name, bit in other.planes.items() if reference.planes.get(name) == bit)
    moved = sum(1 << bit for name, bit in other.planes.items() if reference.planes.get(name) != bit)
    if moved and int(np.bitwise_or.reduce(other, axis=None)) & moved:
        aligned = Mask(np.zeros(other.shape, dtype=np.int32), reference.planes)
        aligned.merge(other)
        return aligned, aligned.getPlaneBitMask(aligned.planes)
    return Mask.ofBits(np.asarray(other), reference.planes), same
