"""What a solution says about itself: is it constrained, who was rejected and why."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config.equality import ByValue
from psfmatch.errors import InsufficientKernelSourcesError, KernelSolutionError, NoKernelCandidatesError, advice
from psfmatch.fit.candidates.cells import CandidateStatus, SpatialCellSet
from psfmatch.io.sourceTable import SourceTable
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D

__all__ = ["PassSummary", "candidateTable", "reportSolution", "requireCandidates"]

NO_LIGHT = "no light"
"""Kind of the reason against a candidate of which the image to convolve shows nothing."""


@dataclass(frozen=True, eq=False)
class PassSummary(ByValue):
    """One pass of the solve loop: how many candidates each step rejected, and how many the spatial fit used.

    conditionNumber : of the spatial system; NaN when the pass ended before it was solved.
    """

    iteration: int
    nRejectedSingle: int
    nRejectedKernelSum: int
    nRejectedPca: int
    nRejectedSpatial: int
    nUsed: int
    kernelSumMean: float
    kernelSumStd: float
    conditionNumber: float = math.nan


def requireCandidates(cellSet: SpatialCellSet, nLeft: int, nRequired: int) -> None:
    """Raise, with the reasons of all rejections, if fewer candidates are left than are required.

    Raises
    ------
    NoKernelCandidatesError, InsufficientKernelSourcesError
        If no candidate, or fewer than required, are left.
    KernelSolutionError
        If none is left because the image to convolve does not show the light of the other.
    """
    if nLeft >= nRequired:
        return
    reasons = cellSet.countReasons()
    told = ", ".join(f"{count} for {reason}" for reason, count in reasons.items()) or "none"
    orList = advice(", or a candidateList")
    hint = (
        f"Give more stars (lower selectDetection.thresholdValue{orList}), check the variance planes, relax "
        "candidateResidualStdMax, or lower minKernelSources and the spatial orders."
    )
    counts = {
        "nSources": nLeft,
        "nRequired": nRequired,
        "nCandidates": len(cellSet),
        "nBad": cellSet.countByStatus()[CandidateStatus.BAD],
        "rejected": reasons,
    }
    if nLeft == 0 and reasons.keys() == {NO_LIGHT}:
        raise KernelSolutionError(
            f"no kernel could be fitted to any of {len(cellSet)} candidates: {told}. The image to convolve does "
            "not show the stars of the other. Check that both show the same sky, registered.",
            **counts,
        )
    if nLeft == 0:
        raise NoKernelCandidatesError(
            f"No kernel candidate is left of {len(cellSet)}; rejected: {told}. {hint}", **counts
        )
    raise InsufficientKernelSourcesError(
        f"{nLeft} kernel candidates are left of {len(cellSet)}, minKernelSources is {nRequired}; rejected: "
        f"{told}. {hint}",
        **counts,
    )


def reportSolution(
    log: logging.Logger,
    metadata: MutableMapping[str, Any],
    cellSet: SpatialCellSet,
    kernel: LinearCombinationKernel,
    background: SpatialFunction2D,
    conditionNumber: float,
    maxConditionNumber: float,
) -> None:
    """Log what the spatial solution is worth, with advice, and write its numbers to `metadata`.

    Metadata: spatialKernelSum (at the centre of the cells), spatialConditionNum, nCandidates, nGoodCandidates,
    nBadCandidates, rejectionReasons.
    """
    kernelSum = kernel.kernelSum(*cellSet.bbox.centre)
    counts = cellSet.countByStatus()
    nGood, nBad = counts[CandidateStatus.GOOD], counts[CandidateStatus.BAD]
    reasons = cellSet.countReasons()
    metadata["spatialKernelSum"] = kernelSum
    metadata["spatialConditionNum"] = conditionNumber
    metadata["nCandidates"] = len(cellSet)
    metadata["nGoodCandidates"] = nGood
    metadata["nBadCandidates"] = nBad
    metadata["rejectionReasons"] = reasons

    log.info("Final spatial kernel sum %.4f", kernelSum)
    log.info("Spatial model condition number %.3g", conditionNumber)
    if conditionNumber < 0.0:
        log.warning("Condition number is negative (%.3g): the system is numerically singular", conditionNumber)
    elif conditionNumber > maxConditionNumber:
        log.warning("Spatial solution exceeds max condition number: %.3g > %.3g", conditionNumber, maxConditionNumber)
    log.info("Kernel candidates: %d in total, %d good, %d rejected", len(cellSet), nGood, nBad)
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        log.info("  rejected %d: %s", count, reason)
    if nBad > 2 * nGood:
        log.warning(
            "Many more candidates rejected (%d) than accepted (%d); check the variance planes and masks", nBad, nGood
        )
    _reportConstraint(log, "kernel", nGood, kernel.scaledParameters.shape[1], "spatialKernelOrder")
    nBackground = background.scaledParameters.size if np.any(background.scaledParameters) else 0
    if nBackground:
        _reportConstraint(log, "background", nGood, nBackground, "spatialBgOrder")


def _reportConstraint(log: logging.Logger, what: str, nGood: int, nTerms: int, field: str) -> None:
    message = "Spatial %s model %s by %d candidates for %d terms"
    if nGood < nTerms:
        log.warning(message + "; use a lower %s", what, "underconstrained", nGood, nTerms, field)
    elif nGood <= 2 * nTerms:
        log.warning(message + "; consider a lower %s", what, "poorly constrained", nGood, nTerms, field)
    else:
        log.info(message, what, "well constrained", nGood, nTerms)


def candidateTable(cellSet: SpatialCellSet) -> SourceTable:
    """Return one row per candidate: where it is, what it gave, and why it was rejected.

    Columns: id, x, y (parent pixels), rating, status, reason, kernelSum, background, residualMean, residualRms (own
    kernel), spatialMean, spatialRms (spatial model), both in sigma; NaN where a step was not reached.
    """
    candidates = list(cellSet)
    solutions = [c.kernelSolution if c.isInitialized else None for c in candidates]
    own, spatial = [c.residual for c in candidates], [c.spatialResidual for c in candidates]

    def numbers(values: Iterable[float | None]) -> npt.NDArray[np.float64]:
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

    return SourceTable(
        {
            "id": np.array([c.id for c in candidates], dtype=np.int64),
            "x": numbers(c.x for c in candidates),
            "y": numbers(c.y for c in candidates),
            "rating": numbers(c.rating for c in candidates),
            "status": np.array([c.status.name for c in candidates], dtype=np.str_),
            "reason": np.array([c.reason or "" for c in candidates], dtype=np.str_),
            "kernelSum": numbers(None if s is None else s.kernelSum for s in solutions),
            "background": numbers(None if s is None else s.background for s in solutions),
            "residualMean": numbers(None if r is None else r.mean for r in own),
            "residualRms": numbers(None if r is None else r.rms for r in own),
            "spatialMean": numbers(None if r is None else r.mean for r in spatial),
            "spatialRms": numbers(None if r is None else r.rms for r in spatial),
        }
    )
