"""The equations of regions and the weights of their pixels, while models are compared and pixels rejected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate
from psfmatch.errors import KernelSolutionError, NumericalError
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D, frameOf, makeSpatialFunction
from psfmatch.kernels.spatialFunction import coreFunction
from psfmatch.regions.layout import RegionCells

__all__ = ["RegionState", "solving", "usualModel"]

FloatArray = npt.NDArray[np.float64]

USUAL_SCALES = 1.0, 0.01, 0.2
"""Expected departure of the kernel from the first Gaussian, its variation, and that with its width, in units of its
norm: where the FWHM of a PSF varies by 15 %, the kernel varies by 0.2."""


class RegionState:
    """Some regions of the cells with their weights, and their equations for a basis (n, h, w), while a fit goes on.

    x, y : (regions,) middles, parent pixels; judged : models that have been, as they are weighted now; nPasses : how
    often pixels have been rejected and weighed anew.
    """

    def __init__(self, cells: RegionCells, regions: list[KernelCandidate], basisList: FloatArray) -> None:
        self.cells, self.regions, self.basisList = cells, regions, basisList
        self.stamps, self.frame, self.threads = cells.stampsOf(regions), frameOf(cells.bbox), cells.threads
        self.x, self.y = (np.array([getattr(region, axis) for region in regions]) for axis in ("x", "y"))
        # Smoothed by the correlation of the template's noise; None where that is white.
        self.noiseImages = None
        if (correlation := cells.noiseCorrelation) is not None:
            lag, (height, width) = correlation.shape[0] // 2, basisList.shape[1:]
            whole = _core.composed(basisList, correlation[None], nThreads=self.threads)
            self.noiseImages = np.ascontiguousarray(whole[:, lag : lag + height, lag : lag + width])
        self.fit = _core.RegionFit(
            self.stamps, _core.PreparedBasis(basisList), noiseImages=self.noiseImages, nThreads=self.threads
        )
        self.nPasses, self.isRejecting = 0, True
        self._forget()

    def _forget(self) -> None:
        """Forget what hangs on the weights: the sums of the equations, and all models judged by them."""
        self._system: tuple[int, _core.SpatialSystem] | None = None
        self.judged: dict[_core.SpatialModelOptions, tuple[FloatArray, FloatArray, FloatArray]] = {}
        self._residuals: tuple[_core.SpatialModelOptions, _core.RegionResiduals] | None = None

    def __len__(self) -> int:
        return len(self.stamps)

    def system(self, maxOrder: int) -> _core.SpatialSystem:
        """Return the equations of all regions as they are weighted now, for models up to an order at least."""
        if self._system is None or self._system[0] < maxOrder:
            options = self.cells.options
            system = _core.SpatialSystem(
                self.fit.equations,
                self.x,
                self.y,
                _core.regionFolds(self.x, self.y),
                coreFunction(options.spatialModelType, maxOrder, self.frame),
                self.basisList,
                options.regions.kernelNorm,
                noiseImages=self.noiseImages,
                nThreads=self.threads,
            )
            self._system = maxOrder, system
        return self._system[1]

    def heldOut(self, model: _core.SpatialModelOptions) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return coefficients, background and chi-square of every region under the solution from the other folds."""
        if model not in self.judged:
            self.judged[model] = self.system(model.highestOrder).heldOut(model)
        return self.judged[model]

    def chiSquares(self, model: _core.SpatialModelOptions) -> FloatArray:
        """Return held-out chi-square of every region; infinite for a model without solution."""
        try:
            return self.heldOut(model)[2]
        except NumericalError:
            return np.full(len(self), np.inf)

    def judge(self, model: _core.SpatialModelOptions) -> _core.RegionResiduals:
        """Return the residuals of every region under the solution from the other folds; KernelSolutionError if none."""
        if self._residuals is None or self._residuals[0] != model:
            with solving():
                coefficients, backgrounds, _ = self.heldOut(model)
            self._residuals = model, self.fit.judge(coefficients, backgrounds, nThreads=self.threads)
        return self._residuals[1]

    def reject(self, model: _core.SpatialModelOptions, *, isRejecting: bool = True) -> bool:
        """Reject pixels that the held-out model cannot explain, weigh the others anew; return if the pixels changed."""
        self.nPasses, self.isRejecting = self.nPasses + 1, isRejecting
        residuals, rejected, options = self.judge(model), None, self.cells.options.regions
        if isRejecting:
            rejected = _core.findOutliers(
                residuals, threshold=options.threshold, growth=options.growth, nThreads=self.threads
            )
        self._forget()
        return self.fit.reweigh(residuals, rejected, nThreads=self.threads)

    def spatialModel(
        self, model: _core.SpatialModelOptions, solution: _core.SpatialSolution, *, withCovariance: bool = False
    ) -> tuple[LinearCombinationKernel, SpatialFunction2D]:
        """Return kernel and background of a solution."""
        name, own = self.cells.options.spatialModelType, solution.part(model.images)
        covariances = (own.kernelCovariance, own.backgroundCovariance) if withCovariance else (None, None)
        basis = self.basisList[list(model.images)]
        return (
            LinearCombinationKernel(basis, own.kernel, name, frame=self.frame, covariance=covariances[0]),
            makeSpatialFunction(name, own.background, self.frame, covariances[1]),
        )


@contextmanager
def solving() -> Iterator[None]:
    """Raise KernelSolutionError, with what to try, where equations have no solution."""
    try:
        yield
    except NumericalError as error:
        raise KernelSolutionError(f"{error}. Try lower spatial orders, or more stars.") from error


def usualModel(images: tuple[int, ...], nRegions: int) -> _core.SpatialModelOptions:
    """Return the model, of some images of a basis, the first among them, that serves most fields with so many regions.

    What is rejected by it hardly depends on the details.
    """
    order = 2 if nRegions >= 30 else 1 if nRegions >= 10 else 0
    return _core.SpatialModelOptions(images, order, order, *USUAL_SCALES)
