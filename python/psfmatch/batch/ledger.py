"""The ledger of a batch: one row for each pair in an SQLite file, written by the parent process alone.

A second table holds what happened on the way, such as a worker's death over a pair that another then finished.

Each run writes one file, each shard its own, so that no two machines share one: SQLite's locks do not hold on all
network file systems. Whoever wants to know what has been done reads them all.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from psfmatch.batch.records import Outcome

__all__ = ["Ledger", "PairRecord", "readLedgers"]

log = logging.getLogger("psfmatch.batch")

STATES = ("pending", "running", "failed", "done")
"""From the least to the most that is known of a pair."""

TYPES = {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "INTEGER"}


@dataclass(frozen=True)
class PairRecord:
    """One row.

    name, template, science : as in the manifest; fingerprint : of the row and the options; state : "pending",
    "running", "done" or "failed"; attempts : how often it was begun; host, pid : where it ran last; startTime,
    endTime : Unix time; wallSeconds, cpuSeconds, peakMemory (bytes), grade, templateFromCache, errorType,
    errorMessage : as in `Outcome`; failedGates : in words, separated by semicolons.
    """

    name: str
    template: str
    science: str
    fingerprint: str
    state: str = "pending"
    attempts: int = 0
    host: str | None = None
    pid: int | None = None
    startTime: float | None = None
    endTime: float | None = None
    wallSeconds: float | None = None
    cpuSeconds: float | None = None
    peakMemory: int | None = None
    grade: str | None = None
    failedGates: str | None = None
    templateFromCache: bool | None = None
    errorType: str | None = None
    errorMessage: str | None = None

    def begun(self, host: str | None, pid: int | None, startTime: float) -> PairRecord:
        """Return the record of the pair at work."""
        running = PairRecord(self.name, self.template, self.science, self.fingerprint, state="running")
        return dataclasses.replace(running, attempts=self.attempts + 1, host=host, pid=pid, startTime=startTime)

    def ended(self, outcome: Outcome) -> PairRecord:
        """Return the record of the pair with what became of it."""
        told = {name: getattr(outcome, name) for name in (f.name for f in dataclasses.fields(Outcome))}
        return dataclasses.replace(self, **{**told, "failedGates": "; ".join(outcome.failedGates) or None})


FIELDS = {field.name: str(field.type).removesuffix(" | None") for field in dataclasses.fields(PairRecord)}


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
        self._lock = _lockFile(directory / f".{name}.lock")
        self._unwritten: dict[str, PairRecord] = {}
        self._untold: list[tuple[float, str | None, str]] = []
        self._isTroubled = False
        self.records: dict[str, PairRecord] = {}
        try:
            self._connection = sqlite3.connect(self.path)
            columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in FIELDS.items())
            with self._connection:
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS pairs ({columns}, PRIMARY KEY (name))")
                self._connection.execute("CREATE TABLE IF NOT EXISTS events (time REAL, name TEXT, event TEXT)")
            self.records = {record.name: record for record in _read(self._connection)}
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: cannot be used as a ledger ({error})") from error

    def put(self, *records: PairRecord) -> None:
        """Write rows, in the place of those of the same names."""
        self.records |= {record.name: record for record in records}
        self._unwritten |= {record.name: record for record in records}
        marks = ", ".join("?" for _ in FIELDS)
        rows = [[getattr(record, name) for name in FIELDS] for record in self._unwritten.values()]
        try:
            with self._connection:
                self._connection.executemany(f"INSERT OR REPLACE INTO pairs VALUES ({marks})", rows)
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
        if self._unwritten or self._untold:
            self.put()
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
        if self._unwritten:
            log.error("%s lacks %d pairs: it could not be written", self.path, len(self._unwritten))


def readLedgers(directory: str | os.PathLike[str]) -> tuple[PairRecord, ...]:
    """Return the rows of all ledgers of a directory, one for each pair, by name.

    Where several shards know a pair, that row is taken that knows most: done, then failed, running, pending; of equal
    ones the later.

    Raises
    ------
    FileNotFoundError
        If there is none.
    OSError
        If one cannot be read.
    """
    paths = sorted(Path(directory).glob("ledger*.sqlite"))
    if not paths:
        raise FileNotFoundError(f"{directory}: holds no ledger of a batch")
    known: dict[str, PairRecord] = {}
    for path in paths:
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                records = _read(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise OSError(f"{path}: cannot be read as a ledger ({error})") from error
        for record in records:
            if record.name not in known or _rank(record) > _rank(known[record.name]):
                known[record.name] = record
    return tuple(known[name] for name in sorted(known))


def _rank(record: PairRecord) -> tuple[int, float]:
    return STATES.index(record.state), record.endTime or record.startTime or 0.0


def _read(connection: sqlite3.Connection) -> list[PairRecord]:
    rows = connection.execute(f"SELECT {', '.join(FIELDS)} FROM pairs").fetchall()
    return [PairRecord(**{name: _typed(name, value) for name, value in zip(FIELDS, row, strict=True)}) for row in rows]


def _typed(name: str, value: Any) -> Any:
    return bool(value) if value is not None and FIELDS[name] == "bool" else value


def _locking() -> Callable[[int], None] | None:
    """Return what locks an open file, and raises where another process has; of POSIX, or of Windows."""
    with suppress(ImportError):
        import fcntl

        return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with suppress(ImportError):
        import msvcrt

        # One byte stands for the file; PermissionError says that it is taken.
        return lambda descriptor: msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    return None


def _lockFile(path: Path) -> int | None:
    """Hold the lock of a ledger until the descriptor is closed or the process ends; None where there are no locks."""
    lock = _locking()
    if lock is None:
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock(descriptor)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        raise OSError(f"{path.parent}: another run is at work here with the same ledger; wait for it to end") from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor
