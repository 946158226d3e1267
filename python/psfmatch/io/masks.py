"""Mask planes in FITS: names of bits in the cards, and what to make of masks without names.

Names are read from MSKNnnnn/MSKMnnnn (lsst.images), MP_name (LSST afw), MSKNAMnn/MSKVALnn (Pan-STARRS), MBIT_n (Legacy
Survey) and BITnn (ZTF, with the meaning in the comment). Without names the telescope tells what bits mean, see
`psfmatch.io.dqFlags`; if it does not, a mask is BAD where any bit is set, or, of zeros and ones that are mostly one on
an image full of values, where it is zero.
"""

from __future__ import annotations

import functools
import logging
import math
import operator
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.io.dqFlags import ORIGIN_CARDS, Convention, conventionOf
from psfmatch.io.headers import exactCard
from psfmatch.io.planes import DEFAULT_MASK_PLANES
from psfmatch.threads import mapStrips

log = logging.getLogger("psfmatch.io")

MAX_PLANES = 31  # bits 0 to 30; the last bit of an int32 is its sign

DESCRIPTIONS = {
    "BAD": "defect of the detector or flagged by the data's producer",
    "SAT": "saturated",
    "INTRP": "filled from its neighbours",
    "CR": "cosmic ray",
    "EDGE": "too near the edge for the whole kernel",
    "DETECTED": "part of a detected source",
    "DETECTED_NEGATIVE": "part of a detected negative source",
    "SUSPECT": "possibly not linear",
    "NO_DATA": "no value",
    "STREAK": "trail of a satellite or an aircraft",
    "DEAD": "pixel that sees no light",
    "HOT": "pixel of high dark current",
}

USUAL_BITS = {**DEFAULT_MASK_PLANES, "STREAK": 9, "DEAD": 10, "HOT": 11}
"""Bits of our planes, and of those that data quality bits need besides."""
# What a producer's names mean, in ours, which the pixels get besides. Names that LSST has are not among them.
SYNONYMS = {
    "BAD": "BPM BADPIX BAD_PIX BADPIXEL BAD_PIXEL DETECTOR FLAT DARK CTE LOW DEAD HOT COLD NONFUNC DO_NOT_USE DONOTUSE "
    "DEFECT CONV_BAD INVALID BADCOL BAD_COLUMN",
    "SAT": "SATURATED SATURATE SATURATION OVERFLOW FULLWELL BLEED BLEEDTRAIL",
    "CR": "CRAY COSMIC COSMICS COSMIC_RAY COSMICRAY COSMIC_RAYS CRHIT CR_HIT JUMP_DET OUTLIER TRANSIENT",
    "INTRP": "INTERP INTERPOLATED",
    "SUSPECT": "NONLINEAR NON_LINEAR PERSISTENCE PERSIST WARM",
    "NO_DATA": "NODATA BLANK MISSING MISSING_DATA NON_SCIENCE NOVALUE NO_VALUE DROPOUT",
    "STREAK": "SATELLITE SATTRAIL SATELLITE_TRAIL AIRCRAFT",
}
PLANE_OF_SYNONYM = {synonym: name for name, synonyms in SYNONYMS.items() for synonym in synonyms.split()}
ALWAYS_NAMED = ("BAD", "SAT", "CR", "DETECTED")
"""Planes of a convention that are named also where no pixel has them."""
COMMENTS = (
    (r"DETECTION|EXTRACTED SOURCE", "DETECTED"),
    (r"SATURAT", "SAT"),
    (r"RAD HIT|COSMIC", "CR"),
    (r"^$|RESERVED", ""),
)
"""Planes by the words in the comments of ZTF's bits; all others are BAD."""
GOOD_VALUES = (1, 255)
"""What good pixels usually hold in masks in which bad ones are 0."""


def planesFromCards(cards: Mapping[str, Any]) -> dict[str, int]:
    """Read the names of mask planes.

    Returned: bit index of each named plane; empty where no bit has a name.
    """
    planes: dict[str, int] = {}
    for key, value in cards.items():
        if (match := re.fullmatch(r"MSKN(\d+)", key)) is not None:
            if (bit := _onlyBit(cards.get(f"MSKM{match[1]}"))) is not None:
                planes[str(value)] = bit
        elif (match := re.fullmatch(r"(?:HIERARCH )?MSKNAM(\d+)", key)) is not None:
            # Two names can share a bit; sums of several bits have names of their own.
            bit = _onlyBit(cards.get(f"MSKVAL{match[1]}"))
            if bit is not None and bit not in planes.values():
                planes[str(value).strip()] = bit
    if planes:
        return planes
    for key, value in cards.items():
        if key.startswith("MP_") and isinstance(value, int) and not isinstance(value, bool):
            planes[key[3:]] = value
        elif (match := re.fullmatch(r"MBIT_(\d+)", key)) is not None and isinstance(value, str):
            planes[value.strip()] = int(match[1])
    return planes


