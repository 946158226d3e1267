"""Triplets: the two images of one PSF and their difference, about places that matter and of the whole field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from psfmatch.errors import fixed
from psfmatch.images import Exposure, Mask, MaskedImage
from psfmatch.pictures import drawing
from psfmatch.pictures.drawing import BRIGHTER_COLOUR, COLOURS, FAINTER_COLOUR, HIDDEN_PLANES, FloatArray, Plane
from psfmatch.pictures.files import pngBytes
from psfmatch.pictures.mosaic import Mosaic, Panel, Tile
from psfmatch.pictures.numbers import findDetections
from psfmatch.sources import boxLight

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from psfmatch.frontdoor import SubtractionResult

HALF_WIDTH = 15  # px, of the stamps
PULLS = 5.0  # of its noise, at which a difference has its full colour
DOUBTFUL_FLAGS = ("flagEdge", "flagMasked", "flagInterpolated", "flagSaturated", "flagNoFit", "flagDipole")
UNUSABLE = ("SAT", "NO_DATA", "BAD")

SIDE = 112  # px, of a panel of a thumbnail at most
SAMPLES = 3  # pixels that are looked at along each side of a pixel of the panel, at least
GAP = 3  # px, between the panels
SHADES = 32  # of grey, of red and of blue
HIDDEN, PAPER = 253, 254
"""Numbers of the colours of what cannot be used, and between the panels."""


@dataclass(frozen=True)
class Place:
    """Where to cut, parent pixels; what to write above; the colour of the frame."""

    x: float
    y: float
    label: str
    colour: str


def matchedPair(result: SubtractionResult) -> dict[str, Exposure]:
    """Return the two images of one PSF whose difference is the difference, and it, by their names."""
    if result.convolved == "template":
        pair = {"matched template": result.matched, "science": result.unconvolved}
    else:
        pair = {"template": result.unconvolved, "matched science": result.matched}
    return {**pair, "difference / noise": result.difference}


def signalToNoise(result: SubtractionResult) -> FloatArray:
    """Return the light of the candidates over its error, in boxes of 15 px on the science image; NaN if unknown."""
    candidates = result.candidates
    if not len(candidates):
        return np.zeros(0)
    light, error = boxLight(result.science.maskedImage, candidates["x"], candidates["y"], UNUSABLE)
    ratio: FloatArray = np.divide(light, error, out=np.full(len(light), math.nan), where=error > 0.0)
    return ratio


def candidatePlaces(result: SubtractionResult, number: int) -> list[Place]:
    """Return the candidates to look at: half the worst of those used, a quarter the brightest, a quarter rejected."""
    candidates = result.candidates
    if not len(candidates):
        return []
    status = np.asarray(candidates["status"])
    rms = np.nan_to_num(np.asarray(candidates["spatialRms"], dtype=np.float64), nan=-1.0)
    ratio = np.nan_to_num(signalToNoise(result), nan=-1.0)

    def ranked(name: str, by: FloatArray) -> list[int]:
        return sorted(np.flatnonzero(status == name).tolist(), key=lambda index: -float(by[index]))

    refused = ranked("BAD", ratio)[: number // 4]
    chosen = ranked("GOOD", ratio)[: number // 4]
    chosen += [index for index in ranked("GOOD", rms) if index not in chosen][: number - len(chosen) - len(refused)]
    places = []
    for index in [*chosen, *refused]:
        row = candidates[index]
        told = f"{row['id']}: residual {fixed(rms[index], 2)}" if rms[index] >= 0.0 else f"{row['id']}"
        if status[index] == "BAD":
            told = f"{row['id']}: {str(row['reason']).partition(':')[0]}"
        colour = COLOURS.get(str(status[index]), COLOURS["UNKNOWN"])
        places.append(Place(float(row["x"]), float(row["y"]), told, colour))
    return places


def _detectionPlaces(sources: Table, number: int) -> list[Place]:
    """Return the most significant sources of a difference, grey where a flag makes them doubtful."""
    places = []
    for row in sources[:number]:
        flags = [name for name in DOUBTFUL_FLAGS if name in sources.colnames and row[name]]
        ratio = f"{fixed(row['significance'], 1, sign=True)}σ".replace("-", "\N{MINUS SIGN}")
        words = [f"{row['id']}: {ratio}", *(name.removeprefix("flag").lower() for name in flags[:1])]
        colour = COLOURS["UNKNOWN"] if flags else BRIGHTER_COLOUR if row["significance"] > 0 else FAINTER_COLOUR
        places.append(Place(float(row["x"]), float(row["y"]), " ".join(words), colour))
    return places


def plotTriplets(
    result: SubtractionResult,
    what: Literal["candidates", "detections"] = "candidates",
    number: int = 16,
    detections: Table | None = None,
) -> Figure:
    """Draw the two images of one PSF and the difference over its noise about candidates or detections.

    result : of `psfmatch.subtract`; what : "candidates": a quarter the brightest that were used, half the worst, a
    quarter rejected ones; "detections": the most significant; number : of triplets at most; detections : of
    ``result.detect()``, which is called if they are not given.
    """
    drawing.requireMatplotlib()
    if what not in ("candidates", "detections"):
        raise ValueError(f"triplets of {what!r} are unknown; choose 'candidates' or 'detections'")
    if what == "candidates":
        places = candidatePlaces(result, number)
    else:
        table = findDetections(result).table if detections is None else detections
        places = [] if table is None else _detectionPlaces(table, number)
    width = 11.0
    if not places:
        figure = drawing.newFigure(width, 0.8)
        figure.text(0.5, 0.5, f"There are no {what}.", ha="center", va="center", color=drawing.QUIET)
        return figure
    tiles, names = tripletTiles(result, places)
    columns = min(4, len(tiles))
    mosaic = Mosaic(tiles, width - 0.2, 40.0 if columns == 4 else 2.2, columns, fontsize=8.0)
    height = mosaic.height + 0.85
    figure = drawing.newFigure(width, height)
    headings = [name.removesuffix(" / noise") for name in names] if columns == 4 else names
    mosaic.draw(figure, 0.1, height - 0.15, headings if columns < 4 else (), 0.6)
    drawing.addLowBar(figure, drawing.signedStyle(PULLS), "difference / noise", 6.5, 0.42, 4.2)
    told = "Each: " + ", ".join(headings)
    figure.text(0.1 / width, 0.5 / height, told, fontsize=9, color=drawing.QUIET, va="center")
    return figure


def tripletTiles(
    result: SubtractionResult, places: Sequence[Place], halfWidth: int = HALF_WIDTH
) -> tuple[list[Tile], list[str]]:
    """Return a tile of three panels for each place, and the panels' names.

    The two images share one asinh scale from their own sky, that of the place; the difference is in units of its
    noise, from -5 to 5.
    """
    pair = matchedPair(result)
    skies = [float(np.nanmedian(image.image[::7, ::7])) for image in pair.values()]
    pulls = drawing.signedStyle(PULLS)
    tiles = []
    for place in places:
        cuts = [_cut(image, result.difference.xy0, place, halfWidth) for image in pair.values()]
        counts = [values - sky for (values, _, _), sky in zip(cuts[:2], skies, strict=False)]
        known = cuts[1][1][np.isfinite(cuts[1][1])]
        noise = math.sqrt(float(np.median(known))) if known.size else drawing.noiseOf(counts[1])
        brightest = max(drawing.percentile(values, 100.0) for values in counts)
        style = drawing.styleOf("gray_r", drawing.asinhNorm(noise or 1.0, brightest))
        values, variance, bad = cuts[2]
        panels: list[Panel] = [(shown, style, None) for shown in counts]
        tiles.append(Tile(place.label, [*panels, (values / np.sqrt(variance), pulls, bad)], place.colour))
    return tiles, list(pair)


def _cut(
    image: Exposure, xy0: tuple[int, int], place: Place, halfWidth: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return values, variances and bad pixels about a place; beyond the image, or not positive, they are NaN.

    xy0 : of the difference, on whose pixels all images lie, whatever origin they came with.
    """
    height, width = image.shape
    offset = np.arange(-halfWidth, halfWidth + 1)
    columns, rows = (math.floor(at - first + 0.5) + offset for at, first in zip((place.x, place.y), xy0, strict=True))
    where = np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)[None]
    isOff = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))[None]
    masked = image.maskedImage
    values, variance = (plane[where].astype(np.float64) for plane in (masked.image, masked.variance))
    bits = masked.mask.getPlaneBitMask(UNUSABLE, ignoreMissing=True)
    bad: npt.NDArray[np.bool_] = ((np.asarray(masked.mask)[where] & np.int32(bits)) != 0) & ~isOff
    return np.where(isOff, np.nan, values), np.where(isOff | ~(variance > 0.0), np.nan, variance), bad


