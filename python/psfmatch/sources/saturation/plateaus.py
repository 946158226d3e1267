"""Plateaus among the pixels without SAT, and what they are: the saturation level, bleed trails, or neither.

Clipped pixels lie together in larger clumps than stars of one brightness make, and no star of good shape is brighter.
Where stars are brighter but the clumps are large, they are bleed trails cut below the level, or stuck columns. The disc
of a planet piles up like clipped pixels, but its edge is as soft inside as outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import BrightPixels, Plateau
from psfmatch.images import Exposure
from psfmatch.sources.saturation.stars import ShapedStars

__all__ = ["MIN_EXCESS", "MIN_PLATEAU", "Pile", "Plateaus", "counted", "findPlateaus", "starsOfShape"]

MIN_PLATEAU = 9
"""Fewer pixels are no plateau: the brightest star alone can have four equal ones."""
MIN_EXCESS = 3.0
"""A plateau has so many times the pixels expected from those below."""
MOST_PLATEAUS = 4
"""So many are looked at, upwards."""
IN_CLUMPS = 0.5
"""Share of a plateau's pixels that lie in clumps larger than stars of one brightness make."""
ABOVE_TOP = 1.02
"""A star is above a plateau from here on, in units of its top."""
MOST_ABOVE = 2
SHARE_ABOVE = 0.1
"""Stars that may be above a plateau that is the level: so many, or this share of its clumps."""
TRAILS_BELOW = 0.97
"""Trails are looked for up to this share of the level."""
EQUAL = 0.5
"""Share of a plateau's pixels of one value that noise never makes."""
DISC_AREA = 50
"""Pixels of a disc above half its height."""
DISC_SOFTNESS = 0.9
"""Area between plateau and half its height, over that between there and a tenth: 0.9 to 2.7 for discs of planets, 0.3
for clipped stars."""


@dataclass(frozen=True)
class Pile:
    """A plateau, and what tells whether it is one of clipped pixels.

    level, top : counts; nPixels, nExpected, nAbove : of the plateau;
    leastClump : pixels of clumps that count; share : of its pixels that lie in such;
    equal : share of its pixels that have the top's value; nStars : of good shape above it; nAllowed : so many may be;
    isDisc : whether it is one object alone with the edge of a disc.
    """

    level: float
    top: float
    nPixels: int
    nExpected: float
    nAbove: int
    leastClump: int
    share: float
    equal: float
    nStars: int
    nAllowed: int
    isDisc: bool

    @property
    def isClumped(self) -> bool:
        """Whether most of it has one value, or lies in large clumps that are no disc."""
        return self.equal >= EQUAL or (self.share >= IN_CLUMPS and not self.isDisc)

    @property
    def isLevel(self) -> bool:
        """Whether the image saturates here."""
        return self.isClumped and self.nStars <= self.nAllowed

    @property
    def told(self) -> str:
        """The plateau in words."""
        return (
            f"{counted(self.nPixels)} lie on a plateau from {self.level:.6g} counts, where {self.nExpected:.2g} are "
            f"expected from those below"
        )

    @property
    def verdict(self) -> str:
        """What makes it the level, or keeps it from being it, in words."""
        if not self.isClumped:
            if self.isDisc:
                return "they are one object, with the edge of a disc and not that of a clipped star"
            share = f"{100.0 * self.share:.0f} % of them lie in clumps of {self.leastClump}"
            return f"{share}, where {100.0 * IN_CLUMPS:.0f} % must"
        return f"{starsOfShape(self.nStars)} above it, where {self.nAllowed} may be"


@dataclass(frozen=True)
class Plateaus:
    """The plateau where the image saturates, that of bleed trails below it, and the first that is neither."""

    level: Pile | None
    trails: Pile | None
    other: Pile | None


def counted(count: int) -> str:
    """Return a number of pixels in words."""
    return "1 pixel" if count == 1 else f"{count} pixels"


def starsOfShape(count: int) -> str:
    """Return in words how many stars are somewhere."""
    return "1 star of good shape is" if count == 1 else f"{count} stars of good shape are"


def findPlateaus(exposure: Exposure, pixels: BrightPixels, stars: ShapedStars) -> Plateaus:
    """Find where the bright pixels without SAT pile up, and say what the plateaus are."""
    level, trails, other = None, None, None
    least = -math.inf
    for _ in range(MOST_PLATEAUS):
        pile = _pile(exposure, pixels, stars, least=least)
        if pile is None:
            break
        if pile.isLevel:
            level = pile
            break
        if not pile.isClumped:
            other = other or pile
        elif trails is None or pile.nPixels > trails.nPixels:
            trails = pile
        least = math.nextafter(pile.top, math.inf)
    if level is not None and trails is None:
        below = _pile(exposure, pixels, stars, most=pixels.sky + TRAILS_BELOW * (level.level - pixels.sky))
        trails = below if below is not None and below.isClumped and not below.isLevel else None
    return Plateaus(level, trails, other)


def _pile(
    exposure: Exposure,
    pixels: BrightPixels,
    stars: ShapedStars,
    least: float = -math.inf,
    most: float = math.inf,
) -> Pile | None:
    plateau = _core.findPlateau(
        pixels, minPixels=MIN_PLATEAU, minExcess=MIN_EXCESS, least=least, most=most, countsFlagged=False
    )
    if plateau is None:
        return None
    counts = pixels.counts + pixels.sky
    sizes = _core.clumpSizes(pixels, exposure.image.shape[1], plateau.level)
    height, base = plateau.top - pixels.sky, plateau.level - pixels.sky
    leastClump = math.ceil(stars.pixelsAbove(base, height))
    isInside = (counts >= plateau.level) & (counts <= plateau.top) & ~pixels.isFlagged
    isLarge = sizes >= leastClump
    nClumps = float((1.0 / sizes[isLarge]).sum())
    return Pile(
        level=plateau.level,
        top=plateau.top,
        nPixels=plateau.nPixels,
        nExpected=plateau.nExpected,
        nAbove=plateau.nAbove,
        leastClump=leastClump,
        share=float(isLarge[isInside].mean()),
        equal=float((counts[isInside] == plateau.top).mean()),
        nStars=_countAbove(pixels, stars, sizes, base, ABOVE_TOP * height),
        nAllowed=max(MOST_ABOVE, int(SHARE_ABOVE * nClumps)),
        isDisc=_isDisc(exposure, pixels, plateau, sizes),
    )


def _countAbove(
    pixels: BrightPixels, stars: ShapedStars, sizes: npt.NDArray[np.int64], base: float, least: float
) -> int:
    """Return how many stars peak above counts above the sky, and are no larger above the base than whole stars are."""
    # Resampling has made peaks on the rims of clipped cores.
    isAbove = stars.peaks > least
    own = sizes[np.searchsorted(pixels.places, stars.places[isAbove])]
    return int(np.count_nonzero(own <= stars.pixelsAbove(base, stars.peaks[isAbove])))


def _isDisc(exposure: Exposure, pixels: BrightPixels, plateau: Plateau, sizes: npt.NDArray[np.int64]) -> bool:
    """Return whether one object alone makes the plateau, with an edge that is as soft inside as outside."""
    largest = int(np.argmax(sizes))
    area, place, height = int(sizes[largest]), int(pixels.places[largest]), plateau.level - pixels.sky
    if 2 * area < np.count_nonzero(sizes):
        return False
    half, tenth = (_core.areaAbout(exposure.image, place, pixels.sky + share * height) for share in (0.5, 0.1))
    return half >= DISC_AREA and half - area > DISC_SOFTNESS * (tenth - half)
