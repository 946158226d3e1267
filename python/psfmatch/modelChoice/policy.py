"""How much is tried: regions and models cost time, and beyond what a field can tell they change nothing.

Measured on simulated fields of 512 to 2048 pixels against the true kernel: with a hundred stars tiles change it by a
tenth of its error either way, and three hundred regions of 23x23 pixels are as good as six hundred of 31x31. With fewer
stars larger regions keep more of their pixels where some are rejected, and with fewer than 64 all that can be tried is
worth its time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from psfmatch.config import KernelOptions

__all__ = ["Effort", "effortFor"]

FEW_STARS = 64
ENOUGH_STARS = 100
"""Stars that leave nothing for tiles to add: below, they are tried."""
SOME_REGIONS, MANY_REGIONS = 300, 600
LARGE_FIELD = 2000**2
"""Pixels from which many regions are worth their time: more than a polynomial in a small field, kernels vary here."""
SMALL_HALF_WIDTH = 11
SHARP_FWHM = 4.4
"""Pixels, up to which regions of that half width hold a star."""


@dataclass(frozen=True)
class Effort:
    """What is tried. options : size and number of regions; isThorough : all models."""

    options: KernelOptions
    isThorough: bool


def effortFor(
    options: KernelOptions,
    nStars: int,
    fwhms: tuple[float | None, float | None],
    shape: tuple[int, int],
    pinned: Collection[str] = (),
) -> Effort:
    """Return how much is tried for a field.

    Parameters
    ----------
    options
        Of the kernel, that the choice starts from.
    nStars
        Stars whose surroundings may be fitted.
    fwhms
        Of both PSFs (pixels); None: unknown.
    shape
        Of the images.
    pinned
        Names of fields that stay as they are: ``regionConfig.halfWidth``, ``regionConfig.maxRegions``.
    """
    isThorough = nStars < FEW_STARS
    isLarge = shape[0] * shape[1] >= LARGE_FIELD
    maxRegions = MANY_REGIONS if isThorough or isLarge else SOME_REGIONS
    isSharp = all(fwhm is not None and fwhm <= SHARP_FWHM for fwhm in fwhms)
    changes: dict[str, Any] = {"maxRegions": min(maxRegions, options.regions.maxRegions)}
    if isSharp and nStars >= ENOUGH_STARS:
        changes["halfWidth"] = min(SMALL_HALF_WIDTH, options.regions.halfWidth)
    free = {name: value for name, value in changes.items() if f"regionConfig.{name}" not in pinned}
    options = replace(options, nStarPerCell=-1, regions=replace(options.regions, **free))
    return Effort(options, isThorough)
