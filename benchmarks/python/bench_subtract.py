"""Time of a whole subtraction, phase by phase: 1024, 2048 and 4096 pixels, one and two threads.

    python benchmarks/python/bench_subtract.py [--sizes 1024 2048 4096] [--threads 1 2] [--repeats 5] [--json FILE]

One process measures everything: runs with different numbers of threads alternate, medians are printed, and the
ratio of one thread to two is formed run by run, so that a machine whose speed drifts does not bend it. Input is a
simulated pair in memory, with variance and mask; kernel order 2, background order 1, 27 basis functions of 21x21.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path

from psfmatch import ImagePsfMatchTask, MaskedImage
from psfmatch.testing import simulatePair

PHASES = ("stamps", "solve", "convolve", "subtract")
KERNEL_FWHM = (2.6, 3.8)  # px, those of the simulation


def makeTask(threads: int) -> ImagePsfMatchTask:
    """Return the task that is measured."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.fitForBackground = True
    return ImagePsfMatchTask(config=config, threads=threads)


def runOnce(template: MaskedImage, science: MaskedImage, threads: int) -> dict[str, float]:
    """Return the seconds of every phase of one subtraction."""
    task = makeTask(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = task.subtractMaskedImages(template, science, None, *KERNEL_FWHM)
    seconds = {"total": time.perf_counter() - start}
    for phase in PHASES:
        seconds[phase] = task.metadata[f"{phase}EndWallTime"] - task.metadata[f"{phase}StartWallTime"]
    seconds["candidates"] = len(result.kernelCellSet)
    seconds["growthMiB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024.0
    return seconds


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write all figures there")
    options = parser.parse_args()

    records = []
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; seconds, medians")
    print(
        f"{'size':>5} {'threads':>7} {'stars':>6} {'total':>8} " + " ".join(f"{p:>9}" for p in PHASES) + f" {'MiB':>7}"
    )
    for size in options.sizes:
        pair = simulatePair(seed=0, size=size)
        images = pair.template.maskedImage, pair.science.maskedImage
        runs: dict[int, list[dict[str, float]]] = {threads: [] for threads in options.threads}
        for _ in range(options.repeats):
            for threads in options.threads:
                runs[threads].append(runOnce(*images, threads))
        for threads, measured in runs.items():
            median = {key: statistics.median(run[key] for run in measured) for key in measured[0]}
            # Only the first run of a process can show its memory: later ones reuse the pages.
            median["growthMiB"] = max(run["growthMiB"] for run in measured)
            row = " ".join(f"{median[p]:9.3f}" for p in PHASES)
            stars = int(median["candidates"])
            print(f"{size:5d} {threads:7d} {stars:6d} {median['total']:8.3f} {row} {median['growthMiB']:7.0f}")
            records.append({"size": size, "threads": threads, **median})
        if len(options.threads) == 2:
            first, second = (runs[threads] for threads in options.threads)
            ratios = [a["total"] / b["total"] for a, b in zip(first, second, strict=True)]
            print(f"{size:5d} ratio of {options.threads[0]} to {options.threads[1]} threads: "
                  f"{statistics.median(ratios):.2f}")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
