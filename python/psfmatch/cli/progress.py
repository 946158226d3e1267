"""The log on standard error and, on a terminal, a line that shows which step runs."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING, Any

from psfmatch.errors import OnceFilter

if TYPE_CHECKING:
    from psfmatch.io import PairRecord

__all__ = ["PairBar", "startLogging"]

PHASES = {
    "select": "finding stars",
    "measurePsf": "measuring PSFs",
    "stamps": "cutting stamps",
    "solve": "solving for the kernel",
    "convolve": "convolving",
    "subtract": "subtracting",
}
"""Timed blocks of the task in an astronomer's words, for the progress line."""


def startLogging(options: argparse.Namespace) -> None:
    """Send the package's log to standard error, at the level asked for."""
    level = logging.DEBUG if options.verbose > 1 else logging.WARNING if options.quiet else logging.INFO
    logger = logging.getLogger("psfmatch")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.propagate = False
    logger.setLevel(level)
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty() and not options.verbose and hasattr(options, "threads"):
        handler = _AboveBar()
        if options.command != "batch":  # which counts pairs
            logger.setLevel(logging.DEBUG)
            logger.addHandler(_ProgressBar())
    handler.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
    handler.setLevel(level)
    handler.addFilter(OnceFilter())
    if not options.verbose:
        # What --explain prints is not logged besides.
        handler.addFilter(_isWarning if getattr(options, "explain", False) else _isDecision)
    logger.addHandler(handler)


def _isDecision(record: logging.LogRecord) -> bool:
    """Whether a record says what was decided, is the command's own, or a warning."""
    return _isWarning(record) or getattr(record, "isDecision", False)


def _isWarning(record: logging.LogRecord) -> bool:
    isOwn = record.name.startswith(("psfmatch.cli", "psfmatch.batch"))
    return record.levelno >= logging.WARNING or (isOwn and record.levelno >= logging.INFO)


class _AboveBar(logging.Handler):
    """Writes log lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


class PairBar:
    """Shows on the last line of a terminal how many pairs have ended, how fast, and how many failed."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._nFailed = 0

    def tell(self, record: PairRecord, nEnded: int, nPairs: int) -> None:
        """Advance by one pair; the bar appears with the first."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=nPairs, unit="pair", file=sys.stderr, smoothing=0.1, dynamic_ncols=True)
        self._nFailed += record.state == "failed"
        self._bar.set_postfix_str(f"{self._nFailed} failed", refresh=False)
        self._bar.update(nEnded - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is and the terminal to others."""
        if self._bar is not None:
            self._bar.close()


class _ProgressBar(logging.Handler):
    """Shows on the last line of a terminal which step runs, from the tasks' timing messages."""

    def __init__(self) -> None:
        from tqdm import tqdm

        super().__init__(logging.DEBUG)
        form = "{desc:<24} {bar:30} {n_fmt}/{total_fmt} steps, {elapsed}"
        self._bar = tqdm(total=len(PHASES), leave=False, bar_format=form, file=sys.stderr)
        self._begun: set[str] = set()

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._bar.close()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Advance when a step begins, and leave the terminal clean after the last one."""
        phase, _, event = record.getMessage().partition(": ")
        if phase not in PHASES:
            return
        if event == "start" and phase not in self._begun:
            self._begun.add(phase)
            self._bar.set_description_str(PHASES[phase])
            self._bar.update(1)
        elif event.startswith("end after") and phase == "subtract":
            self._bar.close()
