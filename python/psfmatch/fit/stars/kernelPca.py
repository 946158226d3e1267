"""The visitor between fit and spatial fit: principal components of the candidates' own kernels as a smaller basis.

Few components carry all that a field's kernels have in common, so that the spatial fit of a delta-function kernel
has few unknowns (Becker et al. 2012, MNRAS 425, 1341, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.tracing import getLogger
from psfmatch.errors import KernelSolutionError, NoKernelCandidatesError
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.kernels.basis import renormalizeBasis
from psfmatch.kernels.solutions import SolutionSlot

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["KernelPcaVisitor"]

log = getLogger("psfmatch.KernelPcaVisitor")

FloatArray = npt.NDArray[np.float64]

NEGLIGIBLE = 1e-20
"""Of the largest variance, or of the mean kernel's squares: below this a component is rounding of float64."""


NO_SUM = 1e-10
"""Of the sum of absolute pixels: a smaller sum is rounding, to which no kernel can be normalised."""


class KernelPcaVisitor:
    """Collects the kernels of the candidates' first solutions and finds their principal components.

    Parameters
    ----------
    config
        Active kernel configuration, or the options read from it: ``subtractMeanForPca``, ``weightPcaByInformation`` and
        ``numPrincipalComponents`` are used.

    Attributes
    ----------
    eigenValues : (N,)
        (Weighted) variance along each component, falling; of N kernels. Empty before `analyze`.
    eigenKernels
        The mean kernel, if it is subtracted, and the components, each scaled to an extreme value of 1.
    """

    def __init__(self, config: PsfMatchConfig | KernelOptions) -> None:
        self.options = KernelOptions.fromConfig(config)
        self.eigenValues: FloatArray = np.zeros(0)
        self.eigenKernels: list[FloatArray] = []
        self.reset()

    def reset(self) -> None:
        """Forget all kernels."""
        self._images: list[FloatArray] = []
        self._sumErrors: list[float] = []

    def processCandidate(self, candidate: KernelCandidate) -> None:
        """Collect one kernel."""
        self.processCandidates([candidate])

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Collect the kernels, each divided by its sum; one that is missing, sums to zero or overflows is left out."""
        for candidate in candidates:
            if not candidate.isInitialized:
                continue
            solution = candidate.getKernelSolution(SolutionSlot.ORIG)
            with np.errstate(all="ignore"):
                image = solution.computeImage() / solution.kernelSum
            if not (np.isfinite(solution.kernelSum) and np.isfinite(image).all()):
                continue
            self._images.append(image)
            self._sumErrors.append(solution.kernelSumError)

    def analyze(self) -> None:
        """Find the principal components.

        Raises
        ------
        NoKernelCandidatesError
            If no kernel was collected.
        """
        if not self._images:
            raise NoKernelCandidatesError(
                "No kernels for the principal components: no candidate has a kernel whose sum is finite and not zero; "
                "check that both images show the same stars",
                nCandidates=0,
            )
        images = np.stack(self._images)
        weights = self._weights()
        mean = np.average(images, axis=0, weights=weights)
        if self.options.subtractMeanForPca:
            images = images - mean
        images = images * np.sqrt(weights)[:, np.newaxis, np.newaxis]
        self.eigenValues, components = _core.principalComponents(images)
        total = max(float(self.eigenValues.sum()), np.finfo(float).tiny)
        fractions = " ".join(
            f"{value / total:.4f}" for value in self.eigenValues[: self.options.numPrincipalComponents]
        )
        log.debug("Principal components of %d kernels; fractions of the variance: %s", len(images), fractions)
        self.eigenKernels = ([mean] if self.options.subtractMeanForPca else []) + list(components)

    def _weights(self) -> FloatArray:
        """Return the weight of each kernel, of mean 1: the inverse variance of its sum, where that is known.

        The error of the sum tells how well the whole kernel is known: large for faint stars, whose kernels are
        mostly noise, and for galaxies, whose smooth light does not tell the pixels of a kernel apart.
        """
        errors = np.array(self._sumErrors)
        if not self.options.weightPcaByInformation or not (np.isfinite(errors) & (errors > 0.0)).all():
            return np.ones(errors.size)
        weights = (errors / errors.min()) ** -2.0
        return np.asarray(weights / weights.mean())

    def basisList(self) -> FloatArray:
        """Return the basis (n, h, w) of the first ``numPrincipalComponents`` components, the mean included.

        The first image sums to 1, all others to 0 with a sum of squares of 1. Components that explain nothing are
        left out: their shape is rounding.

        Raises
        ------
        KernelSolutionError
            If all eigenvalues are zero: the kernels do not differ, and leave no component. If the first image sums to
            zero: kernels that are mostly noise differ more than they have in common.
        """
        count = min(self.options.numPrincipalComponents, len(self.eigenValues))
        if not self.eigenValues.any():
            raise KernelSolutionError(
                f"Eigenvalues sum to zero: {len(self.eigenValues)} kernels are all alike and have no principal "
                "components; set usePcaForSpatialKernel to False",
                nCandidates=len(self.eigenValues),
            )
        nMean = len(self.eigenKernels) - len(self.eigenValues)
        scale = max(self.eigenValues[0], float((self.eigenKernels[0] ** 2).sum()) if nMean else 0.0)
        nUseful = int(np.count_nonzero(self.eigenValues > NEGLIGIBLE * scale))
        first = self.eigenKernels[0]
        if abs(first.sum()) <= NO_SUM * np.abs(first).sum():
            raise KernelSolutionError(
                f"The first component of {len(self.eigenValues)} kernels sums to zero: they differ more than they have "
                "in common; set subtractMeanForPca, or usePcaForSpatialKernel to False",
                nCandidates=len(self.eigenValues),
            )
        return renormalizeBasis(np.stack(self.eigenKernels[: min(count, nMean + nUseful)]))
