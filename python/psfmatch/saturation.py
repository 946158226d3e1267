"""Saturated pixels: at which counts they begin, and the mask plane SAT set on them and about them.

The mask plane tells, or a header card, or the plateau in the histogram of bright pixels: the logarithms of the values
of stars' pixels have a density that changes slowly, whatever the PSF and the stars' brightness are (a Gaussian
contributes 2 pi sigma^2 pixels per unit of ln f up to its peak), while saturated cores pile up in one narrow
range with next to nothing above it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure, Mask, MaskedImage
from psfmatch.strips import mapStrips

__all__ = ["Saturation", "findSaturation", "flagSaturation"]

log = logging.getLogger("psfmatch.saturation")

FloatArray = npt.NDArray[np.float64]

SATURATION_CARDS = ("SATURATE", "SATLEVEL", "SATURATA", "SATURATB", "SATURAT", "SATUR", "SATURATION", "CELL.SATURATION")
"""Cards with the saturation level in counts; where several are given the lowest holds."""

DEFECT_PLANES = ("BAD", "CR", "NO_DATA")
"""Pixels with these say nothing about stars."""

STEP = 0.0005
"""Width of a bin of ln(counts above the sky)."""

WINDOWS = (1, 10, 20, 40, 80, 160)
"""Widths of a plateau tried, bins: from exact values to 8 per cent, which noise and flat fields make of them."""

REACH = 1386
"""Bins below the plateau with which it is compared: a factor of two in counts."""

MIN_PLATEAU = 9
"""Fewer pixels are no plateau: the brightest star alone can have four equal ones."""

MIN_EXCESS = 3.0
"""A plateau has so many times the pixels expected from those below."""

MAX_ABOVE = 0.2
"""Share of the plateau's pixels that may lie above it."""

MOST_FAR = 3
"""So many pixels may lie more than 10 % above a level that the header tells: cosmic rays."""

MIN_SIGNIFICANCE = 20.0
"""A plateau is so many standard deviations of the sky above it."""


@dataclass(frozen=True)
class Saturation:
    """Where an image saturates.

    level : counts at and above which pixels are saturated; None if there is none to apply;
    source : what told so; reason : a sentence with the numbers compared;
    nFlagged : pixels with SAT in the mask already; nAtLevel : good pixels at or above the level.
    """

    level: float | None
    source: Literal["mask", "header", "plateau", "none"]
    reason: str
    nFlagged: int = 0
    nAtLevel: int = 0


@dataclass(frozen=True)
class _Plateau:
    """A pile of pixels: from which level, how many, how many expected and above, and how many without SAT."""

    level: float
    nPixels: int
    nExpected: float
    nAbove: int
    nUnflagged: int


@dataclass(frozen=True)
class _BrightPixels:
    """Good bright pixels that belong to something larger than a pixel.

    sky, noise : level and standard deviation of the sky, counts; counts : above the sky, (N,);
    isFlagged : (N,) where SAT is set; nFlagged : pixels with SAT in the whole image.
    """

    sky: float
    noise: float
    counts: FloatArray
    isFlagged: npt.NDArray[np.bool_]
    nFlagged: int


def findSaturation(exposure: Exposure) -> Saturation:
    """Find where an image saturates: by its mask plane SAT, its header, or the plateau among its bright pixels.

    Parameters
    ----------
    exposure
        Not changed.

    Returns
    -------
    saturation : Saturation
        With ``level`` None where nothing saturates, or where the mask plane alone tells.
    """
    pixels = _brightPixels(exposure)
    plateau = _findPlateau(pixels)
    card, header = _headerLevel(exposure.metadata)
    brightest = pixels.sky + float(pixels.counts.max(initial=0.0))
    found = _fromMask(pixels, plateau) or _fromPlateau(pixels, plateau, card, header)
    if found is None and header is not None:
        found = _fromHeader(pixels, card, header)
    if found is None:
        found = Saturation(
            None,
            "none",
            f"none; no pixel has SAT, no header card tells a level, and bright pixels pile up at none (at least "
            f"{MIN_PLATEAU}, {MIN_EXCESS:g} times as many as the fainter ones let expect); the brightest has "
            f"{brightest:.6g} counts, the sky {pixels.sky:.6g} +- {pixels.noise:.3g}.",
        )
    log.debug("%s", found.reason)
    return found


