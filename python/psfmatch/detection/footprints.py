"""Sets of connected pixels as runs along rows: labelling, growing, painting into a mask.

Two pixels are connected when they touch by a side or a corner. All is vectorised over runs: the cost follows
the number of detected pixels, not that of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Box, Mask

__all__ = ["Footprint", "FootprintSet", "growRadius"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Footprint:
    """The pixels that one source contributes: its box and centroid (x, y), parent pixels."""

    bbox: Box
    centroid: tuple[float, float]


@dataclass(frozen=True)
class FootprintSet:
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
        return cls._labelled(y, x0, x0 + length, isInside.shape, xy0)

    @classmethod
    def _labelled(
        cls, y: IntArray, x0: IntArray, x1: IntArray, shape: tuple[int, int], xy0: tuple[int, int]
    ) -> FootprintSet:
        """Number the groups of disjoint runs that are ordered by row and column."""
        label = _connectedRuns(y, x0, x1, shape[1])
        order = np.argsort(label, kind="stable")
        count = int(label.max()) + 1 if label.size else 0
        return cls(y[order], x0[order], x1[order], label[order], count, shape, xy0)

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
        offset = np.arange(-radius, radius + 1)
        reach = np.sqrt(radius**2 - offset**2).astype(np.int64) if isotropic else radius - np.abs(offset)
        y = (self.y[:, np.newaxis] + offset).reshape(-1)
        x0 = np.maximum(self.x0[:, np.newaxis] - reach, 0).reshape(-1)
        x1 = np.minimum(self.x1[:, np.newaxis] + reach, self.shape[1]).reshape(-1)
        label = np.repeat(self.label, offset.size)
        inside = (y >= 0) & (y < self.shape[0])
        group = np.zeros_like(label) if combined else label
        group, y, x0, x1 = _merged(group[inside], y[inside], x0[inside], x1[inside])
        if combined:
            return self._labelled(y, x0, x1, self.shape, self.xy0)
        return FootprintSet(y, x0, x1, group, self.count, self.shape, self.xy0)


def growRadius(nSigma: float, sigma: float) -> int:
    """Return the whole number of pixels nearest to `nSigma` times a PSF's width `sigma` (pixels)."""
    return int(nSigma * sigma + 0.5)


def _merged(group: IntArray, y: IntArray, x0: IntArray, x1: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return the disjoint runs that cover the given ones, per group, ordered by group, row and first column."""
    # One number in place of three keys; rows are few enough for it.
    height, width = int(y.max(initial=0)) + 1, int(x0.max(initial=0)) + 1
    order = np.argsort((group * height + y) * width + x0, kind="stable")
    group, y, x0, x1 = group[order], y[order], x0[order], x1[order]
    # A row of a group is a stretch of its own on one long line, where running maxima tell what is covered already.
    isNewRow = np.ones(y.size, dtype=bool)
    isNewRow[1:] = (np.diff(y) != 0) | (np.diff(group) != 0)
    shift = np.cumsum(isNewRow) * (int(x1.max(initial=0)) + 1)
    covered = np.maximum.accumulate(x1 + shift)
    isStart = isNewRow.copy()
    isStart[1:] |= (x0 + shift)[1:] > covered[:-1]
    start = np.flatnonzero(isStart)
    last = np.append(start[1:], y.size) - 1
    return group[start], y[start], x0[start], (covered - shift)[last] if y.size else x1


def _connectedRuns(y: IntArray, x0: IntArray, x1: IntArray, width: int) -> IntArray:
    """Return the group, numbered in order of first appearance, of each of n runs ordered by row and column."""
    n = y.size
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    # Runs of the next row that touch: they end at or after the column before, and begin at or before the one after.
    line = y * (width + 2)
    low = np.searchsorted(line + x1, line + (width + 2) + x0, "left")
    high = np.searchsorted(line + x0, line + (width + 2) + x1, "right")
    number = np.maximum(high - low, 0)
    upper = np.repeat(np.arange(n), number)
    lower = np.arange(upper.size) - np.repeat(np.cumsum(number) - number, number) + np.repeat(low, number)
    root = np.arange(n)
    while True:
        least = np.minimum(root[upper], root[lower])
        before = root.copy()
        # The smaller root becomes the parent of the larger one, then every path is cut short.
        np.minimum.at(root, before[upper], least)
        np.minimum.at(root, before[lower], least)
        while not np.array_equal(root, shorter := root[root]):
            root = shorter
        if np.array_equal(root, before):
            return np.asarray(np.unique(root, return_inverse=True)[1])
