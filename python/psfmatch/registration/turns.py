"""Images turned by right angles and mirrored, by moving pixels: nothing is resampled.

A turn is a matrix T of whole numbers. The pixel q of the turned image, an array index (x, y), is the pixel T q of the
image, counted from the corner where q = (0, 0) lies.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config.equality import ByValue
from psfmatch.images import Exposure, Mask, MaskedImage, asPsf, averagePosition

__all__ = [
    "TURNS",
    "UNTURNED",
    "Turn",
    "TurnedPsf",
    "describeLinear",
    "nearestTurn",
    "turnBack",
    "turned",
    "turnedPlane",
    "turnedTo",
]

FloatArray = npt.NDArray[np.float64]
Turn = tuple[tuple[int, int], tuple[int, int]]

UNTURNED: Turn = ((1, 0), (0, 1))
TURNS: tuple[Turn, ...] = (
    UNTURNED,
    ((0, -1), (1, 0)),
    ((-1, 0), (0, -1)),
    ((0, 1), (-1, 0)),
    ((1, 0), (0, -1)),
    ((-1, 0), (0, 1)),
    ((0, 1), (1, 0)),
    ((0, -1), (-1, 0)),
)
"""By 0, 90, 180 and 270 degrees from x towards y; then those that mirror: y, x, and both diagonals."""
UNTURNED_DEGREES, UNSCALED = 0.05, 1e-3
"""Less is no turn and no scale in a sentence; terms of a fit are told beside it."""


def nearestTurn(linear: npt.ArrayLike) -> Turn:
    """Return the turn next to a (2, 2) matrix from one image to another."""
    matrix = np.asarray(linear, dtype=np.float64)
    return max(TURNS, key=lambda turn: float((matrix * turn).sum()))


def describeLinear(linear: npt.ArrayLike) -> str:
    """Return in words what a (2, 2) matrix from the science image to the template does; "" for nothing."""
    (a, b), (c, d) = np.asarray(linear, dtype=np.float64)
    isMirrored = a * d - b * c < 0.0
    angle = math.degrees(math.atan2(c, a) if abs(a) + abs(c) > 0.0 else 0.0)
    scale = math.sqrt(abs(a * d - b * c))
    told = ["mirrored"] if isMirrored else []
    if abs(angle) > UNTURNED_DEGREES:
        told.append(f"turned by {angle:.4g} degrees from x to y")
    if abs(scale - 1.0) > UNSCALED:
        told.append(f"with {scale:.5g} times as many pixels along each axis")
    return ", ".join(told)


def turnBack(turn: Turn, shape: tuple[int, int], x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return array indices of the image, whose shape is given, for those of the turned one."""
    (a, b), (c, d) = turn
    return a * x + b * y + _corner(a + b, shape[1]), c * x + d * y + _corner(c + d, shape[0])


def turnedTo(turn: Turn, shape: tuple[int, int], x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return array indices of the turned image for those of the image, whose shape is given."""
    (a, b), (c, d) = turn
    u, v = x - _corner(a + b, shape[1]), y - _corner(c + d, shape[0])
    return a * u + c * v, b * u + d * v


def turned(exposure: Exposure, turn: Turn) -> Exposure:
    """Return an exposure with its pixels and PSF turned, the same xy0, and no coordinates; itself without a turn."""
    if turn == UNTURNED:
        return exposure
    image = exposure.maskedImage
    pixels = MaskedImage(
        np.ascontiguousarray(turnedPlane(image.image, turn)),
        Mask.ofBits(np.ascontiguousarray(turnedPlane(np.asarray(image.mask), turn)), image.mask.planes),
        np.ascontiguousarray(turnedPlane(image.variance, turn)),
        xy0=image.xy0,
    )
    psf = None if exposure.psf is None else TurnedPsf(exposure.psf, turn, image.shape, image.xy0)
    return Exposure(pixels, None, psf, exposure.photoCalib, exposure.filter, dict(exposure.metadata))


class TurnedPsf(ByValue):
    """The PSF of a turned image.

    Parameters
    ----------
    psf
        That of the image, anything with ``computeKernelImage(x, y)``.
    turn
        The image's.
    shape
        Of the image before the turn, (h, w).
    xy0
        Of the image, before and after.
    """

    def __init__(self, psf: Any, turn: Turn, shape: tuple[int, int], xy0: tuple[int, int]) -> None:
        self.psf, self.turn, self.shape, self.xy0 = asPsf(psf), turn, shape, xy0

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), parent pixels, turned as the image: (h, w) of odd sides and sum 1."""
        u, v = turnBack(self.turn, self.shape, np.array(x - self.xy0[0]), np.array(y - self.xy0[1]))
        stamp = np.asarray(self.psf.computeKernelImage(float(u) + self.xy0[0], float(v) + self.xy0[1]))
        return np.ascontiguousarray(turnedPlane(stamp, self.turn), dtype=np.float64)

    def getAveragePosition(self) -> tuple[float, float] | None:
        """Return where the PSF calls itself typical (x, y), parent pixels; None if it does not say."""
        place = averagePosition(self.psf)
        if place is None:
            return None
        x0, y0 = self.xy0
        x, y = turnedTo(self.turn, self.shape, np.array(place[0] - x0), np.array(place[1] - y0))
        return float(x) + x0, float(y) + y0


def _corner(sign: int, size: int) -> int:
    return size - 1 if sign < 0 else 0


def turnedPlane(plane: npt.NDArray[Any], turn: Turn) -> npt.NDArray[Any]:
    """Return a view of an array (h, w) turned."""
    (a, b), (c, d) = turn
    return plane[::d, ::a] if a else plane[::c, ::b].T
