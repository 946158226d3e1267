"""The sky: clipped statistics in super-pixels of a coarse grid, and a smooth surface through them.

The surface is either a two-dimensional Chebyshev polynomial fitted to the grid, or piecewise cubic in x and y
(Akima 1970, J. ACM 17, 589; natural spline) or linear. Beyond the centres of the outer super-pixels interpolation goes
on straight. Pixels that are masked or not finite take no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import BackgroundOptions
from psfmatch.images import MaskedImage

if TYPE_CHECKING:
    from psfmatch.config import SubtractBackgroundConfig

__all__ = ["BackgroundGrid", "estimateBackground", "gridOfSamples", "measureBackground", "subtractBackground"]

FloatArray = npt.NDArray[np.float64]

MIN_GRID_PIX = 16
"""Images with a shorter side (pixels) have one value for the sky: a grid would follow their noise."""
SAMPLE_PIX = 1024
"""Pixels of a super-pixel, about, that its statistic is made from, on a lattice, unless more are asked for: the error
is 3 % of the noise."""
LEVEL_STEP_PIX = 64
"""Distance, in pixels, of the places from which the level of the sky is told."""
MIN_POINTS = {"AKIMA_SPLINE": 5, "NATURAL_SPLINE": 3, "LINEAR": 2, "CONSTANT": 1}
"""Super-pixels along an axis that a way to interpolate needs, the best first."""


@dataclass(frozen=True)
class BackgroundGrid:
    """The sky in super-pixels, and how to go from there to pixels.

    values, variances : (ny, nx), image units; NaN where no pixel was good, edgesX (nx + 1,), edgesY (ny + 1,) :
    borders of the super-pixels, options : how to interpolate.
    """

    values: FloatArray
    variances: FloatArray
    edgesX: npt.NDArray[np.int64]
    edgesY: npt.NDArray[np.int64]
    options: BackgroundOptions

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return int(self.edgesY[-1]), int(self.edgesX[-1])

    def image(self) -> npt.NDArray[np.float32]:
        """Return the sky in every pixel, (h, w), image units.

        Raises
        ------
        ValueError
            If the grid is too coarse and ``undersampleStyle`` forbids to lower the order.
        """
        return -_core.subtractSurface(np.zeros(self.shape, dtype=np.float32), *self._factors())

    def subtractFrom(self, image: npt.NDArray[np.float32], threads: int = 1) -> npt.NDArray[np.float32]:
        """Return an image (h, w), which is not changed, without the sky; errors are those of `image`."""
        return _core.subtractSurface(image, *self._factors(), nThreads=threads)

    def level(self) -> float:
        """Return the median of the sky's size over the image, image units; errors are those of `image`."""
        return _core.skyLevel(*self._factors(), step=LEVEL_STEP_PIX)

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Return the sky at positions x and y (n,), array coordinates, image units."""
        return _core.skyAt(*self._superPixels(), np.asarray(x), np.asarray(y), **self._surface())

    def _factors(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return arrays (h, n) and (n, w) whose product is the sky in every pixel."""
        return _core.skySurface(*self._superPixels(), **self._surface())

    def _superPixels(self) -> tuple[FloatArray, FloatArray, list[int], list[int]]:
        return self.values, self.variances, self.edgesX.tolist(), self.edgesY.tolist()

    def _surface(self) -> dict[str, Any]:
        """Return what goes through the grid: a polynomial of total order n, or curves along x and y."""
        if self.options.useApprox or self.options.algorithm == "CONSTANT":
            return {"order": self._order(), "isWeighted": self.options.weighting}
        return {"alongX": self._curve(1), "alongY": self._curve(0)}

    def _curve(self, axis: int) -> _core.SkyCurve:
        """Return how to interpolate along an axis, given the number of super-pixels there."""
        count = self.values.shape[axis]
        wanted = self.options.algorithm
        if count < MIN_POINTS[wanted] and self.options.undersampleStyle == "THROW_EXCEPTION":
            raise ValueError(f"algorithm {wanted} needs {MIN_POINTS[wanted]} super-pixels along each axis, not {count}")
        possible = (style for style, least in MIN_POINTS.items() if count >= least)
        return _core.SkyCurve[wanted if count >= MIN_POINTS[wanted] else next(possible)]

    def _order(self) -> int:
        order = int(self.options.approxOrderX) if self.options.useApprox else 0
        if min(self.values.shape) > order:
            return order
        if self.options.undersampleStyle == "THROW_EXCEPTION":
            raise ValueError(
                f"approxOrderX={order} needs more than {order} super-pixels along each axis, not "
                f"{min(self.values.shape)}"
            )
        return int(min(self.values.shape)) - 1


