"""How much light sources have above the sky beside them, summed in boxes: no PSF needs to be known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import MaskedImage, stampTuple

__all__ = ["BOX_SIDE", "areOfOneImage", "boxLight", "lightRatios"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HALF_BOX = 7
"""Of the box about a source, pixels: 15x15 hold all but the wings of PSFs up to a FWHM of 5 px."""
BOX_SIDE = 2 * HALF_BOX + 1
SKY_RING = 5
"""Pixels beside the box on each side whose median is the sky."""
MIN_PIXELS = 30
"""Good ones in the box, and beside it."""
SEEN, MIN_SEEN = 5.0, 5
"""Errors of the light of a source that an image shows, and sources in both that tell what to expect."""
LEAST_SHARE, SHARE_ERRORS = 0.5, 3.0
"""Of the expected light, what a source that lacks it has less of, even by so many errors more."""


def boxLight(
    image: MaskedImage, x: npt.ArrayLike, y: npt.ArrayLike, planes: Sequence[str], threads: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return light and error of sources in a box of 15x15 pixels, above the median of the 5 pixels beside it.

    Parameters
    ----------
    image
        The pixels; boxes may reach beyond them.
    x, y
        (n,) positions, parent pixels.
    planes
        Mask planes that make a pixel bad; so does a value or a variance that is not finite.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    light, error
        (n,), counts; the error is that of the box's own pixels. Both NaN where fewer than 30 pixels of the box or
        beside it are good.
    """
    x0, y0 = image.xy0
    light, error = _core.boxLight(
        *stampTuple(image, planes),
        np.asarray(x, dtype=np.float64) - x0,
        np.asarray(y, dtype=np.float64) - y0,
        halfBox=HALF_BOX,
        skyRing=SKY_RING,
        minPixels=MIN_PIXELS,
        nThreads=threads,
    )
    return light, error


def lightRatios(
    first: MaskedImage,
    second: MaskedImage,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    planes: Sequence[str],
    *,
    minSnr: float | None = None,
    threads: int = 1,
) -> FloatArray:
    """Return the light of sources in the first image over that in the second, as `boxLight` measures it.

    Sources without a finite ratio are left out, and those that are not above `minSnr` times their error in both.
    """
    measured = [boxLight(image, x, y, planes, threads) for image in (first, second)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = measured[0][0] / measured[1][0]
    isKnown = np.isfinite(ratios)
    if minSnr is not None:
        for light, error in measured:
            isKnown &= light > minSnr * error
    return np.asarray(ratios[isKnown])


def areOfOneImage(
    first: MaskedImage, second: MaskedImage, x: npt.ArrayLike, y: npt.ArrayLike, planes: Sequence[str], threads: int = 1
) -> BoolArray:
    """Return which sources (n,) shine in the first image and lack more than half of their light in the second.

    What is expected is the median ratio of those that both show; none is called so where fewer than five tell it.
    """
    (own, ownError), (other, otherError) = (boxLight(image, x, y, planes, threads) for image in (first, second))
    isSeen = own > SEEN * ownError
    isInBoth = isSeen & (other > SEEN * otherError)
    if np.count_nonzero(isInBoth) < MIN_SEEN:
        return np.zeros(own.shape, dtype=np.bool_)
    expected = own * float(np.median(other[isInBoth] / own[isInBoth]))
    return np.asarray(isSeen & (other + SHARE_ERRORS * otherError < LEAST_SHARE * expected))
