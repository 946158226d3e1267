"""Header cards: numbers to the last bit, metadata there and back, the flux of one count."""

import math

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.io import readMetadata
from psfmatch.io.headers import appendMetadata, exactCard, photoCalibFromCards


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["KEY", "A_LONG_KEYWORD", "lower"]))
def test_floatsKeepEveryBit(value, key):
    header = fits.Header([exactCard(key, value, "comment")])
    back = fits.Header.fromstring(header.tostring())[key]
    assert isinstance(back, float)
    assert back == value
    assert math.copysign(1, back) == math.copysign(1, value)


def test_metadataThereAndBack():
    metadata = {
        "OBJECT": "it's M 31",
        "EXPTIME": 30.0,
        "NCOMBINE": 4,
        "FLIPPED": True,
        "NOTHING": None,
        "spatialKernelSum": 1.0123456789012345e-7,
        "A very long key with spaces": -3,
        "LONGTEXT": "lorem ipsum, " * 30 + "end",
        "long.key.of.text": "x" * 150,
        "HISTORY": "first line\nsecond line",
        "COMMENT": "a comment",
    }
    header = fits.Header()
    appendMetadata(header, metadata)
    assert readMetadata(fits.Header.fromstring(header.tostring())) == metadata


def test_metadataThatFitsCannotHold(caplog):
    header = fits.Header()
    odd = {
        "NUMPY": np.float32(1.5),
        "NAN": math.nan,
        "LIST": [1, 2, {"a": None}],
        "UNICODE": "µm\n2",
        "bad=key": 1,
        "NAXIS1": 77,
        "CRVAL1": 3.0,
        "EXTNAME": "EVIL",
        "MP_BAD": 3,
    }
    appendMetadata(header, odd)
    back = readMetadata(fits.Header.fromstring(header.tostring()))
    assert back == {"NUMPY": 1.5, "NAN": "nan", "LIST": '[1, 2, {"a": null}]', "UNICODE": "\\xb5m 2"}
    assert "metadata 'bad=key' = 1 cannot be written to FITS" in caplog.text


def test_structureAndCoordinatesAreNoMetadata():
    hdu = fits.ImageHDU(np.zeros((4, 4), dtype=np.uint16), name="SCI")
    for key in (
        "CTYPE1",
        "CRVAL2",
        "CRPIX1A",
        "CD1_2",
        "PC2_2",
        "PV1_10",
        "A_2_0",
        "BP_ORDER",
        "LTV1",
        "LTM1_1",
        "WAT1_001",
    ):
        hdu.header[key] = "1"
    hdu.header["DP1.EXTVER"] = 2.0
    hdu.header["CHECKSUM"] = "x"
    hdu.header["GAIN"] = 1.5
    hdu.header["DATE-OBS"] = "2026-01-01"
    hdu.header["PV_NAME"] = "kept"
    hdu.header.add_comment("  FITS (Flexible Image Transport System) format is defined in 'Astronomy")
    hdu.header.add_comment("  and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H ")
    assert readMetadata(hdu.header) == {"GAIN": 1.5, "DATE-OBS": "2026-01-01", "PV_NAME": "kept"}


def test_laterHeadersWin():
    first = fits.Header([("A", 1), ("B", 2), ("HISTORY", "one")])
    second = fits.Header([("B", 3), ("HISTORY", "two")])
    assert readMetadata(first, second) == {"A": 1, "B": 3, "HISTORY": "one\ntwo"}


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"PHOTOCAL": 57.5, "BUNIT": "nJy"}, 57.5),
        ({"BUNIT": "nJy"}, 1.0),
        ({"BUNIT": "uJy"}, 1000.0),
        # 1e6 Jy/MJy times 1e9 nJy/Jy times 2e-14 sr.
        ({"BUNIT": "MJy/sr", "PIXAR_SR": 2e-14}, 20.0),
        ({"BUNIT": "MJy/sr"}, None),
        # AB magnitude 0 is 3630.78 Jy.
        ({"FLUXMAG0": 3.63078e12}, 1.0),
        ({"BUNIT": "adu"}, None),
        ({"BUNIT": "counts per fortnight"}, None),
        ({"PHOTOCAL": -1.0}, None),
        ({}, None),
    ],
)
def test_fluxOfOneCount(cards, expected):
    value = photoCalibFromCards(cards)
    assert value is None if expected is None else value == pytest.approx(expected, rel=1e-6)
