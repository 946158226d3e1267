"""The fit of the profile that all stars of an image share, and how much it varies over the field.

Each star gives six equations for its shape (`_core.starEquations`), its flux, place and sky eliminated, and with them
what its chi-square is near the present shape. How much width and ellipticity vary is as likely as it makes the stars
(the evidence of MacKay 1992, Neural Computation 4, 415), and the field is the mean over what is likely: where few stars
tell, it is drawn to a constant one. A second function is added where it takes up light. Stars that do not agree with
the field, for neighbours too near to be seen, lose their weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.sources.starProfile import (
    BETA,
    E1,
    E2,
    RATIO,
    SHARE,
    WIDTH,
    ProfileField,
    SourceField,
    nTerms,
    orderOf,
    termsAt,
)

__all__ = ["fitProfile", "meanResidual"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Variation = tuple[float, float]
"""Of the logarithm of the width, and of the ellipticity."""

VARYING = (WIDTH, E1, E2)
MAX_ORDER = 2
MIN_VARYING = 3
"""Fewer stars tell of no variation at all."""
VARIATIONS = (0.0, 0.003, 0.01, 0.02, 0.04, 0.08)
"""Standard deviations of the polynomials' linear terms that are tried; those of each higher degree are smaller."""
DECAY = 0.8
FIRST_STEPS, SECOND_STEPS = 4, 6
SECOND_SIGMA = 3.0
"""The second function is tried where it takes up light by so many of its errors."""
PRIOR_MEAN, PRIOR_SIGMA = (0.3, 0.15, 0.7, 0.0, 0.0, 0.0), (0.3, 0.3, 0.4, 10.0, 10.0, 10.0)
"""What stars that tell nothing have: beta about 3, a seventh of the light in wings of twice the width."""
SCATTERS = (0.03, 0.01, 0.003, 0.001)
"""Scatter of the stars' shapes about the field beyond their noise; wide as long as the field is not known well."""
SEARCHES = (0,)
"""Steps after which sources are looked for that the light of others has hidden."""
OFF_CHI2 = 16.0
"""Stars whose shape is farther off count less; chi-square of four to six numbers."""
LEAST_CHI2 = 1e-6
"""Per pixel: an image without noise."""
MIN_AGREEMENT = 0.1
RING_SIGMA = 2.0


def fitProfile(
    sources: SourceField,
    fwhm: float,
    frame: tuple[float, float, float, float],
    minSnr: float,
    find: Callable[[SourceField, ProfileField], FloatArray],
) -> tuple[ProfileField, BoolArray]:
    """Fit the profile of an image's stars.

    Parameters
    ----------
    sources
        Their fluxes, places and skies become those of the fit.
    fwhm
        First guess, pixels.
    frame
        Of the polynomials, array coordinates.
    minSnr
        Flux over error that a star needs.
    find
        Returns sources (n, 4) that show only without the light of those that are known.

    Returns
    -------
    field, isUsed : ProfileField, (n,)
        The profile, and which sources have told it.
    """
    field = ProfileField(np.array([[0.25, 0.0, 0.7, np.log(fwhm), 0.0, 0.0]]).T, frame)
    for _ in range(FIRST_STEPS):
        field, isUsed = _stepped(sources, field, minSnr, SCATTERS[0])
    field = _withSecond(sources, field, minSnr)
    for _ in range(SECOND_STEPS if field.second else 0):
        field, isUsed = _stepped(sources, field, minSnr, SCATTERS[0])
    for number, scatter in enumerate(SCATTERS):
        field, isUsed = _stepped(sources, field, minSnr, scatter, choose=True)
        if number in SEARCHES:
            sources.add(find(sources, field))
            isUsed = np.concatenate([isUsed, np.zeros(len(sources.stars) - len(isUsed), dtype=bool)])
    return field, isUsed


def _stepped(
    sources: SourceField, field: ProfileField, minSnr: float, scatter: float, choose: bool = False
) -> tuple[ProfileField, BoolArray]:
    """Take one step of Gauss and Newton for all sources and their profile; return it and the stars that told it."""
    normal, right, own, coupling = sources.equations(field)
    isUsed = sources.usable(minSnr)
    if not isUsed.any():
        sources.move(own)
        return field, isUsed
    before = field.shapes(*sources.stars[:, :2].T)
    quadratics = _Quadratics(normal[isUsed], right[isUsed], before[isUsed], sources.stars[isUsed], field)
    chi2 = sources.chi2[isUsed] / sources.nPixels[isUsed]
    quadratics.judge(chi2, scatter)
    solution = quadratics.likelySolution() if choose else quadratics.solution(0)
    field = field.ofOrder(orderOf(solution.shape[1]))
    field = field.moved(solution - field.coefficients)
    change = field.shapes(*sources.stars[:, :2].T) - before
    sources.move(own - np.einsum("nab,nb->na", coupling, change))
    isUsed[isUsed] = quadratics.agreement > MIN_AGREEMENT
    return field, isUsed


