"""What a header says of pixels beyond BSCALE and BZERO: integers without a value, and the asinh scale of Pan-STARRS.

Stacks of Pan-STARRS hold C = 1.0857 asinh((L - BOFFSET) / (2 BSOFTEN)) instead of the flux L (Waters et al. 2020, ApJS
251, 4), their maps of the variance likewise, each with cards of its own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.pixels import converted
from psfmatch.threads import mapStrips

log = logging.getLogger("psfmatch.io")

ASINH_CARDS = "BSOFTEN", "BOFFSET"
POGSON = 2.5 / math.log(10.0)
UNSIGNED = {(8, -(2**7)), (16, 2**15), (32, 2**31), (64, 2**63)}
"""BITPIX and BZERO of integers that FITS has in another range only."""


@dataclass(frozen=True)
class PixelScale:
    """How stored numbers become pixels.

    blank : number without a value, after BSCALE and BZERO; None where astropy or nobody has to care. softening,
    offset : of an asinh scale, counts; None where pixels are linear.
    """

    blank: float | None = None
    softening: float | None = None
    offset: float = 0.0

    @classmethod
    def fromHeader(cls, header: fits.Header, lost: Iterable[str] = ()) -> PixelScale:
        """Read the scale; ValueError where pixels are on an asinh scale that cannot be known.

        lost : keywords of cards that the header had, but that no value could be read from.
        """
        softening, offset = (header.get(card) for card in ASINH_CARDS)
        blank: float | None = None
        if "BLANK" in header:
            bits, zero, number = header["BITPIX"], header.get("BZERO", 0), header["BLANK"]
            # astropy takes blanks out of all integers but those whose range it moves, and but 0.
            if (bits, zero) in UNSIGNED and header.get("BSCALE", 1) == 1:
                blank = int(number) + int(zero)
            elif number == 0 and bits > 0:
                blank = zero
        if softening is None and offset is None and not set(ASINH_CARDS) & set(lost):
            return cls(blank)
        if softening is None or offset is None or not (float(softening) > 0.0):
            raise ValueError(
                f"pixels are on an asinh scale (BSOFTEN = {softening}, BOFFSET = {offset}), which needs a positive "
                "BSOFTEN and a BOFFSET"
            )
        return cls(blank, float(softening), float(offset))

    @property
    def isPlain(self) -> bool:
        """Whether pixels are what is stored."""
        return self.blank is None and self.softening is None

    def applied(self, stored: NDArray[Any], label: str) -> NDArray[np.float32]:
        """Return pixels (h, w) of stored numbers as a new native array, and say what has been done to them."""
        plane: NDArray[np.float32] = converted(stored, np.float32)
        if self.blank is not None:
            plane[stored == self.blank] = np.nan
        if self.softening is not None:
            softening, offset = self.softening, self.offset

            def linearise(strip: slice) -> None:
                with np.errstate(over="ignore"):
                    flux = 2.0 * softening * np.sinh(plane[strip].astype(np.float64) / POGSON)
                    plane[strip] = (flux + offset).astype(np.float32)

            mapStrips(linearise, plane.shape)
            log.warning(
                "%s: pixels are on an asinh scale and made linear: BOFFSET + 2 BSOFTEN sinh(C / 1.0857), BSOFTEN = %g, "
                "BOFFSET = %g",
                label, softening, offset,
            )  # fmt: skip
        return plane
