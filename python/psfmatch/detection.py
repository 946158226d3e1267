"""Sky background and detection of sources, by ``sep`` (Barbary 2016; SExtractor, Bertin & Arnouts 1996).

The image is smoothed with a Gaussian of the PSF's width first, so that a threshold in sigma means the same for
point sources whatever the seeing. Bad pixels are filled for the smoothing and never detected; the border of half a
smoothing kernel is left out.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import sep
from astropy.table import Table

from psfmatch import _core
from psfmatch.config import SourceDetectionConfig, SubtractBackgroundConfig
from psfmatch.exposure import MaskedImage
from psfmatch.psf import GaussianPsf
from psfmatch.task import Task

__all__ = ["SourceDetectionTask", "estimateBackground"]

MAX_CLIPPING_PIXELS = 250_000
"""Pixels, on a regular grid, from which the noise of an image is measured: enough for 0.3 %."""


def estimateBackground(
    maskedImage: MaskedImage, bad: npt.NDArray[np.bool_], config: SubtractBackgroundConfig
) -> npt.NDArray[np.float32]:
    """Return a smooth model of the sky, (h, w) in image units.

    Parameters
    ----------
    maskedImage
        Image, not changed.
    bad
        Pixels to leave out, (h, w).
    config
        `binSizeX`, `binSizeY` or `binSize` give the mesh (pixels).

    Raises
    ------
    ValueError
        If there is no good pixel.
    """
    if bad.all():
        raise ValueError("no good pixel to estimate a background from")
    width = min(config.binSizeX or config.binSize, maskedImage.width)
    height = min(config.binSizeY or config.binSize, maskedImage.height)
    pixels = np.where(bad, np.float32(0.0), maskedImage.image)
    mesh = sep.Background(pixels, mask=bad, bw=width, bh=height)
    background: npt.NDArray[np.float32] = mesh.back(dtype=np.float32)
    if not np.isfinite(background).all():
        raise ValueError("the mesh of the background holds cells without a good pixel")
    return background


class SourceDetectionTask(Task):
    """Finds sources on a background-subtracted image."""

    ConfigClass = SourceDetectionConfig
    _DefaultName = "sourceDetection"

    def run(
        self,
        maskedImage: MaskedImage,
        bad: npt.NDArray[np.bool_],
        sigma: float,
        doSmooth: bool = True,
        threads: int = 1,
    ) -> Table:
        """Detect sources.

        Parameters
        ----------
        maskedImage
            Background-subtracted image; not changed.
        bad
            Pixels in which nothing is detected, (h, w).
        sigma
            Width of the PSF in pixels, for the smoothing.
        doSmooth
            Smooth with a Gaussian of that width before detection.
        threads
            Number of threads for the smoothing.

        Returns
        -------
        sources : Table
            Brightest first: x, y (parent pixels), flux, fluxErr (isophotal, image units), snr, peak, a, b
            (pixels, of the smoothed image), npix, flags (sep's).
        """
        image = maskedImage.image
        noise = math.nan
        if self.config.thresholdType == "pixel_stdev":
            noise = self._medianNoise(maskedImage, bad)
        if doSmooth:
            kernel = self._smoothingKernel(sigma, maskedImage)
            # NaN makes a pixel bad: it is filled for the smoothing.
            image = _core.convolveImage(np.where(bad, np.float32(np.nan), image), kernel, nThreads=threads)
            noise *= math.sqrt(float((kernel**2).sum()))
            # The border was not smoothed: its noise would pass the threshold.
            bad = _withBorder(bad, kernel.shape)
        threshold = self._threshold(image, bad, noise)
        if threshold is None:
            return self._tableOf(np.zeros(0, dtype=[(name, "f8") for name in _COLUMNS]), maskedImage)
        # One object per three pixels at the threshold is more than any field has.
        sep.set_extract_pixstack(max(1_000_000, image.size // 3))
        sep.set_sub_object_limit(4096)
        try:
            objects = sep.extract(image, threshold, mask=bad, minarea=self.config.minPixels, filter_kernel=None)
        except Exception as error:  # sep raises bare Exception when its deblending overflows
            self.log.warning("Deblending failed (%s); detecting without it", error)
            objects = sep.extract(
                image, threshold, mask=bad, minarea=self.config.minPixels, filter_kernel=None, deblend_cont=1.0
            )
        return self._tableOf(objects, maskedImage)

    def _smoothingKernel(self, sigma: float, maskedImage: MaskedImage) -> npt.NDArray[np.float64]:
        size = int(self.config.nSigmaForKernel * sigma + 0.5) // 2 * 2 + 1
        size = min(size, *(side - 1 + side % 2 for side in maskedImage.shape))
        return GaussianPsf(sigma, size).computeKernelImage(0.0, 0.0)

    def _medianNoise(self, maskedImage: MaskedImage, bad: npt.NDArray[np.bool_]) -> float:
        """Return the typical noise of a pixel by the variance plane, in image units; 0 if no pixel can be used."""
        step = _stepOf(maskedImage.image)
        variance = maskedImage.variance[::step, ::step][~bad[::step, ::step]]
        return math.sqrt(max(0.0, float(np.median(variance)))) if variance.size else 0.0

    def _threshold(self, image: npt.NDArray[np.float32], bad: npt.NDArray[np.bool_], noise: float) -> float | None:
        """Return the detection threshold in image units, or None if no pixel can be used."""
        step = _stepOf(image)
        pixels = image[::step, ::step][~bad[::step, ::step]]
        if pixels.size == 0:
            return None
        value = self.config.thresholdValue * self.config.includeThresholdMultiplier
        match self.config.thresholdType:
            case "value":
                unit = 1.0
            case "stdev":
                unit = _core.clippedStatistics(pixels.astype(np.float64)).stdev
            case "variance":
                unit = _core.clippedStatistics(pixels.astype(np.float64)).stdev ** 2
            case _:
                unit = noise
        if unit <= 0.0:
            # A noiseless image: any signal above rounding is a source.
            unit = max(1e-6 * float(np.abs(pixels).max()), float(np.finfo(np.float32).tiny))
        return float(value * unit)

    def _tableOf(self, objects: npt.NDArray[np.void], maskedImage: MaskedImage) -> Table:
        objects = objects[np.argsort(-objects["flux"], kind="stable")]
        x, y = np.asarray(objects["x"], dtype=np.float64), np.asarray(objects["y"], dtype=np.float64)
        column = np.clip(np.floor(x + 0.5).astype(int), 0, maskedImage.width - 1)
        row = np.clip(np.floor(y + 0.5).astype(int), 0, maskedImage.height - 1)
        variance = np.maximum(maskedImage.variance[row, column], 0.0).astype(np.float64)
        flux = np.asarray(objects["flux"], dtype=np.float64)
        fluxErr = np.sqrt(variance * objects["npix"])
        return Table(
            {
                "id": np.arange(1, len(objects) + 1),
                "x": x + maskedImage.xy0[0],
                "y": y + maskedImage.xy0[1],
                "flux": flux,
                "fluxErr": fluxErr,
                "snr": np.divide(flux, fluxErr, out=np.full_like(flux, np.inf), where=fluxErr > 0.0),
                "peak": np.asarray(objects["peak"], dtype=np.float64),
                "a": np.asarray(objects["a"], dtype=np.float64),
                "b": np.asarray(objects["b"], dtype=np.float64),
                "npix": np.asarray(objects["npix"], dtype=np.int64),
                "flags": np.asarray(objects["flag"], dtype=np.int64),
            }
        )


_COLUMNS = ("x", "y", "flux", "peak", "a", "b", "npix", "flag")


def _stepOf(image: npt.NDArray[np.float32]) -> int:
    return max(1, math.isqrt(image.size // MAX_CLIPPING_PIXELS))


def _withBorder(bad: npt.NDArray[np.bool_], kernelShape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return `bad` with the border of half a kernel added."""
    grown = bad.copy()
    halfY, halfX = kernelShape[0] // 2, kernelShape[1] // 2
    if halfY:
        grown[:halfY] = grown[-halfY:] = True
    if halfX:
        grown[:, :halfX] = grown[:, -halfX:] = True
    return grown
