"""What the visitors share: how stamps and options reach the core, and which residuals disqualify a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate
from psfmatch.exposure import MaskedImage
from psfmatch.solutions import ResidualSummary

__all__ = ["chosenStatistics", "fitControl", "reasonAgainst", "regularizationOf", "stampTuple", "stampTuples"]

MAX_KEPT_UNKNOWNS = 64
"""Normal equations of larger bases take megabytes for each candidate: they are made again when they are needed."""

StampTuple = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]


def stampTuple(stamp: MaskedImage, planes: Sequence[str]) -> StampTuple:
    """Return image, variance, mask and the bits of the planes that are bad in it, as the core takes them."""
    bits = stamp.mask.getPlaneBitMask(planes, ignoreMissing=True)
    return (stamp.image, stamp.variance, np.asarray(stamp.mask), bits)


def stampTuples(candidates: Sequence[KernelCandidate], config: Any) -> tuple[list[StampTuple], list[StampTuple]]:
    """Return image, variance, mask and bad bits of all template stamps, and of all science stamps."""
    planes = config.badPlanes()
    return (
        [stampTuple(c.templateMaskedImage, planes) for c in candidates],
        [stampTuple(c.scienceMaskedImage, planes) for c in candidates],
    )


def fitControl(config: Any, nBasis: int) -> _core.CandidateFitControl:
    """Return the core's options for an active kernel configuration and a number of basis images."""
    return _core.CandidateFitControl(
        fitBackground=config.fitForBackground,
        constantVariance=config.constantVarianceWeighting,
        iterate=config.iterateSingleKernel,
        zeroWeightBadPixels=config.zeroWeightBadPixels,
        coreRadius=config.candidateCoreRadius,
        checkConditionNumber=config.checkConditionNumber,
        maxConditionNumber=config.maxConditionNumber,
        conditionNumberType=_core.ConditionNumberType[config.conditionNumberType.lower()],
        keepEquations=nBasis <= MAX_KEPT_UNKNOWNS,
        covariance=config.calculateKernelUncertainty,
    )


def regularizationOf(hMat: npt.ArrayLike, nBasis: int, config: Any) -> _core.Regularization:
    """Return what the core needs to penalise rough kernels.

    Raises
    ------
    ValueError
        If the matrix has the wrong size, or would penalise the background.
    """
    penalty = np.asarray(hMat, dtype=np.float64)
    nUnknowns = nBasis + (1 if config.fitForBackground else 0)
    if penalty.shape == (nBasis + 1, nBasis + 1) and config.fitForBackground:
        if np.any(penalty[-1]) or np.any(penalty[:, -1]):
            raise ValueError("the last row and column of hMat belong to the background and must be zero")
        penalty = penalty[:-1, :-1]
    if penalty.shape != (nBasis, nBasis):
        raise ValueError(
            f"hMat has shape {penalty.shape}, must be ({nUnknowns}, {nUnknowns}) for {nBasis} basis images"
        )
    return _core.Regularization(
        penalty,
        lambdaType=_core.LambdaType[config.lambdaType],
        lambdaValue=config.lambdaValue,
        lambdaScaling=config.lambdaScaling,
        lambdas=_lambdaGrid(config),
        maxConditionNumber=config.maxConditionNumber,
    )


def _lambdaGrid(config: Any) -> list[float]:
    """Return the strengths of which the one of least risk is taken: lambdaMin to lambdaMax, both included."""
    # Half a thousandth of a step: 0.1 thirty times is not exactly 3.
    count = int((config.lambdaMax - config.lambdaMin) / config.lambdaStep + 5e-4) + 1
    grid = [config.lambdaMin + i * config.lambdaStep for i in range(count)]
    return [10.0**value for value in grid] if config.lambdaStepType == "log" else grid


def chosenStatistics(result: _core.CandidateFit | _core.CandidateAssessment, config: Any) -> ResidualSummary:
    """Return the residual statistics of the core or of the whole stamp, as configured."""
    statistics = result.core if config.useCoreStats else result.whole
    return ResidualSummary(statistics.mean, statistics.rms, statistics.count)


def reasonAgainst(residual: ResidualSummary, clip: bool, config: Any) -> str | None:
    """Return why residuals disqualify a candidate, or None."""
    if not (math.isfinite(residual.mean) and math.isfinite(residual.rms)):
        return f"no residual statistics: {residual.count} pixels"
    if clip and abs(residual.mean) > config.candidateResidualMeanMax:
        return f"residual mean: {residual.mean:.3f} sigma, limit {config.candidateResidualMeanMax}"
    if clip and residual.rms > config.candidateResidualStdMax:
        return f"residual rms: {residual.rms:.3f} sigma, limit {config.candidateResidualStdMax}"
    return None
