"""How good a difference image is: figures measured on sources, sky and kernel, and one grade from them.

`assessQuality` measures, `Quality` holds the figures, the table `RULES` turns them into a grade, `checkGates` holds
them against limits of a user's own.
"""

from psfmatch.quality.assessing import HeldOut, NoiseCorrelation, ResidualShift, assessQuality
from psfmatch.quality.figures import Quality
from psfmatch.quality.grading import GRADES, RULES, Rule, checkGates, gradeFigures, requireGates
from psfmatch.quality.sky import SkyNoise, skyNoise
from psfmatch.quality.sources import SourceResiduals, sourceResiduals

__all__ = [
    "GRADES",
    "RULES",
    "HeldOut",
    "NoiseCorrelation",
    "Quality",
    "ResidualShift",
    "Rule",
    "SkyNoise",
    "SourceResiduals",
    "assessQuality",
    "checkGates",
    "gradeFigures",
    "requireGates",
    "skyNoise",
    "sourceResiduals",
]
