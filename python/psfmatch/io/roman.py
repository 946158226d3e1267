"""Images of the Roman telescope, which are ASDF: data, err, dq and the gwcs of the tree ``roman``.

Needs the packages asdf and gwcs (``pip install psfmatch[asdf]``), not Roman's own: nodes of its classes are read as the
plain trees that they are.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from psfmatch.errors import ExposureReadError
from psfmatch.io.files import quietAstropy
from psfmatch.io.generalWcs import fitsWcs
from psfmatch.io.masks import decodeMask
from psfmatch.io.names import OpenSource
from psfmatch.io.pixels import converted
from psfmatch.io.planes import ImagePlanes
from psfmatch.io.variance import varianceFromSigma

MAGIC = b"#ASDF"


def isAsdf(source: OpenSource) -> bool:
    """Whether a file is ASDF; the position of an open one stays."""
    if isinstance(source, fits.HDUList):
        return False
    if isinstance(source, os.PathLike):
        path = Path(source)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    try:
        place = source.tell()
        source.seek(0)
        start = source.read(len(MAGIC))
        source.seek(place)
    except (AttributeError, OSError):
        return False
    return start == MAGIC


def readRoman(source: OpenSource) -> ImagePlanes:
    """Read an image of level 2 or 3.

    source : an ASDF file. Returned: new arrays; no variance where the file has no ``err``. ExposureReadError if asdf is
    not installed, or the file cannot be read or holds no image of Roman.
    """
    label = str(source) if isinstance(source, os.PathLike) else str(getattr(source, "name", type(source).__name__))
    try:
        import asdf
    except ImportError:
        raise ExposureReadError(f"{label}: is ASDF; to read it: pip install 'psfmatch[asdf]'", path=label) from None
    # astropy's lock on warnings serves here, too: asdf warns about each class of Roman's that it does not know.
    file: Any = str(source)
    if not isinstance(source, os.PathLike):
        place = source.tell()
        source.seek(0)
        file = io.BytesIO(source.read())
        source.seek(place)
    try:
        with quietAstropy(), asdf.open(file, memmap=False, ignore_unrecognized_tag=True) as opened:
            tree = opened.tree.get("roman")
            if not isinstance(tree, Mapping) or "data" not in tree:
                raise ExposureReadError(f"{label}: holds no roman.data; it has {', '.join(opened.tree)}", path=label)
            return _planes(tree, label)
    except (ExposureReadError, MemoryError):
        raise
    except Exception as error:
        # A damaged file surfaces as YAML, ValueError or OSError, as chance has it.
        raise ExposureReadError(f"{label}: cannot be read as ASDF ({error})", path=label) from error


def _planes(tree: Mapping[str, Any], label: str) -> ImagePlanes:
    data: Any = tree["data"]
    err, dq = tree.get("err"), tree.get("dq")
    meta = tree.get("meta", {})
    if np.ndim(data) != 2:
        raise ExposureReadError(f"{label}: roman.data has shape {np.shape(data)}, not two dimensions", path=label)
    image = converted(np.asarray(data), np.float32)
    mask, planes = (None, None) if dq is None else decodeMask(np.asarray(dq), {}, "ROMAN", label)
    unit = getattr(data, "unit", None)
    # Files that give no unit are in DN/s, those of level 3 in MJy/sr.
    metadata: dict[str, Any] = {"TELESCOP": "ROMAN"}
    if unit is not None:
        from astropy import units

        metadata["BUNIT"] = units.Unit(unit).to_string()
    if isinstance(name := meta.get("filename"), str):
        metadata["FILENAME"] = str(name)
    filterName = meta.get("instrument", {}).get("optical_element")
    wcs = meta.get("wcs")
    return ImagePlanes(
        image=image,
        mask=mask,
        maskPlanes=planes,
        variance=None if err is None else varianceFromSigma(converted(np.asarray(err), np.float32), label),
        wcs=None if wcs is None else fitsWcs(wcs, image.shape),
        metadata=metadata,
        filter=None if filterName is None else str(filterName),
        photoCalib=_photoCalib(meta.get("photometry")),
        varianceSource="" if err is None else "roman.err squared",
        source=label,
    )


def _photoCalib(photometry: Any) -> float | None:
    """Return the flux of one count, nJy: MJy/sr per count times the pixel's area in sr."""
    if not isinstance(photometry, Mapping):
        return None
    area = photometry.get("pixel_area", photometry.get("pixelarea_steradians"))
    factors: tuple[Any, Any] = photometry.get("conversion_megajanskys"), area
    if any(factor is None for factor in factors):
        return None
    scale, size = (float(getattr(factor, "value", factor)) for factor in factors)
    product = scale * size * 1e15
    return product if np.isfinite(product) and product > 0.0 else None
