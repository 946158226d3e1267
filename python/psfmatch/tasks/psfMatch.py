"""The solution for the matching kernel: a loop that fits, compares and rejects candidates until all agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from psfmatch.config import ImagePsfMatchOptions, KernelOptions
from psfmatch.config.equality import ByValue
from psfmatch.config.later import laterClass, laterView
from psfmatch.config.task import Task, timeMethod
from psfmatch.config.tracing import writingFor
from psfmatch.errors import (
    InputImagesError,
    PsfMatchError,
)
from psfmatch.fit import (
    SINGLE_KERNEL_CRITERIA,
    SPATIAL_KERNEL_CRITERIA,
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    BuildSpatialKernelVisitor,
    Criterion,
    KernelPcaVisitor,
    KernelSumVisitor,
    RegionCells,
    fitRegions,
    reasonAgainst,
)
from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.fit.diagnostics import PassSummary, reportSolution, requireCandidates
from psfmatch.fit.light import requireLight, requirePositive
from psfmatch.fit.stars.degrees import chooseDegrees
from psfmatch.images import MaskedImage
from psfmatch.io.sourceTable import SourceTable
from psfmatch.kernels import (
    LinearCombinationKernel,
    SpatialFunction2D,
    frameOf,
    makeSpatialFunction,
)
from psfmatch.kernels.basis import (
    KernelBasis,
    kernelBasisClass,
    makeKernelBasis,
    makeKernelBasisList,
    makeRegularizationMatrix,
)
from psfmatch.kernels.solutions import SolutionSlot
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from psfmatch.tasks.configs import PsfMatchTaskConfig

__all__ = ["KernelFit", "PsfMatchTask"]


@dataclass(frozen=True, eq=False)
class KernelFit(ByValue):
    """Result of the solve loop.

    kernel, background : the spatial model, passes : one summary per pass, conditionNumber : of the spatial system,
    heldOut : residuals of every region under a solution without it (`psfmatch.fit.RegionFit`), of a fit to regions.
    """

    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    passes: tuple[PassSummary, ...]
    conditionNumber: float
    heldOut: SourceTable | None = None


@dataclass
class RejectionCounts:
    """How many candidates each step of one pass has rejected."""

    single: int = 0
    kernelSum: int = 0
    pca: int = 0
    spatial: int = 0


class PsfMatchTask(Task):
    """Base of the tasks that match PSFs: it knows how to solve for a kernel, not where candidates come from.

    Parameters
    ----------
    *args, **kwargs
        As for `Task`.
    threads
        Number of threads of the core; None: ``PSFMATCH_NUM_THREADS`` or the CPUs of this process.

    Attributes
    ----------
    singleKernelCriteria, spatialKernelCriteria, regionCriteria
        Functions of a `KernelCandidate` and its `psfmatch.config.KernelOptions` that say why it is rejected, or return
        None: of a star with a kernel of its own, of a star under the kernel of the field, and of a region under it,
        whose `KernelCandidate.spatialResidual` is known and which is then fitted no more. A subclass adds its own.
    """

    ConfigClass = laterClass("psfmatch.tasks.configs:PsfMatchTaskConfig")
    _DefaultName = "psfMatch"

    singleKernelCriteria: ClassVar[tuple[Criterion, ...]] = SINGLE_KERNEL_CRITERIA
    spatialKernelCriteria: ClassVar[tuple[Criterion, ...]] = SPATIAL_KERNEL_CRITERIA
    regionCriteria: ClassVar[tuple[Criterion, ...]] = ()

    def __init__(self, *args: Any, threads: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = self._given
        isRead = isinstance(given, ImagePsfMatchOptions)
        self.options: KernelOptions = given.kernel if isRead else KernelOptions.fromConfig(given.kernel.active)
        self.threads = resolveThreads(threads)

    @property
    def kConfig(self) -> Any:
        """The configuration of the kernel."""
        return self.config.kernel.active

    @property
    def useRegularization(self) -> bool:
        """Whether rough kernels are penalised: of ours those of delta functions, if the configuration says so."""
        return self.hMat is not None

    @property
    def hMat(self) -> npt.NDArray[np.float64] | None:
        """The penalty of `psfmatch.kernels.basis.makeRegularizationMatrix`, (n, n) of n unknowns; None without one."""
        return makeRegularizationMatrix(self.options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), self.config, self.getName(), self.threads)

    def requireKernelFits(self, maskedImage: MaskedImage) -> None:
        """Raise InputImagesError if an image is smaller than the smallest kernel that may be chosen for it."""
        options = self.options
        isScaled = options.scaleByFwhm and kernelBasisClass(options).widthsFollowFwhm
        size = min(options.kernelSizeMin, options.kernelSize) if isScaled else options.kernelSize
        if min(maskedImage.shape) < size:
            raise InputImagesError(
                f"Input images of {maskedImage.width}x{maskedImage.height} pixels are smaller than the kernel of "
                f"{size}x{size}; use larger cut-outs, or a smaller kernelSize"
                + (" with scaleByFwhm off" if isScaled else ""),
                shape=maskedImage.shape,
                kernelSize=size,
            )

    @timeMethod
    def makeKernelBasisList(
        self,
        targetFwhmPix: float | None = None,
        referenceFwhmPix: float | None = None,
        basisDegGauss: Sequence[int] | None = None,
        basisSigmaGauss: Sequence[float] | None = None,
        metadata: Any = None,
    ) -> KernelBasis:
        """Return the basis, of images (n, h, w), and log how it was chosen; see `psfmatch.kernels.makeKernelBasis`."""
        basis = makeKernelBasis(self.options, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata)
        self._log.info("%s", basis)
        return basis

    def _basisByBic(
        self, cellSet: SpatialCellSet, targetFwhmPix: float | None, referenceFwhmPix: float | None
    ) -> KernelBasis:
        """Return the basis of the degrees that most candidates prefer."""
        degrees = chooseDegrees(
            cellSet,
            self.options,
            lambda tried: makeKernelBasisList(self.options, targetFwhmPix, referenceFwhmPix, tried),
            self.threads,
        )
        return self.makeKernelBasisList(targetFwhmPix, referenceFwhmPix, degrees, metadata=self.metadata)

    def _solve(self, kernelCellSet: SpatialCellSet, basisList: KernelBasis | npt.ArrayLike) -> KernelFit:
        """Find the spatially varying kernel and background from all candidates.

        Each pass fits the best candidates of every cell, rejects by residuals and by kernel sum until none is
        rejected any more, takes the principal components of their kernels as a basis if asked, fits the spatial
        model and rejects by the residuals under it. A rejected candidate makes room for the next of its cell. After
        ``maxSpatialIterations`` passes with rejections the model is fitted once more to those that are left.

        Raises
        ------
        NoKernelCandidatesError, InsufficientKernelSourcesError
            If no candidate, or fewer than ``minKernelSources``, survive.
        KernelSolutionError
            If the equations have no solution.
        """
        if not isinstance(basisList, KernelBasis):  # of a subclass: images in the place of those of the family
            basisList = kernelBasisClass(self.options)(basisList, self.hMat)
        try:
            with self.timer("solve"), writingFor("psfmatch.psfMatch"):  # whatever name the task was given
                if isinstance(kernelCellSet, RegionCells):
                    fit = self._fitRegions(kernelCellSet, basisList)
                else:
                    fit = self._iterate(kernelCellSet, basisList)
                    self._requireLight(kernelCellSet, fit)
        except PsfMatchError:
            self._log.error("Unable to calculate psf matching kernel")
            laterView("showSolution", kernelCellSet)
            raise
        reportSolution(
            self._log,
            self.metadata,
            kernelCellSet,
            fit.kernel,
            fit.background,
            fit.conditionNumber,
            self.options.maxSpatialConditionNumber,
        )
        laterView("showSolution", kernelCellSet, fit.kernel, fit.background)
        return fit

    def _fitRegions(self, cells: RegionCells, basis: KernelBasis) -> KernelFit:
        """Fit all pixels of the active candidates' regions at once."""
        if not basis.firstCarriesSum or basis.penalty is not None:
            raise ValueError(
                f"a fit to regions knows no penalty, and needs a basis whose first image alone has a sum: {basis!r} is "
                "not for it; set fitMethod to 'candidates'"
            )
        active = cells.regionsToFit(self.options.nStarPerCell)
        found = fitRegions(cells, basis.images, self.options)
        while self._rejectRegions(cells):
            found = fitRegions(cells, basis.images, self.options)
        nUsed = sum(candidate.status is CandidateStatus.GOOD for candidate in active)
        summary = PassSummary(
            iteration=found.nPasses,
            nRejectedSingle=0,
            nRejectedKernelSum=0,
            nRejectedPca=0,
            nRejectedSpatial=len(active) - nUsed,
            nUsed=nUsed,
            kernelSumMean=found.kernel.kernelSum(*cells.bbox.centre),
            kernelSumStd=found.kernelSumError * math.sqrt(nUsed),
            conditionNumber=found.conditionNumber,
        )
        self.metadata["rejectedPixelFraction"] = found.rejectedFraction
        # A constant is fitted in any case: left out, it would pull at the kernel.
        background = found.background
        if not self.options.fitForBackground:
            background = makeSpatialFunction(self.options.spatialModelType, np.zeros(1), frameOf(cells.bbox))
        return KernelFit(found.kernel, background, (summary,), found.conditionNumber, found.heldOut)

    def _rejectRegions(self, cells: RegionCells) -> bool:
        """Reject regions by `regionCriteria`; return whether there were any."""
        good = [each for each in cells.regionsToFit(self.options.nStarPerCell) if each.status is CandidateStatus.GOOD]
        reasons = [reasonAgainst(self.regionCriteria, region, self.options) for region in good]
        for region, reason in zip(good, reasons, strict=True):
            if reason is not None:
                region.reject(reason)
                self._log.debug("Rejecting region at (%.0f, %.0f): %s", region.x, region.y, reason)
        return any(reason is not None for reason in reasons)

    def _iterate(self, cellSet: SpatialCellSet, basis: KernelBasis) -> KernelFit:
        options = self.options
        nStar = options.nStarPerCell
        single = BuildSingleKernelVisitor(
            basis, options, basis.penalty, criteria=self.singleKernelCriteria, threads=self.threads
        )
        kernelSums = KernelSumVisitor(options)
        passes: list[PassSummary] = []
        iteration = 0
        while iteration < options.maxSpatialIterations:
            rejected = RejectionCounts(single=self._fitUntilStable(cellSet, single))
            active = cellSet.activeCandidates(nStar)
            requireCandidates(cellSet, len(active), options.minKernelSources)

            kernelSums.reset()
            _measureSums(kernelSums, active)
            kernelSums.processCandidates(active)
            rejected.kernelSum = kernelSums.nRejected
            if rejected.kernelSum > 0:
                self._endPass(passes, iteration, rejected, kernelSums, len(active))
                continue

            spatialBasis = basis
            if options.usePcaForSpatialKernel:
                spatialBasis, rejected.pca = self._fitPrincipalComponents(active)
                if rejected.pca > 0:
                    self._endPass(passes, iteration, rejected, kernelSums, len(active))
                    continue

            spatial = self._fitSpatial(cellSet, spatialBasis, active)
            kernel, background = spatial.getSolutionPair()
            assess = AssessSpatialKernelVisitor(
                kernel, background, options, criteria=self.spatialKernelCriteria, threads=self.threads
            )
            assess.processCandidates(active)
            rejected.spatial = assess.nRejected
            self._endPass(passes, iteration, rejected, kernelSums, len(active), spatial.conditionNumber)
            if rejected.spatial == 0:
                return KernelFit(kernel, background, tuple(passes), spatial.conditionNumber)
            iteration += 1

        # Candidates promoted by the last rejections were never fitted: they take no part.
        fitted = [c for c in cellSet.activeCandidates(nStar) if c.isInitialized]
        requireCandidates(cellSet, len(fitted), options.minKernelSources)
        rejected = RejectionCounts()
        if options.usePcaForSpatialKernel:
            basis, rejected.pca = self._fitPrincipalComponents(fitted)
            fitted = [c for c in fitted if c.status is not CandidateStatus.BAD]
            requireCandidates(cellSet, len(fitted), options.minKernelSources)
        _measureSums(kernelSums, fitted)
        spatial = self._fitSpatial(cellSet, basis, fitted)
        self._endPass(passes, iteration, rejected, kernelSums, len(fitted), spatial.conditionNumber)
        return KernelFit(*spatial.getSolutionPair(), tuple(passes), spatial.conditionNumber)

    def _fitUntilStable(self, cellSet: SpatialCellSet, single: BuildSingleKernelVisitor) -> int:
        """Fit the active candidates, and those that take the place of rejected ones; return how many were rejected."""
        nRejected = 0
        while True:
            cellSet.visitCandidates(single, self.options.nStarPerCell)
            if single.nRejected == 0:
                return nRejected
            nRejected += single.nRejected

    def _fitPrincipalComponents(self, candidates: list[KernelCandidate]) -> tuple[KernelBasis, int]:
        """Fit the candidates again on the principal components of their kernels.

        Returns
        -------
        basis
            The components, renormalised.
        nRejected
            Candidates that this smaller basis cannot subtract.
        """
        pca = KernelPcaVisitor(self.options)
        pca.processCandidates(candidates)
        pca.analyze()
        # No penalty: few components of many kernels are smooth already.
        basis = KernelBasis(pca.basisList())
        single = BuildSingleKernelVisitor(
            basis,
            self.options,
            skipBuilt=False,
            slot=SolutionSlot.PCA,
            criteria=self.singleKernelCriteria,
            threads=self.threads,
        )
        single.processCandidates(candidates)
        return basis, single.nRejected

    def _fitSpatial(
        self, cellSet: SpatialCellSet, basis: KernelBasis, candidates: list[KernelCandidate]
    ) -> BuildSpatialKernelVisitor:
        visitor = BuildSpatialKernelVisitor(basis, cellSet.bbox, self.options, basis.penalty, threads=self.threads)
        visitor.processCandidates(candidates)
        visitor.solveLinearEquation()
        return visitor

    def _requireLight(self, cellSet: SpatialCellSet, fit: KernelFit) -> None:
        """Raise KernelSolutionError unless kernel sums and light of the candidates are significantly positive."""
        last = fit.passes[-1]
        centre = fit.kernel.kernelSum(*cellSet.bbox.centre)
        requirePositive(centre, last.kernelSumMean, last.kernelSumStd / math.sqrt(max(1, last.nUsed)), last.nUsed)
        used = [c for c in cellSet.activeCandidates(self.options.nStarPerCell) if c.isInitialized]
        requireLight(used, fit.kernel.shape, self.options, self.threads)

    def _endPass(
        self,
        passes: list[PassSummary],
        iteration: int,
        rejected: RejectionCounts,
        kernelSums: KernelSumVisitor,
        nUsed: int,
        conditionNumber: float = math.nan,
    ) -> None:
        """Keep and log what a pass has done."""
        passes.append(
            PassSummary(
                iteration=iteration,
                nRejectedSingle=rejected.single,
                nRejectedKernelSum=rejected.kernelSum,
                nRejectedPca=rejected.pca,
                nRejectedSpatial=rejected.spatial,
                nUsed=nUsed,
                kernelSumMean=kernelSums.kSumMean,
                kernelSumStd=kernelSums.kSumStd,
                conditionNumber=conditionNumber,
            )
        )
        self._log.debug(
            "Pass %d: rejected %d by own residuals, %d by kernel sum, %d by principal components, %d by spatial "
            "residuals; %d candidates, kernel sum %.4f +/- %.4f",
            iteration, rejected.single, rejected.kernelSum, rejected.pca, rejected.spatial, nUsed,
            kernelSums.kSumMean, kernelSums.kSumStd,
        )  # fmt: skip


def _measureSums(kernelSums: KernelSumVisitor, candidates: list[KernelCandidate]) -> None:
    """Let a visitor find the distribution of the candidates' kernel sums, and forget all others."""
    kernelSums.resetKernelSum()
    kernelSums.aggregate(candidates)
    kernelSums.processKsumDistribution()


def _remake(TaskClass: type[PsfMatchTask], config: PsfMatchTaskConfig, name: str, threads: int) -> PsfMatchTask:
    return TaskClass(config=config, name=name, threads=threads)
