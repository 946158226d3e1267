"""Whether the noise of a difference is the one that its variance plane says."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from psfmatch import _core
from psfmatch.config.equality import ByValue
from psfmatch.images import MaskedImage, stampTuple

__all__ = ["DifferenceNoise", "differenceNoise"]


@dataclass(frozen=True, eq=False)
class DifferenceNoise(ByValue):
    """Difference / sqrt(variance) over blank pixels: robust standard deviation and median, ideally 1 and 0."""

    robustStdev: float
    median: float
    nPixels: int


def differenceNoise(
    difference: MaskedImage,
    excludePlanes: Iterable[str] = ("BAD", "SAT", "CR", "EDGE", "NO_DATA", "DETECTED", "DETECTED_NEGATIVE"),
    maxPixels: int = 250_000,
) -> DifferenceNoise:
    """Compare the scatter of a difference with its variance plane.

    Parameters
    ----------
    difference
        Difference image.
    excludePlanes
        Planes whose pixels are left out. Stars need not be: they are few, and the measure is robust.
    maxPixels
        Pixels used, on a regular grid.
    """
    step = max(1, math.isqrt(difference.image.size // maxPixels))
    found = _core.pullNoise(*stampTuple(difference, excludePlanes), step=step)
    return DifferenceNoise(*found)
