"""Medians of many small sets of pixels at once, such as the surroundings of every star of a list."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["medians"]


def medians(values: npt.NDArray[np.floating[Any]], good: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the median of the good values of each of n sets, (n,).

    Parameters
    ----------
    values, good : (n, ...)
        Good values must not be NaN; a set without any has the median NaN.
    """
    # What is not good sorts to the end.
    ordered = np.where(good, values, values.dtype.type(np.inf)).reshape(len(values), math.prod(values.shape[1:]))
    ordered.sort(axis=1)
    count = np.count_nonzero(good.reshape(ordered.shape), axis=1)
    rows, lower, upper = np.arange(len(ordered)), np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    # Of even numbers the mean of the two in the middle.
    middle = 0.5 * (ordered[rows, lower].astype(np.float64) + ordered[rows, upper])
    return np.where(count > 0, middle, np.nan)
