"""Photon noise that variance planes lack, told by the difference and added where light is.

An image without a noise plane and without a gain has the noise of its sky alone in its variance, and the residuals of
bright stars look like errors of the kernel. Their scatter tells the gain: the formula is in
`psfmatch/image/PhotonNoise.h`.
"""

from __future__ import annotations

from dataclasses import dataclass

from psfmatch import _core
from psfmatch.exposure import DEFAULT_BAD_PLANES, Exposure, MaskedImage, stampTuple

__all__ = ["PhotonNoise", "addPhotonNoise", "measurePhotonNoise"]

BRIGHT = 3.0
"""Noise of the sky above which light has photon noise of its own."""


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


def measurePhotonNoise(
    difference: MaskedImage, image: MaskedImage, *, scale: float = 1.0, isMinuend: bool = True, threads: int = 1
) -> PhotonNoise:
    """Measure how the scatter of a difference grows with the light.

    Parameters
    ----------
    difference
        With its variance plane.
    image
        The image that was not convolved, on the same pixels.
    scale
        Counts of the difference per count of the image.
    isMinuend
        Whether the difference is this image minus the matched one; else it is the matched one minus this image.
    threads
        Number of threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    perCount, error, share, nPixels = _core.photonNoise(
        stampTuple(difference, DEFAULT_BAD_PLANES),
        stampTuple(image, DEFAULT_BAD_PLANES),
        scale=scale,
        isMinuend=isMinuend,
        nThreads=threads,
    )
    return PhotonNoise(perCount / scale, error / scale, share, nPixels)


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
