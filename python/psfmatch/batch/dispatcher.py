"""The loop of a batch: pairs to workers, what became of them to the ledger; and what is done when a worker dies."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from pebble import ProcessExpired

from psfmatch.batch.job import Job, Work
from psfmatch.batch.ledger import Ledger
from psfmatch.batch.memory import estimateMemory
from psfmatch.batch.processes import Worker, causeOfDeath
from psfmatch.batch.worker import ENDING
from psfmatch.errors import advice
from psfmatch.io.pairRecords import PairRecord

__all__ = ["Dispatcher", "Tell"]

log = logging.getLogger("psfmatch.batch")

Tell: TypeAlias = Callable[[PairRecord, int, int], None]

ATTEMPTS = 2
"""Workers that may die over a pair before it is given up."""

TICK = 0.5
"""Seconds after which it is looked which pairs an external executor has begun with."""


class Dispatcher:
    """What is known while a batch runs.

    Parameters
    ----------
    jobs
        Pairs to do; those of a template are given out in this order.
    workers
        Who does them.
    ledger
        Open, with a row for each.
    work
        What is done with a pair.
    budget
        Bytes that the pairs at work may take together, None: any.
    tell
        Called for every pair that has ended with its record, how many have, and of how many.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        workers: Sequence[Worker],
        ledger: Ledger,
        work: Work,
        budget: int | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.workers, self.ledger, self.work, self.budget, self.tell = workers, ledger, work, budget, tell
        self.nPairs, self.nEnded = len(jobs), 0
        self.isAskedToEnd = self._isScarce = False
        self._waiting: dict[str, list[Job]] = {}  # by template
        for job in jobs:
            self._waiting.setdefault(job.pair.template, []).append(job)
        self._atWork: dict[Future[PairRecord], tuple[Worker, Job]] = {}
        self._ended: list[PairRecord] = []  # not yet written

    def run(self) -> None:
        """Do all pairs or, once asked to end, those at work."""
        try:
            self._loop()
        except BaseException as error:
            isBroken = isinstance(error, BrokenExecutor)
            self._stop(str(error) if isBroken else f"the batch was ended at once ({type(error).__name__})")
            raise
        self._stop()

    @contextmanager
    def askedBySignals(self) -> Iterator[None]:
        """Let Ctrl-C, and SIGTERM by which batch systems announce the end, ask to end, and again: to end at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.isAskedToEnd:
                raise KeyboardInterrupt
            self.isAskedToEnd = True
            log.warning(
                "Ending when the pairs at work are done; once more ends at once. %s goes on from there",
                advice("resume=True", "--resume"),
            )

        isMain = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, ask) for number in ENDING if isMain}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _loop(self) -> None:
        while True:
            if self.isAskedToEnd:
                self._takeBack()
            # A worker gets its next pair before its last one is written down: it must not wait for the disk.
            begun = self._giveOut()
            ended, self._ended = self._ended, []
            self.ledger.put(*ended, *begun)
            for record in ended:
                if record.state == "failed":
                    log.warning("%s failed: %s: %s", record.name, record.errorType, record.errorMessage)
                if record.state in ("done", "failed"):
                    self.nEnded += 1
                    if self.tell is not None:
                        self.tell(record, self.nEnded, self.nPairs)
            if not self._atWork:
                return
            wait(self._atWork, timeout=TICK, return_when=FIRST_COMPLETED)
            for future in [future for future in self._atWork if future.done()]:
                self._ended.append(self._end(future, *self._atWork[future]))
                del self._atWork[future]

    def _stop(self, reason: str | None = None) -> None:
        """End all workers; with a reason at once: the pairs at work are pending again."""
        for worker in self.workers:
            worker.stop(atOnce=reason is not None)
        for worker in self.workers:
            worker.join()
        if reason is None:
            return
        for future, (_, job) in self._atWork.items():
            record = self.ledger.records[job.pair.name]
            if future.done() and not future.cancelled() and future.exception() is None:
                self._ended.append(replace(future.result(), attempts=record.attempts))
                continue
            future.cancel()
            _sweep(job)
            self._ended.append(replace(record, state="pending", errorMessage=reason))
        self.ledger.note(None, reason)
        self.ledger.put(*self._ended)

    def _takeBack(self) -> None:
        """Let no more pairs begin; those that an executor has not begun with, as far as it says, are taken back."""
        # One that is cancelled may never be told to those who wait for it. The pairs of our own processes have begun.
        cancelled = [future for future, (worker, _) in self._atWork.items() if not worker.isOwn and future.cancel()]
        for future in cancelled:
            del self._atWork[future]
        if nLeft := len(cancelled) + sum(map(len, self._waiting.values())):
            self.ledger.note(None, f"asked to end; {nLeft} pairs are not begun")
        self._waiting.clear()

    def _giveOut(self) -> list[PairRecord]:
        """Give pairs to the workers that are free; return the records of the pairs that have begun."""
        for worker in self.workers:
            while (job := self._next(worker)) is not None:
                try:
                    self._atWork[worker.submit(self.work, job)] = worker, job
                except RuntimeError as error:  # it broke, or was shut down, while it had nothing to do
                    self._putBack(job)
                    worker.restart(error)
        begun = [(w, job) for future, (w, job) in self._atWork.items() if w.isOwn or future.running()]
        known = [(worker, self.ledger.records[job.pair.name]) for worker, job in begun]
        return [record.begun(w.host, w.pid, time.time()) for w, record in known if record.state != "running"]

    def _next(self, worker: Worker) -> Job | None:
        """Take the pair that suits a worker best; None if it is not free, none is left, or the memory does not do."""
        if not self._waiting or (worker.isOwn and any(other is worker for other, _ in self._atWork.values())):
            return None
        template = worker.template
        if template not in self._waiting:
            taken = {other.template for other in self.workers}
            # The first of equals: dictionaries keep their order.
            template = max(self._waiting, key=lambda name: (name not in taken, len(self._waiting[name])))
        if self.budget is not None and not self._hasMemory(self._waiting[template][0], self.budget):
            return None
        job = self._waiting[template].pop(0)
        if not self._waiting[template]:
            del self._waiting[template]
        return job

    def _putBack(self, job: Job) -> None:
        """Take a pair again, as the first of its template."""
        self._waiting.setdefault(job.pair.template, []).insert(0, job)

    def _hasMemory(self, job: Job, budget: int) -> bool:
        """Whether there is the memory for one more pair, or no other is at work."""
        needed = estimateMemory(job.pair, job.threads)
        used = sum(estimateMemory(other.pair, other.threads) for _, other in self._atWork.values())
        if used and used + needed > budget:
            if not self._isScarce:
                number = min(len(self.workers), self.nPairs), advice("memory=", "--memory")
                log.warning("Memory allows %d of %d workers; see %s", len(self._atWork), *number)
            self._isScarce = True
            return False
        if needed > budget:
            log.warning(
                "%s needs about %d MB of memory and is done alone; the limit is %d MB",
                *(job.pair.name, needed >> 20, budget >> 20),
            )
        return True

    def _end(self, future: Future[PairRecord], worker: Worker, job: Job) -> PairRecord:
        """Return the record of a pair that is no longer at work, which may have to be done again."""
        record = self.ledger.records[job.pair.name]
        if record.state != "running":
            record = record.begun(worker.host, worker.pid, time.time())
        try:
            return replace(future.result(), attempts=record.attempts)
        except Exception as error:  # of the worker; what the work itself raises is in its outcome
            _sweep(job)
            if isinstance(error, BrokenExecutor | CancelledError):  # before it had begun with the pair
                worker.restart(error)
                self._putBack(job)
                return replace(record, state="pending", attempts=record.attempts - 1)
            kind, reason = type(error).__name__, str(error)
            if isinstance(error, TimeoutError) and worker.timeout is not None:
                reason = f"took longer than {worker.timeout:g} s, which {advice('timeout=', '--timeout')} allows"
                self.ledger.note(job.pair.name, reason)
            if isinstance(error, ProcessExpired):
                kind, reason = "WorkerDied", causeOfDeath(error.pid, error.exitcode)
                self.ledger.note(job.pair.name, reason)
                if job.attempt < ATTEMPTS:
                    log.warning("%s: %s; it is tried again", job.pair.name, reason)
                    self._putBack(replace(job, attempt=job.attempt + 1))
                    return replace(record, state="pending", errorType=kind, errorMessage=reason)
                reason = f"{reason}, as another was before over this pair"
            return replace(record, state="failed", endTime=time.time(), errorType=kind, errorMessage=reason)


def _sweep(job: Job) -> None:
    """Remove what a dead worker has left half written."""
    shutil.rmtree(Path(job.directory) / ".partial" / job.pair.name, ignore_errors=True)
