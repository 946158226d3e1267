"""Positions of the stars of an image, with errors: what one image is laid upon another by.

A circular Gaussian of the stars' width is fitted to every source: amplitude, position and a constant sky, by least
squares in which all good pixels of a disc count alike. Any point-symmetric profile has its centre there, so that
the PSF need not be known; bad pixels are left out. The errors follow from the variance plane through the fit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import usualOptions
from psfmatch.images import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM, MaskedImage, stampTuple
from psfmatch.io.sourceTable import AnyTable
from psfmatch.sources import SourceDetectionTask, subtractBackground
from psfmatch.sources.starSelection import areFaint
from psfmatch.sources.starWidths import measureBroadWidths, selectStarWidths, stackedFwhm

__all__ = ["StarPositions", "findStars", "fitPositions"]

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
        chosen = np.flatnonzero(~np.asarray(sources["isNegative"], dtype=bool))[:maxStars]
    else:
        chosen = np.arange(min(maxStars, len(sources)))
    x, y = (np.asarray(sources[name], dtype=np.float64)[chosen] for name in ("x", "y"))
    inArray = x - maskedImage.xy0[0], y - maskedImage.xy0[1]
    if areFaint(sources) and (width := stackedFwhm(maskedImage, planes, *inArray, threads)) is not None:
        found = StarPositions(*fitPositions(maskedImage, planes, x, y, width, threads), width)
        return found.select(np.isfinite(found.x))
    widths = measureBroadWidths(maskedImage, planes, *inArray, threads)
    isStar = selectStarWidths(widths)
    fwhm = float(np.median(widths[isStar])) if isStar.any() else DEFAULT_FWHM_PIX
    wide = ~(widths < MIN_WIDTH * fwhm)
    unknown = np.flatnonzero(np.isnan(widths))
    wide[unknown] = ~_areSinglePixels(maskedImage, planes, x[unknown], y[unknown])
    found = StarPositions(*fitPositions(maskedImage, planes, x[wide], y[wide], fwhm, threads), fwhm)
    return found.select(np.isfinite(found.x))


def fitPositions(
    maskedImage: MaskedImage, planes: Iterable[str], x: FloatArray, y: FloatArray, fwhm: float, threads: int = 1
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Fit a Gaussian to n sources.

    Parameters
    ----------
    maskedImage
        The pixels and their variances.
    planes
        Names of mask planes whose pixels are not used.
    x, y
        (n,), first guesses, parent pixels.
    fwhm
        Width of the Gaussian in pixels.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    x, y, xErr, yErr
        (n,), parent pixels; NaN where the fit fails.
    """
    x0, y0 = maskedImage.xy0
    found = _core.fitPositions(*stampTuple(maskedImage, planes), x - x0, y - y0, fwhm=fwhm, nThreads=threads)
    return found[0] + x0, found[1] + y0, found[2], found[3]


def _areSinglePixels(
    maskedImage: MaskedImage, planes: tuple[str, ...], x: FloatArray, y: FloatArray
) -> npt.NDArray[np.bool_]:
    """Return which sources (n,), parent pixels, have their light in one good pixel."""
    x0, y0 = maskedImage.xy0
    pixels = stampTuple(maskedImage, planes)
    return _core.areSinglePixels(*pixels, x - x0, y - y0, minNeighbours=MIN_NEIGHBOURS)


def _detect(maskedImage: MaskedImage, planes: tuple[str, ...], threads: int) -> AnyTable:
    """Return the sources of an image, those above the lower threshold where there are few."""
    try:
        image, level = subtractBackground(maskedImage, usualOptions().kernel.background, planes, threads)
    except ValueError as error:
        bad = maskedImage.badPixels(planes)
        level = 0.0 if bad.all() else float(np.median(maskedImage.image[~bad]))
        image = maskedImage.image - np.float32(level)
        log.info("Background failed (%s); detecting over the median %.4g", error, level)
    skyless = MaskedImage(image, maskedImage.mask, maskedImage.variance, xy0=maskedImage.xy0)
    # What subtracting a large sky leaves behind in float32.
    rounding = 4.0 * float(np.finfo(np.float32).eps) * abs(level)
    for threshold in THRESHOLDS:
        found = SourceDetectionTask(replace(usualOptions().selectDetection, thresholdValue=threshold)).search(
            maskedImage=skyless, sigma=DEFAULT_FWHM_PIX / SIGMA_TO_FWHM, threads=threads, rounding=rounding
        )
        sources: AnyTable = found.sources[~np.asarray(found.sources["isNegative"])]
        if len(sources) >= MIN_STARS:
            break
    return sources
