"""`assessQuality`: from the images of a run, its kernel and its candidates to the figures and the grade."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.medians import median
from psfmatch.quality.figures import Quality
from psfmatch.quality.grading import gradeFigures
from psfmatch.quality.sky import SkyNoise, skyNoise
from psfmatch.quality.sources import SourceResiduals, sourceResiduals
from psfmatch.sourceTable import AnyTable

__all__ = ["HeldOut", "NoiseCorrelation", "ResidualShift", "assessQuality"]

AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
LIMIT_SIGMAS = 5.0
WINDOW_SIGMA, WINDOW_PASSES = 2.0, 12  # px, of the window about a kernel's core
NOT_FIGURES = ("countsPerTemplateCount", "remainingExcess")
TRANSIENTS = 2
"""Sources that may keep their light without a doubt being raised."""


class ResidualShift(Protocol):
    """Shifts of sources that a difference shows."""

    @property
    def meanSize(self) -> float:
        """Length of the mean shift, pixels."""

    @property
    def excessRms(self) -> tuple[float, float]:
        """Scatter in x and y beyond the errors, pixels."""


class NoiseCorrelation(Protocol):
    """Mean correlations of pixels one and two apart."""

    @property
    def lag1(self) -> float:
        """At one pixel."""

    @property
    def lag2(self) -> float:
        """At two pixels."""


class HeldOut(Protocol):
    """Residuals of stamps kept out of the fit, in units of their noise."""

    @property
    def mean(self) -> float:
        """Mean."""

    @property
    def rms(self) -> float:
        """Root mean square, robust against variable stars."""


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
    heldOut: HeldOut | None = None,
    heldOutChiSquareByFlux: tuple[tuple[float, float, int, float], ...] = (),
    kernelSumError: float | None = None,
    shiftField: ResidualShift | None = None,
    appliedShiftPix: float | None = None,
    whiteness: NoiseCorrelation | None = None,
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
        Residuals of stamps that were kept out of the fit; rows of least S/N, largest S/N, number, chi-square per pixel.
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
    centre = result.getBBox().centre
    figures: dict[str, Any] = _kernelFigures(kernel, result, convolved) if kernel is not None else {}
    scale = figures.get("countsPerTemplateCount", 1.0)
    sources = sourceResiduals(result, before, other, scale, 0.0 if math.isnan(sky.absolute) else sky.absolute, threads)
    figures |= _sourceFigures(sources) | _skyFigures(sky)
    figures |= _candidateFigures(candidates, nUsed, rejectedSources or {})
    if background is not None:
        x, y = _grid(result)
        values = background(x, y)
        figures["backgroundAtCentre"] = float(background(*centre))
        figures["backgroundRange"] = float(np.ptp(values))
    if kernelSumError is None and figures.get("kernelSum") is not None:
        kernelSumError = abs(figures["kernelSum"]) * sources.fluxError
    figures["kernelSumError"] = kernelSumError
    figures["conditionNumber"] = conditionNumber
    if heldOut is not None:
        figures |= {"heldOutMean": heldOut.mean, "heldOutRms": heldOut.rms}
    if shiftField is not None:
        figures["residualShiftPix"] = float(np.nanmax([shiftField.meanSize, *shiftField.excessRms, 0.0]))
    figures["appliedShiftPix"] = appliedShiftPix
    if whiteness is not None:
        figures |= {"lag1": whiteness.lag1, "lag2": whiteness.lag2}
    figures["varianceScale"] = max(varianceScales, key=lambda factor: abs(math.log(max(factor, 1e-30))), default=None)
    if coverage is not None:
        figures["coverage"] = coverage
    if isinstance(science, Exposure) and science.photoCalib and fwhmPix and math.isfinite(sky.sigma):
        # Noise-equivalent area of a Gaussian: 4 pi sigma^2.
        noise = sky.sigma * math.sqrt(4.0 * math.pi) * fwhmPix / SIGMA_TO_FWHM * science.photoCalib
        figures["limitingMagnitude"] = AB_ZERO_POINT - 2.5 * math.log10(LIMIT_SIGMAS * noise)
    # An unknown figure must not be taken for a bad one.
    known = {name: _known(value) for name, value in figures.items() if name not in NOT_FIGURES}
    limits = list(caps)
    if not sky.nPixels:
        limits.append(("D", "no blank sky was found: the noise could not be checked"))
    if not sources.nSources:
        limits.append(("C", "no source of signal-to-noise above 30 was found: the match could not be checked"))
    if kernel is not None and known.get("kernelSum") is None:
        limits.append(("F", "the kernel is not finite"))
    grade, reasons = gradeFigures(known | {"remainingExcess": figures["remainingExcess"]}, limits)
    return Quality(
        grade, reasons, heldOutChiSquareByFlux=heldOutChiSquareByFlux, chiSquareByFlux=sources.chiSquareByFlux, **known
    )


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _grid(image: MaskedImage) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y (parent pixels) of a 5 x 5 grid that reaches to a tenth of the sides."""
    box = image.getBBox()
    shares = np.linspace(0.1, 0.9, 5)
    x, y = np.meshgrid(box.x0 + shares * (box.width - 1), box.y0 + shares * (box.height - 1))
    return x.ravel(), y.ravel()


