"""Whether two exposures lie on one pixel grid, and what is said if not."""

import logging
import math

import numpy as np
import pytest
from astropy.wcs import WCS

from psfmatch.errors import InputImagesError
from psfmatch.exposure import Exposure, MaskedImage
from psfmatch.registration import MAX_OFFSET_PIX, cornerOffsetPix, logAssumptions, requireRegistered

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


def test_equalWcs():
    exposures = makeExposure(makeWcs()), makeExposure(makeWcs())
    requireRegistered(*exposures)
    # There and back through the projection.
    assert cornerOffsetPix(*exposures) < 1e-6


def test_equalGridsInOtherWords():
    # The same projection with its reference pixel elsewhere on the grid.
    wcs = makeWcs()
    other = makeWcs(middle=(50.0, 40.0))
    other.wcs.crpix = [1.0, 1.0]
    other.wcs.crval = wcs.all_pix2world([[0.0, 0.0]], 0)[0]
    other.wcs.set()
    # 50 px of 0.2 arcsec: the tangent planes differ by rotation of 10 arcsec * tan(53 deg) = 6e-5, over 100 px.
    assert cornerOffsetPix(makeExposure(wcs), makeExposure(other)) < MAX_OFFSET_PIX
    requireRegistered(makeExposure(wcs), makeExposure(other))


@pytest.mark.parametrize("shift", [(1.0, 0.0), (-3.5, 2.25), (0.0, 0.02), (70.0, 60.0)])
@pytest.mark.parametrize("doWarping", [True, False])
def test_shiftedWcsIsMeasuredInPixels(shift, doWarping):
    template, science = makeExposure(makeWcs(shift)), makeExposure(makeWcs())
    distance = math.hypot(*shift)
    assert cornerOffsetPix(template, science) == pytest.approx(distance, abs=1e-4)
    with pytest.raises(
        InputImagesError, match=rf"not registered: their corners differ by up to {distance:.2f} pixels.*--ignore-wcs"
    ) as caught:
        requireRegistered(template, science, doWarping)
    assert caught.value.offsetPix == pytest.approx(distance, abs=1e-4)
    assert ("doWarping is False" in str(caught.value)) == (not doWarping)


def test_smallOffsetsDoNotCount():
    requireRegistered(makeExposure(makeWcs((0.008, 0.0))), makeExposure(makeWcs()))
    with pytest.raises(InputImagesError, match=r"0\.01 pixels"):
        requireRegistered(makeExposure(makeWcs((0.012, 0.0))), makeExposure(makeWcs()))


def test_scaleAndRotationShowAtTheCorners():
    science = makeExposure(makeWcs(middle=(49.5, 39.5)))
    corner = math.hypot(50.0, 40.0)
    for fields, expected in (({"scale": 0.201}, 0.005 * corner), ({"angle": 0.01}, 2 * math.sin(0.005) * corner)):
        template = makeExposure(makeWcs(middle=(49.5, 39.5), **fields))
        # The projection bends 64 px of 0.2 arcsec by 1e-9.
        assert cornerOffsetPix(template, science) == pytest.approx(expected, rel=1e-5)
        with pytest.raises(InputImagesError, match="not registered"):
            requireRegistered(template, science)


def test_partsOfOneGrid():
    # One WCS holds for all parts of an image; their origins tell them apart.
    wcs = makeWcs()
    requireRegistered(makeExposure(wcs, xy0=(200, 300)), makeExposure(wcs, xy0=(200, 300)))
    assert cornerOffsetPix(makeExposure(wcs, xy0=(3, 4)), makeExposure(wcs)) == pytest.approx(5.0, abs=1e-4)
    with pytest.raises(InputImagesError, match=r"differ by up to 5\.00 pixels"):
        requireRegistered(makeExposure(wcs, xy0=(3, 4)), makeExposure(wcs))
    # An origin that the WCS makes up for.
    moved = makeExposure(makeWcs((30.0, -20.0)), xy0=(30, -20))
    requireRegistered(moved, makeExposure(wcs))
    assert cornerOffsetPix(moved, makeExposure(wcs)) < 1e-6


@pytest.mark.parametrize(
    "fields",
    [
        {"centre": (215.0, 54.0)},
        {"centre": (35.0, -53.0)},
        {"centre": (125.0, 0.0)},
        {"shift": (1000.0, 0.0)},
        {"shift": (0.0, 130.0)},
    ],
    ids=["a degree away", "the other side of the sky", "90 degrees away", "ten widths away", "a height and a half"],
)
def test_imagesThatDoNotOverlap(fields):
    template, science = makeExposure(makeWcs(**fields)), makeExposure(makeWcs())
    with pytest.raises(InputImagesError, match="Input images do not overlap at all"):
        requireRegistered(template, science)


@pytest.mark.parametrize(
    "fields", [{"scale": 2.0}, {"angle": math.pi}, {"angle": math.pi, "scale": 0.3}, {"shift": (90.0, 70.0)}]
)
def test_imagesThatOverlap(fields):
    # A coarse image that holds all of the other one overlaps with it, far apart as their corners are.
    template, science = makeExposure(makeWcs(**fields)), makeExposure(makeWcs())
    for pair in ((template, science), (science, template)):
        with pytest.raises(InputImagesError, match="Input images not registered"):
            requireRegistered(*pair)


def test_differentShapes():
    for wcs in (None, makeWcs()):
        with pytest.raises(
            InputImagesError, match=r"different size: template 100x80, science 90x70 pixels \(width x height\)"
        ) as caught:
            requireRegistered(makeExposure(wcs), makeExposure(wcs, shape=(70, 90)))
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
        logAssumptions(template, science)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", f"No celestial WCS on {missing}: equal shapes are taken as registered pixel for pixel")
    ]


def test_originsWithoutAWcs(caplog):
    template, science = makeExposure(xy0=(10, 20)), makeExposure(makeWcs())
    with caplog.at_level(logging.INFO, "psfmatch.registration"):
        requireRegistered(template, science)
        logAssumptions(template, science)
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"]
    assert "xy0 of template (10, 20) and science image (0, 0) differ without a WCS" in caplog.text


def test_nothingToSayWithBothWcs(caplog):
    template, science = makeExposure(makeWcs((10, 20)), xy0=(10, 20)), makeExposure(makeWcs())
    with caplog.at_level(logging.DEBUG, "psfmatch.registration"):
        requireRegistered(template, science)
        logAssumptions(template, science)
    assert caplog.records == []


def test_wcsThatCannotBeUsed():
    broken = makeWcs()
    broken.wcs.cd = np.zeros((2, 2))
    for pair in (
        (makeExposure(broken), makeExposure(makeWcs())),
        (makeExposure(makeWcs()), makeExposure(broken)),
    ):
        with pytest.raises(InputImagesError, match=r"a WCS cannot be used \(.*--ignore-wcs"):
            requireRegistered(*pair)


def test_cornersNeedBothWcs():
    with pytest.raises(ValueError, match="only if both exposures have a WCS"):
        cornerOffsetPix(makeExposure(), makeExposure(makeWcs()))
