"""Differences of cut-outs: small images with a few stars or one galaxy, as alerts bring them.

What `psfmatch.fit.stampFit` finds becomes a result like any other, and its doubts become sentences and limits of the
grade.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config.choices import Choice
from psfmatch.config.task import Struct
from psfmatch.difference import convolveBy
from psfmatch.difference.subtraction import matchedExposure, subtractMatched
from psfmatch.errors import InputImagesError, NoKernelCandidatesError, fixed
from psfmatch.fit.candidates.cells import SpatialCellSet
from psfmatch.fit.stampFit import LARGEST_SIDE, StampFit, fitStamp
from psfmatch.frontdoor.cutoutDirection import CommonLight, Direction, chooseDirection
from psfmatch.frontdoor.cutoutSentences import capsOf, choicesOf, cutKernelOf
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.frontdoor.options import RunOptions
from psfmatch.images import DEFAULT_BAD_PLANES, Box, Exposure, MaskedImage, atOrigin
from psfmatch.images.medians import median
from psfmatch.io import isEstimated
from psfmatch.kernels import LinearCombinationKernel, makeSpatialFunction

__all__ = ["CutoutDifference", "byStamp", "hasTransientInMiddle", "isCutout"]

log = logging.getLogger("psfmatch.frontdoor")

MAX_CUTOUT = 101
"""Longest side, pixels, of images that are taken for cut-outs."""
SMALL_CUTOUT = 21
"""Shorter sides, pixels, cut kernels off: a quarter of it lies to each side of the kernel's middle."""
MAX_STAMP = LARGEST_SIDE
"""Longest side that is fitted as one stamp; of larger images the surroundings of the brightest source."""
FEW_SOURCES = 5
LEAST_SHARED, LIT_SIGMAS = 0.7, 5.0
"""Correlation of the light of two images of one sky, of pixels that are lit in either."""
CHANGED_RADIUS, MIDDLE_RADIUS = 5.0, 7.0
"""Of the surroundings of what has changed that quality does not look at, pixels."""
MAD_TO_SIGMA = 1.4826
KERNEL_SHARE = 1e-4
"""Of the kernel's absolute sum: rows and columns about it that hold less are cut off."""


@dataclass(frozen=True)
class CutoutDifference:
    """A difference by the fit of a stamp: the Struct of a task, the images with the noise found, and what is told.

    changed : pixels of what has changed, the middle of an alert among them; onLight : number and scatter, in units of
    the noise of pixels, of those with light that have not; None for a part of the images
    and for a template without light; isNoiseTold : whether the noise is that of
    the fit, for planes that were only estimated.
    """

    result: Struct
    template: Exposure
    science: Exposure
    direction: Direction
    choices: tuple[Choice, ...]
    caps: tuple[tuple[str, str], ...]
    changed: npt.NDArray[np.bool_]
    onLight: tuple[int, float] | None
    isNoiseTold: bool


def isCutout(shape: tuple[int, ...], nSources: int) -> bool:
    """Return whether an image is so small, or shows so few sources, that stars are not expected to tell a kernel."""
    return max(shape) <= (MAX_CUTOUT if nSources >= FEW_SOURCES else MAX_STAMP)


def hasTransientInMiddle(options: RunOptions, template: Exposure, science: Exposure) -> bool:
    """Return whether the middle has an account of its own: as configured, or for what looks like an alert's stamps.

    Those are squares of one odd side up to 101 pixels without coordinates, so that one pixel is the middle. Elsewhere
    it would do no harm: the account is chosen by evidence.
    """
    if options.middleOfCutout != "auto":
        return options.middleOfCutout == "transient"
    height, width = science.shape
    isAlert = height == width and height % 2 == 1 and height <= MAX_CUTOUT
    return isAlert and template.shape == science.shape and not (template.hasWcs or science.hasWcs)


