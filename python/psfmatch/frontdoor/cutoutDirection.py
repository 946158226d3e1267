"""Which of two stamps is convolved, and what a fit leaves of the light that both show.

Noise of the image that is convolved draws its kernel to zero (errors in variables): the noisier image is the one to be
left as it is, unless the other would have to be sharpened too much. Both fits tell how much of the common light they
leave, in units of their own image, so that they can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.errors import fixed
from psfmatch.fit.stampFit import StampFit
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage
from psfmatch.images.medians import median

__all__ = ["CommonLight", "Direction", "LeftLight", "chooseDirection"]

BOX = 5
"""Side, pixels, of the means in which light is looked for."""
LIT_SIGMAS = 5.0
LEAST_LIT = 15
"""Pixels with light; fewer tell nothing."""
MIDDLE_RADIUS = 7.0
"""Of an alert's middle, which may change, pixels."""
LEAST_NOISE = 0.45
"""Noise of the template over that of the science image, at equal light: below it no other direction is tried, and none
below 1 where nothing is left."""
APART_SIGMAS = 3.0
LITTLE_LEFT, MUCH_LEFT, MOST_LEFT = 0.002, 0.02, 0.1
"""Of the power of the light: nothing better is looked for, grade C, and D where the flux ratio is off, too."""
RATIO_OFF = 0.1


@dataclass(frozen=True)
class LeftLight:
    """What a fit leaves of the light that both images show: its power beyond the noise over all, and its error.

    ratio : median of the light of the image that was not convolved over that of the convolved one, 1 for the right
    kernel; nan where too few pixels are lit.
    """

    power: float
    error: float
    ratio: float

    @property
    def isNone(self) -> bool:
        """Whether as good as nothing is left."""
        return self.power - APART_SIGMAS * self.error <= LITTLE_LEFT

    @property
    def cap(self) -> tuple[str, str] | None:
        """What it does to the grade, if anything: (grade, why)."""
        if math.isnan(self.power):
            return "C", "no light outside the middle that both images show: kernel and flux ratio are unchecked"
        sure = self.power - APART_SIGMAS * self.error
        if sure <= MUCH_LEFT:
            return None
        isOff = abs(self.ratio - 1.0) > RATIO_OFF
        why = (
            f"{math.sqrt(self.power):.0%} of the light that both images show is left (root mean square), at a median "
            f"ratio of {fixed(self.ratio, 2)} where a right kernel gives 1"
        )
        return "D" if isOff and sure > MOST_LEFT else "C", why


@dataclass(frozen=True)
class Direction:
    """The fit that is used, what it leaves, and whether its convolved image is the science image.

    relativeNoise, otherPower : where the other direction was tried, too, noise of the template over that of the science
    image at equal light, and what that one left; else None.
    """

    fit: StampFit
    left: LeftLight
    isScienceConvolved: bool
    relativeNoise: float | None = None
    otherPower: float | None = None

    @property
    def scale(self) -> float:
        """Of the science image's flux, science - template, over what the fit calls its difference."""
        return -1.0 / self.fit.ratio if self.isScienceConvolved else 1.0

    @property
    def sentence(self) -> str:
        """Why, where there was a choice; else empty."""
        if self.relativeNoise is None or self.otherPower is None:
            return ""
        name = "science image" if self.isScienceConvolved else "template"
        told = ""
        if math.isfinite(self.left.power) and math.isfinite(self.otherPower):
            told = f"; {self.left.power:.2%} of the power of the common light is left, {self.otherPower:.2%} otherwise"
        return (
            f"Convolving the {name} of the stamp: at equal light the template has {self.relativeNoise:.2f} times the "
            f"noise of the science image{told}."
        )


