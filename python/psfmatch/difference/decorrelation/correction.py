"""The kernel that makes the noise of a difference image white (Reiss & Lupton 2016, DMTN-021; Kovacs 2021, DMTN-179).

Where v_n and v_c are the variances of the image that was not convolved and of the one that was, and k that one's
kernel, the noise power of the difference is ``v_n + v_c |k^|^2``. The correction is the even kernel of the transfer
``sqrt((v_n + v_c (sum k)^2) / (v_n + v_c |k^|^2))``, which is 1 at frequency zero: fluxes stay. Where kernel and
variances vary, so does the correction; it is fitted with Chebyshev polynomials of the position, so that the
convolution applies it as any matching kernel. Noise is taken as white in both inputs before the convolution. Where the
other image was smoothed by a kernel g before the fit, its share of the power is ``v_n |g^|^2``; a tenth of
the power at frequency zero is then added to it in quadrature, for what was smoothed away is not to be amplified without
end.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import numpy.typing as npt

from psfmatch._core import CellGrid
from psfmatch.images import Box
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.threads import mapThreads

__all__ = ["correctionKernel", "fitField", "fitPositions", "makeCorrection"]

FloatArray = npt.NDArray[np.float64]

log = logging.getLogger("psfmatch.difference")

MAX_LOST_WEIGHT = 1e-4
"""Share of sum |phi| that may lie beyond the stamp; the rest is scaled to sum 1."""
MAX_HALF_PIX = 31
"""Largest half side of a correction; a tile of the convolution (128 px) holds little more."""
MAX_RATIO = 1e4
"""Variance ratio v_c (sum k)^2 / v_n above which the correction is that of this ratio: it would amplify the
frequencies that the kernel has erased by more than a hundred."""
MAX_ORDER = 4
"""Highest order of the polynomials: kernels of order 2 need no more."""
MAX_POWER_ERROR = 4e-3
"""Mean relative error of the noise power, over frequencies, that polynomials may leave anywhere on the lattice; no
correlation of pixels comes out larger."""
LEAST_POWER = 0.1
"""Noise power over that at frequency zero below which it is hardly made up for where an image was smoothed: details
that the fit did not see are amplified by three at most."""
LATTICE = 5
"""Positions along each axis at which the correction is computed."""


def correctionKernel(
    kernelImage: npt.ArrayLike,
    varianceUnconvolved: float,
    varianceConvolved: float,
    psfImage: npt.ArrayLike | None = None,
    smoothingImage: npt.ArrayLike | None = None,
) -> FloatArray:
    """Return the kernel that decorrelates a difference, or a score image, at one place.

    Parameters
    ----------
    kernelImage : (h, w)
        Matching kernel.
    varianceUnconvolved, varianceConvolved
        Variance of the image that was not convolved and of the one that was, before it was.
    psfImage : (h, w), optional
        The kernel, of sum 1, with which the unconvolved image was smoothed before the kernel was matched: the
        correction is then that of the score image (DMTN-179), not of the difference.
    smoothingImage : (h, w), optional
        The kernel, of sum 1, with which the unconvolved image was smoothed before the fit, of which the difference was
        made; not together with `psfImage`.

    Returns
    -------
    phi : (s, s)
        Even kernel of sum 1 and odd side, as small as its decay allows.

    Raises
    ------
    ValueError
        If an image is not two-dimensional with odd sides and finite, a variance is negative or not finite, or two
        smoothings are given.
    """
    if psfImage is not None and smoothingImage is not None:
        raise ValueError("a score image is that of a pair that was not smoothed: give psfImage or smoothingImage")
    given = (kernelImage, psfImage, smoothingImage)
    images = [np.asarray(image, dtype=np.float64) for image in given if image is not None]
    for image in images:
        if image.ndim != 2 or image.shape[0] % 2 == 0 or image.shape[1] % 2 == 0 or not np.isfinite(image).all():
            raise ValueError(f"a kernel of shape {image.shape} must be 2-D with odd sides and finite")
    for variance in (varianceUnconvolved, varianceConvolved):
        if not (math.isfinite(variance) and variance >= 0.0):
            raise ValueError(f"a variance of {variance} is not one: it must be finite and not negative")
    size = transformSize(max(max(image.shape) for image in images))
    powers = [_power(image[np.newaxis], size) for image in images]
    variances = np.array([varianceUnconvolved]), np.array([varianceConvolved])
    if psfImage is None:
        own = None if smoothingImage is None else powers[1]
        transfer = np.sqrt(_transfer(powers[0], *variances, own=own))
    else:
        smoothing = np.maximum(powers[1], 1000.0 * np.finfo(np.float64).tiny)
        transfer = _transfer(powers[0], *variances, smoothing)
    phi: FloatArray = _stamps(_kernels(transfer, size))[0]
    return phi


def transformSize(side: int) -> int:
    """Return the side of transforms that hold a kernel and its correction without wrapping round."""
    return 1 << max(7, math.ceil(math.log2(2 * side)))


def _power(images: FloatArray, size: int) -> FloatArray:
    """Return the squared modulus of the transforms (n, size, size // 2 + 1) of kernels (n, h, w)."""
    spectrum = np.fft.rfft2(images, s=(size, size))
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


def _transfer(
    power: FloatArray,
    unconvolved: FloatArray,
    convolved: FloatArray,
    smoothing: FloatArray | None = None,
    own: FloatArray | None = None,
) -> FloatArray:
    """Return (v_n + v_c (sum k)^2) / (v_n |g^|^2 + v_c |k^|^2 / |P^|^2) for each of n kernels; `own` is |g^|^2."""
    weight = (convolved * power[:, 0, 0])[:, np.newaxis, np.newaxis]
    floor = np.maximum(unconvolved, convolved * power[:, 0, 0] / MAX_RATIO)[:, np.newaxis, np.newaxis]
    # Nothing known, or nothing to correct: no weight, any floor.
    floor = np.where(floor > 0.0, floor, 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = power / power[:, :1, :1]
        if smoothing is not None:
            relative = relative / smoothing
        if own is not None:
            total = floor + weight
            # In quadrature: the kernel of a sharp limit would not end.
            return np.asarray(total / np.hypot(floor * own + weight * relative, LEAST_POWER * total))
        result: FloatArray = np.where(weight > 0.0, (floor + weight) / (floor + weight * relative), 1.0)
        return result


def _kernels(transfer: FloatArray, size: int) -> FloatArray:
    """Return the kernels (n, size, size) of transfers (n, size, size // 2 + 1), their middle at size // 2."""
    return np.fft.fftshift(np.fft.irfft2(transfer, s=(size, size)), axes=(1, 2))


def _stamps(kernels: FloatArray) -> FloatArray:
    """Return the middles (n, s, s) of kernels (n, size, size), even and of sum 1, as small as they may all be."""
    weights = np.abs(kernels)
    middle, total = kernels.shape[1] // 2, weights.sum(axis=(1, 2))
    half = 0
    while True:
        part = np.s_[:, middle - half : middle + half + 1, middle - half : middle + half + 1]
        lost = float(np.max(1.0 - weights[part].sum(axis=(1, 2)) / total))
        if lost < MAX_LOST_WEIGHT:
            break
        if half == MAX_HALF_PIX:
            log.warning(
                "The decorrelation kernel does not end within %d px: %.2g of its weight is cut off; some correlation "
                "of the noise is left",
                half,
                lost,
            )
            break
        half += 1
    stamps = kernels[part]
    # Exactly even, whatever the rounding of the transforms.
    stamps = 0.5 * (stamps + stamps[:, ::-1, ::-1])
    return np.asarray(stamps / stamps.sum(axis=(1, 2), keepdims=True))


def fitPositions(box: Box) -> tuple[FloatArray, FloatArray]:
    """Return positions x and y (n,) of the lattice, the zeros of a Chebyshev polynomial along each axis."""
    zeros = np.cos(np.pi * (np.arange(LATTICE) + 0.5) / LATTICE)
    u, v = (axis.ravel() for axis in np.meshgrid(zeros, zeros))
    return box.centre[0] + 0.5 * box.width * u, box.centre[1] + 0.5 * box.height * v


def fitField(values: FloatArray, box: Box, order: int) -> tuple[FloatArray, FloatArray]:
    """Fit Chebyshev functions of the position to values (n, ...) at the lattice of `fitPositions`.

    There the functions are orthogonal, so that each coefficient is a sum of its own: least squares.

    Returns
    -------
    coefficients : (p, ...)
        In the sequence of `LinearCombinationKernel`.
    fitted : (n, ...)
        The functions at the lattice.
    """
    angles = np.pi * (np.arange(LATTICE) + 0.5) / LATTICE
    along = np.cos(np.arange(order + 1) * angles[:, np.newaxis])
    degrees = [(d - j, j) for d in range(order + 1) for j in range(d + 1)]
    terms = np.array([np.outer(along[:, j], along[:, i]).ravel() for i, j in degrees])
    weights = terms / (terms**2).sum(axis=1, keepdims=True)
    flat = values.reshape(len(values), -1)
    coefficients = _products(weights, flat)
    return coefficients.reshape(-1, *values.shape[1:]), _products(terms.T, coefficients).reshape(values.shape)


def _products(rows: FloatArray, values: FloatArray) -> FloatArray:
    """Return sums (m, k) of values (n, k) with the weights of each of m rows (m, n)."""
    return np.array([(row[:, np.newaxis] * values).sum(axis=0) for row in rows])


def makeCorrection(
    kernel: LinearCombinationKernel,
    box: Box,
    unconvolved: CellGrid,
    convolved: CellGrid,
    varying: bool = True,
    threads: int = 1,
    smoothing: LinearCombinationKernel | None = None,
) -> LinearCombinationKernel:
    """Return the correction of a difference as a kernel over a box, of sum 1 everywhere.

    Parameters
    ----------
    kernel
        Matching kernel.
    box
        Pixels of the difference.
    unconvolved, convolved
        Local variances of the two images.
    varying
        Follow kernel and variances over the field; False takes the kernel at the centre and the median variances.
    threads
        Number of threads; the result does not depend on it.
    smoothing
        Kernel with which the unconvolved image was smoothed before the fit, the same everywhere.
    """
    smoothingImage = None if smoothing is None else smoothing.computeImage(*box.centre)
    if not varying:
        image = correctionKernel(
            kernel.computeImage(*box.centre),
            float(np.median(unconvolved.values)),
            float(np.median(convolved.values)),
            smoothingImage=smoothingImage,
        )
        return LinearCombinationKernel(image[np.newaxis], [[1.0]], bbox=box)
    x, y = fitPositions(box)
    if not kernel.isVarying and np.ptp(unconvolved.values) == 0.0 and np.ptp(convolved.values) == 0.0:
        x, y = x[:1], y[:1]
    size = transformSize(max(kernel.shape))
    own = None if smoothingImage is None else _power(smoothingImage[np.newaxis], size)
    images = kernel.computeImages(x, y), unconvolved.at(x, y), convolved.at(x, y)

    def transformed(part: slice) -> tuple[FloatArray, FloatArray]:
        image, ours, theirs = (values[part] for values in images)
        transfer = np.sqrt(_transfer(_power(image, size), ours, theirs, own=own))
        return transfer, _kernels(transfer, size)

    rows = [slice(first, first + LATTICE) for first in range(0, len(x), LATTICE)]
    transfers, kernels = zip(*mapThreads(transformed, rows, threads), strict=True)
    stamps = _stamps(np.concatenate(kernels))
    if len(x) == 1:
        return LinearCombinationKernel(stamps, [[1.0]], bbox=box)
    for order in range(MAX_ORDER + 1):
        coefficients, fitted = fitField(stamps, box, order)
        errors = np.split(fitted - stamps, [row.start for row in rows[1:]])
        parts = list(zip(errors, transfers, strict=True))
        error = max(mapThreads(lambda part: _powerError(*part, size), parts, threads))
        if error < MAX_POWER_ERROR:
            break
    if error > MAX_POWER_ERROR:
        log.info("The decorrelation kernel of order %d leaves %.2g of the noise power uncorrected", order, error)
    # The sums of the terms are those of the stamps, 1 and 0, up to rounding.
    sums = coefficients.sum(axis=(1, 2))
    coefficients[0] /= sums[0]
    middle = coefficients.shape[1] // 2
    coefficients[1:, middle, middle] -= sums[1:]
    return LinearCombinationKernel(coefficients, np.eye(len(coefficients)), bbox=box)


def _powerError(errors: FloatArray, transfer: FloatArray, size: int) -> float:
    """Return the largest, over the lattice, mean relative error of the noise power that errors of phi make."""
    spectrum = np.abs(np.fft.rfft2(errors, s=(size, size)))
    return float(np.mean(2.0 * spectrum / transfer, axis=(1, 2)).max())
