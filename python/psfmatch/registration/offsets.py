"""Models of the offsets between two lists of positions, fitted to pairs of which some are wrong.

Nothing, a shift, a turn with a scale, or an affine transform, by least squares with the errors of the positions and a
scatter of their own that makes chi^2 what it should be. The model is chosen by the Bayesian information criterion
(Schwarz 1978, Ann. Stat. 6, 461): chi^2 + p ln n for p parameters and n numbers.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.registration.asterisms import Match
from psfmatch.registration.centroids import StarPositions

__all__ = ["IDENTITY", "Model", "OffsetFits", "Rows", "applied", "asRows", "displaced", "excessVariance"]

FloatArray = npt.NDArray[np.float64]
Rows = tuple[tuple[float, float, float], tuple[float, float, float]]
Model = Literal["none", "shift", "similarity", "affine"]

IDENTITY: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
PARAMETERS: dict[Model, int] = {"none": 0, "shift": 2, "similarity": 4, "affine": 6}
MIN_AFFINE_STARS, MIN_SIMILARITY_STARS = 8, 4
"""Fewer stars tell a shift alone: six numbers from them, or four, would follow a single bad centroid."""
LEAST_KEPT: dict[Model, int] = {"shift": 2, "similarity": MIN_SIMILARITY_STARS, "affine": MIN_AFFINE_STARS}
"""Stars that no rejection may go below."""
MIN_VARIANCE = 1e-8
"""Square pixels: images without noise do not place stars better than to 1e-4."""
CLIP_SIGMA = 4.0
N_CLIPS = 10
N_REWEIGHTED = 20
MEDIAN_OF_SQUARES = 0.4549
"""Median of the square of a normal deviate."""


class OffsetFits:
    """Least-squares fits of all models to the same recognised stars, without outliers.

    used : (k,) of the pairs; matrices and errors : (2, 3) by model; squares : (k, 2) of the residuals (pixels) by
    model; merit : Bayesian information criterion by model.

    Parameters
    ----------
    science, template
        Stars; those of the template in pixels of the science image.
    match
        Which are which.
    centre
        (x, y), about which the matrices act.
    isTurned
        Whether a turn and a scale of any size are possible, which few stars tell, too.
    """

    def __init__(
        self,
        science: StarPositions,
        template: StarPositions,
        match: Match,
        centre: tuple[float, float],
        isTurned: bool = False,
    ) -> None:
        one, other = match.first, match.second
        start = science.positions[one] - centre
        end = template.positions[other] - centre
        variance = MIN_VARIANCE + np.column_stack(
            [science.xErr[one] ** 2 + template.xErr[other] ** 2, science.yErr[one] ** 2 + template.yErr[other] ** 2]
        )
        models: list[Model] = ["none", "shift"]
        if isTurned and len(one) >= MIN_SIMILARITY_STARS:
            models.append("similarity")
        if len(one) >= MIN_AFFINE_STARS:
            models.append("affine")
        richest = models[-1]
        used = _withoutOutliers(richest, start, end, variance)
        for _ in range(N_CLIPS):
            floor = 0.0
            for _ in range(3):
                matrix, _ = _fit(richest, start[used], end[used], variance[used] + floor)
                squares = (end - applied(matrix, start)) ** 2
                floor = excessVariance(squares[used], variance[used], PARAMETERS[richest])
            # The middle of all pairs: that of those kept would shrink from round to round.
            typical = np.median(squares / (variance + floor)) / MEDIAN_OF_SQUARES
            limit = CLIP_SIGMA**2 * max(float(typical), 1.0) * (variance + floor)
            kept = np.asarray((squares <= limit).all(axis=1))
            if (kept == used).all() or kept.sum() < min(len(one), LEAST_KEPT[richest]):
                break
            used = kept
        self.used = used
        self.matrices: dict[Model, FloatArray] = {}
        self.errors: dict[Model, FloatArray] = {}
        self.squares: dict[Model, FloatArray] = {}
        self.merit: dict[Model, float] = {}
        total = variance[used] + floor
        for model in models:
            matrix, errors = _fit(model, start[used], end[used], total)
            self.matrices[model], self.errors[model] = matrix, errors
            self.squares[model] = (end[used] - applied(matrix, start[used])) ** 2
            chi2 = float((self.squares[model] / total).sum())
            self.merit[model] = chi2 + PARAMETERS[model] * math.log(total.size)

    @property
    def best(self) -> Model:
        """Model of the smallest criterion."""
        return min(self.merit, key=lambda model: self.merit[model])

    def rms(self, model: Model) -> float:
        """Root mean square of the residuals, per axis, pixels."""
        return math.sqrt(float(self.squares[model].mean()))


def _withoutOutliers(model: Model, start: FloatArray, end: FloatArray, variance: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which pairs agree with the fit of smallest absolute residuals, which a minority cannot mislead."""
    spread = variance
    for _ in range(N_REWEIGHTED):
        matrix, _ = _fit(model, start, end, spread)
        squares = (end - applied(matrix, start)) ** 2
        spread = np.sqrt(variance * np.maximum(squares, variance))
    typical = max(1.0, float(np.median(squares / variance)) / MEDIAN_OF_SQUARES)
    return np.asarray((squares <= CLIP_SIGMA**2 * typical * variance).all(axis=1))