def byStamp(
    inputs: Inputs,
    options: RunOptions,
    threads: int,
    around: tuple[float, float] | None = None,
    isDirectionFree: bool = False,
) -> CutoutDifference:
    """Subtract with the kernel that is fitted to all pixels of the images.

    Parameters
    ----------
    inputs
        The images made ready.
    options
        Of the run.
    threads
        Number of threads; the result does not depend on it.
    around
        x and y of the place about which large images are fitted; by default all of the image.
    isDirectionFree
        Whether a stamp's science image may be convolved, as that of a template that has more noise is; else the
        template is.

    Raises
    ------
    InputImagesError
        If the images are too small.
    NoKernelCandidatesError
        If neither image has a source.
    """
    science, template = inputs.science, inputs.template
    before = atOrigin(template.maskedImage, science.maskedImage)
    box = science.getBBox()
    window = box if around is None else _windowAbout(box, around)
    isWhole = window == box
    isAlert = isWhole and hasTransientInMiddle(options, template, science)
    isKnown = not any(isEstimated(exposure.metadata.get("VARSRC")) for exposure in (template, science))
    # Planes of nothing but zeros are none.
    isKnown &= bool((before.variance > 0.0).any() or (science.variance > 0.0).any())
    ratio = None
    if template.photoCalib and science.photoCalib:
        ratio = float(template.photoCalib) / float(science.photoCalib)
    stamps = [image if isWhole else image.subset(window) for image in (before, science.maskedImage)]
    direction = _fitted(stamps[0], stamps[1], isAlert, ratio, isKnown, isDirectionFree and isWhole)
    fit, isTurned = direction.fit, direction.isScienceConvolved
    if not isWhole:
        _requireShared(fit, stamps[1])
    if not (fit.scienceHasLight or fit.templateHasLight):
        raise NoKernelCandidatesError(
            f"neither image of {science.width}x{science.height} pixels has a source above 5 sigma of its own noise",
            nSources=0,
        )
    kernel = LinearCombinationKernel(_trimmed(fit.kernel)[None], [[1.0]], bbox=box)
    if not isKnown and isWhole:
        norm = fit.templateNoise**2 * (fit.kernel**2).sum()
        light = (fit.modelError * fit.light) ** 2
        own = np.full(before.shape, fit.templateNoise**2), np.maximum(fit.variance - norm - light, 0.0)
        template, before = _withNoise(template, before, own[isTurned])
        science, _ = _withNoise(science, science.maskedImage, own[not isTurned])
    image = science.maskedImage if isTurned else before
    matched = _convolved(kernel, image, options, threads, fit.noData if isWhole else None)
    constant = fit.plane[0] - fit.plane[1] * window.x0 - fit.plane[2] * window.y0
    terms: Any = [constant, *fit.plane[1:]] if isWhole else [_level(science.maskedImage, matched)]
    background = makeSpatialFunction("polynomial", terms, (0.0, 0.0, 1.0, 1.0))
    difference = subtractMatched(
        template,
        science,
        matched,
        background,
        isScienceConvolved=isTurned,
        kernelSum=kernel.kernelSum(*box.centre) if isTurned else 1.0,
        threads=threads,
    )
    if fit.modelError > 0.0 and isWhole:
        difference.variance = (
            difference.variance + (direction.scale * fit.modelError * fit.light).astype(np.float32) ** 2
        )
    result = Struct(
        subtractedExposure=difference,
        matchedImage=matched,
        matchedExposure=matchedExposure(matched, template, science, isScienceConvolved=isTurned),
        warpedExposure=template,
        psfMatchingKernel=kernel,
        backgroundModel=background,
        kernelCellSet=SpatialCellSet(box, max(box.width, 1), max(box.height, 1)),
        kernelFit=None,
    )
    choices = choicesOf(direction, window, isAlert, isKnown)
    for choice in choices:
        choice.log(log)
    caps = capsOf(direction, isAlert)
    if min(box.width, box.height) < SMALL_CUTOUT and fit.templateHasLight:
        caps = (*caps, cutKernelOf(fit))
    if not isWhole:
        caps = (*caps, ("C", "the kernel is that of the surroundings of one source"))
    changed = _changed(fit, box, window, isAlert)
    onLight = _onLight(difference.maskedImage, direction, changed) if isWhole and fit.templateHasLight else None
    return CutoutDifference(
        result, template, science, direction, choices, caps, changed, onLight, not isKnown and isWhole
    )


def _fitted(
    template: MaskedImage, science: MaskedImage, isAlert: bool, ratio: float | None, isKnown: bool, isFree: bool
) -> Direction:
    """Return the fit of the template to the science image, or where the direction is free that of the better one."""
    fit = fitStamp(template, science, hasTransientInMiddle=isAlert, ratio=ratio, isVarianceKnown=isKnown)
    expected = 1.0 if ratio is None else ratio
    light = CommonLight(template, science, fit, isAlert, expected)
    if not isFree:
        return Direction(fit, light.leftBy(fit, isScienceConvolved=False), isScienceConvolved=False)

    def turned() -> StampFit:
        inverse = None if ratio is None else 1.0 / ratio
        return fitStamp(science, template, hasTransientInMiddle=isAlert, ratio=inverse, isVarianceKnown=isKnown)

    return chooseDirection(light, fit, turned)


def _requireShared(fit: StampFit, science: MaskedImage) -> None:
    """Raise InputImagesError if the surroundings of the brightest source show no common light."""
    if not fit.templateHasLight:
        raise InputImagesError("the template shows no source where the science image has its brightest")
    if (shared := _sharedLight(fit, science)) < LEAST_SHARED:
        raise InputImagesError(
            f"the light of template and science image about the brightest source correlates by {fixed(shared, 2)}, "
            f"kernels of one sky by {LEAST_SHARED:g} or more"
        )


