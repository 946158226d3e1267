"""An Exposure from whatever a user has: a path, an HDU list, a CCDData, an array; and whether two units fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits

from psfmatch.errors import InputImagesError
from psfmatch.io.variance import checkGain, estimateVariance, isEstimated

from .exposure import Exposure
from .image import MaskedImage

__all__ = ["gainOf", "gainsOf", "requireUnits", "toExposure"]

log = logging.getLogger("psfmatch.exposure")


def toExposure(source: Any, gain: float | None = None, readNoise: float | None = None) -> Exposure:
    """Return the Exposure of an Exposure, MaskedImage, array, CCDData, file or the like; TypeError otherwise.

    Gain (e-/count) and read noise (e-) make the variance where there is none but one that was estimated.
    """
    if isinstance(source, Exposure | MaskedImage):
        checkGain(gain, readNoise)
        exposure = Exposure(source) if isinstance(source, MaskedImage) else source
        return exposure if gain is None else _withGain(exposure, gain, readNoise)
    # A CCDData has a method read, too.
    if hasattr(source, "uncertainty"):
        return Exposure.fromCCDData(source, gain, readNoise)
    if isinstance(source, str | PathLike | fits.HDUList) or hasattr(source, "read"):
        return Exposure.readFits(source, gain=gain, readNoise=readNoise)
    if isinstance(source, np.ndarray):
        return Exposure.fromArray(source, gain, readNoise)
    raise TypeError(
        f"cannot make an Exposure of a {type(source).__name__}; give an Exposure, a path, an HDUList, an open file, "
        "a CCDData or a 2-D array"
    )


def gainOf(
    gain: float | None, readNoise: float | None, ownGain: float | None, ownReadNoise: float | None
) -> tuple[float | None, float | None]:
    """Return gain and read noise of one image: its own, else those of both."""
    return gain if ownGain is None else ownGain, readNoise if ownReadNoise is None else ownReadNoise


def gainsOf(
    given: Mapping[str, float | None],
) -> tuple[tuple[float | None, float | None], tuple[float | None, float | None]]:
    """Return gain and read noise of the template and of the science image, of keywords as `psfmatch.subtract` has them.

    TypeError for a keyword that it does not have.
    """
    known = "gain", "readNoise", "templateGain", "templateReadNoise", "scienceGain", "scienceReadNoise"
    if unknown := given.keys() - set(known):
        raise TypeError(f"there is no keyword {', '.join(sorted(unknown))}; gains are {', '.join(known)}")
    gain, readNoise, *own = (given.get(name) for name in known)
    return gainOf(gain, readNoise, own[0], own[1]), gainOf(gain, readNoise, own[2], own[3])


def _withGain(exposure: Exposure, gain: float, readNoise: float | None) -> Exposure:
    """Return an Exposure with the variance of a gain, if its own was only estimated; else as it is."""
    label = str(exposure.metadata.get("FILENAME", "the Exposure"))
    if not isEstimated(exposure.metadata.get("VARSRC")):
        log.warning("%s: the gain given is not used, it has a variance", label)
        return exposure
    pixels = exposure.maskedImage
    variance, source = estimateVariance(pixels.image, gain, readNoise, label)
    exposure = exposure.withPixels(MaskedImage(pixels.image, pixels.mask, variance, pixels.xy0))
    exposure.metadata["VARSRC"] = source
    return exposure


def requireUnits(template: Any, science: Any) -> None:
    """Raise unless two images as a user gave them can show the same quantity.

    The kernel's sum carries the scale from one unit to the other, so nothing is converted. What a header says in BUNIT
    is often wrong: units that do not fit are an error where both were given as such, a warning otherwise.

    Parameters
    ----------
    template, science
        Whatever `toExposure` takes.

    Raises
    ------
    InputImagesError
        If both are a CCDData, NDData or Quantity, and the unit of one cannot be converted to that of the other, or only
        one has a unit.
    """
    given = [getattr(image, "unit", None) for image in (template, science)]
    isAstropy = [isinstance(image, units.Quantity) or hasattr(image, "uncertainty") for image in (template, science)]
    if not all(isAstropy):
        first, second = (
            unit if known else _headerUnit(image)
            for unit, known, image in zip(given, isAstropy, (template, science), strict=True)
        )
        if first is not None and second is not None and not first.is_equivalent(second):
            log.warning(
                "the template is in %s, the science image in %s: the kernel's sum is the ratio of both", first, second
            )
        return
    if given[0] is None and given[1] is None:
        return
    if given[0] is None or given[1] is None or not given[0].is_equivalent(given[1]):
        told = ["no unit" if unit is None else f"the unit {str(unit)!r}" for unit in given]
        raise InputImagesError(
            f"the template has {told[0]}, the science image {told[1]}: one cannot be converted to the other; convert "
            "the template, or take the units off both (images in uncalibrated counts may share 'adu')"
        )


def _headerUnit(image: Any) -> units.UnitBase | None:
    metadata = getattr(image, "metadata", None)
    text = metadata.get("BUNIT") if isinstance(metadata, dict) else None
    try:
        return None if not text else units.Unit(str(text))
    except (ValueError, TypeError):
        return None
