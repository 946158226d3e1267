"""What becomes of the mask planes of two images in their difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.images.exposure import Exposure
from psfmatch.images.mask import Mask
from psfmatch.images.maskedImage import MaskedImage

__all__ = ["PlaneRules"]

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
