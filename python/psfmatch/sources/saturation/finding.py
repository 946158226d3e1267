"""At which counts an image saturates: the plateau among its bright pixels tells, or a header card, or the mask plane.

What the mask has as saturated says nothing about other pixels: bleed trails are often cut far below the level.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import BrightPixels
from psfmatch.errors import significant
from psfmatch.images import Exposure, Mask, MaskedImage
from psfmatch.sources.saturation.defects import DEFECT_PLANES, isWithoutReasons
from psfmatch.sources.saturation.plateaus import (
    MIN_EXCESS,
    MIN_PLATEAU,
    Pile,
    Plateaus,
    counted,
    findPlateaus,
    starsOfShape,
)
from psfmatch.sources.saturation.ridges import Ridge, findRidge
from psfmatch.sources.saturation.stars import ShapedStars, findShapedStars

__all__ = ["Saturation", "findSaturation"]

log = logging.getLogger("psfmatch.sources")

SATURATION_CARDS = ("SATURATE", "SATLEVEL", "SATURATA", "SATURATB", "SATURAT", "SATUR", "SATURATION", "CELL.SATURATION")
"""Cards with the saturation level in counts; where several are given the lowest holds."""

FAR = 1.1
MOST_FAR = 3
MOST_STARS_FAR = 2
"""So many pixels, and stars of good shape, may lie more than 10 % above a level that the header tells: cosmic rays."""

BRIGHTEST = 100
MIN_STARS = 20
"""So many stars of good shape are watched, at the most and at the least."""
MOST_WHOLE = 2000
"""So many are told: the brightest may be saturated in the other image."""


@dataclass(frozen=True)
class Saturation:
    """Where an image saturates.

    level : counts at and above which pixels are saturated; None if there is none to apply;
    source : what told so; reason : a sentence with the numbers compared;
    nFlagged : pixels with SAT in the mask already; nAtLevel : good pixels at or above the level;
    trails : least and most counts of bleed trails below the level, saturated in clumps of so many pixels;
    nFlaggedPlateau : pixels with SAT that pile up at one level;
    wholeStars : (x, y) of stars of good shape without SAT that do not end at the level, the brightest first, from the
    image's first pixel;
    starsAboveLevel : share of the first hundred that peak more than 10 % above the level, so that it cannot be right;
    None for fewer than twenty.
    """

    level: float | None
    source: Literal["mask", "header", "plateau", "none"]
    reason: str
    nFlagged: int = 0
    nAtLevel: int = 0
    trails: tuple[float, float, int] | None = None
    nFlaggedPlateau: int = 0
    wholeStars: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    starsAboveLevel: float | None = None

    @property
    def isPiledUp(self) -> bool:
        """Whether there is a level, of whatever pixels: those about them may have bled too."""
        return self.level is not None or self.trails is not None or self.nFlaggedPlateau > 0


def findSaturation(exposure: Exposure, threads: int = 1) -> Saturation:
    """Find where an image saturates: by the plateau among its bright pixels, its header, or its mask plane SAT.

    Parameters
    ----------
    exposure
        Not changed.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    saturation : Saturation
        With ``level`` None where nothing saturates, or where the mask plane alone tells.

    Notes
    -----
    A plateau of pixels without SAT is the level if they lie together in clumps larger than stars of one brightness
    make, and no more than a few stars of good shape are brighter. Else the header's level holds, unless stars of good
    shape lie more than 10 % above it. If stars go on above a plateau in large clumps, these are bleed trails. A plateau
    that is mostly one straight line, which follows neither rows nor columns, is looked at again without that line.
    """
    found = _find(exposure, threads)
    ridge = _ridgeOf(exposure, found)
    if ridge is not None:
        mask = exposure.mask.copy()
        np.asarray(mask)[ridge.isNear(mask.shape)] |= np.int32(1 << mask.addPlane("CR"))
        image = MaskedImage(exposure.image, Mask(mask), exposure.variance, exposure.xy0)
        without = _find(exposure.withPixels(image), threads)
        found = replace(without, reason=f"{without.reason[:-1]}; {ridge.told}.")
    log.debug("%s", found.reason)
    return found


def _ridgeOf(exposure: Exposure, found: Saturation) -> Ridge | None:
    """Return the straight line that most good pixels at or above a plateau's level lie on, None if there is none."""
    if found.source != "plateau" or found.level is None:
        return None
    bad = np.int32(exposure.mask.getPlaneBitMask(("SAT", *DEFECT_PLANES), ignoreMissing=True))
    places = np.flatnonzero((exposure.image >= found.level) & ((np.asarray(exposure.mask) & bad) == 0))
    return findRidge(exposure.image.ravel()[places], places, exposure.image.shape[1])


