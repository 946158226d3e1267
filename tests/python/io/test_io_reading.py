"""Every layout in which images arrive, written with astropy and read back."""

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from psfmatch.errors import ExposureReadError
from psfmatch.io import asWcs, describe, readPlanes
from psfmatch.io.files import FitsSource

SHAPE = (40, 50)
IMAGE = np.random.default_rng(1).normal(500, 20, SHAPE).astype(np.float32)
SIGMA = np.full(SHAPE, 3, dtype=np.float32)
BITS = (np.arange(2000, dtype=np.int32).reshape(SHAPE) % 8).astype(np.int32)


def write(path, *hdus):
    """Write HDUs, with an empty primary one before them if need be."""
    primary = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*primary, *hdus]).writeto(path)
    return path


def imageHdu(data, name=None, **cards):
    hdu = fits.ImageHDU(data, name=name)
    hdu.header.update(cards)
    return hdu


def checkNative(planes):
    for array, dtype in ((planes.image, "f4"), (planes.variance, "f4"), (planes.mask, "i4")):
        if array is not None:
            assert array.dtype == np.dtype(dtype)
            assert array.dtype.isnative
            assert array.flags.c_contiguous
            assert array.flags.writeable


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "int16", "int32", "uint8", "uint16", "uint32", "int64"])
def test_plainPrimaryImageOfAnyType(tmp_path, dtype):
    values = (IMAGE % 200).astype(dtype)
    path = write(tmp_path / "plain.fits", fits.PrimaryHDU(values))
    planes = readPlanes(path)
    checkNative(planes)
    np.testing.assert_array_equal(planes.image, values.astype(np.float32))
    assert planes.mask is None
    assert planes.maskPlanes is None
    assert planes.wcs is None
    assert planes.xy0 == (0, 0)
    assert planes.varianceSource == planes.metadata["VARSRC"] == "estimated from the sky"


def test_scaledIntegersWithBlank(tmp_path):
    hdu = fits.PrimaryHDU(np.array([[1, 2, -9], [4, 5, 6]], dtype=np.int16))
    hdu.header.update({"BSCALE": 0.5, "BZERO": 10.0, "BLANK": -9})
    planes = readPlanes(write(tmp_path / "scaled.fits", hdu))
    np.testing.assert_array_equal(planes.image, [[10.5, 11, np.nan], [12, 12.5, 13]])
    assert planes.metadata == {"VARSRC": "estimated from the sky"}


def test_valuesThatAreNotFiniteStaySo(tmp_path):
    image = IMAGE.astype(np.float64)
    image[0, :3] = np.nan, np.inf, 1e300
    planes = readPlanes(write(tmp_path / "nan.fits", fits.PrimaryHDU(image)))
    assert np.isnan(planes.image[0, 0])
    assert np.isinf(planes.image[0, 1:3]).all()


def test_leadingAxesOfLengthOne(tmp_path):
    planes = readPlanes(write(tmp_path / "cube.fits", fits.PrimaryHDU(IMAGE[np.newaxis, np.newaxis])))
    np.testing.assert_array_equal(planes.image, IMAGE)


@pytest.mark.parametrize("quantized", [False, True])
def test_fpackedFile(tmp_path, quantized):
    data = IMAGE if quantized else np.round(IMAGE).astype(np.int16)
    hdu = fits.CompImageHDU(data, compression_type="RICE_1")
    hdu.header["FILTER"] = "ztf-r"
    hdu.header["GAIN"] = 6.2
    path = tmp_path / "image.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    planes = readPlanes(path)
    checkNative(planes)
    # RICE quantises floats in steps of a quarter of the noise at most: 20/4 counts; integers are exact.
    np.testing.assert_allclose(planes.image, data, rtol=0, atol=5 if quantized else 0)
    assert planes.filter == "ztf-r"
    assert planes.metadata["GAIN"] == 6.2
    assert not any(key.startswith("Z") for key in planes.metadata)


