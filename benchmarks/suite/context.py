"""What every section of the benchmark gets to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from suite.library import Library
from suite.timing import Record


@dataclass
class Context:
    """Settings of a run, and what its sections have measured so far.

    library : the C++ side
    cache : folder of simulated pairs
    sizes : sides of whole subtractions, px
    threads : numbers of threads
    repeats : turns of every measurement
    isQuick : small fields and few cases, to see that everything runs
    records : by section, what was measured
    """

    library: Library
    cache: Path
    sizes: list[int]
    threads: list[int]
    repeats: int
    isQuick: bool
    records: dict[str, list[Record]] = field(default_factory=dict)

    def repeatsFor(self, size: int) -> int:
        """Fewer turns for fields that take long."""
        return self.repeats if size <= 4096 else min(self.repeats, 2)
