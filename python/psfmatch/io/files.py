"""Opening and closing of FITS files: truncation checks, atomic writing.

astropy only warns about a file that ends too early and maps a short data block into an obscure `TypeError`;
here each data block is compared with the length of the file before it is read.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import secrets
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.errors import ExposureReadError
from psfmatch.io.cards import CardFault, mendInMemory
from psfmatch.io.mending import mendFile, tellFaults
from psfmatch.io.names import OpenSource
from psfmatch.io.packing import PACKED_BYTES, UnpackingError, isPacked, unpacked, whatElse
from psfmatch.io.pixels import BLOCK, isPlain, pieces, readPlain, writePieces
from psfmatch.io.whole import requireNew

log = logging.getLogger("psfmatch.io")


class _ForkableLock:
    """A lock that a forked process finds open, whichever thread of its parent held it."""

    def __init__(self) -> None:
        self.current = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.current = threading.RLock()


warningsLock = _ForkableLock()


@dataclass(frozen=True)
class FitsSource:
    """An open HDU list with what is needed to check and to name it.

    hdus : the open list; label : the path, or "HDUList" for a list given in memory; used in messages; stream : the
    bytes of the file, unpacked; None for a list in memory, whose data are there already; faults : of each HDU of a file
    what was wrong with its cards.
    """

    hdus: fits.HDUList
    label: str
    stream: BinaryIO | None
    faults: tuple[tuple[CardFault, ...], ...] = ()
    _reported: set[CardFault] = field(default_factory=set)
    _ofMemory: dict[int, tuple[fits.Header, tuple[CardFault, ...]]] = field(default_factory=dict)

    def header(self, index: int) -> fits.Header:
        """Return the header of an HDU without the cards that are not FITS."""
        return self._mended(index)[0]

    def lostCards(self, index: int) -> list[str]:
        """Return the keywords of an HDU's cards from which no value could be read."""
        return [fault.keyword for fault in self._mended(index)[1] if fault.isLost]

    def tellFaults(self, *indices: int) -> None:
        """Say in the log which cards of some HDUs are not FITS, unless that has been said."""
        faults = [fault for index in indices for fault in self._mended(index)[1] if fault not in self._reported]
        tellFaults(self.label, list(dict.fromkeys(faults)))
        self._reported.update(faults)

    def _mended(self, index: int) -> tuple[fits.Header, tuple[CardFault, ...]]:
        header: fits.Header = self.hdus[index].header
        if self.stream is not None:
            return header, self.faults[index] if index < len(self.faults) else ()
        # A list in memory stays as its owner made it.
        if (known := self._ofMemory.get(index)) is None:
            with quietAstropy():
                known = self._ofMemory[index] = mendInMemory(header)
        return known

    def error(self, message: str, **counts: Any) -> ExposureReadError:
        """Make an `ExposureReadError` that names this file."""
        return ExposureReadError(f"{self.label}: {message}", path=self.label, **counts)

    def readData(self, index: int) -> NDArray[Any]:
        """Read the pixels of one HDU, as stored (any byte order, perhaps a memory map).

        Returned: the pixels with BSCALE, BZERO and BLANK applied. ExposureReadError if the data block is cut off or
        cannot be decoded.
        """
        hdu = self.hdus[index]
        self._checkLength(index)
        try:
            with quietAstropy():
                return np.asarray(hdu.data)
        except MemoryError:
            raise
        except Exception as error:
            # A damaged block surfaces as TypeError, ValueError, OSError, EOFError or zlib.error, as chance
            # has it.
            raise self.error(
                f"the data of HDU {index} ({hdu.name or 'unnamed'}) cannot be read ({error}); "
                "the file is damaged or truncated"
            ) from error

    def readDirectly(self, index: int, bitpix: int, shape: tuple[int, int]) -> NDArray[Any] | None:
        """Read the plane of one HDU past astropy, if its pixels lie in a file as plain numbers of one type.

        bitpix : the type, in FITS terms; shape : height and width. Returned: a new array in native byte order; None if
        the HDU is compressed, scaled, in memory or of another type. ExposureReadError if the data block is cut off.
        """
        hdu = self.hdus[index]
        place = hdu.fileinfo()
        isFile = isinstance(self.stream, io.BufferedReader)
        if not isFile or self.stream is None or place is None or not isPlain(hdu) or hdu.header["BITPIX"] != bitpix:
            return None
        self._checkLength(index)
        try:
            return readPlain(self.stream, place["datLoc"], bitpix, shape)
        except OSError as error:
            raise self.error(f"the data of HDU {index} ({hdu.name or 'unnamed'}) cannot be read ({error})") from error

    def _checkLength(self, index: int) -> None:
        hdu = self.hdus[index]
        place = hdu.fileinfo()
        if self.stream is None or place is None:
            return
        # The zeros that fill up the last block may be missing: some writers leave them out.
        stored = place["datSpan"] - (BLOCK - 1) if isinstance(hdu, fits.CompImageHDU) else hdu.size
        end = place["datLoc"] + stored
        length = self.stream.seek(0, os.SEEK_END)
        if end > length:
            raise self.error(
                f"truncated: HDU {index} ({hdu.name or 'unnamed'}) needs {end} bytes, but the file has "
                f"{length}; fetch it again",
                nBytes=length,
                nRequired=end,
            )

    def checkHeaders(self) -> None:
        """Raise `ExposureReadError` if the file ends inside a header, which astropy passes over."""
        place = self.hdus[-1].fileinfo()
        if self.stream is None or place is None:
            return
        end = place["datLoc"] + place["datSpan"]
        self.stream.seek(end)
        following = self.stream.read(8)
        if following == b"XTENSION":
            raise self.error(f"truncated inside the header of HDU {len(self.hdus)}; fetch the file again")
        if following.strip(b"\0 "):
            log.warning("%s: bytes that belong to no HDU follow after byte %d", self.label, end)


