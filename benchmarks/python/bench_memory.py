"""Memory of a whole subtraction beyond what it is given and what it returns, and of each of its phases.

    python benchmarks/python/bench_memory.py [--sizes 4096] [--tile 2048] [--threads 2] [--detection 100] [--json FILE]

Linux only: the kernel's own record of the peak (VmHWM) is set back before every phase. The overhead of the call is its
peak, less what was resident before, less the arrays that it returns; that of a phase is its peak above what it found or
left behind, whichever is more. Input is a simulated pair of the tile's size, laid side by side until the size is
filled; kernel order 2, background order 1, 27 basis functions of 21x21, as in the other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from psfmatch import ImagePsfMatchTask, MaskedImage
from psfmatch.testing import simulatePair

MIB = 1 << 20
KERNEL_FWHM = (2.6, 3.8)  # px, those of the simulation
ENCLOSING = ("call", "subtractMaskedImages", "matchMaskedImages")  # phases that hold all others


def memoryOf(name: str) -> int:
    """Return a line of the process's status, in bytes: VmRSS is what is resident, VmHWM the most since the reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no line {name}")


def resetPeak() -> None:
    """Set VmHWM back to VmRSS."""
    Path("/proc/self/clear_refs").write_text("5")


@dataclass
class Phase:
    """Resident memory of a phase, bytes: before, at the peak, after."""

    name: str
    before: int
    peak: int = 0
    after: int = 0

    @property
    def overhead(self) -> int:
        """What was needed for a while only."""
        return self.peak - max(self.before, self.after)


@dataclass
class Watch:
    """Watches phases, which may lie in one another."""

    finished: list[Phase] = field(default_factory=list)
    running: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Measure the memory of a block."""
        self._note()
        phase = Phase(name, memoryOf("VmRSS"))
        self.running.append(phase)
        try:
            yield phase
        finally:
            self._note()
            phase.after = memoryOf("VmRSS")
            self.finished.append(self.running.pop())

    def _note(self) -> None:
        peak = memoryOf("VmHWM")
        for phase in self.running:
            phase.peak = max(phase.peak, peak)
        resetPeak()


class WatchedTask(ImagePsfMatchTask):
    """The task, whose timed blocks are watched."""

    watch: Watch

    @contextmanager
    def timer(self, name: str, logLevel: int = logging.DEBUG) -> Iterator[None]:
        """Time and watch a block."""
        with super().timer(name, logLevel), self.watch.phase(name):
            yield


def tiled(image: MaskedImage, size: int) -> MaskedImage:
    """Return copies of an image side by side, cut to a square."""
    count = -(-size // image.height)
    planes = (np.tile(plane, (count, count))[:size, :size].copy() for plane in (image.image, image.variance))
    mask = np.tile(np.asarray(image.mask), (count, count))[:size, :size].copy()
    values, variance = planes
    return MaskedImage(values, mask, variance)


def makeTask(threads: int, threshold: float, watch: Watch) -> ImagePsfMatchTask:
    """Return the task that is measured."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.fitForBackground = True
    config.selectDetection.thresholdValue = threshold
    task = WatchedTask(config=config, threads=threads)
    task.watch = watch
    return task


def bytesOf(*images: MaskedImage) -> int:
    """Return the size of all planes."""
    return sum(plane.nbytes for image in images for plane in (image.image, image.variance, image.mask))


def measure(template: MaskedImage, science: MaskedImage, threads: int, threshold: float) -> dict[str, Any]:
    """Run one subtraction; returns its memory in MiB."""
    watch = Watch()
    task = makeTask(threads, threshold, watch)
    with watch.phase("call") as call:
        result = task.subtractMaskedImages(template, science, None, *KERNEL_FWHM)
    returned = bytesOf(result.matchedImage, result.subtractedMaskedImage)
    phases = {phase.name: phase.overhead / MIB for phase in watch.finished if phase.name not in ENCLOSING}
    return {
        "candidates": len(result.kernelCellSet),
        "before": call.before / MIB,
        "peak": call.peak / MIB,
        "returned": returned / MIB,
        "overhead": (call.peak - call.before - returned) / MIB,
        "phases": phases,
    }


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096])
    parser.add_argument("--tile", type=int, default=2048, help="size of the simulated pair")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--detection", type=float, default=100.0, help="threshold, in standard deviations of the sky")
    parser.add_argument("--json", type=Path, help="also write all figures there")
    options = parser.parse_args()

    records = []
    pair = simulatePair(seed=0, size=min(options.tile, *options.sizes))
    print("MiB of resident memory; overhead: peak - before - returned")
    for size in options.sizes:
        images = (tiled(exposure.maskedImage, size) for exposure in (pair.template, pair.science))
        record = {"size": size, "threads": options.threads, **measure(*images, options.threads, options.detection)}
        records.append(record)
        figures = " ".join(f"{name} {record[name]:.0f}" for name in ("before", "peak", "returned", "overhead"))
        print(f"{size:6d} px, {record['candidates']} stars: {figures}")
        print("       by phase: " + ", ".join(f"{name} {mib:.0f}" for name, mib in record["phases"].items()))
    if options.json is not None:
        options.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
