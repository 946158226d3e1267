"""The score image: the science image filtered with its own PSF first, and the template matched to that.

The preconvolved science image has a PSF sqrt(2) times as wide, so a template may be blurrier than the science image
without any deconvolution. With P the science PSF (correlation with it), kappa the kernel that matches the template to
the preconvolved image, k its sum, and v the variances of science and template,

    score = Phi (P S - kappa T - background),   Phi = (v_S + v_T k^2) / (v_S + v_T |kappa|^2 / |P|^2)

in Fourier space; Phi(0) = 1. score / sqrt(variance) is the significance of a point source (DMTN-179).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.differencing import frontDoorConfig
from psfmatch.equality import ByValue
from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.imagePsfMatch import ImagePsfMatchConfig, ImagePsfMatchTask
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel, SpatialFunction2D
from psfmatch.photometry import UNUSABLE_PLANES
from psfmatch.psf import NOT_THERE, asPsf, averagePosition, getFwhmPix
from psfmatch.warping import atOrigin

__all__ = ["Score", "computeScore"]

log = logging.getLogger("psfmatch.scoreImage")

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]

MAX_HALF_PIX = 25
TAIL = 1e-3
"""Share of the light that may be cut off with the outer rows of a PSF."""
MAX_CORRECTION_HALF_PIX = 12
CORRECTION_TAIL = 0.02
"""The same of the sum of squares of the correction: what is lost leaves the noise a little correlated, no more."""
MIN_POWER = 1e-10
"""|P|^2 below this is rounding: the filter lets nothing through there."""


@dataclass(frozen=True, eq=False)
class Score(ByValue):
    """A score image and what it was made with.

    score : Exposure with variance and mask, the science image's PSF attached, EDGE on the outer border;
    significance : (h, w), score / sqrt(variance), NaN where the score means nothing;
    fluxScale : score of a point source of flux 1 at its peak, at the middle of the field: flux = score / fluxScale;
    kernel, background : that match the template to the preconvolved science image;
    template : on the science image's pixels; metadata : numbers of the run.
    """

    score: Exposure
    significance: FloatImage
    fluxScale: float
    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    template: Exposure
    metadata: dict[str, Any]


def computeScore(
    template: Exposure,
    science: Exposure,
    psf: Any = None,
    *,
    templateFwhmPix: float | None = None,
    candidateList: Any = None,
    config: ImagePsfMatchConfig | None = None,
    threads: int | None = None,
) -> Score:
    """Make the score image of a pair.

    Parameters
    ----------
    template, science
        Images of the same sky; not changed. The template is warped if its pixels are not the science image's.
    psf
        Of the science image; by default its own. One image of it serves the whole field, that at its average position,
        else at the centre.
    templateFwhmPix
        FWHM in pixels; by default from the template's PSF or its stars.
    candidateList
        Stars to use, as for `psfmatch.subtract`; by default they are found on the science image.
    config
        Of the matching; `psfmatch.frontDoorConfig` by default.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    score : Score

    Raises
    ------
    ValueError
        If there is no PSF, its image is not of odd sides, or nowhere defined.
    InputImagesError
        If the images do not overlap, or are smaller than the kernels.
    NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError
        As for `psfmatch.subtract`.
    """
    psf = science.psf if psf is None else psf
    if psf is None:
        raise ValueError("the science image has no PSF; give psf=, for example psfFromStars(science)")
    image = _typicalImage(psf, science)
    scienceFwhm = getFwhmPix(image)
    task = ImagePsfMatchTask(config=config or frontDoorConfig(), threads=threads)
    _requireLarger(science.maskedImage, max(image.shape))
    warped = task.registerTemplate(template, science)
    registered = atOrigin(warped.maskedImage, science.maskedImage)
    sources = task.getSelectSources(science, scienceFwhm / 2.3548) if candidateList is None else candidateList
    templateFwhm, _ = task.measureFwhms(warped, science, sources, templateFwhmPix, scienceFwhm)
    filled = EdgeHandling(copyEdge=True, badPlanes=UNUSABLE_PLANES)
    preconvolving = LinearCombinationKernel(image[np.newaxis], [[1.0]])
    preconvolved = preconvolving.convolve(science.maskedImage, filled, threads=task.threads)
    fit = task.matchMaskedImages(registered, preconvolved, sources, templateFwhm, math.sqrt(2.0) * scienceFwhm)
    kernel = fit.psfMatchingKernel

    # The correction goes over the difference, so that cutting its tails leaves no star behind.
    difference = preconvolved.copy()
    difference -= fit.matchedImage
    difference -= lambda x, y: fit.backgroundModel(x, y)
    centre = science.getBBox().centre
    variances = _typicalVariance(science.maskedImage), _typicalVariance(registered)
    filters = _filters(image, kernel, centre, variances)
    _requireLarger(
        science.maskedImage, max(max(one.shape) for one in (filters.correction, filters.science, filters.template))
    )
    pixels = filters.correction.convolve(difference, filled, threads=task.threads)
    # Of the inputs themselves: the difference's pixels are correlated.
    pixels.variance = (
        filters.science.convolve(science.maskedImage, filled, threads=task.threads).variance
        + filters.template.convolve(registered, filled, threads=task.threads).variance
    )
    isUsable = ~pixels.badPixels(UNUSABLE_PLANES) & (pixels.variance > 0.0)
    significance = np.full(pixels.shape, np.nan, dtype=np.float32)
    np.divide(pixels.image, np.sqrt(np.maximum(pixels.variance, 0.0)), out=significance, where=isUsable)
    score = Exposure(pixels, science.coordinates, psf, science.photoCalib, science.filter, dict(science.metadata))
    metadata = dict(task.metadata)
    metadata["preconvolvedSciencePsfSize"] = math.sqrt(2.0) * scienceFwhm
    metadata["nInterpolated"] = int(np.count_nonzero(science.maskedImage.badPixels(UNUSABLE_PLANES)))
    log.info("Score image: %.1f %% of the pixels have a significance", 100.0 * float(isUsable.mean()))
    return Score(score, significance, filters.response, kernel, fit.backgroundModel, warped, metadata)


def _typicalImage(psf: Any, exposure: Exposure) -> FloatArray:
    """Return the PSF's image where it is typical, of odd sides, unit sum, and no wider than is good for a filter."""
    model = asPsf(psf)
    position = averagePosition(model) or exposure.getBBox().centre
    try:
        image = np.asarray(model.computeKernelImage(*position), dtype=np.float64)
    except NOT_THERE as error:
        raise ValueError(f"the PSF is not defined at ({position[0]:.1f}, {position[1]:.1f}): {error}") from error
    if image.ndim != 2 or image.shape[0] % 2 == 0 or image.shape[1] % 2 == 0:
        raise ValueError(f"the image of the PSF has shape {image.shape}; its sides must be odd")
    image = _trimmed(image)
    return image / float(image.sum())


