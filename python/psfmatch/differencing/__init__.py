"""The front door, `subtract`, step by step.

Saturation is found and flagged, the variance planes are scaled to their own skies, the template is laid upon the
science image's pixels (`inputs`); the direction of convolution and the kernel's model are chosen, kernel and background
fitted, by simpler models where stars are few (`ladder`, `simplerModels`); the difference is decorrelated and graded
(`finishing`).
"""

from typing import TYPE_CHECKING

from psfmatch.differencing.result import SubtractionResult
from psfmatch.differencing.subtracting import MODES, subtract
from psfmatch.later import laterNames

if TYPE_CHECKING:
    from psfmatch.differencing.configuration import FrontDoorConfig, frontDoorConfig

__all__ = ["MODES", "FrontDoorConfig", "SubtractionResult", "frontDoorConfig", "subtract"]

__getattr__ = laterNames(__name__, dict.fromkeys(("FrontDoorConfig", "frontDoorConfig"), f"{__name__}.configuration"))
