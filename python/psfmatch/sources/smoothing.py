"""With which Gaussian an image is smoothed to find its sources, where its PSF is not known.

The usual one finds well-sampled stars. Where it finds few, or broad ones, others from half a pixel to twice the
broadest seeing are tried: a star of width w and total signal-to-noise ratio S shows 2 r / (1 + r^2) S through a
Gaussian of r w, so that the width with the most significant sources is theirs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import usualOptions
from psfmatch.config.task import Struct
from psfmatch.errors import fixed
from psfmatch.images import SIGMA_TO_FWHM, MaskedImage, stampTuple
from psfmatch.io.sourceTable import AnyTable
from psfmatch.sources.starWidths import measureBroadWidths, selectStarWidths

__all__ = ["Smoothing", "chooseSmoothing", "cleaned", "faintSmoothing"]

log = logging.getLogger("psfmatch.fit")

BoolArray = npt.NDArray[np.bool_]
MAX_CUTOUT_SIDE = 150
"""Pixels: smaller images are cut-outs, whose pixels are all fitted; they have little sky to tell noise by."""
MIN_BRIGHT, BRIGHT_SNR = 5, 20.0
"""So many sources of so much signal-to-noise are enough."""
LEAST_THRESHOLD, MOST_THRESHOLD = 4.0, 5.0
"""Limits, in standard deviations of the smoothed image, of the threshold that noise passes once in the image."""
N_ITERATIONS = 8
SIGMAS = (0.5, 0.8, 1.27, 2.0, 3.2, 5.1, 8.2)
"""Pixels: a FWHM of 1.2 to 19. Between two of them a star loses at most 3 % of its signal-to-noise ratio."""
MIN_FAINT, CLEAR_SNR = 6, 6.0
"""So many faint sources, or one of so many standard deviations, are not the noise of seven searches."""
SKY_SIGMAS, MIN_SKY_PIX = 20.0, 64
"""Side of the super-pixels of the sky, in units of the smoothing's sigma, and the least: smaller ones take the light of
the stars off, larger ones leave a nebula, or a cluster's glow."""
BROAD_FWHM = 9.0
"""Pixels: from here on the usual Gaussian takes the noise on bright stars for stars of their own."""
SUSPECT_FWHM = 4.5
"""Of moments in the small stamps of a search for sharp stars, from which the width is measured in larger ones."""
WIDTH_SOURCES = 50
LEAST_NEIGHBOURS, PIXEL_SIGMAS = 0.08, 5.0
"""Mean of the neighbours of a hot pixel in its units, of pixels so far above the sky: 0.15 for a FWHM of 1.2 pixels."""


class Smoothing(NamedTuple):
    """sigma : pixels; threshold : of the search, standard deviations; binSize : of the sky's super-pixels, pixels."""

    sigma: float
    threshold: float
    binSize: int


Search = Callable[[Smoothing, str], Struct]
"""Finds sources of a polarity; the Struct is that of `SourceDetectionTask.search`."""


def chooseSmoothing(
    maskedImage: MaskedImage,
    measured: AnyTable,
    planes: tuple[str, ...],
    search: Search,
    threads: int = 1,
    nFound: int | None = None,
) -> tuple[Smoothing, Struct] | None:
    """Return the smoothing that serves an image better than the usual one, and what it finds; None if none does.

    Parameters
    ----------
    maskedImage
        Not changed.
    measured
        What the usual smoothing has found, measured.
    planes
        Names of mask planes whose pixels are not used.
    search
        Searches the image anew.
    threads
        Number of threads; the result does not depend on it.
    nFound
        Number of sources that the usual smoothing has found, if not all have been measured.
    """
    nFound = len(measured) if nFound is None else nFound
    if max(maskedImage.shape) <= MAX_CUTOUT_SIDE:
        return None
    nBright = np.count_nonzero(np.asarray(measured["snr"]) >= BRIGHT_SNR)
    if nBright >= MIN_BRIGHT:
        return _forBroad(maskedImage, measured, planes, search, threads)
    size = maskedImage.image.size
    smoothings = [faintSmoothing(sigma, size) for sigma in SIGMAS]
    tried = [(each, cleaned(search(each, "both"), maskedImage, planes)) for each in smoothings]
    scores = [_score(found) for _, found in tried]
    best = int(np.argmax(scores))
    told = ", ".join(f"{own.sigma:g}: {fixed(score, 1)}" for (own, _), score in zip(tried, scores, strict=True))
    log.info("%d sources with the usual smoothing; significance by sigma of the smoothing (pixels): %s", nFound, told)
    smoothing = tried[best][0]
    found = cleaned(search(smoothing, "positive"), maskedImage, planes)
    peaks = np.asarray(found.sources["peak"])
    isClear = len(peaks) >= MIN_FAINT or bool((peaks > CLEAR_SNR * found.noise).any())
    return (smoothing, found) if isClear and len(peaks) > nFound else None


