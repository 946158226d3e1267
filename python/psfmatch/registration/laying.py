"""Where the stars of a template lie on a science image by coordinates, array indices, or the patterns that they make.

By coordinates, or by array indices without them, the stars are near their places; `layNear` finds them there. Where it
does not, `layAnywhere` looks for the same patterns of stars at any shift, turn and scale from 0.5 to 2, mirrored or
not, and where stars are too few for patterns, for the shift and right-angled turn at which the light of both images
correlates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import Box, Exposure, PixelTransform, hasUsableWcs
from psfmatch.registration.asterisms import MAX_CHANCE, Match, matchPatterns, matchStars
from psfmatch.registration.centroids import StarPositions
from psfmatch.registration.correlation import Correlation, correlate
from psfmatch.registration.turns import TURNS, UNTURNED, Turn, nearestTurn, turnedTo

__all__ = ["Found", "Laid", "Transform", "layAnywhere", "layNear", "nominalTransform"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Transform = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[FloatArray, FloatArray]]
Found = Literal["near", "patterns", "correlation"]

WEAK_SHARE = 0.25
"""Of the stars that both images should show: fewer pairs near their places may be accidents of a crowd."""
MIN_REFUTING_STARS = 10
"""Stars of both images in common sky of which not even three agree: they do not lie as the coordinates say."""
MIN_PAIRS_ON_SKY, MAX_CHANCE_ON_SKY, MIN_SHARE_ON_SKY = 8, 1e-6, 0.3
"""What a pattern must bring to be believed against coordinates."""
PAIR_RADIUS = 3.0
"""Pixels about the place that correlation gives within which sources are the same."""
CLOSE_RADIUS = 1.0
"""Pixels from their median shift within which sources tell a place without a second one that the light likes less."""
FEW_COEFFICIENT = 0.7
"""Of the correlation of the light, where fewer than three sources agree."""
UNLIKE, QUITE_UNLIKE = 0.4, 0.15
"""Correlation of the light at equal array indices below which images do not show the same sky: with many sources that
disagree, and with two."""
MIN_SOURCES, MIN_STAMP_SOURCES, MAX_STAMP_SIDE = 2, 3, 150
"""Sources that must agree to move a template of the science image's shape, and one that may be a cut-out of the same
place, up to so many pixels: one source may be two, a variable and another."""


@dataclass(frozen=True, eq=False)
class Laid:
    """The stars of a template on a science image.

    foundBy : how; turn : of the template, by right angles and mirrored, before anything else;
    onScience : its stars where the turned template has them, in pixels of the science image;
    match : which are which of the science image's stars;
    correlation : of the light, None where it was not looked at;
    isRefuted : whether there are sources enough in both images, and neither they nor the light agree.
    """

    foundBy: Found
    turn: Turn
    onScience: StarPositions
    match: Match
    correlation: Correlation | None = None
    isRefuted: bool = False

    @property
    def isFound(self) -> bool:
        """Whether it can be believed."""
        return self.match.isFound or self.foundBy == "correlation"


def nominalTransform(source: Exposure, target: Exposure, turn: Turn = UNTURNED) -> Transform:
    """Return where parent pixels of one image lie in another by the WCSs, or by array indices without both.

    Those of turned images are array indices.
    """
    if turn == UNTURNED and hasUsableWcs(source) and hasUsableWcs(target):
        return PixelTransform(source.coordinates, target.coordinates)
    return _Indices(source.xy0, target.xy0)


def layNear(
    template: Exposure,
    science: Exposure,
    templateStars: StarPositions,
    scienceStars: StarPositions,
    maxOffsetPix: float,
) -> Laid:
    """Look for the stars of the science image where the coordinates put those of the template, to an offset."""
    onScience, _ = _onScience(templateStars, template, science)
    onScience = onScience.select(_isNear(onScience, science.getBBox(), maxOffsetPix))
    match = matchStars(scienceStars.positions, onScience.positions, float(science.image.size), maxOffsetPix)
    return Laid("near", UNTURNED, onScience, match)


def layAnywhere(
    template: Exposure,
    science: Exposure,
    templateStars: StarPositions,
    scienceStars: StarPositions,
    near: Laid,
    onSky: bool,
    threads: int = 1,
) -> Laid:
    """Look for the stars of the template anywhere on the science image, where they are not near their places.

    Parameters
    ----------
    template, science
        Not changed.
    templateStars, scienceStars
        Theirs.
    near
        What `layNear` has found.
    onSky
        Whether both have a WCS: then it must be refuted by stars, and patterns must be sure.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    laid : Laid
        `near` where nothing better is found.
    """
    if near.isFound and onSky:
        return near
    nominal, area = _onScience(templateStars, template, science)
    box = science.getBBox()
    inCommon = int(_isNear(nominal, box, 0.0).sum())
    if near.isFound and len(near.match) >= WEAK_SHARE * min(inCommon, len(scienceStars)):
        return near
    isRefutable = min(inCommon, len(scienceStars)) >= MIN_REFUTING_STARS
    if onSky and not isRefutable:
        return near
    known = np.isfinite(nominal.x) & np.isfinite(nominal.y)
    nominal = nominal.select(known)
    match, linear = matchPatterns(scienceStars.positions, nominal.positions, area)
    isBelieved = match.isFound and len(match) >= 2 * len(near.match) * near.isFound
    if onSky:
        nLeast = max(MIN_PAIRS_ON_SKY, MIN_SHARE_ON_SKY * min(len(nominal), len(scienceStars)))
        isBelieved &= match.chance < MAX_CHANCE_ON_SKY and len(match) >= nLeast
    if isBelieved:
        turn = nearestTurn(_linearOf(scienceStars, templateStars.select(known), match) if onSky else linear)
        moved = nominal if turn == UNTURNED else _turnedStars(templateStars.select(known), template, science, turn)
        return Laid("patterns", turn, moved, match)
    if onSky or near.isFound:
        return near
    nNeeded = 0
    if template.shape == science.shape:
        nNeeded = MIN_SOURCES if max(science.shape) > MAX_STAMP_SIDE else MIN_STAMP_SOURCES
    nLeast = min(len(scienceStars), len(templateStars))
    if nLeast < nNeeded:
        return near
    found = correlate(template.maskedImage, science.maskedImage, threads)
    if found.isLike and (found.isElsewhere or template.shape != science.shape):
        moved = _turnedStars(templateStars, template, science, found.turn)
        match = _pairsAt(scienceStars, moved, found)
        isSure = len(match) >= MIN_STAMP_SOURCES or found.coefficient >= FEW_COEFFICIENT
        # Sources that agree closely tell a place that the light of the brightest does not tell from others.
        isTold = found.isClear or _isNoChance(match, scienceStars, moved, min(area, float(science.image.size)))
        if len(match) >= nNeeded and isSure and isTold:
            return Laid("correlation", found.turn, moved, match, found)
    isFew = max(science.shape) <= MAX_STAMP_SIDE or nLeast < MIN_SOURCES
    isRefuted = (isRefutable and found.nominal < UNLIKE) or (not isFew and found.nominal < QUITE_UNLIKE)
    return replace(near, correlation=found, isRefuted=isRefuted)


class _Indices:
    """Equal array indices of two images as positions in parent pixels."""

    def __init__(self, fromXY0: tuple[int, int], toXY0: tuple[int, int]) -> None:
        self._move = toXY0[0] - fromXY0[0], toXY0[1] - fromXY0[1]

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        return np.asarray(x, dtype=np.float64) + self._move[0], np.asarray(y, dtype=np.float64) + self._move[1]


def _onScience(stars: StarPositions, template: Exposure, science: Exposure) -> tuple[StarPositions, float]:
    """Return the stars of the template where the science image should have them, and the template's area there.

    Those that have no place there are NaN.
    """
    transform = nominalTransform(template, science)
    x, y = transform(stars.x, stars.y)
    right, above = transform(stars.x + 1.0, stars.y), transform(stars.x, stars.y + 1.0)
    # Errors in pixels of the template in those of the science image.
    area = np.abs((right[0] - x) * (above[1] - y) - (right[1] - y) * (above[0] - x))
    scale = np.sqrt(area)
    x[~np.isfinite(scale)] = np.nan
    onScience = StarPositions(x, y, stars.xErr * scale, stars.yErr * scale, stars.fwhm)
    known = np.isfinite(area)
    return onScience, template.image.size * (float(np.median(area[known])) if known.any() else 1.0)


def _isNear(stars: StarPositions, box: Box, margin: float) -> BoolArray:
    """Return which stars (n,) lie in a box or within a margin (pixels) of it."""
    isNear = (stars.x >= box.x0 - margin) & (stars.x <= box.x1 + margin)
    return np.asarray(isNear & (stars.y >= box.y0 - margin) & (stars.y <= box.y1 + margin))


def _turnedStars(stars: StarPositions, template: Exposure, science: Exposure, turn: Turn) -> StarPositions:
    """Return the stars of the template where the science image has them by array indices of the turned template."""
    x, y = turnedTo(turn, template.shape, stars.x - template.xy0[0], stars.y - template.xy0[1])
    errors = (stars.xErr, stars.yErr) if turn[0][0] else (stars.yErr, stars.xErr)
    return StarPositions(x + science.xy0[0], y + science.xy0[1], *errors, stars.fwhm)


def _linearOf(scienceStars: StarPositions, templateStars: StarPositions, match: Match) -> FloatArray:
    """Return the (2, 2) linear terms from pixels of the science image to those of the template."""
    terms = np.column_stack([scienceStars.positions[match.first], np.ones(len(match))])
    return _core.fitLinear(terms, templateStars.positions[match.second])[0][:, :2]


def _isNoChance(match: Match, scienceStars: StarPositions, templateStars: StarPositions, area: float) -> bool:
    """Return whether pairs that differ by one shift are too many for chance, of all shifts and right-angled turns."""
    if len(match) < MIN_STAMP_SOURCES:
        return False
    apart = templateStars.positions[match.second] - scienceStars.positions[match.first]
    squares = ((apart - np.median(apart, axis=0)) ** 2).sum(axis=1)
    nClose = int(np.count_nonzero(squares <= CLOSE_RADIUS**2))
    nPairs = len(scienceStars) * len(templateStars)
    # One pair makes the shift; of the others so many come by accident (Poisson's law).
    expected = nPairs * math.pi * CLOSE_RADIUS**2 / area
    others = np.arange(max(nClose - 1, 0), nPairs)
    logs = others * math.log(expected) - expected - np.array([math.lgamma(n + 1.0) for n in others])
    return len(TURNS) * nPairs * float(np.exp(logs).sum()) < MAX_CHANCE


def _pairsAt(scienceStars: StarPositions, templateStars: StarPositions, found: Correlation) -> Match:
    """Return the stars that are each other's nearest at the place that the correlation gives."""
    nothing = np.zeros(0, dtype=np.int64)
    if not (len(scienceStars) and len(templateStars)):
        return Match(nothing, nothing, math.inf)
    moved = scienceStars.positions + found.shift
    squares = ((moved[:, np.newaxis] - templateStars.positions) ** 2).sum(axis=2)
    nearest = squares.argmin(axis=1)
    isPair = squares.argmin(axis=0)[nearest] == np.arange(len(scienceStars))
    first = np.flatnonzero(isPair & (squares.min(axis=1) <= PAIR_RADIUS**2))
    return Match(first, nearest[first], math.inf)
