"""The sky of a difference image: is its noise as predicted and white, is its level zero everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import MaskedImage
from psfmatch.exposure.mask import DEFAULT_BAD_PLANES
from psfmatch.quality.sources import robustSigma

__all__ = ["SkyNoise", "skyNoise"]

CELL = 32  # px
MAX_CELLS = 256
LEAST_IN_CELL = 200  # blank pixels
BLANK_SIGMA = 4.0  # of a pixel of science or template image above its cell's median
OUTLIER_SIGMA = 5.0
MOST_EXTREME = 0.02  # share of the cells on either side that do not count: a nebula, a bright star's halo


@dataclass(frozen=True)
class SkyNoise:
    """Difference over its noise in cells of 32 px spread over the image; NaN where there is no blank sky.

    nPixels : blank ones; robust, median : of the pulls; level : scatter of the cells' medians about zero beyond the
    noise, in units of a pixel's noise; outlierFraction : share of the usable pixels beyond 5 sigma where not both
    images show a source; lag1 : correlation of neighbouring pixels; absolute : mean |difference|, counts; sigma :
    median noise of a pixel, counts; maskedFraction, noDataFraction : of all pixels, bad ones but for
    the borders, and those without data.
    """

    nPixels: int
    robust: float
    median: float
    level: float
    outlierFraction: float
    lag1: float
    absolute: float
    sigma: float
    maskedFraction: float
    noDataFraction: float


def skyNoise(difference: MaskedImage, template: MaskedImage, science: MaskedImage) -> SkyNoise:
    """Measure the sky of a difference; template and science image lie on the same pixels."""
    size = min(CELL, *difference.shape)
    corners = [_spread(side - size) for side in difference.shape]
    y, x = (grid.ravel() for grid in np.meshgrid(*corners, indexing="ij"))
    steps = np.arange(size)
    where = y[:, None, None] + steps[:, None], x[:, None, None] + steps
    bits = difference.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True)
    noData = difference.mask.getPlaneBitMask("NO_DATA", ignoreMissing=True)
    flags = np.asarray(difference.mask)[where]
    values, variances = difference.image[where].astype(np.float64), difference.variance[where].astype(np.float64)
    usable = ((flags & bits) == 0) & np.isfinite(values) & np.isfinite(variances) & (variances > 0)
    inScience, inTemplate = _isBlank(science, where), _isBlank(template, where)
    blank = usable & inScience & inTemplate
    nBlank = blank.sum(axis=(1, 2))
    pulls = np.where(usable, values / np.sqrt(np.where(usable, variances, 1.0)), 0.0)
    # What only one of the two shows is no source that was subtracted badly.
    isOutlier = (np.abs(pulls) > OUTLIER_SIGMA) & (inScience | inTemplate)
    outlierFraction = float(isOutlier[usable].mean()) if usable.any() else 0.0
    pulls = np.where(blank, pulls, 0.0)
    # Sources fill the rest of the cells.
    enough = nBlank >= min(LEAST_IN_CELL, size**2 // 4)
    # Borders as wide as the kernel are no fault.
    edge = difference.mask.getPlaneBitMask("EDGE", ignoreMissing=True)
    atEdge = ((flags & edge) != 0) & ((flags & bits & ~noData) == edge)
    masked, without = float((~usable & ~atEdge).mean()), float(((flags & noData) != 0).mean())
    if not enough.any():
        nan = math.nan
        return SkyNoise(0, nan, nan, nan, outlierFraction, nan, nan, nan, masked, without)
    pulls, blank, nBlank = pulls[enough], blank[enough], nBlank[enough]
    medians = np.array([np.median(cell[good]) for cell, good in zip(pulls, blank, strict=True)])
    robust = robustSigma((pulls - medians[:, None, None])[blank])
    spared = math.floor(MOST_EXTREME * len(medians))
    kept = np.argsort(medians, kind="stable")[spared : len(medians) - spared]
    # Variance of a median of n Gaussian values: pi / 2n.
    expected = float(np.mean(0.5 * np.pi / nBlank[kept])) * robust**2
    clipped = np.where(blank, np.clip(pulls - medians[:, None, None], -4 * robust, 4 * robust), 0.0)
    pairs = [(np.s_[:, :, 1:], np.s_[:, :, :-1]), (np.s_[:, 1:], np.s_[:, :-1])]
    products = sum(float(np.sum(clipped[first] * clipped[second])) for first, second in pairs)
    nPairs = sum(int(np.count_nonzero(blank[first] & blank[second])) for first, second in pairs)
    power = float(np.sum(clipped**2)) / int(blank.sum())
    return SkyNoise(
        nPixels=int(blank.sum()),
        robust=robust,
        median=float(np.median(pulls[blank])),
        level=math.sqrt(max(float(np.mean(medians[kept] ** 2)) - expected, 0.0)),
        outlierFraction=outlierFraction,
        lag1=products / nPairs / power if nPairs and power > 0 else math.nan,
        absolute=float(np.mean(np.abs(values[enough][blank]))),
        sigma=float(np.median(np.sqrt(variances[enough][blank]))),
        maskedFraction=masked,
        noDataFraction=without,
    )


def _spread(last: int) -> npt.NDArray[np.int64]:
    """Return the first pixels of at most 16 cells that do not overlap, the last at `last`."""
    number = min(math.isqrt(MAX_CELLS), last // CELL + 1)
    return np.linspace(0, last, number).astype(np.int64)


def _isBlank(source: MaskedImage, where: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> npt.NDArray[np.bool_]:
    """Return which pixels of cells (n, h, w) do not stand out of the lower part of their cell."""
    pixels = source.image[where].astype(np.float64)
    finite = np.isfinite(pixels)
    flat = np.where(finite, pixels, np.inf).reshape(len(pixels), -1)
    flat.sort(axis=1)
    n = flat.shape[1]
    # Median and -1 sigma of a cell of sky; sources raise the median, little the lower quantile.
    middle, low = flat[:, n // 2], flat[:, int(0.159 * n)]
    with np.errstate(invalid="ignore"):
        spread = np.where(np.isfinite(middle) & np.isfinite(low), middle - low, np.inf)
        limit = np.where(np.isfinite(middle), middle + BLANK_SIGMA * spread, np.inf)
    blank: npt.NDArray[np.bool_] = finite & (pixels <= limit[:, None, None])
    return blank
