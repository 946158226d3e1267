"""Coordinates of any kind as a FITS WCS: what astropy's APE 14 calls a WCS, such as gwcs, becomes TAN with SIP.

The tangent point is the middle of the image; there the intermediate coordinates are polynomials of the pixel offsets,
fitted on a lattice by least squares: their linear terms are CD, CD^-1 times the others the distortion A and B of SIP
(Shupe et al. 2005, ASP 347, 491).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.coordinates import asWcs, readWcs, wcsHeader

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger("psfmatch.io")

FloatArray = NDArray[np.float64]
NODES = 33
"""Lattice positions along each axis, from the outer edge of the first pixel to that of the last."""
GOOD_FIT = 0.001
"""Pixels; nothing of ours measures positions better, so no higher degree is tried."""
BAD_FIT = 0.1
"""Pixels; beyond that the coordinates could spoil a subtraction."""
DEGREES = (1, 2, 3, 4, 5, 6, 7)


def fitsWcs(wcs: Any, shape: tuple[int, int]) -> WCS | None:
    """Return a celestial FITS WCS for coordinates of any kind.

    wcs : an astropy WCS, which is returned as it is unless its latitude comes first or it has SIP coefficients that its
    CTYPE does not name; or any object with ``pixel_to_world`` that gives sky coordinates; shape : height and width of
    the image. Returned: None, said in the log, for coordinates that are no two celestial ones or cannot be written as
    TAN-SIP to 0.1 px.
    """
    from astropy.wcs import WCS

    if isinstance(wcs, WCS):
        if wcs.has_celestial and wcs.naxis == 2:
            return _asOfFile(wcs)
        log.warning("the WCS has no two celestial axes; going on without it")
        return None
    x, y = (grid.ravel() for grid in np.meshgrid(*(np.linspace(-0.5, side - 0.5, NODES) for side in shape[::-1])))
    try:
        ra, dec = _sky(wcs, x, y)
        middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
        crval = np.array(_sky(wcs, *(np.array([value]) for value in middle)))[:, 0]
        if not np.isfinite(crval).all():
            raise ValueError("the middle of the image has no position on the sky")
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        log.warning("the WCS (%s) gives no sky coordinates (%s); going on without it", type(wcs).__name__, error)
        return None
    isKnown = np.isfinite(ra) & np.isfinite(dec)
    positions = np.column_stack([x, y])[isKnown]
    best, residual = None, np.inf
    # Positions beyond 90 degrees of the tangent point do not project: such an image has no TAN.
    projected = _plane(crval).all_world2pix(np.column_stack([ra, dec])[isKnown], 0)
    if not np.isfinite(projected).all():
        projected = projected[:0]
    for degree in DEGREES if len(projected) >= NODES else ():
        fitted = _fitted(positions, projected, np.array(middle), crval, degree)
        back = fitted.all_pix2world(positions, 0)
        scale = np.sqrt(abs(np.linalg.det(fitted.wcs.cd)))
        east = ((back[:, 0] - ra[isKnown] + 180.0) % 360.0 - 180.0) * np.cos(np.radians(dec[isKnown]))
        worst = float(np.hypot(east, back[:, 1] - dec[isKnown]).max() / scale)
        if worst < residual:
            best, residual = fitted, worst
        if residual <= GOOD_FIT:
            break
    if best is None or residual > BAD_FIT:
        log.warning(
            "the WCS (%s) cannot be written as TAN-SIP: %.3g px are left; going on without it",
            type(wcs).__name__,
            residual,
        )
        return None
    log.info("the WCS (%s) is written as %s, right to %.2g px", type(wcs).__name__, best.wcs.ctype[0], residual)
    return best


def _asOfFile(wcs: WCS) -> WCS | None:
    """Return a WCS as its cards would be read from a file."""
    hasLeftOver = wcs.sip is not None and not all(ctype.endswith("-SIP") for ctype in wcs.wcs.ctype)
    if not hasLeftOver and wcs.wcs.lng < wcs.wcs.lat:
        return wcs
    if hasLeftOver:
        log.warning("of the WCS: SIP coefficients are left out, for CTYPE says %s", wcs.wcs.ctype[0])
        wcs = wcs.deepcopy()
        wcs.sip = None
    header, tables = wcsHeader(wcs, (0, 0))
    return asWcs(readWcs(header, fits.HDUList([fits.PrimaryHDU(), *tables]), (0, 0)))


def _sky(wcs: Any, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return right ascension and declination, ICRS, degrees."""
    sky = wcs.pixel_to_world(x, y)
    if not hasattr(sky, "icrs"):
        raise TypeError(f"it gives {type(sky).__name__}")
    sky = sky.icrs
    return np.asarray(sky.ra.deg, dtype=np.float64), np.asarray(sky.dec.deg, dtype=np.float64)


def _plane(crval: FloatArray) -> WCS:
    """Return a tangent plane whose pixels are degrees from the tangent point."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cd = crval, (1.0, 1.0), np.eye(2)
    wcs.wcs.set()
    return wcs


def _fitted(positions: FloatArray, projected: FloatArray, middle: FloatArray, crval: FloatArray, degree: int) -> WCS:
    """Return the TAN-SIP WCS of a degree that maps positions (0-based pixels) to points of the tangent plane."""
    offset = positions - middle
    # Powers of numbers up to 1 keep the equations well conditioned.
    scale = float(np.abs(offset).max())
    u, v = (offset / scale).T
    powers = [(p, q) for p in range(degree + 1) for q in range(degree + 1 - p) if p + q >= 1]
    design = np.column_stack([u**p * v**q for p, q in powers])
    coefficients, *_ = np.linalg.lstsq(design, projected, rcond=None)
    terms = {power: row / scale ** sum(power) for power, row in zip(powers, coefficients, strict=True)}
    wcs = _plane(crval)
    wcs.wcs.crpix = middle + 1.0
    wcs.wcs.cd = cd = np.column_stack([terms[1, 0], terms[0, 1]])
    if degree > 1:
        wcs.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
        distortion = np.zeros((2, degree + 1, degree + 1))
        for (p, q), row in terms.items():
            if p + q > 1:
                distortion[:, p, q] = np.linalg.solve(cd, row)
        from astropy.wcs import Sip

        wcs.sip = Sip(distortion[0], distortion[1], None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs
