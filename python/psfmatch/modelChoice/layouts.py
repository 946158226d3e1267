"""Regions around stars, or tiles over all good pixels: whose solution serves the stars that neither has seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from psfmatch.errors import KernelSolutionError
from psfmatch.modelChoice.family import GaussianFamily
from psfmatch.modelChoice.trial import Choice, Trial, trimmedDifference
from psfmatch.regions import PixelRegions, RegionState, SpatialModel

__all__ = ["chooseLayout", "usualModel"]

USUAL_SHAPE, USUAL_VARIATION, USUAL_WIDTH = 1.0, 0.01, 0.2
"""Expected departure of the kernel from the first Gaussian, its variation, and that with its width, in units of its
norm: where the FWHM of a PSF varies by 15 %, the kernel varies by 0.2."""


def usualModel(family: GaussianFamily, nRegions: int) -> SpatialModel:
    """Return the model that serves most fields: what is rejected by it hardly depends on the details."""
    order = 2 if nRegions >= 30 else 1 if nRegions >= 10 else 0
    return SpatialModel(
        family.images(family.degrees[len(family.degrees) // 2]),
        order,
        min(order, 2),
        USUAL_SHAPE,
        USUAL_VARIATION,
        USUAL_WIDTH,
    )


def chooseLayout(
    stars: RegionState | None, tiles: RegionState, family: GaussianFamily
) -> tuple[str, RegionState, Choice]:
    """Compare solutions from stars and from tiles on the stars of folds that neither has seen."""
    if stars is None:
        return "tiles", tiles, Choice(
            "layout", "tiles", len(tiles.regions), "stars", 0.0,
            f"Tiles over all good pixels ({len(tiles.regions)}): there are too few stars to fit.",
        )  # fmt: skip
    starModel, tileModel = (usualModel(family, len(state.regions)) for state in (stars, tiles))
    order = max(starModel.highestOrder, tileModel.highestOrder)
    starSystem, tileSystem = stars.system(order), tiles.system(order)
    starTrial = Trial(starSystem)
    byStars = starTrial.heldOut(starModel)
    byTiles = np.full(len(stars.regions), np.nan)
    for fold in np.unique(stars.folds):
        inside = np.flatnonzero(stars.folds == fold)
        # Tiles that overlap the stars of the fold take no part.
        near = _near(tiles.regions, stars.regions, inside)
        try:
            solution = tileSystem.refolded(near.astype(np.int64)).solve(tileModel, without=1 if near.any() else None)
        except KernelSolutionError:
            return "stars", stars, _layoutChoice("stars", math.nan, math.nan, 0.0)
        coefficients, backgrounds = starSystem.at(solution, inside)
        byTiles[inside] = starSystem.chiSquares(coefficients, backgrounds, inside)
    gain, error = trimmedDifference(byStars, byTiles)
    isBetter = gain > error
    return (
        ("tiles" if isBetter else "stars"),
        (tiles if isBetter else stars),
        _layoutChoice(
            "tiles" if isBetter else "stars", gain, error, 0.0 if byStars is None else float(np.nansum(byStars))
        ),
    )


def _layoutChoice(chosen: str, gain: float, error: float, total: float) -> Choice:
    other = "stars" if chosen == "tiles" else "tiles"
    figures = {"stars": total, "tiles": total - gain}
    return Choice(
        "layout", chosen, figures[chosen], other, figures[other],
        f"Regions: {chosen}; chi-square of withheld stars is {total:.0f} by a fit to stars, {total - gain:.0f} by one "
        f"to tiles, a difference known to {error:.0f}.",
    )  # fmt: skip


def _near(tiles: PixelRegions, stars: PixelRegions, inside: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which tiles overlap any of some stars' regions."""
    side = tiles.science.shape[1]
    near = np.zeros(len(tiles), dtype=bool)
    for x, y in zip(stars.x[inside], stars.y[inside], strict=True):
        near |= (np.abs(tiles.x - x) < side) & (np.abs(tiles.y - y) < side)
    return near
