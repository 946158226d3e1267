"""PSFs in FITS: the image ``PSFIMAGE``, which astropy's CCDData reads too, and a table of images at positions.

A PSF that is the same everywhere is PSFIMAGE alone. One that varies has its image nearest the centre there, and one row
per node of its grid in the table PSFNODES: X, Y (parent pixels) and IMAGE.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits

from psfmatch.io.columns import tableBytes
from psfmatch.io.files import FitsSource
from psfmatch.io.headers import imageHdu
from psfmatch.io.layouts import HduEntry
from psfmatch.io.planes import PsfNodes
from psfmatch.io.roles import Role
from psfmatch.io.sourceTable import SourceTable

log = logging.getLogger("psfmatch.io")


def psfHdus(psf: PsfNodes) -> list[Any]:
    """Return the HDUs that hold a PSF."""
    known = np.argwhere(np.isfinite(psf.images).all(axis=(2, 3)))
    middle = np.array([(psf.images.shape[0] - 1) / 2, (psf.images.shape[1] - 1) / 2])
    row, column = known[np.argmin(np.hypot(*(known - middle).T))]
    place = [
        fits.Card("PSFX", float(psf.x[column]), "[pix] its place, parent coordinates"),
        fits.Card("PSFY", float(psf.y[row]), "[pix] its place, parent coordinates"),
    ]
    image = imageHdu("PSFIMAGE", psf.images[row, column], place)
    if psf.images.shape[:2] == (1, 1):
        return [image]
    height, width = psf.images.shape[2:]
    gridX, gridY = np.meshgrid(psf.x, psf.y)
    columns = {"X": gridX.ravel(), "Y": gridY.ravel(), "IMAGE": psf.images.reshape(-1, height * width)}
    shape = fits.Card("TDIM3", f"({width},{height})")
    table = tableBytes(SourceTable(columns, units={"X": "pix", "Y": "pix"}), "PSFNODES", [shape])
    return [image, table]


def readPsf(source: FitsSource, entries: Sequence[HduEntry], shift: tuple[int, int]) -> PsfNodes | None:
    """Read the PSF of a file.

    shift : added to positions: where parent coordinates start over. Returned: None where there is none, or, said in the
    log, none that can be used.
    """
    table = next((entry for entry in entries if entry.role is Role.PSF_NODES), None)
    image = next((entry for entry in entries if entry.role is Role.PSF and entry.isPlane), None)
    if table is not None:
        rows = source.readData(table.index)
        x, columns = np.unique(np.asarray(rows["X"], dtype=np.float64), return_inverse=True)
        y, lines = np.unique(np.asarray(rows["Y"], dtype=np.float64), return_inverse=True)
        pixels = np.asarray(rows["IMAGE"], dtype=np.float64)
        images = np.full((y.size, x.size, *pixels.shape[1:]), np.nan)
        images[lines, columns] = pixels
        return PsfNodes(images, x + shift[0], y + shift[1])
    if image is None:
        return None
    header = source.header(image.index)
    pixels = np.asarray(source.readData(image.index), dtype=np.float64).reshape(image.shape[-2:])
    if not np.isfinite(pixels).all() or pixels.sum() <= 0.0 or 0 in (pixels.shape[0] % 2, pixels.shape[1] % 2):
        log.warning("%s: the image of the PSF in HDU %s cannot be used: it must be finite, positive in sum and of odd "
                    "sides; going on without it", source.label, image)  # fmt: skip
        return None
    place = [np.array([float(header.get(f"PSF{axis}", 0.0)) + move]) for axis, move in zip("XY", shift, strict=True)]
    return PsfNodes(pixels[np.newaxis, np.newaxis], place[0], place[1])
