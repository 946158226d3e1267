"""Differences without a fitted kernel: the last fallbacks, for fields with too few stars.

Both know the flux ratio from the photometric calibrations, else from the light of the sources that there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions
from psfmatch.config.task import Struct
from psfmatch.difference import convolveBy
from psfmatch.difference.background import refineBackground
from psfmatch.difference.subtraction import matchedExposure, subtractMatched
from psfmatch.errors import InputImagesError
from psfmatch.fit.candidates.cells import SpatialCellSet
from psfmatch.images import Exposure, MaskedImage, asPsf, atOrigin
from psfmatch.kernels import LinearCombinationKernel, makeSpatialFunction
from psfmatch.kernels.spatialFunction import frameOf
from psfmatch.sources import lightRatios

__all__ = ["byOneImage", "byPsfModels", "byScale", "subtractWith"]

FloatArray = npt.NDArray[np.float64]
NOISE_FLOOR = 1e-3
"""Of the power of the narrower PSF: frequencies below it are not divided (Wiener filter)."""
MIN_SNR = 10.0
MAX_RATIOS = 50
"""Sources that tell the flux ratio."""
MIN_SCATTERING = 5
"""Ratios, that tell their scatter."""
MIN_SIGNIFICANCE = 3.0
"""Of their median, in sigma."""
MEDIAN_ERROR = 1.2533 * 1.4826
"""Of values of one distribution, in units of their median deviation over the root of their number."""
UNUSABLE = ("SAT", "NO_DATA")
LEAST_NOISE = 0.3
"""Noise that a template without a source may add, in units of the science image's."""
SKY_ORDER = 2
"""Of the sky of one image, a polynomial."""


