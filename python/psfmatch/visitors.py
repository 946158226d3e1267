"""The four visitors of the solution: fit each candidate, compare kernel sums, fit the spatial model, assess it.

Each handles all candidates of a pass in one call of the compiled core, which uses all threads and releases the
interpreter. The thresholds are policy and live here; the arithmetic over pixels does not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import CandidateStatus, KernelCandidate, KernelSolution, ResidualSummary, SolutionSlot
from psfmatch.errors import KernelSolutionError, NoKernelCandidatesError
from psfmatch.exposure import Box, MaskedImage
from psfmatch.kernels import RAW_PIXELS, LinearCombinationKernel, SpatialFunction2D, frameOf, makeSpatialFunction
from psfmatch.threads import resolveThreads

__all__ = [
    "AssessSpatialKernelVisitor",
    "BuildSingleKernelVisitor",
    "BuildSpatialKernelVisitor",
    "KernelSumVisitor",
]

log = logging.getLogger("psfmatch.visitors")

StampTuple = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]


def badPlanesOf(config: Any) -> tuple[str, ...]:
    """Return the planes whose pixels are left out of fits and statistics."""
    planes = list(config.badMaskPlanes)
    if config.zeroWeightBadPixels:
        planes += [plane for plane in config.badPixelMaskPlanes if plane not in planes]
    return tuple(planes)


def _stampTuple(stamp: MaskedImage, planes: Sequence[str]) -> StampTuple:
    bits = stamp.mask.getPlaneBitMask(planes, ignoreMissing=True)
    return (stamp.image, stamp.variance, np.asarray(stamp.mask), bits)


def _stampTuples(
    candidates: Sequence[KernelCandidate], config: Any
) -> tuple[list[StampTuple], list[StampTuple]]:
    planes = badPlanesOf(config)
    return (
        [_stampTuple(c.templateMaskedImage, planes) for c in candidates],
        [_stampTuple(c.scienceMaskedImage, planes) for c in candidates],
    )


def _fitControl(config: Any) -> _core.CandidateFitControl:
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


def _chosenStatistics(result: _core.CandidateFit | _core.CandidateAssessment, config: Any) -> ResidualSummary:
    statistics = result.core if config.useCoreStats else result.whole
    return ResidualSummary(statistics.mean, statistics.rms, statistics.count)


def _reasonAgainst(residual: ResidualSummary, clip: bool, config: Any) -> str | None:
    """Return why residuals disqualify a candidate, or None."""
    if not (math.isfinite(residual.mean) and math.isfinite(residual.rms)):
        return f"no residual statistics: {residual.count} pixels"
    if clip and abs(residual.mean) > config.candidateResidualMeanMax:
        return f"residual mean: {residual.mean:.3f} sigma, limit {config.candidateResidualMeanMax}"
    if clip and residual.rms > config.candidateResidualStdMax:
        return f"residual rms: {residual.rms:.3f} sigma, limit {config.candidateResidualStdMax}"
    return None


class BuildSingleKernelVisitor:
    """Fits a kernel (and background) to each candidate and rejects those it does not subtract.

    Parameters
    ----------
    basisList : (n, h, w)
        Basis images.
    config
        Active kernel configuration.
    skipBuilt
        Leave candidates alone that already have a solution.
    slot
        Where the solution goes.
    threads
        Number of threads of the core.

    Attributes
    ----------
    nProcessed, nRejected
        Candidates fitted and judged, and candidates rejected, since the last `reset`.
    """

    def __init__(
        self,
        basisList: npt.ArrayLike,
        config: Any,
        *,
        skipBuilt: bool = True,
        slot: SolutionSlot = SolutionSlot.ORIG,
        threads: int | None = None,
    ) -> None:
        self.basisList = np.ascontiguousarray(basisList, dtype=np.float64)
        self.config = config
        self.skipBuilt = skipBuilt
        self.slot = slot
        self.threads = resolveThreads(threads)
        self._prepared = _core.PreparedBasis(self.basisList)
        self.reset()

    def reset(self) -> None:
        """Set the counters to zero."""
        self.nProcessed = 0
        self.nRejected = 0

    def processCandidate(self, candidate: KernelCandidate) -> None:
        """Handle one candidate."""
        self.processCandidates([candidate])

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Fit all candidates that need it."""
        pending = [c for c in candidates if not (self.skipBuilt and c.isInitialized)]
        if not pending:
            return
        templates, sciences = _stampTuples(pending, self.config)
        fits = _core.fitCandidates(
            templates, sciences, self._prepared, _fitControl(self.config), nThreads=self.threads
        )
        for candidate, fit in zip(pending, fits, strict=True):
            self._judge(candidate, fit)

    def _judge(self, candidate: KernelCandidate, fit: _core.CandidateFit) -> None:
        if fit.outcome is not _core.CandidateOutcome.solved:
            kind = "condition number" if fit.outcome is _core.CandidateOutcome.illConditioned else "fit failed"
            self._reject(candidate, f"{kind}: {fit.message}")
            return
        candidate.setKernelSolution(
            KernelSolution(
                basis=self.basisList,
                coefficients=fit.coefficients,
                background=fit.background,
                kernelSum=fit.kernelSum,
                matrix=fit.matrix,
                rightHandSide=fit.rightHandSide,
                conditionNumber=fit.conditionNumber,
                method=fit.method.name,
                lostFraction=fit.lostFraction,
            ),
            self.slot,
        )
        self.nProcessed += 1
        residual = _chosenStatistics(fit, self.config)
        candidate.residual = residual
        candidate.chi2 = residual.rms**2
        log.debug(
            "Candidate %d at (%.1f, %.1f): residual %.3f +/- %.3f sigma (%d pixels), kernel sum %.4f, background %.4g",
            candidate.id, candidate.x, candidate.y, residual.mean, residual.rms, residual.count,
            fit.kernelSum, fit.background,
        )  # fmt: skip
        maxLost = self.config.maskedStampFraction
        reason = _reasonAgainst(residual, self.config.singleKernelClipping, self.config)
        if reason is None and self.config.zeroWeightBadPixels and maxLost > 0.0 and fit.lostFraction > maxLost:
            reason = f"bad pixels in stamp: {fit.lostFraction:.1%} of the fit, limit {maxLost:.1%}"
        if reason is None:
            candidate.accept()
        else:
            self._reject(candidate, reason)

    def _reject(self, candidate: KernelCandidate, reason: str) -> None:
        candidate.reject(reason)
        self.nRejected += 1
        log.debug("Rejecting candidate %d at (%.1f, %.1f): %s", candidate.id, candidate.x, candidate.y, reason)


