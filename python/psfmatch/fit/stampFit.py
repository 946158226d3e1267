"""The kernel between two small stamps from their pixels alone, for cut-outs with too few stars for any other fit.

science = ratio k * template + plane, k a Gaussian that may move, widen and deviate pixel by pixel, all of it by the
evidence of the pixels; what has changed is left out, and the transient in the middle of an alert has an account of its
own. The template is always the image that is convolved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import InputImagesError, NumericalError
from psfmatch.images import DEFAULT_BAD_PLANES, MaskedImage

__all__ = ["LARGEST_SIDE", "StampAttempt", "StampFit", "fitStamp", "requireStampFits"]

FloatArray = npt.NDArray[np.float64]
KNOWN_RATIO_ERROR = 0.02
"""Of a flux ratio that both images' calibrations tell."""
UNIT_RATIO_ERROR = 0.03
"""Of images that are taken to be on one scale: 1.5 % scatter of ZTF's alerts, 4.5 % of Palomar Gattini's."""
LEAST_SIDE, LARGEST_SIDE = 10, 150
"""Pixels; the core asks for the first, and beyond the second one kernel does not do."""


@dataclass(frozen=True)
class StampAttempt:
    """An account of the middle of a stamp: its flux in the difference within 3.5 px, and how well it explains the rest.

    account : "none", "scaled" (the source there by another factor), "point", or "out" (the middle is left out);
    score : nats; middleError : of the kernel, without the noise of the pixels; nRejected : blobs that are left out.
    """

    account: str
    score: float
    middleFlux: float
    middleError: float
    ratio: float
    nRejected: int


@dataclass(frozen=True, eq=False)
class StampFit:
    """Kernel and background of a stamp, and what tells how far they can be trusted.

    kernel : (h, w), of the sum `ratio`; plane : background at pixel (0, 0) of the arrays, per pixel along x, and along
    y, to be added to the convolved template; ratio, ratioError : flux of the science image over that of the template;
    isFree : whether the light has told it against the expectation; kernelWidth : sigma of its Gaussian,
    pixels, below zero where it sharpens by one;
    deviation : expected size of its deviation, in units of its peak; attempts : the accounts of the middle, best first;
    rejected : x, y of what has changed; scienceNoise, templateNoise : of a dark pixel; photonVariance : of the science
    image per count of light; modelError : share of the light that no kernel explains, largestModelError the largest
    that could have been found; middleNoise, middleLight : noise and light of the convolved template within 3.5 px of
    the middle; variance : of the difference, (h, w); noData : where light from beyond the template is missing.
    """

    kernel: FloatArray
    plane: tuple[float, float, float]
    ratio: float
    ratioError: float
    isFree: bool
    kernelWidth: float
    deviation: float
    account: str
    attempts: tuple[StampAttempt, ...]
    rejected: tuple[tuple[int, int], ...]
    scienceNoise: float
    templateNoise: float
    photonVariance: float
    modelError: float
    largestModelError: float
    middleNoise: float
    middleLight: float
    scienceSky: float
    templateSky: float
    scienceHasLight: bool
    templateHasLight: bool
    light: FloatArray
    variance: FloatArray
    noData: npt.NDArray[np.bool_]

    @property
    def noiseRatio(self) -> float:
        """Sum of k^2 over the square of the sum of k: what becomes of white noise; 1 without a kernel."""
        return float((self.kernel**2).sum() / self.kernel.sum() ** 2)

    @property
    def negativeShare(self) -> float:
        """Negative part of the kernel over the whole of its absolute values: how much it sharpens."""
        return float(-self.kernel[self.kernel < 0.0].sum() / abs(self.kernel).sum())


def requireStampFits(shape: tuple[int, ...]) -> None:
    """Raise InputImagesError if images are too small for a kernel of any kind."""
    height, width = shape
    if min(shape) < LEAST_SIDE:
        raise InputImagesError(
            f"images of {width}x{height} pixels hold no kernel; {LEAST_SIDE} on each side are needed", shape=shape
        )


def fitStamp(
    template: MaskedImage,
    science: MaskedImage,
    *,
    hasTransientInMiddle: bool = False,
    ratio: float | None = None,
    isVarianceKnown: bool = False,
) -> StampFit:
    """Fit the kernel that takes a stamp of the template to one of the science image.

    Parameters
    ----------
    template, science
        On the same pixels, 10 to 150 along each side; bad pixels and those of `DEFAULT_BAD_PLANES` do not count.
    hasTransientInMiddle
        Whether something in the middle may have changed, as in alerts.
    ratio
        Flux of the science image over that of the template, where calibrations tell it; else it is 1, or what the
        images say by far.
    isVarianceKnown
        Whether the variance planes are more than an estimate from these images.

    Raises
    ------
    InputImagesError
        If the stamps are too small, or hold too few pixels that are good in both.

    Examples
    --------
    >>> from psfmatch import MaskedImage
    >>> y, x = np.mgrid[-20:21, -20:21]
    >>> light = [1e4 / (2 * np.pi * s**2) * np.exp(-(x**2 + y**2) / (2 * s**2)) for s in (1.5, 2.0)]
    >>> noise = np.random.default_rng(0).normal(size=(2, 41, 41))
    >>> fit = fitStamp(*(MaskedImage((a + n).astype(np.float32)) for a, n in zip(light, noise)))
    >>> round(fit.ratio, 1)
    1.0
    """
    bad = [image.badPixels(DEFAULT_BAD_PLANES) | ~np.isfinite(image.image) for image in (template, science)]
    variances = [
        np.where(np.isfinite(image.variance), image.variance, 0.0).astype(np.float64) if isVarianceKnown else None
        for image in (template, science)
    ]
    try:
        found = _core.fitStamp(
            science.image,
            template.image,
            ~bad[1],
            ~bad[0],
            variances[1],
            variances[0],
            isAlert=hasTransientInMiddle,
            ratio=1.0 if ratio is None else ratio,
            ratioError=UNIT_RATIO_ERROR if ratio is None else KNOWN_RATIO_ERROR,
            canFreeRatio=True,
        )
    except NumericalError as error:
        raise InputImagesError(str(error), shape=science.shape) from error
    attempts = [
        StampAttempt(a.account.name, a.score, a.middleFlux, a.middleError, a.ratio, a.nRejected)
        for a in found.pop("attempts")
    ]
    return StampFit(
        plane=tuple(found.pop("plane")),
        account=found.pop("account").name,
        attempts=tuple(attempts),
        rejected=tuple((x, y) for x, y in found.pop("rejected")),
        **found,
    )
