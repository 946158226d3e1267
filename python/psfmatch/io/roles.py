"""What an HDU is for, by its name, by EXTTYPE, by the UTYPE of astropy's CCDData or by ESO's HDUCLAS cards.

Names are those of LSST, HST, JWST and Roman, Gemini, DECam, DES, the Legacy Surveys, SPHEREx, CASU and our own. Where
a file has several images, the rest of the name says which belong together: CCD1.SCI, CCD1.RMS, CCD1.FLG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What an HDU is for: in words, its names without spaces and dashes, and whether it is a table."""

    names: tuple[str, ...]
    isTable: bool

    def __new__(cls, words: str, names: str = "", isTable: bool = False) -> Role:
        """Make a role whose value is its words."""
        role = str.__new__(cls, words)
        role._value_ = words
        role.names, role.isTable = tuple(names.split()), isTable
        return role

    IMAGE = "image", "IMAGE SCI"
    MASK = (
        "mask",
        "MASK DQ MSK BPM BADPIX BADPIXELMASK FLAG FLAGS FLG DQM DQMASK QUALITY DATAQUALITY BITMASK MASKBITS BADMASK",
    )
    VARIANCE = "variance", "VARIANCE VAR VARMAP VARIANCEMAP STAT"
    VARIANCE_PART = "part of the variance", "VARPOISSON VARRNOISE VARFLAT"
    SIGMA = (
        "noise (1 sigma)",
        (
            "ERR ERROR ERRORS NOISE UNCERT UNCERTAINTY UNC SIGMA STD STDDEV STDEV RMS ERRMAP ERRORMAP RMSMAP NOISEMAP "
            "SIGMAMAP STANDARDDEVIATION"
        ),
    )
    INVERSE_VARIANCE = "inverse variance", "IVAR INVVAR INVVARIANCE INVERSEVARIANCE"
    INVERSE_SIGMA = "inverse noise"
    WEIGHT = "weight", "WHT WEIGHT WEIGHTS WT WGT WTMAP WEIGHTMAP CONF CONFIDENCE CONFMAP CONFIDENCEMAP EXPMAP COVERAGE"
    MATCHED = "matched template", "MATCHED"
    FLOOR = "error floor of fluxes", "FLOOR"
    OWN_VARIANCE = "variance of the image that was not convolved", "OWNVAR"
    LENT_VARIANCE = "variance that the convolved image lends", "LENTVAR"
    MATCHED_VARIANCE = "variance of the matched image", "MATCHVAR"
    OWN_IMAGE = "image that was not convolved", "OWNIMAGE"
    CORRECTION_BASIS = "basis of the decorrelation", "DBASIS"
    CORRECTION_COEFFICIENTS = "coefficients of the decorrelation", "DCOEF", True
    MASK_RUNS = "masks of the images", "MASKRUNS", True
    DETECTION = "how changes are found", "DETECT", True
    KERNEL_BASIS = "kernel basis", "KBASIS"
    KERNEL_COEFFICIENTS = "kernel coefficients", "KCOEF", True
    BACKGROUND_COEFFICIENTS = "background coefficients", "BCOEF", True
    KERNEL_COVARIANCE = "covariance of the kernel coefficients", "KCOV"
    BACKGROUND_COVARIANCE = "covariance of the background coefficients", "BCOV"
    RECIPE = "how the kernel was applied", "RECIPE", True
    STAMPS = "stamps", "STAMPS", True
    CONFIG = "configuration", "CONFIG", True
    PSF = "PSF", "PSFIMAGE"
    PSF_NODES = "PSF at positions", "PSFNODES", True
    COORDINATES = "distortion of the WCS", "D2IMARR WCSDVARR"
    NONE = ""


ROLE_OF_NAME = {name: role for role in Role for name in role.names}

ROLE_OF_UTYPE = {
    "STD": Role.SIGMA,
    "STDDEVUNCERTAINTY": Role.SIGMA,
    "VAR": Role.VARIANCE,
    "VARIANCEUNCERTAINTY": Role.VARIANCE,
    "IVAR": Role.INVERSE_VARIANCE,
    "INVERSEVARIANCE": Role.INVERSE_VARIANCE,
}
ROLE_OF_HDUCLASS = {
    ("DATA", ""): Role.IMAGE,
    ("ERROR", "MSE"): Role.VARIANCE,
    ("ERROR", "RMSE"): Role.SIGMA,
    ("ERROR", "INVMSE"): Role.INVERSE_VARIANCE,
    ("ERROR", "INVRMSE"): Role.INVERSE_SIGMA,
    ("QUALITY", ""): Role.MASK,
}
"""HDUCLAS2 and HDUCLAS3 of ESO's data products; a quality or an image is one of whatever kind."""
PRODUCTS = {"DQMASK": Role.MASK, "WTMAP": Role.WEIGHT}
"""PRODTYPE of the community pipeline of DECam, Mosaic and 90prime, which writes each plane to a file of its own."""

NOISE_ROLES = (Role.VARIANCE, Role.SIGMA, Role.INVERSE_VARIANCE, Role.INVERSE_SIGMA, Role.VARIANCE_PART, Role.WEIGHT)
IN_COMPOUNDS = {"SCI", *(name for role in (Role.MASK, *NOISE_ROLES) for name in role.names)} - {
    "STAT",
    "QUALITY",
    "COVERAGE",
}
"""What the name of an HDU may end or begin with; the others are words of many meanings."""
OF_SKY = {"OBJECT", "OBJECTS", "SOURCE", "SOURCES", "STAR", "STARS", "SEG", "SEGMENTATION", "SKY"}
"""Masks of these mark what is in the sky, not what is wrong with a pixel."""


def roleOf(name: str, header: Mapping[str, Any]) -> tuple[Role, str]:
    """Return what an HDU is for, and the rest of its name, which it shares with those that belong to it.

    name : its EXTNAME.
    """
    role, stem = _byName(str(header.get("EXTTYPE", "")))
    if role is Role.NONE:
        role, stem = _byName(name)
    second, third = (str(header.get(f"HDUCLAS{n}", "")).strip().upper() for n in (2, 3))
    role = ROLE_OF_HDUCLASS.get((second, third if second == "ERROR" else ""), role)
    if role is Role.NONE or role in NOISE_ROLES:
        role = ROLE_OF_UTYPE.get(str(header.get("UTYPE", "")).strip().upper(), role)
    if role is Role.NONE:
        role = PRODUCTS.get(str(header.get("PRODTYPE", "")).strip().upper(), role)
    return role, stem


def _byName(name: str) -> tuple[Role, str]:
    upper = name.strip().upper()
    whole = re.sub(r"[\s_-]", "", upper)
    if whole in ROLE_OF_NAME:
        return ROLE_OF_NAME[whole], ""
    # ERR1, SCI_02, CCD3.DQ, 1-1.RMS, MASK N12
    parts = re.split(r"[\s._:/]+", upper)
    for place in (-1, 0):
        match = re.fullmatch(r"([A-Z]+)(\d*)", parts[place])
        if match is not None and match[1] in IN_COMPOUNDS and (match[2] or len(parts) > 1):
            others = parts[:-1] if place else parts[1:]
            if OF_SKY.intersection(others):
                return Role.NONE, ""
            return ROLE_OF_NAME[match[1]], "_".join([*others, *([match[2]] if match[2] else [])])
    return Role.NONE, ""
