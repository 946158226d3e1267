"""Two images that were examined, laid upon each other: what only both together tell, and what is fit to be matched."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch.config.choices import Choice
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, MaskedImage, atOrigin
from psfmatch.io.sourceTable import AnyTable
from psfmatch.registration.alignment import AlignedTransform, Alignment, applyAlignment, measureAlignment
from psfmatch.registration.coverage import Coverage, isCovered, measureCoverage, requireCoverage
from psfmatch.registration.examination import NAMES, Examined, PairSteps, Timer
from psfmatch.registration.noiseCorrelation import resampledCorrelation
from psfmatch.registration.preparation import Preparation, crossInputs
from psfmatch.registration.surroundings import Surroundings, surroundingsOf
from psfmatch.registration.warper import Warper
from psfmatch.sources import (
    Saturation,
    areOfOneImage,
    flagStreaks,
    isOfStreak,
    isWorthCrossing,
    laidFluxRatio,
    streakFluxRatio,
)
from psfmatch.sources.starSelection import MIN_SNR

__all__ = ["LaidPair", "PreparedPair", "alignPair", "completePair", "layPair"]

log = logging.getLogger("psfmatch.frontdoor")

BRIGHTEST = 100
"""So many stars that are whole in both images are watched."""
MANY_CHANGED = 0.2
"""Share of the useful sources that have changed, from which on they are left out before the fit."""
FIRST_LOOK = 2000
"""Sources, evenly taken, of which less than half of that share has changed where all need not be looked at."""
SAME_PIX = 2
"""A star of the template lies so close, per axis, to where that of the science image is mapped."""


@dataclass(frozen=True)
class LaidPair:
    """A template on the science image's pixels, and what is known of both.

    given : the template as it was before; alignment : None where nobody asked; choices : of pixels looked up in the
    other image.
    """

    given: Exposure
    template: Exposure
    science: Exposure
    sources: AnyTable
    preparation: Preparation
    alignment: Alignment | None = None
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class PreparedPair:
    """The images made ready: template on the science image's pixels; what was done to them, and why.

    saturations : of template and science image, as they were given; None where nobody asked;
    brightStars : (x, y), from the science image's first pixel, of the brightest stars that were whole in both;
    templateCorrelation : of the template's noise by lags (y, x), None unless it was resampled to smaller pixels;
    beyond : what the template has around the science image, None where it ends there.
    """

    template: Exposure
    science: Exposure
    sources: AnyTable
    preparation: Preparation
    saturations: tuple[Saturation | None, Saturation | None]
    brightStars: tuple[tuple[int, int], ...]
    alignment: Alignment | None
    coverage: Coverage
    choices: tuple[Choice, ...]
    templateCorrelation: npt.NDArray[np.float64] | None = None
    beyond: Surroundings | None = None


def alignPair(examined: Examined, warper: Warper, *, timer: Timer, threads: int) -> LaidPair:
    """Measure how the template lies upon the science image, and lay it there.

    Raises
    ------
    InputImagesError
        If nothing tells how they lie, or they do not overlap.
    """
    template, science = examined.template, examined.science
    with timer("align"):
        alignment = measureAlignment(
            template,
            science,
            templateSources=examined.templateSources,
            scienceSources=examined.sources,
            threads=threads,
        )
    alignment.requireLaid(template, science)
    return layPair(examined, examined.sources, alignment, warper, timer=timer, threads=threads)


def layPair(
    examined: Examined, sources: AnyTable, alignment: Alignment, warper: Warper, *, timer: Timer, threads: int
) -> LaidPair:
    """Lay the template upon the science image as `alignment` says; bright defects of either are looked up in both.

    `sources` : of the science image, which tell the flux ratio.
    """
    given, science, record, crossed = _crossed(examined, sources, alignment, threads)
    with timer("warp"):
        template = applyAlignment(given, science, alignment, warper)
    return LaidPair(given, template, science, sources, record, alignment, crossed)


def completePair(
    laid: LaidPair, examined: Examined, steps: PairSteps, warper: Warper, *, timer: Timer, threads: int
) -> PreparedPair:
    """Flag streaks, keep what lies beyond the border, and choose the sources that both images show.

    Raises
    ------
    InputImagesError
        If less of the science image than is required is good in both.
    """
    template, science, record, alignment = laid.template, laid.science, laid.preparation, laid.alignment
    choices = [*laid.choices]
    if alignment is not None:
        choices.append(Choice.told("alignment", alignment.method, f"Alignment: {alignment.reason}"))
        record = replace(record, alignment=alignment.toDict())
    correlation = _noiseCorrelation(laid.given, science, alignment, warper)
    isLaid = alignment is None or alignment.isFound or (laid.given.hasWcs and science.hasWcs)
    beyond = None
    if steps.edgeFraction > 0.0 and template is not laid.given:
        beyond = surroundingsOf(laid.given, science, alignment, warper)
    if steps.doFindStreaks and isLaid:
        with timer("findStreaks"):
            template, science, record, told = _withoutStreaks(template, science, laid.sources, record, threads)
        choices.extend(told)
    registered = atOrigin(template.maskedImage, science.maskedImage)
    coverage = measureCoverage(registered, science, threads=threads)
    requireCoverage(coverage, steps.requiredCoverage)
    choices.append(
        Choice.told(
            "coverage", f"{coverage.fraction:.3f}",
            f"Coverage: {100.0 * coverage.fraction:.1f} % of the science image is good in both images; "
            f"{100.0 * steps.requiredCoverage:.3g} % are needed.",
        )
    )  # fmt: skip
    # The others tell nothing of the pair, neither how many stars there are nor how wide they are.
    sources = laid.sources[isCovered(registered, laid.sources["x"], laid.sources["y"])]
    onTemplate = AlignedTransform(laid.given, science, alignment)
    stars = _wholeInBoth(*examined.saturations, laid.given, science, onTemplate)
    sources = sources[~isOfStreak(registered, science.maskedImage, sources["x"], sources["y"], threads)]
    if isLaid:
        sources, told = _inBothImages(registered, science.maskedImage, sources, threads)
        choices.extend(told)
    return PreparedPair(
        *(template, science, sources, record, examined.saturations, stars, alignment, coverage, tuple(choices)),
        templateCorrelation=correlation,
        beyond=beyond,
    )


def _crossed(
    examined: Examined, sources: AnyTable, alignment: Alignment, threads: int
) -> tuple[Exposure, Exposure, Preparation, tuple[Choice, ...]]:
    """Look sharp pixels of either image up in the other; return both, the record with that, and what is to be told."""
    template, science, record = examined.template, examined.science, examined.preparation
    if not isWorthCrossing(examined.defects):
        return template, science, record, ()
    ratio = laidFluxRatio(template, science, AlignedTransform(template, science, alignment), sources, threads)
    both, crossed = crossInputs(examined.given, (template, science), alignment, ratio, threads)
    words = [found.told(*names) for found, names in zip(crossed, (NAMES, NAMES[::-1]), strict=True)]
    told = tuple(
        Choice.told("defects", str(found.nStars + found.nRays), sentence)
        for found, sentence in zip(crossed, words, strict=True)
        if sentence
    )
    for choice in told:
        choice.log(log)
    return *both, replace(record, defectFluxRatio=ratio), told


def _withoutStreaks(
    template: Exposure, science: Exposure, sources: AnyTable, record: Preparation, threads: int
) -> tuple[Exposure, Exposure, Preparation, tuple[Choice, ...]]:
    """Flag the streaks of both images; return these, the record with that step, and what there is to tell."""
    ratio = streakFluxRatio(atOrigin(template.maskedImage, science.maskedImage), science.maskedImage, sources, threads)
    template, science, *found = flagStreaks(template, science, ratio, threads)
    told = tuple(
        Choice.told("streaks", str(len(streaks.lines)), streaks.told(name))
        for name, streaks in zip(NAMES, found, strict=True)
    )
    for choice in told:
        choice.log(log)
    return template, science, replace(record, streakFluxRatio=ratio), told


def _inBothImages(
    template: MaskedImage, science: MaskedImage, sources: AnyTable, threads: int
) -> tuple[AnyTable, tuple[Choice, ...]]:
    """Return the sources without those that have changed, if these are so many that no clipping would tell them."""
    isUseful = np.asarray(sources["snr"]) >= MIN_SNR
    useful = sources[isUseful]

    def changed(some: AnyTable) -> npt.NDArray[np.bool_]:
        return areOfOneImage(science, template, some["x"], some["y"], DEFAULT_BAD_PLANES, threads)

    if len(useful) >= 2 * FIRST_LOOK:
        some = changed(useful[:: len(useful) // FIRST_LOOK])
        if np.count_nonzero(some) < 0.5 * MANY_CHANGED * len(some):
            return sources, ()
    isChanged = changed(useful)
    nChanged = int(np.count_nonzero(isChanged))
    if nChanged <= MANY_CHANGED * len(useful):
        return sources, ()
    isKept = np.ones(len(sources), dtype=bool)
    isKept[isUseful] = ~isChanged
    choice = Choice.told(
        "changedSources", str(nChanged),
        f"Changed sources: {nChanged} of {len(useful)} above S/N {MIN_SNR:.0f} have less than half of their light in "
        "the template; they take no part in the fit.",
    )  # fmt: skip
    choice.log(log)
    return sources[isKept], (choice,)


def _noiseCorrelation(
    template: Exposure, science: Exposure, alignment: Alignment | None, warper: Warper
) -> npt.NDArray[np.float64] | None:
    """Return how the noise of the template's pixels correlates, None where it is as white as before."""
    if alignment is not None and alignment.method == "pixels":
        return None
    transform = AlignedTransform(template, science, alignment)
    return resampledCorrelation(transform, science.getBBox(), warper)


