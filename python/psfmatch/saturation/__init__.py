"""Saturated pixels: at which counts they begin, and the mask plane SAT set on them and about them.

A mask that does not say why a pixel is bad hides the saturated ones among the defects. They must be known: the light
that their surroundings lack would count as kernel sum. They are bad pixels at the level with a bright one beside them.
"""

from psfmatch.saturation.finding import Saturation, findSaturation
from psfmatch.saturation.flagging import flagSaturation
from psfmatch.saturation.traces import SaturationTraces, flagSaturationTraces

__all__ = ["Saturation", "SaturationTraces", "findSaturation", "flagSaturation", "flagSaturationTraces"]
