"""Regions with their weights and equations while a fit goes on; all pixels and matrices are the core's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions, RegionOptions
from psfmatch.errors import KernelSolutionError
from psfmatch.exposure import Box, MaskedImage
from psfmatch.kernels.spatialFunction import coreFunction, frameOf
from psfmatch.regions.models import SpatialModel
from psfmatch.visitors import stampTuple

__all__ = ["RegionState", "foldsOf", "readStamps", "unsolved"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

N_FOLDS = 8
FEW_REGIONS = 12
"""Up to so many regions are each withheld alone."""
FOLD_BLOCK = 128
"""Side (pixels) of the blocks that share a fold: neighbouring regions overlap and must not vouch for each other."""


class RegionState:
    """Regions with their weights and equations while a fit goes on.

    Parameters
    ----------
    stamps
        Of `readStamps`.
    x, y : (regions,)
        Middles of the regions, parent pixels.
    basisList : (n, h, w)
    bbox
        The box over which kernel and background vary.
    options
        Of the kernel: spatial model, expected norm.
    threads
        Number of threads; the result does not depend on it.
    """

    def __init__(
        self,
        stamps: _core.RegionStamps,
        x: IntArray,
        y: IntArray,
        basisList: FloatArray,
        bbox: Box,
        options: KernelOptions,
        threads: int,
    ) -> None:
        self.stamps, self.x, self.y = stamps, x.astype(np.float64), y.astype(np.float64)
        self.basisList, self.frame, self.threads = basisList, frameOf(bbox), threads
        self.modelType, self.kernelNorm = options.spatialModelType, options.regions.kernelNorm
        self.folds = foldsOf(self.x, self.y)
        self.fit = _core.RegionFit(stamps, _core.PreparedBasis(basisList), nThreads=threads)
        self.nPasses = 0

    def __len__(self) -> int:
        return len(self.stamps)

    def system(self, maxOrder: int) -> _core.SpatialSystem:
        """Return the equations of all regions as they are weighted now, for models up to an order."""
        return _core.SpatialSystem(
            self.fit.equations,
            self.x,
            self.y,
            self.folds,
            coreFunction(self.modelType, maxOrder, self.frame),
            self.basisList,
            self.kernelNorm,
            nThreads=self.threads,
        )

    def judge(self, model: SpatialModel) -> _core.RegionResiduals:
        """Return the residuals of every region under the solution from the other folds.

        Raises
        ------
        KernelSolutionError
            If there is no solution.
        """
        try:
            coefficients, backgrounds, _ = self.system(model.highestOrder).heldOut(model.toCore())
        except _core.NumericalError as error:
            raise unsolved(error) from error
        return self.fit.judge(coefficients, backgrounds, nThreads=self.threads)

    def reject(self, residuals: _core.RegionResiduals, options: RegionOptions) -> bool:
        """Reject the pixels that a held-out model cannot explain, and weigh the others anew; return if it changed."""
        self.nPasses += 1
        rejected = (
            _core.findOutliers(residuals, threshold=options.threshold, growth=options.growth, nThreads=self.threads)
            if options.rejectPixels
            else None
        )
        return self.fit.reweigh(residuals, rejected, nThreads=self.threads)


def unsolved(error: Exception) -> KernelSolutionError:
    """Return the error that tells of a system without solution."""
    return KernelSolutionError(f"{error}. Try lower spatial orders, or more stars.")


def readStamps(
    template: MaskedImage,
    science: MaskedImage,
    x: IntArray,
    y: IntArray,
    kernelSize: int,
    options: KernelOptions,
    threads: int,
) -> _core.RegionStamps:
    """Cut the regions about middle pixels x, y (parent) out of both images, for kernels of `kernelSize` pixels."""
    x0, y0 = science.xy0
    return _core.RegionStamps(
        stampTuple(template, options.badPlanes()),
        stampTuple(science, options.badPlanes()),
        x - x0,
        y - y0,
        options.regions.halfWidth,
        kernelSize,
        kernelSize,
        saturatedBits=template.mask.getPlaneBitMask(("SAT",), ignoreMissing=True),
        nThreads=threads,
    )


def foldsOf(x: FloatArray, y: FloatArray) -> IntArray:
    """Return the fold (0 to 7) of each region: blocks of the field, neighbours apart; of a dozen regions, each its own.

    Few regions are each withheld alone: without an eighth of them nothing would be left to fit.
    """
    if x.size <= FEW_REGIONS:
        return np.arange(x.size)
    block = (x // FOLD_BLOCK).astype(np.int64), (y // FOLD_BLOCK).astype(np.int64)
    folds: IntArray = (block[0] + 3 * block[1]) % N_FOLDS
    counts = np.bincount(folds, minlength=N_FOLDS)
    if counts.min() == 0 or counts.max() > 0.5 * x.size:
        order = np.lexsort((x, y))
        folds = np.empty(x.size, dtype=np.int64)
        folds[order] = np.arange(x.size) % N_FOLDS
    return folds
