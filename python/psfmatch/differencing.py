"""The front door: two images in, a difference with everything that belongs to it out.

`subtract` reads what it is given, chooses the direction of convolution by the PSF sizes, selects isolated stars
of useful signal-to-noise, and runs the task. It differs from the task's defaults where a user who sets nothing is
better served: the differential background is fitted, and borders keep their pixels (EDGE).
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from astropy.table import Table

from psfmatch.config import configFromDict, configToDict
from psfmatch.diagnostics import DifferenceNoise, candidateTable, differenceNoise
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.imagePsfMatch import ImagePsfMatchConfig, ImagePsfMatchTask
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.selection import requireSources
from psfmatch.strips import mapStrips

__all__ = ["MODES", "SubtractionResult", "chooseStars", "frontDoorConfig", "subtract"]

log = logging.getLogger("psfmatch.differencing")

Mode = Literal["auto", "convolveTemplate", "convolveScience"]
MODES: tuple[Mode, ...] = ("auto", "convolveTemplate", "convolveScience")

MIN_SNR = 20.0
"""Fainter stars constrain the kernel too little to be worth their noise in the kernel sum."""

MAX_NEIGHBOUR_FLUX = 0.1
"""A neighbour in the stamp with more than this share of a star's flux makes it a blend."""


CARRIED_METADATA = ("nDetectedSources", "templateFwhmPix", "scienceFwhmPix")
"""What is known before the kernel is solved, and stays true when it is solved again with a simpler model."""


