"""The loop of a batch: pairs to workers, what became of them to the ledger; and what is done when a worker dies."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from pebble import ProcessExpired

from psfmatch.batch.executors import Worker
from psfmatch.batch.interruption import Interruption
from psfmatch.batch.ledger import Ledger
from psfmatch.batch.memory import estimateMemory
from psfmatch.batch.pairQueue import PairQueue
from psfmatch.batch.records import Job, Work
from psfmatch.errors import advice
from psfmatch.io.pairRecords import PairRecord

__all__ = ["Dispatcher", "Tell"]

log = logging.getLogger("psfmatch.batch")

Tell: TypeAlias = Callable[[PairRecord, int, int], None]

ATTEMPTS = 2
"""Workers that may die over a pair before it is given up."""

TICK = 0.5
"""Seconds after which it is looked which pairs an external executor has begun with."""


@dataclass
class Dispatcher:
    """What is known while a batch runs.

    queue : pairs that wait; workers : who does them; ledger : open; work : what is done with a pair; budget : bytes
    that the pairs at work may take together, None: any; tell : called for every pair that has ended, with its record,
    how many have, and of how many; atWork : the pairs at work; ended : records not yet written.
    """

    queue: PairQueue
    workers: Sequence[Worker]
    ledger: Ledger
    work: Work
    budget: int | None
    tell: Tell
    atWork: dict[Future[PairRecord], tuple[Worker, Job]] = field(default_factory=dict)
    ended: list[PairRecord] = field(default_factory=list)

    def run(self, interruption: Interruption) -> None:
        """Give out pairs until none is left or, once asked to stop, until those at work are done."""
        nEnded, nPairs = 0, len(self.queue)
        while True:
            if interruption.isAsked:
                self._takeBack()
            # A worker gets its next pair before its last one is written down: it must not wait for the disk.
            begun = self._giveOut()
            ended, self.ended = self.ended, []
            if ended or begun:
                self.ledger.put(*ended, *begun)
            for record in ended:
                if record.state == "failed":
                    log.warning("%s failed: %s: %s", record.name, record.errorType, record.errorMessage)
                if record.state in ("done", "failed"):
                    nEnded += 1
                    self.tell(record, nEnded, nPairs)
            if interruption.isAsked:
                self._takeBack()
            if not self.atWork:
                return
            wait(self.atWork, timeout=TICK, return_when=FIRST_COMPLETED)
            for future in [future for future in self.atWork if future.done()]:
                self.ended.append(self._end(future, *self.atWork[future]))
                del self.atWork[future]

    def stop(self, reason: str | None = None) -> None:
        """End all workers; with a reason at once: the pairs at work are pending again."""
        for worker in self.workers:
            worker.stop(atOnce=reason is not None)
        for worker in self.workers:
            worker.join()
        if reason is None:
            return
        for future, (_, job) in self.atWork.items():
            record = self._record(job)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.ended.append(replace(future.result(), attempts=record.attempts))
                continue
            future.cancel()
            self._sweep(job)
            self.ended.append(replace(record, state="pending", errorMessage=reason))
        self.ledger.note(None, reason)
        self.ledger.put(*self.ended)

    def _takeBack(self) -> None:
        """Let no more pairs begin; those that an executor has not begun with, as far as it says, are taken back."""
        begunWith = len(self.atWork)
        # One that is cancelled may never be told to those who wait for it. The pairs of our own processes have begun.
        self.atWork = {
            future: (worker, job)
            for future, (worker, job) in self.atWork.items()
            if worker.capacity is not None or not future.cancel()
        }
        if nLeft := len(self.queue) + begunWith - len(self.atWork):
            self.ledger.note(None, f"asked to end; {nLeft} pairs are not begun")
        self.queue.clear()

    def _giveOut(self) -> list[PairRecord]:
        """Give pairs to the workers that are free; return the records of the pairs that have begun."""
        for worker in self.workers:
            while self._isFree(worker) and (job := self._next(worker)) is not None:
                try:
                    self.atWork[worker.submit(self.work, job)] = worker, job
                except RuntimeError as error:  # it broke, or was shut down, while it had nothing to do
                    self.queue.putBack(job)
                    worker.recover(error)
        return [
            self._record(job).begun(worker.host, worker.pid, time.time())
            for future, (worker, job) in self.atWork.items()
            if (worker.capacity is not None or future.running()) and self._record(job).state != "running"
        ]

    def _isFree(self, worker: Worker) -> bool:
        return worker.capacity is None or sum(other is worker for other, _ in self.atWork.values()) < worker.capacity

    def _next(self, worker: Worker) -> Job | None:
        """Return the next pair for a worker; None if there is none, or not the memory for it now."""
        job = self.queue.next(worker.lastTemplate, (w.lastTemplate for w in self.workers if w is not worker))
        if job is None or self.budget is None:
            return job
        needed = estimateMemory(job.pair, job.threads)
        used = sum(estimateMemory(other.pair, other.threads) for _, other in self.atWork.values())
        if used + needed <= self.budget:
            return job
        if not self.atWork:
            log.warning(
                "%s needs about %d MB of memory and is done alone; the limit is %d MB",
                *(job.pair.name, needed >> 20, self.budget >> 20),
            )
            return job
        self.queue.putBack(job)
        return None

    def _end(self, future: Future[PairRecord], worker: Worker, job: Job) -> PairRecord:
        """Return the record of a pair that is no longer at work, which may have to be done again."""
        record = self._record(job)
        if record.state != "running":
            record = record.begun(worker.host, worker.pid, time.time())
        try:
            return replace(future.result(), attempts=record.attempts)
        except (ProcessExpired, BrokenExecutor, CancelledError) as error:
            self._sweep(job)
            return self._lost(record, job, worker.recover(error))
        except Exception as error:  # such as dask's KilledWorker; what the work itself raises is in its outcome
            self._sweep(job)
            reason = str(error)
            if worker.timeout is not None and isinstance(error, TimeoutError):
                reason = f"took longer than {worker.timeout:g} s, which {advice('timeout=', '--timeout')} allows"
                self.ledger.note(job.pair.name, reason)
            return replace(
                record, state="failed", endTime=time.time(), errorType=type(error).__name__, errorMessage=reason
            )

    def _lost(self, record: PairRecord, job: Job, reason: str | None) -> PairRecord:
        """Return the record of a pair whose worker has died: it is tried once more, or given up."""
        told = replace(record, state="pending", endTime=time.time(), errorType="WorkerDied", errorMessage=reason)
        if reason is None:
            self.queue.putBack(job)
            return replace(told, attempts=record.attempts - 1, errorType=None)
        self.ledger.note(job.pair.name, reason)
        if job.attempt < ATTEMPTS:
            log.warning("%s: %s; it is tried again", job.pair.name, reason)
            self.queue.putBack(replace(job, attempt=job.attempt + 1))
            return told
        return replace(told, state="failed", errorMessage=f"{reason}, as another was before over this pair")

    def _record(self, job: Job) -> PairRecord:
        return self.ledger.records[job.pair.name]

    def _sweep(self, job: Job) -> None:
        """Remove what a dead worker has left half written."""
        shutil.rmtree(Path(job.directory) / ".partial" / job.pair.name, ignore_errors=True)
