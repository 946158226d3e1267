"""Are images without coordinates laid upon each other: shifted, turned, mirrored and scaled.

    python benchmarks/python/bench_laying.py [--seeds 10] [--only turned] [--threads 2]

Fields of 400x400 pixels of Moffat stars (beta 3), drawn with nine points in every pixel where they lie in either image:
FWHM 4 px in the science image, 3.2 of its pixels in the template, which has 1.25 times the counts and four times the
depth; 12 transients of S/N 30 in the science image. The same sky with the template shifted, turned, mirrored and
scaled, with few stars, with galaxies alone, and another sky, which must be refused. Printed for each: how many pairs
were laid rightly, not at all and wrongly; how far the template's pixels are from where they belong, px of the science
image, median and largest of the places of all pairs; kernel sum over the true one, mean and the farthest from 1;
grades; what is left of the transients' flux, mean and its error; processor time of the measurement.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import Exposure, InputImagesError, MaskedImage, PsfMatchError, subtract
from psfmatch.registration import measureAlignment
from psfmatch.registration.alignment import AlignedTransform

SIZE = 400
SKY = 200.0
FWHM, TEMPLATE_FWHM = 4.0, 3.2
BETA = 3.0
RATIO, DEPTH = 1.25, 4.0
TRANSIENTS, SNR, MATCH_PIX = 12, 30.0, 2.0
REACH = 700.0
"""Pixels about the middle of the science image within which there are stars."""
WRONG_PIX = 1.0
"""Of the template, pixels of the science image: more is laid wrongly."""
POINTS = np.polynomial.legendre.leggauss(3)[0] / 2
WEIGHTS = np.polynomial.legendre.leggauss(3)[1] / 2

Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """How the template lies: turned by degrees, mirrored in y before, pixels of it for one, shifted; its shape.

    density : stars in a square of SIZE pixels; galaxies : the same; isOther : the template shows another sky.
    """

    name: str
    degrees: float = 0.0
    isMirrored: bool = False
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    shape: tuple[int, int] = (SIZE, SIZE)
    density: float = 200.0
    galaxies: float = 0.0
    isOther: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def linear(self) -> Image:
        """The (2, 2) matrix from the science image to the template."""
        c, s = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        mirror = np.diag([1.0, -1.0 if self.isMirrored else 1.0])
        return self.scale * np.array([[c, -s], [s, c]]) @ mirror

    def onTemplate(self, places: Image) -> Image:
        """Return places (n, 2) of the science image in the template."""
        middle = 0.5 * (np.array(self.shape[::-1]) - 1.0)
        return (places - 0.5 * (SIZE - 1.0)) @ self.linear.T + middle + self.shift


CASES = (
    Case("as they are, 0.3 px apart", shift=(0.3, -0.2)),
    Case("shifted by 180 and 120 px", shift=(180.3, -120.6)),
    Case("turned by 90 degrees", 90.0, shift=(3.0, -5.0)),
    Case("turned by 180.1 degrees", 180.1, shift=(-12.4, 8.7)),
    Case("mirrored", 0.0, True, shift=(7.2, 0.1)),
    Case("mirrored, turned by 270 degrees", 270.0, True, shift=(-20.0, 31.0)),
    Case("turned by 37 degrees", 37.3, shift=(10.0, 4.0)),
    Case("mirrored, turned by 141 degrees, shifted", 141.0, True, shift=(60.0, -45.0)),
    Case("half the scale, turned by 200 degrees", 200.0, scale=0.5),
    Case("0.7 of the scale, 300x300", 15.0, scale=0.7, shape=(300, 300)),
    Case("1.4 times the scale, 600x500", -70.0, True, 1.4, shape=(500, 600)),
    Case("twice the scale, 800x800", 100.0, scale=2.0, shape=(800, 800)),
    Case("a part of 180x220, turned", 90.0, shift=(15.0, 40.0), shape=(180, 220)),
    Case("a crowd, turned by 180 degrees", 180.0, shift=(31.0, 17.0), density=4000.0),
    Case("25 stars, turned by 120 degrees", 120.0, density=25.0, shift=(12.0, 5.0)),
    Case("8 stars, shifted by 150 px", density=8.0, shift=(150.2, 30.4)),
    Case("60 galaxies, turned by 90 degrees", 90.0, density=0.0, galaxies=60.0, shift=(25.0, 14.0)),
    Case("5 galaxies, shifted by 120 px", density=0.0, galaxies=5.0, shift=(-120.0, 44.0)),
    Case("another sky", isOther=True),
    Case("another sky of 8 stars", density=8.0, isOther=True),
    Case("another sky of 5 galaxies", density=0.0, galaxies=5.0, isOther=True),
    Case("another sky of another shape", isOther=True, shape=(350, 450)),
)


def drawSources(case: Case, generator: np.random.Generator) -> Image:
    """Return stars and galaxies (n, 4): x, y, flux, own FWHM; N(>F) of the stars goes with F^-0.6."""
    share = (2.0 * REACH / SIZE) ** 2
    nStars, nGalaxies = generator.poisson(share * case.density), generator.poisson(share * case.galaxies)
    middle = 0.5 * (SIZE - 1.0)
    places = generator.uniform(middle - REACH, middle + REACH, (nStars + nGalaxies, 2))
    low, high = (400.0 if case.density > 50.0 else 4e3) ** -0.6, 2e5**-0.6
    fluxes = (low + generator.uniform(size=nStars) * (high - low)) ** (-1.0 / 0.6)
    light = 10.0 ** generator.uniform(3.7, 5.0, nGalaxies)
    widths = np.concatenate([np.zeros(nStars), generator.uniform(3.0, 9.0, nGalaxies)])
    return np.column_stack([places, np.concatenate([fluxes, light]), widths])


def draw(shape: tuple[int, int], places: Image, sources: Image, fwhm: float, scale: float) -> Image:
    """Return the light of sources at places (n, 2); their own widths and the PSF's FWHM times the scale, pixels."""
    image = np.zeros(shape)
    for (x, y), (flux, width) in zip(places, sources[:, 2:], strict=True):
        wide = scale * math.hypot(fwhm, width)
        a2 = 0.25 * wide**2 / (2.0 ** (1.0 / BETA) - 1.0)
        half = math.ceil(min(12.0 * wide, 1.5 * wide * max(1.0, flux / 20.0) ** (1.0 / 6.0)))
        rows, columns = (
            np.arange(max(0, int(at) - half), min(size, int(at) + half + 1))
            for at, size in ((y, shape[0]), (x, shape[1]))
        )
        if not (rows.size and columns.size):
            continue
        stamp = np.zeros((rows.size, columns.size))
        for dx, wx in zip(POINTS, WEIGHTS, strict=True):
            for dy, wy in zip(POINTS, WEIGHTS, strict=True):
                square = (columns + dx - x) ** 2 + (rows + dy - y)[:, None] ** 2
                stamp += wx * wy * (1.0 + square / a2) ** -BETA
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += flux * (BETA - 1.0) / math.pi / a2 * stamp
    return image


