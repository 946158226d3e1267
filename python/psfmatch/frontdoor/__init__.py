"""The front door, `subtract`, step by step.

The images are examined and made ready (`examining`, `inputs`), kernel and background fitted, by simpler models where
stars are few, the difference finished and graded (`finishing`, `grading`); `result` holds everything. `score` makes the
score image of a pair, `injection` tells how much of what is there is found.
"""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames
from psfmatch.frontdoor.result import SubtractionResult
from psfmatch.frontdoor.subtracting import MODES, subtract

if TYPE_CHECKING:
    from psfmatch.frontdoor.configuration import FrontDoorConfig, frontDoorConfig
    from psfmatch.frontdoor.injection import Efficiency, injectSources, measureEfficiency
    from psfmatch.frontdoor.score import Score, computeScore

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

# Imported when they are first asked for.
__getattr__ = laterNames(
    __name__,
    {
        name: f"{__name__}.{module}"
        for module, names in {
            "configuration": (
                "FrontDoorConfig",
                "frontDoorConfig",
            ),
            "injection": (
                "Efficiency",
                "injectSources",
                "measureEfficiency",
            ),
            "score": (
                "Score",
                "computeScore",
            ),
        }.items()
        for name in names
    },
)
