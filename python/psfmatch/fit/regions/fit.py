"""The kernel from pixel regions: solve, reject what the held-out model cannot explain, weigh anew, solve again.

`fitRegions` is to regions what the loop of `psfmatch.tasks.psfMatch` is to stars. Every region is judged by a solution
from other parts of the field, so that no variable star hides by being fitted, and the same residuals say how well the
model serves stars that it has not seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.equality import ByValue
from psfmatch.errors import (
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
)
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.fit.light import NOT_SHOWN, requireLight, requirePositive
from psfmatch.fit.regions.regionCells import RegionCells
from psfmatch.fit.spatialModel import spatialModels
from psfmatch.io.sourceTable import SourceTable
from psfmatch.kernels import (
    LinearCombinationKernel,
    SpatialFunction2D,
    frameOf,
    spatialFunctionOf,
)
from psfmatch.kernels.alardLupton import gaussianBasis
from psfmatch.kernels.solutions import ResidualSummary

__all__ = ["RegionFit", "fitRegions"]

FloatArray = npt.NDArray[np.float64]
log = logging.getLogger("psfmatch.regionFit")

MIN_SIGNIFICANCE = 5.0
"""Of the light that the kernel takes off, in sigma."""
CLEAR_GAIN = 0.5
"""Part of the chi-square. A kernel that takes off less may do so by the sky's slopes: the light itself is looked at."""
MAX_JUDGED = 20
"""Regions whose light is looked at, those of the brightest sources."""
MIN_FOLLOWING = 0.4
"""Part of the regions that must be good: sources of two skies lie upon one another by chance."""
NEGLIGIBLE_SHARE = 1e-4
"""Of sum |K|, that is cut off about a kernel of fewer Gaussians than its size was made for."""
MIN_GOOD_PART = 0.5
"""A region that keeps less than this part of its pixels is told as rejected."""


@dataclass(frozen=True, eq=False)
class RegionFit(ByValue):
    """What `fitRegions` found.

    kernel, background : the spatial model; conditionNumber, kernelSumError : of its solution; rejectedFraction : of
    all pixels; nPasses; heldOut : one row per region, under the solution that was made without it, with the columns x,
    y (parent pixels), signal (largest predicted light of a pixel, sigma), mean, rms (residual / sigma of the pixels
    kept), chiSquare (per pixel kept), nPixels (kept), keptFraction (of the usable pixels).
    """

    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    conditionNumber: float
    kernelSumError: float
    rejectedFraction: float
    heldOut: SourceTable
    nPasses: int


def fitRegions(cells: RegionCells, basisList: FloatArray, options: KernelOptions) -> RegionFit:
    """Fit kernel and background to all pixels of the regions.

    Parameters
    ----------
    cells
        The regions. Their status, reason and residuals are set. Where the choice of the model has begun the fit of the
        same regions with the same basis, it goes on from there: the result is that of a fit from the beginning, bit for
        bit.
    basisList : (n, h, w)
    options
        Of the kernel. ``regions.firstDegrees`` are those of the first pass: what is rejected by it is rejected whatever
        has been chosen.

    Raises
    ------
    NoKernelCandidatesError, InsufficientKernelSourcesError
        If there are fewer regions with usable pixels than ``minKernelSources``.
    KernelSolutionError
        If the equations have no solution, or one that does not show that both images are of one sky.
    """
    regions = cells.regionsToFit(options.nStarPerCell)
    _requireRegions(len(regions), options, "found")
    basis, firstImages, model = _models(basisList, options, frameOf(cells.bbox))
    solver = cells.begun
    if solver is None or len(solver) != len(regions) or not np.array_equal(solver.basisList, basis):
        solver = cells.solverOf(regions, basis)
    cells.forget()
    if solver.nPasses == 0:
        first = model if firstImages is None else solver.usualModel(firstImages)
        solver.reject(first, options.regions.rejectPixels)
    hasChanged = True
    while hasChanged and solver.nPasses < options.regions.iterations:
        hasChanged = solver.reject(model, options.regions.rejectPixels)
        log.debug("Pass %d: %.2f %% of the pixels rejected", solver.nPasses, 100.0 * solver.fit.rejectedFraction)
    summary, solution = solver.summary(model), solver.solve(model, withCovariance=True)
    gain, chiSquare = solver.lightGain(solution), solver.fit.equations.squares.sum()
    if not gain > MIN_SIGNIFICANCE**2 + 2.0 * model.nParameters:
        raise KernelSolutionError(
            f"the kernel takes {gain:.3g} off a chi-square of {chiSquare:.3g} with {model.nParameters} parameters, no "
            f"more than noise: {NOT_SHOWN}",
            nCandidates=len(regions),
        )
    good = _accept(regions, solver.usableFraction, summary, options)
    kernel, background = spatialModel(basis, model, solution, withCovariance=options.calculateKernelUncertainty)
    if min(options.alardDegGauss) < 0:
        # Without the widest Gaussians there is next to nothing where only they were.
        kernel = kernel.trimmed(kernel.reach(cells.bbox, NEGLIGIBLE_SHARE))
    if gain < CLEAR_GAIN * chiSquare:
        requireLight(good[:MAX_JUDGED], kernel.shape, options, cells.threads)
    kernelSum = kernel.kernelSum(*cells.bbox.centre)
    requirePositive(kernelSum, kernelSum, solution.kernelSumError, len(good))
    names = ("signal", "mean", "rms", "chiSquare", "nPixels", "keptFraction")
    heldOut = SourceTable({"x": solver.x, "y": solver.y, **{name: getattr(summary, name) for name in names}})
    errors = solution.conditionNumber, solution.kernelSumError
    return RegionFit(kernel, background, *errors, solver.fit.rejectedFraction, heldOut, solver.nPasses)


