"""The sky of a difference that falls or rises towards a border of the image, which no polynomial follows: vignetting,
bias, and glow of amplifiers in frames that nobody has flattened; `psfmatch/image/BorderLevels.h` says how it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from psfmatch import _core
from psfmatch.exposure import DEFAULT_BAD_PLANES, MaskedImage, stampTuple

__all__ = ["BorderLevels", "findBorderLevels"]

SIDES = "left", "right", "lower", "upper"


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
