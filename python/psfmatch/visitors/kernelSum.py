"""The second visitor: the flux ratio must be the same for all candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from psfmatch import _core
from psfmatch.cells import KernelCandidate, SolutionSlot
from psfmatch.errors import KernelSolutionError, NoKernelCandidatesError
from psfmatch.tracing import getLogger

__all__ = ["KernelSumVisitor"]

log = getLogger("psfmatch.visitors")


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
            raise NoKernelCandidatesError("Unable to determine kernel sum; 0 candidates", nCandidates=0)
        if not np.isfinite(self._sums).all():
            raise KernelSolutionError(
                f"{np.count_nonzero(~np.isfinite(self._sums))} of {len(self._sums)} kernel sums are not finite",
                nCandidates=len(self._sums),
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
