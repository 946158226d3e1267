"""Who does the pairs: processes of our own, a pool of pebble's for each so that the death of one disturbs no other; or
an executor that somebody else has made, which gets all pairs at once and places them as it likes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeAlias

from pebble import ProcessPool

from psfmatch.batch.job import Job, Work
from psfmatch.batch.worker import prepareProcess
from psfmatch.io.pairRecords import PairRecord

__all__ = ["ExternalExecutor", "Worker", "WorkerProcess", "causeOfDeath", "threadsInEnvironment"]

THREAD_VARIABLES = ("PSFMATCH_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
START_TRIALS = 3
"""Processes that may die one after the other before they have begun, as when memory is short for a moment."""


@contextmanager
def threadsInEnvironment(threads: int) -> Iterator[None]:
    """Let processes that are started meanwhile find so many threads: numpy reads them when it is imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


class ExternalExecutor:
    """An executor that somebody else has made and will end: what a process of our own does otherwise, it does not."""

    isOwn = False
    host = pid = timeout = None
    template = ""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, work: Work, job: Job) -> Future[PairRecord]:
        """Hand a pair over; RuntimeError if it does no more work."""
        return self._executor.submit(work, job)

    def restart(self, error: BaseException) -> None:
        """Raise: only its owner can make it anew."""
        raise BrokenExecutor(
            f"the executor does no more work ({type(error).__name__}: {error}); make a new one and resume"
        ) from error

    def stop(self, atOnce: bool) -> None:
        """Leave it to its owner."""

    def join(self) -> None:
        """Do not wait for it."""


class WorkerProcess:
    """One process, which the pool makes anew when it has died over a pair, or was ended for taking too long.

    timeout : seconds that a pair may take, from its start in the process, None: any; template : of the pair that it was
    given last.
    """

    isOwn = True
    template = ""

    def __init__(self, timeout: float | None = None) -> None:
        self.host, self.timeout = socket.gethostname(), timeout
        self._context = _Context()
        self._nStarts = 0
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPool(1, initializer=prepareProcess, context=self._context)
        self._nStarts += 1

    @property
    def pid(self) -> int | None:
        """The process's, once a pair was given to it."""
        return self._context.made.pid

    def submit(self, work: Work, job: Job) -> Future[PairRecord]:
        """Begin with a pair; RuntimeError if the process has died over nothing."""
        future: Future[PairRecord] = self._pool.schedule(work, (job,), timeout=self.timeout)
        future.add_done_callback(self._noteLife)
        self.template = job.pair.template
        return future

    def _noteLife(self, future: Future[PairRecord]) -> None:
        if not future.cancelled() and not isinstance(future.exception(), BrokenExecutor):
            self._nStarts = 0

    def restart(self, error: BaseException) -> None:
        """Start anew, for the process has ended before it had begun with a pair; raise, if that was so again."""
        self.stop(atOnce=True)
        self.join()
        if self._nStarts >= START_TRIALS:
            raise BrokenExecutor(
                f"workers end before they begin ({causeOfDeath(self.pid, self._context.made.exitcode)}); a script that "
                "starts a batch needs \"if __name__ == '__main__':\" around it"
            ) from error
        self._start()

    def stop(self, atOnce: bool) -> None:
        """Let the process end; at once: with the pair that is at work."""
        self._pool.stop()
        # The pool would ask by SIGTERM first, to which workers are deaf, and wait.
        if atOnce and self.pid is not None:
            self._context.made.kill()

    def join(self) -> None:
        """Wait for the end."""
        self._pool.join()


Worker: TypeAlias = ExternalExecutor | WorkerProcess


class _Process(SpawnProcess):
    @property
    def exitcode(self) -> int | None:
        """The status, but None for 0: the pool passes over a process that ends with 0 in the midst of a pair."""
        return super().exitcode or None


class _Context(SpawnContext):
    """Makes processes, and knows the one that it has made last."""

    def __init__(self) -> None:
        self.made = _Process()

    def Process(self, **arguments: Any) -> _Process:  # type: ignore[override]
        self.made = _Process(**arguments)
        return self.made


def causeOfDeath(pid: int | None, status: int | None) -> str:
    """Return in words how a process has ended."""
    if status is not None and status < 0:
        return f"worker {pid} was killed (signal {-status}){', perhaps out of memory' if status == -9 else ''}"
    return f"worker {pid} ended by itself with status {status or 0}"
