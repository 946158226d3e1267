"""Memory of a subtraction, measured by a script of its own, which needs a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from suite.context import Context
from suite.timing import Record, printTable, progress

SCRIPT = Path(__file__).resolve().parents[1] / "python" / "bench_memory.py"
SIZES = (4096, 16384)  # px: of the goal, and what must run in this machine's memory
GOAL = 100  # MiB above what is given and returned, 4096 px


def measure(context: Context) -> list[Record]:
    """Run the script for those of `SIZES` that are within the sizes of the context, or for the largest of these."""
    if not SCRIPT.exists():
        return []
    sizes = [size for size in SIZES if size <= max(context.sizes)] or [max(context.sizes)]
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            progress(f"memory, {size} px")
            path = Path(folder) / "memory.json"
            options = ["--sizes", str(size), "--threads", str(context.threads[-1]), "--json", str(path)]
            subprocess.run([sys.executable, SCRIPT, *options], check=True, stdout=subprocess.DEVNULL)
            records += [record | record.pop("phases") for record in json.loads(path.read_text())]
    return records


def show(records: list[Record]) -> None:
    """Print the table; phases are every other figure of the records."""
    columns = [
        ("size", "size", "d"),
        ("threads", "threads", "d"),
        ("stars", "candidates", "d"),
        *((name, name, ".0f") for name in ("before", "peak", "returned", "overhead")),
    ]
    known = {key for _, key, _ in columns}
    phases = list(dict.fromkeys(key for record in records for key in record if key not in known))
    printTable(
        "Resident memory of subtractMaskedImages, MiB",
        [*columns, *((name, name, ".0f") for name in phases)],
        records,
        [f"overhead: peak - before - returned, at most {GOAL} MiB are asked for at 4096 px; then that of each phase"],
    )
