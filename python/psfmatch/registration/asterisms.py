"""Which stars of one list are which of another: displacements of bright pairs vote, nearest neighbours are counted.

All displacements between the brightest stars of both lists are counted in a grid, once for each of a few rotations and
scales; where many agree is the transform. From there pairs of nearest neighbours and a fit by least squares
take turns, closer each time. A match is believed if chance would give as many pairs less than once in a thousand times.
Where the images may lie anyhow, triangles of bright stars propose transforms instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core

__all__ = ["MAX_CHANCE", "Match", "matchPatterns", "matchStars"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_CHANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of stars of two lists.

    first, second : (k,) indices; chance : expected number of times that as many pairs agree by accident.
    """

    first: IntArray
    second: IntArray
    chance: float

    def __len__(self) -> int:
        return int(self.first.size)

    @property
    def isFound(self) -> bool:
        """Whether chance does not explain it."""
        return len(self) >= 2 and self.chance < MAX_CHANCE


def matchStars(first: FloatArray, second: FloatArray, area: float, maxOffset: float) -> Match:
    """Find the pairs of stars that one affine transform takes into each other.

    Parameters
    ----------
    first, second
        (n, 2) and (m, 2), positions in pixels, brightest first.
    area
        Square pixels over which the stars are spread.
    maxOffset
        Largest displacement (pixels) along each axis.

    Returns
    -------
    match : Match
        The one that chance explains least; `Match.isFound` tells whether to believe it.
    """
    one, other, chance = _core.matchStars(first, second, area=area, maxOffset=maxOffset, maxChance=MAX_CHANCE)
    return Match(one, other, chance)


def matchPatterns(first: FloatArray, second: FloatArray, area: float) -> tuple[Match, FloatArray]:
    """Find the pairs of stars that one transform takes into each other, wherever it lies.

    It may turn, mirror and shift at will, and have from 0.45 to 2.2 pixels of the second list for one of the first.

    Parameters
    ----------
    first, second
        (n, 2) and (m, 2), positions in pixels, brightest first.
    area
        Square pixels over which the second list is spread.

    Returns
    -------
    match : Match
        The one that chance explains least; `Match.isFound` tells whether to believe it.
    linear : (2, 2)
        The transform's terms from the first list to the second.
    """
    one, other, chance, matrix = _core.matchPatterns(first, second, area=area, maxChance=MAX_CHANCE)
    return Match(one, other, chance), matrix[:, :2]