@dataclass(frozen=True)
class SubtractionResult:
    """A difference image and what it was made from.

    difference : science - matched - background, on the science image's flux scale;
    matched : the convolved image; template : that on the science image's pixels, before any convolution;
    convolved : "template" or "science";
    kernel, background : the spatial model; candidates : one row per star, with its fate;
    noise : scatter of the difference against its variance plane; metadata : numbers of the run;
    config : the configuration that was used.
    """

    difference: Exposure
    matched: Exposure
    template: Exposure
    convolved: Literal["template", "science"]
    kernel: LinearCombinationKernel
    background: SpatialFunction2D
    candidates: Table
    noise: DifferenceNoise
    metadata: Mapping[str, Any]
    config: ImagePsfMatchConfig

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the run, ready for JSON."""
        mask = self.difference.mask
        box = self.difference.getBBox()
        pixels, bits = np.asarray(mask), np.int32(mask.getPlaneBitMask(("NO_DATA", "BAD", "SAT", "EDGE")))
        nBad = sum(mapStrips(lambda strip: int(np.count_nonzero(pixels[strip] & bits)), pixels.shape))
        status = np.asarray(self.candidates["status"])
        numbers = {
            "shape": [box.height, box.width],
            "convolved": self.convolved,
            "templateFwhmPix": self.metadata.get("templateFwhmPix"),
            "scienceFwhmPix": self.metadata.get("scienceFwhmPix"),
            "basisMode": self.metadata.get("ALBasisMode"),
            "basisSigmas": self.metadata.get("ALBasisSigGauss"),
            "kernelSize": self.kernel.shape[1],
            "nBasis": len(self.kernel.scaledParameters),
            "spatialKernelOrder": self.kernel.order,
            "nSources": self.metadata.get("nDetectedSources"),
            "nCandidates": len(self.candidates),
            "nGood": int((status == "GOOD").sum()),
            "nRejected": int((status == "BAD").sum()),
            "rejectedSources": dict(self.metadata.get("rejectedSources", {})),
            "rejectionReasons": dict(self.metadata.get("rejectionReasons", {})),
            "kernelSum": self.kernel.kernelSum(*box.centre),
            "backgroundAtCentre": float(self.background(*box.centre)),
            "conditionNumber": self.metadata.get("spatialConditionNum"),
            "noiseRobustStdev": self.noise.robustStdev,
            "noiseMedian": self.noise.median,
            "badFraction": nBad / pixels.size,
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in numbers.items()
        }

    def writeFits(self, path: str | PathLike[str], overwrite: bool = True) -> None:
        """Write difference, mask, variance, matched image, kernel, background, stars and configuration to one file."""
        self.difference.writeFits(
            path,
            overwrite=overwrite,
            matched=self.matched.image,
            kernel=self.kernel.toTables(self.background),
            stamps=self.candidates,
            config=configToDict(self.config),
        )


def frontDoorConfig() -> ImagePsfMatchConfig:
    """Return the configuration that `subtract` starts from."""
    config = ImagePsfMatchConfig()
    kernel = config.kernel["AL"]
    kernel.fitForBackground = True
    kernel.doCopyEdge = True
    for name in ("AL", "DF"):
        config.kernel[name].warpingConfig.keepCentroids = True
    return config


@functools.cache
def _frozenFrontDoorConfig() -> ImagePsfMatchConfig:
    """Return the one frozen instance that all runs without a configuration share: making one takes 50 ms."""
    config = frontDoorConfig()
    config.freeze()
    return config


def subtract(
    template: Any,
    science: Any,
    *,
    config: ImagePsfMatchConfig | None = None,
    mode: Mode = "auto",
    candidateList: Any = None,
    templateFwhmPix: float | None = None,
    scienceFwhmPix: float | None = None,
    threads: int | None = None,
) -> SubtractionResult:
    """Subtract a template from a science image after matching their PSFs.

    Parameters
    ----------
    template, science
        Exposure, MaskedImage, path of a FITS file, HDUList, CCDData, or 2-D array. Not changed. The template
        is warped to the science image's pixels; without a WCS on both they must have one pixel grid.
    config
        Configuration of the task; `frontDoorConfig` by default.
    mode
        Which image is convolved; "auto" takes the one with the narrower PSF.
    candidateList
        Stars to use, in any form of `psfmatch.candidates.toSourceTable` or the list of
        `ImagePsfMatchTask.makeCandidateList`; by default they are found.
    templateFwhmPix, scienceFwhmPix
        FWHM of the PSFs in pixels; by default from the PSF model or measured from the stars.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    result : SubtractionResult

    Raises
    ------
    ExposureReadError
        If a file cannot be read.
    InputImagesError
        If the images do not overlap, or differ in shape without a WCS to tell how they lie.
    NoKernelCandidatesError, InsufficientKernelSourcesError, KernelSolutionError
        If there are no, or too few, stars, or no solution.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    templateExposure = toExposure(template)
    scienceExposure = toExposure(science)
    task = ImagePsfMatchTask(config=_frozenFrontDoorConfig() if config is None else config, threads=threads)
    templateExposure = task.registerTemplate(templateExposure, scienceExposure)
    task.requireKernelFits(scienceExposure.maskedImage)
    with task.timer("select"):
        sources = candidateList
        if sources is None:
            found = task.getSelectSources(scienceExposure)
            requireSources(found, scienceExposure, getattr(task.selectDetection.config, "statsMask", ()))
            sources = chooseStars(found, task.kConfig.kernelSize)
    with task.timer("measurePsf"):
        fwhms = task.measureFwhms(templateExposure, scienceExposure, sources, templateFwhmPix, scienceFwhmPix)
    convolveTemplate = mode == "convolveTemplate" or (mode == "auto" and _templateIsSharper(*fwhms))
    while True:
        result = task.subtractExposures(
            templateExposure, scienceExposure, *fwhms, candidateList=sources, convolveTemplate=convolveTemplate
        )
        simpler = _simplerConfig(task.config, result.kernelFit.passes[-1].nUsed)
        if simpler is None:
            break
        metadata = task.metadata
        task = ImagePsfMatchTask(config=simpler, threads=threads)
        task.metadata.update({name: metadata[name] for name in CARRIED_METADATA if name in metadata})
    noise = differenceNoise(result.subtractedExposure.maskedImage)
    log.info(
        "Difference / sqrt(variance): robust standard deviation %.3f over %d blank pixels",
        noise.robustStdev,
        noise.nPixels,
    )
    return SubtractionResult(
        difference=result.subtractedExposure,
        matched=result.matchedExposure,
        template=result.warpedExposure,
        convolved="template" if convolveTemplate else "science",
        kernel=result.psfMatchingKernel,
        background=result.backgroundModel,
        candidates=candidateTable(result.kernelCellSet),
        noise=noise,
        metadata=dict(task.metadata),
        config=task.config,
    )


