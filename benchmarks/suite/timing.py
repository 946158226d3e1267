"""Measuring in turns, medians, and the tables that are printed."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Column = tuple[str, str, str]  # heading, key of the record, format


def progress(message: str) -> None:
    """Say on stderr what is being done."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def takeTurns(works: Mapping[str, Callable[[], float | None]], repeats: int) -> dict[str, list[float]]:
    """Run pieces of work in turns, so that all of them meet the same load of the machine.

    A work that returns a number has measured itself; of the others the seconds are taken. With more than one
    repeat a first turn warms up and does not count.
    """
    figures: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + (repeats > 1)):
        for name, work in works.items():
            start = time.perf_counter()
            own = work()
            seconds = time.perf_counter() - start
            if repeats == 1 or turn > 0:
                figures[name].append(seconds if own is None else own)
    return figures


def medians(figures: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each list."""
    return {name: statistics.median(values) for name, values in figures.items()}


def exponent(pairs: Sequence[tuple[float, float]]) -> float:
    """Return p of the power law y ~ x^p through positive points (x, y), by least squares in logarithms.

    NaN for fewer than two different x.
    """
    points = [(math.log(x), math.log(y)) for x, y in pairs]
    if len({x for x, _ in points}) < 2:
        return math.nan
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def printTable(title: str, columns: Sequence[Column], records: Sequence[Record], notes: Sequence[str] = ()) -> None:
    """Print records under a title, one line each; what a record lacks is left blank, what all lack is left out."""
    columns = [column for column in columns if any(_cell(record.get(column[1]), column[2]) for record in records)]
    rows = [[heading for heading, _, _ in columns]]
    for record in records:
        rows.append([_cell(record.get(key), form) for _, key, form in columns])
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for note in notes:
        print(f"  {note}")
    sys.stdout.flush()


def _cell(value: Any, form: str) -> str:
    isKnown = value is not None and not (isinstance(value, float) and math.isnan(value))
    return format(value, form) if isKnown else ""


@dataclass(frozen=True)
class ChildRun:
    """What a child process took: wall and processor seconds, peak resident MiB, exit status and output."""

    wall: float
    cpu: float
    peakMiB: float
    status: int
    output: str


def runChild(command: Sequence[str], threads: int | None = None, timeLimit: float = math.inf) -> ChildRun:
    """Run a command and measure it; one that takes longer than `timeLimit` seconds is ended with status -9.

    The peak memory is read from the running process every 5 ms: what the system reports after its end would not be
    less than this process' own.
    """
    environment = dict(os.environ)
    if threads is not None:
        names = ("PSFMATCH_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment |= dict.fromkeys((*names, "NUMBA_NUM_THREADS"), str(threads))
    peak = 0.0
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        while True:
            peak = max(peak, _peakMiB(child.pid))
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            seconds = time.perf_counter() - start
            if pid:
                break
            if seconds > timeLimit:
                child.kill()
            time.sleep(0.005)
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    return ChildRun(seconds, usage.ru_utime + usage.ru_stime, peak, child.returncode, text)


def _peakMiB(pid: int) -> float:
    """Return the peak resident memory of a running process, MiB; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024.0
    return 0.0
