"""What happens in a worker process before the first pair, and around every pair whatever is done with it.

A worker ignores Ctrl-C and SIGTERM, which terminals and batch systems send to all processes: the parent decides what
becomes of the pairs at work. It ends when its parent does, however that ended.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from psfmatch.batch.job import Job
from psfmatch.batch.memory import keepFreedMemory, peakMemory, resetPeakMemory
from psfmatch.errors import OnceFilter
from psfmatch.io.pairRecords import PairRecord

__all__ = ["ENDING", "attempt", "keepLogToPairs", "prepareProcess"]

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
"""What asks for an end: Ctrl-C, batch systems, and Ctrl-Break of Windows."""

ORPHANED = 3
"""Exit status of a worker whose parent has ended."""

pairAtWork: ContextVar[str | None] = ContextVar("pairAtWork", default=None)


def prepareProcess() -> None:
    """Make a new process a worker: deaf to what asks for an end, silent, mortal with its parent."""
    import multiprocessing
    from multiprocessing.connection import wait

    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def followParent() -> None:
            wait([parent.sentinel])
            os._exit(ORPHANED)

        threading.Thread(target=followParent, daemon=True).start()
    keepFreedMemory()
    keepLogToPairs()


def keepLogToPairs() -> None:
    """Let what the package logs go to the logs of the pairs, and nowhere else."""
    logger = logging.getLogger("psfmatch")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())


def attempt(job: Job, work: Callable[[], PairRecord]) -> PairRecord:
    """Do the work on a pair, which tells of its result, and tell also when and where; no error of it gets out of here.

    What is logged meanwhile, and the traceback of an error, are written to NAME.log.
    """
    startTime, wall, cpu = time.time(), time.perf_counter(), time.process_time()
    resetPeakMemory()
    with _logging(job) as log:
        try:
            record = replace(work(), state="done")
        except Exception as error:
            record = replace(job.record, state="failed", errorType=type(error).__name__, errorMessage=_inWords(error))
            with suppress(OSError):
                print(traceback.format_exc(), end="", file=log.stream)
    return replace(
        record,
        host=socket.gethostname(),
        pid=os.getpid(),
        startTime=startTime,
        endTime=time.time(),
        wallSeconds=time.perf_counter() - wall,
        cpuSeconds=time.process_time() - cpu,
        peakMemory=peakMemory(),
        templateFromCache=bool(record.templateFromCache),
    )


def _inWords(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory{': ' if text else ''}{text}; use fewer workers, or allow them less memory"
    return text or type(error).__name__


@contextmanager
def _logging(job: Job) -> Iterator[_PairLog]:
    """Write to NAME.log what the package logs on the pair."""
    log, logger = _PairLog(job), logging.getLogger("psfmatch")
    token = pairAtWork.set(job.pair.name)
    logger.addHandler(log)
    try:
        yield log
    finally:
        logger.removeHandler(log)
        pairAtWork.reset(token)
        with suppress(OSError):
            log.close()


class _PairLog(logging.FileHandler):
    """The log of one pair alone, where several are at work in threads; a disk without room for it spoils no pair."""

    def __init__(self, job: Job) -> None:
        self.pairName = job.pair.name
        path = Path(job.directory) / f"{job.pair.name}.log"
        super().__init__(path, "w" if job.attempt == 1 else "a", encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        self.addFilter(OnceFilter())

    def _open(self) -> TextIOWrapper:
        try:
            return Path(self.baseFilename).open(self.mode, encoding=self.encoding, newline="\n")  # type: ignore[return-value]
        except OSError:
            return Path(os.devnull).open("w", encoding=self.encoding)

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether the record is of this pair; threads that help have the context of those who started them."""
        return pairAtWork.get() == self.pairName and super().filter(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Pass over what cannot be written."""
