"""The model of the kernel over the field, chosen field by field: background, Gaussians, variation, prior."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psfmatch.modelChoice.family import GaussianFamily
from psfmatch.modelChoice.trial import Choice, Trial
from psfmatch.regions import RegionState, SpatialModel, usualModel

__all__ = ["FieldModel", "chooseModel"]

log = logging.getLogger("psfmatch.modelChoice")

VARIATIONS = ((0, 0.003), (1, 0.003), (1, 0.03), (2, 0.003), (2, 0.01), (2, 0.03), (2, 0.1), (3, 0.01), (3, 0.1))
"""Orders of the kernel over the field, and its expected variation in units of its norm beside that with its width."""
CLIMBED_SCALES = (0.003, 0.01, 0.03)
SHAPE_SCALES = (0.3, 1.0)
BACKGROUND_ORDERS = (0, 1, 2, 3)
MAX_ORDER = 3
MAX_PARAMETERS = 800
"""Of a model that is tried: larger ones take seconds, and no field has needed them."""


@dataclass(frozen=True)
class FieldModel:
    """A model, the degrees of its Gaussians, the regions that it was chosen on, and the sentences."""

    state: RegionState
    model: SpatialModel
    degrees: tuple[int, ...]
    choices: tuple[Choice, ...]


def chooseModel(
    stateOf: Callable[[GaussianFamily], RegionState],
    family: GaussianFamily,
    fixed: Mapping[str, Any],
    isThorough: bool,
) -> FieldModel:
    """Choose the model of a family of Gaussians.

    Parameters
    ----------
    stateOf
        Makes the regions' equations for the richest set of a family, usual outliers rejected.
    family
        What is tried.
    fixed
        Fields of `SpatialModel` that stay as they are told.
    isThorough
        Try all models; else climb from the usual one as long as that gains.
    """
    tried = family if isThorough else family.upTo(family.usualDegrees)
    state = stateOf(tried)
    usual = usualModel(tried.images(family.usualDegrees), len(state))
    search = _Search(state, tried, replace(usual, **fixed), fixed)
    backgrounds = search.variants(backgroundOrder=BACKGROUND_ORDERS)
    start = None if isThorough else min(usual.backgroundOrder, len(backgrounds) - 1)
    search.take("Background", _backgroundLabel, backgrounds, start)
    search = _chooseGaussians(search, stateOf, family)
    if isThorough:
        _chooseVariation(search)
    else:
        _climbVariation(search)
    search.take("Prior of the kernel's shape", _shapeLabel, search.variants(shapeScale=SHAPE_SCALES))
    degrees = search.family.degreesOf(search.model.images)
    return FieldModel(search.state, search.model, degrees, tuple(search.choices))


class _Search:
    """The model so far, on the equations of one set of regions and Gaussians."""

    def __init__(
        self,
        state: RegionState,
        family: GaussianFamily,
        model: SpatialModel,
        fixed: Mapping[str, Any],
        choices: Sequence[Choice] = (),
    ) -> None:
        self.state, self.family, self.model, self.fixed, self.choices = state, family, model, fixed, list(choices)
        self.trial = Trial(state.system(max(MAX_ORDER, model.highestOrder)))

    def variants(self, **values: Sequence[Any]) -> list[SpatialModel]:
        """Return the model with each value of one field; where the field is fixed, the model as it is."""
        ((name, candidates),) = values.items()
        return [self.model] if name in self.fixed else [replace(self.model, **{name: value}) for value in candidates]

    def gaussians(self) -> list[SpatialModel]:
        """Return the model with each set of degrees, few first."""
        return [replace(self.model, images=self.family.images(degrees)) for degrees in self.family.degrees]

    def take(
        self,
        name: str,
        label: Callable[[SpatialModel], str],
        models: Sequence[SpatialModel],
        start: int | None = None,
    ) -> None:
        """Choose one of the models, from the poorest to the richest: of all, or by a climb from one of them."""
        if len(models) > 1:
            chosen = self.trial.best(models) if start is None else self.trial.climb(models, start)
            self.tell(name, label, self.trial.judged(models), chosen)
            self.model = chosen

    def tell(
        self, name: str, label: Callable[[SpatialModel], str], models: Sequence[SpatialModel], chosen: SpatialModel
    ) -> None:
        """Write the sentence of a choice among models that have been judged."""
        others = [(-self.trial.gain(chosen, model)[0], model) for model in models if model != chosen]
        difference, runnerUp = min(others, key=lambda item: item[0])
        own = self.trial.heldOut(chosen)
        nPixels = max(1, int(self.state.fit.weightCounts.sum()))
        chiSquare = math.nan if own is None else float(own.sum()) / nPixels
        comparison = f"{abs(difference):.0f} higher in all"
        if difference < 0.0:
            error = self.trial.gain(chosen, runnerUp)[1]
            comparison = f"{abs(difference):.0f} lower in all, known to {error:.0f}: no reason for the richer one"
        elif difference < 0.5:
            comparison = "the same"
        self.choices.append(
            Choice(
                name, label(chosen), chiSquare, label(runnerUp), difference,
                f"{name}: {label(chosen)}; held-out chi-square {chiSquare:.4f} per pixel, with {label(runnerUp)} it is "
                f"{comparison}.",
            )
        )  # fmt: skip


def _chooseGaussians(
    search: _Search, stateOf: Callable[[GaussianFamily], RegionState], family: GaussianFamily
) -> _Search:
    """Choose the degrees; where the richest set that was made ready is worth its number, richer ones are tried."""
    models = search.gaussians()
    if search.family == family or search.trial.best(models) != models[-1]:
        search.take("Gaussians", _degreesLabel(search.family), models)
        return search
    richer = _Search(stateOf(family), family, search.model, search.fixed, search.choices)
    richer.model = replace(richer.model, images=family.images(family.usualDegrees))
    richer.take("Gaussians", _degreesLabel(family), richer.gaussians())
    if richer.model.images == family.images(family.degrees[-1]):
        return richer
    search.model, search.choices = models[-1], richer.choices
    return search


def _chooseVariation(search: _Search) -> None:
    """Choose how the kernel varies among all orders and sizes of the variation that may be."""
    isFixed = {name: name in search.fixed for name in ("kernelOrder", "variationScale")}
    variations = [
        replace(
            search.model,
            kernelOrder=search.model.kernelOrder if isFixed["kernelOrder"] else order,
            variationScale=search.model.variationScale if isFixed["variationScale"] else scale,
        )
        for order, scale in VARIATIONS
    ]
    few = [model for model in dict.fromkeys(variations) if model.nParameters <= MAX_PARAMETERS]
    search.take("Kernel over the field", _variationLabel, few or [search.model])


def _climbVariation(search: _Search) -> None:
    """Choose how the kernel varies: by how much at the usual order, then one order less, or one more."""
    scales = search.variants(variationScale=CLIMBED_SCALES)
    chosen = search.trial.climb(scales)
    orders = [chosen]
    if "kernelOrder" not in search.fixed:
        step = -1 if chosen == scales[0] else 1
        other = replace(chosen, kernelOrder=min(max(0, chosen.kernelOrder + step), MAX_ORDER))
        orders = [other, chosen] if step < 0 else [chosen, other]
    chosen = search.trial.best([model for model in orders if model.nParameters <= MAX_PARAMETERS] or orders)
    judged = search.trial.judged(list(dict.fromkeys([*scales, *orders])))
    if len(judged) > 1:
        search.tell("Kernel over the field", _variationLabel, judged, chosen)
    search.model = chosen


def _degreesLabel(family: GaussianFamily) -> Callable[[SpatialModel], str]:
    return lambda model: "degrees " + " ".join(str(degree) for degree in family.degreesOf(model.images))


def _backgroundLabel(model: SpatialModel) -> str:
    return f"order {model.backgroundOrder}"


def _variationLabel(model: SpatialModel) -> str:
    if model.kernelOrder == 0:
        return "order 0"
    return f"order {model.kernelOrder}, expected to vary by {model.variationScale:g} beside its width"


def _shapeLabel(model: SpatialModel) -> str:
    return f"{model.shapeScale:g} of the kernel's norm"
