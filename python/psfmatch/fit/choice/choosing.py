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

from psfmatch.config import KernelOptions
from psfmatch.config.choices import Choice
from psfmatch.fit.choice.layouts import ENOUGH_STARS, ImagePair, beginFit, chooseLayout
from psfmatch.fit.choice.models import ModelSearch, chooseModel
from psfmatch.fit.regions.fit import spatialModel
from psfmatch.fit.regions.regionCells import RegionCells
from psfmatch.kernels import LinearCombinationKernel, SpatialFunction2D
from psfmatch.kernels.gaussians import (
    WIDEST_SIGMA,
    Fwhms,
    GaussianFamily,
    familyOf,
    isFamilyPinned,
    pinnedFamily,
)

__all__ = ["KernelChoice", "chooseKernel", "fitUsualKernel"]

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
    """What was chosen: the options of the kernel, and why.

    cells : the regions, on which the fit has begun; it goes on with these options.
    """

    options: KernelOptions
    choices: tuple[Choice, ...]
    cells: RegionCells


def chooseKernel(
    pair: ImagePair,
    options: KernelOptions,
    *,
    isThorough: bool,
    starsOnly: bool = False,
    pinned: Mapping[str, Any] | None = None,
) -> KernelChoice:
    """Choose the kernel's basis, its orders, its priors, and the layout of its regions.

    Parameters
    ----------
    pair
        The images, their sources and what is known of them.
    options
        Of the kernel, that the choice starts from, with number and size of the regions, of `effortFor`.
    isThorough
        Whether all models are tried, of `effortFor` too.
    starsOnly
        The sources are the caller's: nothing else is fitted.
    pinned
        Fields of the kernel, and as ``regionConfig.NAME`` of its regions, that are not to be chosen: models without
        these values are not tried.

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
    shape = pair.other.shape
    free = familyOf(*pair.fwhms, shape, options.regions.halfWidth)
    family = pinnedFamily(free, pins, options, pair.fwhms, shape)
    norm = pins.get("regionConfig.kernelNorm") or family.expectedNorm(pair.fluxRatio(options.badPlanes()))
    start = replace(options, regions=replace(options.regions, kernelNorm=norm))
    layOut = partial(pair.layOut, start, family.kernelSize)
    cells, layoutChoice = chooseLayout(layOut, family, len(pair.sources), starsOnly=starsOnly, pinned=layout)

    search = partial(_chooseRejection, cells, fixedFields(pins), pins.get("regionConfig.rejectPixels"))
    best = search(family, isThorough)
    if not isFamilyPinned(pins):
        if family.isEqual:
            best = _preferPoint(best, search(family.point(), False))
        most = RICHEST_FITTED if best.family.isRichest(best.model.images) else WELL_FITTED
        if best.scatter > most and best.nBright >= MIN_BRIGHT_REGIONS:
            best = _preferMany(best, search(family.rich(), True), most)
    cells.begun = best.solver
    choices = _tellFamily(family, free, pair.fwhms), layoutChoice, *best.choices
    return KernelChoice(_optionsOf(best, cells.options, pins), choices, cells)


def fitUsualKernel(pair: ImagePair, options: KernelOptions) -> tuple[LinearCombinationKernel, SpatialFunction2D]:
    """Return kernel and background of the model that serves most fields, for what must be known before one is chosen.

    Arguments and errors are those of `chooseKernel`.
    """
    family = familyOf(*pair.fwhms, pair.other.shape, options.regions.halfWidth)
    family = family.upTo(family.usualDegrees)
    norm = family.expectedNorm(pair.fluxRatio(options.badPlanes()))
    start = replace(options, regions=replace(options.regions, kernelNorm=norm))
    layout = "stars" if len(pair.sources) >= ENOUGH_STARS else "tiles"
    cells = pair.layOut(start, family.kernelSize, layout)
    solver = beginFit(cells, family)
    model = solver.usualModel(family.images(family.usualDegrees))
    return spatialModel(family.basis(), model, solver.solve(model))


def fixedFields(pins: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `SpatialModelOptions` that are set, with their values."""
    return {own: pins[name] for name, own in MODEL_FIELDS.items() if name in pins}


