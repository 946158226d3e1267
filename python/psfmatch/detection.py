"""Detection of sources, by ``sep`` (Barbary 2016; SExtractor, Bertin & Arnouts 1996).

The image is smoothed with a Gaussian of the PSF's width first, so that a threshold in sigma means the same for
point sources whatever the seeing. Bad pixels are filled for the smoothing and never detected; the border of half a
smoothing kernel is left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import sep
from astropy import units
from astropy.table import Table

from psfmatch import _core
from psfmatch.background import estimateBackground, gridOf
from psfmatch.config import SourceDetectionConfig
from psfmatch.exposure import Mask, MaskedImage
from psfmatch.footprints import FootprintSet, growRadius
from psfmatch.psf import GaussianPsf
from psfmatch.task import Struct, Task, timeMethod

__all__ = ["SourceDetectionTask", "setDetectedPlanes"]

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.void]

MIN_NOISE_PIXELS = 1000
"""Fewer pixels than this do not show their own noise; the variance plane is asked too."""
MAX_CLIPPING_PIXELS = 250_000
"""Pixels, on a regular grid, from which the noise of an image is measured: enough for 0.3 %."""
LOCAL_SAMPLE_PIX = 64
"""Pixels of a super-pixel that tell its local background: to an eighth of the noise, a fraction of any threshold."""
SIGNS = {"positive": 1.0, "negative": -1.0}
PLANES = {"positive": "DETECTED", "negative": "DETECTED_NEGATIVE"}

_NAMES = ("x", "y", "flux", "peak", "a", "b", "npix", "flag", "xpeak", "ypeak")


class SourceDetectionTask(Task):
    """Finds sources on a background-subtracted image.

    Any task whose `run` takes these arguments, by name, and returns a Table with x and y (parent pixels), brightest
    first, or a Struct with such a Table as ``sources``, can stand in for this one
    (``config.selectDetection.retarget``). `psfmatch.subtract` also needs flux and snr to choose stars.
    """

    ConfigClass = SourceDetectionConfig
    _DefaultName = "sourceDetection"

    @timeMethod
    def run(
        self,
        maskedImage: MaskedImage,
        sigma: float,
        doSmooth: bool = True,
        threads: int = 1,
        rounding: float = 0.0,
    ) -> Struct:
        """Detect sources.

        Parameters
        ----------
        maskedImage
            Background-subtracted image; not changed. Pixels of the ``statsMask`` planes are not detected.
        sigma
            Width of the PSF in pixels, for the smoothing and the growth of footprints.
        doSmooth
            Smooth with a Gaussian of that width before detection.
        threads
            Number of threads for the smoothing.
        rounding
            Error (image units) that taking the background off a large sky level has left; no source is fainter.

        Returns
        -------
        result : Struct
            ``sources``: Table, brightest first: id, x, y (parent pixels), flux, fluxErr (isophotal, of the smoothed
            image), snr, peak, a, b (pixels, of the smoothed image), npix, flags (sep's), isNegative, footprint
            (index in those of its sign). ``positive``, ``negative``: FootprintSet, grown unless
            ``returnOriginalFootprints``; ``detected``: Struct of the grown ones; ``background``: what the configuration
            adds to the background (``adjustBackground``, ``reEstimateBackground``), image units, number or (h, w).
        """
        config = self.config
        bad = maskedImage.badPixels(config.statsMask)
        image = self._searched(maskedImage)
        kernel = None
        if doSmooth and not bad.all():
            kernel = self._smoothingKernel(sigma, maskedImage)
            # NaN makes a pixel bad: it is filled for the smoothing.
            image = _core.convolveImage(np.where(bad, np.float32(np.nan), image), kernel, nThreads=threads)
            # The border was not smoothed: its noise would pass the threshold.
            bad = _withBorder(bad, kernel.shape)
        threshold: FloatImage | float = 0.0
        if not bad.all():
            threshold = self._threshold(image, maskedImage, bad, kernel, rounding, threads)
        parts, found, grown = [], {}, {}
        radius = growRadius(config.nSigmaToGrow, sigma)
        for polarity, sign in SIGNS.items():
            if config.thresholdPolarity in (polarity, "both") and not bad.all():
                objects, own = self._find(image if sign > 0.0 else -image, threshold, bad, maskedImage.xy0)
            else:
                objects, own = (
                    _objects(None),
                    FootprintSet.fromPixels(np.zeros(image.shape, dtype=bool), maskedImage.xy0),
                )
            grown[polarity] = own.grown(radius, config.isotropicGrow, config.combinedGrow)
            found[polarity] = own if config.returnOriginalFootprints else grown[polarity]
            # Footprints that are grown one by one keep their numbers.
            numbered = found[polarity] if config.combinedGrow else own
            parts.append((objects, numbered.labelsAt(_whole(objects["xpeak"]), _whole(objects["ypeak"])), sign))
        detected = Struct(**grown)
        return Struct(
            sources=_tableOf(parts, maskedImage),
            **found,
            detected=detected,
            background=self._backgroundLeft(maskedImage, detected),
        )

    def _searched(self, maskedImage: MaskedImage) -> FloatImage:
        """Return the pixels that are searched: without the configured number of counts, and the wide background."""
        config = self.config
        image = np.ascontiguousarray(maskedImage.image)
        if config.adjustBackground:
            image = image - np.float32(config.adjustBackground)
        if config.doTempWideBackground:
            planes = MaskedImage(image, maskedImage.mask, maskedImage.variance, maskedImage.xy0)
            try:
                image = image - estimateBackground(planes, config.tempWideBackground, config.statsMask)
            except ValueError as error:
                self.log.warning("Wide background failed (%s); detecting without it", error)
        return image

    def _backgroundLeft(self, maskedImage: MaskedImage, detected: Struct) -> FloatImage | float:
        """Return what is to be added to the background now that the sources are known."""
        adjustment = float(self.config.adjustBackground)
        if not self.config.reEstimateBackground:
            return adjustment
        planes = MaskedImage(maskedImage.image, maskedImage.mask.copy(), maskedImage.variance, maskedImage.xy0)
        setDetectedPlanes(planes.mask, detected)
        try:
            left = estimateBackground(planes, self.config.background, self.config.statsMask)
        except ValueError as error:
            self.log.warning("Background failed after detection (%s); keeping the one before", error)
            return adjustment
        return left + np.float32(adjustment)

    def _threshold(
        self,
        image: FloatImage,
        maskedImage: MaskedImage,
        bad: BoolImage,
        kernel: npt.NDArray[np.float64] | None,
        rounding: float,
        threads: int,
    ) -> FloatImage | float:
        """Return the threshold in image units, (h, w) for pixel_stdev."""
        value = float(self.config.thresholdValue)
        if self.config.thresholdType != "pixel_stdev":
            shrink = 1.0 if kernel is None else math.sqrt(float((kernel**2).sum()))
            return value * self._unit(image, maskedImage.variance, bad, shrink, rounding)
        variance = np.where(bad, np.float32(np.nan), np.maximum(maskedImage.variance, np.float32(0.0)))
        if kernel is not None:
            variance = _core.convolveImage(variance, kernel**2, nThreads=threads)
        floor = np.float32(max(rounding, float(np.finfo(np.float32).tiny)))
        return np.float32(value) * np.maximum(np.sqrt(variance), floor)

    def _find(
        self, image: FloatImage, threshold: FloatImage | float, bad: BoolImage, xy0: tuple[int, int]
    ) -> tuple[Objects, FootprintSet]:
        """Return the objects above a threshold, blends taken apart, and their connected pixels."""
        extracted, segments = self._extract(image, threshold, bad)
        objects = _objects(extracted)
        footprints = FootprintSet.fromPixels(segments > 0, xy0)
        if not len(objects):
            return objects, footprints
        x, y = _whole(objects["xpeak"]), _whole(objects["ypeak"])
        label = footprints.labelsAt(x, y)
        least = threshold[y, x] if isinstance(threshold, np.ndarray) else np.full(len(objects), threshold)
        multiplier = self.config.includeThresholdMultiplier
        if multiplier > 1.0:
            isKept = np.zeros(len(footprints), dtype=bool)
            isKept[label[objects["peak"] >= multiplier * least]] = True
            footprints = footprints.select(isKept)
            isIn = isKept[label]
            objects, least, label = objects[isIn], least[isIn], (np.cumsum(isKept) - 1)[label[isIn]]
        if self.config.doTempLocalBackground and self.config.tempLocalBackground.algorithm != "NONE":
            isPeak = self._standsOut(image, bad, objects, label, least)
            objects = objects[isPeak]
        return objects, footprints

    def _standsOut(
        self, image: FloatImage, bad: BoolImage, objects: Objects, label: npt.NDArray[np.int64], least: npt.ArrayLike
    ) -> BoolImage:
        """Return which objects are above the threshold over the local background, or the brightest of few in theirs."""
        isPeak = np.ones(len(objects), dtype=bool)
        crowded = np.flatnonzero(np.bincount(label)[label] > self.config.nPeaksMaxSimple)
        if not crowded.size:
            return isPeak
        try:
            grid = gridOf(image, lambda strip: bad[strip], self.config.tempLocalBackground, LOCAL_SAMPLE_PIX)
        except ValueError as error:
            self.log.warning("Local background failed (%s); all peaks are kept", error)
            return isPeak
        peaks = objects[crowded]
        isPeak[crowded] = peaks["peak"] - grid.at(peaks["xpeak"], peaks["ypeak"]) > np.asarray(least)[crowded]
        order = np.argsort(-objects["peak"], kind="stable")
        isPeak[order[np.unique(label[order], return_index=True)[1]]] = True
        return isPeak

    def _extract(
        self, image: FloatImage, threshold: FloatImage | float, bad: BoolImage
    ) -> tuple[Objects, npt.NDArray[np.int32]]:
        options = {"mask": bad, "minarea": self.config.minPixels, "filter_kernel": None, "segmentation_map": True}
        level = threshold
        if isinstance(threshold, np.ndarray):
            level, options["err"] = 1.0, threshold
        # One object per three pixels at the threshold is more than any field has.
        sep.set_extract_pixstack(max(1_000_000, image.size // 3))
        sep.set_sub_object_limit(4096)
        try:
            found: tuple[Objects, npt.NDArray[np.int32]] = sep.extract(image, level, **options)
        except Exception as error:  # sep raises bare Exception when its deblending overflows
            self.log.warning("Deblending failed (%s); detecting without it", error)
            found = sep.extract(image, level, deblend_cont=1.0, **options)
        return found

    def _smoothingKernel(self, sigma: float, maskedImage: MaskedImage) -> npt.NDArray[np.float64]:
        size = int(self.config.nSigmaForKernel * sigma + 0.5) // 2 * 2 + 1
        size = min(size, *(side - 1 + side % 2 for side in maskedImage.shape))
        return GaussianPsf(sigma, size).computeKernelImage(0.0, 0.0)

    def _unit(self, image: FloatImage, variance: FloatImage, bad: BoolImage, shrink: float, rounding: float) -> float:
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


def setDetectedPlanes(mask: Mask, detected: Struct) -> None:
    """Set DETECTED and DETECTED_NEGATIVE of a mask (h, w) anew, in place, from the ``detected`` of a detection."""
    for polarity, plane in PLANES.items():
        pixels = np.asarray(mask)
        pixels &= np.int32(~(1 << mask.addPlane(plane)))
        getattr(detected, polarity).setMask(mask, plane)


def _tableOf(parts: list[tuple[Objects, npt.NDArray[np.int64], float]], maskedImage: MaskedImage) -> Table:
    """Return the catalogue of objects with the footprint of each, those above the sky and those below it."""
    objects = np.concatenate([found for found, _, _ in parts])
    footprint = np.concatenate([label for _, label, _ in parts])
    sign = np.concatenate([np.full(len(found), sign) for found, _, sign in parts])
    order = np.argsort(-objects["flux"], kind="stable")
    objects, footprint, sign = objects[order], footprint[order], sign[order]
    x, y = np.asarray(objects["x"], dtype=np.float64), np.asarray(objects["y"], dtype=np.float64)
    column = np.clip(np.floor(x + 0.5).astype(int), 0, maskedImage.width - 1)
    row = np.clip(np.floor(y + 0.5).astype(int), 0, maskedImage.height - 1)
    variance = np.maximum(maskedImage.variance[row, column], 0.0).astype(np.float64)
    flux = sign * objects["flux"]
    fluxErr = np.sqrt(variance * objects["npix"])
    table = Table(
        {
            "id": np.arange(1, len(objects) + 1),
            "x": x + maskedImage.xy0[0],
            "y": y + maskedImage.xy0[1],
            "flux": flux,
            "fluxErr": fluxErr,
            "snr": np.divide(flux, fluxErr, out=np.copysign(np.inf, flux), where=fluxErr > 0.0),
            "peak": sign * objects["peak"],
            "a": np.asarray(objects["a"], dtype=np.float64),
            "b": np.asarray(objects["b"], dtype=np.float64),
            "npix": np.asarray(objects["npix"], dtype=np.int64),
            "flags": np.asarray(objects["flag"], dtype=np.int64),
            "isNegative": sign < 0.0,
            "footprint": footprint,
        }
    )
    for name in ("x", "y", "a", "b"):
        table[name].unit = units.pix
    return table


def _objects(extracted: Objects | None) -> Objects:
    """Return what is needed of the objects of sep; no object for None."""
    objects = np.zeros(0 if extracted is None else len(extracted), dtype=[(name, np.float64) for name in _NAMES])
    if extracted is not None:
        for name in _NAMES:
            objects[name] = extracted[name]
    # Sums over pixels near the end of float32 overflow.
    isFound: BoolImage = np.isfinite(objects["x"]) & np.isfinite(objects["y"])
    found: Objects = objects[isFound]
    return found


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return values.astype(np.int64)


def _withBorder(bad: BoolImage, kernelShape: tuple[int, ...]) -> BoolImage:
    """Return `bad` with the border of half a kernel added."""
    grown = bad.copy()
    halfY, halfX = kernelShape[0] // 2, kernelShape[1] // 2
    if halfY:
        grown[:halfY] = grown[-halfY:] = True
    if halfX:
        grown[:, :halfX] = grown[:, -halfX:] = True
    return grown
