"""Time of a warp: coordinates and resampling of image, variance and mask, one and two threads.

    python benchmarks/python/bench_warp.py [--size 4096] [--threads 1 2] [--repeats 5]

The template is rotated by 0.1 rad; medians. `coordinates` is the lattice of positions through astropy's WCS, `resample`
the rest; `CPU` is processor time of the resampling, which another load on the machine does not stretch as much.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time

import numpy as np

from psfmatch import Box, MaskedImage, PixelTransform, Warper, WarperConfig
from psfmatch.testing import makeTanWcs


def timed(transform: PixelTransform, seconds: list[float], x: np.ndarray, y: np.ndarray) -> tuple:
    """Return positions, and append the time they took."""
    start = time.perf_counter()
    positions = transform(x, y)
    seconds.append(time.perf_counter() - start)
    return positions


def main() -> None:
    """Print one line for each distortion, kernel and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    size = options.size
    generator = np.random.default_rng(1)
    image = generator.normal(100.0, 10.0, (size, size)).astype(np.float32)
    source = MaskedImage(image, variance=np.full_like(image, 100.0))
    source.mask[generator.random((size, size)) < 1e-3] |= 1
    centre = (size / 2.0, size / 2.0)
    print(f"{size}x{size}, medians of {options.repeats}, seconds")
    print(f"{'WCS':4} {'kernel':9} {'threads':>7} {'coordinates':>11} {'resample':>9} {'CPU':>7}")
    for distortion, kernel in (("", "lanczos3"), ("SIP", "lanczos3"), ("TPV", "lanczos3"), ("", "lanczos5")):
        config = WarperConfig()
        config.update(warpingKernelName=kernel, keepCentroids=True)
        transform = PixelTransform(makeTanWcs(0.2, 0.0, centre), makeTanWcs(0.2, 0.1, centre, distortion))
        for threads in options.threads:
            warper = Warper(config, threads=threads)
            times: dict[str, list[float]] = {"coordinates": [], "resample": [], "CPU": []}
            for _ in range(options.repeats):
                lattice: list[float] = []
                start, cpu = time.perf_counter(), time.process_time()
                warper.warpMaskedImage(source, functools.partial(timed, transform, lattice), Box(0, 0, size, size))
                times["coordinates"].append(sum(lattice))
                times["resample"].append(time.perf_counter() - start - sum(lattice))
                times["CPU"].append(time.process_time() - cpu - sum(lattice))
            a, b, c = (statistics.median(v) for v in times.values())
            print(f"{distortion or 'TAN':4} {kernel:9} {threads:7d} {a:11.3f} {b:9.3f} {c:7.3f}")


if __name__ == "__main__":
    main()
