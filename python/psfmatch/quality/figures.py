"""`Quality`: the numbers that tell how good a difference image is, and the grade they give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Quality"]


def _figure(heading: str, default: Any = None) -> Any:
    """Return a field of a figure, with what it is called in print."""
    factory = {"default_factory": dict} if default is dict else {"default": default}
    return dataclasses.field(metadata={"heading": heading}, **factory)


@dataclass(frozen=True)
class Quality:
    """How good a difference image is. A figure that is not known is None.

    grade, reasons : A to F, and what keeps it from A in words, the worst first, each with its number and the limit;
    nFound, nUsed, rejected : candidates of the kernel, and how many were rejected for which reason;
    nSources, nRemaining, remainingFraction, saturatedFraction, sourceRobust, sourcePlain, worstRegion,
    badSourceFraction, fluxMean, fluxMeanSize, fluxScatter, footprintRatioMean, footprintRatioStdev,
    chiSquareByFlux : as in `psfmatch.quality.sourceResiduals`;
    heldOutMean, heldOutRms, heldOutChiSquareByFlux : residuals of stamps kept out of the fit, in units of their noise;
    noiseRobustStdev, noiseMedian, skyLevel, outlierFraction, lag1, lag2, nSkyPixels : as in
    `psfmatch.quality.skyNoise`;
    kernelSum, kernelSumError, kernelSumScatter, kernelShiftPix : at the centre of the image, its error, largest less
    least over the mean on a 5 x 5 grid, largest distance of the kernel's centroid from its middle (px);
    appliedShiftPix, residualShiftPix : correction of the coordinates before warping, and shift left at stars (px);
    backgroundAtCentre, backgroundRange : differential background, counts;
    conditionNumber : of the spatial system; varianceScale : the factor on a variance plane that is farthest from one;
    maskedFraction : unusable share of the pixels that both images cover; coverage : share of the science image that the
    template covers; limitingMagnitude : AB, 5 sigma, of point sources in the difference.
    """

    grade: str
    reasons: tuple[str, ...]
    nFound: int | None = _figure("candidates found")
    nUsed: int | None = _figure("candidates used")
    rejected: Mapping[str, int] = _figure("rejected", dict)
    nSources: int = _figure("sources measured", 0)
    saturatedFraction: float | None = _figure("bright sources that saturate")
    sourceRobust: float | None = _figure("difference / noise on sources, robust")
    sourcePlain: float | None = _figure("the same, plain, without the worst tenth")
    worstRegion: float | None = _figure("chi-square of two thirds in the worst ninth")
    badSourceFraction: float | None = _figure("sources left at more than twice their noise")
    nRemaining: int = _figure("sources that keep more than half their light", 0)
    remainingFraction: float | None = _figure("their share")
    fluxMean: float | None = _figure("light left of sources, median")
    fluxMeanSize: float | None = None
    fluxScatter: float | None = _figure("its scatter beyond the noise")
    footprintRatioMean: float | None = _figure("footprint ratio, mean")
    footprintRatioStdev: float | None = _figure("footprint ratio, scatter")
    chiSquareByFlux: tuple[tuple[float, float, int, float], ...] = ()
    heldOutMean: float | None = _figure("stars kept out of the fit, mean residual")
    heldOutRms: float | None = _figure("stars kept out of the fit, residual / noise")
    heldOutChiSquareByFlux: tuple[tuple[float, float, int, float], ...] = ()
    nSkyPixels: int = 0
    noiseRobustStdev: float | None = _figure("sky / predicted noise")
    noiseMedian: float | None = _figure("sky level, of a pixel's noise")
    skyLevel: float | None = _figure("its scatter over the image")
    outlierFraction: float | None = _figure("pixels beyond 5 sigma off the sources")
    lag1: float | None = _figure("correlation of neighbouring pixels")
    lag2: float | None = _figure("correlation two pixels apart")
    kernelSum: float | None = _figure("kernel sum")
    kernelSumError: float | None = _figure("its error")
    kernelSumScatter: float | None = _figure("its range over the image, relative")
    kernelShiftPix: float | None = _figure("shift made by the kernel, px")
    appliedShiftPix: float | None = _figure("shift of the coordinates corrected, px")
    residualShiftPix: float | None = _figure("shift left at sources, px")
    backgroundAtCentre: float | None = _figure("background at the centre, counts")
    backgroundRange: float | None = _figure("its range over the image, counts")
    conditionNumber: float | None = _figure("condition number of the spatial system")
    varianceScale: float | None = _figure("largest factor on a variance plane")
    maskedFraction: float | None = _figure("covered pixels that are unusable")
    coverage: float | None = _figure("science image covered by the template")
    limitingMagnitude: float | None = _figure("5-sigma limiting magnitude (AB)")

    def toDict(self) -> dict[str, Any]:
        """Return the figures, ready for JSON: what is not known or not finite is None."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def __str__(self) -> str:
        """Grade, reasons, and one line per figure that is known."""
        lines = [f"Grade {self.grade}", *(f"  {reason}" for reason in self.reasons)]
        for name, heading in HEADINGS.items():
            value = getattr(self, name)
            if isinstance(value, Mapping):
                lines += [f"  {f'{heading}: {reason}':<52}{count:>10d}" for reason, count in value.items()]
            elif value is not None:
                lines.append(f"  {heading:<52}{value:>10.4g}")
        for name, what in (("chiSquareByFlux", "sources"), ("heldOutChiSquareByFlux", "kept-out stars")):
            for low, high, number, value in getattr(self, name):
                if number:
                    span = f"above {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
                    lines.append(f"  {f'chi-square of {number} {what} of S/N {span}':<52}{value:>10.4g}")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): int(number) for key, number in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


HEADINGS = {field.name: field.metadata["heading"] for field in dataclasses.fields(Quality) if field.metadata}
"""What figures are called in print."""
