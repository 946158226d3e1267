"""The models that are tried, where a user has set some of their fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psfmatch.basis import chooseGaussians
from psfmatch.config import KernelOptions
from psfmatch.modelChoice.family import KERNEL_HALF_WIDTH, GaussianFamily

__all__ = ["fixedFields", "isFamilyPinned", "pinnedFamily"]

Pins = Mapping[str, Any]

MODEL_FIELDS = {
    "spatialKernelOrder": "kernelOrder",
    "spatialBgOrder": "backgroundOrder",
    "regionConfig.shapeScale": "shapeScale",
    "regionConfig.variationScale": "variationScale",
    "regionConfig.widthScale": "widthScale",
}
"""Fields of the configuration, and of the `SpatialModel` that has them."""


def fixedFields(pins: Pins) -> dict[str, Any]:
    """Return the fields of a `SpatialModel` that are set, with their values."""
    return {own: pins[name] for name, own in MODEL_FIELDS.items() if name in pins}


def isFamilyPinned(pins: Pins) -> bool:
    """Return whether number, widths or degrees of the Gaussians were set, so that no other family is tried."""
    return any(pins.get(name) for name in ("alardNGauss", "alardSigGauss", "alardDegGauss", "scaleByFwhm"))


def pinnedFamily(
    family: GaussianFamily,
    pins: Pins,
    options: KernelOptions,
    fwhms: tuple[float | None, float | None],
    shape: tuple[int, int],
) -> GaussianFamily:
    """Return a family of Gaussians with all that is set; FWHMs in pixels, `shape` that of the images."""
    sigmas, degrees, kernelSize = family.sigmas, family.degrees, family.kernelSize
    if pins.get("scaleByFwhm"):
        ruled = chooseGaussians(options, *fwhms)
        sigmas, kernelSize = ruled.sigmas, ruled.kernelSize
        if len(ruled.degrees) != options.alardNGauss or options.alardWidthRule == "classic":
            degrees = (ruled.degrees,)
    elif "alardSigGauss" in pins:
        sigmas = tuple(pins["alardSigGauss"])
        # As large as the widest needs, within what the images have room for.
        half = min(math.ceil(KERNEL_HALF_WIDTH * max(sigmas)), 30, min(shape) // 16)
        kernelSize = max(kernelSize, 2 * half + 1)
    elif "alardNGauss" in pins:
        count = pins["alardNGauss"]
        ratio = (sigmas[-1] / sigmas[0]) ** (1.0 / max(1, count - 1))
        sigmas = tuple(round(sigmas[0] * ratio**k, 3) for k in range(count))
    if "alardDegGauss" in pins:
        degrees = (tuple(pins["alardDegGauss"]),)
    elif any(len(each) != len(sigmas) for each in degrees):
        degrees = tuple(dict.fromkeys((each + each[-1:] * len(sigmas))[: len(sigmas)] for each in degrees))
    if "kernelSize" in pins and not pins.get("scaleByFwhm"):
        kernelSize = pins["kernelSize"]
    elif "kernelSizeMin" in pins or "kernelSizeMax" in pins:
        least = pins.get("kernelSizeMin", 1) // 2 * 2 + 1
        most = (pins.get("kernelSizeMax", kernelSize) + 1) // 2 * 2 - 1
        kernelSize = max(least, min(kernelSize, max(1, most)))
    return replace(family, sigmas=sigmas, degrees=degrees, kernelSize=kernelSize)
