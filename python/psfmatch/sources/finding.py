"""The sources of an image: detected without its sky, with another smoothing where that serves, and measured."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from psfmatch.config import BackgroundOptions, usualOptions
from psfmatch.config.task import Struct
from psfmatch.images import DEFAULT_FWHM_PIX, SIGMA_TO_FWHM, Exposure, GaussianPsf, Mask, MaskedImage
from psfmatch.io.sourceTable import AnyTable, SourceTable, asTable
from psfmatch.sources.background import subtractBackground
from psfmatch.sources.detection import SourceDetectionTask, setDetectedPlanes
from psfmatch.sources.exposureWidths import exposureFwhmPix
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.sources.smoothing import Smoothing, chooseSmoothing, cleaned, faintSmoothing

if TYPE_CHECKING:
    from psfmatch.config import SubtractBackgroundConfig

__all__ = ["findFaint", "getSelectSources", "ignoredPlanes", "smoothingSigma"]

log = logging.getLogger("psfmatch.fit")


def getSelectSources(
    exposure: Exposure,
    detection: Any,
    measurement: Any,
    backgroundConfig: SubtractBackgroundConfig | BackgroundOptions,
    sigma: float | None,
    doSmooth: bool = True,
    threads: int = 1,
    detectedMask: Mask | None = None,
    *,
    isGrown: bool = True,
    most: int | None = None,
) -> AnyTable:
    """Detect and measure the sources of an exposure, which is not changed.

    Parameters
    ----------
    exposure
        Image to search.
    detection, measurement
        The subtasks, `SourceDetectionTask` and `SourceMeasurementTask` or what stands in for them.
    backgroundConfig
        The temporary background.
    sigma
        Width of the PSF in pixels; None for a usual one, or where that finds few sources, or broad ones, and our own
        detection is as usual, the one that finds most (`psfmatch.sources.smoothing`).
    doSmooth
        Smooth with a Gaussian of that width before detection.
    threads
        Number of threads.
    detectedMask
        Mask of the exposure's shape in which DETECTED and DETECTED_NEGATIVE are set anew.
    isGrown
        False: the column ``footprint`` numbers footprints before they are grown, if the detection is our own and no
        mask is asked for.
    most
        Where there are more above the sky, the brightest so many alone are measured and returned, and what is below the
        sky and as bright; None: all.

    Returns
    -------
    sources : SourceTable
        As `SourceMeasurementTask.run`, brightest first; of other tasks what they return. Where another smoothing than
        the usual one was chosen also smoothing: its sigma in pixels.
    """
    if sigma is not None and not (sigma > 0.0 and np.isfinite(sigma)):
        raise ValueError(f"sigma of the PSF is {sigma} pixels, must be positive")
    if detectedMask is not None and detectedMask.shape != exposure.shape:
        raise ValueError(f"detectedMask has shape {detectedMask.shape}, the exposure {exposure.shape}")
    planes = ignoredPlanes(detection, backgroundConfig.ignoredPixelMask)
    isOurs = type(detection) is SourceDetectionTask and type(measurement) is SourceMeasurementTask
    width = DEFAULT_FWHM_PIX / SIGMA_TO_FWHM if sigma is None else sigma

    skyless, level = _skyless(exposure.maskedImage, backgroundConfig, planes, threads)
    rounding = _rounding(level)
    search = detection.run
    if type(detection) is SourceDetectionTask:
        search = partial(detection.search, isGrown=isGrown or detectedMask is not None)
    found = search(maskedImage=skyless, sigma=width, doSmooth=doSmooth, threads=threads, rounding=rounding)
    nFound = len(getattr(found, "sources", found))
    if most is not None and isOurs:
        found.sources = _brightest(found.sources, most)
    sources = _measured(found, skyless, width, measurement, exposure)
    if sigma is None and doSmooth and isOurs and detection.options == usualOptions().selectDetection:
        better = chooseSmoothing(
            exposure.maskedImage,
            sources,
            planes,
            lambda smoothing, polarity: _searched(exposure, smoothing, polarity, planes, threads),
            threads,
            nFound,
        )
        if better is not None:
            smoothing, found = better
            sources = _faintTable(found, smoothing, measurement, exposure)
    if detectedMask is not None:
        if not hasattr(found, "detected"):
            raise ValueError(f"detectedMask: {type(detection).__name__}.run returns no detected footprints")
        setDetectedPlanes(detectedMask, found.detected)
    return sources


def _brightest(sources: SourceTable, most: int) -> SourceTable:
    """Return the sources, brightest first, up to the last of so many above the sky."""
    above = np.flatnonzero(~np.asarray(sources["isNegative"]))
    return sources if len(above) <= most else sources[: above[most - 1] + 1]


def smoothingSigma(exposure: Exposure, definition: str) -> float | None:
    """Return the sigma (pixels) of an exposure's PSF, by a definition of the FWHM; None, with a line, without one."""
    fwhm = exposureFwhmPix(exposure, definition)
    if fwhm is None:
        log.info("No PSF on the image and no sigma: smoothing for a FWHM of %.1f pixels first", DEFAULT_FWHM_PIX)
        return None
    return fwhm / SIGMA_TO_FWHM


