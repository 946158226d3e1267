"""The front door, `subtract`, step by step.

Saturation is found and flagged, the variance planes are scaled to their own skies, the template is laid upon the
science image's pixels (`inputs`); the direction of convolution and the kernel's model are chosen, kernel and background
fitted, by simpler models where stars are few (`ladder`, `simplerModels`); the difference is decorrelated and graded
(`finishing`). `scoring` makes the score image of a pair, of its decorrelated difference.
"""

from typing import TYPE_CHECKING

from psfmatch.differencing.result import SubtractionResult
from psfmatch.differencing.subtracting import MODES, subtract
from psfmatch.later import laterNames

if TYPE_CHECKING:
    from psfmatch.differencing.configuration import FrontDoorConfig, frontDoorConfig
    from psfmatch.differencing.scoring import Score, computeScore

__all__ = ["MODES", "FrontDoorConfig", "Score", "SubtractionResult", "computeScore", "frontDoorConfig", "subtract"]

__getattr__ = laterNames(
    __name__,
    dict.fromkeys(("FrontDoorConfig", "frontDoorConfig"), f"{__name__}.configuration")
    | dict.fromkeys(("Score", "computeScore"), f"{__name__}.scoring"),
)
