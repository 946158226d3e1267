"""How a template lies on a science image, from the stars of both, where coordinates are missing or slightly wrong.

Stars are found on both images and their positions measured (`centroids`); displacements of bright pairs vote for which
star is which (`asterisms`), and a shift, a rotation with scale, or a polynomial is fitted to the pairs (`offsets`).
`alignment` decides whether that corrects what the WCSs say, and lays the template so; `surroundings` gives what it has
beyond the science image. After the subtraction `shifts`
measures what registration has left over.
"""

from psfmatch.alignment.alignment import Alignment, applyAlignment, measureAlignment
from psfmatch.alignment.shifts import ShiftField, measureShiftField
from psfmatch.alignment.surroundings import Surroundings, surroundingsOf

__all__ = [
    "Alignment",
    "ShiftField",
    "Surroundings",
    "applyAlignment",
    "measureAlignment",
    "measureShiftField",
    "surroundingsOf",
]
