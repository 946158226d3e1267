"""Which functions of position a configuration asks for: of the kernel's shape, its sum, and the background."""

from __future__ import annotations

from dataclasses import dataclass

from psfmatch import _core
from psfmatch.config import KernelOptions

__all__ = ["SpatialModels", "spatialModels"]


@dataclass(frozen=True)
class SpatialModels:
    """Functions of the coefficients of all basis images but the first, of the first, and of the background."""

    kernel: _core.SpatialFunction
    scale: _core.SpatialFunction
    background: _core.SpatialFunction


def spatialModels(options: KernelOptions, frame: tuple[float, float, float, float]) -> SpatialModels:
    """Return the functions in a frame (xCentre, yCentre, xScale, yScale).

    Raises
    ------
    ValueError
        If a kind is unknown, or knots do not rise within the field.
    """
    own = options.spatialModelType
    background = own if options.spatialBgModelType == "same" else options.spatialBgModelType
    bgOrder = options.spatialBgOrder if options.fitForBackground else 0
    return SpatialModels(
        _functions(own, options.spatialKernelOrder, options, frame),
        _functions(options.scaleModelType, options.scaleOrder, options, frame),
        _functions(background if options.fitForBackground else "constant", bgOrder, options, frame),
    )


def _functions(
    model: str, order: int, options: KernelOptions, frame: tuple[float, float, float, float]
) -> _core.SpatialFunction:
    core = _core.Frame(*frame)
    if model == "bspline":
        knots = options.splineKnotsX, options.splineKnotsY
        splines = _core.SpatialFunction.bSplines(options.splineDegree, *knots, core)
        if options.splineDegree > 0:
            return splines
        # Steps alone leave everything between them constant.
        return _core.SpatialFunction(_core.SpatialModel.chebyshev1, order, core).joined(splines)
    if model not in ("constant", "chebyshev1", "polynomial"):
        raise ValueError(f"spatialModelType {model!r} is unknown; choose 'chebyshev1', 'polynomial' or 'bspline'")
    if model == "constant":
        order, model = 0, options.spatialModelType if options.spatialModelType == "polynomial" else "chebyshev1"
    return _core.SpatialFunction(_core.SpatialModel[model], order, core)
