"""Header cards in and out: metadata without structure, WCS in parent coordinates, flux scale, XY0.

The WCS written keeps every bit of its numbers: `astropy.wcs.WCS.to_header` rounds to 14 digits, and astropy's
cards to 20 characters, so the numbers are set again from the WCS itself. WCS with distortion tables keep them
in HDUs of their own.
"""

from __future__ import annotations

import json
import logging
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, Sip

__all__ = [
    "FORMAT_CARD",
    "appendMetadata",
    "exactCard",
    "photoCalibFromCards",
    "readMetadata",
    "readWcs",
    "shiftWcs",
    "wcsHeader",
    "xy0Cards",
    "xy0FromCards",
]

log = logging.getLogger("psfmatch.io")

FORMAT_CARD = "PSFMFMT"  # in the primary header of our own files: version of the layout
PHOTOCALIB_CARD = "PHOTOCAL"  # nJy per count

STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|END|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM"
    r"|EXTNAME|EXTVER|EXTLEVEL|EXTTYPE|INHERIT|NEXTEND|LONGSTRN|AR_HDU|AR_NAME|FZ(ALGOR|TILE|QVALUE|QMETHD|DTHRSD|INTLZ)"
    r"|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|BCOL|DIM)\d+|TFIELDS|THEAP|Z(IMAGE|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+)"
    rf"|MP_\w+|MSK[NMD]\d+|{FORMAT_CARD}|{PHOTOCALIB_CARD}"
)
COORDINATES = re.compile(
    r"(WCSAXES|WCSNAME|LONPOLE|LATPOLE|RADESYS|EQUINOX)[A-Z]?|(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CRDER|CSYER|CNAME)\d[A-Z]?"
    r"|CROTA\d|(CD|PC|PV|PS)\d_\d+[A-Z]?|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)|(CPDIS|CPERR|CQDIS|D2IMDIS|D2IMERR|D2IMARR)\d"
    r"|D2IMEXT|AXISCORR|D[PQ]\d(\..*)?|D2IM\d(\..*)?|LTV\d|LTM\d_\d|WCSDIM|WAT\d_\d+|RADECSYS"
)
# The two sentences with which old libraries begin each file.
BOILERPLATE = re.compile(
    r"\s*(FITS \(Flexible Image Transport System\) format is defined in 'Astronomy"
    r"|and Astrophysics', volume 376, page 359.*)\s*"
)


def isMetadata(key: str) -> bool:
    """Whether a card is neither structure nor coordinates, and has a name."""
    upper = key.strip().upper()
    return bool(upper) and not STRUCTURE.fullmatch(upper) and not COORDINATES.fullmatch(upper)


