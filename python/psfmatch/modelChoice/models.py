"""The model of the kernel over the field, chosen field by field: background, Gaussians, variation, prior.

Models are compared by the residuals of regions that they have not seen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch._core import SpatialModelOptions
from psfmatch.equality import ByValue
from psfmatch.errors import NumericalError
from psfmatch.modelChoice.family import GaussianFamily
from psfmatch.regions import RegionState, usualModel

__all__ = ["Choice", "ModelSearch", "chooseModel", "trimmedDifference"]

VARIATIONS = ((0, 0.003), (1, 0.003), (1, 0.03), (2, 0.003), (2, 0.01), (2, 0.03), (2, 0.1), (3, 0.01), (3, 0.1))
"""Orders of the kernel over the field, and its expected variation in units of its norm beside that with its width."""
CLIMBED_SCALES = (0.003, 0.01, 0.03)
SHAPE_SCALES = (0.3, 1.0)
MAX_ORDER = 3
MAX_PARAMETERS = 800
"""Of a model that is tried: larger ones take seconds, and no field has needed them."""
TRIMMED = 0.01
"""Part of the regions at either end whose differences of chi-square are cut: variable stars are no model's fault."""
SIGNIFICANCE = 0.5
"""A richer model must be better by so many standard errors of the difference."""

FloatArray = npt.NDArray[np.float64]
Label = Callable[[SpatialModelOptions], str]


DETAILS = ("border", "coverage", "errorFloor", "noise")
"""Choices that tell of a rule at work in every run."""
NOTHING_DONE = ("none", "0", "1", "1.000")


@dataclass(frozen=True, eq=False)
class Choice(ByValue):
    """One choice: of what, which, its figure, the rejected alternative and its figure, and the sentence."""

    name: str
    chosen: str
    figure: float
    alternative: str
    alternativeFigure: float
    sentence: str

    @property
    def isDecision(self) -> bool:
        """Whether something was done, or taken of several; not that nothing was found, or all left as it is."""
        return self.name not in DETAILS and self.chosen not in NOTHING_DONE

    def log(self, log: logging.Logger) -> None:
        """Write the sentence, so that who wants decisions alone can tell it from what is only found."""
        log.info("%s", self.sentence, extra={"isDecision": self.isDecision}, stacklevel=2)

    @classmethod
    def told(cls, name: str, chosen: str, sentence: str) -> Choice:
        """Return what was found, or done, without a figure that is compared."""
        return cls(name, chosen, math.nan, "", math.nan, sentence)

    @classmethod
    def between(cls, name: str, chosen: str, figures: Mapping[str, float], sentence: str) -> Choice:
        """Return the choice of one of two that have a figure each."""
        (other,) = figures.keys() - {chosen}
        return cls(name, chosen, figures[chosen], other, figures[other], sentence)


def _variationLabel(model: SpatialModelOptions) -> str:
    if model.kernelOrder == 0:
        return "order 0"
    return f"order {model.kernelOrder}, expected to vary by {model.variationScale:g} beside its width"


VARIATION = "Kernel over the field", _variationLabel