@pytest.mark.parametrize("inPrimary", [False, True])
def test_jwst(tmp_path, inPrimary):
    quality = np.zeros(SHAPE, dtype=np.uint32)
    quality[0, :4] = 1, 2, 4, 2**31
    cards = {"TELESCOP": "JWST", "FILTER": "F200W", "BUNIT": "MJy/sr", "PIXAR_SR": 2e-14}
    if inPrimary:
        first = [fits.PrimaryHDU(IMAGE)]
        first[0].header.update({"EXTNAME": "SCI", **cards})
    else:
        first = [fits.PrimaryHDU(), imageHdu(IMAGE, "SCI")]
        first[0].header.update(cards)
    path = tmp_path / "jwst.fits"
    extra = [imageHdu(IMAGE, "WHT"), imageHdu(SIGMA, "VAR_POISSON")]
    fits.HDUList([*first, imageHdu(SIGMA, "ERR"), imageHdu(quality, "DQ"), *extra]).writeto(path)
    planes = readPlanes(path)
    checkNative(planes)
    np.testing.assert_array_equal(planes.image, IMAGE)
    np.testing.assert_array_equal(planes.variance, SIGMA**2)
    assert planes.varianceSource == "HDU ERR squared"
    assert planes.maskPlanes == {"BAD": 0, "SAT": 1, "CR": 3}
    np.testing.assert_array_equal(planes.mask[0, :4], [1, 2, 8, 0])
    assert planes.filter == "F200W"
    assert planes.photoCalib == pytest.approx(20.0)
    assert planes.metadata["TELESCOP"] == "JWST"
    assert planes.metadata["VARSRC"] == "HDU ERR squared"


def test_hstHasTwoChips(tmp_path, caplog):
    primary = fits.PrimaryHDU()
    primary.header.update({"TELESCOP": "HST", "FILTER1": "CLEAR1L", "FILTER2": "F814W"})
    hdus = [primary]
    for version in (1, 2):
        for name, data in (("SCI", IMAGE), ("ERR", SIGMA), ("DQ", BITS.astype(np.int16))):
            hdus.append(imageHdu(data * version, name, EXTVER=version))
    hdus += [imageHdu(np.ones((8, 8), np.float32), "WCSDVARR"), imageHdu(np.ones((8, 8), np.float32), "D2IMARR")]
    path = write(tmp_path / "flt.fits", *hdus)
    first = readPlanes(path)
    np.testing.assert_array_equal(first.image, IMAGE)
    assert "2 HDUs can be the image, the first is taken: [1] SCI image" in caplog.text
    assert "flt.fits[4]" in caplog.text
    assert first.filter == "F814W"
    np.testing.assert_array_equal(first.mask, BITS > 0)
    for name in ("[SCI,2]", "[4]"):
        second = readPlanes(f"{path}{name}")
        np.testing.assert_array_equal(second.image, 2 * IMAGE)
        np.testing.assert_array_equal(second.variance, 4 * SIGMA**2)


@pytest.mark.parametrize("byName", [True, False])
def test_lsst(tmp_path, byName):
    xy0 = {"CTYPE1A": "LINEAR", "CRPIX1A": 1, "CRVAL1A": 9, "CRPIX2A": 1, "CRVAL2A": 12, "CUNIT1A": "pixel"}
    mask = fits.ImageHDU(BITS.astype(np.uint16))
    mask.header["HIERARCH MP_DETECTED_NEGATIVE"] = 1
    mask.header["HIERARCH MP_DETECTED"] = 2
    mask.header["MP_BAD"] = 0
    variance = SIGMA.copy()
    variance[0, :2] = 0, -1
    hdus = [fits.ImageHDU(IMAGE), mask, fits.ImageHDU(variance)]
    for hdu, name in zip(hdus, ("IMAGE", "MASK", "VARIANCE"), strict=True):
        hdu.header["EXTTYPE"] = name
        hdu.header.update(xy0)
        if byName:
            hdu.name = name
    primary = fits.PrimaryHDU()
    primary.header.update({"FLUXMAG0": 1e12, "AR_HDU": 5, "FILTER": "r"})
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])], name="ARCHIVE_INDEX")
    path = write(tmp_path / "calexp.fits", primary, *hdus, table)
    planes = readPlanes(path)
    checkNative(planes)
    np.testing.assert_array_equal(planes.image, IMAGE)
    np.testing.assert_array_equal(planes.mask, BITS)
    np.testing.assert_array_equal(planes.variance, variance)
    assert planes.maskPlanes == {"BAD": 0, "DETECTED_NEGATIVE": 1, "DETECTED": 2}
    assert planes.varianceSource == ("HDU VARIANCE" if byName else "HDU 3")
    assert planes.wcs is None
    assert planes.filter == "r"
    # 3630.78 Jy over 1e12 counts.
    assert planes.photoCalib == pytest.approx(3.63078, rel=1e-5)
    assert "AR_HDU" not in planes.metadata
    assert planes.xy0 == (0, 0)
    assert readPlanes(path, useXY0=True).xy0 == (9, 12)
    assert [entry.role for entry in describe(path)] == ["", "image", "mask", "variance", ""]
    np.testing.assert_array_equal(readPlanes(f"{path}[IMAGE]").variance, variance)


