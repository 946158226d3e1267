"""Names that a module or a class has, but that are imported when somebody first asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["laterClass", "laterNames"]


def laterNames(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module.

    Parameters
    ----------
    module
        Its name.
    homes
        Of each name the module in which it lives.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find


def laterClass(place: str) -> Any:
    """Return what stands for a class, ``module:name``, as an attribute of another one."""
    return _LaterClass(place)


class _LaterClass:
    def __init__(self, place: str) -> None:
        self._place = place

    def __get__(self, holder: object, owner: type | None = None) -> Any:
        module, name = self._place.split(":")
        return getattr(import_module(module), name)