def findFaint(
    exposure: Exposure, measurement: SourceMeasurementTask, sigma: float, planes: tuple[str, ...], threads: int = 1
) -> SourceTable:
    """Return the sources of an image, down to the faintest, as a smoothing of so many pixels sigma shows them.

    Parameters and result are otherwise those of `getSelectSources`, with `planes` as of `ignoredPlanes`.
    """
    smoothing = faintSmoothing(sigma, exposure.image.size)
    found = _searched(exposure, smoothing, "positive", planes, threads)
    found = cleaned(found, exposure.maskedImage, planes)
    sources: SourceTable = _faintTable(found, smoothing, measurement, exposure)
    return sources


def _searched(exposure: Exposure, smoothing: Smoothing, polarity: str, planes: tuple[str, ...], threads: int) -> Struct:
    """Return what a faint threshold finds; ``skyless`` : the image that was searched."""
    detection, background = _tasksFor(smoothing, polarity)
    skyless, level = _skyless(exposure.maskedImage, background, planes, threads)
    found = detection.search(skyless, smoothing.sigma, threads=threads, rounding=_rounding(level))
    found.skyless = skyless
    return found


def _faintTable(found: Struct, smoothing: Smoothing, measurement: SourceMeasurementTask, exposure: Exposure) -> Any:
    """Return the sources measured, with the column ``smoothing``."""
    sources = _measured(found, found.skyless, smoothing.sigma, measurement, exposure)
    return sources.with_({"smoothing": np.full(len(sources), smoothing.sigma)}, {"smoothing": "pix"})


def _measured(found: Any, skyless: MaskedImage, sigma: float, measurement: Any, exposure: Exposure) -> Any:
    """Return the sources that were found, a Struct or a Table, measured on the image without its sky."""
    left = getattr(found, "background", 0.0)
    if np.any(left):
        skyless = MaskedImage(skyless.image - left, skyless.mask, skyless.variance, xy0=skyless.xy0)
    found = getattr(found, "sources", found)
    psf = GaussianPsf(sigma) if exposure.psf is None else exposure.psf
    searched = Exposure(skyless, wcs=exposure.coordinates, psf=psf)
    if isinstance(found, SourceTable) and type(measurement) is SourceMeasurementTask:
        return measurement.measure(found, searched)
    return measurement.run(sources=asTable(found), exposure=searched)


def _rounding(level: float) -> float:
    """Return what subtracting a large sky leaves behind in float32."""
    return 4.0 * float(np.finfo(np.float32).eps) * abs(level)


def _skyless(
    maskedImage: MaskedImage,
    background: SubtractBackgroundConfig | BackgroundOptions,
    planes: tuple[str, ...],
    threads: int,
) -> tuple[MaskedImage, float]:
    """Return the image without its sky, and the sky's level."""
    try:
        image, level = subtractBackground(maskedImage, background, planes, threads)
    except ValueError as error:
        image, level = maskedImage.image, 0.0
        bad = maskedImage.badPixels((*planes, "BAD"))
        if not bad.all():
            level = float(np.median(image[~bad]))
            image = image - np.float32(level)
            log.warning("Background failed (%s); using the median %.4g for detection", error, level)
    return MaskedImage(image, maskedImage.mask, maskedImage.variance, xy0=maskedImage.xy0), level


def _tasksFor(smoothing: Smoothing, polarity: str) -> tuple[SourceDetectionTask, BackgroundOptions]:
    """Return the usual detection with another threshold, and the usual sky on another grid, curves through it."""
    usual = usualOptions()
    detection = replace(
        usual.selectDetection,
        thresholdValue=smoothing.threshold,
        thresholdPolarity=polarity,
        doTempLocalBackground=False,
    )
    background = replace(
        usual.kernel.background, binSize=smoothing.binSize, useApprox=False, algorithm="NATURAL_SPLINE"
    )
    return SourceDetectionTask(detection), background


def ignoredPlanes(detection: Any, usual: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the mask planes whose pixels are left out of the statistics of a detection, ours or a foreign task."""
    fields = detection.options if type(detection) is SourceDetectionTask else detection.config
    return tuple(getattr(fields, "statsMask", usual))
