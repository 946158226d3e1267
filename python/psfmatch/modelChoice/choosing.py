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
from psfmatch.modelChoice.layouts import chooseLayout, usualModel
from psfmatch.modelChoice.pinning import (
    backgroundOrders,
    isFamilyPinned,
    pinnedFamily,
    pinnedModel,
    shapeScales,
    variations,
)
from psfmatch.modelChoice.trial import Choice, Trial
from psfmatch.regions import PixelRegions, RegionState, SpatialModel, makeRegions
from psfmatch.regions.layout import regionCentres
from psfmatch.regions.pixels import BoolStack, Residuals

__all__ = ["KernelChoice", "chooseKernel"]

FloatArray = npt.NDArray[np.float64]
log = logging.getLogger("psfmatch.modelChoice")

MAX_ORDER = 3
MAX_PARAMETERS = 800
"""Of a model that is tried: larger ones take seconds, and no field has needed them."""
ENOUGH_REGIONS = 400
"""Regions around stars that leave nothing for tiles to add."""
MAX_TILES = 600
BRIGHT_SIGNAL = 5.0
"""Predicted light of a pixel, in sigma, above which it tells what rejection does to bright sources."""
LEAST_GAIN = 0.01
"""Rejection stays, and so do the usual Gaussians, unless bright pixels scatter by this part less without."""
LARGEST_PULL = 5.0
MIN_BRIGHT_REGIONS = 20
"""With bright pixels, without which a hundred functions are not tried."""
WELL_FITTED = 1.5
"""Scatter of held-out bright pixels that asks for no more functions: variable stars and transients make nearly that."""


@dataclass(frozen=True)
class KernelChoice:
    """What was chosen: fields of the active kernel configuration and of its ``regionConfig``, and why."""

    fields: dict[str, Any]
    regionFields: dict[str, Any]
    choices: tuple[Choice, ...]


