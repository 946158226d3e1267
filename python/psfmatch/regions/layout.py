"""Where the regions lie whose pixels the kernel is fitted to: around stars, or tiles over all good pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate
from psfmatch.config import KernelOptions
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.exposure import Box, MaskedImage
from psfmatch.regions.state import RegionCells
from psfmatch.visitors import stampTuple

__all__ = ["makeRegions", "placesInside"]


def makeRegions(
    template: MaskedImage,
    science: MaskedImage,
    options: KernelOptions,
    kernelSize: int,
    sources: Any = None,
    threads: int = 1,
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
    if regions.layout == "tiles":
        image = stampTuple(template, options.badPlanes())
        tiles = _core.tilePlaces(image, regions.halfWidth, kernelSize // 2, regions.maxRegions, nThreads=threads)
        centres = tiles + np.array([box.x0, box.y0])
    else:
        places = placesInside(sources, box, kernelSize)
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


def placesInside(sources: Any, box: Box, size: int, most: int | None = None) -> npt.NDArray[np.float64]:
    """Return x and y (N, 2) of sources, of the first `most`, that are half of `size` pixels or more from the edges."""
    margin = size // 2
    inner = Box(box.x0 + margin, box.y0 + margin, max(0, box.width - 2 * margin), max(0, box.height - 2 * margin))
    places: npt.NDArray[np.float64] = np.stack(
        [np.asarray(sources[name][:most], dtype=np.float64) for name in ("x", "y")], axis=1
    )
    inside: npt.NDArray[np.bool_] = np.asarray(inner.contains(*places.T))
    return places[inside]
