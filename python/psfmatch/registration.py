"""Whether two exposures lie on one pixel grid."""

from __future__ import annotations

import logging
import math

import numpy as np
import numpy.typing as npt

from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage

__all__ = ["atOrigin", "cornerOffsetPix", "logAssumptions", "requireRegistered", "requireSameShape"]

log = logging.getLogger("psfmatch.registration")

MAX_OFFSET_PIX = 0.01
"""Corners that agree to this many pixels count as equal: far below what a fit of the kernel notices."""


def requireRegistered(template: Exposure, science: Exposure, doWarping: bool = True) -> None:
    """Check that the template's pixels lie on those of the science image.

    Two exposures of one shape are registered if their WCSs agree, or if one of them has none: then their pixels are
    taken to correspond one by one.

    Raises
    ------
    InputImagesError
        If the shapes differ, the WCSs differ, or the images do not overlap on the sky.
    """
    requireSameShape(template.maskedImage, science.maskedImage)
    if not (_hasUsableWcs(template) and _hasUsableWcs(science)):
        return
    positions = _templateCorners(template, science)
    offset = float(np.hypot(*(positions - np.array(_corners(science)))).max())
    if offset <= MAX_OFFSET_PIX:
        return
    counts = {"offsetPix": offset}
    if not _overlaps(positions, science):
        raise InputImagesError(
            f"Input images do not overlap at all: their corners are {offset:.0f} pixels apart on the sky", **counts
        )
    advice = (
        "warp the template onto the science image's grid first, or, if the pixels are registered and a WCS is wrong, "
        "drop the WCS (Exposure(..., wcs=None); --ignore-wcs on the command line)"
    )
    reason = "" if doWarping else " and doWarping is False"
    raise InputImagesError(
        f"Input images not registered: their corners differ by up to {offset:.2f} pixels{reason}; {advice}", **counts
    )


def requireSameShape(template: MaskedImage, science: MaskedImage) -> None:
    """Raise InputImagesError unless both images have one shape."""
    if template.shape != science.shape:
        raise InputImagesError(
            f"Input images different size: template {template.width}x{template.height}, science "
            f"{science.width}x{science.height} pixels (width x height); cut or warp the template to the science grid",
            templateShape=template.shape,
            scienceShape=science.shape,
        )


def atOrigin(template: MaskedImage, science: MaskedImage) -> MaskedImage:
    """Return a view of the template with the science image's xy0: registered means pixel for pixel."""
    if template.xy0 == science.xy0:
        return template
    return MaskedImage(template.image, template.mask, template.variance, xy0=science.xy0)


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


def cornerOffsetPix(template: Exposure, science: Exposure) -> float:
    """Return the largest distance (science pixels) of equal pixels at the corners of both images; inf if unknown."""
    distance = np.hypot(*(_templateCorners(template, science) - np.array(_corners(science))))
    return float(distance.max()) if np.isfinite(distance).all() else math.inf


def _templateCorners(template: Exposure, science: Exposure) -> npt.NDArray[np.float64]:
    """Return the template's corners, (2, 4), in parent pixels of the science image; inf where they have no place there.

    Raises
    ------
    InputImagesError
        If a WCS cannot be used.
    """
    if template.wcs is None or science.wcs is None:
        raise ValueError("corners can be compared on the sky only if both exposures have a WCS")
    try:
        ra, dec = template.wcs.celestial.all_pix2world(*_corners(template), 0)
        positions = np.array(science.wcs.celestial.all_world2pix(ra, dec, 0, quiet=True))
    except (ValueError, RuntimeError) as error:
        raise _unusableWcs(error) from error
    return np.where(np.isfinite(positions), positions, np.inf)


def _hasUsableWcs(exposure: Exposure) -> bool:
    try:
        return exposure.hasWcs
    except (ValueError, RuntimeError) as error:
        raise _unusableWcs(error) from error


def _unusableWcs(error: Exception) -> InputImagesError:
    return InputImagesError(
        f"Input images not registered: a WCS cannot be used ({str(error).splitlines()[0]}); if the pixels are "
        "registered, drop it (Exposure(..., wcs=None); --ignore-wcs on the command line)"
    )


def _overlaps(corners: npt.NDArray[np.float64], science: Exposure) -> bool:
    """Whether the rectangle about corners (2, 4) meets the science image."""
    box = science.getBBox()
    if not np.isfinite(corners).all():
        return False
    (xMin, yMin), (xMax, yMax) = corners.min(axis=1), corners.max(axis=1)
    return bool(xMin < box.x1 - 0.5 and xMax > box.x0 - 0.5 and yMin < box.y1 - 0.5 and yMax > box.y0 - 0.5)


def _corners(exposure: Exposure) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    box = exposure.getBBox()
    x = np.array([box.x0, box.x1, box.x0, box.x1], dtype=np.float64) - 0.5
    y = np.array([box.y0, box.y0, box.y1, box.y1], dtype=np.float64) - 0.5
    return x, y
