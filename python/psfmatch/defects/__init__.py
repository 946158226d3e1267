"""Defects that nobody has masked: blocks without data, dead and hot pixels, columns, cosmic rays.

They are found before anything else looks at the pixels. Blocks of one value come first, for they are no sky; then
whatever is sharper than the PSF lets light be, saturated pixels left out.
"""

from psfmatch.defects.crossing import Crossed, crossDefects, inverted, isWorthCrossing
from psfmatch.defects.finding import Defects, findDefects, flagDefects

__all__ = ["Crossed", "Defects", "crossDefects", "findDefects", "flagDefects", "inverted", "isWorthCrossing"]
