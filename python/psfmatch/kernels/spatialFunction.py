"""Functions of position on the image: polynomials, B-splines, or the functions of two kinds together.

All are evaluated in scaled coordinates, so that they stay well conditioned wherever the image lies. What the functions
are is known to the core (`SpatialFunction`) alone; a class here is a face of one kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config.equality import ByValue
from psfmatch.images import Box
from psfmatch.io import SpatialField

__all__ = [
    "RAW_PIXELS",
    "BSpline2D",
    "Chebyshev2D",
    "Polynomial2D",
    "SpatialFunction2D",
    "fieldOf",
    "frameOf",
    "functionOfField",
    "makeSpatialFunction",
    "spatialFunctionOf",
]

FloatArray = npt.NDArray[np.float64]
ModelName = Literal["chebyshev1", "polynomial"]
POLYNOMIALS = ("chebyshev1", "polynomial")
RAW_PIXELS = (0.0, 0.0, 1.0, 1.0)
"""The frame of raw pixel coordinates: (xCentre, yCentre, xScale, yScale)."""


def frameOf(bbox: Box) -> tuple[float, float, float, float]:
    """Return (xCentre, yCentre, xScale, yScale) of the frame in which the area of `bbox` is [-1, 1] squared."""
    frame = _core.frameOf(bbox.x0, bbox.y0, bbox.width, bbox.height)
    return (frame.xCentre, frame.yCentre, frame.xScale, frame.yScale)


def coreFunction(model: str, order: int, frame: tuple[float, float, float, float]) -> _core.SpatialFunction:
    return _core.SpatialFunction(_core.SpatialModel[model], order, _core.Frame(*frame))


def orderOf(nParameters: int) -> int:
    """Return the order whose (order + 1)(order + 2) / 2 terms are `nParameters`; ValueError if there is none."""
    order = 0
    while (order + 1) * (order + 2) // 2 < nParameters:
        order += 1
    if (order + 1) * (order + 2) // 2 != nParameters:
        raise ValueError(f"{nParameters} parameters: a two-dimensional function has 1, 3, 6, 10, 15, ... of them")
    return order


def fieldOf(function: _core.SpatialFunction) -> SpatialField:
    """Return what a file keeps of functions of position."""
    numbers = () if function.name in POLYNOMIALS else function.numbers
    return SpatialField(function.name, function.order, *tupleOf(function.frame), numbers=numbers)


def functionOfField(field: SpatialField) -> _core.SpatialFunction:
    """Return the functions of which `fieldOf` made `field`; ValueError for a kind or numbers that do not fit."""
    if field.numbers:
        return _core.SpatialFunction(field.model, field.numbers)
    return coreFunction(field.model, field.order, (field.xCentre, field.yCentre, field.xScale, field.yScale))


def tupleOf(frame: _core.Frame) -> tuple[float, float, float, float]:
    return (frame.xCentre, frame.yCentre, frame.xScale, frame.yScale)


class SpatialFunction2D(ByValue):
    """A sum of two-dimensional functions of position; `f(x, y)` evaluates it with broadcasting.

    Parameters
    ----------
    function
        The functions, as the core has them.
    parameters : (q,)
        Their coefficients.
    covariance : (q, q), optional
        Covariance of `parameters`.
    """

    def __init__(
        self,
        function: _core.SpatialFunction,
        parameters: npt.ArrayLike,
        covariance: npt.ArrayLike | None = None,
    ) -> None:
        self._scaledParameters = np.array(parameters, dtype=np.float64).ravel()
        if self._scaledParameters.size != function.size:
            raise ValueError(
                f"{self._scaledParameters.size} parameters for {function.size} functions of {function.told}"
            )
        self._function = function
        self._covariance = None if covariance is None else np.array(covariance, dtype=np.float64)
        if self._covariance is not None and self._covariance.shape != (self._scaledParameters.size,) * 2:
            raise ValueError(
                f"covariance has shape {self._covariance.shape}, must be square with a row for each of the "
                f"{self._scaledParameters.size} parameters"
            )

    @property
    def model(self) -> str:
        """Kind of the functions: "chebyshev1", "polynomial", "bspline", or several with a plus sign between."""
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
    def parameters(self) -> FloatArray:
        """Coefficients as reported, (q,): of raw pixel coordinates for polynomials."""
        return self._scaledParameters.copy()

    @property
    def scaledParameters(self) -> FloatArray:
        """Coefficients of the scaled coordinates of `frame`, (q,)."""
        return self._scaledParameters.copy()

    @property
    def covariance(self) -> FloatArray | None:
        """Covariance (q, q) of `scaledParameters`; None unless it was asked for."""
        return None if self._covariance is None else self._covariance.copy()

    @property
    def coreFunction(self) -> _core.SpatialFunction:
        """The functions that `scaledParameters` multiply, as the core takes them."""
        return self._function

    def sigma(self, x: float, y: float) -> float:
        """Return the standard deviation of the value at (x, y); RuntimeError without a covariance."""
        if self._covariance is None:
            raise RuntimeError("the function has no covariance; set calculateKernelUncertainty before it is fitted")
        terms = self.coreFunction.evaluate(np.atleast_1d(x), np.atleast_1d(y))[0]
        return math.sqrt(max(0.0, float(terms @ self._covariance @ terms)))

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray | float:
        """Return the value at (x, y), parent pixels, with broadcasting."""
        xs, ys = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        values = self._function.evaluate(xs.ravel(), ys.ravel()) @ self._scaledParameters
        return float(values[0]) if xs.ndim == 0 else values.reshape(xs.shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(order={self.order}, parameters={self.parameters})"


class _Polynomials(SpatialFunction2D):
    """Polynomials of total order at most `order`, in the sequence 1; x, y; x^2, xy, y^2; ..."""

    name: ClassVar[ModelName]

    def __init__(
        self,
        parameters: npt.ArrayLike,
        frame: tuple[float, float, float, float],
        covariance: npt.ArrayLike | None = None,
    ) -> None:
        given = np.array(parameters, dtype=np.float64).ravel()
        super().__init__(coreFunction(self.name, orderOf(given.size), frame), given, covariance)

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray | float:
        """Return the value at (x, y), parent pixels, with broadcasting."""
        x = np.asarray(x, dtype=np.float64)
        y = np.asarray(y, dtype=np.float64)
        # f = sum_i X_i(x) c_i(y)
        alongX = self._axisValues((x - self.frame[0]) / self.frame[2])
        alongY = self._axisValues((y - self.frame[1]) / self.frame[3])
        rows = np.zeros((self.order + 1, *y.shape))
        term = 0
        for degree in range(self.order + 1):
            for j in range(degree + 1):
                rows[degree - j] += self._scaledParameters[term] * alongY[j]
                term += 1
        value = sum(rows[i] * alongX[i] for i in range(self.order + 1))
        return float(value) if np.ndim(value) == 0 else np.asarray(value)

    def _axisValues(self, u: FloatArray) -> FloatArray:
        values = np.ones((self.order + 1, *u.shape))
        for degree in range(1, self.order + 1):
            values[degree] = u * values[degree - 1]
            if self.name == "chebyshev1" and degree > 1:
                values[degree] = 2.0 * values[degree] - values[degree - 2]
        return values


class Chebyshev2D(_Polynomials):
    """Chebyshev polynomials of the first kind over a box, from half a pixel before to half a pixel after it.

    Parameters
    ----------
    parameters : (q,)
        Coefficients of T_i(x') T_j(y') in the sequence of their total degree.
    frame
        (xCentre, yCentre, xScale, yScale) of the scaled coordinates in which `parameters` are meant.
    covariance : (q, q), optional
        Covariance of `parameters`.
    """

    name = "chebyshev1"


class Polynomial2D(_Polynomials):
    """A plain polynomial; kept in scaled coordinates, reported in raw pixels."""

    name = "polynomial"

    def __init__(
        self,
        parameters: npt.ArrayLike,
        frame: tuple[float, float, float, float] = RAW_PIXELS,
        covariance: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__(parameters, frame, covariance)

    @property
    def parameters(self) -> FloatArray:
        """Coefficients of the monomials of raw pixel coordinates, (q,)."""
        rawPixels = _core.Frame(*RAW_PIXELS)
        raw: FloatArray = _core.changeFrame(self._scaledParameters[np.newaxis], self.coreFunction, rawPixels)
        return raw.reshape(-1)


class BSpline2D(SpatialFunction2D):
    """B-splines over a box: tensor products of the functions 1 and 2 C_j - 1 of x and of y.

    C_j is the sum of the B-splines from number j on. First comes 1, then those of x, those of y, and their products.

    Parameters
    ----------
    parameters : (q,)
        With n knots along a coordinate there are n + degree + 1 functions of it; q is the product of both numbers.
    degree
        Of the pieces; 0: a step at every knot.
    xKnots, yKnots
        Knots within the box, which is [-1, 1] in scaled coordinates; they rise.
    frame
        (xCentre, yCentre, xScale, yScale) of the scaled coordinates.
    covariance : (q, q), optional
        Covariance of `parameters`.

    Examples
    --------
    >>> from psfmatch.kernels import BSpline2D
    >>> step = BSpline2D([1.0, 0.25], 0, [0.0], [], (50.0, 50.0, 50.0, 50.0))
    >>> step(20.0, 10.0), step(80.0, 10.0)
    (0.75, 1.25)
    """

    def __init__(
        self,
        parameters: npt.ArrayLike,
        degree: int,
        xKnots: Sequence[float],
        yKnots: Sequence[float],
        frame: tuple[float, float, float, float],
        covariance: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__(
            _core.SpatialFunction.bSplines(degree, xKnots, yKnots, _core.Frame(*frame)), parameters, covariance
        )


def spatialFunctionOf(
    function: _core.SpatialFunction, parameters: npt.ArrayLike, covariance: npt.ArrayLike | None = None
) -> SpatialFunction2D:
    """Return the sum of the core's functions with these parameters, with the face of their kind."""
    if function.name in POLYNOMIALS:
        return makeSpatialFunction(function.name, parameters, tupleOf(function.frame), covariance)
    return SpatialFunction2D(function, parameters, covariance)


def makeSpatialFunction(
    model: str,
    parameters: npt.ArrayLike,
    frame: tuple[float, float, float, float],
    covariance: npt.ArrayLike | None = None,
) -> SpatialFunction2D:
    """Return the `Chebyshev2D` or `Polynomial2D` with these scaled parameters; ValueError for another model."""
    if model == "chebyshev1":
        return Chebyshev2D(parameters, frame, covariance)
    if model == "polynomial":
        return Polynomial2D(parameters, frame, covariance)
    raise ValueError(f"spatial model {model!r} is unknown; choose 'chebyshev1' or 'polynomial'")