@contextmanager
def quietAstropy() -> Iterator[None]:
    """Turn warnings of astropy about odd headers into log lines of level DEBUG."""
    # Two threads that catch warnings at a time would leave the process without any.
    with warningsLock.current, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log.debug("%s", " ".join(str(warning.message).split()))


@contextmanager
def openFits(source: OpenSource) -> Iterator[FitsSource]:
    """Open a FITS file for reading and check its headers; what is open already is not closed.

    source : path without brackets, an open list, or an open file, read from its beginning and left where it stood.
    Yielded: the open file. Its data must be copied before it is closed. FileNotFoundError if there is no such file;
    ExposureReadError if the file is not FITS, cannot be opened or ends inside a header.
    """
    if isinstance(source, fits.HDUList):
        yield FitsSource(source, source.filename() or "HDUList", None)
        return
    if not isinstance(source, os.PathLike):
        with _openOpen(source) as opened:
            yield opened
        return
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise ExposureReadError(f"{path}: is a directory, not a FITS file", path=path)
    if not path.is_file():  # to read it might never end
        raise ExposureReadError(f"{path}: is a pipe or a device, not a file", path=path)
    stream = _unpacked(path)
    try:
        opened = _openStream(stream, str(path))
        try:
            yield opened
        finally:
            opened.hdus.close()
    finally:
        stream.close()


@contextmanager
def _openOpen(file: BinaryIO) -> Iterator[FitsSource]:
    """Read what a file object holds, which may be packed."""
    label = str(getattr(file, "name", "") or type(file).__name__)
    try:
        place = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(place)
        isText = not isinstance(content, bytes)
        content = content if isText else unpacked(content)
    except (AttributeError, OSError, ValueError, UnpackingError) as error:
        raise ExposureReadError(f"{label}: cannot be read ({error})", path=label) from error
    if isText:
        raise TypeError(f"{label} is open as text; open it with mode 'rb'")
    opened = _openStream(io.BytesIO(content), label)
    try:
        yield opened
    finally:
        opened.hdus.close()


def _unpacked(path: Path) -> BinaryIO:
    """Open a file; one that is compressed as a whole is unpacked in memory, where astropy needs it anyway."""
    try:
        file = path.open("rb")
        start = file.read(PACKED_BYTES)
        file.seek(0)
        if not isPacked(start):
            return file
        with file:
            return io.BytesIO(unpacked(file.read()))
    except (OSError, UnpackingError) as error:
        raise ExposureReadError(f"{path}: cannot be read ({error})", path=path) from error


def _openStream(stream: BinaryIO, label: str) -> FitsSource:
    try:
        mended = mendFile(stream, label)
        if not mended.faults:
            stream.seek(0)
            raise ExposureReadError(f"{label}: is no FITS file, but {whatElse(stream.read(512))}", path=label)
        with quietAstropy():
            hdus = fits.open(mended.stream, mode="readonly")
            nHdus = len(hdus)
    except (MemoryError, ExposureReadError):
        raise
    except Exception as error:
        raise ExposureReadError(f"{label}: cannot be opened as FITS ({error})", path=label) from error
    opened = FitsSource(hdus, label, mended.file, mended.faults)
    if nHdus == 0:
        raise opened.error("holds no HDU")
    opened.checkHeaders()
    return opened


def writeHdus(path: str | os.PathLike[str], hdus: Sequence[Any], overwrite: bool) -> None:
    """Write HDUs so that a reader sees the whole file or none of it.

    The file is written under a temporary name in the same directory and then renamed. path : destination; ``.gz`` is
    compressed as a whole, of ``.fz`` each plane, as fpack does, without loss; hdus : the primary HDU first; bytes are
    an HDU as it stands in a file. FileExistsError if the file exists and ``overwrite`` is false; FileNotFoundError if
    the directory does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the directory {path.parent} does not exist")
    if not overwrite:
        requireNew(path)
    ending = path.suffix.lower()
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        parts = pieces([_packed(hdu) for hdu in hdus] if ending == ".fz" else hdus)
        with temporary.open("wb") as file:
            if ending == ".gz":
                # No time and no name in the gzip header: equal content gives equal files.
                with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=4, mtime=0) as packed:
                    writePieces(packed, parts, isPacked=True)
            else:
                writePieces(file, parts, isPacked=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _packed(hdu: Any) -> Any:
    """Return a plane as a tile-compressed one that loses nothing; anything else as it is."""
    if not isinstance(hdu, fits.ImageHDU) or hdu.data is None or hdu.data.ndim != 2:
        return hdu
    return fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0.0)
