"""Units of pixels, in the words that headers have, as units of astropy; and what two of them are to each other.

Headers say ELECTRONS, e-/sec, DN/S, cps or nanomaggies, none of which astropy knows, or knows as something else: DN/S
is data numbers a siemens there, and the A of erg/s/cm2/A an ampere.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from astropy import units
from astropy.io import fits

from psfmatch.io.cards import PLAIN_SIGNS, numberOf
from psfmatch.io.files import quietAstropy

ASSUMED_UNIT = "adu"
"""What is written where nobody says a unit, or in words that nobody knows: uncalibrated counts."""
UNIT_SOURCE_CARD = "UNITSRC"
"""Card that says of a BUNIT that it was assumed."""

# Words, in small letters, and what they mean to astropy. Where only the case tells two units apart (MJy and mJy, S and
# s), what is written is taken as it stands, but for seconds: no detector measures siemens.
WORDS: Mapping[str, str] = {
    **dict.fromkeys(("electron", "electrons", "elec", "elecs", "el", "els", "e-", "e"), "electron"),
    **dict.fromkeys(("photoelectron", "photoelectrons"), "electron"),
    **dict.fromkeys(("count", "counts", "ct", "cts"), "ct"),
    **dict.fromkeys(("dn", "dns", "du", "dus", "datanumber", "datanumbers", "digitalnumber", "digitalnumbers"), "DN"),
    **dict.fromkeys(("adu", "adus"), "adu"),
    **dict.fromkeys(("photon", "photons", "ph", "phot"), "ph"),
    "cps": "ct * s**-1",
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hour", "hours"), "h"),
    **dict.fromkeys(("pix", "pixel", "pixels", "px"), "pix"),
    **dict.fromkeys(("beam", "beams"), "beam"),
    **dict.fromkeys(("sr", "str", "ster", "steradian", "steradians"), "sr"),
    **dict.fromkeys(("arcsec", "arcsecs", "arcsecond", "arcseconds", "asec"), "arcsec"),
    "sqarcsec": "arcsec**2",
    **dict.fromkeys(("jy", "jansky", "janskys"), "Jy"),
    **dict.fromkeys(("megajy", "megajansky", "megajanskys"), "MJy"),
    **dict.fromkeys(("millijy", "millijansky", "millijanskys"), "mJy"),
    **dict.fromkeys(("ujy", "microjy", "microjansky", "microjanskys"), "uJy"),
    **dict.fromkeys(("njy", "nanojy", "nanojansky", "nanojanskys"), "nJy"),
    "kjy": "kJy",
    **dict.fromkeys(("nanomaggy", "nanomaggie", "nanomaggies", "nmgy", "nmaggy", "nanomgy"), "nmgy"),
    **dict.fromkeys(("maggy", "maggie", "maggies", "mgy"), "mgy"),
    **dict.fromkeys(("erg", "ergs"), "erg"),
    **dict.fromkeys(("hz", "hertz"), "Hz"),
    **dict.fromkeys(("aa", "ang", "angs", "angstrom", "angstroms"), "Angstrom"),
    "cm": "cm",
    **dict.fromkeys(("mag", "mags", "magnitude", "magnitudes", "abmag", "stmag", "vegamag"), "mag"),
    **dict.fromkeys(("luptitude", "luptitudes", "asinhmag"), "mag"),
    **dict.fromkeys(("log", "log10", "ln", "dex"), "dex"),
    **dict.fromkeys(("per",), "/"),
    **dict.fromkeys(("normalized", "normalised", "dimensionless", "unitless"), "dimensionless"),
}
PHRASES = (
    *(("data number", "dn"), ("digital number", "dn"), ("analog digital unit", "adu"), ("analog-digital unit", "adu")),
    *(
        ("a.d.u", "adu"),
        ("log10", "log"),
        ("raw counts", "counts"),
        ("photo-electron", "electron"),
        ("photo electron", "electron"),
    ),
    *(("e^-", "e-"), ("asinh mag", "asinhmag"), ("square arcsec", "sqarcsec"), ("sq ", "sq")),
)
"""What is written in several words, or with signs, and the one word that it is, in the order of the search."""
RATIOS = ("s/n", "snr", "sigma", "sigmas", "significance")
"""Of the noise, and so plain numbers."""
UNKNOWN_WORDS = ("unknown", "none", "n/a", "na", "undefined", "not set", "unspecified", "arbitrary", "arb", "relative")
NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
TOKEN = re.compile(
    rf"\s*(?:(?P<power>(?:\*\*|\^)\s*\(?\s*[+-]?\s*\d+(?:/\d+)?\s*\)?)|(?P<number>{NUMBER})|(?P<word>[eE]-(?![\d.])"
    r"|[^\W\d_]+)(?P<exponent>[+-]?\d+)?|(?P<sign>[*/().+-]))"
)
CALIBRATED: Sequence[tuple[units.UnitBase, str]] = (
    (units.Jy, "flux density"),
    (units.nmgy, "flux density"),
    (units.erg / units.s / units.cm**2 / units.Angstrom, "flux density by wavelength"),
    (units.erg / units.s / units.cm**2, "flux"),
)
COUNTS: Sequence[tuple[units.UnitBase, str]] = (
    (units.electron, "electrons"),
    (units.ph, "photons"),
    *((unit, "numbers") for unit in (units.adu, units.DN, units.ct)),
)
AREAS: Sequence[tuple[units.UnitBase, str]] = ((units.sr, "sr"), (units.beam, "beam"))
"""Values are a pixel's anyway, so that "per pixel" says nothing."""
TIME_CARDS = ("EXPTIME", "EXPOSURE", "XPOSURE", "EFFEXPTM", "ITIME")
ANGLES = (units.arcsec, units.arcmin, units.deg)


