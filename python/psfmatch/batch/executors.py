"""Who does the pairs: processes of our own, a pool of pebble's for each so that the death of one disturbs no other; or
an executor that somebody else has made, which gets all pairs at once and places them as it likes.
"""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import BrokenExecutor, Executor, Future
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeAlias

from pebble import ProcessExpired, ProcessPool

from psfmatch.batch.records import Job, Work
from psfmatch.batch.worker import prepareProcess
from psfmatch.io.pairRecords import PairRecord

__all__ = ["ExternalExecutor", "Worker", "WorkerProcess"]

THREAD_VARIABLES = ("PSFMATCH_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
START_TRIALS = 3
"""Processes that may die one after the other before they have begun, as when memory is short for a moment."""

environmentLock = threading.Lock()


class ExternalExecutor:
    """An executor that somebody else has made and will end: what our own process does otherwise, it does not."""

    capacity: int | None = None  # pairs at a time; None: all
    host: str | None = None  # where a pair is at work, as far as it is known before it has ended
    pid: int | None = None
    timeout: float | None = None
    lastTemplate: str | None = None  # of the pair that it was given last, where that decides what comes next

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, work: Work, job: Job) -> Future[PairRecord]:
        """Hand a pair over; RuntimeError if it does no more work."""
        return self._executor.submit(work, job)

    def recover(self, error: BaseException) -> str | None:
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

    Parameters
    ----------
    threads
        Of a pair, also for the libraries that ask the environment.
    timeout
        Seconds that a pair may take, from its start in the process; None: any.
    """

    capacity: int | None = 1
    lastTemplate: str | None = None

    def __init__(self, threads: int, timeout: float | None = None) -> None:
        self.host, self.timeout = socket.gethostname(), timeout
        self._context = _Context(threads)
        self._nStarts = 0
        self._start()

    @property
    def pid(self) -> int | None:
        """The process's, once a pair was given to it."""
        return self._context.process.pid

    def _start(self) -> None:
        self._pool = ProcessPool(1, initializer=prepareProcess, context=self._context)
        self._nStarts += 1

    def submit(self, work: Work, job: Job) -> Future[PairRecord]:
        """Begin with a pair; RuntimeError if the process has died over nothing."""
        future: Future[PairRecord] = self._pool.schedule(work, (job,), timeout=self.timeout)
        future.add_done_callback(self._noteLife)
        self.lastTemplate = job.pair.template
        return future

    def _noteLife(self, future: Future[PairRecord]) -> None:
        if not future.cancelled() and not isinstance(future.exception(), BrokenExecutor):
            self._nStarts = 0

    def recover(self, error: BaseException) -> str | None:
        """Return in words how the process died over its pair; or start anew, and None, if it had not begun with it."""
        if isinstance(error, ProcessExpired):
            return _causeOfDeath(error.pid, error.exitcode)
        self.stop(atOnce=True)
        self.join()
        if self._nStarts >= START_TRIALS:
            raise BrokenExecutor(
                f"workers end before they begin ({_causeOfDeath(self.pid, self._context.process.exitcode)}); a script "
                "that starts a batch needs \"if __name__ == '__main__':\" around it"
            ) from error
        self._start()
        return None

    def stop(self, atOnce: bool) -> None:
        """Let the process end; at once: with the pair that is at work."""
        self._pool.stop()
        # The pool would ask by SIGTERM first, to which workers are deaf, and wait.
        if atOnce and self.pid is not None:
            self._context.process.kill()

    def join(self) -> None:
        """Wait for the end."""
        self._pool.join()


Worker: TypeAlias = ExternalExecutor | WorkerProcess


class _Process(SpawnProcess):
    variables: dict[str, str]

    def start(self) -> None:
        """Start with the variables in the environment: numpy reads them when it is imported."""
        with environmentLock:
            before = os.environ.copy()
            os.environ.update(self.variables)
            try:
                super().start()
            finally:
                for name in self.variables.keys() - before.keys():
                    del os.environ[name]
                os.environ.update({name: before[name] for name in self.variables.keys() & before.keys()})

    @property
    def exitcode(self) -> int | None:
        """The status, but None for 0: the pool passes over a process that ends with 0 in the midst of a pair."""
        return super().exitcode or None


class _Context(SpawnContext):
    """Makes processes for so many threads; knows the one that it has made last."""

    def __init__(self, threads: int) -> None:
        self.variables = dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.process = _Process()

    def Process(self, **arguments: Any) -> _Process:  # type: ignore[override]
        self.process = _Process(**arguments)
        self.process.variables = self.variables
        return self.process


def _causeOfDeath(pid: int | None, status: int | None) -> str:
    if status is not None and status < 0:
        return f"worker {pid} was killed (signal {-status}){', perhaps out of memory' if status == -9 else ''}"
    return f"worker {pid} ended by itself with status {status or 0}"
