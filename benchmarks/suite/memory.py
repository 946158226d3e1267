"""Memory of a subtraction, measured by a script of its own in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from suite.context import Context
from suite.timing import Record, progress

SCRIPT = Path(__file__).resolve().parents[1] / "python" / "bench_memory.py"


def measure(context: Context) -> list[Record]:
    """Run the script; its table is passed on as it is."""
    del context
    if not SCRIPT.exists():
        return []
    progress("memory")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    return [{"output": done.stdout}]


def show(records: list[Record]) -> None:
    """Print what the script prints."""
    for record in records:
        print(f"\nMemory\n{record['output']}")
