"""The plane BORDER: pixels that carry EDGE because a kernel is cut off there, and hold a measurement all the same."""

from __future__ import annotations

import numpy as np

from psfmatch.images.mask import Mask
from psfmatch.images.maskedImage import MaskedImage

__all__ = ["BORDER", "withUsableBorder"]

BORDER = "BORDER"
"""Set beside EDGE where the convolved image was taken to go on beyond its border, and that changes little; see
`psfmatch.difference.borders`."""


def withUsableBorder(image: MaskedImage) -> MaskedImage:
    """Return an image without EDGE where it has BORDER, which stays; itself where no pixel has."""
    planes = image.mask.planes
    if BORDER not in planes or "EDGE" not in planes:
        return image
    bits = np.asarray(image.mask)
    isBorder = (bits & np.int32(1 << planes[BORDER])) != 0
    if not isBorder.any():
        return image
    mask = Mask.ofBits(bits & ~np.where(isBorder, np.int32(1 << planes["EDGE"]), np.int32(0)), planes)
    return MaskedImage(image.image, mask, image.variance, image.xy0)
