"""Are streaks found, and nothing else: satellites and aircraft drawn into simulated pairs, and pairs without any.

    python benchmarks/python/bench_streaks.py [--seeds 10] [--clean 10] [--size 512] [--fields crowded] [--threads 1]

Each seed has a line of its own place and angle in a sparse, a dense and a crowded field. Printed for each kind: how
many are found and missed, how many pieces are flagged away from it (false), the share of the line's pixels (above a
third of a pixel's noise) that are flagged, good pixels lost (farther than 12 px, or thrice the width, from the line),
the kernel sum's departure from that of the same pair without a streak, and the grades of both. A streak that stars
break into two counts once. Then, of fields without a streak, those with a false one. `--fields` chooses among the
fields.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from psfmatch import MaskedImage, subtract
from psfmatch.testing import DENSE_FIELD, FieldOptions, simulatePair

CROWDED_FIELD = FieldOptions(brightStars=1500, faintStars=6000, galaxies=100)
FIELDS = {"sparse": FieldOptions(), "dense": DENSE_FIELD, "crowded": CROWDED_FIELD}
CLEAN = {
    "sparse": {},
    "dense": {"brightStars": 300, "faintStars": 1200, "galaxies": 150},
    "crowded": {"brightStars": 1500, "faintStars": 6000, "galaxies": 100},
    "galaxies": {"galaxies": 1500, "galaxySize": (1.5, 8.0)},
    "template no deeper": {"brightStars": 300, "faintStars": 1200, "templateDepth": 1},
    "broad stars": {"templateFwhm": 5.0, "scienceFwhm": 9.0, "brightStars": 200},
    "sharp stars": {"templateFwhm": 2.4, "scienceFwhm": 3.6, "scienceVariation": 0.05},
    "wings, variable stars": {"moffatWings": True, "brightStars": 200, "variableFraction": 0.1},
    "sloping sky": {"backgroundVariation": 300.0, "brightStars": 100},
    "bright stars": {"brightFlux": (8e3, 6e6)},
}


@dataclass(frozen=True)
class Kind:
    """peak : in a pixel's noise; length : pixels, 0: through the whole frame; flat : pixels across of one brightness;
    dash : pixels, half of them without light; inTemplate : or else in the science image.
    """

    name: str
    peak: float
    length: float = 0.0
    flat: float = 0.0
    dash: float = 0.0
    inTemplate: bool = False


KINDS = (
    Kind("S/N 0.6 a pixel", 0.6),
    Kind("S/N 1", 1.0),
    Kind("S/N 3", 3.0),
    Kind("S/N 3, 200 px long", 3.0, length=200.0),
    Kind("S/N 5, 90 px long", 5.0, length=90.0),
    Kind("S/N 100", 100.0),
    Kind("S/N 1000", 1000.0),
    Kind("dashes of 20 px, S/N 4", 4.0, dash=40.0),
    Kind("12 px broad, S/N 2", 2.0, flat=9.0),
    Kind("in the template, S/N 3", 3.0, inTemplate=True),
)


def drawnLine(kind, generator, shape, sigma):
    """Return light (ny, nx) of a line at random, in counts, and the distance of every pixel from it."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, (x0, y0) = generator.uniform(0.0, np.pi), generator.uniform(0.3, 0.7, 2) * np.array(shape[::-1])
    along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    across = np.abs((y - y0) * np.cos(angle) - (x - x0) * np.sin(angle))
    fwhm = 2.6 if kind.inTemplate else 3.8
    beyond = np.maximum(across - kind.flat / 2.0, 0.0)
    light = kind.peak * sigma * np.exp(-4.0 * np.log(2.0) * (beyond / fwhm) ** 2)
    outside = np.maximum(np.abs(along) - (kind.length / 2.0 if kind.length else np.inf), 0.0)
    light[outside > 0.0] = 0.0
    if kind.dash:
        light[along % kind.dash > kind.dash / 2.0] = 0.0
    return light.astype(np.float32), np.hypot(across, outside)


def withLight(exposure, light):
    """Return an exposure with light added, and the noise of that light in its variance plane left out."""
    image = exposure.maskedImage
    return exposure.withPixels(MaskedImage(image.image + light, image.mask, image.variance, image.xy0))


def figuresOf(kind, seed, options, size, threads):
    """Return found, lines beside, share flagged, good pixels lost, change of the kernel sum (%), and both grades."""
    pair = simulatePair(seed, size, options=options)
    given = [pair.template, pair.science]
    place = 0 if kind.inTemplate else 1
    sigma = float(np.sqrt(np.median(given[place].variance)))
    light, distance = drawnLine(kind, np.random.default_rng(seed), given[place].image.shape, sigma)
    clean = subtract(*given, threads=threads)
    given[place] = withLight(given[place], light)
    result = subtract(*given, threads=threads)
    images = result.template, result.science
    flags = [
        image.mask.hasAny("STREAK") if "STREAK" in image.mask.planes else np.zeros(light.shape, bool)
        for image in images
    ]
    isOn = light > sigma / 3.0
    share = float(flags[place][isOn].mean())
    isFound = share > 0.3
    far = distance > max(12.0, 3.0 * kind.flat)
    lost = int(sum(np.count_nonzero(each & far) for each in flags))
    # A piece of which a part lies on the line is the line's.
    nBeside = 0
    for flagged in flags:
        pieces, nPieces = label(flagged, np.ones((3, 3)))
        nBeside += nPieces - np.unique(pieces[flagged & ~far]).size
    sums = [each.kernel.kernelSum(*each.difference.getBBox().centre) for each in (result, clean)]
    return (
        isFound,
        nBeside,
        share,
        lost,
        100.0 * (sums[0] / sums[1] - 1.0),
        result.grade,
        clean.grade,
    )


def grades(values):
    """Return how many have which grade, in words."""
    return " ".join(f"{count}{grade}" for grade, count in sorted(Counter(values).items()))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--clean", type=int, default=10, help="fields of each kind without a streak")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fields", default=",".join(FIELDS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print("| field, streak | found | missed | false | flagged | good px lost | kernel sum % | grades | without |")
    print("|---|---|---|---|---|---|---|---|---|")
    fields = options.fields.split(",")
    for field in fields:
        for kind in KINDS:
            rows = [
                figuresOf(kind, seed, FIELDS[field], options.size, options.threads) for seed in range(options.seeds)
            ]
            found, beside, share, lost, change, with_, without = zip(*rows, strict=True)
            print(
                f"| {field}, {kind.name} | {sum(found)} | {len(found) - sum(found)} | {sum(beside)} "
                f"| {np.mean(share):.2f} | {np.mean(lost):.0f} | {np.mean(np.abs(change)):.2f} "
                f"| {grades(with_)} | {grades(without)} |",
                flush=True,
            )
    print("\n| fields without a streak | fields | with a false one | pixels lost |")
    print("|---|---|---|---|")
    for name, changes in CLEAN.items():
        if name in FIELDS and name not in fields:
            continue
        nFalse, nLost = 0, 0
        for seed in range(options.clean):
            pair = simulatePair(1000 + seed, options.size, **changes)
            result = subtract(pair.template, pair.science, threads=options.threads)
            nFalse += any(choice.chosen != "0" for choice in result.choices if choice.name == "streaks")
            for image in (result.template, result.science):
                nLost += np.count_nonzero(image.mask.hasAny("STREAK")) if "STREAK" in image.mask.planes else 0
        print(f"| {name} | {options.clean} | {nFalse} | {nLost} |", flush=True)


if __name__ == "__main__":
    main()
