"""Regions around stars, or tiles over all good pixels: whose solution serves the stars that neither has seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.modelChoice.trial import Choice, trimmedDifference
from psfmatch.regions import RegionState, usualModel

__all__ = ["chooseLayout"]


def chooseLayout(stars: RegionState, tiles: RegionState, images: tuple[int, ...]) -> Choice:
    """Compare solutions of usual models, of some images of the basis, on the stars of folds that neither has seen."""
    starModel, tileModel = (usualModel(images, len(state)) for state in (stars, tiles))
    order = max(starModel.highestOrder, tileModel.highestOrder)
    starSystem, tileSystem = stars.system(order), tiles.system(order)
    byTiles = np.full(len(stars), np.nan)
    try:
        byStars = starSystem.heldOut(starModel.toCore())[2]
        for fold in np.unique(stars.folds):
            inside = stars.folds == fold
            # Tiles that overlap the stars of the fold take no part.
            solution = tileSystem.solve(tileModel.toCore(), without=_near(tiles, stars, inside))
            byTiles[inside] = starSystem.chiSquares(*starSystem.at(solution))[inside]
    except _core.NumericalError:
        return _choice("stars", math.nan, math.nan, 0.0)
    gain, error = trimmedDifference(byStars, byTiles)
    return _choice("tiles" if gain > error else "stars", gain, error, float(np.nansum(byStars)))


def _choice(chosen: str, gain: float, error: float, total: float) -> Choice:
    other = "stars" if chosen == "tiles" else "tiles"
    figures = {"stars": total, "tiles": total - gain}
    return Choice(
        "layout", chosen, figures[chosen], other, figures[other],
        f"Regions: {chosen}; chi-square of withheld stars is {total:.0f} by a fit to stars, {total - gain:.0f} by one "
        f"to tiles, a difference known to {error:.0f}.",
    )  # fmt: skip


def _near(tiles: RegionState, stars: RegionState, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which tiles overlap any of some stars' regions."""
    side = tiles.stamps.width
    near = np.zeros(len(tiles), dtype=bool)
    for x, y in zip(stars.x[inside], stars.y[inside], strict=True):
        near |= (np.abs(tiles.x - x) < side) & (np.abs(tiles.y - y) < side)
    return near
