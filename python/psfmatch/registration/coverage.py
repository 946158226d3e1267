"""How much of a science image a registered template covers with pixels that can be used."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.errors import InputImagesError
from psfmatch.images import Box, Exposure, MaskedImage, stampTuple
from psfmatch.images.origins import requireSameShape
from psfmatch.threads import resolveThreads

__all__ = ["Coverage", "coveredArea", "isCovered", "measureCoverage", "requireCoverage"]

log = logging.getLogger("psfmatch.coverage")

UNCOVERED_PLANES = ("BAD", "NO_DATA")
WHOLE_SIDE = 0.9
"""Of a side: what is covered so far counts as covered along all of it."""
NEAR = -10, -5, 0, 5, 10
"""Pixels, in either direction, that show whether a place has data."""
REQUIRED_FRACTION = 0.1
"""Of the science image: below it the images count as apart."""
EXPECTED_FRACTION = 0.2
"""Below it, a failure of what follows need not surprise."""


@dataclass(frozen=True)
class Coverage:
    """How many pixels of the science image are good in it and in the registered template.

    nPixels : of the science image; nTemplate, nScience, nBoth : good in the template, in the science image, in both;
    bbox : smallest box, parent pixels of the science image, about those good in both; empty without any.
    """

    nPixels: int
    nTemplate: int
    nScience: int
    nBoth: int
    bbox: Box

    @property
    def fraction(self) -> float:
        """Share of the science image's pixels that are good in both."""
        return self.nBoth / self.nPixels if self.nPixels else 0.0

    @property
    def templateFraction(self) -> float:
        """Share of the science image's good pixels that are good in the template, too."""
        return self.nBoth / self.nScience if self.nScience else 0.0

    def areaOf(self, box: Box) -> Box:
        """Return the box that a kernel is for, of the science image's box: see `coveredArea`."""
        isPart = min(self.bbox.width / box.width, self.bbox.height / box.height) < WHOLE_SIDE
        return self.bbox if self.nBoth and isPart else box

    def toDict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        fields = asdict(self)
        fields["bbox"] = [self.bbox.x0, self.bbox.y0, self.bbox.width, self.bbox.height]
        return {**fields, "fraction": self.fraction, "templateFraction": self.templateFraction}


def measureCoverage(
    template: Exposure | MaskedImage,
    science: Exposure | MaskedImage,
    planes: Iterable[str] = UNCOVERED_PLANES,
    threads: int | None = None,
) -> Coverage:
    """Count the pixels that are good in both images.

    Parameters
    ----------
    template, science
        Images of one grid; not changed.
    planes
        Names of mask planes that make a pixel bad; those whose value is not finite, or whose variance is negative or
        not finite, are bad anyway.
    threads
        Number of threads; by default as `psfmatch.threads.resolveThreads` has it.

    Raises
    ------
    InputImagesError
        If the shapes differ.
    """
    first, second = (image.maskedImage if isinstance(image, Exposure) else image for image in (template, science))
    requireSameShape(first, second)
    planes = tuple(planes)
    nTemplate, nScience, nBoth, (x, y, width, height) = _core.countCoverage(
        *stampTuple(first, planes), *stampTuple(second, planes), nThreads=resolveThreads(threads)
    )
    x, y = (x + second.xy0[0], y + second.xy0[1])
    return Coverage(second.image.size, nTemplate, nScience, nBoth, Box(x, y, width, height))


def coveredArea(template: MaskedImage, science: MaskedImage, threads: int | None = None) -> Box:
    """Return the box that a kernel between two images of one grid is for: the science image's, or of its part covered.

    Where the images have data in common on most of either side, the whole counts as covered.
    """
    return measureCoverage(template, science, threads=threads).areaOf(science.getBBox())


def isCovered(image: MaskedImage, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return at which positions an image has a pixel with data, of 5 x 5 that reach 10 pixels far.

    Parameters
    ----------
    image
        Not changed; what is bad is as for `measureCoverage`.
    x, y : (N,)
        Parent pixels.
    """
    columns = np.floor(np.asarray(x, dtype=np.float64) + 0.5).astype(np.int64) - image.xy0[0]
    rows = np.floor(np.asarray(y, dtype=np.float64) + 0.5).astype(np.int64) - image.xy0[1]
    steps = np.array(NEAR)
    columns, rows = columns[:, None, None] + steps, rows[:, None, None] + steps[:, None]
    inside = (columns >= 0) & (columns < image.width) & (rows >= 0) & (rows < image.height)
    part = np.clip(rows, 0, image.height - 1), np.clip(columns, 0, image.width - 1)
    covered = inside & ~image.badPixels(UNCOVERED_PLANES, part)
    return np.asarray(covered.any(axis=(1, 2)))


def requireCoverage(
    coverage: Coverage, required: float = REQUIRED_FRACTION, expected: float = EXPECTED_FRACTION
) -> None:
    """Raise InputImagesError if too little is covered, and warn if it is little.

    Parameters
    ----------
    coverage
        From `measureCoverage`.
    required, expected
        Shares of the science image's pixels below which it is an error, and a warning.
    """
    if coverage.nBoth > 0 and coverage.fraction >= max(expected, required):
        return
    found = (
        f"{100.0 * coverage.fraction:.1f} % of the science image ({coverage.nBoth} of {coverage.nPixels} pixels) is "
        f"good in both images; {coverage.nTemplate} in the template, {coverage.nScience} in the science image"
    )
    if coverage.nBoth == 0 or coverage.fraction < required:
        raise InputImagesError(
            f"Input images do not overlap enough: only {found}, {100.0 * required:.0f} % are needed; check the "
            "coordinates and the masks",
            **coverage.toDict(),
        )
    log.warning("Only %s: the difference may fail or be poor", found)
