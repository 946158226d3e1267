"""How good a difference image is: figures measured on sources, sky and kernel, and one grade from them.

`assessQuality` measures, `Quality` holds the figures, the table `RULES` turns them into a grade, `checkGates` holds
them against limits of a user's own.
"""

from psfmatch.quality.assessing import assessQuality, pixelFigures
from psfmatch.quality.figures import GRADES, RULES, Quality, Rule, checkGates, gateNames, requireGates, scaleOf

__all__ = [
    "GRADES",
    "RULES",
    "Quality",
    "Rule",
    "assessQuality",
    "checkGates",
    "gateNames",
    "pixelFigures",
    "requireGates",
    "scaleOf",
]
