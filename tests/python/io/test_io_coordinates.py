"""Coordinates: WCS there and back in parent coordinates, and XY0."""

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip

from psfmatch.io import shiftWcs, xy0FromCards
from psfmatch.io.coordinates import asWcs, readWcs, wcsHeader, xy0Cards

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
    return asWcs(readWcs(fits.Header.fromstring(text), hdus, xy0))


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
    wcs = asWcs(readWcs(header, None, (0, 0)))
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
    assert xy0FromCards({"CTYPE1A": "LINEAR", "CRVAL1A": 9, "CRPIX1A": 1, "CRVAL2A": 8, "CRPIX2A": 2}) == (9, 7)
    assert xy0FromCards({}) == (0, 0)


def test_fractionsOfXy0AreAnnounced(caplog):
    assert xy0FromCards({"LTV1": -5.25, "LTV2": 7.0}) == (5, -7)
    assert "first pixel is at (5.25, -7) of its parent; rounded to (5, -7)" in caplog.text
