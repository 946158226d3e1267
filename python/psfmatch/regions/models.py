"""Models of kernel and background over the field, and what is expected of them before any pixel is seen."""

from __future__ import annotations

from dataclasses import dataclass

from psfmatch import _core
from psfmatch.config import KernelOptions

__all__ = ["SpatialModel", "imagesOf", "modelOf", "nTerms", "usualModel"]

USUAL_SHAPE, USUAL_VARIATION, USUAL_WIDTH = 1.0, 0.01, 0.2
"""Expected departure of the kernel from the first Gaussian, its variation, and that with its width, in units of its
norm: where the FWHM of a PSF varies by 15 %, the kernel varies by 0.2."""


def imagesOf(degrees: tuple[int, ...], within: tuple[int, ...]) -> tuple[int, ...]:
    """Return which images of a basis of Gaussians times polynomials of degrees `within` belong to lower degrees."""
    chosen: list[int] = []
    first = 0
    for degree, most in zip(degrees, within, strict=True):
        chosen.extend(range(first, first + nTerms(degree)))
        first += nTerms(most)
    return tuple(chosen)


def nTerms(order: int) -> int:
    """Return the number of terms of a polynomial of total order `order` in x and y."""
    return (order + 1) * (order + 2) // 2


@dataclass(frozen=True)
class SpatialModel:
    """A model of kernel and background.

    images : which images of the basis, the first among them; kernelOrder, backgroundOrder : over the field;
    shapeScale, variationScale, widthScale : standard deviations of the prior, relative to the kernel's norm, of its
    shape, of its variation over the field in any way, and as with its width; 0: no prior.
    """

    images: tuple[int, ...]
    kernelOrder: int
    backgroundOrder: int
    shapeScale: float
    variationScale: float
    widthScale: float = 0.0

    @property
    def highestOrder(self) -> int:
        """The higher of the two orders."""
        return max(self.kernelOrder, self.backgroundOrder)

    @property
    def nParameters(self) -> int:
        """Free numbers of the model: the kernel sum is one, constant over the field."""
        return 1 + (len(self.images) - 1) * nTerms(self.kernelOrder) + nTerms(self.backgroundOrder)

    def toCore(self) -> _core.SpatialModelOptions:
        """Return the model as the core takes it."""
        return _core.SpatialModelOptions(
            self.images,
            self.kernelOrder,
            self.backgroundOrder,
            self.shapeScale,
            self.variationScale,
            self.widthScale,
        )


def modelOf(options: KernelOptions, images: tuple[int, ...]) -> SpatialModel:
    """Return the spatial model that is configured, of some images of a basis."""
    return SpatialModel(
        images,
        options.spatialKernelOrder,
        options.spatialBgOrder if options.fitForBackground else 0,
        options.regions.shapeScale,
        options.regions.variationScale,
        options.regions.widthScale,
    )


def usualModel(images: tuple[int, ...], nRegions: int) -> SpatialModel:
    """Return the model that serves most fields: what is rejected by it hardly depends on the details."""
    order = 2 if nRegions >= 30 else 1 if nRegions >= 10 else 0
    return SpatialModel(images, order, order, USUAL_SHAPE, USUAL_VARIATION, USUAL_WIDTH)