class KernelSumVisitor:
    """Compares the kernel sums, i.e. the flux ratios, of all candidates and rejects outliers.

    Attributes
    ----------
    kSumMean, kSumStd, kSumNpts, dkSumMax
        Clipped mean and standard deviation of the sums, their number, and the largest deviation allowed
        (``maxKsumSigma`` standard deviations); zero before `processKsumDistribution`.
    nRejected
        Candidates rejected since the last `reset`.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self.resetKernelSum()
        self.reset()

    def reset(self) -> None:
        """Start a visit: the counter of rejected candidates is set to zero, the sums are kept."""
        self.nRejected = 0

    def resetKernelSum(self) -> None:
        """Forget all sums."""
        self._sums: list[float] = []
        self.kSumMean = 0.0
        self.kSumStd = 0.0
        self.kSumNpts = 0
        self.dkSumMax = 0.0

    def aggregate(self, candidates: Sequence[KernelCandidate]) -> None:
        """Collect the kernel sums; RuntimeError for a candidate without a solution."""
        self._sums += [c.getKernelSolution(SolutionSlot.ORIG).kernelSum for c in candidates]

    def processKsumDistribution(self) -> None:
        """Compute mean, deviation and limit of the collected sums; NoKernelCandidatesError without any."""
        if not self._sums:
            raise NoKernelCandidatesError(
                "Unable to determine kernel sum; 0 candidates", nCandidates=0
            )
        statistics = _core.clippedStatistics(np.array(self._sums))
        self.kSumNpts = len(self._sums)
        self.kSumMean = statistics.mean
        self.kSumStd = statistics.stdev
        if self.kSumNpts == 1:
            log.warning("Only 1 candidate for the kernel sum (%.4f): outliers cannot be told", self.kSumMean)
        self.dkSumMax = self.config.maxKsumSigma * self.kSumStd
        log.debug("Kernel sum %.4f +/- %.4f from %d candidates", self.kSumMean, self.kSumStd, self.kSumNpts)

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Reject candidates whose kernel sum is too far from the mean (if ``kernelSumClipping`` is on)."""
        if not self.config.kernelSumClipping:
            return
        for candidate in candidates:
            kernelSum = candidate.getKernelSolution(SolutionSlot.ORIG).kernelSum
            if abs(kernelSum - self.kSumMean) > self.dkSumMax:
                candidate.reject(
                    f"kernel sum: {kernelSum:.4f} is not within {self.dkSumMax:.4f} of {self.kSumMean:.4f}"
                )
                self.nRejected += 1
                log.debug("Rejecting candidate %d: %s", candidate.id, candidate.reason)

    def processCandidate(self, candidate: KernelCandidate) -> None:
        """Handle one candidate."""
        self.processCandidates([candidate])