@pytest.mark.parametrize(
    ("Uncertainty", "values"), [(StdDevUncertainty, 3), (VarianceUncertainty, 9), (InverseVariance, 1 / 9)]
)
def test_ccdDataFiles(tmp_path, Uncertainty, values):
    path = tmp_path / "ccd.fits"
    uncertainty = Uncertainty(np.full(SHAPE, values, dtype=np.float64))
    CCDData(IMAGE, unit="adu", uncertainty=uncertainty, mask=BITS > 5, meta={"OBJECT": "M31"}).write(path)
    planes = readPlanes(path)
    np.testing.assert_array_equal(planes.image, IMAGE)
    # 1/9 is rounded to float32 and inverted in float32.
    np.testing.assert_allclose(planes.variance, 9, rtol=2e-7)
    np.testing.assert_array_equal(planes.mask, BITS > 5)
    assert planes.maskPlanes == {"BAD": 0}
    assert planes.metadata["OBJECT"] == "M31"
    assert planes.metadata["BUNIT"] == "adu"


def test_relativeWeightOfADrizzledImage(tmp_path, caplog):
    path = write(tmp_path / "drz.fits", imageHdu(IMAGE, "SCI"), imageHdu(SIGMA * 100, "WHT"))
    planes = readPlanes(path)
    assert planes.varianceSource == "HDU WHT scaled to the sky"
    # One block of 2000 pixels: 1.6 per cent on the scatter of 20, twice that on the variance; four times this.
    np.testing.assert_allclose(planes.variance, 400, rtol=0.13)
    assert "weights taken as relative" in caplog.text
    assert readPlanes(path, gain=2.0).varianceSource == "gain 2 e-/count, read noise 0 e-"


def test_noiseVarianceWeightAndMaskFiles(tmp_path):
    science = write(tmp_path / "science.fits", fits.PrimaryHDU(IMAGE))
    noise = write(tmp_path / "noise.fits", fits.PrimaryHDU(IMAGE), imageHdu(SIGMA.astype(np.float64), "ERR"))
    weight = tmp_path / "oow.fits.fz"
    # 1/variance of an image that scatters by 20.
    fits.CompImageHDU(np.full(SHAPE, 0.0025, np.float32), compression_type="GZIP_1", quantize_level=0).writeto(weight)
    mask = write(tmp_path / "mask.fits", fits.PrimaryHDU(BITS.astype(np.uint8)))
    planes = readPlanes(science, noise=noise, mask=mask)
    np.testing.assert_array_equal(planes.variance, 9)
    np.testing.assert_array_equal(planes.mask, BITS > 0)
    assert planes.varianceSource == "noise file noise.fits"
    np.testing.assert_array_equal(readPlanes(science, variance=f"{noise}[ERR]").variance, 3)
    np.testing.assert_array_equal(readPlanes(science, variance=f"{noise}[0]").variance, IMAGE)
    np.testing.assert_array_equal(readPlanes(science, weight=weight).variance, np.float32(1) / np.float32(0.0025))


