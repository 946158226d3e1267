"""What a batch came to."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.io.pairRecords import FIELDS, PairRecord

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["BatchSummary", "summarize"]

KINDS = {"str": str, "int": int, "float": float, "bool": bool}
UNITS = {"startTime": "s", "endTime": "s", "wallSeconds": "s", "cpuSeconds": "s", "peakMemory": "byte"}


@dataclass(frozen=True)
class BatchSummary:
    """What a run of a batch came to.

    directory : of outputs and ledger; nPairs : of the manifest, or of its shard; nDone, nFailed, nPending : as they
    stand now; nLeft : of them as an earlier run left them; startUpSeconds : from the call to the start of the first
    pair; seconds : from there to the end of the last one; pairsPerHour : of this run, while it was at work; grades :
    how many pairs have which; failures : records of the pairs that failed, in this run or an earlier one;
    gateFailures : of those that do not pass the gates; isInterrupted : whether it was ended by Ctrl-C;
    records : of all pairs, in the sequence of the manifest.
    """

    directory: str
    nPairs: int
    nDone: int
    nFailed: int
    nPending: int
    nLeft: int
    startUpSeconds: float | None
    seconds: float | None
    pairsPerHour: float | None
    grades: dict[str, int]
    failures: tuple[PairRecord, ...]
    gateFailures: tuple[PairRecord, ...]
    isInterrupted: bool = False
    records: tuple[PairRecord, ...] = ()

    def toDict(self) -> dict[str, Any]:
        """Return it as plain data, fit for JSON; of the records those that `failures` and `gateFailures` hold."""
        data = dataclasses.asdict(dataclasses.replace(self, records=()))
        del data["records"]
        return data

    def toTable(self) -> Table:
        """Return the ledger as a table, a row for each pair; what is not known is masked, times are Unix times."""
        from astropy.table import MaskedColumn, Table

        table = Table()
        for name, kind in FIELDS.items():
            values = [getattr(record, name) for record in self.records]
            filled = [KINDS[kind]() if value is None else value for value in values]
            unknown = [value is None for value in values]
            table[name] = MaskedColumn(filled, dtype=KINDS[kind], mask=unknown, unit=UNITS.get(name))
        return table


def summarize(
    directory: Path,
    records: Sequence[PairRecord],
    ours: Sequence[PairRecord] = (),
    begun: float | None = None,
    isInterrupted: bool = False,
) -> BatchSummary:
    """Count what stands in the records.

    Parameters
    ----------
    directory
        Of the batch.
    records
        Of all its pairs.
    ours
        Of those that this run was to do.
    begun
        Unix time of the call; without it no times are told.
    isInterrupted
        Whether it was ended before its time.
    """
    states = Counter(record.state for record in records)
    spans = [(r.startTime, r.endTime) for r in ours if r.startTime is not None and r.endTime is not None]
    startUp = seconds = rate = None
    if begun is not None and spans:
        first = min(start for start, _ in spans)
        startUp, seconds = first - begun, max(max(end for _, end in spans) - first, 1e-3)
        rate = 3600.0 * len(spans) / seconds
    return BatchSummary(
        directory=str(directory),
        nPairs=len(records),
        nDone=states["done"],
        nFailed=states["failed"],
        nPending=states["pending"] + states["running"],
        nLeft=0 if begun is None else len(records) - len(ours),
        startUpSeconds=startUp,
        seconds=seconds,
        pairsPerHour=rate,
        grades=dict(sorted(Counter(record.grade for record in records if record.grade is not None).items())),
        failures=tuple(record for record in records if record.state == "failed"),
        gateFailures=tuple(record for record in records if record.state == "done" and record.failedGates),
        isInterrupted=isInterrupted,
        records=tuple(records),
    )
