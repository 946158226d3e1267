"""The regions whose pixels the kernel is fitted to, around stars or tiles over all good pixels, and their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate, SpatialCellSet
from psfmatch.config import KernelOptions, RegionOptions
from psfmatch.errors import KernelSolutionError, NoKernelCandidatesError, NumericalError
from psfmatch.exposure import Box, MaskedImage, stampTuple
from psfmatch.kernels.spatialFunction import coreFunction, frameOf
from psfmatch.warping import isCovered

__all__ = ["RegionCells", "RegionState", "makeRegions", "placesInside", "unsolved"]

FloatArray = npt.NDArray[np.float64]


class RegionCells(SpatialCellSet):
    """Regions in cells.

    template, science : the image to convolve and the image to match, on one grid; options : of the kernel, that they
    were laid out with; kernelSize : pixels; nOutside : sources without data, or too close to the
    edge for a region; state : of a fit that has begun on them; noiseCorrelation : of the template's noise by lags
    (y, x), (2 n + 1, 2 n + 1), None where it is white.
    """

    def __init__(
        self, template: MaskedImage, science: MaskedImage, options: KernelOptions, kernelSize: int, threads: int
    ) -> None:
        super().__init__(science.getBBox(), options.sizeCellX, options.sizeCellY)
        self.template, self.science, self.options = template, science, options
        self.kernelSize, self.threads = kernelSize, threads
        self.nOutside = 0
        self.noiseCorrelation: FloatArray | None = None
        self.state: RegionState | None = None
        self._read: tuple[list[KernelCandidate], _core.RegionStamps] | None = None

    def regionsToFit(self, nPerCell: int) -> list[KernelCandidate]:
        """Return the best `nPerCell` regions of each cell that are not BAD, in the sequence of their places."""
        return sorted(self.activeCandidates(nPerCell), key=lambda candidate: candidate.id)

    def stampsOf(self, regions: list[KernelCandidate]) -> _core.RegionStamps:
        """Return the pixels of some regions in the core; of the same ones they are read once."""
        if self._read is None or self._read[0] != regions:
            x, y = (np.array([getattr(region, axis) for region in regions], dtype=np.int64) for axis in ("x", "y"))
            template, science = (stampTuple(each, self.options.badPlanes()) for each in (self.template, self.science))
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

    def forget(self) -> None:
        """Keep neither a state nor any pixel in the core."""
        self.state = self._read = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None, "_read": None}


class RegionState:
    """Some regions of the cells with their weights, and their equations for a basis (n, h, w), while a fit goes on.

    x, y : (regions,) middles, parent pixels; folds : (regions,) which are withheld together; kernelNorm : expected.
    """

    def __init__(
        self, cells: RegionCells, regions: list[KernelCandidate], basisList: FloatArray, options: KernelOptions
    ) -> None:
        self.regions, self.stamps, self.basisList = regions, cells.stampsOf(regions), basisList
        self.x, self.y = (np.array([getattr(region, axis) for region in regions]) for axis in ("x", "y"))
        self.folds = _core.regionFolds(self.x, self.y)
        self.modelType, self.kernelNorm = options.spatialModelType, options.regions.kernelNorm
        self.frame, self.threads = frameOf(cells.bbox), cells.threads
        self.noiseImages = _smoothed(basisList, cells.noiseCorrelation, cells.threads)
        self.fit = _core.RegionFit(
            self.stamps, _core.PreparedBasis(basisList), noiseImages=self.noiseImages, nThreads=self.threads
        )
        self.nPasses = 0
        # What hangs on the weights, as long as they stay.
        self._system: tuple[int, _core.SpatialSystem] | None = None
        self._heldOut: dict[_core.SpatialModelOptions, tuple[FloatArray, FloatArray, FloatArray]] = {}
        self._judged: tuple[_core.SpatialModelOptions, _core.RegionResiduals] | None = None

    def __len__(self) -> int:
        return len(self.stamps)

    def system(self, maxOrder: int) -> _core.SpatialSystem:
        """Return the equations of all regions as they are weighted now, for models up to an order at least."""
        if self._system is None or self._system[0] < maxOrder:
            function = coreFunction(self.modelType, maxOrder, self.frame)
            places = self.x, self.y, self.folds
            self._system = (
                maxOrder,
                _core.SpatialSystem(
                    self.fit.equations,
                    *places,
                    function,
                    self.basisList,
                    self.kernelNorm,
                    noiseImages=self.noiseImages,
                    nThreads=self.threads,
                ),
            )
        return self._system[1]

    def heldOut(self, model: _core.SpatialModelOptions) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return coefficients, background and chi-square of every region under the solution from the other folds."""
        if model not in self._heldOut:
            self._heldOut[model] = self.system(model.highestOrder).heldOut(model)
        return self._heldOut[model]

    def judge(self, model: _core.SpatialModelOptions) -> _core.RegionResiduals:
        """Return the residuals of every region under the solution from the other folds; KernelSolutionError if none."""
        if self._judged is None or self._judged[0] != model:
            try:
                coefficients, backgrounds, _ = self.heldOut(model)
            except NumericalError as error:
                raise unsolved(error) from error
            self._judged = model, self.fit.judge(coefficients, backgrounds, nThreads=self.threads)
        return self._judged[1]

    def reject(self, model: _core.SpatialModelOptions, options: RegionOptions) -> bool:
        """Reject pixels that the held-out model cannot explain, weigh the others anew; return if the pixels changed."""
        self.nPasses += 1
        residuals, rejected = self.judge(model), None
        if options.rejectPixels:
            rejected = _core.findOutliers(
                residuals, threshold=options.threshold, growth=options.growth, nThreads=self.threads
            )
        self._system, self._heldOut, self._judged = None, {}, None
        return self.fit.reweigh(residuals, rejected, nThreads=self.threads)


