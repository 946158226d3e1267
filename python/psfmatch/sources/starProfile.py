"""The profile that all stars of an image share, as a function of position, and the sources that have it.

Exponent and second function are common to the field, the logarithm of the width and the ellipticity are polynomials of
the position. All sources of an image have the same profile, and each is seen without the light of all others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.kernels import makeSpatialFunction

__all__ = [
    "BETA",
    "E1",
    "E2",
    "RATIO",
    "SHARE",
    "WIDTH",
    "ProfileField",
    "SourceField",
    "lightRadius",
    "nTerms",
    "orderOf",
    "termsAt",
]

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

BETA, SHARE, RATIO, WIDTH, E1, E2 = range(6)
"""Numbers of a shape: 1/beta, share and logarithm of the relative width of the second function, that of the FWHM."""
STAR_REACH, OTHER_REACH = 3.5, 2.0
"""Radius of the pixels fitted about stars, and about other sources, in FWHM."""
FAINTEST = 0.1
"""A source is drawn to where a pixel has so much of the sky's noise."""
MAX_DRAWN_FWHM, MAX_DRAWN_PIX = 12.0, 80.0
MAX_MOVE_PIX = 1.5
MIN_SNR_PLACE = 10.0
"""Fainter sources stay where they were found."""
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
        shapes[:, SHARE] = np.clip(shapes[:, SHARE], 0.0, 0.9) if self.second else 0.0
        shapes[:, RATIO] = np.clip(shapes[:, RATIO], 0.2, 1.8)
        shapes[:, (E1, E2)] = np.clip(shapes[:, (E1, E2)], -0.6, 0.6)
        return shapes

    def ofOrder(self, order: int) -> ProfileField:
        """Return the same with room for the terms of another order."""
        wide = np.zeros((6, nTerms(order)))
        n = min(wide.shape[1], self.coefficients.shape[1])
        wide[:, :n] = self.coefficients[:, :n]
        return replace(self, coefficients=wide)

    def moved(self, step: FloatArray) -> ProfileField:
        """Return the same after a step (6, p), shortened where it would lead far."""
        limits = np.array([0.15, 0.2, 0.3, 0.3, 0.3, 0.3])[:, None]
        coefficients = self.coefficients + np.clip(step, -limits, limits)
        coefficients[BETA, 0] = np.clip(coefficients[BETA, 0], 0.0, 0.75)
        coefficients[SHARE, 0] = np.clip(coefficients[SHARE, 0], 0.0, 0.9)
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
        radii = self._fittedRadii(shapes)
        flux = self.stars[:, 2]
        # Where nothing is known of the light, place and shape have no slopes yet.
        freedoms = np.where(self.isStar, np.where(flux > 0.0, 2, 0), flux > MIN_SNR_PLACE * self.error)
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

    def _fittedRadii(self, shapes: FloatArray) -> FloatArray:
        """Return the radii (n,) in pixels of what is fitted."""
        fwhm = np.exp(shapes[:, WIDTH])
        radii: FloatArray = np.where(
            self.isStar, np.maximum(STAR_REACH * fwhm, 6.0), np.maximum(OTHER_REACH * fwhm, 5.0)
        )
        return radii

    def _drawnRadii(self, shapes: FloatArray) -> FloatArray:
        """Return the radii (n,) in pixels where a source's profile falls into the noise.

        No smaller than those fitted: light that is not drawn is no part of the model, and would pass for sky.
        """
        b, share, ratio = np.maximum(shapes[:, BETA], 1e-3), np.abs(shapes[:, SHARE]), np.exp(shapes[:, RATIO])
        fwhm = np.exp(shapes[:, WIDTH])
        reach = np.zeros(len(shapes))
        with np.errstate(divide="ignore"):
            for part, width in ((1.0 - share, fwhm), (share, fwhm * ratio)):
                c = 4.0 * (2.0**b - 1.0) / (b * width**2)
                level = FAINTEST * self.noise / (self.stars[:, 2] * part * (1.0 - b) * c / np.pi)
                q = np.where(level < 1.0, (np.maximum(level, 1e-12) ** -b - 1.0) / b, 0.0)
                reach = np.maximum(reach, np.sqrt(q / c))
        drawn = np.minimum(np.clip(reach, fwhm, MAX_DRAWN_FWHM * fwhm), MAX_DRAWN_PIX)
        return np.maximum(drawn, self._fittedRadii(shapes))


def lightRadius(shape: FloatArray, share: float) -> float:
    """Return the radius in pixels that holds a share of the light of a shape (6,)."""
    b, fwhm = max(float(shape[BETA]), 1e-3), float(np.exp(shape[WIDTH]))
    radii = fwhm * np.linspace(0.0, 30.0, 3001)
    outside = np.zeros_like(radii)
    for part, width in ((1.0 - shape[SHARE], fwhm), (shape[SHARE], fwhm * np.exp(shape[RATIO]))):
        q = 4.0 * (2.0**b - 1.0) / (b * width**2) * radii**2
        outside += part * (1.0 + b * q) ** (1.0 - 1.0 / b)
    return float(radii[min(int(np.argmax(outside <= 1.0 - share)) or radii.size - 1, radii.size - 1)])


def orderOf(p: int) -> int:
    """Return the order of polynomials of two coordinates with p terms."""
    return (int(np.sqrt(8 * p + 1)) - 3) // 2


def nTerms(order: int) -> int:
    """Return the number of terms of polynomials of two coordinates."""
    return (order + 1) * (order + 2) // 2


def termsAt(x: FloatArray, y: FloatArray, frame: tuple[float, float, float, float], order: int) -> FloatArray:
    """Return the polynomials' terms (n, p) at positions (n,), those beyond the frame moved to its border."""
    x0, y0, halfX, halfY = frame
    x, y = np.clip(x, x0 - halfX, x0 + halfX), np.clip(y, y0 - halfY, y0 + halfY)
    function = makeSpatialFunction("chebyshev1", np.zeros(nTerms(order)), frame).coreFunction
    terms: FloatArray = function.evaluate(x, y)
    return terms
