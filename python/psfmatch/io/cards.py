"""Cards of a header as they stand in a file: what is FITS stays, what has one meaning is mended, the rest is left out.

A card has 80 characters: a keyword of eight, "= ", a value, and a comment (FITS standard 4.0, section 4). Those of
which something is needed here must hold a value of the right kind, too. What is left out becomes a blank card, so that
a mended header is as long as it was.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeGuard

from astropy.io import fits

CARD = 80  # characters
BLANK_CARD = " " * CARD
COMMENTARY = ("COMMENT", "HISTORY", "", "CONTINUE")

STRING = r"'(?:[^']|'')*'"
NUMBER = r"[+-]? *(?:\d+(?: *\.\d*)?|\.\d+)(?: *[EeDd] *[+-]? *\d+)?"
# Numbers with three digits in the exponent are left to the second look, which sees whether they are finite.
PLAIN_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d\d?)?"
# 31/12/99 is a date without quotes, not 31 with a comment.
NO_DATE = r"(?!/\d+/\d)"
SOUND = re.compile(
    rf"(?:COMMENT|HISTORY| {{7}}) [ -~]{{72}}|CONTINUE {{2}} *(?P<more>{STRING}) *(?:/.*)?"
    r"|(?:(?=.{8}= )(?!CONTINUE|END )(?P<key>[A-Z0-9_-]+) *= |HIERARCH (?P<long>[!-<>-~][ -<>-~]*?) *= )"
    rf" *(?:(?P<text>{STRING})|(?P<logical>[TF])|(?P<number>{PLAIN_NUMBER}){NO_DATE})? *(?:/.*)?"
)
VALUE = re.compile(
    rf" *(?:(?P<text>{STRING})(?=$|[ /])|(?P<logical>[TF])(?=$|[ /])|(?P<number>{NUMBER})(?=$|[ /]){NO_DATE}"
    rf"|(?P<complex>\( *{NUMBER} *, *{NUMBER} *\)))? *(?:/(?P<comment>.*))?"
)
MORE = re.compile(rf"CONTINUE {{2}} *(?P<text>{STRING}) *(?:/.*)?")
NOT_FINITE = re.compile(r"[+-]?(?:1\.#)?(?:nan|inf|infinity|ind|qnan|snan)\b.*", re.IGNORECASE)
# A number and words behind it without the slash between them.
WORDS_BEHIND = re.compile(rf"(?P<number>{PLAIN_NUMBER})\s+(?P<comment>[^\d\s.,+-].*)")
# As other languages write strings and logical values.
QUOTED = re.compile(r'"([^"]*)"\s*(?:/(.*))?')
LOGICAL = re.compile(r"\.?(t|f|true|false)\.?(?:\s*/(.*))?", re.IGNORECASE)
PLAIN_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2014": "-", "\xb5": "u", "\u03bc": "u"})
RECORD = re.compile(r"'([A-Za-z_][\w.]*): ")

KINDS = {
    "integer": r"BITPIX|NAXIS\d*|PCOUNT|GCOUNT|BLANK|TFIELDS|THEAP|EXTVER|WCSAXES"
    r"|Z(BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TILE\d+|BLANK)|[AB]P?_ORDER",
    "number": r"BSCALE|BZERO|BSOFTEN|BOFFSET|ZSCALE|ZZERO|E?GAIN|CCDGAIN|ATODGAIN|ESO DET OUT1 (CONAD|RON)"
    r"|RDNOISE|READNOIS|READNOI|RON|ENOISE|NCOMBINE|NCOMB|NFRAMES|NSTACK|SATURAT[EAB]?|SATLEVEL|SATUR|SATURATION"
    r"|CELL\.SATURATION|EXPTIME|EXPOSURE|FLUXMAG0|PIXAR_SR|PHOTOCAL|EPOCH|(EQUINOX|LONPOLE|LATPOLE)[A-Z]?"
    r"|(CRPIX|CRVAL|CDELT)\d[A-Z]?|CROTA\d|(CD|PC|PV)\d_\d+[A-Z]?|(CD|PC)\d{6}|[AB]P?_\d_\d|LTV\d|LTM\d_\d",
    "logical": r"SIMPLE|EXTEND|GROUPS|INHERIT|ZIMAGE|ZSIMPLE|ZEXTEND",
    "text": r"XTENSION|EXTNAME|EXTTYPE|UTYPE|BUNIT|(CTYPE|CUNIT)\d[A-Z]?|RADESYS[A-Z]?|RADECSYS|ZCMPTYPE|ZQUANTIZ"
    r"|TELESCOP|T(FORM|TYPE)\d+",
}
"""Cards of which something is read, by the kind of value they must have."""
kindOfKey = re.compile("|".join(f"(?P<{kind}>{keys})" for kind, keys in KINDS.items()))


@dataclass(frozen=True)
class CardFault:
    """What is wrong with one card: its keyword, whether it is lost, and that in words for the log."""

    keyword: str
    isLost: bool
    words: str


@dataclass(frozen=True)
class MendedHeader:
    """The text of a header up to END, the values in it by keyword as they are written, and what has been wrong."""

    text: str
    values: dict[str, str]
    faults: tuple[CardFault, ...] = ()


def mendHeader(text: str) -> MendedHeader:
    """Look at the cards of a header and mend them.

    text : the cards before END, 80 characters each, a character per byte of the file (Latin-1). Returned: of the same
    length; the text as it was where nothing is wrong.
    """
    return _soundHeader(text) or _mendedHeader(text)


def mendInMemory(header: fits.Header) -> tuple[fits.Header, tuple[CardFault, ...]]:
    """Return a header without the cards that are not FITS, and what was wrong; itself where nothing was."""
    mended = mendHeader("".join(_asStored(card) for card in header.cards))
    return (fits.Header.fromstring(mended.text) if mended.faults else header), mended.faults


def _asStored(card: fits.Card) -> str:
    """Return a card as it stands in its file, which ``str`` would mend in its own way; `str` of one made in memory."""
    image = None if getattr(card, "_modified", True) else getattr(card, "_image", None)
    return image or str(card)


def formatCard(key: str, token: str, comment: str = "") -> str | None:
    """Return a card of a value as FITS writes it, the comment as far as it fits; None if the value does not."""
    start = f"{key:<8}= " if re.fullmatch(r"[A-Z0-9_-]{1,8}", key) else f"HIERARCH {key} = "
    # Strings begin in column 11, all else ends in column 30, as the fixed format wants it.
    card = start + (f"{token:<8}" if token.startswith("'") else f"{token:>20}")
    if len(card) > CARD:
        card = start + token
    if len(card) > CARD:
        return None
    return (f"{card} / {comment.strip()}" if comment.strip() else card)[:CARD].ljust(CARD)


def isNumber(value: Any) -> TypeGuard[float]:
    """Return whether the value of a card is a number, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def numberOf(cards: Mapping[str, Any], key: str) -> float | None:
    """Return the finite number on a card; None where there is none."""
    value = cards.get(key)
    return float(value) if isNumber(value) else None


