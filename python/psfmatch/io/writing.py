"""Write our own file: IMAGE, MASK, VARIANCE, PSF, on request matched template, error floor, kernel, stamps, and
configuration.

Every image HDU carries EXTNAME and EXTTYPE, the WCS, and XY0 as LTV and as WCS "A"; MASK names its planes for
both LSST readers, VARIANCE says by UTYPE that it is one, without which astropy's CCDData takes it for a
standard deviation. Nothing is quantised, and compressed only where the name asks for it. BUNIT is always there:
`CCDData.read` refuses a file without.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.columns import tableBytes
from psfmatch.io.coordinates import wcsHeader, xy0Cards
from psfmatch.io.detection import detectionHdus
from psfmatch.io.endings import FITS_FILES, formOf
from psfmatch.io.files import FitsSource, openFits, writeHdus
from psfmatch.io.headers import PHOTOCALIB_CARD, appendMetadata, exactCard, imageHdu, ownPrimaryHdu, tableHdu
from psfmatch.io.kernels import jsonHdu, kernelHdus, readJson
from psfmatch.io.layouts import listHdus
from psfmatch.io.masks import maskCards, planeCards
from psfmatch.io.names import parseFileName
from psfmatch.io.planes import DEFAULT_MASK_PLANES, DetectionPlanes, ImagePlanes, KernelTables
from psfmatch.io.psfs import psfHdus
from psfmatch.io.roles import Role
from psfmatch.io.sourceTable import AnyTable, SourceTable
from psfmatch.io.units import UNIT_SOURCE_CARD, unitCards

if TYPE_CHECKING:
    from astropy.table import Table


def writePlanes(
    path: str | os.PathLike[str],
    planes: ImagePlanes,
    *,
    matched: NDArray[np.float32] | None = None,
    floor: NDArray[np.float32] | None = None,
    kernel: KernelTables | None = None,
    stamps: AnyTable | None = None,
    detection: DetectionPlanes | None = None,
    config: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> None:
    """Write an image with all that belongs to it; the file appears complete or not at all.

    Parameters
    ----------
    path
        Destination, ``.fits``, ``.fit`` or ``.fts``, with ``.gz`` or ``.fz`` packed without loss.
    planes
        Image, mask, variance, coordinates, PSF and metadata; not changed.
    matched
        Matched template, (h, w), on the same pixels.
    floor
        Error of a point source's flux beyond its noise, (h, w), one standard deviation.
    kernel
        Matching kernel and background.
    stamps
        One row per candidate star.
    detection
        What changes are found with; needs a mask.
    config
        Configuration; must be fit for JSON.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If the planes differ in shape or are not two-dimensional, or the name is not that of a FITS file.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    formOf(path, FITS_FILES)
    shape = planes.image.shape
    if planes.image.ndim != 2 or planes.image.size == 0:
        raise ValueError(f"the image has shape {shape}; only two-dimensional images with pixels can be written")
    for name, plane in (("mask", planes.mask), ("variance", planes.variance), ("matched", matched), ("floor", floor)):
        if plane is not None and plane.shape != shape:
            raise ValueError(f"{name} has shape {plane.shape}, but the image {shape}")
    wcsCards, tables = wcsHeader(planes.wcs, planes.xy0)
    coordinates = [*wcsCards.cards, *xy0Cards(planes.xy0).cards]
    imageCards = unitCards(planes.metadata)
    bits = DEFAULT_MASK_PLANES if planes.maskPlanes is None else planes.maskPlanes
    # CCDData.read keeps the header of the image alone, which then names the bits of the flags.
    names = [] if planes.mask is None else planeCards(bits)
    hdus: list[Any] = [_planeHdu("IMAGE", planes.image, [*imageCards, *names, *coordinates])]
    if planes.mask is not None:
        hdus.append(_planeHdu("MASK", planes.mask, [*maskCards(bits).cards, *coordinates]))
    if planes.variance is not None:
        uncertainty = fits.Card("UTYPE", "VarianceUncertainty", "for astropy.nddata.CCDData")
        hdus.append(_planeHdu("VARIANCE", planes.variance, [uncertainty, *coordinates]))
    for name, plane in (("MATCHED", matched), ("FLOOR", floor)):
        if plane is not None:
            hdus.append(_planeHdu(name, plane, [*imageCards, *coordinates]))
    if kernel is not None:
        hdus += kernelHdus(kernel)
    if stamps is not None:
        hdus.append(tableBytes(stamps, "STAMPS") if isinstance(stamps, SourceTable) else tableHdu("STAMPS", stamps))
    if detection is not None and planes.mask is not None:
        hdus += detectionHdus(detection, planes.mask, lambda name, data: _planeHdu(name, data, coordinates))
    if config is not None:
        hdus.append(jsonHdu(config, "CONFIG"))
    if planes.psf is not None:
        hdus += psfHdus(planes.psf)
    hdus += tables
    writeHdus(path, [_primaryHdu(planes, len(hdus)), *hdus], overwrite)


def readStamps(path: str | os.PathLike[str]) -> Table | None:
    """Read the table of stamps.

    path : a file of `writePlanes`. Returned: None if the file has no such table.
    """
    with openFits(parseFileName(path)[0]) as source:
        index = _find(source, Role.STAMPS)
        if index is None:
            return None
        # Bytes of FITS become text, as they were before writing.
        from astropy.table import Table

        stamps = Table.read(source.hdus[index])
        stamps.convert_bytestring_to_unicode()
        for card in ("EXTNAME", "EXTTYPE"):
            stamps.meta.pop(card, None)
        return stamps.copy()


def readConfig(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read the configuration.

    path : a file of `writePlanes`. Returned: None if the file has none. ExposureReadError if the text is not JSON.
    """
    with openFits(parseFileName(path)[0]) as source:
        index = _find(source, Role.CONFIG)
        return None if index is None else readJson(source, index, "CONFIG")


def _find(source: FitsSource, role: Role) -> int | None:
    return next((entry.index for entry in listHdus(source) if entry.role is role), None)


def _primaryHdu(planes: ImagePlanes, nExtensions: int) -> fits.PrimaryHDU:
    primary = ownPrimaryHdu(nExtensions)
    metadata: Mapping[str, Any] = {
        key: value for key, value in planes.metadata.items() if key not in ("BUNIT", UNIT_SOURCE_CARD)
    }
    if planes.filter is not None:
        metadata = {**metadata, "FILTER": planes.filter}
    appendMetadata(primary.header, metadata)
    if planes.photoCalib is not None:
        primary.header.append(exactCard(PHOTOCALIB_CARD, planes.photoCalib, "[nJy] flux of one count"), end=True)
    return primary


def _planeHdu(name: str, data: NDArray[Any], cards: Sequence[fits.Card]) -> fits.ImageHDU:
    return imageHdu(name, data, [fits.Card("INHERIT", True), *cards])
