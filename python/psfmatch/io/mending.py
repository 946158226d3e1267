"""Headers of a file, looked at before astropy reads it, and mended on the way where they are not what FITS wants.

A file whose headers are sound is left alone. Of any other astropy reads the bytes with mended cards laid over them;
what no card can mend, such as a header whose lines are not 80 characters long, is put right in memory.
"""

from __future__ import annotations

import io
import logging
import math
import os
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from psfmatch.errors import ExposureReadError
from psfmatch.io.cards import BLANK_CARD, CARD, CardFault, MendedHeader, formatCard, isRead, mendHeader
from psfmatch.io.pixels import BLOCK
from psfmatch.io.rawHeaders import END, isExtension, readRawHeader, rebuilt

log = logging.getLogger("psfmatch.io")

MAX_LINES = 12
"""Log lines about the cards of one file; more tell nobody anything."""
PIXEL_BITS = ("8", "16", "32", "64", "-32", "-64")
COMPRESSIONS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")


@dataclass(frozen=True)
class MendedFile:
    """What `openFits` reads.

    stream : for astropy; file : the same bytes without mended cards, which hold the pixels; faults : of each HDU.
    """

    stream: BinaryIO
    file: BinaryIO
    faults: tuple[tuple[CardFault, ...], ...]


def mendFile(file: BinaryIO, label: str) -> MendedFile:
    """Look at the headers of a file.

    file : not compressed as a whole; its position is left anywhere. ExposureReadError if a card on which the place of
    the pixels depends is missing or makes no sense; it is named.
    """
    length = _lengthOf(file)
    patches: list[tuple[int, bytes]] = []
    faults: list[tuple[CardFault, ...]] = []
    start = 0
    while start < length:
        raw = readRawHeader(file, start, length, label)
        if raw is None:
            break
        header = _checked(mendHeader(raw.text), len(faults), label)
        size = _dataSize(header.values)
        if raw.isOdd and (whole := rebuilt(file, start, raw, header.text, size, label)) is not None:
            return mendFile(whole, label)
        if size > 0 and start + raw.nBytes > length:
            message = f"{label}: truncated inside the header of HDU {len(faults)}; fetch the file again"
            raise ExposureReadError(message, path=label)
        header, size = _withHeap(header, size, file, start + raw.nBytes, length)
        if header.text != raw.text or raw.isOdd:
            block = (header.text + END).ljust(raw.nBytes).encode("ascii")
            patches.append((start, block))
        faults.append(header.faults)
        start += raw.nBytes + BLOCK * math.ceil(size / BLOCK)
    file.seek(0)
    # Of what follows the last HDU astropy would make more of them.
    end = start if 0 < start < length else max([length, *(at + len(block) for at, block in patches)])
    if not patches and end == length:
        return MendedFile(file, file, tuple(faults))
    return MendedFile(io.BufferedReader(_Overlay(file, patches, end)), file, tuple(faults))


def tellFaults(label: str, faults: list[CardFault]) -> None:
    """Say in the log what has become of cards that are not FITS, first of those of which something is read."""
    faults = sorted(faults, key=lambda fault: not isRead(fault.keyword))
    for fault in faults[:MAX_LINES]:
        log.warning("%s: %s", label, fault.words)
    if len(faults) > MAX_LINES:
        keywords = ", ".join(fault.keyword for fault in faults[MAX_LINES:])
        log.warning("%s: %d more cards are not FITS: %s", label, len(faults) - MAX_LINES, keywords)


def _checked(header: MendedHeader, index: int, label: str) -> MendedHeader:
    """Return a header with the structure that FITS wants; raise where it cannot be known."""
    values, faults, changes = header.values, list(header.faults), dict[str, str]()
    isTable = index > 0 and not values.get("XTENSION", "").strip("' ").upper().startswith(("IMAGE", "IUEIMAGE"))
    isPacked = isTable and ("ZBITPIX" in values or "ZCMPTYPE" in values)
    for prefix in ("", "Z") if isPacked else ("",):
        _checkStructure(header, prefix, f"{label}: HDU {index}", label)
    if index == 0 and values.get("SIMPLE") != "T":
        words = "card SIMPLE is not T: the file says of itself that it is not standard; read as if it were"
        changes["SIMPLE"] = "T"
        faults = [*(fault for fault in faults if fault.keyword != "SIMPLE"), CardFault("SIMPLE", False, words)]
    kind = values.get("XTENSION", "")
    if kind != kind.upper():
        changes["XTENSION"] = kind.upper()
        faults.append(CardFault("XTENSION", False, f"card XTENSION = {kind}: read as {kind.upper()}"))
    if float(values.get("BSCALE", "1").upper().replace("D", "E")) == 0.0:
        changes["BSCALE"] = "1.0"
        faults.append(CardFault("BSCALE", True, "card BSCALE = 0 is left out: it would leave no pixels"))
    # Random groups have a first axis of length 0.
    isGrouped = values.get("GROUPS") == "T" and values.get("NAXIS1") == "0"
    if values.get("GROUPS") == "T" and not isGrouped:
        changes["GROUPS"] = "F"
        faults.append(CardFault("GROUPS", False, "card GROUPS = T: there are no groups without NAXIS1 = 0; read as F"))
    if not isTable and not isGrouped:
        for key, only in (("PCOUNT", "0"), ("GCOUNT", "1")):
            if int(values.get(key, only)) != int(only):
                faults.append(CardFault(key, False, f"card {key} = {values[key]}: of an image it is {only}"))
                changes[key] = only
    if isPacked and values.get("ZIMAGE") != "T":
        changes["ZIMAGE"] = "T"
        if not any(fault.keyword == "ZIMAGE" for fault in faults):
            faults.append(CardFault("ZIMAGE", False, "card ZIMAGE is not T, but the table holds an image; read as one"))
    return replace(_changed(header, changes), faults=tuple(faults)) if changes or faults else header


