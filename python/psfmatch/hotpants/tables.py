"""Kernel tables of HOTPANTS (`-hki`, `-oki`): the numbers as they stand in the file.

A binary table holds the coefficients, one vector for each region of the image; cards of its header, or of the
primary header, say what they multiply: NGAUSS, DGAUSSn, SGAUSSn, FWKERN, CKORDER, BGORDER, and REGIONnn, CONVOLnn for
each region.
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.images import Box
from psfmatch.io.files import FitsSource, openFits
from psfmatch.io.layouts import listHdus, planeShape
from psfmatch.io.names import parseFileName

__all__ = ["HotpantsTable", "countHotpantsRegions", "hasHotpantsTable", "readHotpantsTable"]

REQUIRED = ("NGAUSS", "FWKERN", "CKORDER", "BGORDER")


@dataclass(frozen=True)
class HotpantsTable:
    """A kernel of HOTPANTS for one region of an image.

    degrees, sigmas : of the Gaussians, the latter in pixels; side : of the kernel, pixels;
    kernelOrder, backgroundOrder : of the polynomials of position; coefficients : (n,), as they stand in the file;
    box : the region, pixels from 0, None where nothing tells; convolved : "template", "science" or None.
    """

    degrees: tuple[int, ...]
    sigmas: tuple[float, ...]
    side: int
    kernelOrder: int
    backgroundOrder: int
    coefficients: NDArray[np.float64]
    box: Box | None
    convolved: Literal["template", "science"] | None


def readHotpantsTable(path: str | os.PathLike[str], region: int = 0) -> HotpantsTable:
    """Read the kernel table of one region.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        A file with the table in one of its extensions.
    region : `int`, optional
        Number of the region, from 0.

    Returns
    -------
    table : `HotpantsTable`
        The numbers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ExposureReadError
        If it holds no such table, or cards that contradict each other.
    """
    with openFits(parseFileName(path)[0]) as source:
        index, cards = _findTable(source)
        vectors = _vectors(source, index)
        if not 0 <= region < len(vectors):
            raise source.error(f"holds the kernels of {len(vectors)} regions, not one of number {region} (from 0)")
        try:
            n = int(cards["NGAUSS"])
            degrees = tuple(int(cards[f"DGAUSS{i + 1}"]) for i in range(n))
            sigmas = tuple(float(cards[f"SGAUSS{i + 1}"]) for i in range(n))
            side, kernelOrder, backgroundOrder = (int(cards[name]) for name in REQUIRED[1:])
        except (KeyError, ValueError, TypeError) as error:
            raise source.error(f"the cards of the kernel table in HDU {index} are incomplete: {error}") from error
        if (
            n < 1
            or side < 1
            or side % 2 == 0
            or min(*degrees, kernelOrder, backgroundOrder) < 0
            or not all(0.0 < sigma < np.inf for sigma in sigmas)
        ):
            raise source.error(
                f"HDU {index} tells of {n} Gaussians of sigmas {sigmas} px and degrees {degrees} on {side} px with "
                f"spatial orders {kernelOrder} and {backgroundOrder}, which is no kernel"
            )
        told = str(cards.get(f"CONVOL{region:02d}", "")).strip().upper()
        convolved: dict[str, Literal["template", "science"]] = {"TEMPLATE": "template", "IMAGE": "science"}
        box = _region(source, cards, region)
        return HotpantsTable(
            degrees, sigmas, side, kernelOrder, backgroundOrder, vectors[region], box, convolved.get(told)
        )


def hasHotpantsTable(path: str | os.PathLike[str]) -> bool:
    """Whether a file has a table with the cards of a kernel of HOTPANTS; errors as for a file that is not FITS."""
    with openFits(parseFileName(path)[0]) as source:
        return _tableWithCards(source) is not None


def countHotpantsRegions(path: str | os.PathLike[str]) -> int:
    """Return how many regions have a kernel of HOTPANTS in a file, 0 without any; errors as of `hasHotpantsTable`."""
    with openFits(parseFileName(path)[0]) as source:
        found = _tableWithCards(source)
        return 0 if found is None else len(_vectors(source, found[0]))


def _tableWithCards(source: FitsSource) -> tuple[int, Mapping[str, Any]] | None:
    """Return the first table that the required cards belong to, and all cards that hold for it; None without one."""
    for entry in listHdus(source):
        if entry.kind == "table":
            # The table's own cards win over those of the primary header.
            cards = ChainMap(*(dict(source.header(i)) for i in (entry.index, 0)))
            if all(name in cards for name in REQUIRED):
                return entry.index, cards
    return None


def _findTable(source: FitsSource) -> tuple[int, Mapping[str, Any]]:
    found = _tableWithCards(source)
    if found is not None:
        return found
    held = "; ".join(str(entry) for entry in listHdus(source))
    raise source.error(f"holds no kernel table of HOTPANTS (a table with {', '.join(REQUIRED)}); it holds {held}")


def _vectors(source: FitsSource, index: int) -> list[NDArray[np.float64]]:
    """Return the coefficients of all regions: one per column, or one per row where cells hold vectors."""
    rows = source.readData(index)
    vectors = []
    for name in rows.dtype.names or ():
        column = np.asarray(rows[name])
        if column.dtype.kind not in "fiu":
            continue
        cells = column.astype(np.float64).reshape(len(rows), -1)
        vectors += [cells[:, 0]] if cells.shape[1] == 1 else list(cells)
    if not vectors:
        raise source.error(f"the kernel table in HDU {index} has no column of numbers")
    return vectors


def _region(source: FitsSource, cards: Mapping[str, Any], region: int) -> Box | None:
    """Return the pixels of a region: of its card, else of the only image of the file."""
    card = cards.get(f"REGION{region:02d}")
    if card is not None:
        numbers = [int(number) for number in re.findall(r"\d+", str(card))]
        if len(numbers) != 4 or numbers[1] < numbers[0] or numbers[3] < numbers[2] or min(numbers) < 1:
            raise source.error(f"REGION{region:02d} = {card!r} is no section [x1:x2,y1:y2]")
        x1, x2, y1, y2 = numbers
        return Box(x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1)
    for hdu in source.hdus:
        if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
            shape = planeShape(tuple(hdu.header[f"NAXIS{axis}"] for axis in range(hdu.header["NAXIS"], 0, -1)))
            if shape is not None:
                return Box(0, 0, shape[1], shape[0])
    return None
