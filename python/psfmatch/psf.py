"""Point-spread functions as images, and their sizes.

A PSF is anything with ``computeKernelImage(x, y) -> 2-D array``: its image, centred on the middle pixel, at a
position in parent pixels. Sizes are FWHM in pixels, 2.3548 times the determinant radius
(Ixx Iyy - Ixy^2)^(1/4) of the adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583): second moments under the
Gaussian that matches the object itself, so that noise and neighbours in the wings do not count.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from psfmatch.exposure import Exposure

__all__ = [
    "DoubleGaussianPsf",
    "GaussianPsf",
    "ImagePsf",
    "Psf",
    "adaptiveMoments",
    "getFwhmPix",
    "measureWidths",
    "selectStarWidths",
]

log = logging.getLogger("psfmatch.psf")

FloatArray = npt.NDArray[np.float64]
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
MIN_FWHM_PIX = 1.2
"""Narrower than this (pixels) are hot pixels and cosmic rays, not stars."""
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
        self._image: FloatArray = pixels / pixels.sum()

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the image; it does not depend on the position."""
        return self._image.copy()


def _gaussian(sigma: float, size: int) -> FloatArray:
    offset = np.arange(size) - size // 2
    profile = np.exp(-0.5 * (offset / sigma) ** 2)
    image: FloatArray = profile[:, np.newaxis] * profile
    return image


def _oddSize(sigma: float, size: int | None) -> int:
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma of a PSF is {sigma} pixels, must be positive")
    return 2 * math.ceil(5.0 * sigma) + 1 if size is None else size


class GaussianPsf(ImagePsf):
    """A round Gaussian of width `sigma` (pixels); `size` (pixels, odd) defaults to 10 sigma."""

    def __init__(self, sigma: float, size: int | None = None) -> None:
        super().__init__(_gaussian(sigma, _oddSize(sigma, size)))
        self.sigma = sigma


class DoubleGaussianPsf(ImagePsf):
    """Two round Gaussians: a core of width `sigma1` and wings of `sigma2` (pixels) with `ratio` of its peak."""

    def __init__(self, sigma1: float, sigma2: float, ratio: float = 0.1, size: int | None = None) -> None:
        side = max(_oddSize(sigma, size) for sigma in (sigma1, sigma2))
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


def _coreMoments(image: FloatArray, x: int, y: int, radius: int = 3) -> tuple[float, float, float]:
    core = image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
    gridY, gridX = np.mgrid[: core.shape[0], : core.shape[1]]
    total = core.sum()
    if not total > 0.0:
        return (math.nan, math.nan, math.nan)
    dx, dy = gridX - (core * gridX).sum() / total, gridY - (core * gridY).sum() / total
    return tuple(float((core * q).sum() / total) for q in (dx * dx, dy * dy, dx * dy))  # type: ignore[return-value]


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
        # Too few pixels for the weight to settle: plain moments of the core serve an undersampled PSF.
        fwhm = _fwhmOfMoments(_coreMoments(image, int(peakX), int(peakY)))
    if not math.isfinite(fwhm):
        raise ValueError(f"the PSF at {position} has no measurable width; check its image of shape {image.shape}")
    return fwhm


def findFwhms(
    exposures: Mapping[str, Exposure],
    given: Mapping[str, float | None],
    positions: FloatArray | None,
    badPlanes: Iterable[str],
) -> dict[str, float | None]:
    """Return the FWHM (pixels) of each exposure: as given, of its PSF, or of its stars; None where nothing tells.

    Parameters
    ----------
    exposures, given
        Registered images, and what is known of their widths, by name.
    positions : (N, 2)
        x and y of sources in array coordinates.
    badPlanes
        Mask planes of pixels that are not to be used.

    Raises
    ------
    ValueError
        If a given width is not a positive number, or a PSF has no width.
    """
    fwhms: dict[str, float | None] = {}
    for which, exposure in exposures.items():
        fwhm = given[which]
        if fwhm is not None and not (math.isfinite(fwhm) and fwhm > 0.0):
            raise ValueError(f"{which}FwhmPix is {fwhm}; a FWHM must be a positive number of pixels, or None")
        if fwhm is None and exposure.psf is not None:
            fwhm = getFwhmPix(exposure.psf, exposure.getBBox().centre)
        fwhms[which] = fwhm
    if None in fwhms.values() and positions is not None:
        planes = tuple(badPlanes)
        images = [(exposure.image, exposure.maskedImage.badPixels(planes)) for exposure in exposures.values()]
        measured = starFwhms(*images, positions=positions)
        fwhms = {which: measured[i] if fwhms[which] is None else fwhms[which] for i, which in enumerate(fwhms)}
    return fwhms


