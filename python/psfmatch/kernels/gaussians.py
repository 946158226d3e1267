"""The Gaussians of which a kernel is made between two PSFs, its size, and how large it is expected to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.kernels.alardLupton import chooseGaussians, gaussianBasis

__all__ = ["Fwhms", "GaussianFamily", "familyOf", "isFamilyPinned", "pinnedFamily"]

FloatArray = npt.NDArray[np.float64]
Fwhms = tuple[float | None, float | None]

WIDEST_SIGMA = 3.1
"""Of the last Gaussian, in units of the wider PSF's: the wings of a Moffat profile need it (kernel sum to 0.1 %)."""
NARROWEST = (0.4, 1.0)
"""Limits (pixels) of the first Gaussian's sigma, which is 0.6 of that between the two PSFs."""
KERNEL_HALF_WIDTH = 3.0
"""Of the kernel, in units of the widest sigma."""
DEGREES = ((2, 2, 0, 0), (3, 3, 1, 1), (4, 4, 2, 2))
"""Degrees of the four Gaussians' polynomials that are tried, few first."""
EQUAL_DEGREES = ((2, 2, 0, 0), (4, 4, 2, 2), (6, 4, 2, 2))
"""The same for PSFs of nearly equal width, whose kernel is nearly a point and its neighbours."""

N_GAUSSIANS = 4
"""Of which the widest may be left out."""
POINT_SIGMA = 0.1
"""Pixels: what falls on the next pixel is 2e-22."""
RICH_DEGREES = ((2, 4, 2), (2, 8, 4), (2, 12, 6))
"""Of the three Gaussians that are tried where the four leave more than noise."""
RICH_SECOND = 1.5
"""Their second sigma in units of the first, and at least a pixel."""
RICH_EQUAL = 0.7
"""The same between equal PSFs, in units of the wider one's: their first says nothing of the scale of what differs."""
RICH_WIDEST = 0.9
"""Their third sigma in units of the widest of four: the polynomials of degree 6 reach further than those of 2."""


