"""The kernel from pixel regions: solve, reject what the held-out model cannot explain, weigh anew, solve again.

`fitRegions` is to regions what the loop of `psfmatch.psfMatch` is to stars. Every region is judged by a solution from
other parts of the field, so that no variable star hides by being fitted, and the same residuals say how well the model
serves stars that it has not seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.basis import gaussianBasis
from psfmatch.cells import CandidateStatus, KernelCandidate
from psfmatch.config import KernelOptions
from psfmatch.equality import ByValue
from psfmatch.errors import InsufficientKernelSourcesError, KernelSolutionError, NoKernelCandidatesError, NumericalError
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.kernels.spatialFunction import makeSpatialFunction
from psfmatch.light import NOT_SHOWN, requireLight, requirePositive
from psfmatch.regions.layout import RegionCells, RegionState, unsolved
from psfmatch.solutions import ResidualSummary
from psfmatch.sourceTable import SourceTable

__all__ = ["RegionFit", "fitRegions", "heldOutTable", "usualModel"]

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
USUAL_SCALES = 1.0, 0.01, 0.2
"""Expected departure of the kernel from the first Gaussian, its variation, and that with its width, in units of its
norm: where the FWHM of a PSF varies by 15 %, the kernel varies by 0.2."""


@dataclass(frozen=True, eq=False)
class RegionFit(ByValue):
    """What `fitRegions` found.

    kernel, background : the spatial model; conditionNumber, kernelSumError : of its solution; rejectedFraction : of
    all pixels; heldOut : one row per region, each judged by a solution without it; nPasses.
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
        Regions of `psfmatch.regions.makeRegions`. Their status, reason and residuals are set. Where the choice of the
        model has begun the fit of the same regions with the same basis, it goes on from there: the result is that of a
        fit from the beginning, bit for bit.
    basisList : (n, h, w)
    options
        Of the kernel. ``regions.firstDegrees`` are those of the first pass: what is rejected by it is rejected whatever
        has been chosen.

    Raises
    ------
    NoKernelCandidatesError, InsufficientKernelSourcesError
        If there are fewer regions with usable pixels than ``minKernelSources``.
    KernelSolutionError
        If the equations have no solution.
    """
    regions = cells.regionsToFit(options.nStarPerCell)
    _requireRegions(len(regions), options, "found")
    basis, first, model = _models(basisList, options, len(regions))
    state = cells.state
    if state is None or state.regions != regions or not np.array_equal(state.basisList, basis):
        state = RegionState(cells, regions, basis, options)
    cells.forget()
    if state.nPasses == 0:
        state.reject(first, options.regions)
    hasChanged = True
    while hasChanged and state.nPasses < options.regions.iterations:
        hasChanged = state.reject(model, options.regions)
        log.debug("Pass %d: %.2f %% of the pixels rejected", state.nPasses, 100.0 * state.fit.rejectedFraction)
    table = heldOutTable(state, state.judge(model))
    system = state.system(model.highestOrder)
    try:
        solution = system.solve(model, withCovariance=True)
        gain = system.lightGain(solution)
    except NumericalError as error:
        raise unsolved(error) from error
    if not gain > MIN_SIGNIFICANCE**2 + 2.0 * model.nParameters:
        raise KernelSolutionError(
            f"the kernel takes {gain:.3g} off a chi-square of {state.fit.equations.squares.sum():.3g} with "
            f"{model.nParameters} parameters, no more than noise: {NOT_SHOWN}",
            nCandidates=len(regions),
        )
    usable = state.stamps.usableFraction
    nGood, nUsable = _settle(regions, usable, table), int((usable >= MIN_GOOD_PART).sum())
    if nGood or not nUsable:
        _requireRegions(nGood, options, "left")
    if nGood < MIN_FOLLOWING * nUsable:
        raise KernelSolutionError(
            f"only {nGood} of {nUsable} regions keep half of their pixels, the others do not follow the kernel: "
            f"{NOT_SHOWN}",
            nCandidates=len(regions),
            nGood=nGood,
        )
    images, covariance, backgroundCovariance = list(model.images), None, None
    if options.calculateKernelUncertainty and solution.kernelCovariance is not None:
        p = solution.kernel.shape[1]
        parameters = (np.array(images)[:, None] * p + np.arange(p)).ravel()
        covariance = solution.kernelCovariance[np.ix_(parameters, parameters)]
        backgroundCovariance = solution.backgroundCovariance
    kernel = LinearCombinationKernel(
        basisList, solution.kernel[images], options.spatialModelType, frame=state.frame, covariance=covariance
    )
    if min(options.alardDegGauss) < 0:
        # Without the widest Gaussians there is next to nothing where only they were.
        kernel = kernel.trimmed(kernel.reach(cells.bbox, NEGLIGIBLE_SHARE))
    if gain < CLEAR_GAIN * state.fit.equations.squares.sum():
        brightest = np.argsort(-np.nan_to_num(np.asarray(table["signal"])), kind="stable")
        good = [regions[i] for i in brightest.tolist() if regions[i].status is CandidateStatus.GOOD]
        requireLight(good[:MAX_JUDGED], kernel.shape, options, cells.threads)
    kernelSum = kernel.kernelSum(*cells.bbox.centre)
    requirePositive(kernelSum, kernelSum, solution.kernelSumError, nGood)
    return RegionFit(
        kernel,
        makeSpatialFunction(options.spatialModelType, solution.background, state.frame, backgroundCovariance),
        solution.conditionNumber,
        solution.kernelSumError,
        state.fit.rejectedFraction,
        table,
        state.nPasses,
    )


def _models(
    basisList: FloatArray, options: KernelOptions, nRegions: int
) -> tuple[FloatArray, _core.SpatialModelOptions, _core.SpatialModelOptions]:
    """Return a basis for all passes, the model of the first pass and that of the others, which is configured."""
    regions, degrees = options.regions, options.alardDegGauss
    basis, images = basisList, tuple(range(len(basisList)))
    if regions.firstDegrees:
        # A Gaussian that the choice left out stays in the basis, with as many terms as the one before: the equations
        # that the choice was made with serve on.
        tried = [degrees[max(0, i - 1)] if degree < 0 else degree for i, degree in enumerate(degrees)]
        joined = tuple(map(max, zip(regions.firstDegrees, tried, strict=True)))
        basis = gaussianBasis(basisList.shape[1], options.alardSigGauss, joined)
        images = _core.alardLuptonImages(degrees, joined)
    orders = options.spatialKernelOrder, options.spatialBgOrder if options.fitForBackground else 0
    scales = regions.shapeScale, regions.variationScale, regions.widthScale
    model = first = _core.SpatialModelOptions(images, *orders, *scales)
    if regions.firstDegrees:
        first = usualModel(_core.alardLuptonImages(regions.firstDegrees, joined), nRegions)
    return basis, first, model


def usualModel(images: tuple[int, ...], nRegions: int) -> _core.SpatialModelOptions:
    """Return the model, of some images of a basis, the first among them, that serves most fields with so many regions.

    What is rejected by it hardly depends on the details.
    """
    order = 2 if nRegions >= 30 else 1 if nRegions >= 10 else 0
    return _core.SpatialModelOptions(images, order, order, *USUAL_SCALES)


def heldOutTable(state: RegionState, residuals: _core.RegionResiduals) -> SourceTable:
    """Return one row per region, under the solution that was made without it.

    Columns: x, y (parent pixels), signal (largest predicted light of a pixel, sigma), mean, rms (residual / sigma of
    the pixels kept), chiSquare (per pixel kept), nPixels (kept), keptFraction (of the usable pixels).
    """
    summary = residuals.summary(state.fit.rejected)
    names = ("signal", "mean", "rms", "chiSquare", "nPixels", "keptFraction")
    return SourceTable({"x": state.x, "y": state.y, **{name: getattr(summary, name) for name in names}})


def _settle(regions: Sequence[KernelCandidate], usableFraction: FloatArray, table: SourceTable) -> int:
    """Tell each region its fate; return how many are good."""
    nGood = 0
    columns = (table[name].tolist() for name in ("mean", "rms", "nPixels", "keptFraction"))
    for region, usable, mean, rms, count, kept in zip(regions, usableFraction.tolist(), *columns, strict=True):
        region.spatialResidual = ResidualSummary(mean, rms, count)
        if usable < MIN_GOOD_PART:
            region.reject(f"bad pixels: only {usable:.0%} of the region can be used")
        elif kept < MIN_GOOD_PART:
            region.reject(f"pixels rejected: {1.0 - kept:.0%} of the region do not follow the model")
        else:
            region.accept()
            nGood += 1
    return nGood


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