def exposed(light: Image, ratio: float, depth: float, generator: np.random.Generator) -> Exposure:
    """Return an exposure of some light, its counts times a ratio, with the noise of a mean of `depth` exposures."""
    variance = (light + SKY) / depth * ratio**2
    image = ratio * (light + SKY) + generator.normal(size=light.shape) * np.sqrt(variance)
    return Exposure(MaskedImage(image.astype(np.float32), variance=variance.astype(np.float32)))


def makePair(case: Case, seed: int) -> tuple[Exposure, Exposure, Image]:
    """Return template, science image, and the transients (n, 3): x, y, flux."""
    generator = np.random.default_rng(seed)
    sources = drawSources(case, generator)
    other = drawSources(case, generator) if case.isOther else sources
    flux = SNR * math.sqrt(4.0 * math.pi * (FWHM / 2.3548) ** 2 * SKY * (1.0 + 1.0 / DEPTH))
    transients = np.column_stack(
        [generator.uniform(30, SIZE - 30, (TRANSIENTS, 2)), np.full(TRANSIENTS, flux), np.zeros(TRANSIENTS)]
    )
    all_ = np.concatenate([sources, transients])
    science = draw((SIZE, SIZE), all_[:, :2], all_, FWHM, 1.0)
    # The sky of a pixel goes with its area; that of another camera does not matter.
    template = draw(case.shape, case.onTemplate(other[:, :2]), other, TEMPLATE_FWHM, case.scale)
    return exposed(template, RATIO, DEPTH, generator), exposed(science, 1.0, 1.0, generator), transients[:, :3]