class CommonLight:
    """Pixels that are lit in both stamps, an alert's middle left aside."""

    def __init__(
        self, template: MaskedImage, science: MaskedImage, fit: StampFit, isAlert: bool, expectedRatio: float
    ) -> None:
        self.images = template, science
        skies, noises = (fit.templateSky, fit.scienceSky), (fit.templateNoise, fit.scienceNoise)
        bad = [image.badPixels(DEFAULT_BAD_PLANES) | ~np.isfinite(image.image) for image in self.images]
        self.good = ~(bad[0] | bad[1])
        lights = [
            _means(np.where(self.good, image.image - sky, 0.0)) for image, sky in zip(self.images, skies, strict=True)
        ]
        self.lit = self.good.copy()
        for light, noise in zip(lights, noises, strict=True):
            self.lit &= light > LIT_SIGMAS * noise / BOX
        if isAlert:
            y, x = np.indices(self.lit.shape)
            self.lit &= np.hypot(y - self.lit.shape[0] // 2, x - self.lit.shape[1] // 2) > MIDDLE_RADIUS
        before, after = (float((light[self.lit] ** 2).sum()) for light in lights)
        scale = math.sqrt(after / before) if before > 0.0 else 1.0
        self.relativeNoise = fit.templateNoise * (scale if self.isAny else expectedRatio) / fit.scienceNoise
        """Noise of the template over that of the science image, at the light of the science image."""

    @property
    def isAny(self) -> bool:
        """Whether enough pixels are lit."""
        return int(self.lit.sum()) >= LEAST_LIT

    def leftBy(self, fit: StampFit, isScienceConvolved: bool) -> LeftLight:
        """Return what a fit leaves."""
        unconvolved = self.images[not isScienceConvolved]
        y, x = np.indices(self.lit.shape)
        plane = fit.plane[0] + fit.plane[1] * x + fit.plane[2] * y + fit.ratio * fit.templateSky
        light = np.where(self.good, unconvolved.image - plane, 0.0)
        lit = self.lit & ~fit.noData
        if int(lit.sum()) < LEAST_LIT:
            return LeftLight(math.nan, math.nan, math.nan)
        variance = fit.variance - (fit.modelError * fit.light) ** 2
        own, model = _means(light), _means(np.where(self.good, fit.light, 0.0))
        power = float((own[lit] ** 2).sum())
        left = float(((light - fit.light)[lit] ** 2 - variance[lit]).sum()) / power
        error = math.sqrt(2.0 * float((variance[lit] ** 2).sum())) / power
        floor = 1e-3 * np.abs(own[lit])
        return LeftLight(left, error, median(own[lit] / np.maximum(model[lit], floor)))


def chooseDirection(light: CommonLight, fit: StampFit, other: Callable[[], StampFit]) -> Direction:
    """Return the fit of the better direction.

    Parameters
    ----------
    light
        That both images show.
    fit
        With the template convolved.
    other
        Fits with the science image convolved, which is tried for a template that is not deeper.
    """
    left = light.leftBy(fit, isScienceConvolved=False)
    asItIs = Direction(fit, left, False)
    isDeep = light.relativeNoise < (1.0 if left.isNone else LEAST_NOISE)
    if isDeep or not (fit.templateHasLight and fit.scienceHasLight):
        return asItIs
    turned = other()
    if not turned.ratio > 0.0:
        return asItIs
    leftTurned = light.leftBy(turned, isScienceConvolved=True)
    apart, error = left.power - leftTurned.power, math.hypot(left.error, leftTurned.error)
    # What is left of nothing tells nothing.
    isAlike = not abs(apart) > APART_SIGMAS * error
    isTurned = light.relativeNoise > 1.0 if isAlike else apart > 0.0
    if isTurned or not fit.ratio > 0.0:
        return Direction(turned, leftTurned, True, light.relativeNoise, left.power)
    return Direction(fit, left, False, light.relativeNoise, leftTurned.power)


def _means(image: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the means of boxes about every pixel, the image continued beyond its border."""
    wide = np.pad(image.astype(np.float64), BOX // 2, mode="edge")
    for axis in (0, 1):
        wide = np.lib.stride_tricks.sliding_window_view(wide, BOX, axis=axis).mean(axis=-1)
    return wide
