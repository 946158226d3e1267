"""What the visitors share: how stamps and options reach the core, and which residuals disqualify a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate
from psfmatch.exposure import Mask, MaskedImage
from psfmatch.solutions import ResidualSummary

__all__ = ["ResidualLimits", "fitControl", "regularizationOf", "stampPairs", "stampTuple"]

MAX_KEPT_UNKNOWNS = 64
"""Normal equations of larger bases take megabytes for each candidate: they are made again when they are needed."""

StampTuple = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]


def stampTuple(stamp: MaskedImage, planes: Sequence[str]) -> StampTuple:
    """Return image, variance, mask and the bits of the planes that are bad in it, as the core takes them."""
    bits = stamp.mask.getPlaneBitMask(planes, ignoreMissing=True)
    return (stamp.image, stamp.variance, np.asarray(stamp.mask), bits)


def stampPairs(candidates: Sequence[KernelCandidate], config: Any) -> list[_core.StampPair]:
    """Return both stamps of each candidate as the core takes them.

    They are made once for each candidate and kept with it, as long as its stamps and the planes that are bad in them
    stay what they are.
    """
    planes = tuple(config.badPlanes())
    known: dict[int, int] = {}

    def bitsOf(mask: Mask) -> int:
        # All stamps of one image share its planes.
        bits = known.get(id(mask.planes))
        if bits is None:
            bits = known[id(mask.planes)] = mask.getPlaneBitMask(planes, ignoreMissing=True)
        return bits

    pairs = []
    for candidate in candidates:
        template, science = candidate.templateMaskedImage, candidate.scienceMaskedImage
        bits = bitsOf(template.mask), bitsOf(science.mask)
        kept = candidate.keptStamps
        if kept is None or kept[0] is not template or kept[1] is not science or kept[2] != bits:
            pair = _core.StampPair(
                (template.image, template.variance, np.asarray(template.mask), bits[0]),
                (science.image, science.variance, np.asarray(science.mask), bits[1]),
            )
            kept = candidate.keptStamps = template, science, bits, pair
        pairs.append(kept[3])
    return pairs


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


@dataclass(frozen=True)
class ResidualLimits:
    """Which residuals are judged, those of the core or of the whole stamp, and what disqualifies a candidate, in sigma.

    Fields of a configuration are slow to read: this holds those that every candidate needs.
    """

    useCore: bool
    clip: bool
    meanMax: float
    rmsMax: float

    @classmethod
    def of(cls, config: Any, clip: bool) -> ResidualLimits:
        """Return the limits of an active kernel configuration."""
        return cls(config.useCoreStats, clip, config.candidateResidualMeanMax, config.candidateResidualStdMax)

    def chosen(self, result: _core.CandidateFit | _core.CandidateAssessment) -> ResidualSummary:
        """Return the residual statistics that are judged."""
        return ResidualSummary(*result.statistics(self.useCore))

    def reasonAgainst(self, residual: ResidualSummary) -> str | None:
        """Return why residuals disqualify a candidate, or None."""
        mean, rms = residual.mean, residual.rms
        if not (math.isfinite(mean) and math.isfinite(rms)):
            return f"no residual statistics: {residual.count} pixels"
        if self.clip and abs(mean) > self.meanMax:
            return f"residual mean: {mean:.3f} sigma, limit {self.meanMax}"
        if self.clip and rms > self.rmsMax:
            return f"residual rms: {rms:.3f} sigma, limit {self.rmsMax}"
        return None
