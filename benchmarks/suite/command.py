"""The command from files to files, and what it takes to start."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from suite.context import Context
from suite.fields import pairPaths
from suite.timing import ChildRun, Record, medians, printTable, progress, runChild, takeTurns
from suite.yardstick import yardstick

SIZES = (1024, 2048, 4096)  # px
STARTS = {
    "python alone": ("-c", "pass"),
    "import psfmatch": ("-c", "import psfmatch"),
    "psfmatch --version": ("-m", "psfmatch", "--version"),
}
GOALS = {1024: 3.0, 2048: 6.0, 4096: 10.0}  # Y of processor time on one thread
INFO_GOAL = 1.4  # Y


def measure(context: Context) -> list[Record]:
    """Measure the start-up, `psfmatch info`, and `psfmatch subtract` of planes and masks from and to FITS."""
    progress("the command: start-up")
    works: dict[str, tuple[str, ...]] = dict(STARTS)
    sizes = [size for size in SIZES if size <= max(context.sizes)] or [max(context.sizes)]
    works[f"psfmatch info, {sizes[0]} px"] = ("-m", "psfmatch", "info", str(pairPaths(sizes[0], context.cache)[0]))
    records = _measure(context, {name: (arguments, context.threads[-1]) for name, arguments in works.items()}, None)
    records[-1]["goal"] = INFO_GOAL
    for size in sizes:
        progress(f"the command, {size} px")
        template, science = pairPaths(size, context.cache)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "difference.fits"
            arguments = ("-m", "psfmatch", "subtract", str(template), str(science), "-o", str(out), "--overwrite")
            names = {t: f"psfmatch subtract, {size} px, {t} thread{'s' * (t > 1)}" for t in context.threads}
            found = _measure(context, {name: (arguments, t) for t, name in names.items()}, out)
        for threads, record in zip(names, found, strict=True):
            record["goal"] = GOALS.get(size) if threads == 1 else None
        records += found
    return records


def _measure(context: Context, commands: dict[str, tuple[tuple[str, ...], int]], out: Path | None) -> list[Record]:
    """Run commands, each with its number of threads, in turns with Y."""
    runs: dict[str, list[ChildRun]] = {name: [] for name in commands}
    works = {name: partial(_run, *command, out, runs[name]) for name, command in commands.items()}
    yards = takeTurns({**works, **yardstick()}, context.repeats).get("Y", [])
    records = []
    for name, done in runs.items():
        counted = done[-context.repeats :]
        figures = {key: [getattr(run, key) for run in counted] for key in ("wall", "cpu", "peakMiB")}
        if yards:
            figures["ofY"] = [run.cpu / yard for run, yard in zip(counted, yards, strict=True)]
        records.append({"what": name, **medians(figures)})
    return records


def _run(arguments: tuple[str, ...], threads: int, out: Path | None, runs: list[ChildRun]) -> float:
    if out is not None:
        out.unlink(missing_ok=True)  # replacing a file costs a flush of the disk
    done = runChild([sys.executable, *arguments], threads)
    if done.status != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {done.status}:\n{done.output}")
    runs.append(done)
    return done.wall


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "The command, start-up included, seconds",
        [
            ("", "what", "s"),
            ("wall", "wall", ".2f"),
            ("CPU", "cpu", ".2f"),
            ("CPU/Y", "ofY", ".2f"),
            ("goal", "goal", ".1f"),
            ("peak MiB", "peakMiB", ".0f"),
        ],
        records,
        [
            "Y: scipy.signal.oaconvolve of 4096x4096 float32 by 21x21; the goal is for CPU/Y",
            "wall goals: 3 s for subtract at 4096 px, 0.6 s for the import, 0.3 s for --version; files lie in memory",
        ],
    )
