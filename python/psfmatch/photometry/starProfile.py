"""The profile that all stars of an image share, as a function of position: fit and choice of the model.

Each star gives six equations for its shape (`_core.starEquations`), its flux, place and sky eliminated. The logarithm of
the width and the ellipticity are polynomials of the position, exponent and second function are common to the field. All
other sources are fitted with the same profile, and every source is seen without the light of all others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.kernels import makeSpatialFunction
from psfmatch.medians import medianAndSigma

__all__ = ["ProfileField", "SourceField", "fitProfile", "lightRadius"]

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

BETA, SHARE, RATIO, WIDTH, E1, E2 = range(6)
"""Numbers of a shape: 1/beta, share of the second function, logarithms of its relative width and of the FWHM, ellipse."""
VARYING = (WIDTH, E1, E2)
MAX_ORDER = 3
STARS_PER_TERM = 1.5
FOLDS = 5
STAR_REACH, OTHER_REACH = 4.0, 2.0
"""Radius of the pixels fitted about stars, and about other sources, in FWHM."""
FAINTEST = 0.1
"""A source is drawn to where a pixel has so much of the sky's noise."""
MAX_DRAWN_FWHM, MAX_DRAWN_PIX = 12.0, 80.0
MAX_MOVE_PIX = 1.5
MIN_SNR_PLACE = 10.0
"""Fainter sources stay where they were found."""
FIRST_STEPS, SECOND_STEPS, LAST_STEPS = 5, 6, 3
SECOND_SIGMA = 3.0
"""The second function is tried where it takes up light by so many of its errors."""
PRIOR_MEAN, PRIOR_SIGMA = (0.3, 0.15, 0.7, 0.0, 0.0, 0.0), (0.3, 0.3, 0.4, 10.0, 10.0, 10.0)
"""What stars that tell nothing have: beta about 3, a tenth of the light in wings of twice the width."""
REJECTED_SIGMA = 4.0
MIN_COVERAGE = 0.9


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
        moves = self.stars[:, 2] > MIN_SNR_PLACE * self.error
        found = _core.starEquations(
            self.residual(field), self.weight, self.stars, shapes, radii, moves, nThreads=self.threads
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
        isLost = ~np.isfinite(step).all(axis=1)
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
    sources: SourceField, fwhm: float, frame: tuple[float, float, float, float], minSnr: float
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

    Returns
    -------
    field, isUsed : ProfileField, (n,)
        The profile, and which sources have told it.
    """
    field = ProfileField(np.array([[0.25, 0.0, 0.7, np.log(fwhm), 0.0, 0.0]]).T, frame)
    for _ in range(FIRST_STEPS):
        field, isUsed = _stepped(sources, field, minSnr)
    field = _withSecond(sources, field, minSnr)
    for _ in range(SECOND_STEPS if field.second else 0):
        field, isUsed = _stepped(sources, field, minSnr)
    for _ in range(LAST_STEPS):
        field, isUsed = _stepped(sources, field, minSnr, choose=True)
    return field, isUsed


def _stepped(
    sources: SourceField, field: ProfileField, minSnr: float, choose: bool = False
) -> tuple[ProfileField, BoolArray]:
    """Take one step of Gauss and Newton for all sources and their profile; return it and the stars that told it."""
    normal, right, own, coupling = sources.equations(field)
    isUsed = sources.usable(minSnr)
    before = field.shapes(*sources.stars[:, :2].T)
    quadratics = _Quadratics(normal[isUsed], right[isUsed], before[isUsed], sources.stars[isUsed], field)
    quadratics.judge(sources.chi2[isUsed] / sources.nPixels[isUsed], keepsWidths=not choose and field.order == 0)
    order = quadratics.bestOrder() if choose else field.order
    field = field.ofOrder(order)
    field = field.moved(quadratics.solution(order) - field.coefficients)
    change = field.shapes(*sources.stars[:, :2].T) - before
    sources.move(own - np.einsum("nab,nb->na", coupling, change))
    isUsed[isUsed] = quadratics.weight > 0.0
    return field, isUsed


def _withSecond(sources: SourceField, field: ProfileField, minSnr: float) -> ProfileField:
    """Return the field with a second function, if a first step gives it light well above its error."""
    little = field.coefficients.copy()
    little[SHARE, 0] = 1e-4
    trial = replace(field, coefficients=little, second=True)
    normal, right, _, _ = sources.equations(trial)
    isUsed = sources.usable(minSnr)
    shapes = trial.shapes(*sources.stars[isUsed, :2].T)
    quadratics = _Quadratics(normal[isUsed], right[isUsed], shapes, sources.stars[isUsed], trial)
    quadratics.judge(sources.chi2[isUsed] / sources.nPixels[isUsed])
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
        self.normal, self.right, self.shapes = normal, right, shapes
        self.matrix = turned @ normal @ design
        self.side = np.einsum("nai,na->ni", design, right + np.einsum("nab,nb->na", normal, shapes))
        self.weight = np.ones(n)
        self.design = design

    def judge(self, chi2: FloatArray, keepsWidths: bool = False) -> None:
        """Weigh the stars: less where chi-square (per pixel) is worse than usual, not at all where a width is."""
        usual = float(np.median(chi2))
        self.weight = 1.0 / np.maximum(chi2 / usual, 1.0)
        if keepsWidths:
            return
        information = np.maximum(self.normal[:, WIDTH, WIDTH], 1e-30)
        off = self.right[:, WIDTH] / information
        middle, spread = medianAndSigma(off)
        isOff = np.abs(off - middle) > REJECTED_SIGMA * np.maximum(spread, 1.0 / np.sqrt(information))
        if np.count_nonzero(~isOff) >= 3:
            self.weight[isOff] = 0.0

    def solution(self, order: int, isLeftOut: BoolArray | None = None) -> FloatArray:
        """Return the coefficients (6, p) of the polynomials of an order, without the stars left out."""
        weight = self.weight if isLeftOut is None else np.where(isLeftOut, 0.0, self.weight)
        unknowns = self._unknowns(order, weight)
        p, nCommon = _nTerms(order), len(self.common)
        coefficients = np.zeros((6, p))
        coefficients[RATIO, 0] = PRIOR_MEAN[RATIO]
        coefficients[self.common, 0] = unknowns[:nCommon]
        coefficients[list(VARYING)] = unknowns[nCommon:].reshape(p, 3).T
        return coefficients

    def shareOfSecond(self) -> tuple[float, float]:
        """Return the share of the second function, and its error."""
        matrix, side = self._system(0, self.weight)
        inverse = np.linalg.inv(matrix)
        return float((inverse @ side)[1]), float(np.sqrt(inverse[1, 1]))

    def bestOrder(self) -> int:
        """Return the order that foretells stars left out best; a higher one must gain one sigma."""
        n = len(self.weight)
        fold = np.arange(n) % FOLDS
        best, least = 0, None
        for order in range(self.order + 1):
            if order > 0 and STARS_PER_TERM * _nTerms(order) > np.count_nonzero(self.weight):
                break
            chi2 = np.zeros(n)
            for k in range(FOLDS):
                out = fold == k
                weight = np.where(out, 0.0, self.weight)
                if not weight.any():
                    continue
                unknowns = self._unknowns(order, weight)
                m = unknowns.size
                chi2[out] = np.einsum("i,nij,j->n", unknowns, self.matrix[out, :m, :m], unknowns)
                chi2[out] -= 2.0 * self.side[out, :m] @ unknowns
            gain = np.zeros(n) if least is None else self.weight * (least - chi2)
            if least is None or gain.sum() > np.sqrt(((gain - gain.mean()) ** 2).sum()):
                best, least = order, chi2
        return best

    def _unknowns(self, order: int, weight: FloatArray) -> FloatArray:
        matrix, side = self._system(order, weight)
        unknowns: FloatArray = np.linalg.solve(matrix, side)
        return unknowns

    def _system(self, order: int, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weighted sums of the stars' equations, and what is assumed of what no star tells."""
        m = len(self.common) + 3 * _nTerms(order)
        matrix = np.einsum("n,nij->ij", weight, self.matrix[:, :m, :m])
        side = np.einsum("n,ni->i", weight, self.side[:, :m])
        for k, number in enumerate([*self.common, *VARYING]):
            matrix[k, k] += PRIOR_SIGMA[number] ** -2
            side[k] += PRIOR_MEAN[number] * PRIOR_SIGMA[number] ** -2
        for k in range(len(self.common) + 3, m):
            matrix[k, k] += 1.0
        return matrix, side


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
