"""Exposure: parts and copies, files, and arrays."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from psfmatch.errors import ExposureReadError, InputImagesError
from psfmatch.images import Box, Exposure, Mask, MaskedImage
from psfmatch.io import TangentPlane

SHAPE = (30, 40)


class CentralPixelPsf:
    def computeKernelImage(self, x, y):
        return np.array([[x, y, 1.0]])


def makeExposure(xy0=(100, 200), wcs=True, psf=None):
    rng = np.random.default_rng(5)
    mask = Mask(rng.integers(0, 2**9, SHAPE, dtype=np.int32))
    mask.addPlane("STREAK")
    image, variance = (rng.uniform(1, 9, SHAPE).astype(np.float32) for _ in range(2))
    coordinates = None
    if wcs:
        coordinates = WCS(naxis=2)
        coordinates.wcs.ctype = "RA---TAN", "DEC--TAN"
        coordinates.wcs.crval, coordinates.wcs.crpix = (150, 2), (120.5, 215.25)
        coordinates.wcs.cd = [[-1e-4, 0], [0, 1e-4]]
    metadata = {"OBJECT": "M 31", "BUNIT": "nJy"}
    return Exposure(MaskedImage(image, mask, variance, xy0), coordinates, psf, 2.5, "r", metadata)


def test_partsAreForwarded():
    exposure = makeExposure()
    assert exposure.image is exposure.maskedImage.image
    assert exposure.mask is exposure.maskedImage.mask
    assert exposure.variance is exposure.maskedImage.variance
    assert exposure.xy0 == (100, 200)
    assert exposure.getBBox() == Box(100, 200, 40, 30)
    assert exposure.shape == SHAPE == (exposure.height, exposure.width)
    assert exposure.hasWcs
    assert not makeExposure(wcs=False).hasWcs
    assert not Exposure(MaskedImage(np.ones(SHAPE)), WCS(naxis=2)).hasWcs, "no celestial axes"
    assert repr(exposure) == "Exposure(40x30 pixels from (100, 200), filter r, with WCS)"


def test_assignmentAndArithmeticReachTheArrays():
    exposure = makeExposure()
    image = exposure.image
    exposure.image -= 1
    exposure.image = np.ones(SHAPE)
    exposure.variance = 2.0
    exposure.mask = np.zeros(SHAPE, dtype=bool)
    exposure.maskedImage *= 3
    assert exposure.image is image
    assert (image == 3).all()
    assert (exposure.variance == 18).all()
    assert not exposure.mask.any()


def test_subsetSharesPixelsAndCoordinates():
    exposure = makeExposure()
    part = exposure.subset(Box(110, 205, 5, 6))
    assert part.xy0 == (110, 205)
    assert part.wcs is exposure.wcs, "parent coordinates hold for every part"
    assert (part.filter, part.photoCalib) == ("r", 2.5)
    part.image[0, 0] = -1
    part.metadata["OBJECT"] = "M 32"
    assert exposure.image[5, 10] == -1
    assert exposure.metadata["OBJECT"] == "M 31"
    with pytest.raises(InputImagesError, match="is no part of the image"):
        exposure.subset(Box(0, 0, 5, 5))


def test_copyOwnsAllButThePsf():
    psf = CentralPixelPsf()
    exposure = makeExposure(psf=psf)
    duplicate = exposure.copy()
    duplicate.image[:] = 0
    duplicate.wcs.wcs.crval = 0, 0
    duplicate.metadata.clear()
    assert duplicate.psf is psf
    assert exposure.image.all()
    assert exposure.wcs.wcs.crval.tolist() == [150, 2]
    assert exposure.metadata


def test_plainCoordinatesBecomeAWcsWhenAskedFor(tmp_path):
    made = makeExposure()
    made.writeFits(tmp_path / "a.fits")
    exposure = Exposure.readFits(tmp_path / "a.fits")
    assert isinstance(exposure.coordinates, TangentPlane)
    assert exposure.hasWcs
    others = exposure.copy(), exposure.subset(Box(110, 205, 8, 9)), pickle.loads(pickle.dumps(exposure))
    assert all(isinstance(other.coordinates, TangentPlane) for other in others)
    for held in (exposure, *others):
        assert isinstance(held.wcs, WCS)
        assert held.coordinates is held.wcs is held.wcs
        np.testing.assert_array_equal(held.wcs.wcs.crpix, made.wcs.wcs.crpix)
    exposure.wcs = None
    assert not exposure.hasWcs
    assert exposure.coordinates is None


def test_picklesOfEarlierVersions():
    exposure = makeExposure()
    state = dict(vars(exposure))
    state["wcs"] = state.pop("_coordinates")
    read = Exposure.__new__(Exposure)
    read.__setstate__(state)
    assert read.wcs is exposure.wcs
    assert "wcs" not in vars(read)


@pytest.mark.parametrize("wcs", [True, False])
def test_fileRoundTrip(tmp_path, wcs):
    exposure = makeExposure(wcs=wcs)
    exposure.writeFits(tmp_path / "a.fits")
    back = Exposure.readFits(tmp_path / "a.fits")
    for name in ("image", "mask", "variance"):
        np.testing.assert_array_equal(np.asarray(getattr(back, name)), np.asarray(getattr(exposure, name)))
    assert back.mask.planes == exposure.mask.planes
    assert back.getBBox() == exposure.getBBox()
    assert back.metadata == exposure.metadata
    assert (back.filter, back.photoCalib, back.psf) == ("r", 2.5, None)
    assert back.hasWcs == wcs
    if wcs:
        corners = np.array([[100.0, 200.0], [139.0, 229.0]])
        np.testing.assert_array_equal(back.wcs.all_pix2world(corners, 0), exposure.wcs.all_pix2world(corners, 0))
    with pytest.raises(FileExistsError, match="exists already"):
        exposure.writeFits(tmp_path / "a.fits", overwrite=False)


def test_partOfAFileRoundTrip(tmp_path):
    exposure = makeExposure()
    exposure.subset(Box(110, 205, 5, 6)).writeFits(tmp_path / "a.fits", matched=np.ones((6, 5), np.float32))
    back = Exposure.readFits(tmp_path / "a.fits")
    np.testing.assert_array_equal(back.image, exposure.image[5:11, 10:15])
    np.testing.assert_array_equal(
        back.wcs.all_pix2world([[112.0, 206.0]], 0), exposure.wcs.all_pix2world([[112.0, 206.0]], 0)
    )
    assert Exposure.readFits(f"{tmp_path}/a.fits[MATCHED]", gain=1.0).xy0 == (110, 205)


def test_readingPassesOptionsAndErrorsOn(tmp_path):
    path = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.full(SHAPE, 50.0)).writeto(path)
    exposure = Exposure.readFits(path, gain=2.0, readNoise=4.0)
    # 50/2 + (4/2)^2.
    assert (exposure.variance == 29).all()
    assert not exposure.mask.any()
    with pytest.raises(ExposureReadError, match=r"has no HDU \[SCI\]"):
        Exposure.readFits(f"{path}[SCI]")


def test_fromArray(caplog):
    image = np.random.default_rng(1).normal(100, 5, (256, 256)).astype(np.float32)
    exposure = Exposure.fromArray(image)
    assert exposure.image is image
    assert not exposure.hasWcs
    # 16 blocks of 4096 pixels: the variance is good to 2*1.25*1.1/4 = 0.7 per cent; four times this.
    np.testing.assert_allclose(exposure.variance, 25, rtol=0.03)
    assert "array: no noise plane, variance taken as constant" in caplog.text
    assert exposure.metadata == {"VARSRC": "estimated from the sky"}
    np.testing.assert_allclose(Exposure.fromArray(image, gain=4.0).variance, image / 4, rtol=2e-7)


def test_pickling():
    exposure = makeExposure()
    back = pickle.loads(pickle.dumps(exposure))
    np.testing.assert_array_equal(back.image, exposure.image)
    assert back.mask.planes == exposure.mask.planes
    np.testing.assert_array_equal(back.wcs.all_pix2world([[1, 2]], 0), exposure.wcs.all_pix2world([[1, 2]], 0))


def test_wrongTypes():
    with pytest.raises(TypeError, match=r"from a MaskedImage, not from ndarray; write Exposure\(MaskedImage"):
        Exposure(np.ones(SHAPE))
    with pytest.raises(TypeError, match=r"astropy\.wcs\.WCS or None, not str"):
        Exposure(MaskedImage(np.ones(SHAPE)), "RA---TAN")
