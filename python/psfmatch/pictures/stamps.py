"""Triplets: the two images of one PSF and their difference about places that matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch.displays.drawing import COLOURS, asinhNorm, noiseOf
from psfmatch.displays.mosaic import Tile, styleOf
from psfmatch.exposure import Exposure
from psfmatch.messages import fixed
from psfmatch.photometry import boxLight
from psfmatch.reporting.subject import Reported, matchedPair

__all__ = ["HALF_WIDTH", "Place", "candidatePlaces", "detectionPlaces", "signalToNoise", "tripletTiles"]

FloatArray = npt.NDArray[np.float64]

HALF_WIDTH = 15  # px, of the stamps
PULLS = 5.0  # of its noise, at which a difference has its full colour
SIGN_COLOURS = {1: "#c1121f", -1: "#1d4ed8"}
DOUBTFUL_COLOUR = "#8a8a8a"
DOUBTFUL_FLAGS = ("flagEdge", "flagMasked", "flagInterpolated", "flagSaturated", "flagNoFit", "flagDipole")
UNUSABLE = ("SAT", "NO_DATA", "BAD")


@dataclass(frozen=True)
class Place:
    """Where to cut, parent pixels; what to write above; the colour of the frame."""

    x: float
    y: float
    label: str
    colour: str


def signalToNoise(result: Reported) -> FloatArray:
    """Return the light of the candidates over its error, in boxes of 15 px on the science image; NaN if unknown."""
    candidates = result.candidates
    if not len(candidates):
        return np.zeros(0)
    light, error = boxLight(result.science.maskedImage, candidates["x"], candidates["y"], UNUSABLE)
    ratio: FloatArray = np.divide(light, error, out=np.full(len(light), math.nan), where=error > 0.0)
    return ratio


def candidatePlaces(result: Reported, number: int) -> list[Place]:
    """Return the candidates to look at: half the worst of those used, a quarter the brightest, a quarter rejected."""
    candidates = result.candidates
    if not len(candidates):
        return []
    status = np.asarray(candidates["status"])
    rms = np.nan_to_num(np.asarray(candidates["spatialRms"], dtype=np.float64), nan=-1.0)
    ratio = np.nan_to_num(signalToNoise(result), nan=-1.0)
    used, rejected = np.flatnonzero(status == "GOOD"), np.flatnonzero(status == "BAD")
    worst = used[np.argsort(-rms[used], kind="stable")]
    bright = used[np.argsort(-ratio[used], kind="stable")]
    refused = rejected[np.argsort(-ratio[rejected], kind="stable")][: number // 4]
    chosen = list(bright[: number // 4])
    chosen += [index for index in worst if index not in chosen][: number - len(chosen) - len(refused)]
    places = []
    for index in [*chosen, *refused]:
        row = candidates[int(index)]
        told = f"{row['id']}: residual {fixed(rms[index], 2)}" if rms[index] >= 0.0 else f"{row['id']}"
        if status[index] == "BAD":
            told = f"{row['id']}: {str(row['reason']).partition(':')[0]}"
        colour = COLOURS.get(str(status[index]), DOUBTFUL_COLOUR)
        places.append(Place(float(row["x"]), float(row["y"]), told, colour))
    return places


def detectionPlaces(sources: Table, number: int) -> list[Place]:
    """Return the most significant sources of a difference, grey where a flag makes them doubtful."""
    places = []
    for row in sources[:number]:
        isDoubtful = any(bool(row[name]) for name in DOUBTFUL_FLAGS if name in sources.colnames)
        sign = 1 if row["significance"] > 0 else -1
        ratio = f"{fixed(row['significance'], 1, sign=True)}σ".replace("-", "\N{MINUS SIGN}")
        flags = [name.removeprefix("flag").lower() for name in DOUBTFUL_FLAGS if name in sources.colnames and row[name]]
        label = f"{row['id']}: {ratio} {', '.join(flags[:1])}".rstrip()
        places.append(
            Place(float(row["x"]), float(row["y"]), label, DOUBTFUL_COLOUR if isDoubtful else SIGN_COLOURS[sign])
        )
    return places


def tripletTiles(result: Reported, places: list[Place], halfWidth: int = HALF_WIDTH) -> tuple[list[Tile], list[str]]:
    """Return a tile of three panels for each place, and the panels' names.

    The two images share one asinh scale from their own sky, that of the place; the difference is in units of its
    noise, from -5 to 5.
    """
    pair = matchedPair(result)
    names = list(pair)
    first, second, difference = pair.values()
    skies = [float(np.nanmedian(image.image[::7, ::7])) for image in (first, second)]
    pulls = styleOf("RdBu_r", _symmetric(PULLS))
    tiles = []
    for place in places:
        stamps = [_cut(image, result.difference.xy0, place, halfWidth) for image in (first, second, difference)]
        counts = [stamp - sky for (stamp, _, _), sky in zip(stamps, skies, strict=False)]
        variance = np.where(stamps[1][1] > 0.0, stamps[1][1], np.nan)
        known = variance[np.isfinite(variance)]
        noise = math.sqrt(float(np.median(known))) if known.size else noiseOf(counts[1])
        brightest = max((float(np.nanmax(c)) for c in counts if np.isfinite(c).any()), default=0.0)
        style = styleOf("gray_r", asinhNorm(noise or 1.0, brightest))
        values, spread, bad = stamps[2]
        chi = values / np.sqrt(np.where(spread > 0.0, spread, np.nan))
        panels: list[tuple[Any, Any, Any]] = [(counts[0], style, None), (counts[1], style, None), (chi, pulls, bad)]
        tiles.append(Tile(place.label, panels, place.colour))
    return tiles, names


def _symmetric(limit: float) -> Any:
    from matplotlib.colors import Normalize

    return Normalize(-limit, limit)


def _cut(
    image: Exposure, xy0: tuple[int, int], place: Place, halfWidth: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return values, variances and bad pixels about a place; beyond the image they are NaN.

    xy0 : of the difference, on whose pixels all images lie, whatever origin they came with.
    """
    x0, y0 = xy0
    height, width = image.shape
    offset = np.arange(-halfWidth, halfWidth + 1)
    columns = math.floor(place.x - x0 + 0.5) + offset
    rows = math.floor(place.y - y0 + 0.5) + offset
    where = np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)[None]
    isOff = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))[None]
    masked = image.maskedImage
    values = np.where(isOff, np.nan, masked.image[where].astype(np.float64))
    variance = np.where(isOff, np.nan, masked.variance[where].astype(np.float64))
    bits = masked.mask.getPlaneBitMask(UNUSABLE, ignoreMissing=True)
    bad: npt.NDArray[np.bool_] = ((np.asarray(masked.mask)[where] & np.int32(bits)) != 0) & ~isOff
    return values, variance, bad
