"""What has changed between the two images: transients, variable stars, and what has moved.

`differenceSources` finds sources of both signs on the difference and measures them on all three images, `dipoles` are
pairs of opposite signs, `sourceColumns` describes the table.
"""

from psfmatch.transients.differenceSources import (
    DEFAULT_THRESHOLD,
    PhotometryImage,
    detectOnDifference,
    filterDifference,
    writeSources,
)
from psfmatch.transients.dipoles import DipoleControl

__all__ = [
    "DEFAULT_THRESHOLD",
    "DipoleControl",
    "PhotometryImage",
    "detectOnDifference",
    "filterDifference",
    "writeSources",
]
