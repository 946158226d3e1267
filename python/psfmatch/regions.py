"""Regions of the images whose pixels all enter the fit of the kernel, each with a weight of its own.

A region is a kernel candidate like a star's stamp, of one shape for all: around stars, or tiles of a regular grid
over all good pixels. Pixels are rejected, not regions: where the residual, smoothed over five pixels, stands out
among pixels of like predicted signal, six pixels around are left out, and judged afresh after the next solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate, SpatialCellSet
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.exposure import Box, MaskedImage
from psfmatch.visitors import fitControl, stampPairs

__all__ = ["PixelRegions", "Residuals", "findOutliers", "makeRegions", "regionCentres", "robustSpread"]

FloatArray = npt.NDArray[np.float64]
PixelStack = npt.NDArray[np.float32]
BoolStack = npt.NDArray[np.bool_]

SMOOTHING = 5
"""Side (pixels) of the box over which residuals are smoothed: about the core of a star."""
SIGNAL_CLASSES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Borders of the classes of predicted signal, in standard deviations of a pixel."""
MIN_CLASS_REGIONS = 4
"""Pixels of fewer regions do not tell what is usual: a star's own misfit would be its measure."""
MIN_CLASS_PIXELS = 40
MAX_SPREAD_PIXELS = 200_000
"""Pixels from which a spread is measured: enough for 0.3 %."""


def regionCentres(
    template: MaskedImage, science: MaskedImage, config: Any, kernelSize: int, sources: Any = None
) -> npt.NDArray[np.int64]:
    """Return the middle pixels (N, 2), x and y in parent pixels, of the regions that the configuration asks for.

    Parameters
    ----------
    template, science
        The image to convolve and the image to match, on one grid.
    config
        Active kernel configuration: ``regionConfig``.
    kernelSize
        Side of the kernel in pixels: regions keep half of it from the edges.
    sources
        Table with x and y, most useful first, for the layout "stars".

    Raises
    ------
    NoKernelCandidatesError
        If the images have no room for a region.
    """
    box = science.getBBox()
    half = config.regionConfig.halfWidth + kernelSize // 2
    if min(box.width, box.height) < 2 * half + 1:
        raise NoKernelCandidatesError(
            f"images of {box.width}x{box.height} pixels have no room for a region of {2 * half + 1} pixels, kernel "
            f"of {kernelSize} included; use larger images, a smaller kernelSize or regionConfig.halfWidth",
            nSources=0,
        )
    if config.regionConfig.layout == "tiles":
        centres = _tileCentres(template, science, config, half)
    else:
        x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
        inside = box.contains(x, y)
        centres = np.floor(np.stack([x, y], axis=1)[inside] + 0.5).astype(np.int64)
        low = np.array([box.x0 + half, box.y0 + half])
        high = np.array([box.x1 - 1 - half, box.y1 - 1 - half])
        # A star near the edge stays inside its region, if not in the middle.
        centres = np.clip(centres, low, high)
        centres = centres[np.sort(np.unique(centres, axis=0, return_index=True)[1])]
    return centres[: config.regionConfig.maxRegions]


