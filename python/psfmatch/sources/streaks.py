"""The mask plane STREAK on two images of one grid: straight lines, longer than any PSF, that one of them shows alone.

What both show at the same place, such as spikes of bright stars, galaxies seen edge on or rows of stars, is no streak,
and neither is what lies along a row or a column with edges as sharp as those of pixels, or through a saturated star:
that is its charge, bled or read out late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import fixed
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, Mask, MaskedImage, atOrigin
from psfmatch.io.sourceTable import AnyTable
from psfmatch.sources.boxLight import boxLight, lightRatios

__all__ = ["STREAK", "Streaks", "flagStreaks", "isOfStreak", "laidFluxRatio", "streakFluxRatio"]

FloatArray = npt.NDArray[np.float64]

STREAK = "STREAK"
UNUSABLE = tuple(plane for plane in DEFAULT_BAD_PLANES if plane != STREAK)
"""Planes whose pixels tell of no streak."""
DARK = tuple(plane for plane in UNUSABLE if plane != "SAT")
"""The same where a line is looked for: a bright one saturates along its middle."""
SEEN = 5.0
"""Sigma of the light of a source that an image shows."""
RATIO_SOURCES = 50
"""Brightest sources that tell the flux ratio."""
CORE = 3
"""Saturated pixels along the middle of a line that is a star's."""
WHOLE_PIX = 3
"""Pixels about a source, per axis, that must be good: what saturates in one image alone has another ratio."""
MIN_WHOLE = 5
"""Fewer sources that are whole in both images tell no better than all."""


@dataclass(frozen=True)
class Streaks:
    """The streaks of an image.

    lines : of each the ends x0, y0, x1, y1 of its middle in pixels from the image's first, its half width (px) and its
    significance, the most significant first; nPixels : that got STREAK; nOfStars : lines that are none, along a row or
    column through a saturated star.
    """

    lines: tuple[tuple[float, float, float, float, float, float], ...] = ()
    nPixels: int = 0
    nOfStars: int = 0

    def told(self, name: str) -> str:
        """Return the sentence about the streaks of an image that has a name."""
        others = ""
        if self.nOfStars:
            which = "1 line" if self.nOfStars == 1 else f"{self.nOfStars} lines"
            others = f" Not counted: {which} along a row or column through a saturated star, whose charge does that."
        if not self.lines:
            return f"Streaks of the {name}: no line of 60 px or more that the other image does not show.{others}"
        count = "1 line" if len(self.lines) == 1 else f"{len(self.lines)} lines"
        x0, y0, x1, y1, halfWidth, significance = self.lines[0]
        first = (
            f"from ({fixed(x0, 0)}, {fixed(y0, 0)}) to ({fixed(x1, 0)}, {fixed(y1, 0)}), "
            f"{math.hypot(x1 - x0, y1 - y0):.0f} px long and "
            f"{2.0 * halfWidth:.0f} px wide, of {significance:.3g} sigma"
        )
        most = "" if len(self.lines) == 1 else "the clearest "
        pixels = "1 pixel gets" if self.nPixels == 1 else f"{self.nPixels} pixels get"
        return (
            f"Streaks of the {name}: {count} that the other image does not show, {most}{first}; {pixels} {STREAK} and "
            f"no part in the fit.{others}"
        )


def streakFluxRatio(template: MaskedImage, science: MaskedImage, sources: AnyTable, threads: int = 1) -> float:
    """Return science counts per template count by the median of the brightest sources; 1 where none tells it."""
    x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
    isWhole = _isWhole(template, x, y) & _isWhole(science, x, y)
    if np.count_nonzero(isWhole) >= MIN_WHOLE:
        x, y = x[isWhole], y[isWhole]
    x, y = x[:RATIO_SOURCES], y[:RATIO_SOURCES]
    ratios = lightRatios(science, template, x, y, UNUSABLE, minSnr=SEEN, threads=threads)
    ratio = float(np.median(ratios)) if ratios.size else 1.0
    return ratio if math.isfinite(ratio) and ratio > 0.0 else 1.0


def laidFluxRatio(
    template: Exposure,
    science: Exposure,
    onTemplate: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
    sources: AnyTable,
    threads: int = 1,
) -> float | None:
    """Return science counts per template count by the brightest sources, of images on two grids; None if none tells.

    `onTemplate` gives positions of the science image as those of the template.
    """
    x, y = (np.asarray(sources[name], dtype=np.float64) for name in ("x", "y"))
    isWhole = _isWhole(science.maskedImage, x, y)
    x, y = x[isWhole][: 2 * RATIO_SOURCES], y[isWhole][: 2 * RATIO_SOURCES]
    u, v = onTemplate(x, y)
    isKnown = np.isfinite(u) & np.isfinite(v)
    x, y, u, v = x[isKnown], y[isKnown], u[isKnown], v[isKnown]
    isWhole = _isWhole(template.maskedImage, u, v)
    own, error = boxLight(science.maskedImage, x[isWhole], y[isWhole], UNUSABLE, threads)
    other, otherError = boxLight(template.maskedImage, u[isWhole], v[isWhole], UNUSABLE, threads)
    isSeen = (own > SEEN * error) & (other > SEEN * otherError)
    ratio = float(np.median(own[isSeen] / other[isSeen])) if isSeen.any() else math.nan
    return ratio if math.isfinite(ratio) and ratio > 0.0 else None


