"""The profile that all stars of an image share, as a function of position: fit and choice of the model.

Each star gives six equations for its shape (`_core.starEquations`), its flux, place and sky eliminated. Exponent and
second function are common to the field, the logarithm of the width and the ellipticity are polynomials of the position.
How much these vary is what makes the stars most likely (the evidence of MacKay 1992, Neural Computation 4, 415): where
few stars tell, little. All other sources are fitted with the same profile, and each is seen without the others' light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.kernels import makeSpatialFunction

__all__ = ["ProfileField", "SourceField", "fitProfile", "lightRadius"]

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Variation = tuple[float, float]
"""Of the logarithm of the width, and of the ellipticity."""

BETA, SHARE, RATIO, WIDTH, E1, E2 = range(6)
"""Numbers of a shape: 1/beta, share and logarithm of the relative width of the second function, that of the FWHM."""
VARYING = (WIDTH, E1, E2)
MAX_ORDER = 2
STARS_PER_TERM = 1.5
VARIATIONS = (0.0, 0.003, 0.01, 0.02, 0.04, 0.08)
"""Standard deviations of the polynomials' linear terms that are tried; those of each higher degree are smaller."""
DECAY = 0.8
STAR_REACH, OTHER_REACH = 3.5, 2.0
"""Radius of the pixels fitted about stars, and about other sources, in FWHM."""
FAINTEST = 0.1
"""A source is drawn to where a pixel has so much of the sky's noise."""
MAX_DRAWN_FWHM, MAX_DRAWN_PIX = 12.0, 80.0
MAX_MOVE_PIX = 1.5
MIN_SNR_PLACE = 10.0
"""Fainter sources stay where they were found."""
FIRST_STEPS, SECOND_STEPS = 4, 6
SECOND_SIGMA = 3.0
"""The second function is tried where it takes up light by so many of its errors."""
PRIOR_MEAN, PRIOR_SIGMA = (0.3, 0.15, 0.7, 0.0, 0.0, 0.0), (0.3, 0.3, 0.4, 10.0, 10.0, 10.0)
"""What stars that tell nothing have: beta about 3, a tenth of the light in wings of twice the width."""
SCATTERS = (0.03, 0.01, 0.003, 0.001)
"""Scatter of the stars' shapes about the field beyond their noise; wide as long as the field is not known well."""
SEARCHES = (0,)
"""Steps after which sources are looked for that the light of others has hidden."""
OFF_CHI2 = 16.0
"""Stars whose shape is farther off count less; chi-square of four to six numbers."""
MIN_COVERAGE = 0.9
MIN_AGREEMENT = 0.1


