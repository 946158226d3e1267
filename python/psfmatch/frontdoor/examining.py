"""Two images looked at before anything is done to them: defects, saturation, and the noise of their skies."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from psfmatch.difference import Preparation, prepareInputs
from psfmatch.errors import InputImagesError, significant
from psfmatch.fit import Choice
from psfmatch.frontdoor.options import RunOptions
from psfmatch.images import Exposure
from psfmatch.noise import measureNoiseFactor
from psfmatch.sources import Defects, Saturation, findSaturation, flagDefects
from psfmatch.sources.defects import SATURATED_GROWTH, examineDefects
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask
from psfmatch.threads import mapThreads, resolveThreads

__all__ = ["NAMES", "Examined", "examineInputs"]

log = logging.getLogger("psfmatch.frontdoor")

NAMES = "template", "science image"
RIGHT_NOISE = 0.005
"""Departure of the sky's scatter from its predicted noise that is its own error: the variance plane is right."""


@dataclass(frozen=True)
class Examined:
    """Template and science image flagged and scaled, with the record of it.

    saturations : of either, None where nobody asked; choices : in sentences what was found;
    given, defects : both images as they were, and the defects of either, None where nobody asked.
    """

    template: Exposure
    science: Exposure
    preparation: Preparation
    saturations: tuple[Saturation | None, Saturation | None]
    choices: tuple[Choice, ...]
    given: tuple[Exposure, Exposure]
    defects: tuple[Defects | None, Defects | None]


def examineInputs(template: Exposure, science: Exposure, task: ImagePsfMatchTask, options: RunOptions) -> Examined:
    """Flag defects and saturation of both images, and bring their variance planes to the noise of their skies."""
    with task.timer("examine"):
        both = mapThreads(lambda image: _examined(image, options), (template, science), task.threads)
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
            task.metadata[f"scale{name.split()[0].capitalize()}VarianceFactor"] = scaling[0]
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
        doFindDefects=options.doFindDefects,
    )
    given = template, science
    template, science = prepareInputs(template, science, record, task.threads, defects, flagged)
    return Examined(
        template, science, record, (saturations[0], saturations[1]), tuple(choices), given, (defects[0], defects[1])
    )


def _examined(
    image: Exposure, options: RunOptions
) -> tuple[Defects | None, Saturation | None, tuple[float, str] | None, Exposure | None]:
    """Return defects, where an image saturates, what its variance plane is to be multiplied by and why, and the image.

    None of what is not asked for. The image has NO_DATA and SAT as defects were looked for beside them.
    """
    threads = resolveThreads(None)
    flagged = None
    if options.doFindDefects:
        defects, saturation, flagged = examineDefects(image, options.doFindSaturation, threads=threads)
        image = flagDefects(image, defects)
    else:
        defects, saturation = None, findSaturation(image, threads) if options.doFindSaturation else None
    return defects, saturation, _varianceScaling(image) if options.doScaleVariance else None, flagged


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
