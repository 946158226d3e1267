"""Header cards: numbers to the last bit, metadata there and back, WCS in parent coordinates."""

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip
from hypothesis import given
from hypothesis import strategies as st

from psfmatch.io import readMetadata, shiftWcs, xy0FromCards
from psfmatch.io.headers import appendMetadata, exactCard, photoCalibFromCards, readWcs, wcsHeader, xy0Cards

CORNERS = np.array([[0.0, 0.0], [99.5, -20.25], [2000.0, 3000.0]])


def makeWcs(projection="TAN", cd=True):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crpix = 1000 / 3, -7000 / 7
    wcs.wcs.crval = 150 + 1 / 3, -2 - 1 / 7
    if cd:
        wcs.wcs.cd = [[-1.2345678901234567e-05, 7.288176943228e-05], [1e-4 / 3, 1.1e-05 / 7]]
    else:
        wcs.wcs.pc = [[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]]
        wcs.wcs.cdelt = -1e-4 / 3, 1e-4 / 3
    if projection == "TPV":
        wcs.wcs.set_pv([(1, 0, 1e-5 / 3), (1, 1, 1.0097), (1, 7, 1e-3 / 7), (2, 1, 1.006), (2, 4, -1e-3)])
    return wcs


def makeSipWcs():
    wcs = makeWcs("TAN-SIP")
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[2, 0], b[1, 1] = 1e-6 / 3, -2e-6 / 7
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    return wcs


def makeTableWcs():
    wcs = makeWcs()
    grid = np.random.default_rng(2).normal(0, 0.3, (8, 8)).astype(np.float32)
    wcs.cpdis1 = DistortionLookupTable(grid, (1.0, 1.0), (1.0, 1.0), (500.0, 500.0))
    wcs.cpdis2 = DistortionLookupTable(grid.T.copy(), (1.0, 1.0), (1.0, 1.0), (500.0, 500.0))
    return wcs


def roundTrip(wcs, xy0):
    header, tables = wcsHeader(wcs, xy0)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)), header=header), *tables])
    text = hdus[1].header.tostring()
    return readWcs(fits.Header.fromstring(text), hdus, xy0)


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
    hdu.header.extend(wcsHeader(makeSipWcs(), (0, 0))[0])
    hdu.header.extend(xy0Cards((3, 4)))
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
    "wcs",
    [makeWcs(), makeWcs(cd=False), makeWcs("TPV"), makeWcs("ZEA"), makeSipWcs(), makeTableWcs()],
    ids=["cd", "pc", "tpv", "zea", "sip", "tables"],
)
@pytest.mark.parametrize("xy0", [(0, 0), (4096, -512)])
def test_wcsRoundTrip(wcs, xy0):
    expected = wcs.all_pix2world(CORNERS, 0)
    back = roundTrip(wcs, xy0)
    positions = back.all_pix2world(CORNERS, 0)
    if xy0 == (0, 0):
        np.testing.assert_array_equal(positions, expected)
    else:
        # Moving CRPIX by 4096 and back rounds it by 5e-13 pixels, 4e-17 degrees; the sky is rounded to 3e-14.
        np.testing.assert_allclose(positions, expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(wcs.all_pix2world(CORNERS, 0), expected)


@pytest.mark.parametrize("wcs", [makeWcs(), makeSipWcs(), makeTableWcs()], ids=["tan", "sip", "tables"])
def test_shiftedWcsGivesTheSameSky(wcs):
    shift = np.array([30, -40])
    shifted = shiftWcs(wcs, *shift)
    # As above; the distortion table is in float32 but evaluated at the same place.
    np.testing.assert_allclose(
        shifted.all_pix2world(CORNERS + shift, 0), wcs.all_pix2world(CORNERS, 0), rtol=0, atol=1e-12
    )
    if wcs.sip is not None:
        np.testing.assert_array_equal(shifted.sip.crpix, wcs.sip.crpix + shift)


def test_thirdAxisIsDropped():
    header = fits.Header.fromstring(wcsHeader(makeWcs(), (0, 0))[0].tostring())
    header["WCSAXES"] = 3
    header["CTYPE3"] = "FREQ"
    header["CRVAL3"] = 1.4e9
    wcs = readWcs(header, None, (0, 0))
    assert wcs.naxis == 2
    np.testing.assert_allclose(wcs.all_pix2world(CORNERS, 0), makeWcs().all_pix2world(CORNERS, 0), rtol=1e-14)


@pytest.mark.parametrize("cards", [{}, {"CTYPE1A": "LINEAR"}, {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}])
def test_noCelestialAxesNoWcs(cards, caplog):
    assert readWcs(fits.Header(cards), None, (0, 0)) is None
    assert not caplog.records


def test_brokenWcsIsAnnouncedAndLeftOut(caplog):
    header = wcsHeader(makeWcs(), (0, 0))[0]
    for key in ("PC1_1", "PC1_2", "PC2_1", "PC2_2"):
        header[key] = 0.0
    assert readWcs(header, None, (0, 0)) is None
    assert "the WCS cannot be used, going on without it" in caplog.text


def test_xy0ThereAndBack():
    assert xy0FromCards(xy0Cards((-12, 40000))) == (-12, 40000)
    assert xy0FromCards({"LTV1": -5.0, "LTV2": 7.0}) == (5, -7)
    assert xy0FromCards({"CTYPE1A": "LINEAR", "CRVAL1A": 9, "CRPIX1A": 1, "CRVAL2A": 8, "CRPIX2A": 2}) == (
        9,
        7,
    )
    assert xy0FromCards({}) == (0, 0)


def test_fractionsOfXy0AreAnnounced(caplog):
    assert xy0FromCards({"LTV1": -5.25, "LTV2": 7.0}) == (5, -7)
    assert "first pixel is at (5.25, -7) of its parent; rounded to (5, -7)" in caplog.text


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
