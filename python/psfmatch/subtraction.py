"""The difference of two images whose PSFs are matched, with variance and mask.

Convolved template: D = science - matched - background. Convolved science image: D = (matched + background - template) /
kernel sum, which brings the difference back to the flux scale of the science image. Covariance between pixels, which
the convolution makes, is left out of the variance plane.
"""

from __future__ import annotations

import numpy as np

from psfmatch.exposure import MaskedImage
from psfmatch.kernels import SpatialFunction2D

__all__ = ["subtractMatchedScience", "subtractMatchedTemplate"]


def subtractMatchedTemplate(science: MaskedImage, matched: MaskedImage, background: SpatialFunction2D) -> MaskedImage:
    """Return science - matched - background; pixels that cannot be used carry NO_DATA."""
    difference = science.copy()
    difference -= matched
    difference -= background
    _flagUnusable(difference, science)
    return difference


def subtractMatchedScience(
    matched: MaskedImage, template: MaskedImage, background: SpatialFunction2D, kernelSum: float
) -> MaskedImage:
    """Return (matched + background - template) / kernelSum; pixels that cannot be used carry NO_DATA."""
    difference = matched.copy()
    difference -= lambda x, y: -np.asarray(background(x, y))
    difference -= template
    difference /= kernelSum
    _flagUnusable(difference, template)
    return difference


def _flagUnusable(difference: MaskedImage, unconvolved: MaskedImage) -> None:
    """Set NO_DATA where a value is not finite or the variance not positive, in the difference or the plain image.

    A difference of images that have no variance at all is left as it is: nothing tells its pixels apart.
    """
    unusable = unconvolved.badPixels(())
    unusable |= ~np.isfinite(difference.image)
    isPositive = np.asarray((difference.variance > 0.0) & (difference.variance < np.inf))
    if isPositive.any():
        unusable |= ~isPositive
    difference.mask[unusable] |= np.int32(difference.mask.getPlaneBitMask("NO_DATA"))