def _fromMask(pixels: _BrightPixels, plateau: _Plateau | None) -> Saturation | None:
    if pixels.nFlagged == 0:
        return None
    if plateau is None:
        told = (
            f"as the mask says, SAT on {_counted(pixels.nFlagged)}; bright pixels pile up at no level "
            f"({MIN_PLATEAU} are needed)."
        )
        return Saturation(None, "mask", told, pixels.nFlagged)
    allowed = max(3, int(0.02 * plateau.nPixels))
    if plateau.nUnflagged > allowed:
        return None
    told = (
        f"as the mask says, SAT on {_counted(pixels.nFlagged)}; of the {plateau.nPixels} pixels on the plateau from "
        f"{plateau.level:.6g} counts {plateau.nUnflagged} lack it, where {allowed} may."
    )
    return Saturation(plateau.level, "mask", told, pixels.nFlagged, plateau.nPixels + plateau.nAbove)


def _fromPlateau(pixels: _BrightPixels, plateau: _Plateau | None, card: str, header: float | None) -> Saturation | None:
    if plateau is None:
        return None
    told = (
        f"{plateau.nPixels} pixels lie on a plateau from {plateau.level:.6g} counts, where {plateau.nExpected:.2g} are "
        f"expected from those below, and {plateau.nAbove} above it"
    )
    if pixels.nFlagged:
        told += f"; the mask has SAT on {_counted(pixels.nFlagged)}, but {plateau.nUnflagged} of the plateau lack it"
    if header is not None and 0.5 * plateau.level < header < plateau.level:
        count = _countAbove(pixels, header)
        told = f"from {header:.6g} counts, as {card} of the header says, below the plateau: {told}."
        return Saturation(header, "header", told, pixels.nFlagged, count)
    if header is not None:
        told += (
            f"; {card} = {header:.6g} of the header does not fit, for it is not between {0.5 * plateau.level:.6g} and "
            "that level"
        )
    count = plateau.nPixels + plateau.nAbove
    return Saturation(plateau.level, "plateau", f"as the pixels show: {told}.", pixels.nFlagged, count)


def _fromHeader(pixels: _BrightPixels, card: str, header: float) -> Saturation:
    count, far = _countAbove(pixels, header), _countAbove(pixels, 1.1 * header)
    if far > MOST_FAR:
        told = (
            f"none; {card} = {header:.6g} of the header is passed over: {far} pixels of stars lie more than 10 % above "
            f"it without a plateau, where {MOST_FAR} may, so it is not in the units of the pixels."
        )
        return Saturation(None, "none", told, pixels.nFlagged)
    told = (
        f"from {header:.6g} counts, as {card} of the header says, which {_counted(count)} of stars "
        f"{'reaches' if count == 1 else 'reach'}; bright pixels pile up at no level ({MIN_PLATEAU} are needed)."
    )
    return Saturation(header, "header", told, pixels.nFlagged, count)


