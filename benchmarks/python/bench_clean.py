"""What all finders together cost a field with nothing wrong: good pixels lost, and time.

    python benchmarks/python/bench_clean.py [--seeds 10] [--size 384]

Pairs without mask or coordinates, drawn with nine points in every pixel: the science image has 1.25 times the counts, a
sixth of the gain, and a broader PSF. Each is subtracted with and without the finders of defects, saturation, streaks
and traces, in turns. Printed are pixels of both images and of the difference that have BAD, CR, NO_DATA, SAT or STREAK
with them alone, in ten thousandths of all, the ratio of processor times, and the grades with and without.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from psfmatch import Exposure, MaskedImage, PsfMatchError, frontDoorConfig, subtract

PLANES = ("BAD", "CR", "NO_DATA", "SAT", "STREAK")
FINDERS = ("doFindDefects", "doFindSaturation", "doFindStreaks", "doFindTraces")
ANGLE = np.radians(37.0)
"""Of the PSF's long axis."""


@dataclass(frozen=True)
class Kind:
    """fwhm : template, science, px; beta : of the Moffat profile; axisRatio : of the PSF; stars : in 384x384 pixels;
    smoothing : sigma (px) of what correlates the noise; integers : whole counts; planes : variances are given.
    """

    name: str
    fwhm: tuple[float, float] = (3.0, 4.0)
    beta: float = 3.0
    axisRatio: float = 1.0
    stars: int = 150
    smoothing: float = 0.0
    integers: bool = False
    planes: bool = False


WIDTHS = ((1.5, 1.9), (2.0, 2.6), (3.0, 4.0), (5.0, 6.5), (8.0, 10.0))
KINDS = (
    *(Kind(f"FWHM {a:g} / {b:g} px, beta 2.5", (a, b), 2.5) for a, b in WIDTHS),
    *(Kind(f"FWHM {a:g} / {b:g} px, beta 4, axes 0.8", (a, b), 4.0, 0.8) for a, b in WIDTHS),
    Kind("correlated noise (0.8 px)", smoothing=0.8),
    Kind("whole counts", integers=True),
    Kind("crowd of 1500, 2.5 / 3.5 px", (2.5, 3.5), axisRatio=0.9, stars=1500),
    Kind("crowd of 1500, 1.5 / 2 px", (1.5, 2.0), axisRatio=0.9, stars=1500),
    Kind("with variances, beta 2.5, axes 0.8", beta=2.5, axisRatio=0.8, planes=True),
    Kind("12 stars, beta 2.5, axes 0.8", beta=2.5, axisRatio=0.8, stars=12),
)


def lightOf(catalog, size, fwhm, kind):
    """Return the light (ny, nx) of stars: x, y, counts."""
    alpha = fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / kind.beta) - 1.0))
    norm = (kind.beta - 1.0) / (9.0 * np.pi * alpha**2)
    reach = int(min(14.0 * fwhm + 6.0, 120.0))
    light = np.zeros((size, size))
    for x, y, flux in zip(*catalog, strict=True):
        left, low = max(0, int(x) - reach), max(0, int(y) - reach)
        part = light[low : int(y) + reach + 1, left : int(x) + reach + 1]
        rows, columns = np.ogrid[low : low + part.shape[0], left : left + part.shape[1]]
        for dy in (-1.0 / 3.0, 0.0, 1.0 / 3.0):
            for dx in (-1.0 / 3.0, 0.0, 1.0 / 3.0):
                u, v = columns + dx - x, rows + dy - y
                along = (u * np.cos(ANGLE) + v * np.sin(ANGLE)) * np.sqrt(kind.axisRatio)
                across = (v * np.cos(ANGLE) - u * np.sin(ANGLE)) / np.sqrt(kind.axisRatio)
                part += flux * norm * (1.0 + (along**2 + across**2) / alpha**2) ** -kind.beta
    return light


def pairOf(seed, size, kind):
    """Return template and science exposure."""
    generator = np.random.default_rng(seed)
    count = round(kind.stars * (size / 384) ** 2)
    x, y = generator.uniform(0.0, size, (2, count))
    flux = np.minimum(500.0 / (1.0 - generator.uniform(0.0, 0.9999, count)), 3e5)
    pair = []
    for fwhm, sky, gain, scale in zip(kind.fwhm, (300.0, 400.0), (8.0, 1.5), (1.0, 1.25), strict=True):
        light = scale * lightOf((x, y, flux), size, fwhm, kind)
        variance = (light + sky + 25.0) / gain
        noise = generator.normal(size=light.shape)
        if kind.smoothing:
            noise = gaussian_filter(noise, kind.smoothing)
            noise /= noise.std()
        image = light + sky + noise * np.sqrt(variance)
        image = (np.rint(image) if kind.integers else image).astype(np.float32)
        planes = MaskedImage(image, variance=variance.astype(np.float32))
        pair.append(Exposure(planes) if kind.planes else Exposure.fromArray(image))
    return pair


def nFlagged(result):
    """Return how many pixels of both images and of the difference carry one of the planes, and of how many."""
    masks = [each.mask for each in (result.template, result.science, result.difference)]
    flagged = sum(np.count_nonzero(mask.hasAny([plane for plane in PLANES if plane in mask.planes])) for mask in masks)
    return flagged, sum(mask.shape[0] * mask.shape[1] for mask in masks)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", type=int, default=384)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    without = frontDoorConfig()
    for name in FINDERS:
        setattr(without, name, False)
    print("| field | lost, 1e-4 | time | grades | without finders |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        lost, nPixels, seconds, grades = 0, 0, np.zeros(2), (Counter(), Counter())
        for seed in range(options.seeds):
            pair = pairOf(seed, options.size, kind)
            flagged = []
            for i, config in enumerate((None, without)):
                start = time.process_time()
                try:
                    result = subtract(*pair, config=config, threads=1)
                except PsfMatchError:
                    grades[i]["refused"] += 1
                    continue
                finally:
                    seconds[i] += time.process_time() - start
                grades[i][result.grade] += 1
                flagged.append(nFlagged(result))
            if len(flagged) == 2:
                lost += flagged[0][0] - flagged[1][0]
                nPixels += flagged[0][1]
        told = [" ".join(f"{count}{grade}" for grade, count in sorted(each.items())) for each in grades]
        share = f"{1e4 * lost / nPixels:.2f}" if nPixels else "-"
        print(f"| {kind.name} | {share} | {seconds[0] / seconds[1]:.2f} | {told[0]} | {told[1]} |", flush=True)


if __name__ == "__main__":
    main()
