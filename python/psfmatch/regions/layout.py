"""Where the regions lie whose pixels the kernel is fitted to: around stars, or tiles over all good pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.cells import KernelCandidate, SpatialCellSet
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.exposure import Box, MaskedImage

__all__ = ["insideFit", "makeRegions", "regionCentres"]

IntArray = npt.NDArray[np.int64]


def regionCentres(
    template: MaskedImage, science: MaskedImage, config: Any, kernelSize: int, sources: Any = None
) -> IntArray:
    """Return the middle pixels (N, 2), x and y in parent pixels, of the regions that the configuration asks for.

    Parameters
    ----------
    template, science
        The image to convolve and the image to match, on one grid.
    config
        Active kernel configuration: ``regionConfig``.
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
    half = config.regionConfig.halfWidth + kernelSize // 2
    if min(box.width, box.height) < 2 * half + 1:
        raise NoKernelCandidatesError(
            f"images of {box.width}x{box.height} pixels have no room for a region of {2 * half + 1} pixels, kernel "
            f"of {kernelSize} included; use larger images, a smaller kernelSize or regionConfig.halfWidth",
            nSources=0,
        )
    if config.regionConfig.layout == "tiles":
        centres = _tileCentres(template, science, config, half)
    else:
        x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
        inside = insideFit(x, y, box, kernelSize)
        centres = np.floor(np.stack([x, y], axis=1)[inside] + 0.5).astype(np.int64)
        low = np.array([box.x0 + half, box.y0 + half])
        high = np.array([box.x1 - 1 - half, box.y1 - 1 - half])
        # A star near the edge stays inside its region, if not in the middle.
        centres = np.clip(centres, low, high)
        centres = centres[np.sort(np.unique(centres, axis=0, return_index=True)[1])]
    centres = centres[: config.regionConfig.maxRegions]
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


def _tileCentres(template: MaskedImage, science: MaskedImage, config: Any, half: int) -> IntArray:
    """Return the middles of tiles side by side, those with most light first if there are too many.

    Of a field with more tiles than ``regionConfig.maxRegions`` a tenth of them are spread evenly, for the background.
    """
    box = science.getBBox()
    side = 2 * config.regionConfig.halfWidth + 1
    middles = []
    for low, length in ((box.x0 + half, box.width), (box.y0 + half, box.height)):
        count = max(1, (length - 2 * half - 1) // side + 1)
        middles.append(low + np.round(np.linspace(0, length - 2 * half - 1, count)).astype(np.int64))
    centres: IntArray = np.array([(x, y) for y in middles[1] for x in middles[0]])
    planes = config.badPlanes()
    light = np.array([_light(template, x, y, config.regionConfig.halfWidth, planes) for x, y in centres])
    centres, light = centres[np.isfinite(light)], light[np.isfinite(light)]
    if len(centres) <= config.regionConfig.maxRegions:
        return centres[np.argsort(-light, kind="stable")]
    nEven = config.regionConfig.maxRegions // 10
    even = np.unique(np.linspace(0, len(centres) - 1, nEven).astype(np.int64))
    others = np.setdiff1d(np.arange(len(centres)), even)
    brightest = others[np.argsort(-light[others], kind="stable")][: config.regionConfig.maxRegions - even.size]
    return np.concatenate([centres[even], centres[brightest]])


def _light(image: MaskedImage, x: int, y: int, half: int, planes: Sequence[str]) -> float:
    """Return how far the bright pixels of a region stand above its others, in sigma; NaN if it has none."""
    part = image.subset(Box(int(x) - half, int(y) - half, 2 * half + 1, 2 * half + 1))
    pixels, variance = part.image[::2, ::2], part.variance[::2, ::2]
    good = ~part.badPixels(planes)[::2, ::2] & np.isfinite(variance)
    if good.sum() < 16:
        return float("nan")
    low, high = np.partition(pixels[good], [good.sum() // 2, int(0.98 * good.sum())])[
        [good.sum() // 2, int(0.98 * good.sum())]
    ]
    noise = float(np.sqrt(max(float(np.median(variance[good])), 0.0)))
    return float(high - low) / noise if noise > 0.0 else float(high - low)


def makeRegions(
    template: MaskedImage,
    science: MaskedImage,
    config: Any,
    kernelSize: int,
    sources: Any = None,
) -> SpatialCellSet:
    """Cut regions out of both images, as views, and put them into cells; parameters as for `regionCentres`."""
    centres = regionCentres(template, science, config, kernelSize, sources)
    half = config.regionConfig.halfWidth + kernelSize // 2
    side = 2 * half + 1
    cellSet = SpatialCellSet(science.getBBox(), config.sizeCellX, config.sizeCellY)
    for rank, (x, y) in enumerate(centres.tolist()):
        box = Box(x - half, y - half, side, side)
        cellSet.insertCandidate(
            KernelCandidate(x, y, template.subset(box), science.subset(box), config, rating=-float(rank))
        )
    return cellSet
