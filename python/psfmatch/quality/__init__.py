"""How good a difference image is: figures measured on sources, sky and kernel, and one grade from them.

`FinishedSubtraction` is what is measured, `Quality` the list of the figures, with what measures them; the table `RULES`
turns them into a grade, `checkGates` holds them against limits of a user's own.
"""

from psfmatch.quality.figures import Quality, scaleOf
from psfmatch.quality.finished import FinishedSubtraction
from psfmatch.quality.grading import GRADES, RULES, Rule, assessQuality, checkGates, gateNames, requireGates
from psfmatch.quality.residualShift import residualShift
from psfmatch.quality.whiteness import whitenessOf

__all__ = [
    "GRADES",
    "RULES",
    "FinishedSubtraction",
    "Quality",
    "Rule",
    "assessQuality",
    "checkGates",
    "gateNames",
    "requireGates",
    "residualShift",
    "scaleOf",
    "whitenessOf",
]