@functools.lru_cache(maxsize=256)
def unitOf(text: str | None) -> units.UnitBase | None:
    """Return the unit that a header's words mean.

    text : value of BUNIT, in any case and spelling. Returned: dimensionless for an empty text and for numbers that are
    said to be normalised; None where nothing is said, or nothing that is understood.
    """
    if not isinstance(text, str) or text.strip().lower() in UNKNOWN_WORDS:
        return None
    spelled = _spelled(text)
    if spelled is None:
        return None
    with quietAstropy():
        try:
            unit: units.UnitBase = units.Unit(spelled)
        except (ValueError, TypeError, ZeroDivisionError):
            return None
    return unit


def unitText(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return the unit to write, in words that astropy reads, and where it comes from if it is assumed.

    metadata : cards of the image, of which BUNIT and UNITSRC are looked at. Returned: unit, what the header says where
    astropy understands it so; else in astropy's own words; "1" for plain numbers, because an empty BUNIT is no unit to
    `astropy.nddata.CCDData`; "adu" where nothing is said; source, empty, or why the unit is assumed.
    """
    given = metadata.get("BUNIT")
    text = given.strip() if isinstance(given, str) else None
    unit = unitOf(text)
    if unit is None:
        said = "no BUNIT was given" if not text else f"BUNIT = {text!r} is no unit that is known"
        return ASSUMED_UNIT, f"assumed: {said}"
    source = metadata.get(UNIT_SOURCE_CARD)
    return _written(text or "", unit), source if isinstance(source, str) else ""


def unitCards(metadata: Mapping[str, Any]) -> list[fits.Card]:
    """Return the cards BUNIT, and UNITSRC where it is assumed, of an image with that header; see `unitText`."""
    unit, source = unitText(metadata)
    cards = [fits.Card("BUNIT", unit, "unit of the pixels, assumed" if source else "unit of the pixels")]
    return (
        [*cards, fits.Card(UNIT_SOURCE_CARD, source.encode("ascii", "backslashreplace").decode())] if source else cards
    )


def isLinear(unit: units.UnitBase) -> bool:
    """Return whether values add up as light does, as magnitudes do not."""
    return not isinstance(unit, units.FunctionUnitBase) and not any(
        _power(unit, base) for base in (units.mag, units.dex, units.dB)
    )


def isRateOrFlux(unit: units.UnitBase | None) -> bool:
    """Return whether values are per second, or of calibrated flux: a gain does not turn them into electrons."""
    if unit is None:
        return False
    if _timePower(unit) < 0:
        return True
    return _kind(unit)[0] not in ("counts", "number")


def unitRelation(
    template: units.UnitBase,
    science: units.UnitBase,
    templateCards: Mapping[str, Any] = {},
    scienceCards: Mapping[str, Any] = {},
) -> str:
    """Say what lies between two units of different things; nothing where one converts to the other.

    template, science : units of the two images; templateCards, scienceCards : their headers, of which exposure times
    and pixel areas are told. Returned: empty for units of one kind; else what the kernel's sum carries.
    """
    if not (isLinear(template) and isLinear(science)):
        return "" if template.is_equivalent(science) else "the flux calibration"
    (what, area), (other, otherArea) = _kind(template), _kind(science)
    # Maggies are Janskys but for a zero point, which the kernel's sum carries as it does any scale.
    isOneKind = what == other != "counts" and area == otherArea
    if template.is_equivalent(science) or isOneKind:
        return ""
    between = []
    times = _timePower(template), _timePower(science)
    if what == other == "counts":
        if times[0] != times[1] and 0 in times:
            which, cards = ("template", templateCards) if times[0] == 0 else ("science image", scienceCards)
            seconds = next((time for key in TIME_CARDS if (time := numberOf(cards, key)) and time > 0), None)
            told = "not in its header" if seconds is None else f"EXPTIME = {seconds:g} s"
            between.append(f"the exposure time of the {which} ({told})")
        if _countUnit(template) != _countUnit(science):
            between.append("the gain")
    elif what != other:
        between.append("the flux calibration")
    if area != otherArea:
        extended = [name for name in (area, otherArea) if name]
        which, cards = ("template", templateCards) if area else ("science image", scienceCards)
        size = numberOf(cards, "PIXAR_SR") if "sr" in extended else None
        told = f" (PIXAR_SR = {size:g} sr)" if size and size > 0 else ""
        between.append(f"the area of a {'pixel' if 'beam' not in extended else 'beam'}{told}")
    return " and ".join(between)


def _spelled(text: str) -> str | None:
    """Return the text with its words as astropy spells them; None where it holds what no unit has."""
    text = re.sub(r"[{}$\\]", "", text.translate(PLAIN_SIGNS))
    text = re.sub(r"^10([+-]\d+)", r"10**\1 ", text.strip().strip("'\"[].").strip())
    lower = text.lower()
    if lower in ("", "1", "1.0", *RATIOS):
        return ""
    if lower == "c/s":
        return "ct / s"
    for phrase, word in PHRASES:
        if phrase in lower:
            text = lower = lower.replace(phrase, word)
    isErg = re.search(r"\b(ergs?|w|watts?)\b", lower) is not None
    isSurface = re.search(r"(/|per)\s*sr|sr\s*(\*\*|\^)?\s*\(?-1", lower) is not None
    parts: list[str] = []
    place = 0
    # A slash divides by what follows it alone, and so does "per".
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            if text[place:].strip():
                return None
            break
        place = match.end()
        if match["word"]:
            word = _word(match["word"], isErg, isSurface)
            exponent = f"**({match['exponent']})" if match["exponent"] else ""
            if parts and parts[-1] not in ("*", "/", "(", "") and word not in ("/",):
                parts.append("*")
            parts.append(word + exponent)
        elif match["power"]:
            parts.append("**(" + re.sub(r"[\s()*^]", "", match["power"]) + ")")
        elif match["number"]:
            if parts and parts[-1] not in ("*", "/", "(", "**"):
                parts.append("*")
            parts.append(match["number"])
        elif match["sign"] in "+-":
            return None
        else:
            sign = "*" if match["sign"] == "." else match["sign"]
            if sign == "(" and parts and parts[-1] not in ("*", "/", "("):
                parts.append("*")
            parts.append(sign)
    return "" if parts == ["dimensionless"] else " ".join(parts).replace(" **", "**")


def _word(word: str, isErg: bool, isSurface: bool) -> str:
    """Return a word as astropy spells it; what the table lacks is left to astropy."""
    if word in ("MJy", "mJy", "kJy", "GJy", "Jy"):
        return word
    lower = word.lower()
    if lower == "mjy":
        return "MJy" if isSurface or word.startswith("M") else "mJy"
    if isErg and word in ("A", "a"):
        return "Angstrom"
    return WORDS.get(lower, word)


def _written(text: str, unit: units.UnitBase) -> str:
    if unit == units.dimensionless_unscaled:
        return "1"
    with quietAstropy():
        try:
            # Of several slashes astropy warns.
            if text.isascii() and text.count("/") < 2 and units.Unit(text) == unit:
                return text
        except (ValueError, TypeError):
            pass
    return str(unit.to_string())


def _power(unit: units.UnitBase, base: units.UnitBase) -> float:
    """Return the power in which a unit stands in another, without decomposing either."""
    bases, powers = getattr(unit, "bases", [unit]), getattr(unit, "powers", [1])
    return float(sum(power for one, power in zip(bases, powers, strict=True) if one == base))


def _timePower(unit: units.UnitBase) -> float:
    """Return the power of time in a unit, be it in seconds, milliseconds or days."""
    bases, powers = getattr(unit, "bases", [unit]), getattr(unit, "powers", [1])
    return float(sum(power for one, power in zip(bases, powers, strict=True) if one.is_equivalent(units.s)))


def _countUnit(unit: units.UnitBase) -> str:
    return next((name for count, name in COUNTS if _power(unit, count)), "")


def _kind(unit: units.UnitBase) -> tuple[str, str]:
    """Return what a unit measures, and of what area: "sr", "beam" or ""."""
    isOfAngles = any(_power(unit, base) == -2 for base in ANGLES)
    area = next((name for base, name in AREAS if _power(unit, base) < 0), "sr" if isOfAngles else "")
    if _countUnit(unit):
        return "counts", area
    whole = unit
    for base in (units.sr, units.beam, units.pix):
        whole = whole / base ** _power(unit, base)
    for base in ANGLES:
        whole = whole * base**2 if _power(unit, base) == -2 else whole
    if whole.is_equivalent(units.dimensionless_unscaled):
        return "number", area
    return next((name for known, name in CALIBRATED if whole.is_equivalent(known)), str(whole)), area
