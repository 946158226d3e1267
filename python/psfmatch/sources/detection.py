"""Detection of sources by a threshold, blends taken apart as by SExtractor (Bertin & Arnouts 1996).

The image is smoothed with a Gaussian of the PSF's width first, so that a threshold in sigma means the same for
point sources whatever the seeing. Bad pixels are filled for the smoothing and never detected; the border of half a
smoothing kernel is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config import DetectionOptions
from psfmatch.config.later import laterClass
from psfmatch.config.task import Struct, Task
from psfmatch.images import Mask, MaskedImage
from psfmatch.io.sourceTable import SourceTable, asTable
from psfmatch.sources.background import estimateBackground, gridOfSamples, subtractBackground
from psfmatch.sources.footprints import FootprintSet, growRadius

__all__ = ["SourceDetectionTask", "setDetectedPlanes"]

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.void]

MIN_NOISE_PIXELS = 1000
"""Fewer pixels than this do not show their own noise; the variance plane is asked too."""
MAX_CLIPPING_PIXELS = 250_000
"""Pixels, on a regular grid, from which the noise of an image is measured: enough for 0.3 %."""
MAX_SAMPLE_STEP = 8
"""Distance (pixels) of the samples: 64 in the usual super-pixel, whose sky they tell to an eighth of the noise."""
SIGNS = {"positive": 1.0, "negative": -1.0}
PLANES = {"positive": "DETECTED", "negative": "DETECTED_NEGATIVE"}


@dataclass(frozen=True)
class _Search:
    """What is searched: image and variance (h, w), its bad pixels, the profile along one axis that smooths it."""

    image: FloatImage
    variance: FloatImage
    filled: _core.FilledPixels
    profile: list[float]
    threads: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]

    def samples(self, steps: tuple[int, int]) -> FloatImage:
        """Return smoothed pixels in every so manieth row and column."""
        return _core.smoothedSamples(
            self.image,
            self.filled,
            profile=self.profile,
            rowStep=steps[0],
            columnStep=steps[1],
            nThreads=self.threads,
        )


@dataclass(frozen=True)
class _Samples:
    """Smoothed pixels of a lattice, NaN where nothing is detected, and their distances along y and x."""

    pixels: FloatImage
    steps: tuple[int, int]


class SourceDetectionTask(Task):
    """Finds sources on a background-subtracted image.

    Any task whose `run` takes these arguments, by name, and returns a Table with x and y (parent pixels), brightest
    first, or a Struct with such a Table as ``sources``, can stand in for this one
    (``config.selectDetection.retarget``). `psfmatch.subtract` also needs flux and snr to choose stars.
    """

    ConfigClass = laterClass("psfmatch.config.detection:SourceDetectionConfig")
    _DefaultName = "sourceDetection"

    @cached_property
    def options(self) -> DetectionOptions:
        """The configuration as it is read."""
        return DetectionOptions.fromConfig(self._given)

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
            Number of threads.
        rounding
            Error (image units) that taking the background off a large sky level has left; no source is fainter.

        Returns
        -------
        result : Struct
            ``sources``: Table, brightest first: id, x, y (parent pixels), flux, fluxErr (isophotal, of the smoothed
            image), snr, peak, a, b (pixels, of the smoothed image), npix, flags (SExtractor's: 1 a blend taken apart,
            2 at the image's border, or where smoothing ends, 8 all pixels on a line), isNegative, footprint
            (index in those of its sign). ``positive``, ``negative``: FootprintSet, grown unless
            ``returnOriginalFootprints``; ``detected``: Struct of the grown ones; ``background``: what the configuration
            adds to the background (``adjustBackground``, ``reEstimateBackground``), image units, number or (h, w);
            ``noise``: the threshold in image units over ``thresholdValue``; NaN where it is one of each pixel.
        """
        found = self.search(maskedImage, sigma, doSmooth, threads, rounding)
        found.sources = asTable(found.sources)
        return found

    def search(
        self,
        maskedImage: MaskedImage,
        sigma: float,
        doSmooth: bool = True,
        threads: int = 1,
        rounding: float = 0.0,
        isGrown: bool = True,
    ) -> Struct:
        """Detect sources as `run` does, timed under its name; ``sources`` is a `SourceTable`.

        Footprints are as they were found unless `isGrown`: who wants the sources alone need not wait for more.
        """
        with self.timer("run"):
            return self._search(maskedImage, sigma, doSmooth, threads, rounding, isGrown)

    def _search(
        self, maskedImage: MaskedImage, sigma: float, doSmooth: bool, threads: int, rounding: float, isGrown: bool
    ) -> Struct:
        options = self.options
        image = self._searched(maskedImage, threads)
        filled = _core.fillBadPixels(
            image,
            maskedImage.variance,
            np.asarray(maskedImage.mask),
            maskedImage.mask.getPlaneBitMask(options.statsMask, ignoreMissing=True),
            nThreads=threads,
        )
        profile = self._profile(sigma, maskedImage.shape) if doSmooth else [1.0]
        search = _Search(image, maskedImage.variance, filled, profile, threads)
        samples = self._samples(search)
        parts, found, grown = [], {}, {}
        radius = growRadius(options.nSigmaToGrow, sigma) if isGrown else 0
        isPossible = bool(np.isfinite(samples.pixels).any())
        perPixel = options.thresholdType == "pixel_stdev"
        unit = self._unit(search, samples, rounding) if isPossible and not perPixel else 1.0
        for polarity, (objects, own) in self._find(search, samples, maskedImage.xy0, rounding, unit).items():
            grown[polarity] = own.grown(radius, options.isotropicGrow, options.combinedGrow)
            found[polarity] = own if options.returnOriginalFootprints else grown[polarity]
            # Footprints that are grown one by one keep their numbers.
            numbered = found[polarity] if options.combinedGrow else own
            label = numbered.labelsAt(_whole(objects["xPeak"]), _whole(objects["yPeak"]))
            parts.append((objects, label, SIGNS[polarity]))
        detected = Struct(**grown)
        return Struct(
            sources=_tableOf(parts, maskedImage),
            **found,
            detected=detected,
            background=self._backgroundLeft(maskedImage, detected, threads),
            noise=math.nan if perPixel else unit,
        )

    def _searched(self, maskedImage: MaskedImage, threads: int) -> FloatImage:
        """Return the pixels that are searched: without the configured number of counts, and the wide background."""
        options = self.options
        image = maskedImage.image
        if options.adjustBackground:
            image = image - np.float32(options.adjustBackground)
        if options.doTempWideBackground:
            planes = MaskedImage(image, maskedImage.mask, maskedImage.variance, maskedImage.xy0)
            try:
                image, _ = subtractBackground(planes, options.tempWideBackground, options.statsMask, threads)
            except ValueError as error:
                self._log.warning("Wide background failed (%s); detecting without it", error)
        return image

    def _backgroundLeft(self, maskedImage: MaskedImage, detected: Struct, threads: int) -> FloatImage | float:
        """Return what is to be added to the background now that the sources are known."""
        adjustment = float(self.options.adjustBackground)
        if not self.options.reEstimateBackground:
            return adjustment
        planes = MaskedImage(maskedImage.image, maskedImage.mask.copy(), maskedImage.variance, maskedImage.xy0)
        setDetectedPlanes(planes.mask, detected)
        try:
            left = estimateBackground(planes, self.options.background, self.options.statsMask, threads)
        except ValueError as error:
            self._log.warning("Background failed after detection (%s); keeping the one before", error)
            return adjustment
        return left + np.float32(adjustment)

    def _samples(self, search: _Search) -> _Samples:
        """Return smoothed pixels of a lattice that is dense enough for the noise and for a local background."""
        size = search.image.size
        step = min(MAX_SAMPLE_STEP, math.isqrt(size // MAX_CLIPPING_PIXELS))
        steps = (1, 1)
        if step > 1:
            # Few rows of many pixels: all of a row is read for any of it.
            local = self.options.tempLocalBackground
            steps = (
                min(2 * step, local.binSizeY or local.binSize, search.shape[0]),
                min(max(1, step // 2), local.binSizeX or local.binSize, search.shape[1]),
            )
        samples = _Samples(search.samples(steps), steps)
        if steps != (1, 1) and len(search.filled) < size and not np.isfinite(samples.pixels).any():
            return _Samples(search.samples((1, 1)), (1, 1))
        return samples

    def _find(
        self, search: _Search, samples: _Samples, xy0: tuple[int, int], rounding: float, unit: float
    ) -> dict[str, tuple[Objects, FootprintSet]]:
        """Return the objects above a threshold of so many units, blends apart, and their pixels, for each polarity."""
        options = self.options
        isPossible = bool(np.isfinite(samples.pixels).any())
        wanted = {polarity: isPossible and options.thresholdPolarity in (polarity, "both") for polarity in SIGNS}
        perPixel = options.thresholdType == "pixel_stdev"
        found = _core.findSources(
            search.image,
            search.variance,
            search.filled,
            profile=search.profile,
            threshold=options.thresholdValue * unit,
            perPixel=perPixel,
            minStdev=max(rounding, float(np.finfo(np.float32).tiny)),
            findPositive=wanted["positive"],
            findNegative=wanted["negative"],
            minPixels=options.minPixels,
            nThreads=search.threads,
        )
        return {
            polarity: self._kept(*_foundOf(*own, search.shape, xy0), sign, search, samples)
            for (polarity, sign), own in zip(SIGNS.items(), found, strict=True)
        }

    def _kept(
        self, objects: Objects, footprints: FootprintSet, sign: float, search: _Search, samples: _Samples
    ) -> tuple[Objects, FootprintSet]:
        """Return the objects and footprints that the configuration keeps."""
        multiplier = self.options.includeThresholdMultiplier
        if multiplier > 1.0:
            isKept = np.zeros(len(footprints), dtype=bool)
            isKept[objects["footprint"][objects["peak"] >= multiplier * objects["threshold"]]] = True
            footprints = footprints.select(isKept)
            objects = objects[isKept[objects["footprint"]]]
            objects["footprint"] = (np.cumsum(isKept) - 1)[objects["footprint"]]
        if len(objects) and self.options.doTempLocalBackground and self.options.tempLocalBackground.algorithm != "NONE":
            objects = objects[self._standsOut(objects, sign, search, samples)]
        return objects, footprints

    def _standsOut(self, objects: Objects, sign: float, search: _Search, samples: _Samples) -> BoolImage:
        """Return which objects are above the threshold over the local background, or the brightest of few in theirs."""
        isPeak = np.ones(len(objects), dtype=bool)
        label = objects["footprint"]
        crowded = np.flatnonzero(np.bincount(label)[label] > self.options.nPeaksMaxSimple)
        if not crowded.size:
            return isPeak
        try:
            grid = gridOfSamples(
                samples.pixels, search.shape, samples.steps, self.options.tempLocalBackground, search.threads
            )
        except ValueError as error:
            self._log.warning("Local background failed (%s); all peaks are kept", error)
            return isPeak
        peaks = objects[crowded]
        local = sign * grid.at(peaks["xPeak"], peaks["yPeak"])
        isPeak[crowded] = peaks["peak"] - local > peaks["threshold"]
        order = np.argsort(-objects["peak"], kind="stable")
        isPeak[order[np.unique(label[order], return_index=True)[1]]] = True
        return isPeak

    def _profile(self, sigma: float, shape: tuple[int, int]) -> list[float]:
        """Return a Gaussian of a width (pixels), of odd length and sum 1, that fits into an image."""
        size = int(self.options.nSigmaForKernel * sigma + 0.5) // 2 * 2 + 1
        radius = min(size, *(side - 1 + side % 2 for side in shape)) // 2
        profile = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        return [float(value) for value in profile / profile.sum()]

    def _unit(self, search: _Search, samples: _Samples, rounding: float) -> float:
        """Return the unit of the threshold in image units."""
        if self.options.thresholdType == "value":
            return 1.0
        step = max(1, math.isqrt(samples.pixels.size // MAX_CLIPPING_PIXELS))
        stdev, largest, count = _core.sampleNoise(np.ascontiguousarray(samples.pixels[::step, ::step]))
        if not count:
            step = 1
            stdev, largest, count = _core.sampleNoise(samples.pixels)
        if count < MIN_NOISE_PIXELS:
            # Smoothing has shrunk the noise of a pixel.
            good = np.isfinite(samples.pixels[::step, ::step])
            variance = search.variance[tuple(slice(s // 2, None, s) for s in samples.steps)][::step, ::step]
            typical = max(0.0, float(np.median(variance[good])))
            stdev = max(stdev, math.sqrt(typical) * sum(weight**2 for weight in search.profile))
        if stdev <= rounding:
            # Without noise any signal above rounding is a source.
            stdev = max(rounding, 1e-6 * largest, float(np.finfo(np.float32).tiny))
        return stdev**2 if self.options.thresholdType == "variance" else stdev


def setDetectedPlanes(mask: Mask, detected: Struct) -> None:
    """Set DETECTED and DETECTED_NEGATIVE of a mask (h, w) anew, in place, from the ``detected`` of a detection."""
    for polarity, plane in PLANES.items():
        pixels = np.asarray(mask)
        pixels &= np.int32(~(1 << mask.addPlane(plane)))
        getattr(detected, polarity).setMask(mask, plane)


def _tableOf(parts: list[tuple[Objects, npt.NDArray[np.int64], float]], maskedImage: MaskedImage) -> SourceTable:
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
    fluxErr = np.sqrt(variance * objects["nPixels"])
    return SourceTable(
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
            "npix": np.asarray(objects["nPixels"], dtype=np.int64),
            "flags": np.asarray(objects["flags"], dtype=np.int64),
            "isNegative": sign < 0.0,
            "footprint": footprint,
        },
        units=dict.fromkeys(("x", "y", "a", "b"), "pix"),
    )


def _foundOf(
    objects: Objects, runs: npt.NDArray[np.void], count: int, shape: tuple[int, int], xy0: tuple[int, int]
) -> tuple[Objects, FootprintSet]:
    """Return the core's objects and footprints as the task knows them."""
    y, x0, x1, label = (runs[name].astype(np.int64) for name in ("y", "x0", "x1", "footprint"))
    # Sums over pixels near the end of float32 overflow.
    isFound = np.isfinite(objects["x"]) & np.isfinite(objects["y"])
    return objects[isFound], FootprintSet(y, x0, x1, label, count, shape, xy0)


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return values.astype(np.int64)
