"""The front door: two images in, a difference with everything that belongs to it out, no parameter needed.

The way of `subtract`: saturation is found and flagged, the variance planes are scaled to their own skies, the template is laid upon
the science image's pixels, the direction of convolution and the kernel's model are chosen, kernel and background are fitted
- by simpler models where stars are few - , the difference is made, decorrelated and graded.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from astropy.table import Table
from lsst.pex.config import Field

from psfmatch.alignment import Alignment, applyAlignment, measureAlignment
from psfmatch.config import configFromDict, configToDict
from psfmatch.coverage import Coverage, measureCoverage, requireCoverage
from psfmatch.decorrelation import decorrelate
from psfmatch.diagnostics import candidateTable, differenceNoise
from psfmatch.errors import (
    InputImagesError,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
)
from psfmatch.exposure import Exposure, toExposure
from psfmatch.imagePsfMatch import ImagePsfMatchConfig, ImagePsfMatchTask
from psfmatch.modelChoice import Choice, KernelChoice, chooseKernel
from psfmatch.preparation import Preparation, prepareInputs
from psfmatch.quality import assessQuality
from psfmatch.recipe import warperOf
from psfmatch.registration import atOrigin
from psfmatch.results import SubtractionResult
from psfmatch.saturation import findSaturation
from psfmatch.selection import requireSources
from psfmatch.shifts import measureShiftField
from psfmatch.simplerModels import byPsfModels, byScale
from psfmatch.stars import chooseIsolatedStars, chooseRegionSources
from psfmatch.task import Struct
from psfmatch.varianceScaling import scaleVariance
from psfmatch.whiteness import measureWhiteness

__all__ = ["MODES", "FrontDoorConfig", "frontDoorConfig", "subtract"]

log = logging.getLogger("psfmatch.differencing")

Mode = Literal["auto", "convolveTemplate", "convolveScience"]
MODES: tuple[Mode, ...] = ("auto", "convolveTemplate", "convolveScience")
TOO_FEW = (NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError)
SATURATION_GROWTH = 2.0
"""Pixels about saturated ones whose counts have bled or are not linear."""
MAX_SHIFT_STARS = 500


class FrontDoorConfig(ImagePsfMatchConfig):
    """Configuration of `subtract`: that of the task, and which steps are taken around it."""

    chooseKernel = Field[bool](
        doc="Choose basis, orders, priors and regions of the kernel from the images; False: as `kernel` says.",
        default=False,
    )
    doFindSaturation = Field[bool](doc="Find where the images saturate, and flag these pixels.", default=True)
    doScaleVariance = Field[bool](doc="Scale each variance plane to the noise of its own sky.", default=True)
    doAlign = Field[bool](
        doc="Measure shift and affine from matched stars, and correct where it is worth it.", default=True
    )
    doDecorrelate = Field[bool](doc="Make the decorrelated difference, too.", default=True)
    doAssessQuality = Field[bool](doc="Measure the quality and grade it.", default=True)


def frontDoorConfig() -> FrontDoorConfig:
    """Return the configuration that `subtract` starts from."""
    config = FrontDoorConfig()
    kernel = config.kernel["AL"]
    kernel.fitForBackground = True
    kernel.doCopyEdge = True
    for name in ("AL", "DF"):
        config.kernel[name].warpingConfig.keepCentroids = True
    return config


def subtract(
    template: Any,
    science: Any,
    *,
    config: ImagePsfMatchConfig | None = None,
    mode: Mode = "auto",
    candidateList: Any = None,
    templateFwhmPix: float | None = None,
    scienceFwhmPix: float | None = None,
    threads: int | None = None,
) -> SubtractionResult:
    """Subtract a template from a science image after matching their PSFs.

    Parameters
    ----------
    template, science
        Exposure, MaskedImage, path of a FITS file, HDUList, CCDData, or 2-D array. Not changed. The template
        is warped to the science image's pixels; without a WCS on both, matched stars tell how they lie.
    config
        None: everything is chosen from the images. A `FrontDoorConfig`, such as ``result.config``, or the task's own
        is used as it is; with the latter nothing is done to the images before.
    mode
        Which image is convolved; "auto" takes the one with the narrower PSF.
    candidateList
        Stars to use, in any form of `psfmatch.candidates.toSourceTable` or the list of
        `ImagePsfMatchTask.makeCandidateList`; by default they are found.
    templateFwhmPix, scienceFwhmPix
        FWHM of the PSFs in pixels; by default from the PSF model or measured from the stars.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    result : SubtractionResult

    Raises
    ------
    ExposureReadError
        If a file cannot be read.
    InputImagesError
        If the images do not overlap, or differ in shape without a WCS or stars to tell how they lie.
    NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError
        If there are no, or too few, stars, and nothing simpler is sound.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    if config is None:
        config = frontDoorConfig()
        config.chooseKernel = True
    given = toExposure(template), toExposure(science)
    task = ImagePsfMatchTask(config=config, threads=threads)
    inputs = _prepare(*given, task)
    with task.timer("measurePsf"):
        sources = candidateList if candidateList is not None else inputs.sources
        fwhms = task.measureFwhms(inputs.template, inputs.science, sources, templateFwhmPix, scienceFwhmPix)
    convolveTemplate, direction = _chooseDirection(mode, fwhms)
    made = _solveByLadder(task, inputs, candidateList, fwhms, convolveTemplate)
    return _finish(made, inputs, fwhms, convolveTemplate, (*inputs.choices, direction, *made.choices), task.threads)


