"""Images that several pairs share, kept in memory by each process that works on pairs."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["ReadCache", "fileState"]

Value = TypeVar("Value")


class ReadCache(Generic[Value]):
    """The last few things that were read; for use by several threads.

    Parameters
    ----------
    size
        Number of things kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], Value]) -> tuple[Value, bool]:
        """Return what is kept under a key, and True; or what ``read`` returns, from now on kept, and False."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key], True
            # What goes is forgotten before the new comes, so that they do not lie in memory together.
            while len(self._kept) >= self.size:
                self._kept.popitem(last=False)
        value = read()
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
        return value, False


def fileState(path: str | None) -> tuple[Any, ...]:
    """Return what changes when a file does: size and time of change; brackets that name an HDU are cut off."""
    if path is None:
        return ()
    for name in (path, path.rpartition("[")[0]):
        try:
            status = os.stat(name)  # noqa: PTH116 - an empty name is no Path
        except OSError:
            continue
        return path, status.st_size, status.st_mtime_ns
    return (path,)
