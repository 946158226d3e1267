"""The score image: for every pixel, how significant a point source there would be.

With D' the decorrelated difference and P' the PSF that it has, the score is the matched filter P' D'. That is,
frequency by frequency, the score of Kovacs (2021, DMTN-179), for which the science image is filtered with its own PSF
before the template is matched to it,

    P' D' = conj(P) (S - K T - background) (v_S + v_T k^2) / (v_S + v_T |K|^2),

with P the science PSF, K the matching kernel, k its sum, and v the variances of science and template; likewise where
the science image was convolved. But K is fitted to images whose noise is white and whose details are all there. A
kernel fitted to the filtered image misses what the filter has taken away: with a template much sharper than the science
image its errors added 5 to 15 % to the noise of the score.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch.config.equality import ByValue
from psfmatch.difference import decorrelate, smoothingKernel
from psfmatch.frontdoor.subtracting import Mode, subtract
from psfmatch.images import Exposure, ImageLike, MaskedImage, atOrigin, gainsOf, toExposure
from psfmatch.threads import withThreads
from psfmatch.transients import NoiseScale, filterDifference

if TYPE_CHECKING:
    from astropy.table import Table

    from psfmatch.frontdoor.result import SubtractionResult
    from psfmatch.tasks.configs import ImagePsfMatchConfig

__all__ = ["Score", "computeScore", "scoreOf"]

log = logging.getLogger("psfmatch.frontdoor")

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Score(ByValue):
    """A score image and what it was made of.

    score : Exposure with variance, which includes the error floor, and mask, the science image's properties and the PSF
    of the image that was not convolved; EDGE on the outer border of half a PSF; NaN, infinite variance and NO_DATA
    where nothing is known;
    significance : (h, w), score / sqrt(variance), NaN where nothing is known;
    fluxScale : score of a point source of flux 1 at its peak, anywhere: flux = score / fluxScale;
    noise : how the significance of blank sky scattered before score and significance were scaled to it;
    psfFrom : where the PSF comes from, in words; result : the subtraction, with all that was done to the images.
    """

    score: Exposure
    significance: FloatImage
    fluxScale: float
    noise: NoiseScale
    psfFrom: str
    result: SubtractionResult

    def detect(self, threshold: float = 5.0, **options: Any) -> Table:
        """Find and measure what has changed, by `SubtractionResult.detect`: its sources are the peaks of this image."""
        table = self.result.detect(threshold, **({"psf": self.score.psf} | options))
        if "psf" not in options:
            table.meta["PSFFROM"] = self.psfFrom
        return table

    def writeFits(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Write score, mask, variance and PSF to a file; the card FLUXSCAL holds `fluxScale`."""
        described = self.result.described(self.score)
        described.metadata["FLUXSCAL"] = self.fluxScale
        described.writeFits(path, overwrite=overwrite)


@withThreads
def computeScore(
    template: ImageLike,
    science: ImageLike,
    psf: Any = None,
    *,
    config: ImagePsfMatchConfig | None = None,
    mode: Mode = "auto",
    candidateList: Any = None,
    templateFwhmPix: float | None = None,
    scienceFwhmPix: float | None = None,
    threads: int | None = None,
    **gains: float | None,
) -> Score:
    """Make the score image of a pair.

    Parameters
    ----------
    template, science, config, mode, candidateList, templateFwhmPix, scienceFwhmPix, threads, gains
        As for `psfmatch.subtract`, which makes the difference that is filtered; gains are gain, readNoise,
        templateGain, templateReadNoise, scienceGain and scienceReadNoise.
    psf
        Of the science image; by default its own, else from its stars.

    Returns
    -------
    score : Score

    Raises
    ------
    InputImagesError
        As for `psfmatch.subtract`, or if no pixel of the difference can be used.
    ExposureReadError, NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError
        As for `psfmatch.subtract`.
    ValueError
        If the PSF is nowhere defined.
    """
    if psf is not None:
        given = toExposure(science, *gainsOf(gains)[1])
        science = given.withPixels(given.maskedImage)
        science.psf = psf
    result = subtract(
        template,
        science,
        config=config,
        mode=mode,
        candidateList=candidateList,
        templateFwhmPix=templateFwhmPix,
        scienceFwhmPix=scienceFwhmPix,
        threads=threads,
        **dict[str, Any](gains),
    )
    return scoreOf(result)


def scoreOf(result: SubtractionResult) -> Score:
    """Make the score image of a pair that has been subtracted."""
    psf, origin = result.unconvolvedPsf
    result = _decorrelated(result)
    filtered = filterDifference(result.decorrelated, result.decorrelatedPsf(psf), floor=result.errorFloorPlane)
    flux, fluxErr = filtered.fluxes()
    fluxScale = 1.0 / filtered.found.psf.noiseArea
    with np.errstate(invalid="ignore", over="ignore"):
        pixels = MaskedImage(
            flux * np.float32(fluxScale),
            result.decorrelated.mask.copy(),
            (fluxErr * np.float32(fluxScale)) ** 2,
            result.difference.maskedImage.xy0,
        )
        significance = flux / fluxErr
    _flagUnknown(pixels, np.isfinite(significance), filtered.found.psf.half)
    score = result.difference.withPixels(pixels)
    score.psf = psf
    log.info(
        "Score image: %.1f %% of the pixels have a significance, which scatters by %.3f +/- %.3f on blank sky",
        100.0 * float(np.isfinite(significance).mean()), filtered.found.noise.measured, filtered.found.noise.error,
    )  # fmt: skip
    return Score(score, significance, fluxScale, filtered.found.noise, origin, result)


def _decorrelated(result: SubtractionResult) -> SubtractionResult:
    """Return a result of the same images, decorrelated if it was not; another object, which knows of no score."""
    if result.decorrelation is not None:
        return dataclasses.replace(result)
    isTemplate = result.convolved == "template"
    science = result.science.maskedImage
    template = atOrigin(result.template.maskedImage, science)
    convolved, unconvolved = (template, science) if isTemplate else (science, template)
    decorrelation = decorrelate(
        result.difference,
        result.kernel,
        convolved,
        unconvolved,
        isScienceConvolved=not isTemplate,
        smoothing=smoothingKernel(result.smoothing, science.getBBox()) if result.smoothing else None,
    )
    return dataclasses.replace(result, decorrelation=decorrelation)


def _flagUnknown(pixels: MaskedImage, isKnown: npt.NDArray[np.bool_], border: int) -> None:
    """Flag the outer border, and what has no score, NO_DATA."""
    mask = pixels.mask
    edge = np.ones(pixels.shape, dtype=bool)
    edge[border:-border, border:-border] = False
    mask[edge] |= mask.getPlaneBitMask("EDGE")
    mask[~isKnown] |= mask.getPlaneBitMask("NO_DATA")
    pixels.image[~isKnown] = np.nan
    pixels.variance[~isKnown] = np.inf