def _kernelFigures(kernel: LinearCombinationKernel, image: MaskedImage, convolved: str) -> dict[str, Any]:
    total = float(kernel.kernelSum(*image.getBBox().centre))
    stamps = [kernel.computeImage(float(x), float(y)) for x, y in zip(*_grid(image), strict=True)]
    sums = [float(stamp.sum()) for stamp in stamps]
    return {
        "kernelSum": total if math.isfinite(total) else None,
        "kernelSumScatter": float(np.ptp(sums) / abs(np.mean(sums))) if np.mean(sums) else math.nan,
        "kernelShiftPix": median(np.array([_coreShift(stamp) for stamp in stamps])),
        "countsPerTemplateCount": (total if convolved == "template" else 1.0 / total if total else math.nan),
    }


def _coreShift(stamp: npt.NDArray[np.float64]) -> float:
    """Return the distance (px) of a kernel's core from its middle."""
    sigma = max(WINDOW_SIGMA, min(stamp.shape) / 8.0)
    return math.hypot(*_core.windowedCentroid(stamp, sigma=sigma, nPasses=WINDOW_PASSES))


def _sourceFigures(sources: SourceResiduals) -> dict[str, Any]:
    return {
        "nSources": sources.nSources,
        "sourceRobust": sources.robust,
        "sourcePlain": sources.plain,
        "worstRegion": sources.worstRegion,
        "badSourceFraction": sources.badFraction,
        "nRemaining": sources.nRemaining,
        "saturatedFraction": sources.saturatedFraction,
        "remainingFraction": sources.nRemaining / sources.nSources if sources.nSources else math.nan,
        # A few real transients are no fault.
        "remainingExcess": max(sources.nRemaining - TRANSIENTS, 0) / max(sources.nSources, 1),
        "fluxMean": sources.fluxMean,
        "fluxMeanSize": abs(sources.fluxMean),
        "fluxScatter": sources.fluxScatter,
        "footprintRatioMean": sources.footprintRatioMean,
        "footprintRatioStdev": sources.footprintRatioStdev,
    }


def _skyFigures(sky: SkyNoise) -> dict[str, Any]:
    covered = 1.0 - sky.noDataFraction
    return {
        "nSkyPixels": sky.nPixels,
        "noiseRobustStdev": sky.robust,
        "noiseMedian": sky.median,
        "skyLevel": sky.level,
        "outlierFraction": sky.outlierFraction,
        "lag1": sky.lag1,
        "maskedFraction": (sky.maskedFraction - sky.noDataFraction) / covered if covered > 0 else 1.0,
        "coverage": covered,
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
