"""How many cut-outs of alerts a process subtracts in a second, arrays in and arrays out, on one worker and on two.

    python benchmarks/python/bench_stamps.py [--stamps 400] [--side 63] [--workers 1,2]

Stamps of a host galaxy, one to five stars and a transient in the middle, no planes and no coordinates, each unlike the
others. Workers are threads of one process, with one thread each for the computation. Printed: stamps per second of wall
time, processor time for one, grades, and how many came out as an error.
"""

from __future__ import annotations

import argparse
import collections
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from psfmatch import PsfMatchError, subtract


def drawStamp(seed, side):
    """Return template and science image of an alert."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    middle = side // 2

    def star(x0, y0, flux, sigma):
        return flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / sigma**2)

    sigmas = generator.uniform(0.9, 1.2), generator.uniform(1.1, 1.7)
    places = [(*generator.uniform(6, side - 6, 2), 10 ** generator.uniform(2.8, 4.2)) for _ in range(seed % 5 + 1)]
    host = middle + generator.normal(size=2), 10 ** generator.uniform(2.5, 4.0)
    images = []
    for sigma, noise, transient in zip(sigmas, (0.5, 1.0), (0.0, 10 ** generator.uniform(1.5, 3.0)), strict=True):
        light = star(middle, middle, transient, sigma) + sum(star(*place, sigma) for place in places)
        light += sum(star(*host[0], share * host[1], np.hypot(sigma, size)) for share, size in ((0.4, 0.8), (0.6, 2.5)))
        images.append((light + 100.0 + generator.normal(0.0, noise, light.shape)).astype(np.float32))
    return images


def graded(pair):
    """Return the grade of a pair, or the name of its error."""
    try:
        return subtract(*pair, threads=1).grade
    except PsfMatchError as error:
        return type(error).__name__


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stamps", type=int, default=400)
    parser.add_argument("--side", type=int, default=63)
    parser.add_argument("--workers", default="1,2")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    pairs = [drawStamp(seed, options.side) for seed in range(options.stamps)]
    graded(pairs[0])
    print("| workers | stamps | per second | CPU ms for one | grades |")
    print("|---|---|---|---|---|")
    for workers in (int(number) for number in options.workers.split(",")):
        start, used = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(workers) as pool:
            grades = collections.Counter(pool.map(graded, pairs))
        seconds, used = time.perf_counter() - start, time.process_time() - used
        told = ", ".join(f"{count} {grade}" for grade, count in sorted(grades.items()))
        print(
            f"| {workers} | {len(pairs)} | {len(pairs) / seconds:.1f} | {1e3 * used / len(pairs):.1f} | {told} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
