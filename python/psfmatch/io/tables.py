"""Write a table as a file of its own, in the format that its name asks for, or as text."""

from __future__ import annotations

import math
import os
import tempfile
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from psfmatch.io.endings import TABLES, formOf
from psfmatch.io.files import writeHdus
from psfmatch.io.headers import ownPrimaryHdu, tableHdu
from psfmatch.io.whole import requireNew, writeWhole

if TYPE_CHECKING:
    from astropy.table import Table


def writeTable(path: str | os.PathLike[str], table: Table, name: str, overwrite: bool = True) -> None:
    """Write a table; the file appears complete or not at all.

    path : destination, whose ending chooses the format: ``.ecsv``, ``.csv``, ``.tsv``, ``.txt``, ``.dat`` and ``.html``
    are text, ``.vot`` and ``.xml`` a VOTable; ``.parquet`` (with pyarrow) and ``.fits`` (also ``.fits.gz``, ``.fit``,
    ``.fts``) are binary; table : columns with units; not changed. In FITS its ``meta`` becomes header cards; numbers
    that are not finite are left out there; name : name of the HDU of a FITS file. FileExistsError if the file exists
    and ``overwrite`` is false; ValueError if the ending is none of these; ModuleNotFoundError if the format needs a
    library that is not installed.
    """
    form = formOf(path, TABLES)
    written = _plain(table)
    if form == "fits":
        # FITS headers hold no NaN.
        written.meta = {k: v for k, v in table.meta.items() if not (isinstance(v, float) and not math.isfinite(v))}
        writeHdus(path, [ownPrimaryHdu(1), tableHdu(name, written)], overwrite)
        return
    if not overwrite:
        requireNew(path)
    writeWhole(path, _bytes(written, form))


def tableText(table: Table) -> str:
    """Return a table as ECSV, which `astropy.table.Table.read` reads with units, descriptions and meta."""
    return _bytes(_plain(table), "ascii.ecsv").decode()


def _plain(table: Table) -> Table:
    """Return a table without columns of positions on the sky, which are there as ra and dec."""
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    return Table(table[[name for name in table.colnames if not isinstance(table[name], SkyCoord)]], copy=False)


def _bytes(table: Table, form: str) -> bytes:
    if form == "parquet":
        # Its writer takes names of files only.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.parquet"
            table.write(path, format=form)
            return path.read_bytes()
    if form == "votable":
        stream = BytesIO()
        table.write(stream, format=form)
        return stream.getvalue()
    text = StringIO()
    table.write(text, format=form)
    return text.getvalue().encode()
