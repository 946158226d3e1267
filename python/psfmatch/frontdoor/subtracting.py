"""The front door: two images in, a difference with everything that belongs to it out, no parameter needed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from psfmatch.config import usualOptions
from psfmatch.config.choices import Choice
from psfmatch.frontdoor.bordering import withBorder
from psfmatch.frontdoor.faintFields import stackFwhms
from psfmatch.frontdoor.fallbacks import Subtraction, subtractWithFallbacks
from psfmatch.frontdoor.finishing import finish
from psfmatch.frontdoor.inputs import Inputs, makeInputs
from psfmatch.frontdoor.options import RunOptions
from psfmatch.frontdoor.photons import withPhotonNoise
from psfmatch.frontdoor.provenance import describeInputs
from psfmatch.frontdoor.result import SubtractionResult
from psfmatch.frontdoor.smoothing import isOfKernelFit, isWorthSmoothing, smoothedInputs, smoothedOrAsItIs
from psfmatch.frontdoor.traces import withoutTraces
from psfmatch.images import ImageLike, WeightLike, atOrigin, gainOf, requireUnits, toExposure
from psfmatch.sources import boxLight
from psfmatch.tasks.imagePsfMatch import EQUAL_WIDTHS, ImagePsfMatchTask
from psfmatch.threads import withThreads

if TYPE_CHECKING:
    from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["MODES", "Mode", "subtract"]

log = logging.getLogger("psfmatch.frontdoor")

DEPTH_SOURCES = 50
"""Sources that tell which image has less noise."""

Mode = Literal["auto", "convolveTemplate", "convolveScience"]
MODES: tuple[Mode, ...] = ("auto", "convolveTemplate", "convolveScience")


@withThreads
def subtract(
    template: ImageLike,
    science: ImageLike,
    *,
    config: ImagePsfMatchConfig | None = None,
    task: type[ImagePsfMatchTask] = ImagePsfMatchTask,
    mode: Mode = "auto",
    candidateList: Any = None,
    templateFwhmPix: float | None = None,
    scienceFwhmPix: float | None = None,
    templateWeight: WeightLike | None = None,
    scienceWeight: WeightLike | None = None,
    gain: float | None = None,
    readNoise: float | None = None,
    templateGain: float | None = None,
    templateReadNoise: float | None = None,
    scienceGain: float | None = None,
    scienceReadNoise: float | None = None,
    threads: int | None = None,
) -> SubtractionResult:
    """Subtract a template from a science image after matching their PSFs.

    Parameters
    ----------
    template, science
        Exposure, MaskedImage, path or URL of a FITS file, HDUList, open file, CCDData, NDData, 2-D array or Quantity,
        of numpy.ma and `astropy.utils.masked`, too, whose masks are kept. Not changed. The difference has the unit of
        the science image. The template is warped to the science image's pixels; without a WCS on both, matched stars
        tell how they lie.
    config
        None: everything is chosen from the images. Of `psfmatch.frontDoorConfig` those fields of the kernel that have
        been set are kept, the others are chosen around them. One without ``chooseKernel``, such as ``result.config``,
        and the task's own are used as they are; with the latter nothing is done to the images before.
    task
        Class of the task that finds sources, fits and subtracts: a subclass, whose methods and criteria of rejection
        take the place of those of `ImagePsfMatchTask`. One with fields of its own derives its ``ConfigClass`` from
        `FrontDoorConfig`. Where the kernel is chosen it is made of Gaussians, whatever ``makeKernelBasisList`` of the
        task returns; `psfmatch.kernels.registerKernelBasis` lets a configuration ask for others.
    mode
        Which image is convolved; "auto" takes the one with the narrower PSF.
    candidateList
        Stars to use, in any form of `psfmatch.fit.toSourceTable` or the list of
        `ImagePsfMatchTask.makeCandidateList`; by default they are found.
    templateFwhmPix, scienceFwhmPix
        FWHM of the PSFs in pixels; by default from the PSF model or measured from the stars.
    templateWeight, scienceWeight
        Weight maps, arrays or names of files, that tell the variance: 1/variance, relative, or 0/1, told apart by their
        pixels; not positive where there are no data.
    gain, readNoise
        e-/count and e- of both images, for the variance of an image that has none but one estimated from its sky.
    templateGain, templateReadNoise, scienceGain, scienceReadNoise
        The same of one image; they go before those of both.
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
        If the images do not overlap, have units of different things, or differ in shape without a WCS or stars to tell
        how they lie.
    NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError
        If there are no, or too few, stars, and nothing simpler is sound.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    if config is None and task is not ImagePsfMatchTask:
        config = _ownConfig(task)
    pinned: Mapping[str, Any] = {}
    pinChoices: tuple[Choice, ...] = ()
    if config is not None:
        from psfmatch.frontdoor.pins import withPins

        config, pins = withPins(config)
        pinned, pinChoices = pins.values, pins.choices
    exposures = (
        toExposure(template, *gainOf(gain, readNoise, templateGain, templateReadNoise), weight=templateWeight),
        toExposure(science, *gainOf(gain, readNoise, scienceGain, scienceReadNoise), weight=scienceWeight),
    )
    requireUnits(template, science, exposures)
    matcher = task(config=usualOptions() if config is None else config, threads=threads)
    options = replace(RunOptions.fromConfig(None if config is None else matcher.config), pinned=pinned)
    for choice in pinChoices:
        choice.log(log)
    inputs = makeInputs(*exposures, matcher, options)
    with matcher.timer("measurePsf"):
        sources = candidateList if candidateList is not None else inputs.sources
        given = templateFwhmPix, scienceFwhmPix
        fwhms = stackFwhms(inputs.faint, given, matcher) or matcher.measureFwhms(
            inputs.template, inputs.science, sources, *given
        )
    convolveTemplate, direction = _chooseDirection(mode, fwhms, inputs)
    with matcher.timer("measurePhotonNoise"):
        inputs = withPhotonNoise(inputs, fwhms, convolveTemplate, options, matcher.threads)

    def solved(ready: Inputs, widths: tuple[float | None, float | None], isDirectionFree: bool = False) -> Subtraction:
        subtraction = subtractWithFallbacks(
            matcher, options, ready, candidateList, widths, convolveTemplate, isDirectionFree
        )
        return withoutTraces(withBorder(subtraction, subtraction.inputs or ready))

    smoothing = options.smoothingSigma or 0.0
    if smoothing:
        subtraction = solved(*smoothedInputs(inputs, fwhms, convolveTemplate, smoothing, options))
    if not smoothing or not isOfKernelFit(subtraction):
        smoothing = 0.0
        subtraction = solved(inputs, fwhms, mode == "auto")
    if subtraction.convolveTemplate != convolveTemplate:
        which = "template" if subtraction.convolveTemplate else "science image"
        sentence = (
            f"Convolving the {which}: where one stamp tells the kernel, that is the template, or of one that is not "
            "deeper than the science image the better of both."
        )
        if inputs.faint is not None:
            sentence = f"Convolving the {which}: its faint sources, laid upon one another, are the sharper ones."
        direction = Choice(
            "direction", "template" if subtraction.convolveTemplate else "science", math.nan, "", math.nan, sentence
        )
    provenance = describeInputs(*exposures)

    def finished(subtraction: Subtraction, inputs: Inputs, smoothing: float = 0.0) -> SubtractionResult:
        choices = (*inputs.choices, direction, *pinChoices, *subtraction.choices)
        return finish(
            subtraction, inputs, fwhms, subtraction.convolveTemplate, choices, provenance, matcher.threads, smoothing
        )

    result = finished(subtraction, subtraction.inputs or inputs, smoothing)
    if candidateList is None and isWorthSmoothing(result, subtraction, options, fwhms):
        return smoothedOrAsItIs(
            result, inputs, fwhms, solved, lambda subtraction, smoothing: finished(subtraction, inputs, smoothing)
        )
    return result


