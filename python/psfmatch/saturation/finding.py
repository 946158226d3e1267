"""At which counts an image saturates: the mask plane tells, or a header card, or the plateau among bright pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from psfmatch import _core
from psfmatch._core import BrightPixels, Plateau
from psfmatch.exposure import Exposure
from psfmatch.saturation.defects import DEFECT_PLANES, isWithoutReasons

__all__ = ["Saturation", "findSaturation"]

log = logging.getLogger("psfmatch.saturation")

SATURATION_CARDS = ("SATURATE", "SATLEVEL", "SATURATA", "SATURATB", "SATURAT", "SATUR", "SATURATION", "CELL.SATURATION")
"""Cards with the saturation level in counts; where several are given the lowest holds."""

MIN_PLATEAU = 9
"""Fewer pixels are no plateau: the brightest star alone can have four equal ones."""

MIN_EXCESS = 3.0
"""A plateau has so many times the pixels expected from those below."""

MOST_FAR = 3
"""So many pixels may lie more than 10 % above a level that the header tells: cosmic rays."""


@dataclass(frozen=True)
class Saturation:
    """Where an image saturates.

    level : counts at and above which pixels are saturated; None if there is none to apply;
    source : what told so; reason : a sentence with the numbers compared;
    nFlagged : pixels with SAT in the mask already; nAtLevel : good pixels at or above the level.
    """

    level: float | None
    source: Literal["mask", "header", "plateau", "none"]
    reason: str
    nFlagged: int = 0
    nAtLevel: int = 0


def findSaturation(exposure: Exposure, threads: int = 1) -> Saturation:
    """Find where an image saturates: by its mask plane SAT, its header, or the plateau among its bright pixels.

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
    """
    pixels = _brightPixels(exposure, DEFECT_PLANES, threads)
    plateau = _findPlateau(pixels)
    card, header = _headerLevel(exposure.metadata)
    brightest = pixels.sky + float(pixels.counts.max(initial=0.0))
    found = _fromMask(pixels, plateau) or _fromHidden(exposure, pixels, card, header, threads)
    found = found or _fromPlateau(pixels, plateau, card, header)
    if found is None and header is not None:
        found = _fromHeader(pixels, card, header)
    if found is None:
        found = Saturation(
            None,
            "none",
            f"none; no pixel has SAT, no header card tells a level, and bright pixels pile up at none (at least "
            f"{MIN_PLATEAU}, {MIN_EXCESS:g} times as many as the fainter ones let expect); the brightest has "
            f"{brightest:.6g} counts, the sky {pixels.sky:.6g} +- {pixels.noise:.3g}.",
        )
    log.debug("%s", found.reason)
    return found


def _fromMask(pixels: BrightPixels, plateau: Plateau | None) -> Saturation | None:
    if pixels.nFlagged == 0:
        return None
    if plateau is None:
        told = (
            f"as the mask says, SAT on {_counted(pixels.nFlagged)}; bright pixels pile up at no level "
            f"({MIN_PLATEAU} are needed)."
        )
        return Saturation(None, "mask", told, pixels.nFlagged)
    allowed = max(3, int(0.02 * plateau.nPixels))
    if plateau.nUnflagged > allowed:
        return None
    told = (
        f"as the mask says, SAT on {_counted(pixels.nFlagged)}; of the {plateau.nPixels} pixels on the plateau from "
        f"{plateau.level:.6g} counts {plateau.nUnflagged} lack it, where {allowed} may."
    )
    return Saturation(plateau.level, "mask", told, pixels.nFlagged, plateau.nPixels + plateau.nAbove)


def _brightPixels(exposure: Exposure, defectPlanes: Sequence[str], threads: int) -> BrightPixels:
    """Return the bright pixels of stars that have none of these planes."""
    return _core.brightPixels(
        exposure.image,
        np.asarray(exposure.mask),
        saturated=exposure.mask.getPlaneBitMask("SAT"),
        defects=exposure.mask.getPlaneBitMask(defectPlanes),
        nThreads=threads,
    )


def _findPlateau(pixels: BrightPixels) -> Plateau | None:
    return _core.findPlateau(pixels, minPixels=MIN_PLATEAU, minExcess=MIN_EXCESS)


def _fromHidden(
    exposure: Exposure, good: BrightPixels, card: str, header: float | None, threads: int
) -> Saturation | None:
    """Look for a plateau among the bad pixels, too, where the mask does not say why they are bad."""
    # Without good stars bad ones compare with nothing.
    if good.counts.size < MIN_PLATEAU or not isWithoutReasons(exposure.mask, threads):
        return None
    pixels = _brightPixels(exposure, (), threads)
    plateau = _findPlateau(pixels)
    if plateau is None:
        return None
    # A bad column may hold one value everywhere. Saturated stars have no equals among the good pixels.
    nLeft, allowed = _countAbove(good, plateau.level), max(3, int(0.02 * plateau.nPixels))
    if nLeft > allowed:
        return None
    found = _fromPlateau(pixels, plateau, card, header)
    assert found is not None  # for mypy: there is a plateau
    return replace(found, reason=f"{found.reason[:-1]}; the mask has them as bad and does not say why.")


def _fromPlateau(pixels: BrightPixels, plateau: Plateau | None, card: str, header: float | None) -> Saturation | None:
    if plateau is None:
        return None
    told = (
        f"{plateau.nPixels} pixels lie on a plateau from {plateau.level:.6g} counts, where {plateau.nExpected:.2g} are "
        f"expected from those below, and {plateau.nAbove} above it"
    )
    if pixels.nFlagged:
        told += f"; the mask has SAT on {_counted(pixels.nFlagged)}, but {plateau.nUnflagged} of the plateau lack it"
    if header is not None and 0.5 * plateau.level < header < plateau.level:
        count = _countAbove(pixels, header)
        told = f"from {header:.6g} counts, as {card} of the header says, below the plateau: {told}."
        return Saturation(header, "header", told, pixels.nFlagged, count)
    if header is not None:
        told += (
            f"; {card} = {header:.6g} of the header does not fit, for it is not between {0.5 * plateau.level:.6g} and "
            "that level"
        )
    count = plateau.nPixels + plateau.nAbove
    return Saturation(plateau.level, "plateau", f"as the pixels show: {told}.", pixels.nFlagged, count)


def _fromHeader(pixels: BrightPixels, card: str, header: float) -> Saturation:
    count, far = _countAbove(pixels, header), _countAbove(pixels, 1.1 * header)
    if far > MOST_FAR:
        told = (
            f"none; {card} = {header:.6g} of the header is passed over: {far} pixels of stars lie more than 10 % above "
            f"it without a plateau, where {MOST_FAR} may, so it is not in the units of the pixels."
        )
        return Saturation(None, "none", told, pixels.nFlagged)
    told = (
        f"from {header:.6g} counts, as {card} of the header says, which {_counted(count)} of stars "
        f"{'reaches' if count == 1 else 'reach'}; bright pixels pile up at no level ({MIN_PLATEAU} are needed)."
    )
    return Saturation(header, "header", told, pixels.nFlagged, count)


def _counted(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"


def _countAbove(pixels: BrightPixels, level: float) -> int:
    return int(np.count_nonzero(pixels.counts >= level - pixels.sky))


def _headerLevel(metadata: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the card with the lowest level, and the level; None without one."""
    levels = []
    for card in SATURATION_CARDS:
        value = metadata.get(card)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0.0:
            levels.append((float(value), card))
    return (min(levels)[1], min(levels)[0]) if levels else ("", None)
