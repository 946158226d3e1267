"""Where a header of a file ends and its data begin, also where cards or blocks have another length than FITS wants.

A header ends with the card END and fills up blocks of 2880 bytes. Editors and transfers as text put ends of lines
behind cards, programs write cards that are too long, or forget what fills up the last block; then the place of the data
is where they lead on to the end of the file or to the next header.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
from dataclasses import dataclass
from typing import BinaryIO

from psfmatch.errors import ExposureReadError
from psfmatch.io.cards import CARD
from psfmatch.io.pixels import BLOCK

log = logging.getLogger("psfmatch.io")

END = "END".ljust(CARD)
FIRST_BYTES = 2 * BLOCK  # as much as is read ahead anyway
LONGEST = 400
"""Characters up to which a card that is too long is followed."""
CARD_START = re.compile(
    r"[A-Z0-9_-]{1,8} *(?<=[A-Z0-9_ -])= |COMMENT |HISTORY |CONTINUE {2}|HIERARCH |END(?= {5}|$)| {20}"
)


@dataclass(frozen=True)
class RawHeader:
    """Cards before END, bytes up to the data as far as END tells, and whether what is behind END is odd.

    isCut : whether cards were not 80 characters long, or END was missing, so that nothing but the length of the file
    tells where the data begin.
    """

    text: str
    nBytes: int
    isOdd: bool
    isCut: bool = False


def readRawHeader(file: BinaryIO, start: int, length: int, label: str) -> RawHeader | None:
    """Read a header.

    start : byte where the header begins; length : of the file. Returned: None where there is none that can be told from
    other bytes. ExposureReadError if a header begins that does not end.
    """
    file.seek(start)
    raw = file.read(FIRST_BYTES)
    if not re.match(rb"\s*XTENSION" if start else rb"\s*SIMPLE", raw, re.IGNORECASE):
        return None
    searched = 0
    while True:
        end = _endOf(raw, searched)
        if end is not None or len(raw) >= length - start or not _looksLikeText(raw[-BLOCK:]):
            break
        searched = len(raw)
        raw += file.read(len(raw))
    if end is None:
        return _linesOf(raw) or _realigned(raw, start, label) or _withoutEnd(raw, start, length, label)
    nBytes = BLOCK * (end // BLOCK + 1)
    isOdd = raw[end:nBytes].count(b" ") != nBytes - end - 3
    return RawHeader(raw[:end].decode("latin-1"), nBytes, isOdd)


def rebuilt(file: BinaryIO, start: int, raw: RawHeader, text: str, size: int, label: str) -> BinaryIO | None:
    """Put a header of whole blocks before its data.

    start : byte where the header begins; text : its cards, mended; size : bytes of its data. Returned: in memory; None
    where the data begin at the end of a block, so that what is behind END has only to become blank. ExposureReadError
    if nothing tells where the data begin.
    """
    length = file.seek(0, os.SEEK_END) - start
    end, filled = len(raw.text) + CARD, BLOCK * math.ceil(raw.nBytes / BLOCK)

    def leadsOn(data: int) -> bool:
        ends = data + size, data + BLOCK * math.ceil(size / BLOCK)
        return any(at == length or (at < length and isExtension(file, start + at)) for at in ends)

    first = raw.nBytes if raw.isCut else min(end, raw.nBytes)
    # Where lines were made of the cards, of the blanks behind END as well, the data are the end of the file.
    file.seek(max(0, start + length - -size % BLOCK))
    isFilled = not file.read().strip(b"\0")
    places = [filled, first, length - size - (-size % BLOCK if isFilled else 0)]
    found = next((at for at in places if first <= at <= filled + BLOCK and leadsOn(at)), None)
    if found is None and raw.isCut:
        message = f"{label}: the header at byte {start} is damaged, and nothing tells where its data begin"
        raise ExposureReadError(message, path=label)
    if found in (None, filled) and raw.nBytes == filled and end <= filled:
        return None
    file.seek(0)
    before = file.read(start)
    file.seek(start + (filled if found is None else found))
    block = (text + END).encode("ascii")
    return io.BytesIO(before + block.ljust(BLOCK * math.ceil(len(block) / BLOCK)) + file.read())


def isExtension(file: BinaryIO, start: int) -> bool:
    """Whether an extension begins at a byte of a file."""
    file.seek(start)
    return file.read(8) == b"XTENSION"


def _endOf(raw: bytes, start: int) -> int | None:
    """Return the byte of the card END."""
    at = raw.find(b"END", start)
    while at >= 0:
        if at % CARD == 0 and not raw[at + 3 : at + 8].strip(b" \0\r\n") and raw[at + 8 : at + 10] != b"= ":
            return at
        at = raw.find(b"END", at + 1)
    return None


def _looksLikeText(block: bytes) -> bool:
    return sum(32 <= byte < 127 for byte in block) > 0.9 * len(block)


def _linesOf(raw: bytes) -> RawHeader | None:
    """Return a header that is written in lines, as text files have them; None if it is not."""
    match = re.match(rb"(?:[^\r\n]{0,400}\r?\n)+?END *\r?\n", raw)
    if match is None:
        return None
    lines = match[0].decode("latin-1").splitlines()[:-1]
    return RawHeader("".join(line[:CARD].ljust(CARD) for line in lines), match.end(), isOdd=True, isCut=True)


def _realigned(raw: bytes, start: int, label: str) -> RawHeader | None:
    """Return a header of which some cards are longer or shorter than 80 characters; None if it has no END either."""
    text = raw.decode("latin-1")
    cards: list[str] = []
    odd: list[str] = []
    at = 0
    while at < len(text) and CARD_START.match(text, at) is not None:
        if text.startswith("END", at) and not text[at + 3 : at + 8].strip():
            log.warning("%s: cards of the header at byte %d are not of 80 characters: %s", label, start, ", ".join(odd))
            return RawHeader("".join(cards), at + CARD, isOdd=True, isCut=True)
        following = at + CARD
        if following < len(text) and CARD_START.match(text, following) is None:
            starts = [match.start() for match in CARD_START.finditer(text, at + 9, at + LONGEST)]
            # The first one that another card, or the end, follows as it should.
            sure = [one for one in starts if text.startswith("END", one) or CARD_START.match(text, one + CARD)]
            if not starts:
                return None
            following = (sure or starts)[0]
            odd.append(text[at : at + 8].strip())
        cards.append(text[at : min(following, at + CARD)].ljust(CARD))
        at = following
    return None


def _withoutEnd(raw: bytes, start: int, length: int, label: str) -> RawHeader:
    """Return a header that has no card END."""
    text = raw[: len(raw) // CARD * CARD].decode("latin-1")
    cards = 0
    while cards < len(text) // CARD and re.match(r"[A-Z0-9_-]* *(= |$)|COMMENT|HISTORY", text[CARD * cards :][:CARD]):
        cards += 1
    nBytes = BLOCK * math.ceil(CARD * cards / BLOCK)
    used = text[: CARD * cards].rstrip()
    if not used or start + nBytes > length:
        message = f"{label}: the header at byte {start} has no END; it is truncated or damaged"
        raise ExposureReadError(message, path=label)
    log.warning("%s: the header at byte %d has no card END; it is taken to end with its last card", label, start)
    return RawHeader(used.ljust(CARD * math.ceil(len(used) / CARD)), nBytes, isOdd=True, isCut=True)
