"""Whether saturated pixels are found: the level, and what is flagged, in situations that have misled.

    python benchmarks/saturation.py [--seeds 10] [--only WORDS ...]

Fields of Moffat stars (beta 3, FWHM 4 px) of 512x512 px with photon noise, clipped or cut as cameras and pipelines do.
One line each: the level found over the true one, in how many fields it was found, and of the pixels without SAT those
that are flagged rightly, those that are flagged although they are whole, and saturated ones that are missed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import Exposure, MaskedImage
from psfmatch.sources import findSaturation, flagSaturation

SIDE = 512
SKY = 200.0
BETA = 3.0
LEVEL = 5e4
CUT = 0.7  # of the level, at which bleed trails end

Image = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Situation:
    """An exposure, which of its pixels are saturated, and from which counts on; None: nothing is."""

    exposure: Exposure
    saturated: Flags
    level: float | None


def starField(
    rng: np.random.Generator,
    brightest: float,
    nStars: int = 150,
    fwhm: float = 4.0,
    faintest: float = 200.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Image:
    """Return stars whose peaks are spread evenly in their logarithm, without sky or noise."""
    places = rng.uniform(12.0, SIDE - 12.0, (nStars, 2))
    peaks = np.exp(rng.uniform(np.log(faintest), np.log(brightest), nStars))
    image = np.zeros((SIDE, SIDE))
    radius = fwhm / 2.0 / np.sqrt(2.0 ** (1.0 / BETA) - 1.0)
    for (x0, y0), peak in zip(places, peaks, strict=True):
        reach = int(np.clip(1.5 * fwhm * (peak / 5.0) ** (1.0 / 6.0), 15.0, 120.0))
        rows, columns = (np.arange(max(0, int(at) - reach), min(SIDE, int(at) + reach + 1)) for at in (y0, x0))
        square = (columns - x0 - shift[0]) ** 2 + (rows[:, None] - y0 - shift[1]) ** 2
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += peak * (1.0 + square / radius**2) ** -BETA
    return image


def noisy(rng: np.random.Generator, image: Image, sky: float = SKY) -> Image:
    """Return the image with sky and the noise of photons and reading."""
    return image + sky + rng.normal(size=image.shape) * np.sqrt(np.maximum(image + sky, 0.0) / 2.0 + 25.0)


def exposed(image: Image, sat: Flags | None = None, bad: Flags | None = None, **cards: float) -> Exposure:
    """Return an exposure with these pixels SAT and BAD, and these cards in its header."""
    exposure = Exposure(MaskedImage(image.astype(np.float32), None, np.full(image.shape, 100.0)), metadata=cards)
    for plane, flags in (("SAT", sat), ("BAD", bad)):
        if flags is not None:
            exposure.mask[flags] |= exposure.mask.getPlaneBitMask(plane)
    return exposure


def clipped(rng: np.random.Generator, level: float, **how: Any) -> tuple[Image, Flags]:
    """Return a field of whole counts, a third of whose stars reach the level, and what has."""
    image = noisy(rng, starField(rng, 10.0 * level, faintest=level / 250.0, **how))
    return np.minimum(np.rint(image), level), image >= level


def integers(level: float, **how: Any) -> Callable[[np.random.Generator], Situation]:
    """Return fields of whole counts, clipped at a level."""

    def make(rng: np.random.Generator) -> Situation:
        image, saturated = clipped(rng, level, **how)
        return Situation(exposed(image), saturated, level)

    return make


def flatFielded(rng: np.random.Generator) -> Situation:
    """Return a clipped field after a flat field of 5 % and half a per cent from pixel to pixel."""
    image, saturated = clipped(rng, LEVEL)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    flat = 1.0 + 0.1 * (x**2 + y**2) + 0.005 * rng.normal(size=image.shape)
    return Situation(exposed(image * flat), saturated, LEVEL)


def nonLinear(rng: np.random.Generator) -> Situation:
    """Return a field whose counts bend from 0.85 of the level on, towards it."""
    image, knee = noisy(rng, starField(rng, 10.0 * LEVEL)), 0.85 * LEVEL
    bent = knee + (LEVEL - knee) * (1.0 - np.exp(-np.maximum(image - knee, 0.0) / (LEVEL - knee)))
    return Situation(exposed(np.where(image > knee, bent, image)), image >= LEVEL, LEVEL)


def coadd(rng: np.random.Generator) -> Situation:
    """Return the mean of five frames, dithered by up to a pixel and shifted back linearly."""
    seed, image, saturated = int(rng.integers(1 << 30)), np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for shiftX, shiftY in rng.uniform(0.0, 1.0, (5, 2)):
        frame = noisy(rng, starField(np.random.default_rng(seed), 10.0 * LEVEL, shift=(shiftX, shiftY)))
        for total, part in ((image, np.minimum(frame, LEVEL)), (saturated, frame >= LEVEL)):
            part = (1.0 - shiftX) * part + shiftX * np.roll(part, -1, 1)
            total += 0.2 * ((1.0 - shiftY) * part + shiftY * np.roll(part, -1, 0))
    return Situation(exposed(image), saturated > 0.5, LEVEL)


def trails(
    mask: str = "all", header: float | None = None, coreLevel: float | None = None
) -> Callable[[np.random.Generator], Situation]:
    """Return fields whose saturated stars were cut at 0.7 of the level, with columns, among whole ones up to it."""

    def make(rng: np.random.Generator) -> Situation:
        image = starField(rng, 0.99 * LEVEL, nStars=350) + starField(rng, 20.0 * LEVEL, nStars=15, faintest=1.5 * LEVEL)
        image = noisy(rng, image)
        cores = image >= LEVEL
        saturated = cores.copy()
        for column in np.flatnonzero(cores.any(0)):
            rows = np.flatnonzero(cores[:, column])
            for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
                if run.size >= 4:
                    saturated[max(0, run[0] - 5 * run.size) : run[-1] + 5 * run.size, column] = True
        image[saturated] = CUT * LEVEL
        if coreLevel is not None:
            image[cores] = coreLevel
        cards = {} if header is None else {"SATURATE": header}
        return Situation(exposed(image, saturated if mask == "all" else None, **cards), saturated, LEVEL)

    return make


def stuckColumns(rng: np.random.Generator) -> Situation:
    """Return a field with four columns of one value, masked as saturated."""
    image = noisy(rng, starField(rng, 0.99 * LEVEL))
    stuck = np.zeros(image.shape, dtype=bool)
    stuck[:, rng.integers(0, SIDE, 4)] = True
    image[stuck] = 0.4 * LEVEL
    return Situation(exposed(image, stuck), stuck, None)


def equalStars(rng: np.random.Generator) -> Situation:
    """Return 40 stars of one brightness above fainter ones."""
    image = starField(rng, 3e4, nStars=40, faintest=3e4) + starField(rng, 5e3, nStars=100)
    return Situation(exposed(noisy(rng, image)), np.zeros(image.shape, dtype=bool), None)


def smallMask(rng: np.random.Generator) -> Situation:
    """Return a clipped field whose mask leaves out the rim of each core."""
    image, saturated = clipped(rng, LEVEL)
    inner = saturated.copy()
    for axis in (0, 1):
        inner &= np.roll(saturated, 1, axis) & np.roll(saturated, -1, axis)
    return Situation(exposed(image, inner), saturated, LEVEL)


def hiddenAsBad(rng: np.random.Generator) -> Situation:
    """Return a clipped field whose mask has the saturated pixels as bad."""
    image, saturated = clipped(rng, LEVEL)
    return Situation(exposed(image, None, saturated), saturated, LEVEL)


def header(value: float) -> Callable[[np.random.Generator], Situation]:
    """Return clipped fields whose header tells this level."""

    def make(rng: np.random.Generator) -> Situation:
        image, saturated = clipped(rng, LEVEL)
        return Situation(exposed(image, SATURATE=value), saturated, LEVEL)

    return make


def disc(radius: float, limb: float, clippedAt: float | None = None) -> Callable[[np.random.Generator], Situation]:
    """Return fields with a planet, whose limb is darker by this share, and few stars."""

    def make(rng: np.random.Generator) -> Situation:
        x0, y0 = rng.uniform(200.0, 300.0, 2)
        squares = ((np.arange(SIDE) - x0) ** 2 + (np.arange(SIDE)[:, None] - y0) ** 2) / radius**2
        image = np.where(squares < 1.0, 3e4 * (1.0 - limb + limb * np.sqrt(np.maximum(1.0 - squares, 0.0))), 0.0)
        blur = np.exp(-(np.arange(-8, 9) ** 2) / (2.0 * 1.7**2))
        for axis in (0, 1):
            image = np.apply_along_axis(np.convolve, axis, image, blur / blur.sum(), mode="same")
        image = noisy(rng, image + starField(rng, 1.5e4, nStars=60))
        if clippedAt is None:
            return Situation(exposed(image), np.zeros(image.shape, dtype=bool), None)
        return Situation(exposed(np.minimum(image, clippedAt)), image >= clippedAt, clippedAt)

    return make


def whole(**how: Any) -> Callable[[np.random.Generator], Situation]:
    """Return fields in which nothing saturates."""

    def make(rng: np.random.Generator) -> Situation:
        image = noisy(rng, starField(rng, 4e4, **how))
        return Situation(exposed(image), np.zeros(image.shape, dtype=bool), None)

    return make


SITUATIONS: dict[str, Callable[[np.random.Generator], Situation]] = {
    "clipped at 65535": integers(65535.0),
    "clipped at 4095": integers(4095.0),
    "clipped at 4095, few stars": integers(4095.0, nStars=40),
    "undersampled, FWHM 1.8 px": integers(65535.0, fwhm=1.8),
    "FWHM 10 px": integers(65535.0, fwhm=10.0, nStars=60),
    "a crowd, clipped": integers(LEVEL, nStars=4000),
    "flat-fielded": flatFielded,
    "non-linear cores": nonLinear,
    "coadd of five dithered frames": coadd,
    "trails masked, header right": trails(header=LEVEL),
    "trails masked, no header": trails(),
    "trails masked, header too low": trails(header=0.6 * LEVEL),
    "trails unmasked, header right": trails("none", header=LEVEL),
    "trails and cores unmasked": trails("none", coreLevel=LEVEL),
    "stuck columns, masked": stuckColumns,
    "40 stars of one brightness": equalStars,
    "mask too small": smallMask,
    "masked without a reason": hiddenAsBad,
    "header too high": header(65535.0),
    "header too low": header(0.6 * LEVEL),
    "header in counts per second": header(400.0),
    "a planet's flat disc": disc(25.0, 0.0),
    "a planet's disc, limb darkened": disc(30.0, 0.4),
    "a small planet": disc(9.0, 0.2),
    "a planet's disc, clipped": disc(25.0, 0.3, 2e4),
    "nothing saturated": whole(),
    "nothing saturated, a crowd": whole(nStars=4000),
    "nothing saturated, FWHM 12 px": whole(nStars=40, fwhm=12.0),
}


def measured(make: Callable[[np.random.Generator], Situation], nSeeds: int) -> str:
    """Return the columns of one situation."""
    counts, ratios = np.zeros(3, dtype=int), []
    for seed in range(nSeeds):
        situation = make(np.random.default_rng(seed))
        found = findSaturation(situation.exposure)
        had = situation.exposure.mask.hasAny("SAT")
        new = flagSaturation(situation.exposure, found).mask.hasAny("SAT") & ~had
        missed = situation.saturated & ~had & ~new
        counts += [(new & situation.saturated).sum(), (new & ~situation.saturated).sum(), missed.sum()]
        if found.level is not None:
            ratios.append(found.level / (situation.level or np.nan))
    told = f"{min(ratios):.3f} to {max(ratios):.3f}" if ratios else "none"
    return f"{told} | {len(ratios)} | {counts[0]} | {counts[1]} | {counts[2]}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Whether saturated pixels are found.")
    parser.add_argument("--seeds", type=int, default=10, help="fields of each situation")
    parser.add_argument("--only", nargs="+", default=[""], help="situations whose names have one of these words")
    arguments = parser.parse_args()
    print("| situation | level / true | found | true | false | missed |\n|---|---|---|---|---|---|")
    for name, make in SITUATIONS.items():
        if any(word in name for word in arguments.only):
            print(f"| {name} | {measured(make, arguments.seeds)} |", flush=True)


if __name__ == "__main__":
    main()
