"""What the visitors share: how stamps and options reach the core, and what disqualifies a candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.errors import fixed
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.images import Mask
from psfmatch.kernels.solutions import ResidualSummary

__all__ = [
    "SINGLE_KERNEL_CRITERIA",
    "SPATIAL_KERNEL_CRITERIA",
    "Criterion",
    "fitControl",
    "reasonAgainst",
    "regularizationOf",
    "stampPairs",
]

Criterion = Callable[[KernelCandidate, KernelOptions], str | None]
"""What says why a candidate is to be rejected, "kind: figures", or None where it is good."""

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


def singleKernelResiduals(candidate: KernelCandidate, options: KernelOptions) -> str | None:
    """Say whether residuals of a star's own kernel are too large, with ``singleKernelClipping``."""
    return _tooLarge(candidate.residual, options, options.singleKernelClipping)


def badPixelsInStamp(candidate: KernelCandidate, options: KernelOptions) -> str | None:
    """Say whether bad pixels have cost a star too much of its weight (``maskedStampFraction``)."""
    most = options.maskedStampFraction if options.zeroWeightBadPixels else 0.0
    lost = candidate.kernelSolution.lostFraction
    return f"bad pixels in stamp: {lost:.1%} of the fit, limit {most:.1%}" if 0.0 < most < lost else None


def spatialKernelResiduals(candidate: KernelCandidate, options: KernelOptions) -> str | None:
    """Say whether residuals of a star under the spatial model are too large, with ``spatialKernelClipping``."""
    found = _tooLarge(candidate.spatialResidual, options, options.spatialKernelClipping)
    return None if found is None else f"spatial {found}"


SINGLE_KERNEL_CRITERIA: tuple[Criterion, ...] = (singleKernelResiduals, badPixelsInStamp)
"""Of a star that has been fitted: `KernelCandidate.residual` and its solution are there."""
SPATIAL_KERNEL_CRITERIA: tuple[Criterion, ...] = (spatialKernelResiduals,)
"""Of a star under the kernel of the whole field: `KernelCandidate.spatialResidual` is there."""


def reasonAgainst(criteria: Iterable[Criterion], candidate: KernelCandidate, options: KernelOptions) -> str | None:
    """Return the first reason of some criteria to reject a candidate, or None."""
    return next((reason for each in criteria if (reason := each(candidate, options)) is not None), None)


def _tooLarge(residual: ResidualSummary | None, options: KernelOptions, clip: bool) -> str | None:
    if residual is None:
        return "no residual statistics: not fitted"
    mean, rms = residual.mean, residual.rms
    if not (math.isfinite(mean) and math.isfinite(rms)):
        return f"no residual statistics: {residual.count} pixels"
    if clip and abs(mean) > options.candidateResidualMeanMax:
        return f"residual mean: {fixed(mean, 3)} sigma, limit {options.candidateResidualMeanMax}"
    if clip and rms > options.candidateResidualStdMax:
        return f"residual rms: {rms:.3f} sigma, limit {options.candidateResidualStdMax}"
    return None
