"""Whether two exposures lie on one pixel grid, and what is done and said if not."""

import logging
import math

import numpy as np
import pytest
from astropy.wcs import WCS, Sip

from psfmatch.errors import InputImagesError
from psfmatch.images import Exposure, MaskedImage
from psfmatch.registration import Warper
from psfmatch.registration.grids import MAX_OFFSET_PIX, compareGrids, registerTemplate

ARCSEC = 1.0 / 3600.0


def makeWcs(shift=(0.0, 0.0), scale=0.2, angle=0.0, centre=(215.0, 53.0), middle=(50.0, 40.0)):
    """TAN projection; sky and pixels move against each other by `shift` pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = centre
    wcs.wcs.crpix = [middle[0] + 1 + shift[0], middle[1] + 1 + shift[1]]
    c, s = math.cos(angle), math.sin(angle)
    wcs.wcs.cd = scale * ARCSEC * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def makeExposure(wcs=None, shape=(80, 100), xy0=(0, 0)):
    return Exposure(MaskedImage(np.zeros(shape), xy0=xy0), wcs=wcs)


WARPER = Warper()


def register(template, science, doWarping=True):
    return registerTemplate(template, science, WARPER, doWarping)


def requireRegistered(template, science):
    """Nothing to do, so that it may be forbidden."""
    assert register(template, science, doWarping=False) is template


def test_equalWcs():
    exposures = makeExposure(makeWcs()), makeExposure(makeWcs())
    requireRegistered(*exposures)
    comparison = compareGrids(*exposures)
    # There and back through the projection.
    assert comparison.maxOffsetPix < 1e-6
    assert comparison.isRegistered
    assert comparison.overlap


def test_equalGridsInOtherWords():
    # The same projection with its reference pixel elsewhere on the grid.
    wcs = makeWcs()
    other = makeWcs(middle=(50.0, 40.0))
    other.wcs.crpix = [1.0, 1.0]
    other.wcs.crval = wcs.all_pix2world([[0.0, 0.0]], 0)[0]
    other.wcs.set()
    # 50 px of 0.2 arcsec: the tangent planes differ by rotation of 10 arcsec * tan(53 deg) = 6e-5, over 100 px.
    assert compareGrids(makeExposure(wcs), makeExposure(other)).maxOffsetPix < MAX_OFFSET_PIX
    requireRegistered(makeExposure(wcs), makeExposure(other))


@pytest.mark.parametrize("shift", [(1.0, 0.0), (-3.5, 2.25), (0.0, 0.02), (70.0, 60.0)])
def test_shiftedWcsIsMeasuredInPixels(shift, caplog):
    template, science = makeExposure(makeWcs(shift)), makeExposure(makeWcs())
    distance = math.hypot(*shift)
    comparison = compareGrids(template, science)
    assert comparison.maxOffsetPix == pytest.approx(distance, abs=1e-4)
    assert comparison.shift == ((1, 0) if shift == (1.0, 0.0) else (70, 60) if shift == (70.0, 60.0) else None)
    with pytest.raises(
        InputImagesError,
        match=rf"not registered: their pixels differ by up to {distance:.2f} pixels and doWarping is .*wcs=None",
    ) as caught:
        register(template, science, doWarping=False)
    assert caught.value.offsetPix == pytest.approx(distance, abs=1e-4)
    assert [r.levelname for r in caplog.records] == ["ERROR"]


def test_smallOffsetsDoNotCount():
    requireRegistered(makeExposure(makeWcs((0.008, 0.0))), makeExposure(makeWcs()))
    with pytest.raises(InputImagesError, match=r"0\.01 pixels"):
        register(makeExposure(makeWcs((0.012, 0.0))), makeExposure(makeWcs()), doWarping=False)


def test_scaleAndRotationShowAtTheCorners():
    science = makeExposure(makeWcs(middle=(49.5, 39.5)))
    corner = math.hypot(50.0, 40.0)
    # In pixels of the template, the first of which are larger.
    for fields, expected in (
        ({"scale": 0.201}, 0.005 / 1.005 * corner),
        ({"angle": 0.01}, 2 * math.sin(0.005) * corner),
    ):
        template = makeExposure(makeWcs(middle=(49.5, 39.5), **fields))
        # The projection bends 64 px of 0.2 arcsec by 1e-9.
        assert compareGrids(template, science).maxOffsetPix == pytest.approx(expected, rel=1e-5)
        assert compareGrids(template, science).shift is None


def test_distortionShowsInTheMiddle():
    """WCSs that agree at the corners but not between them are not equal."""
    science = makeExposure(makeWcs(middle=(49.5, 39.5)))
    bent = makeWcs(middle=(49.5, 39.5))
    bent.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a = np.zeros((3, 3))
    # No shift along the left and right border, half a pixel in the middle.
    a[0, 0], a[2, 0] = 0.5, -0.5 / 50.0**2
    bent.sip = Sip(a, np.zeros((3, 3)), None, None, bent.wcs.crpix)
    bent.wcs.set()
    assert compareGrids(makeExposure(bent), science).maxOffsetPix == pytest.approx(0.5, abs=0.01)


def test_partsOfOneGrid():
    # One WCS holds for all parts of an image; their origins tell them apart.
    wcs = makeWcs()
    requireRegistered(makeExposure(wcs, xy0=(200, 300)), makeExposure(wcs, xy0=(200, 300)))
    comparison = compareGrids(makeExposure(wcs, xy0=(3, 4)), makeExposure(wcs))
    assert comparison.maxOffsetPix == pytest.approx(5.0, abs=1e-4)
    assert comparison.shift == (-3, -4)
    assert not comparison.isRegistered
    # An origin that the WCS makes up for.
    moved = makeExposure(makeWcs((30.0, -20.0)), xy0=(30, -20))
    requireRegistered(moved, makeExposure(wcs))


def test_largerTemplateOnOneGridIsCut(caplog):
    wcs = makeWcs()
    generator = np.random.default_rng(2)
    pixels = MaskedImage(generator.normal(size=(120, 150)), variance=generator.random((120, 150)), xy0=(-20, -10))
    pixels.mask[30, 40] = 3
    template, science = Exposure(pixels, wcs, filter="R"), makeExposure(makeWcs())
    with caplog.at_level(logging.INFO):
        cut = register(template, science)
    expected = template.subset(science.getBBox())
    np.testing.assert_array_equal(cut.image, expected.image)
    np.testing.assert_array_equal(cut.variance, expected.variance)
    np.testing.assert_array_equal(np.asarray(cut.mask), np.asarray(expected.mask))
    assert cut.getBBox() == science.getBBox()
    assert cut.filter == "R"
    assert "Astrometrically registering template to science image" in caplog.messages
    with pytest.raises(InputImagesError, match="not registered: template 150x120, science 100x80 pixels and doWarping"):
        register(template, science, doWarping=False)


def test_partialCoverageIsAnnounced(caplog):
    template = makeExposure(makeWcs((-50.3, 0.2)))
    with caplog.at_level(logging.WARNING):
        warped = register(template, makeExposure(makeWcs()))
    finite = np.isfinite(warped.image)
    message = (
        f"The template covers only {100 * finite.mean():.1f} % of the science image ({finite.sum()} of 8000 pixels)"
    )
    assert message in caplog.text
    assert 0.4 < finite.mean() < 0.5


@pytest.mark.parametrize("shift", [(0.5, 0.0), (1.0, 0.0)], ids=["warped", "cut"])
def test_nothingUsable(shift):
    template = Exposure(MaskedImage(np.full((80, 100), np.nan)), makeWcs(shift))
    with pytest.raises(InputImagesError, match="none of 8000 science pixels lies on a finite pixel") as caught:
        register(template, makeExposure(makeWcs()))
    assert (caught.value.nUsable, caught.value.nPixels, caught.value.nTemplateFinite) == (0, 8000, 0)


def test_templateOfOnePixel():
    with pytest.raises(InputImagesError, match="template of 1x1 pixels"):
        register(makeExposure(makeWcs((0.5, 0.0)), shape=(1, 1)), makeExposure(makeWcs()))


@pytest.mark.parametrize(
    "fields",
    [
        {"centre": (215.0, 54.0)},
        {"centre": (35.0, -53.0)},
        {"centre": (125.0, 0.0)},
        {"shift": (1000.0, 0.0)},
        {"shift": (0.0, 130.0)},
        {"shift": (100.5, 0.0)},
    ],
    ids=[
        "a degree away",
        "the other side of the sky",
        "90 degrees away",
        "ten widths away",
        "a height and a half",
        "side",
    ],
)
@pytest.mark.parametrize("doWarping", [True, False])
def test_imagesThatDoNotOverlap(fields, doWarping):
    template, science = makeExposure(makeWcs(**fields)), makeExposure(makeWcs())
    with pytest.raises(InputImagesError, match="Input images do not overlap at all") as caught:
        register(template, science, doWarping)
    assert "inf pixels" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"scale": 2.0}, {"angle": math.pi}, {"angle": math.pi, "scale": 0.3}, {"shift": (90.0, 70.0)}]
)
def test_imagesThatOverlap(fields):
    # A coarse image that holds all of the other one overlaps with it, far apart as their corners are.
    template, science = makeExposure(makeWcs(**fields)), makeExposure(makeWcs())
    for pair in ((template, science), (science, template)):
        assert np.isfinite(register(*pair).image).any()


def test_differentShapes():
    for pair in ((None, None), (None, makeWcs()), (makeWcs(), WCS(naxis=2))):
        with pytest.raises(
            InputImagesError, match=r"different size: template 100x80, science 90x70 pixels \(width x height\)"
        ) as caught:
            register(makeExposure(pair[0]), makeExposure(pair[1], shape=(70, 90)))
        assert caught.value.templateShape == (80, 100)
        assert caught.value.scienceShape == (70, 90)


@pytest.mark.parametrize(
    ("templateWcs", "scienceWcs", "missing"),
    [
        (None, None, "either image"),
        (WCS(naxis=2), None, "either image"),
        (None, makeWcs(), "the template"),
        (makeWcs(), None, "the science image"),
    ],
)
def test_missingWcsMeansRegistered(caplog, templateWcs, scienceWcs, missing):
    template, science = makeExposure(templateWcs), makeExposure(scienceWcs)
    with caplog.at_level(logging.INFO, "psfmatch.registration"):
        requireRegistered(template, science)
    assert compareGrids(template, science) is None
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", f"No celestial WCS on {missing}: equal shapes are taken as registered pixel for pixel")
    ]


def test_originsWithoutAWcs(caplog):
    template, science = makeExposure(xy0=(10, 20)), makeExposure(makeWcs())
    with caplog.at_level(logging.INFO, "psfmatch.registration"):
        requireRegistered(template, science)
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"]
    assert "xy0 of template (10, 20) and science image (0, 0) differ without a WCS" in caplog.text


def test_nothingToSayWithBothWcs(caplog):
    template, science = makeExposure(makeWcs((10, 20)), xy0=(10, 20)), makeExposure(makeWcs())
    with caplog.at_level(logging.DEBUG, "psfmatch.registration"):
        requireRegistered(template, science)
    assert caplog.records == []


def test_wcsThatCannotBeUsed():
    broken = makeWcs()
    broken.wcs.cd = np.zeros((2, 2))
    for pair in (
        (makeExposure(broken), makeExposure(makeWcs())),
        (makeExposure(makeWcs()), makeExposure(broken)),
    ):
        with pytest.raises(InputImagesError, match=r"a WCS cannot be used \(.*singular.*wcs=None"):
            register(*pair)


@pytest.mark.parametrize("isScience", [True, False])
def test_onlyWcsThatCannotBeUsed(isScience):
    """Without a partner it is not compared, but a catalogue would be made with it."""
    broken = makeWcs()
    broken.wcs.cd = np.zeros((2, 2))
    pair = [makeExposure(None), makeExposure(broken)]
    with pytest.raises(InputImagesError, match=r"a WCS cannot be used \(.*singular"):
        register(*(pair if isScience else pair[::-1]))
