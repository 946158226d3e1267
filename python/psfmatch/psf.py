"""Point-spread functions as images, and their sizes.

A PSF is anything with ``computeKernelImage(x, y) -> 2-D array``: its image, centred on the middle pixel, at a
position in parent pixels. Sizes are FWHM in pixels, 2.3548 times the determinant radius
(Ixx Iyy - Ixy^2)^(1/4) of the adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583): second moments under the
Gaussian that matches the object itself, so that noise and neighbours in the wings do not count.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["DoubleGaussianPsf", "GaussianPsf", "ImagePsf", "Psf", "adaptiveMoments", "getFwhmPix", "measureFwhmPix"]

log = logging.getLogger("psfmatch.psf")

FloatArray = npt.NDArray[np.float64]
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
DEFAULT_FWHM_PIX = 3.0
"""FWHM (pixels) assumed for smoothing where nothing is known yet; well-sampled images have 2 to 5."""


@runtime_checkable
class Psf(Protocol):
    """What a PSF offers."""

    def computeKernelImage(self, x: float, y: float) -> npt.NDArray[Any]:
        """Return the PSF at (x, y), parent pixels, centred on the middle pixel, with sum 1."""


class ImagePsf:
    """A PSF given by one image of odd sides, the same everywhere.

    Raises
    ------
    ValueError
        If the image is not 2-D of odd sides, not finite, or does not have a positive sum.
    """

    def __init__(self, image: npt.ArrayLike) -> None:
        pixels = np.array(image, dtype=np.float64)
        if pixels.ndim != 2 or pixels.shape[0] % 2 == 0 or pixels.shape[1] % 2 == 0:
            raise ValueError(f"a PSF image must be 2-D with odd sides, not of shape {pixels.shape}")
        if not np.isfinite(pixels).all() or pixels.sum() <= 0.0:
            raise ValueError("a PSF image must be finite and have a positive sum")
        self._image = pixels / pixels.sum()

    def computeKernelImage(self, x: float, y: float) -> FloatArray:  # noqa: ARG002
        """Return the image; it does not depend on the position."""
        return self._image.copy()


def _gaussian(sigma: float, size: int) -> FloatArray:
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma of a PSF is {sigma} pixels, must be positive")
    offset = np.arange(size) - size // 2
    profile = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.outer(profile, profile)


def _oddSize(sigma: float, size: int | None) -> int:
    return 2 * math.ceil(5.0 * sigma) + 1 if size is None else size


class GaussianPsf(ImagePsf):
    """A round Gaussian of width `sigma` (pixels); `size` (pixels, odd) defaults to 10 sigma."""

    def __init__(self, sigma: float, size: int | None = None) -> None:
        super().__init__(_gaussian(sigma, _oddSize(sigma, size)))
        self.sigma = sigma


class DoubleGaussianPsf(ImagePsf):
    """Two round Gaussians: a core of width `sigma1` and wings of `sigma2` (pixels) with `ratio` of its peak."""

    def __init__(self, sigma1: float, sigma2: float, ratio: float = 0.1, size: int | None = None) -> None:
        side = _oddSize(max(sigma1, sigma2), size)
        super().__init__(_gaussian(sigma1, side) + ratio * _gaussian(sigma2, side))


def adaptiveMoments(
    image: npt.ArrayLike, x: float, y: float, sigma: float = 1.5, maxIterations: int = 50
) -> tuple[float, float, float]:
    """Return (Ixx, Iyy, Ixy) in square pixels of the object near (x, y), array coordinates; NaN if none converges.

    Parameters
    ----------
    image
        Background-free pixels, [y, x].
    x, y
        First guess of the centre in pixels.
    sigma
        First guess of the width in pixels.
    """
    pixels = np.asarray(image, dtype=np.float64)
    gridY, gridX = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    cxx, cyy, cxy = sigma**2, sigma**2, 0.0
    for _ in range(maxIterations):
        determinant = cxx * cyy - cxy**2
        if not (determinant > 0.0 and cxx > 0.0):
            break
        dx, dy = gridX - x, gridY - y
        exponent = (cyy * dx**2 - 2.0 * cxy * dx * dy + cxx * dy**2) / determinant
        weighted = pixels * np.exp(-0.5 * exponent)
        total = weighted.sum()
        if not total > 0.0:
            break
        x += float((weighted * dx).sum() / total)
        y += float((weighted * dy).sum() / total)
        # A Gaussian under its own Gaussian weight has half its second moments.
        new = tuple(2.0 * float((weighted * q).sum() / total) for q in (dx * dx, dy * dy, dx * dy))
        inside = 0.0 <= x < pixels.shape[1] and 0.0 <= y < pixels.shape[0]
        if not inside or max(new[0], new[1]) > max(pixels.shape) ** 2:
            break
        change = max(abs(a - b) for a, b in zip(new, (cxx, cyy, cxy), strict=True))
        cxx, cyy, cxy = new
        if change < 1e-6 * (cxx + cyy):
            return (cxx, cyy, cxy)
    return (math.nan, math.nan, math.nan)


def _fwhmOfMoments(moments: tuple[float, float, float]) -> float:
    determinant = moments[0] * moments[1] - moments[2] ** 2
    return SIGMA_TO_FWHM * determinant**0.25 if determinant > 0.0 else math.nan


def getFwhmPix(psf: Psf, position: tuple[float, float] = (0.0, 0.0)) -> float:
    """Return the FWHM of a PSF in pixels at a position (x, y) in parent pixels.

    Raises
    ------
    ValueError
        If the PSF's image has no measurable core.
    """
    image = np.asarray(psf.computeKernelImage(*position), dtype=np.float64)
    peakY, peakX = np.unravel_index(np.argmax(image), image.shape)
    fwhm = _fwhmOfMoments(adaptiveMoments(image, float(peakX), float(peakY)))
    if not math.isfinite(fwhm):
        raise ValueError(f"the PSF at {position} has no measurable width; check its image of shape {image.shape}")
    return fwhm


def measureFwhmPix(
    image: npt.NDArray[np.float32],
    bad: npt.NDArray[np.bool_],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    radius: int = 15,
    maxStars: int = 100,
) -> float | None:
    """Measure the FWHM of the stars of an image.

    The widths of the sources are taken one by one; stars share one width and galaxies do not, so the mode of the
    widths (half-sample mode) is theirs.

    Parameters
    ----------
    image
        Pixels, [y, x].
    bad
        Pixels not to be used, same shape; a source with one within its core (3 pixels) is left out.
    x, y
        Positions of sources in array coordinates, the best ones first.
    radius
        Half width in pixels of the stamps.
    maxStars
        Number of sources to measure.

    Returns
    -------
    fwhm : float or None
        In pixels; None if no source could be measured.
    """
    widths: list[float] = []
    height, width = image.shape
    for sourceX, sourceY in zip(np.atleast_1d(x), np.atleast_1d(y), strict=True):
        px, py = round(float(sourceX)), round(float(sourceY))
        r = min(radius, px, py, width - 1 - px, height - 1 - py)
        if r < 5:
            continue
        box = (slice(py - r, py + r + 1), slice(px - r, px + r + 1))
        stampBad = bad[box]
        if stampBad[r - 3 : r + 4, r - 3 : r + 4].any():
            continue
        stamp = image[box].astype(np.float64)
        rim = np.ones(stamp.shape, dtype=bool)
        rim[2:-2, 2:-2] = False
        rim &= ~stampBad
        if not rim.any():
            continue
        stamp -= np.median(stamp[rim])
        stamp[stampBad] = 0.0
        fwhm = _fwhmOfMoments(adaptiveMoments(stamp, r + float(sourceX) - px, r + float(sourceY) - py))
        if math.isfinite(fwhm):
            widths.append(fwhm)
        if len(widths) == maxStars:
            break
    return _halfSampleMode(sorted(widths)) if widths else None


def _halfSampleMode(values: list[float]) -> float:
    """Return the mode of sorted values: the densest half of the densest half of ... of them."""
    while len(values) > 3:
        half = (len(values) + 1) // 2
        starts = range(len(values) - half + 1)
        best = min(starts, key=lambda i: values[i + half - 1] - values[i])
        values = values[best : best + half]
    return float(np.median(values))
