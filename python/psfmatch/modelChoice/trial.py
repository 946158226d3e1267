"""Models compared by the residuals of regions that they have not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import SpatialModelOptions

__all__ = ["Choice", "Trial", "trimmedDifference"]

FloatArray = npt.NDArray[np.float64]

TRIMMED = 0.01
"""Part of the regions at either end whose differences of chi-square are cut: variable stars are no model's fault."""
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

    @classmethod
    def between(cls, name: str, chosen: str, figures: Mapping[str, float], sentence: str) -> Choice:
        """Return the choice of one of two that have a figure each."""
        (other,) = figures.keys() - {chosen}
        return cls(name, chosen, figures[chosen], other, figures[other], sentence)


class Trial:
    """Models compared on one set of equations."""

    def __init__(self, system: _core.SpatialSystem) -> None:
        self.system = system
        self._known: dict[SpatialModelOptions, FloatArray | None] = {}

    def heldOut(self, model: SpatialModelOptions) -> FloatArray | None:
        """Return held-out chi-square (regions), or None for a model without solution."""
        if model not in self._known:
            try:
                self._known[model] = self.system.heldOut(model)[2]
            except _core.NumericalError:
                self._known[model] = None
        return self._known[model]

    def best(self, models: Sequence[SpatialModelOptions]) -> SpatialModelOptions:
        """Return the first model that no later one beats."""
        chosen = next((model for model in models if self.heldOut(model) is not None), models[0])
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

    def isBetter(self, model: SpatialModelOptions, other: SpatialModelOptions) -> bool:
        """Return whether a model's chi-square is lower than another's by half the error of the difference."""
        gain, error = self.gain(other, model)
        return gain > SIGNIFICANCE * error

    def gain(self, first: SpatialModelOptions, second: SpatialModelOptions) -> tuple[float, float]:
        """Return by how much the second model's chi-square is lower, trimmed, and the error of that."""
        return trimmedDifference(self.heldOut(first), self.heldOut(second))

    def judged(self, models: Sequence[SpatialModelOptions]) -> list[SpatialModelOptions]:
        """Return those of the models that have been tried."""
        return [model for model in models if model in self._known]


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
