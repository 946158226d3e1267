"""`Quality`: the numbers that tell how good a difference image is, and the grade they give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Quality"]

HEADINGS = {
    "nFound": "candidates found",
    "nUsed": "candidates used",
    "rejected": "rejected",
    "nSources": "sources measured",
    "saturatedFraction": "bright sources that saturate",
    "sourceRobust": "difference / noise on sources, robust",
    "sourcePlain": "the same, plain, without the worst tenth",
    "worstRegion": "chi-square of two thirds in the worst ninth",
    "badSourceFraction": "sources left at more than twice their noise",
    "nRemaining": "sources that keep more than half their light",
    "remainingFraction": "their share",
    "fluxMean": "light left of sources, median",
    "fluxScatter": "its scatter beyond the noise",
    "heldOutMean": "stars kept out of the fit, mean residual",
    "heldOutRms": "stars kept out of the fit, residual / noise",
    "footprintRatioMean": "footprint ratio, mean",
    "footprintRatioStdev": "footprint ratio, scatter",
    "noiseRobustStdev": "sky / predicted noise",
    "noiseMedian": "sky level, of a pixel's noise",
    "skyLevel": "its scatter over the image",
    "outlierFraction": "pixels beyond 5 sigma off the sources",
    "lag1": "correlation of neighbouring pixels",
    "lag2": "correlation two pixels apart",
    "kernelSum": "kernel sum",
    "kernelSumError": "its error",
    "kernelSumScatter": "its range over the image, relative",
    "kernelShiftPix": "shift made by the kernel, px",
    "appliedShiftPix": "shift of the coordinates corrected, px",
    "residualShiftPix": "shift left at sources, px",
    "backgroundAtCentre": "background at the centre, counts",
    "backgroundRange": "its range over the image, counts",
    "conditionNumber": "condition number of the spatial system",
    "varianceScale": "largest factor on a variance plane",
    "maskedFraction": "covered pixels that are unusable",
    "coverage": "science image covered by the template",
    "limitingMagnitude": "5-sigma limiting magnitude (AB)",
}


@dataclass(frozen=True)
class Quality:
    """How good a difference image is. A figure that is not known is None.

    grade, reasons : A to F, and what keeps it from A in words, the worst first, each with its number and the limit;
    nFound, nUsed, rejected : candidates of the kernel, and how many were rejected for which reason;
    nSources, nRemaining, remainingFraction, saturatedFraction, sourceRobust, sourcePlain, worstRegion,
    badSourceFraction, fluxMean, fluxMeanSize, fluxScatter, footprintRatioMean, footprintRatioStdev,
    chiSquareByFlux : as in `psfmatch.quality.SourceResiduals`;
    heldOutMean, heldOutRms, heldOutChiSquareByFlux : residuals of stamps kept out of the fit, in units of their noise;
    noiseRobustStdev, noiseMedian, skyLevel, outlierFraction, lag1, lag2, nSkyPixels : as in
    `psfmatch.quality.SkyNoise`;
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
    nFound: int | None = None
    nUsed: int | None = None
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)
    nSources: int = 0
    saturatedFraction: float | None = None
    sourceRobust: float | None = None
    sourcePlain: float | None = None
    worstRegion: float | None = None
    badSourceFraction: float | None = None
    nRemaining: int = 0
    remainingFraction: float | None = None
    fluxMean: float | None = None
    fluxMeanSize: float | None = None
    fluxScatter: float | None = None
    footprintRatioMean: float | None = None
    footprintRatioStdev: float | None = None
    chiSquareByFlux: tuple[tuple[float, float, int, float], ...] = ()
    heldOutMean: float | None = None
    heldOutRms: float | None = None
    heldOutChiSquareByFlux: tuple[tuple[float, float, int, float], ...] = ()
    nSkyPixels: int = 0
    noiseRobustStdev: float | None = None
    noiseMedian: float | None = None
    skyLevel: float | None = None
    outlierFraction: float | None = None
    lag1: float | None = None
    lag2: float | None = None
    kernelSum: float | None = None
    kernelSumError: float | None = None
    kernelSumScatter: float | None = None
    kernelShiftPix: float | None = None
    appliedShiftPix: float | None = None
    residualShiftPix: float | None = None
    backgroundAtCentre: float | None = None
    backgroundRange: float | None = None
    conditionNumber: float | None = None
    varianceScale: float | None = None
    maskedFraction: float | None = None
    coverage: float | None = None
    limitingMagnitude: float | None = None

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
