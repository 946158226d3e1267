"""Typical values of an image in the cells of a coarse grid, and between them: levels of sky and of variance.

Clipped means leave sources out. For a smooth surface of the sky itself there is `psfmatch.detection.background`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import MaskedImage

__all__ = ["CellGrid", "measureCells"]

FloatArray = npt.NDArray[np.float64]

CELLS, MIN_CELL_PIX, CELL_SAMPLES = 8, 32, 4096
"""Cells along each axis, their least side, and about how many pixels of each are used."""


@dataclass(frozen=True)
class CellGrid:
    """Typical values (ny, nx) in cells of an image, whose centres lie at x (nx,) and y (ny,), parent pixels."""

    values: FloatArray
    x: FloatArray
    y: FloatArray

    @property
    def isKnown(self) -> bool:
        """Whether any cell has a value above zero."""
        return bool(np.any(self.values > 0.0))

    def at(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return values at positions x and y (n,): linear between centres of cells, constant beyond."""
        rows = np.array([np.interp(x, self.x, row) for row in self.values])
        place = np.interp(y, self.y, np.arange(self.y.size, dtype=np.float64))
        low = np.minimum(place.astype(np.int64), self.y.size - 1)
        high, t, n = np.minimum(low + 1, self.y.size - 1), place - low, np.arange(x.size)
        return np.asarray((1.0 - t) * rows[low, n] + t * rows[high, n])


def measureCells(
    maskedImage: MaskedImage,
    plane: npt.NDArray[np.float32],
    planes: Iterable[str],
    threads: int = 1,
    *,
    isVariance: bool = False,
) -> CellGrid:
    """Measure a plane of an image in cells by clipped means (3 sigma, 3 times).

    Pixels in `planes` or with unusable values do not count, nor do negative values of a variance. A cell without a
    pixel takes the median of the others; without any cell all are zero.
    """
    edges = [_edges(size) for size in maskedImage.shape]
    cellArea = math.prod(maskedImage.shape) / math.prod(edge.size - 1 for edge in edges)
    step = max(1, math.isqrt(int(cellArea / CELL_SAMPLES)))
    values, _ = _core.superPixelStatistics(
        plane,
        maskedImage.variance,
        np.asarray(maskedImage.mask),
        maskedImage.mask.getPlaneBitMask(planes, ignoreMissing=True),
        edgesY=edges[0].tolist(),
        edgesX=edges[1].tolist(),
        stepX=step,
        stepY=step,
        statistic=_core.SuperPixelStatistic.MEANCLIP,
        nThreads=threads,
    )
    known = np.isfinite(values)
    if isVariance:
        known &= values >= 0.0
    values = np.where(known, values, np.median(values[known]) if known.any() else 0.0)
    y, x = (np.asarray(0.5 * (edge[:-1] + edge[1:] - 1), dtype=np.float64) for edge in edges)
    return CellGrid(values, x + maskedImage.xy0[0], y + maskedImage.xy0[1])


def _edges(size: int) -> npt.NDArray[np.int64]:
    """Return the borders of the cells along an axis."""
    return np.linspace(0, size, min(CELLS, max(1, size // MIN_CELL_PIX)) + 1).round().astype(np.int64)
