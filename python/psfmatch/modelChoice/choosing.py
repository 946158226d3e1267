"""Which kernel model serves pixels that it has not seen: kernel shape, orders, priors, stars or tiles.

All models are parts of one set of normal equations, so that each costs the solution of a small system. A model is
judged by chi-square of every region under the solution without it (cross-validation); a richer one must be better by
half the error of that difference.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.config import KernelOptions
from psfmatch.errors import InsufficientKernelSourcesError, NoKernelCandidatesError
from psfmatch.exposure import MaskedImage
from psfmatch.modelChoice.family import WIDEST_SIGMA, GaussianFamily, familyOf, kernelNorm, pointFamilyOf, richFamilyOf
from psfmatch.modelChoice.layouts import chooseLayout
from psfmatch.modelChoice.models import FieldModel, chooseModel
from psfmatch.modelChoice.pinning import fixedFields, isFamilyPinned, pinnedFamily
from psfmatch.modelChoice.policy import ENOUGH_STARS, Effort
from psfmatch.modelChoice.trial import Choice
from psfmatch.regions import RegionCells, RegionState, makeRegions, usualModel
from psfmatch.regions.layout import regionCentres

__all__ = ["KernelChoice", "chooseKernel"]

FloatArray = npt.NDArray[np.float64]
Fwhms = tuple[float | None, float | None]
log = logging.getLogger("psfmatch.modelChoice")

LEAST_GAIN = 0.01
"""Rejection stays, and so do the usual Gaussians, unless bright pixels scatter by this part less without."""
MIN_BRIGHT_REGIONS = 20
"""With bright pixels, without which a hundred functions are not tried."""
WELL_FITTED = 1.5
"""Scatter of held-out bright pixels that asks for nothing else: variable stars and transients make nearly that."""


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
    effort: Effort,
    threads: int,
    *,
    starsOnly: bool = False,
    pinned: Mapping[str, Any] | None = None,
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
    effort
        What is tried, of `effortFor`, and the options of the kernel that the choice starts from.
    threads
        Number of threads.
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
    if starsOnly and pins.get("regionConfig.layout") == "tiles":
        raise ValueError("regionConfig.layout is 'tiles', which use no stars; leave candidateList out, or the layout")
    options = effort.options
    free = familyOf(*fwhms, other.shape, options.regions.halfWidth)
    family = pinnedFamily(free, pins, options, fwhms, other.shape)
    norm = pins.get("regionConfig.kernelNorm") or kernelNorm(convolved, other, sources, family, options.badPlanes())
    field = _Field(convolved, other, sources, _withRegions(options, kernelNorm=norm), family.kernelSize, threads)
    layout, layoutChoice = _chooseLayout(field, family, starsOnly, pins.get("regionConfig.layout"))
    doReject = pins.get("regionConfig.rejectPixels")

    def fit(tried: GaussianFamily, isThorough: bool = False) -> _FamilyFit:
        return _fitFamily(layout, tried, fixedFields(pins), isThorough, doReject)

    best = fit(family, effort.isThorough)
    told = [_toldGaussians(fwhms, family, free), layoutChoice, *best.choices]
    if not isFamilyPinned(pins):
        if family.isEqual:
            best, choices = _choosePoint(best, fit(pointFamilyOf(family)))
            told += choices
        if best.scatter > WELL_FITTED and best.nBright >= MIN_BRIGHT_REGIONS:
            best, choices = _chooseFamily(best, fit(richFamilyOf(family), True))
            told += choices
    layout.cells.state = best.found.state
    kept = {name: pins[name] for name in ("nStarPerCell", "calculateKernelUncertainty") if name in pins}
    return KernelChoice(_kernelFields(best) | kept, _regionFields(best, layout.options), tuple(told), layout.cells)


def _withRegions(options: KernelOptions, **changes: Any) -> KernelOptions:
    return replace(options, regions=replace(options.regions, **changes))


def _kernelFields(fit: _FamilyFit) -> dict[str, Any]:
    return {
        "fitMethod": "regions",
        "scaleByFwhm": False,
        "alardNGauss": len(fit.family.sigmas),
        "alardSigGauss": list(fit.family.sigmas),
        "alardDegGauss": list(fit.found.degrees),
        "kernelSize": fit.family.kernelSize,
        "spatialKernelOrder": fit.found.model.kernelOrder,
        "spatialBgOrder": fit.found.model.backgroundOrder,
        "nStarPerCell": -1,
        "calculateKernelUncertainty": True,
    }


def _regionFields(fit: _FamilyFit, options: KernelOptions) -> dict[str, Any]:
    model, regions = fit.found.model, options.regions
    return {
        "layout": regions.layout,
        "halfWidth": regions.halfWidth,
        "maxRegions": regions.maxRegions,
        "kernelNorm": regions.kernelNorm,
        "rejectPixels": fit.doReject,
        "shapeScale": model.shapeScale,
        "variationScale": model.variationScale,
        "widthScale": model.widthScale,
        "firstDegrees": list(fit.family.usualDegrees),
    }


# Where the regions lie


@dataclass(frozen=True)
class _Field:
    """The image to convolve and the image to match, on one grid, the sources, most useful first, and what is sought."""

    convolved: MaskedImage
    other: MaskedImage
    sources: Any
    options: KernelOptions
    kernelSize: int
    threads: int

    def count(self) -> int:
        """Return how many regions lie around the sources."""
        pair = self.convolved, self.other
        return len(regionCentres(*pair, _withRegions(self.options, layout="stars"), self.kernelSize, self.sources))

    def layOut(self, layout: str, maxRegions: int) -> _Layout:
        """Return the regions of a layout."""
        options = _withRegions(self.options, layout=layout, maxRegions=maxRegions)
        cells = makeRegions(self.convolved, self.other, options, self.kernelSize, self.sources, self.threads)
        return _Layout(cells, options, cells.readStamps(options, self.threads), self.threads)


@dataclass(frozen=True)
class _Layout:
    """Regions of one layout: the cells, the options that they were made with, their pixels in the core."""

    cells: RegionCells
    options: KernelOptions
    stamps: Any
    threads: int

    def state(self, family: GaussianFamily, *, rejectPixels: bool = True) -> RegionState:
        """Return the equations for a family; what a usual model cannot explain is rejected."""
        state = self.cells.makeState(family.basis(), self.options, self.threads, self.stamps)
        usual = usualModel(family.images(family.usualDegrees), len(state))
        state.reject(state.judge(usual), replace(self.options.regions, rejectPixels=rejectPixels))
        return state


def _chooseLayout(field: _Field, family: GaussianFamily, starsOnly: bool, pinned: str | None) -> tuple[_Layout, Choice]:
    """Return the regions to fit: around the stars, or tiles where these serve withheld stars better."""

    def told(layout: _Layout, other: str, sentence: str) -> tuple[_Layout, Choice]:
        count = len(layout.cells)
        return layout, Choice("layout", layout.options.regions.layout, count, other, math.nan, sentence)

    regions, nRequired = field.options.regions, field.options.minKernelSources
    if pinned == "tiles":
        tiles = field.layOut("tiles", regions.maxRegions)
        return told(tiles, "stars", f"{len(tiles.cells)} tiles over all good pixels, as set.")
    nStars = field.count()
    if starsOnly or pinned == "stars":
        _requireStars(nStars, len(field.sources), nRequired, "given" if starsOnly else "found")
        words = "given" if starsOnly else "found, as set"
        return told(field.layOut("stars", regions.maxRegions), "tiles", f"Regions around the {nStars} stars {words}.")
    if nStars >= max(nRequired, ENOUGH_STARS):
        sentence = f"Regions around {nStars} stars; tiles are tried below {ENOUGH_STARS} only."
        return told(field.layOut("stars", regions.maxRegions), "tiles", sentence)
    tiles = field.layOut("tiles", regions.maxRegions)
    if nStars < nRequired:
        sentence = f"Tiles over all good pixels ({len(tiles.cells)}): there are too few stars to fit."
        return told(tiles, "stars", sentence)
    stars = field.layOut("stars", regions.maxRegions)
    usual = family.upTo(family.usualDegrees)
    choice = chooseLayout(stars.state(usual), tiles.state(usual), usual.images(usual.usualDegrees))
    return (tiles if choice.chosen == "tiles" else stars), choice


def _requireStars(nStars: int, nGiven: int, nRequired: int, origin: str) -> None:
    """Raise unless so many of the stars that must be fitted lie on the images."""
    if nStars >= nRequired:
        return
    if nStars == 0 and origin == "given":
        raise NoKernelCandidatesError(
            f"all {nGiven} sources of candidateList lie outside the images, or too close to their edge",
            nSources=nGiven,
            nRequired=nRequired,
        )
    raise InsufficientKernelSourcesError(
        f"{nStars} sources {origin} on the images, minKernelSources is {nRequired}",
        nSources=nStars,
        nRequired=nRequired,
    )


# The fit of a family


@dataclass(frozen=True)
class _FamilyFit:
    """The best model of one family; scatter, pull : of held-out bright pixels, in a unit for all models and in the
    noise that this one predicts (`RegionResiduals.brightScatter`); nBright : regions that have any.
    """

    family: GaussianFamily
    found: FieldModel
    doReject: bool
    scatter: float
    pull: float
    nBright: int
    choices: tuple[Choice, ...]


def _fitFamily(
    layout: _Layout, family: GaussianFamily, fixed: dict[str, Any], isThorough: bool, doReject: bool | None
) -> _FamilyFit:
    """Choose model and rejection within one family of Gaussians.

    Pixels are rejected, unless bright pixels that the model has not seen are better served without: where no model is
    perfect, rejection can eat the bright sources and leave the kernel to the faint ones. Where the model serves all
    bright pixels, rejected ones included, it has not. `doReject` is what has been set, None what is to be chosen.
    """

    def fit(isRejecting: bool) -> _FamilyFit:
        def stateOf(tried: GaussianFamily) -> RegionState:
            return layout.state(tried, rejectPixels=isRejecting)

        found = chooseModel(stateOf, family, fixed, isThorough)
        state = found.state
        scatter, pull, nBright = state.judge(found.model).brightScatter(state.fit, state.kernelNorm)
        return _FamilyFit(family, found, isRejecting, scatter, pull, nBright, found.choices)

    if doReject is not None:
        return fit(doReject)
    rejecting = fit(True)
    part = f"{100.0 * rejecting.found.state.fit.rejectedFraction:.1f} % rejected"
    served = f"held-out bright pixels scatter by {rejecting.scatter:.3f} of their noise with it ({part})"
    if not rejecting.scatter > WELL_FITTED:
        sentence = f"Rejection of pixels: on; {served}, no more than {WELL_FITTED:g}: without it was not tried."
        choice = Choice("rejection", "on", rejecting.scatter, "off", math.nan, sentence)
        return replace(rejecting, choices=(*rejecting.choices, choice))
    without = fit(False)
    best, other = rejecting, without
    if without.scatter < rejecting.scatter * (1.0 - LEAST_GAIN):
        best, other = without, rejecting
    words = "on" if best.doReject else "off", "on" if other.doReject else "off"
    sentence = f"Rejection of pixels: {words[0]}; {served}, {without.scatter:.3f} without."
    choice = Choice("rejection", words[0], best.scatter, words[1], other.scatter, sentence)
    return replace(best, choices=(*best.choices, choice))


def _choosePoint(usual: _FamilyFit, point: _FamilyFit) -> tuple[_FamilyFit, tuple[Choice, ...]]:
    """Return the fit to one pixel, but that to Gaussians if they leave held-out bright pixels with less scatter."""
    # Gaussians smooth noise, which lowers the one, and may amplify it, which lowers the other.
    least = 1.0 - LEAST_GAIN
    isBetter = least * point.scatter <= usual.scatter or least * point.pull <= usual.pull  # never without bright pixels
    chosen, other = ("one pixel", "Gaussians") if isBetter else ("Gaussians", "one pixel")
    figures = {"Gaussians": usual.pull, "one pixel": point.pull}
    choice = Choice(
        "equalPsfs", chosen, figures[chosen], other, figures[other],
        f"The PSFs are nearly equal: held-out bright pixels scatter by {usual.pull:.3f} of their noise with the "
        f"Gaussians, by {point.pull:.3f} with a kernel of one pixel, which changes the scale alone; "
        f"{'it is' if isBetter else 'the Gaussians are'} taken.",
    )  # fmt: skip
    return (point, (choice, *point.choices)) if isBetter else (usual, (choice,))


def _chooseFamily(usual: _FamilyFit, rich: _FamilyFit) -> tuple[_FamilyFit, tuple[Choice, ...]]:
    """Return the fit that leaves held-out bright pixels with the least scatter, and the sentences of the second."""
    isBetter = rich.scatter < usual.scatter * (1.0 - LEAST_GAIN)
    sigmas = " ".join(f"{sigma:.2f}" for sigma in rich.family.sigmas)
    chosen, other = ("many", "usual") if isBetter else ("usual", "many")
    figures = {"usual": usual.scatter, "many": rich.scatter}
    choice = Choice(
        "functions", chosen, figures[chosen], other, figures[other],
        f"Held-out bright pixels scatter by {usual.scatter:.3f} of their noise, more than {WELL_FITTED:g}: "
        f"{'three' if isBetter else 'the four Gaussians stay, three'} of many terms (sigmas {sigmas} px) leave "
        f"{rich.scatter:.3f}" + ("; they are taken." if isBetter else "."),
    )  # fmt: skip
    return (rich, (choice, *rich.choices)) if isBetter else (usual, (choice,))


def _toldGaussians(fwhms: Fwhms, family: GaussianFamily, free: GaussianFamily) -> Choice:
    narrow, wide = fwhms
    sigmas = " ".join(f"{sigma:.2f}" for sigma in family.sigmas)
    sizes = "PSF sizes that are unknown, taken as 3.5 px"
    if narrow is not None and wide is not None:
        between = math.sqrt(abs(wide**2 - narrow**2))
        sizes = f"PSF FWHM {narrow:.2f} and {wide:.2f} px, {between:.2f} px "
        sizes += "between them" if wide >= narrow else "that it must sharpen"
    if family != free:
        return Choice(
            "kernel", f"{family.kernelSize} px", family.kernelSize, f"{free.kernelSize} px", free.kernelSize,
            f"Kernel of {family.kernelSize}x{family.kernelSize} px, Gaussians of sigma {sigmas} px, as set or as it "
            f"follows, for {sizes}.",
        )  # fmt: skip
    return Choice(
        "kernel", f"{family.kernelSize} px", family.kernelSize, "21 px", 21.0,
        f"Kernel of {family.kernelSize}x{family.kernelSize} px, Gaussians of sigma {sigmas} px, for {sizes}. The "
        f"widest is {WIDEST_SIGMA:g} sigma of the wider PSF, for its wings, which the usual 21 px may cut.",
    )  # fmt: skip
