"""How good a difference image is: figures measured on sources, sky and kernel, and one grade from them.

`FinishedSubtraction` is what is measured, `Quality` the list of the figures, with what measures them; the table `RULES`
turns them into a grade, `checkGates` holds them against limits of a user's own.
"""

from psfmatch.quality.figures import Quality, scaleOf
from psfmatch.quality.finished import FinishedSubtraction, whitenessOf
from psfmatch.quality.grading import GRADES, RULES, Rule, assessQuality, checkGates, gateNames, requireGates

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
    "scaleOf",
    "whitenessOf",
]