def chooseModel(
    stateOf: Callable[[GaussianFamily], RegionState], family: GaussianFamily, fixed: Mapping[str, Any], isThorough: bool
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
    before = list(search.choices)
    if search.takeGaussians() and tried != family:
        # The richest set that was made ready is worth its number: richer ones are tried.
        richer = ModelSearch(stateOf(family), family, search.model, fixed, before)
        if richer.takeGaussians():
            search = richer
        else:
            search.choices = richer.choices
    if isThorough:
        variations = search.variants({"kernelOrder": order, "variationScale": scale} for order, scale in VARIATIONS)
        few = [model for model in variations if model.nParameters <= MAX_PARAMETERS]
        search.take(*VARIATION, few or [search.model])
    else:
        search.climbVariation()
    shapes = search.variants({"shapeScale": scale} for scale in SHAPE_SCALES)
    search.take("Prior of the kernel's shape", lambda model: f"{model.shapeScale:g} of the kernel's norm", shapes)
    search.takeExtent()
    return search


class ModelSearch:
    """The model so far, compared with others on the equations of one set of regions and Gaussians.

    choices : the sentences of the comparisons; fixed : fields of the model that are not chosen.
    """

    def __init__(
        self,
        state: RegionState,
        family: GaussianFamily,
        model: SpatialModelOptions,
        fixed: Mapping[str, Any],
        choices: Sequence[Choice] = (),
    ) -> None:
        self.state, self.family, self.model, self.fixed, self.choices = state, family, model, fixed, list(choices)
        state.system(max(MAX_ORDER, model.highestOrder))  # one for all models
        self._known: dict[SpatialModelOptions, FloatArray | None] = {}

    def heldOut(self, model: SpatialModelOptions) -> FloatArray | None:
        """Return held-out chi-square (regions), or None for a model without solution."""
        if model not in self._known:
            try:
                self._known[model] = self.state.heldOut(model)[2]
            except NumericalError:
                self._known[model] = None
        return self._known[model]

    def gain(self, first: SpatialModelOptions, second: SpatialModelOptions) -> tuple[float, float]:
        """Return by how much the second model's chi-square is lower, trimmed, and the error of that."""
        return trimmedDifference(self.heldOut(first), self.heldOut(second))

    def isBetter(self, model: SpatialModelOptions, other: SpatialModelOptions) -> bool:
        """Return whether a model's chi-square is lower than another's by half the error of the difference."""
        gain, error = self.gain(other, model)
        return gain > SIGNIFICANCE * error

    def best(self, models: Sequence[SpatialModelOptions]) -> SpatialModelOptions:
        """Return the first model that no later one beats; one without solution is beaten by all that have one."""
        chosen = models[0]
        for model in models:
            if self.isBetter(model, chosen):
                chosen = model
        return chosen

    def climb(self, models: Sequence[SpatialModelOptions], start: int = 0) -> SpatialModelOptions:
        """Return the model, of a sequence from the poorest to the richest, where a climb from `start` ends.

        Up while the next is better; if the first step is not, down while the richer one is no better than the next.
        """
        place = start
        while place + 1 < len(models) and self.isBetter(models[place + 1], models[place]):
            place += 1
        while place == start and place > 0 and not self.isBetter(models[place], models[place - 1]):
            place = start = place - 1
        return models[place]

    def variants(self, changes: Iterable[Mapping[str, Any]]) -> list[SpatialModelOptions]:
        """Return the model with each of some changes, in which what is fixed takes no part; no model twice."""
        return list(dict.fromkeys(self.model.replaced(**{**change, **self.fixed}) for change in changes))

    def take(self, name: str, label: Label, models: list[SpatialModelOptions], start: int | None = None) -> None:
        """Choose one of the models, from the poorest to the richest: of all, or by a climb from one of them."""
        if len(models) > 1:
            self._tell(name, label, models, self.best(models) if start is None else self.climb(models, start))

    def takeGaussians(self) -> bool:
        """Choose the degrees, few first; return whether they are the richest set."""
        models = self.variants({"images": self.family.images(degrees)} for degrees in self.family.degrees)
        self.take(
            "Gaussians", lambda model: " ".join(map(str, ("degrees", *self.family.degreesOf(model.images)))), models
        )
        return self.model == models[-1]

    def takeExtent(self) -> None:
        """Leave the widest Gaussian out where regions that have not been seen are served better without.

        It is there for wings that most PSFs do not have; without them it follows the noise, far out.
        """
        own = self.family.degreesOf(self.model.images)
        sets = {self.family.images(degrees): degrees for degrees in (own, self.family.narrower(own))}
        sigmas = {
            images: max(s for s, degree in zip(self.family.sigmas, degrees, strict=True) if degree >= 0)
            for images, degrees in sets.items()
        }
        models = [self.model.replaced(images=images) for images in sets]
        self.take("Extent of the kernel", lambda model: f"Gaussians up to sigma {sigmas[model.images]:.2f} px", models)

    def climbVariation(self) -> None:
        """Choose how the kernel varies: by how much at the usual order, then one order less, or one more."""
        scales = self.variants({"variationScale": scale} for scale in CLIMBED_SCALES)
        self.model = self.climb(scales)
        step = -1 if self.model == scales[0] else 1
        near = self.model.kernelOrder, min(max(0, self.model.kernelOrder + step), MAX_ORDER)
        orders = self.variants({"kernelOrder": order} for order in sorted(near))
        chosen = self.best([model for model in orders if model.nParameters <= MAX_PARAMETERS] or orders)
        self._tell(*VARIATION, list(dict.fromkeys([*scales, *orders])), chosen)

    def _tell(self, name: str, label: Label, models: list[SpatialModelOptions], chosen: SpatialModelOptions) -> None:
        """Take a model, and write the sentence of its choice among those that have been judged."""
        self.model = chosen
        others = [model for model in models if model in self._known and model != chosen]
        if not others:
            return
        runnerUp = max(others, key=lambda model: self.gain(chosen, model)[0])
        gain, error = self.gain(chosen, runnerUp)
        own = self.heldOut(chosen)
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


def trimmedDifference(first: FloatArray | None, second: FloatArray | None) -> tuple[float, float]:
    """Return sum(first - second) over regions with the extreme differences cut, and its standard error."""
    if first is None or second is None:
        return (-math.inf if second is None else math.inf), 0.0
    difference = first - second
    if difference.size >= 50:
        ordered = np.sort(difference)
        places = np.array([TRIMMED, 1.0 - TRIMMED]) * (difference.size - 1)
        difference = np.clip(difference, *np.interp(places, np.arange(difference.size), ordered))
    return float(difference.sum()), float(np.sqrt((difference**2).sum()))
