"""The Gaussians of a kernel as images of a basis, and the model that is expected before any pixel is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from psfmatch import _core

__all__ = ["gaussianBasis", "imagesOf", "usualModel"]

USUAL_SCALES = 1.0, 0.01, 0.2
"""Expected departure of the kernel from the first Gaussian, its variation, and that with its width, in units of its
norm: where the FWHM of a PSF varies by 15 %, the kernel varies by 0.2."""


def gaussianBasis(kernelSize: int, sigmas: Sequence[float], degrees: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return Gaussians (sigmas in pixels) times polynomials, (n, h, w): all but the first without sum."""
    return _core.renormalizeBasis(_core.makeAlardLuptonBasis(kernelSize // 2, sigmas, degrees, hermite=True))


def imagesOf(degrees: Sequence[int], within: Sequence[int]) -> tuple[int, ...]:
    """Return which images of a basis of Gaussians times polynomials of degrees `within` belong to lower degrees."""
    chosen: list[int] = []
    first = 0
    for degree, most in zip(degrees, within, strict=True):
        chosen.extend(range(first, first + (degree + 1) * (degree + 2) // 2))
        first += (most + 1) * (most + 2) // 2
    return tuple(chosen)


def usualModel(images: tuple[int, ...], nRegions: int) -> _core.SpatialModelOptions:
    """Return the model that serves most fields: what is rejected by it hardly depends on the details.

    Parameters
    ----------
    images
        Which images of the basis it has, the first among them.
    nRegions
        Number of regions, which limits its orders.
    """
    order = 2 if nRegions >= 30 else 1 if nRegions >= 10 else 0
    return _core.SpatialModelOptions(images, order, order, *USUAL_SCALES)
