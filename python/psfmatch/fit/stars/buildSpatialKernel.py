"""The third visitor: one kernel and background for the whole field (Alard 2000, A&AS 144, 363)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.tracing import getLogger
from psfmatch.errors import KernelSolutionError, NoKernelCandidatesError, NumericalError
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.fit.spatialModel import SpatialModels, spatialModels
from psfmatch.fit.stars.judging import MAX_KEPT_UNKNOWNS, fitControl, regularizationOf, stampPairs
from psfmatch.images import Box
from psfmatch.kernels import (
    LinearCombinationKernel,
    SpatialFunction2D,
    frameOf,
    spatialFunctionOf,
)
from psfmatch.kernels.basis import KernelBasis, kernelBasisClass
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = ["BuildSpatialKernelVisitor"]

log = getLogger("psfmatch.BuildSpatialKernelVisitor")

FloatArray = npt.NDArray[np.float64]


class BuildSpatialKernelVisitor:
    """Collects the equations of all candidates and solves for the kernel and background over the field.

    Parameters
    ----------
    basisList : KernelBasis or (n, h, w)
        Of the candidates' solutions; plain images are taken for those of the configured family, or if
        ``usePcaForSpatialKernel`` is set for principal components.
    bbox
        Area on which Chebyshev functions are defined.
    config
        Active kernel configuration, or the options read from it.
    hMat : (m, m), optional
        Penalty with which the candidates were fitted, see `BuildSingleKernelVisitor`. Each candidate's equations
        enter with its own strength of it.
    constantFirstTerm
        The coefficient of the first image does not vary; by default `KernelBasis.firstCarriesSum`.
    threads
        Number of threads of the core.
    """

    def __init__(
        self,
        basisList: KernelBasis | npt.ArrayLike,
        bbox: Box,
        config: PsfMatchConfig | KernelOptions,
        hMat: npt.ArrayLike | None = None,
        *,
        constantFirstTerm: bool | None = None,
        threads: int | None = None,
    ) -> None:
        self.basisList = np.ascontiguousarray(basisList, dtype=np.float64)
        self.bbox = bbox
        self.options = options = KernelOptions.fromConfig(config)
        spatialModels(options, frameOf(bbox))  # refuses what is unknown
        if constantFirstTerm is None:
            if isinstance(basisList, KernelBasis):
                constantFirstTerm = basisList.firstCarriesSum
            else:
                constantFirstTerm = options.usePcaForSpatialKernel or kernelBasisClass(options).firstCarriesSum
        self.constantFirstTerm = constantFirstTerm
        self.threads = resolveThreads(threads)
        self._regularization = None if hMat is None else regularizationOf(hMat, len(self.basisList), options)
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

        Chebyshev functions and B-splines are defined over the box. Polynomials have no frame of their own, so the
        rectangle of the candidates conditions them best, wherever it lies.
        """
        frame = frameOf(self.bbox)
        if self.options.spatialModelType != "polynomial":
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
        options = self.options
        frame = self._frame()
        functions = spatialModels(options, frame)
        try:
            result = self._solve(functions)
        except NumericalError as error:
            raise KernelSolutionError(
                f"the spatial kernel of {functions.kernel.told} could not be solved from "
                f"{len(self.candidates)} candidates: {error}. Try a lower spatialKernelOrder or spatialBgOrder.",
                nCandidates=len(self.candidates),
            ) from error
        self.conditionNumber = result.conditionNumber
        self.nUnknowns = result.nUnknowns
        kernelCovariance, backgroundCovariance = self._covariances(result)
        kernel = LinearCombinationKernel(
            self.basisList, result.kernelParameters, covariance=kernelCovariance, function=result.kernelFunction
        )
        background = spatialFunctionOf(functions.background, result.backgroundParameters, backgroundCovariance)
        log.debug(
            "Spatial solution: %d unknowns, %d candidates, condition number %.3g, solved by %s",
            result.nUnknowns, len(self.candidates), result.conditionNumber, result.method.name,
        )  # fmt: skip
        self._solution = (kernel, background)

    def _solve(self, functions: SpatialModels) -> _core.SpatialKernelSolution:
        """Solve the equations of all candidates; those that were not kept are made again from the stamps."""
        options = self.options
        backgroundFunction = functions.background if options.fitForBackground else None
        # With a constant first term the kernel sum varies, if at all, by a function of its own.
        hasScale = self.constantFirstTerm and functions.scale.size > 1
        constantFirstTerm, scaleFunction = (
            self.constantFirstTerm and not hasScale,
            functions.scale if hasScale else None,
        )
        solutions = [c.kernelSolution for c in self.candidates]
        x, y = [c.x for c in self.candidates], [c.y for c in self.candidates]
        conditionNumberType = _core.ConditionNumberType[options.conditionNumberType.lower()]
        if self._regularization is None and len(self.basisList) <= MAX_KEPT_UNKNOWNS:
            noise = [s.noiseMatrix for s in solutions if s.noiseMatrix is not None]
            return _core.solveSpatialKernel(
                [s.matrix for s in solutions],
                [s.rightHandSide for s in solutions],
                x,
                y,
                len(self.basisList),
                functions.kernel,
                backgroundFunction,
                constantFirstTerm=constantFirstTerm,
                scaleFunction=scaleFunction,
                conditionNumberType=conditionNumberType,
                noiseMatrices=noise if options.calculateKernelUncertainty else None,
                nThreads=self.threads,
            )
        return _core.solveSpatialKernelFromStamps(
            stampPairs(self.candidates, options),
            _core.PreparedBasis(self.basisList),
            fitControl(options, len(self.basisList)),
            x,
            y,
            functions.kernel,
            backgroundFunction,
            constantFirstTerm=constantFirstTerm,
            scaleFunction=scaleFunction,
            conditionNumberType=conditionNumberType,
            regularization=self._regularization,
            strengths=[s.regularizationStrength for s in solutions] if self._regularization is not None else None,
            nThreads=self.threads,
        )

    def _covariances(self, result: _core.SpatialKernelSolution) -> tuple[FloatArray | None, FloatArray | None]:
        """Return the covariances of all kernel parameters, row by row, and of the background's."""
        if not self.options.calculateKernelUncertainty:
            return None, None
        n, p = result.kernelParameters.shape
        q = result.backgroundParameters.size
        # Coefficients have parameters of their own functions alone; the others are zero, without error.
        places = [result.scalePlaces] + [result.kernelPlaces] * (n - 1)
        rows = np.array([i * p + place for i, own in enumerate(places) for place in own])
        kernel, background = np.zeros((n * p, n * p)), np.zeros((q, q))
        kernel[np.ix_(rows, rows)] = result.covariance[: rows.size, : rows.size]
        if self.options.fitForBackground:
            background[:] = result.covariance[rows.size :, rows.size :]
        return kernel, background

    def getSolutionPair(self) -> tuple[LinearCombinationKernel, SpatialFunction2D]:
        """Return kernel and differential background; RuntimeError before `solveLinearEquation`."""
        if self._solution is None:
            raise RuntimeError("no spatial solution yet: call solveLinearEquation first")
        return self._solution
