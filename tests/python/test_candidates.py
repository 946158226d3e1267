"""Lists of candidates as callers have them."""

import math

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS, Sip

from psfmatch.candidates import toSourceTable
from psfmatch.exposure import Box, Exposure, MaskedImage
from psfmatch.footprints import Footprint
from psfmatch.selection import StampRules, makeCandidateList


def makeWcs(x=100.0, y=80.0, scale=0.2 / 3600.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [215.0, 53.0]
    wcs.wcs.crpix = [x + 1, y + 1]
    wcs.wcs.cdelt = [-scale, scale]
    wcs.wcs.set()
    return wcs


def makeExposure(wcs=None, xy0=(0, 0)):
    return Exposure(MaskedImage(np.zeros((120, 150)), variance=np.ones((120, 150)), xy0=xy0), wcs=wcs)


def test_tableOfPixelsIsTakenAsItIs():
    table = Table({"x": [1, 2], "y": [3.0, 4.0], "flux": [5.0, 6.0], "ra": [0.0, 0.0], "dec": [0.0, 0.0]})
    assert toSourceTable(table, makeExposure()) is table


def test_skyPositionsBecomeParentPixels():
    wcs = makeWcs()
    x, y = np.array([10.0, 75.5, 149.0]), np.array([3.25, 60.0, 118.0])
    ra, dec = wcs.all_pix2world(x, y, 0)
    table = Table({"ra": ra, "dec": dec, "name": ["a", "b", "c"]})
    found = toSourceTable(table, makeExposure(wcs, xy0=(7, 9)))
    # All of the WCS is in parent pixels; 1e-12 degrees of rounding are 1e-8 px of 0.2 arcsec.
    np.testing.assert_allclose(found["x"], x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["y"], y, rtol=0, atol=1e-6)
    assert list(found["name"]) == ["a", "b", "c"]
    assert table.colnames == ["ra", "dec", "name"]


def makeSipWcs():
    wcs = makeWcs()
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], a[0, 2], b[1, 1] = 1e-5, 2e-6, 5e-6
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize("wcs", [makeWcs(), makeSipWcs()], ids=["TAN", "SIP"])
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_skyPositionsFarOutsideTheField(wcs):
    # A catalogue may reach far beyond the image, where distortions have no inverse.
    ra, dec = wcs.all_pix2world([60.0], [70.0], 0)
    table = Table({"ra": [*ra, 216.5, 220.0, 35.0, np.nan], "dec": [*dec, 53.5, 50.0, -53.0, 0.0]})
    exposure = makeExposure(wcs)
    found = toSourceTable(table, exposure)
    assert found["x"][0] == pytest.approx(60.0, abs=1e-3)
    assert found["y"][0] == pytest.approx(70.0, abs=1e-3)
    candidates, rejected = makeCandidateList(
        exposure.maskedImage, exposure.maskedImage, found, StampRules(10, 11, ("BAD",), 0.1)
    )
    assert len(candidates) == 1
    assert rejected == {"without a finite position": 2, "outside the image": 2}


def test_distortionBringsNoStrangerIntoTheField():
    # Where the inverse of the distortion fails, it must not end up on the image by chance.
    wcs = makeSipWcs()
    offset = np.linspace(-4.0, 4.0, 81)
    ra, dec = (grid.ravel() for grid in np.meshgrid(215.0 + offset / math.cos(math.radians(53.0)), 53.0 + offset))
    with np.errstate(all="ignore"):
        found = toSourceTable(Table({"ra": ra, "dec": dec}), makeExposure(wcs))
    inside = np.abs(found["x"] - 75.0) + np.abs(found["y"] - 60.0) < 150.0
    # The grid has steps of 0.1 degrees, 1800 px; its middle is the reference pixel (100, 80).
    assert np.flatnonzero(inside).tolist() == [40 * 81 + 40]
    assert found["x"][inside][0] == pytest.approx(100.0, abs=1e-3)


@pytest.mark.parametrize(
    "given", [np.array([[1.0, 2.0], [3.0, 4.0]]), [[1, 2], [3, 4]], [(1, 2), (3, 4)], ((1.0, 2.0), [3, 4])]
)
def test_arraysOfPositions(given):
    table = toSourceTable(given, makeExposure())
    assert table.colnames == ["x", "y"]
    assert table["x"].tolist() == [1.0, 3.0]
    assert table["y"].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("given", [[], (), np.zeros((0, 2)), np.zeros(0)])
def test_emptyListOfPositions(given):
    table = toSourceTable(given, makeExposure())
    assert table.colnames == ["x", "y"]
    assert len(table) == 0


def test_footprintsAsCandidates():
    footprints = [Footprint(Box(40, 50, 21, 21), (50.2, 60.7)), Footprint(Box(0, 0, 5, 5), (2.0, 2.5))]
    table = toSourceTable(footprints, makeExposure())
    assert table["x"].tolist() == [50.2, 2.0]
    assert table["y"].tolist() == [60.7, 2.5]


def test_objectsWithASourceAsCandidates():
    class Match:
        def __init__(self, row):
            self.row = row

        def getSource(self):
            return self.row

    rows = Table({"x": [50.0, 70.0], "y": [60.0, 80.0]})
    table = toSourceTable([Match(row) for row in rows], makeExposure())
    assert table["x"].tolist() == [50.0, 70.0]
    assert table["y"].tolist() == [60.0, 80.0]


def test_errorsOfTables():
    sky = Table({"ra": [215.0], "dec": [53.0]})
    with pytest.raises(ValueError, match="sky positions but the science image has no celestial WCS"):
        toSourceTable(sky, makeExposure())
    with pytest.raises(ValueError, match="sky positions but the science image has no celestial WCS"):
        toSourceTable(sky, makeExposure(WCS(naxis=2)))
    with pytest.raises(ValueError, match=r"has the columns x, mag; it needs x and y \(pixels\) or ra and dec"):
        toSourceTable(Table({"x": [1.0], "mag": [20.0]}), makeExposure())


def test_errorsOfArrays():
    for wrong in (np.zeros(4), np.zeros((2, 3)), np.zeros((2, 2, 2)), [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"candidateList has shape .*; an array of positions must be \(N, 2\)"):
            toSourceTable(wrong, makeExposure())


@pytest.mark.parametrize("given", ["stars.csv", 7, {"x": [1], "y": [2]}, {1, 2}, object(), ["a", "b"], [object()]])
def test_errorsOfOtherTypes(given):
    with pytest.raises(TypeError, match=r"candidateList.*give None, a Table, or an"):
        toSourceTable(given, makeExposure())
