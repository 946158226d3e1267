"""Where in the field a difference is worse than its noise: in ninths of the image, and in small blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.exposure.mask import DEFAULT_BAD_PLANES
from psfmatch.reporting.subject import Reported

__all__ = ["fieldRows", "hotSpots", "scatterInBlocks", "tellWorst"]

FloatArray = npt.NDArray[np.float64]

PARTS = (("upper", "middle", "lower"), ("left", "centre", "right"))
MOST_PULL = 5.0
"""To which pulls are cut off: one bright star or transient is not a bad part."""
SAMPLED_PIXELS = 250_000
NOTABLE = 1.05
"""Scatter of the worst part, over the median of all, that is worth a word."""
BLOCKS = 36  # along the longer side of the image
LEAST_SIDE = 16  # px, of a block
LEAST_USABLE = 0.5  # share of a block's pixels
HOT = 1.3
"""Scatter of a block, over the median of all, that stands out: noise alone of 128 pixels scatters by 0.06."""
MOST_SPOTS = 5


def fieldRows(result: Reported) -> list[dict[str, Any]]:
    """Return scatter of the difference and number of candidates of each ninth of the image, the upper left one first.

    scatter : root mean square of difference / noise, pulls cut off at 5; usable : share of the pixels; nUsed,
    nRejected : candidates. None where no pixel is usable.
    """
    image = result.difference.maskedImage
    height, width = image.shape
    step = max(1, math.isqrt(height * width // SAMPLED_PIXELS))
    # Odd strides meet every column of a readout pattern.
    step += step % 2 == 0
    pick = np.s_[::step, ::step]
    bits = image.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True)
    values, variance = (plane[pick].astype(np.float64) for plane in (image.image, image.variance))
    good = (np.asarray(image.mask)[pick] & np.int32(bits)) == 0
    good &= np.isfinite(values) & np.isfinite(variance) & (variance > 0.0)
    pulls = np.clip(values / np.sqrt(np.where(good, variance, 1.0)), -MOST_PULL, MOST_PULL)
    box = result.difference.getBBox()
    columns, rows = (np.linspace(0, side, 4).round().astype(int) for side in (width, height))
    status = np.asarray(result.candidates["status"])
    # A candidate beyond the borders counts with the ninth next to it.
    across = np.clip(np.searchsorted(columns, np.asarray(result.candidates["x"]) - box.x0, side="right") - 1, 0, 2)
    up = np.clip(np.searchsorted(rows, np.asarray(result.candidates["y"]) - box.y0, side="right") - 1, 0, 2)
    found = []
    for index in range(9):
        row, column = 2 - index // 3, index % 3
        part = tuple(
            slice(-(-int(edges[at]) // step), -(-int(edges[at + 1]) // step))
            for edges, at in ((rows, row), (columns, column))
        )
        kept = pulls[part][good[part]]
        here = (across == column) & (up == row)
        vertical, horizontal = PARTS[0][2 - row], PARTS[1][column]
        found.append(
            {
                "part": "centre" if row == column == 1 else f"{vertical} {horizontal}",
                "x": [int(box.x0 + columns[column]), int(box.x0 + columns[column + 1])],
                "y": [int(box.y0 + rows[row]), int(box.y0 + rows[row + 1])],
                "scatter": float(np.sqrt(np.mean(kept**2))) if kept.size else None,
                "usable": float(good[part].mean()) if good[part].size else None,
                "nUsed": int(np.count_nonzero(here & (status == "GOOD"))),
                "nRejected": int(np.count_nonzero(here & (status == "BAD"))),
            }
        )
    return found


def hotSpots(result: Reported) -> list[dict[str, float]]:
    """Return the blocks (x, y of their middles; scatter) that are worse than the others, the worst first, five at most.

    Of neighbours only the worst counts. Residuals of bright sources are among them, and real changes.
    """
    scatter, side = scatterInBlocks(result)
    usual = float(np.median(scatter[np.isfinite(scatter)])) if np.isfinite(scatter).any() else math.inf
    box = result.difference.getBBox()
    left = np.where(np.isfinite(scatter), scatter, 0.0)
    spots: list[dict[str, float]] = []
    while len(spots) < MOST_SPOTS:
        row, column = (int(index) for index in np.unravel_index(int(np.argmax(left)), left.shape))
        worst = float(left[row, column])
        if worst <= HOT * max(usual, 1.0):
            break
        x, y = box.x0 + (column + 0.5) * side, box.y0 + (row + 0.5) * side
        spots.append({"x": min(x, box.x1 - 1.0), "y": min(y, box.y1 - 1.0), "scatter": worst})
        left[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = 0.0
    return spots


def tellWorst(field: list[dict[str, Any]], spots: list[dict[str, float]]) -> str:
    """Return in words where the difference is worse than elsewhere."""
    known = [row for row in field if row["scatter"] is not None]
    if not known:
        return "No pixel of the difference can be used."
    worst = max(known, key=lambda row: row["scatter"])
    usual = float(np.median([row["scatter"] for row in known]))
    if worst["scatter"] <= NOTABLE * usual:
        told = f"No part of the field is worse than the rest: the difference scatters by {usual:.2f} of its noise."
    else:
        (left, right), (bottom, top) = worst["x"], worst["y"]
        told = (
            f"Worst in the {worst['part']} (x {left} to {right}, y {bottom} to {top}): the difference scatters by "
            f"{worst['scatter']:.2f} of its noise there, by {usual:.2f} in most of the field."
        )
    if spots:
        places = "; ".join(f"{spot['scatter']:.1f} at x {spot['x']:.0f}, y {spot['y']:.0f}" for spot in spots)
        told += f" Spots that stand out, residuals or real changes, with their scatter: {places}."
    return told


def scatterInBlocks(result: Reported) -> tuple[FloatArray, int]:
    """Return root mean square pulls, cut off at 5, of square blocks (NaN where few pixels are usable); their side."""
    image = result.difference.maskedImage
    height, width = image.shape
    side = max(LEAST_SIDE, -(-max(height, width) // BLOCKS))
    good = ~image.badPixels(DEFAULT_BAD_PLANES) & np.isfinite(image.variance) & (image.variance > 0.0)
    pulls = np.zeros(image.shape, dtype=np.float32)
    np.divide(image.image, np.sqrt(np.where(good, image.variance, 1.0)), out=pulls, where=good)
    power = np.clip(pulls, -MOST_PULL, MOST_PULL) ** 2
    sums, counts = (_blockSums(plane, side) for plane in (power, good.astype(np.float32)))
    enough = counts >= LEAST_USABLE * side**2
    return np.sqrt(np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=enough)), side


def _blockSums(plane: npt.NDArray[np.float32], side: int) -> FloatArray:
    padded = np.pad(plane, ((0, -plane.shape[0] % side), (0, -plane.shape[1] % side)))
    blocks = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    total: FloatArray = blocks.sum(axis=(1, 3), dtype=np.float64)
    return total
