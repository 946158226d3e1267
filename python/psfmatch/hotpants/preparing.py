"""The two images of a command line of HOTPANTS: which pixels count, and with what noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.errors import InputImagesError, significant
from psfmatch.hotpants.masks import MaskBit, grown
from psfmatch.hotpants.parsing import Settings
from psfmatch.images import Exposure, Mask, MaskedImage
from psfmatch.images.mask import DEFAULT_BAD_PLANES
from psfmatch.noise.blankSky import findBlankSky, measureVarianceFactor, multiplyVariance
from psfmatch.sources import findSaturation, flagSaturation

__all__ = ["InputImage", "readInputs"]

log = logging.getLogger("psfmatch.hotpants")

SATURATION_GROWTH = 2.0
"""Pixels about saturated ones whose counts have bled."""
FILL = 1e-30
"""Value of bad pixels in differences of HOTPANTS, which may be inputs in their turn."""


@dataclass(frozen=True, eq=False)
class InputImage:
    """An input made ready.

    exposure : as it is convolved and subtracted; bits : (ny, nx) why a pixel is bad, 0 where it is good;
    isSkipped : (ny, nx) left out of the kernel fit alone; saturation : what told where it saturates.
    """

    exposure: Exposure
    bits: npt.NDArray[np.int32]
    isSkipped: npt.NDArray[np.bool_]
    saturation: str

    def toFit(self) -> Exposure:
        """Return the exposure for the kernel fit, on its own pixels: what is skipped is bad, no WCS moves it."""
        pixels = self.exposure.maskedImage
        if self.isSkipped.any():
            mask = pixels.mask.copy()
            mask[self.isSkipped] |= np.int32(mask.getPlaneBitMask("BAD"))
            pixels = MaskedImage(pixels.image, mask, pixels.variance, pixels.xy0)
        return Exposure(pixels)


def readInputs(settings: Settings) -> tuple[InputImage, InputImage]:
    """Read template and science image; see `psfmatch.io.readPlanes` for the errors of files.

    Raises
    ------
    InputImagesError
        If their shapes differ.
    """
    template, science = (_read(settings, letter) for letter in "ti")
    if template.exposure.shape != science.exposure.shape:
        sizes = [f"{image.exposure.width}x{image.exposure.height}" for image in (template, science)]
        raise InputImagesError(
            f"the template has {sizes[0]} pixels, the science image {sizes[1]}: these options take images on the same "
            "pixels; `psfmatch subtract` registers them itself",
            shape=science.exposure.shape,
            otherShape=template.exposure.shape,
        )
    return template, science


def _read(settings: Settings, letter: str) -> InputImage:
    """Read the image whose options begin with the letter."""

    def given(name: str) -> Any:
        return settings.given.get(letter + name)

    path = settings["tmplim" if letter == "t" else "inim"]
    hasDetector = given("ni") is None and settings.anyOf(*(letter + name for name in "grp"))
    gain, readNoise = (settings[letter + name] if hasDetector else None for name in "gr")
    exposure = Exposure.readFits(path, noise=given("ni"), mask=given("mi"), gain=gain, readNoise=readNoise)
    pixels = exposure.maskedImage
    image, variance = pixels.image, pixels.variance
    if gain is not None and readNoise is not None:
        light = np.maximum(image - np.float32(settings[letter + "p"]), np.float32(0))
        variance = light / np.float32(gain) + np.float32((readNoise / gain) ** 2)
    fill = exposure.metadata.get("MASKVAL", FILL)
    reasons = {
        MaskBit.INPUT_MASK: (np.asarray(pixels.mask) & _bad(pixels.mask)) != 0,
        MaskBit.NAN: ~(np.isfinite(image) & np.isfinite(variance)),
        MaskBit.BAD_PIXVAL: image == np.float32(fill) if isinstance(fill, int | float) else np.zeros(image.shape, bool),
    }
    with np.errstate(invalid="ignore"):
        if given("l") is not None:
            reasons[MaskBit.LOW] = image <= np.float32(given("l"))
    mask = pixels.mask.copy()
    for bit in (MaskBit.BAD_PIXVAL, MaskBit.NAN, MaskBit.LOW):
        mask[reasons.get(bit, np.zeros(image.shape, bool))] |= np.int32(mask.getPlaneBitMask("BAD"))
    exposure = exposure.withPixels(MaskedImage(image, mask, variance, pixels.xy0))
    exposure, told = _flagSaturated(exposure, given("u"))
    mask = exposure.mask
    reasons[MaskBit.SAT] = (np.asarray(mask) & np.int32(mask.getPlaneBitMask("SAT"))) != 0
    bits = np.zeros(image.shape, dtype=np.int32)
    for bit, flags in reasons.items():
        bits[flags] |= np.int32(bit)
    isSkipped = np.zeros(image.shape, dtype=np.bool_)
    if given("uk") is not None:
        with np.errstate(invalid="ignore"):
            isSkipped |= image >= np.float32(given("uk"))
    if "mins" in settings:
        isSkipped |= grown(bits != 0, round(settings["mins"] * settings["r"]))
    if "okn" in settings or not (hasDetector or given("ni") is not None):
        exposure = _withScaledNoise(exposure, path)
    return InputImage(exposure, bits, isSkipped & (bits == 0), told)


def _bad(mask: Mask) -> np.int32:
    return np.int32(mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True))


def _flagSaturated(exposure: Exposure, level: float | None) -> tuple[Exposure, str]:
    """Return the exposure with SAT on saturated pixels and two around; and what told the level, if it is not given."""
    if level is not None:
        return flagSaturation(exposure, level, SATURATION_GROWTH), "from the counts given up"
    found = findSaturation(exposure)
    return flagSaturation(exposure, found, SATURATION_GROWTH), found.reason


def _withScaledNoise(exposure: Exposure, path: str) -> Exposure:
    try:
        factor = measureVarianceFactor(findBlankSky(exposure.maskedImage))
    except InputImagesError as error:
        log.warning("%s: the noise is left as it is: %s", path, error)
        return exposure
    if significant(factor**0.5) == "1":
        log.info("%s: its sky scatters by its noise, which is left as it is", path)
    else:
        log.info("%s: noise multiplied by %.4g, to the scatter of its sky", path, factor**0.5)
    return exposure if factor == 1.0 else exposure.withPixels(multiplyVariance(exposure.maskedImage, factor))
