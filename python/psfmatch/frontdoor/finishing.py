"""What follows the subtraction: decorrelation, quality, and the result that holds everything."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from psfmatch.config.choices import Choice
from psfmatch.difference import (
    Decorrelation,
    DifferenceNoise,
    differenceNoise,
    edgeHandlingOf,
    prepareCorrection,
    residualShift,
    smoothedExposure,
    smoothedFwhm,
    smoothingKernel,
)
from psfmatch.errors import InputImagesError
from psfmatch.fit.diagnostics import candidateTable
from psfmatch.frontdoor.fallbacks import Subtraction
from psfmatch.frontdoor.grading import (
    doubtsOfPlace,
    estimatedHere,
    scatterOnLight,
    toldFigures,
    unusableShare,
    varianceScales,
)
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.frontdoor.result import SubtractionResult
from psfmatch.images import Exposure, MaskedImage, atOrigin
from psfmatch.io.sourceTable import lazily
from psfmatch.noise import ErrorFloor, LitDifference
from psfmatch.noise.blankSky import BlankSky, findBlankSky, measureVarianceFactor, multiplyVariance
from psfmatch.quality import FinishedSubtraction, assessQuality, whitenessOf
from psfmatch.threads import resolveThreads, sideBySide

__all__ = ["finish"]

log = logging.getLogger("psfmatch.frontdoor")

MAX_SHIFT_STARS = 500
MAX_VARIANCE_FACTOR = 3.0
"""Of the difference, either way."""
LEAST_VARIANCE_FACTOR = 0.1
"""Of variances that were estimated: independent noise of two images leaves more."""
RIGHT_NOISE = 0.02
"""Departure of the sky's scatter from its predicted noise up to which the difference's variance plane is right."""


def finish(
    subtraction: Subtraction,
    inputs: Inputs,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
    choices: tuple[Choice, ...],
    provenance: Mapping[str, str],
    threads: int,
    smoothing: float = 0.0,
) -> SubtractionResult:
    """Decorrelate, measure the quality, and put everything together.

    `inputs` are as they were; `smoothing` : sigma (pixels) of the Gaussian by which the image that is not convolved was
    smoothed for `subtraction`.
    """
    result, options, kernel = subtraction.result, subtraction.options, subtraction.result.psfMatchingKernel
    if smoothing:
        options = replace(options, smoothingSigma=smoothing)
    plain = result.subtractedExposure
    # The background was refined on it: neither that nor a common factor changes what is blank, or its pulls.
    sky = getattr(result, "blankSky", None) or findBlankSky(plain.maskedImage, threads=threads)
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    known = [fwhm for fwhm in fwhms if fwhm is not None]
    named = partial(
        options.planeRules.appliedTo,
        matched=result.matchedExposure,
        template=template,
        science=science,
        isScienceConvolved=not convolveTemplate,
    )
    difference, factor, varianceChoices = plain, 1.0, tuple[Choice, ...]()
    if options.doScaleVariance:
        with subtraction.task.timer("scaleVariance"):
            difference, factor, varianceChoices = _scaled(plain, inputs, convolveTemplate, sky, threads)
    # Side by side, as neither of them has work enough for all threads all the time.
    decorrelation, measured = sideBySide(
        partial(_decorrelated, subtraction, named(plain)[0], template, science, convolveTemplate, smoothing, threads),
        partial(
            _measure, subtraction, inputs, difference, (template, science), convolveTemplate, sky, fwhms, smoothing
        ),
        threads,
    )
    renamed, matched = named(difference)
    candidates = candidateTable(result.kernelCellSet)
    quality = None
    if options.doAssessQuality:
        with subtraction.task.timer("quality"):
            pixels = _pixelFigures(subtraction, difference, template, science, convolveTemplate)
            whiteness = whitenessOf(difference, decorrelation, sky, threads)
            lit, caps = scatterOnLight(subtraction, pixels)
            finished = FinishedSubtraction(
                difference=difference,
                template=template,
                science=science,
                kernel=kernel,
                background=result.backgroundModel,
                convolved="template" if convolveTemplate else "science",
                candidates=candidates if len(candidates) else None,
                rejectedSources=subtraction.task.metadata.get("rejectedSources", {}),
                varianceScales=varianceScales(subtraction, inputs, factor),
                fwhmPix=max(known) if known else None,
                area=inputs.coverage.areaOf(science.getBBox()),
                brightStars=inputs.brightStars,
                told={
                    **toldFigures(subtraction, inputs),
                    **measured.told,
                    **lit,
                    "lag1": whiteness.lag1,
                    "lag2": whiteness.lag2,
                },
                pixels=pixels,
                threads=threads,
            )
            if smoothing and decorrelation is not None:
                # Of noise that is correlated in both images the sums over sources would not be those of the variances.
                white = replace(finished, difference=decorrelation.exposure, pixels=None)
                finished = replace(finished, pixels=white.pixelFigures)
            caps = (*subtraction.caps, *caps, *doubtsOfPlace(inputs.alignment))
            quality = assessQuality(finished, caps=caps, without=subtraction.ungraded)
            log.info("Grade %s", "; ".join(quality.reasons), extra={"isDecision": True})
    return SubtractionResult(
        difference=renamed,
        matched=matched,
        template=inputs.template if smoothing else result.warpedExposure,
        science=inputs.science,
        convolved="template" if convolveTemplate else "science",
        kernel=kernel,
        background=result.backgroundModel,
        candidates=lazily(candidates),
        noise=measured.noise,
        metadata=dict(subtraction.task.metadata),
        options=options,
        quality=quality,
        decorrelation=decorrelation,
        alignment=inputs.alignment,
        coverage=inputs.coverage,
        preparation=inputs.preparation,
        varianceFactor=factor,
        borderLevels=subtraction.borderLevels,
        choices=(*choices, *varianceChoices, *measured.choices),
        errorFloor=measured.floor,
        smoothing=smoothing,
        steps=subtraction.steps,
        provenance=provenance,
    )


class _Measured(NamedTuple):
    """What the difference's noise and its sources tell; of these nothing where no quality was asked for."""

    noise: DifferenceNoise
    told: Mapping[str, Any]
    floor: ErrorFloor | None
    choices: tuple[Choice, ...]


