"""The spatial system of pixel regions: solved for any part of the regions and any part of the basis.

The sums, the prior and the solutions are the core's (`_core.SpatialSystem`); here are the model and the sentence of a
failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import KernelSolutionError

__all__ = ["RegionSystem", "SpatialCoefficients", "SpatialModel"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SpatialCoefficients = _core.SpatialSolution
"""A solution: kernel (n, p) over all images of the basis, background (q), covariances of the free parameters."""


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

    @property
    def options(self) -> _core.SpatialModelOptions:
        """The model as the core takes it."""
        return _core.SpatialModelOptions(
            self.images,
            self.kernelOrder,
            self.backgroundOrder,
            self.shapeScale,
            self.variationScale,
            self.widthScale,
        )


def nTerms(order: int) -> int:
    """Return the number of terms of a polynomial of total order `order` in x and y."""
    return (order + 1) * (order + 2) // 2


class RegionSystem:
    """The equations of all regions, summed fold by fold.

    Parameters
    ----------
    equations
        Of the regions, the background last.
    x, y : (regions)
        Their middles, pixels.
    folds : (regions)
        Number of the fold, from 0, that each region is in.
    function
        Spatial functions up to the highest order of any model.
    basisList : (n, h, w)
        Basis images; only the first has a sum.
    kernelNorm
        Expected root of the sum of squares of the kernel: the unit of the prior.
    threads
        Number of threads; the result does not depend on it.
    """

    def __init__(
        self,
        equations: _core.StampEquations,
        x: FloatArray,
        y: FloatArray,
        folds: IntArray,
        function: _core.SpatialFunction,
        basisList: FloatArray,
        kernelNorm: float,
        threads: int = 1,
    ) -> None:
        self.squares, self.folds = equations.squares, folds
        self._parts = equations, x, y, function, basisList, kernelNorm, threads
        self._core = _core.SpatialSystem(equations, x, y, folds, function, basisList, kernelNorm, nThreads=threads)
        self.nFolds = self._core.nFolds

    def refolded(self, folds: IntArray) -> RegionSystem:
        """Return the same equations in other folds."""
        equations, x, y, function, basisList, kernelNorm, threads = self._parts
        return RegionSystem(equations, x, y, folds, function, basisList, kernelNorm, threads)

    def solve(
        self, model: SpatialModel, without: int | None = None, withCovariance: bool = False
    ) -> SpatialCoefficients:
        """Solve for a model from all regions, or all but those of one fold.

        Raises
        ------
        KernelSolutionError
            If the system is zero or not finite. What no region tells, and no prior, takes no part.
        """
        with _told():
            return self._core.solve(
                model.options,
                withCovariance=withCovariance,
                without=None if without is None else self.folds == without,
            )

    def heldOut(self, model: SpatialModel) -> tuple[FloatArray, FloatArray]:
        """Return coefficients (regions, n) and backgrounds (regions), each of a solution without the region's fold."""
        with _told():
            return self._core.heldOut(model.options)[:2]

    def at(self, solution: SpatialCoefficients, regions: Any = slice(None)) -> tuple[FloatArray, FloatArray]:
        """Return the coefficients (regions, n) and backgrounds (regions) of a solution in the middles of regions."""
        coefficients, backgrounds = self._core.at(solution)
        return coefficients[regions], backgrounds[regions]

    def chiSquares(self, coefficients: FloatArray, backgrounds: FloatArray, regions: Any = slice(None)) -> FloatArray:
        """Return chi-square (regions) of coefficients (regions, n) and backgrounds (regions)."""
        allCoefficients = np.zeros((self.folds.size, coefficients.shape[1]))
        allBackgrounds = np.zeros(self.folds.size)
        allCoefficients[regions], allBackgrounds[regions] = coefficients, backgrounds
        chiSquares: FloatArray = self._core.chiSquares(allCoefficients, allBackgrounds)[regions]
        return chiSquares

    def lightGain(self, solution: SpatialCoefficients) -> float:
        """Return by how much a solution's chi-square is below that of the background alone."""
        return self._core.lightGain(solution)


@contextmanager
def _told() -> Iterator[None]:
    """Turn the core's error into one that says what may help."""
    try:
        yield
    except _core.NumericalError as error:
        raise KernelSolutionError(
            f"{error}. Try a lower spatialKernelOrder or spatialBgOrder, or more stars."
        ) from error
