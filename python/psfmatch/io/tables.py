"""Write a table as a FITS file of its own."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from astropy.io import fits

from .files import writeHdus
from .headers import ownPrimaryHdu

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["writeTable"]


def writeTable(path: str | os.PathLike[str], table: Table, name: str, overwrite: bool = True) -> None:
    """Write a table; the file appears complete or not at all.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        Destination, ``.fits`` or ``.fits.gz``.
    table : `astropy.table.Table`
        Columns with units; not changed. Its ``meta`` becomes header cards; numbers that are not finite are left out.
    name : `str`
        Name of the HDU.
    overwrite : `bool`, optional
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    """
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    # Positions on the sky as one column are ra and dec again.
    plain = [name for name in table.colnames if not isinstance(table[name], SkyCoord)]
    written = Table(table[plain], copy=False)
    # FITS headers hold no NaN.
    written.meta = {k: v for k, v in table.meta.items() if not (isinstance(v, float) and not math.isfinite(v))}
    hdu = fits.table_to_hdu(written)
    hdu.name = name
    hdu.header["EXTTYPE"] = name
    writeHdus(path, [ownPrimaryHdu(1), hdu], overwrite)