def _forBroad(
    maskedImage: MaskedImage, measured: AnyTable, planes: tuple[str, ...], search: Search, threads: int
) -> tuple[Smoothing, Struct] | None:
    """Return the smoothing for stars that are much broader than the usual one, and what it finds."""
    bright = measured[:WIDTH_SOURCES]
    determinant = np.asarray(bright["ixx"]) * np.asarray(bright["iyy"]) - np.asarray(bright["ixy"]) ** 2
    with np.errstate(invalid="ignore"):
        widths = SIGMA_TO_FWHM * np.maximum(determinant, 0.0) ** 0.25
    if not np.nanmedian(np.append(widths, 0.0)) > SUSPECT_FWHM:
        return None
    x, y = (np.asarray(bright[name], dtype=np.float64) for name in ("x", "y"))
    x0, y0 = maskedImage.xy0
    widths = measureBroadWidths(maskedImage, planes, x - x0, y - y0, threads)
    isStar = selectStarWidths(widths)
    fwhm = float(np.median(widths[isStar])) if isStar.any() else 0.0
    if not fwhm > BROAD_FWHM:
        return None
    # Bright ones are many: the faint ones, which blend into them, would tell nothing more.
    usual = usualOptions().selectDetection.thresholdValue
    smoothing = faintSmoothing(fwhm / SIGMA_TO_FWHM, maskedImage.image.size)._replace(threshold=usual)
    log.info("Stars have a FWHM of %.1f pixels: smoothing with that", fwhm)
    return smoothing, cleaned(search(smoothing, "positive"), maskedImage, planes)


def faintSmoothing(sigma: float, nPixels: int) -> Smoothing:
    """Return the smoothing with the threshold u that one maximum of the noise of an image of so many pixels passes.

    N / (2 sigma^2) (2 pi)^(-3/2) u exp(-u^2 / 2) = 1, for high thresholds (Adler 1981).
    """
    # Narrower Gaussians leave the pixels' own noise, which is white.
    places = nPixels / (2.0 * max(sigma, 1.0) ** 2 * (2.0 * math.pi) ** 1.5)
    threshold = MOST_THRESHOLD
    for _ in range(N_ITERATIONS):
        threshold = math.sqrt(2.0 * math.log(max(places * threshold, 1.0)))
        threshold = min(max(threshold, LEAST_THRESHOLD), MOST_THRESHOLD)
    return Smoothing(sigma, threshold, max(MIN_SKY_PIX, round(SKY_SIGMAS * sigma)))


def _score(found: Struct) -> float:
    """Return the sum of the logarithms of all sources' significance, less that of negative ones: noise, and the sky."""
    peaks, isNegative = (np.asarray(found.sources[name]) for name in ("peak", "isNegative"))
    logs = np.log(np.maximum(np.abs(peaks) / (LEAST_THRESHOLD * found.noise), 1.0)) if len(peaks) else np.zeros(0)
    return float(logs[~isNegative].sum() - logs[isNegative].sum())


def cleaned(found: Struct, maskedImage: MaskedImage, planes: tuple[str, ...]) -> Struct:
    """Return what was found without sources that have all their light in one pixel."""
    x, y = (np.asarray(found.sources[name], dtype=np.float64) for name in ("x", "y"))
    x0, y0 = maskedImage.xy0
    isPixel = _core.areSinglePixels(
        *stampTuple(maskedImage, planes),
        x - x0,
        y - y0,
        minNeighbours=LEAST_NEIGHBOURS,
        minSigmas=PIXEL_SIGMAS,
    )
    found.sources = found.sources[~isPixel]
    return found
