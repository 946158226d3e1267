"""The background of a difference as its own pixels show it, when the kernel is known.

Blank sky tells the polynomial that was fitted with the kernel many times better. Towards a border of the image the sky
may fall or rise as no polynomial follows: vignetting, bias, and glow of amplifiers in frames that nobody has flattened;
`psfmatch/image/BorderLevels.h` says how that is told.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from psfmatch import _core
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage, stampTuple
from psfmatch.kernels import SpatialFunction2D, spatialFunctionOf
from psfmatch.noise.blankSky import BlankSky, findBlankSky

__all__ = ["BorderLevels", "findBorderLevels", "refineBackground"]

log = logging.getLogger("psfmatch.difference.background")

MANY_PIXELS = 400_000
"""Pixels of blank sky that are looked at: the mean of so many is known to 0.0016 of a pixel's noise."""
MIN_CELL_PIXELS = 100
"""Blank pixels without which a cell of 32 x 32 tells nothing of the background."""
CELLS_PER_TERM = 3
SIDES = "left", "right", "lower", "upper"


def refineBackground(
    science: MaskedImage, matched: MaskedImage, background: SpatialFunction2D, threads: int = 1
) -> tuple[SpatialFunction2D, BlankSky]:
    """Return the background, of the functions it was fitted with, that blank sky shows; and that blank sky.

    Regions around stars cover a tenth of a sparse field, and say little of the sky in its corners; faint transients
    among their pixels, too faint to be rejected, lift it. What is left of blank sky when the kernel is known tells the
    background many times better; where there is too little, the background is returned as it is.
    """
    sky = findBlankSky(science, matched, maxPixels=MANY_PIXELS, threads=threads)
    x, y, means, errors = sky.cellMeans(MIN_CELL_PIXELS, nThreads=threads)
    terms = background.coreFunction.evaluate(x + science.xy0[0], y + science.xy0[1])
    if means.size < CELLS_PER_TERM * terms.shape[1]:
        log.debug("Only %d cells of blank sky: the background stays as it was fitted with the kernel", means.size)
        return background, sky
    parameters, covariance = _core.leastSquares(terms, means, errors)
    change = np.abs(parameters - background.scaledParameters).max()
    log.debug("Blank sky of %d cells changes the background's parameters by %.3g at most", means.size, change)
    known = None if background.covariance is None else covariance
    return spatialFunctionOf(background.coreFunction, parameters, known), sky


@dataclass(frozen=True)
class BorderLevels:
    """Levels of the sky towards the sides of an image, (middle + slope u) exp(-d / length) each.

    area : x0, y0, width, height of the pixels whose outermost rows and columns are the border, parent pixels;
    length : pixels; sides : (middle, slope) of the left, right, lower (first row), and upper one, image units, u from
    -1 to 1 along the side, d pixels from it; noise : of a pixel, image units, for the sentence.
    """

    area: tuple[int, int, int, int]
    length: float
    sides: tuple[tuple[float, float], ...]
    noise: float

    @property
    def sentence(self) -> str:
        """What is taken off, in words."""
        told = ", ".join(
            f"{middle:+.3g} at the {name} one ({middle / self.noise:+.2f} of a pixel's noise)"
            for name, (middle, _) in zip(SIDES, self.sides, strict=True)
            if middle
        )
        return (
            f"Sky at the border: {told}, a factor e less {self.length:.0f} px farther in, is left of the background "
            "and taken off, as flats, bias or glow leave it."
        )

    def subtractFrom(self, image: MaskedImage, threads: int = 1) -> None:
        """Take the levels off the image's pixels, in place; it may be a part of the one that they were found in."""
        x0, y0, width, height = self.area
        area = x0 - image.xy0[0], y0 - image.xy0[1], width, height
        _core.subtractBorderLevels(image.image, area=area, length=self.length, sides=self.sides, nThreads=threads)

    def toDict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def fromDict(cls, data: Mapping[str, Any]) -> BorderLevels:
        """Return the levels whose `toDict` gave the data; ValueError for others."""
        try:
            x0, y0, width, height = (int(each) for each in data["area"])
            first, second, third, fourth = ((float(middle), float(slope)) for middle, slope in data["sides"])
            length, noise = float(data["length"]), float(data["noise"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the levels at the border are damaged: {error!r}") from error
        if not (length > 0.0 and width > 0 and height > 0):
            raise ValueError(f"levels at the border of {width}x{height} pixels, over {length} px: must be positive")
        return cls((x0, y0, width, height), length, (first, second, third, fourth), noise)


def findBorderLevels(difference: MaskedImage, threads: int = 1) -> BorderLevels | None:
    """Return what the sky of a difference does towards its border; None where it does nothing that could be told.

    Parameters
    ----------
    difference
        Not changed. Its variance plane is not used.
    threads
        Number of threads; the result does not depend on it.
    """
    area, length, sides, noise = _core.borderLevels(stampTuple(difference, DEFAULT_BAD_PLANES), nThreads=threads)
    if not any(middle for middle, _ in sides):
        return None
    x0, y0, width, height = area
    return BorderLevels(
        (x0 + difference.xy0[0], y0 + difference.xy0[1], width, height),
        length,
        tuple((middle, slope) for middle, slope in sides),
        noise,
    )
