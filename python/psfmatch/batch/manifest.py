"""The list of pairs: a table with one row for each, read from any file that astropy reads.

Columns ``template`` and ``science`` name the images, ``file.fits[SCI]`` an HDU of one; ``name`` the outputs. Further
columns say for a pair what options of ``psfmatch subtract`` say for a run. Paths are relative to the manifest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psfmatch.exposure import gainOf

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Pair", "readManifest", "shardOf"]

FILE_COLUMNS = {
    "template": "template",
    "science": "science",
    "template_noise": "templateNoise",
    "template_variance": "templateVariance",
    "template_mask": "templateMask",
    "science_noise": "scienceNoise",
    "science_variance": "scienceVariance",
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
        text = json.dumps([dataclasses.asdict(self), *more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def readManifest(manifest: str | os.PathLike[str] | Table | Iterable[Pair]) -> tuple[Pair, ...]:
    """Read the list of pairs.

    Parameters
    ----------
    manifest
        Path of an ECSV, CSV or FITS table, or of any other that `astropy.table.Table.read` knows; or such a table, its
        paths relative to the working directory; or pairs, whose names are checked.

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
        path = Path(manifest)
        pairs = _pairsOf(_readTable(path), path.absolute().parent, str(path))
    else:
        pairs = tuple(manifest)
    _checkNames([pair.name for pair in pairs])
    return pairs


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
    from astropy.io import ascii as asciiTables
    from astropy.io.registry import IORegistryError
    from astropy.table import Table

    if not path.exists():
        raise FileNotFoundError(f"{path}: no such manifest")
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
        raise ValueError(f"{path}: cannot be read as a table ({error})") from error


def _pairsOf(table: Table, folder: Path, label: str) -> tuple[Pair, ...]:
    columns = {str(name).strip().lower().replace("-", "_"): name for name in table.colnames}
    for needed in ("template", "science"):
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
        if (entry := entries.get(column)) is not None:
            values[field] = str(entry) if "://" in str(entry) else _pathOf(str(entry), folder)
        elif column in ("template", "science"):
            raise ValueError(f"{label}: names no {column}")
    for column, field in NUMBER_COLUMNS.items():
        if (entry := entries.get(column)) is not None:
            try:
                values[field] = float(entry)
            except ValueError:
                raise ValueError(f"{label}: {column} is {entry!r}, not a number") from None
    name = entries.get("name")
    return Pair(name=_nameOf(values["science"]) if name is None else str(name), **values)


def _pathOf(entry: str, folder: Path) -> str:
    """Return a path of the manifest; one with backslashes, written on Windows, as it is meant where there are none."""
    path = os.fspath(folder / entry)
    if os.sep != "\\" and "\\" in entry and not Path(path).exists():
        return os.fspath(folder / entry.replace("\\", "/"))
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
        stem = stem.removesuffix(suffix)
    if hdu is None:
        return stem
    # An EXTNAME may hold what no file name can.
    told = str(hdu) if isinstance(hdu, int | str) else f"{hdu[0]}{hdu[1]}"
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
