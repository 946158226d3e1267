"""The matching kernel as a function of position.

``K(x, y; u, v) = sum_i a_i(x, y) K_i(u, v)``, with ``a_i`` polynomials or B-splines of the pixel position
(parent frame, pixel centres at integers). Kernels act as correlations:
``out[y, x] = sum_vu K[v, u] in[y + v - cy, x + u - cx]``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core, io
from psfmatch.config.equality import ByValue
from psfmatch.images import Box, Mask, MaskedImage
from psfmatch.kernels.solutions import kernelVariance
from psfmatch.kernels.spatialFunction import (
    RAW_PIXELS,
    SpatialFunction2D,
    coreFunction,
    fieldOf,
    frameOf,
    functionOfField,
    orderOf,
    spatialFunctionOf,
    tupleOf,
)
from psfmatch.threads import resolveThreads

__all__ = ["EdgeHandling", "LinearCombinationKernel", "backgroundFromTables"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EdgeHandling:
    """What a convolution does where pixels cannot be computed, and how bad pixels spread.

    copyEdge : the border of half a kernel copies the input and gets EDGE; else NaN, infinite variance, NO_DATA.
    badPlanes : planes whose pixels are filled before convolving and spread by fraction.
    maskedKernelFraction : share of sum |K| that pixels of a bad plane must hold for the output to get the plane;
        0 spreads every plane over the whole footprint.
    safeKernelFraction : the same for all bad pixels together, those that stand alone in even light included, which
        count in nothing else; 0: they count as all others do.
    """

    copyEdge: bool = False
    badPlanes: tuple[str, ...] = ("BAD", "SAT", "CR", "EDGE", "NO_DATA")
    maskedKernelFraction: float = 0.01
    safeKernelFraction: float = 0.0


class LinearCombinationKernel(ByValue):
    """A kernel that is a sum of basis images whose coefficients are functions of position.

    Parameters
    ----------
    basis : (n, h, w) float64
        Basis images of odd sides.
    parameters : (n, p)
        Coefficients of each basis image: for polynomials those of `frame`'s scaled coordinates (raw pixels unless
        a frame is given), for Chebyshev functions those over `bbox`.
    model : "chebyshev1" or "polynomial"
    bbox
        The box over which Chebyshev functions are defined (or pass `frame`); not needed for one parameter each.
    frame
        (xCentre, yCentre, xScale, yScale) of the scaled coordinates.
    covariance : (n p, n p), optional
        Covariance of the parameters of the scaled coordinates, row by row of `parameters`.
    function : optional
        The functions of position instead of `model`, `bbox` and `frame`, e.g. those of another kernel
        (`coreFunction`) or of a `BSpline2D`.

    Raises
    ------
    ValueError
        If shapes do not belong together, a side is even, or Chebyshev functions lack their box.
    """

    def __init__(
        self,
        basis: npt.ArrayLike,
        parameters: npt.ArrayLike,
        model: str = "chebyshev1",
        bbox: Box | None = None,
        frame: tuple[float, float, float, float] | None = None,
        covariance: npt.ArrayLike | None = None,
        function: _core.SpatialFunction | None = None,
    ) -> None:
        self._basis = np.array(basis, dtype=np.float64, order="C")
        if self._basis.ndim != 3:
            raise ValueError(f"basis has shape {self._basis.shape}, must be (n, height, width)")
        if self._basis.size == 0 or self._basis.shape[1] % 2 == 0 or self._basis.shape[2] % 2 == 0:
            raise ValueError(f"basis has shape {self._basis.shape}, must hold at least one image of odd sides")
        self._parameters = np.atleast_2d(np.array(parameters, dtype=np.float64))
        if self._parameters.ndim != 2:
            raise ValueError(f"parameters have shape {self._parameters.shape}, must be (n, p)")
        if self._parameters.shape[0] != self._basis.shape[0]:
            raise ValueError(f"{self._parameters.shape[0]} rows of parameters for {self._basis.shape[0]} basis images")
        self._function = function or _polynomials(self._parameters.shape[1], model, bbox, frame)
        if self._parameters.shape[1] != self._function.size:
            raise ValueError(
                f"{self._parameters.shape[1]} columns of parameters for {self._function.size} functions of "
                f"{self._function.told}"
            )
        self._covariance = None if covariance is None else np.array(covariance, dtype=np.float64)
        if self._covariance is not None and self._covariance.shape != (self._parameters.size,) * 2:
            raise ValueError(
                f"covariance has shape {self._covariance.shape}, must be square with a row for each of the "
                f"{self._parameters.size} parameters"
            )

    @property
    def model(self) -> str:
        """Kind of the functions of position, as `SpatialFunction2D.model`."""
        return self._function.name

    @property
    def order(self) -> int:
        """Total order of polynomials, degree of B-splines."""
        return self._function.order

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """(xCentre, yCentre, xScale, yScale) of the scaled coordinates."""
        return tupleOf(self._function.frame)

    @property
    def basis(self) -> FloatArray:
        """Basis images, (n, h, w)."""
        return self._basis.copy()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the kernel in pixels."""
        return (self._basis.shape[1], self._basis.shape[2])

    @property
    def covariance(self) -> FloatArray | None:
        """Covariance (n p, n p) of `scaledParameters`, row by row; None unless it was asked for."""
        return None if self._covariance is None else self._covariance.copy()

    @property
    def coreFunction(self) -> _core.SpatialFunction:
        """The spatial functions, for the core."""
        return self._function

    @property
    def isVarying(self) -> bool:
        """True if the kernel depends on position."""
        return self._function.size > 1

    @property
    def spatialParameters(self) -> FloatArray:
        """Coefficients (n, p) as reported: of raw pixel coordinates for polynomials."""
        if self.model == "polynomial":
            return _core.changeFrame(self._parameters, self._function, _core.Frame(*RAW_PIXELS))
        return self._parameters.copy()

    @property
    def scaledParameters(self) -> FloatArray:
        """Coefficients (n, p) of the scaled coordinates of `frame`."""
        return self._parameters.copy()

    def coefficients(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Return the coefficients a_i at N positions (pixels) as an (N, n) array."""
        return _core.kernelCoefficients(self._parameters, self._function, np.atleast_1d(x), np.atleast_1d(y))

    def computeImage(self, x: float, y: float) -> FloatArray:
        """Return the kernel (h, w) that belongs to the output pixel at (x, y), parent pixels."""
        return self.computeImages([x], [y]).reshape(self.shape)

    def computeImages(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Return the kernels (N, h, w) at N positions."""
        return _core.kernelImages(self._basis, self._parameters, self._function, np.atleast_1d(x), np.atleast_1d(y))

    def kernelSum(self, x: float, y: float) -> float:
        """Return the sum of the kernel at (x, y): the ratio of fluxes after and before the convolution."""
        return float(self.computeImage(x, y).sum())

    def reach(self, box: Box, fraction: float) -> int:
        """Return the half side of the smallest square about the middle that holds all of the kernel but a fraction.

        Of sum |K|, at the corners of a box, in the middle of its sides and at its centre; the largest of them.
        """
        x, y = np.meshgrid(np.linspace(box.x0, box.x1 - 1, 3), np.linspace(box.y0, box.y1 - 1, 3))
        height, width = self.shape
        rows, columns = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
        ring = np.maximum(rows[:, np.newaxis], columns).ravel()
        reach = 0
        for image in np.abs(self.computeImages(x.ravel(), y.ravel())):
            within = np.cumsum(np.bincount(ring, image.ravel()))
            reach = max(reach, int(np.searchsorted(within, (1.0 - fraction) * within[-1])))
        return min(reach, int(ring.max()))

    def trimmed(self, half: int) -> LinearCombinationKernel:
        """Return the kernel without what lies farther than so many pixels from its middle; itself if nothing does."""
        height, width = self.shape
        top, left = max(0, height // 2 - half), max(0, width // 2 - half)
        if top == left == 0:
            return self
        basis = self._basis[:, top : height - top, left : width - left]
        return LinearCombinationKernel(basis, self._parameters, covariance=self._covariance, function=self._function)

    def computeSigmaImage(self, x: float, y: float) -> FloatArray:
        """Return the standard deviation of every pixel of the kernel at (x, y), (h, w).

        Raises
        ------
        RuntimeError
            If the kernel has no covariance: set ``calculateKernelUncertainty``.
        """
        return np.sqrt(kernelVariance(self._basis, self.coefficientCovariance(x, y)))

    def kernelSumSigma(self, x: float, y: float) -> float:
        """Return the standard deviation of the kernel sum at (x, y); errors as `computeSigmaImage`."""
        sums = self._basis.sum(axis=(1, 2))
        return math.sqrt(max(0.0, float(sums @ self.coefficientCovariance(x, y) @ sums)))

    def coefficientCovariance(self, x: float, y: float) -> FloatArray:
        """Return the covariance (n, n) of the coefficients a_i(x, y); errors as `computeSigmaImage`."""
        if self._covariance is None:
            raise RuntimeError("the kernel has no covariance; set calculateKernelUncertainty before it is fitted")
        terms = self._function.evaluate(np.atleast_1d(x), np.atleast_1d(y))[0]
        n, p = self._parameters.shape
        covariance: FloatArray = np.einsum("isjt,s,t->ij", self._covariance.reshape(n, p, n, p), terms, terms)
        return covariance

    def convolve(
        self,
        maskedImage: MaskedImage,
        edges: EdgeHandling | None = None,
        *,
        normalize: bool = False,
        instructionSet: str = "automatic",
        threads: int | None = None,
    ) -> MaskedImage:
        """Convolve image, variance (with K squared) and mask; the kernel is exact at every output pixel.

        Parameters
        ----------
        maskedImage
            Input; not changed. Its bad pixels are filled from their neighbours first.
        edges
            Border and bad pixels.
        normalize
            Divide by the kernel sum at every pixel.
        instructionSet
            "automatic", "baseline" or "avx2".
        threads
            Number of threads; the result does not depend on it.

        Raises
        ------
        ValueError
            If the image is smaller than the kernel.
        """
        edges = edges or EdgeHandling()
        if instructionSet not in ("automatic", "baseline", "avx2"):
            raise ValueError(f"instruction set {instructionSet!r} is unknown; choose automatic, baseline or avx2")
        planes = maskedImage.mask.planes
        image, variance, mask = _core.convolve(
            maskedImage.image,
            maskedImage.variance,
            np.asarray(maskedImage.mask),
            self._basis,
            self._parameters,
            self._function,
            maskedImage.xy0[0],
            maskedImage.xy0[1],
            copyEdge=edges.copyEdge,
            normalize=normalize,
            maskedKernelFraction=edges.maskedKernelFraction,
            safeKernelFraction=edges.safeKernelFraction,
            badBits=maskedImage.mask.getPlaneBitMask(edges.badPlanes, ignoreMissing=True),
            edgeBit=1 << planes["EDGE"],
            noDataBit=1 << planes["NO_DATA"],
            interpolatedBit=1 << planes["INTRP"],
            instructionSet=_core.InstructionSet[instructionSet],
            nThreads=resolveThreads(threads),
        )
        return MaskedImage(image, Mask.ofBits(mask, planes), variance, xy0=maskedImage.xy0)

    def writeFits(
        self, path: str | PathLike[str], background: SpatialFunction2D | None = None, *, overwrite: bool = True
    ) -> None:
        """Write the kernel and, if given, the differential background as FITS tables, with all covariances, exactly.

        `psfmatch.StoredKernel` also writes how the kernel was applied. FileExistsError if the file exists and
        `overwrite` is false.
        """
        io.formOf(path, io.FITS_FILES)
        io.writeKernelTables(path, self.toTables(background), overwrite=overwrite)

    @classmethod
    def readFits(cls, path: str | PathLike[str]) -> LinearCombinationKernel:
        """Read the kernel from a file of `writeFits` or from a difference image of psfmatch.

        `psfmatch.StoredKernel.readFits` reads the background too.

        Raises
        ------
        FileNotFoundError, ExposureReadError
            If there is no such file, or no kernel in it.
        """
        return cls.fromTables(io.readKernelTables(path))

    @classmethod
    def fromTables(cls, tables: io.KernelTables) -> LinearCombinationKernel:
        """Make the kernel of which `toTables` made `tables`."""
        function = functionOfField(tables.spatialField)
        return cls(tables.basis, tables.coefficients, covariance=tables.covariance, function=function)

    def toTables(
        self, background: SpatialFunction2D | None = None, recipe: Mapping[str, Any] | None = None
    ) -> io.KernelTables:
        """Return what goes to disk: the kernel and, if given, the differential background and how both were used."""
        return io.KernelTables(
            basis=self._basis,
            coefficients=self._parameters,
            spatialField=fieldOf(self._function),
            background=None if background is None else background.scaledParameters,
            backgroundField=None if background is None else fieldOf(background.coreFunction),
            covariance=self._covariance,
            backgroundCovariance=None if background is None else background.covariance,
            recipe=None if recipe is None else dict(recipe),
        )

    def __repr__(self) -> str:
        n, h, w = self._basis.shape
        return f"LinearCombinationKernel({n} functions, {w}x{h} px, {self.model} of {self._function.told})"


def backgroundFromTables(tables: io.KernelTables) -> SpatialFunction2D | None:
    """Return the differential background that `LinearCombinationKernel.toTables` was given; None if there was none."""
    field = tables.backgroundField
    if tables.background is None or field is None:
        return None
    return spatialFunctionOf(functionOfField(field), tables.background, tables.backgroundCovariance)


def _polynomials(
    nParameters: int, model: str, bbox: Box | None, frame: tuple[float, float, float, float] | None
) -> _core.SpatialFunction:
    """Return the polynomials of so many parameters, over a box or in a frame."""
    if model not in ("chebyshev1", "polynomial"):
        raise ValueError(f"spatial model {model!r} is unknown; choose 'chebyshev1' or 'polynomial'")
    order = orderOf(nParameters)
    if frame is None:
        if bbox is not None and model == "chebyshev1":
            frame = frameOf(bbox)
        elif model == "polynomial" or order == 0:
            frame = RAW_PIXELS
        else:
            raise ValueError("Chebyshev functions need the bbox (or frame) over which they are defined")
    return coreFunction(model, order, frame)
