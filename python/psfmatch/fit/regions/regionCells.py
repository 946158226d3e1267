"""The regions whose pixels the kernel is fitted to, around stars or tiles over all good pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.fit.candidates.cells import KernelCandidate, SpatialCellSet
from psfmatch.images import Box, MaskedImage, stampTuple
from psfmatch.kernels import frameOf
from psfmatch.registration import isCovered

__all__ = ["RegionCells", "placesInside"]

FloatArray = npt.NDArray[np.float64]


class RegionCells(SpatialCellSet):
    """Regions of both images, as views, in cells. Each is a kernel candidate.

    Parameters
    ----------
    template, science
        The image to convolve and the image to match, on one grid.
    options
        Of the kernel: ``regions``.
    kernelSize
        Side of the kernel in pixels: regions keep half of it from the edges.
    sources
        Table with x and y (parent pixels), most useful first, for the layout "stars".
    threads
        Number of threads, of the fit too; no result depends on it.
    noiseCorrelation : (2 n + 1, 2 n + 1)
        Of the template's noise, by lags (y, x); None where it is white.

    Attributes
    ----------
    nOutside
        Sources without data, or too close to the edge for a region.
    begun
        A fit that has begun on the regions, else None.

    Raises
    ------
    NoKernelCandidatesError
        If the images have no room for a region.
    """

    def __init__(
        self,
        template: MaskedImage,
        science: MaskedImage,
        options: KernelOptions,
        kernelSize: int,
        sources: Any = None,
        threads: int = 1,
        noiseCorrelation: FloatArray | None = None,
    ) -> None:
        box, regions = science.getBBox(), options.regions
        super().__init__(box, options.sizeCellX, options.sizeCellY)
        self.template, self.science, self.options = template, science, options
        self.kernelSize, self.threads, self.noiseCorrelation = kernelSize, threads, noiseCorrelation
        self.nOutside = 0
        self.begun: _core.RegionSolver | None = None
        self._read: tuple[list[KernelCandidate], _core.RegionStamps] | None = None
        half = regions.halfWidth + kernelSize // 2
        side = 2 * half + 1
        if min(box.width, box.height) < side:
            raise NoKernelCandidatesError(
                f"images of {box.width}x{box.height} pixels have no room for a region of {side} pixels, kernel of "
                f"{kernelSize} included; use larger images, a smaller kernelSize or regionConfig.halfWidth",
                nSources=0,
            )
        if regions.layout == "tiles":
            image = stampTuple(template, options.badPlanes())
            tiles = _core.tilePlaces(image, regions.halfWidth, kernelSize // 2, regions.maxRegions, nThreads=threads)
            centres = tiles + np.array([box.x0, box.y0])
        else:
            centres = self._starCentres(sources, half)
        # In the sequence of their places: who gave them in which changes no sum.
        for rank, (x, y) in enumerate(centres[np.lexsort(centres.T)].tolist()):
            stamps = (image.subset(Box(x - half, y - half, side, side)) for image in (template, science))
            self.insertCandidate(KernelCandidate(x, y, next(stamps), next(stamps), options, rating=-float(rank)))

    def _starCentres(self, sources: Any, half: int) -> npt.NDArray[np.int64]:
        """Return the pixels (n, 2) about which the stars' regions lie: one near the edge is not in the middle."""
        places = placesInside(sources, self.bbox, self.kernelSize)
        places = places[isCovered(self.template, *places.T) & isCovered(self.science, *places.T)]
        self.nOutside = len(sources["x"]) - len(places)
        inner = self.bbox.shrunk(half)
        nearest = np.floor(places + 0.5).astype(np.int64)
        centres = np.clip(nearest, (inner.x0, inner.y0), (inner.x1 - 1, inner.y1 - 1))
        firsts = np.sort(np.unique(centres, axis=0, return_index=True)[1])
        return np.asarray(centres[firsts[: self.options.regions.maxRegions]])

    def regionsToFit(self, nPerCell: int) -> list[KernelCandidate]:
        """Return the best `nPerCell` regions of each cell that are not BAD, in the sequence of their places."""
        return sorted(self.activeCandidates(nPerCell), key=lambda candidate: candidate.id)

    def stampsOf(self, regions: list[KernelCandidate]) -> _core.RegionStamps:
        """Return the pixels of some regions in the core; of the same ones they are read once."""
        if self._read is None or self._read[0] != regions:
            template, science = (stampTuple(each, self.options.badPlanes()) for each in (self.template, self.science))
            x, y = (np.array([getattr(region, axis) for region in regions], dtype=np.int64) for axis in ("x", "y"))
            stamps = _core.RegionStamps(
                template,
                science,
                x - self.bbox.x0,
                y - self.bbox.y0,
                self.options.regions.halfWidth,
                self.kernelSize,
                self.kernelSize,
                saturatedBits=self.template.mask.getPlaneBitMask(("SAT",), ignoreMissing=True),
                nThreads=self.threads,
            )
            self._read = regions, stamps
        return self._read[1]

    def solverOf(self, regions: list[KernelCandidate], basisList: FloatArray) -> _core.RegionSolver:
        """Return the equations of some regions, with their first weights, for a basis (n, h, w)."""
        return _core.RegionSolver(
            self.stampsOf(regions),
            [region.x for region in regions],
            [region.y for region in regions],
            basisList,
            _core.SpatialModel["polynomial" if self.options.spatialModelType == "polynomial" else "chebyshev1"],
            _core.Frame(*frameOf(self.bbox)),
            self.options.regions.kernelNorm,
            threshold=self.options.regions.threshold,
            growth=self.options.regions.growth,
            noiseCorrelation=self.noiseCorrelation,
            nThreads=self.threads,
        )

    def forget(self) -> None:
        """Keep neither a fit nor any pixel in the core."""
        self.begun = self._read = None


def placesInside(sources: Any, box: Box, size: int, most: int | None = None) -> FloatArray:
    """Return x and y (n, 2) of sources, of the first `most`, that are half of `size` pixels or more from the edges."""
    x, y = (np.asarray(sources[name][:most], dtype=np.float64) for name in ("x", "y"))
    return np.stack([x, y], axis=1)[box.shrunk(size // 2).contains(x, y)]
