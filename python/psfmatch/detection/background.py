"""The sky: clipped statistics in super-pixels of a coarse grid, and a smooth surface through them.

The surface is either a two-dimensional Chebyshev polynomial fitted to the grid, or piecewise cubic in x and y
(Akima 1970, J. ACM 17, 589; natural spline) or linear. Beyond the centres of the outer super-pixels interpolation goes
on straight. Pixels that are masked or not finite take no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from psfmatch import _core
from psfmatch.config import BackgroundOptions
from psfmatch.exposure import MaskedImage

if TYPE_CHECKING:
    from psfmatch.config import SubtractBackgroundConfig

__all__ = ["BackgroundGrid", "estimateBackground", "gridOfSamples", "measureBackground", "subtractBackground"]

FloatArray = npt.NDArray[np.float64]

MIN_GRID_PIX = 16
"""Images with a shorter side (pixels) have one value for the sky: a grid would follow their noise."""
SAMPLE_PIX = 1024
"""Pixels of a super-pixel, about, that its statistic is made from, on a lattice: the error is 3 % of the noise."""
LEVEL_STEP_PIX = 64
"""Distance, in pixels, of the places from which the level of the sky is told."""
HOLE_WEIGHT = 1e-3
"""Weight in a fit of a super-pixel without a good pixel, which has its value from its neighbours."""
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
        rows, columns = self._factors()
        return rows @ columns

    def subtractFrom(self, image: npt.NDArray[np.float32], threads: int = 1) -> npt.NDArray[np.float32]:
        """Return an image (h, w), which is not changed, without the sky; errors are those of `image`."""
        return _core.subtractSurface(image, *self._factors(), nThreads=threads)

    def level(self) -> float:
        """Return the median of the sky's size over the image, image units; errors are those of `image`."""
        rows, columns = self._factors()
        return float(np.median(np.abs(rows[::LEVEL_STEP_PIX] @ columns[:, ::LEVEL_STEP_PIX])))

    def _factors(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return arrays (h, n) and (n, w) whose product is the sky in every pixel."""
        x, y = (np.arange(size, dtype=np.float64) for size in reversed(self.shape))
        if self._isFit():
            basisX, basisY, coefficients = self._fit(x, y)
            rows, columns = basisY @ coefficients, basisX
        else:
            values, slopes, valueX, slopeX = self._interpolation(x, y)
            rows, columns = np.hstack([values, slopes]), np.hstack([valueX, slopeX])
        return rows.astype(np.float32), np.ascontiguousarray(columns.T, dtype=np.float32)

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Return the sky at positions x and y (n,), array coordinates, image units."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if self._isFit():
            basisX, basisY, coefficients = self._fit(xs, ys)
            return np.asarray(((basisY @ coefficients) * basisX).sum(axis=1))
        rows, slopes, valueX, slopeX = self._interpolation(xs, ys)
        return np.asarray((rows * valueX).sum(axis=1) + (slopes * slopeX).sum(axis=1))

    def _isFit(self) -> bool:
        return bool(self.options.useApprox) or self.options.algorithm == "CONSTANT"

    def _interpolation(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return values and slopes (y.size, nx) at y in the columns of super-pixels, and their weights at x."""
        styleX, styleY = self._style(1), self._style(0)
        values = _filled(self.values)
        valueY, slopeY = _weights(self.edgesY, y, styleY)
        rows = valueY @ values + slopeY @ _slopes(values.T, _centres(self.edgesY), styleY).T
        return rows, _slopes(rows, _centres(self.edgesX), styleX), *_weights(self.edgesX, x, styleX)

    def _style(self, axis: int) -> str:
        """Return how to interpolate along an axis, given the number of super-pixels there."""
        count = self.values.shape[axis]
        wanted = self.options.algorithm
        if count >= MIN_POINTS[wanted]:
            return str(wanted)
        if self.options.undersampleStyle == "THROW_EXCEPTION":
            raise ValueError(f"algorithm {wanted} needs {MIN_POINTS[wanted]} super-pixels along each axis, not {count}")
        return next(style for style, least in MIN_POINTS.items() if count >= least)

    def _fit(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Fit Chebyshev polynomials of total order n; return those of x, of y, and the (n + 1, n + 1) coefficients."""
        order = self.options.approxOrderX if self.options.useApprox else 0
        if min(self.values.shape) <= order:
            if self.options.undersampleStyle == "THROW_EXCEPTION":
                raise ValueError(
                    f"approxOrderX={order} needs more than {order} super-pixels along each axis, not "
                    f"{min(self.values.shape)}"
                )
            order = min(self.values.shape) - 1
        height, width = self.shape
        gridX, gridY = (
            chebyshev.chebvander((2.0 * _centres(edges) + 1.0) / edges[-1] - 1.0, order)
            for edges in (self.edgesX, self.edgesY)
        )
        good = np.isfinite(self.values)
        values, weights = _filled(self.values), good.astype(np.float64)
        if self.options.weighting:
            # Without scatter in any super-pixel all count alike; else the few without it as the best of the others.
            positive = self.variances[good & (self.variances > 0.0)]
            if positive.size:
                weights[good] = 1.0 / np.maximum(self.variances[good], positive.min())
                weights /= weights.max()
        # A polynomial runs wild where nothing holds it.
        weights[~good] = HOLE_WEIGHT * weights[good].mean()
        # The sums over the grid factor into products along x and along y.
        n = order + 1
        pairsX = (gridX[:, :, np.newaxis] * gridX[:, np.newaxis, :]).reshape(-1, n * n)
        pairsY = (gridY[:, :, np.newaxis] * gridY[:, np.newaxis, :]).reshape(-1, n * n)
        matrix = (pairsY.T @ weights @ pairsX).reshape(n, n, n, n).transpose(0, 2, 1, 3).reshape(n * n, n * n)
        moments = (gridY.T @ (weights * values) @ gridX).reshape(n * n)
        isUsed = np.add.outer(np.arange(n), np.arange(n)).reshape(-1) <= order
        coefficients = np.zeros(n * n)
        coefficients[isUsed] = np.linalg.lstsq(matrix[np.ix_(isUsed, isUsed)], moments[isUsed], rcond=1e-12)[0]
        basisX = chebyshev.chebvander((2.0 * x + 1.0) / width - 1.0, order)
        basisY = chebyshev.chebvander((2.0 * y + 1.0) / height - 1.0, order)
        return np.asarray(basisX), np.asarray(basisY), coefficients.reshape(n, n)


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
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the pixels without their sky, (h, w), and the sky's level; image units.

    Parameters and errors are those of `estimateBackground`. The pixels are the image's own where nothing is taken off.
    """
    options = BackgroundOptions.fromConfig(config)
    if options.algorithm == "NONE":
        return maskedImage.image, 0.0
    grid = measureBackground(maskedImage, options, planes, threads)
    return grid.subtractFrom(maskedImage.image, threads), grid.level()


def measureBackground(
    maskedImage: MaskedImage,
    config: SubtractBackgroundConfig | BackgroundOptions,
    planes: Iterable[str] = (),
    threads: int = 1,
) -> BackgroundGrid:
    """Measure the sky in super-pixels; parameters and errors are those of `estimateBackground`."""
    options = BackgroundOptions.fromConfig(config)
    height, width = maskedImage.shape
    edgesX, edgesY = _edges(width, height, options)
    nx, ny = edgesX.size - 1, edgesY.size - 1
    step = max(1, round(math.sqrt(width / nx * height / ny / SAMPLE_PIX)))
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


def _centres(edges: npt.NDArray[np.int64]) -> FloatArray:
    """Return the centres of super-pixels in pixels."""
    return np.asarray(0.5 * (edges[:-1] + edges[1:]) - 0.5)


def _filled(values: FloatArray) -> FloatArray:
    """Give super-pixels without a value the mean of their neighbours that have one, from without inwards."""
    values = values.copy()
    while not (known := np.isfinite(values)).all():
        padded = np.pad(np.where(known, values, 0.0), 1)
        counts = np.pad(known.astype(np.float64), 1)
        window = [np.s_[j : j + values.shape[0], i : i + values.shape[1]] for j in range(3) for i in range(3)]
        count = sum(counts[part] for part in window)
        total = sum(padded[part] for part in window)
        fill = ~known & (count > 0.0)
        values[fill] = (total / np.maximum(count, 1.0))[fill]
    return values


def _weights(edges: npt.NDArray[np.int64], x: FloatArray, style: str) -> tuple[FloatArray, FloatArray]:
    """Return the weights (x.size, n) at x of the values and of the slopes at n centres: piecewise cubic or linear."""
    knots = _centres(edges)
    n = knots.size
    values, slopes = np.zeros((x.size, n)), np.zeros((x.size, n))
    if n == 1:
        values[:] = 1.0
        return values, slopes
    left = np.clip(np.searchsorted(knots, x, "right") - 1, 0, n - 2)
    step = knots[left + 1] - knots[left]
    row = np.arange(x.size)
    if style == "LINEAR":
        t = (x - knots[left]) / step
        values[row, left], values[row, left + 1] = 1.0 - t, t
        return values, slopes
    t = (np.clip(x, knots[0], knots[-1]) - knots[left]) / step
    values[row, left], values[row, left + 1] = (1.0 + 2.0 * t) * (1.0 - t) ** 2, t**2 * (3.0 - 2.0 * t)
    slopes[row, left], slopes[row, left + 1] = step * t * (1.0 - t) ** 2, step * t**2 * (t - 1.0)
    # Straight on beyond the ends.
    slopes[:, 0] += np.minimum(x - knots[0], 0.0)
    slopes[:, -1] += np.maximum(x - knots[-1], 0.0)
    return values, slopes


def _slopes(values: FloatArray, knots: FloatArray, style: str) -> FloatArray:
    """Return the slopes at n knots of curves through values (m, n)."""
    n = knots.size
    if n == 1 or style == "LINEAR":
        return np.zeros_like(values)
    step = np.diff(knots)
    secants = np.diff(values, axis=1) / step
    if style == "NATURAL_SPLINE":
        # Continuous second derivatives, zero at both ends.
        system, right = np.zeros((n, n)), np.zeros((n, len(values)))
        system[0, :2], right[0] = (2.0, 1.0), 3.0 * secants[:, 0]
        system[-1, -2:], right[-1] = (1.0, 2.0), 3.0 * secants[:, -1]
        for i in range(1, n - 1):
            system[i, i - 1 : i + 2] = 1.0 / step[i - 1], 2.0 / step[i - 1] + 2.0 / step[i], 1.0 / step[i]
            right[i] = 3.0 * (secants[:, i - 1] / step[i - 1] + secants[:, i] / step[i])
        return np.asarray(np.linalg.solve(system, right).T)
    # Akima: two more secants at each end, by parabolas.
    first = 2.0 * secants[:, :1] - secants[:, 1:2]
    last = 2.0 * secants[:, -1:] - secants[:, -2:-1]
    padded = np.hstack([2.0 * first - secants[:, :1], first, secants, last, 2.0 * last - secants[:, -1:]])
    before = np.abs(padded[:, 1 : n + 1] - padded[:, :n])
    after = np.abs(padded[:, 3:] - padded[:, 2:-1])
    total = before + after
    inner, outer = padded[:, 1 : n + 1], padded[:, 2 : n + 2]
    weight = np.divide(after, total, out=np.full_like(total, 0.5), where=total > 0.0)
    return np.asarray(weight * inner + (1.0 - weight) * outer)