def _fit(model: Model, start: FloatArray, end: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the (2, 3) matrix of a model for positions (k, 2) about the centre, and the errors of its terms."""
    matrix, errors = np.array(IDENTITY), np.zeros((2, 3))
    weights = 1.0 / variance
    if model == "shift":
        total = weights.sum(axis=0)
        matrix[:, 2] = (weights * (end - start)).sum(axis=0) / total
        errors[:, 2] = 1.0 / np.sqrt(total)
    elif model == "similarity":
        # x' = a x - b y + s and y' = b x + a y + t share their terms.
        x, y, zero = start[:, 0], start[:, 1], np.zeros(len(start))
        terms = np.vstack([np.column_stack([x, -y, zero + 1.0, zero]), np.column_stack([y, x, zero, zero + 1.0])])
        (found,), (sigma,) = _core.fitLinear(terms, end.T.reshape(-1, 1), variance.T.reshape(-1, 1))
        a, b, s, t = range(4)
        matrix = found[[[a, b, s], [b, a, t]]] * [[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]
        errors = sigma[[[a, b, s], [b, a, t]]]
    elif model == "affine":
        matrix, errors = _core.fitLinear(np.column_stack([start, np.ones(len(start))]), end, variance)
    return matrix, errors


def excessVariance(squares: FloatArray, variance: FloatArray, nParameters: int) -> float:
    """Return the variance that makes the squares (k, 2) of residuals as large as expected, beyond their own."""
    return _core.excessVariance(squares, variance, nParameters)


def applied(matrix: FloatArray, positions: FloatArray) -> FloatArray:
    """Return positions (k, 2) taken through a (2, 3) matrix."""
    return positions[:, :1] * matrix[:, 0] + positions[:, 1:] * matrix[:, 1] + matrix[:, 2]


def displaced(
    matrix: FloatArray, centre: tuple[float, float], x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return positions (x, y), arrays of any shape, moved by a (2, 3) matrix that acts about a centre."""
    u, v = np.asarray(x, dtype=np.float64) - centre[0], np.asarray(y, dtype=np.float64) - centre[1]
    newX = matrix[0, 0] * u + matrix[0, 1] * v + (matrix[0, 2] + centre[0])
    newY = matrix[1, 0] * u + matrix[1, 1] * v + (matrix[1, 2] + centre[1])
    return newX, newY


def asRows(matrix: FloatArray) -> Rows:
    """Return a (2, 3) matrix as tuples of numbers."""
    first, second = (tuple(float(value) for value in row) for row in matrix)
    return (first[0], first[1], first[2]), (second[0], second[1], second[2])
