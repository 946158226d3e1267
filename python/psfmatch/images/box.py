"""A rectangle of whole pixels in parent coordinates."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box"]


@dataclass(frozen=True)
class Box:
    """Rectangle of pixels; pixel centres have whole coordinates.

    Parameters
    ----------
    x0, y0 : `int`
        First pixel, parent coordinates.
    width, height : `int`
        Size in pixels; 0 makes an empty box.

    Raises
    ------
    ValueError
        If width or height is negative.
    TypeError
        If a value is not whole.
    """

    x0: int
    y0: int
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "width", "height"):
            value = getattr(self, name)
            if type(value) is not int:
                object.__setattr__(self, name, operator.index(value))
        if self.width < 0 or self.height < 0:
            raise ValueError(f"a box of {self.width}x{self.height} pixels has a negative size")

    @property
    def x1(self) -> int:
        """One beyond the last pixel in x."""
        return self.x0 + self.width

    @property
    def y1(self) -> int:
        """One beyond the last pixel in y."""
        return self.y0 + self.height

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (h, w) of an array that fills the box."""
        return self.height, self.width

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) of the pixel area, parent coordinates."""
        return self.x0 + (self.width - 1) / 2, self.y0 + (self.height - 1) / 2

    @property
    def isEmpty(self) -> bool:
        """Whether the box holds no pixel."""
        return self.width == 0 or self.height == 0

    @overload
    def contains(self, x: float, y: float) -> bool: ...
    @overload
    def contains(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.bool_]: ...
    def contains(self, x: float | NDArray[np.floating], y: float | NDArray[np.floating]) -> bool | NDArray[np.bool_]:
        """Whether the pixel nearest to a position lies in the box.

        Parameters
        ----------
        x, y : `float` or `numpy.ndarray`
            Parent position, pixels; the nearest pixel is floor(v + 0.5). NaN lies nowhere.

        Returns
        -------
        inside : `bool` or `numpy.ndarray` of `bool`
            Of the shape of the arguments.
        """
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            column, row = np.floor(np.asarray(x) + 0.5), np.floor(np.asarray(y) + 0.5)
            inside = (column >= self.x0) & (column < self.x1) & (row >= self.y0) & (row < self.y1)
            return np.asarray(inside, dtype=np.bool_)
        if not (math.isfinite(x) and math.isfinite(y)):
            return False
        return self.x0 <= math.floor(x + 0.5) < self.x1 and self.y0 <= math.floor(y + 0.5) < self.y1

    def containsBox(self, other: Box) -> bool:
        """Whether the whole of another box lies in this one."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and other.x1 <= self.x1 and other.y1 <= self.y1

    def intersection(self, other: Box) -> Box:
        """Pixels in both boxes; an empty box where there are none."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, y0, max(0, min(self.x1, other.x1) - x0), max(0, min(self.y1, other.y1) - y0))

    def grown(self, n: int) -> Box:
        """A box with ``n`` more pixels on each side; negative ``n`` shrinks, down to an empty box."""
        return Box(self.x0 - n, self.y0 - n, max(0, self.width + 2 * n), max(0, self.height + 2 * n))

    def shrunk(self, n: int) -> Box:
        """A box with ``n`` fewer pixels on each side, down to an empty box."""
        return self.grown(-n)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} pixels from ({self.x0}, {self.y0})"
