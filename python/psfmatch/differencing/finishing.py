"""What follows the subtraction: decorrelation, quality, and the result that holds everything."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from psfmatch.alignment import Alignment, measureShiftField
from psfmatch.decorrelation import Correction, prepareCorrection
from psfmatch.diagnostics import DifferenceNoise, candidateTable, differenceNoise
from psfmatch.differencing.inputs import Inputs
from psfmatch.differencing.ladder import Made
from psfmatch.differencing.result import SubtractionResult
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Box, Exposure, MaskedImage
from psfmatch.io import isEstimated
from psfmatch.modelChoice import Choice
from psfmatch.noise import measureWhiteness
from psfmatch.noise.blankSky import BlankSky, findBlankSky, measureVarianceFactor, multiplyVariance
from psfmatch.quality import assessQuality, pixelFigures
from psfmatch.sourceTable import AnyTable, SourceTable, lazily
from psfmatch.streaks import STREAK
from psfmatch.threads import resolveThreads, sideBySide
from psfmatch.warping import atOrigin

__all__ = ["finish"]

log = logging.getLogger("psfmatch.differencing")

MAX_SHIFT_STARS = 500
FEW_SOURCES = 2
"""Of a stamp; fewer do not check its kernel."""
MAX_VARIANCE_FACTOR = 3.0
"""Of the difference, either way."""
RIGHT_NOISE = 0.02
"""Departure of the sky's scatter from its predicted noise up to which the difference's variance plane is right."""


def finish(
    made: Made,
    inputs: Inputs,
    fwhms: tuple[float | None, float | None],
    convolveTemplate: bool,
    choices: tuple[Choice, ...],
    provenance: Mapping[str, str],
    threads: int,
) -> SubtractionResult:
    """Decorrelate, measure the quality, and put everything together."""
    result, options, kernel = made.result, made.options, made.result.psfMatchingKernel
    plain = result.subtractedExposure
    # The background was refined on it: neither that nor a common factor changes what is blank, or its pulls.
    sky = getattr(result, "blankSky", None) or findBlankSky(plain.maskedImage, threads=threads)
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    known = [fwhm for fwhm in fwhms if fwhm is not None]
    # Side by side, as neither of them has work enough for all threads all the time.
    correction, measured = sideBySide(
        partial(_prepareCorrection, made, template, science, convolveTemplate),
        partial(_measure, made, inputs, template, science, convolveTemplate, sky, known),
        threads,
    )
    difference = measured.difference
    named = partial(
        options.planeRules.appliedTo,
        matched=result.matchedExposure,
        template=template,
        science=science,
        isScienceConvolved=not convolveTemplate,
    )
    decorrelation = None
    if correction is not None:
        decorrelation = correction.appliedTo(named(plain)[0], threads=threads)
    candidates = candidateTable(result.kernelCellSet)
    quality = None
    if options.doAssessQuality:
        with made.task.timer("quality"):
            whiteness = (
                measureWhiteness(difference, where=sky, threads=threads)
                if decorrelation is None
                else decorrelation.measureWhiteness(sky, threads)
            )
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
                **({} if heldOut is None else _heldOut(heldOut)),
                residualShiftPix=measured.residualShiftPix,
                appliedShiftPix=None
                if inputs.alignment is None
                else _appliedShift(inputs.alignment, science.getBBox()),
                lag1=whiteness.lag1,
                lag2=whiteness.lag2,
                varianceScales=_varianceScales(made, inputs, measured.varianceFactor),
                starsAboveLevel=_starsAboveLevel(inputs),
                brightStars=_brightStars(inputs),
                coverage=inputs.coverage.templateFraction,
                fwhmPix=max(known) if known else None,
                area=inputs.coverage.areaOf(science.getBBox()),
                caps=(*made.caps, *_tooFew(made, measured.pixels)),
                without=made.ungraded,
                pixels=measured.pixels,
            )
            log.info("Grade %s", "; ".join(quality.reasons))
    difference, matched = named(difference)
    return SubtractionResult(
        difference=difference,
        matched=matched,
        template=result.warpedExposure,
        science=inputs.science,
        convolved="template" if convolveTemplate else "science",
        kernel=kernel,
        background=result.backgroundModel,
        candidates=lazily(candidates),
        noise=measured.noise,
        metadata=dict(made.task.metadata),
        options=options,
        quality=quality,
        decorrelation=decorrelation,
        alignment=inputs.alignment,
        coverage=inputs.coverage,
        preparation=inputs.preparation,
        varianceFactor=measured.varianceFactor,
        choices=(*choices, *measured.choices),
        steps=made.steps,
        provenance=provenance,
    )


class _Measured(NamedTuple):
    """The difference with its variance scaled, and what its pixels tell; no quality was asked for where None."""

    difference: Exposure
    varianceFactor: float
    choices: tuple[Choice, ...]
    noise: DifferenceNoise
    residualShiftPix: float | None
    pixels: Mapping[str, Any] | None


def _prepareCorrection(
    made: Made, template: MaskedImage, science: MaskedImage, convolveTemplate: bool
) -> Correction | None:
    """Return what makes the difference's noise white, None where that is not asked for or there is no light."""
    kernel, box = made.result.psfMatchingKernel, science.getBBox()
    if not (made.options.doDecorrelate and kernel.kernelSum(*box.centre) > 0.0):
        return None
    with made.task.timer("prepareCorrection"):
        return prepareCorrection(
            box,
            kernel,
            *((template, science) if convolveTemplate else (science, template)),
            isScienceConvolved=not convolveTemplate,
            threads=resolveThreads(None),
        )


