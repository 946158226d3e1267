"""The second visitor: the flux ratio must be the same for all candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.tracing import getLogger
from psfmatch.errors import KernelSolutionError, NoKernelCandidatesError
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.kernels.solutions import KernelSolution, SolutionSlot

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["KernelSumVisitor"]

log = getLogger("psfmatch.KernelSumVisitor")

FloatArray = npt.NDArray[np.float64]

MIN_WEIGHTED_SUMS = 5
"""Fewer sums do not tell their common scatter from their own errors: they count alike."""


class KernelSumVisitor:
    """Compares the kernel sums, i.e. the flux ratios, of all candidates and rejects outliers.

    A bright star knows its kernel sum far better than a faint one. So where the solutions tell the errors of their
    sums, each sum is measured in units of its own error, to which the scatter is added that even the best known
    sums have; a variable star is then an outlier although faint stars scatter more, and a faint star is none
    because bright ones agree. Without errors all sums count alike.

    Attributes
    ----------
    kSumMean, kSumStd, kSumNpts, dkSumMax
        Clipped (weighted) mean and standard deviation of the sums, their number, and the largest deviation allowed
        (``maxKsumSigma`` standard deviations) for a sum of the typical error; zero before `processKsumDistribution`.
    nRejected
        Candidates rejected since the last `reset`.
    """

    def __init__(self, config: PsfMatchConfig | KernelOptions) -> None:
        self.options = KernelOptions.fromConfig(config)
        self.resetKernelSum()
        self.reset()

    def reset(self) -> None:
        """Start a visit: the counter of rejected candidates is set to zero, the sums are kept."""
        self.nRejected = 0

    def resetKernelSum(self) -> None:
        """Forget all sums."""
        self._solutions: list[KernelSolution] = []
        self.kSumMean = 0.0
        self.kSumStd = 0.0
        self.kSumNpts = 0
        self.dkSumMax = 0.0
        self._common = 0.0
        self._spread = 0.0

    def aggregate(self, candidates: Sequence[KernelCandidate]) -> None:
        """Collect the kernel sums; RuntimeError for a candidate without a solution."""
        self._solutions += [c.getKernelSolution(SolutionSlot.ORIG) for c in candidates]

    def processKsumDistribution(self) -> None:
        """Compute mean, deviation and limit of the collected sums; NoKernelCandidatesError without any."""
        if not self._solutions:
            raise NoKernelCandidatesError("Unable to determine kernel sum; 0 candidates", nCandidates=0)
        sums = np.array([s.kernelSum for s in self._solutions])
        sigmas = np.array([s.kernelSumError for s in self._solutions])
        if not np.isfinite(sums).all():
            raise KernelSolutionError(
                f"{np.count_nonzero(~np.isfinite(sums))} of {sums.size} kernel sums are not finite",
                nCandidates=sums.size,
            )
        self.kSumNpts = sums.size
        if np.isfinite(sigmas).all() and sums.size >= MIN_WEIGHTED_SUMS:
            self._processWeighted(sums, sigmas)
        else:
            statistics = _core.clippedStatistics(sums)
            self.kSumMean = statistics.mean
            self.kSumStd = statistics.stdev
            self._spread = math.nan
        if self.kSumNpts == 1:
            log.warning("Only 1 candidate for the kernel sum (%.4f): outliers cannot be told", self.kSumMean)
        self.dkSumMax = self.options.maxKsumSigma * self.kSumStd
        log.debug("Kernel sum %.4f +/- %.4f from %d candidates", self.kSumMean, self.kSumStd, self.kSumNpts)

    def _processWeighted(self, sums: FloatArray, sigmas: FloatArray) -> None:
        """Find the mean by weights, and by how much deviations exceed their errors."""
        best = np.argsort(sigmas, kind="stable")[: max(MIN_WEIGHTED_SUMS, sums.size // 2)]
        scatter = _core.clippedStatistics(sums[best]).stdev
        self._common = math.sqrt(max(0.0, scatter**2 - float(np.median(sigmas[best])) ** 2))
        errors = np.hypot(sigmas, self._common)
        if not errors.all():
            # Sums without noise that agree: any deviation is one.
            errors = np.maximum(errors, np.finfo(float).eps * np.abs(sums).max())
        middle = _core.clippedStatistics(sums[best]).mean
        pulls = _core.clippedStatistics((sums - middle) / errors)
        self._spread = pulls.stdev
        kept = np.abs((sums - middle) / errors - pulls.mean) <= 3.0 * pulls.stdev
        weights = np.where(kept, errors**-2.0, 0.0)
        self.kSumMean = float(np.average(sums, weights=weights)) if kept.any() else middle
        self.kSumStd = self._spread * float(np.median(errors))

    def _limitsOf(self, sigmas: FloatArray) -> FloatArray:
        """Return by how much sums may deviate from the mean, for their errors."""
        if math.isnan(self._spread):
            return np.full(sigmas.shape, self.dkSumMax)
        # A weighted mean of equal sums may differ from them in the last digit.
        rounding = 4.0 * np.finfo(float).eps * abs(self.kSumMean)
        limits: FloatArray = self.options.maxKsumSigma * self._spread * np.hypot(sigmas, self._common) + rounding
        return limits

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Reject candidates whose kernel sum is too far from the mean (if ``kernelSumClipping`` is on)."""
        if not self.options.kernelSumClipping:
            return
        solutions = [c.getKernelSolution(SolutionSlot.ORIG) for c in candidates]
        sums = np.array([s.kernelSum for s in solutions])
        limits = self._limitsOf(np.array([s.kernelSumError for s in solutions]))
        for i in np.flatnonzero(np.abs(sums - self.kSumMean) > limits).tolist():
            candidate = candidates[i]
            candidate.reject(f"kernel sum: {sums[i]:.4f} is not within {limits[i]:.4f} of {self.kSumMean:.4f}")
            self.nRejected += 1
            log.debug("Rejecting candidate %d: %s", candidate.id, candidate.reason)

    def processCandidate(self, candidate: KernelCandidate) -> None:
        """Handle one candidate."""
        self.processCandidates([candidate])
