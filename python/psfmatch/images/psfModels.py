"""What a PSF is, and models that are the same everywhere: an image, one or two Gaussians."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from psfmatch.config.equality import ByValue

__all__ = ["DoubleGaussianPsf", "GaussianPsf", "ImagePsf", "Psf", "normalizedImage"]

FloatArray = npt.NDArray[np.float64]


@runtime_checkable
class Psf(Protocol):
    """What a PSF offers."""

    def computeKernelImage(self, x: float, y: float) -> npt.NDArray[Any]:
        """Return the PSF at (x, y), parent pixels, centred on the middle pixel, with sum 1."""


def normalizedImage(image: npt.ArrayLike) -> FloatArray:
    """Return the image of a PSF with sum 1, as float64; ValueError unless it is one."""
    pixels = np.array(image, dtype=np.float64)
    if pixels.ndim != 2 or pixels.shape[0] % 2 == 0 or pixels.shape[1] % 2 == 0:
        raise ValueError(f"a PSF image must be 2-D with odd sides, not of shape {pixels.shape}")
    if not np.isfinite(pixels).all() or pixels.sum() <= 0.0:
        raise ValueError("a PSF image must be finite and have a positive sum")
    pixels /= pixels.sum()
    return pixels


class ImagePsf(ByValue):
    """A PSF given by one image of odd sides, the same everywhere.

    Raises
    ------
    ValueError
        If the image is not 2-D of odd sides, not finite, or does not have a positive sum.
    """

    def __init__(self, image: npt.ArrayLike) -> None:
        self._image = normalizedImage(image)

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the image; it does not depend on the position."""
        return self._image.copy()


def _gaussian(sigma: float, size: int) -> FloatArray:
    """Return a Gaussian of integral 1, integrated over each of size x size pixels."""
    offset = np.arange(size) - size // 2
    edges = np.append(offset - 0.5, size // 2 + 0.5 if size % 2 else size // 2 - 0.5) / (math.sqrt(2.0) * sigma)
    # Differences of the complement keep their digits in the wings, where the error function is 1.
    outer = np.array([math.erfc(abs(edge)) for edge in edges])
    below = np.where(edges < 0.0, outer, 2.0 - outer)
    above = np.where(edges < 0.0, 2.0 - outer, outer)
    profile = 0.5 * np.where(edges[:-1] < 0.0, np.diff(below), -np.diff(above))
    image: FloatArray = profile[:, np.newaxis] * profile
    return image


def _oddSize(sigma: float, size: int | None) -> int:
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma of a PSF is {sigma} pixels, must be positive")
    return 2 * math.ceil(5.0 * sigma) + 1 if size is None else size


class GaussianPsf(ImagePsf):
    """A round Gaussian of width `sigma` (pixels), integrated over pixels; `size` (pixels, odd) defaults to 10 sigma."""

    def __init__(self, sigma: float, size: int | None = None) -> None:
        super().__init__(_gaussian(sigma, _oddSize(sigma, size)))
        self.sigma = sigma


class DoubleGaussianPsf(ImagePsf):
    """Two round Gaussians, integrated over pixels.

    A core of width `sigma1`, and wings of `sigma2` (pixels) with `ratio` of its peak, before the pixels.
    """

    def __init__(self, sigma1: float, sigma2: float, ratio: float = 0.1, size: int | None = None) -> None:
        side = max(_oddSize(sigma, size) for sigma in (sigma1, sigma2))
        super().__init__(_gaussian(sigma1, side) + ratio * (sigma2 / sigma1) ** 2 * _gaussian(sigma2, side))
