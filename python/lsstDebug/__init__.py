"""The module that debug modules import as ``lsstDebug`` where no survey stack provides one.

A debug module replaces `Info` by a function of a channel's name that returns an object of `getInfo` with switches
set on it. It comes with psfmatch and stands alone: a debug module may be imported before or after that. Where a stack
provides one of this name, on its path, that is found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["Info", "directory", "dpi", "frame", "getInfo", "pictures", "screen"]

frame: int = 1
"""Number of the next picture; counted on by each."""

directory: str | None = None
"""Folder of the pictures; by default PSFMATCH_DEBUG_DIR, else psfmatch-debug in the working directory."""

screen: bool = False
"""Show the pictures in windows, where matplotlib can, instead of writing files."""

dpi: float = 100.0
"""Pixels per inch of the pictures; most are 16 inches wide."""

pictures: list[Path] = []
"""Files written so far."""


class _Info:
    """Switches of one channel; one that was never set is False."""

    def __init__(self, name: str) -> None:
        self.channelName = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return False


Info: Any = _Info


def getInfo(name: str) -> _Info:
    """Return a new object without a switch set, for a channel."""
    return _Info(name)
