"""Distortions of celestial coordinates in a header: those that CTYPE names, complete, and the tables that are there.

SIP (Shupe et al. 2005, ASP 347, 491) needs -SIP behind the projection, the polynomials of TPV need TPV; both are often
left over from coordinates that have been replaced. SCAMP wrote TPV as TAN before 2012: its files say that they are its.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from astropy.io import fits

from psfmatch.io.headers import exactCard

SIP = re.compile(r"([AB]P?)_(\d+)_(\d+)")
WITHOUT_PARAMETERS = ("TAN", "ARC", "STG", "ZEA", "CAR", "MER", "SFL", "PAR", "MOL", "AIT", "PCO", "TSC", "CSC")
"""Projections that have no parameters PV but those of the pole, for which LONPOLE and LATPOLE stand (Calabretta &
Greisen 2002, A&A 395, 1077, table 13)."""
PROJECTIONS = {
    *WITHOUT_PARAMETERS, "AZP", "SZP", "SIN", "ZPN", "AIR", "CYP", "CEA", "COP", "COE", "COD", "COO", "BON",
    "QSC", "HPX", "XPH", "TPV", "TNX", "ZPX", "NCP", "GLS",
}  # fmt: skip
"""Those that are known, with IRAF's and the old names of two (sections 5 and 6 there)."""
OF_POLE = {(1, m) for m in range(5)}
"""Parameters of any projection: its native pole and where on the sky its reference point is (section 2.5 there)."""
OF_IRAF = {"TNX": "TAN", "ZPX": "ARC"}
"""IRAF's projections, whose distortions stand in its own cards (WAT), and what they are without."""
MIN_ORDER, MAX_ORDER = 2, 9
"""Of SIP (Shupe et al. 2005, section 2)."""
SCAMP_CARDS = ("ASTIRMS1", "ASTRRMS1", "ASTINST", "FGROUPNO", "FLXSCALE", "PHOTINST", "PHOTLINK")
TABLES = (("CPDIS", "CPERR", "DP", "WCSDVARR"), ("D2IMDIS", "D2IMERR", "D2IM", "D2IMARR"))
"""Of distortions in tables the cards of the kind, the largest error, the parameters, and the name of the HDUs."""


def distortionCards(
    header: fits.Header,
    letter: str,
    axes: tuple[int, int],
    projection: str,
    isSip: bool,
    hdus: fits.HDUList | None,
    bad: set[str],
    words: list[str],
) -> tuple[str, list[fits.Card]]:
    """Return the projection as CTYPE names it behind the first dash, and the cards of parameters and distortions.

    header : of the image; letter : of the WCS that counts; only the first has distortions; axes : of longitude and
    latitude; in the cards returned they are 1 and 2; projection : three letters, or none; isSip : whether CTYPE ends
    with -SIP; hdus : the file, for tables; bad : keywords of cards that were lost; words : what is done that the header
    does not say is added here.
    """
    parameters = _parameters(header, letter, axes)
    polynomials = _polynomials(header, words, bad) if isSip else []
    projection, parameters = _projection(header, projection, bool(polynomials), parameters, words)
    cards = [exactCard(f"PV{axis}_{m}", value) for (axis, m), value in parameters.items()]
    if isSip and not polynomials:
        words.append("CTYPE says SIP, but there are no coefficients")
    if not isSip and not letter and any(SIP.fullmatch(key) and value for key, value in header.items()):
        words.append(f"SIP coefficients are left out, for CTYPE says {projection}")
    if polynomials:
        projection += "-SIP"
    tables = [] if letter else _tables(header, hdus, words)
    return projection, [*cards, *polynomials, *tables]


def _parameters(header: Mapping[str, Any], letter: str, axes: tuple[int, int]) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for key, value in header.items():
        match = re.fullmatch(rf"PV(\d)_(\d+){letter}", key)
        if match is not None and int(match[1]) in axes and isinstance(value, int | float):
            found.setdefault((axes.index(int(match[1])) + 1, int(match[2])), float(value))
    return found


def _projection(
    header: fits.Header, projection: str, isSip: bool, parameters: dict[tuple[int, int], float], words: list[str]
) -> tuple[str, dict[tuple[int, int], float]]:
    """Return the projection and its parameters."""
    if projection in OF_IRAF:
        words.append(f"the distortion of {projection} is not known here; taken as {OF_IRAF[projection]} without it")
        projection = OF_IRAF[projection]
    if projection == "TAN" and not isSip and parameters and _isOfScamp(header):
        words.append("TAN with PV is taken as TPV, for SCAMP has written it")
        projection = "TPV"
    if projection == "TPV" and isSip:
        words.append("CTYPE says TPV and SIP; SIP counts")
        projection = "TAN"
    if projection == "TPV":
        if not parameters:
            words.append("CTYPE says TPV, but there are no coefficients PV; taken as TAN")
            return "TAN", {}
        return "TPV", {(1, 1): 1.0, (2, 1): 1.0} | parameters
    if projection != "TAN" and parameters.keys() <= OF_POLE:
        return projection, parameters
    if parameters and projection in WITHOUT_PARAMETERS:
        words.append(f"PV coefficients are left out, for CTYPE says {projection}")
        return projection, {}
    return projection, parameters


