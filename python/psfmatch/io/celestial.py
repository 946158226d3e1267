"""The celestial coordinates of a header, in the form that is read and written: two axes, longitude first, degrees.

One rule for all: CTYPE decides. What belongs to another projection or distortion than it names is left over from an
earlier one and is left out, as is what leads nowhere, such as distortion tables that the file has not. Of several
descriptions of the same thing the first usable one counts: CD, PC with CDELT, CROTA, CDELT (FITS standard 4.0, section
8.2). What cannot be known, and only that, makes a WCS unusable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from astropy.io import fits

from psfmatch.io.cards import numberOf
from psfmatch.io.distortions import PROJECTIONS, distortionCards
from psfmatch.io.headers import exactCard

LONGITUDE = re.compile(r"RA|.LON|..LN")
LATITUDE = re.compile(r"DEC|.LAT|..LT")
MATRIX = re.compile(r"(?:CD|PC)\d_\d|CDELT\d")
LETTERS = ("", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DEGREES = {
    "": 1.0, "DEG": 1.0, "DEGREE": 1.0, "DEGREES": 1.0, "DEGS": 1.0, "DEG.": 1.0,
    "ARCMIN": 1 / 60, "ARCMINUTE": 1 / 60, "ARCMINUTES": 1 / 60,
    "ARCSEC": 1 / 3600, "ARCSECS": 1 / 3600, "ARCSECOND": 1 / 3600, "ARCSECONDS": 1 / 3600, "AS": 1 / 3600,
    "MAS": 1 / 3.6e6, "UAS": 1 / 3.6e9,
    "RAD": math.degrees(1.0), "RADIAN": math.degrees(1.0), "RADIANS": math.degrees(1.0), "RADS": math.degrees(1.0),
    "''": 1 / 3600, '"': 1 / 3600, "'": 1 / 60, "\xb0": 1.0,
    "H": 15.0, "HR": 15.0, "HOUR": 15.0, "HOURS": 15.0, "HOURANGLE": 15.0,
}  # fmt: skip
"""Degrees of a unit, by the words that are met in CUNIT."""
FRAMES = {
    "ICRS": "ICRS", "ICRF": "ICRS", "GAIA": "ICRS", "GAIA-DR1": "ICRS", "GAIA-DR2": "ICRS", "GAIA-DR3": "ICRS",
    "FK5": "FK5", "FK5(J2000)": "FK5", "J2000": "FK5", "J2000.0": "FK5", "2000": "FK5", "2000.0": "FK5",
    "FK4": "FK4", "B1950": "FK4", "FK4-NO-E": "FK4-NO-E", "GAPPT": "GAPPT",
}  # fmt: skip
"""Reference frames by the words that are met in RADESYS."""
LARGEST_SCALE = 0.5
"""Degrees per pixel; a matrix of ones beside a smaller CDELT is no scale of degrees."""
LAST_EPOCH = 2000.0
"""The last standard equinox: a later EPOCH is when an image was taken."""
EQUINOXES = 1700.0, 2200.0
"""Years between which an equinox lies."""


class UnusableWcsError(Exception):
    """Coordinates of which something that cannot be guessed is missing."""


@dataclass
class CelestialCards:
    """The cards of celestial coordinates, and in words what of the header's could not be taken as it was."""

    header: fits.Header
    words: list[str] = field(default_factory=list)


