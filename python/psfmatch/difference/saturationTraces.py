"""What saturated stars leave in a difference beside their flags: rings and lines, which get SAT, too.

Rings are of the light that clipped pixels lack, as far as the kernel carries it; lines, along rows or columns, of
charge that bled or was read out late. `psfmatch/sources/SaturationTraces.h` says how they are told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from psfmatch import _core
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage, stampTuple

__all__ = ["SaturationTraces", "flagSaturationTraces"]


@dataclass(frozen=True)
class SaturationTraces:
    """What was flagged about saturated stars.

    nStars : clumps of saturated pixels; nRings, nLined : of these with rings, and with lines; nRingPixels, nLinePixels
    : that got SAT; what lies in both counts as ring.
    """

    nStars: int
    nRings: int
    nLined: int
    nRingPixels: int
    nLinePixels: int

    @property
    def sentence(self) -> str:
        """What was flagged, in words."""
        stars = "1 clump" if self.nStars == 1 else f"{self.nStars} clumps"
        return (
            f"Traces of saturated stars: of {stars} of pixels with SAT in the difference {self.nRings} lie in rings "
            f"that are off by more than noise, {_counted(self.nRingPixels)}, and {self.nLined} on rows or columns that "
            f"are, {_counted(self.nLinePixels)} more; these get SAT, too."
        )


def flagSaturationTraces(difference: MaskedImage, maxGrowth: int, threads: int = 1) -> SaturationTraces | None:
    """Set SAT on the rings and lines that saturated stars have left in a difference, in place.

    Parameters
    ----------
    difference
        Its mask is written into.
    maxGrowth
        Pixels that rings may reach beyond those with SAT: half the kernel's side.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    traces : SaturationTraces or None
        None where there is nothing to flag.
    """
    saturated = difference.mask.getPlaneBitMask("SAT", ignoreMissing=True)
    if not saturated:
        return None
    rings, lines, nStars, nRings, nLined = _core.saturationTraces(
        stampTuple(difference, DEFAULT_BAD_PLANES), saturated=saturated, maxGrowth=maxGrowth, nThreads=threads
    )
    if not rings.size and not lines.size:
        return None
    lines = np.setdiff1d(lines, rings, assume_unique=True)
    pixels = np.asarray(difference.mask)
    for places in (rings, lines):
        pixels[np.divmod(places, pixels.shape[1])] |= np.int32(saturated)
    return SaturationTraces(nStars, nRings, nLined, rings.size, lines.size)


def _counted(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"