def estimateBackground(
    maskedImage: MaskedImage,
    config: SubtractBackgroundConfig | BackgroundOptions,
    planes: Iterable[str] = (),
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Return a smooth model of the sky, (h, w) in image units.

    Parameters
    ----------
    maskedImage
        Image, not changed.
    config
        Or the options read from it. All of its fields count; algorithm NONE gives zero everywhere.
    planes
        Mask planes whose pixels are left out, besides those of ``ignoredPixelMask``.
    threads
        Number of threads.

    Raises
    ------
    ValueError
        If there is no good pixel, or the grid is too coarse for the order under THROW_EXCEPTION.
    """
    options = BackgroundOptions.fromConfig(config)
    if options.algorithm == "NONE":
        return np.zeros(maskedImage.shape, dtype=np.float32)
    return measureBackground(maskedImage, options, planes, threads).image()


def subtractBackground(
    maskedImage: MaskedImage,
    config: SubtractBackgroundConfig | BackgroundOptions,
    planes: Iterable[str] = (),
    threads: int = 1,
    samplePixels: float = SAMPLE_PIX,
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the pixels without their sky, (h, w), and the sky's level; image units.

    Parameters and errors are those of `measureBackground`. The pixels are the image's own where nothing is taken off.
    """
    options = BackgroundOptions.fromConfig(config)
    if options.algorithm == "NONE":
        return maskedImage.image, 0.0
    grid = measureBackground(maskedImage, options, planes, threads, samplePixels)
    return grid.subtractFrom(maskedImage.image, threads), grid.level()


def measureBackground(
    maskedImage: MaskedImage,
    config: SubtractBackgroundConfig | BackgroundOptions,
    planes: Iterable[str] = (),
    threads: int = 1,
    samplePixels: float = SAMPLE_PIX,
) -> BackgroundGrid:
    """Measure the sky in super-pixels.

    Parameters and errors are those of `estimateBackground`; ``samplePixels``, which may be infinite, are about as many
    as the statistic of a super-pixel is made from.
    """
    options = BackgroundOptions.fromConfig(config)
    height, width = maskedImage.shape
    edgesX, edgesY = _edges(width, height, options)
    nx, ny = edgesX.size - 1, edgesY.size - 1
    step = max(1, round(math.sqrt(width / nx * height / ny / samplePixels)))
    return _gridOf(
        edgesX,
        edgesY,
        options,
        _core.superPixelStatistics(
            maskedImage.image,
            maskedImage.variance,
            np.asarray(maskedImage.mask),
            maskedImage.mask.getPlaneBitMask((*options.ignoredPixelMask, *planes), ignoreMissing=True),
            edgesX=edgesX.tolist(),
            edgesY=edgesY.tolist(),
            # A step leaves every super-pixel, however narrow, a column and a row.
            stepX=min(step, max(1, width // nx)),
            stepY=min(step, max(1, height // ny)),
            statistic=_core.SuperPixelStatistic[options.statisticsProperty],
            nThreads=threads,
        ),
    )


def gridOfSamples(
    samples: npt.NDArray[np.float32],
    shape: tuple[int, int],
    steps: tuple[int, int],
    config: SubtractBackgroundConfig | BackgroundOptions,
    threads: int = 1,
) -> BackgroundGrid:
    """Measure the sky of an image in super-pixels, from pixels of a lattice.

    Parameters
    ----------
    samples
        Pixels in every ``steps[0]``-th row and every ``steps[1]``-th column, the first half a step from the border;
        those that are not finite are left out.
    shape
        Height and width of the image.
    steps
        Distances of the samples along y and x, in pixels.
    config
        Size of the super-pixels and statistic; or the options read from it.
    threads
        Number of threads.

    Raises
    ------
    ValueError
        If no sample is finite.
    """
    options = BackgroundOptions.fromConfig(config)
    edgesX, edgesY = _edges(shape[1], shape[0], options)
    inSamples = [
        np.clip(-(-(edges - step // 2) // step), 0, size).tolist()
        for edges, step, size in zip((edgesY, edgesX), steps, samples.shape, strict=True)
    ]
    return _gridOf(
        edgesX,
        edgesY,
        options,
        _core.superPixelStatistics(
            samples,
            edgesY=inSamples[0],
            edgesX=inSamples[1],
            statistic=_core.SuperPixelStatistic[options.statisticsProperty],
            nThreads=threads,
        ),
    )


def _gridOf(
    edgesX: npt.NDArray[np.int64],
    edgesY: npt.NDArray[np.int64],
    options: BackgroundOptions,
    statistics: tuple[FloatArray, FloatArray],
) -> BackgroundGrid:
    if not np.isfinite(statistics[0]).any():
        raise ValueError("no good pixel to estimate a background from")
    return BackgroundGrid(*statistics, edgesX, edgesY, options)


def _edges(width: int, height: int, options: BackgroundOptions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the borders of the super-pixels along x (nx + 1,) and y (ny + 1,)."""
    nx, ny = _gridSize(width, height, options)
    return (
        np.linspace(0, width, nx + 1).round().astype(np.int64),
        np.linspace(0, height, ny + 1).round().astype(np.int64),
    )


def _gridSize(width: int, height: int, options: BackgroundOptions) -> tuple[int, int]:
    """Return the number of super-pixels along x and y."""
    if min(width, height) < MIN_GRID_PIX:
        return 1, 1
    nx, ny = width // (options.binSizeX or options.binSize) + 1, height // (options.binSizeY or options.binSize) + 1
    if options.undersampleStyle == "INCREASE_NXNYSAMPLE":
        least = options.approxOrderX + 1 if options.useApprox else MIN_POINTS[options.algorithm]
        nx, ny = max(nx, least), max(ny, least)
    return min(nx, width), min(ny, height)
