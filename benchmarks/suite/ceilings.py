"""What the machine allows: multiply-adds in registers and a copy, measured."""

from __future__ import annotations

from functools import partial

from suite.context import Context
from suite.library import INSTRUCTION_SETS, Library
from suite.timing import Record, medians, printTable, takeTurns

# The machine on which the goals were set (one core, two cores).
REFERENCE_GFLOPS = {1: 127.0, 2: 250.0}
REFERENCE_GBS = {1: 27.0, 2: 50.0}


def ceilingWorks(library: Library, threads: int) -> dict[str, partial[float]]:
    """Return the two measurements for a number of threads, to be taken in turns with others."""
    best = library.bestSet()
    return {
        f"flops{threads}": partial(library.multiplyAddRate, best, threads),
        f"copy{threads}": partial(library.copyRate, threads),
    }


def measure(context: Context) -> list[Record]:
    """Measure the ceilings of every instruction set and number of threads."""
    library = context.library
    works = {}
    for threads in context.threads:
        for name in INSTRUCTION_SETS:
            if library.isSupported(name):
                works[f"{name}{threads}"] = partial(library.multiplyAddRate, name, threads)
        works[f"copy{threads}"] = partial(library.copyRate, threads)
    found = medians(takeTurns(works, context.repeats))
    records = []
    for threads in context.threads:
        record: Record = {"threads": threads, "copyGBs": found[f"copy{threads}"]}
        for name in INSTRUCTION_SETS:
            record[f"{name}Gflops"] = found.get(f"{name}{threads}")
        record["best"] = library.bestSet()
        records.append(record)
    return records


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "Ceilings of this machine",
        [
            ("threads", "threads", "d"),
            ("baseline GFLOP/s", "baselineGflops", ".1f"),
            ("AVX2+FMA GFLOP/s", "avx2Gflops", ".1f"),
            ("copy GB/s", "copyGBs", ".1f"),
        ],
        records,
        ["single precision; copy: read plus written"],
    )
