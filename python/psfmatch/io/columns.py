"""A table's HDU from plain arrays, without astropy's Table."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from psfmatch.sourceTable import SourceTable

__all__ = ["columnsHdu"]


def columnsHdu(table: SourceTable, name: str) -> fits.BinTableHDU:
    """Make the HDU of a table, with the units of its columns, that tells its name as EXTNAME and EXTTYPE."""
    columns = {key: table[key] for key in table.colnames}
    rows = np.empty(len(table), dtype=[(key, values.dtype, values.shape[1:]) for key, values in columns.items()])
    for key, values in columns.items():
        rows[key] = values
    hdu = fits.BinTableHDU(rows, name=name)
    for number, key in enumerate(columns, start=1):
        if key in table.units:
            hdu.header.set(f"TUNIT{number}", table.units[key], after=f"TFORM{number}")
    hdu.header["EXTTYPE"] = name
    return hdu
