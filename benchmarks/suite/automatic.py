"""`psfmatch.subtract` without a parameter, in memory, by phase: beside Y and beside a fixed configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import psfmatch
from psfmatch import Exposure
from suite.context import Context
from suite.fields import KERNEL_FWHM, loadExposures, makeTask
from suite.timing import Record, medians, printTable, progress, takeTurns
from suite.yardstick import yardstick

FIELDS = ("sparse", "dense", "simple")
SMALLEST, LARGEST = 512, 4096  # px
# Blocks that a run times; one that lies in another counts for itself alone.
PHASES = (
    "examine",
    "detect",
    "align",
    "warp",
    "measurePsf",
    "chooseKernel",
    "stamps",
    "solve",
    "convolve",
    "background",
    "subtract",
    "scaleVariance",
    "prepareCorrection",
    "measure",
    "quality",
)
GOALS = {1024: 2.2, 2048: 4.5, 4096: 9.0}  # Y of processor time on one thread
WALL_GOAL = 0.65  # of the wall time on one thread, on two, from 1024 px


def measure(context: Context) -> list[Record]:
    """Measure all fields at the sizes of the context up to 4096 px, and at 512 px beside others; quickly: the first."""
    sizes = [size for size in context.sizes if size <= LARGEST] or [LARGEST]
    if len(sizes) > 1:
        sizes = sorted({SMALLEST, *sizes})
    fields = FIELDS[:1] if context.isQuick else FIELDS
    return [record for size in sizes for field in fields for record in _measureField(context, field, size)]


def _measureField(context: Context, field: str, size: int) -> list[Record]:
    progress(f"without parameters, {field}, {size} px")
    pair = loadExposures(size, context.cache, field)
    automatic: dict[int, list[Record]] = {threads: [] for threads in context.threads}
    fixed: dict[int, list[Record]] = {threads: [] for threads in context.threads}
    works: dict[str, Callable[[], float]] = {}
    for threads in context.threads:
        works[f"automatic{threads}"] = partial(_timed, partial(_subtract, *pair, threads), automatic[threads])
        works[f"fixed{threads}"] = partial(_timed, partial(_subtractFixed, *pair, threads), fixed[threads])
    yards = takeTurns({**works, **yardstick()}, context.repeats).get("Y", [])
    records = []
    for threads in context.threads:
        counted = automatic[threads][-context.repeats :]
        record: Record = {"field": field, "size": size, "threads": threads, "grade": counted[-1]["grade"]}
        record |= medians({key: [run.get(key, 0.0) for run in counted] for key in ("wall", "cpu", *PHASES, "rest")})
        record["busy"] = record["cpu"] / record["wall"]
        if yards:
            record["Y"] = medians({"Y": yards})["Y"]
            record["ofY"] = _ratio([run["cpu"] for run in counted], yards)
            record["goal"] = GOALS.get(size) if threads == 1 else None
        others = [run["cpu"] for run in fixed[threads][-context.repeats :]]
        record["ofFixed"] = _ratio([run["cpu"] for run in counted], others)
        if threads != context.threads[0]:
            first = [run["wall"] for run in automatic[context.threads[0]][-context.repeats :]]
            record["ofFirst"] = _ratio([run["wall"] for run in counted], first)
        records.append(record)
    return records


def _ratio(figures: list[float], others: list[float]) -> float:
    """Return the median of the ratios, turn by turn."""
    return medians({"ratio": [a / b for a, b in zip(figures, others, strict=True)]})["ratio"]


def _timed(work: Callable[[], Record], runs: list[Record]) -> float:
    start, cpu = time.perf_counter(), time.process_time()
    run = work()
    run["wall"], run["cpu"] = time.perf_counter() - start, time.process_time() - cpu
    run["rest"] = run["cpu"] - sum(run.get(phase, 0.0) for phase in PHASES)
    runs.append(run)
    return run["wall"]


def _subtract(template: Exposure, science: Exposure, threads: int) -> Record:
    result = psfmatch.subtract(template, science, threads=threads)
    return {"grade": result.grade, **phaseTimes(result.metadata)}


def _subtractFixed(template: Exposure, science: Exposure, threads: int) -> Record:
    task = makeTask(template.maskedImage.shape[0], threads)
    task.subtractMaskedImages(template.maskedImage, science.maskedImage, None, *KERNEL_FWHM)
    return {}


def phaseTimes(metadata: Mapping[str, Any], clock: str = "CpuTime") -> dict[str, float]:
    """Return the seconds of each phase, without those of phases that lie within it; 0 for one that did not run."""
    spans = []
    for phase in PHASES:
        starts, ends = (metadata.get(f"{phase}{edge}{clock}", []) for edge in ("Start", "End"))
        starts, ends = (edge if isinstance(edge, list) else [edge] for edge in (starts, ends))
        spans += [(phase, start, end) for start, end in zip(starts, ends, strict=True)]
    times = dict.fromkeys(PHASES, 0.0)
    for phase, start, end in spans:
        times[phase] += end - start
        around = [span for span in spans if span[1] <= start and end <= span[2] and span != (phase, start, end)]
        if around:  # the smallest of them had counted this one
            times[min(around, key=lambda span: span[2] - span[1])[0]] -= end - start
    return times


def show(records: list[Record]) -> None:
    """Print both tables."""
    case = [("field", "field", "s"), ("size", "size", "d"), ("threads", "threads", "d")]
    printTable(
        "psfmatch.subtract without a parameter, in memory, seconds",
        [
            *case,
            ("grade", "grade", "s"),
            ("wall", "wall", ".3f"),
            ("CPU", "cpu", ".3f"),
            ("CPU/wall", "busy", ".2f"),
            ("Y", "Y", ".3f"),
            ("CPU/Y", "ofY", ".2f"),
            ("goal", "goal", ".1f"),
            ("x fixed", "ofFixed", ".2f"),
            ("wall/first", "ofFirst", ".2f"),
        ],
        records,
        [
            "Y: scipy.signal.oaconvolve of 4096x4096 float32 by 21x21; all ratios turn by turn",
            "x fixed: CPU over that of ImagePsfMatchTask.subtractMaskedImages on the same pair",
            f"goals: CPU/Y on one thread; wall on two threads {WALL_GOAL} of one from 1024 px; CPU/wall 1.05 and 2.1",
        ],
    )
    milliseconds = [
        {key: 1e3 * value if key in PHASES or key == "rest" else value for key, value in record.items()}
        for record in records
    ]
    printTable(
        "The same by phase, milliseconds of processor time",
        [*case, *((phase, phase, ".0f") for phase in (*PHASES, "rest"))],
        milliseconds,
    )
