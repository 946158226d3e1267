"""The ledger of a batch: one row for each pair in an SQLite file, written by the parent process alone.

A second table holds what happened on the way, such as a worker's death over a pair that another then finished.

Each run writes one file, each shard its own, so that no two machines share one: SQLite's locks do not hold on all
network file systems. Whoever wants to know what has been done reads them all.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from psfmatch.io.pairRecords import FIELDS, PairRecord, readRows

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
                known = {row[1] for row in self._connection.execute("PRAGMA table_info(pairs)")}
                for name in FIELDS.keys() - known:  # of a ledger that an older version has begun
                    self._connection.execute(f"ALTER TABLE pairs ADD COLUMN {name} {TYPES[FIELDS[name]]}")
                self._connection.execute("CREATE TABLE IF NOT EXISTS events (time REAL, name TEXT, event TEXT)")
            self.records = {record.name: record for record in readRows(self._connection)}
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: cannot be used as a ledger ({error})") from error

    def put(self, *records: PairRecord) -> None:
        """Write rows, in the place of those of the same names."""
        self.records |= {record.name: record for record in records}
        self._unwritten |= {record.name: record for record in records}
        names, marks = ", ".join(FIELDS), ", ".join("?" for _ in FIELDS)
        rows = [[getattr(record, name) for name in FIELDS] for record in self._unwritten.values()]
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
        if self._unwritten or self._untold:
            self.put()
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
        if self._unwritten:
            log.error("%s lacks %d pairs: it could not be written", self.path, len(self._unwritten))


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
