"""The grade of a difference: the table of limits that makes it of the figures, and the limits of a user's own.

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

from psfmatch.errors import significant
from psfmatch.quality.figures import Quality, measureFigures
from psfmatch.quality.finished import FinishedSubtraction

__all__ = ["GRADES", "RULES", "Rule", "assessQuality", "checkGates", "gateNames", "gradeFigures", "requireGates"]

GRADES = "ABCDF"
ANY = (math.inf, math.inf)
MORE_IS_BETTER = ("coverage", "limitingMagnitude", "nUsed", "nSources", "nFound", "nSkyPixels")
"""Figures of which a gate is the least; of all others it is the most."""


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
        return next((grade for grade, limit in zip(GRADES, self.limits, strict=False) if self._lets(limit, value)), "F")

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

    def _lets(self, limit: float, value: float) -> bool:
        if self.kind == "near one":
            return 1.0 / limit <= value <= limit
        return value >= limit if self.kind == "least" else value <= limit


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


def assessQuality(
    run: FinishedSubtraction, *, caps: Iterable[tuple[str, str]] = (), without: Iterable[str] = ()
) -> Quality:
    """Measure how good a difference image is, and grade it.

    Parameters
    ----------
    run
        The difference, and what it was made of.
    caps
        (grade, why): no better grade than this, as when a simpler model had to be taken.
    without
        Figures whose limits do not count, as what they measure is told otherwise, in `caps`.

    Raises
    ------
    TypeError
        If `run.told` names no figure.
    """
    figures = measureFigures(run)
    limits, ignored = list(caps), set(without)
    if not figures["nSkyPixels"]:
        limits.append(("D", "no blank sky was found: the noise could not be checked"))
    if not figures["nSources"] and "nSources" not in ignored:
        limits.append(("C", "no source of signal-to-noise above 30 was found: the match could not be checked"))
    if run.kernelSum is not None and not math.isfinite(run.kernelSum):
        limits.append(("F", "the kernel is not finite"))
    quality = Quality("F", (), **figures)
    grade, reasons = gradeFigures(quality, limits, ignored)
    return dataclasses.replace(quality, grade=grade, reasons=reasons)


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
