"""What is lost at the border: pixels, sources and fluxes, of templates that go on beyond it and of others that do not.

    python benchmarks/python/bench_border.py [--size 512] [--seeds 10] [--fwhm 2.6 3.8] [--cases larger equal ...]

A field larger than the science image is simulated, and the science image cut from its middle. The template is all of it
(larger: 60 px more on each side), the same pixels (equal), as many that lie 17 and -11 px away (shifted), or all of it
resampled onto a grid that is turned by 3 degrees (turned). Twenty sources of S/N 40 are put 6 to 12 px from the science
image's border, where there is a template and no other light. Printed for each seed and case: the shares of pixels that
are NaN, and that carry EDGE; the kernel's size and sum (1.25 is true); the grade; how many of the twenty are found
within 2 px, and without flagEdge; what else is found within 30 px of the border, and of that without flagEdge and
flagSaturated; mean and scatter of (measured - true) / error of those found; robust width of difference / noise of
usable pixels in these 30 px and farther in; processor seconds. With --distance the sources lie elsewhere.
"""

from __future__ import annotations

import argparse
import logging
import math
import time

import numpy as np
from astropy.wcs import WCS

import psfmatch
from psfmatch import Exposure
from psfmatch.images import Box, MaskedImage
from psfmatch.registration import Warper
from psfmatch.testing import simulatePair
from psfmatch.testing.mixtures import addSource

BEYOND = 60
SHIFT = (17, -11)
TURN = math.radians(3.0)
SOURCES, RATIO = 20, 40.0
CLEAR_PIX, APART_PIX = 12.0, 25.0
BAND_PIX = 30
CASES = ("larger", "equal", "shifted", "turned")


def cut(exposure: Exposure, box: Box) -> Exposure:
    """Return a part of an exposure with pixels of its own."""
    return Exposure(exposure.maskedImage.subset(box).copy(), wcs=exposure.wcs)


def turned(template: Exposure, threads: int) -> Exposure:
    """Return a template on a grid of its own, turned about its middle."""
    wcs: WCS = template.wcs.deepcopy()
    c, s = math.cos(TURN), math.sin(TURN)
    wcs.wcs.pc = np.array([[c, -s], [s, c]])
    wcs.wcs.set()
    given = template.copy()
    # No light is made of what lies beyond: the grid's corners are left without data.
    return Warper(threads=threads).warpExposure(
        Exposure(given.maskedImage, wcs=wcs).coordinates, given, given.getBBox()
    )


def drawPlaces(generator: np.random.Generator, distances, box: Box, covered: Box, truth) -> np.ndarray:
    """Return places (n, 2) near the border of a box, where there is a template and no other light."""
    tables = (truth.stars, truth.galaxies)
    light = np.concatenate([np.column_stack([np.asarray(t["x"]), np.asarray(t["y"])]) for t in tables])
    places: list[tuple[float, float]] = []
    for _ in range(4000):
        distance, along = generator.uniform(*distances), generator.uniform(distances[0], box.width - 1 - distances[0])
        side = int(generator.integers(4))
        x, y = (along, distance) if side < 2 else (distance, along)
        if side == 1:
            y = box.height - 1 - y
        if side == 3:
            x = box.width - 1 - x
        x, y = x + box.x0, y + box.y0
        isClear = covered.contains(x, y) and np.hypot(light[:, 0] - x, light[:, 1] - y).min() > CLEAR_PIX
        if isClear and all(math.hypot(a - x, b - y) > APART_PIX for a, b in places):
            places.append((x, y))
        if len(places) == SOURCES:
            break
    return np.array(places)


