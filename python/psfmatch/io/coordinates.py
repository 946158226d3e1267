"""Coordinates in headers: the celestial WCS in parent coordinates, and XY0, the parent position of the first pixel.

`astropy.wcs.WCS.to_header` rounds to 14 digits, so the numbers are set again from the WCS itself. A WCS with distortion
tables keeps them in HDUs of their own.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from astropy.io import fits

from psfmatch.io.celestial import celestialCards
from psfmatch.io.files import quietAstropy
from psfmatch.io.headers import COORDINATES, exactCard
from psfmatch.io.tangentPlane import TangentPlane, tangentPlane

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger("psfmatch.io")

Coordinates: TypeAlias = "TangentPlane | WCS"


def readWcs(
    header: fits.Header, hdus: fits.HDUList | None, xy0: tuple[int, int], lost: Iterable[str] = (), label: str = ""
) -> Coordinates | None:
    """Read the celestial coordinates of an image.

    hdus : the file, for distortion tables; xy0 : parent coordinates of the first pixel; lost : keywords of cards that
    the header had, but that no value could be read from. Returned: in parent coordinates; the first where it says all;
    None where the header has no celestial axes, or (with a warning in the log) no usable ones.
    """
    bad = {key for key in lost if COORDINATES.fullmatch(key)}
    if not bad and not any(re.fullmatch(r"CTYPE\d[A-Z]?", key) for key in header):
        return None
    try:
        with quietAstropy():
            plane = None if bad else tangentPlane(header)
    except fits.VerifyError:
        plane = None
    if plane is not None:
        return plane.shifted(*xy0)
    place = f"{label}: " if label else ""
    try:
        with quietAstropy():
            found = celestialCards(header, hdus, bad)
            if found is None:
                return None
            # What has been as it should be stays astropy's, to the last bit.
            plane = tangentPlane(found.header) if found.words else None
            wcs = _wcsOf(found.header, hdus) if plane is None else None
    except Exception as error:
        # wcslib reports through a dozen exception types, MemoryError for cards that are missing among them; a bad WCS
        # must not make the pixels unreadable.
        log.warning("%sthe WCS cannot be used, going on without it: %s", place, " ".join(str(error).split()))
        return None
    if found.words:
        log.warning("%sof the WCS: %s", place, "; ".join(found.words))
    if plane is not None:
        return plane.shifted(*xy0)
    return None if wcs is None else shiftWcs(wcs, *xy0)


def _wcsOf(header: fits.Header, hdus: fits.HDUList | None) -> WCS:
    """Build astropy's WCS of the cards of `celestialCards`."""
    from astropy.wcs import WCS

    wcs = WCS(header, fobj=hdus)
    wcs.wcs.set()
    return wcs


def asWcs(coordinates: Coordinates | None) -> WCS | None:
    """Return coordinates as astropy's WCS."""
    return coordinates.toWcs() if isinstance(coordinates, TangentPlane) else coordinates


def shiftWcs(wcs: WCS, dx: int, dy: int) -> WCS:
    """Copy a WCS with its pixel origin moved, so that what was pixel (0, 0) is (dx, dy).

    wcs : WCS with two axes; not changed; dx, dy : shift, pixels.
    """
    shifted = wcs.deepcopy()
    if (dx, dy) == (0, 0):
        return shifted
    shift = np.array([dx, dy], dtype=float)
    shifted.wcs.crpix = shifted.wcs.crpix + shift
    if shifted.sip is not None:
        from astropy.wcs import Sip

        sip = shifted.sip
        shifted.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix + shift)
    for table in (shifted.cpdis1, shifted.cpdis2, shifted.det2im1, shifted.det2im2):
        if table is not None:
            # Of a table CRPIX counts its own cells; CRVAL is the image position.
            table.crval = tuple(np.asarray(table.crval) + shift)
    return shifted


