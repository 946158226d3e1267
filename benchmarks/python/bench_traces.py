"""Traces of detectors in a difference: whether they are taken off or flagged, and whether anything else is.

    python benchmarks/python/bench_traces.py [--seeds 10] [--size 512] [--threads 1]

Borders: the sky of the science image, or of the template, falls or rises towards one or two sides, as in frames that
nobody has flattened; printed are in how many fields it was told, and the size of the median of the outer 6 px of these
sides in the difference, in a pixel's noise, without the step and with it. Lines: rows or columns through the three
brightest saturated stars are brighter or darker than the sky, to the border or not; printed are in how many fields any
trace was told, the share of the line's pixels that is flagged, and the pixels with SAT farther than 4 px from the lines
per field, beside those of the field without lines. Clean fields: in how many anything was done, and the pixels flagged,
which are those that saturated stars have spoiled: their robust scatter is printed, in that of the other pixels.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import MaskedImage, SubtractionResult, frontDoorConfig, subtract
from psfmatch.testing import DENSE_FIELD, SimulatedPair, simulatePair

UNUSABLE = ("BAD", "SAT", "CR", "EDGE", "NO_DATA", "STREAK")
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Falling:
    """The sky of an image changes by so many pixel's noises at the left and the upper border, over so many pixels."""

    name: str
    left: float
    upper: float
    length: float
    inTemplate: bool = False


@dataclass(frozen=True)
class Lined:
    """Rows, or columns, through saturated stars are off by so many pixel's noises, so far (px); 0: to the border."""

    name: str
    height: float
    length: float = 0.0
    width: int = 3
    isColumn: bool = False
    inTemplate: bool = False


FALLING = (
    Falling("falls by 1.5 and 1 over 12 px", -1.5, -1.0, 12.0),
    Falling("rises by 0.8 over 25 px", 0.8, 0.0, 25.0),
    Falling("template falls by 2 over 8 px", -2.0, 0.0, 8.0, True),
    Falling("falls by 20 over 15 px", -20.0, -20.0, 15.0),
)
LINED = (
    Lined("row, +3, to the border", 3.0),
    Lined("row, -2, to the border", -2.0),
    Lined("row, +10, 150 px", 10.0, 150.0),
    Lined("column, +2, to the border", 2.0, isColumn=True),
    Lined("template's row, +20", 20.0, inTemplate=True),
)
STARS = {"brightStars": 60, "brightFlux": (8e3, 4e6), "saturation": 1.5e4}
CLEAN = {
    "sparse": {},
    "dense": vars(DENSE_FIELD),
    "saturated stars": STARS,
    "saturated stars, wings": {**STARS, "moffatWings": True},
    "sloping sky": {"backgroundVariation": 300.0, "brightStars": 100},
    "galaxies": {"galaxies": 1500, "galaxySize": (1.5, 8.0)},
}


def noiseOf(image: MaskedImage) -> float:
    """Return the noise of a pixel of the sky, counts."""
    return float(np.sqrt(np.nanmedian(image.variance)))


def fallen(pair: SimulatedPair, kind: Falling) -> tuple[MaskedImage, MaskedImage]:
    """Return template and science image, the sky of one of which changes towards the border."""
    images = [pair.template.copy(), pair.science.copy()]
    image = images[0 if kind.inTemplate else 1]
    rows, columns = np.indices(image.shape)
    level = kind.left * np.exp(-columns / kind.length)
    level += kind.upper * np.exp(-(image.shape[0] - 1 - rows) / kind.length)
    image.image += (noiseOf(image) * level).astype(np.float32)
    return images[0], images[1]


def lined(pair: SimulatedPair, kind: Lined) -> tuple[MaskedImage, MaskedImage, npt.NDArray[np.bool_]]:
    """Return template and science image with lines through saturated stars, and where they are."""
    images = [pair.template.copy(), pair.science.copy()]
    image = images[0 if kind.inTemplate else 1]
    isLine = np.zeros(image.shape, dtype=bool)
    stars = pair.truth.stars[pair.truth.stars["isSaturated"]]
    order = np.argsort(-np.asarray(stars["flux"]))[:3]
    for number in order:
        along, across = float(stars["x"][number]), float(stars["y"][number])
        lines = isLine.T if kind.isColumn else isLine
        if kind.isColumn:
            along, across = across, along
        first, start = round(across) - kind.width // 2, round(along)
        end = lines.shape[1] if kind.length == 0.0 else min(lines.shape[1], start + int(kind.length))
        lines[max(0, first) : first + kind.width, start:end] = True
    image.image[isLine] += np.float32(kind.height * noiseOf(image))
    return images[0], images[1], isLine


def run(template: MaskedImage, science: MaskedImage, threads: int, **fields: bool) -> SubtractionResult:
    """Subtract with fields of the configuration."""
    config = frontDoorConfig()
    config.update(**fields)
    return subtract(template, science, config=config, threads=threads)


def pullsOf(result: SubtractionResult) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the difference in its noise, and which pixels are usable."""
    difference = result.difference.maskedImage
    mask = difference.mask
    isGood = (np.asarray(mask) & np.int32(mask.getPlaneBitMask(UNUSABLE, ignoreMissing=True))) == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(difference.image / np.sqrt(difference.variance), dtype=np.float64), isGood


def outerLevels(result: SubtractionResult, kind: Falling) -> list[float]:
    """Return medians of the outer 6 usable columns, and rows, of the sides that are affected."""
    pulls, isGood = pullsOf(result)
    pulls = np.where(isGood, pulls, np.nan)
    rows, columns = np.flatnonzero(isGood.any(axis=1)), np.flatnonzero(isGood.any(axis=0))
    levels = [np.nanmedian(pulls[:, columns[0] : columns[0] + 6])] if kind.left else []
    return [*map(float, levels), *([float(np.nanmedian(pulls[rows[-1] - 5 :]))] if kind.upper else [])]


def scatterOf(values: FloatArray) -> float:
    """Return the robust scatter."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def isTold(result: SubtractionResult, beginning: str) -> bool:
    """Return whether a sentence of the run begins so."""
    return any(choice.sentence.startswith(beginning) for choice in result.choices)


def tell(*cells: str) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def borders(pairOf: Callable[[int], SimulatedPair], seeds: int, threads: int) -> None:
    """Print what becomes of skies that fall or rise towards the border."""
    for kind in FALLING:
        told, before, after = 0, [], []
        for seed in range(seeds):
            images = fallen(pairOf(seed), kind)
            before += outerLevels(run(*images, threads, doFindTraces=False), kind)
            result = run(*images, threads)
            after += outerLevels(result, kind)
            told += isTold(result, "Sky at the border")
        sizes = (float(np.median(np.abs(levels))) for levels in (before, after))
        tell(kind.name, f"{told} of {seeds}", *(f"{size:.2f}" for size in sizes))


def lines(seeds: int, size: int, threads: int) -> None:
    """Print what becomes of lines through saturated stars."""
    for kind in LINED:
        found, total, lost, told = 0, 0, 0, 0
        for seed in range(seeds):
            pair = simulatePair(seed, size, **STARS)
            template, science, isLine = lined(pair, kind)
            _, wasGood = pullsOf(run(template, science, threads, doFindTraces=False))
            result = run(template, science, threads)
            _, without = pullsOf(run(pair.template, pair.science, threads))
            _, isGood = pullsOf(result)
            told += isTold(result, "Traces of saturated")
            there = isLine & without & wasGood
            near = np.zeros_like(isLine)
            for step in range(-4, 5):
                near |= np.roll(isLine, step, axis=1 if kind.isColumn else 0)
            found, total = found + int((there & ~isGood).sum()), total + int(there.sum())
            lost += int((without & result.difference.mask.hasAny("SAT") & ~near).sum())
        tell(kind.name, f"{told} of {seeds}", f"{found / max(total, 1):.3f}", f"{lost / seeds:.0f}")


def clean(seeds: int, size: int, threads: int) -> None:
    """Print what is done to fields that have nothing of the kind."""
    for name, options in CLEAN.items():
        levelled, flagged, pulls = 0, 0, []
        for seed in range(seeds):
            pair = simulatePair(100 + seed, size, **options)
            result = run(pair.template, pair.science, threads)
            levelled += isTold(result, "Sky at the border")
            isFlagged = isTold(result, "Traces of saturated")
            flagged += isFlagged
            if isFlagged:
                without = run(pair.template, pair.science, threads, doFindTraces=False)
                (values, wasGood), (_, isGood) = pullsOf(without), pullsOf(result)
                level, width = np.median(values[wasGood]), scatterOf(values[wasGood])
                pulls.append((values[wasGood & ~isGood] - level) / width)
        spoiled = np.concatenate(pulls) if pulls else np.zeros(0)
        share, scatter = spoiled.size / (seeds * size * size), 1.4826 * np.median(np.abs(spoiled)) if pulls else 0.0
        tell(name, f"levelled {levelled}", f"flagged {flagged} of {seeds}", f"{share:.2g}", f"{scatter:.2f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("borders", "lines", "clean"))
    arguments = parser.parse_args()
    logging.disable()
    seeds, size, threads = arguments.seeds, arguments.size, arguments.threads
    if arguments.only in (None, "clean"):
        clean(seeds, size, threads)
    if arguments.only in (None, "borders"):
        borders(lambda seed: simulatePair(seed, size), seeds, threads)
    if arguments.only in (None, "lines"):
        lines(seeds, size, threads)


if __name__ == "__main__":
    main()
