"""Pixels of plain image HDUs, straight from and to the file.

Strips of rows are read into their place, or written from a small buffer, and their bytes brought to the order of the
machine, or of FITS, while they are in the processor's cache; several threads share the work. Files are read rather than
mapped: one that shrinks meanwhile is then an error and not the end of the process, and no page of it counts as memory.
What is compressed, scaled or in memory is left to astropy.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.threads import mapStrips, resolveThreads

BLOCK = 2880  # bytes; FITS files consist of blocks of this length
TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}


def isPlain(hdu: Any) -> bool:
    """Whether the data of an image HDU are numbers one after the other, without scale or blank value."""
    if isinstance(hdu, fits.CompImageHDU) or not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
        return False
    header = hdu.header
    isScaled = header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0
    hasBlank = header["BITPIX"] > 0 and "BLANK" in header
    return not isScaled and not hasBlank and header.get("GROUPS") is not True


def readPlain(file: IO[bytes], start: int, bitpix: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Read a plane of plain numbers.

    file : a file of the operating system; its position stays; start : byte where the plane begins; bitpix : type of the
    pixels in FITS terms; shape : height and width. Returned: a new array, (h, w), of that type in the machine's byte
    order. OSError if the file cannot be read, or ends too early.
    """
    from psfmatch import _core  # who looks at headers alone does without it

    plane: NDArray[Any] = np.empty(shape, dtype=TYPES[bitpix])
    _core.providePages(plane, nThreads=resolveThreads())
    rowBytes = plane.strides[0]
    readAt = _reader(file)
    needsSwap = not np.dtype(f">{TYPES[bitpix]}").isnative

    def read(strip: slice) -> None:
        rows = plane[strip]
        # Memoryviews of one dimension alone can be cut at any byte.
        target = rows.data.cast("B")
        done = 0
        while done < len(target):
            count = readAt(target[done:], start + strip.start * rowBytes + done)
            if count == 0:
                raise OSError("the file ends too early")
            done += count
        if needsSwap:
            rows.byteswap(inplace=True)

    mapStrips(read, shape)
    return plane


def _reader(file: IO[bytes]) -> Callable[[memoryview, int], int]:
    """Return what reads into a piece of memory from a place of a file, on several threads; its position stays."""
    if hasattr(os, "preadv"):
        descriptor = file.fileno()
        return lambda target, place: os.preadv(descriptor, [target], place)
    # Systems without it have one position for all threads, which take turns.
    lock = threading.Lock()

    def readAt(target: memoryview, place: int) -> int:
        with lock:
            before = file.tell()
            try:
                file.seek(place)
                return file.readinto(target)  # type: ignore[attr-defined,no-any-return]
            finally:
                file.seek(before)

    return readAt


def _writer(file: io.BufferedIOBase) -> Callable[[memoryview, int], int]:
    """Return what writes a piece of memory to a place of a file, on several threads."""
    if hasattr(os, "pwrite"):
        descriptor = file.fileno()
        return lambda source, place: os.pwrite(descriptor, source, place)
    lock = threading.Lock()

    def writeAt(source: memoryview, place: int) -> int:
        with lock:
            file.seek(place)
            return file.write(source)

    return writeAt


def converted(data: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Copy an image, (h, w), of any real type and byte order to a new native array; overflow becomes infinity."""
    plane: NDArray[Any] = np.empty(data.shape, dtype=dtype)

    def convert(strip: slice) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(plane[strip], data[strip], casting="unsafe")

    mapStrips(convert, data.shape)
    return plane


def pieces(hdus: Sequence[Any]) -> list[bytes | NDArray[Any]]:
    """Take HDUs apart into what follows in the file: bytes, and planes whose pixels have yet to be put in order.

    Bytes among them are HDUs as they stand in a file.
    """
    parts: list[bytes | NDArray[Any]] = []
    for hdu in hdus:
        if isinstance(hdu, bytes):
            parts.append(hdu)
            continue
        # To astropy a compressed image is an image, too.
        isPlane = isinstance(hdu, fits.ImageHDU) and not isinstance(hdu, fits.CompImageHDU)
        data = hdu.data if isPlane else None
        if data is None or data.ndim != 2 or data.dtype.str[1:] not in TYPES.values():
            parts.append(_bytesOf(hdu))
            continue
        hdu.verify("exception")
        parts += [hdu.header.tostring().encode("ascii"), data, bytes(-data.nbytes % BLOCK)]
    return parts


def writePieces(file: io.BufferedIOBase, parts: Sequence[bytes | NDArray[Any]], isPacked: bool) -> None:
    """Write what `pieces` returned; a file that is compressed on the way is written from front to end."""
    position = 0
    for part in parts:
        if isinstance(part, bytes):
            file.write(part)
            position += len(part)
        else:
            file.flush()
            _writePlane(file, part, position, isPacked)
            position += part.nbytes
            if not isPacked:
                file.seek(position)


def _writePlane(file: io.BufferedIOBase, plane: NDArray[Any], start: int, isPacked: bool) -> None:
    needsSwap = plane.dtype != plane.dtype.newbyteorder(">")
    rowBytes = plane.shape[1] * plane.itemsize
    writeAt = None if isPacked else _writer(file)

    def write(strip: slice) -> None:
        rows = plane[strip]
        # Swapped in place, which takes a third of the time of a conversion to the other order.
        rows = rows.copy(order="C").byteswap(inplace=True) if needsSwap else np.ascontiguousarray(rows)
        source = rows.view(np.uint8).data.cast("B")
        if writeAt is None:
            file.write(source)
            return
        done = 0
        while done < len(source):
            done += writeAt(source[done:], start + strip.start * rowBytes + done)

    mapStrips(write, plane.shape, 1 if isPacked else None)


def _bytesOf(hdu: Any) -> bytes:
    """Return an HDU as astropy writes it."""
    if isinstance(hdu, fits.PrimaryHDU):
        parts, skipped = [hdu], 0
    else:
        # An extension stands behind a primary header; an empty one fills a single block.
        parts, skipped = [fits.PrimaryHDU(), hdu], BLOCK
    buffer = io.BytesIO()
    fits.HDUList(parts).writeto(buffer)
    return buffer.getvalue()[skipped:]