def isRead(key: str) -> bool:
    """Return whether something is read from cards of a keyword."""
    return _kindOf(key) is not None


def _soundHeader(text: str) -> MendedHeader | None:
    """Return a header that needs no mending; None for any other. This is all that a plain file costs."""
    if not (text.isascii() and text.isprintable()):
        return None
    values: dict[str, str] = {}
    isOpen = False
    for start in range(0, len(text), CARD):
        match = SOUND.fullmatch(text, start, start + CARD)
        if match is None:
            return None
        group = match.lastgroup
        if group is None or group == "more":
            if group == "more" and not isOpen:
                return None
            isOpen = group == "more" and _goesOn(match["more"])
            continue
        key = match["key"] or match["long"]
        token = "" if group in ("key", "long") else match[group]
        kind = _kindOf(key)
        isWanted = kind is None or group == kind or (kind == "integer" and token.lstrip("+-").isdigit())
        if not isWanted or values.setdefault(key, token) != token:
            return None
        isOpen = group == "text" and _goesOn(token)
    return MendedHeader(text, values)


def _mendedHeader(text: str) -> MendedHeader:
    cards, faults, values = list[str](), list[CardFault](), dict[str, str]()
    places: dict[str, int] = {}
    last: str | None = None  # keyword of the string that a CONTINUE card may go on with; None: there is none
    isOpen = False
    for start in range(0, len(text), CARD):
        card = _printable(text[start : start + CARD])
        if card.startswith("CONTINUE"):
            match = MORE.fullmatch(card)
            if match is None or not isOpen:
                if last is not None and last in values:
                    faults.append(CardFault(last, False, f"card {last} is cut short: a CONTINUE card is broken"))
                    cards = _closed(cards)
                elif last is None:
                    faults.append(CardFault("CONTINUE", True, "a CONTINUE card that continues nothing is left out"))
                card, isOpen = BLANK_CARD, False
            else:
                isOpen = _goesOn(match["text"])
            cards.append(card)
            continue
        one = _mended(card, text[start : start + CARD])
        if one.key in COMMENTARY:
            cards.append(one.card)
            last, isOpen = None, False
            continue
        name = one.key
        if one.token is not None and (record := RECORD.match(one.token)) is not None:
            name = f"{name}.{record[1]}"  # one of several values of a keyword, as distortions have them
        fault = one.fault
        if one.token is None:
            card = BLANK_CARD
        elif values.get(name) == "" != one.token:
            cards[places[name]], card = BLANK_CARD, one.card
            fault = CardFault(name, False, f"card {name} is repeated: the one with a value, {one.token}, counts")
        elif values.get(name, one.token) != one.token:
            card = BLANK_CARD
            other = one.token or "one without a value"
            words = f"card {name} is repeated with another value: the first, {values[name]}, counts, not {other}"
            fault = CardFault(name, False, words)
        else:
            card = one.card
        if one.token is not None and card is not BLANK_CARD:
            values[name], places[name] = one.token, len(cards)
        if fault is not None:
            faults.append(fault)
        cards.append(card)
        last = name if one.token is None or one.token.startswith("'") else None
        isOpen = card is not BLANK_CARD and one.token is not None and _goesOn(one.token)
    return MendedHeader("".join(cards), values, tuple(faults))


