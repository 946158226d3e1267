"""Where in the field a difference is worse than its noise: in ninths of the image, and in small blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from psfmatch.images.mask import DEFAULT_BAD_PLANES
from psfmatch.pictures.drawing import FloatArray, blockSums

if TYPE_CHECKING:
    from psfmatch.frontdoor import SubtractionResult

PARTS = "upper left,upper centre,upper right,middle left,centre,middle right,lower left,lower centre,lower right"
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


def _pulls(result: SubtractionResult, step: int = 1) -> tuple[FloatArray, FloatArray]:
    """Return difference / noise, cut off at 5 and 0 where it is not usable, of every `step`th pixel; 1 where it is."""
    image = result.difference.maskedImage
    pick = np.s_[::step, ::step]
    variance = image.variance[pick]
    good = ~image.badPixels(DEFAULT_BAD_PLANES)[pick] & np.isfinite(variance) & (variance > 0.0)
    pulls = np.zeros(good.shape, dtype=np.float32)
    np.divide(image.image[pick], np.sqrt(np.where(good, variance, 1.0)), out=pulls, where=good)
    return np.clip(pulls, -MOST_PULL, MOST_PULL), good.astype(np.float32)


def fieldRows(result: SubtractionResult) -> list[dict[str, Any]]:
    """Return scatter of the difference and number of candidates of each ninth of the image, the upper left one first.

    scatter : root mean square of difference / noise, pulls cut off at 5; usable : share of the pixels; nUsed,
    nRejected : candidates. None where no pixel is usable.
    """
    box = result.difference.getBBox()
    # Odd strides meet every column of a readout pattern.
    step = max(1, math.isqrt(box.width * box.height // SAMPLED_PIXELS)) | 1
    pulls, good = _pulls(result, step)
    columns, rows = (np.linspace(0, side, 4).round().astype(int) for side in (box.width, box.height))
    status, x, y = (np.asarray(result.candidates[name]) for name in ("status", "x", "y"))
    # A candidate beyond the borders counts with the ninth next to it.
    across = np.clip(np.searchsorted(columns, x - box.x0, side="right") - 1, 0, 2)
    up = np.clip(np.searchsorted(rows, y - box.y0, side="right") - 1, 0, 2)
    found = []
    for index, part in enumerate(PARTS.split(",")):
        row, column = 2 - index // 3, index % 3
        (bottom, top), (left, right) = rows[row : row + 2].tolist(), columns[column : column + 2].tolist()
        pick = np.s_[-(-bottom // step) : -(-top // step), -(-left // step) : -(-right // step)]
        usable = good[pick]
        power, number = float(np.sum(pulls[pick] ** 2, dtype=np.float64)), float(usable.sum(dtype=np.float64))
        here = status[(across == column) & (up == row)]
        found.append(
            {
                "part": part,
                "x": [box.x0 + left, box.x0 + right],
                "y": [box.y0 + bottom, box.y0 + top],
                "scatter": math.sqrt(power / number) if number else None,
                "usable": number / usable.size if usable.size else None,
                "nUsed": int(np.count_nonzero(here == "GOOD")),
                "nRejected": int(np.count_nonzero(here == "BAD")),
            }
        )
    return found


def hotSpots(result: SubtractionResult) -> list[dict[str, float]]:
    """Return the blocks (x, y of their middles; scatter) that are worse than the others, the worst first, five at most.

    Of neighbours only the worst counts. Residuals of bright sources are among them, and real changes.
    """
    scatter, side = scatterInBlocks(result)
    known = scatter[np.isfinite(scatter)]
    usual = float(np.median(known)) if known.size else math.inf
    box = result.difference.getBBox()
    left = np.nan_to_num(scatter)
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
    (left, right), (bottom, top) = worst["x"], worst["y"]
    told = (
        f"Worst in the {worst['part']} (x {left} to {right}, y {bottom} to {top}): the difference scatters by "
        f"{worst['scatter']:.2f} of its noise there, by {usual:.2f} in most of the field."
    )
    if worst["scatter"] <= NOTABLE * usual:
        told = f"No part of the field is worse than the rest: the difference scatters by {usual:.2f} of its noise."
    if spots:
        places = "; ".join(f"{spot['scatter']:.1f} at x {spot['x']:.0f}, y {spot['y']:.0f}" for spot in spots)
        told += f" Spots that stand out, residuals or real changes, with their scatter: {places}."
    return told


def scatterInBlocks(result: SubtractionResult) -> tuple[FloatArray, int]:
    """Return root mean square pulls, cut off at 5, of square blocks (NaN where few pixels are usable); their side."""
    pulls, good = _pulls(result)
    side = max(LEAST_SIDE, -(-max(good.shape) // BLOCKS))
    sums, counts = blockSums(pulls**2, side), blockSums(good, side)
    enough = counts >= LEAST_USABLE * side**2
    return np.sqrt(np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=enough)), side
