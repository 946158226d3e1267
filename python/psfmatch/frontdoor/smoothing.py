"""Pairs of equal, narrow PSFs that no kernel matches: tried again with one image smoothed, kept if that leaves less."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from psfmatch.config.choices import Choice
from psfmatch.difference import SMOOTHING_SIGMA, edgeHandlingOf, smoothedExposure, smoothedFwhm
from psfmatch.errors import PsfMatchError
from psfmatch.frontdoor.fallbacks import Subtraction
from psfmatch.frontdoor.inputs import Inputs
from psfmatch.frontdoor.options import RunOptions
from psfmatch.frontdoor.result import SubtractionResult

__all__ = ["isOfKernelFit", "isWorthSmoothing", "smoothedInputs", "smoothedOrAsItIs"]

log = logging.getLogger("psfmatch.frontdoor")

Widths = tuple[float | None, float | None]

EQUAL_WIDTHS = 0.1
"""Relative difference of two FWHM up to which neither image is the other one convolved; narrow ones are measured less
well than others."""
LARGEST_FWHM = 2.2
"""Pixels: wider PSFs are sampled well enough, and smoothing has gained nothing."""
LARGEST_FLOOR = 0.06
"""Of sources as they are: where more is left they are sampled so coarsely that smoothing has made more false peaks."""
LEAST_GAIN = 0.7
"""Share of the error floor that may be left where the smoothed image is taken."""


def isWorthSmoothing(result: SubtractionResult, subtraction: Subtraction, options: RunOptions, fwhms: Widths) -> bool:
    """Return whether a fitted kernel between equal, narrow PSFs leaves more than noise, and not too much."""
    narrow, wide = fwhms
    if narrow is None or wide is None or result.errorFloor is None:
        return False
    isLeft = 0.0 < result.errorFloor.share <= LARGEST_FLOOR
    isAsked = options.smoothingSigma is None
    isFitted = isAsked and options.chooseKernel and not options.pinned and isOfKernelFit(subtraction)
    areEqual = abs(narrow - wide) <= EQUAL_WIDTHS * max(narrow, wide)
    return isLeft and isFitted and areEqual and max(narrow, wide) <= LARGEST_FWHM


def smoothedInputs(
    inputs: Inputs, fwhms: Widths, convolveTemplate: bool, sigma: float, options: RunOptions
) -> tuple[Inputs, Widths]:
    """Return the inputs with the image that is not convolved smoothed by a Gaussian, and the widths of their PSFs."""
    edges, widths = edgeHandlingOf(options.kernel), [*fwhms]
    if (fwhm := widths[convolveTemplate]) is not None:
        widths[convolveTemplate] = smoothedFwhm(fwhm, sigma)
    if convolveTemplate:
        ready = replace(inputs, science=smoothedExposure(inputs.science, sigma, edges))
    else:
        ready = replace(inputs, template=smoothedExposure(inputs.template, sigma, edges))
    return ready, (widths[0], widths[1])


def isOfKernelFit(subtraction: Subtraction) -> bool:
    """Return whether the kernel was fitted to stars or tiles; no other one is for images that were smoothed."""
    return not subtraction.steps and subtraction.inputs is None


def smoothedOrAsItIs(
    result: SubtractionResult,
    inputs: Inputs,
    fwhms: Widths,
    solve: Callable[[Inputs, Widths], Subtraction],
    finish: Callable[[Subtraction, float], SubtractionResult],
) -> SubtractionResult:
    """Return the subtraction with one image smoothed if its error floor is much lower, else the given one, and why.

    Parameters
    ----------
    result
        Of the images as they are.
    inputs, fwhms
        The images and the widths of their PSFs, template's and science image's.
    solve, finish
        Fit a kernel to inputs of these widths; make a result of that, with the sigma (pixels) of the smoothing.
    """
    isTemplate = result.convolved == "template"
    exposure = "science image" if isTemplate else "template"
    try:
        subtraction = solve(*smoothedInputs(inputs, fwhms, isTemplate, SMOOTHING_SIGMA, result.options))
    except PsfMatchError as error:
        log.info("No kernel for the smoothed %s: %s", exposure, error)
        return result
    if not isOfKernelFit(subtraction):
        return result
    other = finish(subtraction, SMOOTHING_SIGMA)
    if result.errorFloor is None or other.errorFloor is None or not other.errorFloor.nPlaces:
        return result
    before, after = result.errorFloor.share, other.errorFloor.share
    isTaken = after <= LEAST_GAIN * before
    told = (
        f"Smoothing: the PSFs are equal within {EQUAL_WIDTHS:.0%} and narrow, FWHM {fwhms[0]:.2f} and {fwhms[1]:.2f} "
        f"px, and the error floor of sources is {before:.2%} of their light; with the {exposure} smoothed by a "
        f"Gaussian of sigma {SMOOTHING_SIGMA:g} px before the fit it is {after:.2%}"
    )
    told += (
        ": it is smoothed. Difference and matched image are those of the smoothed one, its noise is correlated; the "
        "decorrelated difference takes that back, but for the finest details."
        if isTaken
        else ", no reason to smooth it."
    )
    choice = Choice("smoothing", f"{SMOOTHING_SIGMA:g}" if isTaken else "0", after, "0", before, told)
    choice.log(log)
    taken = other if isTaken else result
    return replace(taken, choices=(*taken.choices, choice))
