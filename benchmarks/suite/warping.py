"""Warping: coordinates and resampling of image, variance and mask of a template rotated by 0.1 rad."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from psfmatch import Box, MaskedImage
from psfmatch.config import WarperConfig
from psfmatch.images import PixelTransform
from psfmatch.registration import Warper
from psfmatch.testing import makeTanWcs
from suite.context import Context
from suite.timing import Record, medians, printTable, progress, takeTurns

SIZE = 4096
CASES = (("", "lanczos3"), ("SIP", "lanczos3"), ("TPV", "lanczos3"), ("", "lanczos5"))


def measure(context: Context) -> list[Record]:
    """Measure every distortion and kernel."""
    size = 512 if context.isQuick else min(SIZE, max(context.sizes))
    generator = np.random.default_rng(1)
    image = generator.normal(100.0, 10.0, (size, size)).astype(np.float32)
    source = MaskedImage(image, variance=np.full_like(image, 100.0))
    source.mask[generator.random((size, size)) < 1e-3] |= 1
    centre = (size / 2.0, size / 2.0)
    records = []
    for distortion, kernel in CASES:
        progress(f"warp, {size} px, {distortion or 'TAN'}, {kernel}")
        config = WarperConfig()
        config.update(warpingKernelName=kernel, keepCentroids=True)
        transform = PixelTransform(makeTanWcs(0.2, 0.0, centre), makeTanWcs(0.2, 0.1, centre, distortion))
        runs: dict[int, list[Record]] = {threads: [] for threads in context.threads}
        works = {
            str(threads): functools.partial(_warp, source, transform, Warper(config, threads=threads), runs[threads])
            for threads in context.threads
        }
        takeTurns(works, context.repeats)
        for threads, done in runs.items():
            counted = done[-context.repeats :]
            figures = medians({key: [run[key] for run in counted] for key in counted[0]})
            records.append(
                {"distortion": distortion or "TAN", "kernel": kernel, "size": size, "threads": threads, **figures}
            )
    return records


def _warp(source: MaskedImage, transform: PixelTransform, warper: Warper, runs: list[Record]) -> float:
    lattice: list[float] = []

    def timed(x: np.ndarray, y: np.ndarray) -> Any:
        start = time.perf_counter()
        positions = transform(x, y)
        lattice.append(time.perf_counter() - start)
        return positions

    start, cpu = time.perf_counter(), time.process_time()
    warper.warpMaskedImage(source, timed, Box(0, 0, source.shape[1], source.shape[0]))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    runs.append({"coordinates": sum(lattice), "resample": seconds - sum(lattice), "cpu": cpu - sum(lattice)})
    return seconds


def show(records: list[Record]) -> None:
    """Print the table."""
    printTable(
        "Warping of image, variance and mask, seconds",
        [
            ("WCS", "distortion", "s"),
            ("kernel", "kernel", "s"),
            ("size", "size", "d"),
            ("threads", "threads", "d"),
            ("coordinates", "coordinates", ".3f"),
            ("resample", "resample", ".3f"),
            ("CPU", "cpu", ".3f"),
        ],
        records,
        ["coordinates: the lattice of exact positions through astropy's WCS; CPU: of the resampling"],
    )
