"""The front door, `subtract`, step by step.

The images are examined and made ready (`examining`, `inputs`), kernel and background fitted, by simpler models where
stars are few, the difference finished and graded (`finishing`, `grading`); `result` holds everything. `score` makes the
score image of a pair, `injection` tells how much of what is there is found.
"""

from psfmatch.frontdoor.configuration import FrontDoorConfig, frontDoorConfig
from psfmatch.frontdoor.injection import Efficiency, injectSources, measureEfficiency
from psfmatch.frontdoor.result import SubtractionResult
from psfmatch.frontdoor.score import Score, computeScore
from psfmatch.frontdoor.subtracting import MODES, subtract

__all__ = [
    "MODES",
    "Efficiency",
    "FrontDoorConfig",
    "Score",
    "SubtractionResult",
    "computeScore",
    "frontDoorConfig",
    "injectSources",
    "measureEfficiency",
    "subtract",
]
