"""Kernels in FITS: basis images as a cube, spatial coefficients as tables, the functions as header cards.

KBASIS (n, h, w) and KCOEF (one row per basis image, column COEF) give K(x, y) = sum_i f_i(x, y) B_i, BCOEF
(one row) the differential background. The cards say which functions f are: K- or B- MODEL, ORDER, XCEN, YCEN,
XSCALE, YSCALE, and NUM0, NUM1, ... for others than polynomials. KCOV and BCOV, where they exist, are the covariances
of the coefficients, RECIPE (JSON in one cell) says how the kernel was applied. All numbers are float64 and come back
bit for bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.errors import advice
from psfmatch.io.columns import tableBytes
from psfmatch.io.files import FitsSource, openFits, writeHdus
from psfmatch.io.headers import appendMetadata, exactCard, imageHdu, ownPrimaryHdu, readMetadata
from psfmatch.io.layouts import listHdus
from psfmatch.io.names import parseFileName
from psfmatch.io.planes import KernelTables, SpatialField
from psfmatch.io.roles import Role
from psfmatch.io.sourceTable import SourceTable

FIELD_CARDS = {
    "MODEL": ("model", "functions of position"),
    "ORDER": ("order", "total order"),
    "XCEN": ("xCentre", "[pix] parent x of the functions' origin"),
    "YCEN": ("yCentre", "[pix] parent y of the functions' origin"),
    "XSCALE": ("xScale", "[pix] parent pixels per unit of x"),
    "YSCALE": ("yScale", "[pix] parent pixels per unit of y"),
}


def writeKernelTables(path: str | os.PathLike[str], tables: KernelTables, overwrite: bool = True) -> None:
    """Write a kernel alone.

    FileExistsError if the file exists and ``overwrite`` is false.
    """
    hdus = kernelHdus(tables)
    writeHdus(path, [ownPrimaryHdu(len(hdus)), *hdus], overwrite)


def readKernelTables(path: str | os.PathLike[str]) -> KernelTables:
    """Read the kernel from a file of `writeKernelTables` or of `writePlanes`.

    Returned: new arrays in native byte order. FileNotFoundError if there is no such file; ExposureReadError if it holds
    no kernel, or one that is damaged or contradicts itself.
    """
    with openFits(parseFileName(path)[0]) as source:
        entries = listHdus(source)
        found = {entry.role: entry.index for entry in entries}
        if Role.KERNEL_BASIS not in found or Role.KERNEL_COEFFICIENTS not in found:
            held = "; ".join(str(entry) for entry in entries)
            hint = advice("; kernel tables of HOTPANTS are read by psfmatch.hotpants.storedKernel.readStoredKernel")
            raise source.error(f"holds no kernel (HDUs KBASIS and KCOEF); it holds {held}{hint}")
        basis = np.array(source.readData(found[Role.KERNEL_BASIS]), dtype=np.float64, order="C")
        basisHeader = source.hdus[found[Role.KERNEL_BASIS]].header
        coefficients = _column(source, found[Role.KERNEL_COEFFICIENTS])
        try:
            background = backgroundField = None
            if Role.BACKGROUND_COEFFICIENTS in found:
                index = found[Role.BACKGROUND_COEFFICIENTS]
                background, backgroundField = (_column(source, index)[0], _field(source.hdus[index].header, "B"))
            spatialField = _field(source.hdus[found[Role.KERNEL_COEFFICIENTS]].header, "K")
            recipe = None if Role.RECIPE not in found else readJson(source, found[Role.RECIPE], "RECIPE")
            return KernelTables(
                basis,
                coefficients,
                spatialField,
                background,
                backgroundField,
                readMetadata(basisHeader),
                _square(source, found.get(Role.KERNEL_COVARIANCE)),
                _square(source, found.get(Role.BACKGROUND_COVARIANCE)),
                recipe,
            )
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise source.error(f"the kernel tables do not fit together: {error}") from error


def kernelHdus(tables: KernelTables) -> list[Any]:
    """HDUs of a kernel: KBASIS, KCOEF and what else there is of BCOEF, KCOV, BCOV and RECIPE."""
    image = imageHdu("KBASIS", np.asarray(tables.basis, dtype=np.float64))
    appendMetadata(image.header, tables.metadata)
    hdus = [image, coefficientHdu("KCOEF", tables.coefficients, tables.spatialField)]
    if tables.background is not None and tables.backgroundField is not None:
        hdus.append(coefficientHdu("BCOEF", tables.background[np.newaxis], tables.backgroundField))
    for name, covariance in (("KCOV", tables.covariance), ("BCOV", tables.backgroundCovariance)):
        if covariance is not None:
            hdus.append(imageHdu(name, np.asarray(covariance, dtype=np.float64)))
    if tables.recipe is not None:
        hdus.append(jsonHdu(tables.recipe, "RECIPE"))
    return hdus


def jsonHdu(data: Mapping[str, Any], name: str) -> bytes:
    """Plain data as JSON in the only cell of a table, as it stands in a file; numbers come back bit for bit."""
    return tableBytes(SourceTable({name: [json.dumps(dict(data))]}), name)


def readJson(source: FitsSource, index: int, name: str) -> dict[str, Any]:
    """Plain data from a table of `jsonHdu`.

    ExposureReadError if the text is not JSON, or no group of named values.
    """
    try:
        data = json.loads(source.readData(index)[name][0])
        if not isinstance(data, dict):
            raise ValueError(f"it holds {type(data).__name__}, not named values")
    except (ValueError, KeyError, IndexError) as error:
        raise source.error(f"HDU {name} holds no JSON: {error}") from error
    return data


def correctionTables(source: FitsSource, found: Mapping[Role, int]) -> KernelTables:
    """Return the kernel of DBASIS and DCOEF; KeyError or ValueError where they do not fit together."""
    basis = np.array(source.readData(found[Role.CORRECTION_BASIS]), dtype=np.float64, order="C")
    index = found[Role.CORRECTION_COEFFICIENTS]
    return KernelTables(basis, _column(source, index), _field(source.hdus[index].header, "D"))


def _square(source: FitsSource, index: int | None) -> NDArray[np.float64] | None:
    return None if index is None else np.array(source.readData(index), dtype=np.float64, order="C")


def coefficientHdu(name: str, rows: NDArray[np.float64], spatialField: SpatialField) -> bytes:
    """Return a table of coefficients, one row for each basis image; its cards begin with the name's first letter."""
    cards = [
        exactCard(name[0] + key, getattr(spatialField, attribute), comment)
        for key, (attribute, comment) in FIELD_CARDS.items()
    ]
    cards += [
        exactCard(f"{name[0]}NUM{i}", number, "of the functions") for i, number in enumerate(spatialField.numbers)
    ]
    return tableBytes(SourceTable({"COEF": np.asarray(rows, dtype=np.float64)}), name, cards)


def _field(header: fits.Header, prefix: str) -> SpatialField:
    numbers: list[float] = []
    while (key := f"{prefix}NUM{len(numbers)}") in header:
        numbers.append(float(header[key]))
    fields = {attribute: header[prefix + key] for key, (attribute, _) in FIELD_CARDS.items()}
    return SpatialField(**fields, numbers=tuple(numbers))


def _column(source: FitsSource, index: int) -> NDArray[np.float64]:
    rows = source.readData(index)
    try:
        column = np.array(rows["COEF"], dtype=np.float64, order="C")
    except (IndexError, KeyError, ValueError) as error:
        raise source.error(f"HDU {index} has no column COEF of numbers") from error
    return column.reshape(len(rows), -1)
