"""Two images made ready to be matched, with what was done to them and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from psfmatch.difference import warperOf
from psfmatch.fit.stampFit import LARGEST_SIDE, requireStampFits
from psfmatch.frontdoor.faintFields import FaintMatch, matchFaint
from psfmatch.frontdoor.options import RunOptions
from psfmatch.images import Exposure
from psfmatch.registration import LaidPair, PreparedPair, alignPair, completePair, examinePair, layPair
from psfmatch.registration.examination import Detect
from psfmatch.sources import SourceDetectionTask
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask

__all__ = ["Inputs", "makeInputs"]

TEMPLATE_SOURCES = 5000
"""Sources of the template, the brightest, that are measured."""


@dataclass(frozen=True)
class Inputs(PreparedPair):
    """The images made ready, and what matches them if all their sources are faint."""

    faint: FaintMatch | None = None


def makeInputs(template: Exposure, science: Exposure, task: ImagePsfMatchTask, options: RunOptions) -> Inputs:
    """Flag defects and saturation, scale variances, register the template, and find the science image's sources."""
    usual: dict[str, Any] = {"timer": task.timer, "threads": task.threads}
    if options.chooseKernel and max(science.shape) <= LARGEST_SIDE:
        requireStampFits(science.shape)
    else:
        task.requireKernelFits(science.maskedImage)
    # Tasks that somebody has put in their place need not bear two calls at a time.
    isOwn = type(task.selectDetection) is SourceDetectionTask
    isOwn &= type(task.selectMeasurement) is SourceMeasurementTask
    ofTemplate: Detect = task.selectSources
    ofScience: Detect = task.selectSources
    if isOwn and type(task).selectSources is ImagePsfMatchTask.selectSources:
        # Of the template they tell no more than how it lies.
        ofTemplate = partial(task.selectSources, isGrown=False, most=TEMPLATE_SOURCES)
        ofScience = partial(task.selectSources, isGrown=False)
    examined = examinePair(
        template, science, options, (ofTemplate, ofScience), detectThreads=task.threads if isOwn else 1, **usual
    )
    if options.doScaleVariance:
        task.metadata["scaleTemplateVarianceFactor"] = examined.preparation.templateVarianceFactor
        task.metadata["scaleScienceVarianceFactor"] = examined.preparation.scienceVarianceFactor
    warper = warperOf(task.options, task.threads)
    if options.doAlign:
        laid = alignPair(examined, warper, **usual)
        task.metadata["nDetectedSources"] = len(examined.sources)
    else:
        registered = task.registerTemplate(examined.template, examined.science)
        laid = LaidPair(examined.template, registered, examined.science, examined.sources, examined.preparation)
    faint = matchFaint(laid, examined.templateSources, task) if options.chooseKernel and isOwn else None
    if faint is not None:
        moved = faint.alignment if faint.alignment is not laid.alignment else None
        if laid.preparation.defectFluxRatio is not None and moved is not None:
            laid = layPair(examined, faint.sources, moved, warper, **usual)
        else:
            laid = replace(laid, template=faint.template, sources=faint.sources, alignment=faint.alignment)
    ready = completePair(laid, examined, options, warper, **usual)
    choices = (*examined.choices, *(() if faint is None else faint.choices), *ready.choices)
    return Inputs(**{**vars(ready), "choices": choices}, faint=faint)
