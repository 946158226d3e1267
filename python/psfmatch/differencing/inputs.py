"""Two images made ready to be matched, with what was done to them and why."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

from psfmatch.alignment import Alignment, applyAlignment, measureAlignment
from psfmatch.defects import Defects, flagDefects
from psfmatch.defects.finding import SATURATED_GROWTH, examineDefects
from psfmatch.detection import SourceDetectionTask
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
from psfmatch.threads import mapThreads, resolveThreads
from psfmatch.warping import Coverage, atOrigin, isCovered, measureCoverage, requireCoverage

__all__ = ["Inputs", "makeInputs"]

log = logging.getLogger("psfmatch.differencing")

NAMES = "template", "science image"
RIGHT_NOISE = 0.005
"""Departure of the sky's scatter from its predicted noise that is its own error: the variance plane is right."""


@dataclass(frozen=True)
class Inputs:
    """The images made ready: template on the science image's pixels; what was done to them, and why.

    saturations : of template and science image, as they were given; None where nobody asked.
    """

    template: Exposure
    science: Exposure
    sources: AnyTable
    preparation: Preparation
    saturations: tuple[Saturation | None, Saturation | None]
    alignment: Alignment | None
    coverage: Coverage
    choices: tuple[Choice, ...]


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
    alignment = None
    if options.doAlign:
        with task.timer("align"):
            alignment = measureAlignment(
                template, science, templateSources=others[0], scienceSources=sources, threads=threads
            )
        task.metadata["nDetectedSources"] = len(sources)
        choices.append(_told("alignment", alignment.method, f"Alignment: {alignment.reason}"))
        record = replace(record, alignment=alignment.toDict())
        with task.timer("warp"):
            template = applyAlignment(template, science, alignment, warperOf(task.options, threads))
    else:
        template = task.registerTemplate(template, science)
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
    return Inputs(template, science, sources, record, saturations, alignment, coverage, tuple(choices))


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


def _told(name: str, chosen: str, sentence: str) -> Choice:
    return Choice(name, chosen, math.nan, "", math.nan, sentence)
