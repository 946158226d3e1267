"""Columns of sources as the steps of a run pass them on: arrays by name, and nothing to import.

What users receive is astropy's Table. It is made where they ask for it, as `astropy.table` takes longer to import than
a small image to subtract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from astropy.table import Table

Holder = TypeVar("Holder")


class SourceTable:
    """Columns of one length by name; a change makes a new table.

    Parameters
    ----------
    columns
        Arrays (n, ...) by name, kept, not copied.
    units
        Units of columns by name, as astropy spells them.

    Examples
    --------
    >>> sources = SourceTable({"x": [1.0, 2.0], "y": [3.0, 4.0]}, units={"x": "pix", "y": "pix"})
    >>> sources["x"], sources[sources["y"] > 3.0], sources[:1], len(sources)
    """

    def __init__(self, columns: Mapping[str, npt.ArrayLike], units: Mapping[str, str] | None = None) -> None:
        self._columns = {name: np.asarray(values) for name, values in columns.items()}
        self._units = dict(units or {})
        lengths = {name: values.shape[0] if values.ndim else 0 for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1 or any(not values.ndim for values in self._columns.values()):
            raise ValueError(f"columns of a table must have one length, not {lengths}")

    @property
    def colnames(self) -> list[str]:
        """Names of the columns, in their order."""
        return list(self._columns)

    @property
    def units(self) -> Mapping[str, str]:
        """Units of columns by name, as astropy spells them."""
        return dict(self._units)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    @overload
    def __getitem__(self, key: str) -> npt.NDArray[Any]: ...

    @overload
    def __getitem__(self, key: slice | npt.NDArray[Any] | list[int]) -> SourceTable: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    def __getitem__(self, key: Any) -> npt.NDArray[Any] | SourceTable | dict[str, Any]:
        """Return a column by its name, the rows of a slice, of a mask (n,) or of indices (m,), or one row."""
        if isinstance(key, str):
            return self._columns[key]
        if isinstance(key, int | np.integer):
            return {name: values[key] for name, values in self._columns.items()}
        return SourceTable({name: values[key] for name, values in self._columns.items()}, self._units)

    def with_(self, columns: Mapping[str, npt.ArrayLike], units: Mapping[str, str] | None = None) -> SourceTable:
        """Return a table with columns added or replaced."""
        return SourceTable({**self._columns, **columns}, {**self._units, **(units or {})})

    def toTable(self) -> Table:
        """Return an astropy Table with copies of the columns, in their units."""
        from astropy.table import Table

        table = Table(self._columns)
        for name, unit in self._units.items():
            table[name].unit = unit
        return table

    def __repr__(self) -> str:
        return f"SourceTable({len(self)} rows of {', '.join(self.colnames)})"


AnyTable: TypeAlias = "SourceTable | Table"


def asTable(sources: AnyTable) -> Table:
    """Return sources as astropy's Table; a Table is returned itself."""
    return sources.toTable() if isinstance(sources, SourceTable) else sources


def tableField(name: str) -> Callable[[type[Holder]], type[Holder]]:
    """Decorate a dataclass with a field of type Table: a `SourceTable` given for it becomes a Table when it is read."""

    def decorate(holder: type[Holder]) -> type[Holder]:
        setattr(holder, name, _TableField(name))
        return holder

    return decorate


class _TableField:
    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, holder: Any, owner: type | None = None) -> Any:
        if holder is None:
            return self
        values = vars(holder)
        values[self._name] = asTable(values[self._name])
        return values[self._name]

    def __set__(self, holder: Any, value: Any) -> None:
        vars(holder)[self._name] = value


def lazily(columns: AnyTable) -> Table:
    """Return columns as they are, for a `tableField`, which takes them for a Table."""
    return cast("Table", columns)


def columnsOf(holder: Any, name: str) -> AnyTable:
    """Return what a `tableField` of an object holds, as it is."""
    held: AnyTable = vars(holder)[name]
    return held
