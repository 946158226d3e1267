"""Positions of the stars of an image, with errors: what one image is laid upon another by.

A circular Gaussian of the stars' width is fitted to every source: amplitude, position and a constant sky, by least
squares in which all good pixels of a disc count alike. Any point-symmetric profile has its centre there, so that
the PSF need not be known; bad pixels are left out. The errors follow from the variance plane through the fit.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import SourceDetectionConfig, SubtractBackgroundConfig
from psfmatch.detection import SourceDetectionTask, subtractBackground
from psfmatch.exposure import MaskedImage
from psfmatch.medians import medians
from psfmatch.psf import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM
from psfmatch.psf.stars import BadPixels, measureWidths, selectStarWidths
from psfmatch.sourceTable import AnyTable

__all__ = ["StarPositions", "findStars", "fitPositions", "inverses"]

log = logging.getLogger("psfmatch.centroids")

FloatArray = npt.NDArray[np.float64]

BAD_PLANES = ("BAD", "CR", "EDGE", "NO_DATA", "SAT")
MAX_STARS = 300
"""The brightest tell the alignment to two thousandths of a pixel; more would only take time."""
MIN_STARS = 10
"""Fewer than these above the usual threshold, and fainter sources are looked for too."""
THRESHOLDS = (10.0, 5.0)
"""Of the detection, in standard deviations of the smoothed image."""
MIN_WIDTH = 0.75
"""Narrower than this share of the stars' width are hot pixels and cosmic rays, which stay where they are."""
MIN_NEIGHBOURS = 0.15
"""Mean of the eight neighbours of a star's brightest pixel in units of that: 0.3 for a FWHM of 1.8 pixels."""
RING_PIX = 5
"""Half width of the square on whose rim the sky of a single pixel is taken."""
REACH_FWHM = 1.5
"""Radius of the fitted disc in units of the FWHM."""
MAX_ITERATIONS = 8
CONVERGED_PIX = 1e-4
MAX_MOVE_PIX = 3.0
"""A centre that moves farther from where it was detected belongs to another source."""
MIN_DISC = 0.6
"""Share of the disc's pixels, weighted by the profile, that must be good."""


@dataclass(frozen=True, eq=False)
class StarPositions:
    """Positions of n sources of one image, brightest first.

    x, y, xErr, yErr : (n,) parent pixels; fwhm : of the stars among them, pixels.
    """

    x: FloatArray
    y: FloatArray
    xErr: FloatArray
    yErr: FloatArray
    fwhm: float

    def __len__(self) -> int:
        return int(self.x.size)

    @property
    def positions(self) -> FloatArray:
        """Positions as (n, 2)."""
        return np.column_stack([self.x, self.y])

    def select(self, chosen: npt.NDArray[np.bool_]) -> StarPositions:
        """Return those that are chosen, (n,)."""
        return StarPositions(self.x[chosen], self.y[chosen], self.xErr[chosen], self.yErr[chosen], self.fwhm)


def findStars(
    maskedImage: MaskedImage,
    sources: AnyTable | None = None,
    maxStars: int = MAX_STARS,
    badPlanes: Iterable[str] = BAD_PLANES,
    threads: int = 1,
) -> StarPositions:
    """Find the brightest sources of an image and measure where they are.

    Parameters
    ----------
    maskedImage
        Not changed; it may contain its sky.
    sources
        Where sources are known already: Table with x and y in parent pixels, brightest first, and perhaps isNegative;
        None detects them.
    maxStars
        So many of the brightest are measured.
    badPlanes
        Names of mask planes whose pixels are not used.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    stars : StarPositions
        Empty if there is no source.
    """
    planes = tuple(badPlanes)
    if sources is None:
        sources = _detect(maskedImage, planes, threads)
    if "isNegative" in sources.colnames:
        sources = sources[~np.asarray(sources["isNegative"], dtype=bool)]
    x, y = (np.asarray(sources[name], dtype=np.float64)[:maxStars] for name in ("x", "y"))
    x, y = x - maskedImage.xy0[0], y - maskedImage.xy0[1]
    # A few stamps are all that is looked at.
    bad = functools.partial(maskedImage.badPixels, planes)
    widths = measureWidths(maskedImage.image, bad, x, y)
    isStar = selectStarWidths(widths)
    fwhm = float(np.median(widths[isStar])) if isStar.any() else DEFAULT_FWHM_PIX
    wide = ~(widths < MIN_WIDTH * fwhm) & ~(np.isnan(widths) & _isSinglePixel(maskedImage.image, bad, x, y))
    x, y, xErr, yErr = fitPositions(maskedImage, bad, x[wide], y[wide], fwhm)
    found = StarPositions(x + maskedImage.xy0[0], y + maskedImage.xy0[1], xErr, yErr, fwhm)
    return found.select(np.isfinite(x))


