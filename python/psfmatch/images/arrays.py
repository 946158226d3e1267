"""Plain pixels of whatever array a user has, with the mask and the unit that it carries.

numpy.ma and astropy.utils.masked say which pixels not to use, Quantities in which unit they are; `numpy.asarray` drops
both without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psfmatch.errors import InputImagesError
from psfmatch.io import estimateVariance

__all__ = ["Pixels", "estimatedVariance", "inUnitOf", "isMasked", "pixelsOf"]


@dataclass(frozen=True)
class Pixels:
    """Values (any shape), where they must not be used (None: nothing is masked), and their unit (None: none given)."""

    values: NDArray[Any]
    masked: NDArray[np.bool_] | None
    unit: Any = None


def isMasked(array: Any) -> bool:
    """Return whether an array carries a mask: one of numpy.ma, or of astropy.utils.masked, which is not imported."""
    return isinstance(array, np.ma.MaskedArray) or (hasattr(array, "unmasked") and hasattr(array, "mask"))


def pixelsOf(array: ArrayLike) -> Pixels:
    """Take an array apart; nothing is copied that is an array already.

    Parameters
    ----------
    array : array_like
        Of numpy, numpy.ma or astropy.utils.masked, with a unit or without.
    """
    unit = getattr(array, "unit", None)
    if not isMasked(array):
        return Pixels(np.asarray(array), None, unit)
    # A masked array may hold a Quantity; a view of the values alone has no class of its own.
    data: Any = array.data if isinstance(array, np.ma.MaskedArray) else array.unmasked  # type: ignore[union-attr]
    unit = getattr(data, "unit", None) if unit is None else unit
    masked = np.asarray(array.mask, dtype=np.bool_)  # type: ignore[union-attr]
    values = np.asarray(data)
    masked = np.broadcast_to(masked, values.shape)
    return Pixels(values, masked if masked.any() else None, unit)


def inUnitOf(variance: Pixels, image: Pixels) -> Pixels:
    """Return a variance in the squared unit of its image, where both have one.

    Raises
    ------
    InputImagesError
        If it is of something else.
    """
    if variance.unit is None or image.unit is None or variance.unit == image.unit**2:
        return variance
    if not variance.unit.is_equivalent(image.unit**2):
        raise InputImagesError(
            f"the variance is in {variance.unit}, but the image in {image.unit}; one of them is wrong"
        )
    return Pixels(variance.values * variance.unit.to(image.unit**2), variance.masked, image.unit**2)


def estimatedVariance(
    image: NDArray[np.float32],
    masked: NDArray[np.bool_] | None,
    gain: float | None,
    readNoise: float | None,
    label: str,
) -> tuple[NDArray[np.float32], str]:
    """Return `psfmatch.io.estimateVariance` of the pixels that are not masked; the others get what is usual."""
    if masked is None or not masked.any():
        return estimateVariance(image, gain, readNoise, label)
    variance, source = estimateVariance(np.where(masked, np.float32(np.nan), image), gain, readNoise, label)
    known = variance[np.isfinite(variance)]
    variance[masked] = np.median(known) if known.size else 0.0
    return variance, source