def _isWhole(image: MaskedImage, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which sources have good pixels only, in a square about each, as far as the image goes."""
    bits = np.int32(image.mask.getPlaneBitMask(UNUSABLE, ignoreMissing=True))
    near = _core.bitsNear(np.asarray(image.mask), x - image.xy0[0], y - image.xy0[1], WHOLE_PIX)
    return np.asarray((near & bits) == 0)


def flagStreaks(
    template: Exposure, science: Exposure, fluxRatio: float, threads: int = 1
) -> tuple[Exposure, Exposure, Streaks, Streaks]:
    """Return both images with STREAK on the streaks of each, and what was found in each.

    Parameters
    ----------
    template, science
        On one grid, pixel for pixel; not changed. An image without a streak is returned as it is.
    fluxRatio
        Science counts per template count.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    template, science : Exposure
    templateStreaks, scienceStreaks : Streaks
    """
    images = atOrigin(template.maskedImage, science.maskedImage), science.maskedImage
    badBits = [image.mask.getPlaneBitMask(DARK, ignoreMissing=True) for image in images]
    inScience, inTemplate = _core.findStreaks(
        images[1].image,
        np.asarray(images[1].mask),
        images[0].image,
        np.asarray(images[0].mask),
        badBits=badBits[1],
        otherBadBits=badBits[0],
        fluxRatio=fluxRatio,
        nThreads=threads,
    )
    flaggedTemplate, templateStreaks = _flagged(template, inTemplate)
    flaggedScience, scienceStreaks = _flagged(science, inScience)
    return flaggedTemplate, flaggedScience, templateStreaks, scienceStreaks


def isOfStreak(
    template: MaskedImage, science: MaskedImage, x: npt.ArrayLike, y: npt.ArrayLike, threads: int = 1
) -> npt.NDArray[np.bool_]:
    """Return which sources of a science image are nothing but a streak: on it, and not seen in the template.

    Parameters
    ----------
    template, science
        On one grid, with their streaks flagged.
    x, y : (N,)
        Places of the sources, parent pixels.
    threads
        Number of threads; the result does not depend on it.
    """
    columns, rows = (np.floor(np.asarray(each, dtype=np.float64) + 0.5).astype(np.int64) for each in (x, y))
    bits = science.mask.getPlaneBitMask(STREAK, ignoreMissing=True)
    if not bits:
        return np.zeros(columns.shape, dtype=np.bool_)
    rows = np.clip(rows - science.xy0[1], 0, science.height - 1)
    columns = np.clip(columns - science.xy0[0], 0, science.width - 1)
    isOn: npt.NDArray[np.bool_] = (np.asarray(science.mask)[rows, columns] & np.int32(bits)) != 0
    light, error = boxLight(template, x, y, UNUSABLE, threads)
    return np.asarray(isOn & ~(light > SEEN * error))


def _flagged(exposure: Exposure, streaks: Sequence[_core.Streak]) -> tuple[Exposure, Streaks]:
    image = exposure.maskedImage
    isOfStar = [_isOfStar(each, image.mask) for each in streaks]
    nOfStars = sum(isOfStar)
    streaks = [each for each, isStar in zip(streaks, isOfStar, strict=True) if not isStar]
    if not streaks:
        return exposure, Streaks(nOfStars=nOfStars)
    mask = image.mask.copy()
    bit = 1 << mask.addPlane(STREAK)
    nPixels = _core.flagStreaks(streaks, bit, np.asarray(mask))
    lines = tuple((each.x0, each.y0, each.x1, each.y1, each.halfWidth, each.significance) for each in streaks)
    return exposure.withPixels(MaskedImage(image.image, mask, image.variance, image.xy0)), Streaks(
        lines, nPixels, nOfStars
    )


def _isOfStar(streak: _core.Streak, mask: Mask) -> bool:
    """Return whether a line lies along a row or a column, no more askew than it is wide, through a saturated star."""
    across, along = sorted((abs(streak.x1 - streak.x0), abs(streak.y1 - streak.y0)))
    bits = mask.getPlaneBitMask("SAT", ignoreMissing=True)
    if not bits or across > 2.0 * streak.halfWidth:
        return False
    places = np.linspace(0.0, 1.0, math.ceil(along) + 1)
    height, width = mask.shape
    columns = np.clip(np.rint(streak.x0 + (streak.x1 - streak.x0) * places), 0, width - 1).astype(np.int64)
    rows = np.clip(np.rint(streak.y0 + (streak.y1 - streak.y0) * places), 0, height - 1).astype(np.int64)
    return bool(np.count_nonzero(np.asarray(mask)[rows, columns] & np.int32(bits)) >= CORE)
