"""Covariance of the noise of neighbouring pixels of a difference image.

The inputs' noise is taken as independent from pixel to pixel. A pixel of the difference is a sum of pixels of both
images, with weights phi of the one and phi (*) k of the other; two pixels have covariance where their weights meet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import MaskedImage
from psfmatch.kernels import LinearCombinationKernel

__all__ = ["noiseCovariance"]


def noiseCovariance(
    x: float,
    y: float,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    correction: LinearCombinationKernel | None = None,
    maxLag: int = 3,
    scale: float = 1.0,
) -> npt.NDArray[np.float64]:
    """Return the covariance of the difference at a pixel with that at its neighbours.

    Parameters
    ----------
    x, y
        Pixel, parent coordinates; rounded.
    kernel
        Matching kernel.
    convolved, unconvolved
        The image that the kernel was applied to, before it was, and the other one.
    correction
        Kernel of the decorrelation; none for a difference as it is.
    maxLag
        Largest distance along x and y, pixels.
    scale
        What the difference was divided by: the kernel sum at the image's centre for a convolved science image.

    Returns
    -------
    covariance : (2 maxLag + 1, 2 maxLag + 1)
        Image units squared; the pixel's own variance in the middle. NaN where no variance near the pixel is known.

    Raises
    ------
    ValueError
        If maxLag is negative, or the pixel lies outside the image.
    """
    column, row = (int(np.floor(p + 0.5)) - p0 for p, p0 in zip((x, y), unconvolved.xy0, strict=True))
    if not (0 <= row < unconvolved.height and 0 <= column < unconvolved.width):
        raise ValueError(f"({x}, {y}) lies outside the image of {unconvolved.getBBox()}")
    phi = np.ones((1, 1)) if correction is None else correction.computeImage(x, y)
    weights = _core.composed(phi, kernel.computeImage(x, y))[0]
    pairs = ((phi, unconvolved.variance), (weights, convolved.variance))
    parts = [_core.noiseCovariance(*pair, row=row, column=column, maxLag=maxLag) for pair in pairs]
    return np.asarray((parts[0] + parts[1]) / scale**2)
