"""How white the noise of a difference is: of the decorrelated one where there is one."""

from __future__ import annotations

from psfmatch.difference import Decorrelation
from psfmatch.images import Exposure
from psfmatch.noise import Whiteness, measureWhiteness
from psfmatch.noise.blankSky import BlankSky

__all__ = ["whitenessOf"]


def whitenessOf(difference: Exposure, decorrelation: Decorrelation | None, sky: BlankSky, threads: int) -> Whiteness:
    """Return the correlation of the noise between neighbours on blank sky."""
    if decorrelation is None:
        return measureWhiteness(difference, where=sky, threads=threads)
    return decorrelation.measureWhiteness(sky, threads)
