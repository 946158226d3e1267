"""The kernel from pixel regions: solve, reject what the held-out model cannot explain, weigh anew, solve again.

`fitRegions` is to regions what the loop of `psfmatch.psfMatch` is to stars. Every region is judged by a solution from
other parts of the field, so that no variable star hides by being fitted, and the same residuals say how well the model
serves stars that it has not seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.cells import KernelCandidate
from psfmatch.errors import InsufficientKernelSourcesError, KernelSolutionError, NoKernelCandidatesError
from psfmatch.exposure import Box
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.kernels.spatialFunction import makeSpatialFunction
from psfmatch.regions.pixels import BoolStack, PixelRegions, Residuals
from psfmatch.regions.state import RegionState
from psfmatch.regions.system import SpatialCoefficients, SpatialModel
from psfmatch.solutions import ResidualSummary
from psfmatch.sourceTable import SourceTable

__all__ = ["RegionFit", "fitRegions", "heldOutTable", "modelOf"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
log = logging.getLogger("psfmatch.regionFit")

MIN_SIGNIFICANCE = 5.0
"""Of the light that the kernel takes off, in sigma."""
MIN_FOLLOWING = 0.4
"""Part of the regions that must be good: sources of two skies lie upon one another by chance."""
MIN_GOOD_PART = 0.5
"""A region that keeps less than this part of its pixels is told as rejected."""


@dataclass(frozen=True, eq=False)
class RegionFit:
    """What `fitRegions` found.

    kernel, background : the spatial model; solution : its coefficients; residuals, rejected : of the last pass, every
    region judged by a solution without it; heldOut : one row per region; nPasses; conditionNumber, kernelSumError.
    """

    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    solution: SpatialCoefficients
    residuals: Residuals
    rejected: BoolStack
    heldOut: SourceTable
    nPasses: int


def modelOf(config: Any, nImages: int) -> SpatialModel:
    """Return the spatial model of an active kernel configuration, over all images of the basis."""
    return SpatialModel(
        images=tuple(range(nImages)),
        kernelOrder=config.spatialKernelOrder,
        backgroundOrder=config.spatialBgOrder if config.fitForBackground else 0,
        shapeScale=config.regionConfig.shapeScale,
        variationScale=config.regionConfig.variationScale,
        widthScale=config.regionConfig.widthScale,
    )


def fitRegions(
    candidates: Sequence[KernelCandidate], basisList: FloatArray, bbox: Box, config: Any, threads: int
) -> RegionFit:
    """Fit kernel and background to all pixels of the candidates' regions.

    Parameters
    ----------
    candidates
        Regions of `psfmatch.regions.makeRegions`. Their status, reason and residuals are set.
    basisList : (n, h, w)
    bbox
        The box over which kernel and background vary.
    config
        Active kernel configuration.
    threads
        Number of threads; the result does not depend on it.

    Raises
    ------
    NoKernelCandidatesError, InsufficientKernelSourcesError
        If there are fewer regions with usable pixels than ``minKernelSources``.
    KernelSolutionError
        If the equations have no solution.
    """
    _requireRegions(len(candidates), config, "found")
    regions = PixelRegions.ofCandidates(candidates, config, basisList.shape[1:], threads)
    state = RegionState(regions, basisList, bbox, config.spatialModelType, config.regionConfig.kernelNorm)
    model = modelOf(config, len(basisList))
    maxOrder = model.highestOrder
    nPasses = 0
    while True:
        system = state.system(maxOrder)
        residuals = state.judge(system, model)
        if nPasses == config.regionConfig.iterations:
            break
        nPasses += 1
        hasChanged = state.reject(residuals, config.regionConfig)
        log.debug("Pass %d: %.2f %% of the pixels rejected", nPasses, 100.0 * float(state.rejected.mean()))
        if not hasChanged and nPasses > 1:
            break
    system = state.system(maxOrder)
    solution = system.solve(model, withCovariance=True)
    gain = system.lightGain(solution)
    if not gain > MIN_SIGNIFICANCE**2 + 2.0 * model.nParameters:
        raise KernelSolutionError(
            f"the kernel takes {gain:.3g} off a chi-square of {system.squares.sum():.3g} with {model.nParameters} "
            "parameters, no more than noise: the image to convolve does not show the light of the other. Check that "
            "both show the same sky, registered.",
            nCandidates=len(candidates),
        )
    table = heldOutTable(state, residuals)
    nGood = _settle(candidates, state, table)
    _requireRegions(nGood, config, "left")
    nUsable = int((state.regions.usable.mean(axis=(1, 2)) >= MIN_GOOD_PART).sum())
    if nGood < MIN_FOLLOWING * nUsable:
        raise KernelSolutionError(
            f"only {nGood} of {nUsable} regions keep half of their pixels, the others do not follow the kernel: the "
            "image to convolve does not show the light of the other. Check that both show the same sky, registered.",
            nCandidates=len(candidates),
            nGood=nGood,
        )
    covariance = config.calculateKernelUncertainty
    kernel = LinearCombinationKernel(
        basisList,
        solution.kernel,
        config.spatialModelType,
        frame=state.frame,
        covariance=solution.kernelCovariance if covariance else None,
    )
    background = makeSpatialFunction(
        config.spatialModelType,
        solution.background,
        state.frame,
        solution.backgroundCovariance if covariance else None,
    )
    return RegionFit(kernel, background, solution, residuals, state.rejected, table, nPasses)


def heldOutTable(state: RegionState, residuals: Residuals) -> SourceTable:
    """Return one row per region, under the solution that was made without it.

    Columns: x, y (parent pixels), signal (largest predicted light of a pixel, sigma), mean, rms (residual / sigma of
    the pixels kept), chiSquare (per pixel kept), nPixels (kept), keptFraction (of the usable pixels).
    """
    kept = residuals.usable & ~state.rejected
    count = kept.sum(axis=(1, 2))
    pull = np.where(kept, residuals.pull, np.float32(0)).astype(np.float64)
    divisor = np.maximum(count, 1)
    mean, square = pull.sum(axis=(1, 2)) / divisor, (pull**2).sum(axis=(1, 2)) / divisor
    usable = residuals.usable.sum(axis=(1, 2))
    return SourceTable(
        {
            "x": state.regions.x,
            "y": state.regions.y,
            "signal": np.where(residuals.usable, residuals.signal, -np.inf).max(axis=(1, 2)).astype(np.float64),
            "mean": np.where(count > 0, mean, np.nan),
            "rms": np.where(count > 0, np.sqrt(np.maximum(square - mean**2, 0.0)), np.nan),
            "chiSquare": np.where(count > 0, square, np.nan),
            "nPixels": count,
            "keptFraction": np.where(usable > 0, count / np.maximum(usable, 1), 0.0),
        }
    )


def _settle(candidates: Sequence[KernelCandidate], state: RegionState, table: SourceTable) -> int:
    """Tell each candidate its fate; return how many are good."""
    nGood = 0
    for candidate, mean, rms, count, kept, usable in zip(
        candidates,
        table["mean"].tolist(),
        table["rms"].tolist(),
        table["nPixels"].tolist(),
        table["keptFraction"].tolist(),
        state.regions.usable.mean(axis=(1, 2)).tolist(),
        strict=True,
    ):
        candidate.spatialResidual = ResidualSummary(mean, rms, count)
        if usable < MIN_GOOD_PART:
            candidate.reject(f"bad pixels: only {usable:.0%} of the region can be used")
        elif kept < MIN_GOOD_PART:
            candidate.reject(f"pixels rejected: {1.0 - kept:.0%} of the region do not follow the model")
        else:
            candidate.accept()
            nGood += 1
    return nGood


def _requireRegions(count: int, config: Any, what: str) -> None:
    if count == 0:
        raise NoKernelCandidatesError(
            f"No region with usable pixels is {what}; check masks and overlap of the images", nSources=0
        )
    if count < config.minKernelSources:
        raise InsufficientKernelSourcesError(
            f"{count} regions with usable pixels are {what}, minKernelSources is {config.minKernelSources}; lower it, "
            "or use regionConfig.layout 'tiles'",
            nSources=count,
            nRequired=config.minKernelSources,
        )
