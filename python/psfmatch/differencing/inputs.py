"""Two images made ready to be matched, with what was done to them and why."""

from __future__ import annotations

import logging
import math
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
from psfmatch.defects import Defects, flagDefects
from psfmatch.defects.finding import SATURATED_GROWTH, examineDefects
from psfmatch.detection import SourceDetectionTask
from psfmatch.differencing.faintFields import FaintMatch, matchFaint
from psfmatch.differencing.options import RunOptions
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure
from psfmatch.imagePsfMatch import ImagePsfMatchTask
from psfmatch.measurement import SourceMeasurementTask
from psfmatch.modelChoice import Choice
from psfmatch.noise import measureNoiseFactor
from psfmatch.recipe import Preparation, prepareInputs, warperOf
from psfmatch.saturation import Saturation, findSaturation
from psfmatch.sourceTable import AnyTable
from psfmatch.streaks import flagStreaks, isOfStreak, streakFluxRatio
from psfmatch.threads import mapThreads, resolveThreads
from psfmatch.warping import (
    Coverage,
    atOrigin,
    isCovered,
    measureCoverage,
    requireCoverage,
    resampledCorrelation,
)

__all__ = ["Inputs", "makeInputs"]

log = logging.getLogger("psfmatch.differencing")

NAMES = "template", "science image"
RIGHT_NOISE = 0.005
"""Departure of the sky's scatter from its predicted noise that is its own error: the variance plane is right."""
BRIGHTEST = 100
"""So many stars that are whole in both images are watched."""
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
    choices: list[Choice] = []
    with task.timer("examine"):
        examined = mapThreads(lambda image: _examined(image, options), (template, science), threads)
    defects, saturations, scalings = zip(*examined, strict=True)
    for name, found in zip(NAMES, defects, strict=True):
        if found is not None:
            choices.append(_told("defects", str(found.nPixels), f"Defects of the {name}: {found.reason}"))
            log.info("%s", choices[-1].sentence)
    for name, saturation in zip(NAMES, saturations, strict=True):
        if saturation is not None:
            choices.append(_told("saturation", saturation.source, f"Saturation of the {name}: {saturation.reason}"))
            log.info("%s", choices[-1].sentence)
    for name, scaling in zip(NAMES, scalings, strict=True):
        if scaling is not None:
            task.metadata[f"scale{name.split()[0].capitalize()}VarianceFactor"] = scaling[0]
            choices.append(_told("variance", f"{scaling[0]:.4g}", f"Variance of the {name}: {scaling[1]}"))
    levels = [None if saturation is None else saturation.level for saturation in saturations]
    trails = [None if saturation is None else saturation.trails for saturation in saturations]
    isPiledUp = any(saturation is not None and saturation.isPiledUp for saturation in saturations)
    factors = [1.0 if scaling is None else scaling[0] for scaling in scalings]
    record = Preparation(
        templateSaturation=levels[0],
        scienceSaturation=levels[1],
        templateTrails=trails[0],
        scienceTrails=trails[1],
        saturationGrowth=SATURATED_GROWTH if isPiledUp else 0.0,
        templateVarianceFactor=factors[0],
        scienceVarianceFactor=factors[1],
        doFindDefects=options.doFindDefects,
    )
    template, science = prepareInputs(template, science, record, threads, defects)
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
        choices.append(_told("alignment", alignment.method, f"Alignment: {alignment.reason}"))
        record = replace(record, alignment=alignment.toDict())
    correlation = _noiseCorrelation(asGiven, science, alignment, task)
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
        _told(
            "coverage", f"{coverage.fraction:.3f}",
            f"Coverage: {100.0 * coverage.fraction:.1f} % of the science image is good in both images; "
            f"{100.0 * options.requiredCoverage:.3g} % are needed.",
        )
    )  # fmt: skip
    # The others tell nothing of the pair, neither how many stars there are nor how wide they are.
    sources = sources[isCovered(registered, sources["x"], sources["y"])]
    stars = _wholeInBoth(
        saturations[0], saturations[1], asGiven, science, AlignedTransform(asGiven, science, alignment)
    )
    sources = sources[~isOfStreak(registered, science.maskedImage, sources["x"], sources["y"], threads)]
    images = template, science, sources, record
    return Inputs(*images, saturations, stars, alignment, coverage, tuple(choices), correlation, beyond, faint)


def _examined(
    image: Exposure, options: RunOptions
) -> tuple[Defects | None, Saturation | None, tuple[float, str] | None]:
    """Return defects, where an image saturates, and what its variance plane is to be multiplied by and why.

    None of what is not asked for.
    """
    threads = resolveThreads(None)
    if options.doFindDefects:
        defects, saturation = examineDefects(image, options.doFindSaturation, threads=threads)
        image = flagDefects(image, defects)
    else:
        defects, saturation = None, findSaturation(image, threads) if options.doFindSaturation else None
    return defects, saturation, _varianceScaling(image) if options.doScaleVariance else None


def _withoutStreaks(
    template: Exposure, science: Exposure, sources: AnyTable, record: Preparation, threads: int
) -> tuple[Exposure, Exposure, Preparation, tuple[Choice, ...]]:
    """Flag the streaks of both images; return these, the record with that step, and what there is to tell."""
    ratio = streakFluxRatio(atOrigin(template.maskedImage, science.maskedImage), science.maskedImage, sources, threads)
    template, science, *found = flagStreaks(template, science, ratio, threads)
    told = tuple(
        _told("streaks", str(len(streaks.lines)), streaks.told(name))
        for name, streaks in zip(NAMES, found, strict=True)
    )
    for choice in told:
        log.info("%s", choice.sentence)
    return template, science, replace(record, streakFluxRatio=ratio), told


def _noiseCorrelation(
    template: Exposure, science: Exposure, alignment: Alignment | None, task: ImagePsfMatchTask
) -> npt.NDArray[np.float64] | None:
    """Return how the noise of the template's pixels correlates, None where it is as white as before."""
    if alignment is not None and alignment.method == "pixels":
        return None
    transform = AlignedTransform(template, science, alignment)
    return resampledCorrelation(transform, science.getBBox(), warperOf(task.options))


def _varianceScaling(image: Exposure) -> tuple[float, str]:
    """Return the factor that brings the variance plane to the noise of the sky, and why; 1 if they do not compare."""
    try:
        noise = measureNoiseFactor(image.maskedImage, threads=resolveThreads(None))
    except InputImagesError as error:
        log.warning("The variance plane is left as it is: %s", error)
        return 1.0, f"left as it is: {error}."
    factor, width = noise.factor, math.sqrt(noise.factor)
    if noise.isOfCrowd:
        return factor, (
            f"multiplied by {factor:.4g}: its sky scatters by {math.sqrt(noise.blank):.4g} times the noise that the "
            f"plane says, but pixels differ from their neighbours by {width:.4g} times it alone; the rest is a crowd "
            "of faint sources, or a nebula, and no noise."
        )
    if abs(width - 1.0) <= RIGHT_NOISE:
        return 1.0, f"its sky scatters by {width:.4f} of its noise, within {RIGHT_NOISE:g} of 1: left as it is."
    scatter = f"{width:.4g} times the noise that the plane says"
    return factor, f"multiplied by {factor:.4g}, for the sky scatters by {scatter}."


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


def _told(name: str, chosen: str, sentence: str) -> Choice:
    return Choice(name, chosen, math.nan, "", math.nan, sentence)
