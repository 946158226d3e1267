"""Regions with their weights and equations while a fit goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import Box
from psfmatch.kernels.spatialFunction import coreFunction, frameOf
from psfmatch.regions.outliers import SMOOTHING, boxSum, findOutliers
from psfmatch.regions.pixels import BoolStack, PixelRegions, PixelStack, Residuals
from psfmatch.regions.system import RegionSystem, SpatialModel
from psfmatch.strips import mapStrips

__all__ = ["RegionState", "foldsOf"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

N_FOLDS = 8
FEW_REGIONS = 12
"""Up to so many regions are each withheld alone."""
FOLD_BLOCK = 128
"""Side (pixels) of the blocks that share a fold: neighbouring regions overlap and must not vouch for each other."""
VARIANCE_CHANGE = 0.05
"""Equations are made again where the variance of a pixel has changed by more than this part, or its rejection."""
TYPICAL_NOISE = 0.1
"""Sum of squares of a usual kernel of unit sum: the template's share of the variance before any kernel is known."""


class RegionState:
    """Regions with their weights and equations while a fit goes on.

    Parameters
    ----------
    regions
    basisList : (n, h, w)
    bbox
        The box over which kernel and background vary.
    modelType
        "chebyshev1" or "polynomial".
    kernelNorm
        Expected root of the sum of squares of the kernel.
    """

    def __init__(
        self, regions: PixelRegions, basisList: FloatArray, bbox: Box, modelType: str, kernelNorm: float
    ) -> None:
        self.regions = regions
        self.basisList = basisList
        self.modelType = modelType
        self.frame = frameOf(bbox)
        self.kernelNorm = kernelNorm
        self.folds = foldsOf(regions.x, regions.y)
        self.rejected: BoolStack = np.zeros_like(regions.usable)
        self._basis = _core.PreparedBasis(basisList)
        n = len(basisList) + 1
        self._matrices, self._sides = np.zeros((len(regions), n, n)), np.zeros((len(regions), n))
        self._weights: PixelStack = np.full_like(regions.science, -1)
        variance = np.empty_like(regions.science)

        def expect(part: slice) -> None:
            usable = regions.usable[part]
            count = np.maximum(boxSum(usable.astype(np.float32), SMOOTHING), np.float32(1))
            smooth = boxSum(np.where(usable, regions.scienceVariance[part], np.float32(0)), SMOOTHING) / count
            ours = np.where(usable, regions.templateVariance[part], np.float32(0))
            np.add(smooth, np.float32(TYPICAL_NOISE) * ours, out=variance[part])

        mapStrips(expect, variance.shape, regions.threads)
        self.setVariance(variance)

    def setVariance(self, variance: PixelStack) -> None:
        """Weigh the pixels by this variance (regions, h, w), but for those that are rejected."""
        self._variance = variance
        weights, isChanged = np.empty_like(self._weights), np.empty(len(self.regions), dtype=bool)

        def weigh(part: slice) -> None:
            usable = self.regions.usable[part] & ~self.rejected[part] & (variance[part] > 0.0)
            own, before = weights[part], self._weights[part]
            own[...] = np.where(usable, np.float32(1) / np.where(usable, variance[part], np.float32(1)), np.float32(0))
            change = (np.abs(own - before) > VARIANCE_CHANGE * own) | ((own == 0) != (before == 0))
            isChanged[part] = change.any(axis=(1, 2))

        mapStrips(weigh, weights.shape, self.regions.threads)
        changed = np.flatnonzero(isChanged)
        if changed.size:
            self._weights[changed] = weights[changed]
            part = self.regions if changed.size == len(self.regions) else self.regions.subset(changed)
            self._matrices[changed], self._sides[changed] = part.equations(self._basis, weights[changed])

    def system(self, maxOrder: int) -> RegionSystem:
        """Return the equations of all regions as they are weighted now, for models up to an order."""
        regions = self.regions
        squares, noise = np.empty((2, len(regions)))

        def add(part: slice) -> None:
            weights = self._weights[part]
            science = np.where(weights > 0, regions.science[part], np.float32(0)).astype(np.float64)
            templateVariance = np.where(weights > 0, regions.templateVariance[part], np.float32(0))
            squares[part] = np.einsum("tyx,tyx,tyx->t", weights, science, science)
            noise[part] = np.einsum("tyx,tyx->t", weights, templateVariance, dtype=np.float64)

        mapStrips(add, regions.science.shape, regions.threads)
        return RegionSystem(
            _core.StampEquations(self._matrices, self._sides, squares, noise),
            regions.x,
            regions.y,
            self.folds,
            coreFunction(self.modelType, maxOrder, self.frame),
            self.basisList,
            self.kernelNorm,
            regions.threads,
        )

    def judge(self, system: RegionSystem, model: SpatialModel) -> Residuals:
        """Return the residuals of every region under the solution from the other folds."""
        return self.regions.residuals(self.basisList, *system.heldOut(model))

    def unreject(self) -> None:
        """Take all pixels back that were rejected."""
        if self.rejected.any():
            self.rejected = np.zeros_like(self.rejected)
            self.setVariance(self._variance)

    def reject(self, residuals: Residuals, config: Any) -> bool:
        """Reject the pixels that a held-out model cannot explain, and weigh the others anew; return if it changed."""
        before = self.rejected
        if config.rejectPixels:
            self.rejected = findOutliers(residuals, config.threshold, config.growth, self.regions.threads)
        self.setVariance(residuals.variance)
        return not np.array_equal(before, self.rejected)

    @property
    def pixelCounts(self) -> IntArray:
        """Pixels of each region that have weight."""
        counts: IntArray = np.count_nonzero(self._weights > 0, axis=(1, 2))
        return counts


def foldsOf(x: FloatArray, y: FloatArray) -> IntArray:
    """Return the fold (0 to 7) of each region: blocks of the field, neighbours apart; of a dozen regions, each its own.

    Few regions are each withheld alone: without an eighth of them nothing would be left to fit.
    """
    if x.size <= FEW_REGIONS:
        return np.arange(x.size)
    block = (x // FOLD_BLOCK).astype(np.int64), (y // FOLD_BLOCK).astype(np.int64)
    folds: IntArray = (block[0] + 3 * block[1]) % N_FOLDS
    if np.bincount(folds, minlength=N_FOLDS).min() == 0 or np.bincount(folds).max() > 0.5 * x.size:
        order = np.lexsort((x, y))
        folds = np.empty(x.size, dtype=np.int64)
        folds[order] = np.arange(x.size) % N_FOLDS
    return folds
