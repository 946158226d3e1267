"""Differences without a fitted kernel: the last rungs of the ladder, for fields with too few stars.

Both know the flux ratio from the photometric calibrations, else from the light of the sources that there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.cells import SpatialCellSet
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, makeSpatialFunction
from psfmatch.psf import asPsf
from psfmatch.recipe import edgeHandlingOf
from psfmatch.subtraction import subtractMatched
from psfmatch.task import Struct
from psfmatch.warping import atOrigin

__all__ = ["byPsfModels", "byScale"]

FloatArray = npt.NDArray[np.float64]
NOISE_FLOOR = 1e-3
"""Of the power of the narrower PSF: frequencies below it are not divided (Wiener filter)."""
APERTURE = 7  # px, half side
SKY_RING = 5
"""Pixels about the aperture that tell the sky in it."""
MIN_SNR = 10.0
MAX_RATIOS = 50
"""Sources that tell the flux ratio."""


def byPsfModels(
    template: Exposure, science: Exposure, sources: Any, convolveTemplate: bool, config: Any, threads: int
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
    side = min(side + 1 - side % 2, config.kernelSizeMax | 1)
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
    return _subtract(template, science, kernel / total, ratio, convolveTemplate, config, threads)


def byScale(
    template: Exposure, science: Exposure, sources: Any, convolveTemplate: bool, config: Any, threads: int
) -> Struct:
    """Subtract the template times the flux ratio, PSFs as they are.

    Raises
    ------
    InputImagesError
        If nothing tells the flux ratio.
    """
    return _subtract(
        template, science, np.ones((1, 1)), _fluxRatio(template, science, sources), convolveTemplate, config, threads
    )


def _fluxRatio(template: Exposure, science: Exposure, sources: Any) -> float:
    """Return science counts per template count."""
    if template.photoCalib and science.photoCalib:
        return float(template.photoCalib) / float(science.photoCalib)
    before = atOrigin(template.maskedImage, science.maskedImage)
    x0, y0 = science.xy0
    ratios, nTried = [], 0
    bright = sources[np.asarray(sources["snr"]) > MIN_SNR][:MAX_RATIOS]
    for x, y in zip(bright["x"], bright["y"], strict=True):
        nTried += 1
        column, row = round(float(x)) - x0, round(float(y)) - y0
        top, left = max(0, row - APERTURE - SKY_RING), max(0, column - APERTURE - SKY_RING)
        part = np.s_[top : row + APERTURE + SKY_RING + 1, left : column + APERTURE + SKY_RING + 1]
        good = np.ones(before.image[part].shape, dtype=bool)
        for image in (science.maskedImage, before):
            good &= np.isfinite(image.image[part])
            good &= (np.asarray(image.mask)[part] & image.mask.getPlaneBitMask(("SAT", "NO_DATA"))) == 0
        isRow = np.abs(np.arange(len(good)) + top - row) <= APERTURE
        isColumn = np.abs(np.arange(len(good.T)) + left - column) <= APERTURE
        inside = isRow[:, np.newaxis] & isColumn
        light = []
        for image in (science.maskedImage, before):
            pixels, variance = image.image[part].astype(np.float64), image.variance[part]
            if min((good & inside).sum(), (good & ~inside).sum()) < 30:
                light.append(math.nan)
                continue
            noise = math.sqrt(max(float(np.nansum(variance[good & inside])), 0.0))
            level = float((pixels[good & inside] - np.median(pixels[good & ~inside])).sum())
            light.append(level if level > 5.0 * noise else math.nan)
        if math.isfinite(light[0]) and math.isfinite(light[1]):
            ratios.append(light[0] / light[1])
    # Of images of different skies a few sources lie upon another by chance.
    if 2 * len(ratios) <= nTried:
        raise InputImagesError(
            f"nothing tells the flux ratio: no photometric calibration of both images, and {len(ratios)} of {nTried} "
            "sources stand out in both by 5 sigma"
        )
    return float(np.median(ratios))


def _subtract(
    template: Exposure,
    science: Exposure,
    kernelImage: FloatArray,
    ratio: float,
    convolveTemplate: bool,
    config: Any,
    threads: int,
) -> Struct:
    box = science.getBBox()
    before = atOrigin(template.maskedImage, science.maskedImage)
    first, second = (before, science.maskedImage) if convolveTemplate else (science.maskedImage, before)
    kernelSum = ratio if convolveTemplate else 1.0 / ratio
    kernel = LinearCombinationKernel(kernelImage[None] * kernelSum, [[1.0]], bbox=box)
    matched = kernel.convolve(first, edgeHandlingOf(config), threads=threads)
    background = makeSpatialFunction("polynomial", [_level(second, matched)], (0.0, 0.0, 1.0, 1.0))
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
        matchedExposure=Exposure(matched, wcs=science.wcs, photoCalib=science.photoCalib, filter=template.filter),
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
