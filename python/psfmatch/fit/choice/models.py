"""The model of the kernel over the field, chosen field by field: background, Gaussians, variation, prior, extent.

Models are compared by chi-squares of regions under solutions from other parts of the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from psfmatch._core import RegionSolver, SpatialModelOptions, pairedGain
from psfmatch.config.choices import Choice
from psfmatch.kernels.gaussians import GaussianFamily

__all__ = ["ModelSearch", "chooseModel"]

VARIATIONS = ((0, 0.003), (1, 0.003), (1, 0.03), (2, 0.003), (2, 0.01), (2, 0.03), (2, 0.1), (3, 0.01), (3, 0.1))
"""Orders of the kernel over the field, and its expected variation in units of its norm beside that with its width."""
CLIMBED_SCALES = (0.003, 0.01, 0.03)
SHAPE_SCALES = (0.3, 1.0)
MAX_ORDER = 3
MAX_PARAMETERS = 800
"""Of a model that is tried: larger ones take seconds, and no field has needed them."""
SIGNIFICANCE = 0.5
"""A richer model must be better by so many standard errors of the difference."""

Label = Callable[[SpatialModelOptions], str]


def chooseModel(
    begin: Callable[[GaussianFamily], RegionSolver], family: GaussianFamily, fixed: Mapping[str, Any], isThorough: bool
) -> ModelSearch:
    """Choose the model of a family of Gaussians, but for fields of `SpatialModelOptions` that are fixed.

    `begin` makes the regions' equations for the richest set of a family, usual outliers rejected. All models are
    tried if `isThorough`, else a climb from the usual one goes on as long as that gains.
    """
    tried = family if isThorough else family.upTo(family.usualDegrees)
    solver = begin(tried)
    usual = solver.usualModel(tried.images(family.usualDegrees))
    search = ModelSearch(solver, tried, usual.replaced(**fixed), fixed)
    backgrounds = search.variants({"backgroundOrder": order} for order in range(MAX_ORDER + 1))
    start = min(usual.backgroundOrder, len(backgrounds) - 1)
    chosen = search.best(backgrounds) if isThorough else search.climb(backgrounds, start)
    search.take("Background", lambda model: f"order {model.backgroundOrder}", backgrounds, chosen)
    before = list(search.choices)
    if search.takeGaussians() and tried != family:
        # The richest set that was made ready is worth its number: richer ones are tried.
        richer = ModelSearch(begin(family), family, search.model, fixed, before)
        if richer.takeGaussians():
            search = richer
        else:
            search.choices = richer.choices
    search.takeVariation(isThorough)
    shapes = search.variants({"shapeScale": scale} for scale in SHAPE_SCALES)
    search.take("Prior of the kernel's shape", lambda model: f"{model.shapeScale:g} of the kernel's norm", shapes)
    search.takeExtent()
    search.scatter, search.pull, search.nBright = search.solver.brightPixels(search.model)
    return search


class ModelSearch:
    """The model so far, compared with others on the equations of one set of regions and Gaussians.

    choices : the sentences of the comparisons; fixed : fields of the model that are not chosen; once it is: scatter,
    pull : of held-out bright pixels, in a unit for all models and in the noise that this one predicts
    (`RegionSolver.brightPixels`), nBright : regions that have any; isRejecting : whether outliers are rejected.
    """

    def __init__(
        self,
        solver: RegionSolver,
        family: GaussianFamily,
        model: SpatialModelOptions,
        fixed: Mapping[str, Any],
        choices: Sequence[Choice] = (),
    ) -> None:
        self.solver, self.family, self.model, self.fixed, self.choices = solver, family, model, fixed, list(choices)
        self.scatter, self.pull, self.nBright, self.isRejecting = math.nan, math.nan, 0, True
        solver.prepare(solver.polynomials(MAX_ORDER).joined(model.whole))  # once for all models

    def gain(self, first: SpatialModelOptions, second: SpatialModelOptions) -> tuple[float, float]:
        """Return by how much the second model's held-out chi-square is lower, trimmed, and the error of that."""
        return pairedGain(self.solver.chiSquares(first), self.solver.chiSquares(second))

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

    def takeGaussians(self) -> bool:
        """Choose the degrees, few first; return whether they are the richest set."""
        models = self.variants({"images": self.family.images(degrees)} for degrees in self.family.degrees)
        self.take(
            "Gaussians", lambda model: " ".join(map(str, ("degrees", *self.family.degreesOf(model.images)))), models
        )
        return self.model == models[-1]

    def takeExtent(self) -> None:
        """Leave the widest Gaussian out where regions are served better: without a PSF's wings it follows the noise."""
        family, own = self.family, self.family.degreesOf(self.model.images)
        models = self.variants({"images": family.images(degrees)} for degrees in (own, family.narrower(own)))
        self.take(
            "Extent of the kernel", lambda model: f"Gaussians up to sigma {family.widest(model.images):.2f} px", models
        )

    def takeVariation(self, isThorough: bool) -> None:
        """Choose how the kernel varies: of all ways, or by how much at the usual order, then one order less or more."""
        if isThorough:
            models = tried = self.variants({"kernelOrder": order, "variationScale": by} for order, by in VARIATIONS)
        else:
            scales = self.variants({"variationScale": scale} for scale in CLIMBED_SCALES)
            self.model = self.climb(scales)
            step = -1 if self.model == scales[0] else 1
            near = self.model.kernelOrder, min(max(0, self.model.kernelOrder + step), MAX_ORDER)
            tried = self.variants({"kernelOrder": order} for order in sorted(near))
            models = list(dict.fromkeys([*scales, *tried]))
        few = [model for model in tried if model.nParameters <= MAX_PARAMETERS]
        self.take("Kernel over the field", _variationLabel, models, self.best(few or [self.model]))

    def take(
        self, name: str, label: Label, models: Sequence[SpatialModelOptions], chosen: SpatialModelOptions | None = None
    ) -> None:
        """Take the best of some models, from the poorest to the richest, or one of them that has been chosen.

        The sentence of the choice names the best of the others that have been judged.
        """
        self.model = chosen = self.best(models) if chosen is None else chosen
        others = [model for model in models if model != chosen and self.solver.hasJudged(model)]
        if not others:
            return
        runnerUp = max(others, key=lambda model: self.gain(chosen, model)[0])
        gain, error = self.gain(chosen, runnerUp)
        chiSquare = float(self.solver.chiSquares(chosen).sum()) / max(1, int(self.solver.fit.weightCounts.sum()))
        comparison = f"{abs(gain):.0f} higher in all"
        if gain > 0.0:
            comparison = f"{abs(gain):.0f} lower in all, known to {error:.0f}: no reason for the richer one"
        elif gain > -0.5:
            comparison = "the same"
        sentence = (
            f"{name}: {label(chosen)}; held-out chi-square {chiSquare:.4f} per pixel, with {label(runnerUp)} it is "
            f"{comparison}."
        )
        self.choices.append(Choice(name, label(chosen), chiSquare, label(runnerUp), -gain, sentence))


def _variationLabel(model: SpatialModelOptions) -> str:
    if model.kernelOrder == 0:
        return "order 0"
    return f"order {model.kernelOrder}, expected to vary by {model.variationScale:g} beside its width"
