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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.batch.textTable import RowError, decodeText, normalName, textRows
from psfmatch.images import gainOf

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Pair", "outputNames", "readManifest", "shardOf"]

FILE_COLUMNS = {
    "template": "template",
    "science": "science",
    "template_noise": "templateNoise",
    "template_variance": "templateVariance",
    "template_weight": "templateWeight",
    "template_mask": "templateMask",
    "science_noise": "scienceNoise",
    "science_variance": "scienceVariance",
    "science_weight": "scienceWeight",
    "science_mask": "scienceMask",
}
NUMBER_COLUMNS = {
    "gain": "gain",
    "read_noise": "readNoise",
    "template_gain": "templateGain",
    "template_read_noise": "templateReadNoise",
    "science_gain": "scienceGain",
    "science_read_noise": "scienceReadNoise",
    "template_fwhm": "templateFwhmPix",
    "science_fwhm": "scienceFwhmPix",
}
NEEDED = ("template", "science")
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

    if isinstance(manifest, Table):
        pairs = _pairsOf(manifest, Path.cwd(), "the table")
    elif isinstance(manifest, str | os.PathLike):
        path = _home(os.fspath(manifest))
        pairs = _pairsOf(_readTable(path), path.absolute().parent, str(path))
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


def _readTable(path: Path) -> Table:
    """Return a table from a file: by our own reader of text, else by those of astropy."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such manifest")
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    if content.startswith(SPREADSHEETS):
        raise ValueError(f"{path}: is the file of a spreadsheet program; save it there as CSV")
    text = None if content.startswith(TABLE_FILES) else decodeText(content)
    failure = "no text, and no kind of table that astropy knows"
    if text is not None:
        from astropy.table import Table

        try:
            names, rows = textRows(text, NEEDED)
        except RowError as error:
            # Such as IPAC's: bars in the header, none in the rows.
            with suppress(ValueError):
                table = _readByAstropy(path, failure)
                if set(NEEDED) <= set(map(normalName, table.colnames)):
                    return table
            raise ValueError(f"{path}: {error}") from None
        except ValueError as error:
            failure = str(error)
        else:
            if not rows:
                raise ValueError(f"{path}: has no rows")
            repeated = [name for name, count in Counter(map(normalName, names)).items() if count > 1]
            if repeated:
                raise ValueError(f"{path}: several columns are called {repeated[0]!r}")
            return Table(rows=rows, names=names, dtype=[str] * len(names))
    return _readByAstropy(path, failure)


def _readByAstropy(path: Path, failure: str) -> Table:
    """Return the table that one of astropy's readers finds; ValueError, with what has failed before, if none does."""
    from astropy.io import ascii as asciiTables
    from astropy.io.registry import IORegistryError
    from astropy.table import Table

    # Names such as 0012 are no numbers.
    text = {name: [asciiTables.convert_numpy(str)] for name in ("name", *FILE_COLUMNS)}
    try:
        if path.suffix.lower() == ".csv":
            return Table.read(path, format="ascii.csv", converters=text)
        try:
            return Table.read(path)
        except IORegistryError:
            return Table.read(path, format="ascii", converters=text)
    except OSError:
        raise
    except Exception as error:  # each of the many readers fails in its own way
        raise ValueError(f"{path}: cannot be read as a table ({failure}; {error})") from error


def _pairsOf(table: Table, folder: Path, label: str) -> tuple[Pair, ...]:
    columns = {normalName(name): name for name in table.colnames}
    for needed in NEEDED:
        if needed not in columns:
            raise ValueError(f"{label}: there is no column {needed!r} among {', '.join(table.colnames) or 'none'}")
    known = {"name", *FILE_COLUMNS, *NUMBER_COLUMNS}
    odd = [name for name in columns if name not in known and name.startswith(("template_", "science_"))]
    if odd:
        raise ValueError(f"{label}: column {odd[0]!r} is unknown; known are {', '.join(sorted(known))}")
    if not len(table):
        raise ValueError(f"{label}: has no rows")
    return tuple(
        _pairOf({key: _entry(row[name]) for key, name in columns.items() if key in known}, folder, f"{label}, row {i}")
        for i, row in enumerate(table, 1)
    )


def _pairOf(entries: Mapping[str, Any], folder: Path, label: str) -> Pair:
    values: dict[str, Any] = {}
    for column, field in FILE_COLUMNS.items():
        if (entry := entries.get(column)) is not None and (column in NEEDED or not _isNothing(entry)):
            values[field] = str(entry) if "://" in str(entry) else _pathOf(str(entry), folder)
        elif column in NEEDED:
            raise ValueError(f"{label}: names no {column}")
    for column, field in NUMBER_COLUMNS.items():
        if (entry := entries.get(column)) is not None and not _isNothing(entry):
            number = _number(entry)
            if number is None:
                raise ValueError(f"{label}: {column} is {entry!r}, not a number")
            values[field] = number
    name = entries.get("name")
    return Pair(name=_nameOf(values["science"]) if name is None else str(name), **values)


def _home(path: str) -> Path:
    """Return a path with ~ as the home directory that it stands for, if it does."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _number(entry: Any) -> float | None:
    """Return a number, also with a decimal comma, which a spreadsheet writes; None if it is none."""
    for text in (str(entry), str(entry).replace(",", ".")):
        try:
            return float(text)
        except ValueError:
            continue
    return None


def _isNothing(entry: Any) -> bool:
    """Whether an entry is one of the words for none."""
    return str(entry).lower() in ("--", "nan", "none", "null", "n/a", "na")


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
    from psfmatch.io import parseFileName

    path, hdu = parseFileName(science)
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
    repeated = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if repeated:
        shown = ", ".join(repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        raise ValueError(f"{len(repeated)} names stand for several pairs: {shown}; tell them apart in a column 'name'")
