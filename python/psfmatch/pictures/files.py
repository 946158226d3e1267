"""Pictures as files and as text of a page: whole or not at all, the same figure as the same bytes."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from psfmatch.io import PICTURES, formOf, requireNew, writeWhole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bytes = NDArray[np.uint8]

PALETTE, GREYS = 256, 64
WITHOUT_ORIGIN: dict[str, dict[str, str | None] | None] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
    "jpg": None,
}
"""What matplotlib would write about itself and the time, by format."""


def savePicture(figure: Figure, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a figure in the format that the ending of the name asks for: PNG, PDF, SVG or JPEG.

    At its own resolution; a failure leaves neither a new nor a damaged file. ValueError when the ending is none of
    these; FileExistsError when the file exists and ``overwrite`` is false; OSError when the directory does not exist or
    cannot be written.
    """
    from matplotlib import rc_context

    form = formOf(path, PICTURES)
    if not overwrite:
        requireNew(path)
    stream = io.BytesIO()
    # Without the software's name, the time and random identifiers the same figure gives the same bytes.
    with rc_context({"svg.hashsalt": "psfmatch"}):
        figure.savefig(stream, format=form, dpi=figure.dpi, metadata=WITHOUT_ORIGIN[form])
    writeWhole(path, stream.getvalue())


def pngOf(figure: Figure, dpi: float) -> str:
    """Return a figure as the text of a data URI: a PNG of 256 colours, a third as large as one of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return dataUri(pngBytes(*_reduced(np.asarray(canvas.buffer_rgba())[..., :3]), 9))


def dataUri(png: bytes) -> str:
    """Return the content of a PNG file as the address of a picture in a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def pngBytes(pixels: Bytes, palette: Bytes, level: int = 4) -> bytes:
    """Return a picture, (h, w) numbers of colours (n, 3), as the content of a PNG file; `level` of compression."""
    height, width = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    # Each row begins with the number of its filter, here none; 8 bits for the number of a colour.
    rows = np.concatenate([np.zeros((height, 1), dtype=np.uint8), pixels], axis=1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)) + chunk(b"PLTE", palette.tobytes())
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows.tobytes(), level)) + chunk(b"IEND", b"")


def _reduced(pixels: Bytes) -> tuple[Bytes, Bytes]:
    """Return pixels (h, w, 3) as numbers of colours, and 256 colours (n, 3): 64 greys, white and black exact.

    What is not grey is told by 6 bits of each channel and shares the other 192 colours. Each counts once, however few
    pixels have it: else the markers would lose theirs to the images.
    """
    from PIL import Image

    sixth = (pixels >> 2).astype(np.int32)
    codes = sixth[..., 0] << 12 | sixth[..., 1] << 6 | sixth[..., 2]
    present = np.flatnonzero(np.bincount(codes.ravel(), minlength=1 << 18))
    levels = np.stack([present >> 12, present >> 6 & 63, present & 63], axis=1)
    colours = np.round(levels * (255.0 / 63.0)).astype(np.uint8)
    palette = np.round(np.arange(GREYS) * (255.0 / 63.0)).astype(np.uint8)[:, np.newaxis].repeat(3, axis=1)
    isGrey = np.ptp(levels, axis=1) == 0
    index = levels[:, 0].copy()
    if not isGrey.all():
        others = colours[~isGrey]
        few = Image.fromarray(others[np.newaxis]).quantize(PALETTE - GREYS, method=Image.Quantize.MEDIANCUT)
        found = np.array(few.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[: PALETTE - GREYS]
        distance = np.sum((others[:, np.newaxis].astype(np.int32) - found) ** 2, axis=2)
        index[~isGrey] = GREYS + np.argmin(distance, axis=1)
        palette = np.concatenate([palette, found])
    table = np.zeros(1 << 18, dtype=np.uint8)
    table[present] = index
    return table[codes], palette