def _optionsOf(found: ModelSearch, options: KernelOptions, pins: Mapping[str, Any]) -> KernelOptions:
    """Return the options of the kernel with what was found."""
    family, model = found.family, found.model
    regions = replace(
        options.regions,
        shapeScale=model.shapeScale,
        variationScale=model.variationScale,
        widthScale=model.widthScale,
        rejectPixels=found.isRejecting,
        firstDegrees=family.usualDegrees,
    )
    return replace(
        options,
        regions=regions,
        fitMethod="regions",
        scaleByFwhm=False,
        alardNGauss=len(family.sigmas),
        alardSigGauss=family.sigmas,
        alardDegGauss=family.degreesOf(model.images),
        kernelSize=family.kernelSize,
        spatialKernelOrder=model.kernelOrder,
        spatialBgOrder=model.backgroundOrder,
        nStarPerCell=pins.get("nStarPerCell", -1),
        calculateKernelUncertainty=pins.get("calculateKernelUncertainty", True),
    )


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


def _chooseRejection(
    cells: RegionCells, fixed: dict[str, Any], rejectPixels: bool | None, family: GaussianFamily, isThorough: bool
) -> ModelSearch:
    """Choose model and rejection within one family of Gaussians.

    Pixels are rejected, unless bright pixels that the model has not seen are better served without: where no model is
    perfect, rejection can eat the bright sources and leave the kernel to the faint ones. Where the model serves all
    bright pixels, rejected ones included, it has not. `rejectPixels` is what has been set, None what is to be chosen.
    """

    def search(isRejecting: bool) -> ModelSearch:
        found = chooseModel(partial(beginFit, cells, isRejecting=isRejecting), family, fixed, isThorough)
        found.isRejecting = isRejecting
        return found

    if rejectPixels is not None:
        return search(rejectPixels)
    best = rejecting = search(True)
    part = f"{100.0 * rejecting.solver.fit.rejectedFraction:.1f} % rejected"
    served = f"held-out bright pixels scatter by {rejecting.scatter:.3f} of their noise with it ({part})"
    figures = {"on": rejecting.scatter, "off": math.nan}
    without = f", no more than {WELL_FITTED:g}: without it was not tried."
    if rejecting.scatter > WELL_FITTED:
        other = search(False)
        best = other if _isBetter(other, rejecting) else rejecting
        figures["off"], without = other.scatter, f", {other.scatter:.3f} without."
    chosen = "on" if best.isRejecting else "off"
    best.choices.append(
        Choice.between("rejection", chosen, figures, f"Rejection of pixels: {chosen}; {served}{without}")
    )
    return best


def _isBetter(search: ModelSearch, preferred: ModelSearch) -> bool:
    """Return whether held-out bright pixels scatter less than with what is preferred."""
    return search.scatter < preferred.scatter * (1.0 - LEAST_GAIN)


def _preferPoint(usual: ModelSearch, point: ModelSearch) -> ModelSearch:
    """Return the kernel of one pixel, but that of Gaussians if they leave held-out bright pixels with less scatter."""
    # Gaussians smooth noise, which lowers the one, and may amplify it, which lowers the other.
    least = 1.0 - LEAST_GAIN
    isPoint = least * point.scatter <= usual.scatter or least * point.pull <= usual.pull  # never without bright pixels
    sentence = (
        f"The PSFs are nearly equal: held-out bright pixels scatter by {usual.pull:.3f} of their noise with the "
        f"Gaussians, by {point.pull:.3f} with a kernel of one pixel, which changes the scale alone; "
        f"{'it is' if isPoint else 'the Gaussians are'} taken."
    )
    figures, taken = {"Gaussians": usual.pull, "one pixel": point.pull}, "one pixel" if isPoint else "Gaussians"
    return _after(usual, point, isPoint, Choice.between("equalPsfs", taken, figures, sentence))


def _preferMany(usual: ModelSearch, rich: ModelSearch, most: float) -> ModelSearch:
    """Return the kernel of many terms where it leaves held-out bright pixels with less scatter."""
    isMany = _isBetter(rich, usual)
    sentence = (
        f"Held-out bright pixels scatter by {usual.scatter:.3f} of their noise, more than {most:g}: "
        f"{'three' if isMany else 'the four Gaussians stay, three'} of many terms (sigmas {rich.family.told()} px) "
        f"leave {rich.scatter:.3f}{'; they are taken' if isMany else ''}."
    )
    figures = {"usual": usual.scatter, "many": rich.scatter}
    return _after(usual, rich, isMany, Choice.between("functions", "many" if isMany else "usual", figures, sentence))


def _after(usual: ModelSearch, other: ModelSearch, isOther: bool, choice: Choice) -> ModelSearch:
    """Return one of two searches, with the choices of the usual one, that between them, and of the other if taken."""
    best = other if isOther else usual
    best.choices = [*usual.choices, choice, *(other.choices if isOther else ())]
    return best
