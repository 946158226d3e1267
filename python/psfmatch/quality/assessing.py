"""`assessQuality`: from the images of a run, its kernel and its candidates to the figures and the grade."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.medians import median
from psfmatch.quality.figures import Quality
from psfmatch.quality.grading import gradeFigures
from psfmatch.quality.measures import SkyNoise, SourceFigures, skyNoise, sourceResiduals
from psfmatch.sourceTable import AnyTable

if TYPE_CHECKING:
    from psfmatch.alignment import ShiftField
    from psfmatch.noise import Whiteness

__all__ = ["assessQuality"]

AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
LIMIT_SIGMAS = 5.0
WINDOW_SIGMA, WINDOW_PASSES = 2.0, 12  # px, of the window about a kernel's core
TRANSIENTS = 2
"""Sources that may keep their light without a doubt being raised."""


SKY_FIGURES = {
    "nSkyPixels": "nPixels", "noiseRobustStdev": "robust", "noiseMedian": "median", "skyLevel": "level",
    "outlierFraction": "outlierFraction", "lag1": "lag1",
}  # fmt: skip
SOURCE_FIGURES = {
    "nSources": "nSources", "nRemaining": "nRemaining", "saturatedFraction": "saturatedFraction",
    "sourceRobust": "robust", "sourcePlain": "plain", "worstRegion": "worstRegion",
    "badSourceFraction": "badFraction", "fluxMean": "fluxMean", "fluxScatter": "fluxScatter",
    "footprintRatioMean": "footprintRatioMean", "footprintRatioStdev": "footprintRatioStdev",
}  # fmt: skip
"""Figures, and what `psfmatch.quality.skyNoise` and `sourceResiduals` call them."""


def assessQuality(
    *,
    difference: Exposure | MaskedImage,
    template: Exposure | MaskedImage,
    science: Exposure | MaskedImage,
    kernel: LinearCombinationKernel | None,
    background: SpatialFunction2D | None = None,
    candidates: AnyTable | None = None,
    convolved: str = "template",
    nUsed: int | None = None,
    rejectedSources: Mapping[str, int] | None = None,
    conditionNumber: float | None = None,
    heldOut: tuple[float, float] | None = None,
    heldOutChiSquareByFlux: tuple[tuple[float, float, int, float], ...] = (),
    kernelSumError: float | None = None,
    shiftField: ShiftField | None = None,
    appliedShiftPix: float | None = None,
    whiteness: Whiteness | None = None,
    varianceScales: Iterable[float] = (),
    coverage: float | None = None,
    fwhmPix: float | None = None,
    caps: Iterable[tuple[str, str]] = (),
    threads: int = 1,
) -> Quality:
    """Measure how good a difference image is, and grade it.

    Parameters
    ----------
    difference
        Science minus matched template, on the science image's flux scale; neither changed.
    template, science
        Both on the pixels of the difference, before any convolution.
    kernel, background
        Of the solution; None when there is none, as for a plain difference.
    candidates
        `psfmatch.diagnostics.candidateTable`: columns status and reason.
    convolved
        "template" or "science": which image the kernel applies to.
    nUsed
        What the kernel rests on, where `candidates` does not say: stars, or tiles that hold sources.
    rejectedSources
        Sources rejected before they became candidates, by reason.
    conditionNumber
        Of the spatial system.
    heldOut, heldOutChiSquareByFlux
        Residuals of stamps that were kept out of the fit, in units of their noise: their mean, and their root mean
        square, robust against variable stars; rows of least S/N, largest S/N, number, chi-square per pixel.
    kernelSumError
        Standard error of the kernel sum at the centre; by default from the light left of sources.
    shiftField
        Shifts of sources that the difference shows.
    appliedShiftPix
        Largest correction of the coordinates before warping, pixels.
    whiteness
        Correlation of the noise; measured here by default.
    varianceScales
        Factors that the variance planes were multiplied by.
    coverage
        Share of the science image that the template covers; by default from NO_DATA.
    fwhmPix
        Of point sources in the difference, for the limiting magnitude.
    caps
        (grade, why): no better grade than this, as when a simpler model had to be taken.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    quality : Quality
    """
    result, before, other = (
        image.maskedImage if isinstance(image, Exposure) else image for image in (difference, template, science)
    )
    sky = skyNoise(result, before, other, threads)
    figures: dict[str, Any] = _kernelFigures(kernel, result) if kernel is not None else {}
    kernelSum = figures.get("kernelSum", 1.0)
    scale = kernelSum if convolved == "template" else 1.0 / kernelSum if kernelSum else math.nan
    sources = sourceResiduals(result, before, other, scale, 0.0 if math.isnan(sky.absolute) else sky.absolute, threads)
    excess = max(sources.nRemaining - TRANSIENTS, 0) / max(sources.nSources, 1)
    figures |= _imageFigures(sky, sources) | _candidateFigures(candidates, nUsed, rejectedSources or {})
    if background is not None:
        figures["backgroundAtCentre"] = float(background(*result.getBBox().centre))
        figures["backgroundRange"] = float(np.ptp(background(*_grid(result))))
    if kernelSumError is None and kernel is not None:
        kernelSumError = abs(kernelSum) * sources.fluxError
    if heldOut is not None:
        figures |= {"heldOutMean": heldOut[0], "heldOutRms": heldOut[1]}
    if shiftField is not None:
        figures["residualShiftPix"] = float(np.nanmax([shiftField.meanSize, *shiftField.excessRms, 0.0]))
    if whiteness is not None:
        figures |= {"lag1": whiteness.lag1, "lag2": whiteness.lag2}
    if coverage is not None:
        figures["coverage"] = coverage
    figures |= {
        "kernelSumError": kernelSumError,
        "conditionNumber": conditionNumber,
        "appliedShiftPix": appliedShiftPix,
        "varianceScale": max(varianceScales, key=lambda factor: abs(math.log(max(factor, 1e-30))), default=None),
    }
    if isinstance(science, Exposure) and science.photoCalib and fwhmPix and math.isfinite(sky.sigma):
        # Noise-equivalent area of a Gaussian: 4 pi sigma^2.
        noise = sky.sigma * math.sqrt(4.0 * math.pi) * fwhmPix / SIGMA_TO_FWHM * science.photoCalib
        figures["limitingMagnitude"] = AB_ZERO_POINT - 2.5 * math.log10(LIMIT_SIGMAS * noise)
    # An unknown figure must not be taken for a bad one.
    known: dict[str, Any] = {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in figures.items()
    }
    limits = list(caps)
    if not sky.nPixels:
        limits.append(("D", "no blank sky was found: the noise could not be checked"))
    if not sources.nSources:
        limits.append(("C", "no source of signal-to-noise above 30 was found: the match could not be checked"))
    if kernel is not None and not math.isfinite(kernelSum):
        known["kernelSum"] = None
        limits.append(("F", "the kernel is not finite"))
    grade, reasons = gradeFigures(known | {"remainingExcess": excess}, limits)
    byFlux = tuple(sources.chiSquareByFlux)
    return Quality(grade, reasons, heldOutChiSquareByFlux=heldOutChiSquareByFlux, chiSquareByFlux=byFlux, **known)


def _grid(image: MaskedImage) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y (parent pixels) of a 5 x 5 grid that reaches to a tenth of the sides."""
    box = image.getBBox()
    shares = np.linspace(0.1, 0.9, 5)
    x, y = np.meshgrid(box.x0 + shares * (box.width - 1), box.y0 + shares * (box.height - 1))
    return x.ravel(), y.ravel()


