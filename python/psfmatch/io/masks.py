"""Mask planes in FITS: names of bits in the cards, and what to make of masks without names.

Names are read from MSKNnnnn/MSKMnnnn (lsst.images), MP_name (LSST afw), MBIT_n (Legacy Survey) and BITnn
(ZTF, with the meaning in the comment). A mask without names is BAD where any bit is set, except that JWST's
and Roman's DO_NOT_USE, SATURATED and JUMP_DET are told apart.
"""

from __future__ import annotations

import functools
import logging
import operator
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from psfmatch.strips import mapStrips

from .headers import exactCard
from .planes import DEFAULT_MASK_PLANES

__all__ = ["MAX_PLANES", "decodeMask", "maskCards", "planesFromCards"]

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
}

# Data quality bits shared by JWST and Roman; the others say why, not whether, a pixel is bad.
SPACE_TELESCOPES = ("JWST", "ROMAN")
SPACE_BITS = {"BAD": 1 << 0, "SAT": 1 << 1, "CR": 1 << 2}


def planesFromCards(cards: Mapping[str, Any]) -> dict[str, int]:
    """Read the names of mask planes.

    Parameters
    ----------
    cards : `astropy.io.fits.Header` or mapping
        Header of the mask.

    Returns
    -------
    planes : `dict` [`str`, `int`]
        Bit index of each named plane; empty where no bit has a name.
    """
    planes: dict[str, int] = {}
    for key, value in cards.items():
        if (match := re.fullmatch(r"MSKN(\d+)", key)) is not None:
            bits = cards.get(f"MSKM{match[1]}")
            if isinstance(bits, int) and bits > 0 and bits & (bits - 1) == 0:
                planes[str(value)] = bits.bit_length() - 1
    if planes:
        return planes
    for key, value in cards.items():
        if key.startswith("MP_") and isinstance(value, int):
            planes[key[3:]] = value
        elif (match := re.fullmatch(r"MBIT_(\d+)", key)) is not None and isinstance(value, str):
            planes[value.strip()] = int(match[1])
    return planes


def decodeMask(
    stored: NDArray[Any], cards: Mapping[str, Any], telescope: str, label: str, isOwn: bool = False
) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Turn a stored mask into int32 bit planes.

    Parameters
    ----------
    stored : `numpy.ndarray`
        Mask as stored, (h, w), boolean, of any integer type, or float holding integers; not changed, unless
        ``isOwn``.
    cards : `astropy.io.fits.Header` or mapping
        Its header.
    telescope : `str`
        TELESCOP of the file.
    label : `str`
        Name of the file for messages.
    isOwn : `bool`, optional
        Whether the pixels may become those of the result, which spares a copy.

    Returns
    -------
    mask : `numpy.ndarray`
        A new array, (h, w), int32.
    planes : `dict` [`str`, `int`]
        Bit index of each plane.
    """
    if stored.dtype.kind == "f":
        stored = np.where(np.isfinite(stored), stored, 1).astype(np.int64)
    planes = planesFromCards(cards)
    if planes and stored.dtype.kind != "b":
        return _named(stored, planes, label, isOwn)
    fromSpace = telescope.strip().upper() in SPACE_TELESCOPES
    meaning = SPACE_BITS if fromSpace else _bitsFromComments(cards)
    mask = np.zeros(stored.shape, dtype=np.int32)
    if not meaning:
        mask[stored != 0] = 1 << DEFAULT_MASK_PLANES["BAD"]
        return mask, {"BAD": DEFAULT_MASK_PLANES["BAD"]}
    stored = stored.astype(np.int64)
    for name, bits in meaning.items():
        mask[(stored & bits) != 0] |= 1 << DEFAULT_MASK_PLANES[name]
    return mask, {name: DEFAULT_MASK_PLANES[name] for name in meaning}


def maskCards(planes: Mapping[str, int]) -> fits.Header:
    """Cards that name the planes, for both LSST readers.

    Parameters
    ----------
    planes : mapping [`str`, `int`]
        Bit index of each plane.

    Returns
    -------
    header : `astropy.io.fits.Header`
        MP_name (bit index) and MSKNnnnn, MSKMnnnn, MSKDnnnn (name, value, description), in the order of the
        bits.
    """
    header = fits.Header()
    for name, bit in sorted(planes.items(), key=lambda item: item[1]):
        # Names that no keyword can hold are in the MSKN cards alone.
        if re.fullmatch(r"[\w.-]+", name, re.ASCII):
            header[f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
    for name, bit in sorted(planes.items(), key=lambda item: item[1]):
        header.append(exactCard(f"MSKN{bit:04d}", name), end=True)
        header[f"MSKM{bit:04d}"] = 1 << bit
        header[f"MSKD{bit:04d}"] = DESCRIPTIONS.get(name, "")
    return header


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
    saturated = sum(1 << bit for name, bit in kept.items() if name.startswith("SATUR"))
    if saturated and "SAT" not in kept:
        # Legacy Survey's planes per band (SATUR_G) count as saturated for everyone who asks for SAT.
        free = [bit for bit in (DEFAULT_MASK_PLANES["SAT"], *range(MAX_PLANES)) if bit not in kept.values()]
        if free:
            kept["SAT"] = free[0]
            mask[(mask & np.int32(saturated)) != 0] |= np.int32(1 << free[0])
    return mask, kept


def _bitsFromComments(cards: Mapping[str, Any]) -> dict[str, int]:
    """Planes and their bits where cards BITnn = nn carry the meaning in their comments, as in ZTF's masks."""
    meaning: dict[str, int] = {}
    if not isinstance(cards, fits.Header):
        return meaning
    for key, value in cards.items():
        if re.fullmatch(r"BIT\d+", key) is None or not isinstance(value, int) or not 0 <= value < 63:
            continue
        comment = cards.comments[key].upper()
        if "DETECTION" in comment or "EXTRACTED SOURCE" in comment:
            name = "DETECTED"
        elif "SATURAT" in comment:
            name = "SAT"
        elif "RAD HIT" in comment or "COSMIC" in comment:
            name = "CR"
        elif not comment or "RESERVED" in comment:
            continue
        else:
            name = "BAD"
        meaning[name] = meaning.get(name, 0) | 1 << value
    return meaning