def _measure(
    made: Made,
    inputs: Inputs,
    template: MaskedImage,
    science: MaskedImage,
    convolveTemplate: bool,
    sky: BlankSky,
    fwhms: list[float],
) -> _Measured:
    """Scale the difference's variance plane to its sky, and measure its noise and its quality."""
    threads, kernel = resolveThreads(None), made.result.psfMatchingKernel
    difference: Exposure = made.result.subtractedExposure
    factor, choices, shift, pixels = 1.0, tuple[Choice, ...](), None, None
    if made.options.doScaleVariance:
        with made.task.timer("scaleVariance"):
            correlation = inputs.templateCorrelation if convolveTemplate else None
            factor, choice = _chooseVarianceFactor(
                sky, any(_estimated(inputs)), 1.0 if correlation is None else float(correlation.sum())
            )
            choices = (choice,)
            if factor != 1.0:
                difference = difference.withPixels(multiplyVariance(difference.maskedImage, factor, threads))
    with made.task.timer("measure"):
        noise = differenceNoise(difference.maskedImage)
        log.info(
            "Difference / sqrt(variance): robust standard deviation %.3f over %d blank pixels",
            noise.robustStdev,
            noise.nPixels,
        )
        if made.options.doAssessQuality:
            scale = 1.0 if convolveTemplate else 1.0 / kernel.kernelSum(*science.getBBox().centre)
            radius = max(6, math.ceil(1.5 * max(fwhms))) if fwhms else 6
            shift = _residualShift(
                difference, made.result.matchedImage, inputs.sources[:MAX_SHIFT_STARS], radius, scale
            )
            convolved = "template" if convolveTemplate else "science"
            images = (difference.maskedImage, template, science)
            first, second, third = (_without(image, made.changed) for image in images)
            pixels = pixelFigures(first, second, third, kernel, convolved, threads)
    return _Measured(difference, factor, choices, noise, shift, pixels)


def _estimated(inputs: Inputs) -> tuple[bool, bool]:
    """Return whether the variances of template and science image were estimated here."""
    return isEstimated(inputs.template.metadata.get("VARSRC")), isEstimated(inputs.science.metadata.get("VARSRC"))


def _varianceScales(made: Made, inputs: Inputs, factor: float) -> tuple[float, ...]:
    """Return the factors on variances that somebody gave: estimates of ours may be off, or the fit of a stamp's own."""
    if made.isNoiseTold:
        return (factor,)
    template, science = _estimated(inputs)
    record = inputs.preparation
    scales = [(record.templateVarianceFactor, template), (record.scienceVarianceFactor, science)]
    # A template resampled to smaller pixels has noise that is not white: no fault of any plane.
    scales.append((factor, template or science or inputs.templateCorrelation is not None))
    return tuple(scale for scale, isOurs in scales if not isOurs)


