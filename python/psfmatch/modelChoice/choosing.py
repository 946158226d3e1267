"""Which kernel model serves pixels that it has not seen: kernel shape, orders, priors, stars or tiles.

All models are parts of one set of normal equations, so that each costs the solution of a small system. A model is
judged by chi-square of every region under the solution without it (cross-validation); a richer one must be better by
half the error of that difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions, RegionOptions
from psfmatch.exposure import MaskedImage
from psfmatch.modelChoice.family import (
    WIDEST_SIGMA,
    Fwhms,
    GaussianFamily,
    familyOf,
    isFamilyPinned,
    kernelNorm,
    pinnedFamily,
)
from psfmatch.modelChoice.layouts import beginFit, chooseLayout
from psfmatch.modelChoice.models import Choice, ModelSearch, chooseModel
from psfmatch.regions import RegionCells, makeRegions

__all__ = ["KernelChoice", "chooseKernel"]

MODEL_FIELDS = {
    "spatialKernelOrder": "kernelOrder",
    "spatialBgOrder": "backgroundOrder",
    "regionConfig.shapeScale": "shapeScale",
    "regionConfig.variationScale": "variationScale",
    "regionConfig.widthScale": "widthScale",
}
"""Fields of the configuration, and of the `SpatialModelOptions` that has them."""
LEAST_GAIN = 0.01
"""Rejection stays, and so do the usual Gaussians, unless bright pixels scatter by this part less without."""
MIN_BRIGHT_REGIONS = 20
"""With bright pixels, without which a hundred functions are not tried."""
WELL_FITTED = 1.5
"""Scatter of held-out bright pixels that asks for nothing else: variable stars and transients make nearly that."""
RICHEST_FITTED = 1.25
"""The same where the richest of the usual Gaussians were the best: still more of them may be better."""


@dataclass(frozen=True)
class KernelChoice:
    """What was chosen: fields of the active kernel configuration and of its ``regionConfig``, and why.

    cells : the regions, on which the fit has begun; it goes on where the configuration has these fields.
    """

    fields: dict[str, Any]
    regionFields: dict[str, Any]
    choices: tuple[Choice, ...]
    cells: RegionCells


def chooseKernel(
    convolved: MaskedImage,
    other: MaskedImage,
    sources: Any,
    fwhms: Fwhms,
    options: KernelOptions,
    threads: int,
    *,
    isThorough: bool,
    starsOnly: bool = False,
    pinned: Mapping[str, Any] | None = None,
    noiseCorrelation: npt.NDArray[np.float64] | None = None,
) -> KernelChoice:
    """Choose the kernel's basis, its orders, its priors, and the layout of its regions.

    Parameters
    ----------
    convolved, other
        The image to convolve and the image to match, on one grid.
    sources
        Table with x and y (parent pixels), most useful first; may be empty.
    fwhms
        FWHM (pixels) of both PSFs, in the same sequence; None: unknown.
    options
        Of the kernel, that the choice starts from, with number and size of the regions, of `effortFor`.
    threads
        Number of threads.
    isThorough
        Whether all models are tried, of `effortFor` too.
    starsOnly
        The sources are the caller's: nothing else is fitted.
    pinned
        Fields of the kernel, and as ``regionConfig.NAME`` of its regions, that are not to be chosen: models without
        these values are not tried.
    noiseCorrelation : (2 n + 1, 2 n + 1)
        Of the noise of the image to convolve, by lags (y, x); None where it is white.

    Raises
    ------
    NoKernelCandidatesError
        If there are too few sources for `starsOnly`, or the images have no room for a region.
    KernelSolutionError
        If no model has a solution.
    """
    pins = {} if pinned is None else pinned
    layout = pins.get("regionConfig.layout")
    if starsOnly and layout == "tiles":
        raise ValueError("regionConfig.layout is 'tiles', which use no stars; leave candidateList out, or the layout")
    free = familyOf(*fwhms, other.shape, options.regions.halfWidth)
    family = pinnedFamily(free, pins, options, fwhms, other.shape)
    norm = pins.get("regionConfig.kernelNorm") or kernelNorm(
        convolved, other, sources, family, options.badPlanes(), threads
    )

    def layOut(layout: str) -> RegionCells:
        regions = replace(options.regions, kernelNorm=norm, layout=layout)
        own = replace(options, regions=regions)
        return makeRegions(convolved, other, own, family.kernelSize, sources, threads, noiseCorrelation)

    cells, layoutChoice = chooseLayout(layOut, family, len(sources), starsOnly=starsOnly, pinned=layout)

    def fit(tried: GaussianFamily, isThorough: bool) -> _Fit:
        return _fitFamily(cells, tried, fixedFields(pins), isThorough, pins.get("regionConfig.rejectPixels"))

    best = fit(family, isThorough)
    if not isFamilyPinned(pins):
        if family.isEqual:
            best = _preferPoint(best, fit(family.point(), False))
        most = RICHEST_FITTED if best.isRichest else WELL_FITTED
        if best.scatter > most and best.nBright >= MIN_BRIGHT_REGIONS:
            best = _preferMany(best, fit(family.rich(), True), most)
    cells.state = best.found.state
    choices = _tellFamily(family, free, fwhms), layoutChoice, *best.choices
    return KernelChoice(*_fields(best, cells.options.regions, pins), choices, cells)


def fixedFields(pins: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `SpatialModelOptions` that are set, with their values."""
    return {own: pins[name] for name, own in MODEL_FIELDS.items() if name in pins}