def chooseKernel(
    convolved: MaskedImage,
    other: MaskedImage,
    sources: Any,
    fwhms: tuple[float | None, float | None],
    options: KernelOptions,
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
    options
        Of the kernel, that the choice starts from.
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
    region = options.regions
    free = familyOf(*fwhms, other.shape, region.halfWidth)
    family = pinnedFamily(free, pins, options, fwhms, other.shape)
    basisList = family.basis()
    norm = pins.get("regionConfig.kernelNorm") or kernelNorm(convolved, other, sources, family, options.badPlanes())
    starState = None
    onStars, onTiles = (_laidOut(options, layout, pins) for layout in ("stars", "tiles"))
    only = pins.get("regionConfig.layout")
    nStars = 0 if only == "tiles" else len(regionCentres(convolved, other, onStars, family.kernelSize, sources))
    if nStars >= options.minKernelSources:
        starState = _stateOf(convolved, other, onStars, family, basisList, sources, norm, threads)
    layout, state = "stars", starState
    if starsOnly or only == "stars":
        if starState is None:
            counts = {"nSources": nStars, "nRequired": options.minKernelSources}
            if nStars == 0 and starsOnly:
                raise NoKernelCandidatesError(
                    f"all {len(sources)} sources of candidateList lie outside the images, or too close to their edge",
                    **{**counts, "nSources": len(sources)},
                )
            raise InsufficientKernelSourcesError(
                f"{nStars} sources {'given' if starsOnly else 'found'} on the images, minKernelSources is "
                f"{options.minKernelSources}",
                **counts,
            )
        layoutChoice = Choice(
            "layout", "stars", len(starState.regions), "tiles", math.nan,
            f"Regions around the {len(starState.regions)} stars {'given' if starsOnly else 'found, as set'}.",
        )  # fmt: skip
    elif starState is None or len(starState.regions) < ENOUGH_REGIONS:
        tileState = _stateOf(convolved, other, onTiles, family, basisList, sources, norm, threads)
        layout, state, layoutChoice = chooseLayout(starState, tileState, family)
        if only == "tiles":
            layoutChoice = replace(layoutChoice, sentence=f"{len(tileState.regions)} tiles over all pixels, as set.")
    else:
        count = len(starState.regions)
        layoutChoice = Choice(
            "layout", "stars", count, "tiles", ENOUGH_REGIONS,
            f"Regions around {count} stars: {ENOUGH_REGIONS} are enough, tiles were not tried.",
        )  # fmt: skip
    assert state is not None  # one of the two
    fit = _fitFamily(state, family, pins)
    told = [_toldGaussians(fwhms, family, free), layoutChoice, *fit.choices]
    laidOut = onStars if layout == "stars" else onTiles

    def fitOther(otherFamily: GaussianFamily) -> _FamilyFit:
        otherState = _stateOf(convolved, other, laidOut, otherFamily, otherFamily.basis(), sources, norm, threads)
        return _fitFamily(otherState, otherFamily, pins)

    isFree = not isFamilyPinned(pins)
    if family.isEqual and isFree:
        fit, pointChoices = _choosePoint(fit, fitOther(pointFamilyOf(family)))
        told += pointChoices
    if isFree and fit.scatter > WELL_FITTED and fit.nBright >= MIN_BRIGHT_REGIONS:
        fit, richChoices = _chooseFamily(fit, fitOther(richFamilyOf(family)))
        told += richChoices
    model = fit.model
    return KernelChoice(
        fields={
            "fitMethod": "regions",
            "scaleByFwhm": False,
            "alardNGauss": len(fit.family.sigmas),
            "alardSigGauss": list(fit.family.sigmas),
            "alardDegGauss": list(fit.family.degreesOf(model.images)),
            "kernelSize": fit.family.kernelSize,
            "spatialKernelOrder": model.kernelOrder,
            "spatialBgOrder": model.backgroundOrder,
            "nStarPerCell": pins.get("nStarPerCell", -1),
            "calculateKernelUncertainty": pins.get("calculateKernelUncertainty", True),
        },
        regionFields={
            "layout": layout,
            "maxRegions": laidOut.regions.maxRegions,
            "kernelNorm": norm,
            "rejectPixels": fit.doReject,
            "shapeScale": model.shapeScale,
            "variationScale": model.variationScale,
            "widthScale": model.widthScale,
        },
        choices=tuple(told),
    )


@dataclass(frozen=True)
class _FamilyFit:
    """The best model of one family; scatter, pull : of held-out bright pixels, in a unit for all models and in the
    noise that this one predicts, as `_brightScatter` has them; nBright : regions that have any.
    """

    family: GaussianFamily
    model: SpatialModel
    doReject: bool
    scatter: float
    pull: float
    nBright: int
    choices: tuple[Choice, ...]


def _fitFamily(state: RegionState, family: GaussianFamily, pins: Mapping[str, Any]) -> _FamilyFit:
    """Choose model and rejection within one family of Gaussians.

    Pixels are rejected, unless bright pixels that the model has not seen are better served without: where no model is
    perfect, rejection can eat the bright sources and leave the kernel to the faint ones.
    """
    model, choices = _chooseModel(state, family, pins)
    residuals = state.judge(state.system(model.highestOrder), model)
    (scatter, pull), part = _brightScatter(state, residuals), float(state.rejected.mean())
    nBright = int(_isBright(residuals).any(axis=(1, 2)).sum())
    if pins.get("regionConfig.rejectPixels") is True:
        return _FamilyFit(family, model, True, scatter, pull, nBright, tuple(choices))
    state.unreject()
    # Another model may serve all pixels; where this one serves the others well, it is hardly another.
    other, otherChoices = _chooseModel(state, family, pins) if scatter > WELL_FITTED else (model, choices)
    otherScatter, otherPull = _brightScatter(state, state.judge(state.system(other.highestOrder), other))
    isOff = pins.get("regionConfig.rejectPixels") is False
    doReject = not isOff and not otherScatter < scatter * (1.0 - LEAST_GAIN)
    sentence = (
        f"Rejection of pixels: {'on' if doReject else 'off'}; held-out bright pixels scatter by {scatter:.3f} of their "
        f"noise with it ({100.0 * part:.1f} % rejected), {otherScatter:.3f} without."
    )
    log.debug("%s", sentence)
    if doReject:
        told = (*choices, Choice("rejection", "on", scatter, "off", otherScatter, sentence))
        return _FamilyFit(family, model, True, scatter, pull, nBright, told)
    told = (*otherChoices, Choice("rejection", "off", otherScatter, "on", scatter, sentence))
    return _FamilyFit(family, other, False, otherScatter, otherPull, nBright, told)


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


def _laidOut(options: KernelOptions, layout: str, pins: Mapping[str, Any]) -> KernelOptions:
    """Return the options with another layout of regions."""
    most = options.regions.maxRegions
    if layout == "tiles" and "regionConfig.maxRegions" not in pins:
        most = min(MAX_TILES, most)
    return replace(options, regions=replace(options.regions, layout=layout, maxRegions=most))


def _stateOf(
    convolved: MaskedImage,
    other: MaskedImage,
    options: KernelOptions,
    family: GaussianFamily,
    basisList: FloatArray,
    sources: Any,
    norm: float,
    threads: int,
) -> RegionState:
    """Cut regions out, and reject what a usual model cannot explain."""
    cellSet = makeRegions(convolved, other, options, family.kernelSize, sources)
    candidates = sorted(cellSet, key=lambda candidate: candidate.id)
    regions = PixelRegions.ofCandidates(candidates, options, basisList.shape[1:], threads)
    state = RegionState(regions, basisList, cellSet.bbox, options.spatialModelType, norm)
    model = usualModel(family, len(regions))
    state.reject(state.judge(state.system(model.highestOrder), model), options.regions)
    return state


def _chooseModel(
    state: RegionState, family: GaussianFamily, pins: Mapping[str, Any]
) -> tuple[SpatialModel, list[Choice]]:
    """Return the model, chosen field by field, with the sentences."""
    model = pinnedModel(usualModel(family, len(state.regions)), pins)
    trial = Trial(state.system(max(MAX_ORDER, model.highestOrder)))
    choices: list[Choice] = []

    def take(name: str, label: Any, models: list[SpatialModel]) -> None:
        nonlocal model
        if len(models) == 1:
            (model,) = models
            return
        chosen, differences = trial.best(models)
        others = [(difference, other) for difference, other in zip(differences, models, strict=True) if other != chosen]
        difference, runnerUp = min(others, key=lambda item: item[0])
        own = trial.heldOut(chosen)
        chiSquare = float("nan") if own is None else float(own.sum()) / max(1, int(state.pixelCounts.sum()))
        comparison = f"{abs(difference):.0f} higher in all"
        if difference < 0.0:
            error = trial.gain(chosen, runnerUp)[1]
            comparison = f"{abs(difference):.0f} lower in all, known to {error:.0f}: no reason for the richer one"
        elif difference < 0.5:
            comparison = "the same"
        choices.append(
            Choice(
                name, label(chosen), chiSquare, label(runnerUp), difference,
                f"{name}: {label(chosen)}; held-out chi-square {chiSquare:.4f} per pixel, with {label(runnerUp)} it is "
                f"{comparison}.",
            )
        )  # fmt: skip
        model = chosen

    def degreesLabel(candidate: SpatialModel) -> str:
        return "degrees " + " ".join(str(d) for d in family.degreesOf(candidate.images))

    def variationLabel(candidate: SpatialModel) -> str:
        if candidate.kernelOrder == 0:
            return "order 0"
        return f"order {candidate.kernelOrder}, expected to vary by {candidate.variationScale:g} beside its width"

    def backgroundLabel(candidate: SpatialModel) -> str:
        return f"order {candidate.backgroundOrder}"

    def shapeLabel(candidate: SpatialModel) -> str:
        return f"{candidate.shapeScale:g} of the kernel's norm"

    take("Background", backgroundLabel, [replace(model, backgroundOrder=order) for order in backgroundOrders(pins)])
    take("Gaussians", degreesLabel, [replace(model, images=family.images(degrees)) for degrees in family.degrees])
    allVaried = [replace(model, kernelOrder=order, variationScale=scale) for order, scale in variations(pins)]
    take(
        "Kernel over the field",
        variationLabel,
        [varied for varied in allVaried if varied.nParameters <= MAX_PARAMETERS] or allVaried[:1],
    )
    take("Prior of the kernel's shape", shapeLabel, [replace(model, shapeScale=scale) for scale in shapeScales(pins)])
    return model, choices


def _isBright(residuals: Residuals) -> BoolStack:
    return residuals.usable & (residuals.signal > BRIGHT_SIGNAL)


def _brightScatter(state: RegionState, residuals: Residuals) -> tuple[float, float]:
    """Return the root mean square of held-out residuals on bright pixels, each cut at 5 sigma, in two units.

    Cut, for variable stars are no model's fault; not a median, for a star that is badly fitted is. First in a noise
    that is the same for all models, for what one predicts for itself grows with the noise that its kernel amplifies;
    then in that.
    """
    bright = _isBright(residuals)
    if not bright.any():
        return math.nan, math.nan
    regions = state.regions
    variance = regions.scienceVariance[bright] + np.float32(state.kernelNorm**2) * regions.templateVariance[bright]
    pulls = residuals.pull[bright].astype(np.float64) ** 2
    squares = pulls * residuals.variance[bright] / variance
    scatter, pull = (float(np.sqrt(np.minimum(values, LARGEST_PULL**2).mean())) for values in (squares, pulls))
    return scatter, pull


def _toldGaussians(fwhms: tuple[float | None, float | None], family: GaussianFamily, free: GaussianFamily) -> Choice:
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
