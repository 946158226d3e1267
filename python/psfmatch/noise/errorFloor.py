"""The error that a subtraction leaves in proportion to light: the floor below which no flux on a source is known.

Two images of equal or undersampled PSFs cannot be turned into each other by a convolution, and a kernel that few stars
tell is not known to a per cent either. What is left of a source grows with its light, beyond any noise. It is told as
the share of the light that both images show by which the flux of a point source is off there; the formula is in
`psfmatch/image/ErrorFloor.h`. A star that only one of the images shows has changed, and has no such error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.exposure import DEFAULT_BAD_PLANES, MaskedImage, stampTuple
from psfmatch.noise.blankSky import BlankSky
from psfmatch.psf import SIGMA_TO_FWHM

__all__ = ["ErrorFloor", "errorFloorPlane", "measureErrorFloor"]


@dataclass(frozen=True)
class ErrorFloor:
    """How far the flux of a point source on light is off beyond its noise.

    share : of the light that both images show there, one standard deviation; 0: no more than noise is left;
    pull, pullError : robust width of that flux in units of its noise where the light exceeds twenty times the noise,
    before the floor, and its standard deviation if noise alone were left; skyPull : the same of blank sky, by which the
    noise is corrected; nSources, nPlaces : on which the width was measured; fwhmPix : of the profile. NaN: not known.
    """

    share: float
    pull: float
    pullError: float
    skyPull: float
    nSources: int
    nPlaces: int
    fwhmPix: float

    @property
    def sentence(self) -> str:
        """What was measured and what follows, in words."""
        if not self.nPlaces:
            return "Error floor: none; no source is bright enough to tell."
        where = f"where {self.nSources} sources are 20 times brighter than their noise, fluxes of the difference"
        if not self.share:
            return (
                f"Error floor: none; {where} scatter by {self.pull:.2f} +/- {self.pullError:.2f} times their noise"
                f"{'.' if self.pull <= 1.0 else ', too little or on too few to tell more than noise.'}"
            )
        return (
            f"Error floor: {self.share:.2%} of the light that both images show; {where} scatter by {self.pull:.2f} "
            "times their noise. Significances and flux errors include it."
        )


def measureErrorFloor(
    difference: MaskedImage,
    image: MaskedImage,
    sky: BlankSky,
    fwhmPix: float,
    *,
    scale: float = 1.0,
    isMinuend: bool = True,
    threads: int = 1,
) -> ErrorFloor:
    """Fit the share of the light by which fluxes of the difference are off beyond their noise.

    Parameters
    ----------
    difference
        With its variance plane.
    image
        The image that was not convolved, on the same pixels; its peaks are the sources.
    sky
        Blank sky of the difference.
    fwhmPix
        FWHM of point sources in it.
    scale
        Counts of the difference per count of the image.
    isMinuend
        Whether the difference is this image minus the matched one; else it is the matched one minus this image.
    threads
        Number of threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the shapes differ, or the FWHM is not a positive number.
    """
    found = _core.errorFloor(
        stampTuple(difference, DEFAULT_BAD_PLANES),
        stampTuple(image, DEFAULT_BAD_PLANES),
        sky,
        sigma=fwhmPix / SIGMA_TO_FWHM,
        scale=scale,
        isMinuend=isMinuend,
        nThreads=threads,
    )
    return ErrorFloor(*found, fwhmPix=fwhmPix)


def errorFloorPlane(
    floor: ErrorFloor,
    difference: MaskedImage,
    image: MaskedImage,
    *,
    scale: float = 1.0,
    isMinuend: bool = True,
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Return the floor of a point source's flux at every pixel (ny, nx), counts of the difference, one sigma.

    Parameters and errors are those of `measureErrorFloor`.
    """
    light = _core.lightOfBoth(
        stampTuple(difference, DEFAULT_BAD_PLANES),
        stampTuple(image, DEFAULT_BAD_PLANES),
        sigma=floor.fwhmPix / SIGMA_TO_FWHM,
        scale=scale,
        isMinuend=isMinuend,
        nThreads=threads,
    )
    light *= np.float32(floor.share)
    return light
