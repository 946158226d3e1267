"""The border of a difference, after the subtraction: computed of what lies beyond it, and told."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from psfmatch.config.choices import Choice
from psfmatch.difference import edgeHandlingOf
from psfmatch.difference.borders import Border, completeBorder
from psfmatch.frontdoor.fallbacks import Subtraction
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.images import atOrigin

__all__ = ["withBorder"]

log = logging.getLogger("psfmatch.frontdoor")


def withBorder(subtraction: Subtraction, inputs: Inputs) -> Subtraction:
    """Compute the border of the difference that was made of the inputs, in place; return it with what is to be told."""
    if subtraction.changed is not None:
        return subtraction  # a stamp's fit has its own rule for what lies beyond
    result, isTemplate = subtraction.result, subtraction.convolveTemplate
    science = inputs.science.maskedImage
    template = atOrigin(inputs.template.maskedImage, science)
    kernel, box = result.psfMatchingKernel, science.getBBox()
    with subtraction.task.timer("border"):
        border = completeBorder(
            result.subtractedExposure.maskedImage,
            result.matchedImage,
            *((template, science) if isTemplate else (science, template)),
            kernel,
            result.backgroundModel,
            edges=edgeHandlingOf(subtraction.options.kernel),
            fraction=subtraction.options.edgeFraction,
            beyond=inputs.beyond.on if isTemplate and inputs.beyond is not None else None,
            isScienceConvolved=not isTemplate,
            kernelSum=kernel.kernelSum(*box.centre),
            threads=subtraction.task.threads,
        )
    if border is None:
        return subtraction
    choice = _choiceOf(border, subtraction.options.edgeFraction, subtraction.options.kernel.doCopyEdge)
    choice.log(log)
    return replace(subtraction, choices=(*subtraction.choices, choice))


def _choiceOf(border: Border, fraction: float, copiesEdge: bool) -> Choice:
    size = 2 * max(border.half) + 1
    outermost = "the outermost pixels, which are taken to go on"
    what = "what the template has beyond" if border.hasMore else outermost
    if border.hasMore and not border.hasAll:
        what += f", and where it ends of {outermost}"
    tail = f"no pixel lacks more than {fraction:.2g} of its kernel."
    if border.edgeFraction > 0.0:
        tail = (
            f"{border.edgeFraction:.1%} lack more than {fraction:.2g} of their kernel, within {border.reach} px of "
            f"what nobody has seen, and {'carry EDGE' if copiesEdge else 'are left without data'}."
        )
    sentence = (
        f"Border: the kernel of {size} px reaches beyond it in {border.fullFraction:.1%} of the pixels, which are "
        f"computed of {what}; {tail}"
    )
    return Choice("border", f"{border.edgeFraction:.4f}", border.edgeFraction, "", math.nan, sentence)
