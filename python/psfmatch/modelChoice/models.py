"""The model of the kernel over the field, chosen field by field: background, Gaussians, variation, prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from psfmatch._core import SpatialModelOptions
from psfmatch.modelChoice.family import GaussianFamily
from psfmatch.modelChoice.trial import Choice, Trial
from psfmatch.regions import RegionState, usualModel

__all__ = ["ModelSearch", "chooseModel"]

VARIATIONS = ((0, 0.003), (1, 0.003), (1, 0.03), (2, 0.003), (2, 0.01), (2, 0.03), (2, 0.1), (3, 0.01), (3, 0.1))
"""Orders of the kernel over the field, and its expected variation in units of its norm beside that with its width."""
CLIMBED_SCALES = (0.003, 0.01, 0.03)
SHAPE_SCALES = (0.3, 1.0)
MAX_ORDER = 3
MAX_PARAMETERS = 800
"""Of a model that is tried: larger ones take seconds, and no field has needed them."""

Label = Callable[[SpatialModelOptions], str]


def chooseModel(
    stateOf: Callable[[GaussianFamily], RegionState],
    family: GaussianFamily,
    fixed: Mapping[str, Any],
    isThorough: bool,
) -> ModelSearch:
    """Choose the model of a family of Gaussians, but for fields of `SpatialModelOptions` that are fixed.

    `stateOf` makes the regions' equations for the richest set of a family, usual outliers rejected. All models are
    tried if `isThorough`, else a climb from the usual one goes on as long as that gains.
    """
    tried = family if isThorough else family.upTo(family.usualDegrees)
    state = stateOf(tried)
    usual = usualModel(tried.images(family.usualDegrees), len(state))
    search = ModelSearch(state, tried, usual.replaced(**fixed), fixed)
    backgrounds = search.variants({"backgroundOrder": order} for order in range(MAX_ORDER + 1))
    start = None if isThorough else min(usual.backgroundOrder, len(backgrounds) - 1)
    search.take("Background", lambda model: f"order {model.backgroundOrder}", backgrounds, start)
    search = _chooseGaussians(search, stateOf, family)
    if isThorough:
        _chooseVariation(search)
    else:
        _climbVariation(search)
    shapes = search.variants({"shapeScale": scale} for scale in SHAPE_SCALES)
    search.take("Prior of the kernel's shape", lambda model: f"{model.shapeScale:g} of the kernel's norm", shapes)
    return search


class ModelSearch:
    """The model so far, on the equations of one set of regions and Gaussians, and the sentences of its choices."""

    def __init__(
        self,
        state: RegionState,
        family: GaussianFamily,
        model: SpatialModelOptions,
        fixed: Mapping[str, Any],
        choices: Sequence[Choice] = (),
    ) -> None:
        self.state, self.family, self.model, self.fixed, self.choices = state, family, model, fixed, list(choices)
        self.trial = Trial(state.system(max(MAX_ORDER, model.highestOrder)))

    def variants(self, changes: Iterable[Mapping[str, Any]]) -> list[SpatialModelOptions]:
        """Return the model with each of some changes, in which what is fixed takes no part; no model twice."""
        return list(dict.fromkeys(self.model.replaced(**{**change, **self.fixed}) for change in changes))

    def gaussians(self) -> list[SpatialModelOptions]:
        """Return the model with each set of degrees, few first."""
        return self.variants({"images": self.family.images(degrees)} for degrees in self.family.degrees)

    def degreesLabel(self, model: SpatialModelOptions) -> str:
        """Return how the Gaussians of a model are told."""
        return " ".join(map(str, ("degrees", *self.family.degreesOf(model.images))))

    def take(self, name: str, label: Label, models: Sequence[SpatialModelOptions], start: int | None = None) -> None:
        """Choose one of the models, from the poorest to the richest: of all, or by a climb from one of them."""
        if len(models) > 1:
            chosen = self.trial.best(models) if start is None else self.trial.climb(models, start)
            self.tell(name, label, models, chosen)

    def tell(self, name: str, label: Label, models: Sequence[SpatialModelOptions], chosen: SpatialModelOptions) -> None:
        """Take a model, and write the sentence of its choice among those that have been judged."""
        self.model = chosen
        others = [model for model in self.trial.judged(models) if model != chosen]
        if not others:
            return
        runnerUp = max(others, key=lambda model: self.trial.gain(chosen, model)[0])
        gain, error = self.trial.gain(chosen, runnerUp)
        own = self.trial.heldOut(chosen)
        nPixels = max(1, int(self.state.fit.weightCounts.sum()))
        chiSquare = math.nan if own is None else float(own.sum()) / nPixels
        comparison = f"{abs(gain):.0f} higher in all"
        if gain > 0.0:
            comparison = f"{abs(gain):.0f} lower in all, known to {error:.0f}: no reason for the richer one"
        elif gain > -0.5:
            comparison = "the same"
        self.choices.append(
            Choice(
                name, label(chosen), chiSquare, label(runnerUp), -gain,
                f"{name}: {label(chosen)}; held-out chi-square {chiSquare:.4f} per pixel, with {label(runnerUp)} it is "
                f"{comparison}.",
            )
        )  # fmt: skip


def _chooseGaussians(
    search: ModelSearch, stateOf: Callable[[GaussianFamily], RegionState], family: GaussianFamily
) -> ModelSearch:
    """Choose the degrees; where the richest set that was made ready is worth its number, richer ones are tried."""
    models = search.gaussians()
    if search.family == family or search.trial.best(models) != models[-1]:
        search.take("Gaussians", search.degreesLabel, models)
        return search
    richer = ModelSearch(stateOf(family), family, search.model, search.fixed, search.choices)
    richer.take("Gaussians", richer.degreesLabel, richer.gaussians())
    if richer.model.images == family.images(family.degrees[-1]):
        return richer
    search.model, search.choices = models[-1], richer.choices
    return search


def _chooseVariation(search: ModelSearch) -> None:
    """Choose how the kernel varies among all orders and sizes of the variation that may be."""
    variations = search.variants({"kernelOrder": order, "variationScale": scale} for order, scale in VARIATIONS)
    few = [model for model in variations if model.nParameters <= MAX_PARAMETERS]
    search.take("Kernel over the field", _variationLabel, few or [search.model])


def _climbVariation(search: ModelSearch) -> None:
    """Choose how the kernel varies: by how much at the usual order, then one order less, or one more."""
    scales = search.variants({"variationScale": scale} for scale in CLIMBED_SCALES)
    search.model = search.trial.climb(scales)
    step = -1 if search.model == scales[0] else 1
    near = search.model.kernelOrder, min(max(0, search.model.kernelOrder + step), MAX_ORDER)
    orders = search.variants({"kernelOrder": order} for order in sorted(near))
    chosen = search.trial.best([model for model in orders if model.nParameters <= MAX_PARAMETERS] or orders)
    search.tell("Kernel over the field", _variationLabel, list(dict.fromkeys([*scales, *orders])), chosen)


def _variationLabel(model: SpatialModelOptions) -> str:
    if model.kernelOrder == 0:
        return "order 0"
    return f"order {model.kernelOrder}, expected to vary by {model.variationScale:g} beside its width"
