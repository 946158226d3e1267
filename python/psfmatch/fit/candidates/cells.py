"""Kernel candidates and the grid of cells that spreads them evenly over the image.

A candidate is a star cut out of both images. Cells tile the bounding box; each keeps its candidates sorted by
rating, and a pass of the solution uses the best few that have not been rejected, so that when one fails the
next in its cell takes its place.
"""

from __future__ import annotations

import bisect
import enum
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from psfmatch.config import KernelOptions
from psfmatch.config.equality import ByValue
from psfmatch.images import Box, MaskedImage
from psfmatch.kernels.solutions import KernelSolution, ResidualSummary, SolutionSlot

if TYPE_CHECKING:
    from psfmatch.config import PsfMatchConfig

__all__ = [
    "CandidateStatus",
    "KernelCandidate",
    "SpatialCell",
    "SpatialCellSet",
]


class CandidateStatus(enum.Enum):
    """Standing of a candidate; BAD is final."""

    BAD = 0
    GOOD = 1
    UNKNOWN = 2


class KernelCandidate:
    """A star in both images, and what the solution learns about it.

    Parameters
    ----------
    x, y
        Position in pixels of the parent frame.
    templateMaskedImage, scienceMaskedImage
        Stamps of the image to convolve and of the image to match, of one shape.
    config
        Active kernel configuration, or the `psfmatch.config.KernelOptions` that are read from it.
    source
        The catalogue entry it came from.
    rating
        Rank in its cell; by default the mean signal-to-noise ratio of the science stamp's core.

    Raises
    ------
    ValueError
        If the stamps differ in shape.
    """

    def __init__(
        self,
        x: float,
        y: float,
        templateMaskedImage: MaskedImage,
        scienceMaskedImage: MaskedImage,
        config: PsfMatchConfig | KernelOptions,
        *,
        source: Any = None,
        rating: float | None = None,
    ) -> None:
        if templateMaskedImage.shape != scienceMaskedImage.shape:
            raise ValueError(
                f"stamps of the candidate at ({x:.1f}, {y:.1f}) differ in shape: template "
                f"{templateMaskedImage.shape}, science {scienceMaskedImage.shape}"
            )
        self.x = float(x)
        self.y = float(y)
        self.templateMaskedImage = templateMaskedImage
        self.scienceMaskedImage = scienceMaskedImage
        self.options = KernelOptions.fromConfig(config)
        self.source = source
        self.id = 0
        self.status = CandidateStatus.UNKNOWN
        self.reason: str | None = None
        self.chi2 = math.inf
        self.residual: ResidualSummary | None = None
        self.spatialResidual: ResidualSummary | None = None
        self._orig: KernelSolution | None = None
        self._pca: KernelSolution | None = None
        self.keptStamps: Any = None  # what the visitors make of the stamps, once for all passes
        rating = self._coreSignalToNoise() if rating is None else float(rating)
        # The lowest rank rather than NaN, which would spoil the order of the whole cell.
        self.rating = -math.inf if math.isnan(rating) else rating

    @classmethod
    def fromSource(
        cls,
        source: Any,
        templateMaskedImage: MaskedImage,
        scienceMaskedImage: MaskedImage,
        config: PsfMatchConfig | KernelOptions,
    ) -> KernelCandidate:
        """Return a candidate that is rated by the PSF flux of a catalogue entry instead of its stamp.

        Parameters
        ----------
        source
            A table row with x, y (parent pixels) and psfFlux, or an object with getX(), getY() and getPsfInstFlux().
        templateMaskedImage, scienceMaskedImage, config
            As for the class.
        """
        if hasattr(source, "getPsfInstFlux"):
            x, y, flux = source.getX(), source.getY(), source.getPsfInstFlux()
        else:
            x, y, flux = source["x"], source["y"], source["psfFlux"]
        return cls(x, y, templateMaskedImage, scienceMaskedImage, config, source=source, rating=float(flux))

    def _coreSignalToNoise(self) -> float:
        radius = self.options.candidateCoreRadius
        stamp = self.scienceMaskedImage
        box = stamp.getBBox()
        middle = Box(
            box.x0 + box.width // 2 - radius, box.y0 + box.height // 2 - radius, 2 * radius + 1, 2 * radius + 1
        )
        core = stamp.subset(middle.intersection(box))
        good = ~core.badPixels(self.options.badPlanes()) & (core.variance > 0.0)
        if not good.any():
            return -math.inf
        signal = core.image[good].astype(np.float64)
        return float(np.mean(signal / np.sqrt(core.variance[good].astype(np.float64))))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "keptStamps": None}

    @property
    def isInitialized(self) -> bool:
        """True once a kernel has been fitted."""
        return self._orig is not None or self._pca is not None

    @property
    def kernelSolution(self) -> KernelSolution:
        """The most recent solution; RuntimeError before the first."""
        return self.getKernelSolution(SolutionSlot.RECENT)

    def getKernelSolution(self, slot: SolutionSlot = SolutionSlot.RECENT) -> KernelSolution:
        """Return the solution in a slot; RuntimeError if there is none."""
        if slot is SolutionSlot.ORIG:
            solution = self._orig
        elif slot is SolutionSlot.PCA:
            solution = self._pca
        else:
            solution = self._pca or self._orig
        if solution is None:
            missing = SolutionSlot.PCA if slot is SolutionSlot.PCA else SolutionSlot.ORIG
            raise RuntimeError(
                f"candidate {self.id} at ({self.x:.1f}, {self.y:.1f}) has no {missing.name} solution; it must be "
                "visited by a BuildSingleKernelVisitor first"
            )
        return solution

    def setKernelSolution(self, solution: KernelSolution, slot: SolutionSlot = SolutionSlot.ORIG) -> None:
        """Keep a solution."""
        if slot is SolutionSlot.RECENT:
            raise ValueError("RECENT names whichever slot is filled; choose ORIG or PCA")
        if slot is SolutionSlot.ORIG:
            self._orig = solution
        else:
            self._pca = solution

    def reject(self, reason: str) -> None:
        """Mark as BAD, for good, and say why."""
        self.status = CandidateStatus.BAD
        self.reason = reason

    def accept(self) -> None:
        """Mark as GOOD."""
        self.status = CandidateStatus.GOOD
        self.reason = None

    def __repr__(self) -> str:
        return f"KernelCandidate({self.id}, x={self.x:.1f}, y={self.y:.1f}, {self.status.name})"


