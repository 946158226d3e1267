"""Equality by value of objects that hold arrays: what has travelled to another process and back is what it was."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from psfmatch.config.brief import Brief

__all__ = ["ByValue", "sameValue"]

IDENTITIES = type, types.FunctionType, types.BuiltinFunctionType
"""What is equal to itself alone."""


class ByValue(Brief):
    """Objects of one class are equal if all that they hold is; as that may change, they have no hash."""

    def __eq__(self, other: object) -> bool:
        return sameValue(self, other) if type(self) is type(other) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def sameValue(one: Any, other: Any) -> bool:
    """Return whether two objects hold the same, however deep: NaN is NaN, arrays agree in type, shape and all elements.

    Objects without an equality of their own are compared by what they would give to a pickle.
    """
    return _isSame(one, other, {})


def _isSame(one: Any, other: Any, met: dict[tuple[int, int], tuple[Any, Any]]) -> bool:
    if one is other:
        return True
    if type(one) is not type(other) or isinstance(one, IDENTITIES):
        return False
    if (id(one), id(other)) in met:  # met before, or a circle: equal if nothing else differs
        return True
    met[id(one), id(other)] = one, other
    if isinstance(one, np.ndarray):
        return _sameArrays(one, other) and _isSame(getattr(one, "planes", None), getattr(other, "planes", None), met)
    if isinstance(one, float | np.floating):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_isSame(one[key], other[key], met) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_isSame(*pair, met) for pair in zip(one, other, strict=True))
    if hasattr(one, "to_header_string"):  # coordinates of astropy, whose pickles hold the text of a file
        return bool(one.to_header_string(relax=True) == other.to_header_string(relax=True))
    if hasattr(one, "colnames") and hasattr(one, "meta"):  # a table of astropy
        return _isSame(_columnsOf(one), _columnsOf(other), met)
    if _hasOwnEquality(type(one)):
        return bool(one == other)
    return _isSame(_stateOf(one), _stateOf(other), met)


def _sameArrays(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.names:
        return all(_sameArrays(one[name], other[name]) for name in one.dtype.names)
    if one.dtype == object:
        return all(sameValue(*pair) for pair in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))


def _hasOwnEquality(kind: type) -> bool:
    """Whether a class says itself what is equal, and not by the fields of a dataclass, which may be arrays."""
    byState: tuple[Any, ...] = object.__eq__, ByValue.__eq__, types.SimpleNamespace.__eq__
    return kind.__eq__ not in byState and not dataclasses.is_dataclass(kind)


def _columnsOf(table: Any) -> dict[str, Any]:
    columns = {name: table[name] for name in table.colnames}
    held = {
        name: (np.ma.getdata(column), np.ma.getmaskarray(column), str(getattr(column, "unit", None)))
        for name, column in columns.items()
    }
    return {"columns": held, "meta": dict(table.meta)}


def _stateOf(thing: Any) -> Any:
    """Return what a pickle of an object would hold, without what is made of it again."""
    if dataclasses.is_dataclass(thing):
        return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    if hasattr(thing, "__dict__"):
        return thing.__getstate__()
    return thing.__reduce_ex__(4)[1:3]
