"""What a caller gives as candidateList: recognised here, read by `fit.candidates.catalogues` where it must be."""

from __future__ import annotations

from typing import Any

from psfmatch.images import Exposure
from psfmatch.io.sourceTable import AnyTable, SourceTable
from psfmatch.sources import Footprint

__all__ = ["isFinishedList", "toSourceTable"]


def toSourceTable(candidates: Any, exposure: Exposure) -> AnyTable:
    """Return a table with columns x and y (parent pixels) from what a caller gave.

    Parameters
    ----------
    candidates
        Any form of `psfmatch.fit.candidates.catalogues`. Of a table's columns x and y are taken before sky positions;
        names may be in upper case. Sky columns count in their own unit; without one ra and dec are degrees, coord_ra
        and coord_dec radians. They are of the exposure's own frame, or ICRS where its WCS is not equatorial.
    exposure
        Its WCS turns sky positions into pixels.

    Returns
    -------
    table : Table
        The columns of the caller's table, or row's table, with x and y; the same table if it has these as they must be.
        For other objects x, y and ``source``, the object itself (what ``getSource`` gave). Positions that are
        missing or cannot be computed are NaN. A `SourceTable` is returned itself.

    Raises
    ------
    TypeError
        For anything else, or elements of different types.
    ValueError
        For sky positions without a WCS, columns that are no numbers, or an array of another shape.
    """
    if isinstance(candidates, SourceTable):
        return candidates
    # All of astropy's tables and coordinates, which a run that finds its own stars does not need.
    from psfmatch.fit.candidates.catalogues import tableOf

    return tableOf(candidates, exposure)


def isFinishedList(candidates: Any) -> bool:
    """Whether a candidate list is one of `makeCandidateList`, whose stamps are chosen already."""
    return (
        isinstance(candidates, list)
        and bool(candidates)
        and all(isinstance(item, dict) and isinstance(item.get("footprint"), Footprint) for item in candidates)
    )
