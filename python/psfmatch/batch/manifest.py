"""The list of pairs: a table with one row for each, read from any file that astropy reads.

Columns ``template`` and ``science`` name the images, ``file.fits[SCI]`` an HDU of one; ``name`` the outputs. Further
columns say for a pair what options of ``psfmatch subtract`` say for a run. Paths are relative to the manifest, ~ is the
home directory.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.batch.textTable import decodeText, normalName, textRows
from psfmatch.images import gainOf

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Pair", "outputNames", "readManifest", "shardOf"]

NEEDED = ("template", "science")
NOTHING = ("--", "nan", "none", "null", "n/a", "na")
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls
TABLE_FILES = (b"SIMPLE  =", b"<", b"PAR1", b"\x89HDF")  # FITS; VOTable and HTML; Parquet; HDF5
OUTPUTS = (".fits", ".json", "_decorrelated.fits", "_sources.fits", ".html", ".png")
FORBIDDEN = frozenset('/\\:*?"<>|')
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
LONGEST_NAME = 200  # bytes, so that a suffix still fits into the 255 of a file name


@dataclass(frozen=True)
class Pair:
    """Two images to be subtracted, and what their files do not say.

    name : of the outputs, without suffix; template, science and the planes : paths, brackets choose an HDU;
    gain, readNoise : e-/count and e-, of both images, templateGain and so on of one; templateFwhmPix, scienceFwhmPix :
    FWHM of the PSFs, pixels.
    """

    name: str
    template: str
    science: str
    templateNoise: str | None = None
    templateVariance: str | None = None
    templateMask: str | None = None
    scienceNoise: str | None = None
    scienceVariance: str | None = None
    scienceMask: str | None = None
    gain: float | None = None
    readNoise: float | None = None
    templateFwhmPix: float | None = None
    scienceFwhmPix: float | None = None
    templateWeight: str | None = None
    scienceWeight: str | None = None
    templateGain: float | None = None
    templateReadNoise: float | None = None
    scienceGain: float | None = None
    scienceReadNoise: float | None = None

    def gainOf(self, which: str) -> tuple[float | None, float | None]:
        """Return gain and read noise of "template" or "science"."""
        own = getattr(self, f"{which}Gain"), getattr(self, f"{which}ReadNoise")
        return gainOf(self.gain, self.readNoise, *own)

    def fingerprint(self, *more: Any) -> str:
        """Return a short digest of the row and of what else decides the result; it changes when one of them does."""
        row = dataclasses.asdict(self)
        # Ledgers written before these columns came remain valid.
        row = {name: value for name, value in row.items() if value is not None or not name.endswith("Weight")}
        text = json.dumps([row, *more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _columnsOf(kind: str) -> dict[str, str]:
    """Return columns, such as template_fwhm, with their fields of this type."""
    fields = [field.name for field in dataclasses.fields(Pair) if str(field.type).startswith(kind)]
    return {re.sub("(?=[A-Z])", "_", name.removesuffix("Pix")).lower(): name for name in fields if name != "name"}


FILE_COLUMNS, NUMBER_COLUMNS = _columnsOf("str"), _columnsOf("float")


def readManifest(manifest: str | os.PathLike[str] | Table | Iterable[Pair]) -> tuple[Pair, ...]:
    """Read the list of pairs.

    Parameters
    ----------
    manifest
        Path of a table: text as `psfmatch.batch.textTable` reads it (ECSV, CSV, a spreadsheet's export), FITS, or any
        other that `astropy.table.Table.read` knows; or such a table, its paths relative to the working directory; or
        pairs, whose names are checked.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no table, a column or an entry is missing, or names are not fit for files or not unique.
    """
    from astropy.table import Table

    if isinstance(manifest, str | os.PathLike):
        path = _home(os.fspath(manifest))
        pairs = _pairsOf(*_readRows(path), path.absolute().parent, str(path))
    elif isinstance(manifest, Table):
        pairs = _pairsOf(manifest.colnames, manifest, Path.cwd(), "the table")
    else:
        pairs = tuple(manifest)
    _checkNames([pair.name for pair in pairs])
    return pairs


def outputNames(pair: Pair) -> tuple[str, ...]:
    """Return the names of all files that a pair may come to, but for its log; the difference first."""
    return tuple(f"{pair.name}{rest}" for rest in OUTPUTS)


def shardOf(pairs: Sequence[Pair], shard: tuple[int, int]) -> tuple[Pair, ...]:
    """Return the part ``(i, n)`` of the pairs, i from 1 to n: all parts together are all pairs, each once.

    Pairs with the same template are kept together as far as parts of equal length allow it.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise ValueError(f"shard {number}/{count}: the number must be from 1 to {count}")
    ordered = sorted(pairs, key=lambda pair: (pair.template, pair.name))
    return tuple(ordered[(number - 1) * len(ordered) // count : number * len(ordered) // count])


def _readRows(path: Path) -> tuple[list[str], Iterable[Any]]:
    """Return the names of a table's columns and its rows: by our own reader of text, else by those of astropy."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such manifest")
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    if content.startswith(SPREADSHEETS):
        raise ValueError(f"{path}: is the file of a spreadsheet program; save it there as CSV")
    text = None if content.startswith(TABLE_FILES) else decodeText(content)
    failure: Exception | None = None
    if text is not None:
        try:
            return textRows(text, NEEDED)
        except (LookupError, ValueError) as error:
            failure = error
    from astropy.io import ascii as asciiTables
    from astropy.io.registry import IORegistryError
    from astropy.table import Table

    try:
        try:
            table = Table.read(path)
        except IORegistryError:
            # Names such as 0012 are no numbers.
            asText = {name: [asciiTables.convert_numpy(str)] for name in ("name", *FILE_COLUMNS)}
            table = Table.read(path, format="ascii", converters=asText)
    except OSError:
        raise
    except Exception as error:  # each of the many readers fails in its own way
        raise ValueError(f"{path}: cannot be read as a table ({failure or error})") from error
    if isinstance(failure, ValueError) and not set(NEEDED) <= set(map(normalName, table.colnames)):
        raise ValueError(f"{path}: {failure}")
    return table.colnames, table


def _pairsOf(names: Sequence[str], rows: Iterable[Any], folder: Path, label: str) -> tuple[Pair, ...]:
    columns = [normalName(name) for name in names]
    for needed in NEEDED:
        if needed not in columns:
            raise ValueError(f"{label}: there is no column {needed!r} among {', '.join(names) or 'none'}")
    if repeated := _repeated(columns):
        raise ValueError(f"{label}: several columns are called {repeated[0]!r}")
    known = {"name", *FILE_COLUMNS, *NUMBER_COLUMNS}
    odd = [name for name in columns if name not in known and name.startswith(("template_", "science_"))]
    if odd:
        raise ValueError(f"{label}: column {odd[0]!r} is unknown; known are {', '.join(sorted(known))}")
    entries = ({name: _entry(value) for name, value in zip(columns, row, strict=True) if name in known} for row in rows)
    pairs = tuple(_pairOf(row, folder, f"{label}, row {number}") for number, row in enumerate(entries, 1))
    if not pairs:
        raise ValueError(f"{label}: has no rows")
    return pairs


def _pairOf(entries: Mapping[str, Any], folder: Path, label: str) -> Pair:
    values: dict[str, Any] = {}
    for column, field in (FILE_COLUMNS | NUMBER_COLUMNS).items():
        entry = entries.get(column)
        if column in NEEDED and entry is None:
            raise ValueError(f"{label}: names no {column}")
        if entry is None or (column not in NEEDED and str(entry).lower() in NOTHING):
            continue
        if column in FILE_COLUMNS:
            values[field] = str(entry) if "://" in str(entry) else _pathOf(str(entry), folder)
            continue
        try:
            # A decimal comma is what some spreadsheets write.
            values[field] = float(str(entry).replace(",", "."))
        except ValueError:
            raise ValueError(f"{label}: {column} is {entry!r}, not a number") from None
    name = entries.get("name")
    return Pair(name=_nameOf(values["science"]) if name is None else str(name), **values)


def _home(path: str) -> Path:
    """Return a path with ~ as the home directory that it stands for, if it does."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _pathOf(entry: str, folder: Path) -> str:
    """Return a path of the manifest; one with backslashes, written on Windows, as it is meant where there are none."""
    path = os.fspath(folder / _home(entry))
    if os.sep != "\\" and "\\" in entry and not Path(path).exists():
        return os.fspath(folder / _home(entry.replace("\\", "/")))
    return path


def _entry(value: Any) -> Any:
    """Return what stands in a cell of the table, None if nothing does."""
    import numpy as np

    if value is np.ma.masked:
        return None
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return value.strip() or None
    return None if isinstance(value, float | np.floating) and math.isnan(value) else value


def _nameOf(science: str) -> str:
    """Return the name of the science image without its suffixes, with the HDU if one is named."""
    from psfmatch.io.names import isRemote, parseFileName

    # What a URL names is not fetched for its name.
    path, hdu = parseFileName(science.rpartition("/")[2].partition("?")[0] if isRemote(science) else science)
    stem = path.name
    for suffix in (".gz", ".fz", ".bz2", ".xz", ".fits", ".fit", ".fts"):
        stem = stem[: -len(suffix)] if stem.lower().endswith(suffix) else stem
    if hdu is None:
        return stem
    # An EXTNAME may hold what no file name can.
    told = f"{hdu[0]}{hdu[1]}" if isinstance(hdu, tuple) else str(hdu)
    return f"{stem}_{''.join('_' if letter in FORBIDDEN else letter for letter in told)}"


def _checkNames(names: Sequence[str]) -> None:
    for name in names:
        isFit = name and not name.startswith((".", "-")) and name.isprintable() and not set(name) & FORBIDDEN
        # What Windows keeps for devices, whatever follows a period, and what it takes off the end of names.
        isFit = isFit and name.partition(".")[0].strip().upper() not in DEVICES and not name.endswith((".", " "))
        if not isFit or len(os.fsencode(name)) > LONGEST_NAME:
            raise ValueError(f"the name {name!r} is not fit for a file; give another in the column 'name'")
    # Some file systems do not tell upper from lower case.
    if repeated := _repeated(name.lower() for name in names):
        shown = ", ".join(repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        raise ValueError(f"{len(repeated)} names stand for several pairs: {shown}; tell them apart in a column 'name'")


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
