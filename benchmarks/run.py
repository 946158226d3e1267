"""Measure psfmatch on this machine: ceilings, phases, convolution, candidates, command, warp, memory, scaling.

    python benchmarks/run.py [--quick] [--sections NAME ...] [--sizes PX ...] [--repeats N] [--json [FILE]]

Prints one table for each section; progress goes to stderr. What is compared is measured in one process and in turns,
and every figure is a median. The C++ side is built in build/benchmarks unless --build names a build of the project
with PSFMATCH_BENCHMARKS; simulated pairs are kept in --cache. 16384 px need 16 GiB. How to read the tables:
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import ModuleType

from suite import automatic, candidates, ceilings, command, convolution, machine, memory, scaling, subtraction, warping
from suite.context import Context
from suite.library import ROOT, Library
from suite.timing import progress

SECTIONS: dict[str, ModuleType] = {
    "ceilings": ceilings,
    "subtraction": subtraction,
    "automatic": automatic,
    "convolution": convolution,
    "candidates": candidates,
    "command": command,
    "warping": warping,
    "memory": memory,
    "scaling": scaling,
}
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small fields and few cases, under a minute")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME",
                        help=f"of {', '.join(SECTIONS)}; default all")  # fmt: skip
    parser.add_argument("--sizes", type=int, nargs="+", metavar="PX", help="default 1024 2048 4096 8192")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--repeats", type=int, metavar="N", help="turns of every measurement, default 5")
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS, metavar="FILE",
                        help="also write all figures; without FILE to benchmarks/results/<machine>.json")  # fmt: skip
    parser.add_argument("--build", type=Path, metavar="DIR", help="build of the project with PSFMATCH_BENCHMARKS")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "pairs", metavar="DIR")
    options = parser.parse_args()

    library = Library(options.build)
    context = Context(
        library=library,
        cache=options.cache,
        sizes=sorted(options.sizes or ([512] if options.quick else [1024, 2048, 4096, 8192])),
        threads=options.threads,
        repeats=options.repeats or (1 if options.quick else 5),
        isQuick=options.quick,
    )
    about = machine.describe(library.compiler)
    print(f"{about['processor']}, {about['cores']} cores, {about['memoryGiB']} GiB, {about['compiler']}")
    print(
        f"Python {about['python']}, numpy {about['numpy']}; medians of {context.repeats}, {time.strftime('%d %B %Y')}"
    )
    for name in (name for name in SECTIONS if name in options.sections):
        context.records[name] = SECTIONS[name].measure(context)
        if context.records[name]:
            SECTIONS[name].show(context.records[name])
    if options.json is not None:
        path = RESULTS / machine.fileName(about) if options.json == RESULTS else options.json
        write(path, {"machine": about, "date": time.strftime("%Y-%m-%d"), **context.records})
        progress(f"wrote {path}")


def write(path: Path, results: dict[str, object]) -> None:
    """Write the figures as JSON, four digits each and one record a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = []
    for name, records in results.items():
        if isinstance(records, list):
            lines = ",\n".join(f"    {json.dumps(rounded(record))}" for record in records)
            sections.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
        else:
            sections.append(f"  {json.dumps(name)}: {json.dumps(records)}")
    path.write_text("{\n" + ",\n".join(sections) + "\n}\n")


def rounded(record: dict[str, object]) -> dict[str, object]:
    """Return the record with four significant digits in every float, without what does not apply and long texts."""
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in record.items()
        if value is not None and key != "output"
    }


if __name__ == "__main__":
    main()
