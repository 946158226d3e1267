"""Roman's ASDF files, made small here."""

import io
import sys

import asdf
import gwcs
import numpy as np
import pytest
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling import models
from gwcs import coordinate_frames

from psfmatch import Exposure, ExposureReadError
from psfmatch.images import toExposure

SHAPE = (20, 30)
IMAGE = np.random.default_rng(6).normal(0.5, 0.01, SHAPE).astype(np.float32)


def makeWcs():
    scale = models.Scale(0.11 / 3600) & models.Scale(0.11 / 3600)
    model = scale | models.Pix2Sky_TAN() | models.RotateNative2Celestial(270.0, 66.0, 180.0)
    detector = coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix))
    sky = coordinate_frames.CelestialFrame(reference_frame=coordinates.ICRS(), name="world")
    return gwcs.WCS([(detector, model), (sky, None)])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    dq = np.zeros(SHAPE, dtype=np.uint32)
    dq[0, :4] = 1, 2, 4, 8
    tree = {
        "data": IMAGE,
        "err": np.full(SHAPE, 0.5, dtype=np.float16),
        "dq": dq,
        "meta": {
            "wcs": makeWcs(),
            "filename": "r0000101_wfi01_cal.asdf",
            "instrument": {"name": "WFI", "optical_element": "F158"},
            "photometry": {"conversion_megajanskys": 0.5, "pixel_area": 2.8e-13},
        },
    }
    path = tmp_path_factory.mktemp("roman") / "cal.asdf"
    asdf.AsdfFile({"roman": tree}).write_to(path)
    return path


def test_everythingIsRead(path):
    exposure = Exposure.readFits(path)
    np.testing.assert_array_equal(exposure.image, IMAGE)
    assert exposure.image.flags.writeable
    np.testing.assert_array_equal(exposure.variance, 0.25)
    for name, x in (("BAD", 0), ("SAT", 1), ("CR", 2)):
        assert np.argwhere(exposure.mask.hasAny(name)).tolist() == [[0, x]]
    assert exposure.filter == "F158"
    # 0.5 MJy/sr times 2.8e-13 sr are 1.4e-13 MJy.
    assert exposure.photoCalib == pytest.approx(140.0)
    assert exposure.metadata["VARSRC"] == "roman.err squared"
    found = exposure.wcs.pixel_to_world(3.0, 4.0)
    assert found.separation(makeWcs().pixel_to_world(3.0, 4.0)).arcsec < 1e-4


def test_openFile(path):
    file = io.BytesIO(path.read_bytes())
    np.testing.assert_array_equal(toExposure(file).image, IMAGE)
    assert file.tell() == 0


def test_planesThatTheCallerNames(path, tmp_path):
    fits.PrimaryHDU(np.full(SHAPE, 3.0)).writeto(tmp_path / "noise.fits")
    fits.PrimaryHDU(np.eye(*SHAPE, dtype=np.uint8)).writeto(tmp_path / "mask.fits")
    exposure = Exposure.readFits(path, noise=tmp_path / "noise.fits", mask=tmp_path / "mask.fits")
    np.testing.assert_array_equal(exposure.variance, 9.0)
    np.testing.assert_array_equal(exposure.mask.hasAny("BAD"), np.eye(*SHAPE, dtype=bool))


def test_withoutNoise(tmp_path):
    asdf.AsdfFile({"roman": {"data": IMAGE}}).write_to(tmp_path / "a.asdf")
    exposure = Exposure.readFits(tmp_path / "a.asdf")
    # One block of 600 pixels, as for arrays.
    np.testing.assert_allclose(exposure.variance, 1e-4, rtol=0.24)
    assert (exposure.wcs, exposure.photoCalib, exposure.filter) == (None, None, None)


def test_whatCannotBeRead(path, tmp_path, monkeypatch):
    asdf.AsdfFile({"jwst": {"data": IMAGE}}).write_to(tmp_path / "other.asdf")
    with pytest.raises(ExposureReadError, match=r"other.asdf: holds no roman.data; it has .*jwst"):
        Exposure.readFits(tmp_path / "other.asdf")
    asdf.AsdfFile({"roman": {"data": IMAGE[0]}}).write_to(tmp_path / "row.asdf")
    with pytest.raises(ExposureReadError, match=r"roman.data has shape \(30,\), not two dimensions"):
        Exposure.readFits(tmp_path / "row.asdf")
    (tmp_path / "half.asdf").write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ExposureReadError, match="cannot be read as ASDF"):
        Exposure.readFits(tmp_path / "half.asdf")
    monkeypatch.setitem(sys.modules, "asdf", None)
    with pytest.raises(ExposureReadError, match=r"is ASDF; to read it: pip install 'psfmatch\[asdf\]'"):
        Exposure.readFits(path)