# Before the kernel


@dataclass(frozen=True)
class _Inputs:
    """The images made ready: template on the science image's pixels; what was done to them, and why."""

    template: Exposure
    science: Exposure
    sources: Table
    preparation: Preparation
    alignment: Alignment | None
    coverage: Coverage
    choices: tuple[Choice, ...]


def _prepare(template: Exposure, science: Exposure, task: ImagePsfMatchTask) -> _Inputs:
    """Flag saturation, scale variances, register the template, and find the sources of the science image."""
    config, threads = task.config, task.threads
    isFrontDoor = isinstance(config, FrontDoorConfig)
    choices: list[Choice] = []
    record = Preparation()
    if isFrontDoor and config.doFindSaturation:
        with task.timer("saturation"):
            found = findSaturation(template), findSaturation(science)
        record = replace(
            record,
            templateSaturation=found[0].level,
            scienceSaturation=found[1].level,
            saturationGrowth=SATURATION_GROWTH if any(s.level is not None for s in found) else 0.0,
        )
        for name, saturation in zip(("template", "science image"), found, strict=True):
            choices.append(_told("saturation", saturation.source, f"Saturation of the {name}: {saturation.reason}"))
    if isFrontDoor and config.doScaleVariance:
        with task.timer("scaleVariance"):
            factors = [scaleVariance(image.maskedImage, threads=threads)[1] for image in (template, science)]
        record = replace(record, templateVarianceFactor=factors[0], scienceVarianceFactor=factors[1])
        for name, factor in zip(("template", "science image"), factors, strict=True):
            task.metadata[f"scale{name.split()[0].capitalize()}VarianceFactor"] = factor
            choices.append(
                _told(
                    "variance", f"{factor:.3f}",
                    f"Variance of the {name}: multiplied by {factor:.3f}, so that its sky scatters by 1.000 of its noise "
                    f"where it did by {math.sqrt(factor):.3f}.",
                )
            )  # fmt: skip
    template, science = prepareInputs(template, science, record)
    task.requireKernelFits(science.maskedImage)
    with task.timer("detect"):
        sources = task.getSelectSources(science)
    alignment = None
    if isFrontDoor and config.doAlign:
        with task.timer("align"):
            templateSources = task.getSelectSources(template)
            alignment = measureAlignment(
                template, science, templateSources=templateSources, scienceSources=sources, threads=threads
            )
        task.metadata["nDetectedSources"] = len(sources)
        log.info("Alignment: %s", alignment.reason)
        choices.append(_told("alignment", alignment.method, f"Alignment: {alignment.reason}"))
        record = replace(record, alignment=alignment.toDict())
        with task.timer("warp"):
            template = applyAlignment(template, science, alignment, warperOf(task.kConfig, threads))
    else:
        template = task.registerTemplate(template, science)
    coverage = measureCoverage(Exposure(atOrigin(template.maskedImage, science.maskedImage)), science)
    requireCoverage(coverage)
    choices.append(
        _told(
            "coverage", f"{coverage.fraction:.3f}",
            f"Coverage: {coverage.fraction:.1%} of the science image is good in both images; 10 % are needed.",
        )
    )  # fmt: skip
    return _Inputs(template, science, sources, record, alignment, coverage, tuple(choices))


