"""Files that are packed as a whole, and what a file is that is no FITS file, by the bytes at its beginning."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable

PACKED_BYTES = 6
"""Bytes that tell whether a file is packed."""
MAX_LAYERS = 3
"""Of files that were packed by one program after another."""
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x9d", "a file packed by compress (.Z); unpack it with gzip -d"),
    (b"\x28\xb5\x2f\xfd", "a file packed by zstd; unpack it with zstd -d"),
    (b"\x04\x22\x4d\x18", "a file packed by lz4; unpack it with lz4 -d"),
    (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip; unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex; fetch the file itself with git annex get"),
    (b"\x89PNG", "a PNG picture, which has no pixels to measure"),
    (b"\xff\xd8\xff", "a JPEG picture, which has no pixels to measure"),
    (b"%PDF", "a PDF document"),
    (b"II*\0", "a TIFF picture; convert it to FITS"),
    (b"MM\0*", "a TIFF picture; convert it to FITS"),
    (b"\x89HDF", "an HDF5 file; convert it to FITS"),
    (b"\x93NUMPY", "an array of NumPy; load it and hand it to psfmatch.subtract"),
    (b"<", "a page of the web, perhaps of a server that refused; fetch the file again"),
    (b"{", "JSON, perhaps the answer of a server; fetch the file again"),
)
TAR = 257, b"ustar"


class UnpackingError(Exception):
    """A packed file that is damaged, or holds not one file."""


def isPacked(start: bytes) -> bool:
    """Return whether a file that begins with these bytes is one that `unpacked` unpacks."""
    return start.startswith(tuple(PACKERS))


def unpacked(content: bytes) -> bytes:
    """Return the bytes that a file holds which gzip, bzip2, xz or zip have packed, others as they are.

    UnpackingError if the file is damaged, or an archive of not one file.
    """
    for _ in range(MAX_LAYERS):
        unpack = next((unpack for magic, unpack in PACKERS.items() if content.startswith(magic)), None)
        if unpack is None:
            break
        try:
            content = unpack(content)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise UnpackingError(str(error)) from error
    return content


def whatElse(content: bytes) -> str:
    """Return what a file is that is no FITS file, and what to do with it; in doubt how it begins."""
    if content[TAR[0] :].startswith(TAR[1]):
        return "an archive of tar; unpack it"
    start = content.lstrip(b" \t\r\n")
    if not content:
        return "an empty one; fetch it again"
    for magic, what in OTHERS:
        if start.startswith(magic):
            return what
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in content[:16])
    return f"a file that begins with {shown!r}, where FITS has 'SIMPLE  ='"


def _fromZip(content: bytes) -> bytes:
    """Return the one file that an archive holds."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if len(names) != 1:
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                raise UnpackingError(f"the archive holds {len(names)} files, not one: {shown}; unpack it")
            return archive.read(names[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UnpackingError(str(error)) from error


PACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
    b"]\0\0": lzma.decompress,
    b"PK\x03\x04": _fromZip,
}