def readMetadata(*headers: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the cards worth keeping.

    Parameters
    ----------
    *headers : `astropy.io.fits.Header` or mapping
        Headers; later ones win.

    Returns
    -------
    metadata : `dict`
        Values by keyword; HISTORY and COMMENT are one string each, lines joined by newlines. Undefined values
        are None.
    """
    metadata: dict[str, Any] = {}
    for header in headers:
        for key, value in header.items():
            if key in ("HISTORY", "COMMENT") or not isMetadata(key):
                continue
            metadata[key] = None if isinstance(value, fits.card.Undefined) else value
        for key in ("COMMENT", "HISTORY"):
            if key in header:
                value = header[key]
                new = value.splitlines() if isinstance(value, str) else [str(line) for line in value]
                old = metadata[key].splitlines() if key in metadata else []
                lines = [*old, *(line for line in new if not BOILERPLATE.fullmatch(line))]
                if lines:
                    metadata[key] = "\n".join(lines)
    return metadata


def appendMetadata(header: fits.Header, metadata: Mapping[str, Any]) -> None:
    """Write metadata to a header, exactly where FITS can.

    Strings, numbers, booleans and None become cards; NaN and infinity, which FITS lacks, become strings;
    anything else becomes JSON. Long or lower-case keywords use the HIERARCH convention. Structural keywords
    and those of the WCS are passed over.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        Header to extend, changed in place.
    metadata : mapping
        Values by keyword.
    """
    for key, value in metadata.items():
        if not isMetadata(key):
            continue
        if key in ("HISTORY", "COMMENT"):
            for line in str(value).splitlines():
                header.add_history(_ascii(line)) if key == "HISTORY" else header.add_comment(_ascii(line))
            continue
        try:
            header.append(exactCard(key, value), end=True)
        except ValueError as error:
            log.warning("metadata %r = %r cannot be written to FITS (%s); left out", key, value, error)


def exactCard(key: str, value: Any, comment: str = "") -> fits.Card:
    """Make a card that reads back as the same value; floats keep all 17 digits.

    Parameters
    ----------
    key : `str`
        Keyword, without HIERARCH.
    value : object
        Value.
    comment : `str`
        Comment.

    Returns
    -------
    card : `astropy.io.fits.Card`
        The card.
    """
    if isinstance(value, np.generic):
        value = value.item()
    standard = re.fullmatch(r"[A-Z0-9_-]{1,8}", key) is not None
    if isinstance(value, float) and not math.isfinite(value):
        value = repr(value)
    if isinstance(value, float) and len(repr(value)) > 20:
        # Beyond the fixed format's 20 characters astropy would cut digits off.
        start = f"{key:<8}= " if standard else f"HIERARCH {key} = "
        text = start + repr(value).upper() + (f" / {comment}" if comment else "")
        if len(text) <= 80:
            return fits.Card.fromstring(text)
    if isinstance(value, str):
        value = _ascii(value)
    elif not (value is None or isinstance(value, bool | int | float)):
        value = _ascii(json.dumps(value, default=str))
    return fits.Card(key if standard else f"HIERARCH {key}", value, comment or None)


def readWcs(header: fits.Header, hdus: fits.HDUList | None, xy0: tuple[int, int]) -> WCS | None:
    """Build the celestial WCS of an image.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        Header of the image.
    hdus : `astropy.io.fits.HDUList` or None
        The file, for distortion tables.
    xy0 : `tuple` [`int`, `int`]
        Parent coordinates of the first pixel.

    Returns
    -------
    wcs : `astropy.wcs.WCS` or None
        In parent coordinates; None where the header has no celestial axes, or (with a warning in the log) no
        usable ones.
    """
    if not any(re.fullmatch(r"CTYPE\d", key) for key in header):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, fobj=hdus)
            if not wcs.has_celestial:
                return None
            if wcs.naxis != 2:
                wcs = wcs.celestial
            wcs.wcs.set()
        except MemoryError:
            raise
        except Exception as error:
            # wcslib reports through a dozen exception types; a bad WCS must not make the pixels unreadable.
            log.warning("the WCS cannot be used, going on without it: %s", " ".join(str(error).split()))
            return None
    return shiftWcs(wcs, *xy0)


def shiftWcs(wcs: WCS, dx: int, dy: int) -> WCS:
    """Copy a WCS with its pixel origin moved, so that what was pixel (0, 0) is (dx, dy).

    Parameters
    ----------
    wcs : `astropy.wcs.WCS`
        WCS with two axes; not changed.
    dx, dy : `int`
        Shift, pixels.

    Returns
    -------
    shifted : `astropy.wcs.WCS`
        The copy.
    """
    shifted = wcs.deepcopy()
    if (dx, dy) == (0, 0):
        return shifted
    shift = np.array([dx, dy], dtype=float)
    shifted.wcs.crpix = shifted.wcs.crpix + shift
    if shifted.sip is not None:
        sip = shifted.sip
        shifted.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix + shift)
    for table in (shifted.cpdis1, shifted.cpdis2, shifted.det2im1, shifted.det2im2):
        if table is not None:
            # Of a table CRPIX counts its own cells; CRVAL is the image position.
            table.crval = tuple(np.asarray(table.crval) + shift)
    return shifted


def wcsHeader(wcs: WCS | None, xy0: tuple[int, int]) -> tuple[fits.Header, list[fits.ImageHDU]]:
    """Cards of a WCS for the image whose first pixel is ``xy0``.

    Parameters
    ----------
    wcs : `astropy.wcs.WCS` or None
        In parent coordinates.
    xy0 : `tuple` [`int`, `int`]
        Parent coordinates of the first pixel.

    Returns
    -------
    header : `astropy.io.fits.Header`
        The cards.
    tables : `list` [`astropy.io.fits.ImageHDU`]
        Distortion tables to store in the same file; mostly none.
    """
    if wcs is None:
        return fits.Header(), []
    local = shiftWcs(wcs, -xy0[0], -xy0[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus = local.to_fits(relax=True)
    header = hdus[0].header
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
    return header, list(hdus[1:])


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

    Parameters
    ----------
    cards : `astropy.io.fits.Header` or mapping
        Header of the image.

    Returns
    -------
    xy0 : `tuple` [`int`, `int`]
        Whole pixels; fractions are rounded, with a warning in the log.
    """
    # LSST writes CTYPE1A only.
    if str(cards.get("CTYPE1A", "")).strip().upper() == "LINEAR":
        origin = [float(cards.get(f"CRVAL{axis}A", 0)) + 1 - float(cards.get(f"CRPIX{axis}A", 1)) for axis in (1, 2)]
    else:
        origin = [-float(cards.get(f"LTV{axis}", 0)) for axis in (1, 2)]
    rounded = round(origin[0]), round(origin[1])
    if tuple(origin) != rounded:
        log.warning("the first pixel is at (%g, %g) of its parent; rounded to (%d, %d)", *origin, *rounded)
    return rounded


def photoCalibFromCards(cards: Mapping[str, Any]) -> float | None:
    """Flux of one count in nJy, if the header says so.

    Parameters
    ----------
    cards : `astropy.io.fits.Header` or mapping
        Looked at in this order: our own card, FLUXMAG0 (counts of AB magnitude 0), a flux unit in BUNIT, a
        surface brightness in BUNIT with the pixel's area PIXAR_SR.

    Returns
    -------
    photoCalib : `float` or None
        None where nothing is said, or nothing positive.
    """
    value: Any = cards.get(PHOTOCALIB_CARD)
    if value is None and _positive(cards.get("FLUXMAG0")):
        # AB magnitude 0 is 10^(-48.6/2.5) erg/s/cm^2/Hz = 3.63e12 nJy.
        value = (0 * units.ABmag).to_value(units.nJy) / cards["FLUXMAG0"]
    if value is None:
        try:
            unit = units.Unit(str(cards.get("BUNIT", "")).strip())
            area = cards.get("PIXAR_SR")  # sr per pixel
            if unit.is_equivalent(units.nJy):
                value = unit.to(units.nJy)
            elif unit.is_equivalent(units.nJy / units.sr) and _positive(area):
                value = unit.to(units.nJy / units.sr) * area
        except (ValueError, TypeError):
            return None  # not a unit known to astropy: counts
    return float(value) if _positive(value) else None


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _ascii(text: str) -> str:
    """Printable ASCII, which is all that FITS allows."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", text).encode("ascii", "backslashreplace").decode("ascii")