def wcsHeader(coordinates: Coordinates | None, xy0: tuple[int, int]) -> tuple[fits.Header, list[fits.ImageHDU]]:
    """Cards of a WCS for the image whose first pixel is ``xy0``.

    coordinates : in parent coordinates; xy0 : parent coordinates of the first pixel. Returned: tables, distortion
    tables to store in the same file; mostly none.
    """
    if coordinates is None:
        return fits.Header(), []
    if isinstance(coordinates, TangentPlane):
        return _planeHeader(coordinates.shifted(-xy0[0], -xy0[1])), []
    local = shiftWcs(coordinates, -xy0[0], -xy0[1])
    if (local.cpdis1 is None) != (local.cpdis2 is None):
        # Of two axes only, wcslib reads such a distortion.
        table = local.cpdis1 or local.cpdis2
        zero = type(table)(np.zeros_like(table.data), tuple(table.crpix), tuple(table.crval), tuple(table.cdelt))
        local.cpdis1, local.cpdis2 = local.cpdis1 or zero, local.cpdis2 or zero
    with quietAstropy():
        hdus = local.to_fits(relax=True)
    header = hdus[0].header
    if local.sip is not None:
        # SIP counts in a WCS whatever its CTYPE, but in a file CTYPE decides.
        for axis in (1, 2):
            if not (ctype := str(header[f"CTYPE{axis}"])).endswith("-SIP"):
                header[f"CTYPE{axis}"] = f"{ctype}-SIP"
    for key in list(header):
        # Structure, and what is no coordinate (time, place), which the metadata hold.
        if not COORDINATES.fullmatch(key):
            header.remove(key, ignore_missing=True, remove_all=True)
    core = local.wcs
    matrix = core.cd if core.has_cd() else core.get_pc()
    scale = np.ones(2) if core.has_cd() else core.get_cdelt()
    exact: dict[str, float] = {}
    for i in range(2):
        exact |= {f"CRPIX{i + 1}": core.crpix[i], f"CRVAL{i + 1}": core.crval[i], f"CDELT{i + 1}": scale[i]}
        exact |= {f"PC{i + 1}_{j + 1}": matrix[i, j] for j in range(2)}
    exact |= {f"PV{i}_{m}": value for i, m, value in core.get_pv()}
    for key, value in exact.items():
        card = exactCard(key, float(value))
        if key in header:
            position = header.index(key)
            del header[position]
            header.insert(position, card)
        elif value != (1.0 if key in ("PC1_1", "PC2_2") else 0.0):
            header.append(card, end=True)
    for axis in (1, 2) if str(header["CTYPE1"]).endswith("TPV") else ():
        # Coefficients of 0 are not written, but this one is 1 where it is missing.
        if f"PV{axis}_1" not in header:
            header[f"PV{axis}_1"] = 0.0
    return header, list(hdus[1:])


def _planeHeader(plane: TangentPlane) -> fits.Header:
    """Cards of a plane, as they were but for a shift."""
    header = fits.Header([fits.Card.fromstring(card) for card in plane.cards])
    if plane.moved != (0, 0):
        for axis, pixel in enumerate(plane.reference, start=1):
            header.set(*exactCard(f"CRPIX{axis}", pixel + 1.0))
    return header


def xy0Cards(xy0: tuple[int, int]) -> fits.Header:
    """Cards that hold XY0: IRAF's LTV and the linear WCS "A", as LSST writes them."""
    header = fits.Header()
    for axis, origin in enumerate(xy0, start=1):
        header[f"LTV{axis}"] = (-float(origin), "parent to image pixels")
        header[f"CTYPE{axis}A"] = ("LINEAR", "parent pixel coordinates, from 0")
        header[f"CRPIX{axis}A"] = 1.0
        header[f"CRVAL{axis}A"] = float(origin)
        header[f"CUNIT{axis}A"] = "pixel"
    return header


def xy0FromCards(cards: Mapping[str, Any]) -> tuple[int, int]:
    """Parent coordinates of the first pixel: from the linear WCS "A", else from LTV1 and LTV2, else (0, 0).

    Returned: whole pixels; fractions are rounded, with a warning in the log.
    """
    # LSST writes CTYPE1A only.
    if str(cards.get("CTYPE1A", "")).strip().upper() == "LINEAR":
        origin = [_number(cards, f"CRVAL{axis}A", 0.0) + 1 - _number(cards, f"CRPIX{axis}A", 1.0) for axis in (1, 2)]
    else:
        origin = [-_number(cards, f"LTV{axis}", 0.0) for axis in (1, 2)]
    rounded = round(origin[0]), round(origin[1])
    if tuple(origin) != rounded:
        log.warning("the first pixel is at (%g, %g) of its parent; rounded to (%d, %d)", *origin, *rounded)
    return rounded


def _number(cards: Mapping[str, Any], key: str, default: float) -> float:
    """Return the number on a card, or what stands for one that is none."""
    try:
        value = float(cards.get(key, default))
    except (TypeError, ValueError, fits.VerifyError):
        return default
    return value if math.isfinite(value) else default
