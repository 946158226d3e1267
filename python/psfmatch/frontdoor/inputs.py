"""Two images made ready to be matched, with what was done to them and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch.difference import Preparation, crossInputs, warperOf
from psfmatch.fit import Choice
from psfmatch.fit.stampFit import LARGEST_SIDE, requireStampFits
from psfmatch.frontdoor.examining import NAMES, Examined, examineInputs
from psfmatch.frontdoor.faintFields import FaintMatch, matchFaint
from psfmatch.frontdoor.options import RunOptions
from psfmatch.images import DEFAULT_BAD_PLANES, Exposure, MaskedImage, atOrigin
from psfmatch.io.sourceTable import AnyTable
from psfmatch.registration import (
    AlignedTransform,
    Alignment,
    Coverage,
    Surroundings,
    Warper,
    applyAlignment,
    isCovered,
    measureAlignment,
    measureCoverage,
    requireCoverage,
    resampledCorrelation,
    surroundingsOf,
)
from psfmatch.sources import (
    Saturation,
    SourceDetectionTask,
    areOfOneImage,
    flagStreaks,
    isOfStreak,
    isWorthCrossing,
    laidFluxRatio,
    streakFluxRatio,
)
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.sources.starSelection import MIN_SNR
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask
from psfmatch.threads import mapThreads

__all__ = ["Inputs", "makeInputs"]

log = logging.getLogger("psfmatch.frontdoor")

BRIGHTEST = 100
"""So many stars that are whole in both images are watched."""
MANY_CHANGED = 0.2
"""Share of the useful sources that have changed, from which on they are left out before the fit."""
SAME_PIX = 2
"""A star of the template lies so close, per axis, to where that of the science image is mapped."""


@dataclass(frozen=True)
class Inputs:
    """The images made ready: template on the science image's pixels; what was done to them, and why.

    saturations : of template and science image, as they were given; None where nobody asked;
    brightStars : (x, y), from the science image's first pixel, of the brightest stars that were whole in both;
    templateCorrelation : of the template's noise by lags (y, x), None unless it was resampled to smaller pixels;
    beyond : what the template has around the science image, None where it ends there;
    faint : what matches a field of faint sources.
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
    faint: FaintMatch | None = None


def makeInputs(template: Exposure, science: Exposure, task: ImagePsfMatchTask, options: RunOptions) -> Inputs:
    """Flag defects and saturation, scale variances, register the template, and find the science image's sources."""
    threads = task.threads
    examined = examineInputs(template, science, task, options)
    template, science, record = examined.template, examined.science, examined.preparation
    choices = [*examined.choices]
    if options.chooseKernel and max(science.shape) <= LARGEST_SIDE:
        requireStampFits(science.shape)
    else:
        task.requireKernelFits(science.maskedImage)
    with task.timer("detect"):
        # Tasks that somebody has put in their place need not bear two calls at a time.
        isOwn = type(task.selectDetection) is SourceDetectionTask
        isOwn &= type(task.selectMeasurement) is SourceMeasurementTask
        sources, *others = mapThreads(
            task.selectSources, (science, template) if options.doAlign else (science,), threads if isOwn else 1
        )
    asGiven, alignment, crossed = template, None, tuple[Choice, ...]()
    warper = warperOf(task.options, threads)
    if options.doAlign:
        with task.timer("align"):
            alignment = measureAlignment(
                template, science, templateSources=others[0], scienceSources=sources, threads=threads
            )
        task.metadata["nDetectedSources"] = len(sources)
        alignment.requireLaid(template, science)
        asGiven, science, record, crossed = _crossed(examined, sources, alignment, threads)
        with task.timer("warp"):
            template = applyAlignment(asGiven, science, alignment, warper)
    else:
        template = task.registerTemplate(template, science)
    faint = None
    if options.chooseKernel and isOwn:
        before = others[0] if others else None
        faint = matchFaint(asGiven, template, science, sources, before, alignment, task)
    if faint is not None:
        template, sources = faint.template, faint.sources
        if record.defectFluxRatio is not None and faint.alignment is not None and faint.alignment is not alignment:
            asGiven, science, record, crossed = _crossed(examined, sources, faint.alignment, threads)
            template = applyAlignment(asGiven, science, faint.alignment, warper)
        alignment = faint.alignment
        choices += faint.choices
    choices += crossed
    if alignment is not None:
        choices.append(Choice.told("alignment", alignment.method, f"Alignment: {alignment.reason}"))
        record = replace(record, alignment=alignment.toDict())
    correlation = _noiseCorrelation(asGiven, science, alignment, warper)
    isLaid = alignment is None or alignment.isFound or (asGiven.hasWcs and science.hasWcs)
    beyond = None
    if options.edgeFraction > 0.0 and template is not asGiven:
        beyond = surroundingsOf(asGiven, science, alignment, warper)
    if options.doFindStreaks and isLaid:
        with task.timer("findStreaks"):
            template, science, record, told = _withoutStreaks(template, science, sources, record, threads)
        choices.extend(told)
    registered = atOrigin(template.maskedImage, science.maskedImage)
    coverage = measureCoverage(registered, science, threads=threads)
    requireCoverage(coverage, options.requiredCoverage)
    choices.append(
        Choice.told(
            "coverage", f"{coverage.fraction:.3f}",
            f"Coverage: {100.0 * coverage.fraction:.1f} % of the science image is good in both images; "
            f"{100.0 * options.requiredCoverage:.3g} % are needed.",
        )
    )  # fmt: skip
    # The others tell nothing of the pair, neither how many stars there are nor how wide they are.
    sources = sources[isCovered(registered, sources["x"], sources["y"])]
    stars = _wholeInBoth(*examined.saturations, asGiven, science, AlignedTransform(asGiven, science, alignment))
    sources = sources[~isOfStreak(registered, science.maskedImage, sources["x"], sources["y"], threads)]
    if isLaid:
        sources, told = _inBothImages(registered, science.maskedImage, sources, threads)
        choices.extend(told)
    images = template, science, sources, record
    return Inputs(*images, examined.saturations, stars, alignment, coverage, tuple(choices), correlation, beyond, faint)


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
    isChanged = areOfOneImage(science, template, useful["x"], useful["y"], DEFAULT_BAD_PLANES, threads)
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
