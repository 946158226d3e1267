"""Count the instructions of small numerical cases and compare them with the committed counts.

    python benchmarks/instructions.py PROGRAM [--update]

PROGRAM is `bench_instructions` of a build with PSFMATCH_BENCHMARKS (`build/benchmarks/cpp/bench_instructions`); it runs
under valgrind's callgrind, with baseline and AVX2 code in turn, on one thread. Counts do not depend on the load of the
machine, but on the compiler: they are judged only when the compiler's name and major version are those of
`instructions.json`. Exit status 1 when a case takes more than 3 % more instructions than committed, or is missing from
either side; `--update` writes the counts found.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMITTED = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.03  # between minor versions of compiler and libraries: libm's code differs with the processor
TIME_LIMIT = 300  # s


@dataclass(frozen=True)
class Comparison:
    """One case: instructions committed and found (None: not there), and what is to be said of it."""

    name: str
    committed: int | None
    found: int | None
    verdict: str

    @property
    def isWorse(self) -> bool:
        """Whether the case must not pass."""
        return self.verdict in ("more", "missing", "new")


def compare(
    committed: Mapping[str, int], found: Mapping[str, int], leftOut: frozenset[str] = frozenset()
) -> list[Comparison]:
    """Judge every case of either side; those in `leftOut` cannot run on this processor."""
    rows = []
    for name in [*committed, *(name for name in found if name not in committed)]:
        before, after = committed.get(name), found.get(name)
        if name in leftOut:
            verdict = "left out"
        elif after is None or before is None:
            verdict = "missing" if after is None else "new"
        elif after > before * (1 + TOLERANCE):
            verdict = "more"
        else:
            verdict = "fewer" if after < before * (1 - TOLERANCE) else "same"
        rows.append(Comparison(name, before, after, verdict))
    return rows


def readDumps(folder: Path) -> dict[str, int]:
    """Return the instructions of every case from callgrind's dumps, in the order in which they were written."""
    counts: dict[int, tuple[str, int]] = {}
    for path in folder.glob("counts.*"):
        text = path.read_text(encoding="utf-8", errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^summary: (\d+)", text, re.MULTILINE)
        part = re.search(r"^part: (\d+)", text, re.MULTILINE)
        if name and total and part:
            counts[int(part[1])] = (name[1], int(total[1]))
    return dict(counts[part] for part in sorted(counts))


def countInstructions(program: Path) -> tuple[dict[str, int], frozenset[str], str]:
    """Run the program under callgrind; return its counts, the cases it left out and its compiler."""
    # glibc chooses its own functions by processor: without this, other processors take other ones.
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM"}
    with tempfile.TemporaryDirectory() as folder:
        outFile = f"--callgrind-out-file={folder}/counts"
        command = ["valgrind", "--quiet", "--tool=callgrind", outFile, str(program)]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, timeout=TIME_LIMIT
        ).stdout
        counts = readDumps(Path(folder))
    leftOut = frozenset(re.findall(r"^left out, no such processor: (.*)$", done, re.MULTILINE))
    compiler = re.search(r"^compiler: (.*)$", done, re.MULTILINE)
    if not counts or compiler is None:
        raise RuntimeError(f"{program} wrote no counts; was it compiled where valgrind/callgrind.h could be found?")
    return counts, leftOut, compiler[1]


def printTable(rows: list[Comparison]) -> None:
    """Print one line for every case."""
    print(f"{'case':36} {'committed':>12} {'found':>12} {'change':>8}")
    for row in rows:
        change = f"{row.found / row.committed - 1:+8.1%}" if row.found and row.committed else " " * 8
        before, after = (f"{n:12,}" if n is not None else f"{'-':>12}" for n in (row.committed, row.found))
        print(f"{row.name:36} {before} {after} {change} {'' if row.verdict == 'same' else row.verdict}")


def main(arguments: list[str] | None = None) -> int:
    """Count, compare and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--update", action="store_true", help=f"write the counts to {COMMITTED.name}")
    options = parser.parse_args(arguments)
    found, leftOut, compiler = countInstructions(options.program)
    if options.update:
        if leftOut:
            print(f"this processor cannot run {', '.join(sorted(leftOut))}: update on one that can", file=sys.stderr)
            return 1
        COMMITTED.write_text(json.dumps({"compiler": compiler, "instructions": found}, indent=2) + "\n")
        print(f"wrote {len(found)} counts of {compiler} to {COMMITTED.name}")
        return 0
    record = json.loads(COMMITTED.read_text())
    rows = compare(record["instructions"], found, leftOut)
    printTable(rows)
    if leftOut:
        print(f"NOTE: {len(leftOut)} cases need instructions that this processor lacks, and were not counted")
    if compiler != record["compiler"]:
        print(
            f"WARNING: NOT JUDGED: counted with {compiler}, the committed counts are those of {record['compiler']}; "
            "only a build with that compiler can fail here"
        )
        return 0
    worse = [row for row in rows if row.isWorse]
    if worse:
        print(f"{len(worse)} of {len(rows)} cases take more instructions than committed, or are not the same cases:")
        print(*(f"  {row.name}: {row.verdict}" for row in worse), sep="\n")
    if any(row.verdict == "fewer" for row in rows):
        print("some cases take fewer instructions than committed: keep that by committing the new counts")
    if any(row.verdict not in ("same", "left out") for row in rows):
        print("where the change is meant: python benchmarks/instructions.py PROGRAM --update")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