def _counted(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"


def _countAbove(pixels: _BrightPixels, level: float) -> int:
    return int(np.count_nonzero(pixels.counts >= level - pixels.sky))


def _headerLevel(metadata: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the card with the lowest level, and the level; None without one."""
    levels = []
    for card in SATURATION_CARDS:
        value = metadata.get(card)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0.0:
            levels.append((float(value), card))
    return (min(levels)[1], min(levels)[0]) if levels else ("", None)


def _brightPixels(exposure: Exposure) -> _BrightPixels:
    image, mask = exposure.image, np.asarray(exposure.mask)
    height, width = image.shape
    step = max(1, math.isqrt(image.size // 200_000))
    sample = image[::step, ::step]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    bit = np.int32(exposure.mask.getPlaneBitMask("SAT"))
    defects = np.int32(exposure.mask.getPlaneBitMask(DEFECT_PLANES))
    empty = _BrightPixels(math.nan, math.nan, np.empty(0), np.empty(0, dtype=bool), 0)
    if sample.size == 0:
        return empty
    sky = float(np.median(sample))
    noise = 1.4826 * float(np.median(np.abs(sample - sky)))
    # Half the least plateau, for what lies below it; in crowded fields no more than the brightest few per cent.
    bright = sky + max(0.5 * MIN_SIGNIFICANCE * noise, 0.4 * (float(np.quantile(sample, 0.995)) - sky))
    threshold = np.float32(max(bright, sky + 1e-6 * abs(sky)))

    def find(strip: slice) -> tuple[npt.NDArray[np.intp], int]:
        with np.errstate(invalid="ignore"):
            found = np.flatnonzero(image[strip] > threshold)
        return found + strip.start * width, int(np.count_nonzero(mask[strip] & bit))

    parts = mapStrips(find, image.shape)
    index = np.concatenate([part[0] for part in parts])
    rows, columns = np.divmod(index, width)
    inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    values = image.reshape(-1)
    flags = mask.reshape(-1)
    index = index[inside & np.isfinite(values[index]) & ((flags[index] & defects) == 0)]
    counts = values[index].astype(np.float64) - sky
    # Hot pixels stand alone; every pixel of a star but its outermost has bright neighbours.
    neighbours = np.zeros(index.size, dtype=np.int8)
    limit = (sky + 0.4 * counts).astype(np.float32)
    with np.errstate(invalid="ignore"):
        for offset in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
            neighbours += values[index + offset] >= limit
    isStar = neighbours >= 2
    return _BrightPixels(sky, noise, counts[isStar], (flags[index[isStar]] & bit) != 0, sum(part[1] for part in parts))


def _findPlateau(pixels: _BrightPixels) -> _Plateau | None:
    """Return the plateau with the largest excess of pixels over what those below it let expect."""
    counts = pixels.counts
    if counts.size < MIN_PLATEAU:
        return None
    lowest = counts.min()
    bins = np.floor(np.log(counts / lowest) / STEP).astype(np.intp)
    histogram = np.bincount(bins)
    # Cumulated from below, with room for the windows and what lies under them.
    room = WINDOWS[-1] + REACH
    total = np.concatenate([np.zeros(room + 1), np.cumsum(histogram)])
    tops = np.arange(histogram.size) + 1
    isHigh = lowest * np.exp(STEP * tops) >= MIN_SIGNIFICANCE * pixels.noise
    quantum = _quantum(counts)
    best: tuple[float, int, int] | None = None
    for window in WINDOWS:
        lower = tops - window
        inside = total[tops + room] - total[lower + room]
        below = total[lower + room] - total[lower + room - REACH]
        above = total[-1] - total[tops + room]
        # Where fewer bins lie below than are asked for, the density is that of those there are.
        expected = below * window / np.clip(lower, 1, REACH)
        isWide = window * STEP * lowest * np.exp(STEP * lower) >= 3.0 * quantum
        isPlateau = (inside >= MIN_PLATEAU) & (above <= np.maximum(3.0, MAX_ABOVE * inside)) & isHigh & isWide
        isPlateau &= (inside >= MIN_EXCESS * expected + 5.0 * np.sqrt(expected + 1.0)) & (lower > 0)
        score = np.where(isPlateau, inside - expected, 0.0)
        top = int(np.argmax(score))
        # A wider window is worth taking only if it holds clearly more.
        if score[top] > (1.05 * best[0] + 2.0 if best is not None else 0.0):
            best = (float(score[top]), int(tops[top]), window)
    if best is None:
        return None
    _, top, window = best
    first = top - window
    below = total[first + room] - total[first + room - REACH]
    density = below / min(first, REACH)
    # The tail of a plateau that noise has widened.
    step = max(1, window // 4)
    while first > step and top - first < 2 * WINDOWS[-1]:
        if histogram[first - step : first].sum() <= 3.0 * density * step + 1.0:
            break
        first -= step
    chosen = (bins >= first) & (bins < top)
    return _Plateau(
        level=pixels.sky + float(counts[chosen].min()),
        nPixels=int(np.count_nonzero(chosen)),
        nExpected=density * (top - first),
        nAbove=int(np.count_nonzero(bins >= top)),
        nUnflagged=int(np.count_nonzero(chosen & ~pixels.isFlagged)),
    )


def _quantum(counts: FloatArray) -> float:
    """Return the step of digitised values; next to nothing for others."""
    # The faintest are the closest together.
    count = min(counts.size, 5000)
    values = np.unique(np.partition(counts, count - 1)[:count])
    steps = np.diff(values)
    steps = steps[steps > 1e-6 * values[-1]]
    return float(steps.min()) if steps.size else 0.0


def flagSaturation(exposure: Exposure, saturation: Saturation | float | None, growth: float = 0.0) -> Exposure:
    """Return the exposure with SAT on saturated pixels and on all that lie near one.

    Parameters
    ----------
    exposure
        Not changed; the result shares image and variance.
    saturation
        What `findSaturation` found, or a level: pixels of these counts or more are saturated, unless they are bad
        (BAD, CR, NO_DATA) or infinite. None: only those with SAT already.
    growth
        Pixels; SAT is set on every pixel whose centre lies within so many of one with SAT.

    Returns
    -------
    flagged : Exposure
        The exposure itself if there is nothing to do.
    """
    if not growth >= 0.0:
        raise ValueError(f"growth is {growth}, must be 0 or more pixels")
    level = saturation.level if isinstance(saturation, Saturation) else saturation
    mask = np.asarray(exposure.mask)
    bit = np.int32(exposure.mask.getPlaneBitMask("SAT"))
    otherBits = np.int32(exposure.mask.getPlaneBitMask(("BAD", "CR", "NO_DATA"), ignoreMissing=True))
    image = exposure.image

    def find(strip: slice) -> tuple[npt.NDArray[np.intp], int]:
        hasPlane = (mask[strip] & bit) != 0
        nBefore = int(np.count_nonzero(hasPlane))
        if level is not None:
            with np.errstate(invalid="ignore"):
                # What lies under another bad plane, or is no number, is not light.
                counts = (image[strip] >= level) & ((mask[strip] & otherBits) == 0) & (image[strip] < np.inf)
            hasPlane |= counts
        found = np.flatnonzero(hasPlane)
        return found + strip.start * image.shape[1], nBefore

    parts = mapStrips(find, image.shape)
    saturated = np.concatenate([part[0] for part in parts])
    if saturated.size == 0 or (saturated.size == sum(part[1] for part in parts) and growth < 1.0):
        return exposure
    flags = mask.copy()
    flags.reshape(-1)[saturated] |= bit
    rows, columns = np.divmod(saturated, image.shape[1])
    for dx, dy in _disc(growth):
        y, x = rows + dy, columns + dx
        inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
        flags[y[inside], x[inside]] |= bit
    return exposure.withPixels(MaskedImage(image, Mask(flags, exposure.mask.planes), exposure.variance, exposure.xy0))


def _disc(radius: float) -> list[tuple[int, int]]:
    """Return the steps (x, y) to all pixels within a radius, but the middle."""
    reach = math.floor(radius)
    steps = range(-reach, reach + 1)
    return [(dx, dy) for dy in steps for dx in steps if 0 < dx * dx + dy * dy <= radius * radius]
