"""Tables of stars and sources as astropy's QTable: columns with units are quantities, positions a SkyCoord."""

from __future__ import annotations

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.wcs import WCS


def asQTable(table: Table, wcs: WCS | None = None) -> QTable:
    """Return a table with quantities and sky positions, such as of ``result.detect()`` or ``result.candidates``.

    Parameters
    ----------
    table
        Not changed. Columns ``ra`` and ``dec`` (ICRS, degrees) or, with a WCS, ``x`` and ``y`` (parent pixels) tell the
        positions.
    wcs
        Coordinates of the exposure, ``result.difference.wcs``; not needed where there are ``ra`` and ``dec``.

    Returns
    -------
    table : `astropy.table.QTable`
        A copy, with a column ``sky`` (SkyCoord) where positions are known. astropy writes it to FITS and ECSV;
        `psfmatch.transients.writeSources` writes it too, without that column.
    """
    quantities = QTable(table, copy=True)
    for name in ("x", "y"):
        if name in quantities.colnames and getattr(quantities[name], "unit", None) is None:
            quantities[name] = np.asarray(quantities[name]) * units.pix
    if {"ra", "dec"} <= set(table.colnames):
        ra, dec = (np.asarray(table[name], dtype=np.float64) for name in ("ra", "dec"))
        quantities["sky"] = SkyCoord(ra, dec, unit="deg", frame="icrs")
    elif wcs is not None and {"x", "y"} <= set(table.colnames):
        # astropy's own frame: a WCS need not be ICRS.
        x, y = (np.asarray(table[name], dtype=np.float64) for name in ("x", "y"))
        quantities["sky"] = SkyCoord.from_pixel(x, y, wcs).icrs
    return quantities
