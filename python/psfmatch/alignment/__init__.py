"""How a template lies on a science image, from the stars of both, where coordinates are missing or slightly wrong.

Stars are found on both images and their positions measured (`centroids`); displacements of bright pairs vote for which
star is which (`asterisms`), and a shift, a rotation with scale, or a polynomial is fitted to the pairs (`offsets`).
`alignment` decides whether that corrects what the WCSs say, and lays the template so. Where stars are faint `light`
says how far all light lies apart, and `moving` puts the alignment right. After the subtraction `shifts` measures what
registration has left over.
"""

from psfmatch.alignment.alignment import Alignment, applyAlignment, measureAlignment
from psfmatch.alignment.light import LightShift, measureLightShift
from psfmatch.alignment.moving import movedBy
from psfmatch.alignment.shifts import ShiftField, measureShiftField

__all__ = [
    "Alignment",
    "LightShift",
    "ShiftField",
    "applyAlignment",
    "measureAlignment",
    "measureLightShift",
    "measureShiftField",
    "movedBy",
]
