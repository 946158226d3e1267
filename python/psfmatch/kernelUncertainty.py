"""What the uncertainty of the fitted kernel does to the difference: a systematic error near bright stars.

The matched image is ``sum_is a_is f_s(x) (B_i (*) T)(x)``; with C the covariance of the a_is and g their factors, its
variance for that reason is ``g^T C g``. All pixels of a star err together: the plane tells how far a residual there
can be trusted, and does not average out as noise does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.cellGrid import CellGrid, measureCells
from psfmatch.covariance import composed
from psfmatch.errors import InputImagesError
from psfmatch.exposure import MaskedImage
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.threads import resolveThreads

__all__ = ["kernelUncertaintyPlane"]

FloatArray = npt.NDArray[np.float64]

TILE_PIX = 32
"""Side of the tiles that are computed or left zero, pixels."""
BRIGHT_SIGMA = 5.0
"""Pixels of the template above this many standard deviations of its noise count when tiles are chosen."""
LOST_VARIANCE = 0.01
"""Share of the kernel's variance that the eigenvectors left out may hold."""
BAD_PLANES = ("BAD", "SAT", "CR", "EDGE", "NO_DATA")


def kernelUncertaintyPlane(
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    variance: npt.NDArray[np.float32],
    *,
    correction: LinearCombinationKernel | None = None,
    scale: float = 1.0,
    minShare: float = 0.01,
    badPlanes: Iterable[str] = BAD_PLANES,
    threads: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return the variance of the difference that comes from the uncertainty of the kernel.

    Parameters
    ----------
    kernel
        With a covariance: fitted with ``calculateKernelUncertainty``.
    convolved
        The image that the kernel is applied to, before it is. Its sky is taken off first: its product with the error of
        the kernel sum is made up for by the differential background that is fitted along with the kernel.
    variance : (ny, nx)
        Variance plane of the difference, to tell where the kernel matters.
    correction
        Kernel of the decorrelation, if the plane is for a decorrelated difference.
    scale
        What the difference was divided by: the kernel sum at the image's centre for a convolved science image.
    minShare
        Tiles of 32 pixels in which the term cannot exceed this share of the variance are zero.
    badPlanes
        Planes whose pixels of `convolved` do not count.
    threads
        Number of threads for the statistics; the result does not depend on it.

    Returns
    -------
    plane : (ny, nx) float32
        Image units squared.

    Raises
    ------
    ValueError
        If the kernel has no covariance, or minShare is negative.
    InputImagesError
        If the shapes differ.
    """
    if kernel.covariance is None:
        raise ValueError("the kernel has no covariance; set calculateKernelUncertainty before it is fitted")
    if not minShare >= 0.0:
        raise ValueError(f"minShare is {minShare}: it must be at least 0")
    if variance.shape != convolved.shape:
        raise InputImagesError(
            f"a variance of shape {variance.shape} does not belong to an image of shape {convolved.shape}",
            shape=convolved.shape,
            otherShape=variance.shape,
        )
    errors = _KernelErrors(kernel, correction)
    tiles = _Tiles(convolved, tuple(badPlanes), errors.half, resolveThreads(threads))
    reach = -(-errors.half // TILE_PIX)
    plane = np.zeros(tiles.count * np.array(TILE_PIX), dtype=np.float32)
    light = tiles.brightLight()
    for tile in np.ndindex(*light.shape):
        near = float(light[tuple(slice(max(0, index - reach), index + reach + 1) for index in tile)].sum())
        if near == 0.0:
            continue
        rows, columns = (slice(index * TILE_PIX, (index + 1) * TILE_PIX) for index in tile)
        own = variance[rows, columns]
        quietest = float(np.min(own, where=own > 0.0, initial=np.inf)) * scale**2
        modes = errors.at(*tiles.centre(*tile))
        # No convolution exceeds the norm of the kernel times that of the light under it.
        if modes.power * near > minShare * quietest:
            plane[rows, columns] = _sumOfSquares(tiles.stamp(*tile), modes.images()) / scale**2
    return np.ascontiguousarray(plane[: convolved.height, : convolved.width])


class _KernelErrors:
    """The independent ways in which a kernel may be wrong, as images, at any place."""

    def __init__(self, kernel: LinearCombinationKernel, correction: LinearCombinationKernel | None) -> None:
        self._kernel, self._correction = kernel, correction
        # In an orthonormal basis the eigenvalues are variances of kernel pixels.
        self._orthonormal, self._triangle = np.linalg.qr(kernel.basis.reshape(len(kernel.basis), -1).T)
        sides = np.array(kernel.shape) + (0 if correction is None else np.array(correction.shape) - 1)
        self.half = int(sides.max()) // 2

    def at(self, x: float, y: float) -> _Modes:
        """Return the errors at (x, y), parent pixels."""
        covariance = self._triangle @ self._kernel.coefficientCovariance(x, y) @ self._triangle.T
        phi = None if self._correction is None else self._correction.computeImage(x, y)
        gain = 1.0 if phi is None else float(np.abs(np.fft.rfft2(phi, s=(64, 64))).max()) ** 2
        return _Modes(covariance, self._orthonormal, self._kernel.shape, phi, gain * float(np.trace(covariance)))


@dataclass(frozen=True)
class _Modes:
    """Covariance (n, n) of a kernel in an orthonormal basis (h w, n), and the correction that follows, if any.

    power : no less than the sum of the squares of all images.
    """

    covariance: FloatArray
    basis: FloatArray
    shape: tuple[int, int]
    phi: FloatArray | None
    power: float

    def images(self) -> FloatArray:
        """Return images (r, h, w) whose squares add up to the variance of the kernel, but for the smallest."""
        values, vectors = np.linalg.eigh(self.covariance)
        values = np.maximum(values[::-1], 0.0)
        count = int(np.searchsorted(np.cumsum(values), (1.0 - LOST_VARIANCE) * values.sum())) + 1
        modes = (self.basis @ vectors[:, ::-1][:, :count]) * np.sqrt(values[:count])
        images: FloatArray = modes.T.reshape(-1, *self.shape)
        return images if self.phi is None else composed(images, self.phi)


class _Tiles:
    """An image without its sky, in tiles."""

    def __init__(self, image: MaskedImage, badPlanes: tuple[str, ...], half: int, threads: int) -> None:
        self._image, self._half = image, half
        self.count = -(-np.array(image.shape) // TILE_PIX)
        self._sky = measureCells(image, image.image, badPlanes, threads)
        self._noise = measureCells(image, image.variance, badPlanes, threads, isVariance=True)
        # Bad pixels, and those beyond the border, are NaN until the sky is off.
        height, width = self.count * TILE_PIX + 2 * half
        self._pixels = np.full((height, width), np.nan, dtype=np.float32)
        inner = self._pixels[half : half + image.height, half : half + image.width]
        np.copyto(inner, image.image, where=~image.badPixels(badPlanes))

    def brightLight(self) -> FloatArray:
        """Return the sum of the squares of all bright pixels of each tile (ny, nx), the sky taken off."""
        light = np.zeros(tuple(self.count))
        for row, column in np.ndindex(*light.shape):
            pixels = self._without(row, column, 0)
            light[row, column] = np.sum(
                pixels**2, where=pixels > BRIGHT_SIGMA * self._at(self._noise, row, column) ** 0.5
            )
        return light

    def stamp(self, row: int, column: int) -> npt.NDArray[np.float32]:
        """Return a tile with a margin of half a kernel, without sky; 0 in bad pixels."""
        return self._without(row, column, self._half)

    def _without(self, row: int, column: int, margin: int) -> npt.NDArray[np.float32]:
        top, left = (index * TILE_PIX + self._half - margin for index in (row, column))
        side = TILE_PIX + 2 * margin
        pixels = self._pixels[top : top + side, left : left + side] - np.float32(self._at(self._sky, row, column))
        return np.nan_to_num(pixels, copy=False, nan=0.0)

    def _at(self, grid: CellGrid, row: int, column: int) -> float:
        """Return the value at the middle of a tile."""
        x, y = self.centre(row, column)
        return float(grid.at(np.array([x]), np.array([y]))[0])

    def centre(self, row: int, column: int) -> tuple[float, float]:
        """Return the middle (x, y) of a tile, parent pixels."""
        x, y = (corner + (index + 0.5) * TILE_PIX for corner, index in zip(self._image.xy0, (column, row), strict=True))
        return x - 0.5, y - 0.5


def _sumOfSquares(stamp: npt.NDArray[np.float32], images: FloatArray) -> FloatArray:
    """Return the sum of the squared correlations of a stamp with images (r, h, w), where half a stamp's margin fits."""
    side = stamp.shape[0]
    size = -(-side // 16) * 16
    spectra = np.conj(np.fft.rfft2(images, s=(size, size)))
    through = np.fft.irfft2(np.fft.rfft2(stamp, s=(size, size)) * spectra, s=(size, size))
    # A tap at the upper left of an image of (h, w) meets the stamp's corner in the margin's remainder.
    margin = (side - TILE_PIX) // 2
    top, left = (margin - length // 2 for length in images.shape[1:])
    part = through[:, top : top + TILE_PIX, left : left + TILE_PIX]
    squares: FloatArray = np.einsum("rij,rij->ij", part, part)
    return squares
