"""Masks as files hold them: named, unnamed, and with meanings in comments."""

import numpy as np
import pytest
from astropy.io import fits

from psfmatch.io import DEFAULT_MASK_PLANES, decodeMask
from psfmatch.io.masks import maskCards, planesFromCards


def decode(values, cards=None, telescope=""):
    return decodeMask(np.array([values]), fits.Header(cards or []), telescope, "m.fits")


def test_anyBitIsBadWithoutNames():
    mask, planes = decode([0, 1, 64, 255])
    assert planes == {"BAD": 0}
    assert mask.dtype == np.int32
    np.testing.assert_array_equal(mask, [[0, 1, 1, 1]])


@pytest.mark.parametrize("values", [[False, True], [0.0, np.nan], [0.0, 3.0]])
def test_booleansAndFloats(values):
    mask, planes = decode(values)
    assert planes == {"BAD": 0}
    np.testing.assert_array_equal(mask, [[0, 1]])


@pytest.mark.parametrize("telescope", ["JWST", "ROMAN", "jwst "])
def test_spaceTelescopesTellBitsApart(telescope):
    # DO_NOT_USE, SATURATED, JUMP_DET, all three, NON_SCIENCE alone (bit 9), reference pixel (bit 31), WARM (bit 12).
    mask, planes = decode(np.array([1, 2, 4, 7, 512, 2**31, 4096], dtype=np.uint32), telescope=telescope)
    assert planes == {"BAD": 0, "SAT": 1, "CR": 3, "NO_DATA": 8}
    np.testing.assert_array_equal(mask, [[1, 2, 8, 11, 256, 0, 0]])


def test_lsstNamesKeepTheirBits():
    values = np.array([0, 4, 96], dtype=np.uint16)
    mask, planes = decode(values, {"MP_SAT": 2, "MP_BAD": 5, "HIERARCH MP_DETECTED_NEGATIVE": 6})
    assert planes == {"SAT": 2, "BAD": 5, "DETECTED_NEGATIVE": 6}
    np.testing.assert_array_equal(mask, [[0, 4, 96]])
    mask[:] = 0
    np.testing.assert_array_equal(values, [0, 4, 96])


def test_describedPlanesComeBeforeMpCards():
    described = {"MSKN0001": "Streak", "MSKM0001": 8, "MSKD0001": "a trail"}
    odd = {"MSKN0002": "not a power of two", "MSKM0002": 6}
    assert planesFromCards(fits.Header({**described, **odd, "HIERARCH MP_STREAK": 4})) == {"Streak": 3}


def test_bitsInUseWithoutANameGetOne():
    _, planes = decode([1, 2, 256], {"MP_BAD": 0})
    assert planes == {"BAD": 0, "BIT_1": 1, "BIT_8": 8}


def test_bitsThatAMaskCannotHoldAreAnnounced(caplog):
    mask, planes = decode(np.array([1, 2**31 + 1], dtype=np.uint32), {"MP_BAD": 0, "MP_TOP": 31})
    np.testing.assert_array_equal(mask, [[1, 1]])
    assert planes == {"BAD": 0}
    assert "m.fits: mask planes beyond bit 30 are left out: ['TOP']" in caplog.text
    mask, _ = decode(np.array([1, -(2**31)], dtype=np.int32), {"MP_BAD": 0})
    np.testing.assert_array_equal(mask, [[1, 0]])


def test_legacySurveyNames():
    cards = {"MBIT_0": "NPRIMARY", "MBIT_2": "SATUR_G", "MBIT_3": "SATUR_R"}
    mask, planes = decode([1, 4, 8, 12], cards)
    assert planes == {"NPRIMARY": 0, "SATUR_G": 2, "SATUR_R": 3, "SAT": 1}
    np.testing.assert_array_equal(mask & 2, [[0, 2, 2, 2]])
    np.testing.assert_array_equal(mask & ~2, [[1, 4, 8, 12]])


def test_ztfMeaningsAreInTheComments():
    header = fits.Header()
    header["BIT00"] = (0, "AIRCRAFT/SATELLITE TRACK")
    header["BIT01"] = (1, "CONTAINS SEXTRACTOR DETECTION")
    header["BIT06"] = (6, "RESERVED FOR FUTURE USE")
    header["BIT07"] = (7, "PIXEL SPIKE (POSSIBLE RAD HIT)")
    header["BIT08"] = (8, "SATURATED")
    header["BIT11"] = (11, "CONTAINS PSF-EXTRACTED SOURCE POSITION")
    mask, planes = decodeMask(np.array([[1, 2, 64, 128, 256, 2048 + 1]]), header, "Palomar 48-inch", "m.fits")
    assert planes == {name: DEFAULT_MASK_PLANES[name] for name in ("BAD", "DETECTED", "CR", "SAT")}
    np.testing.assert_array_equal(mask, [[1, 32, 0, 8, 2, 33]])


def test_namesThatNoKeywordCanHold():
    planes = {"bad = odd": 3, "cosmic ray": 4, "µ": 5}
    header = maskCards(planes)
    assert not any(key.startswith("MP_") for key in header)
    assert planesFromCards(header) == {"bad = odd": 3, "cosmic ray": 4, "\\xb5": 5}


def test_cardsNameEveryPlaneTwice():
    planes = {**DEFAULT_MASK_PLANES, "lowerCase": 12, "TOP": 30}
    header = maskCards(planes)
    assert planesFromCards(header) == planes
    assert header["MP_DETECTED_NEGATIVE"] == 6
    assert header["MSKN0030"] == "TOP"
    assert header["MSKM0030"] == 2**30
    assert "saturated" in header["MSKD0001"]
