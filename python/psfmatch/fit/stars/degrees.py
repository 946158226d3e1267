"""The polynomial degrees of an Alard-Lupton basis by the Bayesian information criterion (Schwarz 1978).

More terms always subtract better. The criterion, BIC = sum D^2 / var + k ln n for k kernels and n pixels, charges for
each of them, and every star votes for the degrees that suit it best.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions
from psfmatch.config.tracing import getLogger
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.fit.stars.buildSingleKernel import BuildSingleKernelVisitor

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["chooseDegrees"]

log = getLogger("psfmatch.fit.stars.degrees")

Degrees = tuple[int, ...]


def chooseDegrees(
    cellSet: SpatialCellSet,
    config: PsfMatchConfig | KernelOptions,
    makeBasis: Callable[[Degrees], npt.NDArray[np.float64]],
    threads: int | None = None,
) -> Degrees:
    """Return the degrees that most candidates prefer.

    Parameters
    ----------
    cellSet
        Candidates, of which the best ``nStarPerCell`` of each cell vote; they are not changed.
    config
        Active kernel configuration, a `PsfMatchConfigAL`: degrees from 1 up to ``alardDegGauss`` are tried for each
        of its Gaussians, whatever their number; one of degree 0 keeps it.
    makeBasis
        Returns the basis images (n, h, w) of some degrees.
    threads
        Number of threads of the core.

    Raises
    ------
    NoKernelCandidatesError
        If no candidate is subtracted well enough, by any degrees, to vote.
    """
    options = KernelOptions.fromConfig(config)
    active = cellSet.activeCandidates(options.nStarPerCell)
    best: dict[int, tuple[float, Degrees]] = {}
    for degrees in itertools.product(*(range(min(1, degree), degree + 1) for degree in options.alardDegGauss)):
        basisList = makeBasis(degrees)
        # Copies: what happens to them here is no verdict on the candidates.
        copies = [_copyOf(candidate) for candidate in active]
        BuildSingleKernelVisitor(basisList, options, threads=threads).processCandidates(copies)
        for number, candidate in enumerate(copies):
            if candidate.status is not CandidateStatus.GOOD:
                continue
            solution = candidate.kernelSolution
            bic = solution.chiSquare + len(basisList) * math.log(solution.nPixels)
            # Of equals the first stands: the lower degrees.
            if number not in best or bic < best[number][0]:
                best[number] = (bic, degrees)
    if not best:
        raise NoKernelCandidatesError(
            f"No kernel candidates: none of {len(active)} is subtracted well enough to choose polynomial degrees; "
            "relax candidateResidualStdMax, or set useBicForKernelBasis to False",
            nCandidates=len(active),
        )
    votes = Counter(degrees for _, degrees in best.values())
    # By votes; of equals the smaller basis.
    ranking = sorted(votes.items(), key=lambda item: (-item[1], sum(item[0]), item[0]))
    log.info(
        "BIC prefers the degrees %s; next: %s",
        _inWords(*ranking[0]),
        ", ".join(_inWords(*entry) for entry in ranking[1:3]) or "none",
    )
    return ranking[0][0]


def _inWords(degrees: Degrees, count: int) -> str:
    return f"{' '.join(map(str, degrees))} ({count} candidate{'s' if count != 1 else ''})"


def _copyOf(candidate: KernelCandidate) -> KernelCandidate:
    return KernelCandidate(
        candidate.x,
        candidate.y,
        candidate.templateMaskedImage,
        candidate.scienceMaskedImage,
        candidate.options,
        source=candidate.source,
        rating=candidate.rating,
    )