def _find(exposure: Exposure, threads: int) -> Saturation:
    """Return what pixels, header and mask tell."""
    pixels = _brightPixels(exposure, DEFECT_PLANES, threads)
    badBits = exposure.mask.getPlaneBitMask(("SAT", *DEFECT_PLANES), ignoreMissing=True)
    stars = findShapedStars(exposure, pixels, badBits, threads)
    evidence = _Evidence(pixels, stars, *_headerLevel(exposure.metadata))
    found = _fromHidden(exposure, evidence, threads) or _fromGood(exposure, evidence)
    y, x = np.divmod(_wholePlaces(evidence, found), exposure.image.shape[1])
    return replace(
        found,
        nFlagged=pixels.nFlagged,
        nFlaggedPlateau=_flaggedPlateau(pixels),
        wholeStars=tuple(zip(x.tolist(), y.tolist(), strict=True)),
        starsAboveLevel=_shareAbove(evidence, found),
    )


def _wholePlaces(evidence: _Evidence, found: Saturation) -> npt.NDArray[np.int64]:
    """Return places of the brightest stars of good shape, but of those that end at the level: a pixel or two are cut.

    Stars that go on beyond it contradict it, and are whole.
    """
    places, peaks = evidence.stars.places, evidence.stars.peaks + evidence.pixels.sky
    if found.level is not None:
        places = places[(peaks < found.level) | (peaks > FAR * found.level)]
    return places[:MOST_WHOLE]


def _shareAbove(evidence: _Evidence, found: Saturation) -> float | None:
    """Return the share of the brightest stars of good shape that the level loses; None if too few tell."""
    peaks = evidence.stars.peaks[:BRIGHTEST] + evidence.pixels.sky
    if peaks.size < MIN_STARS:
        return None
    if found.level is None:
        return 0.0
    return float(np.mean(peaks > FAR * found.level))


@dataclass(frozen=True)
class _Evidence:
    """Bright pixels and stars of good shape among the good ones; the header's card and level, if it tells one."""

    pixels: BrightPixels
    stars: ShapedStars
    card: str
    header: float | None

    def countPixels(self, level: float) -> int:
        """Return how many pixels without SAT have so many counts or more."""
        return int(np.count_nonzero((self.pixels.counts >= level - self.pixels.sky) & ~self.pixels.isFlagged))

    def countStars(self, least: float, most: float = math.inf) -> int:
        """Return how many stars of good shape peak between such counts, both excluded."""
        peaks = self.stars.peaks + self.pixels.sky
        return int(np.count_nonzero((peaks > least) & (peaks < most)))


def _brightPixels(exposure: Exposure, defectPlanes: Sequence[str], threads: int) -> BrightPixels:
    """Return the bright pixels of stars that have none of these planes."""
    return _core.brightPixels(
        exposure.image,
        np.asarray(exposure.mask),
        saturated=exposure.mask.getPlaneBitMask("SAT"),
        defects=exposure.mask.getPlaneBitMask(defectPlanes),
        nThreads=threads,
    )


def _fromHidden(exposure: Exposure, evidence: _Evidence, threads: int) -> Saturation | None:
    """Look for a plateau among the bad pixels, too, where the mask does not say why they are bad."""
    # Without good stars bad ones compare with nothing.
    if evidence.pixels.counts.size < MIN_PLATEAU or not isWithoutReasons(exposure.mask, threads):
        return None
    pixels = _brightPixels(exposure, (), threads)
    plateau = findPlateaus(exposure, pixels, evidence.stars).level
    # A bad column may hold one value everywhere. Saturated stars have no equals among the good pixels.
    if plateau is None or evidence.countPixels(plateau.level) > max(3, int(0.02 * plateau.nPixels)):
        return None
    found = _fromPlateau(replace(evidence, pixels=pixels), plateau)
    return replace(found, reason=f"{found.reason[:-1]}; the mask has them as bad and does not say why.")


def _fromGood(exposure: Exposure, evidence: _Evidence) -> Saturation:
    """Return what the good pixels, the header, and the mask tell, in this order."""
    plateaus = findPlateaus(exposure, evidence.pixels, evidence.stars)
    if plateaus.level is not None:
        found = _fromPlateau(evidence, plateaus.level)
    else:
        found = _fromHeader(evidence, plateaus) or _fromMask(evidence, plateaus)
    trails = plateaus.trails
    if trails is None:
        return found
    told = f"; clumps of {trails.leastClump} pixels from {trails.level:.6g} to {trails.top:.6g} counts are bleed trails"
    return replace(found, reason=f"{found.reason[:-1]}{told}.", trails=(trails.level, trails.top, trails.leastClump))