def thumbnail(result: SubtractionResult, side: int = SIDE) -> bytes:
    """Return the two images of one PSF, from the same black to the same white, and the difference over its noise.

    A small PNG, side by side, each `side` pixels at most: it needs no matplotlib, and takes about a hundredth of a
    second whatever the size of the images. Red is brighter, blue fainter in the science image, full at 5 times the
    noise; what cannot be used is yellowish.
    """
    first, second, difference = (_small(image, side) for image in matchedPair(result).values())
    noise, brightest = drawing.countScale(first, second)
    full = np.arcsinh(brightest / (3.0 * noise))
    depths = (np.arcsinh((plane.values - plane.sky) / (3.0 * noise)) / full for plane in (first, second))
    panels = [_numbered(0.15 + 0.85 * depth) for depth in depths]
    pulls = difference.pulls / PULLS
    panels.append(np.where(pulls < 0.0, _numbered(-pulls, 2 * SHADES), _numbered(pulls, SHADES)))
    gap = np.full((panels[0].shape[0], GAP), PAPER, dtype=np.uint8)
    shades = np.linspace(0.0, 1.0, SHADES)[:, np.newaxis]
    colours = np.full((256, 3), 255.0)
    colours[: 3 * SHADES] = np.concatenate(
        [255.0 + shades * (np.array(full) - 255.0) for full in ((0, 0, 0), (178, 24, 43), (33, 102, 172))]
    )
    colours[HIDDEN] = (222, 214, 190)
    # Rows of a PNG go down, those of an image up.
    pixels = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)[::-1]
    return pngBytes(pixels, colours.round().astype(np.uint8))


def _small(image: Exposure, side: int) -> Plane:
    """Return an image of at most `side` pixels, the means of some of the pixels there."""
    masked = image.maskedImage
    step = max(1, -(-max(masked.shape) // side) // SAMPLES)
    planes: list[Any] = [np.ascontiguousarray(p[::step, ::step]) for p in (masked.image, masked.variance, masked.mask)]
    return drawing.binned(MaskedImage(planes[0], Mask(planes[2], masked.mask.planes), planes[1]), HIDDEN_PLANES, side)


def _numbered(depth: FloatArray, first: int = 0) -> npt.NDArray[np.uint8]:
    """Return the numbers of shades from 0 (white) to 1, HIDDEN where nothing is known."""
    shade = np.clip(np.nan_to_num(depth) * (SHADES - 1), 0, SHADES - 1).round()
    return np.where(np.isfinite(depth), first + shade, HIDDEN).astype(np.uint8)
