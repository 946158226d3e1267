"""Files in the layout of HOTPANTS: the image in the primary HDU, more images and kernel tables as extensions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.hotpants.tables import HotpantsTable
from psfmatch.io.coordinates import Coordinates, wcsHeader
from psfmatch.io.cubes import planeOf
from psfmatch.io.files import openFits, writeHdus
from psfmatch.io.headers import appendMetadata, exactCard
from psfmatch.io.kernels import kernelHdus
from psfmatch.io.layouts import Role, chooseImage, listHdus, planeShape
from psfmatch.io.names import parseFileName
from psfmatch.io.planes import KernelTables
from psfmatch.io.scales import PixelScale
from psfmatch.io.units import unitCards
from psfmatch.io.whole import writeWhole

__all__ = ["readImage", "writeHotpantsImage", "writeHotpantsTables", "writeText"]

Scaling = tuple[float, float]
INT16 = np.iinfo(np.int16)


def readImage(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read the pixels of an image alone; errors as of `readPlanes`."""
    name, selector = parseFileName(path)
    with openFits(name) as source:
        entry = chooseImage(source, listHdus(source), selector, (Role.IMAGE,))
        shape = planeShape(entry.shape)
        if shape is None:
            raise source.error(f"HDU {entry} is no two-dimensional image")
        source.tellFaults(entry.index)
        try:
            scale = PixelScale.fromHeader(source.header(entry.index), source.lostCards(entry.index))
        except ValueError as error:
            raise source.error(f"HDU {entry}: {error}") from error
        stored = source.readData(entry.index)
        plane = stored.reshape(shape) if entry.plane is None else planeOf(stored, entry.plane)
        return np.array(plane if scale.isPlain else scale.applied(plane, source.label), dtype=np.float64)


def writeHotpantsImage(
    path: str | os.PathLike[str],
    image: NDArray[Any],
    cards: Sequence[tuple[str, Any, str]],
    *,
    wcs: Coordinates | None = None,
    xy0: tuple[int, int] = (0, 0),
    metadata: Mapping[str, Any] | None = None,
    scaling: Scaling | None = None,
    layers: Mapping[str, tuple[NDArray[Any], Scaling | None]] | None = None,
    kernel: Sequence[HotpantsTable] | KernelTables | None = None,
    overwrite: bool = True,
) -> None:
    """Write an image to the primary HDU of a file, and what belongs to it to extensions.

    Parameters
    ----------
    path
        Destination.
    image
        Pixels (h, w).
    cards
        Keyword, value and comment; they replace those of `metadata`.
    wcs, xy0, metadata
        Coordinates (of parent pixels) and header of the image.
    scaling
        BSCALE and BZERO of 16-bit integers; None: the pixels as they are.
    layers
        Further images by the names of their HDUs, with their scaling.
    kernel
        Kernels to add: tables of HOTPANTS, one a region, or ours.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError, OSError
        As `psfmatch.io.writePlanes`.
    """
    coordinates, distortions = wcsHeader(wcs, xy0)
    primary = _scaled(fits.PrimaryHDU, image, scaling)
    appendMetadata(primary.header, {key: value for key, value in (metadata or {}).items() if key != "VARSRC"})
    primary.header.extend(coordinates.cards, unique=False, end=True)
    for card in unitCards(metadata or {}):
        primary.header.remove(card.keyword, ignore_missing=True, remove_all=True)
        primary.header.append(card, end=True)
    for key, value, comment in cards:
        primary.header.remove(key, ignore_missing=True, remove_all=True)
        primary.header.append(exactCard(key, value, comment), end=True)
    hdus = [primary]
    for name, (pixels, layerScaling) in (layers or {}).items():
        hdu = _scaled(fits.ImageHDU, pixels, layerScaling)
        hdu.name = name
        hdu.header.extend(coordinates.cards, unique=False, end=True)
        hdus.append(hdu)
    if isinstance(kernel, KernelTables):
        hdus += kernelHdus(kernel)
    elif kernel:
        hdus.append(_tableHdu(kernel))
    writeHdus(path, [*hdus, *distortions], overwrite)


def writeHotpantsTables(path: str | os.PathLike[str], tables: Sequence[HotpantsTable], overwrite: bool = True) -> None:
    """Write kernels of one basis, one a region, as `readHotpantsTable` reads them; errors as of `writeKernelTables`."""
    writeHdus(path, [fits.PrimaryHDU(), _tableHdu(tables)], overwrite)


def writeText(path: str | os.PathLike[str], text: str, overwrite: bool = True) -> None:
    """Write a text file that appears complete or not at all; FileExistsError as of `writeHdus`."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already")
    writeWhole(path, text.encode())


def _scaled(Hdu: Any, pixels: NDArray[Any], scaling: Scaling | None) -> Any:
    """Return an image HDU; values beyond 16 bits become the nearest that there is."""
    if scaling is None:
        # A view that cannot be written to: astropy would swap its bytes in place.
        view = np.asarray(pixels).view()
        view.flags.writeable = False
        return Hdu(view)
    scale, zero = scaling
    stored = np.clip(np.round((pixels.astype(np.float64) - zero) / scale), INT16.min, INT16.max)
    hdu = Hdu(stored.astype(np.int16))
    hdu.header["BSCALE"], hdu.header["BZERO"] = scale, zero
    return hdu


def _tableHdu(tables: Sequence[HotpantsTable]) -> fits.BinTableHDU:
    """Return kernels, a column each, with the cards that say what their coefficients multiply."""
    first = tables[0]
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column(f"REGION{n:02d}", "1D", array=table.coefficients) for n, table in enumerate(tables)]
    )
    hdu.header["NGAUSS"] = len(first.sigmas)
    for n, (degree, sigma) in enumerate(zip(first.degrees, first.sigmas, strict=True), 1):
        hdu.header[f"DGAUSS{n}"], hdu.header[f"SGAUSS{n}"] = degree, sigma
    hdu.header["FWKERN"], hdu.header["CKORDER"] = first.side, first.kernelOrder
    hdu.header["BGORDER"] = first.backgroundOrder
    for n, table in enumerate(tables):
        if (box := table.box) is not None:
            hdu.header[f"REGION{n:02d}"] = f"[{box.x0 + 1}:{box.x1},{box.y0 + 1}:{box.y1}]"
        hdu.header[f"CONVOL{n:02d}"] = "IMAGE" if table.convolved == "science" else "TEMPLATE"
    return hdu
