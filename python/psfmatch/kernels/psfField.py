"""A PSF that varies over an image as few images times smooth functions: what convolution and photometry need.

The PSF is drawn on a lattice of positions; the images' mean and principal components times Chebyshev polynomials of
the position form a `LinearCombinationKernel`, with which the engine correlates an image with the PSF of every pixel.
Sub-pixel shifts go through the Fourier transform, exact for what the pixels sample.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.images import DEFAULT_FWHM_PIX, NOT_THERE, SIGMA_TO_FWHM, Box, Psf, asPsf, getFwhmPix
from psfmatch.kernels.linearCombination import LinearCombinationKernel
from psfmatch.kernels.spatialFunction import frameOf, makeSpatialFunction

__all__ = ["PsfField", "shiftedImages", "squareImage"]

FloatArray = npt.NDArray[np.float64]

LATTICE = 9
"""Positions along each axis at which a PSF is drawn; fewer where that would be closer than `MIN_STEP_PIX`."""
MIN_STEP_PIX = 64
MAX_ORDER = 4
COMPONENT_ERROR = 1e-4
"""Root sum of squares of what is left out of an image, in units of the image's own: far below any noise."""
EXACT_ERROR = 1e-3
"""Where the polynomials are worse than this, photometry draws the PSF anew for every source."""
REACH_FWHM = 2.5
"""Half width of the images in FWHM: what lies beyond has no weight beside the noise of the sky."""
MIN_HALF_PIX, MAX_HALF_PIX = 4, 40


class PsfField:
    """The PSF of an image at every pixel, on squares of odd side whose sum is the light that they hold.

    Parameters
    ----------
    psf
        Anything that `psfmatch.images.asPsf` takes.
    box
        The pixels over which it is needed.

    Attributes
    ----------
    kernel
        The PSF for the convolution engine: at (x, y), the image of a star of flux 1 at that pixel's centre.
    fwhm
        Mean FWHM in pixels.
    box
        The pixels over which it holds.
    isExact
        Whether `kernel` reproduces the PSF to `EXACT_ERROR` wherever it was drawn.

    Raises
    ------
    ValueError
        If the PSF is defined nowhere on the box.
    """

    def __init__(self, psf: Any, box: Box) -> None:
        self._psf: Psf = asPsf(psf)
        self.box = box
        places, drawn = _drawn(self._psf, box)
        self.fwhm = _meanFwhm(drawn)
        self.half = _halfWidth(self.fwhm, drawn)
        images = np.array([squareImage(image, self.half) for image in drawn])
        self.kernel, error = _kernelThrough(images, places, box)
        self.isExact = error < EXACT_ERROR

    @classmethod
    def of(cls, psf: Any, box: Box) -> PsfField:
        """Return the field of a PSF over a box; the PSF itself where it is one already."""
        return psf if isinstance(psf, PsfField) and psf.box == box else cls(psf, box)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return 2 * self.half + 1

    @property
    def sigma(self) -> float:
        """Width in pixels of the Gaussian of the same FWHM."""
        return self.fwhm / SIGMA_TO_FWHM

    @property
    def noiseArea(self) -> float:
        """1 / sum P^2 at the middle of the field, in pixels: the noise that a point source collects."""
        middle = self.kernel.computeImages([self.kernel.frame[0]], [self.kernel.frame[1]])
        return 1.0 / float((middle**2).sum())

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), parent pixels, with sum 1."""
        image: FloatArray = self.images([x], [y])[0]
        return image / float(image.sum())

    def images(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Return the PSF (n, size, size) at n positions (parent pixels), each centred on its middle pixel."""
        xs, ys = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y))
        images = self.kernel.computeImages(xs, ys) if xs.size else np.zeros((0, self.size, self.size))
        if not self.isExact:
            for i, place in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
                try:
                    image = np.asarray(self._psf.computeKernelImage(*place), dtype=np.float64)
                except NOT_THERE:
                    continue
                images[i] = squareImage(image / image.sum(), self.half)
        return images