def _tileCentres(template: MaskedImage, science: MaskedImage, config: Any, half: int) -> npt.NDArray[np.int64]:
    """Return the middles of tiles side by side, those with most light first if there are too many.

    Of a field with more tiles than ``regionConfig.maxRegions`` a tenth of them are spread evenly, for the background.
    """
    box = science.getBBox()
    side = 2 * config.regionConfig.halfWidth + 1
    middles = []
    for low, length in ((box.x0 + half, box.width), (box.y0 + half, box.height)):
        count = max(1, (length - 2 * half - 1) // side + 1)
        middles.append(low + np.round(np.linspace(0, length - 2 * half - 1, count)).astype(np.int64))
    centres = np.array([(x, y) for y in middles[1] for x in middles[0]])
    light = np.array([_light(template, x, y, config.regionConfig.halfWidth) for x, y in centres])
    centres, light = centres[np.isfinite(light)], light[np.isfinite(light)]
    if len(centres) <= config.regionConfig.maxRegions:
        return centres[np.argsort(-light, kind="stable")]
    nEven = config.regionConfig.maxRegions // 10
    even = np.unique(np.linspace(0, len(centres) - 1, nEven).astype(np.int64))
    others = np.setdiff1d(np.arange(len(centres)), even)
    brightest = others[np.argsort(-light[others], kind="stable")][: config.regionConfig.maxRegions - even.size]
    return np.concatenate([centres[even], centres[brightest]])


def _light(image: MaskedImage, x: int, y: int, half: int) -> float:
    """Return how far the bright pixels of a region stand above its others, in sigma; NaN if it has none."""
    part = image.subset(Box(int(x) - half, int(y) - half, 2 * half + 1, 2 * half + 1))
    pixels, variance = part.image[::2, ::2], part.variance[::2, ::2]
    good = np.isfinite(pixels) & np.isfinite(variance)
    if good.sum() < 16:
        return float("nan")
    low, high = np.partition(pixels[good], [good.sum() // 2, int(0.98 * good.sum())])[
        [good.sum() // 2, int(0.98 * good.sum())]
    ]
    noise = float(np.sqrt(max(float(np.median(variance[good])), 0.0)))
    return float(high - low) / noise if noise > 0.0 else float(high - low)


def makeRegions(
    template: MaskedImage,
    science: MaskedImage,
    config: Any,
    kernelSize: int,
    sources: Any = None,
) -> SpatialCellSet:
    """Cut regions out of both images, as views, and put them into cells; parameters as for `regionCentres`."""
    centres = regionCentres(template, science, config, kernelSize, sources)
    half = config.regionConfig.halfWidth + kernelSize // 2
    side = 2 * half + 1
    cellSet = SpatialCellSet(science.getBBox(), config.sizeCellX, config.sizeCellY)
    for rank, (x, y) in enumerate(centres.tolist()):
        box = Box(x - half, y - half, side, side)
        cellSet.insertCandidate(
            KernelCandidate(x, y, template.subset(box), science.subset(box), config, rating=-float(rank))
        )
    return cellSet


@dataclass(frozen=True, eq=False)
class PixelRegions:
    """The fitted pixels of all regions, (regions, h, w).

    stamps : as the core takes them; x, y : middles, parent pixels; science, scienceVariance, templateVariance (before
    it is convolved) : image units; usable : good in both images.
    """

    stamps: list[_core.StampPair]
    x: FloatArray
    y: FloatArray
    science: PixelStack
    scienceVariance: PixelStack
    templateVariance: PixelStack
    usable: BoolStack
    control: _core.CandidateFitControl
    threads: int

    @classmethod
    def ofCandidates(
        cls, candidates: Sequence[KernelCandidate], config: Any, kernelShape: tuple[int, int], threads: int
    ) -> PixelRegions:
        """Read the pixels of candidates whose stamps have one shape; others are a ValueError."""
        stamps = stampPairs(candidates, config)
        control = fitControl(config, 0)
        science, scienceVariance, templateVariance, usable = _core.readRegions(
            stamps, *kernelShape, control, nThreads=threads
        )
        total = scienceVariance + templateVariance
        usable &= np.isfinite(total) & (total > 0.0)
        return cls(
            stamps,
            np.array([c.x for c in candidates]),
            np.array([c.y for c in candidates]),
            science,
            scienceVariance,
            templateVariance,
            usable,
            control,
            threads,
        )

    def subset(self, chosen: npt.NDArray[np.int64]) -> PixelRegions:
        """Return some of the regions."""
        return PixelRegions(
            [self.stamps[i] for i in chosen.tolist()],
            self.x[chosen],
            self.y[chosen],
            self.science[chosen],
            self.scienceVariance[chosen],
            self.templateVariance[chosen],
            self.usable[chosen],
            self.control,
            self.threads,
        )

    def __len__(self) -> int:
        return len(self.stamps)

    def equations(self, basis: _core.PreparedBasis, weights: PixelStack) -> tuple[FloatArray, FloatArray]:
        """Return the normal equations, matrices (regions, m, m) and right-hand sides (regions, m)."""
        return _core.makeRegionEquations(self.stamps, basis, weights, self.control, nThreads=self.threads)

    def residuals(self, basisList: npt.ArrayLike, coefficients: FloatArray, backgrounds: FloatArray) -> Residuals:
        """Return what kernels (coefficients (regions, n)) and backgrounds (regions) leave of the science image."""
        model, modelVariance = _core.convolveRegions(
            self.stamps, basisList, coefficients, self.control, nThreads=self.threads
        )
        variance = self.scienceVariance + modelVariance
        usable = self.usable & (variance > 0.0)
        sigma = np.sqrt(np.where(usable, variance, np.float32(1)))
        residual = self.science - model - backgrounds[:, None, None].astype(np.float32)
        pull = np.where(usable, residual, np.float32(0)) / sigma
        sky = np.median(model.reshape(len(self), -1), axis=1)
        # In a crowd the median is light: no region's sky lies above most others'.
        sky = np.minimum(sky, np.median(sky) + 3.0 * robustSpread(sky))
        signal = (model - sky[:, None, None].astype(np.float32)) / sigma
        return Residuals(pull, signal, variance, usable)


@dataclass(frozen=True, eq=False)
class Residuals:
    """(regions, h, w) each. pull : residual / sigma, 0 where not usable; signal : predicted light / sigma of a pixel;
    variance : of the difference; usable : pixels that count.
    """

    pull: PixelStack
    signal: PixelStack
    variance: PixelStack
    usable: BoolStack


def robustSpread(values: npt.NDArray[Any]) -> float:
    """Return 1.4826 times the median absolute deviation from the median of at most 200 000 values, evenly taken."""
    if not values.size:
        return float("nan")
    taken = values[:: max(1, values.size // MAX_SPREAD_PIXELS)]
    return 1.4826 * float(np.median(np.abs(taken - np.median(taken))))


def findOutliers(residuals: Residuals, threshold: float, growth: int) -> BoolStack:
    """Return the pixels that the model cannot explain, with their surroundings.

    Parameters
    ----------
    residuals
        Of a model that has not seen the region, so that an outlier cannot hide by being fitted.
    threshold
        In units of the spread of the smoothed residual among pixels of like signal, and never less in sigma: where
        no model is perfect, bright stars must not be rejected for it. A class of few regions takes the spread of
        the class below, in proportion to its signal.
    growth
        Pixels.
    """
    smoothed = _boxSum(residuals.pull, SMOOTHING)
    smoothed /= np.sqrt(np.maximum(_boxSum(residuals.usable.astype(np.float32), SMOOTHING), 1))
    limit = np.full(smoothed.shape, threshold, dtype=np.float32)
    classes = np.searchsorted(np.array(SIGNAL_CLASSES, dtype=np.float32), residuals.signal.ravel())
    classes = np.where(residuals.usable.ravel(), classes, -1).reshape(smoothed.shape)
    spread, middle = 1.0, 1.0
    for number in range(len(SIGNAL_CLASSES) + 1):
        members = classes == number
        if not members.any():
            continue
        nRegions = int(members.any(axis=(1, 2)).sum())
        ownMiddle = float(np.median(residuals.signal[members]))
        if nRegions >= MIN_CLASS_REGIONS and int(members.sum()) >= MIN_CLASS_PIXELS:
            spread, middle = robustSpread(smoothed[members]), ownMiddle
            own = spread
        else:
            own = spread * max(1.0, ownMiddle / max(middle, 1.0))
        limit[members] = threshold * max(1.0, own)
    return grown(residuals.usable & (np.abs(smoothed) > limit), growth)


def _boxSum(values: PixelStack, side: int) -> PixelStack:
    """Return the sum over a box about every pixel; what lies outside counts as 0."""
    half = side // 2
    for axis in (1, 2):
        total = values.copy()
        for step in range(1, half + 1):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            total[tuple(behind)] += values[tuple(ahead)]
            total[tuple(ahead)] += values[tuple(behind)]
        values = total
    return values


def grown(flags: BoolStack, radius: int) -> BoolStack:
    """Return the flags grown by a square of `radius` pixels on every side, within their regions."""
    touched = np.flatnonzero(flags.any(axis=(1, 2)))
    result = flags.copy()
    if touched.size and radius > 0:
        result[touched] = _boxSum(flags[touched].astype(np.float32), 2 * radius + 1) > 0.5
    return result