def _withSecond(sources: SourceField, field: ProfileField, minSnr: float) -> ProfileField:
    """Return the field with a second function, if a first step gives it light well above its error."""
    little = field.coefficients.copy()
    little[SHARE, 0] = 1e-4
    trial = replace(field, coefficients=little, second=True)
    normal, right, _, _ = sources.equations(trial)
    isUsed = sources.usable(minSnr)
    if not isUsed.any():
        return field
    shapes = trial.shapes(*sources.stars[isUsed, :2].T)
    quadratics = _Quadratics(normal[isUsed], right[isUsed], shapes, sources.stars[isUsed], trial)
    quadratics.judge(sources.chi2[isUsed] / sources.nPixels[isUsed], SCATTERS[0])
    share, error = quadratics.shareOfSecond()
    return trial.moved(quadratics.solution(0) - little) if share > SECOND_SIGMA * error else field


class _Quadratics:
    """What each star's chi-square is near its present shape: d^T H d - 2 r^T d, and polynomials through them."""

    def __init__(
        self, normal: FloatArray, right: FloatArray, shapes: FloatArray, stars: FloatArray, field: ProfileField
    ) -> None:
        n = len(normal)
        self.common = [BETA, SHARE, RATIO] if field.second else [BETA]
        # No more terms than stars tell would call what they leave open known: what is likely of it has its say.
        self.order = MAX_ORDER if n >= MIN_VARYING else field.order
        terms = termsAt(stars[:, 0], stars[:, 1], field.frame, self.order)
        p = terms.shape[1]
        # Unknowns are the common numbers and, term by term, those that vary.
        design = np.zeros((n, 6, len(self.common) + 3 * p))
        for k, number in enumerate(self.common):
            design[:, number, k] = 1.0
        for k, number in enumerate(VARYING):
            design[:, number, len(self.common) + k :: 3] = terms
        turned = design.transpose(0, 2, 1)
        free = [*self.common, *VARYING]
        self.nFree = len(free)
        block = normal[np.ix_(range(n), free, free)]
        side = np.einsum("nab,nb->na", block, shapes[:, free]) + right[:, free]
        turned = design.transpose(0, 2, 1)
        self.matrix = turned @ normal @ design
        self.side = np.einsum("nai,na->ni", design[:, free], side)
        # Stars that leave something open get a little curvature.
        curvature = block + 1e-9 * np.einsum("naa->n", block)[:, None, None] * np.eye(self.nFree)
        self.off = np.einsum("na,nab,nb->n", right[:, free], np.linalg.inv(curvature), right[:, free])
        self.information = normal[:, WIDTH, WIDTH]
        self.weight = np.ones(n)

    def judge(self, chi2: FloatArray, scatter: float) -> None:
        """Weigh the stars, whose chi-squares per pixel are `chi2`.

        Less where that is worse than usual, and for the scatter of shapes beyond their noise; and the less, the less
        the shape agrees with the field, for many a star has a neighbour too near to be seen.
        """
        weight = 1.0 / np.maximum(chi2, max(float(np.median(chi2)), LEAST_CHI2))
        weight /= 1.0 + weight * self.information * scatter**2
        off = weight * self.off
        # Median of chi-square of so many degrees of freedom (Wilson & Hilferty 1931).
        usual = self.nFree * (1.0 - 2.0 / (9.0 * self.nFree)) ** 3
        scale = max(1.0, float(np.median(off)) / usual)
        self.agreement = np.minimum(1.0, OFF_CHI2 * scale / np.maximum(off, 1e-30)) ** 2
        self.weight = weight * self.agreement / scale

    def solution(self, order: int, variation: Variation = (0.0, 0.0)) -> FloatArray:
        """Return the coefficients (6, p) of the polynomials of an order that vary by so much."""
        return self._solved(order, self._sums(self.weight), variation)[0]

    def likelySolution(self) -> FloatArray:
        """Return the mean (6, p) of the solutions of all variations, as likely as each makes the stars.

        That of a constant shape, where no variation makes them more likely than none does.
        """
        sums = self._sums(self.weight)
        variations = [(width, ellipse) for width in VARIATIONS for ellipse in VARIATIONS]
        solved = [self._solved(self.order, sums, variation) for variation in variations]
        likelihoods = np.array([each[1] for each in solved])
        if variations[int(np.argmax(likelihoods))] == (0.0, 0.0):
            return self.solution(0)
        weights = np.exp(likelihoods - likelihoods.max())
        mean: FloatArray = np.tensordot(weights / weights.sum(), np.array([each[0] for each in solved]), 1)
        return mean

    def _solved(
        self, order: int, sums: tuple[FloatArray, FloatArray], variation: Variation
    ) -> tuple[FloatArray, float]:
        """Return the coefficients (6, p), and the logarithm of how likely that variation makes the stars."""
        matrix, side, prior = self._system(order, sums, variation)
        keep = np.isfinite(prior)
        lower = np.linalg.cholesky(matrix[np.ix_(keep, keep)])
        half = np.linalg.solve(lower, side[keep])
        likelihood = 0.5 * float(half @ half) - float(np.log(np.diag(lower)).sum())
        unknowns = np.zeros(side.size)
        unknowns[keep] = np.linalg.solve(lower.T, half)
        p, nCommon = nTerms(order), len(self.common)
        coefficients = np.zeros((6, p))
        coefficients[RATIO, 0] = PRIOR_MEAN[RATIO]
        coefficients[self.common, 0] = unknowns[:nCommon]
        coefficients[list(VARYING)] = unknowns[nCommon:].reshape(p, 3).T
        return coefficients, likelihood + 0.5 * float(np.log(prior[keep]).sum())

    def shareOfSecond(self) -> tuple[float, float]:
        """Return the share of the second function, and its error."""
        matrix, side, _ = self._system(0, self._sums(self.weight), (0.0, 0.0))
        inverse = np.linalg.inv(matrix)
        return float((inverse @ side)[1]), float(np.sqrt(inverse[1, 1]))

    def _sums(self, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        n, m = self.side.shape
        return (weight @ self.matrix.reshape(n, m * m)).reshape(m, m), weight @ self.side

    def _system(
        self, order: int, sums: tuple[FloatArray, FloatArray], variation: Variation
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the weighted sums of the stars' equations with what is assumed of what no star tells, and that."""
        m = len(self.common) + 3 * nTerms(order)
        prior = np.full(m, np.inf)
        mean = np.zeros(m)
        numbers = [*self.common, *VARYING]
        prior[: len(numbers)] = np.array(PRIOR_SIGMA)[numbers] ** -2
        mean[: len(numbers)] = np.array(PRIOR_MEAN)[numbers]
        degrees = np.repeat(np.arange(1, order + 1), np.arange(2, order + 2))
        for k, number in enumerate(VARYING):
            sigma = variation[0 if number == WIDTH else 1]
            if sigma > 0.0:
                prior[len(numbers) + k :: 3] = (sigma * DECAY ** (degrees - 1.0)) ** -2
        isKept = np.isfinite(prior)
        matrix, side = sums[0][:m, :m].copy(), sums[1][:m]
        matrix[np.arange(m), np.arange(m)] += np.where(isKept, prior, 0.0)
        side = side + np.where(isKept, prior, 0.0) * mean
        return matrix, side, prior


def meanResidual(sources: SourceField, profile: ProfileField, isUsed: BoolArray) -> FloatArray:
    """Return what the profile leaves of the stars (k, k) in the mean, as far as it is more than noise.

    Means of rings are kept where they are above two sigma; what differs from them is drawn towards zero by its noise's
    share in its own scatter (James & Stein 1961).
    """
    half = math.ceil(2.0 * math.exp(float(profile.coefficients[WIDTH, 0])))
    stars = sources.stars[isUsed]
    chi2 = sources.chi2[isUsed] / sources.nPixels[isUsed]
    factors = 1.0 / np.maximum(chi2, max(float(np.median(chi2)), LEAST_CHI2))
    factors /= factors.max()
    mean, variance = _core.meanResidual(
        sources.residual(profile), sources.weight, stars, factors, half=half, nThreads=sources.threads
    )
    offset = np.arange(-half, half + 1)
    ring = np.floor(np.hypot(offset[:, None], offset) + 0.5).astype(np.int64)
    kept = np.zeros_like(mean)
    for radius in range(half + 1):
        isRing = (ring == radius) & np.isfinite(variance)
        n = int(np.count_nonzero(isRing))
        if n == 0:
            continue
        values, weights = mean[isRing], 1.0 / variance[isRing]
        level = float((values * weights).sum() / weights.sum())
        kept[isRing] = level if abs(level) > RING_SIGMA / math.sqrt(weights.sum()) else 0.0
        if n > 3:
            scatter = float(((values - level) ** 2 * weights).sum())
            kept[isRing] += max(0.0, 1.0 - (n - 3) / scatter if scatter > 0.0 else 0.0) * (values - level)
    return kept
