"""Pairs of a positive and a negative peak: a source that moved, or two images that were not registered.

Model: flux P(x+, y+) - fluxNeg P(x-, y-), fitted by Levenberg and Marquardt to the difference and, with half the
weight, to its positive image (science) and its negative one (template, matched), which hold the lobes separately: in
the difference alone, flux and separation of close lobes cannot be told apart. A linear background is fitted to the
rim of each stamp beforehand and taken off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch.images import MaskedImage, weightImage
from psfmatch.kernels import PsfField, shiftedImages
from psfmatch.transients.leastSquares import minimizeSquares
from psfmatch.transients.pointSources import Stamps, cutStamps

__all__ = ["Dipole", "DipoleControl", "DipoleImage", "fitDipole", "pairPeaks"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
FloatImage = npt.NDArray[np.float32]

REACH_FWHM = 1.5
"""Pixels so near to a peak are fitted."""


@dataclass(frozen=True)
class DipoleControl:
    """How dipoles are sought, fitted and told from other pairs.

    maxSeparation : of the two peaks, in FWHM; maxFootprintArea : pixels of both footprints together, above which the
    pair is no point source; relWeight : of science and template beside the difference; separateFluxes : the lobes
    have fluxes of their own (only where science and template tell them apart); centroidRange : how far a lobe may lie
    from its peak, in widths (sigma) of the PSF; minSignalToNoise : of both lobes together; maxFluxRatio : share of
    the sum of both fluxes that one lobe may have; tolerance, maxEvaluations : of the fit.
    """

    maxSeparation: float = 2.0
    maxFootprintArea: int = 1200
    relWeight: float = 0.5
    separateFluxes: bool = True
    centroidRange: float = 5.0
    minSignalToNoise: float = 5.0 * math.sqrt(2.0)
    maxFluxRatio: float = 0.65
    tolerance: float = 1e-7
    maxEvaluations: int = 250


@dataclass(frozen=True)
class DipoleImage:
    """An image on the scale of the difference with its weights (h, w) and PSF."""

    maskedImage: MaskedImage
    weight: FloatImage
    psf: PsfField

    @classmethod
    def of(cls, maskedImage: MaskedImage, psf: PsfField) -> DipoleImage:
        """Return an image with the weights of its variance plane."""
        return cls(maskedImage, weightImage(maskedImage), psf)


@dataclass(frozen=True)
class Dipole:
    """A fitted pair of lobes; positions are array coordinates, fluxes positive.

    signalToNoise : sqrt((f+ / s+)^2 + (f- / s-)^2), s^2 the variance of all pixels of the footprints' box in the
    positive and the negative image; orientation : atan2(y+ - y-, x+ - x-), radians; isDipole : classified as one.
    """

    xPositive: float
    yPositive: float
    xNegative: float
    yNegative: float
    fluxPositive: float
    fluxNegative: float
    fluxPositiveErr: float
    fluxNegativeErr: float
    signalToNoise: float
    chi2: float
    isDipole: bool

    @property
    def x(self) -> float:
        """Mean x of the lobes."""
        return 0.5 * (self.xPositive + self.xNegative)

    @property
    def y(self) -> float:
        """Mean y of the lobes."""
        return 0.5 * (self.yPositive + self.yNegative)

    @property
    def separation(self) -> float:
        """Distance of the lobes in pixels."""
        return math.hypot(self.xPositive - self.xNegative, self.yPositive - self.yNegative)

    @property
    def orientation(self) -> float:
        """Direction from the negative to the positive lobe, radians from the x axis towards y."""
        return math.atan2(self.yPositive - self.yNegative, self.xPositive - self.xNegative)


def pairPeaks(x: FloatArray, y: FloatArray, significance: FloatArray, maxDistance: float) -> list[tuple[int, int]]:
    """Return pairs (positive, negative) of peaks that are each other's most significant neighbour of opposite sign.

    Parameters
    ----------
    x, y, significance : (n,)
        Of the peaks; the sign of the significance is theirs.
    maxDistance
        Of the two of a pair, pixels.
    """
    order = np.argsort(y, kind="stable")
    best = np.full(x.size, -1)
    strength = np.zeros(x.size)
    low = np.searchsorted(y[order], y[order] - maxDistance, "left")
    high = np.searchsorted(y[order], y[order] + maxDistance, "right")
    for place, i in enumerate(order.tolist()):
        near = order[low[place] : high[place]]
        isOther = (np.sign(significance[near]) == -np.sign(significance[i])) & (
            np.hypot(x[near] - x[i], y[near] - y[i]) <= maxDistance
        )
        others = near[isOther]
        if others.size:
            best[i] = others[np.argmax(np.abs(significance[others]))]
            strength[i] = abs(significance[best[i]])
    return [
        (i, int(best[i])) for i in range(x.size) if significance[i] > 0.0 and best[i] >= 0 and int(best[best[i]]) == i
    ]


def fitDipole(
    difference: DipoleImage,
    science: DipoleImage | None,
    template: DipoleImage | None,
    peaks: tuple[tuple[float, float], tuple[float, float]],
    control: DipoleControl | None = None,
) -> Dipole | None:
    """Fit two lobes to all images at once.

    Parameters
    ----------
    difference
        In which the lobes were found.
    science, template
        Its positive and its negative image, on its flux scale and pixels. A missing one is made from the other and
        the difference; without both the difference alone is fitted.
    peaks
        x, y (array coordinates) of the positive and of the negative peak.
    control
        Limits of the fit.

    Returns
    -------
    dipole
        None if the fit failed: no usable pixels, no error bars, or no positive flux.
    """
    control = control or DipoleControl()
    (xp, yp), (xn, yn) = peaks
    middle = math.floor(0.5 * (xp + xn) + 0.5), math.floor(0.5 * (yp + yn) + 0.5)
    reach = math.ceil(0.5 * math.hypot(xp - xn, yp - yn))
    half = difference.psf.half + reach
    terms = _terms(difference, science, template, middle, half, control.relWeight)
    # A brighter neighbour on the stamp must not draw the lobes to itself.
    offset = np.arange(-half, half + 1)
    isNear = np.zeros((2 * half + 1,) * 2, dtype=bool)
    for x, y in peaks:
        distance = np.hypot(offset[None, :] - (x - middle[0]), offset[:, None] - (y - middle[1]))
        isNear |= distance <= REACH_FWHM * difference.psf.fwhm
    terms = [replace(term, root=np.where(isNear, term.root, 0.0)) for term in terms]
    hasBoth = len(terms) > 1
    isSeparate = control.separateFluxes and hasBoth
    start = np.array(
        [0.0, xp - middle[0], yp - middle[1], xn - middle[0], yn - middle[1], 0.0][: 6 if isSeparate else 5]
    )
    limit = np.full(start.size, np.inf)
    limit[1:5] = control.centroidRange * difference.psf.sigma
    place = middle[0] + difference.maskedImage.xy0[0], middle[1] + difference.maskedImage.xy0[1]
    drawn = [term.image.psf.images([place[0]], [place[1]])[0] for term in terms]
    wide = [np.pad(image, half - image.shape[0] // 2) for image in drawn]

    def evaluate(p: FloatArray) -> tuple[FloatArray, FloatArray]:
        negative = p[5] if isSeparate else p[0]
        residuals, slopes = [], []
        for term, image in zip(terms, wide, strict=True):
            (plus, minus), alongX, alongY = shiftedImages(np.stack([image, image]), p[[1, 3]], p[[2, 4]])
            a, b = term.signs
            model = a * p[0] * plus - b * negative * minus
            zero = np.zeros_like(plus)
            parts = [a * plus - (zero if isSeparate else b * minus)]
            parts += [a * p[0] * alongX[0], a * p[0] * alongY[0], -b * negative * alongX[1], -b * negative * alongY[1]]
            if isSeparate:
                parts.append(-b * minus)
            residuals.append((term.root * (term.values - model)).ravel())
            slopes.append(np.array([(term.root * part).ravel() for part in parts]))
        return np.concatenate(residuals), np.concatenate(slopes, axis=1)

    start[[0, -1] if isSeparate else [0]] = _startingFlux(evaluate, start, isSeparate)
    found = minimizeSquares(evaluate, start, start - limit, start + limit, control.tolerance, control.maxEvaluations)
    if found is None:
        return None
    p, covariance, sumOfSquares, nUsed = found
    positive, negative = p[0], p[5] if isSeparate else p[0]
    last = 5 if isSeparate else 0
    errors = math.sqrt(max(covariance[0, 0], 0.0)), math.sqrt(max(covariance[last, last], 0.0))
    if not (positive > 0.0 and negative > 0.0 and min(errors) > 0.0 and np.isfinite(p).all()):
        return None
    noise = [math.sqrt(float(_boxOf(image, peaks).sum())) for image in _lobeImages(difference, science, template)]
    snr = math.hypot(positive / noise[0], negative / noise[1]) if min(noise) > 0.0 else math.nan
    share = max(positive, negative) / (positive + negative)
    return Dipole(
        xPositive=float(p[1]) + middle[0],
        yPositive=float(p[2]) + middle[1],
        xNegative=float(p[3]) + middle[0],
        yNegative=float(p[4]) + middle[1],
        fluxPositive=float(positive),
        fluxNegative=float(negative),
        fluxPositiveErr=errors[0],
        fluxNegativeErr=errors[1],
        signalToNoise=snr,
        chi2=sumOfSquares / max(1, nUsed - p.size),
        isDipole=bool(snr > control.minSignalToNoise and share < control.maxFluxRatio),
    )


@dataclass(frozen=True)
class _Term:
    """One image of the joint fit: values and root of the weight (k, k), signs of the lobes in it."""

    image: DipoleImage
    values: FloatArray
    root: FloatArray
    signs: tuple[float, float]


def _terms(
    difference: DipoleImage,
    science: DipoleImage | None,
    template: DipoleImage | None,
    middle: tuple[int, int],
    half: int,
    relWeight: float,
) -> list[_Term]:
    x, y = np.array([middle[0]]), np.array([middle[1]])

    def cut(image: DipoleImage) -> Stamps:
        return cutStamps(image.maskedImage, image.weight, x, y, half)

    own = cut(difference)
    terms = [_Term(difference, own.values[0], np.sqrt(own.weights[0]), (1.0, 1.0))]
    if science is None and template is None:
        return [_levelled(terms[0])]
    for image, other, signs in ((science, template, (1.0, 0.0)), (template, science, (0.0, -1.0))):
        if image is not None:
            stamp = cut(image)
            values, weights, source = stamp.values[0], stamp.weights[0], image
        elif other is not None:
            # S = D + T and T = S - D, the background of the difference apart.
            stamp = cut(other)
            values = own.values[0] + stamp.values[0] if signs[0] else stamp.values[0] - own.values[0]
            weights = np.where(own.weights[0] > 0.0, stamp.weights[0], 0.0)
            source = difference
        terms.append(_Term(source, values, np.sqrt(relWeight * weights), signs))
    return [_levelled(term) for term in terms]


def _levelled(term: _Term) -> _Term:
    """Take off the linear background of a stamp's rim, three pixels wide, outliers clipped."""
    side = term.values.shape[0]
    offset = np.arange(side) - side // 2
    isRim = np.maximum(np.abs(offset)[:, None], np.abs(offset)) > side // 2 - 3
    isUsed = isRim & (term.root > 0.0)
    plane = np.stack([np.ones((side, side)), *np.broadcast_arrays(offset[None, :] / side, offset[:, None] / side)])
    coefficients = np.zeros(3)
    for _ in range(3):
        if np.count_nonzero(isUsed) < 12:
            return term
        coefficients = np.linalg.lstsq(plane[:, isUsed].T, term.values[isUsed], rcond=None)[0]
        left = term.values - np.tensordot(coefficients, plane, axes=1)
        spread = 1.4826 * float(np.median(np.abs(left[isUsed])))
        if spread > 0.0:
            isUsed &= np.abs(left) <= 3.0 * spread
    return _Term(term.image, term.values - np.tensordot(coefficients, plane, axes=1), term.root, term.signs)


