"""The first visitor: a kernel of its own for every candidate (Alard & Lupton 1998, ApJ 503, 325)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.tracing import getLogger
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.fit.diagnostics import NO_LIGHT
from psfmatch.fit.stars.judging import (
    SINGLE_KERNEL_CRITERIA,
    Criterion,
    fitControl,
    reasonAgainst,
    regularizationOf,
    stampPairs,
)
from psfmatch.kernels.solutions import KernelSolution, ResidualSummary, SolutionSlot
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["BuildSingleKernelVisitor"]

KINDS = {
    _core.CandidateOutcome.noLight: NO_LIGHT,
    _core.CandidateOutcome.illConditioned: "condition number",
    _core.CandidateOutcome.failed: "fit failed",
}
"""Of reasons against candidates without a solution."""

log = getLogger("psfmatch.BuildSingleKernelVisitor")


class BuildSingleKernelVisitor:
    """Fits a kernel (and background) to each candidate and rejects those it does not subtract.

    Parameters
    ----------
    basisList : (n, h, w)
        Basis images.
    config
        Active kernel configuration, or the options read from it.
    hMat : (m, m), optional
        Penalty of `makeRegularizationMatrix`, for n basis images or n + 1 unknowns with a background, whose last
        row and column are zero. Its strength is found by ``lambdaType``.
    skipBuilt
        Leave candidates alone that already have a solution.
    slot
        Where the solution goes.
    criteria
        What disqualifies a candidate that has been fitted: the first reason counts.
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
        config: PsfMatchConfig | KernelOptions,
        hMat: npt.ArrayLike | None = None,
        *,
        skipBuilt: bool = True,
        slot: SolutionSlot = SolutionSlot.ORIG,
        criteria: Sequence[Criterion] = SINGLE_KERNEL_CRITERIA,
        threads: int | None = None,
    ) -> None:
        self.basisList = np.ascontiguousarray(basisList, dtype=np.float64)
        self.options = options = KernelOptions.fromConfig(config)
        self.skipBuilt = skipBuilt
        self.slot = slot
        self.criteria = criteria
        self.threads = resolveThreads(threads)
        self._prepared = _core.PreparedBasis(self.basisList)
        self._regularization = None if hMat is None else regularizationOf(hMat, len(self.basisList), options)
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
        fits = _core.fitCandidates(
            stampPairs(pending, self.options),
            self._prepared,
            fitControl(self.options, len(self.basisList)),
            regularization=self._regularization,
            nThreads=self.threads,
        )
        self._judge(pending, fits)

    def _judge(self, candidates: list[KernelCandidate], fits: list[_core.CandidateFit]) -> None:
        """Keep the solutions and say which candidates are good."""
        options = self.options
        withNoise = options.calculateKernelUncertainty
        isTold = log.isEnabledFor(logging.DEBUG)
        for candidate, fit in zip(candidates, fits, strict=True):
            if not fit.isSolved:
                self._reject(candidate, f"{KINDS[fit.outcome]}: {fit.message}")
                continue
            solution = self._solutionOf(fit, withNoise)
            candidate.setKernelSolution(solution, self.slot)
            self.nProcessed += 1
            residual = candidate.residual = ResidualSummary(*fit.statistics(options.useCoreStats))
            candidate.chi2 = residual.rms**2
            if isTold:
                log.debug(
                    "Candidate %d at (%.1f, %.1f): residual %.3f +/- %.3f sigma (%d pixels), kernel sum %.4f, "
                    "background %.4g",
                    candidate.id, candidate.x, candidate.y, residual.mean, residual.rms, residual.count,
                    solution.kernelSum, solution.background,
                )  # fmt: skip
            reason = reasonAgainst(self.criteria, candidate, options)
            if reason is None:
                candidate.accept()
            else:
                self._reject(candidate, reason)

    def _solutionOf(self, fit: _core.CandidateFit, withNoise: bool) -> KernelSolution:
        background, kernelSum, kernelSumError, conditionNumber, method, lostFraction, strength = fit.scalars
        mean, rms, count = fit.statistics(core=False)
        return KernelSolution(
            basis=self.basisList,
            coefficients=fit.coefficients,
            background=background,
            kernelSum=kernelSum,
            kernelSumError=kernelSumError,
            matrix=fit.matrix,
            rightHandSide=fit.rightHandSide,
            conditionNumber=conditionNumber,
            method=method,
            lostFraction=lostFraction,
            # The sum of squares that an unbiased rms and a mean stand for.
            chiSquare=(count - 1) * rms**2 + count * mean**2,
            nPixels=count,
            regularizationStrength=strength,
            covariance=fit.covariance if withNoise else None,
            noiseMatrix=fit.noiseMatrix if withNoise else None,
        )

    def _reject(self, candidate: KernelCandidate, reason: str) -> None:
        candidate.reject(reason)
        self.nRejected += 1
        log.debug("Rejecting candidate %d at (%.1f, %.1f): %s", candidate.id, candidate.x, candidate.y, reason)
