"""The spatial system of pixel regions: solved for any part of the regions and any part of the basis.

The normal equations of the regions are made once; every model - fewer basis images, lower orders, a stronger prior -
and every fold of a cross-validation is a sum over them (Alard 2000, A&AS 144, 363, eq. 6). Two things keep few stars
from fitting their own noise:

- a normal prior on the kernel of zero mean, on its shape and on its variation over the field (`prior`);
- the template's noise, which is convolved like light: its expected part of the normal matrix, w var_T K_i . K_j,
  pulls the kernel to zero (errors in variables; Fuller 1987, Measurement Error Models). It is wanted where nothing else
  tells the kernel, for it keeps noise from being amplified, and not in the kernel sum: the system is solved twice, the
  second time pulled to the first solution (iterated Tikhonov), which leaves the square of the bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import KernelSolutionError
from psfmatch.regions.prior import precisionOf, wideningOf
from psfmatch.threads import mapThreads

__all__ = ["RegionSystem", "SpatialCoefficients", "SpatialModel"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
RIDGE = 1e-10
"""Of the scaled normal matrix, in units of its diagonal: far below all noise, above the rounding."""
ORDER_DECAY = 0.5
"""Each order of the variation over the field is expected to be this much smaller than the one before."""


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


@dataclass(frozen=True, eq=False)
class SpatialCoefficients:
    """A solution: kernel (n, p) over all images of the basis, background (q), covariance of the free parameters."""

    model: SpatialModel
    kernel: FloatArray
    background: FloatArray
    conditionNumber: float
    kernelSumError: float
    kernelCovariance: FloatArray | None = None
    backgroundCovariance: FloatArray | None = None


def nTerms(order: int) -> int:
    """Return the number of terms of a polynomial of total order `order` in x and y."""
    return (order + 1) * (order + 2) // 2


def degreesOf(order: int) -> IntArray:
    """Return the total degree of each term of a polynomial, in their sequence: 1; x, y; x^2, xy, y^2; ..."""
    return np.repeat(np.arange(order + 1), np.arange(1, order + 2))


@dataclass(frozen=True, eq=False)
class _Equations:
    """What the solutions of one model, with and without a fold, have in common.

    Its free parameters are the first image's constant term, those of the other images, image by image, and those of
    the background. images (m) : which; free (m p + q) : which of all parameters are free; index, spreads (N, N) : where
    in the sums of a fold the elements of the normal matrix and of the template's noise lie; sides (N) : those of the
    right-hand side; gram, prior (N, N) : scalar products of images, inverse covariance of the prior; 0 for the
    background; matrix, side, noise : the sums of all regions.
    """

    images: IntArray
    free: BoolArray
    index: IntArray
    sides: IntArray
    spreads: IntArray
    gram: FloatArray
    prior: FloatArray
    matrix: FloatArray
    side: FloatArray
    noise: FloatArray


class RegionSystem:
    """The equations of all regions, summed fold by fold.

    Parameters
    ----------
    matrices : (regions, n + 1, n + 1)
        Normal matrices, the background last.
    rightHandSides : (regions, n + 1)
    squares : (regions)
        Sums of w d^2, which make a chi-square of them.
    noise : (regions)
        Sums of w var_T.
    folds : (regions)
        Number of the fold, from 0, that each region is in.
    terms : (p, regions)
        Spatial functions in the middles of the regions, up to the highest order of any model.
    basisList : (n, h, w)
        Basis images; only the first has a sum.
    kernelNorm
        Expected root of the sum of squares of the kernel: the unit of the prior.
    threads
        Number of threads; the result does not depend on it.
    """

    def __init__(
        self,
        matrices: FloatArray,
        rightHandSides: FloatArray,
        squares: FloatArray,
        noise: FloatArray,
        folds: IntArray,
        terms: FloatArray,
        basisList: FloatArray,
        kernelNorm: float,
        threads: int = 1,
    ) -> None:
        self.matrices, self.rightHandSides, self.squares, self.noise = matrices, rightHandSides, squares, noise
        self.folds, self.terms, self.basisList = folds, terms, basisList
        self.n = len(basisList)
        images = basisList.reshape(self.n, -1)
        self.gram = images @ images.T
        self.kernelNorm = kernelNorm
        self.threads = threads
        self.nFolds = int(folds.max()) + 1
        self._widenings: dict[tuple[tuple[int, ...], float], FloatArray] = {}
        # Lower orders are the first terms of higher ones, fewer images a part of all: these sums serve every model.
        # Products of two terms come in either sequence: one of them is summed.
        size, p = matrices.shape[1], len(terms)
        first, second = np.triu_indices(p)
        self._pairs = np.zeros((p, p), dtype=np.int64)
        self._pairs[first, second] = self._pairs[second, first] = np.arange(first.size)
        self._sums = np.empty((self.nFolds, first.size, size, size))
        self._sides = np.empty((self.nFolds, p, size))
        self._noise = np.empty((self.nFolds, p, p))

        def add(fold: int) -> None:
            inside = np.flatnonzero(folds == fold)
            f = terms[:, inside]
            products = (f[first] * f[second]) @ matrices[inside].reshape(inside.size, -1)
            self._sums[fold] = products.reshape(-1, size, size)
            self._sides[fold] = f @ rightHandSides[inside]
            self._noise[fold] = (f * noise[inside]) @ f.T

        mapThreads(add, range(self.nFolds), threads)
        self._totals = self._sums.sum(axis=0), self._sides.sum(axis=0), self._noise.sum(axis=0)

    def refolded(self, folds: IntArray) -> RegionSystem:
        """Return the same equations in other folds."""
        return RegionSystem(
            self.matrices,
            self.rightHandSides,
            self.squares,
            self.noise,
            folds,
            self.terms,
            self.basisList,
            self.kernelNorm,
            self.threads,
        )

    def solve(
        self, model: SpatialModel, without: int | None = None, withCovariance: bool = False
    ) -> SpatialCoefficients:
        """Solve for a model from all regions, or all but those of one fold.

        Raises
        ------
        KernelSolutionError
            If the system is zero or not finite. What no region tells, and no prior, takes no part.
        """
        return self._solved(model, self._equations(model), without, withCovariance)

    def _solved(
        self, model: SpatialModel, equations: _Equations, without: int | None, withCovariance: bool = False
    ) -> SpatialCoefficients:
        matrix, side, noise = equations.matrix, equations.side, equations.noise
        if without is not None:
            matrix = matrix - self._sums[without].take(equations.index)
            side = side - self._sides[without].take(equations.sides)
            noise = noise - self._noise[without].take(equations.spreads)
        noise = equations.gram * noise
        penalised = matrix + equations.prior
        np.einsum("ii->i", penalised)[...] *= 1.0 + RIDGE
        try:
            factor = _core.SymmetricFactor(penalised)
        except _core.NumericalError as error:
            raise KernelSolutionError(
                f"the spatial kernel of order {model.kernelOrder} could not be solved from {self.folds.size} regions: "
                f"{error}. Try a lower spatialKernelOrder or spatialBgOrder, or more stars."
            ) from error
        values = factor.solve(side)
        values = values + factor.solve(side + noise @ values - penalised @ values)
        images, free, p = equations.images, equations.free, nTerms(model.kernelOrder)
        nKernel = images.size * p
        full = np.zeros(free.size)
        full[free] = values
        kernel = np.zeros((self.n, p))
        kernel[images] = full[:nKernel].reshape(-1, p)
        if not withCovariance:
            return SpatialCoefficients(model, kernel, full[nKernel:], np.nan, np.nan)
        covariance = factor.sandwich(matrix)
        kernelCovariance = np.zeros((self.n * p, self.n * p))
        rows = (images[:, None] * p + np.arange(p)).ravel()[free[:nKernel]]
        kernelCovariance[np.ix_(rows, rows)] = covariance[: rows.size, : rows.size]
        return SpatialCoefficients(
            model,
            kernel,
            full[nKernel:],
            factor.conditionNumber,
            float(np.sqrt(max(0.0, covariance[0, 0]))),
            kernelCovariance,
            covariance[rows.size :, rows.size :],
        )

    def _equations(self, model: SpatialModel) -> _Equations:
        """Return what all solutions of a model share."""
        images = np.array(model.images)
        m, p, q = images.size, nTerms(model.kernelOrder), nTerms(model.backgroundOrder)
        free = np.ones(m * p + q, dtype=bool)
        free[1:p] = False  # the kernel sum is constant
        # Image (n: the background) and term of each parameter.
        image = np.append(np.repeat(images, p), np.full(q, self.n))[free]
        term = np.append(np.tile(np.arange(p), m), np.arange(q))[free]
        size, nTermsOfAll = self.n + 1, len(self.terms)
        index = (self._pairs[np.ix_(term, term)] * size + image[:, None]) * size + image
        # Elements below the diagonal are those above it, to the last bit.
        index = np.triu(index) + np.triu(index, 1).T
        isKernel = image < self.n
        gram = np.zeros(index.shape)
        gram[np.ix_(isKernel, isKernel)] = self.gram[np.ix_(image[isKernel], image[isKernel])]
        sides, spreads = term * size + image, term[:, None] * nTermsOfAll + term
        parts = zip(self._totals, (index, sides, spreads), strict=True)
        matrix, side, noise = (sums.take(places) for sums, places in parts)
        return _Equations(
            images, free, index, sides, spreads, gram, self._prior(model)[np.ix_(free, free)], matrix, side, noise
        )

    def _prior(self, model: SpatialModel) -> FloatArray:
        """Return the inverse covariance of the prior; the kernel sum and the background have none."""
        images = np.array(model.images)
        m, p, q = images.size, nTerms(model.kernelOrder), nTerms(model.backgroundOrder)
        prior = np.zeros((m * p + q, m * p + q))
        gram, norm = self.gram[np.ix_(images, images)], self.kernelNorm
        for term, degree in enumerate(degreesOf(model.kernelOrder).tolist()):
            rows = np.arange(m) * p + term
            if degree == 0:
                precision = precisionOf(gram, model.shapeScale * norm)
            else:
                unit = norm * ORDER_DECAY ** (degree - 1)
                precision = precisionOf(
                    gram, model.variationScale * unit, self._widening(model), model.widthScale * unit
                )
            prior[np.ix_(rows, rows)] = precision
        return prior

    def _widening(self, model: SpatialModel) -> FloatArray:
        """Return how the kernel changes with its width, (m): that which all regions, folds or not, have in the mean."""
        key = model.images, model.shapeScale
        if key not in self._widenings:
            constant = self.solve(replace(model, kernelOrder=0, backgroundOrder=0))
            images = np.array(model.images)
            self._widenings[key] = wideningOf(constant.kernel[images, 0], self.basisList[images])
        return self._widenings[key]

    def at(self, solution: SpatialCoefficients, regions: Any = slice(None)) -> tuple[FloatArray, FloatArray]:
        """Return the coefficients (regions, n) and backgrounds (regions) of a solution in the middles of regions."""
        p, q = solution.kernel.shape[1], solution.background.size
        return (solution.kernel @ self.terms[:p, regions]).T, solution.background @ self.terms[:q, regions]

    def chiSquares(self, coefficients: FloatArray, backgrounds: FloatArray, regions: Any = slice(None)) -> FloatArray:
        """Return chi-square (regions) of coefficients (regions, n) and backgrounds (regions)."""
        values = np.column_stack([coefficients, backgrounds])
        products = np.matmul(self.matrices[regions], values[:, :, None])[:, :, 0]
        result: FloatArray = (
            (products * values).sum(axis=1)
            - 2.0 * (self.rightHandSides[regions] * values).sum(axis=1)
            + self.squares[regions]
        )
        return result

    def lightGain(self, solution: SpatialCoefficients) -> float:
        """Return by how much a solution's chi-square is below that of the background alone."""
        q = solution.background.size
        sums, sides, _ = self._totals
        matrix = sums[self._pairs[:q, :q], self.n, self.n]
        background = np.linalg.lstsq(matrix, sides[:q, self.n], rcond=None)[0]
        alone = self.chiSquares(np.zeros((self.folds.size, self.n)), background @ self.terms[:q])
        return float((alone - self.chiSquares(*self.at(solution))).sum())

    def heldOut(self, model: SpatialModel) -> tuple[FloatArray, FloatArray]:
        """Return coefficients (regions, n) and backgrounds (regions), each of a solution without the region's fold."""
        coefficients, backgrounds = np.empty((self.folds.size, self.n)), np.empty(self.folds.size)
        equations = self._equations(model)

        def holdOut(fold: int) -> None:
            inside = np.flatnonzero(self.folds == fold)
            coefficients[inside], backgrounds[inside] = self.at(self._solved(model, equations, fold), inside)

        mapThreads(holdOut, range(self.nFolds), self.threads)
        return coefficients, backgrounds
