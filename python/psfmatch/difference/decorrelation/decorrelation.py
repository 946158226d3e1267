"""Decorrelation of a difference image: its noise made white, with variance plane, mask and PSF to match.

Convolving one image correlates its noise, and a variance plane cannot tell: detection thresholds, flux errors and
plain standard deviations are wrong together. The correction (`psfmatch.difference.decorrelation.correction`) is one
more convolution, of the difference; its variance is made anew from the variances of the two images, which are
independent. Both are taken to have white noise: what an earlier resampling has correlated stays so, and
`psfmatch.noise.measureWhiteness` tells.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import BlankSky, CellGrid
from psfmatch.config.equality import ByValue
from psfmatch.difference.decorrelation.correctedPixels import (
    SpreadVariance,
    applyCorrection,
    exactSpread,
    factorsOfSpread,
)
from psfmatch.difference.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.difference.decorrelation.correction import makeCorrection
from psfmatch.errors import InputImagesError
from psfmatch.images import Box, Exposure, Mask, MaskedImage, Psf, asPsf
from psfmatch.kernels import LinearCombinationKernel
from psfmatch.kernels.covariance import noiseCovariance
from psfmatch.noise import WHITENESS_PIXELS, Whiteness, measureWhiteness
from psfmatch.threads import mapThreads, resolveThreads

__all__ = ["IGNORED_PLANES", "Correction", "Decorrelation", "decorrelate", "prepareCorrection", "restoredSpread"]

FloatArray = npt.NDArray[np.float64]

log = logging.getLogger("psfmatch.difference")

IGNORED_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")
"""Planes whose pixels do not count for the typical variance of an image."""
MAX_MEANINGFUL_RATIO = 1e8
"""Variance ratio above which one of the variance planes must be wrong."""


@dataclass(frozen=True, eq=False)
class Decorrelation(ByValue):
    """A difference whose noise is white.

    kernel : the correction, a kernel of sum 1; psf : effective PSF of the corrected difference, None unless one was
    given; difference : as it was.
    """

    kernel: LinearCombinationKernel
    psf: Psf | None
    difference: Exposure = field(repr=False)
    _correction: Correction = field(repr=False)
    _maskedKernelFraction: float = field(repr=False)
    _threads: int = field(repr=False)

    @cached_property
    def exposure(self) -> Exposure:
        """Corrected image, variance, mask and PSF; made when first asked for, of the difference as it is then."""
        if not self.isApplied:
            return self.difference
        exposure = self.difference.withPixels(self._corrected(self.difference.maskedImage, slice(None), self._threads))
        exposure.psf = self.psf
        return exposure

    def _corrected(self, pixels: MaskedImage, rows: slice, threads: int) -> MaskedImage:
        """Return some rows of the difference, `pixels`, corrected as if there were no others."""
        made = self._correction
        return applyCorrection(
            pixels,
            self.kernel,
            made.unspreadVariance[rows],
            made.spread.within(rows),
            scale=made.scale,
            maskedKernelFraction=self._maskedKernelFraction,
            threads=threads,
        )

    def measureWhiteness(self, sky: BlankSky, threads: int = 1) -> Whiteness:
        """Return `psfmatch.noise.measureWhiteness` of the exposure, on blank sky that was found on the difference.

        As long as nobody wants the whole exposure, no more is corrected than the rows of as many windows of the sky as
        tell enough; in images so small that these are most of it, all is.
        """
        step = -(-math.prod(sky.shape) // WHITENESS_PIXELS)
        (height, width), side, half = self.difference.shape, sky.shape[1], self.kernel.shape[0] // 2
        tops = sky.tops[::step].tolist()

        def reach(top: int) -> tuple[int, int]:
            return max(0, top - half), min(height, top + side + half)

        isMost = 2 * sum(end - start for start, end in map(reach, tops)) > height
        if isMost or not self.isApplied or "exposure" in self.__dict__:
            return measureWhiteness(self.exposure, where=sky, threads=threads)
        (x0, y0), image = self.difference.maskedImage.xy0, self.difference.maskedImage

        def corrected(top: int) -> MaskedImage:
            start, end = reach(top)
            strip = image.subset(Box(x0, y0 + start, width, end - start))
            found = self._corrected(strip, slice(start, end), resolveThreads(None))
            return found.subset(Box(x0, y0 + top, width, side))

        parts = mapThreads(corrected, tops, threads)
        planes = (np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "mask", "variance"))
        pixels, mask, variance = planes
        windows = MaskedImage(pixels, Mask(mask, image.mask.planes), variance)
        return measureWhiteness(windows, where=sky, rows=step, threads=threads)

    @property
    def correction(self) -> Correction:
        """What it was made with."""
        return self._correction

    @property
    def maskedKernelFraction(self) -> float:
        """Share of sum |phi| from which a pixel receives the bad planes of another one."""
        return self._maskedKernelFraction

    @property
    def isApplied(self) -> bool:
        """Whether a variance was known; else the difference is as it was."""
        return self._correction.isKnown

    @property
    def varianceRatio(self) -> float:
        """Return v_c (sum k)^2 / v_n at the centre."""
        return self._correction.varianceRatio

    def covariance(self, x: float, y: float, maxLag: int = 3) -> FloatArray:
        """Return the covariance that is left between the pixel at (x, y), parent pixels, and its neighbours.

        See `psfmatch.kernels.noiseCovariance`: (2 maxLag + 1, 2 maxLag + 1), image units squared.
        """
        return self._covariance(x, y, maxLag, self.kernel)

    def differenceCovariance(self, x: float, y: float, maxLag: int = 3) -> FloatArray:
        """Return the same of the difference before it was decorrelated."""
        return self._covariance(x, y, maxLag, None)

    def _covariance(self, x: float, y: float, maxLag: int, correction: LinearCombinationKernel | None) -> FloatArray:
        made = self._correction
        images = made.convolved, made.unconvolved
        return noiseCovariance(
            x, y, made.matching, *images,
            correction=correction, smoothing=made.smoothing, maxLag=maxLag, scale=made.scale,
        )  # fmt: skip


def decorrelate(
    difference: Exposure,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    psf: Any = None,
    isScienceConvolved: bool = False,
    varying: bool = True,
    completeVariance: bool = False,
    ignoreMaskPlanes: tuple[str, ...] = IGNORED_PLANES,
    maskedKernelFraction: float = 0.05,
    smoothing: LinearCombinationKernel | None = None,
    threads: int | None = None,
) -> Decorrelation:
    """Make the noise of a difference image white.

    Parameters
    ----------
    difference
        ``science - matched - background``, or with a convolved science image
        ``(matched + background - template) / kernel sum at the image's centre``; its variance plane is that of
        `psfmatch.difference.subtraction`. Not changed.
    kernel
        Matching kernel.
    convolved, unconvolved
        The image that the kernel was applied to, before it was, and the other one; on the difference's pixels.
    psf
        PSF of the difference, by default ``difference.psf``: that of the unconvolved image.
    isScienceConvolved
        Which of the two forms the difference has.
    varying
        Let the correction follow kernel and variances over the field; else it is that of the centre.
    completeVariance
        Propagate the variance of the convolved image exactly, by a convolution of its own; else from the
        difference's variance plane: the same on sky and right in sum everywhere, but in the cores of stars that
        outshine the sky off by 0.3 % where both images are equally deep, by 1 % (2.5 %) at a variance ratio of 10
        (100).
    ignoreMaskPlanes
        Planes whose pixels do not count for the typical variances.
    maskedKernelFraction
        A pixel receives the bad planes of another one where that holds more than this share of sum |phi|. At the
        default only large variance ratios spread single pixels, and only to their nearest neighbours: what is missing
        elsewhere is less than 1 % of the noise.
    smoothing
        Kernel with which the unconvolved image was smoothed before the fit; `unconvolved` is as it was before. The
        variance is then propagated completely.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    decorrelation : Decorrelation
        Bad pixels (planes BAD, SAT, CR, EDGE, NO_DATA; values or variances that cannot be used) keep their values and
        lend nothing to others. Without any known variance the difference is returned as it is, and a warning logged.

    Raises
    ------
    InputImagesError
        If the images differ in shape.
    ValueError
        If maskedKernelFraction is not in [0, 1), or the kernel sum at the centre is not a positive number.
    """
    if not 0.0 <= maskedKernelFraction < 1.0:
        raise ValueError(f"maskedKernelFraction is {maskedKernelFraction}: it must be at least 0 and less than 1")
    nThreads = resolveThreads(threads)
    correction = prepareCorrection(
        difference.maskedImage.getBBox(),
        kernel,
        convolved,
        unconvolved,
        isScienceConvolved=isScienceConvolved,
        varying=varying,
        completeVariance=completeVariance,
        ignoreMaskPlanes=ignoreMaskPlanes,
        smoothing=smoothing,
        threads=nThreads,
    )
    return correction.appliedTo(difference, psf, maskedKernelFraction, nThreads)


def restoredSpread(
    correction: LinearCombinationKernel, kernel: LinearCombinationKernel, lent: MaskedImage, isWhole: bool, threads: int
) -> SpreadVariance:
    """Return the spread of a correction that was stored: `lent` has its plane as variance, `isWhole`: no factors."""
    return SpreadVariance(lent.variance, None) if isWhole else factorsOfSpread(correction, kernel, lent, threads)


@dataclass(frozen=True, eq=False)
class Correction(ByValue):
    """What makes the noise of a difference white, made without a pixel of it.

    kernel : of sum 1, one pixel where no variance is known; spread : makes the variance that the convolved image lends;
    isKnown : whether any variance is; varianceRatio : v_c (sum k)^2 / v_n at the centre; matching : the matching
    kernel; convolved, unconvolved : the images, on the difference's pixels; scale : what the difference was divided by;
    smoothing : of the unconvolved image before the fit, None where it was as it is.
    """

    kernel: LinearCombinationKernel
    spread: SpreadVariance
    isKnown: bool
    varianceRatio: float
    matching: LinearCombinationKernel
    convolved: MaskedImage
    unconvolved: MaskedImage
    scale: float
    smoothing: LinearCombinationKernel | None = None

    @cached_property
    def unspreadVariance(self) -> npt.NDArray[np.float32]:
        """Variance of the unconvolved image, which the correction alone spreads; none where it was smoothed too."""
        own = self.unconvolved.variance
        return own if self.smoothing is None else np.zeros_like(own)

    def appliedTo(
        self, difference: Exposure, psf: Any = None, maskedKernelFraction: float = 0.05, threads: int = 1
    ) -> Decorrelation:
        """Return a difference of these images with white noise; see `decorrelate`."""
        psf = difference.psf if psf is None else psf
        effective = None if psf is None else asPsf(psf)
        if not self.isKnown:
            log.warning("Neither image has a usable variance plane: the difference is not decorrelated")
        else:
            effective = None if effective is None else CorrectedPsf(effective, self.kernel)
            log.info(
                "Decorrelated with a kernel of %d px, order %d; variance ratio %.3g",
                self.kernel.shape[0],
                self.kernel.order,
                self.varianceRatio,
            )
        return Decorrelation(self.kernel, effective, difference, self, maskedKernelFraction, threads)


def prepareCorrection(
    box: Box,
    kernel: LinearCombinationKernel,
    convolved: MaskedImage,
    unconvolved: MaskedImage,
    *,
    isScienceConvolved: bool = False,
    varying: bool = True,
    completeVariance: bool = False,
    ignoreMaskPlanes: tuple[str, ...] = IGNORED_PLANES,
    smoothing: LinearCombinationKernel | None = None,
    threads: int = 1,
) -> Correction:
    """Return the correction of a difference with pixels of `box`; parameters and errors are those of `decorrelate`."""
    for image in (convolved, unconvolved):
        if image.shape != box.shape:
            raise InputImagesError(
                f"an image of shape {image.shape} cannot have made a difference of shape {box.shape}",
                shape=box.shape,
                otherShape=image.shape,
            )
    kernelSum = kernel.kernelSum(*box.centre)
    if not (np.isfinite(kernelSum) and kernelSum > 0.0):
        raise ValueError(f"the matching kernel's sum at the centre is {kernelSum}: it must be positive")
    convolved, unconvolved = (
        MaskedImage(image.image, image.mask, image.variance, (box.x0, box.y0)) for image in (convolved, unconvolved)
    )
    ours, theirs = mapThreads(
        lambda image: measureVariances(image, ignoreMaskPlanes, resolveThreads(None)),
        (unconvolved, convolved),
        threads,
    )
    scale = kernelSum if isScienceConvolved else 1.0
    ratio = _varianceRatio(ours, theirs, kernelSum)
    if np.isnan(ratio):
        identity = LinearCombinationKernel(np.ones((1, 1, 1)), [[1.0]], bbox=box)
        nothing = SpreadVariance(convolved.variance, None)
        return Correction(identity, nothing, False, ratio, kernel, convolved, unconvolved, scale)
    correction = makeCorrection(kernel, box, ours, theirs, varying=varying, threads=threads, smoothing=smoothing)
    if smoothing is not None:
        spread = SpreadVariance(
            exactSpread(correction, kernel, convolved, threads).plane
            + exactSpread(correction, smoothing, unconvolved, threads).plane,
            None,
        )
    else:
        spread = (exactSpread if completeVariance else factorsOfSpread)(correction, kernel, convolved, threads)
    return Correction(correction, spread, True, ratio, kernel, convolved, unconvolved, scale, smoothing)


def measureVariances(image: MaskedImage, ignoredPlanes: tuple[str, ...], threads: int = 1) -> CellGrid:
    """Return the clipped means (3 sigma, 3 times) of the variances in 8 x 8 cells, of 32 px at least.

    A cell without a good pixel takes the median of the others; without any cell all are zero.
    """
    badBits = image.mask.getPlaneBitMask(ignoredPlanes, ignoreMissing=True)
    (x0, y0), mask = image.xy0, np.asarray(image.mask)
    return _core.measureCells(
        image.variance, image.variance, mask, badBits, isVariance=True, x0=x0, y0=y0, nThreads=threads
    )


def _varianceRatio(unconvolved: CellGrid, convolved: CellGrid, kernelSum: float) -> float:
    """Return v_c (sum k)^2 / v_n, NaN if nothing is known of either."""
    if not (unconvolved.isKnown or convolved.isKnown):
        return float("nan")
    below, above = float(np.median(unconvolved.values)), float(np.median(convolved.values)) * kernelSum**2
    ratio = above / below if below > 0.0 else float("inf")
    if ratio > MAX_MEANINGFUL_RATIO:
        log.warning(
            "The convolved image has %.2g times the variance of the other one, which counts as noiseless: one of the "
            "variance planes must be wrong; some correlation of the noise is left",
            ratio,
        )
    return ratio
