"""The models that are tried, where a user has set some of their fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psfmatch.basis import chooseGaussians
from psfmatch.config import KernelOptions
from psfmatch.modelChoice.family import KERNEL_HALF_WIDTH, GaussianFamily
from psfmatch.regions import SpatialModel

__all__ = ["backgroundOrders", "isFamilyPinned", "pinnedFamily", "pinnedModel", "shapeScales", "variations"]

Pins = Mapping[str, Any]

VARIATIONS = ((0, 0.003), (1, 0.003), (1, 0.03), (2, 0.003), (2, 0.01), (2, 0.03), (2, 0.1), (3, 0.01), (3, 0.1))
"""Orders of the kernel over the field, and its expected variation in units of its norm beside that with its width."""
HIGH_ORDER_SCALES = (0.01, 0.1)
"""Variations expected of an order that is tried only where it was set."""
SHAPE_SCALES = (0.3, 1.0)
BACKGROUND_ORDERS = (0, 1, 2, 3)


def variations(pins: Pins) -> list[tuple[int, float]]:
    """Return the orders of the kernel and its expected variations that are tried, simple ones first."""
    tried = list(VARIATIONS)
    order, scale = pins.get("spatialKernelOrder"), pins.get("regionConfig.variationScale")
    if order is not None:
        tried = [pair for pair in tried if pair[0] == order] or [(order, s) for s in HIGH_ORDER_SCALES]
    if scale is not None:
        tried = list(dict.fromkeys((order, scale) for order, _ in tried))
    return tried


def backgroundOrders(pins: Pins) -> tuple[int, ...]:
    """Return the orders of the background that are tried."""
    return (pins["spatialBgOrder"],) if "spatialBgOrder" in pins else BACKGROUND_ORDERS


def shapeScales(pins: Pins) -> tuple[float, ...]:
    """Return the expected departures from the first Gaussian that are tried."""
    name = "regionConfig.shapeScale"
    return (pins[name],) if name in pins else SHAPE_SCALES


def pinnedModel(model: SpatialModel, pins: Pins) -> SpatialModel:
    """Return a model with all that is set."""
    names = {
        "spatialKernelOrder": "kernelOrder",
        "spatialBgOrder": "backgroundOrder",
        "regionConfig.shapeScale": "shapeScale",
        "regionConfig.variationScale": "variationScale",
        "regionConfig.widthScale": "widthScale",
    }
    return replace(model, **{own: pins[name] for name, own in names.items() if name in pins})


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
