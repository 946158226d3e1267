"""Least squares for models that are not linear in their parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["minimizeSquares"]

FloatArray = npt.NDArray[np.float64]


def minimizeSquares(
    evaluate: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    start: FloatArray,
    low: FloatArray,
    high: FloatArray,
    tolerance: float,
    maxEvaluations: int,
) -> tuple[FloatArray, FloatArray, float, int] | None:
    """Minimise a sum of squares within bounds (Levenberg 1944; Marquardt 1963, J. SIAM 11, 431).

    Parameters
    ----------
    evaluate
        Residuals (m,), data minus model, and the model's derivatives (p, m), at parameters (p,).
    start, low, high : (p,)
        Where to begin, and the bounds, which steps are cut to.
    tolerance
        Relative change of the sum at which to stop.
    maxEvaluations
        After so many it has failed.

    Returns
    -------
    parameters, covariance, sumOfSquares, nUsed
        nUsed counts residuals that are not exactly zero. None where the equations are singular or the limit is hit.
    """
    p, damping = np.clip(start, low, high), 1e-3
    residual, slopes = evaluate(p)
    total = float(residual @ residual)
    for _ in range(maxEvaluations - 1):
        normal, right = slopes @ slopes.T, slopes @ residual
        scale = np.sqrt(np.diag(normal))
        if not (np.isfinite(normal).all() and np.isfinite(total) and (scale > 0.0).all()):
            return None
        # A parameter that is pushed against its bound stays there, and the others go on without it.
        free = np.flatnonzero(~(((p <= low) & (right < 0.0)) | ((p >= high) & (right > 0.0))))
        scaled = (normal / np.outer(scale, scale))[np.ix_(free, free)]
        step = np.zeros(p.size)
        step[free] = np.linalg.solve(scaled + damping * np.eye(free.size), (right / scale)[free]) / scale[free]
        trial = np.clip(p + step, low, high)
        newResidual, newSlopes = evaluate(trial)
        newTotal = float(newResidual @ newResidual)
        gain = total - newTotal
        if gain >= 0.0:
            p, residual, slopes, total = trial, newResidual, newSlopes, newTotal
            damping = max(damping / 10.0, 1e-12)
        else:
            damping *= 10.0
        if 0.0 <= gain <= tolerance * total or damping > 1e12:
            break
    else:
        return None
    normal = slopes @ slopes.T
    scale = np.sqrt(np.diag(normal))
    if not (scale > 0.0).all() or np.linalg.cond(scaled := normal / np.outer(scale, scale)) > 1e12:
        return None
    return p, np.linalg.inv(scaled) / np.outer(scale, scale), total, int(np.count_nonzero(residual))