def addSources(science: Exposure, pair, places: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Add sources of the wanted signal-to-noise with their photon noise to an image; return their fluxes."""
    gain, fluxes = pair.options.gain, []
    pixels: MaskedImage = science.maskedImage
    light = np.zeros(pixels.shape, dtype=np.float32)
    for x, y in places:
        psf = pair.truth.optics.sciencePsf(x, y)
        stamp = np.zeros((41, 41), dtype=np.float32)
        addSource(stamp, (-20, -20), 0.0, 0.0, psf)
        sky = float(np.median(pixels.variance)) * 1.15 / float((stamp**2).sum())
        # (S/N)^2 (sky + F / gain) = F^2
        shot = RATIO**2 / gain
        flux = 0.5 * (shot + math.sqrt(shot**2 + 4.0 * RATIO**2 * sky))
        fluxes.append(flux)
        addSource(light, pixels.xy0, x, y, psf.scaled(flux))
    noise = np.maximum(light, 0.0) / gain
    pixels.image[...] += light + generator.standard_normal(light.shape).astype(np.float32) * np.sqrt(noise)
    pixels.variance[...] += noise
    return np.array(fluxes)


def judged(result, places: np.ndarray, fluxes: np.ndarray, truth) -> tuple:
    """Return found, found without flagEdge, others near the border, pulls of fluxes, and pulls of pixels."""
    table = result.detect()
    x, y = np.asarray(table["x"]), np.asarray(table["y"])
    box = result.difference.getBBox()
    fromBorder = np.minimum.reduce([x - box.x0, y - box.y0, box.x1 - 1 - x, box.y1 - 1 - y])
    isOther = fromBorder < BAND_PIX
    for px, py in truth.stars[np.asarray(truth.stars["isVariable"])].iterrows("x", "y"):
        isOther &= np.hypot(x - px, y - py) > 5.0
    found, clean, pulls = 0, 0, []
    for (px, py), flux in zip(places, fluxes, strict=True):
        distance = np.hypot(x - px, y - py)
        isOther &= distance > 5.0
        if not distance.size or distance.min() > 2.0:
            continue
        i = int(distance.argmin())
        found += 1
        clean += not table["flagEdge"][i]
        pulls.append((table["psfFlux"][i] - flux) / table["psfFluxErr"][i])
    plain = result.difference.maskedImage
    bad = plain.badPixels(("BAD", "SAT", "CR", "NO_DATA", "EDGE"))
    with np.errstate(all="ignore"):
        pull = plain.image / np.sqrt(plain.variance)
    rows, columns = np.indices(plain.shape)
    near = np.minimum.reduce([rows, columns, plain.shape[0] - 1 - rows, plain.shape[1] - 1 - columns]) < BAND_PIX
    for px, py in places:
        bad |= np.hypot(columns - px + box.x0, rows - py + box.y0) < 15.0

    def spread(values: np.ndarray) -> float:
        return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else math.nan

    isClear = ~(np.asarray(table["flagEdge"]) | np.asarray(table["flagSaturated"])).astype(bool)
    return (
        found,
        clean,
        int(isOther.sum()),
        int((isOther & isClear).sum()),
        pulls,
        spread(pull[near & ~bad]),
        spread(pull[~near & ~bad]),
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fwhm", type=float, nargs=2, default=(2.6, 3.8), metavar=("TEMPLATE", "SCIENCE"))
    parser.add_argument("--distance", type=float, nargs=2, default=(6.0, 12.0), metavar="PIX", help="from the border")
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("psfmatch").setLevel(logging.ERROR)
    print(
        "   case seed   NaN%  EDGE% kernel    sum  grade found clean others clear  pull mean  width   near    far   CPU"
    )
    for case in options.cases:
        rows, allPulls = [], []
        for seed in range(options.seeds):
            pair = simulatePair(
                seed, options.size + 2 * BEYOND, templateFwhm=options.fwhm[0], scienceFwhm=options.fwhm[1], transients=0
            )
            box = pair.science.getBBox().shrunk(BEYOND)
            science = cut(pair.science, box)
            generator = np.random.default_rng(seed)
            template, covered = pair.template, pair.template.getBBox()
            if case == "equal":
                template, covered = cut(template, box), box
            elif case == "shifted":
                covered = Box(box.x0 + SHIFT[0], box.y0 + SHIFT[1], box.width, box.height)
                template = cut(template, covered)
            elif case == "turned":
                template = turned(template, options.threads)
            places = drawPlaces(generator, options.distance, box, covered.shrunk(6), pair.truth)
            fluxes = addSources(science, pair, places, generator)
            start = time.process_time()
            result = psfmatch.subtract(template, science, threads=options.threads)
            seconds = time.process_time() - start
            found, clean, others, clear, pulls, near, far = judged(result, places, fluxes, pair.truth)
            mask, total = result.difference.mask, result.difference.image.size
            nan = 100.0 * np.count_nonzero(~np.isfinite(result.difference.image)) / total
            edge = 100.0 * np.count_nonzero(mask.hasAny("EDGE")) / total
            numbers = (
                nan,
                edge,
                result.kernel.shape[0],
                result.kernel.kernelSum(*box.centre),
                found / len(places) * SOURCES,
                clean / len(places) * SOURCES,
                others,
                clear,
                np.mean(pulls) if pulls else math.nan,
                np.std(pulls) if pulls else math.nan,
                near,
                far,
                seconds,
            )
            allPulls += pulls
            rows.append(numbers)
            show(case, f"{seed:4d}", numbers, str(result.grade))
        means = np.mean(np.array(rows), axis=0)
        means[8:10] = (np.mean(allPulls), np.std(allPulls)) if allPulls else (math.nan, math.nan)
        show(case, "mean", means, "")


def show(case: str, seed: str, numbers, grade: str) -> None:
    """Print a row."""
    nan, edge, kernel, total, found, clean, others, clear, mean, width, near, far, seconds = numbers
    print(
        f"{case:>7} {seed} {nan:6.2f} {edge:6.2f} {kernel:6.0f} {total:6.4f} {grade:>6} {found:5.1f} {clean:5.1f} "
        f"{others:6.1f} {clear:5.1f} {mean:10.3f} {width:6.3f} {near:6.3f} {far:6.3f} {seconds:5.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
