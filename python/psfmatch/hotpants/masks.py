"""Mask bits of HOTPANTS: which pixels of the inputs are bad and why, and what became of them in the difference."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

__all__ = ["MaskBit", "grown"]

BoolImage = npt.NDArray[np.bool_]


class MaskBit(enum.IntFlag):
    """Bits of the mask that ``-omi`` and ``-allm`` write."""

    BAD_PIXVAL = 1
    """Holds the fill value in an input."""
    SAT = 2
    """Saturated in an input: at or above ``-tu``, ``-iu``, or found so; with two pixels around."""
    LOW = 4
    """At or below ``-tl``, ``-il``."""
    NAN = 8
    """Not a finite number, in image or noise."""
    BAD_CONV = 16
    """Bad after the convolution: bad pixels hold too much of the kernel, or the image's edge is near."""
    INPUT_MASK = 32
    """Set in the mask of an input."""
    OK_CONV = 64
    """Good after the convolution although bad pixels lay under the kernel: they were filled."""
    INPUT_ISBAD = 128
    """Bad in either input."""
    T_BAD = 256
    T_SKIP = 512
    """Left out of the kernel fit alone: ``-tuk``, ``-mins``."""
    I_BAD = 1024
    I_SKIP = 2048
    OUTPUT_ISBAD = 32768
    """Bad in the difference, which holds the fill value there."""


def grown(flags: BoolImage, radius: int) -> BoolImage:
    """Return flags (ny, nx) grown by a square of `radius` pixels on every side."""
    result = flags
    for axis in (0, 1) if radius > 0 else ():
        count = np.cumsum(result, axis=axis, dtype=np.int32)
        n = result.shape[axis]
        upper = np.minimum(np.arange(n) + radius, n - 1)
        lower = np.arange(n) - radius - 1
        before = np.take(count, np.maximum(lower, 0), axis=axis)
        outside = (lower < 0)[:, np.newaxis] if axis == 0 else lower < 0
        result = np.take(count, upper, axis=axis) - np.where(outside, 0, before) > 0
    return result
