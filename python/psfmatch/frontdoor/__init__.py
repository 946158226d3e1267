"""The front door, `subtract`, step by step.

The images are examined and made ready (`examining`, `inputs`), kernel and background fitted, by simpler models where
stars are few, the difference finished and graded (`finishing`, `grading`); `result` holds everything. `score` makes the
score image of a pair, `injection` tells how much of what is there is found.
"""

from typing import TYPE_CHECKING

from psfmatch.config.later import laterNames
from psfmatch.frontdoor.result import SubtractionResult as SubtractionResult
from psfmatch.frontdoor.subtracting import MODES as MODES
from psfmatch.frontdoor.subtracting import subtract as subtract

if TYPE_CHECKING:
    from psfmatch.frontdoor.configuration import FrontDoorConfig as FrontDoorConfig
    from psfmatch.frontdoor.configuration import frontDoorConfig as frontDoorConfig
    from psfmatch.frontdoor.injection import Efficiency as Efficiency
    from psfmatch.frontdoor.injection import injectSources as injectSources
    from psfmatch.frontdoor.injection import measureEfficiency as measureEfficiency
    from psfmatch.frontdoor.score import Score as Score
    from psfmatch.frontdoor.score import computeScore as computeScore
else:
    __getattr__ = laterNames(__name__)