def _models(
    basisList: FloatArray, options: KernelOptions, frame: tuple[float, float, float, float]
) -> tuple[FloatArray, tuple[int, ...] | None, _core.SpatialModelOptions]:
    """Return a basis for all passes, the images of the first pass's usual model, if any, and the configured model."""
    regions, degrees = options.regions, options.alardDegGauss
    functions = spatialModels(options, frame)
    rest = (
        functions.kernel, functions.background, regions.shapeScale, regions.variationScale, regions.widthScale,
        functions.scale,
    )  # fmt: skip
    if not regions.firstDegrees:
        return basisList, None, _core.SpatialModelOptions(tuple(range(len(basisList))), *rest)
    # A Gaussian that the choice left out stays in the basis, with as many terms as the one before: the equations that
    # the choice was made with serve on.
    tried = [degrees[max(0, i - 1)] if degree < 0 else degree for i, degree in enumerate(degrees)]
    joined = tuple(map(max, zip(regions.firstDegrees, tried, strict=True)))
    basis = gaussianBasis(basisList.shape[1], options.alardSigGauss, joined)
    first, images = (_core.alardLuptonImages(each, joined) for each in (regions.firstDegrees, degrees))
    return basis, first, _core.SpatialModelOptions(images, *rest)


def spatialModel(
    basisList: FloatArray,
    model: _core.SpatialModelOptions,
    solution: _core.SpatialSolution,
    *,
    withCovariance: bool = False,
) -> tuple[LinearCombinationKernel, SpatialFunction2D]:
    """Return kernel and background of a solution for a basis (n, h, w), of which the model has some images."""
    own = solution.part(model.images)
    covariances = (own.kernelCovariance, own.backgroundCovariance) if withCovariance else (None, None)
    kernel = LinearCombinationKernel(
        basisList[list(model.images)], own.kernel, covariance=covariances[0], function=own.kernelFunction
    )
    return kernel, spatialFunctionOf(own.backgroundFunction, own.background, covariances[1])


def _accept(
    regions: Sequence[KernelCandidate], usableFraction: FloatArray, summary: _core.RegionSummary, options: KernelOptions
) -> list[KernelCandidate]:
    """Accept the regions that keep half of their pixels, reject the others; return the good ones, brightest first."""
    good: list[tuple[float, KernelCandidate]] = []
    columns = (summary.signal, summary.mean, summary.rms, summary.nPixels, summary.keptFraction, usableFraction)
    for region, (signal, mean, rms, count, kept, usable) in zip(regions, np.array(columns).T.tolist(), strict=True):
        region.spatialResidual = ResidualSummary(mean, rms, int(count))
        if usable < MIN_GOOD_PART:
            region.reject(f"bad pixels: only {usable:.0%} of the region can be used")
        elif kept < MIN_GOOD_PART:
            region.reject(f"pixels rejected: {1.0 - kept:.0%} of the region do not follow the model")
        else:
            region.accept()
            good.append((signal, region))
    nUsable = np.count_nonzero(usableFraction >= MIN_GOOD_PART)
    if good or not nUsable:
        _requireRegions(len(good), options, "left")
    if len(good) < MIN_FOLLOWING * nUsable:
        raise KernelSolutionError(
            f"only {len(good)} of {nUsable} regions keep half of their pixels, the others do not follow the kernel: "
            f"{NOT_SHOWN}",
            nCandidates=len(regions),
            nGood=len(good),
        )
    return [region for _, region in sorted(good, key=lambda each: -each[0])]


def _requireRegions(count: int, options: KernelOptions, what: str) -> None:
    if count == 0:
        raise NoKernelCandidatesError(
            f"No region with usable pixels is {what}; check masks and overlap of the images", nSources=0
        )
    if count < options.minKernelSources:
        raise InsufficientKernelSourcesError(
            f"{count} regions with usable pixels are {what}, minKernelSources is {options.minKernelSources}; lower it, "
            "or use regionConfig.layout 'tiles'",
            nSources=count,
            nRequired=options.minKernelSources,
        )
