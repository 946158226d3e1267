"""What a template has beyond the border of a science image, on the science image's pixels.

A kernel that is applied near the border reaches half its side beyond it. How large it is, is known when it has been
fitted, long after the template was laid upon the science image: what lies around that is made when it is asked for, in
the way in which the template itself was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from psfmatch.images import Box, Exposure, MaskedImage, PixelTransform
from psfmatch.io import Coordinates
from psfmatch.registration.alignment import AlignedTransform, Alignment
from psfmatch.registration.grids import compareGrids
from psfmatch.registration.warper import Warper

__all__ = ["Surroundings", "surroundingsOf"]

FloatArray = npt.NDArray[np.float64]
Transform = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[FloatArray, FloatArray]]

SIDE_POSITIONS = 33
"""Along each side of the science image, at which it is asked whether the template goes on beyond."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A template that covers more than the science image.

    template : as it was before it was laid upon the science image; coordinates, box : of the science image; shift :
    whole pixels (x, y) from array indices of the science image to those of the template, where nothing else lies
    between them; transform : else from parent pixels of the one to those of the other; warper : resamples.
    """

    template: MaskedImage = field(repr=False)
    coordinates: Coordinates = field(repr=False)
    box: Box
    shift: tuple[int, int] | None
    transform: Transform | None = field(repr=False)
    warper: Warper = field(repr=False)

    def on(self, box: Box) -> MaskedImage:
        """Return the template on pixels of a box, parent coordinates of the science image; NO_DATA where it ends."""
        if self.shift is not None:
            shift = self.shift[0] + box.x0 - self.box.x0, self.shift[1] + box.y0 - self.box.y0
            return self.warper.cropExposure(self.coordinates, Exposure(self.template), box, shift).maskedImage
        assert self.transform is not None  # for mypy: one of the two is known
        return self.warper.warpMaskedImage(self.template, self.transform, box)

    def reachesBeyond(self) -> bool:
        """Return whether the template has a pixel right beyond the science image's border."""
        if self.shift is not None:
            wanted = Box(*self.shift, self.box.width, self.box.height)
            return not wanted.containsBox(Box(0, 0, self.template.width, self.template.height))
        assert self.transform is not None  # for mypy: one of the two is known
        wide, own = self.box.grown(1), self.template.getBBox()
        x = np.linspace(wide.x0, wide.x1 - 1, SIDE_POSITIONS)
        y = np.linspace(wide.y0, wide.y1 - 1, SIDE_POSITIONS)
        lower, upper, left, right = (np.full(SIDE_POSITIONS, at) for at in (y[0], y[-1], x[0], x[-1]))
        aroundX, aroundY = np.concatenate([x, x, left, right]), np.concatenate([lower, upper, y, y])
        return bool(own.contains(*self.transform(aroundX, aroundY)).any())


def surroundingsOf(
    template: Exposure, science: Exposure, alignment: Alignment | None, warper: Warper
) -> Surroundings | None:
    """Return what a template has around a science image, None where it ends with it.

    Parameters
    ----------
    template, science
        Exposures as `psfmatch.registration.applyAlignment` or `psfmatch.registration.registerTemplate` get them; not
        changed.
    alignment
        As the template was laid upon the science image; None: by the WCSs.
    warper
        What resampled it.

    Raises
    ------
    InputImagesError
        If a WCS cannot be used.
    """
    if alignment is not None:
        template, alignment = alignment.turnedFirst(template)
    shift: tuple[int, int] | None = None
    transform: Transform | None = None
    if alignment is not None and alignment.method == "pixels":
        shift = alignment.pixelShift
    elif alignment is not None and alignment.method != "nominal":
        transform = AlignedTransform(template, science, alignment)
    else:
        comparison = compareGrids(template, science)
        # Without coordinates the shapes are one, and so are the pixels.
        shift = (0, 0) if comparison is None else comparison.shift
        if shift is None:
            transform = PixelTransform(science.coordinates, template.coordinates)
    found = Surroundings(template.maskedImage, science.coordinates, science.getBBox(), shift, transform, warper)
    return found if found.reachesBeyond() else None
