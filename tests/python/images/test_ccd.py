"""astropy's CCDData in and out."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    FlagCollection,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.table import QTable, Table
from astropy.wcs import WCS

from psfmatch import GaussianPsf, ImagePsf, InputImagesError, asQTable
from psfmatch.images import Exposure, Mask, MaskedImage, requireUnits, toExposure
from psfmatch.io import fitsWcs
from psfmatch.transients import writeSources

SHAPE = (20, 30)
IMAGE = np.random.default_rng(3).normal(100, 5, SHAPE)


def makeWcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (150, 2), (15.5, 10.5), (-1e-4, 1e-4)
    return wcs


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full(SHAPE, 2.0)),
        VarianceUncertainty(np.full(SHAPE, 4.0)),
        InverseVariance(np.full(SHAPE, 0.25)),
        StdDevUncertainty(np.full(SHAPE, 2000.0), unit=units.nJy),
        VarianceUncertainty(np.full(SHAPE, 4e6), unit=units.nJy**2),
    ],
    ids=["sigma", "variance", "inverse", "sigma-nJy", "variance-nJy"],
)
def test_uncertaintyOfAnyKind(uncertainty):
    ccd = CCDData(IMAGE, unit=units.uJy, uncertainty=uncertainty)
    exposure = Exposure.fromCCDData(ccd)
    np.testing.assert_allclose(exposure.variance, 4, rtol=1e-7)
    np.testing.assert_array_equal(exposure.image, IMAGE.astype(np.float32))
    assert exposure.metadata["BUNIT"] == "uJy"
    assert "VARSRC" not in exposure.metadata


def test_noWeightIsBad():
    inverse = np.ones(SHAPE)
    inverse[0, 0] = 0
    exposure = Exposure.fromCCDData(CCDData(IMAGE, unit="adu", uncertainty=InverseVariance(inverse)))
    assert np.isinf(exposure.variance[0, 0])
    assert exposure.maskedImage.badPixels([]).sum() == 1


def test_unknownUncertainty():
    ccd = CCDData(IMAGE, unit="adu", uncertainty=UnknownUncertainty(np.ones(SHAPE)))
    with pytest.raises(TypeError, match="an uncertainty of kind UnknownUncertainty has no variance; use StdDev"):
        Exposure.fromCCDData(ccd)


def test_uncertaintyOfAnotherThing():
    ccd = CCDData(IMAGE, unit="adu", uncertainty=StdDevUncertainty(np.ones(SHAPE)))
    ccd.unit = "uJy"
    with pytest.raises(
        ValueError, match="of the uncertainty is in adu2, but the data are in uJy; one of them is wrong"
    ):
        Exposure.fromCCDData(ccd)


def test_withoutUncertaintyTheVarianceIsEstimated(caplog):
    ccd = CCDData(IMAGE, unit="adu")
    sky = Exposure.fromCCDData(ccd)
    # One block of 600 pixels: 1/sqrt(1200) on the scatter, twice that on the variance; four times this.
    np.testing.assert_allclose(sky.variance, 25, rtol=0.24)
    assert "CCDData: no noise plane" in caplog.text
    assert sky.metadata["VARSRC"] == "estimated from the sky"
    # 100/4 + (8/4)^2 at 100 counts.
    counts = Exposure.fromCCDData(ccd, gain=4.0, readNoise=8.0)
    np.testing.assert_allclose(counts.variance, IMAGE / 4 + 4, rtol=3e-7)


def test_maskAndNamedFlags():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[0, 0] = True
    flags = np.zeros(SHAPE, dtype=np.uint16)
    flags[0, 1], flags[0, 2] = 2, 4096
    ccd = CCDData(IMAGE, unit="adu", mask=mask, flags=flags, meta={"MP_SAT": 1, "MP_TRAIL": 12, "OBJECT": "M31"})
    exposure = Exposure.fromCCDData(ccd, gain=1.0)
    for name, x in (("BAD", 0), ("SAT", 1), ("TRAIL", 2)):
        assert np.argwhere(exposure.mask.hasAny(name)).tolist() == [[0, x]]
    assert exposure.metadata["OBJECT"] == "M31"
    assert "MP_SAT" not in exposure.metadata


def test_flagsWithoutNamesAreBad():
    flags = np.zeros(SHAPE, dtype=np.uint8)
    flags[3, 4] = 64
    exposure = Exposure.fromCCDData(CCDData(IMAGE, unit="adu", flags=flags), gain=1.0)
    assert np.argwhere(exposure.mask.hasAny("BAD")).tolist() == [[3, 4]]


def test_flagCollections():
    flags = FlagCollection(shape=SHAPE)
    flags["SAT"] = IMAGE > 110
    flags["GHOST"] = (IMAGE < 90).astype(int)
    exposure = Exposure.fromCCDData(CCDData(IMAGE, unit="adu", flags=flags), gain=1.0)
    np.testing.assert_array_equal(exposure.mask.hasAny("SAT"), IMAGE > 110)
    np.testing.assert_array_equal(exposure.mask.hasAny("GHOST"), IMAGE < 90)
    assert exposure.mask.planes["SAT"] == 1


def test_plainNdData():
    exposure = Exposure.fromCCDData(NDData(IMAGE, uncertainty=StdDevUncertainty(np.full(SHAPE, 3.0))))
    np.testing.assert_array_equal(exposure.variance, 9)
    assert not exposure.mask.any()


def test_coordinatesAndParent():
    ccd = CCDData(IMAGE, unit="adu", wcs=makeWcs(), meta=fits.Header({"LTV1": -100.0, "LTV2": -200.0}))
    expected = makeWcs().all_pix2world([[3.0, 4.0]], 0)
    plain = Exposure.fromCCDData(ccd, gain=1.0)
    assert plain.xy0 == (0, 0)
    np.testing.assert_array_equal(plain.wcs.all_pix2world([[3.0, 4.0]], 0), expected)
    parent = Exposure.fromCCDData(ccd, gain=1.0, useXY0=True)
    assert parent.xy0 == (100, 200)
    np.testing.assert_array_equal(parent.wcs.all_pix2world([[103.0, 204.0]], 0), expected)
    assert ccd.wcs.wcs.crpix.tolist() == [15.5, 10.5]


def test_wcsThatIsNotCelestial(caplog):
    linear = WCS(naxis=2)
    assert Exposure.fromCCDData(CCDData(IMAGE, unit="adu", wcs=linear), gain=1.0).wcs is None
    assert "the WCS has no two celestial axes; going on without it" in caplog.text


def test_nothingIsShared():
    flags, variance = np.zeros(SHAPE, dtype=np.int32), np.ones(SHAPE, dtype=np.float32)
    image = IMAGE.astype(np.float32)
    ccd = CCDData(image, unit="adu", uncertainty=VarianceUncertainty(variance), flags=flags)
    exposure = Exposure.fromCCDData(ccd)
    out = exposure.toCCDData()
    exposure.maskedImage *= 5
    exposure.mask |= 1
    for source in (ccd, out):
        np.testing.assert_array_equal(source.data, image)
        np.testing.assert_array_equal(source.uncertainty.array, 1)
        np.testing.assert_array_equal(source.flags, 0)


class CentralPixelPsf:
    def computeKernelImage(self, x, y):
        return np.array([[x, y, 1.0]])


PSF_IMAGE = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16.0


def makeExposure():
    image = IMAGE.astype(np.float32)
    image[5, 5] = np.nan
    mask = Mask(np.zeros(SHAPE, dtype=np.int32))
    mask[0, :4] = mask.getPlaneBitMask("SAT"), mask.getPlaneBitMask("DETECTED"), 1 << mask.addPlane("TRAIL"), 0
    variance = np.full(SHAPE, 9, np.float32)
    variance[6, 6] = -1
    masked = MaskedImage(image, mask, variance, (100, 200))
    wcs = makeWcs()
    wcs.wcs.crpix = 115.5, 210.5
    return Exposure(masked, wcs, CentralPixelPsf(), 1.0, "g", {"OBJECT": "M 31", "BUNIT": "nJy"})


def test_toCcdData():
    ccd = makeExposure().toCCDData()
    assert ccd.unit == units.nJy
    assert isinstance(ccd.uncertainty, VarianceUncertainty)
    assert np.argwhere(ccd.mask).tolist() == [[0, 0], [5, 5], [6, 6]]
    assert ccd.flags[0, :4].tolist() == [2, 32, 512, 0]
    assert (ccd.meta["MP_SAT"], ccd.meta["MP_TRAIL"], ccd.meta["FILTER"]) == (1, 9, "g")
    # The PSF at the centre of the pixel area, parent coordinates.
    assert ccd.psf.tolist() == [[114.5, 209.5, 1.0]]
    np.testing.assert_array_equal(ccd.wcs.all_pix2world([[3.0, 4.0]], 0), makeWcs().all_pix2world([[3.0, 4.0]], 0))
    assert makeExposure().toCCDData(badPlanes=("TRAIL",)).mask[0].tolist()[:4] == [False, False, True, False]


def test_thereAndBack():
    exposure = makeExposure()
    exposure.psf = ImagePsf(PSF_IMAGE)
    # What is masked because of a plane, NaN or a negative variance does not become BAD besides.
    back = Exposure.fromCCDData(exposure.toCCDData(), useXY0=True)
    np.testing.assert_array_equal(back.image, exposure.image)
    np.testing.assert_array_equal(back.variance, exposure.variance)
    assert back.mask.planes == exposure.mask.planes
    np.testing.assert_array_equal(np.asarray(back.mask), np.asarray(exposure.mask))
    assert back.photoCalib == exposure.photoCalib == 1.0
    np.testing.assert_array_equal(back.psf.computeKernelImage(0, 0), exposure.psf.computeKernelImage(0, 0))
    assert back.getBBox() == exposure.getBBox()
    assert back.filter == "g"
    assert back.metadata == exposure.metadata
    np.testing.assert_array_equal(
        back.wcs.all_pix2world([[103.0, 204.0]], 0), exposure.wcs.all_pix2world([[103.0, 204.0]], 0)
    )


def test_flagsSurviveAFileOfAstropy(tmp_path):
    exposure = makeExposure()
    exposure.psf = None
    exposure.toCCDData().write(tmp_path / "ccd.fits", hdu_flags="FLAGS")
    ccd = CCDData.read(tmp_path / "ccd.fits", hdu_flags="FLAGS")
    back = Exposure.fromCCDData(ccd, useXY0=True)
    assert np.argwhere(back.mask.hasAny("TRAIL")).tolist() == [[0, 2]]
    assert back.xy0 == (100, 200)


@pytest.mark.parametrize(("unit", "announced"), [(None, False), ("electrons/fortnite", True)])
def test_unitsThatAstropyDoesNotKnow(unit, announced, caplog):
    exposure = Exposure(MaskedImage(IMAGE), metadata={} if unit is None else {"BUNIT": unit})
    assert exposure.toCCDData().unit == units.adu
    assert ("is not known to astropy; adu is used" in caplog.text) == announced


# Units


def test_dimensionlessStaysSo():
    exposure = Exposure.fromCCDData(CCDData(IMAGE, unit=units.dimensionless_unscaled))
    assert exposure.toCCDData().unit == units.dimensionless_unscaled


def test_fluxUnitsTellTheCalibration():
    assert Exposure.fromCCDData(CCDData(IMAGE, unit="uJy")).photoCalib == pytest.approx(1000.0)
    assert Exposure.fromCCDData(CCDData(IMAGE, unit="adu")).photoCalib is None


def test_quantities():
    quantity = IMAGE * units.uJy
    exposure = toExposure(quantity)
    assert type(exposure.image) is np.ndarray
    np.testing.assert_array_equal(exposure.image, IMAGE.astype(np.float32))
    assert exposure.metadata["BUNIT"] == "uJy"
    assert exposure.photoCalib == pytest.approx(1000.0)
    assert exposure.toCCDData().unit == units.uJy


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CCDData(IMAGE, unit="Jy"), CCDData(IMAGE, unit="nJy")),
        (NDData(IMAGE), NDData(IMAGE)),
        (IMAGE * units.electron, CCDData(IMAGE, unit="electron")),
        (IMAGE, CCDData(IMAGE, unit="nJy")),
        (Exposure(MaskedImage(IMAGE), metadata={"BUNIT": "DN/s, sort of"}), CCDData(IMAGE, unit="nJy")),
    ],
)
def test_unitsThatFit(first, second, caplog):
    requireUnits(first, second)
    requireUnits(second, first)
    assert not caplog.records


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        (
            CCDData(IMAGE, unit="adu"),
            CCDData(IMAGE, unit="nJy"),
            "has the unit 'adu', the science image the unit 'nJy'",
        ),
        (NDData(IMAGE), CCDData(IMAGE, unit="nJy"), "has no unit, the science image the unit 'nJy'"),
        (IMAGE * units.s, IMAGE * units.Jy, "has the unit 's', the science image the unit 'Jy'"),
    ],
)
def test_unitsThatDoNotFit(first, second, match):
    with pytest.raises(InputImagesError, match=match):
        requireUnits(first, second)


def test_headersMayBeWrongAboutUnits(caplog):
    requireUnits(Exposure(MaskedImage(IMAGE), metadata={"BUNIT": "adu"}), CCDData(IMAGE, unit="nJy"))
    assert "the template is in adu, the science image in nJy" in caplog.text


# PSFs


def test_psfComesAlong(caplog):
    ccd = CCDData(IMAGE, unit="adu", psf=3.0 * PSF_IMAGE)
    np.testing.assert_allclose(Exposure.fromCCDData(ccd).psf.computeKernelImage(0, 0), PSF_IMAGE, rtol=1e-15)
    assert Exposure.fromCCDData(CCDData(IMAGE, unit="adu", psf=PSF_IMAGE[:2])).psf is None
    assert "What came as the image's PSF cannot be used (a PSF image must be 2-D with odd sides" in caplog.text


def test_psfWithoutAnImage(caplog):
    class Nowhere:
        def computeKernelImage(self, x, y):
            raise ValueError("not here")

    assert Exposure(MaskedImage(IMAGE), psf=Nowhere()).toCCDData().psf is None
    assert "The PSF has no image at (14.5, 9.5): not here" in caplog.text


# Coordinates of other kinds


def makeGwcs(distortion=1e-5, pole=False):
    """A gwcs of 0.2 arcsec pixels, rotated, with a distortion that is quadratic."""
    import gwcs
    from astropy import coordinates
    from astropy.modeling import models
    from gwcs import coordinate_frames

    offset = models.Shift(-14.0) & models.Shift(-9.0)
    quadratic = models.Polynomial2D(2, c1_0=1.0, c2_0=distortion) & models.Polynomial2D(2, c0_1=1.0, c1_1=distortion)
    scale = models.Scale(0.2 / 3600) & models.Scale(0.2 / 3600)
    sky = models.Pix2Sky_TAN() | models.RotateNative2Celestial(359.9999, 89.999 if pole else 40.0, 180.0)
    model = offset | models.Mapping((0, 1, 0, 1)) | quadratic | models.Rotation2D(30.0) | scale | sky
    detector = coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix))
    icrs = coordinate_frames.CelestialFrame(reference_frame=coordinates.ICRS(), name="icrs")
    return gwcs.WCS([(detector, model), (icrs, None)])


# A CCDData takes no other WCS than FITS's, an NDData does.
@pytest.mark.parametrize("pole", [False, True])
@pytest.mark.parametrize("distortion", [0.0, 1e-4])
def test_gwcs(distortion, pole):
    wcs = makeGwcs(distortion, pole)
    exposure = Exposure.fromCCDData(NDData(IMAGE, wcs=wcs))
    x, y = np.array([0.0, 29.0, 3.3, 14.5]), np.array([0.0, 19.0, 17.1, 9.5])
    found, expected = exposure.wcs.pixel_to_world(x, y), wcs.pixel_to_world(x, y)
    # The promise is 0.001 pixels of 0.2 arcsec.
    assert found.separation(expected).arcsec.max() < 0.001 * 0.2
    assert exposure.wcs.wcs.ctype[0] == ("RA---TAN-SIP" if distortion else "RA---TAN")
    # And back again, for which SIP is inverted step by step.
    np.testing.assert_allclose(exposure.wcs.all_world2pix(*exposure.wcs.all_pix2world(x, y, 0), 0), (x, y), atol=1e-4)


def test_gwcsWithParentCoordinates():
    ccd = NDData(IMAGE, wcs=makeGwcs(), meta={"LTV1": -100.0, "LTV2": 50.0})
    exposure = Exposure.fromCCDData(ccd, useXY0=True)
    found = exposure.wcs.pixel_to_world(100.0 + 3.0, -50.0 + 4.0)
    assert found.separation(ccd.wcs.pixel_to_world(3.0, 4.0)).arcsec < 0.001 * 0.2


def test_coordinatesThatAreNotOfTheSky(caplog):
    class Spectrum:
        def pixel_to_world(self, x, y):
            return x * units.nm

    class Rough:
        """Sky coordinates that jump by 10 arcsec in the middle."""

        def pixel_to_world(self, x, y):
            return SkyCoord(150.0 + (x + 50.0 * (x > 14.0)) * 0.2 / 3600, 2.0 + y * 0.2 / 3600, unit="deg")

    ccd = NDData(IMAGE)
    for wcs, told in ((Spectrum(), "gives no sky coordinates (it gives Quantity)"), (Rough(), "cannot be written as")):
        assert fitsWcs(wcs, ccd.data.shape) is None
        assert told in caplog.text


# Tables


def test_quantitiesOfATable(tmp_path):
    table = Table({"x": [3.0, 4.0], "y": [5.0, 6.0], "flux": [1.0, 2.0], "ra": [10.0, 20.0], "dec": [1.0, 2.0]})
    table["flux"].unit = "nJy"
    quantities = asQTable(table)
    assert quantities["flux"].unit == units.nJy
    assert quantities["x"].unit == units.pix
    assert quantities["sky"].dec.deg.tolist() == [1.0, 2.0]
    assert table["x"].unit is None
    writeSources(quantities, tmp_path / "sources.fits")
    back = QTable.read(tmp_path / "sources.fits", hdu=1)
    assert back.colnames == table.colnames
    assert back["flux"].unit == units.nJy
    quantities.write(tmp_path / "own.fits")
    assert QTable.read(tmp_path / "own.fits")["sky"].ra.deg.tolist() == [10.0, 20.0]


def test_positionsFromTheWcs():
    wcs = makeWcs()
    wcs.wcs.radesys = "FK5"
    quantities = asQTable(Table({"x": [3.0], "y": [4.0]}), wcs)
    ra, dec = wcs.all_pix2world(3.0, 4.0, 0)
    assert quantities["sky"][0].separation(SkyCoord(ra, dec, unit="deg", frame="fk5")).arcsec < 1e-6
    assert "sky" not in asQTable(Table({"x": [3.0], "y": [4.0]})).colnames


def test_mixedPsfIsKeptInCcdFiles(tmp_path):
    exposure = Exposure(MaskedImage(IMAGE, variance=np.ones(SHAPE)), psf=GaussianPsf(1.0))
    exposure.writeFits(tmp_path / "ours.fits")
    ccd = CCDData.read(
        tmp_path / "ours.fits", unit="adu", hdu=1, hdu_mask="MASK", hdu_uncertainty="VARIANCE", hdu_flags="MASK"
    )
    np.testing.assert_allclose(ccd.psf, exposure.psf.computeKernelImage(0, 0), rtol=1e-15)
    assert isinstance(ccd.uncertainty, VarianceUncertainty)
    assert ccd.flags.dtype.kind == "i"


def test_masksThatRepeatTheFlagsSayNoMore(tmp_path):
    exposure = Exposure(MaskedImage(IMAGE, variance=np.ones(SHAPE)))
    exposure.mask[1, 2] = 1 << exposure.mask.planes["DETECTED"]
    exposure.mask[3, 4] = 1 << exposure.mask.planes["CR"]
    exposure.writeFits(tmp_path / "a.fits")
    ccd = CCDData.read(tmp_path / "a.fits", hdu_uncertainty="VARIANCE", hdu_flags="MASK")
    assert ccd.mask.sum() == 2
    back = Exposure.fromCCDData(ccd)
    np.testing.assert_array_equal(back.mask, exposure.mask)