def _simplerConfig(config: ImagePsfMatchConfig, nCandidates: int) -> ImagePsfMatchConfig | None:
    """Return the configuration with spatial orders that the candidates can constrain, or None if they can already.

    A function of order n has (n + 1)(n + 2) / 2 terms, and every candidate gives one equation for each of them.
    """
    largest = 0
    while (largest + 2) * (largest + 3) // 2 <= nCandidates:
        largest += 1
    kernel = config.kernel.active
    orders = {
        "spatialKernelOrder": kernel.spatialKernelOrder,
        "spatialBgOrder": kernel.spatialBgOrder if kernel.fitForBackground else 0,
    }
    lower = {name: largest for name, order in orders.items() if order > largest}
    if not lower:
        return None
    for name in lower:
        log.warning(
            "%d candidates cannot constrain %s %d: solving again with %d", nCandidates, name, orders[name], largest
        )
    simpler: ImagePsfMatchConfig = configFromDict(type(config), configToDict(config))
    simpler.kernel.active.update(**lower)
    return simpler


def toExposure(source: Any) -> Exposure:
    """Return an Exposure from an Exposure, MaskedImage, path, HDUList, CCDData or array; TypeError otherwise."""
    if isinstance(source, Exposure):
        return source
    if isinstance(source, MaskedImage):
        return Exposure(source)
    if isinstance(source, str | PathLike | fits.HDUList):
        return Exposure.readFits(source)
    if hasattr(source, "uncertainty"):
        return Exposure.fromCCDData(source)
    if isinstance(source, np.ndarray):
        return Exposure.fromArray(source)
    raise TypeError(
        f"cannot make an Exposure of a {type(source).__name__}; give an Exposure, a path, an HDUList, a CCDData or "
        "a 2-D array"
    )


def chooseStars(sources: Table, kernelSize: int) -> Table:
    """Return the isolated sources of useful signal-to-noise, or all of them if that would leave fewer than ten.

    Parameters
    ----------
    sources
        Table of `getSelectSources`, brightest first.
    kernelSize
        Pixels; neighbours nearer than this are blends.
    """
    x, y, flux = (np.asarray(sources[name], dtype=float) for name in ("x", "y", "flux"))
    bright = (np.asarray(sources["snr"]) >= MIN_SNR) & ~np.asarray(sources["badCentre"])
    isolated = bright & ~_hasNeighbour(x, y, flux, float(kernelSize))
    for what, chosen in (("isolated", isolated), ("bright", bright)):
        if chosen.sum() >= 10:
            log.info("Using %d %s sources of %d above S/N %.0f", chosen.sum(), what, len(sources), MIN_SNR)
            return sources[chosen]
    log.info("Only %d sources above S/N %.0f: all %d are used", bright.sum(), MIN_SNR, len(sources))
    return sources


def _hasNeighbour(x: Any, y: Any, flux: Any, distance: float) -> Any:
    """Return which sources have another within `distance` (pixels) that is not much fainter."""
    order = np.argsort(y, kind="stable")
    x, y, flux = x[order], y[order], flux[order]
    hasOne = np.zeros(x.size, dtype=bool)
    first = np.arange(x.size)
    # Each with the next one by y, then the second next, and so on as long as any pair is near in y.
    for step in range(1, x.size):
        first = first[first + step < x.size]
        second = first + step
        isNear = ~(y[second] - y[first] > distance)
        first, second = first[isNear], second[isNear]
        if not first.size:
            break
        isPair = np.hypot(x[second] - x[first], y[second] - y[first]) <= distance
        one, other = first[isPair], second[isPair]
        hasOne[one[flux[other] > MAX_NEIGHBOUR_FLUX * flux[one]]] = True
        hasOne[other[flux[one] > MAX_NEIGHBOUR_FLUX * flux[other]]] = True
    found = np.empty_like(hasOne)
    found[order] = hasOne
    return found


def _templateIsSharper(templateFwhmPix: float | None, scienceFwhmPix: float | None) -> bool:
    if templateFwhmPix is None or scienceFwhmPix is None:
        log.info("PSF sizes unknown: convolving the template")
        return True
    sharper = templateFwhmPix <= scienceFwhmPix
    log.info(
        "Convolving the %s: PSF FWHM %.2f px of the template, %.2f px of the science image",
        "template" if sharper else "science image",
        templateFwhmPix,
        scienceFwhmPix,
    )
    return sharper