@dataclass(frozen=True)
class ProfileField:
    """Shapes of stars over an image.

    coefficients : (6, p), of the Chebyshev polynomials of each number; frame : of these; second : whether there is a
    second function.
    """

    coefficients: FloatArray
    frame: tuple[float, float, float, float]
    second: bool = False

    @property
    def order(self) -> int:
        """Order of the polynomials."""
        return orderOf(self.coefficients.shape[1])

    def shapes(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return the shapes (n, 6) at positions (n,) of the frame's pixels; beyond it those of its border."""
        shapes = termsAt(x, y, self.frame, self.order) @ self.coefficients.T
        shapes[:, BETA] = np.clip(shapes[:, BETA], 0.0, 0.75)
        shapes[:, SHARE] = np.clip(shapes[:, SHARE], -0.2, 0.9) if self.second else 0.0
        shapes[:, RATIO] = np.clip(shapes[:, RATIO], 0.2, 1.8)
        shapes[:, (E1, E2)] = np.clip(shapes[:, (E1, E2)], -0.6, 0.6)
        return shapes

    def ofOrder(self, order: int) -> ProfileField:
        """Return the same with room for the terms of another order."""
        wide = np.zeros((6, _nTerms(order)))
        n = min(wide.shape[1], self.coefficients.shape[1])
        wide[:, :n] = self.coefficients[:, :n]
        return replace(self, coefficients=wide)

    def moved(self, step: FloatArray) -> ProfileField:
        """Return the same after a step (6, p), shortened where it would lead far."""
        limits = np.array([0.15, 0.2, 0.3, 0.3, 0.3, 0.3])[:, None]
        coefficients = self.coefficients + np.clip(step, -limits, limits)
        coefficients[BETA, 0] = np.clip(coefficients[BETA, 0], 0.0, 0.75)
        coefficients[SHARE, 0] = np.clip(coefficients[SHARE, 0], -0.2, 0.9)
        coefficients[RATIO, 0] = np.clip(coefficients[RATIO, 0], 0.2, 1.8)
        return replace(self, coefficients=coefficients)


@dataclass
class SourceField:
    """All sources of an image: those of the list `isStar` tell the profile.

    stars : (n, 4) x, y (array coordinates), flux, sky; origin : (n, 2) where they were found.
    """

    image: FloatImage
    weight: FloatImage
    stars: FloatArray
    isStar: BoolArray
    threads: int

    def __post_init__(self) -> None:
        self.origin = self.stars[:, :2].copy()
        self.noise = 1.0 / float(np.sqrt(np.median(self.weight[self.weight > 0.0])))
        self.error = np.full(len(self.stars), np.inf)
        self.chi2 = np.full(len(self.stars), np.nan)
        self.nPixels = np.zeros(len(self.stars))
        self.coverage = np.zeros(len(self.stars))

    def add(self, stars: FloatArray) -> None:
        """Add sources (n, 4) that are no stars to fit the profile to."""
        n = len(stars)
        self.stars = np.concatenate([self.stars, stars])
        self.isStar = np.concatenate([self.isStar, np.zeros(n, dtype=bool)])
        self.origin = np.concatenate([self.origin, stars[:, :2]])
        self.error = np.concatenate([self.error, np.full(n, np.inf)])

    def residual(self, field: ProfileField) -> FloatImage:
        """Return the image (h, w) without the light of all sources."""
        model = np.zeros_like(self.image)
        shapes = field.shapes(self.stars[:, 0], self.stars[:, 1])
        _core.drawStars(model, self.stars, shapes, self._drawnRadii(shapes), nThreads=self.threads)
        return np.subtract(self.image, model, out=model)

    def equations(self, field: ProfileField) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return normal equations (n, 6, 6), (n, 6), own steps (n, 4) and their coupling (n, 4, 6) to the shape."""
        shapes = field.shapes(self.stars[:, 0], self.stars[:, 1])
        fwhm = np.exp(shapes[:, WIDTH])
        radii = np.where(self.isStar, np.maximum(STAR_REACH * fwhm, 6.0), np.maximum(OTHER_REACH * fwhm, 5.0))
        freedoms = np.where(self.isStar, 2, self.stars[:, 2] > MIN_SNR_PLACE * self.error)
        found = _core.starEquations(
            self.residual(field), self.weight, self.stars, shapes, radii, freedoms, nThreads=self.threads
        )
        n = found.shape[1]
        normal, right, step, coupling, rest = np.split(found, [36, 42, 46, 70])
        self.error, self.chi2 = np.sqrt(rest[0]), rest[1]
        self.nPixels, self.coverage = rest[2], rest[3]
        return normal.T.reshape(n, 6, 6), right.T, step.T, coupling.T.reshape(n, 4, 6)

    def usable(self, minSnr: float) -> BoolArray:
        """Return which stars (n,) the last equations make fit to tell the profile."""
        isUsable: BoolArray = self.isStar & (self.stars[:, 2] > minSnr * self.error) & np.isfinite(self.chi2)
        return isUsable & (self.coverage > MIN_COVERAGE)

    def move(self, step: FloatArray) -> None:
        """Take a step (n, 4) of flux, x, y and sky; NaN leaves a source without light."""
        isLost = ~np.asarray(np.isfinite(step).all(axis=1))
        step = np.where(isLost[:, None], 0.0, step)
        self.stars[:, 2] = np.where(isLost, 0.0, np.maximum(self.stars[:, 2] + step[:, 0], 0.0))
        places = self.stars[:, :2] + np.clip(step[:, 1:3], -0.5, 0.5)
        self.stars[:, :2] = np.clip(places, self.origin - MAX_MOVE_PIX, self.origin + MAX_MOVE_PIX)
        self.stars[:, 3] += step[:, 3]

    def _drawnRadii(self, shapes: FloatArray) -> FloatArray:
        """Return the radii (n,) in pixels where a source's profile falls into the noise."""
        b, share, ratio = np.maximum(shapes[:, BETA], 1e-3), np.abs(shapes[:, SHARE]), np.exp(shapes[:, RATIO])
        fwhm = np.exp(shapes[:, WIDTH])
        reach = np.zeros(len(shapes))
        with np.errstate(divide="ignore"):
            for part, width in ((1.0 - share, fwhm), (share, fwhm * ratio)):
                c = 4.0 * (2.0**b - 1.0) / (b * width**2)
                level = FAINTEST * self.noise / (self.stars[:, 2] * part * (1.0 - b) * c / np.pi)
                q = np.where(level < 1.0, (np.maximum(level, 1e-12) ** -b - 1.0) / b, 0.0)
                reach = np.maximum(reach, np.sqrt(q / c))
        return np.minimum(np.clip(reach, fwhm, MAX_DRAWN_FWHM * fwhm), MAX_DRAWN_PIX)


def lightRadius(shape: FloatArray, share: float) -> float:
    """Return the radius in pixels that holds a share of the light of a shape (6,)."""
    b, fwhm = max(float(shape[BETA]), 1e-3), float(np.exp(shape[WIDTH]))
    radii = fwhm * np.linspace(0.0, 30.0, 3001)
    outside = np.zeros_like(radii)
    for part, width in ((1.0 - shape[SHARE], fwhm), (shape[SHARE], fwhm * np.exp(shape[RATIO]))):
        q = 4.0 * (2.0**b - 1.0) / (b * width**2) * radii**2
        outside += part * (1.0 + b * q) ** (1.0 - 1.0 / b)
    return float(radii[min(int(np.argmax(outside <= 1.0 - share)) or radii.size - 1, radii.size - 1)])


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
    variation = quadratics.variation() if choose else (0.0, 0.0)
    field = field.ofOrder(quadratics.order if max(variation) > 0.0 else 0)
    field = field.moved(quadratics.solution(field.order, variation) - field.coefficients)
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
    return trial.moved(quadratics.solution(0) - little) if abs(share) > SECOND_SIGMA * error else field


class _Quadratics:
    """What each star's chi-square is near its present shape: d^T H d - 2 r^T d, and polynomials through them."""

    def __init__(
        self, normal: FloatArray, right: FloatArray, shapes: FloatArray, stars: FloatArray, field: ProfileField
    ) -> None:
        n = len(normal)
        self.common = [BETA, SHARE, RATIO] if field.second else [BETA]
        self.order = 0
        while self.order < MAX_ORDER and STARS_PER_TERM * _nTerms(self.order + 1) <= n:
            self.order += 1
        self.order = max(self.order, field.order)
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
        weight = 1.0 / np.maximum(chi2, float(np.median(chi2)))
        weight /= 1.0 + weight * self.information * scatter**2
        off = weight * self.off
        # Median of chi-square of so many degrees of freedom (Wilson & Hilferty 1931).
        usual = self.nFree * (1.0 - 2.0 / (9.0 * self.nFree)) ** 3
        scale = max(1.0, float(np.median(off)) / usual)
        self.agreement = np.minimum(1.0, OFF_CHI2 * scale / np.maximum(off, 1e-30)) ** 2
        self.weight = weight * self.agreement / scale

    def solution(self, order: int, variation: Variation = (0.0, 0.0)) -> FloatArray:
        """Return the coefficients (6, p) of the polynomials of an order that vary by so much."""
        matrix, side, prior = self._system(order, self._sums(self.weight), variation)
        keep = np.isfinite(prior)
        unknowns = np.zeros(side.size)
        unknowns[keep] = np.linalg.solve(matrix[np.ix_(keep, keep)], side[keep])
        p, nCommon = _nTerms(order), len(self.common)
        coefficients = np.zeros((6, p))
        coefficients[RATIO, 0] = PRIOR_MEAN[RATIO]
        coefficients[self.common, 0] = unknowns[:nCommon]
        coefficients[list(VARYING)] = unknowns[nCommon:].reshape(p, 3).T
        return coefficients

    def shareOfSecond(self) -> tuple[float, float]:
        """Return the share of the second function, and its error."""
        matrix, side, _ = self._system(0, self._sums(self.weight), (0.0, 0.0))
        inverse = np.linalg.inv(matrix)
        return float((inverse @ side)[1]), float(np.sqrt(inverse[1, 1]))

    def variation(self) -> Variation:
        """Return the most likely of some variations of the shape, given these stars."""
        sums = self._sums(self.weight)
        found = {
            (width, ellipse): self._logLikelihood(sums, (width, ellipse))
            for width in VARIATIONS
            for ellipse in VARIATIONS
        }
        return max(found, key=found.__getitem__)

    def _logLikelihood(self, sums: tuple[FloatArray, FloatArray], variation: Variation) -> float:
        matrix, side, prior = self._system(self.order, sums, variation)
        keep = np.isfinite(prior)
        lower = np.linalg.cholesky(matrix[np.ix_(keep, keep)])
        half = np.linalg.solve(lower, side[keep])
        found = 0.5 * float(half @ half) - float(np.log(np.diag(lower)).sum())
        return found + 0.5 * float(np.log(prior[keep]).sum())

    def _sums(self, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        n, m = self.side.shape
        return (weight @ self.matrix.reshape(n, m * m)).reshape(m, m), weight @ self.side

    def _system(
        self, order: int, sums: tuple[FloatArray, FloatArray], variation: Variation
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the weighted sums of the stars' equations with what is assumed of what no star tells, and that."""
        m = len(self.common) + 3 * _nTerms(order)
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


def orderOf(p: int) -> int:
    """Return the order of polynomials of two coordinates with p terms."""
    return (int(np.sqrt(8 * p + 1)) - 3) // 2


def _nTerms(order: int) -> int:
    return (order + 1) * (order + 2) // 2


def termsAt(x: FloatArray, y: FloatArray, frame: tuple[float, float, float, float], order: int) -> FloatArray:
    """Return the polynomials' terms (n, p) at positions (n,), those beyond the frame moved to its border."""
    x0, y0, halfX, halfY = frame
    x, y = np.clip(x, x0 - halfX, x0 + halfX), np.clip(y, y0 - halfY, y0 + halfY)
    function = makeSpatialFunction("chebyshev1", np.zeros(_nTerms(order)), frame).coreFunction
    terms: FloatArray = function.evaluate(x, y)
    return terms