def test_explicitFilesComeBeforeTheFilesOwnPlanes(tmp_path, caplog):
    hdus = imageHdu(IMAGE, "SCI"), imageHdu(SIGMA, "ERR"), imageHdu(BITS, "DQ")
    path = write(tmp_path / "own.fits", *hdus)
    other = write(tmp_path / "other.fits", fits.PrimaryHDU(SIGMA * 2))
    planes = readPlanes(path, noise=other, mask=f"{other}[0]", gain=1.0)
    np.testing.assert_array_equal(planes.variance, 36)
    assert planes.mask.all()
    assert readPlanes(path, gain=1.0).varianceSource == "HDU ERR squared"
    assert "the gain given is not used, HDU ERR has the noise" in caplog.text


def test_gainAndReadNoise(tmp_path, caplog):
    path = write(tmp_path / "plain.fits", fits.PrimaryHDU(IMAGE))
    planes = readPlanes(path, gain=1.25, readNoise=5.0)
    # IMAGE/gain + (5/1.25)^2, in float32.
    np.testing.assert_allclose(planes.variance, IMAGE / np.float32(1.25) + 16, rtol=3e-7)
    assert planes.metadata["VARSRC"] == "gain 1.25 e-/count, read noise 5 e-"
    assert "plain.fits: no noise plane, variance made from gain 1.25" in caplog.text


def test_onlyTheNeededHdusAreRead(tmp_path, monkeypatch):
    hdus = [imageHdu(IMAGE, name) for name in ("SCI", "ERR", "DQ", "WHT", "VAR_POISSON", "CON")]
    hdus[2] = imageHdu(BITS, "DQ")
    path = write(tmp_path / "many.fits", *hdus)
    seen = []
    # Every way to the pixels begins with this.
    original = FitsSource._checkLength

    def counting(self, index):
        seen.append(index)
        return original(self, index)

    monkeypatch.setattr(FitsSource, "_checkLength", counting)
    readPlanes(path)
    assert sorted(seen) == [1, 2, 3]


def test_wcsInParentCoordinates(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (150, 2), (25.0, 20.0), (-1e-4, 1e-4)
    hdu = fits.PrimaryHDU(IMAGE)
    hdu.header.update(wcs.to_header())
    hdu.header.update({"LTV1": -100.0, "LTV2": -200.0})
    path = write(tmp_path / "wcs.fits", hdu)
    plain, shifted = readPlanes(path), readPlanes(path, useXY0=True)
    assert shifted.xy0 == (100, 200)
    positions = np.array([[0.0, 0.0], [49.0, 39.0]])
    expected = wcs.all_pix2world(positions, 0)
    np.testing.assert_array_equal(asWcs(plain.wcs).all_pix2world(positions, 0), expected)
    # CRPIX 125 is whole, so nothing is rounded but the sky itself.
    np.testing.assert_allclose(
        asWcs(shifted.wcs).all_pix2world(positions + np.array([100, 200]), 0), expected, rtol=0, atol=1e-13
    )


def test_hduWithAnotherRoleHasNoCompanions(tmp_path):
    path = write(tmp_path / "a.fits", imageHdu(IMAGE, "IMAGE"), imageHdu(BITS, "MASK"), imageHdu(IMAGE, "MATCHED"))
    planes = readPlanes(f"{path}[MATCHED]", gain=1.0)
    assert planes.mask is None
    assert readPlanes(path, gain=1.0).mask is not None


def test_severalUnnamedImages(tmp_path, caplog):
    path = write(tmp_path / "mosaic.fits", imageHdu(IMAGE, "S29"), imageHdu(2 * IMAGE, "N6"), imageHdu(BITS, "MASK"))
    np.testing.assert_array_equal(readPlanes(path).image, IMAGE)
    assert "2 HDUs can be the image" in caplog.text
    chip = readPlanes(f"{path}[n6]")
    np.testing.assert_array_equal(chip.image, 2 * IMAGE)
    assert chip.mask is None, "a mask without a version cannot be told to belong to one of several chips"


def test_inheritFalseLeavesThePrimaryOut(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["OBSERVER"] = "Caroline"
    path = write(tmp_path / "a.fits", primary, imageHdu(IMAGE, "SCI", INHERIT=False, GAIN=1))
    assert "OBSERVER" not in readPlanes(path).metadata
    path = write(tmp_path / "b.fits", primary, imageHdu(IMAGE, "SCI", OBSERVER="William"))
    assert readPlanes(path).metadata["OBSERVER"] == "William"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("[NOPE]", r"has no HDU \[NOPE\]; it holds \[0\] PRIMARY empty; \[1\] SCI image 50x40 float32; \[2\] CUBE"),
        ("[SCI,3]", r"has no HDU \[SCI,3\]"),
        ("[17]", r"has no HDU \[17\]"),
        ("[0]", r"HDU \[0\] PRIMARY empty is no two-dimensional image with pixels"),
        ("[CUBE]", r"HDU \[2\] CUBE image 4x3x2 float64 is a cube of 2 planes"),
        ("[T]", r"HDU \[3\] T table 1 is no two-dimensional image"),
    ],
)
def test_unsuitableHduListsTheOthers(tmp_path, name, match):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])], name="T")
    path = write(tmp_path / "a.fits", imageHdu(IMAGE, "SCI"), imageHdu(np.zeros((2, 3, 4)), "CUBE"), table)
    with pytest.raises(ExposureReadError, match=match) as raised:
        readPlanes(f"{path}{name}")
    assert raised.value.path == str(path)