@dataclass(frozen=True)
class GaussianFamily:
    """Gaussians (sigmas in pixels, degrees of the richest set), kernel size, and the sets of degrees to try.

    isFixed : whether number and widths of the Gaussians, or the kernel's size, were set.
    """

    sigmas: tuple[float, ...]
    degrees: tuple[tuple[int, ...], ...]
    kernelSize: int
    isEqual: bool
    isFixed: bool = field(default=False, compare=False)

    def basis(self) -> FloatArray:
        """Return the images of the richest set, (n, h, w)."""
        return gaussianBasis(self.kernelSize, self.sigmas, self.degrees[-1])

    def degreesOf(self, images: tuple[int, ...]) -> tuple[int, ...]:
        """Return the set of degrees whose images these are."""
        sets = (narrower for degrees in self.degrees for narrower in (degrees, self.narrower(degrees)))
        return next(degrees for degrees in sets if self.images(degrees) == images)

    def isRichest(self, images: tuple[int, ...]) -> bool:
        """Return whether these are of the richest of several sets, with or without the widest Gaussian."""
        richest = self.degrees[-1]
        return len(self.degrees) > 1 and images in (self.images(richest), self.images(self.narrower(richest)))

    def widest(self, images: tuple[int, ...]) -> float:
        """Return the sigma of the widest Gaussian with any of these images."""
        degrees = self.degreesOf(images)
        return max(sigma for sigma, degree in zip(self.sigmas, degrees, strict=True) if degree >= 0)

    def narrower(self, degrees: tuple[int, ...]) -> tuple[int, ...]:
        """Return the same degrees without the widest of four Gaussians; of other numbers, or set ones, themselves."""
        return degrees if self.isFixed or len(degrees) != N_GAUSSIANS else (*degrees[:-1], -1)

    def images(self, degrees: tuple[int, ...]) -> tuple[int, ...]:
        """Return which images of the richest set belong to a smaller one."""
        return _core.alardLuptonImages(degrees, self.degrees[-1])

    @property
    def usualDegrees(self) -> tuple[int, ...]:
        """The set that serves most fields."""
        return self.degrees[len(self.degrees) // 2]

    def upTo(self, degrees: tuple[int, ...]) -> GaussianFamily:
        """Return the family without the sets that are richer than one."""
        return replace(self, degrees=self.degrees[: self.degrees.index(degrees) + 1])

    def rich(self) -> GaussianFamily:
        """Return three Gaussians, two of many terms: their Hermite functions follow rings and spikes of the PSFs."""
        least = max(1.0, RICH_EQUAL * self.sigmas[-1] / WIDEST_SIGMA) if self.isEqual else 1.0
        sigmas = self.sigmas[0], max(least, RICH_SECOND * self.sigmas[0]), RICH_WIDEST * self.sigmas[-1]
        return replace(self, sigmas=tuple(round(sigma, 3) for sigma in sigmas), degrees=RICH_DEGREES)

    def point(self) -> GaussianFamily:
        """Return a Gaussian so narrow that all its light falls into one pixel: only the scale of the images changes."""
        return replace(self, sigmas=(POINT_SIGMA,), degrees=((0,),))

    def expectedNorm(self, fluxRatio: float) -> float:
        """Return the expected root of the sum of squares of the kernel: that of a Gaussian of the first widths."""
        second = 0.0 if self.isEqual or len(self.sigmas) == 1 else self.sigmas[1]
        return float(f"{fluxRatio / (2.0 * math.sqrt(math.pi) * math.hypot(self.sigmas[0], second)):.4g}")

    def told(self) -> str:
        """Return the sigmas in words."""
        return " ".join(f"{sigma:.2f}" for sigma in self.sigmas)


def familyOf(
    convolvedFwhm: float | None, otherFwhm: float | None, shape: tuple[int, int], halfWidth: int
) -> GaussianFamily:
    """Return the Gaussians that take one PSF to the other, FWHMs in pixels; `shape` limits the size of the kernel."""
    other = otherFwhm if otherFwhm is not None and otherFwhm > 0.0 else 3.5
    narrow = convolvedFwhm if convolvedFwhm is not None and convolvedFwhm > 0.0 else 0.8 * other
    wide = max(narrow, other) / 2.3548
    between = math.sqrt(max(0.0, other**2 - narrow**2)) / 2.3548
    first = min(max(0.6 * between, NARROWEST[0]), NARROWEST[1] if between < 3.0 else 0.35 * between)
    last = max(WIDEST_SIGMA * wide, 4.0 * first)
    room = min(shape) - 2 * halfWidth - 2
    # The border of half a kernel is lost: of small images not more than an eighth on both sides together.
    most = max(min(shape) // 16, math.ceil(2.0 * wide))
    half = max(1, min(math.ceil(KERNEL_HALF_WIDTH * last), 30, most, room // 2))
    sigmas = tuple(round(first * (last / first) ** (k / 3.0), 3) for k in range(4))
    isEqual = between < 0.5 * wide
    return GaussianFamily(sigmas, EQUAL_DEGREES if isEqual else DEGREES, 2 * half + 1, isEqual)


def isFamilyPinned(pins: Mapping[str, Any]) -> bool:
    """Return whether number, widths or degrees of the Gaussians were set, so that no other family is tried."""
    return any(pins.get(name) for name in ("alardNGauss", "alardSigGauss", "alardDegGauss", "scaleByFwhm"))


def pinnedFamily(
    family: GaussianFamily, pins: Mapping[str, Any], options: KernelOptions, fwhms: Fwhms, shape: tuple[int, int]
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
    isFixed = isFamilyPinned(pins) or (sigmas, kernelSize) != (family.sigmas, family.kernelSize) or "kernelSize" in pins
    return replace(family, sigmas=sigmas, degrees=degrees, kernelSize=kernelSize, isFixed=isFixed)