def celestialCards(
    header: fits.Header, hdus: fits.HDUList | None = None, lost: Iterable[str] = ()
) -> CelestialCards | None:
    """Return the cards of the celestial coordinates of a header.

    header : header of the image; not changed; hdus : the file, where distortion tables are looked for; lost : keywords
    of cards that the header had, but that no value could be read from. Returned: None where the header has no celestial
    axes. UnusableWcsError if the coordinates cannot be known.
    """
    bad = set(lost)
    found = _axes(header)
    if found is None:
        if missing := sorted(key for key in bad if re.fullmatch(r"CTYPE[12]", key)):
            raise UnusableWcsError(f"card {' and '.join(missing)} cannot be read")
        return None
    letter, axes, types = found
    words: list[str] = []
    if letter:
        words.append(f"only the alternate WCS {letter} is celestial; it is used")
    names, projections, suffixes = zip(*types, strict=True)
    projection = _oneProjection(projections, words)
    factors = [_degrees(header.get(f"CUNIT{axis}{letter}", ""), axis, words) for axis in axes]
    matrix = _matrix(header, letter, axes, bad, words)
    sky = [factor * _point(header, f"CRVAL{a}{letter}", bad, words) for a, factor in zip(axes, factors, strict=True)]
    pixel = [_point(header, f"CRPIX{axis}{letter}", bad, words) for axis in (1, 2)]
    rows = [[factor * term for term in row] for factor, row in zip(factors, matrix.rows, strict=True)]
    pixel = _withoutOtherAxes(header, letter, axes, pixel, rows)
    if axes != (1, 2):
        words.append(f"the axes of the sky are {axes[0]} and {axes[1]}; written as 1 and 2")
    isAsWas = axes == (1, 2) and factors == [1.0, 1.0]
    projection, distortions = distortionCards(header, letter, axes, projection, "SIP" in suffixes, hdus, bad, words)
    cards = fits.Header([("NAXIS", 2), ("NAXIS1", header.get("NAXIS1", 0)), ("NAXIS2", header.get("NAXIS2", 0))])
    cards["WCSAXES"] = 2
    for axis, name, value in zip((1, 2), names, sky, strict=True):
        cards[f"CTYPE{axis}"] = f"{name:-<4}-{projection}" if projection else name
        cards[f"CUNIT{axis}"] = "deg"
        cards.append(exactCard(f"CRVAL{axis}", value), end=True)
        cards.append(exactCard(f"CRPIX{axis}", pixel[axis - 1]), end=True)
    if isAsWas and matrix.cards:
        _extend(cards, matrix.cards)
    else:
        _extend(cards, {f"CD{i}_{j}": rows[i - 1][j - 1] for i in (1, 2) for j in (1, 2)})
    _extend(cards, _frame(header, letter, words))
    cards.extend(distortions, unique=False, end=True)
    return CelestialCards(cards, words)


@dataclass(frozen=True)
class _Matrix:
    """Intermediate coordinates per pixel in the header's units, and the cards that say so, without a letter."""

    rows: tuple[tuple[float, float], tuple[float, float]]
    cards: dict[str, float]


def _axes(header: Mapping[str, Any]) -> tuple[str, tuple[int, int], list[tuple[str, str, str]]] | None:
    """Return the letter of the first WCS with a longitude and a latitude, their axes, and the parts of their CTYPE."""
    for letter in LETTERS:
        axes: dict[str, tuple[int, tuple[str, str, str]]] = {}
        for axis in range(1, 10):
            value = header.get(f"CTYPE{axis}{letter}")
            if not isinstance(value, str):
                continue
            name, *rest = [part for part in re.split(r"[-_\s]", value.upper()) if part] or [""]
            kind = "lng" if LONGITUDE.fullmatch(name) else "lat" if LATITUDE.fullmatch(name) else None
            if kind is not None:
                axes.setdefault(kind, (axis, (name, rest[0] if rest else "", "-".join(rest[1:]))))
        if len(axes) == 2:
            return letter, (axes["lng"][0], axes["lat"][0]), [axes["lng"][1], axes["lat"][1]]
    return None


def _oneProjection(projections: Sequence[str], words: list[str]) -> str:
    """Return the projection of both axes, which one of them alone may name; empty for linear coordinates."""
    named = sorted(set(projections) - {""})
    if len(named) > 1:
        raise UnusableWcsError(f"CTYPE names two projections, {projections[0]} and {projections[1]}")
    if named and named[0] not in PROJECTIONS:
        raise UnusableWcsError(f"CTYPE names the projection {named[0]}, which is not known")
    if not named:
        words.append("CTYPE names no projection; the coordinates are linear, as FITS has it")
    elif "" in projections:
        words.append(f"the CTYPE of one axis names no projection; {named[0]} as the other one's")
    return named[0] if named else ""


def _point(header: Mapping[str, Any], key: str, bad: set[str], words: list[str]) -> float:
    """Return a coordinate of the reference point; FITS takes one that is not given as 0."""
    value = numberOf(header, key)
    if value is None:
        if key in bad or key in header:
            raise UnusableWcsError(f"card {key} cannot be read")
        words.append(f"card {key} is missing and taken as 0")
    return value or 0.0


