"""The pixels of regions, and what a kernel leaves of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.cells import KernelCandidate
from psfmatch.strips import mapStrips
from psfmatch.visitors import fitControl, stampPairs

__all__ = ["BoolStack", "PixelRegions", "PixelStack", "Residuals", "robustSpread"]

FloatArray = npt.NDArray[np.float64]
PixelStack = npt.NDArray[np.float32]
BoolStack = npt.NDArray[np.bool_]

LEAST_VARIANCE = np.float32(0.3)
"""Of a pixel, in units of its region's mean."""
MAX_SPREAD_PIXELS = 200_000
"""Pixels from which a spread is measured: enough for 0.3 %."""


@dataclass(frozen=True, eq=False)
class PixelRegions:
    """The fitted pixels of all regions, (regions, h, w).

    stamps : as the core takes them; x, y : middles, parent pixels; science, scienceVariance, templateVariance (before
    it is convolved) : image units; usable : good in both images.
    """

    stamps: list[_core.StampPair]
    x: FloatArray
    y: FloatArray
    science: PixelStack
    scienceVariance: PixelStack
    templateVariance: PixelStack
    usable: BoolStack
    control: _core.CandidateFitControl
    threads: int

    @classmethod
    def ofCandidates(
        cls, candidates: Sequence[KernelCandidate], config: Any, kernelShape: tuple[int, int], threads: int
    ) -> PixelRegions:
        """Read the pixels of candidates whose stamps have one shape; others are a ValueError."""
        stamps = stampPairs(candidates, config)
        control = fitControl(config, 0)
        science, scienceVariance, templateVariance, usable = _core.readRegions(
            stamps, *kernelShape, control, nThreads=threads
        )
        total = scienceVariance + templateVariance
        usable &= np.isfinite(total) & (total > 0.0)
        _leaveOutSaturated(candidates, kernelShape, usable)
        return cls(
            stamps,
            np.array([c.x for c in candidates]),
            np.array([c.y for c in candidates]),
            science,
            scienceVariance,
            templateVariance,
            usable,
            control,
            threads,
        )

    def subset(self, chosen: npt.NDArray[np.int64]) -> PixelRegions:
        """Return some of the regions."""
        return PixelRegions(
            [self.stamps[i] for i in chosen.tolist()],
            self.x[chosen],
            self.y[chosen],
            self.science[chosen],
            self.scienceVariance[chosen],
            self.templateVariance[chosen],
            self.usable[chosen],
            self.control,
            self.threads,
        )

    def __len__(self) -> int:
        return len(self.stamps)

    def equations(self, basis: _core.PreparedBasis, weights: PixelStack) -> tuple[FloatArray, FloatArray]:
        """Return the normal equations, matrices (regions, m, m) and right-hand sides (regions, m)."""
        return _core.makeRegionEquations(self.stamps, basis, weights, self.control, nThreads=self.threads)

    def _expectedVariance(self, model: PixelStack, part: slice) -> PixelStack:
        """Return the science image's variance as a linear function of the expected light, fitted region by region.

        Variances that were made of the noisy pixels themselves give a pixel that is low by chance more weight than one
        that is high, which draws the background down by about one electron; those of the expected light do not.
        """
        usable = self.usable[part]
        weight = usable.astype(np.float32)
        count = np.maximum(weight.sum(axis=(1, 2)), 1.0)

        def mean(values: npt.NDArray[Any]) -> PixelStack:
            total = np.einsum("tyx,tyx->t", weight, values) / count
            stack: PixelStack = total.astype(np.float32)[:, None, None]
            return stack

        variance = np.where(usable, self.scienceVariance[part], np.float32(0))
        model = np.where(usable, model, np.float32(0))
        meanVariance = mean(variance)
        deviation = np.where(usable, model - mean(model), np.float32(0))
        # In units of the largest: squares of counts of 1e20 do not fit into float32.
        tiny = np.finfo(np.float32).tiny
        deviation /= np.maximum(np.abs(deviation).max(axis=(1, 2), keepdims=True), tiny)
        slope = mean(deviation * (variance - meanVariance)) / np.maximum(mean(deviation**2), tiny)
        expected = meanVariance + np.maximum(slope, np.float32(0)) * deviation
        result: PixelStack = np.maximum(expected, LEAST_VARIANCE * meanVariance)
        return result

    def residuals(self, basisList: npt.ArrayLike, coefficients: FloatArray, backgrounds: FloatArray) -> Residuals:
        """Return what kernels (coefficients (regions, n)) and backgrounds (regions) leave of the science image."""
        model, modelVariance = _core.convolveRegions(
            self.stamps, basisList, coefficients, self.control, nThreads=self.threads
        )
        levels = backgrounds[:, None, None].astype(np.float32)
        variance, sigma, pull = (np.empty_like(self.science) for _ in range(3))
        usable, sky = np.empty_like(self.usable), np.empty(len(self), dtype=np.float32)

        def weigh(part: slice) -> None:
            # Near the largest float nothing is known of a pixel's variance, and the pixel does not count.
            with np.errstate(over="ignore", invalid="ignore"):
                np.add(self._expectedVariance(model[part], part), modelVariance[part], out=variance[part])
            np.logical_and(self.usable[part], variance[part] > 0.0, out=usable[part])
            np.sqrt(np.where(usable[part], variance[part], np.float32(1)), out=sigma[part])
            residual = self.science[part] - model[part] - levels[part]
            np.divide(np.where(usable[part], residual, np.float32(0)), sigma[part], out=pull[part])
            sky[part] = np.median(model[part].reshape(len(residual), -1), axis=1)

        mapStrips(weigh, model.shape, self.threads)
        # In a crowd the median is light: no region's sky lies above most others'.
        sky = np.minimum(sky, np.median(sky) + 3.0 * robustSpread(sky)).astype(np.float32)
        signal = np.empty_like(model)

        def compare(part: slice) -> None:
            np.divide(model[part] - sky[part, None, None], sigma[part], out=signal[part])

        mapStrips(compare, model.shape, self.threads)
        return Residuals(pull, signal, variance, usable)


