"""Positions of one image in the pixels of another, by way of the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from psfmatch.errors import InputImagesError, advice
from psfmatch.images.exposure import Exposure
from psfmatch.io import Coordinates, TangentPlane, asWcs

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["PixelTransform", "dropAdvice", "hasUsableWcs"]

FloatArray = npt.NDArray[np.float64]


def dropAdvice() -> str:
    """Return in words what to do about a WCS that is wrong."""
    return "if the pixels are registered and a WCS is wrong, drop the WCS " + advice(
        "(Exposure(..., wcs=None))", "(--ignore-wcs)", "from its header", manifest="from its header"
    )


class PixelTransform:
    """Positions in parent pixels of one image as positions in parent pixels of another, by way of the sky.

    Parameters
    ----------
    fromWcs, toWcs
        Celestial coordinates of the two images, of any projection and distortion that astropy knows.

    Raises
    ------
    InputImagesError
        If a WCS cannot be used.
    """

    def __init__(self, fromWcs: Coordinates, toWcs: Coordinates) -> None:
        self._planes: tuple[TangentPlane, TangentPlane] | None = None
        if isinstance(fromWcs, TangentPlane) and isinstance(toWcs, TangentPlane) and fromWcs.frame == toWcs.frame:
            self._planes = fromWcs, toWcs
            return
        self._from, self._to = _planar(asWcs(fromWcs)), _planar(asWcs(toWcs))
        self._frames = _framesIfDifferent(self._from, self._to)

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the positions (x, y) in pixels, arrays of the shape of the arguments; NaN where there is none.

        The inverse of a distortion is found to 1e-4 px, a hundredth of what counts as equal.
        """
        columns, rows = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        if self._planes is not None:
            return self._planes[1].toPixels(*self._planes[0].toSky(columns, rows))
        try:
            with np.errstate(invalid="ignore"):
                world = np.array(self._from.all_pix2world(columns.ravel(), rows.ravel(), 0))
                world = self._onOtherFrame(world[[self._from.wcs.lng, self._from.wcs.lat]])
                if self._to.wcs.lng > self._to.wcs.lat:
                    world = world[::-1]
                positions = _worldToPixels(self._to, world)
        except (ValueError, RuntimeError) as error:
            raise _unusableWcs(error) from error
        known = np.isfinite(positions).all(axis=0) & np.isfinite(columns.ravel()) & np.isfinite(rows.ravel())
        positions[:, ~known] = np.nan
        return positions[0].reshape(columns.shape), positions[1].reshape(columns.shape)

    def _onOtherFrame(self, world: FloatArray) -> FloatArray:
        if self._frames is None:
            return world
        from astropy.coordinates import SkyCoord

        sky = SkyCoord(world[0], world[1], unit="deg", frame=self._frames[0]).transform_to(self._frames[1])
        return np.array([sky.spherical.lon.deg, sky.spherical.lat.deg])


def hasUsableWcs(exposure: Exposure) -> bool:
    """Whether an exposure has celestial coordinates; InputImagesError if they cannot be used."""
    if isinstance(exposure.coordinates, TangentPlane):
        return True
    try:
        if exposure.wcs is None or not exposure.hasWcs:
            return False
    except (ValueError, RuntimeError) as error:
        raise _unusableWcs(error) from error
    _planar(exposure.wcs)
    return True


def _unusableWcs(error: Exception) -> InputImagesError:
    # wcslib gives the place in its source first, and what is wrong in a line of its own.
    told = " ".join(str(error).split())
    return InputImagesError(f"Input images not registered: a WCS cannot be used ({told}); {dropAdvice()}")


def _worldToPixels(wcs: WCS, world: FloatArray) -> FloatArray:
    """Return pixel positions (2, n) of world coordinates (2, n) in the WCS's own order; NaN where there are none."""
    isFinite = np.isfinite(world).all(axis=0)
    positions = np.full(world.shape, np.nan)
    if not isFinite.any():
        return positions
    from astropy.wcs import NoConvergence

    try:
        positions[:, isFinite] = wcs.all_world2pix(*world[:, isFinite], 0)
    except NoConvergence as error:
        found = np.array(error.best_solution, dtype=np.float64)
        for failed in (error.divergent, error.slow_conv):
            if failed is not None:
                found[np.asarray(failed, dtype=int)] = np.nan
        positions[:, isFinite] = found.T
    return positions


def _planar(wcs: WCS) -> WCS:
    try:
        planar = wcs if wcs.naxis == 2 else wcs.celestial
        planar.wcs.set()
    except (ValueError, RuntimeError) as error:
        raise _unusableWcs(error) from error
    return planar


def _framesIfDifferent(first: WCS, second: WCS) -> tuple[Any, Any] | None:
    """Return the celestial frames of two WCSs if they are known and not the same."""

    def words(wcs: WCS) -> tuple[Any, ...]:
        return wcs.wcs.lngtyp, wcs.wcs.radesys, str(wcs.wcs.equinox)

    if words(first) == words(second):
        return None
    equatorial = first.wcs.lngtyp == second.wcs.lngtyp == "RA"
    if equatorial and not (first.wcs.radesys and second.wcs.radesys):
        return None
    from astropy.wcs.utils import wcs_to_celestial_frame

    frames = wcs_to_celestial_frame(first), wcs_to_celestial_frame(second)
    return None if frames[0].is_equivalent_frame(frames[1]) else frames
