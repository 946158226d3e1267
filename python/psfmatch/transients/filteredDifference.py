"""A difference without what is left of its background, filtered for point sources."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import BackgroundOptions, SubtractBackgroundConfig
from psfmatch.errors import InputImagesError
from psfmatch.images import UNUSABLE_PLANES, Exposure, MaskedImage, withUsableBorder
from psfmatch.kernels import PsfField
from psfmatch.sources import subtractBackground
from psfmatch.threads import resolveThreads
from psfmatch.transients.significance import Peaks, Significance, fluxImage, significanceImage

__all__ = [
    "DEFAULT_BACKGROUND_BIN",
    "DEFAULT_MIN_COVERAGE",
    "FilteredDifference",
    "filterDifference",
    "levelledWithout",
]

log = logging.getLogger("psfmatch.differenceSources")

DEFAULT_BACKGROUND_BIN = 128
DEFAULT_MIN_COVERAGE = 0.1


@dataclass(frozen=True)
class FilteredDifference:
    """A difference without what is left of its background, and the significance of a point source at every pixel."""

    maskedImage: MaskedImage
    found: Significance

    def fluxes(self, threads: int | None = None) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the flux (h, w) of a point source at every pixel and its error; NaN, infinite where nothing tells."""
        return fluxImage(self.found, DEFAULT_MIN_COVERAGE, threads)


def filterDifference(
    exposure: Exposure,
    psf: Any = None,
    *,
    backgroundBin: int = DEFAULT_BACKGROUND_BIN,
    badPlanes: Iterable[str] = UNUSABLE_PLANES,
    floor: npt.NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> FilteredDifference:
    """Filter a difference for point sources; parameters and errors are those of `detectOnDifference`."""
    if backgroundBin < 0:
        raise ValueError(f"backgroundBin is {backgroundBin}; give a number of pixels, or 0 to leave the background")
    psf = exposure.psf if psf is None else psf
    if psf is None:
        raise ValueError("the difference has no PSF; give psf=, for example GaussianPsf(fwhm / 2.355) or psfFromStars")
    if floor is not None and floor.shape != exposure.shape:
        raise InputImagesError(
            f"an error floor of shape {floor.shape} does not belong to a difference of shape {exposure.shape}",
            shape=floor.shape,
            otherShape=exposure.shape,
        )
    planes = tuple(badPlanes)
    usable = withUsableBorder(exposure.maskedImage)
    maskedImage = _levelled(usable, backgroundBin, planes, resolveThreads(threads))
    field = PsfField.of(psf, maskedImage.getBBox())
    return FilteredDifference(maskedImage, significanceImage(maskedImage, field, planes, threads, floor))


def _levelled(maskedImage: MaskedImage, binSize: int, planes: tuple[str, ...], threads: int) -> MaskedImage:
    """Return an image without what is left of its background; itself where nothing can be measured."""
    if binSize == 0:
        return maskedImage
    try:
        # Of all pixels: a filter collects the errors of a background over the whole PSF.
        options = _backgroundOptions(binSize)
        image, level = subtractBackground(maskedImage, options, planes, threads, samplePixels=math.inf)
    except ValueError as error:
        log.debug("No background: %s", error)
        return maskedImage
    log.debug("Background left on the difference: %.4g", level)
    return MaskedImage(image, maskedImage.mask, maskedImage.variance, maskedImage.xy0)


def levelledWithout(
    peaks: Peaks,
    half: int,
    maskedImage: MaskedImage,
    levelled: MaskedImage,
    binSize: int,
    planes: tuple[str, ...],
    threads: int | None,
) -> MaskedImage:
    """Return an image without the background that is left beyond squares of half side `half` about peaks.

    Their light has raised that of `levelled`, which is returned where too few other pixels are left.
    """
    mask = maskedImage.mask.copy()
    bad, pixels = np.int32(mask.getPlaneBitMask("BAD")), np.asarray(mask)
    for x, y in zip(peaks.x.tolist(), peaks.y.tolist(), strict=True):
        pixels[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1] |= bad
    alone = MaskedImage(maskedImage.image, mask, maskedImage.variance, maskedImage.xy0)
    again = _levelled(alone, binSize, (*planes, "BAD"), resolveThreads(threads))
    return levelled if again is alone else MaskedImage(again.image, levelled.mask, levelled.variance, levelled.xy0)


@functools.cache
def _backgroundOptions(binSize: int) -> BackgroundOptions:
    config = SubtractBackgroundConfig()
    config.binSize, config.useApprox, config.algorithm = binSize, False, "LINEAR"
    return BackgroundOptions.fromConfig(config)
