"""The kernel and the difference, by simpler models where stars are few."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions, usualOptions
from psfmatch.config.choices import Choice
from psfmatch.config.task import Struct
from psfmatch.difference.background import BorderLevels
from psfmatch.errors import (
    InputImagesError,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
    PsfMatchError,
)
from psfmatch.fit import ImagePair, chooseKernel, effortFor, requireSources
from psfmatch.fit.light import NOT_SHOWN
from psfmatch.fit.stackFit import StackMatch
from psfmatch.frontdoor.cutouts import byStamp, isCutout
from psfmatch.frontdoor.faintFields import FaintMatch, byStack
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.frontdoor.options import RunOptions
from psfmatch.frontdoor.simplerModels import byOneImage, byPsfModels, byScale
from psfmatch.images import Exposure, MaskedImage, atOrigin
from psfmatch.sources import ignoredPlanes
from psfmatch.sources.starSelection import chooseIsolatedStars, chooseRegionSources, usefulSources
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask

__all__ = ["Subtraction", "subtractWithFallbacks"]

log = logging.getLogger("psfmatch.frontdoor")

OF_SOURCES = (
    *("nSources", "sourceRobust", "sourcePlain", "worstRegion", "badSourceFraction", "remainingExcess", "fluxScatter"),
    *("errorFloor", "fluxMeanSize", "footprintRatioMean", "residualShiftPix"),
)
"""Figures of what is left of sources, of which one image alone has any."""
MOST_NEW = 4
"""Sources of a science image whose template shows none."""
TOO_FEW = (NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError)


@dataclass(frozen=True)
class Subtraction:
    """A kernel with its difference: the Struct of the task, the task, what it was told, and how it came to it.

    inputs : the images, where the fit has told their noise; None: as they were; convolveTemplate : which image was
    convolved; changed : pixels that are known to have changed, which tell nothing of the match; onLight : of a stamp,
    see `CutoutDifference`; borderLevels : that were taken off the difference.
    """

    result: Struct
    task: ImagePsfMatchTask
    options: RunOptions
    choices: tuple[Choice, ...] = ()
    steps: tuple[str, ...] = ()
    caps: tuple[tuple[str, str], ...] = ()
    inputs: Inputs | None = None
    convolveTemplate: bool = True
    changed: npt.NDArray[np.bool_] | None = None
    onLight: tuple[int, float] | None = None
    isNoiseTold: bool = False
    borderLevels: BorderLevels | None = None
    ungraded: tuple[str, ...] = ()


def subtractWithFallbacks(
    task: ImagePsfMatchTask,
    options: RunOptions,
    inputs: Inputs,
    candidateList: Any,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
    isDirectionFree: bool = False,
) -> Subtraction:
    """Subtract with the configured or chosen model; where that fails with simpler ones, as long as any is sound."""
    if not options.chooseKernel:
        return _subtractWith(task, options, inputs, _starsFor(task, inputs, candidateList), fwhms, convolveTemplate)
    canBeStamp = candidateList is None and (convolveTemplate or isDirectionFree) and not options.pinned
    if canBeStamp and isCutout(inputs.science.shape, len(usefulSources(inputs.sources))):
        return _cutout(task, options, inputs, isDirectionFree)
    faint = inputs.faint if candidateList is None and not options.pinned else None
    if faint is not None and faint.match is not None:
        return _faint(
            task, options, inputs, faint, faint.match, faint.convolveTemplate if isDirectionFree else convolveTemplate
        )
    # What lies where by chance must not pass for one sky.
    canBeStamp &= inputs.faint is None or inputs.faint.isShown
    if candidateList is None and not len(inputs.sources):
        return _withoutKernelFit(task, options, inputs, convolveTemplate, canBeStamp, _noSources(task, inputs))
    science = inputs.science.maskedImage
    area = inputs.coverage.areaOf(science.getBBox())
    template, science = (image.subset(area) for image in (atOrigin(inputs.template.maskedImage, science), science))
    pair = (template, science) if convolveTemplate else (science, template)
    sizes = fwhms if convolveTemplate else (fwhms[1], fwhms[0])
    isGiven = candidateList is not None
    sources = task._sources(candidateList, inputs.science) if isGiven else usefulSources(inputs.sources)
    start, isThorough = effortFor(options.kernel, len(sources), sizes, science.shape, options.pinned)
    if not isGiven:
        sources = chooseRegionSources(inputs.sources, start.regions.maxRegions, science.getBBox())
    correlation = inputs.templateCorrelation if convolveTemplate else None
    images = ImagePair(*pair, sources, sizes, task.threads, correlation)
    try:
        with task.timer("chooseKernel"):
            choice = chooseKernel(images, start, isThorough=isThorough, starsOnly=isGiven, pinned=options.pinned)
        chosen = replace(options, kernel=choice.options, chooseKernel=False)
        subtraction = _subtractWith(_follower(task, chosen), chosen, inputs, choice.cells, fwhms, convolveTemplate)
        return replace(subtraction, choices=choice.choices)
    except TOO_FEW as error:
        if candidateList is not None:
            raise
        return _withoutKernelFit(task, options, inputs, convolveTemplate, canBeStamp, error)


def _cutout(task: ImagePsfMatchTask, options: RunOptions, inputs: Inputs, isDirectionFree: bool) -> Subtraction:
    """Subtract a cut-out: with the kernel of the PSF models that the user has given, else of the fit of the stamp."""
    if inputs.template.psf is not None and inputs.science.psf is not None:
        try:
            result = byPsfModels(inputs.template, inputs.science, inputs.sources, True, options.kernel, task.threads)
        except InputImagesError as error:
            log.info("No kernel from the two PSF models: %s", error)
        else:
            step = "The kernel is that of the two PSF models."
            return Subtraction(
                result,
                task,
                options,
                steps=(step,),
                caps=(("C", "the kernel is that of the two PSF models, not fitted"),),
            )
    return _stamp(task, options, inputs, (), isDirectionFree=isDirectionFree)


def _stamp(
    task: ImagePsfMatchTask,
    options: RunOptions,
    inputs: Inputs,
    steps: tuple[str, ...],
    around: tuple[float, float] | None = None,
    isDirectionFree: bool = False,
) -> Subtraction:
    with task.timer("fitStamp"):
        found = byStamp(inputs, options, task.threads, around, isDirectionFree)
    ready = replace(inputs, template=found.template, science=found.science)
    return Subtraction(
        found.result,
        task,
        options,
        found.choices,
        steps,
        found.caps,
        ready,
        not found.direction.isScienceConvolved,
        changed=found.changed,
        onLight=found.onLight,
        isNoiseTold=found.isNoiseTold,
        # All pixels tell the kernel, not a number of sources.
        ungraded=("nSources",),
    )


def _faint(
    task: ImagePsfMatchTask,
    options: RunOptions,
    inputs: Inputs,
    faint: FaintMatch,
    match: StackMatch,
    convolveTemplate: bool,
) -> Subtraction:
    """Subtract with the kernel of all faint sources together; the other way their flux ratio is all that they tell."""
    with task.timer("fitStack"):
        result = byStack(inputs.template, inputs.science, faint, convolveTemplate, options.kernel, task.threads)
    what = "that" if convolveTemplate == faint.convolveTemplate else "the flux ratio alone"
    why = f"the kernel is {what} of {match.nSources} faint sources together, of signal-to-noise {min(match.snr):.0f}"
    grade = "C" if convolveTemplate == faint.convolveTemplate else "D"
    # All sources tell the kernel, none of them alone.
    return Subtraction(
        result, task, options, caps=((grade, why),), convolveTemplate=convolveTemplate, ungraded=("nSources",)
    )


def _noSources(task: ImagePsfMatchTask, inputs: Inputs) -> PsfMatchError:
    """Return the error that says that nothing was found, and why."""
    try:
        requireSources(inputs.sources, inputs.science, ignoredPlanes(task.selectDetection))
    except NoKernelCandidatesError as error:
        return error
    return NoKernelCandidatesError("no source was found", nSources=0)


def _withoutKernelFit(
    task: ImagePsfMatchTask,
    options: RunOptions,
    inputs: Inputs,
    convolveTemplate: bool,
    canBeStamp: bool,
    first: PsfMatchError,
) -> Subtraction:
    """Subtract without a fitted kernel, as well as that can be done soundly; else raise what made it necessary.

    Of images that nobody has laid upon each other, and of which one does not show the other's light, that is said.
    """
    steps = [f"The kernel could not be fitted to stars or tiles ({str(first).rstrip('.')})."]
    log.warning("%s Trying simpler models", steps[-1])
    images = inputs.template, inputs.science, inputs.sources
    for build, name, cap in ((byPsfModels, "the two PSF models", "C"), (byScale, "the photometric scale alone", "D")):
        if build is byScale and canBeStamp and len(inputs.sources):
            try:
                subtraction = _stamp(task, options, inputs, tuple(steps), _brightest(inputs))
                return replace(
                    subtraction, steps=(*steps, "The kernel is that of the surroundings of the brightest source.")
                )
            except (InputImagesError, NoKernelCandidatesError) as error:
                steps.append(f"No kernel of a stamp: {str(error).rstrip('.')}.")
        try:
            result = build(*images, convolveTemplate, options.kernel, task.threads)
        except InputImagesError as error:
            steps.append(f"No kernel from {name}: {str(error).rstrip('.')}.")
            continue
        steps.append(f"The kernel is that of {name}.")
        log.warning("%s", steps[-1])
        return Subtraction(
            result,
            task,
            options,
            steps=tuple(steps),
            caps=((cap, f"the kernel is that of {name}, not fitted"),),
            convolveTemplate=convolveTemplate,
        )
    if (canBeStamp or convolveTemplate) and (alone := _onOneImage(task, options, inputs, steps)) is not None:
        return alone
    if (alignment := inputs.alignment) is not None and str(first).endswith(NOT_SHOWN):
        hasStars = min(alignment.nTemplateStars, alignment.nScienceStars) > 0
        if hasStars and not (alignment.isFound or alignment.hasCoordinates):
            # Nothing tells that they lie as their pixels are counted, and the light says that they do not.
            raise alignment.notLaid(inputs.template, inputs.science) from first
    raise first


def _onOneImage(task: ImagePsfMatchTask, options: RunOptions, inputs: Inputs, steps: list[str]) -> Subtraction | None:
    """Subtract without any kernel where one image alone shows sources; None where both do, or neither."""
    science = inputs.science.maskedImage
    images = atOrigin(inputs.template.maskedImage, science), science
    isTemplateBlank, isScienceBlank = (not _showsSources(image, task) for image in images)
    blank = images[0] if isTemplateBlank else images[1]
    negative = MaskedImage(-blank.image, blank.mask, blank.variance, blank.xy0)
    if isTemplateBlank == isScienceBlank or _isConstant(blank) or _showsSources(negative, task):
        return None
    try:
        result = byOneImage(inputs.template, inputs.science, isTemplateBlank, options.kernel, task.threads)
    except InputImagesError as error:
        steps.append(f"No difference without a kernel: {str(error).rstrip('.')}.")
        return None
    name = "template" if isTemplateBlank else "science image"
    told = "science minus sky" if isTemplateBlank else "the template's sources, negative, on the science image"
    steps.append(f"The {name} shows no source above S/N 20: {told}.")
    log.warning("%s", steps[-1])
    why = f"{told}: the {name} shows no source, kernel and flux ratio are unchecked"
    # One new source is what such a pair is for; many are the sky that a template should show.
    isNew = isTemplateBlank and len(usefulSources(inputs.sources)) <= MOST_NEW
    caps = (("C" if isNew else "D", why),)
    return Subtraction(result, task, options, steps=tuple(steps), caps=caps, ungraded=OF_SOURCES)


def _showsSources(image: MaskedImage, task: ImagePsfMatchTask) -> bool:
    return len(usefulSources(task.selectSources(Exposure(image)))) > 0


def _isConstant(image: MaskedImage) -> bool:
    """Return whether good pixels have one value: no sky at all."""
    good = image.image[np.isfinite(image.image) & ~image.badPixels(("BAD", "NO_DATA"))]
    return not good.size or bool(good.min() == good.max())


def _brightest(inputs: Inputs) -> tuple[float, float]:
    """Return where the brightest source lies."""
    return float(inputs.sources["x"][0]), float(inputs.sources["y"][0])


def _starsFor(task: ImagePsfMatchTask, inputs: Inputs, candidateList: Any) -> Any:
    if candidateList is not None:
        return candidateList
    requireSources(inputs.sources, inputs.science, ignoredPlanes(task.selectDetection))
    if task.options.fitMethod == "regions":
        return chooseRegionSources(
            inputs.sources, task.options.regions.maxRegions, inputs.science.maskedImage.getBBox()
        )
    return chooseIsolatedStars(inputs.sources, task.options.kernelSize)


def _follower(task: ImagePsfMatchTask, options: RunOptions) -> ImagePsfMatchTask:
    """Return a task of another kernel that knows what has been measured so far."""
    follower = type(task)(usualOptions() if options.source is None else options.source, threads=task.threads)
    follower.options = options.kernel
    follower.metadata.update(dict(task.metadata))
    return follower


def _subtractWith(
    task: ImagePsfMatchTask,
    options: RunOptions,
    inputs: Inputs,
    sources: Any,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
) -> Subtraction:
    """Run the task, again with lower orders where the candidates cannot constrain the configured ones."""
    while True:
        result = task.subtractExposures(
            inputs.template, inputs.science, *fwhms, candidateList=sources, convolveTemplate=convolveTemplate
        )
        isStars = options.kernel.fitMethod == "candidates"
        lower = _lowerOrders(options.kernel, result.kernelFit.passes[-1].nUsed) if isStars else {}
        if not lower:
            return Subtraction(result, task, options, convolveTemplate=convolveTemplate)
        options = replace(options, kernel=replace(options.kernel, **lower))
        task = _follower(task, options)


def _lowerOrders(kernel: KernelOptions, nCandidates: int) -> dict[str, Any]:
    """Return those spatial orders that the candidates cannot constrain, as low as they can.

    A function of order n has (n + 1)(n + 2) / 2 terms, and every candidate gives one equation for each of them.
    """
    largest = 0
    while (largest + 2) * (largest + 3) // 2 <= nCandidates:
        largest += 1
    orders = {
        "spatialKernelOrder": kernel.spatialKernelOrder,
        "spatialBgOrder": kernel.spatialBgOrder if kernel.fitForBackground else 0,
    }
    lower = {name: largest for name, order in orders.items() if order > largest}
    for name in lower:
        log.warning(
            "%d candidates cannot constrain %s %d: solving again with %d", nCandidates, name, orders[name], largest
        )
    return lower
