"""An Exposure from whatever a user has: a path, an HDU list, a CCDData, an array."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from astropy.io import fits

from .exposure import Exposure
from .image import MaskedImage

__all__ = ["toExposure"]


def toExposure(source: Any) -> Exposure:
    """Return an Exposure from an Exposure, MaskedImage, path, HDUList, CCDData or array; TypeError otherwise."""
    if isinstance(source, Exposure):
        return source
    if isinstance(source, MaskedImage):
        return Exposure(source)
    if isinstance(source, str | PathLike | fits.HDUList):
        return Exposure.readFits(source)
    if hasattr(source, "uncertainty"):
        return Exposure.fromCCDData(source)
    if isinstance(source, np.ndarray):
        return Exposure.fromArray(source)
    raise TypeError(
        f"cannot make an Exposure of a {type(source).__name__}; give an Exposure, a path, an HDUList, a CCDData or "
        "a 2-D array"
    )