def _told(name: str, chosen: str, sentence: str) -> Choice:
    return Choice(name, chosen, math.nan, "", math.nan, sentence)


def _chooseDirection(mode: Mode, fwhms: tuple[float | None, float | None]) -> tuple[bool, Choice]:
    """Return whether the template is convolved, and why."""
    narrow, wide = fwhms
    if mode != "auto":
        isTemplate = mode == "convolveTemplate"
        sentence = f"Convolving the {'template' if isTemplate else 'science image'}, as asked for."
    elif narrow is None or wide is None:
        isTemplate, sentence = True, "Convolving the template: the PSF sizes are unknown."
    else:
        isTemplate = narrow <= wide
        sentence = (
            f"Convolving the {'template' if isTemplate else 'science image'}: PSF FWHM {narrow:.2f} px of the "
            f"template, {wide:.2f} px of the science image; the other way would have to sharpen."
        )
    log.info("%s", sentence)
    chosen = "template" if isTemplate else "science"
    return isTemplate, Choice("direction", chosen, narrow or math.nan, "", wide or math.nan, sentence)


# The kernel, by simpler models where it must be


@dataclass(frozen=True)
class _Made:
    """A kernel with its difference: the Struct of the task, the task, and how it came to it."""

    result: Struct
    task: ImagePsfMatchTask
    choices: tuple[Choice, ...] = ()
    steps: tuple[str, ...] = ()
    caps: tuple[tuple[str, str], ...] = ()


def _solveByLadder(
    task: ImagePsfMatchTask,
    inputs: _Inputs,
    candidateList: Any,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
) -> _Made:
    """Subtract with the configured or chosen model; where that fails with simpler ones, as long as any is sound."""
    config = task.config
    if not getattr(config, "chooseKernel", False):
        return _subtractWith(task, inputs, _starsFor(task, inputs, candidateList), fwhms, convolveTemplate)
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    pair = (template, science) if convolveTemplate else (science, template)
    sizes = fwhms if convolveTemplate else (fwhms[1], fwhms[0])
    sources = (
        chooseRegionSources(inputs.sources, task.kConfig.regionConfig.maxRegions, science.getBBox())
        if candidateList is None
        else task._sources(candidateList, inputs.science)
    )
    steps: list[str] = []
    try:
        with task.timer("chooseKernel"):
            choice = chooseKernel(
                *pair, sources, sizes, task.kConfig, task.threads, starsOnly=candidateList is not None
            )
        chosen = _withChoice(task, choice)
        made = _subtractWith(chosen, inputs, sources, fwhms, convolveTemplate)
        return replace(made, choices=choice.choices)
    except TOO_FEW as error:
        first = error
        steps.append(f"The kernel could not be fitted to stars or tiles ({error}).")
        log.warning("%s Trying simpler models", steps[-1])
    for build, name, cap in ((byPsfModels, "the two PSF models", "C"), (byScale, "the photometric scale alone", "D")):
        try:
            result = build(
                inputs.template, inputs.science, inputs.sources, convolveTemplate, task.kConfig, task.threads
            )
        except InputImagesError as error:
            steps.append(f"No kernel from {name}: {error}")
            continue
        steps.append(f"The kernel is that of {name}.")
        log.warning("%s", steps[-1])
        return _Made(result, task, steps=tuple(steps), caps=((cap, f"the kernel is that of {name}, not fitted"),))
    raise first


