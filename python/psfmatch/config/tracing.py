"""Loggers whose debugging lines can be asked for by a trace number, as ``lsst.utils.logging`` does it.

They are plain loggers of `logging`, with the methods ``verbose`` and ``trace`` besides; those that users see have the
others of that library's adapter, too (`psfmatch.config.taskLog`), which is not imported for what is written here. A
line below INFO comes out in one of two ways: through its own logger, if that is set to the line's level; or else
through the logger ``TRACE<number>.<name>``, at DEBUG, if ``lsst.utils.logging.trace_set_at(name, number)`` has set that
one. The number is 2 for ``verbose``, 4 for ``debug`` and 5 for ``trace``.

``psfmatch.X`` also answers to ``lsst.ip.diffim.X``, the name in configurations written for the reference. Lines that
helpers of a task write while it runs answer to the names of the task, too.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

__all__ = ["TraceLog", "getLogger", "writingFor"]

if TYPE_CHECKING:
    Adapter = logging.LoggerAdapter[logging.Logger]
else:
    Adapter = logging.LoggerAdapter

VERBOSE, TRACE = 15, 5
"""Levels of lines, as there."""
OWN_ROOT = "psfmatch"
REFERENCE_ROOT = "lsst.ip.diffim"

_taskNames: ContextVar[tuple[str, ...]] = ContextVar("psfmatchTaskNames", default=())
"""Names that lines answer to besides that of their own logger, in this thread: of the tasks that run."""


class TraceLog(Adapter):
    """A logger that also writes what a trace number asks for; made by `getLogger`."""

    def getChild(self, name: str) -> TraceLog:
        """Return the logger called ``<own name>.<name>``."""
        return type(self)(self.logger.getChild(name), {})

    def isEnabledFor(self, level: int) -> bool:
        """Whether a line of this level comes out."""
        return self.logger.isEnabledFor(level) or self._tracer(level) is not None

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Write a line, if its level or its trace number is asked for."""
        # The caller's place in the source is one frame further up.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        tracer = None if self.logger.isEnabledFor(level) else self._tracer(level)
        if tracer is None:
            self.logger.log(level, msg, *args, **kwargs)
        elif tracer.hasHandlers():
            tracer.log(logging.DEBUG, msg, *args, **kwargs)
        else:
            # Nobody has set logging up, and its last resort is deaf to what was asked for.
            sys.stderr.write(f"{tracer.name} DEBUG: {str(msg) % args if args else msg}\n")

    def verbose(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Write a line between INFO and DEBUG."""
        self.log(VERBOSE, msg, *args, **{**kwargs, "stacklevel": kwargs.get("stacklevel", 1) + 1})

    def trace(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Write a line below DEBUG."""
        self.log(TRACE, msg, *args, **{**kwargs, "stacklevel": kwargs.get("stacklevel", 1) + 1})

    def _tracer(self, level: int) -> logging.Logger | None:
        if level >= logging.INFO:
            return None
        number = 2 if level >= VERBOSE else 4 if level >= logging.DEBUG else 5
        for name in dict.fromkeys((self.logger.name, *_taskNames.get())):
            for tracer in _tracersOf(name, number):
                if tracer.isEnabledFor(logging.DEBUG):
                    return tracer
        return None


def getLogger(name: str) -> TraceLog:
    """Return the logger of a name."""
    return TraceLog(logging.getLogger(name), {})


@contextmanager
def writingFor(name: str) -> Iterator[None]:
    """Let lines of other loggers answer to a task's name, too, in this block and thread, and to those around it."""
    names = _taskNames.get()
    token = _taskNames.set(names if name in names else (*names, name))
    try:
        yield
    finally:
        _taskNames.reset(token)


@functools.cache
def _tracersOf(name: str, number: int) -> tuple[logging.Logger, ...]:
    """Return the loggers that a trace number sets for a name; kept, as thousands of lines ask for the same few."""
    names = [name]
    if name == OWN_ROOT or name.startswith(OWN_ROOT + "."):
        names.append(REFERENCE_ROOT + name.removeprefix(OWN_ROOT))
    return tuple(logging.getLogger(f"TRACE{number}.{known}") for known in names)
