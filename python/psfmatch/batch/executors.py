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

from psfmatch.batch.records import Job, Outcome, Work
from psfmatch.batch.worker import prepareProcess

__all__ = ["ExternalExecutor", "Worker", "WorkerProcess"]

THREAD_VARIABLES = ("PSFMATCH_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
START_TRIALS = 3
"""Processes that may die one after the other before they have done anything, as when memory is short for a moment."""

environmentLock = threading.Lock()


class WorkerProcess:
    """One process, which the pool makes anew when it has died over a pair or was ended for taking too long.

    Parameters
    ----------
    threads
        Of a pair, also for the libraries that ask the environment.
    timeout
        Seconds that a pair may take, from its start in the process; None: any.
    """

    capacity: int | None = 1  # pairs at a time; None: all

    def __init__(self, threads: int, timeout: float | None = None) -> None:
        self.lastTemplate: str | None = None
        self._context = _Context(threads)
        self.timeout = timeout
        self._nStarts = 0
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPool(1, initializer=prepareProcess, context=self._context)
        self._nStarts += 1

    def submit(self, work: Work, job: Job) -> Future[Outcome]:
        """Begin with a pair; RuntimeError if the process has died over nothing."""
        future: Future[Outcome] = self._pool.schedule(work, (job,), timeout=self.timeout)
        future.add_done_callback(self._noteLife)
        self.lastTemplate = job.pair.template
        return future

    def _noteLife(self, future: Future[Outcome]) -> None:
        if not future.cancelled() and not isinstance(future.exception(), BrokenExecutor):
            self._nStarts = 0

    def whereabouts(self) -> tuple[str | None, int | None]:
        """Return host and process."""
        return socket.gethostname(), self._context.process.pid if self._context.process else None

    def recover(self, error: BaseException) -> str | None:
        """Return in words how the process died over its pair, or start anew and return None if it had not begun."""
        if isinstance(error, ProcessExpired):
            return _causeOfDeath(error.pid, error.exitcode)
        self.stop(atOnce=True)
        self.join()
        if self._nStarts >= START_TRIALS:
            process = self._context.process
            reason = "none begins" if process is None else _causeOfDeath(process.pid, process.exitcode)
            raise BrokenExecutor(
                f"workers end before they begin ({reason}); a script that starts a batch needs "
                "\"if __name__ == '__main__':\" around it"
            ) from error
        self._start()
        return None

    def stop(self, atOnce: bool) -> None:
        """Let the process end; at once: with the pair that is at work."""
        self._pool.stop()
        # The pool would ask by SIGTERM first, to which workers are deaf.
        if atOnce and self._context.process is not None and self._context.process.is_alive():
            self._context.process.kill()

    def join(self) -> None:
        """Wait for the end."""
        self._pool.join()


class ExternalExecutor:
    """An executor that somebody else has made and will end."""

    capacity: int | None = None
    timeout: float | None = None

    def __init__(self, executor: Executor) -> None:
        self.lastTemplate: str | None = None
        self._executor = executor

    def submit(self, work: Work, job: Job) -> Future[Outcome]:
        """Hand a pair over."""
        return self._executor.submit(work, job)

    def whereabouts(self) -> tuple[str | None, int | None]:
        """Return host and process, which are not known before the work is done."""
        return None, None

    def recover(self, error: BaseException) -> str | None:
        """Raise: only its owner can make it anew."""
        raise BrokenExecutor(
            f"the executor does no more work ({type(error).__name__}: {error}); make a new one and resume"
        ) from error

    def stop(self, atOnce: bool) -> None:
        """Leave it to its owner."""

    def join(self) -> None:
        """Do not wait."""


Worker: TypeAlias = WorkerProcess | ExternalExecutor


class _Context(SpawnContext):
    """Makes processes that have the number of threads in their environment; knows that which it has made last."""

    process: _Process | None = None

    def __init__(self, threads: int) -> None:
        self.variables = dict.fromkeys(THREAD_VARIABLES, str(threads))

    def Process(self, **arguments: Any) -> _Process:  # type: ignore[override]
        self.process = _Process(**arguments)
        self.process.variables = self.variables
        return self.process


class _Process(SpawnProcess):
    variables: dict[str, str]

    def start(self) -> None:
        """Start with the variables set; numpy reads them when it is imported."""
        with environmentLock:
            before = {name: os.environ.get(name) for name in self.variables}
            os.environ.update(self.variables)
            try:
                super().start()
            finally:
                for name, value in before.items():
                    if value is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = value

    @property
    def exitcode(self) -> int | None:
        """The status, but None for 0: the pool passes over a process that ends with 0 in the midst of a pair."""
        return super().exitcode or None


def _causeOfDeath(pid: int | None, status: int | None) -> str:
    """Return in words how a process ended."""
    if status is not None and status < 0:
        return f"worker {pid} was killed (signal {-status}){', perhaps out of memory' if status == -9 else ''}"
    return f"worker {pid} ended by itself with status {status or 0}"
