"""The ledger of a batch: one row for each pair in an SQLite file, written by the parent process alone.

A second table holds what happened on the way, such as a worker's death over a pair that another then finished.

Each run writes one file, each shard its own, so that no two machines share one: SQLite's locks do not hold on all
network file systems. Whoever wants to know what has been done reads them all.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from psfmatch.batch.job import Job
from psfmatch.batch.manifest import outputNames
from psfmatch.errors import advice
from psfmatch.io.pairRecords import FIELDS, PairRecord, readLedgers, readRows

__all__ = ["Ledger"]

TYPES = {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "INTEGER"}

log = logging.getLogger("psfmatch.batch")


class Ledger:
    """A ledger open for writing, a context manager.

    A full disk does not stop the batch: what cannot be written is kept and tried again with what follows.

    Parameters
    ----------
    directory
        Of the batch.
    shard
        Number and count of the shard, None for the whole.

    Raises
    ------
    OSError
        If the file cannot be opened, is not a ledger, or another run is at work with it.
    """

    def __init__(self, directory: Path, shard: tuple[int, int] | None = None) -> None:
        name = "ledger" if shard is None else f"ledger-{shard[0]}-of-{shard[1]}"
        self.path = directory / f"{name}.sqlite"
        self._unwritten: dict[str, PairRecord] = {}
        self._untold: list[tuple[float, str | None, str]] = []
        self._isTroubled = False
        try:
            with ExitStack() as opened:
                # A database that is held locked: SQLite's locks go with the process, on every system.
                lock = opened.enter_context(closing(sqlite3.connect(directory / f".{name}.lock", timeout=0.0)))
                lock.execute("BEGIN EXCLUSIVE")
                self._connection = opened.enter_context(closing(sqlite3.connect(self.path)))
                columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in FIELDS.items())
                with self._connection:
                    self._connection.execute(f"CREATE TABLE IF NOT EXISTS pairs ({columns}, PRIMARY KEY (name))")
                    known = {row[1] for row in self._connection.execute("PRAGMA table_info(pairs)")}
                    for name in FIELDS.keys() - known:  # of a ledger that an older version has begun
                        self._connection.execute(f"ALTER TABLE pairs ADD COLUMN {name} {TYPES[FIELDS[name]]}")
                    self._connection.execute("CREATE TABLE IF NOT EXISTS events (time REAL, name TEXT, event TEXT)")
                self.records = {record.name: record for record in readRows(self._connection)}
                self._close = opened.pop_all().close
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise OSError(
                    f"{directory}: another run is at work here with the same ledger; wait for it to end"
                ) from None
            raise OSError(f"{self.path}: cannot be used as a ledger ({error})") from error

    def begin(self, jobs: Sequence[Job], *, resume: bool, retryFailed: bool, overwrite: bool) -> tuple[Job, ...]:
        """Return the jobs that are to be done, by what all ledgers of the directory know, and write down all.

        Raises
        ------
        ValueError
            If any of them was begun by an earlier run, and neither ``resume`` nor ``overwrite`` is true.
        FileExistsError
            If there is an output that is in no ledger and ``overwrite`` is false.
        """
        directory = self.path.parent
        isAnew = overwrite and not resume
        known = {} if isAnew else {record.name: record for record in readLedgers(directory)}
        begun = [job for job in jobs if job.pair.name in known]
        outputs = [name for job in jobs if job.pair.name not in known for name in outputNames(job.pair)]
        if not overwrite and (existing := [name for name in outputs if (directory / name).exists()]):
            shown = ", ".join(existing[:3]) + (", ..." if len(existing) > 3 else "")
            raise FileExistsError(
                f"{directory}: {shown} exist already and are in no ledger; choose another directory, or replace them "
                f"with {advice('overwrite=True', '--overwrite')}"
            )
        if begun and not resume:
            raise ValueError(
                f"{directory}: an earlier run has {len(begun)} of these pairs in its ledger; go on with it by "
                f"{advice('resume=True', '--resume')}, replace it by {advice('overwrite=True', '--overwrite')}, or "
                "choose another directory"
            )
        records = {job: job.record for job in jobs}
        records |= {job: _asFound(known[job.pair.name], job.record, directory) for job in begun}
        done = ("done",) if retryFailed else ("done", "failed")
        todo = tuple(job for job in jobs if records[job].state not in done)
        for job in todo:
            shutil.rmtree(directory / ".partial" / job.pair.name, ignore_errors=True)
            records[job] = replace(job.record, attempts=records[job].attempts)
        self.put(*records.values())
        if resume:
            nLeft = len(jobs) - len(todo)
            log.info("%d of %d pairs are to be done, %d are left as they are", len(todo), len(jobs), nLeft)
        return todo

    def put(self, *records: PairRecord) -> None:
        """Write rows, in the place of those of the same names."""
        self.records |= {record.name: record for record in records}
        self._unwritten |= {record.name: record for record in records}
        names, marks = ", ".join(FIELDS), ", ".join("?" for _ in FIELDS)
        rows = [[getattr(record, name) for name in FIELDS] for record in self._unwritten.values()]
        if not rows and not self._untold:
            return
        try:
            with self._connection:
                self._connection.executemany(f"INSERT OR REPLACE INTO pairs ({names}) VALUES ({marks})", rows)
                self._connection.executemany("INSERT INTO events VALUES (?, ?, ?)", self._untold)
        except sqlite3.Error as error:
            if not self._isTroubled:
                log.error("%s cannot be written (%s); it is tried again with every pair", self.path, error)
            self._isTroubled = True
            return
        self._unwritten.clear()
        self._untold.clear()
        self._isTroubled = False

    def note(self, name: str | None, event: str) -> None:
        """Write down with the next rows what happened now, to a pair or, without a name, to the run."""
        self._untold.append((time.time(), name, event))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.put()
        self._close()
        if self._unwritten:
            log.error("%s lacks %d pairs: it could not be written", self.path, len(self._unwritten))


def _asFound(record: PairRecord, new: PairRecord, directory: Path) -> PairRecord:
    """Return what is known of a pair; as pending where its outputs are gone or would be others."""
    pending = replace(new, attempts=record.attempts)
    if record.fingerprint != new.fingerprint:
        log.warning("%s is done again: its row in the manifest, or the configuration, has changed", new.name)
        return pending
    hasOutput = (directory / (record.folder or "") / f"{new.name}.fits").exists()
    if record.state == "done" and not hasOutput:
        log.warning("%s is done again: its difference is gone", new.name)
        return pending
    if record.state in ("done", "failed") or not hasOutput:
        return record
    # The outputs may have come into their places just before the run ended, too late for the ledger.
    try:
        figures = json.loads((directory / f"{new.name}.json").read_text(encoding="utf-8"))
        if figures["fingerprint"] != new.fingerprint:
            return record
    except (OSError, ValueError, KeyError, TypeError):
        return record
    gates = "; ".join(figures.get("failedGates", ())) or None
    return replace(record, state="done", grade=figures.get("grade"), failedGates=gates)
