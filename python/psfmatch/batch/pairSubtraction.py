"""The work on one pair: two files in; difference, figures and whatever else is asked for out, all of it or nothing.

Outputs are written to a directory of the pair's own inside of that of the batch, brought to the disk, and only then
renamed into their places. The figures come last: where they are, the pair is done.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from psfmatch.batch.job import Job, PairOptions
from psfmatch.batch.manifest import outputNames
from psfmatch.batch.worker import attempt
from psfmatch.errors import speakingTo
from psfmatch.frontdoor import SubtractionResult, subtract
from psfmatch.images import Exposure, readInput
from psfmatch.io import writeTable
from psfmatch.io.pairRecords import PairRecord
from psfmatch.pictures import findDetections, reportNumbers, writeNumbers
from psfmatch.pictures.triplets import thumbnail
from psfmatch.quality import checkGates

__all__ = ["subtractPair"]

templates: dict[tuple[Any, ...], Exposure] = {}
"""The template that was read last, by what decides it: pairs come sorted by template, and one is enough."""


def subtractPair(job: Job) -> PairRecord:
    """Subtract one pair and write what belongs to it; tells what became of it and raises nothing."""
    with speakingTo("manifest"):
        return attempt(job, lambda: _make(job))


def _make(job: Job) -> PairRecord:
    pair, options = job.pair, _unpack(job.options)
    files = pair.template, pair.templateNoise, pair.templateVariance, pair.templateWeight, pair.templateMask
    key = (*map(fileState, files), *pair.gainOf("template"), options.useXY0, options.ignoreWcs)
    template = templates.get(key)
    isFromCache = template is not None
    if template is None:
        templates.clear()  # before the next comes: they need not lie in memory together
        template = templates[key] = _read(job, options, "template")
    result = subtract(
        template,
        _read(job, options, "science"),
        config=options.config,
        mode=options.mode,  # type: ignore[arg-type]  # checked there
        templateFwhmPix=pair.templateFwhmPix,
        scienceFwhmPix=pair.scienceFwhmPix,
        threads=job.threads,
    )
    record = _write(job, options, result, _failedGates(result, options))
    return replace(record, templateFromCache=isFromCache)


def fileState(path: str | None) -> tuple[Any, ...]:
    """Return what changes when a file does: size and time of change; brackets that name an HDU are cut off."""
    for name in (path, path.rpartition("[")[0]) if path else ():
        with suppress(OSError):
            status = os.stat(name)  # noqa: PTH116 - an empty name is no Path
            return path, status.st_size, status.st_mtime_ns
    return (path,) if path else ()


@lru_cache(maxsize=2)
def _unpack(pickled: bytes) -> PairOptions:
    options: PairOptions = pickle.loads(pickled)
    return options


def _read(job: Job, options: PairOptions, which: str) -> Exposure:
    pair = job.pair
    gain, readNoise = pair.gainOf(which)
    return readInput(
        getattr(pair, which),
        lambda plane: getattr(pair, f"{which}{plane.capitalize()}"),
        gain,
        readNoise,
        useXY0=options.useXY0,
        ignoreWcs=options.ignoreWcs,
    )


def _failedGates(result: SubtractionResult, options: PairOptions) -> tuple[str, ...]:
    if not options.gates:
        return ()
    return tuple(checkGates(result.quality, options.gates))


def _write(job: Job, options: PairOptions, result: SubtractionResult, failedGates: tuple[str, ...]) -> PairRecord:
    directory, name = Path(job.directory), job.pair.name
    folder = options.setApart if failedGates else None
    target = directory if folder is None else directory / folder
    partial = directory / ".partial" / name
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        result.writeFits(partial / f"{name}.fits")
        if options.decorrelated:
            result.writeDecorrelated(partial / f"{name}_decorrelated.fits")
        # One list of changes for table, report and numbers.
        detections = findDetections(result, job.threads) if options.sources else None
        if options.sources:
            writeTable(partial / f"{name}_sources.fits", result.changes, "SOURCES")
        (partial / f"{name}.png").write_bytes(thumbnail(result))
        numbers = partial / f"{name}.json"
        if options.report:
            # Writes its numbers too, beside it.
            result.report(partial / f"{name}.html", title=name, threads=job.threads)
            told = json.loads(numbers.read_bytes())
        else:
            told = reportNumbers(result, title=name, detections=detections)
        origin = {**_origin(job), "failedGates": list(failedGates)}
        writeNumbers(result, numbers, numbers=told | origin)
        target.mkdir(exist_ok=True)
        others = sorted(path for path in partial.iterdir() if path != numbers)
        for path in (*others, numbers):
            _toDisk(path)
            path.replace(target / path.name)
        _removeOlder(job, options, target, {path.name for path in (*others, numbers)})
        _toDisk(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    nDetections = (told.get("detections") or {}).get("nDetections")
    gates = "; ".join(failedGates) or None
    return replace(job.record, grade=result.grade, failedGates=gates, nDetections=nDetections, folder=folder)


def _removeOlder(job: Job, options: PairOptions, target: Path, written: set[str]) -> None:
    """Remove what an earlier run has left of this pair and this one has not replaced: it is of another difference."""
    directory = Path(job.directory)
    for folder in {directory, directory if options.setApart is None else directory / options.setApart}:
        for name in outputNames(job.pair):
            if folder != target or name not in written:
                (folder / name).unlink(missing_ok=True)


def _origin(job: Job) -> dict[str, Any]:
    """Return whose figures these are; by the fingerprint a later run knows that the pair is done."""
    pair = job.pair
    return {"name": pair.name, "template": pair.template, "science": pair.science, "fingerprint": job.fingerprint}


def _toDisk(path: Path) -> None:
    """Wait until the content of a file or directory is on the disk; of a directory where the system has that."""
    if not path.is_dir():
        # Windows brings to the disk only what is open for writing.
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        return
    with suppress(OSError):  # directories are no files there
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
