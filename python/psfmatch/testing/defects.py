"""Defects of a simulated image: hot and dead pixels, columns, clusters, full wells that bleed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawDefects", "garbage", "saturatedPixels"]

BoolArray = NDArray[np.bool_]


def drawDefects(generator: np.random.Generator, shape: tuple[int, int], fraction: float) -> BoolArray:
    """Draw a map of defects: half of them single pixels, a quarter pieces of columns, a quarter clusters."""
    height, width = shape
    total: int = round(fraction * height * width)
    defects = np.zeros(shape, dtype=bool)
    defects.ravel()[generator.choice(defects.size, total // 2, replace=False, shuffle=False)] = True
    count = total // 2
    while count < (3 * total) // 4:
        length = min(int(generator.integers(height // 16 + 1, height // 4 + 2)), total - count)
        x, y = int(generator.integers(width)), int(generator.integers(height - length + 1))
        piece = defects[y : y + length, x]
        count += length - int(np.count_nonzero(piece))
        piece[:] = True
    while count < total:
        radius = generator.uniform(1.0, 4.0)
        x, y = int(generator.integers(width)), int(generator.integers(height))
        y0, x0 = max(y - int(radius), 0), max(x - int(radius), 0)
        piece = defects[y0 : y + int(radius) + 1, x0 : x + int(radius) + 1]
        rows, columns = np.indices(piece.shape)
        disc = (rows + y0 - y) ** 2 + (columns + x0 - x) ** 2 <= radius**2
        count += int(np.count_nonzero(disc & ~piece))
        piece |= disc
    return defects


def garbage(generator: np.random.Generator, size: int, fullWell: float) -> NDArray[np.float32]:
    """Values for `size` defects: 45 % dead (zero), 30 % hot, 20 % negative, 5 % not a number."""
    kind, value = generator.random((2, size))
    values = np.where(kind < 0.45, 0.0, np.where(kind < 0.75, value * fullWell, -0.1 * value * fullWell))
    values[kind >= 0.95] = np.nan
    return values.astype(np.float32)


def saturatedPixels(scene: NDArray[np.float32], fullWell: float) -> BoolArray:
    """Pixels above the full well (counts) and those their excess fills, half up and half down the column."""
    above = scene > fullWell
    saturated = above.copy()
    height = scene.shape[0]
    for x in np.flatnonzero(above.any(axis=0)):
        steps = np.diff(above[:, x].astype(np.int8), prepend=0, append=0)
        for start, stop in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            excess = float(np.sum(scene[start:stop, x] - fullWell, dtype=np.float64)) / fullWell
            reach = int(np.ceil(excess / 2))
            saturated[max(start - reach, 0) : min(stop + reach, height), x] = True
    return saturated
