"""The logger of a task as users see it, imported when one asks for it."""

from __future__ import annotations

import logging

from lsst.utils.logging import LsstLogAdapter

from psfmatch.config.tracing import TraceLog

__all__ = ["TaskLog", "getTaskLog"]


class TaskLog(TraceLog, LsstLogAdapter):  # type: ignore[misc]  # narrower children, wider messages
    """A `psfmatch.config.tracing.TraceLog` with all methods of LSST's adapter."""


def getTaskLog(name: str) -> TaskLog:
    """Return the logger of a name."""
    return TaskLog(logging.getLogger(name), {})
