"""Typical values of an image in the cells of a coarse grid: levels of sky and of variance.

For a smooth surface of the sky itself there is `psfmatch.detection.background`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch._core import CellGrid
from psfmatch.exposure import MaskedImage

__all__ = ["CellGrid", "measureCells"]


def measureCells(
    maskedImage: MaskedImage,
    plane: npt.NDArray[np.float32],
    planes: Iterable[str],
    threads: int = 1,
    *,
    isVariance: bool = False,
) -> CellGrid:
    """Measure a plane of an image in 8 x 8 cells, of 32 px at least, by clipped means (3 sigma, 3 times).

    Pixels in `planes` or with unusable values do not count, nor do negative values of a variance. A cell without a
    pixel takes the median of the others; without any cell all are zero.
    """
    badBits = maskedImage.mask.getPlaneBitMask(planes, ignoreMissing=True)
    x0, y0 = maskedImage.xy0
    return _core.measureCells(
        *(plane, maskedImage.variance, np.asarray(maskedImage.mask), badBits),
        isVariance=isVariance, x0=x0, y0=y0, nThreads=threads,
    )  # fmt: skip
