"""What is left of the sources: peaks found anew in template and science image, and the difference at each of them.

The peaks do not come from the list of kernel candidates: that list has lost whatever fits badly. A source that only
one of the images shows counts too; a template that lacks stars is found by it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage
from psfmatch.exposure.mask import DEFAULT_BAD_PLANES
from psfmatch.quality.peaks import Peaks, findPeaks

__all__ = ["SIGNAL_TO_NOISE_EDGES", "SourceResiduals", "robustSigma", "sourceResiduals"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_SIGNAL_TO_NOISE = 30.0  # of the light within the core
CORE_RADIUS = 4.0  # px
HALF_WIDTH = 10  # px, of stamps; their rim gives the local sky
LEAST_GOOD = 0.6  # share of the core's pixels
BAD_CHI_SQUARE = 4.0  # per pixel of a source: twice its noise
REMAINING = 0.5  # share of a source's light in the difference that makes it unsubtracted
WORST_DROPPED = 0.1  # share of the sources, the worst: a few per cent of stars vary
REGIONS = 3  # by as many, in which the residuals are compared
LEAST_IN_REGION = 5
SIGNAL_TO_NOISE_EDGES = (30.0, 100.0, 300.0, 1000.0, math.inf)


@dataclass(frozen=True)
class SourceResiduals:
    """Difference over its noise within 4 px of sources of signal-to-noise above 30; NaN where there are none.

    nSources : measured; nRemaining : those of them more than half of whose light is in the difference; all else is of
    the others. saturatedFraction : share of the bright sources that saturate, in the image where it is larger; robust,
    plain : widths of the pulls, robust over all sources, plain without the worst tenth; worstRegion : largest value, of
    the regions of a 3 x 3 division with five sources or more, that two thirds of their chi-squares per pixel exceed;
    badFraction : share of sources of chi-square per pixel above 4; fluxMean, fluxScatter, fluxError : median share of
    the light that is left, its scatter beyond the noise, error of the median; footprintRatioMean, footprintRatioStdev :
    (mean |difference| - that of the sky) / mean |science| over sources, absolute values; chiSquareByFlux : (least S/N,
    largest S/N, sources, median chi-square per pixel).
    """

    nSources: int
    nRemaining: int
    saturatedFraction: float
    robust: float
    plain: float
    worstRegion: float
    badFraction: float
    fluxMean: float
    fluxScatter: float
    fluxError: float
    footprintRatioMean: float
    footprintRatioStdev: float
    chiSquareByFlux: tuple[tuple[float, float, int, float], ...]


def robustSigma(values: npt.NDArray[np.floating]) -> float:
    """1.4826 times the median absolute deviation from the median; NaN for no values."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else math.nan


def sourceResiduals(
    difference: MaskedImage, template: MaskedImage, science: MaskedImage, kernelSum: float, skyAbsolute: float
) -> SourceResiduals:
    """Measure what is left of the sources.

    Parameters
    ----------
    difference, template, science
        On the same pixels; template and science image before any convolution.
    kernelSum
        Counts of the difference per count of the template.
    skyAbsolute
        Mean |difference| of blank sky, counts.
    """
    peaks = findPeaks(template), findPeaks(science)
    saturated = max(part.saturatedFraction for part in peaks)
    x, y = _sources(*peaks)
    inside = (np.minimum(x, y) >= HALF_WIDTH) & (x < science.width - HALF_WIDTH) & (y < science.height - HALF_WIDTH)
    x, y = x[inside], y[inside]
    steps = np.arange(-HALF_WIDTH, HALF_WIDTH + 1)
    radius = np.hypot(steps, steps[:, None])
    core, rim = radius <= CORE_RADIUS, radius > HALF_WIDTH - 1
    where = _stamps(x, y, steps[:, None][core.nonzero()[0], 0], steps[core.nonzero()[1]])
    good = _good(difference, where)
    isEnough = good.mean(axis=1) >= LEAST_GOOD if len(x) else np.zeros(0, dtype=bool)
    where = where[0][isEnough], where[1][isEnough]
    x, y, good = x[isEnough], y[isEnough], good[isEnough]
    if not len(x):
        return _nothing(0, saturated)
    around = _stamps(x, y, steps[rim.nonzero()[0]], steps[rim.nonzero()[1]])
    values = np.where(good, difference.image[where], 0.0).astype(np.float64)
    variances = np.where(good, difference.variance[where], 1.0).astype(np.float64)
    light = np.maximum(_light(science, where, around, good), kernelSum * _light(template, where, around, good))
    noise = np.sqrt(np.sum(variances, axis=1, where=good))
    counted = light > LEAST_SIGNAL_TO_NOISE * noise
    x, y, values, variances, good, light, noise = (
        array[counted] for array in (x, y, values, variances, good, light, noise)
    )
    scienceMean = np.mean(np.where(good, np.nan_to_num(np.abs(science.image[where][counted])), 0.0), axis=1)
    return _summary((x, y), saturated, values, variances, good, light, noise, scienceMean, skyAbsolute, science.shape)