def _requireLarger(maskedImage: MaskedImage, side: int) -> None:
    """Raise InputImagesError if a filter does not fit onto an image."""
    if min(maskedImage.shape) < side:
        raise InputImagesError(
            f"images of {maskedImage.width}x{maskedImage.height} pixels are smaller than the filters of {side}x{side}; "
            "use larger cut-outs",
            shape=maskedImage.shape,
            filterSize=side,
        )


def _typicalVariance(maskedImage: MaskedImage) -> float:
    """Return the median variance of the usable pixels."""
    isGood = ~maskedImage.badPixels(UNUSABLE_PLANES)
    if not isGood.any():
        raise InputImagesError(f"no pixel of {maskedImage.getBBox()} can be used", nPixels=maskedImage.image.size)
    return float(np.median(maskedImage.variance[isGood]))


@dataclass(frozen=True)
class _Filters:
    """correction : Phi; science, template : what a pixel of the score holds of each; response : to a unit source."""

    correction: LinearCombinationKernel
    science: LinearCombinationKernel
    template: LinearCombinationKernel
    response: float


def _filters(
    image: FloatArray, kernel: LinearCombinationKernel, centre: tuple[float, float], variances: tuple[float, float]
) -> _Filters:
    """Return the filters for a PSF's image; Phi is that of the kernel at the middle of the field."""
    basis = kernel.basis
    side = 4 * (MAX_HALF_PIX + max(*image.shape, *basis.shape[1:]) // 2)
    forPsf, forKernel = _transform(image, side), _transform(kernel.computeImage(*centre), side)
    v, t = variances
    total = kernel.kernelSum(*centre)
    power = np.abs(forPsf) ** 2
    phi = np.ones_like(power)
    if v + t > 0.0:
        # Multiplied by |P|^2: nothing is divided by what may vanish.
        denominator = v * power + t * np.abs(forKernel) ** 2
        phi[:] = 0.0
        isKnown = (power > MIN_POWER) & (denominator > 0.0)
        np.divide((v + t * total**2) * power, denominator, out=phi, where=isKnown)
    drawn = _image(phi.astype(np.complex128), side)
    half = _halfNeeded(drawn)
    correction = _middle(drawn, half)
    correction /= correction.sum()
    forPhi = _transform(correction, side)
    scienceFilter = _image(forPsf * forPhi, side)
    # A star of flux 1 is P itself, and the filter a correlation with it.
    response = float((scienceFilter * _image(forPsf, side)).sum())
    wide = half + max(*image.shape, *basis.shape[1:]) // 2
    return _Filters(
        LinearCombinationKernel(correction[np.newaxis], [[1.0]]),
        LinearCombinationKernel(_middle(scienceFilter, wide)[np.newaxis], [[1.0]]),
        LinearCombinationKernel(
            np.array([_middle(_image(_transform(one, side) * forPhi, side), wide) for one in basis]),
            kernel.scaledParameters,
            kernel.model,
            frame=kernel.frame,
        ),
        response,
    )


def _middle(image: FloatArray, half: int) -> FloatArray:
    """Return the square of half side `half` about pixel side // 2."""
    cut = slice(image.shape[0] // 2 - half, image.shape[0] // 2 + half + 1)
    return image[cut, cut].copy()


def _transform(image: FloatArray, side: int) -> npt.NDArray[np.complex128]:
    """Return the transform (side, side) of an image whose middle pixel is the origin."""
    padded = np.zeros((side, side))
    padded[: image.shape[0], : image.shape[1]] = image
    return np.fft.fft2(np.roll(padded, (-(image.shape[0] // 2), -(image.shape[1] // 2)), axis=(0, 1)))


def _image(transform: npt.NDArray[np.complex128], side: int) -> FloatArray:
    """Return the image of a transform, the origin at pixel side // 2."""
    return np.roll(np.fft.ifft2(transform).real, side // 2, axis=(0, 1))


def _halfNeeded(image: FloatArray) -> int:
    """Return the half side of the square about pixel side // 2 that holds enough of a correction."""
    middle = image.shape[0] // 2
    offset = np.abs(np.arange(image.shape[0]) - middle)
    ring = np.maximum(offset[:, np.newaxis], offset)
    held = np.cumsum(np.bincount(ring.ravel(), image.ravel() ** 2))
    return int(min(MAX_CORRECTION_HALF_PIX, max(1, np.searchsorted(held, (1.0 - CORRECTION_TAIL) * held[-1]))))


def _trimmed(image: FloatArray) -> FloatArray:
    """Return an image cut about its middle to at most `MAX_HALF_PIX` and to all but a trifle of its light."""
    rows, columns = (side // 2 for side in image.shape)
    reach = min(rows, columns)
    square = image[rows - reach : rows + reach + 1, columns - reach : columns + reach + 1]
    held = [float(np.abs(square[reach - r : reach + r + 1, reach - r : reach + r + 1]).sum()) for r in range(reach + 1)]
    half = min(int(np.searchsorted(held, (1.0 - TAIL) * held[-1])), MAX_HALF_PIX)
    return square[reach - half : reach + half + 1, reach - half : reach + half + 1]
