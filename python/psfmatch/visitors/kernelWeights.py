"""How much the kernel of each star may say about what the kernels of a field have in common.

Kernels of single stars are noisy: of faint stars they are little else, and what galaxies tell is smooth. Components of
equal weight would be components of that noise, so each kernel weighs by the inverse of its variance: the template's
fine structure, squared, over the noise. What deviates from the common kernel by much more than well-known kernels do,
whatever the reason (a galaxy, a blend, a star that varies), weighs by its deviation instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.cells import KernelCandidate

__all__ = ["StampSharpness", "kernelWeights", "measureSharpness"]

FloatArray = npt.NDArray[np.float64]

SMOOTHING_SIDE = 5
"""Side of the square (pixels) whose mean is taken off to leave the fine structure."""
PSF_SIDE = 15
"""Side of the stack of stars (pixels) under which kernels are compared."""
WELL_KNOWN = 1.0 / 3.0
"""Part of the kernels, those of the largest information, that says how far good kernels deviate."""
MIN_WELL_KNOWN = 10
"""Fewer kernels than this say nothing about deviations."""
MAX_DEVIATION = 4.0
"""Times the median squared deviation of well-known kernels."""


@dataclass(frozen=True, eq=False)
class StampSharpness:
    """What the stamps of a candidate tell about its kernel.

    power : sum of the squared fine structure of the template, variances : median of the template's and the science
    stamp's (image units squared), star : the template's middle, (15, 15) or less, of sum 1; None without light.
    """

    power: float
    variances: tuple[float, float]
    star: FloatArray | None

    def information(self, kernelSum: float) -> float:
        """Return the inverse variance of a pixel of the kernel over its sum."""
        variance = self.variances[1] + kernelSum**2 * self.variances[0]
        return kernelSum**2 * self.power / variance if variance > 0.0 else kernelSum**2 * self.power


def measureSharpness(candidate: KernelCandidate) -> StampSharpness:
    """Measure the stamps of a candidate; bad pixels count as sky."""
    template, science = candidate.templateMaskedImage, candidate.scienceMaskedImage
    planes = candidate.config.badPlanes()
    good = ~(template.badPixels(planes) | science.badPixels(planes))
    if not good.any():
        return StampSharpness(0.0, (1.0, 1.0), None)
    light = np.where(good, template.image, 0.0).astype(np.float64)
    light = np.where(good, light - np.median(light[good]), 0.0)
    side = min(SMOOTHING_SIDE, *light.shape)
    half = side // 2
    smooth = np.lib.stride_tricks.sliding_window_view(light, (side, side)).mean(axis=(2, 3))
    fine = light[half : half + smooth.shape[0], half : half + smooth.shape[1]] - smooth
    variances = (float(np.median(plane[good])) for plane in (template.variance, science.variance))
    reach = (min(PSF_SIDE, *light.shape) - 1) // 2
    y, x = light.shape[0] // 2, light.shape[1] // 2
    star = light[y - reach : y + reach + 1, x - reach : x + reach + 1]
    total = float(star.sum())
    templateVariance, scienceVariance = variances
    return StampSharpness(
        float((fine**2).sum()), (templateVariance, scienceVariance), star / total if total > 0.0 else None
    )


def kernelWeights(
    images: FloatArray, sharpness: Sequence[StampSharpness], kernelSums: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return the weights (N,), of mean 1, of N kernels.

    Parameters
    ----------
    images : (N, h, w)
        Kernels, each of sum 1.
    sharpness, kernelSums
        Of their candidates.
    """
    information = np.array([s.information(k) for s, k in zip(sharpness, kernelSums, strict=True)])
    if not information.any():
        return np.ones(len(images))
    count = max(MIN_WELL_KNOWN, round(WELL_KNOWN * len(images)))
    stars = [s.star for s in sharpness if s.star is not None]
    stars = [star for star in stars if star.shape == stars[0].shape]
    weights = information
    if len(images) >= MIN_WELL_KNOWN and stars:
        known = np.argsort(-information, kind="stable")[:count]
        deviation = _deviations(images - np.median(images[known], axis=0), np.median(stars, axis=0))
        typical = float(np.median(deviation * information))
        isOff = deviation > MAX_DEVIATION * np.median(deviation[known])
        with np.errstate(divide="ignore"):
            weights = np.where(isOff & (typical > 0.0), 1.0 / (1.0 / information + deviation / typical), information)
    return np.asarray(weights / weights.mean())


def _deviations(images: FloatArray, star: FloatArray) -> FloatArray:
    """Return the sum of squares of each image (N, h, w) convolved with a star: what a difference would show of it."""
    shape = (images.shape[1] + star.shape[0] - 1, images.shape[2] + star.shape[1] - 1)
    convolved = np.fft.irfft2(np.fft.rfft2(images, shape) * np.fft.rfft2(star, shape), shape)
    squares: FloatArray = (convolved**2).sum(axis=(1, 2))
    return squares
