"""Whether two exposures have one pixel grid, and the template brought onto that of the science image.

Two exposures of one shape are registered if their WCSs put equal pixels on one place of the sky, or if one of
them has none: then their pixels are taken to correspond one by one.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch.errors import InputImagesError
from psfmatch.images import Box, Exposure, PixelTransform, dropAdvice, hasUsableWcs
from psfmatch.images.origins import atOrigin, requireSameShape
from psfmatch.registration.warper import Warper

__all__ = [
    "GridComparison",
    "atOrigin",
    "compareGrids",
    "logAssumptions",
    "registerTemplate",
    "requireSameShape",
]

log = logging.getLogger("psfmatch.registration")

FloatArray = npt.NDArray[np.float64]

MAX_OFFSET_PIX = 0.01
"""Pixels that agree to this many pixels count as equal: far below what a fit of the kernel notices."""

MIN_COVERAGE = 0.99
"""A template with data for less than this fraction of the science image is worth a warning."""

GRID_SIDE = 9
"""Grids are compared at so many positions along each axis, borders included."""


@dataclass(frozen=True)
class GridComparison:
    """How the pixels of a template lie on those of a science image.

    maxOffsetPix : largest distance (template pixels) between pixels of equal array index; inf if unknown;
    shift : whole pixels (x, y) from the science image's array index to the template's, if the grids differ by nothing
        else; None otherwise;
    sameShape : whether the arrays have one shape; overlap : whether the images have sky in common.
    """

    maxOffsetPix: float
    shift: tuple[int, int] | None
    sameShape: bool
    overlap: bool

    @property
    def isRegistered(self) -> bool:
        """Whether the images correspond pixel by pixel."""
        return self.sameShape and self.shift == (0, 0)


def compareGrids(template: Exposure, science: Exposure) -> GridComparison | None:
    """Compare the pixel grids of two exposures on the sky; None if one of them has no celestial WCS.

    Raises
    ------
    InputImagesError
        If a WCS cannot be used.
    """
    # Both are looked at: the science image's WCS serves for its sources, too.
    if not all([hasUsableWcs(template), hasUsableWcs(science)]):
        return None
    x, y = _gridOver(science.getBBox())
    columns, rows = PixelTransform(science.coordinates, template.coordinates)(x, y)
    back = PixelTransform(template.coordinates, science.coordinates)(*_gridOver(template.getBBox()))
    dx = (columns - template.xy0[0]) - (x - science.xy0[0])
    dy = (rows - template.xy0[1]) - (y - science.xy0[1])
    distance = np.hypot(dx, dy)
    shift = None
    if np.isfinite(distance).all():
        whole = round(float(dx.mean())), round(float(dy.mean()))
        if float(np.hypot(dx - whole[0], dy - whole[1]).max()) <= MAX_OFFSET_PIX:
            shift = whole
    return GridComparison(
        maxOffsetPix=float(distance.max()) if np.isfinite(distance).all() else math.inf,
        shift=shift,
        sameShape=template.shape == science.shape,
        overlap=_meets(columns, rows, template.getBBox()) and _meets(*back, science.getBBox()),
    )


def registerTemplate(template: Exposure, science: Exposure, warper: Warper, doWarping: bool = True) -> Exposure:
    """Return the template on the science image's pixels: as it is, cut, or warped.

    Parameters
    ----------
    template, science
        Not changed. Without a celestial WCS on both, equal shapes count as registered.
    warper
        Resamples the template if the grids differ by more than whole pixels.
    doWarping
        False raises if anything must be done.

    Raises
    ------
    InputImagesError
        If the images do not overlap, the template has no usable pixel there, the shapes differ without coordinates, a
        WCS cannot be used, or the images are not registered and `doWarping` is False.
    """
    comparison = compareGrids(template, science)
    if comparison is None:
        requireSameShape(template.maskedImage, science.maskedImage)
        logAssumptions(template, science)
        return template
    offset = comparison.maxOffsetPix
    if not comparison.overlap:
        found = (
            f"their pixels are up to {offset:.0f} pixels apart on the sky"
            if math.isfinite(offset)
            else "pixels of the science image have no place in the template's projection"
        )
        raise InputImagesError(
            f"Input images do not overlap at all: {found}; check the WCSs, or, {dropAdvice()}",
            offsetPix=offset,
        )
    if comparison.isRegistered:
        return template
    if not doWarping:
        what = (
            f"their pixels differ by up to {offset:.2f} pixels"
            if comparison.sameShape
            else f"template {template.width}x{template.height}, science {science.width}x{science.height} pixels"
        )
        message = f"Input images not registered: {what} and doWarping is False; allow warping, or, {dropAdvice()}"
        log.error(message)
        raise InputImagesError(message, offsetPix=offset, templateShape=template.shape, scienceShape=science.shape)
    log.info("Astrometrically registering template to science image")
    if comparison.shift is not None:
        warped = warper.cropExposure(science.coordinates, template, science.getBBox(), comparison.shift)
    else:
        warped = warper.warpExposure(science.coordinates, template, science.getBBox())
    _checkCoverage(warped, template)
    return warped


def logAssumptions(template: Exposure, science: Exposure) -> None:
    """Say in the log what is taken for granted when a WCS is missing."""
    if template.hasWcs and science.hasWcs:
        return
    missing = "the template" if science.hasWcs else "the science image" if template.hasWcs else "either image"
    log.info("No celestial WCS on %s: equal shapes are taken as registered pixel for pixel", missing)
    if template.xy0 != science.xy0:
        log.warning(
            "xy0 of template %s and science image %s differ without a WCS to tell what that means: ignored, the "
            "images are taken as registered pixel for pixel",
            template.xy0,
            science.xy0,
        )


def _checkCoverage(warped: Exposure, template: Exposure) -> None:
    nPixels = warped.image.size
    nUsable = int(np.isfinite(warped.image).sum())
    if nUsable == 0:
        raise InputImagesError(
            f"Input images do not overlap in usable pixels: none of {nPixels} science pixels lies on a finite pixel of "
            f"the template of {template.width}x{template.height} pixels; check its values and the WCSs",
            nUsable=0,
            nPixels=nPixels,
            nTemplateFinite=int(np.isfinite(template.image).sum()),
        )
    if nUsable < MIN_COVERAGE * nPixels:
        log.warning(
            "The template covers only %.1f %% of the science image (%d of %d pixels); the rest carries NO_DATA",
            100.0 * nUsable / nPixels,
            nUsable,
            nPixels,
        )


def _gridOver(box: Box) -> tuple[FloatArray, FloatArray]:
    """Return positions (x, y) on a grid from border to border of a box."""
    x = np.linspace(box.x0 - 0.5, box.x1 - 0.5, GRID_SIDE)
    y = np.linspace(box.y0 - 0.5, box.y1 - 0.5, GRID_SIDE)
    columns, rows = np.meshgrid(x, y)
    return columns, rows


def _meets(x: FloatArray, y: FloatArray, box: Box) -> bool:
    """Whether the rectangle about those positions that are finite meets a box."""
    isFinite = np.isfinite(x) & np.isfinite(y)
    if not isFinite.any():
        return False
    x, y = x[isFinite], y[isFinite]
    inX = x.min() < box.x1 - 0.5 and x.max() > box.x0 - 0.5
    return bool(inX and y.min() < box.y1 - 0.5 and y.max() > box.y0 - 0.5)
