"""`Quality`: the figures that tell how good a difference image is, each with its unit, its words and what measures it.

A figure that is added to the class shows up in the JSON, the report and its text, and as a gate; limits that make it
count for the grade are a line of `psfmatch.quality.RULES`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import numpy as np

from psfmatch.config.equality import ByValue
from psfmatch.errors import significant
from psfmatch.quality.finished import (
    FinishedSubtraction,
    brightLost,
    kernelShift,
    limitingMagnitude,
    rejectedByReason,
    scatterOfSums,
)

__all__ = ["FIGURES", "Quality", "measureFigures", "scaleOf", "unitOf"]

TRANSIENTS = 2
"""Sources that may keep their light without a doubt being raised."""

Share = Annotated[float | None, "share"]
Noise = Annotated[float | None, "noise of a pixel"]
Pixels = Annotated[float | None, "px"]
Counts = Annotated[float | None, "counts"]
Magnitude = Annotated[float | None, "mag AB"]
UNITS = {"Share": Share, "Noise": Noise, "Pixels": Pixels, "Counts": Counts, "Magnitude": Magnitude}
SpectrumRows = tuple[tuple[float, float, int, float], ...]


def figure(
    heading: str | None, more: str = "", default: Any = None, of: Callable[[FinishedSubtraction], Any] | None = None
) -> Any:
    """Return the field of a figure: its name in print, None if it is not printed, and what more is to be told of it.

    of : measures it; by default the core does, with all others of the pixels, or who subtracted has told it.
    """
    factory = {"default_factory": dict} if default is dict else {"default": default}
    return dataclasses.field(metadata={"heading": heading, "more": more, "of": of}, **factory)


@dataclass(frozen=True, eq=False)
class Quality(ByValue):
    """How good a difference image is. A figure that is not known is None.

    grade : A to F; reasons : what keeps it from A in words, the worst first, each with its number and the limit.
    """

    grade: str
    reasons: tuple[str, ...]
    nFound: int | None = figure(
        "candidates found",
        of=lambda run: None if run.candidates is None else len(run.candidates) + sum(run.rejectedSources.values()),
    )
    nUsed: int | None = figure(
        "candidates used",
        "stars, or tiles that hold sources",
        of=lambda run: None if run.statuses is None else int(np.sum(run.statuses == "GOOD")),
    )
    rejected: Mapping[str, int] = figure(
        "rejected", "how many candidates and sources, by reason", dict, rejectedByReason
    )
    nSources: int = figure("sources measured", "within 4 px, of signal-to-noise above 30 there", 0)
    saturatedFraction: Share = figure("bright sources that saturate", "in the image where it is larger")
    starsAboveLevel: Share = figure(
        "bright stars above the saturation level", "whole ones, more than 10 % above it, so that it cannot be right"
    )
    brightLost: Share = figure("bright stars lost", "whole in both images, unusable in the difference", of=brightLost)
    sourceRobust: Noise = figure("difference / noise on sources, robust", "but for those that keep their light")
    sourcePlain: Noise = figure("the same, plain, without the worst tenth")
    worstRegion: float | None = figure("chi-square of two thirds in the worst ninth", "of five sources or more")
    badSourceFraction: Share = figure("sources left at more than twice their noise")
    nRemaining: int = figure("sources that keep more than half their light", "", 0)
    remainingFraction: Share = figure("their share")
    fluxMean: Share = figure("light left of sources, median", "as a share of it")
    fluxMeanSize: Share = figure(None, "its absolute value")
    fluxScatter: Share = figure("its scatter beyond the noise")
    errorFloor: Share = figure("error floor of fluxes on sources", "as a share of the light of both images")
    footprintRatioMean: Share = figure(
        "footprint ratio, mean",
        "how far a source's mean absolute difference is from that of the sky, over its mean absolute science image",
    )
    footprintRatioStdev: Share = figure("footprint ratio, scatter")
    chiSquareByFlux: SpectrumRows = figure(
        None, "least and largest signal-to-noise, sources, median chi-square per pixel", ()
    )
    heldOutMean: Noise = figure("stars kept out of the fit, mean residual", "in units of its noise")
    heldOutRms: Noise = figure("stars kept out of the fit, residual / noise", "root mean square")
    heldOutChiSquareByFlux: SpectrumRows = figure(None, "as above, of their stamps", ())
    nSkyPixels: int = figure(None, "pixels of blank sky, in cells of 32 px spread over the image", 0)
    noiseRobustStdev: Noise = figure("sky / predicted noise", "robust scatter about the level of each cell")
    noiseMedian: Noise = figure("sky level, of a pixel's noise")
    skyLevel: Noise = figure("its scatter over the image", "of medians of cells about zero, beyond the noise")
    outlierFraction: Share = figure(
        "pixels beyond 5 sigma off the sources", "share of the usable ones; sources are what both images show"
    )
    lag1: float | None = figure("correlation of neighbouring pixels")
    lag2: float | None = figure("correlation two pixels apart")
    kernelSum: float | None = figure("kernel sum", "at the centre of the image", of=lambda run: run.kernelSum)
    kernelSumError: float | None = figure(
        "its error",
        "from the light left of sources",
        of=lambda run: None if run.kernelSum is None else abs(run.kernelSum) * run.pixelFigures["fluxError"],
    )
    kernelSumScatter: Share = figure("its range over the image, relative", "on a grid of 5 x 5", of=scatterOfSums)
    kernelShiftPix: Pixels = figure(
        "shift made by the kernel, px", "median of its core's over the same grid", of=kernelShift
    )
    appliedShiftPix: Pixels = figure("shift of the coordinates corrected, px", "the largest, before warping")
    residualShiftPix: Pixels = figure("shift left at sources, px")
    backgroundAtCentre: Counts = figure(
        "background at the centre, counts",
        "the differential one",
        of=lambda run: None if run.background is None else float(run.background(*run.box.centre)),
    )
    backgroundRange: Counts = figure(
        "its range over the image, counts",
        of=lambda run: None if run.background is None else float(np.ptp(run.background(*run.grid))),
    )
    conditionNumber: float | None = figure("condition number of the spatial system")
    varianceScale: float | None = figure(
        "largest factor on a variance plane",
        "the farthest from one",
        of=lambda run: max(run.varianceScales, key=lambda scale: abs(math.log(max(scale, 1e-30))), default=None),
    )
    maskedFraction: Share = figure("covered pixels that are unusable", "borders apart")
    coverage: Share = figure("science image covered by the template")
    limitingMagnitude: Magnitude = figure(
        "5-sigma limiting magnitude (AB)", "of point sources in the difference", of=limitingMagnitude
    )

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
        for name, heading in ((name, each.metadata["heading"]) for name, each in FIGURES.items()):
            value = getattr(self, name) if heading else None
            if isinstance(value, Mapping):
                lines += [f"  {f'{heading}: {reason}':<52}{count:>10d}" for reason, count in value.items()]
            elif value is not None:
                lines.append(f"  {heading:<52}{significant(value, of=scaleOf(name)):>10}")
        for name, what in (("chiSquareByFlux", "sources"), ("heldOutChiSquareByFlux", "kept-out stars")):
            for low, high, number, value in getattr(self, name):
                if number:
                    span = f"above {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
                    lines.append(
                        f"  {f'chi-square of {number} {what} of S/N {span}':<52}{significant(value, of=1.0):>10}"
                    )
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): int(number) for key, number in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


FIGURES = {field.name: field for field in dataclasses.fields(Quality) if field.metadata}
"""By name: their metadata are what they are called in print (heading), what more is to be told, and what measures."""
_IN_WORDS = (
    f"{name} : {', '.join(filter(None, map(field.metadata.get, ('heading', 'more'))))}"
    for name, field in FIGURES.items()
)
Quality.__doc__ = f"{Quality.__doc__}\n    {'; '.join(_IN_WORDS)}.\n"


def measureFigures(run: FinishedSubtraction) -> dict[str, Any]:
    """Return the figures of a finished subtraction by their names; what is no number is not known, and None."""
    figures = {name: field.metadata["of"](run) for name, field in FIGURES.items() if field.metadata["of"]}
    figures |= {name: value for name, value in run.pixelFigures.items() if name not in ("fluxError", "pixelNoise")}
    figures |= {name: value for name, value in run.told.items() if value is not None}
    return {n: None if isinstance(value, float) and math.isnan(value) else value for n, value in figures.items()}


def unitOf(name: str) -> str:
    """Return the unit of a figure; a pure number or a count has none."""
    return next((get_args(kind)[1] for alias, kind in UNITS.items() if FIGURES[name].type == alias), "")


def scaleOf(name: str) -> float:
    """Return what a figure is compared with to tell a rounding error: 1 of shares, ratios and pixels, 0 of counts."""
    return 0.0 if unitOf(name) == "counts" else 1.0