def _tooFew(made: Made, pixels: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Return what the grade of a stamp must say where hardly anything beside what has changed checks it."""
    if "nSources" not in made.ungraded or pixels is None or pixels["nSources"] >= FEW_SOURCES:
        return ()
    return (("C", f"{pixels['nSources']} sources beside what has changed could be judged"),)


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

    Variances of ours, that were estimated, follow it wherever it leads. `shared` : pixels of the template that have
    their noise in common, with which a kernel multiplies the variance at the most.
    """
    most = MAX_VARIANCE_FACTOR * max(1.0, shared)
    try:
        factor = measureVarianceFactor(sky)
    except InputImagesError as error:
        log.warning("The difference's variance plane is left as it is: %s", error)
        factor = 1.0
    width = math.sqrt(factor)
    sentence = f"Variance of the difference: its sky scatters by {width:.3f} of its noise, "
    if abs(width - 1.0) <= RIGHT_NOISE:
        factor = 1.0
        sentence += f"within {RIGHT_NOISE:g} of 1: left as it is."
    elif most > factor > 1.0 / most:
        sentence += (
            f"not by 1: multiplied by {factor:.3f}. Noise of the images that is correlated, as in resampled ones, does "
            "that."
        )
    elif isOurs:
        sentence += f"not by 1: multiplied by {factor:.3f}, as variances are that were only estimated."
    else:
        sentence += (
            f"a factor of {factor:.3g} in variance, beyond the {most:.3g} that correlated noise can make: "
            "left as it is. Do the images share their noise?"
        )
        factor = 1.0
    return factor, Choice("variance", f"{factor:.3f}", width, "1", 1.0, sentence)


def _residualShift(
    difference: Exposure, matched: MaskedImage, stars: AnyTable, radius: int, scale: float
) -> float | None:
    """Return the shift that the difference shows at stars, pixels: its mean, or its scatter where that is more."""
    if not len(stars):
        return None
    field = measureShiftField(difference.maskedImage, matched, stars, radius, scale)
    return None if field is None else float(np.nanmax([field.meanSize, *field.excessRms, 0.0]))


def _heldOut(table: SourceTable) -> dict[str, Any]:
    """Return the figures of residuals under solutions made without them: medians over bright regions, and by signal."""
    bright = table[(np.asarray(table["signal"]) > 5.0) & (np.asarray(table["nPixels"]) > 0)]
    rows = []
    signal, chiSquare = np.asarray(table["signal"]), np.asarray(table["chiSquare"])
    for low, high in ((0.0, 5.0), (5.0, 15.0), (15.0, 50.0), (50.0, 150.0), (150.0, math.inf)):
        inside = (signal >= low) & (signal < high) & np.isfinite(chiSquare)
        if inside.any():
            rows.append((low, high, int(inside.sum()), float(chiSquare[inside].mean())))
    means = {"heldOutMean": bright["mean"], "heldOutRms": bright["rms"]} if len(bright) else {}
    figures = {name: float(np.nanmedian(values)) for name, values in means.items()}
    return figures | {"heldOutChiSquareByFlux": tuple(rows)}


def _brightStars(inputs: Inputs) -> tuple[tuple[int, int], ...]:
    """Return the brightest whole stars of the science image, from its first pixel; what a streak has is none."""
    saturation, mask = inputs.saturations[1], inputs.science.mask
    if saturation is None or STREAK not in mask.planes:
        return () if saturation is None else saturation.brightStars
    isOn = mask.hasAny(STREAK)
    return tuple((x, y) for x, y in saturation.brightStars if not isOn[y, x])


def _starsAboveLevel(inputs: Inputs) -> float | None:
    """Return the share of bright stars that lie above the saturation level, in the image where it is larger."""
    shares = [saturation.starsAboveLevel for saturation in inputs.saturations if saturation is not None]
    return max((share for share in shares if share is not None), default=None)


def _appliedShift(alignment: Alignment, box: Box) -> float:
    """Return the largest correction that was applied to the coordinates, in a corner of the image, pixels."""
    if alignment.method == "nominal":
        return 0.0
    corners = np.array([(x, y) for x in (box.x0, box.x1 - 1) for y in (box.y0, box.y1 - 1)]) - alignment.centre
    affine = np.array(alignment.affine)
    moved = corners @ affine[:, :2].T + affine[:, 2] - corners
    return float(np.hypot(moved[:, 0], moved[:, 1]).max())