def _leaveOutSaturated(candidates: Sequence[KernelCandidate], kernelShape: tuple[int, int], usable: BoolStack) -> None:
    """Take the pixels out whose kernel footprint holds a saturated pixel of the image to convolve.

    Nobody knows the light that is missing there, and little of it, spread by the kernel's wings, counts as kernel sum.
    """
    height, width = kernelShape
    for candidate, pixels in zip(candidates, usable, strict=True):
        mask = candidate.templateMaskedImage.mask
        bits = mask.getPlaneBitMask(("SAT",), ignoreMissing=True)
        flags = (np.asarray(mask) & bits) != 0
        if flags.any():
            for axis, length in ((0, height), (1, width)):
                total = np.cumsum(flags, axis=axis)
                total = np.insert(total, 0, 0, axis=axis)
                n = total.shape[axis]
                flags = np.take(total, range(length, n), axis) > np.take(total, range(n - length), axis)
            pixels[flags] = False


@dataclass(frozen=True, eq=False)
class Residuals:
    """(regions, h, w) each. pull : residual / sigma, 0 where not usable; signal : predicted light / sigma of a pixel;
    variance : of the difference; usable : pixels that count.
    """

    pull: PixelStack
    signal: PixelStack
    variance: PixelStack
    usable: BoolStack


def robustSpread(values: npt.NDArray[Any]) -> float:
    """Return 1.4826 times the median absolute deviation from the median of at most 200 000 values, evenly taken."""
    if not values.size:
        return float("nan")
    taken = values[:: max(1, values.size // MAX_SPREAD_PIXELS)]
    return 1.4826 * float(np.median(np.abs(taken - np.median(taken))))
