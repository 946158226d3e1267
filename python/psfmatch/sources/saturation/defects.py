"""Bad pixels, and whether the mask says why they are."""

from __future__ import annotations

import numpy as np

from psfmatch import _core
from psfmatch.images import Mask

__all__ = ["DEFECT_PLANES", "isWithoutReasons"]

DEFECT_PLANES = ("BAD", "CR", "NO_DATA")
"""Pixels with these say nothing about stars."""


def isWithoutReasons(mask: Mask, threads: int = 1) -> bool:
    """Return whether pixels are bad, and none has any other plane; NO_DATA is no reason for it."""
    bad, empty = (mask.getPlaneBitMask(name, ignoreMissing=True) for name in ("BAD", "NO_DATA"))
    return bad != 0 and _core.planesOf(np.asarray(mask), nThreads=threads) & ~empty == bad
