"""Defects of undersampled images, and of fields with hardly a star: found by one image, and by both.

    python benchmarks/python/bench_sharpPixels.py [--seeds 10] [--size 512] [--fields stars,few] [--fwhm 1.2,1.5]

Stars and galaxies through Gaussian PSFs integrated over pixels, the science image's broader by 8 %, with noise of its
own, shifted by a third of a pixel. Nothing, dead and hot pixels, or cosmic rays (those of bench_defects.py) are put
into both, apart from each other. Printed are the share of the pixels put wrong by more than ten times their noise that
is flagged, %, and of good pixels that are, in ten thousandths: by each image alone, and after both were compared.
"""

from __future__ import annotations

import argparse

import numpy as np
from bench_defects import CASES, WRONG
from scipy.special import erf

from psfmatch import Exposure, MaskedImage
from psfmatch.sources import crossDefects, findDefects, flagDefects

FIELDS = {"stars": (400, 20), "galaxies": (0, 300), "few": (5, 200), "crowd": (2500, 20)}
"""Stars and galaxies in 512x512 pixels."""
SHIFT = 0.3, -0.4


def catalogOf(generator, size, nStars, nGalaxies):
    """Return x, y, flux and size (px) of sources; numbers are for 512x512 pixels."""
    counts = [round(each * (size / 512) ** 2) for each in (nStars, nGalaxies)]
    x, y = generator.uniform(0.0, size, (2, sum(counts)))
    stars = np.minimum(400.0 / (1.0 - generator.uniform(0.0, 0.9999, counts[0])), 3e5)
    galaxies = 2e3 / (1.0 - generator.uniform(0.0, 0.99, counts[1]))
    widths = np.concatenate([np.zeros(counts[0]), generator.uniform(0.8, 4.0, counts[1])])
    return x, y, np.concatenate([stars, galaxies]), widths


def draw(catalog, size, fwhm, shift):
    """Return light (ny, nx) of all sources, counts."""
    image = np.zeros((size, size))
    for x, y, flux, width in zip(*catalog, strict=True):
        sigma = np.hypot(fwhm / 2.3548, width)
        parts = []
        for place in (y + shift[1], x + shift[0]):
            reach = int(6.0 * sigma + 2.0)
            pixels = np.arange(max(0, int(place) - reach), min(size, int(place) + reach + 1))
            edges = [erf((pixels + half - place) / (sigma * np.sqrt(2.0))) for half in (-0.5, 0.5)]
            parts.append((pixels, 0.5 * (edges[1] - edges[0])))
        (rows, down), (columns, along) = parts
        if rows.size and columns.size:
            image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += flux * np.outer(down, along)
    return image


def pairOf(seed, size, fwhm, field):
    """Return image and variance of template and science image."""
    generator = np.random.default_rng(seed)
    catalog = catalogOf(generator, size, *FIELDS[field])
    pair = []
    for width, shift, sky, gain in ((fwhm, (0.0, 0.0), 300.0, 8.0), (1.08 * fwhm, SHIFT, 400.0, 1.5)):
        light = draw(catalog, size, width, shift)
        variance = (light + sky + 25.0) / gain
        image = light + sky + generator.normal(size=light.shape) * np.sqrt(variance)
        pair.append((image.astype(np.float32), variance.astype(np.float32)))
    return pair


def mapping(sign):
    """Return the positions of one image as those of the other."""
    return lambda x, y: (x + sign * SHIFT[0], y + sign * SHIFT[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fields", default="stars,galaxies,few,crowd")
    parser.add_argument("--fwhm", default="1.2,1.5,1.8,2.5,4")
    options = parser.parse_args()
    print("| field, FWHM | nothing: lost, 1e-4 | dead and hot: found, %; lost | rays: found, %; lost |")
    print("|---|---|---|---|")
    for field in options.fields.split(","):
        for fwhm in map(float, options.fwhm.split(",")):
            cells = []
            for case in ("nothing", "mixed", "rays"):
                counts = np.zeros((2, 4))
                for seed in range(options.seeds):
                    generator = np.random.default_rng(seed)
                    pair = pairOf(seed, options.size, fwhm, field)
                    given = []
                    for image, variance in pair:
                        wrong = image.copy()
                        CASES[case](generator, wrong)
                        given.append(Exposure(MaskedImage(wrong, variance=variance)))
                    alone = [flagDefects(each, findDefects(each)) for each in given]
                    both = [
                        crossDefects(given[i], alone[i], alone[1 - i], mapping(1 - 2 * i), 1.0, given[1 - i])[0]
                        for i in (0, 1)
                    ]
                    for row, images in zip(counts, (alone, both), strict=True):
                        for flagged, before, (image, variance) in zip(images, given, pair, strict=True):
                            isLost = flagged.mask.hasAny(("NO_DATA", "BAD", "CR"))
                            off = np.abs(before.image - image)
                            isWrong = off > WRONG * np.sqrt(variance)
                            isGood = off == 0.0
                            row += isWrong.sum(), (isWrong & isLost).sum(), isGood.sum(), (isGood & isLost).sum()
                lost = " / ".join(f"{1e4 * row[3] / row[2]:.2f}" for row in counts)
                found = " / ".join(f"{100.0 * row[1] / max(row[0], 1.0):.1f}" for row in counts)
                cells.append(lost if case == "nothing" else f"{found}; {lost}")
            print(f"| {field}, {fwhm:g} px | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
