"""The choices of a run, of which `explain` tells: each with its sentence."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from psfmatch.config.equality import ByValue

__all__ = ["Choice"]

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
