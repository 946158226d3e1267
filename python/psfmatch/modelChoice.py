"""Which kernel model serves pixels that it has not seen: kernel shape, orders, priors, stars or tiles.

All models are parts of one set of normal equations, so that each costs the solution of a small system. A model is judged by
chi-square of every region under the solution without it (cross-validation); a richer one must be better by more than the
error of that difference.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import InsufficientKernelSourcesError, KernelSolutionError
from psfmatch.exposure import MaskedImage
from psfmatch.regionFit import RegionState
from psfmatch.regions import PixelRegions, makeRegions
from psfmatch.regionSystem import RegionSystem, SpatialModel

__all__ = ["Choice", "KernelChoice", "chooseKernel", "familyOf"]

FloatArray = npt.NDArray[np.float64]
log = logging.getLogger("psfmatch.modelChoice")

WIDEST_SIGMA = 3.1
"""Of the last Gaussian, in units of the wider PSF's: the wings of a Moffat profile need it (kernel sum to 0.1 %)."""
NARROWEST = (0.4, 1.0)
"""Limits (pixels) of the first Gaussian's sigma, which is 0.6 of that between the two PSFs."""
KERNEL_HALF_WIDTH = 3.0
"""Of the kernel, in units of the widest sigma."""
DEGREES = ((2, 2, 0, 0), (3, 3, 1, 1), (4, 4, 2, 2))
"""Degrees of the four Gaussians' polynomials that are tried, few first."""
EQUAL_DEGREES = ((2, 2, 0, 0), (4, 4, 2, 2), (6, 4, 2, 2))
"""The same for PSFs of nearly equal width, whose kernel is nearly a point and its neighbours."""
VARIATIONS = ((0, 0.03), (1, 0.03), (2, 0.01), (2, 0.03), (2, 0.1), (3, 0.03), (3, 0.1))
"""Orders of the kernel over the field, and its expected variation in units of its norm, that are tried."""
SHAPE_SCALES = (0.3, 1.0)
BACKGROUND_ORDERS = (0, 1, 2, 3)
MAX_ORDER = 3
TRIMMED = 0.01
"""Part of the regions at either end whose differences of chi-square are cut: variable stars are no model's fault."""
ENOUGH_REGIONS = 400
"""Regions around stars that leave nothing for tiles to add."""
MAX_TILES = 600
SIGNIFICANCE = 0.5
"""A richer model must be better by so many standard errors of the difference."""


@dataclass(frozen=True)
class Choice:
    """One choice: of what, which, its figure, the rejected alternative and its figure, and the sentence."""

    name: str
    chosen: str
    figure: float
    alternative: str
    alternativeFigure: float
    sentence: str


