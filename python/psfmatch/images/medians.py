"""Medians, quantiles and robust widths of arrays: the one place for them.

Everywhere NaN, and what `good` does not mark, takes no part; arrays may have any shape, strides and kind of number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core

__all__ = ["madSigma", "median", "medianAndSigma", "medians", "quantiles"]

Values = npt.NDArray[Any]
Good = npt.NDArray[np.bool_] | None


def median(values: Values, good: Good = None) -> float:
    """Return the median, of even numbers the mean of the two in the middle; NaN of no values."""
    return _core.quantiles(_numbers(values), [0.5], good)[0]


def quantiles(values: Values, fractions: Sequence[float], good: Good = None) -> list[float]:
    """Return quantiles at fractions of 0 to 1, linear between the values beside each; NaN of no values."""
    return _core.quantiles(_numbers(values), fractions, good)


def medianAndSigma(values: Values, good: Good = None) -> tuple[float, float]:
    """Return the median, and 1.4826 times the median absolute deviation from it; NaN of no values."""
    return _core.medianAndSigma(_numbers(values), good)


def madSigma(values: Values, good: Good = None) -> float:
    """Return 1.4826 times the median absolute deviation from the median; NaN of no values."""
    return medianAndSigma(values, good)[1]


def medians(values: Values, good: Good = None) -> npt.NDArray[np.float64]:
    """Return the median of each of n sets (n, ...) of values, (n,), such as the surroundings of every star of a list.

    A set without any value has the median NaN.
    """
    return _core.rowMedians(_numbers(values), good)


def _numbers(values: Values) -> Values:
    """Return an array in float32 or float64 of this machine."""
    values = np.asarray(values)
    isSingle = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return values.astype(np.float32 if isSingle else np.float64, copy=False)
