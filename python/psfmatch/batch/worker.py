"""What happens in a worker process before the first pair, and around every pair whatever is done with it.

A worker ignores Ctrl-C and SIGTERM, which terminals and batch systems send to all processes: the parent decides what
becomes of the pairs at work. It ends when its parent does, however that ended.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from psfmatch.batch.interruption import ENDING
from psfmatch.batch.memory import keepFreedMemory, processMemory
from psfmatch.batch.records import Job
from psfmatch.errors import OnceFilter
from psfmatch.io.pairRecords import PairRecord

__all__ = ["attempt", "keepLogToPairs", "prepareProcess"]

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
    token = pairAtWork.set(job.pair.name)
    startTime, wall, cpu = time.time(), time.perf_counter(), time.process_time()
    resetPeakMemory()
    try:
        with _logOf(job) as log:
            try:
                record = replace(work(), state="done")
            except Exception as error:
                record = replace(
                    job.record, state="failed", errorType=type(error).__name__, errorMessage=_inWords(error)
                )
                if log is not None:
                    with suppress(OSError):
                        log.write(traceback.format_exc())
    finally:
        pairAtWork.reset(token)
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
def _logOf(job: Job) -> Iterator[TextIO | None]:
    """Open NAME.log and write to it what the package logs on the pair; a disk without room for it spoils no pair."""
    stream = _openQuietly(Path(job.directory) / f"{job.pair.name}.log", "w" if job.attempt == 1 else "a")
    if stream is None:
        yield None
        return
    handler = _PairHandler(stream, job.pair.name)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    handler.addFilter(OnceFilter())
    logger = logging.getLogger("psfmatch")
    logger.addHandler(handler)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            stream.close()


def _openQuietly(path: Path, mode: str) -> TextIO | None:
    try:
        return path.open(mode, encoding="utf-8", newline="\n")  # type: ignore[return-value]
    except OSError:
        return None


class _PairHandler(logging.StreamHandler[TextIO]):
    """Takes the records of one pair alone, where several are at work in threads of a process."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.pairName = name

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether the record is of this pair; threads that help have the context of those who started them."""
        return pairAtWork.get() == self.pairName and super().filter(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Pass over what cannot be written."""


def resetPeakMemory() -> None:
    """Let the system's record of the process's peak memory begin anew, where it can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peakMemory() -> int:
    """Return the peak memory of the process in bytes, since `resetPeakMemory` where that works."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return processMemory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
