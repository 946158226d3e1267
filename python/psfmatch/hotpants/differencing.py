"""The difference of two images region by region, with what HOTPANTS would say about each."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.difference.subtraction import subtractMatched
from psfmatch.errors import InputImagesError
from psfmatch.hotpants.fitting import Fitted, maskedFraction
from psfmatch.hotpants.masks import MaskBit, grown
from psfmatch.hotpants.parsing import Settings
from psfmatch.hotpants.preparing import InputImage
from psfmatch.images import Box, MaskedImage, atOrigin
from psfmatch.images.mask import DEFAULT_BAD_PLANES
from psfmatch.kernels import EdgeHandling
from psfmatch.noise.blankSky import findBlankSky, measureVarianceFactor

__all__ = ["Planes", "RegionFigures", "subtractRegions"]

log = logging.getLogger("psfmatch.hotpants")

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RegionFigures:
    """Figures of a region.

    box : its pixels; fitted : kernel and background, None where the fit failed, then all else is NaN;
    kernelSum : at its centre; stampSigma, stampScatter : mean and scatter over the stamps of the rms of residual over
    noise; sigma, scatter : clipped mean and standard deviation of difference over noise; chiSquare : its mean square;
    noiseScale : what the noise was multiplied by.
    """

    box: Box
    fitted: Fitted | None
    kernelSum: float = math.nan
    stampSigma: float = math.nan
    stampScatter: float = math.nan
    sigma: float = math.nan
    scatter: float = math.nan
    chiSquare: float = math.nan
    noiseScale: float = 1.0


@dataclass(frozen=True, eq=False)
class Planes:
    """Everything on the pixels of the science image, (ny, nx): bad pixels hold the fill values.

    difference, noise : in the scale that ``-n`` asks for; pull : their ratio; convolved : the convolved image with the
    background, as it was subtracted, in its own scale; mask : `MaskBit`.
    """

    difference: FloatImage
    noise: FloatImage
    pull: FloatImage
    convolved: FloatImage
    mask: npt.NDArray[np.int32]


def subtractRegions(
    template: InputImage,
    science: InputImage,
    fits: Sequence[tuple[Box, Fitted | None]],
    settings: Settings,
) -> tuple[Planes, list[RegionFigures]]:
    """Convolve and subtract region by region.

    Parameters
    ----------
    template, science
        The inputs.
    fits
        Regions with kernel and background; None: there is no fit, its pixels are filled.
    settings
        The command line.
    """
    shape, whole = science.exposure.shape, science.exposure.getBBox()
    image, noise = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    convolved = np.full(shape, np.nan, np.float32)
    bits = template.bits | science.bits
    for flagged, badBit, skipBit in (
        (template, MaskBit.T_BAD, MaskBit.T_SKIP),
        (science, MaskBit.I_BAD, MaskBit.I_SKIP),
    ):
        bits[flagged.bits != 0] |= np.int32(badBit | MaskBit.INPUT_ISBAD)
        bits[flagged.isSkipped] |= np.int32(skipBit)
    figures = []
    for box, fitted in fits:
        if fitted is None:
            figures.append(RegionFigures(box, None))
            continue
        part = np.s_[box.y0 - whole.y0 : box.y1 - whole.y0, box.x0 - whole.x0 : box.x1 - whole.x0]
        difference, matched = _subtractRegion(template, science, box, fitted, settings)
        kernelSum = fitted.kernel.kernelSum(*box.centre)
        noiseScale = _noiseScale(difference) if "okn" in settings else 1.0
        scale = _scale(fitted, kernelSum, settings)
        isGood = ~difference.badPixels(DEFAULT_BAD_PLANES)
        with np.errstate(invalid="ignore"):
            sigma = np.sqrt(difference.variance) * np.float32(noiseScale)
        image[part] = np.where(isGood, difference.image * np.float32(scale), np.float32(np.nan))
        noise[part] = np.where(isGood, sigma * np.float32(scale), np.float32(np.nan))
        convolvedGood = ~matched.badPixels(DEFAULT_BAD_PLANES)
        convolved[part] = np.where(convolvedGood, matched.image, np.float32(np.nan))
        source = template if fitted.convolved == "template" else science
        isTouched = grown(source.bits != 0, max(fitted.kernel.shape) // 2)[part]
        bits[part] |= np.where(convolvedGood, np.int32(0), np.int32(MaskBit.BAD_CONV))
        bits[part] |= np.where(convolvedGood & isTouched, np.int32(MaskBit.OK_CONV), np.int32(0))
        pulls = (difference.image[isGood] / sigma[isGood]).astype(np.float64)
        figures.append(_figures(box, fitted, kernelSum, pulls, noiseScale, settings["ssig"]))
    isBad = ~(np.isfinite(image) & (noise > 0.0))
    if "mous" in settings:
        isBad |= grown((bits & np.int32(MaskBit.INPUT_ISBAD)) != 0, round(settings["mous"] * settings["r"]))
    bits[isBad] |= np.int32(MaskBit.OUTPUT_ISBAD)
    fill, noiseFill = np.float32(settings["fi"]), np.float32(settings["fin"])
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = np.where(isBad, fill, image / noise)
    return Planes(
        difference=np.where(isBad, fill, image),
        noise=np.where(isBad, noiseFill, noise),
        pull=pull,
        convolved=np.where(np.isfinite(convolved), convolved, fill),
        mask=bits,
    ), figures


def _subtractRegion(
    template: InputImage, science: InputImage, box: Box, fitted: Fitted, settings: Settings
) -> tuple[MaskedImage, MaskedImage]:
    """Return the difference, in science counts, and the convolved image with the background, on a region's pixels."""
    kernel = fitted.kernel
    # The pixels around a region are there to be convolved, too.
    around = box.grown(max(kernel.shape) // 2).intersection(science.exposure.getBBox())
    scienceImage = science.exposure.subset(around)
    templateImage = template.exposure.withPixels(
        atOrigin(template.exposure.maskedImage, science.exposure.maskedImage).subset(around)
    )
    isTemplate = fitted.convolved == "template"
    edges = EdgeHandling(copyEdge=True, maskedKernelFraction=maskedFraction(settings))
    matched = kernel.convolve((templateImage if isTemplate else scienceImage).maskedImage, edges)
    difference = subtractMatched(
        templateImage,
        scienceImage,
        matched,
        fitted.background,
        isScienceConvolved=not isTemplate,
        kernelSum=kernel.kernelSum(*box.centre),
    )
    inside = matched.subset(box).copy()
    x, y = np.arange(box.x0, box.x1, dtype=np.float64)[np.newaxis], np.arange(box.y0, box.y1, dtype=np.float64)
    inside.image += np.asarray(fitted.background(x, y[:, np.newaxis])).astype(np.float32)
    return difference.maskedImage.subset(box), inside


def _scale(fitted: Fitted, kernelSum: float, settings: Settings) -> float:
    """Return what the difference in science counts is multiplied by."""
    isTemplate = fitted.convolved == "template"
    wanted = settings["n"]
    if wanted == "i" or (wanted == "u" and isTemplate):
        return 1.0
    return 1.0 / kernelSum if isTemplate else kernelSum


def _noiseScale(difference: MaskedImage) -> float:
    try:
        return math.sqrt(measureVarianceFactor(findBlankSky(difference)))
    except InputImagesError as error:
        log.warning("The noise of the difference is left as it is: %s", error)
        return 1.0


def _figures(
    box: Box, fitted: Fitted, kernelSum: float, pulls: npt.NDArray[np.float64], noiseScale: float, clip: float
) -> RegionFigures:
    used = fitted.candidates[np.asarray(fitted.candidates["status"]) == "GOOD"]
    stampSigma, stampScatter = _clipped(np.asarray(used["spatialRms"], dtype=np.float64), clip)
    sigma, scatter = _clipped(pulls, clip)
    chiSquare = float(np.mean(pulls**2)) if pulls.size else math.nan
    return RegionFigures(box, fitted, kernelSum, stampSigma, stampScatter, sigma, scatter, chiSquare, noiseScale)


def _clipped(values: npt.NDArray[np.float64], clip: float) -> tuple[float, float]:
    """Return mean and standard deviation of what lies within so many of them, three times over."""
    values = values[np.isfinite(values)]
    for _ in range(3):
        if values.size < 2:
            break
        values = values[np.abs(values - np.median(values)) <= clip * max(float(values.std()), 1e-30)]
    return (float(values.mean()), float(values.std())) if values.size else (math.nan, math.nan)
