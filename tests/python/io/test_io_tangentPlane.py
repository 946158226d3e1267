"""Tangent planes without astropy.wcs: the same positions as astropy's, and astropy's WCS for all other headers."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from psfmatch.io.coordinates import asWcs, readWcs, wcsHeader
from psfmatch.io.tangentPlane import TangentPlane, tangentPlane


def plainHeader(**cards):
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 300), ("NAXIS2", 200)])
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 215.6, "CRVAL2": 53.16})
    header.update({"CRPIX1": 120.25, "CRPIX2": 90.5})
    header.update({"CD1_1": -5.2e-5, "CD1_2": 1.9e-5, "CD2_1": 2.0e-5, "CD2_2": 5.1e-5, "OBSERVER": "nobody"})
    header.update(cards)
    return header


def pcHeader(**cards):
    header = plainHeader()
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del header[key]
    header.update({"WCSAXES": 2, "CUNIT1": "deg", "CUNIT2": "deg", "CDELT1": -5.2e-5, "CDELT2": 5.1e-5})
    header.update({"PC1_1": 0.9, "PC1_2": 0.1, "LONPOLE": 180.0, "LATPOLE": 53.16, "RADESYS": "ICRS"} | cards)
    return header


PLANES = {
    "CD": plainHeader(),
    "PC": pcHeader(),
    "nearThePole": plainHeader(CRVAL2=89.9999),
    "onThePole": plainHeader(CRVAL1=0.0, CRVAL2=-90.0),
    "acrossRaZero": plainHeader(CRVAL1=0.0, CRVAL2=0.0, RADESYS="FK5", EQUINOX=2000.0),
    "wide": plainHeader(CD1_1=-0.1, CD1_2=0.0, CD2_1=0.0, CD2_2=0.1),
    "withOrigin": plainHeader(LTV1=-10.0, CTYPE1A="LINEAR", CRPIX1A=1.0, CRVAL1A=10.0),
}
# Cards about each of which astropy has to be asked; None: without the card.
OTHERS = [
    {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"},
    {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "A_2_0": 1e-5, "B_ORDER": 2},
    {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"},
    {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
    {"PV1_1": 0.0},
    {"RADESYS": "FK4", "EQUINOX": 1950.0},
    {"EQUINOX": 1950.0},
    {"EPOCH": 1950.0},
    {"LONPOLE": 0.0},
    {"CUNIT1": "arcsec", "CUNIT2": "arcsec"},
    {"CDELT1": 2.0},
    {"PC1_1": 1.0},
    {"CROTA2": 3.0},
    {"NAXIS": 3, "NAXIS3": 1},
    {"CTYPE3": "FREQ"},
    {"CRVAL1": None},
    {"CRPIX1": "120"},
    {"CRVAL2": 91.0},
    {"CD1_1": 0.0, "CD1_2": 0.0},
    {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None},
]


@pytest.mark.parametrize("name", PLANES)
def test_positionsAreAstropys(name):
    plane, wcs = tangentPlane(PLANES[name]), WCS(PLANES[name])
    x, y = np.meshgrid(np.linspace(-20.0, 340.0, 7), np.linspace(-20.0, 240.0, 5))
    ra, dec = plane.toSky(x, y)
    expectedRa, expectedDec = wcs.all_pix2world(x, y, 0)
    turn = (ra - expectedRa + 180.0) % 360.0 - 180.0
    # Rounding of an angle of 360 degrees, 6e-14, a few times; at the pole longitudes mean little.
    np.testing.assert_allclose(turn * np.cos(np.radians(dec)), 0.0, atol=3e-13)
    np.testing.assert_allclose(dec, expectedDec, rtol=0, atol=3e-13)
    assert ((ra >= 0.0) & (ra < 360.0)).all()
    # And of these angles in pixels of 5e-5 degrees.
    np.testing.assert_allclose(plane.toPixels(ra, dec), (x, y), rtol=0, atol=1e-8)
    np.testing.assert_allclose(plane.toPixels(ra, dec), wcs.all_world2pix(ra, dec, 0), rtol=0, atol=1e-8)


def test_whatNoPlaneShowsIsNaN():
    plane = tangentPlane(PLANES["CD"])
    x, y = plane.toPixels([215.6 + 180.0, 215.6, np.nan], [-53.16, 53.16 - 90.0, 0.0])
    assert np.isnan(x).all()
    assert np.isnan(y).all()
    assert np.isnan(plane.toSky(np.nan, 1.0)).all()


@pytest.mark.parametrize("cards", OTHERS, ids=lambda cards: "-".join(cards))
def test_otherHeadersAreAstropys(cards):
    header = plainHeader()
    for key, value in cards.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    assert tangentPlane(header) is None
    # Of what is not as it should be a plane may be left.
    found = readWcs(header, None, (0, 0))
    assert found is None or found.has_celestial


def test_aWcsIsMadeOnDemand():
    plane = readWcs(PLANES["PC"], None, (7, -3))
    assert isinstance(plane, TangentPlane)
    wcs = asWcs(pickle.loads(pickle.dumps(plane)))
    np.testing.assert_allclose(wcs.wcs.crpix, [127.25, 87.5])
    assert wcs.pixel_shape == (300, 200)
    np.testing.assert_allclose(plane.toSky(30.0, 40.0), wcs.all_pix2world(30.0, 40.0, 0), rtol=0, atol=1e-12)
    assert asWcs(wcs) is wcs
    assert asWcs(None) is None


@pytest.mark.parametrize("xy0", [(0, 0), (4, 5)])
@pytest.mark.parametrize("name", ["CD", "PC", "withOrigin"])
def test_cardsAreWrittenAsTheyWere(name, xy0):
    header = PLANES[name]
    cards, tables = wcsHeader(readWcs(header, None, (0, 0)), xy0)
    assert tables == []
    assert not {"OBSERVER", "NAXIS1", "LTV1", "CTYPE1A"} & set(cards)
    for key in set(cards) - {"CRPIX1", "CRPIX2"}:
        assert str(cards.cards[key]) == str(header.cards[key])
    assert (cards["CRPIX1"], cards["CRPIX2"]) == (120.25 - xy0[0], 90.5 - xy0[1])