def _isOfScamp(header: fits.Header) -> bool:
    if any(key in header for key in SCAMP_CARDS):
        return True
    told = [str(line) for key in ("HISTORY", "COMMENT") if key in header for line in header[key]]
    return any("SCAMP" in line.upper() for line in told)


def _polynomials(header: Mapping[str, Any], words: list[str], bad: set[str]) -> list[fits.Card]:
    """Return the cards of SIP; of A and B both are there, with their orders, of AP and BP both or none."""
    terms: dict[str, dict[tuple[int, int], float]] = {"A": {}, "B": {}, "AP": {}, "BP": {}}
    for key, value in header.items():
        if (match := SIP.fullmatch(key)) is not None and isinstance(value, int | float):
            terms[match[1]].setdefault((int(match[2]), int(match[3])), float(value))
    if lost := sorted(key for key in bad if SIP.fullmatch(key)):
        words.append(f"coefficients taken as 0: {', '.join(lost)}")
    cards: list[fits.Card] = []
    hasForward = False
    for pair in (("A", "B"), ("AP", "BP")):
        isInverse = "AP" in pair
        if not any(terms[name] for name in pair):
            continue
        if isInverse and not all(terms[name] for name in pair):
            words.append("half of the inverse of SIP is left out")
            continue
        orders = {
            name: _order(header, name, max(sum(p) for p in (*terms[pair[0]], *terms[pair[1]])), words) for name in pair
        }
        kept = {name: {p: value for p, value in terms[name].items() if sum(p) <= orders[name]} for name in pair}
        if not any(kept.values()):
            continue
        if not isInverse:
            hasForward = True
        elif not hasForward:
            words.append("an inverse of SIP without SIP itself is left out")
            continue
        # wcslib has no SIP below the second order.
        cards += [fits.Card(f"{name}_ORDER", max(MIN_ORDER, orders[name])) for name in pair]
        cards += [exactCard(f"{name}_{p}_{q}", value) for name in pair for (p, q), value in kept[name].items()]
    return cards


def _order(header: Mapping[str, Any], name: str, highest: int, words: list[str]) -> int:
    """Return the order of a polynomial of SIP, which is that of its terms where the header has none that can be."""
    key = f"{name}_ORDER"
    order = header.get(key)
    if isinstance(order, int) and 0 <= order <= MAX_ORDER:
        return order
    given = "missing" if key not in header else f"{order}, which cannot be,"
    words.append(f"{key} is {given} and taken as {min(highest, MAX_ORDER)}")
    return min(highest, MAX_ORDER)


def _tables(header: fits.Header, hdus: fits.HDUList | None, words: list[str]) -> list[fits.Card]:
    """Return the cards of distortion tables that the file holds."""
    cards: list[fits.Card] = []
    missing: list[str] = []
    for kind, error, parameters, name in TABLES:
        kept: list[list[fits.Card]] = []
        for axis in (1, 2):
            key = f"{kind}{axis}"
            if key not in header:
                continue
            own = [
                card
                for card in header.cards
                if card.keyword in (key, f"{error}{axis}") or re.fullmatch(rf"{parameters}{axis}(\..*)?", card.keyword)
            ]
            isTable = str(header[key]).strip().upper() == "LOOKUP"
            version = header.get(f"{parameters}{axis}.EXTVER", 1)
            if isTable and not _holds(hdus, name, version):
                missing.append(key)
            else:
                kept.append(own)
        if kind == "CPDIS" and len(kept) == 1:
            # wcslib wants such a distortion for both axes.
            missing += [card.keyword for card in kept.pop() if card.keyword.startswith(kind)]
        cards += [card for own in kept for card in own]
    if "D2IMEXT" in header or "AXISCORR" in header:
        if _holds(hdus, "D2IMARR", 1) and "D2IMDIS1" not in header and "D2IMDIS2" not in header:
            cards += [card for card in header.cards if card.keyword in ("D2IMEXT", "AXISCORR")]
        elif not _holds(hdus, "D2IMARR", 1):
            missing.append("D2IMEXT")
    if missing:
        words.append(f"distortion tables are not in the file, or not for both axes: {', '.join(sorted(missing))}")
    return cards


def _holds(hdus: fits.HDUList | None, name: str, version: Any) -> bool:
    if hdus is None:
        return False
    try:
        return (name, int(version)) in hdus
    except (TypeError, ValueError):
        return False
