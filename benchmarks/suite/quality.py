"""How good a difference image is, the same figures for every program: definitions as in benchmarks/README.md.

All programs are judged with one mask and one predicted variance, those of a perfect subtraction of the pair, so that
what a program says of its own noise does not enter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import Mask, MaskedImage
from psfmatch.testing import SimulatedPair
from psfmatch.testing.metrics import (
    falseDetections,
    robustSigma,
    starPull,
    transientCompleteness,
    transientFluxes,
)
from suite.timing import Record

FloatImage = npt.NDArray[np.floating[Any]]
BoolImage = npt.NDArray[np.bool_]

TEMPLATE_GROWTH = 10  # px about masked pixels of the template
SCIENCE_GROWTH = 1
APERTURE = 12.0  # px
SKY_RING = (16.0, 22.0)  # px
BRIGHT = 5e4  # counts of a star's flux, far above its sky noise
LEAST_SIGNAL_TO_NOISE = 15.0  # of transients whose fluxes are compared


def grow(flags: BoolImage, radius: int) -> BoolImage:
    """Return the flags grown by a square of `radius` pixels on every side."""
    grown = flags.copy()
    for axis in (0, 1):
        once = grown.copy()
        for step in range(1, radius + 1):
            for shift in (step, -step):
                moved = np.roll(once, shift, axis)
                edge = [slice(None), slice(None)]
                edge[axis] = slice(0, step) if shift > 0 else slice(-step, None)
                moved[tuple(edge)] = False
                grown |= moved
    return grown


class Judge:
    """The truth of a pair, made ready to judge difference images of it."""

    def __init__(self, pair: SimulatedPair) -> None:
        self.pair = pair
        template, science = pair.template.maskedImage, pair.science.maskedImage
        isBad = grow(np.asarray(science.mask) != 0, SCIENCE_GROWTH) | grow(
            np.asarray(template.mask) != 0, TEMPLATE_GROWTH
        )
        self.mask = np.where(isBad, 1, 0).astype(np.int32)  # BAD
        self.variance = pair.differenceVariance()

    def judge(self, image: FloatImage, *, hasOwnScale: bool = False) -> Record:
        """Return the figures of a difference image (ny, nx) in science counts.

        `hasOwnScale`: fluxes and noise are not those of the science image; it is scaled to the predicted noise, and
        figures of fluxes are left out.
        """
        pair = self.pair
        mask = np.where(np.isfinite(image), self.mask, 1).astype(np.int32)
        values = np.where(np.isfinite(image), image, 0.0).astype(np.float32)
        if hasOwnScale:
            good = mask == 0
            values = values - np.float32(np.median(values[good]))
            values /= np.float32(robustSigma((values[good] / np.sqrt(self.variance[good])).astype(np.float64)))
        difference = MaskedImage(values, Mask(mask, pair.science.mask.planes), self.variance)
        robust, plain = starPull(difference, pair.truth)
        figures: Record = {"starRobust": robust, "starPlain": plain}
        if not hasOwnScale:
            figures["scaleError"] = self._scaleError(difference)
            table = transientFluxes(difference, pair.truth)
            bright = np.abs(np.asarray(table["predictedSignalToNoise"])) > LEAST_SIGNAL_TO_NOISE
            trueFlux, flux, error = (np.asarray(table[name])[bright] for name in ("trueFlux", "flux", "error"))
            weight = (trueFlux / error) ** 2
            figures["fluxBias"] = float(np.nansum(weight * (flux / trueFlux - 1)) / np.nansum(weight))
            pulls = (flux - trueFlux) / error
            figures["pullWidth"] = robustSigma(pulls[np.isfinite(pulls)])
        figures["falsePerMpx"] = sum(falseDetections(difference, pair.truth))
        figures["completeness"] = transientCompleteness(difference, pair.truth)
        return figures

    def _scaleError(self, difference: MaskedImage) -> float:
        """Flux of bright stars in science minus difference over that in the template, less the truth, relative.

        Bad pixels take their true values: apertures without any are rare.
        """
        pair, truth = self.pair, self.pair.truth
        good = np.asarray(difference.mask) == 0
        matched = np.where(good, pair.science.image - difference.image, truth.matched)
        before = np.where(np.asarray(pair.template.mask) == 0, pair.template.image, truth.template)
        stars = truth.stars
        steady = ~np.asarray(stars["isVariable"]) & ~np.asarray(stars["isSaturated"])
        errors = []
        for x, y in stars[steady & (np.asarray(stars["flux"]) > BRIGHT)].iterrows("x", "y"):
            dx, dy = truth.optics.offset
            ratio = _apertureFlux(matched, x, y) / _apertureFlux(before, x + dx, y + dy)
            errors.append(ratio / truth.kernelSum(x, y) - 1.0)
        return float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("nan")


def _apertureFlux(image: FloatImage, x: float, y: float) -> float:
    """Flux within the aperture above the median of the ring; NaN where they reach off the image."""
    half = int(SKY_RING[1]) + 1
    column, row = round(x), round(y)
    if min(column, row) < half or row + half >= image.shape[0] or column + half >= image.shape[1]:
        return float("nan")
    rows, columns = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
    steps = np.arange(-half, half + 1)
    radius = np.hypot(steps + column - x, steps[:, None] + row - y)
    pixels = image[rows, columns].astype(np.float64)
    sky = np.median(pixels[(radius >= SKY_RING[0]) & (radius <= SKY_RING[1])])
    return float((pixels[radius <= APERTURE] - sky).sum())
