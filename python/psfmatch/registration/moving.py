"""An alignment put right by a shift that is still seen once the template is registered by it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from psfmatch.images import Exposure
from psfmatch.registration.alignment import TOLERANCE_PIX, AlignedTransform, Alignment
from psfmatch.registration.offsets import IDENTITY, asRows

__all__ = ["movedBy"]

FloatArray = npt.NDArray[np.float64]
GRID_SIDE = 9
"""Positions along each axis, borders included, at which offsets over the image are looked at."""


def movedBy(
    alignment: Alignment,
    template: Exposure,
    science: Exposure,
    shift: tuple[float, float],
    shiftError: float,
    reason: str,
    tolerancePix: float = TOLERANCE_PIX,
) -> Alignment:
    """Return an alignment that puts right what is still seen of a shift once the template is registered by it.

    Parameters
    ----------
    alignment
        By which the template was registered.
    template, science
        Those that were measured; not changed.
    shift, shiftError
        (x, y) from the registered template to the science image, pixels, and the error along each axis.
    reason
        What has seen it; follows the sentence of the alignment.
    tolerancePix
        Offset (pixels, per axis) that is left to the matching kernel.
    """
    turn = alignment.turn
    # Shifts are those of the template that was turned first.
    template, alignment = alignment.turnedFirst(template)
    matrix = np.array(alignment.affine if alignment.isFound else IDENTITY)
    if alignment.method == "pixels":
        # The whole pixels by which it was moved, and not the shift that was measured, lay before the eye.
        mean, _ = _offsets(alignment, template, science)
        matrix[:, 2] += np.array(alignment.pixelShift) - mean
    matrix[:, 2] -= matrix[:, :2] @ np.array(shift)
    errors = np.array(alignment.errors)
    errors[:, 2] = shiftError
    moved = replace(
        alignment,
        model="affine" if alignment.model == "affine" else "shift",
        isFound=True,
        affine=asRows(matrix),
        errors=asRows(errors),
    )
    mean, remaining = _offsets(moved, template, science)
    isWhole = remaining <= tolerancePix
    pixelShift = (round(float(mean[0])), round(float(mean[1]))) if isWhole else (0, 0)
    done = (
        f"moved by ({pixelShift[0]}, {pixelShift[1]}) px, {remaining:.2f} px are left to the kernel"
        if isWhole
        else "resampled with the correction"
    )
    return replace(
        moved,
        turn=turn,
        method="pixels" if isWhole else "resampling",
        reason=f"{alignment.reason.rstrip('.')}; {reason}: it is {done}.",
        pixelShift=pixelShift,
        remainingPix=remaining if math.isfinite(remaining) else None,
    )


def _offsets(alignment: Alignment, template: Exposure, science: Exposure) -> tuple[FloatArray, float]:
    """Return the mean offset (x, y) between array indices of the images, and the largest from that in whole pixels."""
    box = science.getBBox()
    x, y = np.meshgrid(
        np.linspace(box.x0 - 0.5, box.x1 - 0.5, GRID_SIDE), np.linspace(box.y0 - 0.5, box.y1 - 0.5, GRID_SIDE)
    )
    columns, rows = AlignedTransform(template, science, alignment)(x, y)
    dx = (columns - template.xy0[0]) - (x - science.xy0[0])
    dy = (rows - template.xy0[1]) - (y - science.xy0[1])
    if not (np.isfinite(dx).all() and np.isfinite(dy).all()):
        return np.zeros(2), math.inf
    mean = np.array([dx.mean(), dy.mean()])
    whole = mean.round()
    return mean, float(max(np.abs(dx - whole[0]).max(), np.abs(dy - whole[1]).max()))