@dataclass(frozen=True)
class KernelChoice:
    """What was chosen: fields of the active kernel configuration and of its ``regionConfig``, and why."""

    fields: dict[str, Any]
    regionFields: dict[str, Any]
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class _Family:
    """Gaussians (sigmas in pixels, degrees of the richest set), kernel size, and the sets of degrees to try."""

    sigmas: tuple[float, ...]
    degrees: tuple[tuple[int, ...], ...]
    kernelSize: int
    isEqual: bool

    def basis(self) -> FloatArray:
        """Return the images of the richest set, (n, h, w)."""
        raw = _core.makeAlardLuptonBasis(self.kernelSize // 2, self.sigmas, self.degrees[-1])
        return _core.renormalizeBasis(raw)

    def images(self, degrees: tuple[int, ...]) -> tuple[int, ...]:
        """Return which images of the richest set belong to a smaller one."""
        chosen, first = [], 0
        for degree, most in zip(degrees, self.degrees[-1], strict=True):
            chosen.extend(range(first, first + (degree + 1) * (degree + 2) // 2))
            first += (most + 1) * (most + 2) // 2
        return tuple(chosen)


def familyOf(convolvedFwhm: float | None, otherFwhm: float | None, shape: tuple[int, int], halfWidth: int) -> _Family:
    """Return the Gaussians that take one PSF to the other, FWHMs in pixels; `shape` limits the size of the kernel."""
    other = otherFwhm if otherFwhm is not None and otherFwhm > 0.0 else 3.5
    narrow = convolvedFwhm if convolvedFwhm is not None and convolvedFwhm > 0.0 else 0.8 * other
    wide = max(narrow, other) / 2.3548
    between = math.sqrt(max(0.0, other**2 - narrow**2)) / 2.3548
    first = min(max(0.6 * between, NARROWEST[0]), NARROWEST[1] if between < 3.0 else 0.35 * between)
    last = max(WIDEST_SIGMA * wide, 4.0 * first)
    room = min(shape) - 2 * halfWidth - 2
    half = max(1, min(math.ceil(KERNEL_HALF_WIDTH * last), 30, room // 2))
    sigmas = tuple(round(first * (last / first) ** (k / 3.0), 3) for k in range(4))
    isEqual = between < 0.5 * wide
    return _Family(sigmas, EQUAL_DEGREES if isEqual else DEGREES, 2 * half + 1, isEqual)


class _Trial:
    """Models compared on one set of equations."""

    def __init__(self, system: RegionSystem) -> None:
        self.system = system
        self._known: dict[SpatialModel, FloatArray | None] = {}

    def heldOut(self, model: SpatialModel) -> FloatArray | None:
        """Return held-out chi-square (regions), or None for a model without solution."""
        if model not in self._known:
            try:
                self._known[model] = self.system.chiSquares(*self.system.heldOut(model))
            except KernelSolutionError:
                self._known[model] = None
        return self._known[model]

    def best(self, models: list[SpatialModel]) -> tuple[SpatialModel, list[float]]:
        """Return the first model that no later one beats beyond the error, and each one's chi-square less the chosen's."""
        chosen = next((model for model in models if self.heldOut(model) is not None), models[0])
        for model in models:
            gain, error = self.gain(chosen, model)
            if gain > SIGNIFICANCE * error:
                chosen = model
        return chosen, [-self.gain(chosen, model)[0] for model in models]

    def gain(self, first: SpatialModel, second: SpatialModel) -> tuple[float, float]:
        """Return by how much the second model's chi-square is lower, trimmed, and the error of that."""
        return trimmedDifference(self.heldOut(first), self.heldOut(second))


def trimmedDifference(first: FloatArray | None, second: FloatArray | None) -> tuple[float, float]:
    """Return sum(first - second) over regions with the extreme differences cut, and its standard error."""
    if first is None or second is None:
        return (-math.inf if second is None else math.inf), 0.0
    difference = first - second
    if difference.size >= 50:
        difference = np.clip(difference, *np.quantile(difference, [TRIMMED, 1.0 - TRIMMED]))
    return float(difference.sum()), float(np.sqrt((difference**2).sum()))


def chooseKernel(
    convolved: MaskedImage,
    other: MaskedImage,
    sources: Any,
    fwhms: tuple[float | None, float | None],
    config: Any,
    threads: int,
    *,
    starsOnly: bool = False,
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
    config
        Active kernel configuration that the choice starts from.
    threads
        Number of threads.
    starsOnly
        The sources are the caller's: nothing else is fitted.

    Raises
    ------
    NoKernelCandidatesError
        If there are too few sources for `starsOnly`, or the images have no room for a region.
    KernelSolutionError
        If no model has a solution.
    """
    region = config.regionConfig
    family = familyOf(*fwhms, other.shape, region.halfWidth)
    basisList = family.basis()
    norm = _kernelNorm(convolved, other, sources, family)
    starState = None
    if len(sources) >= config.minKernelSources:
        starState = _stateOf(convolved, other, config, family, basisList, sources, norm, threads)
    layout, state, layoutChoice = "stars", starState, None
    if starsOnly:
        if starState is None:
            raise InsufficientKernelSourcesError(
                f"{len(sources)} sources given, minKernelSources is {config.minKernelSources}",
                nSources=len(sources),
                nRequired=config.minKernelSources,
            )
        layoutChoice = Choice(
            "layout", "stars", len(starState.regions), "tiles", math.nan,
            f"Regions around the {len(starState.regions)} stars given.",
        )  # fmt: skip
    elif starState is None or len(starState.regions) < ENOUGH_REGIONS:
        tileConfig = _Layout(config, "tiles", min(MAX_TILES, region.maxRegions))
        tileState = _stateOf(convolved, other, tileConfig, family, basisList, sources, norm, threads)
        layout, state, layoutChoice = _chooseLayout(starState, tileState, family)
    else:
        count = len(starState.regions)
        layoutChoice = Choice(
            "layout", "stars", count, "tiles", ENOUGH_REGIONS,
            f"Regions around {count} stars: {ENOUGH_REGIONS} are enough, tiles were not tried.",
        )  # fmt: skip
    assert state is not None  # one of the two
    model, choices = _chooseModel(state, family)
    degrees = next(d for d in family.degrees if family.images(d) == model.images)
    log.debug("Chosen: %s", model)
    told = [_toldGaussians(fwhms, family), *([layoutChoice] if layoutChoice else []), *choices]
    return KernelChoice(
        fields={
            "fitMethod": "regions",
            "scaleByFwhm": False,
            "alardNGauss": 4,
            "alardSigGauss": list(family.sigmas),
            "alardDegGauss": list(degrees),
            "kernelSize": family.kernelSize,
            "spatialKernelOrder": model.kernelOrder,
            "spatialBgOrder": model.backgroundOrder,
            "nStarPerCell": -1,
        },
        regionFields={
            "layout": layout,
            "maxRegions": region.maxRegions if layout == "stars" else min(MAX_TILES, region.maxRegions),
            "kernelNorm": norm,
            "shapeScale": model.shapeScale,
            "variationScale": model.variationScale,
        },
        choices=tuple(told),
    )


class _Layout:
    """A kernel configuration with another layout of regions; configurations themselves are slow to copy."""

    def __init__(self, config: Any, layout: str, maxRegions: int) -> None:
        self._config = config
        self.regionConfig = _LaidOut(config.regionConfig, layout, maxRegions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class _LaidOut:
    def __init__(self, config: Any, layout: str, maxRegions: int) -> None:
        self._config, self.layout, self.maxRegions = config, layout, maxRegions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


def _stateOf(
    convolved: MaskedImage,
    other: MaskedImage,
    config: Any,
    family: _Family,
    basisList: FloatArray,
    sources: Any,
    norm: float,
    threads: int,
) -> RegionState:
    """Cut regions out, and reject what a usual model cannot explain."""
    cellSet = makeRegions(convolved, other, config, family.kernelSize, sources)
    candidates = sorted(cellSet, key=lambda candidate: candidate.id)
    regions = PixelRegions.ofCandidates(candidates, config, basisList.shape[1:], threads)
    state = RegionState(regions, basisList, cellSet.bbox, config.spatialModelType, norm)
    model = _usualModel(family, len(regions))
    state.reject(state.judge(state.system(MAX_ORDER), model), config.regionConfig)
    return state


def _usualModel(family: _Family, nRegions: int) -> SpatialModel:
    """Return the model that serves most fields: what is rejected by it hardly depends on the details."""
    order = 2 if nRegions >= 30 else 1 if nRegions >= 10 else 0
    return SpatialModel(family.images(family.degrees[1]), order, min(order, 2), SHAPE_SCALES[-1], 0.03)


def _chooseModel(state: RegionState, family: _Family) -> tuple[SpatialModel, list[Choice]]:
    """Return the model, chosen field by field, with the sentences."""
    trial = _Trial(state.system(MAX_ORDER))
    model = _usualModel(family, len(state.regions))
    choices: list[Choice] = []

    def take(name: str, label: Any, models: list[SpatialModel]) -> None:
        nonlocal model
        chosen, differences = trial.best(models)
        others = [(difference, other) for difference, other in zip(differences, models, strict=True) if other != chosen]
        difference, runnerUp = min(others, key=lambda item: item[0])
        own = trial.heldOut(chosen)
        chiSquare = float("nan") if own is None else float(own.sum()) / max(1, int(state.pixelCounts.sum()))
        comparison = f"{abs(difference):.0f} {'higher' if difference >= 0 else 'lower, within its error'}"
        choices.append(
            Choice(
                name, label(chosen), chiSquare, label(runnerUp), difference,
                f"{name}: {label(chosen)}; held-out chi-square {chiSquare:.4f} per pixel, that of {label(runnerUp)} "
                f"is {comparison} in all.",
            )
        )  # fmt: skip
        model = chosen

    def degreesLabel(candidate: SpatialModel) -> str:
        degrees = next(d for d in family.degrees if family.images(d) == candidate.images)
        return "degrees " + " ".join(str(d) for d in degrees)

    def variationLabel(candidate: SpatialModel) -> str:
        if candidate.kernelOrder == 0:
            return "order 0"
        return f"order {candidate.kernelOrder} with an expected variation of {candidate.variationScale:g}"

    def backgroundLabel(candidate: SpatialModel) -> str:
        return f"order {candidate.backgroundOrder}"

    def shapeLabel(candidate: SpatialModel) -> str:
        return f"{candidate.shapeScale:g} of the kernel's norm"

    take("Background", backgroundLabel, [replace(model, backgroundOrder=order) for order in BACKGROUND_ORDERS])
    take(
        "Kernel over the field",
        variationLabel,
        [replace(model, kernelOrder=order, variationScale=scale) for order, scale in VARIATIONS],
    )
    take("Gaussians", degreesLabel, [replace(model, images=family.images(degrees)) for degrees in family.degrees])
    take("Prior of the kernel's shape", shapeLabel, [replace(model, shapeScale=scale) for scale in SHAPE_SCALES])
    return model, choices


def _chooseLayout(stars: RegionState | None, tiles: RegionState, family: _Family) -> tuple[str, RegionState, Choice]:
    """Compare solutions from stars and from tiles on the stars of folds that neither has seen."""
    if stars is None:
        return "tiles", tiles, Choice(
            "layout", "tiles", len(tiles.regions), "stars", 0.0,
            f"Tiles over all good pixels ({len(tiles.regions)}): there are too few stars to fit.",
        )  # fmt: skip
    starSystem, tileSystem = stars.system(MAX_ORDER), tiles.system(MAX_ORDER)
    starTrial, tileTrial = _Trial(starSystem), _Trial(tileSystem)
    models = [_usualModel(family, len(stars.regions))]
    models = [replace(models[0], kernelOrder=order, variationScale=scale) for order, scale in VARIATIONS[:5]]
    starModel, _ = starTrial.best(models)
    tileModel, _ = tileTrial.best(models)
    byStars = starTrial.heldOut(starModel)
    byTiles = np.full(len(stars.regions), np.nan)
    for fold in np.unique(stars.folds):
        inside = np.flatnonzero(stars.folds == fold)
        # Tiles that overlap the stars of the fold take no part.
        near = _near(tiles.regions, stars.regions, inside)
        try:
            solution = tileSystem.refolded(near.astype(np.int64)).solve(tileModel, without=1)
        except KernelSolutionError:
            return "stars", stars, _layoutChoice("stars", math.nan, math.nan, 0.0)
        coefficients, backgrounds = starSystem.at(solution, inside)
        byTiles[inside] = starSystem.chiSquares(coefficients, backgrounds, inside)
    gain, error = trimmedDifference(byStars, byTiles)
    isBetter = gain > error
    return (
        ("tiles" if isBetter else "stars"),
        (tiles if isBetter else stars),
        _layoutChoice("tiles" if isBetter else "stars", gain, error, float(np.nansum(byStars))),
    )


def _layoutChoice(chosen: str, gain: float, error: float, total: float) -> Choice:
    other = "stars" if chosen == "tiles" else "tiles"
    difference = abs(gain)
    return Choice(
        "layout", chosen, total, other, gain,
        f"Regions: {chosen}; chi-square of withheld stars (in all {total:.0f}) "
        + (f"is {difference:.0f} lower than with {other}." if chosen == "tiles" else
           f"with tiles is {difference:.0f} {'lower' if gain > 0 else 'higher'}, its error {error:.0f}."),
    )  # fmt: skip


def _near(tiles: PixelRegions, stars: PixelRegions, inside: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which tiles overlap any of some stars' regions."""
    side = tiles.science.shape[1]
    near = np.zeros(len(tiles), dtype=bool)
    for x, y in zip(stars.x[inside], stars.y[inside], strict=True):
        near |= (np.abs(tiles.x - x) < side) & (np.abs(tiles.y - y) < side)
    return near


def _kernelNorm(convolved: MaskedImage, other: MaskedImage, sources: Any, family: _Family) -> float:
    """Return the expected norm of the kernel: the flux ratio times that of a Gaussian of the first two widths.

    The flux ratio is the median of the sources' light above their surroundings in both images.
    """
    width = math.hypot(family.sigmas[0], 0.0 if family.isEqual else family.sigmas[1])
    ratios = []
    x0, y0 = other.xy0
    for x, y in zip(np.asarray(sources["x"][:200]), np.asarray(sources["y"][:200]), strict=True):
        column, row = round(float(x)) - x0, round(float(y)) - y0
        part = np.s_[max(0, row - 7) : row + 8, max(0, column - 7) : column + 8]
        light = []
        for image in (other.image[part], convolved.image[part]):
            finite = image[np.isfinite(image)]
            light.append(float((finite - np.median(finite)).sum()) if finite.size > 30 else math.nan)
        if light[1] != 0.0 and math.isfinite(light[0] / light[1]):
            ratios.append(light[0] / light[1])
    ratio = float(np.median(ratios)) if ratios else 1.0
    ratio = ratio if ratio > 0.0 and math.isfinite(ratio) else 1.0
    return float(f"{ratio / (2.0 * math.sqrt(math.pi) * width):.4g}")


def _toldGaussians(fwhms: tuple[float | None, float | None], family: _Family) -> Choice:
    narrow, wide = fwhms
    known = narrow is not None and wide is not None
    between = math.sqrt(max(0.0, wide**2 - narrow**2)) if narrow is not None and wide is not None else math.nan
    sizes = f"PSF FWHM {narrow:.2f} and {wide:.2f} px" if known else "PSF sizes unknown, 3.5 px assumed"
    return Choice(
        "kernel", f"{family.kernelSize} px", family.kernelSize, "21 px", 21.0,
        f"Kernel of {family.kernelSize}x{family.kernelSize} px, sigmas {' '.join(f'{s:.2f}' for s in family.sigmas)} px: "
        f"{sizes}"
        + (f", {between:.2f} px between them" if known else "")
        + f"; the widest is {WIDEST_SIGMA:g} sigma of the wider PSF for its wings, where the usual 21 px would cut them.",
    )  # fmt: skip