def _matrix(header: Mapping[str, Any], letter: str, axes: tuple[int, int], bad: set[str], words: list[str]) -> _Matrix:
    """Return the first description of scale and rotation that can be used."""

    def terms(name: str, axis: int) -> list[float | None]:
        old = [f"{name}{axis:03d}{j:03d}" for j in (1, 2)]
        keys = [f"{name}{axis}_{j}{letter}" for j in (1, 2)]
        return [
            numberOf(header, key) if key in header or letter else numberOf(header, other)
            for key, other in zip(keys, old, strict=True)
        ]

    cd, pc = ([terms(name, axis) for axis in axes] for name in ("CD", "PC"))
    cdelt = [numberOf(header, f"CDELT{axis}{letter}") for axis in axes]
    turns = [numberOf(header, f"CROTA{axis}") for axis in axes[::-1]] if not letter else []
    turn = next((value for value in turns if value is not None), None)
    hasCd, hasPc = (any(term is not None for row in rows for term in row) for rows in (cd, pc))
    bad = bad | {key for key in header if MATRIX.fullmatch(key) and numberOf(header, key) is None}
    lost = {match[1]: key for key in sorted(bad) if (match := re.fullmatch(r"(CD|PC|CDELT)\d[\d_]*[A-Z]?", key))}
    named: list[tuple[str, _Matrix]] = []
    scale = [1.0 if value is None else value for value in cdelt]
    # A scale along one axis tells nothing of the other, and ones beside CD are what nobody has set.
    isScaled = None not in cdelt and "CDELT" not in lost and not (hasCd and scale == [1.0, 1.0])
    if hasCd and "CD" not in lost:
        rows = [[term or 0.0 for term in row] for row in cd]
        if isScaled and not hasPc and _isTurn(rows) and max(map(abs, scale)) < LARGEST_SCALE:
            words.append("CD is a rotation without a scale; read as PC with CDELT")
            rows = [[value * term for term in row] for value, row in zip(scale, rows, strict=True)]
        named.append(("CD", _Matrix(_pairs(rows), _cards("CD", rows))))
    scales = {f"CDELT{i}": value for i, value in zip((1, 2), scale, strict=True)}
    isUnscaled = cdelt == [None, None] and "CDELT" not in lost and not hasCd
    if hasPc and "PC" not in lost and (isScaled or isUnscaled):
        rows = [[float(i == j) if term is None else term for j, term in enumerate(row)] for i, row in enumerate(pc)]
        product = [[value * term for term in row] for value, row in zip(scale, rows, strict=True)]
        named.append(("PC", _Matrix(_pairs(product), scales | _cards("PC", rows))))
    if isScaled and turn is not None and not hasPc:
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        product = [[scale[0] * cos, -scale[1] * sin], [scale[0] * sin, scale[1] * cos]]
        named.append(("CROTA", _Matrix(_pairs(product), scales | {"CROTA2": turn})))
    if isScaled and turn is None and not hasPc:
        named.append(("CDELT", _Matrix(((scale[0], 0.0), (0.0, scale[1])), scales)))
    usable = [(name, matrix) for name, matrix in named if _isRegular(matrix.rows)]
    if not usable:
        missing = [f"CDELT{i}" for i, value in zip(axes, cdelt, strict=True) if value is None]
        raise UnusableWcsError(_whyNoMatrix(named, lost, missing))
    name, matrix = usable[0]
    if hasCd and hasPc:
        words.append(f"both CD and PC are given; {name} counts")
    elif hasCd and name != "CD":
        words.append(f"CD cannot be used; {name} is")
    return matrix


def _whyNoMatrix(named: list[tuple[str, _Matrix]], lost: Mapping[str, str], missing: Sequence[str]) -> str:
    if named:
        return f"the matrix of {' and '.join(name for name, _ in named)} has no inverse"
    if lost:
        return f"card {' and '.join(lost.values())} cannot be read"
    return f"card {missing[0]} is missing" if len(missing) == 1 else "it has no scale, CD or CDELT"


