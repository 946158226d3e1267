"""The variance of an exposure by a weight map that a user has beside it, an array or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from psfmatch.errors import InputImagesError
from psfmatch.images.arrays import pixelsOf
from psfmatch.images.mask import DEFAULT_BAD_PLANES, Mask
from psfmatch.images.maskedImage import MaskedImage
from psfmatch.io import parseFileName, readWeight, varianceOfWeights, withoutData

if TYPE_CHECKING:
    from psfmatch.images.exposure import Exposure

__all__ = ["weighted"]


def weighted(
    exposure: Exposure, weight: ArrayLike | str | os.PathLike[str], gain: float | None, readNoise: float | None
) -> Exposure:
    """Return an exposure with the variance that a weight map tells; see `Exposure.weightedBy`."""
    label = exposure.source or "array"
    if isinstance(weight, str | os.PathLike):
        name = f"weight file {Path(parseFileName(weight)[0]).name}"
        plane = readWeight(weight, exposure.shape, label)
    else:
        pixels = pixelsOf(weight)
        name, plane = "weight", np.array(pixels.values, dtype=np.float32)
        if pixels.masked is not None:
            plane[pixels.masked] = 0.0
    if plane.shape != exposure.shape:
        raise InputImagesError(
            f"the weight map has shape {plane.shape}, but the image {exposure.shape}",
            shape=exposure.shape,
            otherShape=plane.shape,
        )
    bits = np.array(exposure.mask, subok=False)
    isBad = (bits & np.int32(exposure.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True))) != 0
    # What is masked already tells nothing of the noise.
    image = np.where(isBad, np.float32(np.nan), exposure.image) if isBad.any() else exposure.image
    found = varianceOfWeights(plane, image, label, name, gain, readNoise)
    found.variance[isBad & np.isnan(found.variance)] = np.inf
    planes: dict[str, int] | None = dict(exposure.mask.planes)
    if found.noData is not None:
        kept, planes = withoutData(bits, planes, found.noData)
        bits = bits if kept is None else kept
    result = exposure.withPixels(MaskedImage(exposure.image, Mask(bits, planes), found.variance, exposure.xy0))
    result.metadata["VARSRC"] = found.source
    return result
