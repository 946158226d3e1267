"""Two images made ready to be matched, with what was done to them and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from psfmatch.alignment import (
    AlignedTransform,
    Alignment,
    Surroundings,
    applyAlignment,
    measureAlignment,
    surroundingsOf,
)
from psfmatch.detection import SourceDetectionTask
from psfmatch.differencing.examining import NAMES, examineInputs
from psfmatch.differencing.faintFields import FaintMatch, matchFaint
from psfmatch.differencing.options import RunOptions
from psfmatch.exposure import Exposure
from psfmatch.imagePsfMatch import ImagePsfMatchTask
from psfmatch.measurement import SourceMeasurementTask
from psfmatch.modelChoice import Choice
from psfmatch.recipe import Preparation, warperOf
from psfmatch.saturation import Saturation
from psfmatch.sourceTable import AnyTable
from psfmatch.streaks import flagStreaks, isOfStreak, streakFluxRatio
from psfmatch.threads import mapThreads
from psfmatch.warping import (
    Coverage,
    Warper,
    atOrigin,
    isCovered,
    measureCoverage,
    requireCoverage,
    resampledCorrelation,
)

__all__ = ["Inputs", "makeInputs"]

log = logging.getLogger("psfmatch.differencing")

BRIGHTEST = 100
"""So many stars that are whole in both images are watched."""
CROWD_PIX = 625
"""Pixels for each source, of fields in which streaks are looked for."""
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
    task.requireKernelFits(science.maskedImage)
    with task.timer("detect"):
        # Tasks that somebody has put in their place need not bear two calls at a time.
        isOwn = type(task.selectDetection) is SourceDetectionTask
        isOwn &= type(task.selectMeasurement) is SourceMeasurementTask
        sources, *others = mapThreads(
            task.selectSources, (science, template) if options.doAlign else (science,), threads if isOwn else 1
        )
    asGiven, alignment = template, None
    warper = warperOf(task.options, threads)
    if options.doAlign:
        with task.timer("align"):
            alignment = measureAlignment(
                template, science, templateSources=others[0], scienceSources=sources, threads=threads
            )
        task.metadata["nDetectedSources"] = len(sources)
        alignment.requireLaid(template, science)
        with task.timer("warp"):
            template = applyAlignment(template, science, alignment, warper)
    else:
        template = task.registerTemplate(template, science)
    faint = None
    if options.chooseKernel and isOwn:
        before = others[0] if others else None
        faint = matchFaint(asGiven, template, science, sources, before, alignment, task)
    if faint is not None:
        template, alignment, sources = faint.template, faint.alignment, faint.sources
        choices += faint.choices
    if alignment is not None:
        choices.append(Choice.told("alignment", alignment.method, f"Alignment: {alignment.reason}"))
        record = replace(record, alignment=alignment.toDict())
    correlation = _noiseCorrelation(asGiven, science, alignment, warper)
    isLaid = alignment is None or alignment.isFound or (asGiven.hasWcs and science.hasWcs)
    beyond = None
    if options.edgeFraction > 0.0 and template is not asGiven:
        beyond = surroundingsOf(asGiven, science, alignment, warper)
    if options.doFindStreaks and isLaid and science.image.size < CROWD_PIX * len(sources):
        choices.append(_crowded(len(sources), science))
    elif options.doFindStreaks and isLaid:
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
    images = template, science, sources, record
    return Inputs(*images, examined.saturations, stars, alignment, coverage, tuple(choices), correlation, beyond, faint)


def _crowded(nSources: int, science: Exposure) -> Choice:
    """Return in words that a crowd is not searched for streaks."""
    area = science.image.size / nSources
    choice = Choice.told("streaks", "none", (
        f"Streaks: not looked for; one source in every {area:.0f} px, where {CROWD_PIX} px are needed, is a crowd, in "
        "which rows of stars pass for lines."
    ))  # fmt: skip
    choice.log(log)
    return choice


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
