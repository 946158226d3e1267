"""How a template lies on a science image, from the stars of both, where coordinates are missing or slightly wrong.

Stars are found on both images and their positions measured (`centroids`); near the places that coordinates give, or
anywhere, turned and mirrored (`laying`, `turns`), it is found which star is which (`asterisms`), and a shift, a turn
with a scale, or an affine transform is fitted to the pairs (`offsets`); where stars are too few the light tells
(`correlation`). `alignment` decides whether that corrects what the WCSs say, and lays the template so; `reasons` says
why, and `surroundings` gives what it has beyond the science image. Where stars are faint `light` says how far all light
lies apart, and `moving` puts the alignment right. After the subtraction `shifts` measures what registration has left
over.
"""

from psfmatch.alignment.alignment import AlignedTransform, Alignment, applyAlignment, measureAlignment
from psfmatch.alignment.light import LightShift, measureLightShift
from psfmatch.alignment.moving import movedBy
from psfmatch.alignment.shifts import ShiftField, measureShiftField
from psfmatch.alignment.surroundings import Surroundings, surroundingsOf

__all__ = [
    "AlignedTransform",
    "Alignment",
    "LightShift",
    "ShiftField",
    "Surroundings",
    "applyAlignment",
    "measureAlignment",
    "measureLightShift",
    "measureShiftField",
    "movedBy",
    "surroundingsOf",
]
