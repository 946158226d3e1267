"""The plateau in the histogram of bright pixels.

The logarithms of the values of stars' pixels have a density that changes slowly, whatever the PSF and the stars'
brightness are (a Gaussian contributes 2 pi sigma^2 pixels per unit of ln f up to its peak), while saturated cores pile
up in one narrow range with next to nothing above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.saturation.brightPixels import MIN_SIGNIFICANCE, BrightPixels

__all__ = ["MIN_EXCESS", "MIN_PLATEAU", "Plateau", "findPlateau"]

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


@dataclass(frozen=True)
class Plateau:
    """A pile of pixels: from which level, how many, how many expected and above, and how many without SAT."""

    level: float
    nPixels: int
    nExpected: float
    nAbove: int
    nUnflagged: int


def findPlateau(pixels: BrightPixels) -> Plateau | None:
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
    return Plateau(
        level=pixels.sky + float(counts[chosen].min()),
        nPixels=int(np.count_nonzero(chosen)),
        nExpected=density * (top - first),
        nAbove=int(np.count_nonzero(bins >= top)),
        nUnflagged=int(np.count_nonzero(chosen & ~pixels.isFlagged)),
    )


def _quantum(counts: npt.NDArray[np.float64]) -> float:
    """Return the step of digitised values; next to nothing for others."""
    # The faintest are the closest together.
    count = min(counts.size, 5000)
    values = np.unique(np.partition(counts, count - 1)[:count])
    steps = np.diff(values)
    steps = steps[steps > 1e-6 * values[-1]]
    return float(steps.min()) if steps.size else 0.0
