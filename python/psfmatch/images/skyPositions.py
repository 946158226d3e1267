"""Pixels to sky and back, for catalogues: right ascension and declination whatever the WCS is written in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch.io import Coordinates, TangentPlane, asWcs

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["pixelsToSky", "skyToPixels"]

FloatArray = npt.NDArray[np.float64]


def pixelsToSky(coordinates: Coordinates, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return right ascension and declination (degrees) of positions x and y (parent pixels).

    They are of the WCS's own equatorial frame, or ICRS where it has another.
    """
    if isinstance(coordinates, TangentPlane):
        return coordinates.toSky(x, y)
    wcs = coordinates
    planar, isLatitudeFirst = _planar(wcs)
    first, second = planar.all_pix2world(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), 0)
    if isLatitudeFirst:
        first, second = second, first
    frame = _foreignFrame(wcs)
    if frame is None:
        return first, second
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(first, second, unit="deg", frame=frame).icrs
    return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


def skyToPixels(coordinates: Coordinates, sky: Any) -> tuple[FloatArray, FloatArray]:
    """Return x and y (parent pixels) of sky positions.

    Parameters
    ----------
    coordinates
        With a celestial part.
    sky
        A SkyCoord, of any frame; or right ascension and declination (degrees) as of `pixelsToSky`. Positions that
        the WCS has no pixel for become NaN or lie far outside any image.
    """
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs: Any = asWcs(coordinates)
    celestial, isLatitudeFirst = _planar(wcs)
    frame = _foreignFrame(wcs)
    if isinstance(sky, SkyCoord):
        coordinate = sky.transform_to(wcs_to_celestial_frame(celestial)).spherical
        longitude, latitude = coordinate.lon.deg, coordinate.lat.deg
    elif frame is not None:
        coordinate = SkyCoord(*sky, unit="deg", frame="icrs").transform_to(frame).spherical
        longitude, latitude = coordinate.lon.deg, coordinate.lat.deg
    else:
        longitude, latitude = sky
    world = np.atleast_1d(longitude), np.atleast_1d(latitude)
    x, y = celestial.all_world2pix(*(world[::-1] if isLatitudeFirst else world), 0, quiet=True)
    return x, y


def _planar(wcs: WCS) -> tuple[WCS, bool]:
    """Return the celestial part of a WCS, and whether its latitude comes first: astropy would swap the pixels, too."""
    isLatitudeFirst = wcs.naxis == 2 and wcs.wcs.lng > wcs.wcs.lat
    return (wcs if isLatitudeFirst else wcs.celestial), isLatitudeFirst


def _foreignFrame(wcs: WCS) -> Any:
    """Return the celestial frame of a WCS unless it is equatorial as of 2000."""
    from astropy.coordinates import FK5, ICRS
    from astropy.wcs.utils import wcs_to_celestial_frame

    frame = wcs_to_celestial_frame(wcs.celestial)
    isOwn = isinstance(frame, ICRS) or (isinstance(frame, FK5) and frame.equinox.jyear == 2000.0)
    return None if isOwn else frame
