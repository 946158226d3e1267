"""The kernel and the difference, by simpler models where stars are few."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from psfmatch.config import Settings
from psfmatch.differencing.inputs import Inputs
from psfmatch.differencing.settings import ChosenFields
from psfmatch.differencing.simplerModels import byPsfModels, byScale
from psfmatch.errors import (
    InputImagesError,
    InsufficientKernelSourcesError,
    KernelSolutionError,
    NoKernelCandidatesError,
    PsfMatchError,
)
from psfmatch.imagePsfMatch import ImagePsfMatchTask
from psfmatch.modelChoice import Choice, chooseKernel, effortFor
from psfmatch.selection import requireSources
from psfmatch.stars import chooseIsolatedStars, chooseRegionSources, usefulSources
from psfmatch.task import Struct, settingsOf
from psfmatch.warping import atOrigin

__all__ = ["Made", "solveByLadder"]

log = logging.getLogger("psfmatch.differencing")

TOO_FEW = (NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError)


@dataclass(frozen=True)
class Made:
    """A kernel with its difference: the Struct of the task, the task, its configuration, and how it came to it."""

    result: Struct
    task: ImagePsfMatchTask
    config: Any
    choices: tuple[Choice, ...] = ()
    steps: tuple[str, ...] = ()
    caps: tuple[tuple[str, str], ...] = ()


def solveByLadder(
    task: ImagePsfMatchTask,
    inputs: Inputs,
    candidateList: Any,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
    pinned: Mapping[str, Any],
) -> Made:
    """Subtract with the configured or chosen model; where that fails with simpler ones, as long as any is sound.

    What is pinned of the kernel (see `psfmatch.differencing.pins`) is not chosen.
    """
    config = task.settings
    if not getattr(config, "chooseKernel", False):
        return _subtractWith(task, inputs, _starsFor(task, inputs, candidateList), fwhms, convolveTemplate)
    if candidateList is None and not len(inputs.sources):
        return _withoutKernelFit(task, inputs, convolveTemplate, _noSources(task, inputs))
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    pair = (template, science) if convolveTemplate else (science, template)
    sizes = fwhms if convolveTemplate else (fwhms[1], fwhms[0])
    isGiven = candidateList is not None
    sources = task._sources(candidateList, inputs.science) if isGiven else usefulSources(inputs.sources)
    options, isThorough = effortFor(task.options, len(sources), sizes, science.shape, pinned)
    if not isGiven:
        sources = chooseRegionSources(inputs.sources, options.regions.maxRegions, science.getBBox())
    try:
        with task.timer("chooseKernel"):
            choice = chooseKernel(
                *pair,
                sources,
                sizes,
                options,
                task.threads,
                isThorough=isThorough,
                starsOnly=isGiven,
                pinned=pinned,
            )
        chosen = ChosenFields(config, choice.fields, choice.regionFields)
        follower = _follower(task, config)
        follower.options = chosen.options(task.options)
        made = _subtractWith(follower, inputs, choice.cells, fwhms, convolveTemplate)
        return replace(made, choices=choice.choices, config=chosen)
    except TOO_FEW as error:
        if candidateList is not None:
            raise
        return _withoutKernelFit(task, inputs, convolveTemplate, error)


def _noSources(task: ImagePsfMatchTask, inputs: Inputs) -> PsfMatchError:
    """Return the error that says that nothing was found, and why."""
    try:
        requireSources(inputs.sources, inputs.science, getattr(settingsOf(task.selectDetection), "statsMask", ()))
    except NoKernelCandidatesError as error:
        return error
    return NoKernelCandidatesError("no source was found", nSources=0)


def _withoutKernelFit(task: ImagePsfMatchTask, inputs: Inputs, convolveTemplate: bool, first: PsfMatchError) -> Made:
    """Subtract without a fitted kernel, as well as that can be done soundly; else raise what made it necessary."""
    steps = [f"The kernel could not be fitted to stars or tiles ({str(first).rstrip('.')})."]
    log.warning("%s Trying simpler models", steps[-1])
    images = inputs.template, inputs.science, inputs.sources
    for build, name, cap in ((byPsfModels, "the two PSF models", "C"), (byScale, "the photometric scale alone", "D")):
        try:
            result = build(*images, convolveTemplate, task.options, task.threads)
        except InputImagesError as error:
            steps.append(f"No kernel from {name}: {str(error).rstrip('.')}.")
            continue
        steps.append(f"The kernel is that of {name}.")
        log.warning("%s", steps[-1])
        return Made(
            result, task, task.settings, steps=tuple(steps), caps=((cap, f"the kernel is that of {name}, not fitted"),)
        )
    raise first


def _starsFor(task: ImagePsfMatchTask, inputs: Inputs, candidateList: Any) -> Any:
    if candidateList is not None:
        return candidateList
    requireSources(inputs.sources, inputs.science, getattr(settingsOf(task.selectDetection), "statsMask", ()))
    if task.options.fitMethod == "regions":
        return chooseRegionSources(
            inputs.sources, task.options.regions.maxRegions, inputs.science.maskedImage.getBBox()
        )
    return chooseIsolatedStars(inputs.sources, task.options.kernelSize)


def _follower(task: ImagePsfMatchTask, config: Any) -> ImagePsfMatchTask:
    """Return a task of another configuration that knows what has been measured so far."""
    if not isinstance(config, Settings):
        config.freeze()  # else the task makes a copy, which is slow
    follower = ImagePsfMatchTask(config=config, threads=task.threads)
    follower.metadata.update(dict(task.metadata))
    return follower


def _subtractWith(
    task: ImagePsfMatchTask,
    inputs: Inputs,
    sources: Any,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
) -> Made:
    """Run the task, again with lower orders where the candidates cannot constrain the configured ones."""
    while True:
        result = task.subtractExposures(
            inputs.template, inputs.science, *fwhms, candidateList=sources, convolveTemplate=convolveTemplate
        )
        isStars = task.options.fitMethod == "candidates"
        simpler = _simplerConfig(task.config, result.kernelFit.passes[-1].nUsed) if isStars else None
        if simpler is None:
            return Made(result, task, task.settings)
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
    from psfmatch.config import configFromDict, configToDict

    simpler = configFromDict(type(config), configToDict(config))
    simpler.kernel.active.update(**lower)
    return simpler
