"""Regions around stars, or tiles over all good pixels: whose solution serves the stars that neither has seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from psfmatch import _core
from psfmatch.errors import InsufficientKernelSourcesError, NoKernelCandidatesError
from psfmatch.modelChoice.family import GaussianFamily
from psfmatch.modelChoice.policy import ENOUGH_STARS
from psfmatch.modelChoice.trial import Choice, trimmedDifference
from psfmatch.regions import RegionCells, RegionState, usualModel

__all__ = ["beginFit", "chooseLayout"]


def beginFit(cells: RegionCells, family: GaussianFamily, *, rejectPixels: bool = True) -> RegionState:
    """Return the regions with the equations for a family; what a usual model cannot explain is rejected."""
    options = cells.options
    state = RegionState(cells, cells.regionsToFit(options.nStarPerCell), family.basis(), options)
    usual = usualModel(family.images(family.usualDegrees), len(state))
    state.reject(usual, replace(options.regions, rejectPixels=rejectPixels))
    return state


def chooseLayout(
    layOut: Callable[[str], RegionCells],
    family: GaussianFamily,
    nGiven: int,
    nRequired: int,
    *,
    starsOnly: bool,
    pinned: str | None,
) -> tuple[RegionCells, Choice]:
    """Return the regions to fit: around the stars, or tiles where these serve withheld stars better.

    `layOut` makes those of a layout, from `nGiven` sources of which `nRequired` must lie on the images.
    """

    def told(cells: RegionCells, sentence: str) -> tuple[RegionCells, Choice]:
        layout = cells.options.regions.layout
        figures = {"stars": math.nan, "tiles": math.nan, layout: len(cells)}
        return cells, Choice.between("layout", layout, figures, sentence)

    if pinned == "tiles":
        tiles = layOut("tiles")
        return told(tiles, f"{len(tiles)} tiles over all good pixels, as set.")
    stars = layOut("stars")
    nStars = len(stars)
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


def _compare(stars: RegionState, tiles: RegionState, images: tuple[int, ...]) -> Choice:
    """Compare solutions of usual models, of some images of the basis, on the stars of folds that neither has seen."""
    models = [usualModel(images, len(state)) for state in (stars, tiles)]
    order = max(model.highestOrder for model in models)
    starSystem, tileSystem = stars.system(order), tiles.system(order)
    side, byTiles = tiles.stamps.width, np.full(len(stars), np.nan)
    total, gain, error = 0.0, math.nan, math.nan
    try:
        byStars = starSystem.heldOut(models[0])[2]
        for fold in np.unique(stars.folds):
            inside = stars.folds == fold
            # Tiles that overlap the stars of the fold take no part.
            apart = (np.abs(tiles.x - stars.x[inside, None]) < side) & (np.abs(tiles.y - stars.y[inside, None]) < side)
            solution = tileSystem.solve(models[1], without=apart.any(axis=0))
            byTiles[inside] = starSystem.chiSquares(*starSystem.at(solution))[inside]
        total, (gain, error) = float(np.nansum(byStars)), trimmedDifference(byStars, byTiles)
    except _core.NumericalError:
        pass  # the stars stay
    return Choice.between(
        "layout", "tiles" if gain > error else "stars", {"stars": total, "tiles": total - gain},
        f"Regions: {'tiles' if gain > error else 'stars'}; chi-square of withheld stars is {total:.0f} by a fit to "
        f"stars, {total - gain:.0f} by one to tiles, a difference known to {error:.0f}.",
    )  # fmt: skip


def _requireStars(nStars: int, nGiven: int, nRequired: int, origin: str) -> None:
    """Raise unless so many of the stars that must be fitted lie on the images."""
    if nStars == 0 < nRequired and origin == "given":
        raise NoKernelCandidatesError(
            f"all {nGiven} sources of candidateList lie outside the images, or too close to their edge",
            nSources=nGiven,
            nRequired=nRequired,
        )
    if nStars < nRequired:
        raise InsufficientKernelSourcesError(
            f"{nStars} sources {origin} on the images, minKernelSources is {nRequired}",
            nSources=nStars,
            nRequired=nRequired,
        )
