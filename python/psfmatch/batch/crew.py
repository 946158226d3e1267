"""Who does the work: processes of our own, one executor for each so that the death of one disturbs no other; or an
executor that somebody else has made, which gets all pairs at once and places them as it likes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Protocol

from psfmatch.batch.records import Job, Outcome, Work
from psfmatch.batch.worker import greet, prepareProcess

__all__ = ["BorrowedExecutor", "OwnProcess", "Worker"]

log = logging.getLogger("psfmatch.batch")

THREAD_VARIABLES = ("PSFMATCH_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
START_TRIALS = 3
"""Processes that may die one after the other before they have answered, as when memory is short for a moment."""


class Worker(Protocol):
    """Something that takes pairs."""

    capacity: int | None
    """How many it takes at a time; None: all."""
    lastTemplate: str | None
    """Of the pair that it was given last."""

    def submit(self, work: Work, job: Job) -> Future[Outcome]:
        """Begin with a pair."""

    def whereabouts(self) -> tuple[str | None, int | None]:
        """Return host and process, None where they are not known before the work is done."""

    def recover(self, error: BaseException) -> str | None:
        """Make good for what broke; return in words why the pair was lost, None if it does not count against it."""

    def stop(self, atOnce: bool) -> None:
        """End; at once: with the pairs that are at work."""


class OwnProcess:
    """One process, made anew when it has died.

    Parameters
    ----------
    work
        What it will do with pairs; the process imports it while it starts.
    threads
        Of a pair, also for the libraries that ask the environment.
    """

    capacity: int | None = 1

    def __init__(self, work: Work, threads: int) -> None:
        self.lastTemplate: str | None = None
        self._work = work
        self._environment = dict.fromkeys(THREAD_VARIABLES, str(threads))
        self._nStarts = 0
        self._start()

    def _start(self) -> None:
        before = set(multiprocessing.active_children())
        self._executor = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=prepareProcess
        )
        with _environment(self._environment):
            self._greeting = self._executor.submit(greet, self._work)
        self._process: BaseProcess | None = next(iter(set(multiprocessing.active_children()) - before), None)
        self.lastTemplate = None
        self._nStarts += 1

    def submit(self, work: Work, job: Job) -> Future[Outcome]:
        """Begin with a pair."""
        self.lastTemplate = job.pair.template
        return self._executor.submit(work, job)

    def whereabouts(self) -> tuple[str | None, int | None]:
        """Return host and process, once it has answered."""
        if self._greeting.done() and self._greeting.exception() is None:
            return self._greeting.result()
        return None, None if self._process is None else self._process.pid

    def recover(self, error: BaseException) -> str | None:
        """Start a new process in place of the dead one."""
        hadStarted = self.whereabouts()[0] is not None
        self._executor.shutdown(wait=False)
        reason = _causeOfDeath(self._process)
        if hadStarted:
            self._nStarts = 0
        elif self._nStarts >= START_TRIALS:
            raise BrokenExecutor(
                f"workers end before they begin ({reason}); a script that starts a batch needs "
                "\"if __name__ == '__main__':\" around it"
            ) from error
        self._start()
        return reason if hadStarted else None

    def stop(self, atOnce: bool) -> None:
        """End the process."""
        if atOnce and self._process is not None:
            self._process.kill()
        self._executor.shutdown(wait=not atOnce, cancel_futures=True)


class BorrowedExecutor:
    """An executor that somebody else has made and will end."""

    capacity: int | None = None

    def __init__(self, executor: Executor) -> None:
        self.lastTemplate: str | None = None
        self._executor = executor

    def submit(self, work: Work, job: Job) -> Future[Outcome]:
        """Hand a pair over."""
        self.lastTemplate = job.pair.template
        return self._executor.submit(work, job)

    def whereabouts(self) -> tuple[str | None, int | None]:
        """Not known."""
        return None, None

    def recover(self, error: BaseException) -> str | None:
        """Raise: only its owner can make it anew."""
        raise BrokenExecutor(
            f"the executor does no more work ({type(error).__name__}: {error}); make a new one and resume"
        ) from error

    def stop(self, atOnce: bool) -> None:
        """Leave it to its owner."""


def _causeOfDeath(process: BaseProcess | None) -> str:
    """Return in words how a process ended."""
    if process is None:
        return "worker was killed (signal 9?), perhaps out of memory"
    process.join(10.0)
    # Where the executor's own thread was told first, it is that which learns the status, a moment later.
    for _ in range(50):
        if process.exitcode is not None:
            break
        time.sleep(0.02)
    if process.exitcode is None:  # it lives, but says nothing that can be understood
        process.kill()
        process.join()
    status = process.exitcode
    if status is not None and status < 0:
        hint = ", perhaps out of memory" if status == -9 else ""
        return f"worker {process.pid} was killed (signal {-status}){hint}"
    return f"worker {process.pid} ended by itself with status {status}"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that start meanwhile; numpy reads them when it is imported."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
