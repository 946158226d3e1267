"""Bad pixels, and whether the mask says why they are."""

from __future__ import annotations

import functools
import operator

import numpy as np

from psfmatch.exposure import Mask
from psfmatch.strips import mapStrips

__all__ = ["DEFECT_PLANES", "isWithoutReasons"]

DEFECT_PLANES = ("BAD", "CR", "NO_DATA")
"""Pixels with these say nothing about stars."""


def isWithoutReasons(mask: Mask) -> bool:
    """Return whether pixels are bad, and none has any other plane."""
    flags, bad = np.asarray(mask), np.int32(mask.getPlaneBitMask("BAD", ignoreMissing=True))
    bits = mapStrips(lambda strip: int(np.bitwise_or.reduce(flags[strip], axis=None)), flags.shape)
    return bad != 0 and functools.reduce(operator.or_, bits) == bad