def squareImage(image: FloatArray, half: int) -> FloatArray:
    """Return an image of odd sides, cut or surrounded with zeros, as a square of side 2 half + 1 about its middle."""
    result = np.zeros((2 * half + 1, 2 * half + 1))
    reach = [min(side // 2, half) for side in image.shape]
    source = tuple(slice(side // 2 - r, side // 2 + r + 1) for side, r in zip(image.shape, reach, strict=True))
    target = tuple(slice(half - r, half + r + 1) for r in reach)
    result[target] = image[source]
    return result


def shiftedImages(images: FloatArray, dx: FloatArray, dy: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shift images by parts of a pixel.

    Parameters
    ----------
    images : (n, k, k)
        Of odd sides.
    dx, dy : (n,)
        How far each moves to higher x and y, pixels.

    Returns
    -------
    shifted, alongX, alongY : (n, k, k)
        The images, and their derivatives by dx and dy.
    """
    side = images.shape[1]
    # Room for what leaves one side, which would come in on the other.
    wide = side + 2
    kx = 2.0 * np.pi * np.fft.rfftfreq(wide)[np.newaxis, np.newaxis, :]
    ky = 2.0 * np.pi * np.fft.fftfreq(wide)[np.newaxis, :, np.newaxis]
    turned = np.fft.rfft2(images, s=(wide, wide))
    turned = turned * np.exp(-1j * (kx * dx[:, np.newaxis, np.newaxis] + ky * dy[:, np.newaxis, np.newaxis]))
    shifted, alongX, alongY = (
        np.fft.irfft2(turned * factor, s=(wide, wide))[:, :side, :side] for factor in (1.0, -1j * kx, -1j * ky)
    )
    return shifted, alongX, alongY


def _drawn(psf: Psf, box: Box) -> tuple[FloatArray, list[FloatArray]]:
    """Return positions (m, 2) on a lattice where the PSF is defined, and its images of sum 1 there."""
    axes = [
        np.linspace(low, low + side - 1, max(2, min(LATTICE, 1 + side // MIN_STEP_PIX)))
        if side > 1
        else np.array([low])
        for low, side in ((box.x0, box.width), (box.y0, box.height))
    ]
    places: list[tuple[float, float]] = []
    images: list[FloatArray] = []
    failure: Exception | None = None
    for y in axes[1].tolist():
        for x in axes[0].tolist():
            try:
                image = np.asarray(psf.computeKernelImage(x, y), dtype=np.float64)
            except NOT_THERE as error:
                failure = error
                continue
            total = float(image.sum())
            if not (math.isfinite(total) and total > 0.0):
                failure = ValueError(f"its image at ({x:.1f}, {y:.1f}) sums to {total}")
                continue
            places.append((x, y))
            images.append(image / total)
    if not images:
        raise ValueError(f"the PSF is defined nowhere on {box}; the last position said: {failure}")
    return np.array(places), images


def _meanFwhm(images: list[FloatArray]) -> float:
    widths = []
    for image in images:
        try:
            widths.append(getFwhmPix(image))
        except ValueError:
            continue
    return math.fsum(widths) / len(widths) if widths else DEFAULT_FWHM_PIX


def _halfWidth(fwhm: float, images: list[FloatArray]) -> int:
    known = max(int(max(image.shape)) for image in images) // 2
    return max(1, min(known, MAX_HALF_PIX, max(MIN_HALF_PIX, math.ceil(REACH_FWHM * fwhm))))


def _kernelThrough(images: FloatArray, places: FloatArray, box: Box) -> tuple[LinearCombinationKernel, float]:
    """Return a kernel through images (m, k, k) at positions (m, 2), and its largest relative error there."""
    pixels = images.reshape(len(images), -1)
    mean = pixels.mean(axis=0)
    norm = float(np.sqrt((pixels**2).sum(axis=1)).min())
    varying = pixels - mean
    largest = float(np.sqrt((varying**2).sum(axis=1)).max()) / norm
    if largest <= COMPONENT_ERROR:
        return LinearCombinationKernel(mean.reshape(1, *images.shape[1:]), [[1.0]], bbox=box), largest
    # There are fewer positions than pixels: the small matrix has the same components.
    squares, left = np.linalg.eigh(varying @ varying.T)
    strength, left = np.sqrt(np.maximum(squares[::-1], 0.0)), left[:, ::-1]
    # What the components from number i on hold, at the position where it is most.
    rest = np.sqrt(np.cumsum(((left * strength) ** 2)[:, ::-1], axis=1)[:, ::-1].max(axis=0)) / norm
    n = int(np.count_nonzero(rest > COMPONENT_ERROR))
    right = left[:, :n].T @ varying / strength[:n, np.newaxis]
    frame = frameOf(box)
    terms = _terms(places, frame)
    coefficients, *_ = np.linalg.lstsq(terms, left[:, :n] * strength[:n], rcond=None)
    parameters = np.zeros((n + 1, terms.shape[1]))
    parameters[0, 0] = 1.0
    parameters[1:] = coefficients.T
    basis = np.concatenate([mean[np.newaxis], right]).reshape(n + 1, *images.shape[1:])
    kernel = LinearCombinationKernel(basis, parameters, frame=frame)
    error = np.sqrt(((kernel.computeImages(places[:, 0], places[:, 1]) - images) ** 2).sum(axis=(1, 2))).max() / norm
    return kernel, float(error)


def _terms(places: FloatArray, frame: tuple[float, float, float, float]) -> FloatArray:
    """Return the Chebyshev terms (m, p) at positions (m, 2), of the highest order that these determine well."""
    for order in range(MAX_ORDER, 0, -1):
        p = (order + 1) * (order + 2) // 2
        if p > len(places):
            continue
        functions = makeSpatialFunction("chebyshev1", np.zeros(p), frame).coreFunction
        terms = functions.evaluate(places[:, 0], places[:, 1])
        if np.linalg.cond(terms) < 1e3:
            return terms
    return np.ones((len(places), 1))
