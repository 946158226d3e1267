"""Which pairs are still to be done, from the ledgers and the outputs that lie in the directory of a batch."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from psfmatch.batch.ledger import Ledger
from psfmatch.batch.manifest import Pair, outputNames
from psfmatch.errors import advice
from psfmatch.io.pairRecords import PairRecord, readLedgers

__all__ = ["Plan", "planPairs"]

log = logging.getLogger("psfmatch.batch")


@dataclass(frozen=True)
class Plan:
    """Pairs to do, and the names of those that earlier runs have done, or have failed with and that are left so."""

    pairs: tuple[Pair, ...]
    left: frozenset[str]


def planPairs(
    pairs: Sequence[Pair],
    fingerprints: Mapping[str, str],
    directory: Path,
    ledger: Ledger,
    *,
    resume: bool,
    retryFailed: bool,
    overwrite: bool = False,
) -> Plan:
    """Tell the pairs that are to be done from those that are not, and write all of them to the ledger.

    Raises
    ------
    ValueError
        If any of them was begun by an earlier run, and neither ``resume`` nor ``overwrite`` is true.
    FileExistsError
        If there is an output that is in no ledger and ``overwrite`` is false.
    """
    known = {record.name: record for record in readLedgers(directory)}
    if overwrite and not resume:
        known = {}
    existing = [
        name
        for pair in pairs
        if pair.name not in known
        for name in outputNames(pair)
        if not overwrite and (directory / name).exists()
    ]
    if existing:
        shown = ", ".join(existing[:3]) + (", ..." if len(existing) > 3 else "")
        raise FileExistsError(
            f"{directory}: {shown} exist already and are in no ledger; choose another directory, or replace them with "
            f"{advice('overwrite=True', '--overwrite')}"
        )
    if not resume and (begun := [pair.name for pair in pairs if pair.name in known]):
        raise ValueError(
            f"{directory}: an earlier run has {len(begun)} of these pairs in its ledger; go on with it by "
            f"{advice('resume=True', '--resume')}, replace it by {advice('overwrite=True', '--overwrite')}, or choose "
            "another directory"
        )
    todo, records = [], []
    for pair in pairs:
        new = PairRecord(pair.name, pair.template, pair.science, fingerprints[pair.name])
        record = _asFound(known.get(pair.name), new, directory)
        if record.state == "done" or (record.state == "failed" and not retryFailed):
            records.append(record)
            continue
        shutil.rmtree(directory / ".partial" / pair.name, ignore_errors=True)
        todo.append(pair)
        records.append(replace(new, attempts=record.attempts))
    ledger.put(*records)
    left = frozenset(pair.name for pair in pairs) - {pair.name for pair in todo}
    if resume:
        log.info("%d of %d pairs are to be done, %d are left as they are", len(todo), len(pairs), len(left))
    return Plan(tuple(todo), left)


def _asFound(record: PairRecord | None, new: PairRecord, directory: Path) -> PairRecord:
    """Return what is known of a pair; as pending where its outputs are gone or would be others."""
    if record is None:
        return new
    if record.fingerprint != new.fingerprint:
        log.warning("%s is done again: its row in the manifest, or the configuration, has changed", new.name)
        return replace(new, attempts=record.attempts)
    if record.state == "failed":
        return record
    hasOutput = (directory / (record.folder or "") / f"{new.name}.fits").exists()
    if record.state == "done":
        if not hasOutput:
            log.warning("%s is done again: its difference is gone", new.name)
        return record if hasOutput else replace(new, attempts=record.attempts)
    # The outputs may have come into their places just before the run ended, too late for the ledger.
    try:
        figures = json.loads((directory / f"{new.name}.json").read_text(encoding="utf-8"))
        isDone = hasOutput and figures["fingerprint"] == new.fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        return record
    if not isDone:
        return record
    gates = "; ".join(figures.get("failedGates", ())) or None
    return replace(record, state="done", grade=figures.get("grade"), failedGates=gates)
