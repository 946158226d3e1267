"""Sentences of the reference page on warping, detection and measurement that no other test holds."""

import logging
import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.wcs import WCS
from referencePage import codes, rowsOf

from psfmatch import Box, Exposure, GaussianPsf, ImagePsfMatchTask, InputImagesError, MaskedImage, frontDoorConfig
from psfmatch.config import SourceDetectionConfig
from psfmatch.fit import toSourceTable
from psfmatch.registration import Warper, registerTemplate
from psfmatch.registration.centroids import fitPositions
from psfmatch.registration.warper import _onLattice
from psfmatch.sources import SourceDetectionTask, SourceMeasurementTask

SHAPE = 80, 100
WARPER = Warper()


def wcsAt(ra, dec, angle=0.3):
    """A tangent plane of 0.2 arcsec pixels about the middle of an image of the shape."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [50.0, 40.0]
    c, s = math.cos(angle), math.sin(angle)
    wcs.wcs.cd = 0.2 / 3600.0 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def ones(wcs=None):
    return Exposure(MaskedImage(np.ones(SHAPE), variance=np.ones(SHAPE)), wcs)


# Warping


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.9999, 45.0), (0.001, 90.0), (123.0, -90.0)])
def test_polesAndTheFirstMeridian(ra, dec):
    """Turned about the middle: as much of the field is covered as anywhere else."""
    expected = registerTemplate(ones(wcsAt(80.0, 20.0, 2.0)), ones(wcsAt(80.0, 20.0)), WARPER)
    found = registerTemplate(ones(wcsAt(ra, dec, 2.0)), ones(wcsAt(ra, dec)), WARPER)
    assert np.isfinite(expected.image).mean() > 0.7
    assert abs(np.isfinite(found.image).sum() - np.isfinite(expected.image).sum()) <= 20


@pytest.mark.parametrize(("nBad", "warns"), [(79, False), (81, True)])
def test_coverageBelowNinetyNinePercent(nBad, warns, caplog):
    """Of 8000 pixels; a template that is larger by a pixel on each side is cut."""
    wcs = wcsAt(80.0, 20.0)
    pixels = np.ones(SHAPE)
    pixels.flat[:nBad] = np.nan
    template = Exposure(MaskedImage(np.pad(pixels, 1, constant_values=1.0), xy0=(-1, -1)), wcs)
    with caplog.at_level(logging.WARNING, "psfmatch"):
        registerTemplate(template, ones(wcs), WARPER)
    assert ("The template covers only 99.0 %" in caplog.text) is warns
    with pytest.raises(InputImagesError, match="Input images not registered") as caught:
        registerTemplate(template, ones(wcs), WARPER, doWarping=False)
    counts = caught.value.counts
    assert (counts["templateShape"], counts["scienceShape"]) == ((82, 102), SHAPE)
    assert counts["offsetPix"] == pytest.approx(math.sqrt(2.0), abs=1e-6)


@pytest.mark.parametrize(("amplitude", "isInterpolated"), [(5e-5, True), (1.5e-4, False)])
def test_latticesWithinALimit(amplitude, isInterpolated):
    """Steps between the nodes that are left out: below 1e-4 px they are not followed, above that all nodes are."""

    def transform(x, y):
        return x + amplitude * np.sign(np.sin(x)), y

    nodes = 10.0 * np.arange(103)
    found, exact = _onLattice(transform, nodes, nodes), transform(*np.meshgrid(nodes, nodes))
    assert np.array_equal(found, exact) is not isInterpolated
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-4)


@pytest.mark.parametrize(("side", "nAsked"), [(99, 99**2), (100, None)])
def test_latticesOfTenThousandNodes(side, nAsked):
    calls = []

    def transform(x, y):
        calls.append(np.size(x))
        return 1.01 * x, y

    _onLattice(transform, np.arange(1.0 * side), np.arange(1.0 * side))
    assert sum(calls) == nAsked if nAsked else sum(calls) < 0.2 * side**2


def test_finerPixelsAreAveraged():
    """Columns of +1 and -1: interpolation keeps them where it falls on one, an average over a pixel does not."""
    columns = np.where(np.arange(200) % 2, 1.0, -1.0) * np.ones((200, 1))
    highest = []
    for ratio in (1.24, 1.26):
        warped = WARPER.warpMaskedImage(
            MaskedImage(columns), lambda x, y, r=ratio: (r * x + 20.0, r * y + 20.0), Box(0, 0, 100, 100)
        )
        highest.append(np.nanmax(np.abs(warped.image)) / ratio**2)
    # Of an average over 1.26 columns no more than 1 - 2 * 0.26 / 1.26 is left, but for the kernel's own overshoot.
    assert highest[0] == pytest.approx(1.0, abs=1e-3)
    assert highest[1] < 0.7


def test_whatHasNoValueIsLost():
    pixels = np.full((60, 60), 10.0)
    pixels[20, 20] = np.nan
    warped = WARPER.warpMaskedImage(
        MaskedImage(pixels, variance=np.ones((60, 60))), lambda x, y: (x + 0.3, y + 0.4), Box(3, 3, 50, 50)
    )
    lost = ~np.isfinite(warped.image)
    assert 1 < lost.sum() < 36
    assert np.isposinf(warped.variance[lost]).all()
    np.testing.assert_array_equal(warped.mask.hasAny("NO_DATA"), lost)


def test_frontDoorKeepsCentroidsAndEdges():
    assert frontDoorConfig().kernel.active.warpingConfig.keepCentroids is True
    assert ImagePsfMatchTask.ConfigClass().kernel.active.warpingConfig.keepCentroids is False
    assert "EDGE" not in WARPER.badPlanes
    planes = ImagePsfMatchTask.ConfigClass().kernel.active.badPixelMaskPlanes
    assert set(WARPER.badPlanes) == set(planes) - {"EDGE"}


# Detection and measurement


def star(image, x, y, flux=1e4, sigma=1.6):
    rows, columns = np.indices(image.shape)
    image += flux / (2.0 * math.pi * sigma**2) * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


def field(*stars, shape=(120, 120), psf=None, **profile):
    image = np.random.default_rng(1).normal(0.0, 1.0, shape)
    for x, y, flux in stars:
        star(image, x, y, flux, **profile)
    return Exposure(MaskedImage(image, variance=np.ones(shape)), psf=psf)


def detected(exposure, **fields):
    config = SourceDetectionTask.ConfigClass()
    config.update(thresholdValue=5.0, minPixels=3, **fields)
    return SourceDetectionTask(config=config).run(exposure.maskedImage, 1.6).sources


def nearest(sources, x, y):
    return sources[np.argmin(np.hypot(sources["x"] - x, sources["y"] - y))]


def test_flagsAndFootprintsOfSources():
    """1 blend, 2 border, 8 pixels on a line; one row for each peak, with the number of the footprint."""
    sources = detected(field((30.0, 30.0, 1e4), (80.0, 80.0, 1e4), (86.5, 80.0, 8e3)))
    assert len(sources) == 3
    alone, one, other = (nearest(sources, *place) for place in ((30, 30), (80, 80), (86.5, 80)))
    assert (alone["flags"], one["flags"], other["flags"]) == (0, 1, 1)
    assert one["footprint"] == other["footprint"] != alone["footprint"]
    assert list(sources["flux"]) == sorted(sources["flux"], reverse=True)


@pytest.mark.parametrize("doSmooth", [True, False])
def test_flagsOfTheBorderAndOfLines(doSmooth):
    """A source cut by the border of what is searched has flag 2, one on a line 8 where nothing widens it."""
    exposure = field((60.0, 3.0, 1e4), (20.0, 40.0, 1e4))
    exposure.image[80, 30:90] += 100.0
    task = SourceDetectionTask(config=SourceDetectionConfig())
    sources = task.run(exposure.maskedImage, 1.6, doSmooth=doSmooth).sources
    assert nearest(sources, 60.0, 5.0)["flags"] & 2 == 2
    assert nearest(sources, 20.0, 40.0)["flags"] == 0
    assert nearest(sources, 60.0, 80.0)["flags"] & 8 == (0 if doSmooth else 8)


def measured(exposure, x, y):
    table = detected(exposure)["x", "y"][:1]
    table["x"], table["y"] = [x], [y]
    return SourceMeasurementTask().run(table, exposure)[0]


@pytest.mark.parametrize(("nRows", "isKnown"), [(4, True), (5, False)])
def test_fluxesWithBadPixels(nRows, isKnown):
    """Bad pixels that hold 8 % of sum(P^2) do not matter to the flux of the PSF; 32 % make it NaN."""
    exposure = field((50.0, 40.0, 1e4), psf=GaussianPsf(1.6))
    exposure.mask[35 : 35 + nRows, 40:60] = exposure.mask.getPlaneBitMask("BAD")
    row = measured(exposure, 50.0, 40.0)
    # Noise 1: sqrt(4 pi) sigma = 5.7 counts.
    assert row["psfFlux"] == pytest.approx(1e4 if isKnown else math.nan, abs=25.0, nan_ok=True)
    # The width is measured with it, which makes the noise half as large again.
    assert row["gaussianFlux"] == pytest.approx(1e4 if isKnown else math.nan, abs=40.0, nan_ok=True)


def test_starAtTheBorderIsToldByFlagEdge():
    """Smoothing ends half a kernel from the border: what is found of a star in it is a part of it."""
    exposure = field((60.0, 0.0, 1e4), (20.0, 0.0, 1e4), (60.0, 60.0, 1e4), psf=GaussianPsf(1.6))
    sources = ImagePsfMatchTask().getSelectSources(exposure)
    cut, whole = (nearest(sources, 60.0, y) for y in (5.0, 60.0))
    assert cut["y"] > 4.0
    assert (cut["flagEdge"], cut["flags"] & 2) == (True, 2)
    assert (whole["flagEdge"], whole["flags"]) == (False, 0)
    # Who needs places looks at the pixels again, and finds none there.
    x, *_ = fitPositions(exposure.maskedImage, (), sources["x"], sources["y"], 3.77)
    assert list(np.isnan(x)) == list(sources["flagEdge"])


def test_fluxesWithoutAPsfAreThoseOfTheGivenSigma():
    exposure = field((60.0, 60.0, 2e4), sigma=2.5)
    fluxes = {}
    for sigma in (None, 2.5):
        sources = ImagePsfMatchTask().getSelectSources(exposure, sigma=sigma)
        fluxes[sigma] = nearest(sources, 60.0, 60.0)["psfFlux"]
    assert fluxes[2.5] == pytest.approx(2e4, rel=5e-3)
    assert fluxes[None] < 0.9 * fluxes[2.5]


def test_catalogueIsATableWithTheNamedColumns():
    sources = ImagePsfMatchTask().getSelectSources(field((60.0, 60.0, 2e4), psf=GaussianPsf(1.6)))
    rows = rowsOf("Candidates, detection and measurement")
    named = " ".join(row.cells[1] for row in rows if row.cells[0].startswith("-"))
    names = set(" ".join(codes(named)).split()) - {"Centre"}
    flags = {name for name in names if name.startswith("flag") and name != "flags"}
    assert len(flags) == 7
    assert set(sources.colnames) == names | {f"{flag}Centre" for flag in flags}


# Catalogues


def skyTable(wcs):
    """Two places, and their sky positions in degrees."""
    x, y = np.array([20.0, 60.0]), np.array([30.0, 50.0])
    return x, y, *wcs.all_pix2world(x, y, 0)


@pytest.mark.parametrize(
    "form",
    ["x", "X", "ra", "ra hours", "RA", "coord_ra", "coord_ra degrees", "SkyCoord", "structured", "QTable", "row"],
)
def test_columnsByTheFirstRule(form):
    """Pixels come before the sky, ra before coord_ra; degrees without a unit but for LSST's radians."""
    wcs = wcsAt(80.0, 20.0)
    x, y, ra, dec = skyTable(wcs)
    wrong = {"ra": [1.0, 2.0], "dec": [3.0, 4.0]}
    radians = {"coord_ra": np.radians(ra), "coord_dec": np.radians(dec)}
    table = {
        "x": Table({"x": x, "y": y, **wrong}),
        "X": Table({"X": x, "Y": y, **wrong}),
        "ra": Table({"ra": ra, "dec": dec, "coord_ra": [0.1, 0.2], "coord_dec": [0.1, 0.2]}),
        "ra hours": Table({"ra": ra / 15.0 * units.hourangle, "dec": dec * units.deg}),
        "RA": Table({"RA": ra, "DEC": dec}),
        "coord_ra": Table(radians),
        "coord_ra degrees": Table({"coord_ra": ra * units.deg, "coord_dec": dec * units.deg}),
        "SkyCoord": Table({"where": SkyCoord(ra, dec, unit="deg").galactic}),
        "structured": Table({"x": x, "y": y}).as_array(),
        "QTable": QTable({"ra": ra * units.deg, "dec": dec * units.deg}),
        "row": list(Table({"x": x, "y": y})),
    }[form]
    found = toSourceTable(table, ones(wcs))
    # Columns keep their names where they are pixels already; 1e-12 degrees of rounding are 1e-8 px.
    for name, expected in (("x", x), ("y", y)):
        column = name.upper() if form == "X" else name
        np.testing.assert_allclose(found[column], expected, rtol=0, atol=1e-6)
