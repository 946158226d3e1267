"""The fourth visitor: how well the spatial model subtracts each candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.tracing import getLogger
from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate
from psfmatch.fit.stars.judging import (
    SPATIAL_KERNEL_CRITERIA,
    Criterion,
    fitControl,
    reasonAgainst,
    stampPairs,
)
from psfmatch.kernels import LinearCombinationKernel, ResidualSummary, SpatialFunction2D
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["AssessSpatialKernelVisitor"]

log = getLogger("psfmatch.AssessSpatialKernelVisitor")


class AssessSpatialKernelVisitor:
    """Judges every candidate under the spatial model and rejects those it does not subtract.

    Parameters
    ----------
    kernel, background
        The spatial model.
    config
        Active kernel configuration, or the options read from it.
    criteria
        What disqualifies a candidate: the first reason counts.
    threads
        Number of threads of the core.

    Attributes
    ----------
    nGood, nRejected, nProcessed
        Counters since the last `reset`.
    """

    def __init__(
        self,
        kernel: LinearCombinationKernel,
        background: SpatialFunction2D,
        config: PsfMatchConfig | KernelOptions,
        *,
        criteria: Sequence[Criterion] = SPATIAL_KERNEL_CRITERIA,
        threads: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.background = background
        self.options = KernelOptions.fromConfig(config)
        self.criteria = criteria
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
        options = self.options
        assessments = _core.assessCandidates(
            stampPairs(pending, options),
            self.kernel.basis,
            self.kernel.coefficients(x, y),
            np.atleast_1d(self.background(x, y)).tolist(),
            fitControl(options, len(self.kernel.scaledParameters)),
            nThreads=self.threads,
        )
        for candidate, assessment in zip(pending, assessments, strict=True):
            self.nProcessed += 1
            if not assessment.valid:
                reason: str | None = f"spatial assessment failed: {assessment.message}"
            else:
                candidate.spatialResidual = ResidualSummary(*assessment.statistics(options.useCoreStats))
                reason = reasonAgainst(self.criteria, candidate, options)
            if reason is None:
                candidate.accept()
                self.nGood += 1
            else:
                candidate.reject(reason)
                self.nRejected += 1
                log.debug("Rejecting candidate %d: %s", candidate.id, reason)