def _sharedLight(fit: StampFit, science: MaskedImage) -> float:
    """Return the correlation of science image and convolved template where either shows light."""
    rows, columns = np.indices(fit.light.shape)
    light = science.image - fit.plane[0] - fit.plane[1] * columns - fit.plane[2] * rows
    light = light - (fit.ratio * fit.templateSky)
    lit = (np.maximum(light, fit.light) > LIT_SIGMAS * fit.scienceNoise) & np.isfinite(light)
    first, second = light[lit], fit.light[lit]
    power = float((first**2).sum() * (second**2).sum())
    return float((first * second).sum()) / math.sqrt(power) if power > 0.0 else 0.0


def _windowAbout(box: Box, around: tuple[float, float]) -> Box:
    """Return the box, or the part about a place that is fitted of a large one."""
    width, height = min(box.width, MAX_CUTOUT), min(box.height, MAX_CUTOUT)
    if max(box.width, box.height) <= MAX_STAMP:
        return box
    x0 = min(max(round(around[0]) - width // 2, box.x0), box.x1 - width)
    y0 = min(max(round(around[1]) - height // 2, box.y0), box.y1 - height)
    return Box(x0, y0, width, height)


def _trimmed(kernel: Any) -> Any:
    """Return the kernel's middle without the border that holds next to nothing, its sum kept."""
    sizes = abs(kernel)
    half = kernel.shape[0] // 2
    kept = next(
        h
        for h in range(1, half + 1)
        if h == half
        or sizes.sum() - sizes[half - h : half + h + 1, half - h : half + h + 1].sum() <= KERNEL_SHARE * sizes.sum()
    )
    # Kernels of images are applied without a turn.
    middle = kernel[half - kept : half + kept + 1, half - kept : half + kept + 1][::-1, ::-1]
    return middle * (kernel.sum() / middle.sum())


def _withNoise(exposure: Exposure, image: MaskedImage, variance: Any) -> tuple[Exposure, MaskedImage]:
    largest = np.finfo(np.float32).max
    pixels = MaskedImage(image.image, image.mask, np.minimum(variance, largest).astype(np.float32), image.xy0)
    return exposure.withPixels(pixels), pixels


def _convolved(
    kernel: LinearCombinationKernel, image: MaskedImage, options: RunOptions, threads: int, noData: Any
) -> MaskedImage:
    """Return the image convolved as if it went on beyond its border; NO_DATA where the fit says so, if it does."""
    half = kernel.shape[0] // 2
    planes = [np.pad(np.asarray(plane), half, mode="edge") for plane in (image.image, image.mask, image.variance)]
    x0, y0 = image.xy0
    wide = MaskedImage(planes[0], type(image.mask)(planes[1], image.mask.planes), planes[2], (x0 - half, y0 - half))
    matched: MaskedImage = convolveBy(kernel, wide, options.kernel, threads).subset(image.getBBox()).copy()
    if noData is not None:
        pixels = np.asarray(matched.mask)
        bit = np.int32(1 << matched.mask.addPlane("NO_DATA"))
        edge = np.int32(1 << matched.mask.addPlane("EDGE"))
        pixels &= ~(bit | edge)
        pixels |= np.where(noData | ~np.isfinite(matched.image), bit, np.int32(0))
    return matched


def _changed(fit: StampFit, box: Box, window: Box, isAlert: bool) -> npt.NDArray[np.bool_]:
    """Return pixels about the places that the fit has left out, and about an alert's middle."""
    places = [(x + window.x0 - box.x0, y + window.y0 - box.y0, CHANGED_RADIUS) for x, y in fit.rejected]
    if isAlert:
        places.append((box.width // 2, box.height // 2, MIDDLE_RADIUS))
    changed = np.zeros((box.height, box.width), dtype=bool)
    y, x = np.ogrid[: box.height, : box.width]
    for x0, y0, radius in places:
        changed |= (x - x0) ** 2 + (y - y0) ** 2 <= radius**2
    return changed


def _onLight(difference: MaskedImage, direction: Direction, changed: npt.NDArray[np.bool_]) -> tuple[int, float]:
    """Return how many pixels have light that has not changed, and how they scatter in units of their own noise."""
    fit = direction.fit
    # Whatever no kernel explains is no noise.
    noise = np.sqrt(np.maximum(fit.variance - (fit.modelError * fit.light) ** 2, 0.0))
    lit = (fit.light > LIT_SIGMAS * noise) & (noise > 0.0) & ~changed & ~difference.badPixels(DEFAULT_BAD_PLANES)
    pulls = np.abs(difference.image[lit] / (direction.scale * noise[lit]))
    return int(pulls.size), MAD_TO_SIGMA * median(pulls)


def _level(science: MaskedImage, matched: MaskedImage) -> float:
    planes = ("BAD", "SAT", "NO_DATA", "EDGE")
    good = ~(science.badPixels(planes) | matched.badPixels(planes))
    if not good.any():
        raise InputImagesError("no pixel is good in both images")
    return float(np.median(science.image[good] - matched.image[good]))
