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
from psfmatch.task import Task, timeMethod

__all__ = ["SourceDetectionTask", "estimateBackground"]

MIN_MESH_PIX = 16
"""Images with a shorter side (pixels) have one value for the sky: a mesh would follow their noise."""
MAX_MASKED_FRACTION = 0.3
"""With more bad pixels than this, cells of the background mesh begin to be lost."""
MIN_NOISE_PIXELS = 1000
"""Fewer pixels than this do not show their own noise; the variance plane is asked too."""
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
    step = max(1, math.isqrt(bad.size // MAX_CLIPPING_PIXELS))
    sample = maskedImage.image[::step, ::step][~bad[::step, ::step]]
    median = np.float32(np.median(sample if sample.size else maskedImage.image[~bad]))
    if min(maskedImage.shape) < MIN_MESH_PIX:
        return np.full(maskedImage.shape, median)
    pixels = np.where(bad, median, maskedImage.image)
    # sep gives a cell up when half of it is masked; where the median fills it, the rest still tells of the sky.
    mask = bad if np.count_nonzero(bad) < MAX_MASKED_FRACTION * bad.size else None
    mesh = sep.Background(
        pixels,
        mask=mask,
        bw=_cellSize(maskedImage.width, config.binSizeX or config.binSize),
        bh=_cellSize(maskedImage.height, config.binSizeY or config.binSize),
    )
    background: npt.NDArray[np.float32] = mesh.back(dtype=np.float32)
    if not np.isfinite(background).all():
        raise ValueError("the mesh of the background holds cells without a good pixel")
    return background


def _cellSize(side: int, wanted: int) -> int:
    """Return the size that cuts a side into nearly equal cells of about the wanted size, without a small rest."""
    count = max(1, round(side / wanted))
    return -(-side // count)


class SourceDetectionTask(Task):
    """Finds sources on a background-subtracted image."""

    ConfigClass = SourceDetectionConfig
    _DefaultName = "sourceDetection"

    @timeMethod
    def run(
        self,
        maskedImage: MaskedImage,
        bad: npt.NDArray[np.bool_],
        sigma: float,
        doSmooth: bool = True,
        threads: int = 1,
        rounding: float = 0.0,
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
        rounding
            Error (image units) that taking the background off a large sky level has left; no source is fainter.

        Returns
        -------
        sources : Table
            Brightest first: x, y (parent pixels), flux, fluxErr (isophotal, image units), snr, peak, a, b
            (pixels, of the smoothed image), npix, flags (sep's).
        """
        image = np.ascontiguousarray(maskedImage.image)
        shrink = 1.0
        if doSmooth:
            kernel = self._smoothingKernel(sigma, maskedImage)
            # NaN makes a pixel bad: it is filled for the smoothing.
            image = _core.convolveImage(np.where(bad, np.float32(np.nan), image), kernel, nThreads=threads)
            shrink = math.sqrt(float((kernel**2).sum()))
            # The border was not smoothed: its noise would pass the threshold.
            bad = _withBorder(bad, kernel.shape)
        if bad.all():
            return self._tableOf(np.zeros(0, dtype=[(name, "f8") for name in _COLUMNS]), maskedImage)
        threshold = self.config.thresholdValue * self.config.includeThresholdMultiplier
        noise: npt.NDArray[np.float32] | None = None
        if self.config.thresholdType == "pixel_stdev":
            floor = max(rounding, float(np.finfo(np.float32).tiny))
            variance = np.where(bad, np.float32(np.nan), np.maximum(maskedImage.variance, np.float32(0.0)))
            if doSmooth:
                variance = _core.convolveImage(variance, kernel**2, nThreads=threads)
            noise = np.maximum(np.sqrt(variance), np.float32(floor))
        else:
            threshold *= self._unit(image, maskedImage.variance, bad, shrink, rounding)
        return self._tableOf(self._extract(image, threshold, noise, bad), maskedImage)

    def _extract(
        self,
        image: npt.NDArray[np.float32],
        threshold: float,
        noise: npt.NDArray[np.float32] | None,
        bad: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.void]:
        options = {"err": noise, "mask": bad, "minarea": self.config.minPixels, "filter_kernel": None}
        # One object per three pixels at the threshold is more than any field has.
        sep.set_extract_pixstack(max(1_000_000, image.size // 3))
        sep.set_sub_object_limit(4096)
        try:
            objects: npt.NDArray[np.void] = sep.extract(image, threshold, **options)
        except Exception as error:  # sep raises bare Exception when its deblending overflows
            self.log.warning("Deblending failed (%s); detecting without it", error)
            objects = sep.extract(image, threshold, deblend_cont=1.0, **options)
        return objects

    def _smoothingKernel(self, sigma: float, maskedImage: MaskedImage) -> npt.NDArray[np.float64]:
        size = int(self.config.nSigmaForKernel * sigma + 0.5) // 2 * 2 + 1
        size = min(size, *(side - 1 + side % 2 for side in maskedImage.shape))
        return GaussianPsf(sigma, size).computeKernelImage(0.0, 0.0)

    def _unit(
        self,
        image: npt.NDArray[np.float32],
        variance: npt.NDArray[np.float32],
        bad: npt.NDArray[np.bool_],
        shrink: float,
        rounding: float,
    ) -> float:
        """Return the unit of the threshold in image units; smoothing has shrunk the noise of a pixel by `shrink`."""
        step = max(1, math.isqrt(image.size // MAX_CLIPPING_PIXELS))
        good = ~bad[::step, ::step]
        if not good.any():
            step, good = 1, ~bad
        if self.config.thresholdType == "value":
            return 1.0
        pixels = image[::step, ::step][good]
        stdev = _core.clippedStatistics(pixels.astype(np.float64)).stdev
        if pixels.size < MIN_NOISE_PIXELS:
            typical = max(0.0, float(np.median(variance[::step, ::step][good])))
            stdev = max(stdev, math.sqrt(typical) * shrink)
        if stdev <= rounding:
            # Without noise any signal above rounding is a source.
            stdev = max(rounding, 1e-6 * float(np.abs(pixels).max()), float(np.finfo(np.float32).tiny))
        return stdev**2 if self.config.thresholdType == "variance" else stdev

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


def _withBorder(bad: npt.NDArray[np.bool_], kernelShape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return `bad` with the border of half a kernel added."""
    grown = bad.copy()
    halfY, halfX = kernelShape[0] // 2, kernelShape[1] // 2
    if halfY:
        grown[:halfY] = grown[-halfY:] = True
    if halfX:
        grown[:, :halfX] = grown[:, -halfX:] = True
    return grown