class BuildSpatialKernelVisitor:
    """Collects the equations of all candidates and solves for the kernel and background over the field.

    Parameters
    ----------
    basisList : (n, h, w)
        Basis images of the candidates' solutions.
    bbox
        Area on which Chebyshev functions are defined.
    config
        Active kernel configuration.
    constantFirstTerm
        The coefficient of the first image does not vary; by default so for Alard-Lupton and PCA bases.
    """

    def __init__(
        self, basisList: npt.ArrayLike, bbox: Box, config: Any, *, constantFirstTerm: bool | None = None
    ) -> None:
        self.basisList = np.ascontiguousarray(basisList, dtype=np.float64)
        self.bbox = bbox
        self.config = config
        if config.spatialModelType not in ("chebyshev1", "polynomial"):
            raise ValueError(
                f"spatialModelType {config.spatialModelType!r} is unknown; choose 'chebyshev1' or 'polynomial'"
            )
        if constantFirstTerm is None:
            constantFirstTerm = config.kernelBasisSet == "alard-lupton" or config.usePcaForSpatialKernel
        self.constantFirstTerm = constantFirstTerm
        self.candidates: list[KernelCandidate] = []
        self.nRejected = 0
        self.conditionNumber = math.nan
        self.nUnknowns = 0
        self._solution: tuple[LinearCombinationKernel, SpatialFunction2D] | None = None

    def reset(self) -> None:
        """Set the counter to zero; candidates already collected are kept."""
        self.nRejected = 0

    def processCandidate(self, candidate: KernelCandidate) -> None:
        """Collect one candidate."""
        self.processCandidates([candidate])

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Collect candidates; one without a solution is rejected and left out."""
        for candidate in candidates:
            if candidate.isInitialized:
                self.candidates.append(candidate)
            else:
                candidate.reject("not fitted: it reached the spatial fit without a kernel of its own")
                self.nRejected += 1

    def _frame(self) -> tuple[float, float, float, float]:
        """Return the scaled coordinates of the fit.

        Chebyshev functions are defined over the box. Polynomials have no frame of their own, so the rectangle of
        the candidates conditions them best, wherever it lies.
        """
        frame = frameOf(self.bbox)
        if self.config.spatialModelType == "chebyshev1":
            return frame
        centres, scales = [], []
        for axis, positions in enumerate(([c.x for c in self.candidates], [c.y for c in self.candidates])):
            low, high = min(positions), max(positions)
            isPoint = high <= low
            centres.append(low if isPoint else 0.5 * (low + high))
            scales.append(frame[2 + axis] if isPoint else 0.5 * (high - low))
        return (centres[0], centres[1], scales[0], scales[1])

    def solveLinearEquation(self) -> None:
        """Solve for the spatial parameters.

        Raises
        ------
        NoKernelCandidatesError
            If no candidate was collected.
        KernelSolutionError
            If the equations have no finite solution.
        """
        if not self.candidates:
            raise NoKernelCandidatesError("No kernel candidates for spatial fit", nCandidates=0)
        config = self.config
        frame = self._frame()
        model = _core.SpatialModel[config.spatialModelType]
        kernelFunction = _core.SpatialFunction(model, config.spatialKernelOrder, _core.Frame(*frame))
        backgroundFunction = (
            _core.SpatialFunction(model, config.spatialBgOrder, _core.Frame(*frame))
            if config.fitForBackground
            else None
        )
        solutions = [c.kernelSolution for c in self.candidates]
        try:
            result = _core.solveSpatialKernel(
                [s.matrix for s in solutions],
                [s.rightHandSide for s in solutions],
                [c.x for c in self.candidates],
                [c.y for c in self.candidates],
                len(self.basisList),
                kernelFunction,
                backgroundFunction,
                constantFirstTerm=self.constantFirstTerm,
                conditionNumberType=_core.ConditionNumberType[config.conditionNumberType.lower()],
            )
        except _core.SolutionError as error:
            raise KernelSolutionError(
                f"the spatial kernel of order {config.spatialKernelOrder} could not be solved from "
                f"{len(self.candidates)} candidates: {error}. Try a lower spatialKernelOrder or spatialBgOrder.",
                nCandidates=len(self.candidates),
            ) from error
        self.conditionNumber = result.conditionNumber
        self.nUnknowns = result.nUnknowns
        kernel = LinearCombinationKernel(
            self.basisList, result.kernelParameters, config.spatialModelType, frame=frame
        )
        background = makeSpatialFunction(
            config.spatialModelType,
            result.backgroundParameters,
            frame if config.spatialModelType == "chebyshev1" or config.fitForBackground else RAW_PIXELS,
        )
        log.debug(
            "Spatial solution: %d unknowns, %d candidates, condition number %.3g, solved by %s",
            result.nUnknowns, len(self.candidates), result.conditionNumber, result.method.name,
        )  # fmt: skip
        self._solution = (kernel, background)

    def getSolutionPair(self) -> tuple[LinearCombinationKernel, SpatialFunction2D]:
        """Return kernel and differential background; RuntimeError before `solveLinearEquation`."""
        if self._solution is None:
            raise RuntimeError("no spatial solution yet: call solveLinearEquation first")
        return self._solution


class AssessSpatialKernelVisitor:
    """Judges every candidate under the spatial model and rejects those it does not subtract.

    Attributes
    ----------
    nGood, nRejected, nProcessed
        Counters since the last `reset`.
    """

    def __init__(
        self,
        kernel: LinearCombinationKernel,
        background: SpatialFunction2D,
        config: Any,
        *,
        threads: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.background = background
        self.config = config
        self.threads = resolveThreads(threads)
        self.reset()

    def reset(self) -> None:
        """Set the counters to zero."""
        self.nGood = 0
        self.nRejected = 0
        self.nProcessed = 0

    def processCandidate(self, candidate: KernelCandidate) -> None:
        """Handle one candidate."""
        self.processCandidates([candidate])

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Assess all candidates that have a solution; one without is rejected."""
        pending = []
        for candidate in candidates:
            if candidate.isInitialized:
                pending.append(candidate)
            elif candidate.status is not CandidateStatus.BAD:
                candidate.reject("not fitted: it has no kernel of its own")
                self.nRejected += 1
        if not pending:
            return
        x = np.array([c.x for c in pending])
        y = np.array([c.y for c in pending])
        templates, sciences = _stampTuples(pending, self.config)
        assessments = _core.assessCandidates(
            templates,
            sciences,
            self.kernel.computeImages(x, y),
            list(np.atleast_1d(self.background(x, y))),
            _fitControl(self.config),
            nThreads=self.threads,
        )
        for candidate, assessment in zip(pending, assessments, strict=True):
            self.nProcessed += 1
            if not assessment.valid:
                reason: str | None = f"spatial assessment failed: {assessment.message}"
            else:
                residual = _chosenStatistics(assessment, self.config)
                candidate.spatialResidual = residual
                found = _reasonAgainst(residual, self.config.spatialKernelClipping, self.config)
                reason = None if found is None else f"spatial {found}"
            if reason is None:
                candidate.accept()
                self.nGood += 1
            else:
                candidate.reject(reason)
                self.nRejected += 1
                log.debug("Rejecting candidate %d: %s", candidate.id, reason)
