"""What the uncertainty of the fitted kernel does to the difference: a systematic error near bright stars.

The matched image is ``sum_is a_is f_s(x) (B_i (*) T)(x)``; with C the covariance of the a_is and g their factors, its
variance for that reason is ``g^T C g``. All pixels of a star err together: the plane tells how far a residual there
can be trusted, and does not average out as noise does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from psfmatch.errors import InputImagesError
from psfmatch.exposure import MaskedImage
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.noise.cellGrid import CellGrid, measureCells
from psfmatch.noise.covariance import composed
from psfmatch.strips import mapStrips
from psfmatch.threads import resolveThreads

__all__ = ["kernelUncertaintyPlane"]

FloatArray = npt.NDArray[np.float64]

TILE_PIX = 32
"""Side of the tiles that are computed or left zero, pixels."""
BLOCK_PIX = 8
"""Side of the blocks in which light near a tile is summed."""
BRIGHT_SIGMA = 5.0
"""Pixels of the image above this many standard deviations of its noise count when tiles are chosen."""
N_EXAMPLES = 8
"""Brightest tiles, on which the errors of the kernel are judged."""
N_PEAKS = 32
"""Pixels of each example on which the largest error is looked for."""
SAFETY = 4.0
"""By how much the variance of a source may exceed that of the median example, at equal light."""
LOST_VARIANCE = 0.01
"""Share of the variance of the examples that the eigenvectors left out may hold."""
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
        Tiles of 32 pixels in which the term does not exceed this share of the variance, judged by their light and by
        what the kernel's errors make of the brightest sources, are zero.
    badPlanes
        Planes whose pixels of `convolved` do not count.
    threads
        Number of threads; the result does not depend on it.

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
    sides = np.array(kernel.shape) + (0 if correction is None else np.array(correction.shape) - 1)
    half = int(sides.max()) // 2
    tiles = _Tiles(convolved, tuple(badPlanes), half, resolveThreads(threads))
    blocks = tiles.brightLight()
    nBlocks = TILE_PIX // BLOCK_PIX
    light = blocks.reshape(tiles.count[0], nBlocks, tiles.count[1], nBlocks).sum(axis=(1, 3))
    plane = np.zeros(tiles.count * np.array(TILE_PIX), dtype=np.float32)
    brightest = np.argsort(-light, axis=None)[:N_EXAMPLES]
    examples = [divmod(int(number), light.shape[1]) for number in brightest if light.flat[number] > 0.0]
    if not examples:
        return np.zeros(convolved.shape, dtype=np.float32)
    errors = _KernelErrors(kernel, correction, [tiles.stamp(*tile) for tile in examples])
    reach = -(-half // BLOCK_PIX)

    def compute(strip: slice) -> None:
        for tile in itertools.product(range(strip.start, strip.stop), range(light.shape[1])):
            around = (slice(max(0, n * nBlocks - reach), (n + 1) * nBlocks + reach) for n in tile)
            near = float(blocks[tuple(around)].sum())
            rows, columns = (slice(index * TILE_PIX, (index + 1) * TILE_PIX) for index in tile)
            own = variance[rows, columns]
            quietest = float(np.min(own, where=own > 0.0, initial=np.inf)) * scale**2
            if near > 0.0 and errors.perLight(*tiles.centre(*tile)) * near > minShare * quietest:
                images = errors.imagesAt(*tiles.centre(*tile))
                plane[rows, columns] = (_through(tiles.stamp(*tile), images) ** 2).sum(axis=0) / scale**2

    # By rows of tiles, of so many pixels each.
    mapStrips(compute, (light.shape[0], TILE_PIX * convolved.width), threads)
    return np.ascontiguousarray(plane[: convolved.height, : convolved.width])


class _KernelErrors:
    """The independent ways in which a kernel may be wrong, as images, at any place.

    They are judged by what they do to examples of the image's light: a kernel may err wildly at frequencies that no
    source has.
    """

    def __init__(
        self,
        kernel: LinearCombinationKernel,
        correction: LinearCombinationKernel | None,
        stamps: list[npt.NDArray[np.float32]],
    ) -> None:
        self._kernel, self._correction, self._basis = kernel, correction, kernel.basis
        seen = [_through(stamp, self._basis) / np.sqrt(np.sum(stamp.astype(np.float64) ** 2)) for stamp in stamps]
        pixels = [images.reshape(len(images), -1) for images in seen]
        self._triangle: FloatArray = np.linalg.qr(np.concatenate(pixels, axis=1).T)[1]
        # Where much of anything comes through, the largest error is found.
        self._peaks = [part[:, np.argsort(-(part**2).sum(axis=0))[:N_PEAKS]] for part in pixels]

    def perLight(self, x: float, y: float) -> float:
        """Return the largest variance of a source at (x, y), parent pixels, per sum of its squared light.

        It is that of the usual source, on the safe side; those with a hole in the middle for being saturated, where
        more may come through, are bright enough to be found all the same.
        """
        covariance = self._kernel.coefficientCovariance(x, y)
        largest = float(np.median([np.einsum("ip,ip->p", covariance @ part, part).max() for part in self._peaks]))
        if self._correction is None:
            return SAFETY * largest
        gain = float(np.abs(np.fft.rfft2(self._correction.computeImage(x, y), s=(64, 64))).max())
        return SAFETY * gain**2 * largest

    def imagesAt(self, x: float, y: float) -> FloatArray:
        """Return images (r, h, w) whose correlations with the light, squared, add up to the variance at (x, y).

        With the eigenvectors e and values of R C R^T, R^T R the products of what the basis makes of the examples, the
        coefficients are C R^T e / sqrt(value); all of them together give C.
        """
        covariance = self._kernel.coefficientCovariance(x, y)
        half = covariance @ self._triangle.T
        values, vectors = np.linalg.eigh(self._triangle @ half)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        count = int(np.searchsorted(np.cumsum(values), (1.0 - LOST_VARIANCE) * values.sum())) + 1
        values = np.maximum(values[:count], np.finfo(np.float64).tiny)
        coefficients = half @ vectors[:, :count] / np.sqrt(values)
        images: FloatArray = np.tensordot(coefficients.T, self._basis, axes=1)
        return images if self._correction is None else composed(images, self._correction.computeImage(x, y))


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
        """Return the sum of the squares of all bright pixels in blocks of each tile, the sky taken off."""
        nBlocks = TILE_PIX // BLOCK_PIX
        light = np.zeros((self.count[0], nBlocks, self.count[1], nBlocks))
        for row, column in np.ndindex(*self.count):
            pixels = self._without(row, column, 0)
            pixels[pixels <= BRIGHT_SIGMA * self._at(self._noise, row, column) ** 0.5] = 0.0
            squares = (pixels.astype(np.float64) ** 2).reshape(nBlocks, BLOCK_PIX, nBlocks, BLOCK_PIX)
            light[row, :, column, :] = squares.sum(axis=(1, 3))
        return light.reshape(nBlocks * self.count[0], nBlocks * self.count[1])

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


def _through(stamp: npt.NDArray[np.float32], images: FloatArray) -> FloatArray:
    """Return the correlations (r, tile, tile) of a tile, a stamp with a margin about it, with images (r, h, w)."""
    side = stamp.shape[0]
    size = -(-side // 16) * 16
    spectra = np.conj(np.fft.rfft2(images, s=(size, size)))
    through = np.fft.irfft2(np.fft.rfft2(stamp, s=(size, size)) * spectra, s=(size, size))
    margin = (side - TILE_PIX) // 2
    top, left = (margin - length // 2 for length in images.shape[1:])
    return np.asarray(through[:, top : top + TILE_PIX, left : left + TILE_PIX])
