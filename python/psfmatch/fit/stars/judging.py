"""What the visitors share: how stamps and options reach the core, and which residuals disqualify a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.errors import fixed
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.images import Mask
from psfmatch.kernels.solutions import ResidualSummary

__all__ = ["ResidualLimits", "fitControl", "regularizationOf", "stampPairs"]

MAX_KEPT_UNKNOWNS = 64
"""Normal equations of larger bases take megabytes for each candidate: they are made again when they are needed."""


def stampPairs(candidates: Sequence[KernelCandidate], options: KernelOptions) -> list[_core.StampPair]:
    """Return both stamps of each candidate as the core takes them.

    They are made once for each candidate and kept with it, as long as its stamps and the planes that are bad in them
    stay what they are.
    """
    planes = options.badPlanes()
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


def fitControl(options: KernelOptions, nBasis: int) -> _core.CandidateFitControl:
    """Return the core's options for a kernel's options and a number of basis images."""
    return _core.CandidateFitControl(
        fitBackground=options.fitForBackground,
        constantVariance=options.constantVarianceWeighting,
        iterate=options.iterateSingleKernel,
        zeroWeightBadPixels=options.zeroWeightBadPixels,
        coreRadius=options.candidateCoreRadius,
        checkConditionNumber=options.checkConditionNumber,
        maxConditionNumber=options.maxConditionNumber,
        conditionNumberType=_core.ConditionNumberType[options.conditionNumberType.lower()],
        keepEquations=nBasis <= MAX_KEPT_UNKNOWNS,
        covariance=options.calculateKernelUncertainty,
    )


def regularizationOf(hMat: npt.ArrayLike, nBasis: int, options: KernelOptions) -> _core.Regularization:
    """Return what the core needs to penalise rough kernels.

    Raises
    ------
    ValueError
        If the matrix has the wrong size, or would penalise the background.
    """
    penalty = np.asarray(hMat, dtype=np.float64)
    nUnknowns = nBasis + (1 if options.fitForBackground else 0)
    if penalty.shape == (nBasis + 1, nBasis + 1) and options.fitForBackground:
        if np.any(penalty[-1]) or np.any(penalty[:, -1]):
            raise ValueError("the last row and column of hMat belong to the background and must be zero")
        penalty = penalty[:-1, :-1]
    if penalty.shape != (nBasis, nBasis):
        raise ValueError(
            f"hMat has shape {penalty.shape}, must be ({nUnknowns}, {nUnknowns}) for {nBasis} basis images"
        )
    return _core.Regularization(
        penalty,
        lambdaType=_core.LambdaType[options.lambdaType],
        lambdaValue=options.lambdaValue,
        lambdaScaling=options.lambdaScaling,
        lambdas=_lambdaGrid(options),
        maxConditionNumber=options.maxConditionNumber,
    )


def _lambdaGrid(options: KernelOptions) -> list[float]:
    """Return the strengths of which the one of least risk is taken: lambdaMin to lambdaMax, both included."""
    # Half a thousandth of a step: 0.1 thirty times is not exactly 3.
    count = int((options.lambdaMax - options.lambdaMin) / options.lambdaStep + 5e-4) + 1
    grid = [options.lambdaMin + i * options.lambdaStep for i in range(count)]
    return [10.0**value for value in grid] if options.lambdaStepType == "log" else grid


@dataclass(frozen=True)
class ResidualLimits:
    """Whether the core or the whole stamp is judged, and which residuals disqualify a candidate (sigma)."""

    useCore: bool
    clip: bool
    meanMax: float
    rmsMax: float

    @classmethod
    def of(cls, options: KernelOptions, clip: bool) -> ResidualLimits:
        """Return the limits of a kernel's options."""
        return cls(options.useCoreStats, clip, options.candidateResidualMeanMax, options.candidateResidualStdMax)

    def chosen(self, result: _core.CandidateFit | _core.CandidateAssessment) -> ResidualSummary:
        """Return the residual statistics that are judged."""
        return ResidualSummary(*result.statistics(self.useCore))

    def reasonAgainst(self, residual: ResidualSummary) -> str | None:
        """Return why residuals disqualify a candidate, or None."""
        mean, rms = residual.mean, residual.rms
        if not (math.isfinite(mean) and math.isfinite(rms)):
            return f"no residual statistics: {residual.count} pixels"
        if self.clip and abs(mean) > self.meanMax:
            return f"residual mean: {fixed(mean, 3)} sigma, limit {self.meanMax}"
        if self.clip and rms > self.rmsMax:
            return f"residual rms: {rms:.3f} sigma, limit {self.rmsMax}"
        return None
