"""What passes between FITS files and the rest of the package: plain arrays with their names and numbers.

`ImagePlanes` is one image with mask, variance and coordinates; `KernelTables` is a matching kernel and a
differential background as K(x, y) = sum_i f_i(x, y) B_i. Neither opens a file, and neither knows the classes
built from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from psfmatch.io.coordinates import Coordinates

DEFAULT_MASK_PLANES: Mapping[str, int] = {
    "BAD": 0,
    "SAT": 1,
    "INTRP": 2,
    "CR": 3,
    "EDGE": 4,
    "DETECTED": 5,
    "DETECTED_NEGATIVE": 6,
    "SUSPECT": 7,
    "NO_DATA": 8,
}

SPATIAL_MODELS = ("chebyshev1", "polynomial")


@dataclass(frozen=True)
class PsfNodes:
    """A PSF as images at the nodes of a rectangular grid.

    images : (ny, nx, h, w), float64, odd sides; NaN throughout where the PSF is not known; x, y : positions of the
    columns, (nx,), and rows, (ny,), of nodes, parent pixels, increasing.
    """

    images: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class ImagePlanes:
    """One image as read from, or to be written to, a file.

    Parameters
    ----------
    image
        Pixel values, (h, w), float32.
    mask
        Bit planes, (h, w), int32.
    maskPlanes
        Bit index of each named plane of ``mask``.
    variance
        Variance, (h, w), float32, in squared units of the image.
    xy0
        Parent coordinates of the first pixel.
    wcs
        Celestial coordinates; its pixel (0, 0) is parent pixel (0, 0).
    metadata
        Header cards other than those of structure and coordinates.
    filter
        Name of the filter.
    photoCalib
        Flux of one count, nJy.
    varianceSource
        Where the variance came from, in words.
    psf
        The PSF as images.
    source
        Name of the file it was read from; empty for what was made in memory.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.int32] | None = None
    maskPlanes: dict[str, int] | None = None
    variance: NDArray[np.float32] | None = None
    xy0: tuple[int, int] = (0, 0)
    wcs: Coordinates | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    filter: str | None = None
    photoCalib: float | None = None
    varianceSource: str = ""
    psf: PsfNodes | None = None
    source: str = ""


@dataclass(frozen=True)
class SpatialField:
    """Which functions of position a set of coefficients belongs to.

    Polynomials are 1; x, y; x^2, xy, y^2; ... (or T_i(x) T_j(y) likewise) of the scaled coordinates x = (X -
    xCentre)/xScale, y = (Y - yCentre)/yScale of a parent position (X, Y). Other functions are told by numbers alone,
    which `psfmatch.kernels.SpatialFunction2D` gives and takes. model : "chebyshev1" or "polynomial", or the kind of
    other functions; order : total order k of polynomials, which have (k+1)(k+2)/2 coefficients, or the degree of
    B-splines; xCentre, yCentre : origin of the scaled coordinates, parent pixels; xScale, yScale : pixels per unit of
    the scaled coordinates; numbers : by which functions of another kind are made, none for polynomials. ValueError if
    the model is unknown and without numbers, the order negative or a scale not positive.
    """

    model: str
    order: int
    xCentre: float = 0.0
    yCentre: float = 0.0
    xScale: float = 1.0
    yScale: float = 1.0
    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.model not in SPATIAL_MODELS and not self.numbers:
            raise ValueError(f"spatial model {self.model!r} is none of {', '.join(SPATIAL_MODELS)}")
        if self.order < 0:
            raise ValueError(f"spatial order {self.order} is negative")
        if not (self.xScale > 0 and self.yScale > 0):
            raise ValueError(f"scales ({self.xScale}, {self.yScale}) are not both positive")

    @property
    def nTerms(self) -> int | None:
        """Number of coefficients of polynomials; None for other functions."""
        return None if self.numbers else (self.order + 1) * (self.order + 2) // 2


@dataclass(frozen=True)
class KernelTables:
    """A spatially varying kernel, and the background that goes with it, as numbers.

    Parameters
    ----------
    basis
        Basis images, (n, h, w), float64.
    coefficients
        Coefficients of each basis image's functions, (n, p), float64.
    spatialField
        The functions that ``coefficients`` multiply.
    background
        Background coefficients, (q,), float64.
    backgroundField
        The functions that ``background`` multiplies.
    metadata
        Further cards, kept in the header of the basis.
    covariance
        Covariance of all coefficients, row by row of ``coefficients``, (n p, n p), float64.
    backgroundCovariance
        Covariance of the background's coefficients, (q, q), float64.
    recipe
        How the kernel was applied, fit for JSON.

    Raises
    ------
    ValueError
        If shapes and orders do not fit together.
    """

    basis: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    spatialField: SpatialField
    background: NDArray[np.float64] | None = None
    backgroundField: SpatialField | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    covariance: NDArray[np.float64] | None = None
    backgroundCovariance: NDArray[np.float64] | None = None
    recipe: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.basis.ndim != 3 or self.basis.size == 0:
            raise ValueError(f"the basis is an (n, h, w) array, but this one has shape {self.basis.shape}")
        nTerms = self.spatialField.nTerms
        expected = (len(self.basis), self.coefficients.shape[-1] if nTerms is None else nTerms)
        if self.coefficients.shape != expected:
            raise ValueError(
                f"{len(self.basis)} basis images of spatial order {self.spatialField.order} need "
                f"coefficients of shape {expected}, not {self.coefficients.shape}"
            )
        if self.covariance is not None and self.covariance.shape != (self.coefficients.size,) * 2:
            raise ValueError(
                f"{self.coefficients.size} coefficients cannot have a covariance of shape {self.covariance.shape}"
            )
        if (self.background is None) != (self.backgroundField is None):
            raise ValueError("background coefficients and backgroundField come together or not at all")
        if self.background is None or self.backgroundField is None:
            return
        nTerms = self.backgroundField.nTerms
        if self.background.shape != (self.background.size if nTerms is None else nTerms,):
            raise ValueError(
                f"a background of order {self.backgroundField.order} has {self.backgroundField.nTerms} "
                f"coefficients, not an array of shape {self.background.shape}"
            )
        if self.backgroundCovariance is not None and self.backgroundCovariance.shape != (self.background.size,) * 2:
            raise ValueError(
                f"{self.background.size} background coefficients cannot have a covariance of shape "
                f"{self.backgroundCovariance.shape}"
            )


@dataclass(frozen=True)
class DetectionPlanes:
    """What the file of a difference holds so that its changes are found there as by the run that made it.

    Parameters
    ----------
    ownVariance
        Variance of the image that was not convolved, (h, w), float32.
    ownMask, matchedMask
        Bits of that image and of the convolved one, (h, w), int32.
    facts
        What else is known, fit for JSON; among it the mask planes of both.
    lentVariance
        What the convolved image lends to the variance of the decorrelated difference, (h, w), float32; None without a
        decorrelation.
    correction
        The kernel that decorrelates.
    ownImage
        The image that was not convolved, (h, w), float32; None where difference and matched image tell it.
    matchedVariance
        Variance of the matched image, (h, w), float32; None where those of difference and own image tell it.
    """

    ownVariance: NDArray[np.float32]
    ownMask: NDArray[np.int32]
    matchedMask: NDArray[np.int32]
    facts: dict[str, Any]
    lentVariance: NDArray[np.float32] | None = None
    correction: KernelTables | None = None
    ownImage: NDArray[np.float32] | None = None
    matchedVariance: NDArray[np.float32] | None = None