def _decorrelated(
    subtraction: Subtraction,
    difference: Exposure,
    template: MaskedImage,
    science: MaskedImage,
    convolveTemplate: bool,
    smoothing: float,
    threads: int,
) -> Decorrelation | None:
    """Return the difference with white noise, None where that is not asked for or there is no light.

    It is computed with `threads` when it is looked at, prepared here with as many as a part of two may take.
    """
    kernel, box = subtraction.result.psfMatchingKernel, science.getBBox()
    if not (subtraction.options.doDecorrelate and kernel.kernelSum(*box.centre) > 0.0):
        return None
    with subtraction.task.timer("prepareCorrection"):
        correction = prepareCorrection(
            box,
            kernel,
            *((template, science) if convolveTemplate else (science, template)),
            isScienceConvolved=not convolveTemplate,
            smoothing=smoothingKernel(smoothing, box) if smoothing else None,
            threads=resolveThreads(None),
        )
    return correction.appliedTo(difference, threads=threads)


def _scaled(
    difference: Exposure, inputs: Inputs, convolveTemplate: bool, sky: BlankSky, threads: int
) -> tuple[Exposure, float, tuple[Choice, ...]]:
    """Return the difference with its variance plane scaled to its sky, the factor, and why it is that."""
    correlation = inputs.templateCorrelation if convolveTemplate else None
    factor, choice = _chooseVarianceFactor(
        sky, any(estimatedHere(inputs)), 1.0 if correlation is None else float(correlation.sum())
    )
    choice.log(log)
    if factor != 1.0:
        difference = difference.withPixels(multiplyVariance(difference.maskedImage, factor, threads))
    return difference, factor, (choice,)


def _pixelFigures(
    subtraction: Subtraction, difference: Exposure, template: MaskedImage, science: MaskedImage, convolveTemplate: bool
) -> Mapping[str, Any]:
    """Return what the difference's pixels tell of its quality, but for those that are known to have changed."""
    images = difference.maskedImage, template, science
    first, second, third = (_without(image, subtraction.changed) for image in images)
    return FinishedSubtraction(
        first,
        second,
        third,
        subtraction.result.psfMatchingKernel,
        convolved="template" if convolveTemplate else "science",
        threads=resolveThreads(None),
    ).pixelFigures