def _fromPlateau(evidence: _Evidence, plateau: Pile) -> Saturation:
    card, header, count = evidence.card, evidence.header, plateau.nPixels + plateau.nAbove
    told = f"{plateau.told}, and {plateau.nAbove} above it; {plateau.verdict}"
    if evidence.pixels.nFlagged:
        told += (
            f"; the mask has SAT on {counted(evidence.pixels.nFlagged)}, but {plateau.nPixels} of the plateau lack it"
        )
    if header is None:
        return Saturation(plateau.level, "plateau", f"as the pixels show: {told}.", nAtLevel=count)
    if 0.5 * plateau.level < header < plateau.level:
        nStars = evidence.countStars(FAR * header, plateau.level)
        if nStars <= MOST_STARS_FAR:
            told = f"from {header:.6g} counts, as {card} of the header says, below the plateau: {told}."
            return Saturation(header, "header", told, nAtLevel=evidence.countPixels(header))
        why = f"{starsOfShape(nStars)} more than 10 % above it, where {MOST_STARS_FAR} may be"
    else:
        why = f"it is not between {0.5 * plateau.level:.6g} and that level"
    told += f"; {card} = {header:.6g} of the header does not fit, for {why}"
    return Saturation(plateau.level, "plateau", f"as the pixels show: {told}.", nAtLevel=count)


def _fromHeader(evidence: _Evidence, plateaus: Plateaus) -> Saturation | None:
    header = evidence.header
    if header is None or _whyPassedOver(evidence, header):
        return None
    count = evidence.countPixels(header)
    told = (
        f"from {header:.6g} counts, as {evidence.card} of the header says, which {counted(count)} of stars "
        f"{'reaches' if count == 1 else 'reach'}"
    )
    if evidence.pixels.nFlagged:
        told += f" without SAT, which the mask has on {counted(evidence.pixels.nFlagged)}"
    return Saturation(header, "header", f"{told}; {_noLevel(plateaus)}.", nAtLevel=count)


def _whyPassedOver(evidence: _Evidence, header: float) -> str:
    """Return in words why the header's level cannot be right; empty if it can."""
    nPixels, nStars = evidence.countPixels(FAR * header), evidence.countStars(FAR * header)
    if nPixels <= MOST_FAR and nStars <= MOST_STARS_FAR:
        return ""
    return (
        f"{evidence.card} = {header:.6g} of the header is passed over: {counted(nPixels)} of stars lie more than 10 % "
        f"above it without a plateau, where {MOST_FAR} may, and {starsOfShape(nStars)} there, where {MOST_STARS_FAR} "
        "may be, so it is not in the units of the pixels"
    )


def _fromMask(evidence: _Evidence, plateaus: Plateaus) -> Saturation:
    """Return that the mask alone tells, or nothing, and why."""
    pixels, header = evidence.pixels, evidence.header
    told = [f"as the mask says, SAT on {counted(pixels.nFlagged)}"] if pixels.nFlagged else ["none"]
    if header is not None:
        told.append(_whyPassedOver(evidence, header))
    elif not pixels.nFlagged:
        told.append("no pixel has SAT, no header card tells a level")
    told.append(
        f"{_noLevel(plateaus)}; the brightest has {pixels.sky + float(pixels.counts.max(initial=0.0)):.6g} counts, the "
        f"sky {significant(pixels.sky, 6)} +- {significant(pixels.noise, 3)}"
    )
    return Saturation(None, "mask" if pixels.nFlagged else "none", f"{'; '.join(told)}.")


def _noLevel(plateaus: Plateaus) -> str:
    """Return in words that no plateau is the level, and why."""
    pile = plateaus.trails or plateaus.other
    if pile is not None:
        return f"{pile.told}, but {pile.verdict}"
    return (
        f"bright pixels pile up at no level (at least {MIN_PLATEAU}, {MIN_EXCESS:g} times as many as the fainter ones "
        "let expect)"
    )


def _flaggedPlateau(pixels: BrightPixels) -> int:
    """Return how many pixels with SAT pile up at one level."""
    plateau = _core.findPlateau(pixels, minPixels=MIN_PLATEAU, minExcess=MIN_EXCESS) if pixels.nFlagged else None
    return 0 if plateau is None else plateau.nPixels - plateau.nUnflagged


def _headerLevel(metadata: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the card with the lowest level, and the level; None without one."""
    levels = []
    for card in SATURATION_CARDS:
        value = metadata.get(card)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0.0:
            levels.append((float(value), card))
    return (min(levels)[1], min(levels)[0]) if levels else ("", None)
