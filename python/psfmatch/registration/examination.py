"""Two images looked at before they are laid upon each other: defects, saturation, noise of the sky, and sources."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from psfmatch.config.choices import Choice
from psfmatch.errors import InputImagesError, significant
from psfmatch.images import Exposure
from psfmatch.io.sourceTable import AnyTable
from psfmatch.noise import measureNoiseFactor
from psfmatch.registration.coverage import REQUIRED_FRACTION
from psfmatch.registration.preparation import Preparation, prepareInputs
from psfmatch.sources import Defects, Saturation, findSaturation, flagDefects
from psfmatch.sources.defects import SATURATED_GROWTH, examineDefects
from psfmatch.threads import mapThreads, resolveThreads, sideBySide

__all__ = ["NAMES", "Examined", "PairSteps", "Timer", "examinePair"]

log = logging.getLogger("psfmatch.frontdoor")

Timer = Callable[[str], AbstractContextManager[object]]
"""Of a task: measures how long the step takes whose name it is given."""

Detect = Callable[[Exposure], AnyTable]
NAMES = "template", "science image"
RIGHT_NOISE = 0.005
"""Departure of the sky's scatter from its predicted noise that is its own error: the variance plane is right."""


@dataclass(frozen=True, kw_only=True)
class PairSteps:
    """What is done to two images before they are matched; by default they are taken as they are.

    requiredCoverage : share of the science image's pixels that must be good in both; edgeFraction : of a kernel's
    sum that may lie beyond all pixels, above 0 what the template has beyond the border is kept.
    """

    doFindDefects: bool = False
    doFindSaturation: bool = False
    doFindStreaks: bool = False
    doScaleVariance: bool = False
    doAlign: bool = False
    requiredCoverage: float = REQUIRED_FRACTION
    edgeFraction: float = 0.0


@dataclass(frozen=True)
class Examined:
    """Template and science image flagged and scaled, with the record of it, and their sources.

    saturations : of either, None where nobody asked; choices : in sentences what was found;
    given, defects : both images as they were, and the defects of either, None where nobody asked;
    sources, templateSources : of either where it was, the latter None where nobody asked.
    """

    template: Exposure
    science: Exposure
    preparation: Preparation
    saturations: tuple[Saturation | None, Saturation | None]
    choices: tuple[Choice, ...]
    given: tuple[Exposure, Exposure]
    defects: tuple[Defects | None, Defects | None]
    sources: AnyTable
    templateSources: AnyTable | None


def examinePair(
    template: Exposure,
    science: Exposure,
    steps: PairSteps,
    detect: tuple[Detect, Detect],
    *,
    timer: Timer,
    threads: int,
    detectThreads: int,
) -> Examined:
    """Flag defects and saturation of both images, bring their variance planes to their skies' noise, find sources.

    Parameters
    ----------
    template, science
        Not changed.
    steps
        Which of all that is asked for; the template's sources are looked for where it is to be aligned.
    detect
        Return the sources of the template, and those of the science image.
    timer
        Of the task that asks.
    threads, detectThreads
        Of all, and of two images whose sources may be found at a time.
    """
    with timer("examine"):
        both = mapThreads(lambda image: _examined(image, steps), (template, science), threads)
    defects, saturations, scalings, flagged = zip(*both, strict=True)
    choices: list[Choice] = []
    for name, found in zip(NAMES, defects, strict=True):
        if found is not None:
            choices.append(Choice.told("defects", str(found.nPixels), f"Defects of the {name}: {found.reason}"))
    for name, saturation in zip(NAMES, saturations, strict=True):
        if saturation is not None:
            sentence = f"Saturation of the {name}: {saturation.reason}"
            choices.append(Choice.told("saturation", saturation.source, sentence))
    for name, scaling in zip(NAMES, scalings, strict=True):
        if scaling is not None:
            choices.append(Choice.told("variance", f"{scaling[0]:.4g}", f"Variance of the {name}: {scaling[1]}"))
    for choice in choices:
        choice.log(log)
    levels = [None if saturation is None else saturation.level for saturation in saturations]
    trails = [None if saturation is None else saturation.trails for saturation in saturations]
    isPiledUp = any(saturation is not None and saturation.isPiledUp for saturation in saturations)
    factors = [1.0 if scaling is None else scaling[0] for scaling in scalings]
    record = Preparation(
        templateSaturation=levels[0],
        scienceSaturation=levels[1],
        templateTrails=trails[0],
        scienceTrails=trails[1],
        saturationGrowth=SATURATED_GROWTH if isPiledUp else 0.0,
        templateVarianceFactor=factors[0],
        scienceVarianceFactor=factors[1],
        doFindDefects=steps.doFindDefects,
    )
    given = template, science
    template, science = prepareInputs(template, science, record, threads, defects, flagged)
    with timer("detect"):
        ofTemplate, ofScience = detect
        templateSources = None
        if steps.doAlign:
            sources, templateSources = sideBySide(
                partial(ofScience, science), partial(ofTemplate, template), detectThreads
            )
        else:
            sources = ofScience(science)
    return Examined(
        template,
        science,
        record,
        (saturations[0], saturations[1]),
        tuple(choices),
        given,
        (defects[0], defects[1]),
        sources,
        templateSources,
    )


def _examined(
    image: Exposure, steps: PairSteps
) -> tuple[Defects | None, Saturation | None, tuple[float, str] | None, Exposure | None]:
    """Return defects, where an image saturates, what its variance plane is to be multiplied by and why, and the image.

    None of what is not asked for. The image has NO_DATA and SAT as defects were looked for beside them.
    """
    threads = resolveThreads(None)
    flagged = None
    if steps.doFindDefects:
        defects, saturation, flagged = examineDefects(image, steps.doFindSaturation, threads=threads)
        image = flagDefects(image, defects)
    else:
        defects, saturation = None, findSaturation(image, threads) if steps.doFindSaturation else None
    return defects, saturation, _varianceScaling(image) if steps.doScaleVariance else None, flagged


def _varianceScaling(image: Exposure) -> tuple[float, str]:
    """Return the factor that brings the variance plane to the noise of the sky, and why; 1 if they do not compare."""
    try:
        noise = measureNoiseFactor(image.maskedImage, threads=resolveThreads(None))
    except InputImagesError as error:
        log.warning("The variance plane is left as it is: %s", error)
        return 1.0, f"left as it is: {error}."
    factor, width = noise.factor, math.sqrt(noise.factor)
    if noise.isOfCrowd:
        told = "left as it is" if significant(factor) == "1" else f"multiplied by {factor:.4g}"
        return factor, (
            f"{told}: its sky scatters by {math.sqrt(noise.blank):.4g} times the noise that the "
            f"plane says, but pixels differ from their neighbours by {width:.4g} times it alone; the rest is a crowd "
            "of faint sources, or a nebula, and no noise."
        )
    if abs(width - 1.0) <= RIGHT_NOISE:
        return 1.0, f"its sky scatters by {width:.4f} of its noise, within {RIGHT_NOISE:g} of 1: left as it is."
    scatter = f"{width:.4g} times the noise that the plane says"
    return factor, f"multiplied by {factor:.4g}, for the sky scatters by {scatter}."
