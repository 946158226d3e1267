"""Windows of blank sky, spread evenly over an image: where noise is measured.

Raw images carry no flags of their sources; `psfmatch/image/BlankSky.h` says how they are left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from psfmatch import _core
from psfmatch._core import BlankSky
from psfmatch.exposure import MaskedImage

__all__ = ["SOURCE_PLANES", "BlankSky", "findBlankSky"]

SOURCE_PLANES = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "SAT", "CR", "EDGE", "NO_DATA", "INTRP")
"""Planes whose pixels are no blank sky."""


def findBlankSky(
    maskedImage: MaskedImage,
    planes: Iterable[str] = SOURCE_PLANES,
    maxPixels: int = 300_000,
    threads: int = 1,
    where: BlankSky | None = None,
) -> BlankSky:
    """Return windows of an image with what is blank sky in them.

    Parameters
    ----------
    maskedImage
        Image, not changed.
    planes
        Planes whose pixels are left out.
    maxPixels
        About how many pixels to look at; they lie in windows of 64 x 64 on a regular grid.
    threads
        Number of threads; the result does not depend on it.
    where
        Blank sky of the same pixels, found in another image: it is not searched for anew.
    """
    badBits = maskedImage.mask.getPlaneBitMask(planes, ignoreMissing=True)
    given = maskedImage.image, maskedImage.variance, np.asarray(maskedImage.mask), badBits
    if where is not None:
        return _core.blankSkyAt(*given, where, nThreads=threads)
    return _core.findBlankSky(*given, maxPixels=maxPixels, nThreads=threads)
