"""The images that a kernel is chosen for, and their regions that are fitted: how many, how large, about stars or tiles.

Stars or tiles: whose solution serves the stars better that neither has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import KernelOptions
from psfmatch.config.choices import Choice
from psfmatch.errors import InsufficientKernelSourcesError, NoKernelCandidatesError
from psfmatch.fit.regions.regionCells import RegionCells, placesInside
from psfmatch.images import MaskedImage
from psfmatch.kernels.gaussians import Fwhms, GaussianFamily
from psfmatch.sources import BOX_SIDE, lightRatios

__all__ = ["ENOUGH_STARS", "ImagePair", "beginFit", "chooseLayout", "effortFor"]

FEW_STARS = 64
ENOUGH_STARS = 100
"""Stars that leave nothing for tiles to add: below, they are tried."""
SOME_REGIONS, MANY_REGIONS = 300, 600
LARGE_FIELD = 2000**2
"""Pixels from which many regions are worth their time: more than a polynomial in a small field, kernels vary here."""
SMALL_HALF_WIDTH = 11
SHARP_FWHM = 4.4
"""Pixels, up to which regions of that half width hold a star."""
MAX_RATIOS = 200
"""Sources that tell the flux ratio."""


@dataclass(frozen=True)
class ImagePair:
    """Two images on one grid, of which one is to be convolved to match the other.

    sources : table with x and y (parent pixels), most useful first, may be empty; fwhms : FWHM (pixels) of both PSFs in
    the same sequence, None where unknown; threads : of all that is done with them; noiseCorrelation :
    (2 n + 1, 2 n + 1), of the noise of the image to convolve, by lags (y, x), None where it is white.
    """

    convolved: MaskedImage
    other: MaskedImage
    sources: Any
    fwhms: Fwhms
    threads: int = 1
    noiseCorrelation: npt.NDArray[np.float64] | None = None

    def layOut(self, options: KernelOptions, kernelSize: int, layout: str) -> RegionCells:
        """Return regions about the sources, or tiles, for kernels up to a size in pixels."""
        own = replace(options, regions=replace(options.regions, layout=layout))
        images = self.convolved, self.other
        return RegionCells(*images, own, kernelSize, self.sources, self.threads, self.noiseCorrelation)

    def fluxRatio(self, planes: Sequence[str]) -> float:
        """Return the light of the image to match over that of the image to convolve; 1 where no source tells it.

        The median of the sources' light above their surroundings, bad pixels (of the mask planes, or by their value)
        left out.
        """
        # Whole boxes only: of a position near the edge, or beyond, nothing is known.
        x, y = placesInside(self.sources, self.other.getBBox(), BOX_SIDE, most=MAX_RATIOS).T
        ratios = lightRatios(self.other, self.convolved, x, y, planes, threads=self.threads)
        ratio = float(np.median(ratios)) if ratios.size else 1.0
        return ratio if ratio > 0.0 else 1.0


def effortFor(
    options: KernelOptions, nStars: int, fwhms: Fwhms, shape: tuple[int, int], pinned: Collection[str] = ()
) -> tuple[KernelOptions, bool]:
    """Return size and number of regions for a field, and whether all models are tried.

    Regions and models cost time, and beyond what a field can tell they change nothing. Measured on simulated fields of
    512 to 2048 pixels against the true kernel: with a hundred stars tiles change it by a tenth of its error either way,
    and three hundred regions of 23x23 pixels are as good as six hundred of 31x31. With fewer stars larger regions keep
    more of their pixels where some are rejected, and with fewer than 64 all that can be tried is worth its time.

    Parameters
    ----------
    options
        Of the kernel, that the choice starts from.
    nStars
        Stars whose surroundings may be fitted.
    fwhms
        Of both PSFs (pixels); None: unknown.
    shape
        Of the images.
    pinned
        Names of fields that stay as they are: ``regionConfig.halfWidth``, ``regionConfig.maxRegions``.
    """
    isThorough = nStars < FEW_STARS
    isLarge = shape[0] * shape[1] >= LARGE_FIELD
    maxRegions = MANY_REGIONS if isThorough or isLarge else SOME_REGIONS
    changes: dict[str, Any] = {"maxRegions": min(maxRegions, options.regions.maxRegions)}
    if nStars >= ENOUGH_STARS and all(fwhm is not None and fwhm <= SHARP_FWHM for fwhm in fwhms):
        changes["halfWidth"] = min(SMALL_HALF_WIDTH, options.regions.halfWidth)
    free = {name: value for name, value in changes.items() if f"regionConfig.{name}" not in pinned}
    return replace(options, nStarPerCell=-1, regions=replace(options.regions, **free)), isThorough


def beginFit(cells: RegionCells, family: GaussianFamily, *, isRejecting: bool = True) -> _core.RegionSolver:
    """Return the regions with the equations for a family; what a usual model cannot explain is rejected."""
    solver = cells.solverOf(cells.regionsToFit(cells.options.nStarPerCell), family.basis())
    solver.reject(solver.usualModel(family.images(family.usualDegrees)), isRejecting)
    return solver


def chooseLayout(
    layOut: Callable[[str], RegionCells], family: GaussianFamily, nGiven: int, *, starsOnly: bool, pinned: str | None
) -> tuple[RegionCells, Choice]:
    """Return the regions to fit: around the stars, or tiles where these serve withheld stars better.

    `layOut` makes those of a layout, from `nGiven` sources, of which ``minKernelSources`` must lie on the images.
    """

    def told(cells: RegionCells, sentence: str) -> tuple[RegionCells, Choice]:
        layout = cells.options.regions.layout
        figures = {"stars": math.nan, "tiles": math.nan, layout: len(cells)}
        return cells, Choice.between("layout", layout, figures, sentence)

    if pinned == "tiles":
        tiles = layOut("tiles")
        return told(tiles, f"{len(tiles)} tiles over all good pixels, as set.")
    stars = layOut("stars")
    nStars, nRequired = len(stars), stars.options.minKernelSources
    if starsOnly or pinned == "stars":
        _requireStars(nStars, nGiven, nRequired, "given" if starsOnly else "found")
        return told(stars, f"Regions around the {nStars} stars {'given' if starsOnly else 'found, as set'}.")
    if nStars >= max(nRequired, ENOUGH_STARS):
        return told(stars, f"Regions around {nStars} stars; tiles are tried below {ENOUGH_STARS} only.")
    tiles = layOut("tiles")
    if nStars < nRequired:
        return told(tiles, f"Tiles over all good pixels ({len(tiles)}): there are too few stars to fit.")
    usual = family.upTo(family.usualDegrees)
    choice = _compare(beginFit(stars, usual), beginFit(tiles, usual), usual.images(usual.usualDegrees))
    return (tiles if choice.chosen == "tiles" else stars), choice


def _compare(stars: _core.RegionSolver, tiles: _core.RegionSolver, images: tuple[int, ...]) -> Choice:
    """Compare usual models, of some images of the basis, on the stars of folds that neither has seen."""
    byStars = stars.chiSquares(stars.usualModel(images))
    # Tiles that overlap the stars of a fold take no part in their judgement.
    byTiles = stars.chiSquaresBy(tiles, tiles.usualModel(images))
    total, (gain, error) = float(byStars.sum()), _core.pairedGain(byStars, byTiles)
    chosen = "tiles" if gain > error else "stars"
    return Choice.between(
        "layout", chosen, {"stars": total, "tiles": total - gain},
        f"Regions: {chosen}; chi-square of withheld stars is {total:.0f} by a fit to stars, {total - gain:.0f} by one "
        f"to tiles, a difference known to {error:.0f}.",
    )  # fmt: skip


def _requireStars(count: int, nGiven: int, least: int, origin: str) -> None:
    """Raise unless so many of the stars that must be fitted lie on the images."""
    if count == 0 < least and origin == "given":
        told = f"all {nGiven} sources of candidateList lie outside the images, or too close to their edge"
        raise NoKernelCandidatesError(told, nSources=nGiven, nRequired=least)
    if count < least:
        told = f"{count} sources {origin} on the images, minKernelSources is {least}"
        raise InsufficientKernelSourcesError(told, nSources=count, nRequired=least)