@dataclass(frozen=True)
class _Card:
    """A card after mending; without a token it is lost."""

    key: str
    card: str
    token: str | None
    fault: CardFault | None = None


def _mended(card: str, stored: str) -> _Card:
    placed = _placed(card)
    if placed is None:
        key = card[:8].strip()
        if key.upper() in COMMENTARY:
            return _Card(key.upper(), f"{key.upper():<8}{card[8:]}", "")
        return _lost(key, card, "it has no '= ' behind a keyword of up to eight characters")
    key, rest, isMoved = placed
    if key in COMMENTARY:
        return _Card(key, f"{key:<8}{rest}"[:CARD].ljust(CARD), "")
    found = _valueOf(rest) if key != "END" else "END is the end of a header and has no value"
    if isinstance(found, str):
        return _lost(key, card, found)
    group, token, comment, words = found
    kind = _kindOf(key)
    if kind is None and group == "bare":
        return _lost(key, card, "the value is none that FITS knows")
    if kind is not None and not (group == kind or (kind == "integer" and re.fullmatch(r"[+-]?\d+", token))):
        changed = _asKind(kind, group, token)
        if changed is None:
            return _lost(key, card, "it has no value" if not token else f"the value is no {kind}")
        if changed != token:
            words = words or f"read as {changed}"
        token = changed
    if words is None and not isMoved and card == stored:
        return _Card(key, card, token)
    written = formatCard(key, token, comment) or formatCard(key, _shortened(key, token))
    if written is None:
        return _lost(key, card, "it is too long")
    match = VALUE.fullmatch(stored[10:]) if not isMoved and stored.startswith(card[:10]) else None
    if words is None and match is not None and (match["text"] or token) == token:
        return _Card(key, written, token)  # nothing but its comment is not plain ASCII
    return _Card(key, written, token, CardFault(key, False, f"card {_shown(card)}: {words or f'read as {token}'}"))


def _lost(key: str, card: str, why: str) -> _Card:
    return _Card(key, BLANK_CARD, None, CardFault(key, True, f"card {_shown(card)} is left out: {why}"))


def _shown(card: str) -> str:
    """Return keyword and value of a card for the log."""
    words = re.sub(r" /[^']*$", "", " ".join(card.split()))
    return words if len(words) <= 50 else f"{words[:50]}..."


def _placed(card: str) -> tuple[str, str, bool] | None:
    """Return keyword, what follows "=", and whether that stood at another place; None where there is no keyword."""
    if (match := re.match(r"(?i:HIERARCH) ([!-<>-~][ -<>-~]*?) *=(.*)", card)) is not None:
        return match[1], match[2], not card.startswith("HIERARCH")
    if (match := re.match(r"(?=.{8}= )([A-Z0-9_-]+) *= (.*)", card)) is not None:
        return match[1], match[2], False
    if (match := re.match(r" *([A-Za-z0-9_-]+) *=(.*)", card)) is not None:
        return (match[1].upper() if len(match[1]) <= 8 else match[1]), match[2], True
    return None