@pytest.mark.parametrize("data", [None, np.zeros(7)])
def test_noImageAtAll(tmp_path, data):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(data))
    with pytest.raises(ExposureReadError, match=r"no two-dimensional image with pixels; the file holds \[0\] PRIMARY"):
        readPlanes(path)


def test_planesOfOtherShapes(tmp_path):
    path = write(tmp_path / "a.fits", imageHdu(IMAGE, "SCI"), imageHdu(SIGMA[:5], "ERR"))
    with pytest.raises(ExposureReadError, match=r"HDU \[2\] ERR image 50x5 float32 does not fit the image of 50x40"):
        readPlanes(path)
    small = write(tmp_path / "small.fits", fits.PrimaryHDU(SIGMA[:, :9]))
    for option in ("noise", "variance", "weight", "mask"):
        with pytest.raises(ExposureReadError, match=r"small\.fits: HDU .* 9x40 .*does not fit") as raised:
            readPlanes(path, **{option: small})
        assert raised.value.path == str(small)


def test_noiseIsNotGuessedAmongSeveralHdus(tmp_path, caplog):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(IMAGE))
    whole = write(tmp_path / "whole.fits", imageHdu(IMAGE, "SCI"), imageHdu(SIGMA, "VARIANCE"))
    match = r"whole\.fits: no HDU is known to be noise \(1 sigma\); name one in brackets, the file holds \[0\]"
    with pytest.raises(ExposureReadError, match=match):
        readPlanes(path, noise=whole)
    np.testing.assert_array_equal(readPlanes(path, noise=f"{whole}[VARIANCE]").variance, 9)
    copied = write(tmp_path / "copied.fits", imageHdu(SIGMA, "SCI"))
    np.testing.assert_array_equal(readPlanes(path, noise=copied).variance, 9)
    assert "HDU [1] SCI image 50x40 float32 is taken for the noise (1 sigma)" in caplog.text


def test_optionsThatContradictEachOther(tmp_path):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(IMAGE))
    with pytest.raises(ValueError, match="give one of noise, variance and weight, not noise and weight"):
        readPlanes(path, noise=path, weight=path)
    with pytest.raises(ValueError, match="was given without gain"):
        readPlanes(path, readNoise=3.0)
    with pytest.raises(FileNotFoundError, match=r"none\.fits: no such file"):
        readPlanes(path, noise=tmp_path / "none.fits")


def test_unitsAreKept(tmp_path):
    hdu = fits.PrimaryHDU(IMAGE)
    hdu.header["BUNIT"] = "uJy"
    planes = readPlanes(write(tmp_path / "a.fits", hdu))
    assert planes.metadata["BUNIT"] == "uJy"
    assert planes.photoCalib == (1 * units.uJy).to_value(units.nJy)
