"""Pairs of equal, narrow PSFs that no kernel matches: tried again with one image smoothed, kept if that leaves less."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from psfmatch.decorrelation import SMOOTHING_SIGMA, smoothedExposure, smoothedFwhm
from psfmatch.differencing.inputs import Inputs
from psfmatch.differencing.ladder import Made
from psfmatch.differencing.options import RunOptions
from psfmatch.differencing.result import SubtractionResult
from psfmatch.errors import PsfMatchError
from psfmatch.exposure import Exposure
from psfmatch.kernels import EdgeHandling
from psfmatch.modelChoice import Choice
from psfmatch.recipe import edgeHandlingOf

__all__ = ["isWorthSmoothing", "smoothedOrAsItIs"]

log = logging.getLogger("psfmatch.differencing")

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


def isWorthSmoothing(result: SubtractionResult, made: Made, options: RunOptions, fwhms: Widths) -> bool:
    """Return whether a fitted kernel between equal, narrow PSFs leaves more than noise, and not too much."""
    narrow, wide = fwhms
    if narrow is None or wide is None or result.errorFloor is None:
        return False
    isLeft = 0.0 < result.errorFloor.share <= LARGEST_FLOOR
    isFitted = options.chooseKernel and not options.pinned and not made.steps and made.inputs is None
    areEqual = abs(narrow - wide) <= EQUAL_WIDTHS * max(narrow, wide)
    return isLeft and isFitted and areEqual and max(narrow, wide) <= LARGEST_FWHM


def smoothedOrAsItIs(
    result: SubtractionResult,
    inputs: Inputs,
    fwhms: Widths,
    solve: Callable[[Inputs, Widths], Made],
    finish: Callable[[Made, float], SubtractionResult],
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
    edges, widths = edgeHandlingOf(result.options.kernel), [*fwhms]
    if result.convolved == "template":
        exposure, ready = "science image", replace(inputs, science=_smoothed(inputs.science, edges))
    else:
        exposure, ready = "template", replace(inputs, template=_smoothed(inputs.template, edges))
    if (fwhm := widths[result.convolved == "template"]) is not None:
        widths[result.convolved == "template"] = smoothedFwhm(fwhm, SMOOTHING_SIGMA)
    try:
        made = solve(ready, (widths[0], widths[1]))
    except PsfMatchError as error:
        log.info("No kernel for the smoothed %s: %s", exposure, error)
        return result
    if made.steps or made.inputs is not None:
        return result
    other = finish(made, SMOOTHING_SIGMA)
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
    log.info("%s", told)
    choice = Choice("smoothing", f"{SMOOTHING_SIGMA:g}" if isTaken else "0", after, "0", before, told)
    taken = other if isTaken else result
    return replace(taken, choices=(*taken.choices, choice))


def _smoothed(exposure: Exposure, edges: EdgeHandling) -> Exposure:
    return smoothedExposure(exposure, SMOOTHING_SIGMA, edges)
