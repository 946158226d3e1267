"""How neighbouring pixels of a template share their noise after it was resampled to smaller pixels.

Each pixel of the source becomes the same patch of several output pixels, but for its place within a pixel: the mean
product of a patch with itself, shifted, is the covariance of white noise that was resampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from psfmatch.images import Box, MaskedImage
from psfmatch.registration.warper import Warper

__all__ = ["resampledCorrelation"]

FloatArray = npt.NDArray[np.float64]
Transform = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[FloatArray, FloatArray]]

FINER = 0.85
"""Side of an output pixel in pixels of the source, from which on noise counts as white."""
SPACING = 13
"""Pixels of the source between single ones that are resampled: no two patches overlap, by any kernel up to order 5."""
SINGLE_PIXELS = 10
"""Along either axis: they lie differently within the output's pixels, as all pixels of an image do."""
MAX_LAG = 16
"""Output pixels."""


def resampledCorrelation(transform: Transform, box: Box, warper: Warper) -> FloatArray | None:
    """Return how the noise of output pixels correlates where white noise was resampled to smaller pixels.

    Parameters
    ----------
    transform
        Positions (x, y) of output pixels as those of the source.
    box
        Of the output.
    warper
        What resamples.

    Returns
    -------
    correlation : (2 n + 1, 2 n + 1), or None
        By lags (y, x), 1 in the middle; None where output pixels are hardly smaller than those of the source.
    """
    middle = np.array(box.centre)
    steps = np.array([[0.0, 0.0], [-4.0, 0.0], [4.0, 0.0], [0.0, -4.0], [0.0, 4.0]])
    x, y = transform(middle[0] + steps[:, 0], middle[1] + steps[:, 1])
    jacobian = np.array([[x[2] - x[1], x[4] - x[3]], [y[2] - y[1], y[4] - y[3]]]) / 8.0
    side = math.sqrt(abs(float(np.linalg.det(jacobian)))) if np.isfinite(jacobian).all() else math.inf
    if not 0.0 < side < FINER:
        return None
    length = SPACING * SINGLE_PIXELS
    comb = np.zeros((length, length), dtype=np.float32)
    comb[SPACING // 2 :: SPACING, SPACING // 2 :: SPACING] = 1.0
    output = math.ceil(length / side)
    # Within a pixel the places are those of the image itself.
    start = np.array([x[0], y[0]]) % 1.0 + length // 2

    def aboutMiddle(columns: npt.ArrayLike, rows: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        offsets = np.stack([np.asarray(columns) - output // 2, np.asarray(rows) - output // 2])
        moved = np.tensordot(jacobian, offsets, axes=1)
        return start[0] + moved[0], start[1] + moved[1]

    source = MaskedImage(comb, None, np.ones_like(comb))
    patches = np.nan_to_num(warper.warpMaskedImage(source, aboutMiddle, Box(0, 0, output, output)).image)
    lag = min(MAX_LAG, math.ceil((SPACING - 1) / (2.0 * side)))
    power = np.abs(np.fft.rfft2(patches, (output + lag, output + lag))) ** 2
    products = np.fft.irfft2(power, (output + lag, output + lag))
    lags = np.arange(-lag, lag + 1)
    correlation: FloatArray = np.asarray(products[np.ix_(lags, lags)] / products[0, 0], dtype=np.float64)
    return correlation if np.isfinite(correlation).all() else None
