"""A batch from the list of pairs to what it came to.

The parent process gives pairs to workers, writes down what becomes of them and nothing else: a worker that dies, a file
that cannot be read or a full disk costs the pair that met it, and a parent that dies costs the pairs at work.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.batch.dispatcher import Dispatcher, Tell
from psfmatch.batch.job import Job, PairOptions, Work
from psfmatch.batch.ledger import Ledger
from psfmatch.batch.manifest import Pair, outputNames, readManifest, shardOf
from psfmatch.batch.memory import availableMemory
from psfmatch.batch.processes import ExternalExecutor, Worker, WorkerProcess, threadsInEnvironment
from psfmatch.batch.summary import BatchSummary, summarize
from psfmatch.errors import PsfMatchError, advice
from psfmatch.threads import availableCpus, resolveThreads

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["runBatch"]

log = logging.getLogger("psfmatch.batch")

MEMORY_FRACTION = 0.8
"""Part of the memory there is that is taken without being told."""


def runBatch(
    manifest: str | os.PathLike[str] | Table | Iterable[Pair],
    directory: str | os.PathLike[str],
    options: PairOptions | None = None,
    *,
    executor: Executor | Any = None,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    timeout: float | None = None,
    resume: bool = False,
    retryFailed: bool = False,
    overwrite: bool = False,
    shard: tuple[int, int] | None = None,
    tell: Tell | None = None,
    work: Work | None = None,
) -> BatchSummary:
    """Subtract many pairs and keep a ledger.

    For each pair NAME.fits (as ``result.writeFits``), NAME.json (its figures), NAME.png (a small picture) and NAME.log
    appear in the directory, all but the log complete or not at all; in the end index.html, a page over all pairs.
    Ctrl-C ends the batch when the pairs at work are done, a second one at once.

    Parameters
    ----------
    manifest
        Path of a table with a row for each pair, such a table, or pairs; see `readManifest`.
    directory
        Of the outputs and the ledger; made if there is none.
    options
        What is done with every pair.
    executor
        A `concurrent.futures.Executor` or a `distributed.Client` whose workers see the same files. It gets all pairs at
        once, those with the same template one after the other, and is not shut down. None: processes of our own.
    workers
        Number of these processes; by default the CPUs that this process may use.
    threads
        Threads of a pair; by default CPUs // workers, with an executor one.
    memory
        Bytes that our processes together may take, as estimated from the sizes of the images: so many pairs are at work
        that it suffices, at least one. By default 0.8 of what is free. An executor looks after its own.
    timeout
        Seconds that a pair may take in a process of our own, None: any. What takes longer is ended and has failed.
    resume
        Go on with what earlier runs in this directory have not done. Pairs that failed are left, pairs whose row or
        configuration has changed are done again.
    retryFailed
        Also repeat pairs that failed; with ``resume``.
    overwrite
        Replace outputs that exist. Without ``resume`` all pairs are done anew; with it only what no ledger knows is
        replaced besides.
    shard
        (i, n), i from 1 to n: only this part of the pairs, with a ledger of its own.
    tell
        Called for every pair that has ended with its record, how many have ended, and of how many.
    work
        What is done with a pair: a function of a module that workers can import, which leaves NAME.fits; by default
        the subtraction.

    Returns
    -------
    summary : BatchSummary

    Raises
    ------
    ValueError, FileNotFoundError
        If manifest or options make no sense, or the directory holds a batch already and ``resume`` is false.
    FileExistsError
        If an output exists that no ledger knows, and ``overwrite`` is false.
    OSError
        If directory or ledger cannot be used.
    concurrent.futures.BrokenExecutor
        If the executor does no more work, or no process starts. What was done is in the ledger.
    """
    begun = time.time()
    options = options or PairOptions()
    if executor is not None and (workers is not None or memory is not None or timeout is not None):
        raise ValueError("workers, memory and timeout are for processes of our own; an executor has its own")
    if timeout is not None and not 0.0 < timeout < math.inf:
        raise ValueError(f"{advice('timeout=', '--timeout ')}{timeout}: must be a positive number of seconds")
    if memory is not None and memory < 1:
        raise ValueError(f"{advice('memory=', '--memory ')}{memory}: must be a positive number of bytes")
    _checkOptions(options)
    nWorkers = resolveThreads(workers) if workers is not None else availableCpus()
    nThreads = 1 if executor else max(1, availableCpus() // nWorkers)
    nThreads = nThreads if threads is None else resolveThreads(threads)
    pairs = readManifest(manifest)
    directory = Path(directory).absolute()
    _requireOtherOutputs(pairs, directory, options.setApart)
    mine = pairs if shard is None else shardOf(pairs, shard)
    directory.mkdir(parents=True, exist_ok=True)
    packed, deciding, place = pickle.dumps(options), options.deciding(), os.fspath(directory)
    jobs = [Job(pair, packed, place, nThreads, pair.fingerprint(*deciding)) for pair in mine]
    budget = None if executor is not None else memory or _freeMemory()
    with Ledger(directory, shard) as ledger, _workers(executor, nWorkers, nThreads, timeout) as ours:
        todo = ledger.begin(jobs, resume=resume, retryFailed=retryFailed, overwrite=overwrite)
        ledger.note(None, f"run begins with {len(todo)} pairs, process {os.getpid()} on {socket.gethostname()}")
        dispatcher = Dispatcher(todo, ours, ledger, work or _subtractPair(), budget, tell)
        with dispatcher.askedBySignals():
            dispatcher.run()
        ledger.note(None, "run ends")
        with suppress(OSError):  # there is none, or another shard is at work
            (directory / ".partial").rmdir()
        records, done = ([ledger.records[job.pair.name] for job in those] for those in (jobs, todo))
    _writePage(directory)
    return summarize(directory, records, done, begun, dispatcher.isAskedToEnd)


def _checkOptions(options: PairOptions) -> None:
    """Raise what every pair would fail with, before hours are spent on them."""
    if options.report and find_spec("matplotlib") is None:
        raise ModuleNotFoundError("reports need matplotlib: pip install 'psfmatch[plot]'")
    if options.gates:
        from psfmatch.quality import requireGates

        requireGates(options.gates)
    if options.setApart is not None:
        if not options.gates:
            raise ValueError(
                f"to set pairs apart ({advice('setApart', '--set-apart')}) needs a gate that they do not pass "
                f"({advice('gates', '--gate')})"
            )
        if not options.setApart or Path(options.setApart).name != options.setApart or options.setApart.startswith("."):
            raise ValueError(
                f"setApart is {options.setApart!r}: give the plain name of a directory inside of the batch's"
            )


@contextmanager
def _workers(executor: Any, number: int, threads: int, timeout: float | None) -> Iterator[list[Worker]]:
    """Give who does the pairs: processes; an executor, or that of a Dask client, whose workers are made ready."""
    if executor is None:
        with threadsInEnvironment(threads):
            yield [WorkerProcess(timeout) for _ in range(number)]
    elif hasattr(executor, "get_executor"):
        from psfmatch.batch.cluster import preparing

        with preparing(executor, threads):
            yield [ExternalExecutor(executor.get_executor())]
    else:
        yield [ExternalExecutor(executor)]


def _freeMemory() -> int | None:
    available = availableMemory()
    return None if available is None else int(MEMORY_FRACTION * available)


def _subtractPair() -> Work:
    from psfmatch.batch.pairSubtraction import subtractPair

    return subtractPair


def _requireOtherOutputs(pairs: Sequence[Pair], directory: Path, setApart: str | None) -> None:
    """Raise ValueError if an output would take the place of an input."""
    from psfmatch.io.names import isRemote, parseFileName

    folders = {directory.resolve(), directory.resolve() / (setApart or "")}
    outputs = {folder / name for folder in folders for pair in pairs for name in outputNames(pair)}
    for pair in pairs:
        for path in (pair.template, pair.science):
            if not isRemote(path) and parseFileName(path)[0].resolve() in outputs:
                raise ValueError(f"the output of a pair would overwrite {path}; choose another directory, or names")


def _writePage(directory: Path) -> None:
    """Write the page over all pairs; what is wrong with it costs no batch."""
    from psfmatch.pictures.index import requireIndexPath, writeIndex

    try:
        requireIndexPath(directory / "index.html")
        writeIndex(directory)
    except (PsfMatchError, OSError) as error:
        log.warning("No page over all pairs: %s", error)
