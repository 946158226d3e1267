"""Ctrl-C in two steps: the first asks for an end after the pairs at work, the second ends at once."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from psfmatch.errors import advice

__all__ = ["ENDING", "Interruption"]

log = logging.getLogger("psfmatch.batch")

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
"""What asks for an end: Ctrl-C, batch systems, and Ctrl-Break of Windows."""


class Interruption:
    """Catches Ctrl-C, and SIGTERM by which batch systems announce the end, while it is entered in the main thread."""

    def __init__(self) -> None:
        self.isAsked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in ENDING}
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.isAsked:
            raise KeyboardInterrupt
        self.isAsked = True
        log.warning(
            "Ending when the pairs at work are done; once more ends at once. %s goes on from there",
            advice("resume=True", "--resume"),
        )