def fitPositions(
    maskedImage: MaskedImage, bad: BadPixels, x: FloatArray, y: FloatArray, fwhm: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Fit a Gaussian to n sources.

    Parameters
    ----------
    maskedImage
        The pixels and their variances.
    bad
        Pixels not to be used, (h, w), or a function that returns those of a part, given as an index of the array.
    x, y
        (n,), first guesses, array coordinates.
    fwhm
        Width of the Gaussian in pixels.

    Returns
    -------
    x, y, xErr, yErr
        (n,), array coordinates; NaN where the fit fails. The derivative of the Gaussian by its position vanishes in
        the middle, so that with P = (G, G_x, G_y, 1) and W the disc of good pixels the step is that of
        (P^T W P)^-1 P^T W I, and its covariance (P^T W P)^-1 (P^T W V P) (P^T W P)^-1.
    """
    if not x.size:
        return x, y, x.copy(), y.copy()
    sigma = fwhm / SIGMA_TO_FWHM
    radius = max(3, math.ceil(REACH_FWHM * fwhm))
    height, width = maskedImage.shape
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    offset = np.arange(-radius, radius + 1)
    columns, rows = column[:, np.newaxis] + offset, row[:, np.newaxis] + offset
    inside = ((rows >= 0) & (rows < height))[:, :, np.newaxis] & ((columns >= 0) & (columns < width))[:, np.newaxis, :]
    pick = np.clip(rows, 0, height - 1)[:, :, np.newaxis], np.clip(columns, 0, width - 1)[:, np.newaxis, :]
    good = inside & ~(bad(pick) if callable(bad) else bad[pick])
    values = np.where(good, maskedImage.image[pick], 0.0).astype(np.float64)
    variances = np.where(good, maskedImage.variance[pick], 0.0).astype(np.float64)
    # Large skies would cost digits.
    level = values.sum(axis=(1, 2)) / np.maximum(good.sum(axis=(1, 2)), 1)
    values -= np.where(good, level[:, np.newaxis, np.newaxis], 0.0)
    centreX, centreY = x - column, y - row
    startX, startY = centreX.copy(), centreY.copy()
    isSound = np.ones(x.size, dtype=bool)
    xErr = yErr = np.full(x.size, np.nan)
    with np.errstate(all="ignore"):
        for _ in range(MAX_ITERATIONS):
            dx, dy = offset - centreX[:, np.newaxis], offset - centreY[:, np.newaxis]
            gaussX, gaussY = (np.exp(-0.5 * (d / sigma) ** 2) for d in (dx, dy))
            profile = gaussY[:, :, np.newaxis] * gaussX[:, np.newaxis, :]
            disc = good & (dx[:, np.newaxis, :] ** 2 + dy[:, :, np.newaxis] ** 2 <= (radius + 0.5) ** 2)
            slopes = [profile * dx[:, np.newaxis, :] / sigma**2, profile * dy[:, :, np.newaxis] / sigma**2]
            terms = np.stack([profile, *slopes, np.ones_like(profile)], axis=1).reshape(x.size, 4, -1)
            weighted = terms * disc.reshape(x.size, 1, -1)
            inverse = inverses(weighted @ terms.transpose(0, 2, 1))
            found = (inverse @ (weighted @ values.reshape(x.size, -1, 1)))[:, :, 0]
            full = gaussX.sum(axis=1) * gaussY.sum(axis=1)
            isSound &= (found[:, 0] > 0.0) & ((profile * disc).sum(axis=(1, 2)) >= MIN_DISC * full)
            step = found[:, 1:3] / found[:, :1]
            step = np.where(isSound[:, np.newaxis] & np.isfinite(step), np.clip(step, -1.0, 1.0), 0.0)
            centreX, centreY = centreX + step[:, 0], centreY + step[:, 1]
            isSound &= np.hypot(centreX - startX, centreY - startY) <= MAX_MOVE_PIX
            if np.abs(step[isSound]).max(initial=0.0) < CONVERGED_PIX:
                break
        scatter = (weighted * variances.reshape(x.size, 1, -1)) @ terms.transpose(0, 2, 1)
        covariance = inverse @ scatter @ inverse
        xErr, yErr = (np.sqrt(covariance[:, i, i]) / found[:, 0] for i in (1, 2))
    isSound &= np.isfinite(xErr) & np.isfinite(yErr)
    return (
        np.where(isSound, column + centreX, np.nan),
        np.where(isSound, row + centreY, np.nan),
        np.where(isSound, xErr, np.nan),
        np.where(isSound, yErr, np.nan),
    )


def _isSinglePixel(
    image: npt.NDArray[np.float32], bad: Callable[[Any], npt.NDArray[np.bool_]], x: FloatArray, y: FloatArray
) -> npt.NDArray[np.bool_]:
    """Return which sources (n,), array coordinates, have their light in one good pixel."""
    offset = np.arange(-RING_PIX, RING_PIX + 1)
    columns = np.clip(np.floor(x + 0.5).astype(int)[:, np.newaxis] + offset, 0, image.shape[1] - 1)
    rows = np.clip(np.floor(y + 0.5).astype(int)[:, np.newaxis] + offset, 0, image.shape[0] - 1)
    pick = rows[:, :, np.newaxis], columns[:, np.newaxis, :]
    isBad = bad(pick)
    values = np.where(isBad, np.nan, image[pick].astype(np.float64))
    rim = np.ones(values.shape[1:], dtype=bool)
    rim[1:-1, 1:-1] = False
    sky = medians(values[:, rim], ~isBad[:, rim])
    core = values[:, RING_PIX - 1 : RING_PIX + 2, RING_PIX - 1 : RING_PIX + 2].reshape(-1, 9) - sky.reshape(-1, 1)
    peak = core.max(axis=1, initial=-np.inf)
    # Bad pixels make it NaN: nothing can be said.
    return np.asarray((core.sum(axis=1) - peak) / 8.0 < MIN_NEIGHBOURS * peak)


def inverses(matrices: FloatArray) -> FloatArray:
    """Return the inverses of symmetric matrices (n, k, k); NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(np.einsum("nii->ni", matrices))
        scaled = matrices * scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
    usable = np.isfinite(scaled).all(axis=(1, 2))
    usable[usable] = np.linalg.eigvalsh(scaled[usable])[:, 0] > 1e-10
    inverses = np.full_like(matrices, np.nan)
    inverses[usable] = np.linalg.inv(scaled[usable])
    with np.errstate(invalid="ignore"):
        return np.asarray(inverses * scale[:, :, np.newaxis] * scale[:, np.newaxis, :])


@functools.cache
def _detectionConfig(threshold: float) -> SourceDetectionConfig:
    config = SourceDetectionConfig()
    config.thresholdValue = threshold
    config.reEstimateBackground = False
    config.freeze()
    return config


@functools.cache
def _backgroundConfig() -> SubtractBackgroundConfig:
    return SubtractBackgroundConfig()


def _detect(maskedImage: MaskedImage, planes: tuple[str, ...], threads: int) -> AnyTable:
    """Return the sources of an image, those above the lower threshold where there are few."""
    try:
        image, level = subtractBackground(maskedImage, _backgroundConfig(), planes, threads)
    except ValueError as error:
        bad = maskedImage.badPixels(planes)
        level = 0.0 if bad.all() else float(np.median(maskedImage.image[~bad]))
        image = maskedImage.image - np.float32(level)
        log.info("Background failed (%s); detecting over the median %.4g", error, level)
    skyless = MaskedImage(image, maskedImage.mask, maskedImage.variance, xy0=maskedImage.xy0)
    # What subtracting a large sky leaves behind in float32.
    rounding = 4.0 * float(np.finfo(np.float32).eps) * abs(level)
    for threshold in THRESHOLDS:
        found = SourceDetectionTask(config=_detectionConfig(threshold)).search(
            maskedImage=skyless, sigma=DEFAULT_FWHM_PIX / SIGMA_TO_FWHM, threads=threads, rounding=rounding
        )
        sources: AnyTable = found.sources[~np.asarray(found.sources["isNegative"])]
        if len(sources) >= MIN_STARS:
            break
    return sources