def _checkStructure(header: MendedHeader, prefix: str, place: str, label: str) -> None:
    values = header.values

    def refuse(key: str, what: str) -> ExposureReadError:
        why = {fault.keyword: fault.words for fault in header.faults}
        told = why.get(key) or (f"card {key} = {values[key]}" if key in values else f"card {key} is missing")
        return ExposureReadError(f"{place} cannot be read: {told}; {what}", path=label)

    if values.get(f"{prefix}BITPIX", "") not in PIXEL_BITS:
        raise refuse(f"{prefix}BITPIX", f"it is one of {', '.join(PIXEL_BITS)}")
    count = values.get(f"{prefix}NAXIS", "")
    if not 0 <= int(count or -1) <= 999:
        raise refuse(f"{prefix}NAXIS", "it is the number of axes")
    for axis in range(1, int(count) + 1):
        if int(values.get(f"{prefix}NAXIS{axis}", -1)) < 0:
            raise refuse(f"{prefix}NAXIS{axis}", "it is the number of pixels along an axis")
    for key in ("PCOUNT", "GCOUNT"):
        if int(values.get(key, 0)) < 0:
            raise refuse(key, "it cannot be negative")
    if not prefix:
        return
    if values.get("ZCMPTYPE", "").strip("' ") not in COMPRESSIONS:
        raise refuse("ZCMPTYPE", f"it is one of {', '.join(COMPRESSIONS)}")
    for axis in range(1, int(count) + 1):
        if (
            any(fault.keyword == f"ZTILE{axis}" and fault.isLost for fault in header.faults)
            or int(values.get(f"ZTILE{axis}", 1)) < 1
        ):
            raise refuse(f"ZTILE{axis}", "it is the number of pixels of a tile")


def _changed(header: MendedHeader, changes: dict[str, str]) -> MendedHeader:
    """Return a header with other values in some cards; those that it has not take the place of blank ones."""
    cards = [header.text[at : at + CARD] for at in range(0, len(header.text), CARD)]
    for key, token in changes.items():
        card = formatCard(key, token)
        assert card is not None  # for mypy: these are short
        own = [at for at, text in enumerate(cards) if text.startswith(f"{key:<8}=")]
        blank = [at for at, text in enumerate(cards) if text == BLANK_CARD]
        if own or blank:
            cards[(own or blank)[0]] = card
    # Of mandatory cards the first place matters.
    if "SIMPLE" in changes:
        first = next(at for at, text in enumerate(cards) if text.startswith("SIMPLE"))
        cards.insert(0, cards.pop(first))
    return replace(header, text="".join(cards), values={**header.values, **changes})


def _dataSize(values: dict[str, str]) -> int:
    """Return the bytes of the data of an HDU (FITS standard 4.0, equation 2), without what fills up the last block."""
    axes = [int(values[f"NAXIS{axis}"]) for axis in range(1, int(values["NAXIS"]) + 1)]
    if values.get("GROUPS") == "T" and axes[:1] == [0]:
        axes = axes[1:]
    pixels = math.prod(axes) if axes else 0
    count = int(values.get("GCOUNT", 1)) * (int(values.get("PCOUNT", 0)) + pixels) if axes else 0
    return abs(int(values["BITPIX"])) // 8 * count


def _withHeap(header: MendedHeader, size: int, file: BinaryIO, start: int, length: int) -> tuple[MendedHeader, int]:
    """Return header and size of a table; where PCOUNT does not lead to the next HDU, its heap ends before that."""
    values = header.values
    following = start + BLOCK * math.ceil(size / BLOCK)
    isTable = values.get("XTENSION", "").strip("' ").upper() == "BINTABLE"
    if not isTable or following == length or (following < length and isExtension(file, following)):
        return header, size
    main = int(values["NAXIS1"]) * int(values["NAXIS2"])
    isLost = any(fault.keyword in ("PCOUNT", "GCOUNT") for fault in header.faults)
    for end in range(start + BLOCK * math.ceil(main / BLOCK), length, BLOCK):
        if isExtension(file, end):
            break
    else:
        if not isLost:
            return header, size  # bytes that belong to no HDU, or a truncated file
        end = length
    heap = end - start - main
    words = f"card PCOUNT = {values.get('PCOUNT', 'none')} does not lead to the next HDU; taken as {heap}"
    changes = {"PCOUNT": str(heap), "GCOUNT": "1"}
    return replace(_changed(header, changes), faults=(*header.faults, CardFault("PCOUNT", False, words))), heap + main


def _lengthOf(file: BinaryIO) -> int:
    # What a file of the operating system has read ahead stays read that way.
    return os.fstat(file.fileno()).st_size if isinstance(file, io.BufferedReader) else file.seek(0, os.SEEK_END)


class _Overlay(io.RawIOBase):
    """A file with other bytes in some places, and another end."""

    def __init__(self, file: BinaryIO, patches: list[tuple[int, bytes]], end: int) -> None:
        super().__init__()
        self._file, self._patches, self._end, self._position = file, patches, end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._end
        self._position = max(0, offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._position)
        wanted = min(len(buffer), max(0, self._end - self._position))
        content = bytearray(self._file.read(wanted))
        # A patch may reach beyond the end of a file that lacks the end of its last block.
        content.extend(bytes(wanted - len(content)))
        first, last = self._position, self._position + len(content)
        for start, patch in self._patches:
            low, high = max(first, start), min(last, start + len(patch))
            if low < high:
                content[low - first : high - first] = patch[low - start : high - start]
        buffer[: len(content)] = content
        self._position = last
        return len(content)
