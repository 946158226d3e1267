"""astropy's CCDData in and out."""

import numpy as np
import pytest
from astropy import units
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
from astropy.wcs import WCS

from psfmatch import ImagePsf
from psfmatch.exposure import Exposure, Mask, MaskedImage

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
    ccd = CCDData(IMAGE, unit="adu", mask=mask, flags=flags, meta={"MP_SAT": 1, "MP_STREAK": 12, "OBJECT": "M31"})
    exposure = Exposure.fromCCDData(ccd, gain=1.0)
    for name, x in (("BAD", 0), ("SAT", 1), ("STREAK", 2)):
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
    mask[0, :4] = mask.getPlaneBitMask("SAT"), mask.getPlaneBitMask("DETECTED"), 1 << mask.addPlane("STREAK"), 0
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
    assert (ccd.meta["MP_SAT"], ccd.meta["MP_STREAK"], ccd.meta["FILTER"]) == (1, 9, "g")
    # The PSF at the centre of the pixel area, parent coordinates.
    assert ccd.psf.tolist() == [[114.5, 209.5, 1.0]]
    np.testing.assert_array_equal(ccd.wcs.all_pix2world([[3.0, 4.0]], 0), makeWcs().all_pix2world([[3.0, 4.0]], 0))
    assert makeExposure().toCCDData(badPlanes=("STREAK",)).mask[0].tolist()[:4] == [False, False, True, False]


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
    assert np.argwhere(back.mask.hasAny("STREAK")).tolist() == [[0, 2]]
    assert back.xy0 == (100, 200)


@pytest.mark.parametrize(("unit", "announced"), [(None, False), ("electrons/fortnite", True)])
def test_unitsThatAstropyDoesNotKnow(unit, announced, caplog):
    exposure = Exposure(MaskedImage(IMAGE), metadata={} if unit is None else {"BUNIT": unit})
    assert exposure.toCCDData().unit == units.adu
    assert ("is not known to astropy; adu is used" in caplog.text) == announced
