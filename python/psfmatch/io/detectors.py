"""What a header says of the noise, gain and read noise, and whether the pixels agree.

Cards of a gain are often wrong: a setting of the camera, the value before frames were averaged, or of counts that have
been scaled since. So it is used where pixels differ from their neighbours by as much as it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psfmatch.io.cards import numberOf
from psfmatch.io.units import isRateOrFlux, unitOf

GAIN_CARDS = "EGAIN", "GAIN", "CCDGAIN", "ATODGAIN", "HIERARCH ESO DET OUT1 CONAD"
"""Cards of the gain, e-/count, the more reliable first: GAIN may be a setting of the camera."""
READ_NOISE_CARDS = "RDNOISE", "READNOIS", "READNOI", "RON", "ENOISE", "HIERARCH ESO DET OUT1 RON"
"""Cards of the read noise, e-."""
COUNT_CARDS = "NCOMBINE", "NCOMB", "NFRAMES", "NSTACK"
"""Cards of the number of frames that were combined."""
SQUARE_PIX = 8
FAINTEST = 0.4
"""Squares of that side are looked at where they are faintest: in a crowd the others show stars."""
SIGMA_PER_QUARTILES = 0.7413
AGREEMENT = 0.25
"""Relative difference of variances up to which pixels agree with a header; a crowd adds a tenth to a fifth."""


@dataclass(frozen=True)
class DetectorNoise:
    """Gain (e-/count) and read noise (e-) of the counts of an image, and the words for where they come from."""

    gain: float
    readNoise: float
    words: str

    def variance(self, level: float) -> float:
        """Return the variance (counts squared) of pixels of a level (counts)."""
        return max(level, 0.0) / self.gain + (self.readNoise / self.gain) ** 2


def detectorsOf(headers: Sequence[Mapping[str, Any]]) -> list[DetectorNoise]:
    """Return what headers, of the image and of its file, may mean, the likeliest first; nothing where counts are rates.

    Electrons have a gain of 1. Of n combined frames a mean has n times the gain, a sum has it as it is, both the read
    noise of n frames.
    """
    unit = unitOf(next((str(header["BUNIT"]) for header in headers if header.get("BUNIT")), None))
    if isRateOrFlux(unit):
        return []
    readCard, readNoise = _first(headers, READ_NOISE_CARDS, 0.0, 10_000.0)
    read = f" and {readCard} = {readNoise:g} e-" if readCard else ""
    gains = [(card, value) for card in GAIN_CARDS if (value := _number(headers, card, 0.01, 1000.0)) is not None]
    found = [DetectorNoise(value, readNoise, f"{card} = {value:g} e-/count{read}") for card, value in gains]
    if unit is not None and unit == unitOf("electron"):
        found.insert(0, DetectorNoise(1.0, readNoise, f"counts in electrons{read}"))
    countCard, count = _first(headers, COUNT_CARDS, 1.5, 100_000.0)
    if countCard:
        combined = [
            DetectorNoise(
                scale * one.gain, math.sqrt(count) * one.readNoise, f"{one.words}, a {kind} of {count:g} frames"
            )
            for one in found
            for kind, scale in (("mean", count), ("sum", 1.0))
        ]
        found = combined + found
    return found


def neighbourScatter(blocks: NDArray[np.float64]) -> tuple[float, float]:
    """Return level and noise of the faintest pixels of blocks (n, h, w), by what they differ from their neighbours.

    NaN where there are too few pixels; those that are NaN take no part.
    """
    n, height, width = blocks.shape
    rows, columns = height // SQUARE_PIX, width // SQUARE_PIX
    if not (n and rows and columns and min(height, width) >= 3):
        return math.nan, math.nan
    squares = blocks[:, : rows * SQUARE_PIX, : columns * SQUARE_PIX]
    squares = squares.reshape(n, rows, SQUARE_PIX, columns, SQUARE_PIX).swapaxes(2, 3)
    flat = squares.reshape(-1, SQUARE_PIX, SQUARE_PIX)
    flat = flat[np.isfinite(flat).all(axis=(1, 2))]
    if len(flat) < 5:
        return math.nan, math.nan
    levels = np.median(flat, axis=(1, 2))
    faint = flat[levels <= np.quantile(levels, FAINTEST)]
    differences = np.concatenate(
        [
            (faint[:, :, 1:-1] - 0.5 * (faint[:, :, :-2] + faint[:, :, 2:])).ravel(),
            (faint[:, 1:-1] - 0.5 * (faint[:, :-2] + faint[:, 2:])).ravel(),
        ]
    )
    low, high = np.quantile(differences, (0.25, 0.75))
    # A pixel less the mean of two others has 1.5 times the variance of one.
    return float(np.median(faint)), SIGMA_PER_QUARTILES * float(high - low) / math.sqrt(1.5)


def agrees(detector: DetectorNoise, level: float, scatter: float) -> bool:
    """Return whether pixels of a level scatter as a detector says."""
    return abs(scatter**2 / detector.variance(level) - 1.0) <= AGREEMENT if detector.variance(level) > 0.0 else False


def _first(headers: Sequence[Mapping[str, Any]], cards: Sequence[str], low: float, high: float) -> tuple[str, float]:
    """Return the first card that holds a number between two limits, and the number; "" and 0 if none does."""
    for card in cards:
        if (value := _number(headers, card, low, high)) is not None:
            return card, value
    return "", 0.0


def _number(headers: Sequence[Mapping[str, Any]], card: str, low: float, high: float) -> float | None:
    values = (numberOf(header, card) for header in headers)
    return next((value for value in values if value is not None and low < value < high), None)
