"""The difference of two images whose PSFs are matched, with variance and mask.

Convolved template: D = science - matched - background. Convolved science image: D = (matched + background - template) /
kernel sum, which brings the difference back to the flux scale of the science image. Covariance between pixels, which
the convolution makes, is left out of the variance plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import Exposure, Mask, MaskedImage, atOrigin
from psfmatch.kernels import SpatialFunction2D
from psfmatch.threads import resolveThreads

__all__ = ["PlaneRules", "matchedExposure", "subtractMatched", "subtractMatchedScience", "subtractMatchedTemplate"]


OF_ONE_IMAGE = "DETECTED", "DETECTED_NEGATIVE"
"""Planes that tell of an image, not of its pixels: the difference of two has detections of its own."""


OF_THE_DIFFERENCE = "EDGE", "NO_DATA"
"""Planes that tell what of the difference is not known, wherever that comes from."""


@dataclass(frozen=True)
class PlaneRules:
    """What becomes of mask planes of the images in their difference.

    renamed : planes of the template that are called NAME_TEMPLATE there; preserved : planes, by either name, that stay
    on the pixels that had them, though the convolution spreads these pixels' light.

    Raises
    ------
    ValueError
        For EDGE and NO_DATA, which say of a difference itself what is not known of it.
    """

    renamed: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if own := sorted({*self.renamed, *self.preserved} & {*OF_THE_DIFFERENCE}):
            raise ValueError(
                f"{' and '.join(own)} tell of the difference itself: neither renamed nor kept from spreading"
            )

    def appliedTo(
        self,
        difference: Exposure,
        matched: Exposure,
        template: MaskedImage,
        science: MaskedImage,
        *,
        isScienceConvolved: bool,
    ) -> tuple[Exposure, Exposure]:
        """Return difference and matched image with mask planes as the rules have them; the given ones are not changed.

        All are of the same pixels, template and science image as they were before the convolution.
        """
        if not (self.renamed or self.preserved):
            return difference, matched
        mask, matchedMask = difference.mask.copy(), matched.mask.copy()
        before = science.mask if isScienceConvolved else template.mask
        kept = {name for name in before.planes if name in self.preserved}
        if not isScienceConvolved:
            kept |= {name for name in before.planes if templateName(name) in self.preserved}
        for name in kept:
            _setPlane(matchedMask, name, before.hasAny(name))
        ours, theirs = (matchedMask, template.mask) if isScienceConvolved else (science.mask, matchedMask)
        for name in (kept | {*self.renamed}) & {*ours.planes, *theirs.planes}:
            own, other = (image.hasAny(name) if name in image.planes else np.False_ for image in (ours, theirs))
            if name in self.renamed:
                _setPlane(mask, templateName(name), other)
            _setPlane(mask, name, own if name in self.renamed else own | other)
        if not isScienceConvolved:
            for name in {*self.renamed} & {*matchedMask.planes}:
                _setPlane(matchedMask, templateName(name), matchedMask.hasAny(name))
                _setPlane(matchedMask, name, np.False_)
        return _withMask(difference, mask), _withMask(matched, matchedMask)


def templateName(plane: str) -> str:
    """Return what a plane of the template is called in a difference that tells the two images' planes apart."""
    return f"{plane}_TEMPLATE"


def _setPlane(mask: Mask, name: str, isSet: npt.NDArray[np.bool_] | np.bool_) -> None:
    bit = np.int32(1 << mask.addPlane(name))
    pixels = np.asarray(mask)
    pixels &= ~bit
    pixels |= np.where(isSet, bit, np.int32(0))


def _withMask(exposure: Exposure, mask: Mask) -> Exposure:
    pixels = exposure.maskedImage
    return exposure.withPixels(MaskedImage(pixels.image, mask, pixels.variance, pixels.xy0))


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
