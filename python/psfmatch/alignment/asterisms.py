"""Which stars of one list are which of another: displacements of bright pairs vote, nearest neighbours are counted.

All displacements between the brightest stars of both lists are counted in a grid, once for each of a few rotations and
scales; where many agree is the transform. From there pairs of nearest neighbours and a fit by least squares
take turns, closer each time. A match is believed if chance would give as many pairs less than once in a thousand times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Match", "applied", "fitAffine", "matchStars"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

N_BRIGHT = (100, 300)
"""Numbers of the brightest stars that vote; the second where the first find nothing."""
MAX_ANGLE = 0.021
"""Radians; 1.2 degrees."""
MAX_STRETCH = 0.012
MIN_BIN_PIX = 3.0
N_PEAKS = 3
"""Of the places where most displacements agree, those that are followed up."""
MIN_TOLERANCE_PIX = 1.0
N_ROUNDS = 8
WIDE_TOLERANCE_PIX = 3.0
"""A transform that was fitted in a part of the field picks up the rest within this."""
MIN_SHARE = 0.5
"""Of the shorter list: a match with fewer pairs may be a part of a better one."""
MAX_CHANCE = 1e-3
MIN_SIMILARITY, MIN_AFFINE = 4, 8
"""Pairs from which rotation and scale, and all linear terms, are followed; fewer tell a shift alone."""


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of stars of two lists.

    first, second : (k,) indices; chance : expected number of times that as many pairs agree by accident.
    """

    first: IntArray
    second: IntArray
    chance: float

    def __len__(self) -> int:
        return int(self.first.size)

    @property
    def isFound(self) -> bool:
        """Whether chance does not explain it."""
        return len(self) >= 2 and self.chance < MAX_CHANCE


def matchStars(first: FloatArray, second: FloatArray, area: float, maxOffset: float) -> Match:
    """Find the pairs of stars that one affine transform takes into each other.

    Parameters
    ----------
    first, second
        (n, 2) and (m, 2), positions in pixels, brightest first.
    area
        Square pixels over which the stars are spread.
    maxOffset
        Largest displacement (pixels) along each axis.

    Returns
    -------
    match : Match
        The one that chance explains least; `Match.isFound` tells whether to believe it.
    """
    best = Match(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), math.inf)
    if not (len(first) and len(second)):
        return best
    for n in N_BRIGHT:
        for matrix in _vote(first[:n], second[:n], area, maxOffset):
            found = _refine(first, second, matrix, n, area)
            if (found.chance, -len(found)) < (best.chance, -len(best)):
                best = found
        isMost = len(best) >= MIN_SHARE * min(len(first), len(second))
        if (best.isFound and isMost) or max(len(first), len(second)) <= n:
            break
    return best


