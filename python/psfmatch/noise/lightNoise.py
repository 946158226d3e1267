"""What a difference shows on light beyond its variance plane: photon noise, and errors in proportion to the light.

An image without a noise plane and without a gain has the noise of its sky alone in its variance, and the residuals of
bright stars look like errors of the kernel; their scatter tells the gain (`psfmatch/image/PhotonNoise.h`).

Two images of equal or undersampled PSFs cannot be turned into each other by a convolution, and a kernel that few stars
tell is not known to a per cent either. What is left of a source grows with its light, beyond any noise: no flux on a
source is known better than that floor (`psfmatch/image/ErrorFloor.h`). A star that only one of the images shows has
changed, and has no such error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from psfmatch import _core
from psfmatch.images import DEFAULT_BAD_PLANES, SIGMA_TO_FWHM, Exposure, MaskedImage, stampTuple
from psfmatch.images.maskedImage import StampTuple
from psfmatch.noise.blankSky import BlankSky

__all__ = ["ErrorFloor", "LitDifference", "PhotonNoise", "addPhotonNoise"]

BRIGHT = 3.0
"""Noise of the sky above which light has photon noise of its own."""


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


@dataclass(frozen=True)
class PhotonNoise:
    """Variance in proportion to light that a difference shows beyond its plane.

    perCount : counts^2 of the image per count of its light, 1 over the gain; perCountError : one sigma; share : of the
    light, by which sources are left over beside; NaN: too few lit pixels tell; nPixels : that were looked at.
    """

    perCount: float
    perCountError: float
    share: float
    nPixels: int


@dataclass(frozen=True, eq=False)
class LitDifference:
    """A difference, and the light on its pixels: what its variance plane does not say of them.

    difference : with its variance plane; image : the one that was not convolved, on the same pixels, whose peaks are
    the sources; scale : counts of the difference per count of the image; isMinuend : whether the difference is this
    image minus the matched one, else it is the matched one minus this image; threads : their number changes no result.

    The methods raise ValueError if the shapes differ, or a FWHM is not a positive number.
    """

    difference: MaskedImage
    image: MaskedImage
    scale: float = 1.0
    isMinuend: bool = True
    threads: int = 1

    def errorFloor(self, sky: BlankSky, fwhmPix: float) -> ErrorFloor:
        """Fit the share of the light by which fluxes of point sources are off beyond their noise.

        `sky` : blank sky of the difference; `fwhmPix` : of point sources in it.
        """
        stamps, options = self._given()
        found = _core.errorFloor(*stamps, sky, sigma=fwhmPix / SIGMA_TO_FWHM, **options)
        return ErrorFloor(*found, fwhmPix=fwhmPix)

    def errorFloorPlane(self, floor: ErrorFloor) -> npt.NDArray[np.float32]:
        """Return the floor of a point source's flux at every pixel (ny, nx), counts of the difference, one sigma."""
        stamps, options = self._given()
        return _core.errorFloorPlane(*stamps, share=floor.share, sigma=floor.fwhmPix / SIGMA_TO_FWHM, **options)

    def photonNoise(self) -> PhotonNoise:
        """Measure how the scatter of the difference grows with the light."""
        stamps, options = self._given()
        perCount, error, share, nPixels = _core.photonNoise(*stamps, **options)
        return PhotonNoise(perCount / self.scale, error / self.scale, share, nPixels)

    def _given(self) -> tuple[tuple[StampTuple, StampTuple], dict[str, Any]]:
        """Return both images and what belongs to them as the core takes them."""
        stamps = stampTuple(self.difference, DEFAULT_BAD_PLANES), stampTuple(self.image, DEFAULT_BAD_PLANES)
        return stamps, {"scale": self.scale, "isMinuend": self.isMinuend, "nThreads": self.threads}


def addPhotonNoise(exposure: Exposure, perCount: float, threads: int = 1) -> Exposure:
    """Return the exposure with perCount times the light above the sky added to its variance; itself where that is 0.

    Only where the light exceeds three times the noise; the other planes are shared.

    Raises
    ------
    ValueError
        If `perCount` is negative or not finite.
    """
    if perCount == 0.0:
        return exposure
    image = exposure.maskedImage
    variance = _core.withPhotonNoise(
        stampTuple(image, DEFAULT_BAD_PLANES), perCount=perCount, leastSigmas=BRIGHT, nThreads=threads
    )
    return exposure.withPixels(MaskedImage(image.image, image.mask, variance, image.xy0))