def _startingFlux(
    evaluate: Callable[[FloatArray], tuple[FloatArray, FloatArray]], start: FloatArray, isSeparate: bool
) -> float:
    """Return the flux that both lobes have at their first places; a trifle where that is none."""
    data, slopes = evaluate(start)
    model = slopes[0] + slopes[5] if isSeparate else slopes[0]
    norm = float(model @ model)
    flux = float(data @ model) / norm if norm > 0.0 else 0.0
    return flux if flux > 0.0 else (1e-3 / math.sqrt(norm) if norm > 0.0 else 1.0)


def _lobeImages(
    difference: DipoleImage, science: DipoleImage | None, template: DipoleImage | None
) -> Sequence[DipoleImage]:
    """Return the images whose variance the positive and the negative lobe have."""
    return science or template or difference, template or science or difference


def _boxOf(image: DipoleImage, peaks: tuple[tuple[float, float], tuple[float, float]]) -> FloatArray:
    """Return the variances of the box that holds both lobes out to half of a peak."""
    reach = 0.5 * image.psf.fwhm
    xs, ys = zip(*peaks, strict=True)
    rows = slice(max(0, math.floor(min(ys) - reach)), max(0, math.ceil(max(ys) + reach) + 1))
    columns = slice(max(0, math.floor(min(xs) - reach)), max(0, math.ceil(max(xs) + reach) + 1))
    variance = image.maskedImage.variance[rows, columns]
    return variance[np.isfinite(variance) & (variance > 0.0)].astype(np.float64)