def fitAffine(first: FloatArray, second: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Return the (2, 3) matrix of least squares that takes positions (k, 2) to others; 1 / square of error (k, 2)."""
    terms = np.column_stack([first, np.ones(len(first))])
    if weights is None:
        weights = np.ones_like(second)
    rows = []
    for axis in (0, 1):
        root = np.sqrt(weights[:, axis])
        rows.append(np.linalg.lstsq(terms * root[:, np.newaxis], second[:, axis] * root, rcond=None)[0])
    return np.array(rows)


def applied(matrix: FloatArray, positions: FloatArray) -> FloatArray:
    """Return positions (k, 2) taken through a (2, 3) matrix."""
    return np.asarray(positions @ matrix[:, :2].T + matrix[:, 2])


def _vote(first: FloatArray, second: FloatArray, area: float, maxOffset: float) -> list[FloatArray]:
    """Return (2, 3) matrices about which most displacements agree, the best first."""
    side = math.sqrt(area)
    size = max(MIN_BIN_PIX, min(0.01 * side, 0.1 * math.sqrt(area / max(len(first), len(second)))))
    centre = 0.5 * (first.min(axis=0) + first.max(axis=0))
    # Neighbouring rotations move the farthest stars by two bins against each other.
    step = 4.0 * size / max(float(np.hypot(*np.ptp(first, axis=0))), 4.0 * size / MAX_ANGLE)
    # Few stars tell a shift alone.
    isFew = min(len(first), len(second)) < MIN_SIMILARITY
    angles, stretches = ([0.0], [0.0]) if isFew else (_steps(MAX_ANGLE, step), _steps(MAX_STRETCH, step))
    found = []
    for angle in angles:
        for stretch in stretches:
            a, b = (1.0 + stretch) * math.cos(angle), (1.0 + stretch) * math.sin(angle)
            linear = np.array([[a, -b], [b, a]])
            turned = (first - centre) @ linear.T + centre
            for votes, shift in _peaks(turned, second, size, maxOffset):
                offset = centre - linear @ centre + shift
                # Of equal votes those without rotation and scale come first.
                found.append((-votes, abs(angle) + abs(stretch), np.column_stack([linear, offset])))
    found.sort(key=lambda entry: entry[:2])
    return [matrix for _, _, matrix in found[:N_PEAKS]]


def _steps(largest: float, step: float) -> list[float]:
    n = math.ceil(largest / step)
    return [largest * i / n for i in range(-n, n + 1)]


def _peaks(first: FloatArray, second: FloatArray, size: float, maxOffset: float) -> list[tuple[int, FloatArray]]:
    """Return the votes for, and the means of, the displacements in those 2x2 bins (pixels) where most agree."""
    moves = (second[np.newaxis] - first[:, np.newaxis]).reshape(-1, 2)
    moves = moves[(np.abs(moves) <= maxOffset).all(axis=1)]
    if not len(moves):
        return []
    n = math.ceil(2.0 * maxOffset / size) + 1
    bins = np.floor((moves + maxOffset) / size).astype(np.int64)
    counts = np.bincount(bins[:, 1] * n + bins[:, 0], minlength=n * n).reshape(n, n)
    pooled = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    found = []
    for _ in range(N_PEAKS):
        row, column = np.unravel_index(np.argmax(pooled), pooled.shape)
        votes = int(pooled[row, column])
        if votes == 0:
            break
        isHere = np.isin(bins[:, 0] - column, (0, 1)) & np.isin(bins[:, 1] - row, (0, 1))
        found.append((votes, np.median(moves[isHere], axis=0)))
        pooled[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
    return found


def _refine(first: FloatArray, second: FloatArray, matrix: FloatArray, n: int, area: float) -> Match:
    """Return the pairs that follow from a first guess of the transform."""
    tolerance = 2.0 * max(MIN_BIN_PIX, min(0.01 * math.sqrt(area), 0.1 * math.sqrt(area / n)))
    one, other = _pairs(applied(matrix, first[:n]), second[:n], tolerance)
    nHypotheses = 1
    for _ in range(N_ROUNDS):
        if not one.size:
            break
        matrix, scatter, nHypotheses = _fitRobust(first[one], second[other], matrix)
        tolerance = max(MIN_TOLERANCE_PIX, min(4.0 * scatter, 0.7 * tolerance))
        one, other = _pairs(applied(matrix, first), second, tolerance)
        if tolerance == MIN_TOLERANCE_PIX:
            break
    for _ in range(N_ROUNDS):
        if one.size < 2:
            break
        wide = _pairs(applied(matrix, first), second, WIDE_TOLERANCE_PIX)
        wider, scatter, nFixed = _fitRobust(first[wide[0]], second[wide[1]], matrix)
        # What is left of a distortion is part of the match.
        wideEnough = max(MIN_TOLERANCE_PIX, min(4.0 * scatter, WIDE_TOLERANCE_PIX))
        found = _pairs(applied(wider, first), second, wideEnough)
        if found[0].size <= one.size:
            break
        (one, other), matrix, nHypotheses, tolerance = found, wider, nFixed, wideEnough
    expected = len(first) * len(second) * math.pi * tolerance**2 / area
    chance = _chance(len(first) * len(second), nHypotheses, one.size, expected)
    return Match(one, other, chance)


def _fitRobust(first: FloatArray, second: FloatArray, guess: FloatArray) -> tuple[FloatArray, float, int]:
    """Return the transform of pairs, the scatter (pixels, per axis) about it, and how many pairs fix it."""
    used = np.ones(len(first), dtype=bool)
    matrix, nFixed = guess, 1
    scatter = math.inf
    for _ in range(5):
        k = int(used.sum())
        if k < MIN_SIMILARITY:
            matrix, nFixed = guess.copy(), 1
            left = second[used] - first[used] @ matrix[:, :2].T
            matrix[:, 2] = np.median(left, axis=0)
        elif k < MIN_AFFINE:
            matrix, nFixed = _fitSimilarity(first[used], second[used]), 2
        else:
            matrix, nFixed = fitAffine(first[used], second[used]), 3
        distance = np.abs(second - applied(matrix, first)).max(axis=1)
        scatter = 1.4826 * float(np.median(distance[used]))
        kept = distance <= max(3.0 * scatter, 0.1)
        if (kept == used).all() or kept.sum() < 2:
            break
        used = kept
    return matrix, scatter, nFixed


def _fitSimilarity(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the (2, 3) matrix of rotation, scale and shift by least squares."""
    middle, target = first.mean(axis=0), second.mean(axis=0)
    p, q = (first - middle) @ (1.0, 1.0j), (second - target) @ (1.0, 1.0j)
    factor = np.vdot(p, q) / max(float(np.vdot(p, p).real), 1e-300)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, target - linear @ middle])


def _pairs(first: FloatArray, second: FloatArray, tolerance: float) -> tuple[IntArray, IntArray]:
    """Return indices of the stars that are each other's nearest, within a tolerance (pixels)."""
    square = ((first[:, np.newaxis] - second[np.newaxis]) ** 2).sum(axis=2)
    nearest, back = square.argmin(axis=1), square.argmin(axis=0)
    index = np.arange(len(first))
    isPair = (back[nearest] == index) & (square[index, nearest] <= tolerance**2)
    return index[isPair], nearest[isPair]


def _chance(nPairs: int, nFixed: int, nFound: int, expected: float) -> float:
    """Return how often as many pairs agree by accident.

    `nFixed` of `nPairs` possible pairs fix a transform, of which there are so many; the others then agree as often
    as a Poisson distribution says.
    """
    k = nFound - nFixed
    if k <= expected or k < 1:
        return math.inf
    tail = k * math.log(expected) - expected - math.lgamma(k + 1) - math.log1p(-expected / (k + 1))
    return math.exp(min(700.0, nFixed * math.log(nPairs) + tail))
