"""Sharp, broad and faint stars: what is found of them, how the template then lies, and the kernel sum.

    python benchmarks/python/bench_broad.py [--seeds 10] [--size 512] [--scenes NAME ...] [--threads 1]

Stars of one PSF an image, a Moffat profile of beta 3.5 (of three Gaussians), integrated over pixels, on a flat sky
without mask, variance plane or WCS; the template is displaced by up to 8 pixels and has the same noise. The
signal-to-noise ratio S/N of a star is that of a fit with the true PSF to the science image; numbers of stars fall
with F^-0.6, so that most are near the lower limit. Printed for each scene, over the seeds: the share of the stars that
are found in the science image and the number of others, both FWHMs over the true ones, median and largest error of the
alignment (pixels), of the kernel sum (mean and scatter, per cent), the shift that the kernel makes, and the grades.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

import psfmatch
from psfmatch.images import toExposure
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask
from psfmatch.testing.optics import MOFFAT_SIGMAS, MOFFAT_WEIGHTS

RATIO = 1.25
NOISE = 10.0
SKY = 300.0


@dataclass(frozen=True)
class Scene:
    """FWHMs (pixels) of template and science image, and how many stars of which S/N."""

    template: float
    science: float
    stars: int
    snr: tuple[float, float]
    templateNoise: float = NOISE

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return f"{self.template:g} / {self.science:g}, S/N {self.snr[0]:g} to {self.snr[1]:g}"


FAINT, USUAL = (5.0, 20.0), (10.0, 500.0)
SCENES = (
    *(Scene(a, b, 120, USUAL) for a, b in ((1.2, 1.2), (1.2, 4), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8))),
    *(Scene(a, b, 60, USUAL) for a, b in ((8, 12), (12, 12), (10, 15), (15, 15), (15, 4))),
    *(Scene(a, b, 60, FAINT) for a, b in ((1.2, 1.2), (1.2, 4), (2, 2), (3, 3), (4, 8), (8, 8))),
    *(Scene(a, b, 40, FAINT) for a, b in ((12, 12), (10, 15), (15, 15))),
)


def profile(fwhm: float, centre: float, first: int, count: int):
    """Return the integral of each of the three Gaussians over pixels along one axis, (3, count)."""
    edges = np.arange(first, first + count + 1) - 0.5 - centre
    steps = np.array([[math.erf(e / (s * fwhm * math.sqrt(2.0))) for e in edges] for s in MOFFAT_SIGMAS])
    return 0.5 * np.diff(steps, axis=1)


def addStar(image, x: float, y: float, flux: float, fwhm: float) -> None:
    """Add a star in place."""
    reach = math.ceil(4.0 * MOFFAT_SIGMAS[-1] * fwhm)
    x0, x1 = max(0, round(x) - reach), min(image.shape[1], round(x) + reach + 1)
    y0, y1 = max(0, round(y) - reach), min(image.shape[0], round(y) + reach + 1)
    if x0 < x1 and y0 < y1:
        across, up = profile(fwhm, x, x0, x1 - x0), profile(fwhm, y, y0, y1 - y0)
        image[y0:y1, x0:x1] += flux * np.einsum("k,ki,kj->ij", MOFFAT_WEIGHTS, up, across)


def pixelsOf(fwhm: float) -> float:
    """Return the noise-equivalent area of a PSF, square pixels, mean over places in the pixel."""
    areas = []
    for x, y in ((0.0, 0.0), (0.5, 0.0), (0.25, 0.25), (0.5, 0.5)):
        stamp = np.zeros((129, 129))
        addStar(stamp, 64 + x, 64 + y, 1.0, fwhm)
        areas.append(1.0 / (stamp**2).sum())
    return float(np.mean(areas))


def makePair(scene: Scene, seed: int, size: int):
    """Return template, science image, the stars' places (n, 2) in the latter, and the shift (x, y) to the former."""
    generator = np.random.default_rng([seed, round(10 * scene.template), round(10 * scene.science)])
    low, high = scene.snr
    snr = (low**-0.6 + generator.uniform(size=scene.stars) * (high**-0.6 - low**-0.6)) ** (-1 / 0.6)
    places = generator.uniform(0, size - 1, (scene.stars, 2))
    shift = generator.uniform(-8, 8, 2)
    flux = snr * NOISE * math.sqrt(pixelsOf(scene.science))
    images = np.full((2, size, size), SKY)
    for (x, y), f in zip(places.tolist(), flux.tolist(), strict=True):
        addStar(images[0], x + shift[0], y + shift[1], f / RATIO, scene.template)
        addStar(images[1], x, y, f, scene.science)
    images[0] += generator.normal(0, scene.templateNoise, (size, size))
    images[1] += generator.normal(0, NOISE, (size, size))
    template, science = images.astype(np.float32)
    return template, science, places, shift


def judgeFound(science, places, fwhm: float):
    """Return the share of the stars that are found, and the number of sources that are none."""
    sources = ImagePsfMatchTask().selectSources(toExposure(science))
    x, y = (np.asarray(sources[name]) for name in ("x", "y"))
    if not len(x):
        return 0.0, 0
    distance = np.hypot(places[:, :1] - x, places[:, 1:] - y)
    limit = max(2.0, 0.5 * fwhm)
    return float((distance.min(axis=1) < limit).mean()), int((distance.min(axis=0) >= limit).sum())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--scenes", nargs="*", help="parts of names; all by default")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("psfmatch").setLevel(logging.CRITICAL)
    print(
        "| FWHM of template / science | found % | false | FWHMs measured / true | alignment px: median, largest | "
        "kernel sum % | kernel shift px | grades | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for scene in SCENES:
        if options.scenes and not any(part in scene.name for part in options.scenes):
            continue
        found, widths, misplaced, sums, shifts, grades = [], [], [], [], [], Counter()
        began = time.process_time()
        for seed in range(options.seeds):
            template, science, places, shift = makePair(scene, seed, options.size)
            found.append(judgeFound(science, places, scene.science))
            try:
                result = psfmatch.subtract(template, science, threads=options.threads)
            except psfmatch.PsfMatchError as error:
                grades[type(error).__name__] += 1
                continue
            grades[result.grade] += 1
            known = [result.metadata.get(f"{name}FwhmPix", math.nan) for name in ("template", "science")]
            widths.append(np.array(known) / [scene.template, scene.science])
            misplaced.append(math.hypot(*(np.array(result.alignment.shift) - shift)))
            kernelSum = result.quality.kernelSum if result.quality else math.nan
            isTemplate = result.convolved == "template"
            sums.append(100.0 * ((kernelSum if isTemplate else 1.0 / kernelSum) / RATIO - 1.0))
            shifts.append(result.quality.kernelShiftPix if result.quality else math.nan)
        seconds = (time.process_time() - began) / options.seeds
        shares, others = np.array(found).T
        line = f"| {scene.name} | {100 * shares.mean():.0f} | {others.mean():.1f} |"
        if sums:
            line += f" {' '.join(f'{w:.2f}' for w in np.nanmedian(widths, axis=0))} |"
            line += f" {np.median(misplaced):.2f}, {max(misplaced):.2f} |"
            line += f" {np.mean(sums):+.1f} +/- {np.std(sums):.1f} | {np.median(shifts):.2f} |"
        else:
            line += " | | | |"
        told = ", ".join(f"{count} {grade}" for grade, count in sorted(grades.items()))
        print(f"{line} {told} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
