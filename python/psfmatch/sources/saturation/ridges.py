"""The ridge of a bright streak: its pixels have nearly one value along a line, and pile up as clipped ones do.

Clipped pixels of stars lie in round clumps, and what has bled from them along a column. A straight line that follows
neither rows nor columns is the trail of a satellite; the level of its ridge is that trail's and none of the detector's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ridge", "findRidge"]

ON_LINE = 3.0
"""Pixels from a line within which pixels are on it."""
MIN_SHARE = 0.5
"""Share of a plateau's pixels that the line holds."""
MIN_LENGTH = 60.0
"""Pixels, as of streaks."""
CROSSED = 12.0
"""Rows and columns that the line crosses: bleed trails and bad columns follow them."""
LEAST_CROSSED, N_PIECES, ASKEW = 5.0, 8, 0.15
"""It may cross fewer, at the least so many, where its pixels in pieces of the line lie within this share of the rows or
columns crossed of one straight line: two trails beside each other make a step, a quarter off at either side of it."""
STEP, MIN_FILLED = 4.0, 0.5
"""Pixels of the pieces of the line, and the share of them that must hold a pixel: two stars are no line."""
ONE_VALUE = 0.5
"""Share of pixels of one value that noise never makes: these are clipped, line or not."""
MOST_PIXELS, ANCHORS = 1000, 16
"""Pixels that are looked at, and those that lines are laid through, evenly among all."""
NEAR = 16.0
"""Pixels from the line within which the light of a streak may lie."""


@dataclass(frozen=True)
class Ridge:
    """A line from (x0, y0) to (x1, y1), pixels from the image's first, with the number of a plateau's pixels on it."""

    x0: float
    y0: float
    x1: float
    y1: float
    nPixels: int

    @property
    def length(self) -> float:
        """Pixels from end to end."""
        return math.hypot(self.x1 - self.x0, self.y1 - self.y0)

    @property
    def told(self) -> str:
        """What is left out, in words."""
        return (
            f"{self.nPixels} pixels of one brightness on a straight line from ({self.x0:.0f}, {self.y0:.0f}) to "
            f"({self.x1:.0f}, {self.y1:.0f}), as satellites leave them, and what is near it are left out"
        )

    def isNear(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Return which pixels of an image of a shape (ny, nx) lie near the line."""
        x, y = np.arange(shape[1])[None, :] - self.x0, np.arange(shape[0])[:, None] - self.y0
        dx, dy = (self.x1 - self.x0) / self.length, (self.y1 - self.y0) / self.length
        along = x * dx + y * dy
        isBeside = np.abs(y * dx - x * dy) <= NEAR
        return np.asarray(isBeside & (along >= -NEAR) & (along <= self.length + NEAR))


def findRidge(values: npt.NDArray[np.float32], places: npt.NDArray[np.int64], width: int) -> Ridge | None:
    """Find the line that most of a plateau's pixels lie on.

    Parameters
    ----------
    values, places
        (n,) of the plateau's pixels: counts, and row * width + column, ascending.
    width
        Of the image, pixels.

    Returns
    -------
    ridge : Ridge or None
        None where they do not lie on a line, or where most have one value and are clipped.
    """
    if places.size < MIN_LENGTH / STEP or np.mean(values == values.max()) >= ONE_VALUE:
        return None
    y, x = (each.astype(np.float64) for each in np.divmod(places[:: -(-places.size // MOST_PIXELS)], width))
    chosen = np.linspace(0, x.size - 1, ANCHORS).astype(np.int64)
    first, second = np.triu_indices(ANCHORS, 1)
    first, second = chosen[first], chosen[second]
    dx, dy = x[second] - x[first], y[second] - y[first]
    length = np.hypot(dx, dy)
    isLong = length >= MIN_LENGTH / 2.0
    if not isLong.any():
        return None
    first, dx, dy = first[isLong], dx[isLong] / length[isLong], dy[isLong] / length[isLong]
    across = (y - y[first, None]) * dx[:, None] - (x - x[first, None]) * dy[:, None]
    counts = np.count_nonzero(np.abs(across) <= ON_LINE, axis=1)
    best = int(np.argmax(counts))
    if counts[best] < MIN_SHARE * x.size:
        return None
    isOn = np.abs(across[best]) <= ON_LINE
    along = (x - x[first[best]]) * dx[best] + (y - y[first[best]]) * dy[best]
    low, high = float(along[isOn].min()), float(along[isOn].max())
    nSteps = math.ceil((high - low) / STEP)
    nFilled = np.unique(np.floor((along[isOn] - low) / STEP)).size
    if high - low < MIN_LENGTH or nFilled < MIN_FILLED * nSteps:
        return None
    isSteep = abs(dy[best]) > abs(dx[best])
    long, short = (y[isOn], x[isOn]) if isSteep else (x[isOn], y[isOn])
    if (high - low) * min(abs(dx[best]), abs(dy[best])) < CROSSED and not _isSlanted(long, short):
        return None
    (x0, x1), (y0, y1) = (
        [float(middle[first[best]] + at * step[best]) for at in (low, high)] for middle, step in ((x, dx), (y, dy))
    )
    return Ridge(x0, y0, x1, y1, round(float(isOn.mean()) * places.size))


def _isSlanted(long: npt.NDArray[np.float64], short: npt.NDArray[np.float64]) -> bool:
    """Return whether pixels follow one line that leaves its row or column little by little.

    `long`, `short` : (n,) their places along the axis that the line nearly follows, and along the other.
    """
    if np.ptp(long) == 0.0:
        return False
    slope, start = np.polyfit(long, short, 1)
    crossed = abs(slope) * np.ptp(long)
    off = short - (start + slope * long)
    pieces = np.minimum((N_PIECES * (long - long.min()) / np.ptp(long)).astype(np.int64), N_PIECES - 1)
    means = [abs(off[pieces == piece].mean()) for piece in np.unique(pieces)]
    return bool(crossed >= LEAST_CROSSED and max(means) <= ASKEW * crossed)
