"""What the bits of a data quality mask mean, by the telescope, instrument and detector that its header names.

After the public tables: STScI's of ACS, WFC3, STIS, NICMOS and WFPC2, of JWST's and Roman's pipelines, NOIRLab's of the
community pipeline, those of DES, Pan-STARRS, ZTF, SDSS, the Legacy Surveys and Gemini's DRAGONS. A bit that
leaves a pixel usable, such as that of warm pixels or of doubtful flats, is SUSPECT or none; DEAD and HOT tell why a
pixel is BAD besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ORIGIN_CARDS = (
    *("TELESCOP", "INSTRUME", "DETECTOR", "PLVER", "DES_EXT", "LEGPIPEV", "ORIGIN", "EXTNAME"),
    *("HIERARCH FPA.TELESCOPE", "FPA.TELESCOPE", "HIERARCH FPA.INSTRUMENT", "FPA.INSTRUMENT"),
)


@dataclass(frozen=True)
class Convention:
    """Meaning of the values of a mask.

    name : of the convention, for people; planes : bits, as one number, of each of our planes; codes : in place of
    these, values of which a pixel has one alone.
    """

    name: str
    planes: Mapping[str, int]
    codes: Mapping[str, tuple[int, ...]] | None = None

    def __str__(self) -> str:
        if self.codes is not None:
            told = ", ".join(f"{plane} {' '.join(map(str, codes))}" for plane, codes in self.codes.items())
            return f"codes of {self.name}: {told}"
        told = ", ".join(f"{plane} {_sum(bits)}" for plane, bits in self.planes.items())
        return f"bits of {self.name}: {told}"


JWST = Convention(
    "JWST",
    {
        "BAD": 1 << 0 | 1 << 10 | 1 << 11,  # DO_NOT_USE, DEAD, HOT
        "SAT": 1 << 1,
        "CR": 1 << 2 | 1 << 4,  # JUMP_DET, OUTLIER
        "SUSPECT": 1 << 5 | 1 << 16,  # PERSISTENCE, NONLINEAR
        "NO_DATA": 1 << 3 | 1 << 9,  # DROPOUT, NON_SCIENCE
        "DEAD": 1 << 10,
        "HOT": 1 << 11,
    },
)
ROMAN = Convention(
    "Roman",
    {**JWST.planes, "CR": 1 << 2 | 1 << 7},  # JUMP_DET, OUTLIER
)
# Lost in transmission and filled; permanent defects, apertures, columns, flats and charge traps; saturation of the full
# well and of the converter; cosmic rays found by AstroDrizzle and between exposures.
HST_CCD = {
    "BAD": 4 | 8 | 16 | 128 | 512 | 1024,
    "SAT": 256 | 2048,
    "CR": 4096 | 8192,
    "SUSPECT": 32 | 64 | 16384,  # unstable, warm, ghosts and crosstalk
    "NO_DATA": 1 | 2,
    "HOT": 16,
}
ACS = Convention("HST ACS", {**HST_CCD, "BAD": HST_CCD["BAD"] | 16384, "SUSPECT": 32 | 64})
UVIS = Convention("HST WFC3/UVIS", {**HST_CCD, "BAD": HST_CCD["BAD"] | 32768})  # flagged by a user
IR = Convention(
    "HST WFC3/IR",
    {
        # Dead, odd in the zeroth read, hot, unstable, bad reference pixel, flagged by a user.
        "BAD": 4 | 8 | 16 | 32 | 128 | 32768,
        "SAT": 256,
        "CR": 4096 | 8192,
        # Warm, blobs of the flat, spikes along the ramp, signal in the zeroth read, ghosts.
        "SUSPECT": 64 | 512 | 1024 | 2048 | 16384,
        "NO_DATA": 1 | 2,
        "DEAD": 4,
        "HOT": 16,
    },
)
WFPC2 = Convention(
    "HST WFPC2",
    {
        "BAD": 2 | 4 | 32 | 128 | 512,
        "SAT": 8,
        "CR": 4096 | 8192,
        "SUSPECT": 256 | 1024,  # above a charge trap, repaired warm pixel
        "NO_DATA": 1 | 16 | 2048,
        "DEAD": 4,
        "HOT": 512,
    },
)
STIS = Convention(
    "HST STIS",
    {"BAD": 4 | 8 | 16 | 32 | 128 | 512, "SAT": 256, "CR": 8192, "SUSPECT": 1024 | 2048, "NO_DATA": 1 | 2, "HOT": 16},
)
NICMOS = Convention(
    "HST NICMOS",
    {
        "BAD": 16 | 32 | 256 | 4096,  # grot, hot or cold, bad calibration, flagged by a user
        "SAT": 64,
        "CR": 512,
        "SUSPECT": 2 | 4 | 8 | 2048,
        "NO_DATA": 1 | 128,
    },
)
GEMINI = Convention("Gemini DRAGONS", {"BAD": 1, "SAT": 4, "CR": 8, "SUSPECT": 2 | 32, "NO_DATA": 16 | 64})
COMMUNITY_CODES = Convention(
    "the community pipeline",
    {},
    {"BAD": (1, 6), "SAT": (3, 4), "CR": (5,), "SUSPECT": (7,), "NO_DATA": (2,), "STREAK": (8,)},
)
COMMUNITY_BITS = Convention(
    "the community pipeline before 3.5", {"BAD": 1, "SAT": 2 | 64, "INTRP": 4, "CR": 16, "SUSPECT": 128}
)
DES = Convention(
    "DES",
    {
        "BAD": 1 | 8,  # bad pixel map, too little signal
        "SAT": 2 | 64 | 128,  # saturated, bleed trail, bleeding at the edge
        "INTRP": 4 | 4096,
        "CR": 16,
        "EDGE": 512,
        "SUSPECT": 256 | 2048 | 8192 | 16384,
        "STREAK": 1024,
    },
)
PAN_STARRS = Convention(
    "Pan-STARRS",
    {
        "BAD": 1 | 2 | 4 | 16 | 64 | 8192,  # detector, flat, dark, charge transfer, low, bad after convolution
        "SAT": 32,
        "CR": 256,
        "SUSPECT": 128 | 512 | 1024 | 16384,
        "NO_DATA": 8,
        "STREAK": 2048,
    },
)
ZTF = Convention(
    "ZTF",
    {
        # Track, low and high response, noisy, ghost, dead, halo, as where the cards say it.
        "BAD": 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 12,
        "SAT": 1 << 8,
        "CR": 1 << 7,
        "DETECTED": 1 << 1 | 1 << 11,
        "NO_DATA": 1 << 10,
        "DEAD": 1 << 9,
    },
)
SDSS = Convention("SDSS", {"INTRP": 1 << 0, "SAT": 1 << 1, "DETECTED": 1 << 3, "SUSPECT": 1 << 8, "CR": 1 << 9})
LEGACY = Convention("the Legacy Surveys", {"SAT": 1 << 2 | 1 << 3 | 1 << 4 | 1 << 14, "NO_DATA": 1 << 10})

OF_HST: Mapping[str, Convention] = {"ACS": ACS, "WFPC2": WFPC2, "STIS": STIS, "NICMOS": NICMOS}
OF_TELESCOPE: tuple[tuple[str, Convention], ...] = (
    (r"JWST", JWST),
    (r"ROMAN", ROMAN),
    (r"GEMINI.*", GEMINI),
    (r"PS[12]|PAN-?STARRS.*", PAN_STARRS),
    (r"PALOMAR 48-INCH", ZTF),
    (r"2\.5M.*|SDSS.*", SDSS),
)
OF_INSTRUMENT: tuple[tuple[str, Convention], ...] = (
    (r"ZTF.*", ZTF),
    (r"GPC[12]", PAN_STARRS),
    (r"NIRCAM|NIRISS|MIRI|NIRSPEC|FGS", JWST),
)


def conventionOf(cards: Mapping[str, Any], largest: int = 0) -> Convention | None:
    """Return what the values of a mask mean that has no names in its header.

    cards : headers of the mask, of its file and of the image, as one; `ORIGIN_CARDS` are looked at; largest : largest
    value in the mask, which tells codes from bits where the version of the pipeline is not known. Returned: None for
    telescopes that are not known.
    """
    telescope, instrument, detector = (_text(cards, name) for name in ("TELESCOP", "INSTRUME", "DETECTOR"))
    telescope = telescope or _text(cards, "FPA.TELESCOPE")
    instrument = instrument or _text(cards, "FPA.INSTRUMENT")
    if telescope == "HST" or instrument in ("WFC3", *OF_HST):
        if instrument == "WFC3":
            return IR if detector == "IR" else UVIS
        return OF_HST.get(instrument)
    if cards.get("LEGPIPEV") is not None:
        return LEGACY
    if instrument in ("DECAM", "MOSAIC3", "MOSAIC-3", "90PRIME"):
        return _ofCommunity(cards, largest)
    for value, table in ((telescope, OF_TELESCOPE), (instrument, OF_INSTRUMENT)):
        for pattern, convention in table:
            if re.fullmatch(pattern, value):
                return convention
    return None


def _ofCommunity(cards: Mapping[str, Any], largest: int) -> Convention:
    """Return that of DES, or of the community pipeline, whose values became codes with version 3.5."""
    if _text(cards, "DES_EXT") or _text(cards, "EXTNAME") == "MSK":
        return DES
    version = re.match(r"V?(\d+)\.(\d+)", _text(cards, "PLVER"))
    isCode = largest <= 8 if version is None else (int(version[1]), int(version[2])) >= (3, 5)
    return COMMUNITY_CODES if isCode else COMMUNITY_BITS


def _text(cards: Mapping[str, Any], name: str) -> str:
    value = cards.get(name)
    return value.strip().upper() if isinstance(value, str) else ""


def _sum(bits: int) -> str:
    return "+".join(str(1 << bit) for bit in range(bits.bit_length()) if bits >> bit & 1)