def _ownConfig(task: type[ImagePsfMatchTask]) -> ImagePsfMatchConfig | None:
    """Return the configuration of a subclass where it has the steps of a run; None: all is as without one."""
    from psfmatch.frontdoor.configuration import FrontDoorConfig

    return task.ConfigClass() if issubclass(task.ConfigClass, FrontDoorConfig) else None


def _chooseDirection(mode: Mode, fwhms: tuple[float | None, float | None], inputs: Inputs) -> tuple[bool, Choice]:
    """Return whether the template is convolved, and why: the sharper image, of two alike the one with less noise."""
    narrow, wide = fwhms
    sizes = (
        ""
        if narrow is None or wide is None
        else f": PSF FWHM {narrow:.2f} px of the template, {wide:.2f} px of the science image"
    )
    if mode != "auto":
        isTemplate = mode == "convolveTemplate"
        sentence = f"Convolving the {'template' if isTemplate else 'science image'}, as asked for{sizes}."
    elif narrow is None or wide is None:
        isTemplate, sentence = True, "Convolving the template: the PSF sizes are unknown."
    elif abs(narrow - wide) <= EQUAL_WIDTHS * max(narrow, wide) and (depth := _relativeDepth(inputs)) is not None:
        isTemplate = depth >= 1.0
        sentence = (
            f"Convolving the {'template' if isTemplate else 'science image'}{sizes}, equal within {EQUAL_WIDTHS:.0%}; "
            f"sources have {depth:.2f} times the signal-to-noise in the template, and noise that is smoothed stays "
            "correlated."
        )
    else:
        isTemplate = narrow <= wide
        sentence = (
            f"Convolving the {'template' if isTemplate else 'science image'}{sizes}; the other way would have to "
            "sharpen."
        )
    chosen = "template" if isTemplate else "science"
    choice = Choice("direction", chosen, narrow or math.nan, "", wide or math.nan, sentence)
    choice.log(log)
    return isTemplate, choice


def _relativeDepth(inputs: Inputs) -> float | None:
    """Return signal-to-noise in the template over that in the science image, median of the brightest sources."""
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    x, y = (inputs.sources[name][:DEPTH_SOURCES] for name in ("x", "y"))
    before, after = (np.divide(*boxLight(image, x, y, ("BAD", "SAT", "NO_DATA"))) for image in (template, science))
    isSeen = (before > 0.0) & (after > 0.0)
    return float(np.median(before[isSeen] / after[isSeen])) if isSeen.any() else None
