"""Functions of position on the image: sums of monomials or of products of Chebyshev polynomials.

Both are evaluated in scaled coordinates, so that they stay well conditioned wherever the image lies.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.config.equality import ByValue
from psfmatch.images import Box

__all__ = ["RAW_PIXELS", "Chebyshev2D", "Polynomial2D", "SpatialFunction2D", "frameOf", "makeSpatialFunction"]

FloatArray = npt.NDArray[np.float64]
ModelName = Literal["chebyshev1", "polynomial"]
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


class SpatialFunction2D(ByValue):
    """A sum of two-dimensional functions of position; `f(x, y)` evaluates it with broadcasting.

    Parameters
    ----------
    parameters : (q,)
        Coefficients in the sequence 1; x, y; x^2, xy, y^2; ... (Chebyshev: T_i(x') T_j(y') likewise).
    frame
        (xCentre, yCentre, xScale, yScale) of the scaled coordinates in which `parameters` are meant.
    covariance : (q, q), optional
        Covariance of `parameters`.
    """

    model: ModelName

    def __init__(
        self,
        parameters: npt.ArrayLike,
        frame: tuple[float, float, float, float],
        covariance: npt.ArrayLike | None = None,
    ) -> None:
        self._scaledParameters = np.array(parameters, dtype=np.float64).ravel()
        self.order = orderOf(self._scaledParameters.size)
        self.frame = frame
        self._covariance = None if covariance is None else np.array(covariance, dtype=np.float64)
        if self._covariance is not None and self._covariance.shape != (self._scaledParameters.size,) * 2:
            raise ValueError(
                f"covariance has shape {self._covariance.shape}, must be square with a row for each of the "
                f"{self._scaledParameters.size} parameters"
            )

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
        return coreFunction(self.model, self.order, self.frame)

    def sigma(self, x: float, y: float) -> float:
        """Return the standard deviation of the value at (x, y); RuntimeError without a covariance."""
        if self._covariance is None:
            raise RuntimeError("the function has no covariance; set calculateKernelUncertainty before it is fitted")
        terms = self.coreFunction.evaluate(np.atleast_1d(x), np.atleast_1d(y))[0]
        return math.sqrt(max(0.0, float(terms @ self._covariance @ terms)))

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
            if self.model == "chebyshev1" and degree > 1:
                values[degree] = 2.0 * values[degree] - values[degree - 2]
        return values

    def __repr__(self) -> str:
        return f"{type(self).__name__}(order={self.order}, parameters={self.parameters})"


class Chebyshev2D(SpatialFunction2D):
    """Chebyshev polynomials of the first kind over a box, from half a pixel before to half a pixel after it."""

    model: ModelName = "chebyshev1"


class Polynomial2D(SpatialFunction2D):
    """A plain polynomial; kept in scaled coordinates, reported in raw pixels."""

    model: ModelName = "polynomial"

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
