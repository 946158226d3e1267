"""The sentence that tells how the images were laid upon each other, by which numbers, and what else there was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from psfmatch.errors import fixed
from psfmatch.registration.asterisms import MAX_CHANCE
from psfmatch.registration.laying import Laid
from psfmatch.registration.offsets import IDENTITY, Model, OffsetFits
from psfmatch.registration.turns import UNTURNED, describeLinear

if TYPE_CHECKING:
    from psfmatch.registration.alignment import Alignment

__all__ = ["NOT_MEASURED", "reasonOf"]

MODEL_NAMES: Mapping[Model, str] = {
    "none": "no correction",
    "shift": "a shift",
    "similarity": "a shift, a turn and a scale",
    "affine": "a shift and linear terms",
}
NOT_MEASURED = "not measured; "


def reasonOf(alignment: Alignment, fits: OffsetFits | None, laid: Laid, remaining: float, tolerancePix: float) -> str:
    """Return what was chosen, by which numbers, and what the others would have left.

    Parameters
    ----------
    alignment
        Without its reason.
    fits
        To the stars; None without any.
    laid
        How they were found.
    remaining, tolerancePix
        What whole pixels would leave to the kernel, and the most that may be left, pixels.
    """
    if not alignment.isFound:
        return _notFound(alignment, laid)
    told = _place(alignment, laid) + _asked(alignment, fits, len(laid.match))
    if alignment.method == "resampling":
        return (
            f"{told}; whole pixels would leave {remaining:.2f} px to the kernel, more than {tolerancePix:g} px: the "
            "template is resampled with the correction."
        )
    limit = f"whole pixels leave {remaining:.2f} px to the kernel, not more than {tolerancePix:g} px"
    if alignment.method == "pixels":
        dx, dy = alignment.pixelShift
        how = "turned and moved" if alignment.isTurned else "moved"
        return f"{told}; {limit}: the template is {how} by ({dx}, {dy}) px, not resampled."
    if remaining <= tolerancePix:
        return f"{told}; {limit}: the template is left where it is."
    return f"{told}; the template goes where its coordinates say."


def _notFound(alignment: Alignment, laid: Laid) -> str:
    match = laid.match
    isKnown = len(match) > 0 and match.chance < 1e3
    chance = f"where so many do {match.chance:.2g} times by accident, and less than {MAX_CHANCE:g} is believed"
    told = (
        f"{NOT_MEASURED}of {alignment.nTemplateStars} stars of the template and {alignment.nScienceStars} of the "
        f"science image {len(match)} pairs agree, {chance if isKnown else 'no more than by accident'}"
    )
    if laid.correlation is not None:
        told += (
            "; neither does a pattern of stars tell another place (any shift, turn or mirror, scales from 0.5 to 2) "
            f"nor the light, which correlates by {fixed(laid.correlation.nominal, 2)} as the pixels are counted"
        )
    if alignment.isRefuted:
        return f"{told}: nothing tells where the template lies."
    goes = "goes where its coordinates say" if alignment.hasCoordinates else "is left where it is"
    return f"{told}: the template {goes}."


def _place(alignment: Alignment, laid: Laid) -> str:
    """Return how the template was found to lie, where it was not near its place."""
    if laid.foundBy == "near":
        return ""
    words = describeLinear(np.array(alignment.turn) @ np.array(alignment.affine)[:, :2])
    how = "found by patterns of stars"
    if laid.foundBy == "correlation" and laid.correlation is not None:
        best, second = laid.correlation.coefficient, laid.correlation.second
        how = f"found by the light, which correlates by {fixed(best, 2)}, elsewhere by {fixed(second, 2)} at most"
    beside = "beside what its coordinates say " if alignment.hasCoordinates else ""
    where = f"{how}: {beside}the template is {words}; " if words else f"{how}; "
    return where if laid.turn == UNTURNED else f"{where}after a turn by right angles "


def _asked(alignment: Alignment, fits: OffsetFits | None, nMatched: int) -> str:
    """Return what the stars ask for."""
    matrix = np.array(alignment.affine)
    shift = f"a shift of ({fixed(matrix[0, 2], 3, sign=True)}, {fixed(matrix[1, 2], 3, sign=True)}) px"
    if fits is None:
        return f"the light asks for {shift}"
    model = fits.best
    others = "; ".join(
        f"{MODEL_NAMES[name]}: {fits.rms(name):.3f} px, {fits.merit[name]:.0f}" for name in fits.merit if name != model
    )
    told = f"{int(fits.used.sum())} of {nMatched} matched stars ask for "
    told += "no correction of the coordinates" if model == "none" else shift
    if model in ("similarity", "affine"):
        told += f" and linear terms of up to {np.abs(matrix - np.array(IDENTITY))[:, :2].max():.2e}"
    return f"{told}: rms {fits.rms(model):.3f} px per axis, BIC {fits.merit[model]:.0f} ({others})"
