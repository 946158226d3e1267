"""What `psfmatch batch` loses against bare loops: throughput of a pool and of a local Dask cluster, as ratios.

    python benchmarks/batch.py [--pairs 400] [--size 1024] [--workers 2] [--templates 8] [--repeats 1] [--no-dask]
        [--cache DIR] [--outputs DIR] [--json FILE]

Bare loops are as many processes as there are workers, each of which reads, subtracts and writes its part of the pairs
one after the other, on one thread. All start from files in the page cache. Timed is from the first pair's start to the
last one's end; what comes before is told apart as start-up. Processor time is of all processes, with their start:
where others are at work on the machine it is the steadier figure. The ways take turns, in an order that is turned
round with each repeat; ratios are of medians. Pairs share templates in groups, which `--templates 0` undoes: each its
own.

The batch writes besides each difference its figures and a log, and waits until all of it is on the disk; the loops wait
for nothing. Outputs go to a directory of the temporary files, or to `--outputs`.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psfmatch.batch import BatchSummary, Pair, runBatch
from suite.timing import Column, Record, medians, printTable, progress

for _variable in ("PSFMATCH_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_variable] = "1"

COLUMNS: list[Column] = [
    ("way", "way", "s"),
    ("pairs", "nPairs", "d"),
    ("px", "size", "d"),
    ("workers", "nWorkers", "d"),
    ("start-up s", "startUp", ".2f"),
    ("seconds", "seconds", ".2f"),
    ("pairs/s", "rate", ".3f"),
    ("of bare loops", "ratio", ".3f"),
    ("must be", "goal", ".2f"),
    ("CPU s", "cpu", ".2f"),
]
GOALS = {"batch": 0.9, "Dask": 0.85}


@dataclass(frozen=True)
class Times:
    """Seconds until the first pair began, and from there until the last one ended; processor time, start-up and all."""

    startUp: float
    seconds: float
    cpu: float = math.nan


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _parse(arguments)
    pairs = makePairs(Path(options.cache), options.pairs, options.size, options.templates)
    progress(f"{len(pairs)} pairs of {options.size} px, {options.workers} workers")
    ways: dict[str, Callable[[Path], Times]] = {
        "bare loops": lambda folder: runBare(pairs, folder, options.workers),
        "batch": lambda folder: _times(runBatch(pairs, folder, workers=options.workers, threads=1)),
    }
    if options.dask:
        ways["Dask"] = lambda folder: runDask(pairs, folder, options.workers)
    figures: dict[str, list[Times]] = {name: [] for name in ways}
    for repeat in range(options.repeats):
        order = list(ways) if repeat % 2 == 0 else list(reversed(ways))
        for name in order:
            with tempfile.TemporaryDirectory(dir=options.outputs) as folder:
                _warm(pairs)
                before = _cpu()
                times = ways[name](Path(folder))
                figures[name].append(replace(times, cpu=_cpu() - before))
            progress(f"{name}: {figures[name][-1].seconds:.1f} s after {figures[name][-1].startUp:.1f} s")
    records = _records(figures, options)
    printTable("Throughput of many pairs, one thread each", COLUMNS, records)
    if options.json:
        Path(options.json).write_text(json.dumps(records, indent=1) + "\n")


def makePairs(cache: Path, number: int, size: int, nTemplates: int) -> list[Pair]:
    """Return pairs that are kept in a directory: one simulated pair, of which links make as many as are wanted."""
    from psfmatch.testing import simulatePair

    folder = cache / f"batch-{size}"
    if not (folder / "science.fits").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pair = simulatePair(seed=1, size=size)
        pair.template.writeFits(folder / "template.fits")
        pair.science.writeFits(folder / "science.fits")
    pairs = []
    for i in range(number):
        group = i if nTemplates == 0 else i % nTemplates
        # Each a name of its own: by its path a template is known.
        template, science = folder / f"template{group}.fits", folder / f"science{i}.fits"
        for link, target in ((template, "template.fits"), (science, "science.fits")):
            if not link.is_symlink():
                link.symlink_to(target)
        pairs.append(Pair(f"p{i}", str(template.absolute()), str(science.absolute())))
    return pairs


def runBare(pairs: Sequence[Pair], folder: Path, nWorkers: int) -> Times:
    """Let each of several processes go through its part of the pairs."""
    begun = time.time()
    with multiprocessing.get_context("spawn").Pool(nWorkers) as pool:
        parts = [(pairs[i::nWorkers], str(folder)) for i in range(nWorkers)]
        spans = pool.map(_bareLoop, parts, chunksize=1)
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    return Times(first - begun, last - first)


def _bareLoop(part: tuple[Sequence[Pair], str]) -> tuple[float, float]:
    from psfmatch.frontdoor import subtract

    pairs, folder = part
    begun = time.time()
    for pair in pairs:
        subtract(pair.template, pair.science, threads=1).writeFits(Path(folder) / f"{pair.name}.fits")
    return begun, time.time()


def runDask(pairs: Sequence[Pair], folder: Path, nWorkers: int) -> Times:
    """Run the batch on a cluster of as many processes on this machine."""
    from distributed import LocalCluster

    from psfmatch.batch.cluster import connected

    begun = time.time()
    with (
        LocalCluster(n_workers=nWorkers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        connected(cluster.scheduler_address) as client,
    ):
        connecting = time.time() - begun
        times = _times(runBatch(pairs, folder, executor=client, threads=1))
    return Times(connecting + times.startUp, times.seconds)


def _cpu() -> float:
    """Return the processor seconds of this process and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _times(summary: BatchSummary) -> Times:
    if summary.nDone < summary.nPairs or summary.startUpSeconds is None or summary.seconds is None:
        raise SystemExit(f"{summary.nFailed} of {summary.nPairs} pairs failed: {summary.failures[:1]}")
    return Times(summary.startUpSeconds, summary.seconds)


def _warm(pairs: Sequence[Pair]) -> None:
    """Bring all files into the page cache."""
    for path in {Path(name).resolve() for pair in pairs for name in (pair.template, pair.science)}:
        with path.open("rb") as file:
            shutil.copyfileobj(file, _Nothing())


class _Nothing:
    def write(self, data: bytes) -> int:
        return len(data)


def _records(figures: dict[str, list[Times]], options: argparse.Namespace) -> list[Record]:
    seconds = medians({name: [times.seconds for times in runs] for name, runs in figures.items()})
    startUps = medians({name: [times.startUp for times in runs] for name, runs in figures.items()})
    cpu = medians({name: [times.cpu for times in runs] for name, runs in figures.items()})
    return [
        {
            "way": name,
            "nPairs": options.pairs,
            "size": options.size,
            "nWorkers": options.workers,
            "startUp": startUps[name],
            "seconds": seconds[name],
            "rate": options.pairs / seconds[name],
            "ratio": seconds["bare loops"] / seconds[name],
            "goal": GOALS.get(name),
            "cpu": cpu[name],
        }
        for name in figures
    ]


def _parse(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", metavar="N", type=int, default=400)
    parser.add_argument("--size", metavar="PX", type=int, default=1024)
    parser.add_argument("--workers", metavar="N", type=int, default=2)
    parser.add_argument("--templates", metavar="N", type=int, default=8, help="different ones; 0: each pair its own")
    parser.add_argument("--repeats", metavar="N", type=int, default=1)
    parser.add_argument("--no-dask", dest="dask", action="store_false")
    parser.add_argument("--cache", metavar="DIR", default="build/pairs")
    parser.add_argument("--outputs", metavar="DIR", help="where the outputs go for a while")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
