"""Traces of detectors in a difference: levels of the sky at its border taken off, those of saturated stars flagged."""

from __future__ import annotations

import logging
from dataclasses import replace

from psfmatch.config.choices import Choice
from psfmatch.difference import flagSaturationTraces
from psfmatch.difference.background import findBorderLevels
from psfmatch.frontdoor.fallbacks import Subtraction

__all__ = ["withoutTraces"]

log = logging.getLogger("psfmatch.frontdoor")


def withoutTraces(subtraction: Subtraction) -> Subtraction:
    """Clean the difference that was made, in place, if asked for; return it with what is to be told."""
    if subtraction.changed is not None or not subtraction.options.doFindTraces:
        return subtraction  # a stamp has neither room for a level nor rings that could be told from its source
    difference, threads = subtraction.result.subtractedExposure.maskedImage, subtraction.task.threads
    choices = list(subtraction.choices)
    with subtraction.task.timer("findTraces"):
        levels = findBorderLevels(difference, threads)
        if levels is not None:
            levels.subtractFrom(difference, threads)
            choices.append(Choice.told("borderLevels", f"{levels.length:g}", levels.sentence))
        growth = subtraction.options.traceGrowth(subtraction.result.psfMatchingKernel.shape)
        traces = flagSaturationTraces(difference, growth, threads)
    if traces is not None:
        nPixels = traces.nRingPixels + traces.nLinePixels
        choices.append(Choice.told("saturationTraces", str(nPixels), traces.sentence))
    for choice in choices[len(subtraction.choices) :]:
        choice.log(log)
    return replace(subtraction, choices=tuple(choices), borderLevels=levels)
