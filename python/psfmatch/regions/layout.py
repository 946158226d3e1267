"""Where the regions lie whose pixels the kernel is fitted to: around stars, or tiles over all good pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate, SpatialCellSet
from psfmatch.config import KernelOptions
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.exposure import Box, MaskedImage
from psfmatch.regions.state import RegionState, readStamps
from psfmatch.visitors import stampTuple

__all__ = ["RegionCells", "insideFit", "makeRegions", "regionCentres"]

IntArray = npt.NDArray[np.int64]


def regionCentres(
    template: MaskedImage,
    science: MaskedImage,
    options: KernelOptions,
    kernelSize: int,
    sources: Any = None,
    threads: int = 1,
) -> IntArray:
    """Return the middle pixels (N, 2), x and y in parent pixels, of the regions that the configuration asks for.

    Parameters
    ----------
    template, science
        The image to convolve and the image to match, on one grid.
    options
        Of the kernel: ``regions``.
    kernelSize
        Side of the kernel in pixels: regions keep half of it from the edges.
    sources
        Table with x and y, most useful first, for the layout "stars".

    Raises
    ------
    NoKernelCandidatesError
        If the images have no room for a region.
    """
    box = science.getBBox()
    half = options.regions.halfWidth + kernelSize // 2
    if min(box.width, box.height) < 2 * half + 1:
        raise NoKernelCandidatesError(
            f"images of {box.width}x{box.height} pixels have no room for a region of {2 * half + 1} pixels, kernel "
            f"of {kernelSize} included; use larger images, a smaller kernelSize or regionConfig.halfWidth",
            nSources=0,
        )
    if options.regions.layout == "tiles":
        centres = _tileCentres(template, science, options, half, threads)
    else:
        x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
        inside = insideFit(x, y, box, kernelSize)
        centres = np.floor(np.stack([x, y], axis=1)[inside] + 0.5).astype(np.int64)
        low = np.array([box.x0 + half, box.y0 + half])
        high = np.array([box.x1 - 1 - half, box.y1 - 1 - half])
        # A star near the edge stays inside its region, if not in the middle.
        centres = np.clip(centres, low, high)
        centres = centres[np.sort(np.unique(centres, axis=0, return_index=True)[1])]
    centres = centres[: options.regions.maxRegions]
    # In the sequence of their places: who gave them in which changes no sum.
    return centres[np.lexsort(centres.T)]


def insideFit(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], box: Box, kernelSize: int
) -> npt.NDArray[np.bool_]:
    """Return which positions (parent pixels) lie far enough from the edges for their pixels to be fitted."""
    margin = kernelSize // 2
    inner = Box(box.x0 + margin, box.y0 + margin, max(0, box.width - 2 * margin), max(0, box.height - 2 * margin))
    inside: npt.NDArray[np.bool_] = np.asarray(inner.contains(x, y))
    return inside


def _tileCentres(
    template: MaskedImage, science: MaskedImage, options: KernelOptions, half: int, threads: int
) -> IntArray:
    """Return the middles of tiles side by side, those with most light first if there are too many.

    Of a field with more tiles than ``maxRegions`` a tenth of them are spread evenly, for the background.
    """
    box, maxRegions = science.getBBox(), options.regions.maxRegions
    side = 2 * options.regions.halfWidth + 1
    middles = []
    for low, length in ((box.x0 + half, box.width), (box.y0 + half, box.height)):
        count = max(1, (length - 2 * half - 1) // side + 1)
        middles.append(low + np.round(np.linspace(0, length - 2 * half - 1, count)).astype(np.int64))
    centres: IntArray = np.array([(x, y) for y in middles[1] for x in middles[0]])
    light = _core.tileLight(
        stampTuple(template, options.badPlanes()),
        centres[:, 0] - box.x0,
        centres[:, 1] - box.y0,
        options.regions.halfWidth,
        nThreads=threads,
    )
    centres, light = centres[np.isfinite(light)], light[np.isfinite(light)]
    order = np.argsort(-light, kind="stable")
    if len(centres) <= maxRegions:
        return centres[order]
    even = np.unique(np.linspace(0, len(centres) - 1, maxRegions // 10).astype(np.int64))
    brightest = order[~np.isin(order, even)][: maxRegions - even.size]
    return np.concatenate([centres[even], centres[brightest]])


class RegionCells(SpatialCellSet):
    """Regions in cells.

    template, science : the image to convolve and the image to match, on one grid; kernelSize : pixels; nOutside :
    sources too close to the edge for a region; state : their pixels in the core, where a fit has begun.
    """

    def __init__(self, template: MaskedImage, science: MaskedImage, options: KernelOptions, kernelSize: int) -> None:
        super().__init__(science.getBBox(), options.sizeCellX, options.sizeCellY)
        self.template, self.science, self.kernelSize = template, science, kernelSize
        self.nOutside = 0
        self.state: RegionState | None = None

    def regionsToFit(self, nPerCell: int) -> list[KernelCandidate]:
        """Return the best `nPerCell` regions of each cell that are not BAD, in the sequence of their places."""
        return sorted(self.activeCandidates(nPerCell), key=lambda candidate: candidate.id)

    def readStamps(self, options: KernelOptions, threads: int) -> _core.RegionStamps:
        """Read the pixels of the regions that are to be fitted into the core."""
        x, y = self._places(options)
        return readStamps(self.template, self.science, x, y, self.kernelSize, options, threads)

    def makeState(
        self,
        basisList: npt.NDArray[np.float64],
        options: KernelOptions,
        threads: int,
        stamps: _core.RegionStamps | None = None,
    ) -> RegionState:
        """Return the regions that are to be fitted, with their equations for a basis (n, h, w).

        `stamps` are their pixels, if they have been read before.
        """
        x, y = self._places(options)
        stamps = self.readStamps(options, threads) if stamps is None else stamps
        return RegionState(stamps, x, y, basisList, self.bbox, options, threads)

    def _places(self, options: KernelOptions) -> tuple[IntArray, IntArray]:
        regions = self.regionsToFit(options.nStarPerCell)
        x, y = (np.array([getattr(region, axis) for region in regions], dtype=np.int64) for axis in ("x", "y"))
        return x, y

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None}


def makeRegions(
    template: MaskedImage,
    science: MaskedImage,
    options: KernelOptions,
    kernelSize: int,
    sources: Any = None,
    threads: int = 1,
) -> RegionCells:
    """Cut regions out of both images, as views, and put them into cells; parameters as for `regionCentres`."""
    centres = regionCentres(template, science, options, kernelSize, sources, threads)
    half = options.regions.halfWidth + kernelSize // 2
    side = 2 * half + 1
    cells = RegionCells(template, science, options, kernelSize)
    if options.regions.layout == "stars":
        x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
        cells.nOutside = int((~insideFit(x, y, cells.bbox, kernelSize)).sum())
    for rank, (x, y) in enumerate(centres.tolist()):
        box = Box(x - half, y - half, side, side)
        cells.insertCandidate(
            KernelCandidate(x, y, template.subset(box), science.subset(box), options, rating=-float(rank))
        )
    return cells
