"""`Quality`, the numbers that tell how good a difference image is, and the table of limits that makes a grade of them.

A: as good as the noise allows. B: good; nothing in it misleads. C: usable with care, the reasons say where. D: poor.
F: do not use. A difference is as good as the worst of its figures; a figure that is not known does not count.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from psfmatch.equality import ByValue
from psfmatch.messages import significant

__all__ = [
    "GRADES",
    "HEADINGS",
    "RULES",
    "Quality",
    "Rule",
    "checkGates",
    "gateNames",
    "gradeFigures",
    "requireGates",
    "scaleOf",
]

GRADES = "ABCDF"
ANY = (math.inf, math.inf)
MORE_IS_BETTER = ("coverage", "limitingMagnitude", "nUsed", "nSources", "nFound", "nSkyPixels")
"""Figures of which a gate is the least; of all others it is the most."""

TRANSIENTS = 2
"""Sources that may keep their light without a doubt being raised."""


def _figure(heading: str | None, more: str = "", default: Any = None) -> Any:
    """Return a field of a figure: its name in print, None if it is not printed, and what more is to be told of it."""
    factory = {"default_factory": dict} if default is dict else {"default": default}
    return dataclasses.field(metadata={"heading": heading, "more": more}, **factory)


@dataclass(frozen=True, eq=False)
class Quality(ByValue):
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
    starsAboveLevel: float | None = _figure(
        "bright stars above the saturation level", "whole ones, more than 10 % above it, so that it cannot be right"
    )
    brightLost: float | None = _figure("bright stars lost", "whole in both images, unusable in the difference")
    sourceRobust: float | None = _figure("difference / noise on sources, robust", "but for those that keep their light")
    sourcePlain: float | None = _figure("the same, plain, without the worst tenth")
    worstRegion: float | None = _figure("chi-square of two thirds in the worst ninth", "of five sources or more")
    badSourceFraction: float | None = _figure("sources left at more than twice their noise")
    nRemaining: int = _figure("sources that keep more than half their light", "", 0)
    remainingFraction: float | None = _figure("their share")
    fluxMean: float | None = _figure("light left of sources, median", "as a share of it")
    fluxMeanSize: float | None = _figure(None, "its absolute value")
    fluxScatter: float | None = _figure("its scatter beyond the noise")
    errorFloor: float | None = _figure("error floor of fluxes on sources", "as a share of the light of both images")
    footprintRatioMean: float | None = _figure(
        "footprint ratio, mean",
        "how far a source's mean absolute difference is from that of the sky, over its mean absolute science image",
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


_FIGURES = {field.name: field.metadata for field in dataclasses.fields(Quality) if field.metadata}
_TOLD = "; ".join(f"{name} : {', '.join(filter(None, told.values()))}" for name, told in _FIGURES.items())
Quality.__doc__ = f"{Quality.__doc__}\n    {_TOLD}.\n"
HEADINGS = {name: told["heading"] for name, told in _FIGURES.items() if told["heading"]}
"""What figures are called in print."""


def scaleOf(name: str) -> float:
    """Return what a figure is compared with to tell a rounding error: 1 of shares, ratios and pixels, 0 of counts."""
    return 0.0 if name.startswith("background") else 1.0


@dataclass(frozen=True)
class Rule:
    """Limits of one figure.

    figure : its name in `psfmatch.quality.Quality`; words : what it is, its value in place of {}; limits : of A, B, C
    and D; kind : whether the figure must be at most the limit ("most"), at least ("least"), or within a factor of it on
    either side of one ("near one").
    """

    figure: str
    words: str
    limits: tuple[float, float, float, float]
    kind: str = "most"

    def grade(self, value: float) -> str:
        """Return the grade that this figure alone allows; not finite is F."""
        if not math.isfinite(value):
            return "F"
        ranges = (self._range(limit) for limit in self.limits)
        return next((grade for grade, (low, high) in zip(GRADES, ranges, strict=False) if low <= value <= high), "F")

    def tell(self, value: float) -> str:
        """Return in words what the figure is, and what the next better grade asks for."""
        grade = self.grade(value)
        better = GRADES[max(0, GRADES.index(grade) - 1)]
        limit = self.limits[GRADES.index(better)]
        # A value just beyond its limit must not look like it.
        isClose = any(f"{value:.3g}" == f"{side:.3g}" for side in (limit, 1.0 / limit if limit else 0.0))
        told = self.words.format(significant(value, 5 if isClose else 3, of=1.0))
        return f"{told}; {self.asked(limit)} is A" if grade == "A" else f"{told}; {better} needs {self.asked(limit)}"

    def asked(self, limit: float) -> str:
        """Return in words which values a limit lets pass."""
        if self.kind == "near one":
            return f"{1.0 / limit:.3g} to {limit:.3g}"
        return f"at {self.kind} {limit:.3g}"

    def _range(self, limit: float) -> tuple[float, float]:
        if self.kind == "near one":
            return 1.0 / limit, limit
        return (limit, math.inf) if self.kind == "least" else (-math.inf, limit)


RULES = (
    Rule("kernelSum", "the kernel sum is {}", (0.0, 0.0, 0.0, 0.0), "least"),
    Rule("nUsed", "{} candidates fitted the kernel", (10, 5, 4, 1), "least"),
    Rule("nSources", "{} sources could be judged", (10, 3, 2, 0), "least"),
    Rule("saturatedFraction", "{} of the bright sources saturate", (0.35, 0.6, 0.9, 1.0)),
    Rule("starsAboveLevel", "{} of the brightest whole stars lie above the saturation level", (0.02, 0.05, 0.15, 0.5)),
    Rule("brightLost", "{} of the brightest whole stars are unusable in the difference", (0.15, 0.3, 0.5, 0.8)),
    Rule("sourceRobust", "the difference scatters by {} of its noise on sources", (1.12, 1.3, 1.8, 3.0)),
    Rule("sourcePlain", "with its tails the difference scatters by {} of its noise on sources", (1.3, 1.8, 4.0, 10.0)),
    # A corner alone spoils no image.
    Rule("worstRegion", "two thirds of the sources of the worst ninth exceed a chi-square of {}", (1.5, 2.0, *ANY)),
    Rule("badSourceFraction", "{} of the sources are left at more than twice their noise", (0.1, 0.15, 0.3, 0.6)),
    Rule("remainingExcess", "{} of the sources, but for two, keep more than half their light", (0.1, 0.15, 0.25, 0.5)),
    Rule("fluxScatter", "the light left of sources scatters by {} beyond the noise", (0.01, 0.02, 0.05, 0.2)),
    Rule("errorFloor", "fluxes on sources are off by {} of the light there, beyond the noise", (0.02, 0.04, 0.1, 0.3)),
    Rule("fluxMeanSize", "the difference keeps {} of the sources' light", (0.005, 0.015, 0.05, 0.2)),
    Rule("heldOutRms", "stars kept out of the fit scatter by {} of their noise", (1.12, 1.3, 1.8, 3.0)),
    Rule("footprintRatioMean", "the footprint ratio is {}", (0.04, 0.1, 0.2, 0.4)),
    Rule("noiseRobustStdev", "the sky scatters by {} of its predicted noise", (1.06, 1.18, 1.6, 2.5), "near one"),
    Rule("skyLevel", "the level of the sky scatters by {} of a pixel's noise", (0.06, 0.15, 0.35, 1.0)),
    Rule("outlierFraction", "{} of the pixels off the sources are beyond 5 sigma", (1e-3, 3e-3, 1e-2, 0.1)),
    Rule("lag1", "neighbouring pixels correlate by {}", (0.1, 0.5, 0.7, 0.9)),
    Rule("kernelShiftPix", "the kernel shifts the image by {} px", (0.35, 0.6, 2.0, 6.0)),
    Rule("appliedShiftPix", "the coordinates were off by {} px, corrected", (0.5, 0.8, 5.0, math.inf)),
    Rule("residualShiftPix", "sources are left shifted by {} px", (0.02, 0.05, 0.2, 1.0)),
    Rule("kernelSumScatter", "the kernel sum varies by {} over the field", (0.05, 0.15, 0.4, 1.0)),
    Rule("varianceScale", "a variance plane had to be multiplied by {}", (1.3, 1.6, 10.0, 100.0), "near one"),
    Rule("maskedFraction", "{} of the covered pixels are unusable", (0.15, 0.3, 0.5, 0.9)),
    Rule("coverage", "{} of the science image is covered by the template", (0.2, 0.1, 0.02, 0.0), "least"),
    Rule("conditionNumber", "the spatial system has a condition number of {}", (1e10, 1e12, 1e15, math.inf)),
)


def gradeFigures(
    quality: Quality, caps: Iterable[tuple[str, str]] = (), without: Iterable[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """Return the grade of the figures and its reasons, the worst first; no better grade than those of caps.

    Figures named in `without` do not count. ValueError tells of a cap that is no grade.
    """
    ignored = set(without)
    figures = [(rule, getattr(quality, rule.figure)) for rule in RULES if rule.figure not in ignored]
    told = [(rule.grade(value), rule.tell(value)) for rule, value in figures if value is not None]
    for grade, why in caps:
        if grade not in GRADES:
            raise ValueError(f"grade {grade!r} is unknown; choose one of {', '.join(GRADES)}")
        told.append((grade, why))
    told.sort(key=lambda item: -GRADES.index(item[0]))
    worst = told[0][0]
    if worst == "A":
        return worst, (f"A: all {len(told)} figures are within the limits of A",)
    return worst, tuple(f"{grade}: {why}" for grade, why in told if grade != "A")


def checkGates(quality: Quality | None, gates: Mapping[str, Any]) -> list[str]:
    """Return in words which gates a difference does not pass; none: it passes.

    Parameters
    ----------
    quality
        A `Quality`.
    gates
        ``{"grade": "B", "noiseRobustStdev": 1.1}``: the least grade, and limits of figures by their names: the least of
        those of which more is better (coverage, limitingMagnitude, nUsed, nSources), the most of all others. A figure
        that is not known does not pass.

    Raises
    ------
    ValueError
        If a gate names no figure, its limit is not a number or a grade, or the quality was not assessed.
    """
    requireGates(gates)
    if quality is None:
        raise ValueError("gates need the quality: leave doAssessQuality on")
    figures = quality.toDict()
    failures = []
    for name, limit in gates.items():
        value, isMore = figures[name], name in MORE_IS_BETTER
        if name == "grade":
            if GRADES.index(value) > GRADES.index(limit):
                failures.append(f"the grade is {value}, below {limit}")
        elif value is None:
            failures.append(f"{name} is not known, so it cannot be held to {float(limit):g}")
        elif value < float(limit) if isMore else value > float(limit):
            failures.append(f"{name} is {value:.4g}, {'below' if isMore else 'above'} {float(limit):g}")
    return failures


def gateNames() -> list[str]:
    """Return the names that gates can have: the grade, and the figures that are a number."""
    nothing = Quality("F", ()).toDict()
    return ["grade", *(name for name, value in nothing.items() if not isinstance(value, str | list | dict))]


def requireGates(gates: Mapping[str, Any]) -> None:
    """Raise ValueError if a gate, see `checkGates`, names no figure, or its limit is not a number or a grade."""
    figures = gateNames()[1:]
    for name, limit in gates.items():
        if name == "grade":
            if limit not in tuple(GRADES):
                raise ValueError(f"gate grade={limit}: choose one of {', '.join(GRADES)}")
        elif name not in figures:
            from difflib import get_close_matches

            near = get_close_matches(str(name), ("grade", *figures), n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"choose grade or one of {', '.join(figures)}"
            raise ValueError(f"gate {name!r} is no figure; {hint}")
        else:
            with suppress(TypeError, ValueError):
                if not math.isnan(float(limit)):
                    continue
            raise ValueError(f"gate {name}={limit}: the limit is not a number")
