"""How significant a point source at every pixel would be: the matched filter, and its peaks.

S(x) = sum P w d / sqrt(sum P^2 w^2 v), P the PSF at x, d the image, v its variance, w = 1 / v smoothed (Horne 1986,
PASP 98, 609). Variance planes are often made of the noisy pixels themselves; with weights of single such pixels, high
ones count less than low ones, and every flux comes out too small by some 1 / (gain sum P^2). Smoothing ends that, and
the error is that of the weights used.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.errors import InputImagesError
from psfmatch.images import MaskedImage
from psfmatch.images.medians import madSigma
from psfmatch.images.weightImage import UNUSABLE_PLANES, weightImage
from psfmatch.kernels import EdgeHandling
from psfmatch.kernels.psfField import PsfField

__all__ = [
    "UNUSABLE_PLANES",
    "NoiseScale",
    "Peaks",
    "Significance",
    "findPeaks",
    "fluxImage",
    "significanceImage",
    "weightImage",
]

log = logging.getLogger("psfmatch.significance")

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

BLANK_VARIANCE = 1.1
"""Pixels of at most this many times the median variance show the sky."""
SOURCE_WIDTHS = 5.0
MIN_BLANK = 0.05
"""If less than this share of the sky is free of sources, all of it must do."""
LEAST_SCALE = 0.1
"""A narrower significance is that of an image without noise, and its rounding errors are no sources."""
MAX_SAMPLES = 250_000
NOISE_ERRORS = 3.0
"""A width of the significance that differs from 1 by less than this many of its errors is left alone."""


@dataclass(frozen=True)
class NoiseScale:
    """Robust width of the significance on blank sky, ideally 1.

    measured, error : the width (NaN: no pixel to tell) and its standard deviation; nPixels : on which it was measured;
    applied : what errors are multiplied with: the width where it differs from 1 beyond its error, else 1; and 1 for an
    image without noise.
    """

    measured: float
    error: float
    nPixels: int
    applied: float


@dataclass(frozen=True)
class Significance:
    """Significance of a point source at every pixel, of either sign, in true standard deviations.

    image : (h, w), 0 where nothing is known; weight : 1 / smoothed variance, (h, w), 0 for pixels that cannot be used;
    variance : (h, w), of sum P w d; noise : what the significance was divided by; psf : that of the sources; floor :
    (h, w), error of a point source's flux beyond its noise, which the significance includes; None: there is none.
    """

    image: FloatImage
    weight: FloatImage
    variance: FloatImage
    noise: NoiseScale
    psf: PsfField
    floor: FloatImage | None = None


@dataclass(frozen=True)
class Peaks:
    """Pixels where the significance has an extremum: x, y array coordinates, value with its sign; each (n,)."""

    x: IntArray
    y: IntArray
    value: npt.NDArray[np.float64]


def significanceImage(
    maskedImage: MaskedImage,
    psf: PsfField,
    badPlanes: Iterable[str] = UNUSABLE_PLANES,
    threads: int | None = None,
    floor: FloatImage | None = None,
) -> Significance:
    """Filter an image with its PSF.

    Parameters
    ----------
    maskedImage
        Image without background, usually a difference; not changed.
    psf
        Of the sources, over the image's box.
    badPlanes
        Mask planes whose pixels count as not measured.
    threads
        Number of threads; the result does not depend on it.
    floor : (h, w), optional
        Error of a point source's flux at every pixel beyond its noise, in image units: one standard deviation.

    Raises
    ------
    InputImagesError
        If no pixel can be used.
    """
    weight = weightImage(maskedImage, badPlanes, threads)
    isGood = weight > 0.0
    nGood = int(np.count_nonzero(isGood))
    if nGood == 0:
        raise InputImagesError(
            f"none of the {weight.size} pixels of {maskedImage.getBBox()} can be used: all are masked "
            f"({', '.join(badPlanes)}), not finite, or without positive variance; check mask and variance plane",
            nPixels=weight.size,
        )
    # What is not usable may be infinite.
    light, noise2 = np.zeros_like(weight), np.zeros_like(weight)
    np.multiply(maskedImage.image, weight, out=light, where=isGood)
    np.multiply(maskedImage.variance, weight, out=noise2, where=isGood)
    noise2 *= weight
    image, variance = _filtered(psf, light, noise2, maskedImage.xy0, threads)
    # Far from every usable pixel transforms leave rounding in place of zero.
    least = 1e-6 * float(np.median(variance[isGood]))
    ratio = np.zeros_like(weight)
    np.divide(image, np.sqrt(np.maximum(variance, 0.0)), out=ratio, where=variance > least)
    noise = _noiseScale(ratio, weight, psf)
    if noise.applied != 1.0:
        log.warning(
            "Significance on blank sky scatters by %.3f +/- %.3f, not by 1: the variance plane is not that of the "
            "noise (correlated noise, or not rescaled); all errors are multiplied by it",
            noise.measured,
            noise.error,
        )
        ratio /= np.float32(noise.applied)
    if floor is not None:
        # sum P^2 w brings a flux to the units of sum P w d.
        _, information = _filtered(psf, np.zeros_like(weight), weight, maskedImage.xy0, threads)
        own = np.sqrt(np.maximum(variance, 0.0)) * np.float32(noise.applied)
        ratio *= np.divide(own, np.hypot(own, floor * information), out=np.ones_like(own), where=own > 0.0)
    return Significance(ratio, weight, variance, noise, psf, floor)


def fluxImage(found: Significance, minCoverage: float, threads: int | None = None) -> tuple[FloatImage, FloatImage]:
    """Return the flux (h, w) of a point source at every pixel, F = sum P w d / sum P^2 w, and its error with the floor.

    Parameters
    ----------
    found
        Significance of the image.
    minCoverage
        Share of sum P^2 on usable pixels below which the flux is NaN and its error infinite.
    threads
        Number of threads; the result does not depend on it.
    """
    isGood = (found.weight > 0.0).astype(np.float32)
    nothing, xy0 = np.zeros_like(isGood), (found.psf.box.x0, found.psf.box.y0)
    _, information = _filtered(found.psf, nothing, found.weight, xy0, threads)
    _, coverage = _filtered(found.psf, nothing, isGood, xy0, threads)
    isKnown = (coverage * found.psf.noiseArea >= minCoverage) & (information > 0.0)
    flux, error = np.full_like(isGood, np.nan), np.full_like(isGood, np.inf)
    np.divide(np.sqrt(np.maximum(found.variance, 0.0)), information, out=error, where=isKnown)
    error *= np.float32(found.noise.applied)
    if found.floor is not None:
        np.hypot(error, found.floor, out=error, where=isKnown)
    np.multiply(found.image, error, out=flux, where=isKnown)
    return flux, error


def _filtered(
    psf: PsfField, image: FloatImage, variance: FloatImage, xy0: tuple[int, int], threads: int | None
) -> tuple[FloatImage, FloatImage]:
    """Return the sums P image and P^2 variance about every pixel; beyond the border there is nothing."""
    border = psf.half
    height, width = image.shape
    planes = [np.pad(plane, border) for plane in (image, variance)]
    padded = MaskedImage(planes[0], variance=planes[1], xy0=(xy0[0] - border, xy0[1] - border))
    filtered = psf.kernel.convolve(padded, EdgeHandling(badPlanes=()), threads=threads)
    inner = np.s_[border : border + height, border : border + width]
    return filtered.image[inner], filtered.variance[inner]


def _noiseScale(ratio: FloatImage, weight: FloatImage, psf: PsfField) -> NoiseScale:
    """Measure the scatter of a significance where the variance is that of the sky and no source shows."""
    step = max(1, math.isqrt(ratio.size // MAX_SAMPLES))
    steps = (step, step) if (weight[step // 2 :: step, step // 2 :: step] > 0.0).any() else (1, 1)
    y, x = (np.arange(step // 2, side, step) for side, step in zip(ratio.shape, steps, strict=True))
    values, weights = ratio[np.ix_(y, x)], weight[np.ix_(y, x)]
    isSky = weights > 0.0
    isSky &= weights * np.float32(BLANK_VARIANCE) >= np.median(weights[isSky])
    width = madSigma(values[isSky])
    # Sources with all of their PSF's reach, in whole cells of that side and those around them.
    cell = max(1, psf.half)
    rows, columns = np.divmod(np.flatnonzero(np.abs(ratio) > SOURCE_WIDTHS * width), ratio.shape[1])
    hasSource = np.zeros((ratio.shape[0] // cell + 3, ratio.shape[1] // cell + 3), dtype=bool)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            hasSource[rows // cell + dy, columns // cell + dx] = True
    isBlank = isSky & ~hasSource[np.ix_(y // cell + 1, x // cell + 1)]
    if np.count_nonzero(isBlank) > MIN_BLANK * np.count_nonzero(isSky):
        isSky = isBlank
        width = madSigma(values[isSky])
    nPixels = int(np.count_nonzero(isSky))
    # Neighbours within one PSF show the same noise; 1.17 is the efficiency of the median absolute deviation.
    nIndependent = max(1.0, min(nPixels, nPixels * math.prod(steps) / psf.noiseArea))
    error = 1.17 * width / math.sqrt(nIndependent)
    isOff = width > LEAST_SCALE and abs(width - 1.0) > NOISE_ERRORS * error
    return NoiseScale(width, error, nPixels, width if isOff else 1.0)


def findPeaks(image: FloatImage, threshold: float, radius: int) -> Peaks:
    """Find the extrema of both signs of a significance in one pass.

    Parameters
    ----------
    image : (h, w)
        Finite values, either sign.
    threshold
        Least absolute value.
    radius
        A peak is the largest of the square of this half side (pixels) about it; of equal ones the first.

    Returns
    -------
    peaks
        The most significant first.
    """
    height, width = image.shape
    flat = np.flatnonzero(np.abs(image) >= threshold)
    y, x = np.divmod(flat, width)
    value = image.reshape(-1)[flat]
    sign = np.sign(value)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx == dy == 0 or not flat.size:
                continue
            ny, nx = y + dy, x + dx
            isInside = (ny >= 0) & (ny < height) & (nx >= 0) & (nx < width)
            other = np.where(isInside, sign * image[np.clip(ny, 0, height - 1), np.clip(nx, 0, width - 1)], -np.inf)
            isEarlier = dy < 0 or (dy == 0 and dx < 0)
            isPeak = sign * value > other if isEarlier else sign * value >= other
            y, x, value, sign = y[isPeak], x[isPeak], value[isPeak], sign[isPeak]
            flat = flat[isPeak]
    order = np.argsort(-np.abs(value), kind="stable")
    return Peaks(x[order], y[order], value[order].astype(np.float64))
