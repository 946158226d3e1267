"""Defects that nobody has masked: are they found, is anything else lost, and what is left of the result.

    python benchmarks/python/bench_defects.py [--seeds 10] [--size 512] [--cases hot,dead] [--off] [--given]

Simulated pairs whose masks are taken off get defects in both images, apart from each other. Printed for each case,
over all seeds: the share of the pixels put wrong by more than ten times their noise that is flagged, as saturated or
not, %, and of good pixels that are, in ten thousandths; the kernel sum in units of that of the same pair without
defects, its mean and the farthest from 1; the grades; and of the transients outside blocks the share found, the mean
error of their fluxes, %, and the width of its pulls.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter

import numpy as np

from psfmatch import Exposure, MaskedImage, PsfMatchError, frontDoorConfig, subtract
from psfmatch.sources import findDefects, findSaturation, flagDefects, flagSaturation
from psfmatch.testing import simulatePair

FULL_WELL = 5e4
MATCH_PIX = 2.0
WRONG = 10.0
"""Times the noise of a pixel from where a defect must be found."""


def single(generator, image, share, values):
    """Put values of a function of the count at random pixels."""
    places = generator.choice(image.size, round(share * image.size), replace=False)
    image.ravel()[places] = values(places.size)


def dead(generator, image):
    """One pixel in a hundred without light."""
    single(generator, image, 0.01, lambda n: np.zeros(n))


def hot(generator, image):
    """One pixel in a hundred of any counts up to the full well."""
    single(generator, image, 0.01, lambda n: generator.uniform(0.0, FULL_WELL, n))


def mixed(generator, image):
    """Dead, hot and stuck ones, one in a hundred in all."""
    single(generator, image, 0.004, lambda n: np.zeros(n))
    single(generator, image, 0.004, lambda n: generator.uniform(0.0, FULL_WELL, n))
    single(generator, image, 0.002, lambda n: np.full(n, 1500.0))


def lines(generator, image):
    """Six pieces of columns and two of rows, one in three of them two pixels wide, dead or too bright."""
    for i in range(8):
        view = image if i < 6 else image.T
        length = int(generator.integers(60, view.shape[0]))
        y, x = int(generator.integers(view.shape[0] - length + 1)), int(generator.integers(view.shape[1] - 1))
        piece = view[y : y + length, x : x + (2 if i % 3 == 0 else 1)]
        if i % 2:
            piece[:] = 0.0
        else:
            piece += 10.0 ** generator.uniform(2.5, 4.0)


def cosmicRays(generator, image):
    """Four hundred straight tracks per megapixel, of 1 to 15 pixels, with a little of their charge beside them."""
    height, width = image.shape
    for _ in range(round(400 * image.size / 2**20)):
        length, angle = 1.0 + generator.exponential(4.0), generator.uniform(0.0, np.pi)
        x0, y0, charge = generator.uniform(0, width), generator.uniform(0, height), 10 ** generator.uniform(2.3, 3.7)
        for step in np.arange(0.0, min(length, 15.0), 0.25):
            x, y = x0 + step * np.cos(angle), y0 + step * np.sin(angle)
            column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            if 0 <= column < width and 0 <= row < height:
                image[row, column] += 0.25 * charge
                for j, i in ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)):
                    if 0 <= i < width and 0 <= j < height:
                        image[j, i] += 0.25 * 0.03 * charge


def blocks(generator, image):
    """A corner cut off, a border and a rectangle, a quarter of the image, with one of the usual fillings."""
    value = generator.choice([0.0, -999.0, -32768.0, 400.0])
    height, width = image.shape
    y, x = np.indices(image.shape)
    image[x + y < 0.45 * width] = value
    image[:, : int(generator.integers(10, 40))] = value
    top, left = int(generator.integers(height // 2, height - 90)), int(generator.integers(width // 2, width - 90))
    image[top : top + 80, left : left + 90] = value


def everything(generator, image):
    """Half of all."""
    single(generator, image, 0.003, lambda n: np.zeros(n))
    single(generator, image, 0.003, lambda n: generator.uniform(0.0, FULL_WELL, n))
    lines(generator, image)
    cosmicRays(generator, image)
    blocks(generator, image)


def nothing(_generator, _image):
    """Leave the image as it is."""


CASES = {
    "nothing": nothing,
    "dead": dead,
    "hot": hot,
    "mixed": mixed,
    "lines": lines,
    "rays": cosmicRays,
    "blocks": blocks,
    "everything": everything,
}


def bare(exposure, image, isRaw):
    """Return the image without its mask, and raw ones without variance."""
    variance = None if isRaw else exposure.variance
    plain = Exposure.fromArray(image) if isRaw else Exposure(MaskedImage(image, variance=variance))
    plain.wcs = exposure.wcs
    return plain


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--raw", action="store_true", help="without variance planes, too")
    parser.add_argument("--given", action="store_true", help="with the defects masked, as BAD")
    parser.add_argument("--off", action="store_true", help="with doFindDefects=False")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    pairs = [
        simulatePair(seed, options.size, badFraction=0.0, transients=12, transientSignalToNoise=(20.0, 60.0))
        for seed in range(1, options.seeds + 1)
    ]
    config = frontDoorConfig()
    config.doFindDefects = not options.off
    sums = {}
    print("| case | wrong pixels flagged, % | good ones lost, 1e-4 | kernel sum, mean / farthest | grades | "
          "transients found, % | flux error, % | pulls |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name in ["nothing", *(case for case in options.cases.split(",") if case != "nothing")]:
        nWrong, nFound, nGood, nLost, ratios, grades = 0, 0, 0, 0, [], Counter()
        errors, pulls, nTransients = [], [], 0
        for pair in pairs:
            generator = np.random.default_rng(pair.seed)
            images = []
            for exposure in (pair.template, pair.science):
                image = exposure.image.copy()
                CASES[name](generator, image)
                plain = bare(exposure, image, options.raw)
                off = np.abs(image - exposure.image)
                if options.given:
                    plain.mask[image != exposure.image] |= plain.mask.getPlaneBitMask("BAD")
                without = flagDefects(plain, findDefects(plain))
                lost = without.mask.hasAny(("NO_DATA", "BAD", "CR"))
                # Columns of one brightness may be taken for bleed trails.
                flagged = lost | flagSaturation(plain, findSaturation(plain)).mask.hasAny("SAT")
                isSaturated = exposure.mask.hasAny("SAT")
                isWrong = off > WRONG * np.sqrt(exposure.variance)
                nWrong, nFound = nWrong + isWrong.sum(), nFound + (isWrong & flagged).sum()
                isGood = (off == 0) & ~isSaturated
                nGood, nLost = nGood + isGood.sum(), nLost + (isGood & lost).sum()
                images.append(plain)
            try:
                result = subtract(*images, config=config, threads=1)
            except PsfMatchError as error:
                grades[type(error).__name__] += 1
                continue
            grades[result.grade] += 1
            kernelSum = result.kernel.kernelSum(*result.difference.getBBox().centre)
            ratios.append(kernelSum / sums.setdefault(pair.seed, kernelSum))
            if options.verbose:
                print(name, pair.seed, result.grade, ratios[-1], result.quality.reasons)
            table = result.detect()
            x, y = np.asarray(table["x"]), np.asarray(table["y"])
            for star in pair.truth.transients:
                # What lies in a block is nowhere to be found.
                column, row = round(float(star["x"])), round(float(star["y"]))
                if result.difference.mask.hasAny("NO_DATA")[row - 3 : row + 4, column - 3 : column + 4].any():
                    continue
                nTransients += 1
                distance = np.hypot(x - star["x"], y - star["y"]) if len(x) else np.array([np.inf])
                i = int(distance.argmin())
                if distance[i] < MATCH_PIX:
                    errors.append(table["psfFlux"][i] / star["flux"] - 1)
                    pulls.append((table["psfFlux"][i] - star["flux"]) / table["psfFluxErr"][i])
        ratios = np.array(ratios) if ratios else np.array([np.nan])
        told = " ".join(f"{count} {grade}" for grade, count in sorted(grades.items()))
        flux = (
            f"{100 * np.mean(errors):+.2f} ± {100 * np.std(errors) / np.sqrt(len(errors)):.2f} | {np.std(pulls):.2f}"
            if errors
            else "- | -"
        )
        print(
            f"| {name} | {100 * nFound / nWrong if nWrong else np.nan:.1f} | {1e4 * nLost / nGood:.2f} | "
            f"{ratios.mean():.4f} / {ratios[np.abs(ratios - 1).argmax()]:.4f} | {told} | "
            f"{100 * len(errors) / max(1, nTransients):.0f} | {flux} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