def _wholeInBoth(
    ofTemplate: Saturation | None,
    ofScience: Saturation | None,
    template: Exposure,
    science: Exposure,
    onTemplate: AlignedTransform,
) -> tuple[tuple[int, int], ...]:
    """Return places of the hundred brightest stars of the science image that are whole in the template, too.

    What the template itself has saturated is lost by no level that was found.
    """
    if ofTemplate is None or ofScience is None or not (ofTemplate.wholeStars and ofScience.wholeStars):
        return ()
    height, width = template.shape
    isWhole = np.zeros((height + 2 * SAME_PIX, width + 2 * SAME_PIX), dtype=bool)
    for column, row in ofTemplate.wholeStars:
        isWhole[row : row + 2 * SAME_PIX + 1, column : column + 2 * SAME_PIX + 1] = True
    places = np.array(ofScience.wholeStars)
    x, y = onTemplate(*(places + science.xy0).T)
    with np.errstate(invalid="ignore"):
        columns, rows = (np.rint(value) - first for value, first in zip((x, y), template.xy0, strict=True))
        isInside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places, columns, rows = places[isInside], columns[isInside].astype(int), rows[isInside].astype(int)
    both = places[isWhole[rows + SAME_PIX, columns + SAME_PIX]][:BRIGHTEST]
    return tuple((int(column), int(row)) for column, row in both)
