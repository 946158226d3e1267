"""The command from files to files, and what it takes to start."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from suite.context import Context
from suite.fields import pairPaths
from suite.timing import ChildRun, Record, medians, printTable, progress, runChild, takeTurns

SIZE = 4096
STARTS = {
    "python alone": ("-c", "pass"),
    "import psfmatch": ("-c", "import psfmatch"),
    "psfmatch --version": ("-m", "psfmatch", "--version"),
}


def measure(context: Context) -> list[Record]:
    """Measure the start-up and `psfmatch subtract`, both planes and masks read from and written to FITS."""
    size = 512 if context.isQuick else min(SIZE, max(context.sizes))
    template, science = pairPaths(size, context.cache)
    progress(f"the command, {size} px")
    runs: dict[str, list[ChildRun]] = {}
    with tempfile.TemporaryDirectory() as folder:
        works = {}
        for name, arguments in STARTS.items():
            runs[name] = []
            works[name] = partial(_run, arguments, context.threads[-1], runs[name])
        for threads in context.threads:
            name = f"psfmatch subtract, {size} px, {threads} thread{'s' * (threads > 1)}"
            out = Path(folder) / "difference.fits"
            runs[name] = []
            arguments = ("-m", "psfmatch", "subtract", str(template), str(science), "-o", str(out))
            works[name] = partial(_subtract, out, arguments, threads, runs[name])
        takeTurns(works, context.repeats)
    return [_record(name, done[-context.repeats :]) for name, done in runs.items()]


def _subtract(out: Path, arguments: tuple[str, ...], threads: int, runs: list[ChildRun]) -> float:
    # Replacing a file costs a flush of the disk.
    out.unlink(missing_ok=True)
    return _run(arguments, threads, runs)


def _run(arguments: tuple[str, ...], threads: int, runs: list[ChildRun]) -> float:
    done = runChild([sys.executable, *arguments], threads)
    if done.status != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {done.status}:\n{done.output}")
    runs.append(done)
    return done.wall


def _record(name: str, runs: list[ChildRun]) -> Record:
    figures = {key: [getattr(run, key) for run in runs] for key in ("wall", "cpu", "peakMiB")}
    return {"what": name, **medians(figures)}


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "The command, start-up included, seconds",
        [("", "what", "s"), ("wall", "wall", ".2f"), ("CPU", "cpu", ".2f"), ("peak MiB", "peakMiB", ".0f")],
        records,
        ["goals: 3 s for subtract at 4096 px, 0.6 s for the import, 0.3 s for --version; files are in the page cache"],
    )