def _starsFor(task: ImagePsfMatchTask, inputs: _Inputs, candidateList: Any) -> Any:
    if candidateList is not None:
        return candidateList
    requireSources(inputs.sources, inputs.science, getattr(task.selectDetection.config, "statsMask", ()))
    if task.kConfig.fitMethod == "regions":
        return chooseRegionSources(
            inputs.sources, task.kConfig.regionConfig.maxRegions, inputs.science.maskedImage.getBBox()
        )
    return chooseIsolatedStars(inputs.sources, task.kConfig.kernelSize)


def _withChoice(task: ImagePsfMatchTask, choice: KernelChoice) -> ImagePsfMatchTask:
    """Return a task whose configuration holds the choice."""
    config = configFromDict(type(task.config), configToDict(task.config))
    config.chooseKernel = False
    config.kernel.active.update(**choice.fields)
    config.kernel.active.regionConfig.update(**choice.regionFields)
    return _follower(task, config)


def _follower(task: ImagePsfMatchTask, config: Any) -> ImagePsfMatchTask:
    """Return a task of another configuration that knows what has been measured so far."""
    follower = ImagePsfMatchTask(config=config, threads=task.threads)
    follower.metadata.update(dict(task.metadata))
    return follower


def _subtractWith(
    task: ImagePsfMatchTask,
    inputs: _Inputs,
    sources: Any,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
) -> _Made:
    """Run the task, again with lower orders where the candidates cannot constrain the configured ones."""
    while True:
        result = task.subtractExposures(
            inputs.template, inputs.science, *fwhms, candidateList=sources, convolveTemplate=convolveTemplate
        )
        isStars = task.kConfig.fitMethod == "candidates"
        simpler = _simplerConfig(task.config, result.kernelFit.passes[-1].nUsed) if isStars else None
        if simpler is None:
            return _Made(result, task)
        task = _follower(task, simpler)


def _simplerConfig(config: Any, nCandidates: int) -> Any:
    """Return the configuration with spatial orders that the candidates can constrain, or None if they can already.

    A function of order n has (n + 1)(n + 2) / 2 terms, and every candidate gives one equation for each of them.
    """
    largest = 0
    while (largest + 2) * (largest + 3) // 2 <= nCandidates:
        largest += 1
    kernel = config.kernel.active
    orders = {
        "spatialKernelOrder": kernel.spatialKernelOrder,
        "spatialBgOrder": kernel.spatialBgOrder if kernel.fitForBackground else 0,
    }
    lower = {name: largest for name, order in orders.items() if order > largest}
    if not lower:
        return None
    for name in lower:
        log.warning(
            "%d candidates cannot constrain %s %d: solving again with %d", nCandidates, name, orders[name], largest
        )
    simpler = configFromDict(type(config), configToDict(config))
    simpler.kernel.active.update(**lower)
    return simpler


# After the kernel


