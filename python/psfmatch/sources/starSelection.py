"""Which of the sources found the kernel is fitted to."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from psfmatch.images import Box
from psfmatch.io.sourceTable import AnyTable

__all__ = ["areFaint", "chooseIsolatedStars", "chooseRegionSources", "totalSnr", "usefulSources"]

log = logging.getLogger("psfmatch.sources.starSelection")

MIN_SNR = 20.0
"""Fainter stars constrain the kernel too little to be worth their noise in the kernel sum."""
MIN_USEFUL, MIN_FAINT = 3, 5
"""With fewer useful ones, and so many sources in all, the faint ones tell more together."""
MAX_NEIGHBOUR_FLUX = 0.1
"""A neighbour in the stamp with more than this share of a star's flux makes it a blend."""
SPREAD_CELL = 256
"""Side (pixels) of the cells that take turns in giving their brightest source, where there are too many."""


def usefulSources(sources: AnyTable) -> AnyTable:
    """Return the sources above S/N 20 that are not centred on bad pixels."""
    return sources[(np.asarray(sources["snr"]) >= MIN_SNR) & ~np.asarray(sources["badCentre"])]


def areFaint(sources: AnyTable) -> bool:
    """Return whether an image shows faint sources alone, of which none tells its own place or width well."""
    if len(sources) < MIN_FAINT or "snr" not in sources.colnames:
        return False
    return int(np.count_nonzero(np.asarray(sources["snr"]) >= MIN_SNR)) < MIN_USEFUL


def totalSnr(sources: AnyTable) -> float:
    """Return the signal-to-noise ratio of the light of all sources together, as they were measured."""
    flux, error = (np.asarray(sources[name], dtype=np.float64) for name in ("psfFlux", "psfFluxErr"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = flux / error
    return float(np.sqrt(np.square(ratios[np.isfinite(ratios) & (ratios > 0.0)]).sum()))


def chooseRegionSources(sources: AnyTable, nMax: int, bbox: Box) -> AnyTable:
    """Return the sources whose surroundings the kernel is fitted to, at most `nMax`, spread over the field.

    Neighbours, galaxies and blends are welcome: all pixels are fitted, and those that do not follow are rejected one by
    one. Sources below S/N 20 and those centred on bad pixels are left out.

    Parameters
    ----------
    sources
        Table of `getSelectSources`, brightest first.
    nMax
        Most sources.
    bbox
        The field, parent pixels.
    """
    chosen = usefulSources(sources)
    if len(chosen) > nMax:
        cells = ((np.asarray(chosen["y"]) - bbox.y0) // SPREAD_CELL).astype(np.int64) * 10_000
        cells += ((np.asarray(chosen["x"]) - bbox.x0) // SPREAD_CELL).astype(np.int64)
        order = np.argsort(cells, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(cells[order]) != 0])
        turn = np.empty(len(chosen), dtype=np.int64)
        turn[order] = np.arange(len(chosen)) - np.repeat(starts, np.diff(np.r_[starts, len(chosen)]))
        chosen = chosen[np.sort(np.argsort(turn, kind="stable")[:nMax])]
    log.info("Using %d of %d sources: those above S/N %.0f, spread over the field", len(chosen), len(sources), MIN_SNR)
    return chosen


def chooseIsolatedStars(sources: AnyTable, kernelSize: int) -> AnyTable:
    """Return the isolated sources of useful signal-to-noise, or all of them if that would leave fewer than ten.

    Parameters
    ----------
    sources
        Table of `getSelectSources`, brightest first.
    kernelSize
        Pixels; neighbours nearer than this are blends.
    """
    x, y, flux = (np.asarray(sources[name], dtype=float) for name in ("x", "y", "flux"))
    bright = (np.asarray(sources["snr"]) >= MIN_SNR) & ~np.asarray(sources["badCentre"])
    isolated = bright & ~_hasNeighbour(x, y, flux, float(kernelSize))
    for what, chosen in (("isolated", isolated), ("bright", bright)):
        if chosen.sum() >= 10:
            log.info("Using %d %s sources of %d above S/N %.0f", chosen.sum(), what, len(sources), MIN_SNR)
            return sources[chosen]
    log.info("Only %d sources above S/N %.0f: all %d are used", bright.sum(), MIN_SNR, len(sources))
    return sources


def _hasNeighbour(x: Any, y: Any, flux: Any, distance: float) -> Any:
    """Return which sources have another within `distance` (pixels) that is not much fainter."""
    order = np.argsort(y, kind="stable")
    x, y, flux = x[order], y[order], flux[order]
    hasOne = np.zeros(x.size, dtype=bool)
    first = np.arange(x.size)
    # Each with the next one by y, then the second next, and so on as long as any pair is near in y.
    for step in range(1, x.size):
        first = first[first + step < x.size]
        second = first + step
        isNear = ~(y[second] - y[first] > distance)
        first, second = first[isNear], second[isNear]
        if not first.size:
            break
        isPair = np.hypot(x[second] - x[first], y[second] - y[first]) <= distance
        one, other = first[isPair], second[isPair]
        hasOne[one[flux[other] > MAX_NEIGHBOUR_FLUX * flux[one]]] = True
        hasOne[other[flux[one] > MAX_NEIGHBOUR_FLUX * flux[other]]] = True
    found = np.empty_like(hasOne)
    found[order] = hasOne
    return found
