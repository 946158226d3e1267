"""`Quality`: the numbers that tell how good a difference image is, and the grade they give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HEADINGS", "Quality"]

TRANSIENTS = 2
"""Sources that may keep their light without a doubt being raised."""


def _figure(heading: str | None, more: str = "", default: Any = None) -> Any:
    """Return a field of a figure: its name in print, None if it is not printed, and what more is to be told of it."""
    factory = {"default_factory": dict} if default is dict else {"default": default}
    return dataclasses.field(metadata={"heading": heading, "more": more}, **factory)


@dataclass(frozen=True)
class Quality:
    """How good a difference image is. A figure that is not known is None.

    grade : A to F; reasons : what keeps it from A in words, the worst first, each with its number and the limit.
    """

    grade: str
    reasons: tuple[str, ...]
    nFound: int | None = _figure("candidates found")
    nUsed: int | None = _figure("candidates used", "stars, or tiles that hold sources")
    rejected: Mapping[str, int] = _figure("rejected", "how many candidates and sources, by reason", dict)
    nSources: int = _figure("sources measured", "within 4 px, of signal-to-noise above 30 there", 0)
    saturatedFraction: float | None = _figure("bright sources that saturate", "in the image where it is larger")
    sourceRobust: float | None = _figure("difference / noise on sources, robust", "but for those that keep their light")
    sourcePlain: float | None = _figure("the same, plain, without the worst tenth")
    worstRegion: float | None = _figure("chi-square of two thirds in the worst ninth", "of five sources or more")
    badSourceFraction: float | None = _figure("sources left at more than twice their noise")
    nRemaining: int = _figure("sources that keep more than half their light", "", 0)
    remainingFraction: float | None = _figure("their share")
    fluxMean: float | None = _figure("light left of sources, median", "as a share of it")
    fluxMeanSize: float | None = _figure(None, "its absolute value")
    fluxScatter: float | None = _figure("its scatter beyond the noise")
    footprintRatioMean: float | None = _figure(
        "footprint ratio, mean", "|mean |difference| - that of the sky| / mean |science| of a source"
    )
    footprintRatioStdev: float | None = _figure("footprint ratio, scatter")
    chiSquareByFlux: tuple[tuple[float, float, int, float], ...] = _figure(
        None, "least and largest signal-to-noise, sources, median chi-square per pixel", ()
    )
    heldOutMean: float | None = _figure("stars kept out of the fit, mean residual", "in units of its noise")
    heldOutRms: float | None = _figure("stars kept out of the fit, residual / noise", "root mean square")
    heldOutChiSquareByFlux: tuple[tuple[float, float, int, float], ...] = _figure(None, "as above, of their stamps", ())
    nSkyPixels: int = _figure(None, "pixels of blank sky, in cells of 32 px spread over the image", 0)
    noiseRobustStdev: float | None = _figure("sky / predicted noise", "robust scatter about the level of each cell")
    noiseMedian: float | None = _figure("sky level, of a pixel's noise")
    skyLevel: float | None = _figure("its scatter over the image", "of medians of cells about zero, beyond the noise")
    outlierFraction: float | None = _figure(
        "pixels beyond 5 sigma off the sources", "share of the usable ones; sources are what both images show"
    )
    lag1: float | None = _figure("correlation of neighbouring pixels")
    lag2: float | None = _figure("correlation two pixels apart")
    kernelSum: float | None = _figure("kernel sum", "at the centre of the image")
    kernelSumError: float | None = _figure("its error", "from the light left of sources")
    kernelSumScatter: float | None = _figure("its range over the image, relative", "on a grid of 5 x 5")
    kernelShiftPix: float | None = _figure("shift made by the kernel, px", "median of its core's over the same grid")
    appliedShiftPix: float | None = _figure("shift of the coordinates corrected, px", "the largest, before warping")
    residualShiftPix: float | None = _figure("shift left at sources, px")
    backgroundAtCentre: float | None = _figure("background at the centre, counts", "the differential one")
    backgroundRange: float | None = _figure("its range over the image, counts")
    conditionNumber: float | None = _figure("condition number of the spatial system")
    varianceScale: float | None = _figure("largest factor on a variance plane", "the farthest from one")
    maskedFraction: float | None = _figure("covered pixels that are unusable", "borders apart")
    coverage: float | None = _figure("science image covered by the template")
    limitingMagnitude: float | None = _figure("5-sigma limiting magnitude (AB)", "of point sources in the difference")

    @property
    def remainingExcess(self) -> float:
        """Share of the sources that keep more than half their light, but for the two that may without a doubt."""
        return max(self.nRemaining - TRANSIENTS, 0) / max(self.nSources, 1)

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


_FIGURES = {field.name: field.metadata for field in dataclasses.fields(Quality) if field.metadata}
_TOLD = "; ".join(f"{name} : {', '.join(filter(None, told.values()))}" for name, told in _FIGURES.items())
Quality.__doc__ = f"{Quality.__doc__}\n    {_TOLD}.\n"
HEADINGS = {name: told["heading"] for name, told in _FIGURES.items() if told["heading"]}
"""What figures are called in print."""
