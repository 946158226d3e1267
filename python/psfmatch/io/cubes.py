"""Planes of images of more than two axes, and of pictures whose colours are the fastest axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

COLOURS = 3, 4
"""Red, green, blue, and how opaque a pixel is."""


def cubeOf(shape: Sequence[int]) -> tuple[int, tuple[int, int], bool]:
    """Return number and shape of a cube's planes, and whether they are the last axis, as colours of a picture are."""
    long = [n for n in shape if n != 1] if len(shape) > 3 else list(shape)
    if len(long) == 3 and long[2] in COLOURS and long[0] > 4 and long[1] > 4:
        return long[2], (long[0], long[1]), True
    return math.prod(shape[:-2]), (int(shape[-2]), int(shape[-1])), False


def planeOf(data: NDArray[Any], plane: int) -> NDArray[Any]:
    """Return one plane (h, w) of a cube's pixels."""
    n, shape, isLast = cubeOf(data.shape)
    return data.reshape(*shape, n)[..., plane] if isLast else data.reshape(n, *shape)[plane]