def _measure(
    subtraction: Subtraction,
    inputs: Inputs,
    difference: Exposure,
    images: tuple[MaskedImage, MaskedImage],
    convolveTemplate: bool,
    sky: BlankSky,
    fwhms: tuple[float | None, float | None],
    smoothing: float,
) -> _Measured:
    """Measure the difference's noise, and what is left of the sources of template and science image in it."""
    with subtraction.task.timer("measure"):
        noise = differenceNoise(difference.maskedImage)
        log.info(
            "Difference / sqrt(variance): robust standard deviation %.3f over %d blank pixels",
            noise.robustStdev,
            noise.nPixels,
        )
        if not subtraction.options.doAssessQuality:
            return _Measured(noise, {}, None, ())
        kernelSum = subtraction.result.psfMatchingKernel.kernelSum(*difference.getBBox().centre)
        scale = 1.0 if convolveTemplate else 1.0 / kernelSum if kernelSum else math.nan
        image, fwhm = images[convolveTemplate], fwhms[convolveTemplate]
        radius = max([6, *(math.ceil(1.5 * fwhm) for fwhm in fwhms if fwhm is not None)])
        told: dict[str, Any] = {
            "residualShiftPix": residualShift(
                difference,
                subtraction.result.matchedImage,
                inputs.sources[:MAX_SHIFT_STARS],
                radius,
                scale,
                subtraction.changed,
                resolveThreads(None),
            )
        }
        choices: tuple[Choice, ...] = ()
        floor = _errorFloor(subtraction, difference, image, fwhm, convolveTemplate, sky, scale, smoothing)
        if floor is not None:
            log.info("%s", floor.sentence)
            choices = (Choice("errorFloor", f"{floor.share:.4f}", floor.pull, "0", 1.0, floor.sentence),)
            told["errorFloor"] = floor.share if floor.nPlaces else None
        if subtraction.changed is not None:
            told["maskedFraction"] = unusableShare(difference.maskedImage)
        return _Measured(noise, told, floor, choices)


def _errorFloor(
    subtraction: Subtraction,
    difference: Exposure,
    image: MaskedImage,
    fwhm: float | None,
    convolveTemplate: bool,
    sky: BlankSky,
    scale: float,
    smoothing: float,
) -> ErrorFloor | None:
    """Return what is left of sources in proportion to their light; None where no PSF or no match tells it."""
    if fwhm is None or not math.isfinite(scale) or "errorFloor" in subtraction.ungraded:
        return None
    if smoothing:
        image = smoothedExposure(Exposure(image), smoothing, edgeHandlingOf(subtraction.options.kernel)).maskedImage
        fwhm = smoothedFwhm(fwhm, smoothing)
    pixels = _without(difference.maskedImage, subtraction.changed)
    return LitDifference(pixels, image, scale, convolveTemplate, resolveThreads(None)).errorFloor(sky, fwhm)


def _without(image: MaskedImage, changed: npt.NDArray[np.bool_] | None) -> MaskedImage:
    """Return the image with BAD where it is known to have changed."""
    if changed is None:
        return image
    mask = image.mask.copy()
    pixels = np.asarray(mask)
    pixels |= np.where(changed, np.int32(1 << mask.addPlane("BAD")), np.int32(0))
    return MaskedImage(image.image, mask, image.variance, image.xy0)


def _chooseVarianceFactor(sky: BlankSky, isOurs: bool, shared: float = 1.0) -> tuple[float, Choice]:
    """Return what the difference's variance plane is to be multiplied by: 1 unless its sky says otherwise.

    Variances of ours, that were estimated, follow it as far as two images of independent noise lead. `shared` : pixels
    of the template that have their noise in common, with which a kernel multiplies the variance at the most.
    """
    most = MAX_VARIANCE_FACTOR * max(1.0, shared)
    try:
        factor = measureVarianceFactor(sky)
    except InputImagesError as error:
        log.warning("The difference's variance plane is left as it is: %s", error)
        factor = 1.0
    width = math.sqrt(factor)
    sentence = f"Variance of the difference: its sky scatters by {width:.4g} of its noise, "
    if abs(width - 1.0) <= RIGHT_NOISE:
        factor = 1.0
        sentence += f"within {RIGHT_NOISE:g} of 1: left as it is."
    elif most > factor > 1.0 / most:
        sentence += (
            f"not by 1: multiplied by {factor:.3f}. Noise of the images that is correlated, as in resampled ones, does "
            "that."
        )
    elif isOurs and factor >= LEAST_VARIANCE_FACTOR:
        sentence += f"not by 1: multiplied by {factor:.3f}, as variances are that were only estimated."
    else:
        sentence += (
            f"a factor of {factor:.3g} in variance, beyond the {most:.3g} either way that correlated noise can make: "
            "left as it is."
        )
        if factor < 1.0:
            sentence += (
                " Do the images share their noise, as one exposure given twice does, or a template that holds the "
                "science image?"
            )
        factor = 1.0
    return factor, Choice("variance", f"{factor:.3f}", width, "1", 1.0, sentence)