def _isTurn(rows: list[list[float]]) -> bool:
    """Return whether a matrix turns or mirrors, and changes no length."""
    (a, b), (c, d) = rows
    lengths = math.hypot(a, b), math.hypot(c, d)
    return all(abs(length - 1.0) < 1e-6 for length in lengths) and abs(a * c + b * d) < 1e-6


def _pairs(rows: list[list[float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (rows[0][0], rows[0][1]), (rows[1][0], rows[1][1])


def _cards(name: str, rows: list[list[float]]) -> dict[str, float]:
    return {f"{name}{i}_{j}": term for i, row in enumerate(rows, 1) for j, term in enumerate(row, 1)}


def _isRegular(rows: tuple[tuple[float, float], tuple[float, float]]) -> bool:
    (a, b), (c, d) = rows
    determinant = a * d - b * c
    # Against the lengths of the rows, so that small pixels are none the worse for being small.
    return math.isfinite(determinant) and abs(determinant) > 1e-9 * math.hypot(a, b) * math.hypot(c, d)


def _withoutOtherAxes(
    header: Mapping[str, Any], letter: str, axes: tuple[int, int], pixel: list[float], rows: list[list[float]]
) -> list[float]:
    """Return CRPIX so that the plane lies at the first pixel of every other axis: their terms are constants there."""
    offset = [0.0, 0.0]
    for axis in range(3, 10):
        away = 1.0 - (numberOf(header, f"CRPIX{axis}{letter}") or 0.0)
        for i, own in enumerate(axes):
            name = "CD" if f"CD{own}_{axis}{letter}" in header else "PC"
            term = numberOf(header, f"{name}{own}_{axis}{letter}") or 0.0
            scale = 1.0 if name == "CD" else (numberOf(header, f"CDELT{own}{letter}") or 1.0)
            unit = DEGREES.get(str(header.get(f"CUNIT{own}{letter}", "")).strip().upper(), 1.0)
            offset[i] += unit * scale * term * away
    if offset == [0.0, 0.0]:
        return pixel
    (a, b), (c, d) = rows
    determinant = a * d - b * c
    return [
        pixel[0] - (d * offset[0] - b * offset[1]) / determinant,
        pixel[1] - (a * offset[1] - c * offset[0]) / determinant,
    ]


def _degrees(unit: Any, axis: int, words: list[str]) -> float:
    known = DEGREES.get(str(unit).strip().upper())
    if known is None:
        words.append(f"CUNIT{axis} = {unit!r} is no unit of angles and taken as degrees")
    return 1.0 if known is None else known


def _frame(header: Mapping[str, Any], letter: str, words: list[str]) -> dict[str, Any]:
    """Return the cards of the reference frame and of the native pole."""
    cards: dict[str, Any] = {}
    given = header.get(f"RADESYS{letter}") or ("" if letter else header.get("RADECSYS", ""))
    if frame := str(given or "").strip().upper():
        known = FRAMES.get(re.sub(r"[ _]", "", frame) if frame not in FRAMES else frame)
        if known is None:
            words.append(f"RADESYS = {given!r} is no frame that is known; the one that FITS takes without it counts")
        else:
            cards["RADESYS"] = known
    for key in ("EQUINOX", "EPOCH"):
        equinox = numberOf(header, f"{key}{letter}")
        if equinox is None or (key == "EPOCH" and (letter or "EQUINOX" in cards)):
            continue
        if key == "EPOCH" and LAST_EPOCH < equinox < EQUINOXES[1]:
            words.append(f"EPOCH = {equinox:g} is taken for that of the observation, not the equinox")
        elif EQUINOXES[0] < equinox < EQUINOXES[1]:
            cards[key] = equinox
        else:
            words.append(f"{key} = {equinox:g} is no year and left out")
    for key in ("LONPOLE", "LATPOLE"):
        if (value := numberOf(header, f"{key}{letter}")) is not None:
            cards[key] = value
    if isinstance(name := header.get(f"WCSNAME{letter}"), str) and name.strip():
        cards["WCSNAME"] = name
    return cards


def _extend(header: fits.Header, cards: Mapping[str, Any]) -> None:
    for key, value in cards.items():
        header.append(exactCard(key, value), end=True)
