"""PSF sizes of exposures: of their PSF, at one position or over the field, or else of their stars."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.errors import advice
from psfmatch.images import Exposure
from psfmatch.images.foreignPsfs import asPsf, averagePosition
from psfmatch.images.psfWidths import DEFAULT_DEFINITION, getFwhmPix
from psfmatch.images.sampledPsfs import NOT_THERE
from psfmatch.sources.starWidths import starFwhms

__all__ = ["NOT_THERE", "evaluateMeanPsfFwhm", "exposureFwhmPix", "findFwhms", "recordFwhms"]

log = logging.getLogger("psfmatch.images")

FloatArray = npt.NDArray[np.float64]


def evaluateMeanPsfFwhm(
    exposure: Exposure, buffer: float = 0.05, grid: int = 10, definition: str = DEFAULT_DEFINITION
) -> float:
    """Return the mean FWHM of an exposure's PSF in pixels, over grid x grid points.

    Parameters
    ----------
    exposure
        With a PSF.
    buffer
        Fraction of the sides left out at each edge.
    grid
        Points along each axis. Those at which the PSF has no width are left out.
    definition
        See `psfmatch.images.getFwhmPix`.

    Raises
    ------
    ValueError
        If the exposure has no PSF, or the PSF no width at any point.
    """
    if exposure.psf is None:
        raise ValueError("the exposure has no PSF to measure")
    psf, box = asPsf(exposure.psf), exposure.getBBox()
    margins = buffer * box.width, buffer * box.height
    widths, failure = [], None
    for y in np.linspace(box.y0 + margins[1], box.y1 - 1 - margins[1], grid):
        for x in np.linspace(box.x0 + margins[0], box.x1 - 1 - margins[0], grid):
            try:
                widths.append(getFwhmPix(psf, (float(x), float(y)), definition))
            except NOT_THERE as error:
                failure = error
    if not widths:
        raise ValueError(f"the PSF has no width at any of {grid}x{grid} points of {box}; the last said: {failure}")
    return math.fsum(widths) / len(widths)


def exposureFwhmPix(exposure: Exposure, definition: str = DEFAULT_DEFINITION) -> float | None:
    """Return the FWHM of an exposure's PSF in pixels; None without a PSF, or where its PSF is of no use.

    It is that at the PSF's average position, or at the centre of the exposure where the PSF names none; and the mean
    over a grid (`evaluateMeanPsfFwhm`) if the PSF is not defined there.
    """
    if exposure.psf is None:
        return None
    psf = asPsf(exposure.psf)
    position = averagePosition(psf) or exposure.getBBox().centre
    try:
        return getFwhmPix(psf, position, definition)
    except NOT_THERE as error:
        log.info("The PSF has no width at (%.1f, %.1f): %s. Taking the mean over a grid", *position, error)
    try:
        return evaluateMeanPsfFwhm(exposure, definition=definition)
    except ValueError as error:
        log.warning("The exposure's PSF cannot be used: %s", error)
        return None


def findFwhms(
    exposures: Mapping[str, Exposure],
    given: Mapping[str, float | None],
    positions: FloatArray | None,
    badPlanes: Iterable[str],
    definition: str = DEFAULT_DEFINITION,
    threads: int = 1,
) -> dict[str, tuple[float | None, str]]:
    """Return the FWHM (pixels) of each exposure and where it comes from: the caller, its PSF, or its stars.

    Parameters
    ----------
    exposures, given
        Registered images, and what is known of their widths, by name.
    positions : (N, 2)
        x and y of sources in array coordinates.
    badPlanes
        Mask planes of pixels that are not to be used.
    definition
        Of the width of a PSF, see `psfmatch.images.getFwhmPix`. Stars always have their determinant radius.
    threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    fwhms
        By name; None, and no origin, where nothing tells.

    Raises
    ------
    ValueError
        If a given width is not a positive number.
    """
    fwhms: dict[str, tuple[float | None, str]] = {}
    for which, exposure in exposures.items():
        fwhm, origin = given[which], "given"
        if fwhm is not None and not (math.isfinite(fwhm) and fwhm > 0.0):
            name = advice(f"{which}FwhmPix", f"--{which}-fwhm", f"{which} FWHM", manifest=f"{which}_fwhm")
            raise ValueError(f"{name} is {fwhm}; a FWHM must be a positive number of pixels")
        if fwhm is None:
            fwhm, origin = exposureFwhmPix(exposure, definition), "from its PSF"
        fwhms[which] = fwhm, origin if fwhm is not None else ""
    if positions is None or all(fwhm is not None for fwhm, _ in fwhms.values()):
        return fwhms
    images = [exposure.maskedImage for exposure in exposures.values()]
    measured = starFwhms(*images, planes=badPlanes, positions=positions, threads=threads)
    for which, fwhm in zip(fwhms, measured, strict=True):
        if fwhms[which][0] is None and fwhm is not None:
            fwhms[which] = fwhm, "from its stars"
    return fwhms


def recordFwhms(
    fwhms: Mapping[str, tuple[float | None, str]], log: logging.Logger, metadata: MutableMapping[str, Any]
) -> None:
    """Log the result of `findFwhms` and write it to a task's metadata, as ``<name>FwhmPix``."""
    for which, (fwhm, origin) in fwhms.items():
        if fwhm is None:
            log.warning(
                "No PSF and no measurable star on the %s image: the configured Gaussians are used%s",
                which,
                advice(f"; give {which}FwhmPix=", f"; give --{which}-fwhm", manifest=f"; give {which}_fwhm"),
            )
        else:
            metadata[f"{which}FwhmPix"] = fwhm
            log.info("PSF FWHM of the %s image: %.3f px, %s", which, fwhm, origin)
