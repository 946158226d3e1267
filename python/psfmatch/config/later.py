"""What is imported when somebody first asks for it: names of a module or a class, and how things are drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["laterCall", "laterClass", "laterNames", "laterView"]


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


def laterCall(place: str, *arguments: Any, **options: Any) -> Any:
    """Call a function, ``module:name``, of those that stand above: a result is drawn by them, but not made of them."""
    module, name = place.split(":")
    return getattr(import_module(module), name)(*arguments, **options)


def laterView(name: str, *arguments: Any) -> None:
    """Tell `psfmatch.pictures.lsstDebugViews` of a moment of a task, if there is a module ``lsstDebug`` that may ask.

    Without one it costs a look-up, and nothing of the pictures is imported.
    """
    if "lsstDebug" in sys.modules:
        laterCall(f"psfmatch.pictures.lsstDebugViews:{name}", *arguments)


class _LaterClass:
    def __init__(self, place: str) -> None:
        self._place = place

    def __get__(self, holder: object, owner: type | None = None) -> Any:
        module, name = self._place.split(":")
        return getattr(import_module(module), name)
