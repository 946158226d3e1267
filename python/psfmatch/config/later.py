"""What is imported when somebody first asks for it: names of a module or a class, and how things are drawn."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["laterCall", "laterClass", "laterNames", "laterView"]


@functools.cache
def laterNames(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module whose names are imported when they are first asked for.

    They are those of its lines ``from HOME import NAME as NAME``, which stand behind ``if TYPE_CHECKING:``, so that one
    list serves type checkers and the program. They are the module's ``__all__``, with names that such lines do import.
    """
    homes: dict[str, str] = {}

    def find(name: str) -> Any:
        if not homes:
            spec: Any = sys.modules[module].__spec__
            text = spec.loader.get_source(module)
            if text is None:
                raise ImportError(f"the text of {module} is missing: install psfmatch with its .py files")
            homes.update((name, home) for home, name in re.findall(r"^ *from (\S+) import (\w+) as \2$", text, re.M))
        if name == "__all__":
            return list(homes)
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
