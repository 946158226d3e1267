"""Phases of `ImagePsfMatchTask.subtractMaskedImages` for growing fields."""

from __future__ import annotations

import os
import time
from functools import partial

from psfmatch import MaskedImage
from suite.ceilings import REFERENCE_GFLOPS, ceilingWorks
from suite.context import Context
from suite.fields import KERNEL_FWHM, loadPair, makeTask
from suite.timing import Record, medians, printTable, progress, takeTurns

PHASES = ("stamps", "solve", "convolve", "subtract")
DELTA_SIZES = (512, 1024)  # px: 441 functions, each fitted by itself first
# Seconds at 4096 px that were asked for on the machine of `REFERENCE_GFLOPS`.
GOALS = {1: 1.4, 2: 0.8}


def measure(context: Context) -> list[Record]:
    """Measure AL at all sizes of the context and delta functions at the small ones."""
    cases = [("AL", size) for size in context.sizes]
    cases += [("DF", size) for size in (DELTA_SIZES[:1] if context.isQuick else DELTA_SIZES)]
    return [record for name, size in cases for record in _measureSize(context, name, size)]


def _measureSize(context: Context, kernelName: str, size: int) -> list[Record]:
    progress(f"subtraction, {kernelName}, {size} px")
    pair = loadPair(size, context.cache)
    runs: dict[int, list[Record]] = {threads: [] for threads in context.threads}
    works = {f"total{t}": partial(_subtract, *pair, kernelName, t, runs[t]) for t in context.threads}
    ceilings = {name: work for t in context.threads for name, work in ceilingWorks(context.library, t).items()}
    repeats = context.repeatsFor(size)
    figures = takeTurns({**works, **ceilings}, repeats)
    found = medians(figures)
    records = []
    for threads in context.threads:
        counted = runs[threads][-repeats:]
        record: Record = {"kernel": kernelName, "size": size, "threads": threads}
        record["stars"], record["used"] = counted[-1]["stars"], counted[-1]["used"]
        record |= medians({key: [run[key] for run in counted] for key in ("total", *PHASES, "cpu")})
        record["nsPerPixel"] = record["total"] / size**2 * 1e9
        record["gflops"], record["copyGBs"] = found[f"flops{threads}"], found[f"copy{threads}"]
        if kernelName == "AL" and size == 4096 and threads in GOALS:
            record["goal"] = GOALS[threads] * REFERENCE_GFLOPS[threads] / record["gflops"]
        if threads != context.threads[0]:
            first = [run["total"] for run in runs[context.threads[0]][-repeats:]]
            ratios = [a / run["total"] for a, run in zip(first, counted, strict=True)]
            record["speedUp"] = medians({"ratio": ratios})["ratio"]
        records.append(record)
    return records


def _subtract(template: MaskedImage, science: MaskedImage, kernelName: str, threads: int, runs: list[Record]) -> float:
    task = makeTask(template.shape[0], threads, kernelName=kernelName)
    start, cpu = time.perf_counter(), os.times()
    result = task.subtractMaskedImages(template, science, None, *KERNEL_FWHM)
    seconds, cpuEnd = time.perf_counter() - start, os.times()
    run: Record = {
        phase: task.metadata[f"{phase}EndWallTime"] - task.metadata[f"{phase}StartWallTime"] for phase in PHASES
    }
    run["total"] = seconds
    run["cpu"] = cpuEnd.user + cpuEnd.system - cpu.user - cpu.system
    run["stars"] = len(result.kernelCellSet)
    run["used"] = result.kernelFit.passes[-1].nUsed
    runs.append(run)
    return seconds


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "subtractMaskedImages with variance and mask, seconds (order 2, background order 1; AL: 27 functions)",
        [
            ("kernel", "kernel", "s"),
            ("size", "size", "d"),
            ("threads", "threads", "d"),
            ("stars", "stars", "d"),
            ("used", "used", "d"),
            ("total", "total", ".3f"),
            *((phase, phase, ".3f") for phase in PHASES),
            ("CPU", "cpu", ".2f"),
            ("ns/px", "nsPerPixel", ".1f"),
            ("x faster", "speedUp", ".2f"),
            ("goal", "goal", ".2f"),
        ],
        records,
        [
            "x faster: than with the first number of threads, turn by turn",
            "goal: 1.4 s and 0.8 s on a machine of 127 and 250 GFLOP/s, scaled by the multiply-adds of the same turns",
        ],
    )