class CandidateVisitor(Protocol):
    """What `SpatialCellSet.visitCandidates` asks of a visitor."""

    def reset(self) -> None:
        """Set the counters of a visit to zero."""

    def processCandidates(self, candidates: Sequence[KernelCandidate]) -> None:
        """Handle all candidates of one pass."""


@dataclass
class SpatialCell:
    """One cell: its box and its candidates, best rating first."""

    label: str
    bbox: Box
    candidates: list[KernelCandidate] = field(default_factory=list)

    def insertCandidate(self, candidate: KernelCandidate) -> None:
        """Insert by rating; a newcomer stands before its equals."""
        bisect.insort_left(self.candidates, candidate, key=lambda other: -other.rating)

    def activeCandidates(self, nMax: int) -> list[KernelCandidate]:
        """Return the best `nMax` candidates that are not BAD (all of them for nMax <= 0)."""
        bad = CandidateStatus.BAD
        active = [candidate for candidate in self.candidates if candidate.status is not bad]
        return active if nMax <= 0 else active[:nMax]

    def __repr__(self) -> str:
        return f"SpatialCell({self.label!r}, {self.bbox}, {len(self.candidates)} candidates)"


class SpatialCellSet(ByValue):
    """A grid of cells over `bbox`, row by row; the last column and row are cut at its edge.

    Parameters
    ----------
    bbox
        Area to tile, parent pixels.
    sizeCellX, sizeCellY
        Size of a cell in pixels; `sizeCellY` defaults to `sizeCellX`.

    Raises
    ------
    ValueError
        If a size is not positive or the box is empty.
    """

    def __init__(self, bbox: Box, sizeCellX: int, sizeCellY: int | None = None) -> None:
        sizeCellY = sizeCellX if sizeCellY is None else sizeCellY
        if sizeCellX <= 0 or sizeCellY <= 0:
            raise ValueError(f"cells of {sizeCellX}x{sizeCellY} pixels: both sides must be positive")
        if bbox.isEmpty:
            raise ValueError("the box to divide into cells is empty")
        self.bbox = bbox
        self.sizeCellX = sizeCellX
        self.sizeCellY = sizeCellY
        self._nx = -(-bbox.width // sizeCellX)
        self._ny = -(-bbox.height // sizeCellY)
        self.cells = tuple(self._makeCell(ix, iy) for iy in range(self._ny) for ix in range(self._nx))
        self._count = 0

    def _makeCell(self, ix: int, iy: int) -> SpatialCell:
        x0 = self.bbox.x0 + ix * self.sizeCellX
        y0 = self.bbox.y0 + iy * self.sizeCellY
        width = min(self.sizeCellX, self.bbox.x1 - x0)
        height = min(self.sizeCellY, self.bbox.y1 - y0)
        return SpatialCell(f"Cell {ix}x{iy}", Box(x0, y0, width, height))

    def insertCandidate(self, candidate: KernelCandidate) -> None:
        """Put a candidate into the cell that holds its nearest pixel; ValueError if it lies outside the box."""
        if not self.bbox.contains(candidate.x, candidate.y):
            raise ValueError(f"candidate at ({candidate.x:.1f}, {candidate.y:.1f}) lies outside the box {self.bbox}")
        ix = (math.floor(candidate.x + 0.5) - self.bbox.x0) // self.sizeCellX
        iy = (math.floor(candidate.y + 0.5) - self.bbox.y0) // self.sizeCellY
        self._count += 1
        candidate.id = self._count
        self.cells[iy * self._nx + ix].insertCandidate(candidate)

    def activeCandidates(self, nMax: int) -> list[KernelCandidate]:
        """Return the best `nMax` candidates of each cell that are not BAD, cell by cell."""
        return [candidate for cell in self.cells if cell.candidates for candidate in cell.activeCandidates(nMax)]

    def visitCandidates(self, visitor: CandidateVisitor, nMax: int = 0) -> None:
        """Reset the visitor and hand it the active candidates of one pass."""
        visitor.reset()
        visitor.processCandidates(self.activeCandidates(nMax))

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status.name}" for status, count in self.countByStatus().items() if count)
        sides = f"{self._nx}x{self._ny} cells of {self.sizeCellX}x{self.sizeCellY} pixels"
        return f"{type(self).__name__}({sides}, {len(self)} candidates{': ' if counts else ''}{counts})"

    def __iter__(self) -> Iterator[KernelCandidate]:
        return (candidate for cell in self.cells for candidate in cell.candidates)

    def __len__(self) -> int:
        return self._count

    def countByStatus(self) -> dict[CandidateStatus, int]:
        """Return how many candidates have each status."""
        counts = dict.fromkeys(CandidateStatus, 0)
        for candidate in self:
            counts[candidate.status] += 1
        return counts

    def countReasons(self) -> dict[str, int]:
        """Return how many candidates were rejected for each kind of reason (its text up to the first colon)."""
        counts: dict[str, int] = {}
        for candidate in self:
            if candidate.reason is not None:
                kind = candidate.reason.split(":", 1)[0]
                counts[kind] = counts.get(kind, 0) + 1
        return counts
