"""What is known of each pair of a batch: the rows of its ledgers, read by whoever tells of them.

`psfmatch.batch` writes them.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

STATES = ("pending", "running", "failed", "done")
"""From the least to the most that is known of a pair."""


@dataclass(frozen=True)
class PairRecord:
    """One row.

    name, template, science : as in the manifest; fingerprint : of the row and the options; state : "pending",
    "running", "done" or "failed"; attempts : how often it was begun; host, pid : where it ran last; startTime,
    endTime : Unix time; cpuSeconds : of the process meanwhile; peakMemory : of the process meanwhile, where the system
    tells it, else since it began, bytes; grade : of the difference; failedGates : in words, separated by semicolons;
    templateFromCache : whether the template was in memory already; errorType, errorMessage : why it failed;
    nDetections : how many changes were found, None where they were not looked for; folder : the directory, inside of
    that of the batch, to which the outputs went, None: its own.
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
    nDetections: int | None = None
    folder: str | None = None

    def begun(self, host: str | None, pid: int | None, startTime: float) -> PairRecord:
        """Return the record of the pair at work."""
        running = PairRecord(self.name, self.template, self.science, self.fingerprint, state="running")
        return dataclasses.replace(running, attempts=self.attempts + 1, host=host, pid=pid, startTime=startTime)


FIELDS = {field.name: str(field.type).removesuffix(" | None") for field in dataclasses.fields(PairRecord)}


def hasLedger(directory: str | os.PathLike[str]) -> bool:
    """Whether a directory is that of a batch."""
    return any(Path(directory).glob("ledger*.sqlite"))


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
    import sqlite3

    paths = sorted(Path(directory).glob("ledger*.sqlite"))
    if not paths:
        raise FileNotFoundError(f"{directory}: holds no ledger of a batch")
    known: dict[str, PairRecord] = {}
    for path in paths:
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                records = readRows(connection)
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


def readRows(connection: sqlite3.Connection) -> list[PairRecord]:
    """Return what stands in an open ledger, which an older version may have written with fewer columns."""
    known = {row[1] for row in connection.execute("PRAGMA table_info(pairs)")}
    names = [name for name in FIELDS if name in known]
    rows = connection.execute(f"SELECT {', '.join(names)} FROM pairs").fetchall()
    return [PairRecord(**{name: _typed(name, value) for name, value in zip(names, row, strict=True)}) for row in rows]


def _typed(name: str, value: Any) -> Any:
    return bool(value) if value is not None and FIELDS[name] == "bool" else value