def _summary(
    positions: tuple[IntArray, IntArray],
    saturated: float,
    values: FloatArray,  # (n, pixels of the core), difference, zero where not good
    variances: FloatArray,
    good: npt.NDArray[np.bool_],
    light: FloatArray,  # (n,) counts of the source
    noise: FloatArray,  # (n,) of the sum over the core
    scienceMean: FloatArray,  # (n,) mean |science|
    skyAbsolute: float,
    shape: tuple[int, int],
) -> SourceResiduals:
    left = values.sum(axis=1) / np.maximum(light, 1e-30)
    isThere = np.abs(left) <= REMAINING
    number, remaining = len(light), int(np.count_nonzero(~isThere))
    if not isThere.any():
        return _nothing(number, saturated)
    values, variances, good, light, noise, scienceMean, left = (
        array[isThere] for array in (values, variances, good, light, noise, scienceMean, left)
    )
    x, y = positions[0][isThere], positions[1][isThere]
    pulls = values / np.sqrt(variances)
    nGood = good.sum(axis=1)
    chiSquares = np.sum(pulls**2, axis=1) / nGood
    kept = np.argsort(chiSquares, kind="stable")[: max(1, math.ceil((1.0 - WORST_DROPPED) * len(light)))]
    scatter, expected = robustSigma(left), float(np.median(noise / light))
    region = (REGIONS * y // shape[0]) * REGIONS + REGIONS * x // shape[1]
    thirds = [
        float(np.quantile(chiSquares[region == which], 1.0 / 3.0))
        for which in range(REGIONS**2)
        if np.count_nonzero(region == which) >= LEAST_IN_REGION
    ]
    ratio = np.abs(np.abs(values).sum(axis=1) / nGood - skyAbsolute) / np.maximum(scienceMean, 1e-30)
    bins = []
    for low, high in itertools.pairwise(SIGNAL_TO_NOISE_EDGES):
        chosen = chiSquares[(light / noise >= low) & (light / noise < high)]
        bins.append((low, high, int(chosen.size), float(np.median(chosen)) if chosen.size else math.nan))
    return SourceResiduals(
        nSources=number,
        nRemaining=remaining,
        saturatedFraction=saturated,
        robust=robustSigma(pulls[good]),
        plain=float(np.std(pulls[kept][good[kept]])),
        worstRegion=max(thirds, default=math.nan),
        badFraction=float(np.mean(chiSquares > BAD_CHI_SQUARE)),
        fluxMean=float(np.median(left)),
        fluxScatter=math.sqrt(max(scatter**2 - expected**2, 0.0)),
        fluxError=1.2533 * scatter / math.sqrt(len(left)),  # of a median of Gaussian values
        footprintRatioMean=float(np.mean(ratio)),
        footprintRatioStdev=float(np.std(ratio)),
        chiSquareByFlux=tuple(bins),
    )


def _nothing(nSources: int, saturated: float) -> SourceResiduals:
    """Return the residuals where every source measured keeps its light."""
    nan = math.nan
    return SourceResiduals(nSources, nSources, saturated, nan, nan, nan, nan, nan, nan, nan, nan, nan, ())


def _sources(template: Peaks, science: Peaks) -> tuple[IntArray, IntArray]:
    """Return places (pixels of the arrays) of the science image's peaks, and of the template's far from those."""
    x, y, otherX, otherY = science.x, science.y, template.x, template.y
    if len(x) and len(otherX):
        distance = (otherX[:, None] - x) ** 2 + (otherY[:, None] - y) ** 2
        isNew = distance.min(axis=1) > CORE_RADIUS**2
        otherX, otherY = otherX[isNew], otherY[isNew]
    return np.concatenate([x, otherX]), np.concatenate([y, otherY])


def _stamps(x: IntArray, y: IntArray, dy: IntArray, dx: IntArray) -> tuple[IntArray, IntArray]:
    return y[:, None] + dy, x[:, None] + dx


def _good(difference: MaskedImage, where: tuple[IntArray, IntArray]) -> npt.NDArray[np.bool_]:
    bits = difference.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True)
    variance = difference.variance[where]
    good: npt.NDArray[np.bool_] = (np.asarray(difference.mask)[where] & bits) == 0
    return good & np.isfinite(difference.image[where]) & (variance > 0) & np.isfinite(variance)


def _light(
    source: MaskedImage,
    where: Sequence[IntArray],
    around: Sequence[IntArray],
    good: npt.NDArray[np.bool_],
) -> FloatArray:
    """Return the counts of the good pixels of each core above the median of its rim."""
    pixels = source.image[where[0], where[1]].astype(np.float64)
    rim = np.nan_to_num(source.image[around[0], around[1]].astype(np.float64), nan=np.inf)
    level = np.median(rim, axis=1, keepdims=True)
    light: FloatArray = np.sum(np.where(good & np.isfinite(pixels) & np.isfinite(level), pixels - level, 0.0), axis=1)
    return light