def _finish(
    made: _Made,
    inputs: _Inputs,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
    choices: tuple[Choice, ...],
    threads: int,
) -> SubtractionResult:
    """Decorrelate, measure the quality, and put everything together."""
    result, config = made.result, made.task.config
    difference = result.subtractedExposure
    isFrontDoor = isinstance(config, FrontDoorConfig)
    noise = differenceNoise(difference.maskedImage)
    log.info(
        "Difference / sqrt(variance): robust standard deviation %.3f over %d blank pixels",
        noise.robustStdev,
        noise.nPixels,
    )
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    decorrelation = None
    if isFrontDoor and config.doDecorrelate and result.psfMatchingKernel.kernelSum(*science.getBBox().centre) > 0.0:
        with made.task.timer("decorrelate"):
            decorrelation = decorrelate(
                difference,
                result.psfMatchingKernel,
                *((template, science) if convolveTemplate else (science, template)),
                isScienceConvolved=not convolveTemplate,
                threads=threads,
            )
    candidates = candidateTable(result.kernelCellSet)
    quality = None
    if isFrontDoor and config.doAssessQuality:
        with made.task.timer("quality"):
            kernel = result.psfMatchingKernel
            scale = 1.0 if convolveTemplate else 1.0 / kernel.kernelSum(*science.getBBox().centre)
            known = [fwhm for fwhm in fwhms if fwhm is not None]
            radius = max(6, math.ceil(1.5 * max(known))) if known else 6
            stars = inputs.sources[:MAX_SHIFT_STARS]
            heldOut = result.kernelFit.heldOut if getattr(result, "kernelFit", None) is not None else None
            quality = assessQuality(
                difference=difference,
                template=template,
                science=science,
                kernel=kernel,
                background=result.backgroundModel,
                candidates=candidates if len(candidates) else None,
                convolved="template" if convolveTemplate else "science",
                rejectedSources=made.task.metadata.get("rejectedSources"),
                conditionNumber=made.task.metadata.get("spatialConditionNum"),
                heldOut=None if heldOut is None else _HeldOut.ofTable(heldOut),
                heldOutChiSquareByFlux=() if heldOut is None else _chiSquareByFlux(heldOut),
                shiftField=measureShiftField(
                    difference.maskedImage, result.matchedImage, stars, radius=radius, scale=scale
                )
                if len(stars)
                else None,
                appliedShiftPix=None if inputs.alignment is None else _appliedShift(inputs.alignment),
                whiteness=measureWhiteness(difference if decorrelation is None else decorrelation.exposure),
                varianceScales=(inputs.preparation.templateVarianceFactor, inputs.preparation.scienceVarianceFactor),
                coverage=inputs.coverage.templateFraction,
                fwhmPix=max(known) if known else None,
                caps=made.caps,
            )
        log.info("Grade %s%s", quality.grade, "".join(f"; {reason}" for reason in quality.reasons))
    return SubtractionResult(
        difference=difference,
        matched=result.matchedExposure,
        template=result.warpedExposure,
        science=inputs.science,
        convolved="template" if convolveTemplate else "science",
        kernel=result.psfMatchingKernel,
        background=result.backgroundModel,
        candidates=candidates,
        noise=noise,
        metadata=dict(made.task.metadata),
        config=config,
        quality=quality,
        decorrelation=decorrelation,
        alignment=inputs.alignment,
        coverage=inputs.coverage,
        preparation=inputs.preparation,
        choices=choices,
        steps=made.steps,
    )


@dataclass(frozen=True)
class _HeldOut:
    """Residuals of regions under solutions made without them, in units of their noise: medians over bright regions."""

    mean: float
    rms: float

    @classmethod
    def ofTable(cls, table: Table) -> _HeldOut | None:
        bright = table[(np.asarray(table["signal"]) > 5.0) & (np.asarray(table["nPixels"]) > 0)]
        if not len(bright):
            return None
        return cls(float(np.nanmedian(bright["mean"])), float(np.nanmedian(bright["rms"])))


def _chiSquareByFlux(table: Table) -> tuple[tuple[float, float, int, float], ...]:
    """Return rows of least signal, largest, number of regions, and chi-square per pixel."""
    rows = []
    signal, chiSquare = np.asarray(table["signal"]), np.asarray(table["chiSquare"])
    for low, high in ((0.0, 5.0), (5.0, 15.0), (15.0, 50.0), (50.0, 150.0), (150.0, math.inf)):
        inside = (signal >= low) & (signal < high) & np.isfinite(chiSquare)
        if inside.any():
            rows.append((low, high, int(inside.sum()), float(chiSquare[inside].mean())))
    return tuple(rows)


def _appliedShift(alignment: Alignment) -> float:
    """Return the size of the correction that was applied to the coordinates, pixels."""
    return 0.0 if alignment.method == "nominal" else float(np.hypot(*alignment.shift))