def _fields(fit: _Fit, regions: RegionOptions, pins: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of the kernel's configuration, and of its ``regionConfig``."""
    family, model = fit.found.family, fit.found.model
    return {
        "fitMethod": "regions",
        "scaleByFwhm": False,
        "alardNGauss": len(family.sigmas),
        "alardSigGauss": list(family.sigmas),
        "alardDegGauss": list(family.degreesOf(model.images)),
        "kernelSize": family.kernelSize,
        "spatialKernelOrder": model.kernelOrder,
        "spatialBgOrder": model.backgroundOrder,
        "nStarPerCell": pins.get("nStarPerCell", -1),
        "calculateKernelUncertainty": pins.get("calculateKernelUncertainty", True),
    }, {
        **{name: getattr(regions, name) for name in ("layout", "halfWidth", "maxRegions", "kernelNorm")},
        **{name: getattr(model, name) for name in ("shapeScale", "variationScale", "widthScale")},
        "rejectPixels": fit.doReject,
        "firstDegrees": list(family.usualDegrees),
    }


def _tellFamily(family: GaussianFamily, free: GaussianFamily, fwhms: Fwhms) -> Choice:
    """Return the Gaussians, which without anything set would be those of `free`, as a choice."""
    narrow, wide = fwhms
    sizes = "PSF sizes that are unknown, taken as 3.5 px"
    if narrow is not None and wide is not None:
        between, how = math.sqrt(abs(wide**2 - narrow**2)), "between them" if wide >= narrow else "that it must sharpen"
        sizes = f"PSF FWHM {narrow:.2f} and {wide:.2f} px, {between:.2f} px {how}"
    size, why = family.kernelSize, f"as set or as it follows, for {sizes}."
    alternative: float = free.kernelSize
    if family == free:
        alternative, why = 21.0, f"for {sizes}. The widest is {WIDEST_SIGMA:g} sigma of the wider PSF, for its wings, "
        why += "which the usual 21 px may cut."
    sentence = f"Kernel of up to {size}x{size} px, Gaussians of sigma {family.told()} px, {why}"
    return Choice("kernel", f"{size} px", size, f"{alternative:g} px", alternative, sentence)


@dataclass(frozen=True)
class _Fit:
    """The best model of a family; scatter, pull : of held-out bright pixels, in a unit for all models and in the noise
    that this one predicts (`RegionResiduals.brightScatter`); nBright : regions that have any; choices : all up to here.
    """

    found: ModelSearch
    doReject: bool
    scatter: float
    pull: float
    nBright: int
    choices: tuple[Choice, ...]

    @property
    def isRichest(self) -> bool:
        """Whether it has the richest of several sets of degrees, with or without the widest Gaussian."""
        family, images = self.found.family, self.found.model.images
        richest = family.degrees[-1]
        return len(family.degrees) > 1 and images in (family.images(richest), family.images(family.narrower(richest)))

    def isBetter(self, other: _Fit) -> bool:
        """Return whether held-out bright pixels scatter less than those of a fit that is preferred."""
        return self.scatter < other.scatter * (1.0 - LEAST_GAIN)


def _fitFamily(
    cells: RegionCells, family: GaussianFamily, fixed: dict[str, Any], isThorough: bool, doReject: bool | None
) -> _Fit:
    """Choose model and rejection within one family of Gaussians.

    Pixels are rejected, unless bright pixels that the model has not seen are better served without: where no model is
    perfect, rejection can eat the bright sources and leave the kernel to the faint ones. Where the model serves all
    bright pixels, rejected ones included, it has not. `doReject` is what has been set, None what is to be chosen.
    """

    def fit(isRejecting: bool) -> _Fit:
        stateOf = partial(beginFit, cells, rejectPixels=isRejecting)
        found = chooseModel(stateOf, family, fixed, isThorough)
        figures = found.state.judge(found.model).brightScatter(found.state.fit, found.state.kernelNorm)
        return _Fit(found, isRejecting, *figures, tuple(found.choices))

    if doReject is not None:
        return fit(doReject)
    best = rejecting = fit(True)
    part = f"{100.0 * rejecting.found.state.fit.rejectedFraction:.1f} % rejected"
    served = f"held-out bright pixels scatter by {rejecting.scatter:.3f} of their noise with it ({part})"
    figures = {"on": rejecting.scatter, "off": math.nan}
    without = f", no more than {WELL_FITTED:g}: without it was not tried."
    if rejecting.scatter > WELL_FITTED:
        other = fit(False)
        best = other if other.isBetter(rejecting) else rejecting
        figures["off"], without = other.scatter, f", {other.scatter:.3f} without."
    chosen = "on" if best.doReject else "off"
    choice = Choice.between("rejection", chosen, figures, f"Rejection of pixels: {chosen}; {served}{without}")
    return replace(best, choices=(*best.choices, choice))


def _preferPoint(usual: _Fit, point: _Fit) -> _Fit:
    """Return the fit to one pixel, but that to Gaussians if they leave held-out bright pixels with less scatter."""
    # Gaussians smooth noise, which lowers the one, and may amplify it, which lowers the other.
    least = 1.0 - LEAST_GAIN
    isPoint = least * point.scatter <= usual.scatter or least * point.pull <= usual.pull  # never without bright pixels
    sentence = (
        f"The PSFs are nearly equal: held-out bright pixels scatter by {usual.pull:.3f} of their noise with the "
        f"Gaussians, by {point.pull:.3f} with a kernel of one pixel, which changes the scale alone; "
        f"{'it is' if isPoint else 'the Gaussians are'} taken."
    )
    figures = {"Gaussians": usual.pull, "one pixel": point.pull}
    choice = Choice.between("equalPsfs", "one pixel" if isPoint else "Gaussians", figures, sentence)
    return _after(usual, choice, point if isPoint else None)


def _preferMany(usual: _Fit, rich: _Fit, most: float) -> _Fit:
    """Return the fit of many terms where it leaves held-out bright pixels with less scatter."""
    isMany = rich.isBetter(usual)
    sentence = (
        f"Held-out bright pixels scatter by {usual.scatter:.3f} of their noise, more than {most:g}: "
        f"{'three' if isMany else 'the four Gaussians stay, three'} of many terms (sigmas {rich.found.family.told()} "
        f"px) leave {rich.scatter:.3f}{'; they are taken' if isMany else ''}."
    )
    figures = {"usual": usual.scatter, "many": rich.scatter}
    choice = Choice.between("functions", "many" if isMany else "usual", figures, sentence)
    return _after(usual, choice, rich if isMany else None)


def _after(usual: _Fit, choice: Choice, taken: _Fit | None) -> _Fit:
    """Return a fit, or another that is taken instead of it, with the choices of both and of that."""
    told = *usual.choices, choice
    return replace(usual, choices=told) if taken is None else replace(taken, choices=(*told, *taken.choices))
