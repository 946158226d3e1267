"""The template on the science image's pixels: image, variance, mask and PSF (Lanczos or bilinear resampling).

Flux is kept: a value is the interpolated surface brightness times the number of source pixels that an output pixel
covers. Where output pixels are larger than 1.25 source pixels, the source is averaged over their area. The arithmetic
is in C++ `warp.h`; positions are exact on a lattice. Covariance between output pixels is left out of the variance.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import WarpOptions
from psfmatch.config.equality import ByValue
from psfmatch.errors import InputImagesError
from psfmatch.images import (
    DEFAULT_MASK_PLANES,
    Box,
    Exposure,
    Mask,
    MaskedImage,
    PixelTransform,
    Psf,
    asPsf,
    averagePosition,
)
from psfmatch.io import Coordinates
from psfmatch.threads import resolveThreads

if TYPE_CHECKING:
    from psfmatch.config import WarperConfig

__all__ = ["MovedPsf", "WarpedPsf", "Warper", "movedPsf"]

log = logging.getLogger("psfmatch.registration")

FloatArray = npt.NDArray[np.float64]
Transform = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[FloatArray, FloatArray]]

MAX_PLAIN_RATIO = 1.25
"""Output pixels with sides above so many source pixels see the source averaged over their area."""

MIN_SPARSE_NODES = 10000
"""Fewer nodes of a lattice than these take less than 20 ms to evaluate one by one."""

MIN_SPARSE_SIDE = 9
"""Nodes of a lattice's side of which every fourth, and one beyond, are the four that a cubic needs."""

MAX_LATTICE_ERROR = 1e-4
"""Pixels; what astropy's inverse of a distortion is good to."""

BAD_PLANES = ("BAD", "SAT", "CR", "NO_DATA")
"""Planes whose values must not reach their neighbours through the wings of the kernel."""


