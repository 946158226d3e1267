"""Binary tables from plain arrays, as bytes: astropy makes none without importing its Table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from astropy.io import fits

from psfmatch.io.pixels import BLOCK
from psfmatch.io.sourceTable import SourceTable

FORMS = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "u1": "B"}


def tableBytes(table: SourceTable, name: str, cards: Iterable[fits.Card] = ()) -> bytes:
    """Return the HDU of a table as it stands in a file; it tells its name as EXTNAME and EXTTYPE.

    table : columns of numbers, booleans or strings (n,), or of vectors (n, m); their units become TUNIT; name : of the
    HDU; cards : more cards, for the end of the header.
    """
    stored, forms = {}, {}
    for key in table.colnames:
        values = table[key]
        if values.dtype.kind == "b":
            values, form = np.where(values, b"T", b"F"), "L"
        elif values.dtype.kind == "U":
            values = values.astype(np.bytes_)
            form = f"{values.itemsize}A"
        else:
            form = FORMS[values.dtype.str[1:]]
            values = values.astype(values.dtype.newbyteorder(">"), copy=False)
        stored[key], forms[key] = values, form if values.ndim == 1 else f"{values.shape[1]}{form}"
    rows = np.empty(len(table), dtype=[(key, values.dtype, values.shape[1:]) for key, values in stored.items()])
    for key, values in stored.items():
        rows[key] = values
    header = fits.Header(
        [
            ("XTENSION", "BINTABLE", "binary table extension"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 2, "number of array dimensions"),
            ("NAXIS1", rows.itemsize, "length of dimension 1"),
            ("NAXIS2", len(rows), "length of dimension 2"),
            ("PCOUNT", 0, "number of group parameters"),
            ("GCOUNT", 1, "number of groups"),
            ("TFIELDS", len(stored), "number of table fields"),
        ]
    )
    for number, (key, form) in enumerate(forms.items(), start=1):
        header.append((f"TTYPE{number}", key), end=True)
        header.append((f"TFORM{number}", form), end=True)
        if key in table.units:
            header.append((f"TUNIT{number}", table.units[key]), end=True)
    header.append(("EXTNAME", name, "extension name"), end=True)
    header.append(("EXTTYPE", name), end=True)
    for card in cards:
        header.append(card, end=True)
    data: bytes = rows.tobytes()
    text: bytes = header.tostring().encode("ascii")
    return text + data + bytes(-len(data) % BLOCK)
