"""A PSF that varies over the field: images on a grid of positions, straight lines between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch.images.psfModels import normalizedImage

__all__ = ["GridPsf"]

FloatArray = npt.NDArray[np.float64]


class GridPsf:
    """A PSF known at the nodes of a rectangular grid, interpolated bilinearly; constant beyond the outer nodes.

    Parameters
    ----------
    images : (ny, nx, h, w)
        Image of the PSF at every node, odd sides. A node that is NaN throughout is a gap: near it the PSF is not known.
    x, y : (nx,), (ny,)
        Positions of the nodes in parent pixels, increasing.

    Raises
    ------
    ValueError
        If shapes or order do not fit, an image cannot be one of a PSF, or no node is known.
    """

    def __init__(self, images: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
        pixels = np.array(images, dtype=np.float64)
        self._x, self._y = np.array(x, dtype=np.float64, ndmin=1), np.array(y, dtype=np.float64, ndmin=1)
        if pixels.ndim != 4 or pixels.shape[:2] != (self._y.size, self._x.size):
            raise ValueError(
                f"images of shape {pixels.shape} do not fit a grid of {self._x.size} x and {self._y.size} y positions: "
                "they must be (ny, nx, height, width)"
            )
        if not all(np.isfinite(nodes).all() and (np.diff(nodes) > 0.0).all() for nodes in (self._x, self._y)):
            raise ValueError("the positions of the nodes must be finite and increase")
        self._known = np.asarray(~np.isnan(pixels).all(axis=(2, 3)))
        if not self._known.any():
            raise ValueError("a PSF must be known at one node at least")
        for node in np.argwhere(self._known):
            pixels[tuple(node)] = normalizedImage(pixels[tuple(node)])
        self._images = pixels

    @property
    def images(self) -> FloatArray:
        """Images of the nodes, (ny, nx, h, w), each with sum 1; a copy."""
        return self._images.copy()

    @property
    def x(self) -> FloatArray:
        """Positions of the columns of nodes, (nx,), parent pixels; a copy."""
        return self._x.copy()

    @property
    def y(self) -> FloatArray:
        """Positions of the rows of nodes, (ny,), parent pixels; a copy."""
        return self._y.copy()

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), with sum 1; ValueError where a node that counts is a gap."""
        image = np.zeros(self._images.shape[2:])
        for row, weightY in _weights(self._y, y):
            for column, weightX in _weights(self._x, x):
                if not self._known[row, column]:
                    raise ValueError(f"the PSF is not known at ({x:.1f}, {y:.1f}): the grid has a gap there")
                image += weightY * weightX * self._images[row, column]
        return image

    def getAveragePosition(self) -> tuple[float, float]:
        """Return the mean position of the known nodes."""
        rows, columns = np.nonzero(self._known)
        return float(self._x[columns].mean()), float(self._y[rows].mean())


def _weights(nodes: FloatArray, position: float) -> list[tuple[int, float]]:
    """Return the nodes beside a position that count there, with their weights."""
    place = float(np.interp(position, nodes, np.arange(nodes.size)))
    low = min(int(place), nodes.size - 1)
    fraction = place - low
    return [(low, 1.0)] if fraction == 0.0 else [(low, 1.0 - fraction), (low + 1, fraction)]