def _kernelFigures(kernel: LinearCombinationKernel, image: MaskedImage) -> dict[str, Any]:
    stamps = kernel.computeImages(*_grid(image))
    sums = stamps.sum(axis=(1, 2))
    sigma = max(WINDOW_SIGMA, min(kernel.shape) / 8.0)
    shifts = [math.hypot(*_core.windowedCentroid(stamp, sigma=sigma, nPasses=WINDOW_PASSES)) for stamp in stamps]
    return {
        "kernelSum": float(kernel.kernelSum(*image.getBBox().centre)),
        "kernelSumScatter": float(np.ptp(sums) / abs(np.mean(sums))) if np.mean(sums) else math.nan,
        "kernelShiftPix": median(np.array(shifts)),
    }


def _imageFigures(sky: SkyNoise, sources: SourceFigures) -> dict[str, Any]:
    covered = 1.0 - sky.noDataFraction
    return {
        **{name: getattr(sky, own) for name, own in SKY_FIGURES.items()},
        **{name: getattr(sources, own) for name, own in SOURCE_FIGURES.items()},
        "maskedFraction": (sky.maskedFraction - sky.noDataFraction) / covered if covered > 0 else 1.0,
        "coverage": covered,
        "remainingFraction": sources.nRemaining / sources.nSources if sources.nSources else math.nan,
        "fluxMeanSize": abs(sources.fluxMean),
    }


def _candidateFigures(candidates: AnyTable | None, nUsed: int | None, rejected: Mapping[str, int]) -> dict[str, Any]:
    reasons = dict(rejected)
    nFound = sum(reasons.values())
    if candidates is not None:
        status = np.asarray(candidates["status"])
        nFound += len(candidates)
        nUsed = int(np.count_nonzero(status == "GOOD")) if nUsed is None else nUsed
        for reason in np.asarray(candidates["reason"])[status == "BAD"]:
            # The rest of a reason is the candidate's own numbers.
            what = str(reason).partition(":")[0]
            reasons[what] = reasons.get(what, 0) + 1
    return {
        "nFound": nFound if candidates is not None else None,
        "nUsed": nUsed,
        "rejected": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    }
