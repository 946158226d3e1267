"""A caller's list of kernel candidates, in any of its forms, as one table of positions.

Forms: a Table or structured array with pixel columns (x, y) or sky columns (ra, dec; coord_ra, coord_dec; a SkyCoord);
an (N, 2) array or a list of pairs x, y; a SkyCoord; and lists of one type of element: table rows, SkyCoords,
Footprints, MaskedImages, Exposures and Boxes (their middles), sources with getX() and getY() or getCentroid(), objects
whose getSource() gives one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Column, Row, Table, vstack

from psfmatch.images import Box, Exposure, MaskedImage, hasUsableWcs, skyToPixels
from psfmatch.sources import Footprint, FootprintSet

__all__ = ["tableOf"]

FloatArray = npt.NDArray[np.float64]

SKY_COLUMNS = {("ra", "dec"): units.deg, ("coord_ra", "coord_dec"): units.rad}
"""Names of right ascension and declination, and the unit of columns that have none."""
FORMS = (
    "give None, a Table, or an (N, 2) array of x, y, or a SkyCoord, or a list of table rows, Footprints, MaskedImages, "
    "sources with getX() and getY() or getCentroid(), or objects with getSource()"
)


def tableOf(candidates: Any, exposure: Exposure) -> Table:
    """Return a table with columns x and y (parent pixels), as `psfmatch.fit.toSourceTable` says."""
    if isinstance(candidates, Row):
        candidates = [candidates]
    if isinstance(candidates, np.ndarray) and candidates.dtype.names:
        candidates = Table(candidates)
    if isinstance(candidates, Table):
        return _ofTable(candidates, exposure)
    if isinstance(candidates, SkyCoord):
        return _ofSky(candidates, exposure)
    if isinstance(candidates, FootprintSet):
        candidates = candidates.toFootprints()
    if isinstance(candidates, np.ndarray):
        return _ofPairs(candidates)
    if isinstance(candidates, Sequence) and not isinstance(candidates, str | bytes):
        return _ofList(list(candidates), exposure)
    raise TypeError(f"candidateList is a {type(candidates).__name__}; {FORMS}")


def _ofTable(table: Table, exposure: Exposure) -> Table:
    pixels = _findColumns(table, ("x", "y"))
    if pixels is not None:
        x, y = (_numbers(table[name], name, units.pix) for name in pixels)
        if pixels == ("x", "y") and all(isinstance(table[n], Column) and not _isMasked(table[n]) for n in pixels):
            return table
    else:
        sky = _skyOf(table)
        if sky is None:
            raise ValueError(
                f"candidateList has the columns {', '.join(table.colnames)}; it needs x and y (pixels) or ra and dec "
                "(degrees, or the unit of the column), coord_ra and coord_dec (radians), or a SkyCoord column"
            )
        x, y = _toPixels(sky, exposure)
    result = table.copy()
    result["x"], result["y"] = x, y
    return result


def _skyOf(table: Table) -> Any:
    """Return the sky positions of a table as a SkyCoord or as right ascension and declination in degrees, or None."""
    for (first, second), unit in SKY_COLUMNS.items():
        names = _findColumns(table, (first, second))
        if names is not None:
            return tuple(_numbers(table[name], name, units.deg, unit) for name in names)
    coordinates = [table[name] for name in table.colnames if isinstance(table[name], SkyCoord)]
    return coordinates[0] if coordinates else None


def _findColumns(table: Table, names: tuple[str, str]) -> tuple[str, str] | None:
    """Return the columns of two names as they are spelled, or both in upper case."""
    for spelled in (names, (names[0].upper(), names[1].upper())):
        if set(spelled) <= set(table.colnames):
            return spelled
    return None


def _numbers(column: Any, name: str, unit: units.UnitBase, default: units.UnitBase | None = None) -> FloatArray:
    """Return a column as floats in a unit, from its own unit or the default one; NaN where it is masked."""
    own = getattr(column, "unit", None) or default or unit
    values = np.ma.asarray(getattr(column, "unmasked", column) if _isQuantity(column) else column)
    values = getattr(values, "value", values)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise ValueError(
            f"column {name} of candidateList has type {values.dtype} and shape {values.shape}; one number per row is "
            "needed"
        )
    floats = np.ma.filled(values.astype(np.float64), np.nan)
    if _isQuantity(column) and hasattr(column, "mask"):
        floats[column.mask] = np.nan
    try:
        return np.asarray(floats * units.Unit(own).to(unit))
    except units.UnitConversionError as error:
        raise ValueError(f"column {name} of candidateList has the unit {own}, not one of {unit}") from error


def _isQuantity(column: Any) -> bool:
    return isinstance(column, units.Quantity)


def _isMasked(column: Any) -> bool:
    return bool(np.any(getattr(column, "mask", False)))


def _toPixels(sky: Any, exposure: Exposure) -> tuple[FloatArray, FloatArray]:
    if exposure.wcs is None or not hasUsableWcs(exposure):
        raise ValueError("candidateList has sky positions but the science image has no celestial WCS")
    x, y = skyToPixels(exposure.wcs, sky)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def _ofSky(sky: SkyCoord, exposure: Exposure) -> Table:
    x, y = _toPixels(sky.reshape(-1), exposure)
    return Table({"x": x, "y": y})


def _ofPairs(pairs: Any) -> Table:
    """Return a table of an (N, 2) array or list of pairs."""
    try:
        values = np.ma.asarray(pairs)
        if values.dtype.kind == "c":
            raise TypeError("complex numbers are no positions")
        positions = np.ma.filled(values.astype(np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise TypeError(f"candidateList is not an array of numbers; {FORMS}") from error
    if positions.size == 0:
        return Table({"x": np.zeros(0), "y": np.zeros(0)})
    if positions.ndim < 2:
        raise TypeError(
            f"candidateList is a list of numbers, where each source needs two, as in [(x, y), ...]; {FORMS}"
        )
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(f"candidateList has shape {positions.shape}; an array of positions must be (N, 2)")
    return Table({"x": positions[:, 0], "y": positions[:, 1]})


def _ofList(items: list[Any], exposure: Exposure) -> Table:
    """Return a table of a list whose elements have one type."""
    isPlain = all(isinstance(item, Sequence | np.ndarray | np.number | float | int) for item in items)
    if isPlain and not any(isinstance(item, Row) for item in items):
        if any(isinstance(item, str | bytes) for item in items):
            raise TypeError(f"candidateList is a list of {type(items[0]).__name__}; {FORMS}")
        return _ofPairs(items)
    types = sorted({type(item).__name__ for item in items})
    if len({type(item) for item in items}) > 1:
        raise TypeError(f"candidateList has elements of different types, {', '.join(types)}; all must have one type")
    if hasattr(items[0], "getSource"):
        sources = [item.getSource() for item in items]
        if any(source is item for source, item in zip(sources, items, strict=True)):
            raise TypeError(f"getSource() of a {types[0]} gives itself, which is no source; {FORMS}")
        return _ofList(sources, exposure)
    if isinstance(items[0], dict) and "footprint" in items[0]:
        return _ofList([item.get("footprint") for item in items], exposure)
    if isinstance(items[0], Row):
        return _ofTable(_joined(items), exposure)
    if isinstance(items[0], SkyCoord):
        if not all(item.isscalar for item in items):
            raise TypeError("candidateList is a list of SkyCoords with several positions each; give one SkyCoord")
        return _ofSky(SkyCoord(items), exposure)
    positions = [_positionOf(item) for item in items]
    missing = sum(position is None for position in positions)
    if missing:
        raise TypeError(f"candidateList is a list of {types[0]}, of which {missing} have no position; {FORMS}")
    table = _ofPairs(positions)
    if not isinstance(items[0], Footprint | Box | MaskedImage | Exposure):
        table["source"] = np.fromiter(items, dtype=object, count=len(items))
    return table


def _joined(rows: list[Row]) -> Table:
    """Return the table of some rows."""
    table = rows[0].table
    if all(row.table is table for row in rows):
        return table[[row.index for row in rows]]
    return vstack([Table(row) for row in rows], metadata_conflicts="silent")


def _positionOf(item: Any) -> tuple[float, float] | None:
    """Return x, y of a Footprint or a source with accessors, the middle of an image or box; None for anything else."""
    if isinstance(item, Footprint):
        return item.centroid
    if isinstance(item, Box | MaskedImage | Exposure):
        return (item if isinstance(item, Box) else item.getBBox()).centre
    position: Any = None
    if hasattr(item, "getX") and hasattr(item, "getY"):
        position = item.getX(), item.getY()
    elif hasattr(item, "getCentroid"):
        centroid = item.getCentroid()
        if hasattr(centroid, "getX") and hasattr(centroid, "getY"):
            position = centroid.getX(), centroid.getY()
        elif hasattr(centroid, "x") and hasattr(centroid, "y"):
            position = centroid.x, centroid.y
        else:
            position = centroid
    try:
        x, y = position
        return float(x), float(y)
    except (TypeError, ValueError):
        return None
