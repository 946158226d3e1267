"""Images with mask and variance, in memory: Box, Mask, MaskedImage, Exposure."""

from .border import BORDER, withUsableBorder
from .box import Box
from .conversion import gainOf, gainsOf, requireUnits, toExposure
from .exposure import Exposure
from .image import MaskedImage, stampTuple
from .mask import DEFAULT_BAD_PLANES, DEFAULT_MASK_PLANES, Mask

__all__ = [
    "BORDER",
    "DEFAULT_BAD_PLANES",
    "DEFAULT_MASK_PLANES",
    "Box",
    "Exposure",
    "Mask",
    "MaskedImage",
    "gainOf",
    "gainsOf",
    "requireUnits",
    "stampTuple",
    "toExposure",
    "withUsableBorder",
]
