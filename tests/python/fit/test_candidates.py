"""Lists of candidates as callers have them."""

import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table, vstack
from astropy.wcs import WCS, Sip

from psfmatch.errors import InputImagesError, NoKernelCandidatesError
from psfmatch.fit import toSourceTable
from psfmatch.fit.candidates.selection import StampRules, makeCandidateList
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.sources import Footprint, FootprintSet


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
    for wrong in (np.zeros((2, 3)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=r"candidateList has shape .*; an array of positions must be \(N, 2\)"):
            toSourceTable(wrong, makeExposure())
    for numbers in (np.zeros(4), [1.0, 2.0], [1, 2]):
        with pytest.raises(TypeError, match=r"a list of numbers, where each source needs two, as in \[\(x, y\), ...\]"):
            toSourceTable(numbers, makeExposure())


def test_images():
    """Stamps stand for what lies in their middle."""
    stamps = [MaskedImage(np.zeros((7, 5)), xy0=(10, 20)), MaskedImage(np.zeros((6, 8)), xy0=(-3, 4))]
    for given in (stamps, [Exposure(stamp) for stamp in stamps], [stamp.getBBox() for stamp in stamps]):
        table = toSourceTable(given, makeExposure())
        assert table["x"].tolist() == [12.0, 0.5]
        assert table["y"].tolist() == [23.0, 6.5]


@pytest.mark.parametrize("given", ["stars.csv", 7, {"x": [1], "y": [2]}, {1, 2}, object(), ["a", "b"], [object()]])
def test_errorsOfOtherTypes(given):
    with pytest.raises(TypeError, match=r"candidateList.*give None, a Table, or an"):
        toSourceTable(given, makeExposure())


X, Y = np.array([10.0, 75.5, 149.0]), np.array([3.25, 60.0, 118.0])


def skyForms():
    """The positions X, Y as callers may have them on the sky, by name."""
    ra, dec = makeWcs().all_pix2world(X, Y, 0)
    # The WCS counts in ICRS, as it names no other system.
    sky = SkyCoord(ra, dec, unit="deg")
    degrees = Table({"ra": ra, "dec": dec})
    radians = np.radians([ra, dec])
    return {
        "degrees": degrees,
        "upper case": Table({"RA": ra, "DEC": dec}),
        "column unit": Table([Column(radians[0], "ra", unit="rad"), Column(3600.0 * dec, "dec", unit="arcsec")]),
        "quantities": QTable({"ra": (ra / 15.0) * units.hourangle, "dec": dec * units.deg}),
        "radians": Table({"coord_ra": radians[0], "coord_dec": radians[1]}),
        "degrees of LSST": Table([Column(ra, "coord_ra", unit="deg"), Column(dec, "coord_dec", unit="deg")]),
        "SkyCoord column": Table({"name": ["a", "b", "c"], "position": sky}),
        "SkyCoord": sky,
        "galactic": sky.galactic,
        "list of SkyCoord": list(sky),
        "list of galactic": list(sky.galactic),
        "rows": list(degrees),
        "structured": np.array(list(zip(ra, dec, strict=True)), dtype=[("ra", "f8"), ("dec", "f8")]),
    }


@pytest.mark.parametrize("name", skyForms())
def test_formsOfSkyPositions(name):
    found = toSourceTable(skyForms()[name], makeExposure(makeWcs(), xy0=(7, 9)))
    # FK5 to ICRS and back, and radians in float64: 1e-9 degrees are 2e-5 px.
    np.testing.assert_allclose(found["x"], X, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["y"], Y, rtol=0, atol=1e-4)


def test_otherColumnsStay():
    found = toSourceTable(skyForms()["SkyCoord column"], makeExposure(makeWcs()))
    assert found.colnames == ["name", "position", "x", "y"]


def test_oneSkyCoord():
    assert len(toSourceTable(SkyCoord(215.0, 53.0, unit="deg"), makeExposure(makeWcs()))) == 1


def test_galacticWcs():
    wcs = makeWcs()
    wcs.wcs.ctype, wcs.wcs.crval = ["GLON-TAN", "GLAT-TAN"], [100.0, 60.0]
    wcs.wcs.set()
    icrs = SkyCoord(100.0, 60.0, unit="deg", frame="galactic").icrs
    for given_ in (Table({"ra": [icrs.ra.deg], "dec": [icrs.dec.deg]}), icrs, icrs.galactic):
        found = toSourceTable(given_, makeExposure(wcs))
        assert (found["x"][0], found["y"][0]) == pytest.approx((100.0, 80.0), abs=1e-5)


class Source:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def getX(self):
        return self.x

    def getY(self):
        return self.y


class Measured:
    """Has a centroid in one of three forms."""

    def __init__(self, centroid):
        self.centroid = centroid

    def getCentroid(self):
        return self.centroid


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Match:
    def __init__(self, source):
        self.source = source

    def getSource(self):
        return self.source


PIXELS = [(50.25, 60.5), (70.0, 80.0)]


def pixelForms():
    table = Table(rows=PIXELS, names=("x", "y"))
    return {
        "table": table,
        "upper case": Table(rows=PIXELS, names=("X", "Y")),
        "with a unit": QTable({"x": [50.25, 70.0] * units.pix, "y": [60.5, 80.0] * units.pix}),
        "structured": np.array(PIXELS, dtype=[("x", "f4"), ("y", ">f8")]),
        "array": np.array(PIXELS),
        "masked array": np.ma.array(PIXELS),
        "rows": list(table),
        "rows of two tables": [table[0], Table(table)[1]],
        "pairs": [np.array(PIXELS[0]), list(PIXELS[1])],
        "footprints": [Footprint(Box(0, 0, 5, 5), pixel) for pixel in PIXELS],
        "sources": [Source(*pixel) for pixel in PIXELS],
        "centroids": [Measured(pixel) for pixel in PIXELS],
        "points": [Measured(Point(*pixel)) for pixel in PIXELS],
        "points with getX": [Measured(Source(*pixel)) for pixel in PIXELS],
        "matches of sources": tuple(Match(Source(*pixel)) for pixel in PIXELS),
        "matches of rows": [Match(row) for row in table],
        "matches of footprints": [Match(Footprint(Box(0, 0, 5, 5), pixel)) for pixel in PIXELS],
        "matches of matches": [Match(Match(Source(*pixel))) for pixel in PIXELS],
        "dicts": [{"source": None, "footprint": Footprint(Box(0, 0, 5, 5), pixel)} for pixel in PIXELS],
    }


@pytest.mark.parametrize("name", pixelForms())
def test_formsOfPixelPositions(name):
    found = toSourceTable(pixelForms()[name], makeExposure())
    assert [tuple(pair) for pair in zip(found["x"], found["y"], strict=True)] == PIXELS


def test_sourcesComeAlong():
    sources = [Source(*pixel) for pixel in PIXELS]
    table = toSourceTable([Match(source) for source in sources], makeExposure())
    assert list(table["source"]) == sources
    image = makeExposure().maskedImage
    candidates, _ = makeCandidateList(image, image, table, StampRules(10, 11, ("BAD",), 0.1))
    assert [candidate["source"]["source"] for candidate in candidates] == sources


def test_rowsKeepTheirColumns():
    table = Table({"x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0], "mag": [20.0, 21.0, 22.0]})
    assert toSourceTable([table[2], table[0]], makeExposure())["mag"].tolist() == [22.0, 20.0]
    assert toSourceTable(table[1], makeExposure())["mag"].tolist() == [21.0]
    both = toSourceTable([table[2], vstack([table, table])[4]], makeExposure())
    assert both["mag"].tolist() == [22.0, 21.0]


def test_footprintSet():
    isInside = np.zeros((120, 150), dtype=bool)
    isInside[20:23, 30:35] = True
    found = toSourceTable(FootprintSet.fromPixels(isInside), makeExposure())
    assert (found["x"][0], found["y"][0]) == (32.0, 21.0)


def test_missingPositionsAreCountedAndDropped():
    image = makeExposure().maskedImage
    masked = Table({"x": MaskedColumn([60, 70, 80], mask=[False, True, False]), "y": [60, 60, 60]})
    quantity = QTable({"x": [60.0, np.nan, 80.0] * units.pix, "y": [60.0, 60.0, 60.0] * units.pix})
    for given_ in (
        masked,
        quantity,
        [(60, 60), (np.nan, 60), (80, 60)],
        np.ma.masked_invalid([[60, 60], [np.nan, 1], [80, 60]]),
    ):
        table = toSourceTable(given_, makeExposure())
        assert np.isnan(table["x"]).tolist() == [False, True, False]
        candidates, rejected = makeCandidateList(image, image, table, StampRules(10, 11, ("BAD",), 0.1))
        assert len(candidates) == 2
        assert rejected == {"without a finite position": 1}
    assert masked["x"].mask.tolist() == [False, True, False]
    sky = Table({"ra": MaskedColumn([215.0, 215.0], mask=[True, False]), "dec": [53.0, 53.0]})
    assert np.isnan(toSourceTable(sky, makeExposure(makeWcs()))["x"]).tolist() == [True, False]
    with pytest.raises(NoKernelCandidatesError, match="of 1 sources 1 without a finite position"):
        makeCandidateList(image, image, toSourceTable([(np.nan, np.nan)], makeExposure()), StampRules(10, 11, (), 0.1))


def test_emptyForms():
    nothing = Table({"x": [], "y": []})
    for given_ in (nothing, nothing["x", "y"], SkyCoord([], [], unit="deg"), [], np.zeros((0, 2))):
        assert len(toSourceTable(given_, makeExposure(makeWcs()))) == 0


def test_typesMustAgree():
    footprint = Footprint(Box(0, 0, 5, 5), (2.0, 2.0))
    with pytest.raises(TypeError, match="elements of different types, Footprint, Source; all must have one type"):
        toSourceTable([Source(1, 2), footprint], makeExposure())
    with pytest.raises(TypeError, match="elements of different types, Footprint, Source"):
        toSourceTable([Match(Source(1, 2)), Match(footprint)], makeExposure())
    with pytest.raises(TypeError, match="elements of different types, Source, tuple"):
        toSourceTable([Source(1, 2), (3.0, 4.0)], makeExposure())
    with pytest.raises(TypeError, match=r"list of Point, of which 2 have no position.*getSource\(\)"):
        toSourceTable([Point(1, 2), Point(3, 4)], makeExposure())
    with pytest.raises(TypeError, match="SkyCoords with several positions each"):
        toSourceTable([SkyCoord([1.0, 2.0], [1.0, 2.0], unit="deg")], makeExposure(makeWcs()))


@pytest.mark.parametrize("centroid", [(1.0, 2.0, 3.0), "ab", ("a", "b"), None, 7])
def test_centroidsThatAreNone(centroid):
    class Strange:
        def getCentroid(self):
            return centroid

    with pytest.raises(TypeError, match="list of Strange, of which 1 have no position"):
        toSourceTable([Strange()], makeExposure())


def test_skyByAWcsThatCannotBeUsed():
    wcs = makeWcs()
    wcs.wcs.cdelt = [0.0, 0.0]
    with pytest.raises(InputImagesError, match=r"a WCS cannot be used \(.*singular"):
        toSourceTable(Table({"ra": [150.0], "dec": [2.0]}), makeExposure(wcs))


def test_columnsMustBeNumbers():
    for column in (["a", "b"], [[1.0, 2.0], [3.0, 4.0]], [1j, 2j], [None, None], [True, False]):
        with pytest.raises(ValueError, match=r"column x of candidateList has type .*; one number per row"):
            toSourceTable(Table({"x": column, "y": [1.0, 2.0]}), makeExposure())
    with pytest.raises(ValueError, match=r"column ra of candidateList has type .*; one number per row"):
        toSourceTable(Table({"ra": ["12:30:00"], "dec": ["-5:00:00"]}), makeExposure(makeWcs()))
    with pytest.raises(ValueError, match="column x of candidateList has the unit deg, not one of pix"):
        toSourceTable(Table([Column([1.0], "x", unit="deg"), Column([1.0], "y", unit="deg")]), makeExposure())
    with pytest.raises(ValueError, match="column ra of candidateList has the unit pix, not one of deg"):
        toSourceTable(QTable({"ra": [1.0] * units.pix, "dec": [1.0] * units.pix}), makeExposure(makeWcs()))


def test_hugeTable():
    n = 300_000
    rng = np.random.default_rng(0)
    table = Table({"ra": rng.uniform(0.0, 360.0, n), "dec": np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))})
    table["ra"][0], table["dec"][0] = 215.0, 53.0
    image = makeExposure().maskedImage
    candidates, rejected = makeCandidateList(
        image, image, toSourceTable(table, makeExposure(makeWcs())), StampRules(10, 11, ("BAD",), 0.1)
    )
    assert [candidate["footprint"].centroid for candidate in candidates] == [pytest.approx((100.0, 80.0), abs=1e-6)]
    assert sum(rejected.values()) == n - 1


def test_sourceThatIsItsOwnWrapper():
    class Wrapper:
        def getSource(self):
            return self

    with pytest.raises(TypeError, match="gives itself"):
        toSourceTable([Wrapper()], Exposure(MaskedImage(np.zeros((9, 9)))))
