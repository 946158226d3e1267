"""Time of fitting candidates and judging them under a spatial model, through the visitors of the solve loop.

    python benchmarks/python/bench_candidates.py [--candidates 3000] [--repeats 5]

Candidates are stars in stamps of 43x43 pixels, views into one pair of images, fitted with the 27 functions of 21x21
pixels of the usual basis and a background. Prints medians for one and two threads, per step and together; on two
threads 3000 candidates are to take at most 0.25 s.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from psfmatch import Box, ImagePsfMatchTask, MaskedImage
from psfmatch.fit import (
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    BuildSpatialKernelVisitor,
    KernelCandidate,
)
from psfmatch.kernels import makeKernelBasisList

SIDE = 43
SIGMAS = (1.1, 1.6)
VARIANCE = 100.0


def makeImages(count: int, rng: np.random.Generator) -> tuple[MaskedImage, MaskedImage, NDArray[np.float64]]:
    """Return template and science image of `count` stars, and the stars' positions (N, 2)."""
    nx = int(np.ceil(np.sqrt(count)))
    ny = -(-count // nx)
    index = np.arange(count)
    centres = np.stack([index % nx * SIDE + SIDE // 2, index // nx * SIDE + SIDE // 2], axis=1)
    positions = centres + rng.uniform(-0.5, 0.5, centres.shape)
    planes = []
    pixels = np.arange(SIDE) - SIDE // 2
    for sigma in SIGMAS:
        image = rng.normal(0.0, np.sqrt(VARIANCE), (ny * SIDE, nx * SIDE))
        for (x, y), (xStar, yStar) in zip(centres, positions, strict=True):
            alongX = np.exp(-0.5 * ((pixels + x - xStar) / sigma) ** 2)
            alongY = np.exp(-0.5 * ((pixels + y - yStar) / sigma) ** 2)
            rows = slice(y - SIDE // 2, y + SIDE // 2 + 1)
            columns = slice(x - SIDE // 2, x + SIDE // 2 + 1)
            image[rows, columns] += 5e4 / (2.0 * np.pi * sigma**2) * np.outer(alongY, alongX)
        planes.append(MaskedImage(image.astype(np.float32), variance=np.full_like(image, VARIANCE)))
    return planes[0], planes[1], positions


def measure(count: int, repeats: int) -> dict[int, list[tuple[float, float]]]:
    """Return the seconds of fit and assessment of every repeat, by number of threads."""
    template, science, positions = makeImages(count, np.random.default_rng(1))
    config = ImagePsfMatchTask.ConfigClass().kernel.active
    config.fitForBackground = True
    config.kernelSize = 21
    config.scaleByFwhm = False
    config.singleKernelClipping = False
    config.spatialKernelClipping = False
    basis = makeKernelBasisList(config)
    seconds: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    # Both numbers of threads in turn: what else the machine does meets them alike.
    for _ in range(repeats):
        for threads in seconds:
            candidates = []
            for x, y in positions:
                box = Box(int(np.floor(x + 0.5)) - SIDE // 2, int(np.floor(y + 0.5)) - SIDE // 2, SIDE, SIDE)
                candidates.append(KernelCandidate(x, y, template.subset(box), science.subset(box), config, rating=1.0))
            start = time.perf_counter()
            single = BuildSingleKernelVisitor(basis, config, threads=threads)
            single.processCandidates(candidates)
            fitted = time.perf_counter()
            spatial = BuildSpatialKernelVisitor(basis, science.getBBox(), config, threads=threads)
            spatial.processCandidates(candidates)
            spatial.solveLinearEquation()
            solved = time.perf_counter()
            assess = AssessSpatialKernelVisitor(*spatial.getSolutionPair(), config, threads=threads)
            assess.processCandidates(candidates)
            assert single.nProcessed == assess.nGood == count
            seconds[threads].append((fitted - start, time.perf_counter() - solved))
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    seconds = measure(arguments.candidates, arguments.repeats)
    print(f"{arguments.candidates} candidates of {SIDE}x{SIDE} pixels, 27 functions of 21x21 with background; medians")
    total = {}
    for threads, pairs in seconds.items():
        fit, assess = (float(np.median(values)) for values in zip(*pairs, strict=True))
        total[threads] = float(np.median([sum(pair) for pair in pairs]))
        print(f"threads {threads}: fit {fit:.3f} s, assess {assess:.3f} s, both {total[threads]:.3f} s")
    print(f"1 to 2 threads: {total[1] / total[2]:.2f}")


if __name__ == "__main__":
    main()
