"""Sets of connected pixels as runs along rows: labelling, growing, painting into a mask.

Two pixels are connected when they touch by a side or a corner. All is vectorised over runs: the cost follows
the number of detected pixels, not that of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config.brief import Brief
from psfmatch.images import Box, Mask

__all__ = ["Footprint", "FootprintSet", "growRadius"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Footprint:
    """The pixels that one source contributes: its box and centroid (x, y), parent pixels."""

    bbox: Box
    centroid: tuple[float, float]


@dataclass(frozen=True)
class FootprintSet(Brief):
    """Groups of connected pixels.

    y, x0, x1, label : (n,) row, first column, column after the last, and number of the footprint of each run, array
    coordinates, ordered by label, row and column; count : number of footprints, shape : (h, w) of the image,
    xy0 : its corner in parent pixels.
    """

    y: IntArray
    x0: IntArray
    x1: IntArray
    label: IntArray
    count: int
    shape: tuple[int, int]
    xy0: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return self.count

    @classmethod
    def fromPixels(cls, isInside: npt.NDArray[np.bool_], xy0: tuple[int, int] = (0, 0)) -> FootprintSet:
        """Group the pixels of a map (h, w) that are true."""
        width = isInside.shape[1]
        flat = np.flatnonzero(isInside)
        isFirst = np.ones(flat.size, dtype=bool)
        isFirst[1:] = (np.diff(flat) != 1) | (flat[1:] % width == 0)
        start = np.flatnonzero(isFirst)
        first = flat[start]
        length = np.diff(np.append(start, flat.size))
        y = first // width
        x0 = first - y * width
        (y, x0, x1, label), count = _core.connectRuns(y, x0, x0 + length)
        return cls(y, x0, x1, label, count, isInside.shape, xy0)

    @property
    def areas(self) -> IntArray:
        """Pixels of each footprint, (count,)."""
        return np.bincount(self.label, self.x1 - self.x0, minlength=self.count).astype(np.int64)

    @property
    def centroids(self) -> npt.NDArray[np.float64]:
        """Mean x and y of the pixels of each footprint, (count, 2), parent pixels."""
        length = (self.x1 - self.x0).astype(np.float64)
        areas = np.maximum(self.areas, 1)
        x = np.bincount(self.label, length * 0.5 * (self.x0 + self.x1 - 1), minlength=self.count) / areas
        y = np.bincount(self.label, length * self.y, minlength=self.count) / areas
        return np.column_stack([x, y]) + self.xy0

    @property
    def boxes(self) -> IntArray:
        """x0, y0, width, height of each footprint, (count, 4), parent pixels."""
        if self.count == 0:
            return np.zeros((0, 4), dtype=np.int64)
        start = np.searchsorted(self.label, np.arange(self.count))
        left, bottom = np.minimum.reduceat(self.x0, start), np.minimum.reduceat(self.y, start)
        right, top = np.maximum.reduceat(self.x1, start), np.maximum.reduceat(self.y, start) + 1
        return np.column_stack([left + self.xy0[0], bottom + self.xy0[1], right - left, top - bottom])

    def toFootprints(self) -> list[Footprint]:
        """Return the footprints one by one."""
        return [
            Footprint(Box(*box), (x, y))
            for box, (x, y) in zip(self.boxes.tolist(), self.centroids.tolist(), strict=True)
        ]

    def pixels(self) -> tuple[IntArray, IntArray]:
        """Return the index into the flattened image, and the footprint, of every pixel."""
        length = self.x1 - self.x0
        run = np.repeat(np.arange(length.size), length)
        within = np.arange(run.size) - np.repeat(np.cumsum(length) - length, length)
        return self.y[run] * self.shape[1] + self.x0[run] + within, self.label[run]

    def labelsAt(self, x: IntArray, y: IntArray) -> IntArray:
        """Return the footprint of pixels, array coordinates; -1 outside all. Footprints must share no pixel."""
        line = self.y * (self.shape[1] + 1)
        order = np.argsort(line + self.x0)
        place = np.searchsorted((line + self.x0)[order], y * (self.shape[1] + 1) + x, "right") - 1
        if not order.size:
            return np.full(np.shape(x), -1)
        run = order[np.maximum(place, 0)]
        isHit = (place >= 0) & (self.y[run] == y) & (x < self.x1[run])
        return np.where(isHit, self.label[run], -1)

    def where(self) -> npt.NDArray[np.bool_]:
        """Return which pixels belong to a footprint, (h, w)."""
        isInside = np.zeros(self.shape, dtype=bool)
        isInside.reshape(-1)[self.pixels()[0]] = True
        return isInside

    def setMask(self, mask: Mask, plane: str) -> None:
        """Set a plane of a mask (h, w), in place, in every pixel of a footprint."""
        bit = np.int32(1 << mask.addPlane(plane))
        y, x = np.divmod(self.pixels()[0], self.shape[1])
        np.asarray(mask)[y, x] |= bit

    def select(self, isKept: npt.NDArray[np.bool_]) -> FootprintSet:
        """Return the footprints that a map (count,) marks, numbered anew."""
        number = np.cumsum(isKept) - 1
        keep = isKept[self.label]
        return FootprintSet(
            self.y[keep],
            self.x0[keep],
            self.x1[keep],
            number[self.label[keep]],
            int(np.count_nonzero(isKept)),
            self.shape,
            self.xy0,
        )

    def grown(self, radius: int, isotropic: bool = False, combined: bool = True) -> FootprintSet:
        """Return the footprints with all pixels within a distance added.

        Parameters
        ----------
        radius
            Distance in pixels; the image's border ends the growth.
        isotropic
            Euclidean distance, a disc; otherwise Manhattan distance, a diamond.
        combined
            Footprints that touch or overlap afterwards become one; otherwise they may share pixels.
        """
        if radius <= 0 or self.count == 0:
            return self
        (y, x0, x1, label), count = _core.growFootprints(
            self.y,
            self.x0,
            self.x1,
            self.label,
            count=self.count,
            height=self.shape[0],
            width=self.shape[1],
            radius=radius,
            isotropic=isotropic,
            combined=combined,
        )
        return FootprintSet(y, x0, x1, label, count, self.shape, self.xy0)


def growRadius(nSigma: float, sigma: float) -> int:
    """Return the whole number of pixels nearest to `nSigma` times a PSF's width `sigma` (pixels)."""
    return int(nSigma * sigma + 0.5)
