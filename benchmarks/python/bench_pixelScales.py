"""Templates whose pixels are larger or smaller than those of the science image: kernel sum, noise, grade.

    python benchmarks/python/bench_pixelScales.py [--seeds 10] [--size 400] [--threads 1]

Stars on the sky, seen with two pixel grids that lie any way upon each other: 0.2 arcsec in the science image, 0.5 to
2.5 times as much in the template. Noise is that of a pixel of the template of 0.4 arcsec, in the units of the science
image's 20 counts, the same per square arcsec for all scales. Printed for each: how many were fitted to stars or tiles,
the mean departure of the kernel sum from the truth with its scatter, %, grades, and the robust scatter of the
difference in units of its noise.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter

import numpy as np

from psfmatch import PsfMatchError, subtract
from psfmatch.images import Box
from psfmatch.testing import makeTanWcs, renderStars

SCALE = 0.2
CASES = (
    (2.0, 40.0, (0.9, 1.1), "auto"),
    (2.0, 80.0, (0.9, 1.1), "auto"),
    (2.0, 160.0, (0.7, 0.9), "auto"),
    (2.0, 300.0, (0.9, 1.1), "auto"),
    (2.0, 160.0, (1.1, 0.9), "auto"),
    (2.0, 80.0, (0.9, 1.1), "convolveScience"),
    (1.5, 80.0, (0.9, 1.1), "auto"),
    (2.5, 80.0, (1.1, 1.3), "auto"),
    (1.0, 80.0, (0.9, 1.1), "auto"),
    (0.5, 80.0, (0.9, 1.1), "auto"),
)
"""Side of the template's pixels in those of the science image, noise, seeing of both (arcsec), what is convolved."""


def pairOf(seed, ratio, noise, seeing, size):
    """Return a template and a science image of 300 stars whose kernel sum is 1."""
    generator = np.random.default_rng(seed)
    wcs = makeTanWcs(SCALE, crpix=(size / 2, size / 2))
    side = int(size / ratio) + 40
    offset = generator.uniform(-0.5, 0.5, 2)
    coarse = makeTanWcs(SCALE * ratio, crpix=(side / 2 + offset[0], side / 2 + offset[1]))
    x, y = generator.uniform(-20, size + 20, (2, 300))
    flux = 300.0 * (1.0 - generator.random(300) * (1.0 - (1e5 / 300.0) ** -0.5)) ** -2
    ra, dec = wcs.all_pix2world(x, y, 0)
    science = renderStars(wcs, Box(0, 0, size, size), ra, dec, flux, seeing[1] / SCALE, 20.0, generator)
    template = renderStars(
        coarse, Box(0, 0, side, side), ra, dec, flux, seeing[0] / (SCALE * ratio), noise * ratio / 2.0, generator
    )
    return template, science


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print("| pixels, noise, seeing, convolved | fitted | kernel sum - 1, % | scatter, % | grades | robust noise |")
    print("|---|---|---|---|---|---|")
    for ratio, noise, seeing, mode in CASES:
        sums, marks, scatter, nFitted = [], [], [], 0
        for seed in range(options.seeds):
            template, science = pairOf(seed, ratio, noise, seeing, options.size)
            try:
                result = subtract(template, science, mode=mode, threads=options.threads)
            except PsfMatchError:
                marks.append("refused")
                continue
            nFitted += not result.steps
            total = result.kernel.kernelSum(*science.getBBox().centre)
            sums.append(100.0 * ((total if result.convolved == "template" else 1.0 / total) - 1.0))
            marks.append(result.grade)
            scatter.append(result.noise.robustStdev)
        counts = " ".join(f"{count}{mark}" for mark, count in sorted(Counter(marks).items()))
        print(
            f"| {ratio:g} x, {noise:g}, {seeing[0]:g} to {seeing[1]:g}, {mode} | {nFitted} of {options.seeds} "
            f"| {np.mean(sums):+.1f} | {np.std(sums):.1f} | {counts} | {np.mean(scatter):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