def starFwhms(
    *images: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]], positions: FloatArray
) -> list[float | None]:
    """Measure the FWHM of the stars of one or several registered images.

    Parameters
    ----------
    *images
        Pixels and bad pixels of each image, both [y, x].
    positions : (N, 2)
        x and y of sources in array coordinates. Which of them are stars is judged by all images together.

    Returns
    -------
    fwhms
        Median over the stars, in pixels, for each image; None where no source could be measured.
    """
    widths = [measureWidths(image, bad, positions[:, 0], positions[:, 1]) for image, bad in images]
    stars = selectStarWidths(np.exp(np.mean(np.log(widths), axis=0)))
    if not stars.any():
        # No source can be measured in all of them: each image for itself.
        return [float(np.median(own[selectStarWidths(own)])) if selectStarWidths(own).any() else None for own in widths]
    return [float(np.median(own[stars])) for own in widths]


def measureWidths(
    image: npt.NDArray[np.float32],
    bad: npt.NDArray[np.bool_],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    radius: int = 15,
) -> FloatArray:
    """Measure the FWHM of every source of a list.

    Parameters
    ----------
    image
        Pixels, [y, x].
    bad
        Pixels not to be used, same shape; a source with one within its core (3 pixels) is not measured.
    x, y
        Positions of N sources in array coordinates.
    radius
        Half width in pixels of the stamps.

    Returns
    -------
    widths : (N,)
        In pixels; NaN where a source cannot be measured.
    """
    xs, ys = np.atleast_1d(np.asarray(x, dtype=float)), np.atleast_1d(np.asarray(y, dtype=float))
    return np.array([_widthOf(image, bad, sx, sy, radius) for sx, sy in zip(xs, ys, strict=True)])


def _widthOf(image: npt.NDArray[np.float32], bad: npt.NDArray[np.bool_], x: float, y: float, radius: int) -> float:
    if not (math.isfinite(x) and math.isfinite(y)):
        return math.nan
    height, width = image.shape
    px, py = math.floor(x + 0.5), math.floor(y + 0.5)
    r = min(radius, px, py, width - 1 - px, height - 1 - py)
    if r < 5:
        return math.nan
    box = (slice(py - r, py + r + 1), slice(px - r, px + r + 1))
    stampBad = bad[box]
    rim = np.ones(stampBad.shape, dtype=bool)
    rim[2:-2, 2:-2] = False
    rim &= ~stampBad
    if stampBad[r - 3 : r + 4, r - 3 : r + 4].any() or not rim.any():
        return math.nan
    stamp = image[box].astype(np.float64)
    stamp -= np.median(stamp[rim])
    stamp[stampBad] = 0.0
    return _fwhmOfMoments(adaptiveMoments(stamp, r + x - px, r + y - py))


def selectStarWidths(widths: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which of N widths belong to stars: the narrowest width that many sources share.

    Stars have one width; galaxies have many, all larger; artefacts are narrower but few. So of all groups of widths
    that agree within 6 % the narrowest one is taken that has at least three members and a quarter of those of
    the largest group (or the largest group, where none has three).
    """
    values = np.asarray(widths, dtype=np.float64)
    usable = np.isfinite(values) & (values > MIN_FWHM_PIX)
    if not usable.any():
        return usable
    logs = np.where(usable, np.log(np.where(usable, values, 1.0)), np.inf)
    ordered = np.sort(logs[usable])
    counts = np.searchsorted(ordered, ordered + 0.06, "right") - np.searchsorted(ordered, ordered - 0.06, "left")
    enough = counts >= min(counts.max(), max(3, 0.25 * counts.max()))
    first = int(np.argmax(enough))
    # From the edge of the group to its middle: the fullest window that begins inside the first.
    nearby = (ordered <= ordered[first] + 0.12) & enough
    centre = ordered[nearby][np.argmax(counts[nearby])]
    return np.asarray(usable & (np.abs(logs - centre) <= 0.06))
