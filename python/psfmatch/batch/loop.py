"""The loop of a batch: pairs to workers, what became of them to the ledger; and what is done when a worker dies."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from psfmatch.batch.agenda import Agenda
from psfmatch.batch.crew import Worker
from psfmatch.batch.interrupting import Interruption
from psfmatch.batch.ledger import Ledger
from psfmatch.batch.memory import estimateMemory
from psfmatch.batch.records import Job, Outcome, Work
from psfmatch.pairRecords import PairRecord

__all__ = ["Loop", "Tell"]

log = logging.getLogger("psfmatch.batch")

Tell: TypeAlias = Callable[[PairRecord, int, int], None]

ATTEMPTS = 2
"""Workers that may die over a pair before it is given up."""

TICK = 0.5
"""Seconds after which it is looked which pairs a borrowed executor has begun with."""


@dataclass
class Loop:
    """What is known while a batch runs.

    agenda : pairs that wait; crew : who does them; ledger : open; work : what is done with a pair; budget : bytes that
    the pairs at work may take together, None: any; tell : called for every pair that has ended, with its record, how
    many have, and of how many.
    """

    agenda: Agenda
    crew: list[Worker]
    ledger: Ledger
    work: Work
    budget: int | None
    tell: Tell
    atWork: dict[Future[Outcome], tuple[Worker, Job]] = field(default_factory=dict)

    def run(self, interruption: Interruption) -> None:
        """Give out pairs until none is left or, once asked to stop, until those at work are done."""
        ended: list[PairRecord] = []
        nEnded, nPairs = 0, len(self.agenda)
        while True:
            if interruption.isAsked:
                self._takeBack()
            # A worker gets its next pair before its last one is written down: it must not wait for the disk.
            begun = self._giveOut()
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
            finished, _ = wait(self.atWork, timeout=TICK, return_when=FIRST_COMPLETED)
            ended = []
            try:
                for future in [future for future in self.atWork if future in finished]:
                    ended.append(self._end(future, *self.atWork.pop(future)))
            except BaseException:
                self.ledger.put(*ended)
                raise

    def abandon(self, reason: str) -> None:
        """End all workers at once; the pairs at work are pending again."""
        for worker in self.crew:
            worker.stop(atOnce=True)
        records = []
        for future, (_, job) in self.atWork.items():
            record = self._record(job)
            if future.done() and not future.cancelled() and future.exception() is None:
                records.append(record.ended(vars(future.result())))
                continue
            future.cancel()
            self._sweep(job)
            records.append(replace(record, state="pending", errorMessage=reason))
        self.ledger.note(None, reason)
        self.ledger.put(*records)
        self.atWork.clear()

    def _takeBack(self) -> None:
        """Let no more pairs begin; those that an executor has not begun with, as far as it says, are taken back."""
        begunWith = len(self.atWork)
        # One that is cancelled may never be told to those who wait for it.
        self.atWork = {future: what for future, what in self.atWork.items() if not future.cancel()}
        if nLeft := len(self.agenda) + begunWith - len(self.atWork):
            self.ledger.note(None, f"asked to end; {nLeft} pairs are not begun")
        self.agenda.clear()

    def _giveOut(self) -> list[PairRecord]:
        """Give pairs to the workers that are free; return the records of the pairs that have begun."""
        begun = []
        for worker in self.crew:
            while self._isFree(worker) and (job := self._next(worker)) is not None:
                try:
                    future = worker.submit(self.work, job)
                except RuntimeError as error:  # it broke, or was shut down, while it had nothing to do
                    self.agenda.putBack(job)
                    worker.recover(error)
                    continue
                self.atWork[future] = worker, job
                if worker.capacity is not None:
                    begun.append(self._record(job).begun(*worker.whereabouts(), time.time()))
        for future, (worker, job) in self.atWork.items():
            if worker.capacity is None and future.running() and self._record(job).state != "running":
                begun.append(self._record(job).begun(*worker.whereabouts(), time.time()))
        return begun

    def _isFree(self, worker: Worker) -> bool:
        if worker.capacity is None:
            return True
        return sum(other is worker for other, _ in self.atWork.values()) < worker.capacity

    def _next(self, worker: Worker) -> Job | None:
        """Return the next pair for a worker; None if there is none, or not the memory for it now."""
        others = [other.lastTemplate for other in self.crew if other is not worker and other.lastTemplate is not None]
        job = self.agenda.next(worker.lastTemplate, others)
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
        self.agenda.putBack(job)
        return None

    def _end(self, future: Future[Outcome], worker: Worker, job: Job) -> PairRecord:
        """Return the record of a pair that is no longer at work, which may have to be done again."""
        record = self._record(job)
        if record.state != "running":
            record = record.begun(*worker.whereabouts(), time.time())
        try:
            return record.ended(vars(future.result()))
        except (BrokenExecutor, CancelledError) as error:
            self._sweep(job)
            return self._lost(record, job, self._recover(worker, record, error))
        except Exception as error:  # such as dask's KilledWorker; what the work itself raises is in its outcome
            self._sweep(job)
            return replace(
                record, state="failed", endTime=time.time(), errorType=type(error).__name__, errorMessage=str(error)
            )

    def _recover(self, worker: Worker, record: PairRecord, error: BaseException) -> str | None:
        """Make good for a worker that broke; where that cannot be, the ledger tells it before the error goes on."""
        try:
            return worker.recover(error)
        except BrokenExecutor as broken:
            self.ledger.put(replace(record, state="pending", endTime=time.time(), errorMessage=str(broken)))
            raise

    def _lost(self, record: PairRecord, job: Job, reason: str | None) -> PairRecord:
        """Return the record of a pair whose worker has died: it is tried once more, or given up."""
        told = replace(record, state="pending", endTime=time.time(), errorType="WorkerDied", errorMessage=reason)
        if reason is None:
            self.agenda.putBack(job)
            return replace(told, attempts=record.attempts - 1, errorType=None)
        self.ledger.note(job.pair.name, reason)
        if job.attempt < ATTEMPTS:
            log.warning("%s: %s; it is tried again", job.pair.name, reason)
            self.agenda.putBack(replace(job, attempt=job.attempt + 1))
            return told
        return replace(told, state="failed", errorMessage=f"{reason}, as another was before over this pair")

    def _record(self, job: Job) -> PairRecord:
        return self.ledger.records[job.pair.name]

    def _sweep(self, job: Job) -> None:
        """Remove what a dead worker has left half written."""
        shutil.rmtree(Path(job.directory) / ".partial" / job.pair.name, ignore_errors=True)
