"""How good a difference image is, judged with the truth of a simulated pair.

Pulls are difference over the square root of its own variance plane, so they test pixels and variance
together. A difference is a `MaskedImage` or an `Exposure` on the pixels of the pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from psfmatch.images import Exposure, MaskedImage
from psfmatch.testing.convolving import correlateVarying
from psfmatch.testing.mixtures import FloatArray, nearestPixel
from psfmatch.testing.truth import Truth

__all__ = [
    "UNUSABLE_PLANES",
    "backgroundPull",
    "falseDetections",
    "matchedFilter",
    "robustSigma",
    "starPull",
    "transientCompleteness",
    "transientFluxes",
    "usableFraction",
]

UNUSABLE_PLANES = ("BAD", "SAT", "CR", "EDGE", "NO_DATA")
EDGE_MARGIN = 32  # px
SOURCE_RADIUS = 15.0  # px, of light that a background pixel must not have
STAR_RADIUS = 4.0  # px, of the core of a star
STAMP_SIDE = 31


def robustSigma(values: FloatArray) -> float:
    """1.4826 times the median absolute deviation from the median; NaN for no values."""
    if values.size == 0:
        return float("nan")
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def usableFraction(difference: MaskedImage | Exposure, planes: Iterable[str] = UNUSABLE_PLANES) -> float:
    """Part of the pixels that are finite and in none of `planes`."""
    return float(1 - np.mean(_masked(difference).badPixels(planes)))


def backgroundPull(difference: MaskedImage | Exposure, truth: Truth, planes: Iterable[str] = UNUSABLE_PLANES) -> float:
    """Robust width of the pull of empty sky: 1 for a perfect difference and variance plane.

    Pixels count that are usable, 32 px from the edges and 15 px from every source and transient.
    """
    empty = _interior(difference, planes)
    for table in (truth.stars, truth.galaxies, truth.transients):
        empty &= ~_near(table, truth, SOURCE_RADIUS)
    return robustSigma(_pulls(difference, empty))


def starPull(
    difference: MaskedImage | Exposure,
    truth: Truth,
    planes: Iterable[str] = UNUSABLE_PLANES,
) -> tuple[float, float]:
    """Robust and plain width of the pull within 4 px of bright stars that neither saturate nor vary.

    Pixels within 15 px of transients and of variable or saturated stars do not count.
    """
    steady = ~np.asarray(truth.stars["isVariable"]) & ~np.asarray(truth.stars["isSaturated"])
    pixels = _interior(difference, planes) & _near(truth.stars[steady & truth.stars["isBright"]], truth, STAR_RADIUS)
    pixels &= ~_near(truth.stars[~steady], truth, SOURCE_RADIUS) & ~_near(truth.transients, truth, SOURCE_RADIUS)
    pulls = _pulls(difference, pixels)
    return robustSigma(pulls), float(np.std(pulls)) if pulls.size else float("nan")


def matchedFilter(
    difference: NDArray[Any] | MaskedImage | Exposure,
    variance: NDArray[Any] | float | None,
    psfImage: FloatArray,
    x: float,
    y: float,
    planes: Iterable[str] = UNUSABLE_PLANES,
) -> tuple[float, float]:
    """Flux of a point source at a known place by inverse-variance weighting.

    flux = sum(psf d / var) / sum(psf^2 / var), error = sum(psf^2 / var)^(-1/2) (Horne 1986, PASP 98, 609).
    Pixels that are masked, not finite, without positive variance or off the image do not count.

    Parameters
    ----------
    difference : array, shape (ny, nx), MaskedImage or Exposure
        Pixels in counts. For an array, positions count from its first pixel; otherwise they are parent
        coordinates.
    variance : array, shape (ny, nx), float or None
        Predicted variance of the difference; None for the image's own plane.
    psfImage : array, shape (side, side)
        Unit-flux image of the source on the pixels around the one that holds (x, y), as
        `Truth.sciencePsfImage` gives it.
    x, y : float
        Place of the source, pixels.
    planes : iterable of str
        Mask planes whose pixels do not count; an array has none.

    Returns
    -------
    flux, error : float
        Counts; (nan, inf) when no pixel counts.
    """
    if isinstance(difference, np.ndarray):
        image, (x0, y0), masked = difference, (0, 0), None
    else:
        image, (x0, y0), masked = difference.image, difference.xy0, difference.mask
        variance = difference.variance if variance is None else variance
    if variance is None:
        raise ValueError("a plain array has no variance plane: give the variance of the difference")
    half = psfImage.shape[0] // 2
    top, left = nearestPixel(y) - y0 - half, nearestPixel(x) - x0 - half
    rows = slice(max(top, 0), max(min(top + psfImage.shape[0], image.shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + psfImage.shape[1], image.shape[1]), 0))
    psf = psfImage[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    pixels = np.asarray(image[rows, columns], dtype=np.float64)
    noise = np.broadcast_to(np.asarray(variance), image.shape)[rows, columns].astype(np.float64)
    counts = np.isfinite(pixels) & np.isfinite(noise) & (noise > 0)
    if masked is not None:
        counts &= np.asarray(masked[rows, columns] & masked.getPlaneBitMask(planes, ignoreMissing=True)) == 0
    weighted = psf[counts] / noise[counts]
    information = float(np.sum(weighted * psf[counts]))
    if information <= 0:
        return float("nan"), float("inf")
    return float(np.sum(weighted * pixels[counts]) / information), information**-0.5


def transientFluxes(difference: MaskedImage | Exposure, truth: Truth) -> Table:
    """Matched-filter photometry of every transient at its true place.

    Returns
    -------
    table : astropy.table.Table
        x, y, trueFlux, predictedSignalToNoise, flux, error; fluxes in science counts.
    """
    rows = []
    for x, y, trueFlux, ratio in truth.transients.iterrows("x", "y", "flux", "signalToNoise"):
        measured = matchedFilter(difference, None, truth.sciencePsfImage(x, y, STAMP_SIDE), x, y)
        rows.append((x, y, trueFlux, ratio, *measured))
    names = ("x", "y", "trueFlux", "predictedSignalToNoise", "flux", "error")
    return Table(rows=rows or None, names=names, dtype=(float,) * len(names))


def transientCompleteness(
    difference: MaskedImage | Exposure, truth: Truth, threshold: float = 5.0, leastSignalToNoise: float = 6.0
) -> float:
    """Part of the transients that a matched filter measures above `threshold` with the right sign.

    Those with a predicted ratio of at least `leastSignalToNoise` count; NaN when there are none.
    """
    table = transientFluxes(difference, truth)
    table = table[np.abs(np.asarray(table["predictedSignalToNoise"])) >= leastSignalToNoise]
    if len(table) == 0:
        return float("nan")
    measured = np.asarray(table["flux"]) * np.sign(np.asarray(table["trueFlux"])) / np.asarray(table["error"])
    return float(np.mean(measured > threshold))


def falseDetections(
    difference: MaskedImage | Exposure,
    truth: Truth,
    threshold: float = 5.0,
    planes: Iterable[str] = UNUSABLE_PLANES,
) -> tuple[float, float]:
    """Positive and negative peaks per megapixel of a matched-filter map where nothing has changed.

    Peaks above `threshold` count that are usable, 32 px from the edges and 15 px from transients and
    variable stars.
    """
    masked = _masked(difference)
    usable = ~masked.badPixels(planes) & (masked.variance > 0)
    weight = np.divide(1, masked.variance, out=np.zeros_like(masked.image), where=usable)
    signal = np.where(usable, masked.image, np.float32(0)) * weight

    def psfAt(x: float, y: float) -> FloatArray:
        return truth.sciencePsfImage(np.floor(x), np.floor(y), STAMP_SIDE)

    information = correlateVarying(weight, truth.box, lambda x, y: psfAt(x, y) ** 2)
    ratio = correlateVarying(signal, truth.box, psfAt)
    # Far from any usable pixel the transforms leave rounding noise instead of zero.
    floor = np.float32(1e-6) * information.max() + np.finfo(np.float32).tiny
    ratio /= np.sqrt(np.maximum(information, floor))
    counted = _interior(difference, planes) & ~_near(truth.transients, truth, SOURCE_RADIUS)
    counted &= ~_near(truth.stars[np.asarray(truth.stars["isVariable"])], truth, SOURCE_RADIUS)
    megapixels = max(int(np.count_nonzero(counted)), 1) / 1e6
    positive, negative = (_peaks(image, threshold) & counted for image in (ratio, -ratio))
    return float(np.count_nonzero(positive) / megapixels), float(np.count_nonzero(negative) / megapixels)


def _masked(difference: MaskedImage | Exposure) -> MaskedImage:
    return difference.maskedImage if isinstance(difference, Exposure) else difference


def _interior(difference: MaskedImage | Exposure, planes: Iterable[str]) -> NDArray[np.bool_]:
    usable = ~_masked(difference).badPixels(planes)
    inside = np.zeros_like(usable)
    inside[EDGE_MARGIN:-EDGE_MARGIN, EDGE_MARGIN:-EDGE_MARGIN] = True
    return usable & inside


def _pulls(difference: MaskedImage | Exposure, pixels: NDArray[np.bool_]) -> FloatArray:
    masked = _masked(difference)
    pixels = pixels & (masked.variance > 0)
    pulls: FloatArray = masked.image[pixels].astype(np.float64) / np.sqrt(masked.variance[pixels])
    return pulls


def _near(table: Table, truth: Truth, radius: float) -> NDArray[np.bool_]:
    """Pixels within `radius` of any position of `table`."""
    box = truth.box
    near = np.zeros(box.shape, dtype=bool)
    reach = int(np.ceil(radius))
    for x, y in table.iterrows("x", "y"):
        column, row = nearestPixel(x) - box.x0, nearestPixel(y) - box.y0
        columns = np.arange(max(column - reach, 0), min(column + reach + 1, box.width))
        rows = np.arange(max(row - reach, 0), min(row + reach + 1, box.height))
        disc = (columns + box.x0 - x) ** 2 + ((rows + box.y0 - y) ** 2)[:, None] <= radius**2
        near[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= disc
    return near


def _peaks(image: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Pixels above `threshold` that are the largest of the 5 x 5 around them."""
    highest = image.copy()
    for axis in (0, 1):
        line = highest.copy()
        for step in (-2, -1, 1, 2):
            np.maximum(highest, np.roll(line, step, axis=axis), out=highest)
    return (image >= highest) & (image > threshold)
