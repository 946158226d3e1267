"""Thousands of candidates, fitted and assessed by the visitors: 43x43 pixels, 27 functions of 21x21, background."""

from __future__ import annotations

import subprocess
from functools import partial

import numpy as np

from psfmatch import Box, MaskedImage, PsfMatchConfigAL
from psfmatch.fit import (
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    BuildSpatialKernelVisitor,
    KernelCandidate,
)
from psfmatch.kernels import makeKernelBasisList
from suite.ceilings import REFERENCE_GFLOPS, ceilingWorks
from suite.context import Context
from suite.timing import Record, medians, printTable, progress, takeTurns

STAMP_SIDE = 43
COUNT = 3000
GOAL = 0.25  # s on two threads of the machine of `REFERENCE_GFLOPS`
PROGRAMS = ("bench_candidates", "bench_fits")


def makeCandidates(count: int, config: PsfMatchConfigAL) -> tuple[list[KernelCandidate], Box]:
    """Return stars of Gaussian PSFs (sigma 1.1 and 1.6 px) off the middle of their stamps, and their field."""
    generator = np.random.default_rng(1)
    perRow = int(np.ceil(np.sqrt(count)))
    middle = np.arange(STAMP_SIDE) - STAMP_SIDE // 2
    candidates = []
    for index in range(count):
        row, column = divmod(index, perRow)
        xy0 = (column * STAMP_SIDE, row * STAMP_SIDE)
        dx, dy = generator.uniform(-0.5, 0.5, 2)
        images = []
        for sigma in (1.1, 1.6):
            profile = np.exp(-((middle - dx) ** 2 + (middle[:, None] - dy) ** 2) / (2 * sigma**2))
            noise = generator.normal(0.0, 10.0, profile.shape)
            star = (5e4 / (2 * np.pi * sigma**2) * profile + noise).astype(np.float32)
            images.append(MaskedImage(star, variance=np.full_like(star, 100.0), xy0=xy0))
        x, y = (corner + STAMP_SIDE // 2 for corner in xy0)
        candidates.append(KernelCandidate(x, y, *images, config, rating=1.0))
    return candidates, Box(0, 0, perRow * STAMP_SIDE, perRow * STAMP_SIDE)


def measure(context: Context) -> list[Record]:
    """Measure fits and assessments of all candidates, for each number of threads."""
    count = 100 if context.isQuick else COUNT
    progress(f"{count} candidates")
    config = PsfMatchConfigAL()
    config.update(fitForBackground=True, scaleByFwhm=False, kernelSize=21)
    basis = makeKernelBasisList(config)
    candidates, box = makeCandidates(count, config)
    spatial = BuildSpatialKernelVisitor(basis, box, config)
    BuildSingleKernelVisitor(basis, config).processCandidates(candidates)
    spatial.processCandidates(candidates)
    spatial.solveLinearEquation()
    pair = spatial.getSolutionPair()
    works = {}
    for threads in context.threads:
        fit = BuildSingleKernelVisitor(basis, config, skipBuilt=False, threads=threads)
        assess = AssessSpatialKernelVisitor(*pair, config, threads=threads)
        works[f"fit{threads}"] = partial(fit.processCandidates, candidates)
        works[f"assess{threads}"] = partial(assess.processCandidates, candidates)
        works |= ceilingWorks(context.library, threads)
    figures = takeTurns(works, context.repeats)
    found = medians(figures)
    records = []
    for threads in context.threads:
        both = [a + b for a, b in zip(figures[f"fit{threads}"], figures[f"assess{threads}"], strict=True)]
        record: Record = {
            "count": count,
            "threads": threads,
            "fit": found[f"fit{threads}"],
            "assess": found[f"assess{threads}"],
            "both": medians({"both": both})["both"],
            "peakGflops": found[f"flops{threads}"],
        }
        record["microseconds"] = record["both"] / count * 1e6
        if threads == 2 and count == COUNT:
            record["goal"] = GOAL * REFERENCE_GFLOPS[2] / record["peakGflops"]
        records.append(record)
    records += _programs(context, count)
    return records


def _programs(context: Context, count: int) -> list[Record]:
    """Run the C++ programs of the fits that the build holds; their tables are passed on as they are."""
    records: list[Record] = []
    for name in PROGRAMS:
        program = context.library.folder / "benchmarks" / "cpp" / name
        if program.exists():
            progress(name)
            done = subprocess.run([program, str(count)], capture_output=True, text=True, check=True)
            records.append({"program": name, "output": done.stdout})
    return records


def show(records: list[Record]) -> None:
    """Print the table, and below it what the C++ programs print."""
    printTable(
        "Candidates of 43x43 px, 27 functions, through the visitors: fitted and assessed, seconds",
        [
            ("candidates", "count", "d"),
            ("threads", "threads", "d"),
            ("fit", "fit", ".3f"),
            ("assess", "assess", ".3f"),
            ("both", "both", ".3f"),
            ("us each", "microseconds", ".1f"),
            ("goal", "goal", ".2f"),
        ],
        [record for record in records if "program" not in record],
        ["goal: 0.25 s on a machine of 250 GFLOP/s, scaled by the multiply-adds measured in the turns"],
    )
    for record in records:
        if "program" in record:
            print(f"  {record['program']}, the library without Python:")
            print(*(f"    {line}" for line in record["output"].splitlines()), sep="\n")
