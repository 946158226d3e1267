"""Header cards in and out: metadata without structure and coordinates, numbers to the last bit, flux scale.

astropy cuts numbers to the 20 characters of the fixed format; cards that need more are written in the free format.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.cards import isNumber, mendInMemory
from psfmatch.io.units import unitOf

if TYPE_CHECKING:
    from astropy.table import Table

log = logging.getLogger("psfmatch.io")

FORMAT_CARD = "PSFMFMT"  # in the primary header of our own files: version of the layout
FORMAT = 1
PHOTOCALIB_CARD = "PHOTOCAL"  # nJy per count

STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|BSOFTEN|BOFFSET|END|Z?(CHECKSUM|DATASUM)|ZHECKSUM"
    r"|EXTNAME|EXTVER|EXTLEVEL|EXTTYPE|INHERIT|NEXTEND|LONGSTRN|AR_HDU|AR_NAME"
    r"|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|BCOL|DIM)\d+|TFIELDS|THEAP"
    r"|FZ(ALGOR|TILE|QVALUE|QMETHD|DTHRSD|INTLZ)"
    r"|Z(IMAGE|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+)"
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


def ownPrimaryHdu(nExtensions: int) -> fits.PrimaryHDU:
    """Empty primary HDU that marks a file as ours and says how many HDUs follow."""
    primary = fits.PrimaryHDU()
    primary.header["NEXTEND"] = (nExtensions, "number of extensions")
    primary.header[FORMAT_CARD] = (FORMAT, "layout of a psfmatch file")
    return primary


def imageHdu(name: str, data: NDArray[Any], cards: Iterable[fits.Card] = ()) -> fits.ImageHDU:
    """Return an image of any dimension that tells its name as EXTNAME and EXTTYPE; the pixels are not copied."""
    # Of a read-only array astropy makes a byte-swapped copy; a writeable one it would swap in place while writing.
    view = np.asarray(data).view()
    view.flags.writeable = False
    hdu = fits.ImageHDU(view, name=name)
    hdu.header["EXTTYPE"] = name
    hdu.header.extend(cards, unique=False, end=True)
    return hdu


def tableHdu(name: str, table: Table) -> fits.BinTableHDU:
    """Return a table of astropy's as an HDU that tells its name as EXTNAME and EXTTYPE."""
    hdu = fits.table_to_hdu(table)
    hdu.name = name
    hdu.header["EXTTYPE"] = name
    return hdu


@functools.lru_cache(maxsize=4096)
def isMetadata(key: str) -> bool:
    """Whether a card is neither structure nor coordinates, and has a name."""
    upper = key.strip().upper()
    return bool(upper) and not STRUCTURE.fullmatch(upper) and not COORDINATES.fullmatch(upper)


def readMetadata(*headers: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the cards worth keeping.

    Returned: values by keyword; HISTORY and COMMENT are one string each, lines joined by newlines. Undefined values are
    None.
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


def readableHeader(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a header that astropy has read and not `openFits`, without cards of which astropy can tell no value."""
    readable: Mapping[str, Any] = header
    try:
        for card in header.cards if isinstance(header, fits.Header) else ():
            _ = card.value
    except fits.VerifyError:
        readable, faults = mendInMemory(header)
        for fault in faults:
            log.warning("%s", fault.words)
    return readable


def appendMetadata(header: fits.Header, metadata: Mapping[str, Any]) -> None:
    """Write metadata to a header, exactly where FITS can.

    Strings, numbers, booleans and None become cards; NaN and infinity, which FITS lacks, become strings; anything else
    becomes JSON. Long or lower-case keywords use the HIERARCH convention. Structural keywords and those of the WCS are
    passed over. header : header to extend, changed in place; metadata : values by keyword.
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

    key : keyword, without HIERARCH.
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
    elif not (value is None or isinstance(value, bool | int | float) or _isFiniteComplex(value)):
        value = _ascii(json.dumps(value, default=str))
    return fits.Card(key if standard else f"HIERARCH {key}", value, comment or None)


def photoCalibFromCards(cards: Mapping[str, Any]) -> float | None:
    """Flux of one count in nJy, if the header says so.

    cards : looked at in this order: our own card, FLUXMAG0 (counts of AB magnitude 0), a flux unit in BUNIT, a surface
    brightness in BUNIT with the pixel's area PIXAR_SR. Returned: None where nothing is said, or nothing positive.
    """
    value: Any = cards.get(PHOTOCALIB_CARD)
    if value is None and _positive(cards.get("FLUXMAG0")):
        # AB magnitude 0 is 10^(-48.6/2.5) erg/s/cm^2/Hz = 3.63e12 nJy.
        value = (0 * units.ABmag).to_value(units.nJy) / cards["FLUXMAG0"]
    if value is None:
        unit = unitOf(str(cards.get("BUNIT", "")).strip())
        area = cards.get("PIXAR_SR")  # sr per pixel
        if unit is None:
            return None  # counts
        if unit.is_equivalent(units.nJy):
            value = unit.to(units.nJy)
        elif unit.is_equivalent(units.mgy):
            # A maggie is the flux of magnitude 0.
            value = unit.to(units.mgy) * (0 * units.ABmag).to_value(units.nJy)
        elif unit.is_equivalent(units.nJy / units.sr) and _positive(area):
            value = unit.to(units.nJy / units.sr) * area
    return float(value) if _positive(value) else None


def _positive(value: Any) -> bool:
    return isNumber(value) and value > 0


def _isFiniteComplex(value: Any) -> bool:
    return isinstance(value, complex) and math.isfinite(value.real) and math.isfinite(value.imag)


def _ascii(text: str) -> str:
    """Printable ASCII, which is all that FITS allows."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", text).encode("ascii", "backslashreplace").decode("ascii")
