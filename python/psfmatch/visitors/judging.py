"""What the visitors share: how stamps and options reach the core, and which residuals disqualify a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate, ResidualSummary
from psfmatch.exposure import MaskedImage

__all__ = ["chosenStatistics", "fitControl", "reasonAgainst", "stampTuple", "stampTuples"]

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


def fitControl(config: Any) -> _core.CandidateFitControl:
    """Return the core's options for an active kernel configuration."""
    return _core.CandidateFitControl(
        fitBackground=config.fitForBackground,
        constantVariance=config.constantVarianceWeighting,
        iterate=config.iterateSingleKernel,
        zeroWeightBadPixels=config.zeroWeightBadPixels,
        coreRadius=config.candidateCoreRadius,
        checkConditionNumber=config.checkConditionNumber,
        maxConditionNumber=config.maxConditionNumber,
        conditionNumberType=_core.ConditionNumberType[config.conditionNumberType.lower()],
    )


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