def placeErrors(case: Case, template: Exposure, science: Exposure, alignment: Any) -> Image:
    """Return how far (n,), px of the science image, places of the science image that the template covers lie off."""
    axis = np.linspace(0.0, SIZE - 1.0, 9)
    x, y = (values.ravel() for values in np.meshgrid(axis, axis))
    true = case.onTemplate(np.column_stack([x, y]))
    inside = ((true >= 0.0) & (true <= np.array(case.shape[::-1]) - 1.0)).all(axis=1)
    found = np.column_stack(AlignedTransform(template, science, alignment)(x, y))
    return np.hypot(*(found - true).T)[inside] / case.scale


def fluxesLeft(result: Any, transients: Image) -> list[float]:
    """Return the fluxes of those transients that are found on a difference, of the true ones."""
    table = result.detect()
    ratios = []
    for x, y, flux in transients:
        distance = np.hypot(np.asarray(table["x"]) - x, np.asarray(table["y"]) - y)
        if distance.size and distance.min() < MATCH_PIX:
            ratios.append(float(table["psfFlux"][int(distance.argmin())]) / flux)
    return ratios


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| case | found / missed / wrong | off by px, median / most | kernel sum | grades | transients | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for case in (case for case in CASES if options.only in case.name):
        counts, grades, errors, sums, fluxes, times = Counter(), Counter(), [], [], [], []
        for seed in range(1, options.seeds + 1):
            template, science, transients = makePair(case, seed)
            start = time.process_time()
            alignment = measureAlignment(template, science, threads=options.threads)
            times.append(time.process_time() - start)
            off = placeErrors(case, template, science, alignment)
            # Where nothing was measured equal pixels are taken for one place, which may be right.
            isRight = not case.isOther and off.max() <= WRONG_PIX
            counts["right" if isRight else "wrong" if alignment.isFound else "missed"] += 1
            if isRight:
                errors.extend(off)
            try:
                result = subtract(template, science, threads=options.threads)
            except PsfMatchError as error:
                isSaid = isinstance(error, InputImagesError) and "could not be laid" in str(error)
                grades["refused" if isSaid else type(error).__name__] += 1
                continue
            grades[result.grade] += 1
            if isRight:
                kernelSum = result.kernel.kernelSum(*result.difference.getBBox().centre)
                sums.append(kernelSum * RATIO if result.convolved == "template" else kernelSum / RATIO)
                fluxes.extend(fluxesLeft(result, transients))
        n = max(1, len(fluxes))
        farthest = max(sums, key=lambda value: abs(value - 1.0), default=math.nan)
        cells = [
            case.name,
            f"{counts['right']} / {counts['missed']} / {counts['wrong']}",
            f"{np.median(errors):.3f} / {np.max(errors):.3f}" if errors else "-",
            f"{np.mean(sums):.3f}, {farthest:.3f}" if sums else "-",
            ", ".join(f"{count} {grade}" for grade, count in sorted(grades.items())),
            f"{np.mean(fluxes):.3f} +/- {np.std(fluxes) / n**0.5:.3f}" if fluxes else "-",
            f"{np.median(times):.2f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