def byPsfModels(
    template: Exposure, science: Exposure, sources: Any, convolveTemplate: bool, options: KernelOptions, threads: int
) -> Struct:
    """Subtract with the kernel that takes one PSF model to the other, at the centre of the image.

    K = P_other conj(P_convolved) / (|P_convolved|^2 + noise), in Fourier space.

    Raises
    ------
    InputImagesError
        If an image has no PSF model, or nothing tells the flux ratio.
    """
    if template.psf is None or science.psf is None:
        raise InputImagesError("an image has no PSF model")
    ratio = _fluxRatio(template, science, sources)
    x, y = science.getBBox().centre
    first, second = (template, science) if convolveTemplate else (science, template)
    images = [
        np.asarray(asPsf(exposure.psf).computeKernelImage(x, y), dtype=np.float64) for exposure in (first, second)
    ]
    side = max(max(image.shape) for image in images)
    # No larger than the images hold: a quarter of their side to each side of the kernel's middle.
    side = min(side + 1 - side % 2, options.kernelSizeMax | 1, min(science.shape) // 4 * 2 + 1)
    narrow, wide = (_centred(image / image.sum(), 2 * side + 1) for image in images)
    transform = np.fft.rfft2(np.fft.ifftshift(narrow))
    power = np.abs(transform) ** 2
    kernel = np.fft.fftshift(
        np.fft.irfft2(
            np.fft.rfft2(np.fft.ifftshift(wide)) * np.conj(transform) / (power + NOISE_FLOOR * power.max()),
            narrow.shape,
        )
    )
    kernel = _centred(kernel, side)
    total = float(kernel.sum())
    if not (math.isfinite(total) and total > 0.0):
        raise InputImagesError("the PSF models give no kernel")
    return subtractWith(template, science, kernel / total, ratio, convolveTemplate, options, threads)


def byScale(
    template: Exposure, science: Exposure, sources: Any, convolveTemplate: bool, options: KernelOptions, threads: int
) -> Struct:
    """Subtract the template times the flux ratio, PSFs as they are.

    Raises
    ------
    InputImagesError
        If nothing tells the flux ratio.
    """
    return subtractWith(
        template, science, np.ones((1, 1)), _fluxRatio(template, science, sources), convolveTemplate, options, threads
    )


def byOneImage(
    template: Exposure, science: Exposure, isTemplateBlank: bool, options: KernelOptions, threads: int
) -> Struct:
    """Subtract where one image shows no source: nothing tells a kernel, and calibrations alone a flux ratio.

    Without these it is 1, or less, so that a template without a source adds hardly any noise to the science image.

    Raises
    ------
    InputImagesError
        If no pixel is good in both images.
    """
    ratio = 1.0
    if template.photoCalib and science.photoCalib:
        ratio = float(template.photoCalib) / float(science.photoCalib)
    if isTemplateBlank:
        own, other = (_typicalVariance(image) for image in (template, science))
        if own > 0.0 and other > 0.0:
            ratio = min(ratio, LEAST_NOISE * math.sqrt(other / own))
    return subtractWith(template, science, np.ones((1, 1)), ratio, True, options, threads, SKY_ORDER)


def _typicalVariance(image: Exposure) -> float:
    variance = image.variance[:: max(1, image.shape[0] // 512), :: max(1, image.shape[1] // 512)]
    good = variance[np.isfinite(variance) & (variance > 0.0)]
    return float(np.median(good)) if good.size else 0.0


def _fluxRatio(template: Exposure, science: Exposure, sources: Any) -> float:
    """Return science counts per template count."""
    if template.photoCalib and science.photoCalib:
        return float(template.photoCalib) / float(science.photoCalib)
    before = atOrigin(template.maskedImage, science.maskedImage)
    bright = sources[np.asarray(sources["snr"]) > MIN_SNR][:MAX_RATIOS]
    ratios = lightRatios(science.maskedImage, before, bright["x"], bright["y"], UNUSABLE, minSnr=5.0)
    # Of images of different skies a few sources lie upon another by chance.
    if 2 * len(ratios) <= len(bright):
        raise InputImagesError(
            "nothing tells the flux ratio: no photometric calibration of both images, and "
            f"{len(ratios)} of {len(bright)} sources stand out in both by 5 sigma"
        )
    ratio = float(np.median(ratios))
    error = MEDIAN_ERROR * float(np.median(np.abs(ratios - ratio))) / math.sqrt(len(ratios))
    if len(ratios) >= MIN_SCATTERING and not ratio > MIN_SIGNIFICANCE * error:
        raise InputImagesError(
            f"nothing tells the flux ratio: that of {len(ratios)} sources is {ratio:.3g} +/- {error:.2g}, which is not "
            "one ratio"
        )
    return ratio


def subtractWith(
    template: Exposure,
    science: Exposure,
    kernelImage: FloatArray,
    ratio: float,
    convolveTemplate: bool,
    options: KernelOptions,
    threads: int,
    backgroundOrder: int = 0,
) -> Struct:
    """Subtract with one kernel for all of the image.

    Parameters
    ----------
    template, science
        Registered; not changed.
    kernelImage : (h, w)
        As it is applied, without a turn; its sum 1.
    ratio
        Science counts per template count.
    convolveTemplate
        Or the science image.
    options
        Of the kernel: what becomes of edges.
    threads
        Number of threads; the result does not depend on it.
    backgroundOrder
        Of the differential background, a polynomial that blank sky tells; 0: one level, the median of what is left.
    """
    box = science.getBBox()
    before = atOrigin(template.maskedImage, science.maskedImage)
    first, second = (before, science.maskedImage) if convolveTemplate else (science.maskedImage, before)
    kernelSum = ratio if convolveTemplate else 1.0 / ratio
    kernel = LinearCombinationKernel(kernelImage[None] * kernelSum, [[1.0]], bbox=box)
    matched = convolveBy(kernel, first, options, threads)
    background = makeSpatialFunction("polynomial", [_level(second, matched)], (0.0, 0.0, 1.0, 1.0))
    if backgroundOrder:
        terms = [_level(second, matched)] + [0.0] * ((backgroundOrder + 1) * (backgroundOrder + 2) // 2 - 1)
        background, _ = refineBackground(
            second, matched, makeSpatialFunction("polynomial", terms, frameOf(box)), threads
        )
    return Struct(
        subtractedExposure=subtractMatched(
            template,
            science,
            matched,
            background,
            isScienceConvolved=not convolveTemplate,
            kernelSum=kernelSum,
            threads=threads,
        ),
        matchedImage=matched,
        matchedExposure=matchedExposure(matched, template, science, isScienceConvolved=not convolveTemplate),
        warpedExposure=template,
        psfMatchingKernel=kernel,
        backgroundModel=background,
        kernelCellSet=SpatialCellSet(box, max(box.width, 1), max(box.height, 1)),
        kernelFit=None,
    )


def _level(image: MaskedImage, matched: MaskedImage) -> float:
    """Return the median of image - matched over pixels good in both."""
    good = ~(image.badPixels(("BAD", "SAT", "NO_DATA")) | matched.badPixels(("BAD", "SAT", "NO_DATA", "EDGE")))
    if not good.any():
        raise InputImagesError("no pixel is good in both images")
    return float(np.median((image.image[good] - matched.image[good])[:: max(1, int(good.sum()) // 500_000)]))


def _centred(image: FloatArray, side: int) -> FloatArray:
    """Return the image cut or padded to side x side, its middle pixel in the middle."""
    result = np.zeros((side, side))
    half = min(side // 2, image.shape[0] // 2, image.shape[1] // 2)
    cy, cx, c = image.shape[0] // 2, image.shape[1] // 2, side // 2
    result[c - half : c + half + 1, c - half : c + half + 1] = image[
        cy - half : cy + half + 1, cx - half : cx + half + 1
    ]
    return result