def _smoothed(basisList: FloatArray, correlation: FloatArray | None, threads: int) -> FloatArray | None:
    """Return the images of a basis (n, h, w) smoothed by the correlation of a noise; None for white noise."""
    if correlation is None:
        return None
    lag, (height, width) = correlation.shape[0] // 2, basisList.shape[1:]
    whole = _core.composed(basisList, correlation[None], nThreads=threads)
    return np.ascontiguousarray(whole[:, lag : lag + height, lag : lag + width])


def unsolved(error: Exception) -> KernelSolutionError:
    """Return the error that tells of a system without solution."""
    return KernelSolutionError(f"{error}. Try lower spatial orders, or more stars.")


def makeRegions(
    template: MaskedImage,
    science: MaskedImage,
    options: KernelOptions,
    kernelSize: int,
    sources: Any = None,
    threads: int = 1,
    noiseCorrelation: FloatArray | None = None,
) -> RegionCells:
    """Cut regions out of both images, as views, and put them into cells.

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

    Raises
    ------
    NoKernelCandidatesError
        If the images have no room for a region.
    """
    box, regions = science.getBBox(), options.regions
    half = regions.halfWidth + kernelSize // 2
    if min(box.width, box.height) < 2 * half + 1:
        raise NoKernelCandidatesError(
            f"images of {box.width}x{box.height} pixels have no room for a region of {2 * half + 1} pixels, kernel "
            f"of {kernelSize} included; use larger images, a smaller kernelSize or regionConfig.halfWidth",
            nSources=0,
        )
    cells = RegionCells(template, science, options, kernelSize, threads)
    cells.noiseCorrelation = noiseCorrelation
    if regions.layout == "tiles":
        image = stampTuple(template, options.badPlanes())
        tiles = _core.tilePlaces(image, regions.halfWidth, kernelSize // 2, regions.maxRegions, nThreads=threads)
        centres = tiles + np.array([box.x0, box.y0])
    else:
        places = placesInside(sources, box, kernelSize)
        places = places[isCovered(template, *places.T) & isCovered(science, *places.T)]
        cells.nOutside = len(sources["x"]) - len(places)
        # A star near the edge stays inside its region, if not in the middle.
        low, high = (box.x0 + half, box.y0 + half), (box.x1 - 1 - half, box.y1 - 1 - half)
        centres = np.clip(np.floor(places + 0.5).astype(np.int64), low, high)
        centres = centres[np.sort(np.unique(centres, axis=0, return_index=True)[1])[: regions.maxRegions]]
    # In the sequence of their places: who gave them in which changes no sum.
    for rank, (x, y) in enumerate(centres[np.lexsort(centres.T)].tolist()):
        stamp = Box(x - half, y - half, 2 * half + 1, 2 * half + 1)
        cells.insertCandidate(
            KernelCandidate(x, y, template.subset(stamp), science.subset(stamp), options, rating=-float(rank))
        )
    return cells


def placesInside(sources: Any, box: Box, size: int, most: int | None = None) -> FloatArray:
    """Return x and y (N, 2) of sources, of the first `most`, that are half of `size` pixels or more from the edges."""
    margin = size // 2
    inner = Box(box.x0 + margin, box.y0 + margin, max(0, box.width - 2 * margin), max(0, box.height - 2 * margin))
    places: FloatArray = np.stack([np.asarray(sources[name][:most], dtype=np.float64) for name in ("x", "y")], axis=1)
    inside: npt.NDArray[np.bool_] = np.asarray(inner.contains(*places.T))
    return places[inside]
