"""The mask plane STREAK on two images of one grid: straight lines, longer than any PSF, that one of them shows alone.

What both show at the same place, such as spikes of bright stars, galaxies seen edge on or rows of stars, is no streak,
and neither is what lies along a row or a column with edges as sharp as those of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import DEFAULT_BAD_PLANES, Exposure, MaskedImage
from psfmatch.messages import fixed
from psfmatch.photometry import boxLight, lightRatios
from psfmatch.sourceTable import AnyTable
from psfmatch.warping import atOrigin

__all__ = ["STREAK", "Streaks", "flagStreaks", "isOfStreak", "streakFluxRatio"]

STREAK = "STREAK"
UNUSABLE = tuple(plane for plane in DEFAULT_BAD_PLANES if plane != STREAK)
"""Planes whose pixels tell of no streak."""
SEEN = 5.0
"""Sigma of the light of a source that an image shows."""
RATIO_SOURCES = 50
"""Brightest sources that tell the flux ratio."""


@dataclass(frozen=True)
class Streaks:
    """The streaks of an image.

    lines : of each the ends x0, y0, x1, y1 of its middle in pixels from the image's first, its half width (px) and its
    significance, the most significant first; nPixels : that got STREAK.
    """

    lines: tuple[tuple[float, float, float, float, float, float], ...] = ()
    nPixels: int = 0

    def told(self, name: str) -> str:
        """Return the sentence about the streaks of an image that has a name."""
        if not self.lines:
            return f"Streaks of the {name}: no line of 60 px or more that the other image does not show."
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
            "no part in the fit."
        )


def streakFluxRatio(template: MaskedImage, science: MaskedImage, sources: AnyTable, threads: int = 1) -> float:
    """Return science counts per template count by the median of the brightest sources; 1 where none tells it."""
    x, y = (np.asarray(sources[name])[:RATIO_SOURCES] for name in ("x", "y"))
    ratios = lightRatios(science, template, x, y, UNUSABLE, minSnr=SEEN, threads=threads)
    ratio = float(np.median(ratios)) if ratios.size else 1.0
    return ratio if math.isfinite(ratio) and ratio > 0.0 else 1.0


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
    badBits = [image.mask.getPlaneBitMask(UNUSABLE, ignoreMissing=True) for image in images]
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
    if not streaks:
        return exposure, Streaks()
    image = exposure.maskedImage
    mask = image.mask.copy()
    bit = 1 << mask.addPlane(STREAK)
    nPixels = _core.flagStreaks(streaks, bit, np.asarray(mask))
    lines = tuple((each.x0, each.y0, each.x1, each.y1, each.halfWidth, each.significance) for each in streaks)
    return exposure.withPixels(MaskedImage(image.image, mask, image.variance, image.xy0)), Streaks(lines, nPixels)