def _onlyBit(value: Any) -> int | None:
    """Return which bit is the only one of a number; None if it is not one alone."""
    return value.bit_length() - 1 if isinstance(value, int) and value > 0 and value & (value - 1) == 0 else None


def decodeMask(
    stored: NDArray[Any],
    cards: Mapping[str, Any],
    telescope: str,
    label: str,
    isOwn: bool = False,
    *,
    origin: Mapping[str, Any] | None = None,
    imageOrigin: Mapping[str, Any] | None = None,
    image: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Turn a stored mask into int32 bit planes.

    Parameters
    ----------
    stored
        Mask as stored, (h, w), boolean, of any integer type, or float holding integers; not changed, unless
        ``isOwn``.
    cards
        Its header.
    telescope
        TELESCOP of the file.
    label
        Name of the file for messages.
    isOwn
        Whether the pixels may become those of the result, which spares a copy.
    origin
        Headers of the mask's file that tell instrument, detector and pipeline; by default ``cards``.
    imageOrigin
        Those of the image, where it is in another file; asked where the mask's do not say, unless it is of zeros and
        ones, as people make them.
    image
        The image, (h, w): with it masks are recognised in which good pixels are 1 and bad ones 0.

    Returns
    -------
    mask
        A new array, (h, w), int32.
    planes
        Bit index of each plane.
    """
    lost = None
    if stored.dtype.kind == "f":
        # What is no number is bad, whether good pixels are 0 or 1.
        lost = ~np.isfinite(stored)
        stored = np.where(lost, 1, stored).astype(np.int64)
    planes = planesFromCards(cards)
    if planes and stored.dtype.kind != "b":
        return _named(stored, planes, label, isOwn)
    ends = mapStrips(lambda strip: (int(stored[strip].min()), int(stored[strip].max())), stored.shape)
    smallest, largest = min((low for low, _ in ends), default=0), max((high for _, high in ends), default=0)
    meaning = Convention("", _bitsFromComments(cards))
    isOfBits = largest > 1 or smallest < 0
    if not meaning.planes and (isOfBits or (stored.dtype.kind in "iu" and stored.dtype.itemsize > 1)):
        found = _conventionOf(cards if origin is None else origin, telescope, largest)
        if found is None and isOfBits and imageOrigin is not None:
            found = _conventionOf(imageOrigin, "", largest)
        if found is not None:
            log.info("%s: mask values are %s", label, found)
            meaning = found
    if meaning.planes or meaning.codes:
        return _translated(stored, meaning)
    isBad = stored != 0
    # A mask of one value alone says which value is good only where that is a usual one.
    isOfTwo = smallest >= 0 and (largest in GOOD_VALUES or largest > smallest == 0)
    if image is not None and isOfTwo and _isOfGoodPixels(stored, largest, image):
        log.warning(
            "%s: the mask is %d in %.1f %% of the pixels, which hold values: %d is taken for good, 0 for bad",
            label, largest, 100.0 * float(isBad.mean()), largest,
        )  # fmt: skip
        isBad = ~isBad if lost is None else ~isBad | lost
    mask = np.zeros(stored.shape, dtype=np.int32)
    mask[isBad] = 1 << DEFAULT_MASK_PLANES["BAD"]
    return mask, {"BAD": DEFAULT_MASK_PLANES["BAD"]}


def _conventionOf(cards: Mapping[str, Any], telescope: str, largest: int) -> Convention | None:
    told = {key: cards.get(key) for key in ORIGIN_CARDS}
    return conventionOf(told | ({"TELESCOP": telescope} if telescope else {}), largest)


def maskMeaning(cards: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """Return in words what the values of a mask mean by its header alone; empty where it does not say."""
    planes = planesFromCards(cards)
    if planes:
        return "planes " + ", ".join(
            f"{name} {1 << bit}" for name, bit in sorted(planes.items(), key=lambda one: one[1])
        )
    if commented := _bitsFromComments(cards):
        return str(Convention("the header's comments", commented))
    found = conventionOf(origin)
    return "any value is BAD" if found is None else str(found)


def maskCards(planes: Mapping[str, int]) -> fits.Header:
    """Cards that name the planes, for both LSST readers.

    planes : bit index of each plane. Returned: MP_name (bit index) and MSKNnnnn, MSKMnnnn, MSKDnnnn (name, value,
    description), in the order of the bits.
    """
    header = fits.Header(planeCards(planes))
    for name, bit in sorted(planes.items(), key=lambda item: item[1]):
        header.append(exactCard(f"MSKN{bit:04d}", name), end=True)
        header[f"MSKM{bit:04d}"] = 1 << bit
        header[f"MSKD{bit:04d}"] = DESCRIPTIONS.get(name, "")
    return header


def planeCards(planes: Mapping[str, int]) -> list[fits.Card]:
    """Return the cards MP_name alone, in the order of the bits; names that no keyword can hold are left out."""
    return [
        fits.Card(f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}", bit)
        for name, bit in sorted(planes.items(), key=lambda item: item[1])
        if re.fullmatch(r"[\w.-]+", name, re.ASCII)
    ]


def _named(
    stored: NDArray[Any], planes: dict[str, int], label: str, isOwn: bool
) -> tuple[NDArray[np.int32], dict[str, int]]:
    bits = mapStrips(lambda strip: int(np.bitwise_or.reduce(stored[strip], axis=None)), stored.shape)
    used = functools.reduce(operator.or_, bits) & 0xFFFFFFFFFFFFFFFF
    kept = {name: bit for name, bit in planes.items() if 0 <= bit < MAX_PLANES}
    if len(kept) < len(planes) or used >> MAX_PLANES:
        lost = sorted(set(planes) - set(kept)) or "without names"
        log.warning("%s: mask planes beyond bit %d are left out: %s", label, MAX_PLANES - 1, lost)
    mask = stored.astype(np.int32, copy=not isOwn)
    if used >> MAX_PLANES:
        mask &= np.int32(2**MAX_PLANES - 1)
    # A bit in use but without a name must not be given to another plane later.
    for bit in range(MAX_PLANES):
        if used >> bit & 1 and bit not in kept.values():
            kept[f"BIT_{bit}"] = bit
    for target, same in _synonymous(kept).items():
        if not used & same:
            continue
        if target not in kept:
            if (free := freeBit(kept, target)) is None:
                continue
            kept[target] = free
        mask[(mask & np.int32(same)) != 0] |= np.int32(1 << kept[target])
    return mask, kept


def freeBit(planes: Mapping[str, int], name: str) -> int | None:
    """Return the bit that a plane of ours gets beside others: its usual one, else the first that is free."""
    return next((bit for bit in (USUAL_BITS[name], *range(MAX_PLANES)) if bit not in planes.values()), None)


def planeOfName(name: str) -> str:
    """Return our name of a plane that somebody calls otherwise; empty where there is none."""
    upper = re.sub(r"[\s.-]", "_", name.upper())
    return PLANE_OF_SYNONYM.get(upper) or ("SAT" if upper.startswith("SATUR") else "")


def _synonymous(planes: Mapping[str, int]) -> dict[str, int]:
    """Return the bits of planes that have other names than ours, by ours; Legacy Survey's are of a band (SATUR_G)."""
    found: dict[str, int] = {}
    for name, bit in planes.items():
        if target := planeOfName(name):
            found[target] = found.get(target, 0) | 1 << bit
    return found


def _translated(stored: NDArray[Any], meaning: Convention) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Return our planes of bits, or codes, that a convention explains, and the planes in use."""
    mask = np.zeros(stored.shape, dtype=np.int32)

    def translate(strip: slice) -> int:
        values, part = stored[strip].astype(np.int64), mask[strip]
        present = int(np.bitwise_or.reduce(values, axis=None))
        used = 0
        for name in (meaning.codes or meaning.planes) if present else ():
            if meaning.codes is not None:
                isSet = np.isin(values, meaning.codes[name])
            elif present & meaning.planes[name]:
                isSet = (values & meaning.planes[name]) != 0
            else:
                continue
            if isSet.any():
                bit = 1 << USUAL_BITS[name]
                part[isSet] |= np.int32(bit)
                used |= bit
        return used

    used = functools.reduce(operator.or_, mapStrips(translate, stored.shape), 0)
    kept = [name for name in meaning.codes or meaning.planes if name in ALWAYS_NAMED or used >> USUAL_BITS[name] & 1]
    return mask, {name: USUAL_BITS[name] for name in kept}


def _isOfGoodPixels(stored: NDArray[Any], good: int, image: NDArray[np.float32]) -> bool:
    """Return whether a mask of two values is that of good pixels: most have it, and the image has values there."""
    counts = mapStrips(
        lambda strip: (int(np.count_nonzero(stored[strip] == 0)), int(np.count_nonzero(stored[strip] == good))),
        stored.shape,
    )
    nZero, nGood = (sum(count) for count in zip(*counts, strict=True))
    if nZero + nGood < stored.size or nGood <= nZero:
        return False
    step = max(1, math.isqrt(stored.size // 250_000))
    seen = image[::step, ::step][stored[::step, ::step] == good]
    finite = seen[np.isfinite(seen)]
    if 2 * finite.size <= seen.size or not finite.size:
        return False
    # What is filled with one value holds nothing.
    return bool(2 * np.count_nonzero(finite == np.median(finite)) <= finite.size)


def _bitsFromComments(cards: Mapping[str, Any]) -> dict[str, int]:
    """Planes and their bits where cards BITnn = nn carry the meaning in their comments, as in ZTF's masks."""
    meaning: dict[str, int] = {}
    if not isinstance(cards, fits.Header):
        return meaning
    for key, value in cards.items():
        if re.fullmatch(r"BIT\d+", key) is None or not isinstance(value, int) or not 0 <= value < 63:
            continue
        comment = cards.comments[key].upper()
        name = next((name for pattern, name in COMMENTS if re.search(pattern, comment)), "BAD")
        if name:
            meaning[name] = meaning.get(name, 0) | 1 << value
    return meaning
