"""The FWHM of a PSF in pixels, by one of three definitions.

``determinantRadius``
    2.3548 times the determinant radius (Ixx Iyy - Ixy^2)^(1/4) of the adaptive moments.
``traceRadius``
    2.3548 times the trace radius ((Ixx + Iyy) / 2)^(1/2) of the adaptive moments: larger for elongated PSFs.
``halfMaximum``
    The mean width at half of the brightest pixel, along its row and its column, with straight lines between pixels:
    what an eye measures on a plot, a few per cent too large for narrow PSFs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch.images.foreignPsfs import asPsf, averagePosition
from psfmatch.images.psfMoments import Moments, adaptiveMoments, coreMoments, determinantFwhm, traceFwhm

__all__ = ["DEFAULT_DEFINITION", "DEFAULT_FWHM_PIX", "FWHM_DEFINITIONS", "getFwhmPix", "getFwhmPixXY"]

FloatArray = npt.NDArray[np.float64]
FWHM_DEFINITIONS = ("determinantRadius", "traceRadius", "halfMaximum")
DEFAULT_DEFINITION = "determinantRadius"
DEFAULT_FWHM_PIX = 3.0
"""FWHM (pixels) assumed for smoothing where nothing is known yet; well-sampled images have 2 to 5."""


def getFwhmPix(psf: Any, position: tuple[float, float] | None = None, definition: str = DEFAULT_DEFINITION) -> float:
    """Return the FWHM of a PSF in pixels.

    Parameters
    ----------
    psf
        A PSF, a photutils model, or the image of a PSF (2-D array of odd sides).
    position
        Where, x and y in parent pixels; by default the PSF's average position (``getAveragePosition()``), or (0, 0).
    definition
        ``"determinantRadius"``, ``"traceRadius"`` or ``"halfMaximum"``.

    Raises
    ------
    ValueError
        If the PSF's image has no measurable core, or for another definition.
    """
    _requireKnown(definition)
    image, position = _imageAt(psf, position)
    if definition == "halfMaximum":
        fwhm = _mean(_halfWidths(image))
    else:
        radius = determinantFwhm if definition == "determinantRadius" else traceFwhm
        fwhm = radius(_adaptive(image))
        if not math.isfinite(fwhm):
            # Too few pixels for the weight to settle: plain moments of the core serve an undersampled PSF.
            fwhm = radius(_core(image))
    if not math.isfinite(fwhm):
        raise _noWidth(image, position)
    return fwhm


def getFwhmPixXY(
    psf: Any, position: tuple[float, float] | None = None, definition: str = "traceRadius"
) -> tuple[float, float]:
    """Return the FWHM of a PSF along x and along y, in pixels.

    Parameters and errors are those of `getFwhmPix`; the determinant radius has no two axes.
    """
    _requireKnown(definition)
    if definition == "determinantRadius":
        raise ValueError("the determinant radius is one number; use 'traceRadius' or 'halfMaximum' for both axes")
    image, position = _imageAt(psf, position)
    if definition == "halfMaximum":
        widths = _halfWidths(image)
    else:
        ixx, iyy, _ = _adaptive(image)
        if not math.isfinite(ixx):
            ixx, iyy, _ = _core(image)
        widths = (traceFwhm((ixx, ixx, 0.0)), traceFwhm((iyy, iyy, 0.0)))
    if not (math.isfinite(widths[0]) and math.isfinite(widths[1])):
        raise _noWidth(image, position)
    return widths


def _requireKnown(definition: str) -> None:
    if definition not in FWHM_DEFINITIONS:
        raise ValueError(f"no definition of the FWHM is called {definition!r}; there are {', '.join(FWHM_DEFINITIONS)}")


def _imageAt(psf: Any, position: tuple[float, float] | None) -> tuple[FloatArray, tuple[float, float]]:
    psf = asPsf(psf)
    if position is None:
        position = averagePosition(psf) or (0.0, 0.0)
    return np.asarray(psf.computeKernelImage(*position), dtype=np.float64), position


def _noWidth(image: FloatArray, position: tuple[float, float]) -> ValueError:
    return ValueError(f"the PSF at {position} has no measurable width; check its image of shape {image.shape}")


def _peak(image: FloatArray) -> tuple[int, int]:
    """Return x and y of the brightest pixel."""
    row, column = np.unravel_index(np.argmax(image), image.shape)
    return int(column), int(row)


def _adaptive(image: FloatArray) -> Moments:
    x, y = _peak(image)
    return adaptiveMoments(image, float(x), float(y))


def _core(image: FloatArray) -> Moments:
    return coreMoments(image, *_peak(image))


def _halfWidths(image: FloatArray) -> tuple[float, float]:
    x, y = _peak(image)
    return _halfWidth(image[y], x), _halfWidth(image[:, x], y)


def _halfWidth(profile: FloatArray, peak: int) -> float:
    """Return the width at half of the peak of a profile; NaN unless it falls below on both sides."""
    half = 0.5 * profile[peak]
    if not half > 0.0:
        return math.nan
    width = 0.0
    for side in (profile[peak:], profile[peak::-1]):
        below = np.flatnonzero(side < half)
        if not below.size:
            return math.nan
        outer = int(below[0])
        width += outer - float((half - side[outer]) / (side[outer - 1] - side[outer]))
    return width


def _mean(widths: tuple[float, float]) -> float:
    known = [width for width in widths if math.isfinite(width)]
    return sum(known) / len(known) if known else math.nan
