"""What objects say of themselves in a few lines: arrays by shape, tables by length, the rest cut where it is long."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["MOST_IN_ALL", "Brief", "briefly", "cut", "fieldsBriefly"]

MOST = 60
"""Characters of one value."""
MOST_FIELDS = 14
MOST_IN_ALL = 900


class Brief:
    """Objects that tell of themselves in a few lines, dataclasses too."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A dataclass writes its own, which tells all pixels, unless its class has one.
        if cls.__repr__ is Brief.__repr__:
            cls.__repr__ = Brief.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return fieldsBriefly(self)


def fieldsBriefly(thing: Any) -> str:
    """Return a class and its fields, each in a few words; of a dataclass not those that are None or empty."""
    isShort = dataclasses.is_dataclass(thing)
    own: list[str] = [each.name for each in dataclasses.fields(thing)] if isShort else list(vars(thing))
    values = {name: getattr(thing, name) for name in own if not name.startswith("_")}
    told = [f"{name}={briefly(value)}" for name, value in values.items() if not (isShort and _isNothing(value))]
    if len(told) > MOST_FIELDS:
        told = [*told[:MOST_FIELDS], f"... {len(told) - MOST_FIELDS} more"]
    return cut(f"{type(thing).__name__}({', '.join(told)})", MOST_IN_ALL)


def briefly(value: Any) -> str:
    """Return a value in at most 60 characters."""
    if hasattr(value, "colnames"):
        return f"<table of {len(value)} rows, {len(value.colnames)} columns>"
    # By their names: numpy itself takes long to be imported, and nothing here needs it.
    if hasattr(value, "dtype") and getattr(value, "shape", None):
        return f"<{value.dtype} {'x'.join(map(str, value.shape))}>"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping) or (isinstance(value, tuple | list | set | frozenset) and len(value) > 4):
        return f"<{len(value)} {'values' if isinstance(value, Mapping) else 'items'}>"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What holds others is named alone, or they would tell of all below them.
        text = repr(value)
        return text if len(text) <= MOST else f"<{type(value).__name__}>"
    return cut(repr(value), MOST)


def _isNothing(value: Any) -> bool:
    return value is None or (isinstance(value, str | tuple | list | Mapping) and not value)


def cut(text: str, most: int) -> str:
    """Return a text on one line, and at most so many characters of it."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
