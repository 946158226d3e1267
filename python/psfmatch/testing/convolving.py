"""Correlation with a kernel that varies over the image, tile by tile through Fourier transforms.

Within a tile the kernel is the one at its centre. That is enough for noise and variance; scenes are rendered
exactly instead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from psfmatch.images import Box
from psfmatch.testing.mixtures import FloatArray

__all__ = ["correlateVarying"]

TRANSFORM_SIDE = 160  # px, tile and margins; a product of small primes


def correlateVarying(
    image: NDArray[np.float32],  # (ny, nx), finite
    box: Box,
    kernelAt: Callable[[float, float], FloatArray],  # parent (x, y) -> (side, side), side odd
) -> NDArray[np.float32]:
    """Return sum_ji K[j, i] image[y - c + j, x - c + i], c = side // 2; edge pixels continue the image."""
    result = np.empty_like(image)
    shape = (TRANSFORM_SIDE, TRANSFORM_SIDE)
    half = kernelAt(*box.centre).shape[0] // 2
    step = TRANSFORM_SIDE - 2 * half
    for y0 in range(0, box.height, step):
        y1 = min(y0 + step, box.height)
        rows = np.clip(np.arange(y0 - half, y1 + half), 0, box.height - 1)
        for x0 in range(0, box.width, step):
            x1 = min(x0 + step, box.width)
            columns = np.clip(np.arange(x0 - half, x1 + half), 0, box.width - 1)
            kernel = kernelAt(box.x0 + (x0 + x1 - 1) / 2, box.y0 + (y0 + y1 - 1) / 2)
            tile = image[np.ix_(rows, columns)]
            transform = np.fft.rfft2(tile, s=shape)
            transform *= np.conj(np.fft.rfft2(kernel.astype(np.float32), s=shape))
            correlated = np.fft.irfft2(transform, s=shape)
            result[y0:y1, x0:x1] = correlated[: y1 - y0, : x1 - x0]
    return result