class Warper(ByValue):
    """Resamples exposures onto other pixel grids.

    Pixels of `badPlanes`, and those whose values are not finite or whose variance is negative, are filled from their
    neighbours first. Where filled pixels hold more than `maskedKernelFraction` of the kernel, the result carries their
    planes; where they have no data at all, it is NaN with infinite variance and NO_DATA. Planes always spread over
    the mask kernel's pixels too. Bad pixels that stand alone in even light are filled nearly as well as measured: their
    planes are left out where they hold no more than `safeKernelFraction`, if that is the larger one. Where the image
    kernel reaches beyond the source, the output is NaN with NO_DATA alone.

    Parameters
    ----------
    config
        Kernels, lattice and mask growth.
    badPlanes
        Names of mask planes; unknown ones are ignored. With none, finite values are used as they are.
    maskedKernelFraction
        In [0, 1), of the sum of |weight|.
    safeKernelFraction
        Likewise; not above maskedKernelFraction: pixels that stand alone count as all others do.
    instructionSet
        "automatic", "baseline" or "avx2".
    threads
        Number of threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If an option is impossible.
    """

    def __init__(
        self,
        config: WarperConfig | WarpOptions | None = None,
        *,
        badPlanes: Iterable[str] = BAD_PLANES,
        maskedKernelFraction: float = 0.01,
        safeKernelFraction: float = 0.0,
        instructionSet: str = "automatic",
        threads: int | None = None,
    ) -> None:
        if config is None:
            from psfmatch.config import WarperConfig

            config = WarperConfig()
        if not isinstance(config, WarpOptions):
            config.validate()
        self.options = WarpOptions.fromConfig(config)
        if instructionSet not in _core.InstructionSet.__members__:
            raise ValueError(f"instruction set {instructionSet!r} is unknown; choose automatic, baseline or avx2")
        fractions = {"maskedKernelFraction": maskedKernelFraction, "safeKernelFraction": safeKernelFraction}
        for name, fraction in fractions.items():
            if not 0.0 <= fraction < 1.0:
                raise ValueError(f"{name} is {fraction}, must be in [0, 1)")
        self.badPlanes = tuple(badPlanes)
        self.maskedKernelFraction = maskedKernelFraction
        self.safeKernelFraction = safeKernelFraction
        self._instructionSet = _core.InstructionSet[instructionSet]
        self._threads = resolveThreads(threads)

    @classmethod
    def fromConfig(cls, config: WarperConfig) -> Warper:
        """Make a Warper from its configuration alone."""
        return cls(config)

    def warpExposure(self, destWcs: Coordinates, srcExposure: Exposure, destBBox: Box) -> Exposure:
        """Resample an exposure onto the pixels of a box of another image.

        Parameters
        ----------
        destWcs
            Coordinates of the output.
        srcExposure
            The exposure to resample; not changed.
        destBBox
            Pixels of the output, parent coordinates of `destWcs`.

        Returns
        -------
        warped : Exposure
            With `destWcs`, a `WarpedPsf`, and photoCalib, filter and metadata of the source.

        Raises
        ------
        InputImagesError
            If an exposure has no celestial WCS that can be used.
        """
        if not srcExposure.hasWcs or not destWcs.has_celestial:
            which = "the source" if destWcs.has_celestial else "the destination"
            raise InputImagesError(f"an exposure cannot be warped without celestial coordinates: {which} has none")
        transform = PixelTransform(destWcs, srcExposure.coordinates)
        pixels = self.warpMaskedImage(srcExposure.maskedImage, transform, destBBox)
        psf = None if srcExposure.psf is None else WarpedPsf(srcExposure.psf, transform, self)
        return _finished(srcExposure, pixels, destWcs, psf)

    def cropExposure(
        self, destWcs: Coordinates, srcExposure: Exposure, destBBox: Box, shift: tuple[int, int]
    ) -> Exposure:
        """Copy pixels of an exposure whose grid is that of the output but for whole pixels.

        Parameters are those of `warpExposure`, and the `shift` (x, y) from array indices of the output to those of
        the source. Pixels that the source lacks are NaN with NO_DATA. The PSF is the source's, not resampled.
        """
        source = srcExposure.maskedImage
        image = np.full(destBBox.shape, np.nan, dtype=np.float32)
        variance = np.full(destBBox.shape, np.inf, dtype=np.float32)
        mask = np.full(destBBox.shape, source.mask.getPlaneBitMask("NO_DATA"), dtype=np.int32)
        wanted = Box(*shift, destBBox.width, destBBox.height)
        common = wanted.intersection(Box(0, 0, source.width, source.height))
        if not common.isEmpty:
            here = np.s_[common.y0 - wanted.y0 : common.y1 - wanted.y0, common.x0 - wanted.x0 : common.x1 - wanted.x0]
            there = np.s_[common.y0 : common.y1, common.x0 : common.x1]
            image[here], variance[here] = source.image[there], source.variance[there]
            mask[here] = np.asarray(source.mask)[there]
        pixels = MaskedImage(image, Mask.ofBits(mask, source.mask.planes), variance, xy0=(destBBox.x0, destBBox.y0))
        moved = source.xy0[0] + shift[0] - destBBox.x0, source.xy0[1] + shift[1] - destBBox.y0
        return _finished(srcExposure, pixels, destWcs, movedPsf(srcExposure.psf, moved))

    def warpMaskedImage(self, source: MaskedImage, transform: Transform, destBBox: Box) -> MaskedImage:
        """Resample a masked image onto the pixels of a box.

        Parameters
        ----------
        source
            The image to resample; not changed.
        transform
            Called with arrays (x, y) of output positions, parent pixels; returns those of the source, parent pixels,
            NaN where there are none.
        destBBox
            Pixels of the output, parent coordinates.

        Returns
        -------
        warped : MaskedImage
            With the source's mask planes and the box's xy0.

        Raises
        ------
        ValueError
            If the box is empty.
        """
        if destBBox.isEmpty:
            raise ValueError("an image cannot be warped into an empty box")
        spacing = max(1, self.options.interpLength)
        x = destBBox.x0 + spacing * np.arange((destBBox.width - 1) // spacing + 2, dtype=np.float64)
        y = destBBox.y0 + spacing * np.arange((destBBox.height - 1) // spacing + 2, dtype=np.float64)
        columns, rows = _onLattice(transform, x, y)
        columns, rows = (_finiteOrNan(v - origin) for v, origin in zip((columns, rows), source.xy0, strict=True))
        ratio = _pixelRatio(columns, rows, spacing, source.shape)
        if ratio > MAX_PLAIN_RATIO:
            log.info("Pixels are %.2f times as large as those of the template: averaging over their area", ratio)
        if ratio > _core.maxAreaWidth:
            n = math.ceil(2.0 * ratio / _core.maxAreaWidth)
            source = _binned(source, n)
            columns, rows, ratio = (columns - 0.5 * (n - 1)) / n, (rows - 0.5 * (n - 1)) / n, ratio / n
        image, variance, mask = self._resample(
            source, columns, rows, spacing, destBBox.shape, ratio if ratio > MAX_PLAIN_RATIO else 0.0
        )
        return MaskedImage(image, Mask.ofBits(mask, source.mask.planes), variance, xy0=(destBBox.x0, destBBox.y0))

    def _resample(
        self,
        source: MaskedImage,
        x: FloatArray,
        y: FloatArray,
        spacing: int,
        shape: tuple[int, int],
        areaWidth: float,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        options = self.options
        return _core.warp(
            source.image,
            source.variance,
            np.asarray(source.mask),
            np.ascontiguousarray(x),
            np.ascontiguousarray(y),
            spacing=spacing,
            height=shape[0],
            width=shape[1],
            kernel=_core.WarpingKernel[options.warpingKernelName],
            maskKernel=_core.WarpingKernel[options.maskWarpingKernelName or options.warpingKernelName],
            growBits=_bitsOf(options.growFullMask, source.mask),
            cacheSize=options.cacheSize,
            keepCentroids=options.keepCentroids,
            areaWidth=areaWidth,
            badBits=source.mask.getPlaneBitMask(self.badPlanes, ignoreMissing=True),
            maskedKernelFraction=self.maskedKernelFraction,
            safeKernelFraction=self.safeKernelFraction,
            noDataBit=source.mask.getPlaneBitMask("NO_DATA"),
            instructionSet=self._instructionSet,
            nThreads=self._threads,
        )


def _finished(source: Exposure, pixels: MaskedImage, wcs: Coordinates, psf: Psf | None) -> Exposure:
    return Exposure(pixels, wcs, psf, source.photoCalib, source.filter, dict(source.metadata))


def movedPsf(psf: Any, shift: tuple[int, int]) -> Any:
    """Return the PSF of an image whose pixel (x, y) is the source's at (x, y) + shift: itself where that is (0, 0)."""
    return psf if psf is None or tuple(shift) == (0, 0) else MovedPsf(psf, shift)


class MovedPsf(ByValue):
    """The PSF of an image that was cut from another one, its pixels counted anew; see `movedPsf`."""

    def __init__(self, psf: Any, shift: tuple[int, int]) -> None:
        self.psf, self.shift = asPsf(psf), shift

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the source's PSF at that place, (h, w) of odd sides and sum 1."""
        return np.asarray(self.psf.computeKernelImage(x + self.shift[0], y + self.shift[1]))

    def getAveragePosition(self) -> tuple[float, float] | None:
        """Return where the PSF calls itself typical (x, y), parent pixels; None if it does not say."""
        place = averagePosition(self.psf)
        return None if place is None else (place[0] - self.shift[0], place[1] - self.shift[1])


class WarpedPsf:
    """The PSF of an image after it was resampled.

    The source's PSF at that place of the sky, carried over by the transform's derivatives there and resampled as the
    image was. Of the kernel's phase, which changes from pixel to pixel, that of the centre is taken.

    Parameters
    ----------
    psf
        PSF of the source, anything with ``computeKernelImage(x, y)``.
    transform
        From output pixels to source pixels, both parent, as for `Warper.warpMaskedImage`.
    warper
        What resampled the image.
    """

    def __init__(self, psf: Psf, transform: Transform, warper: Warper | None = None) -> None:
        self.psf = asPsf(psf)
        self.transform = transform
        self._warper = warper or Warper()

    def computeKernelImage(self, x: float, y: float) -> FloatArray:
        """Return the PSF at (x, y), output pixels, centred on the middle pixel, with sum 1.

        Raises
        ------
        ValueError
            If the position has none on the source, or the source's PSF has no positive sum.
        """
        columns, rows = self.transform(np.array([x, x - 0.5, x + 0.5, x, x]), np.array([y, y, y, y - 0.5, y + 0.5]))
        slopes = np.array([[v[2] - v[1], v[4] - v[3]] for v in (columns, rows)])
        if not (np.isfinite(slopes).all() and abs(np.linalg.det(slopes)) > 0.0):
            raise ValueError(f"the source of the warped image has no place for ({x}, {y})")
        stamp = np.asarray(self.psf.computeKernelImage(float(columns[0]), float(rows[0])), dtype=np.float32)
        half = math.ceil(max(stamp.shape) // 2 * np.abs(np.linalg.inv(slopes)).sum(axis=1).max())
        # Room for the positions of the corners and the kernel about them.
        reach = math.ceil((half + 1) * np.abs(slopes).sum(axis=1).max()) + int(_core.maxAreaWidth)
        middle = reach + max(stamp.shape) // 2
        padded = np.zeros((2 * middle + 1, 2 * middle + 1), dtype=np.float32)
        y0, x0 = middle - stamp.shape[0] // 2, middle - stamp.shape[1] // 2
        padded[y0 : y0 + stamp.shape[0], x0 : x0 + stamp.shape[1]] = stamp
        box = Box(-half, -half, 2 * half + 1, 2 * half + 1)
        warped = self._warper.warpMaskedImage(
            MaskedImage(padded, xy0=(-middle, -middle)),
            lambda u, v: (slopes[0, 0] * u + slopes[0, 1] * v, slopes[1, 0] * u + slopes[1, 1] * v),
            box,
        ).image.astype(np.float64)
        total = warped.sum()
        if not total > 0.0:
            raise ValueError(f"the PSF at ({x}, {y}) has the sum {total}, must be positive")
        return np.asarray(warped / total)


def _onLattice(transform: Transform, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the transform at all pairs of x (columns) and y (rows), arrays (rows, columns).

    A large lattice is interpolated by cubics from every fourth node in x and y, if that agrees with the transform at
    the nodes in the middle between those.
    """
    if x.size * y.size < MIN_SPARSE_NODES or min(x.size, y.size) < MIN_SPARSE_SIDE:
        return transform(*np.meshgrid(x, y))
    (sparseX, weightsX), (sparseY, weightsY) = _sparse(x), _sparse(y)
    planes = tuple(weightsY @ plane @ weightsX.T for plane in transform(*np.meshgrid(sparseX, sparseY)))
    middle = np.s_[2::4, 2::4]
    exact = transform(*np.meshgrid(x[2::4], y[2::4]))
    agrees = all(
        np.isfinite(plane).all() and np.abs(plane[middle] - found).max() <= MAX_LATTICE_ERROR
        for plane, found in zip(planes, exact, strict=True)
    )
    return (planes[0], planes[1]) if agrees else transform(*np.meshgrid(x, y))


def _finiteOrNan(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, np.nan)


def _sparse(nodes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return every fourth of N equally spaced nodes, to beyond the last, and weights (N, n) of cubics through them."""
    n = (nodes.size - 1) // 4 + 2
    t = np.arange(nodes.size) / 4.0
    first = np.clip(np.floor(t).astype(int) - 1, 0, n - 4)
    weights = np.zeros((nodes.size, n))
    for i in range(4):
        others = [j for j in range(4) if j != i]
        terms = [(t - first - j) / (i - j) for j in others]
        weights[np.arange(nodes.size), first + i] = terms[0] * terms[1] * terms[2]
    return nodes[0] + 4.0 * (nodes[1] - nodes[0]) * np.arange(n), weights


def _pixelRatio(x: FloatArray, y: FloatArray, spacing: int, shape: tuple[int, int]) -> float:
    """Return the side of an output pixel in source pixels: median over the lattice inside the source, else over all."""
    dxdu, dxdv = np.diff(x, axis=1)[:-1], np.diff(x, axis=0)[:, :-1]
    dydu, dydv = np.diff(y, axis=1)[:-1], np.diff(y, axis=0)[:, :-1]
    area = np.abs(dxdu * dydv - dydu * dxdv) / spacing**2
    isKnown = np.isfinite(area)
    left, bottom = x[:-1, :-1], y[:-1, :-1]
    inside = isKnown & (left >= -spacing) & (left < shape[1]) & (bottom >= -spacing) & (bottom < shape[0])
    chosen = inside if inside.any() else isKnown
    return math.sqrt(float(np.median(area[chosen]))) if chosen.any() else 1.0


def _binned(source: MaskedImage, n: int) -> MaskedImage:
    """Return sums of n by n pixels, variances and planes with them; pixels of an incomplete block are left out."""
    height, width = source.height // n * n, source.width // n * n
    if height == 0 or width == 0:
        return MaskedImage(np.full((1, 1), np.nan), Mask([[0]], source.mask.planes))
    blocks = (height // n, n, width // n, n)
    image, variance, mask = (
        np.asarray(plane)[:height, :width].reshape(blocks) for plane in (source.image, source.variance, source.mask)
    )
    bits = np.bitwise_or.reduce(np.bitwise_or.reduce(mask, axis=3), axis=1)
    return MaskedImage(image.sum(axis=(1, 3)), Mask(bits, source.mask.planes), variance.sum(axis=(1, 3)))


def _bitsOf(defaultBits: int, mask: Mask) -> int:
    """Return the bits of a mask for bits of the default planes, whose places a mask may have taken otherwise."""
    names = {bit: name for name, bit in DEFAULT_MASK_PLANES.items()}
    bits = 0
    for bit in range(defaultBits.bit_length()):
        if defaultBits >> bit & 1:
            bits |= 1 << mask.planes.get(names.get(bit, ""), bit)
    return bits