def _valueOf(rest: str) -> tuple[str, str, str, str | None] | str:
    """Return kind, value as FITS writes it, comment, and what has been mended; or why there is no value."""
    match = VALUE.fullmatch(rest)
    if match is not None:
        group = next((name for name in ("text", "logical", "number", "complex") if match[name] is not None), "")
        token = match[group] if group else ""
        if group == "number":
            token = re.sub(r"\s", "", token).upper()
            if not math.isfinite(float(token.replace("D", "E"))):
                return "the value is not finite"
        isSpaced = group == "number" and " " in match["number"]
        return group, token, match["comment"] or "", f"read as {token}" if isSpaced else None
    words = rest.strip()
    if words.startswith("'"):
        text, comment = _unquoted(words)
        token = "'" + text.replace("'", "''") + "'"
        return "text", token, comment, f"the string has no proper end, read as {token}"
    if NOT_FINITE.fullmatch(words):
        return "the value is not finite"
    if (match := QUOTED.fullmatch(words)) is not None:
        token = "'" + match[1].replace("'", "''") + "'"
        return "text", token, match[2] or "", f"read as {token}"
    if (match := LOGICAL.fullmatch(words)) is not None:
        return "logical", match[1][0].upper(), match[2] or "", f"read as {match[1][0].upper()}"
    if (match := WORDS_BEHIND.fullmatch(words)) is not None:
        return "number", match["number"], match["comment"], f"read as {match['number']}"
    if re.fullmatch(r"[A-Za-z][^'=]*", words):
        # Text without quotes: good where text is wanted, `_asKind` tells; elsewhere nobody knows what it is.
        bare, _, comment = words.partition(" /")
        return "bare", bare.strip(), comment, None
    return "the value is none that FITS knows"


def _unquoted(words: str) -> tuple[str, str]:
    """Return text and comment of a string whose quotes do not match."""
    if (match := re.fullmatch(r"'(.*[^' ].*)'\s*(?:/(.*))?", words)) is not None:
        return match[1].replace("''", "'").rstrip(), match[2] or ""
    text, _, comment = words[1:].partition(" /")
    return text.replace("''", "'").rstrip(), comment


def _asKind(kind: str, group: str, token: str) -> str | None:
    """Return a value as one of another kind, where it has one meaning there; None where it has not."""
    text = token[1:-1].replace("''", "'").strip() if group == "text" else token
    if kind == "text":
        return None if not text or group == "complex" else "'" + text.replace("'", "''") + "'"
    if kind == "logical":
        return {"T": "T", "TRUE": "T", "1": "T", "F": "F", "FALSE": "F", "0": "F"}.get(text.upper())
    # As an equinox is often written.
    text = re.sub(r"^[JB](?=\d{4})", "", text)
    if re.fullmatch(NUMBER, text) is None:
        return None
    number = float(re.sub(r"\s", "", text).upper().replace("D", "E"))
    if not math.isfinite(number):
        return None
    if kind == "integer":
        return str(int(number)) if number.is_integer() else None
    return text if group == "number" else repr(number).upper()


def _shortened(key: str, token: str) -> str:
    """Return a string cut so that it fits into a card."""
    room = CARD - 10 if len(key) <= 8 else CARD - 12 - len(key)
    return token if not token.startswith("'") else token[: room - 1].rstrip("'") + "'"


def _goesOn(token: str) -> bool:
    return token.rstrip("' ").endswith("&") and token.endswith("'")


def _closed(cards: list[str]) -> list[str]:
    """Take the sign of a continuation off the last string, which nothing continues."""
    for index in range(len(cards) - 1, -1, -1):
        if cards[index] != BLANK_CARD:
            cards[index] = re.sub(r"& *'( *(?:/.*)?)$", r"'\1 ", cards[index])[:CARD].ljust(CARD)
            break
    return cards


def _printable(card: str) -> str:
    """Return a card in the characters that FITS allows; accents go, what is left of others is a question mark."""
    if card.isascii() and card.isprintable():
        return card
    with suppress(UnicodeDecodeError):
        card = card.encode("latin-1").decode("utf-8")
    card = card.translate(PLAIN_SIGNS)
    plain = "".join(c for c in unicodedata.normalize("NFKD", card) if not unicodedata.combining(c))
    plain = re.sub(r"[\x00-\x1f\x7f]", " ", plain)
    return re.sub(r"[^ -~]", "?", plain)[:CARD].ljust(CARD)


@functools.lru_cache(maxsize=4096)
def _kindOf(key: str) -> str | None:
    match = kindOfKey.fullmatch(key)
    return None if match is None else match.lastgroup
