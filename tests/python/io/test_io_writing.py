"""Our own file: bit for bit there and back, and readable by astropy."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty
from astropy.table import Table
from astropy.wcs import WCS

from psfmatch.errors import ExposureReadError
from psfmatch.io import (
    DEFAULT_MASK_PLANES,
    ImagePlanes,
    KernelTables,
    SpatialField,
    asWcs,
    describe,
    readConfig,
    readKernelTables,
    readPlanes,
    readStamps,
    writeKernelTables,
    writePlanes,
)
from psfmatch.io import writing as writingModule

SHAPE = (30, 41)


def makePlanes(wcs=True, xy0=(1000, -20), seed=1):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=SHAPE).astype(np.float32)
    image[0, :4] = np.nan, np.inf, -np.inf, -0.0
    image[1, 0] = np.float32(1e-42)  # denormal
    variance = rng.uniform(size=SHAPE).astype(np.float32)
    variance[0, :3] = 0, -1, np.inf
    return ImagePlanes(
        image=image,
        mask=rng.integers(0, 2**31, SHAPE, dtype=np.int32),
        maskPlanes={**DEFAULT_MASK_PLANES, **{f"PLANE_{bit}": bit for bit in range(9, 31)}},
        variance=variance,
        xy0=xy0,
        wcs=makeWcs() if wcs else None,
        metadata={"OBJECT": "M 31", "BUNIT": "nJy", "spatialConditionNum": 1.2345678901234567e-05, "KSUM00": 0.1},
        filter="r",
        photoCalib=57.54399373371569,
    )


def makeWcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (10 / 3, -1 / 7), (1020.5, -5.25)
    wcs.wcs.cd = [[-1.2345678901234567e-05, 7e-7], [1e-6, 5e-5]]
    return wcs


def makeKernel(background=True, seed=2):
    rng = np.random.default_rng(seed)
    return KernelTables(
        basis=rng.normal(size=(4, 5, 7)),
        coefficients=rng.normal(size=(4, 6)) * 1e-9,
        spatialField=SpatialField("chebyshev1", 2, 1019.5, -5.0, 20.5, 15.0 / 7),
        background=rng.normal(size=3) if background else None,
        backgroundField=SpatialField("polynomial", 1) if background else None,
        metadata={"KSUM": 1 / 3},
    )


def bits(array):
    """Bytes in native order, so that NaN and -0.0 compare too."""
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("wcs", [True, False])
@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
def test_planesRoundTrip(tmp_path, wcs, name, caplog):
    planes = makePlanes(wcs)
    writePlanes(tmp_path / name, planes)
    back = readPlanes(tmp_path / name)
    for plane in ("image", "mask", "variance"):
        assert bits(getattr(back, plane)) == bits(getattr(planes, plane))
    assert back.maskPlanes == planes.maskPlanes
    assert back.xy0 == planes.xy0
    assert back.metadata == planes.metadata
    assert back.filter == "r"
    assert back.photoCalib == planes.photoCalib
    assert back.varianceSource == "HDU VARIANCE"
    assert not caplog.records
    if wcs:
        corners = np.array([[1000.0, -20.0], [1040.0, 9.0]])
        # CRPIX in quarters of pixels is moved without rounding.
        np.testing.assert_array_equal(asWcs(back.wcs).all_pix2world(corners, 0), planes.wcs.all_pix2world(corners, 0))
    else:
        assert back.wcs is None
    writePlanes(tmp_path / f"again{name}", back)
    assert (tmp_path / f"again{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert readPlanes(tmp_path / name, useXY0=False).xy0 == (0, 0)


def test_stridedAndReadOnlyPlanes(tmp_path):
    whole = makePlanes(xy0=(0, 0))
    whole.image.flags.writeable = False
    part = ImagePlanes(whole.image[2:9, 3:20], whole.mask[2:9, 3:20], None, whole.variance[2:9, 3:20])
    writePlanes(tmp_path / "a.fits", part)
    back = readPlanes(tmp_path / "a.fits")
    for plane in ("image", "mask", "variance"):
        assert bits(getattr(back, plane)) == bits(getattr(part, plane))


def test_inputsAreOnlyShownReadOnlyToAstropy(tmp_path, monkeypatch):
    planes = makePlanes()
    seen = []
    monkeypatch.setattr(writingModule, "writeHdus", lambda path, hdus, overwrite: seen.extend(hdus))
    writePlanes(tmp_path / "a.fits", planes, matched=planes.image)
    images = [hdu for hdu in seen if hdu.name in ("IMAGE", "MASK", "VARIANCE", "MATCHED")]
    assert len(images) == 4
    # astropy swaps the bytes of a writeable array in place while it writes.
    assert not any(hdu.data.flags.writeable for hdu in images)
    assert np.shares_memory(images[0].data, planes.image)
    assert np.shares_memory(images[2].data, planes.variance)
    assert planes.image.flags.writeable


@pytest.mark.parametrize("wcs", [True, False])
def test_astropyReadsItAsCcdData(tmp_path, wcs):
    planes = makePlanes(wcs)
    writePlanes(tmp_path / "a.fits", planes)
    ccd = CCDData.read(tmp_path / "a.fits", hdu="IMAGE", unit="adu", hdu_mask="MASK", hdu_uncertainty="VARIANCE")
    assert isinstance(ccd.uncertainty, VarianceUncertainty)
    np.testing.assert_array_equal(ccd.uncertainty.array, planes.variance)
    np.testing.assert_array_equal(ccd.data, planes.image)
    np.testing.assert_array_equal(ccd.mask, planes.mask != 0)
    if wcs:
        local = ccd.wcs.all_pix2world([[3.0, 4.0]], 0)
        np.testing.assert_array_equal(local, planes.wcs.all_pix2world([[1003.0, -16.0]], 0))


def test_headersForOtherReaders(tmp_path):
    writePlanes(tmp_path / "a.fits", makePlanes(), matched=makePlanes().image)
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE", "MATCHED"]
        for hdu in hdus[1:]:
            assert hdu.header["EXTTYPE"] == hdu.name
            assert hdu.header["INHERIT"] is True
            assert (hdu.header["LTV1"], hdu.header["LTV2"]) == (-1000, 20)
            assert (hdu.header["CRVAL1A"], hdu.header["CRVAL2A"]) == (1000, -20)
            assert hdu.header["CRPIX1"] == 20.5
        assert hdus["MASK"].header["BITPIX"] == 32
        assert hdus["MASK"].header["MP_DETECTED_NEGATIVE"] == 6
        assert hdus["MASK"].header["MSKN0008"] == "NO_DATA"
        assert hdus["MASK"].header["MSKM0008"] == 256
        assert hdus["VARIANCE"].header["UTYPE"] == "VarianceUncertainty"
        assert hdus["IMAGE"].header["BUNIT"] == hdus["MATCHED"].header["BUNIT"] == "nJy"
        assert "BUNIT" not in hdus["PRIMARY"].header
        assert hdus["PRIMARY"].header["OBJECT"] == "M 31"


def test_wholeFile(tmp_path):
    path = tmp_path / "difference.fits"
    planes, kernel = makePlanes(), makeKernel()
    stamps = Table({"x": [1.5, 2.5], "status": ["GOOD", "BAD"], "used": [True, False], "n": [1, 2]})
    config = {"kernelSize": 21, "alardSigGauss": [0.7, 1.5], "µ": None, "nested": {"a": True}}
    writePlanes(path, planes, matched=planes.image * 2, kernel=kernel, stamps=stamps, config=config)
    assert readConfig(path) == config
    back = readStamps(path)
    assert back.colnames == stamps.colnames
    assert back["status"].tolist() == ["GOOD", "BAD"]
    assert back["used"].tolist() == [True, False]
    assert back["x"].tolist() == [1.5, 2.5]
    np.testing.assert_array_equal(readPlanes(f"{path}[MATCHED]", gain=1.0).image, planes.image * 2)
    assert bits(readKernelTables(path).basis) == bits(kernel.basis)
    assert readPlanes(path).metadata == planes.metadata
    with fits.open(path) as hdus:
        assert json.loads(hdus["CONFIG"].data["CONFIG"][0]) == config
    rows = describe(path)
    assert [(row.index, row.name, row.kind, row.shape, row.dtype, str(row.role)) for row in rows] == [
        (0, "PRIMARY", "empty", (), "", ""),
        (1, "IMAGE", "image", SHAPE, "float32", "image"),
        (2, "MASK", "image", SHAPE, "int32", "mask"),
        (3, "VARIANCE", "image", SHAPE, "float32", "variance"),
        (4, "MATCHED", "image", SHAPE, "float32", "matched template"),
        (5, "KBASIS", "image", (4, 5, 7), "float64", "kernel basis"),
        (6, "KCOEF", "table", (4,), "", "kernel coefficients"),
        (7, "BCOEF", "table", (1,), "", "background coefficients"),
        (8, "STAMPS", "table", (2,), "", "stamps"),
        (9, "CONFIG", "table", (1,), "", "configuration"),
    ]
    assert str(rows[1]) == "[1] IMAGE image 41x30 float32"


def test_whatIsNotThereIsNone(tmp_path):
    path = tmp_path / "a.fits"
    writePlanes(path, ImagePlanes(np.ones(SHAPE, np.float32)))
    assert [entry.name for entry in describe(path)] == ["PRIMARY", "IMAGE"]
    assert readConfig(path) is None
    assert readStamps(path) is None
    assert readPlanes(path, gain=1).mask is None
    with pytest.raises(ExposureReadError, match=r"holds no kernel \(HDUs KBASIS and KCOEF\); it holds \[0\] PRIMARY"):
        readKernelTables(path)


@pytest.mark.parametrize("background", [True, False])
def test_kernelRoundTrip(tmp_path, background):
    tables = makeKernel(background)
    path = tmp_path / "kernel.fits"
    writeKernelTables(path, tables)
    back = readKernelTables(path)
    for name in ("basis", "coefficients"):
        assert bits(getattr(back, name)) == bits(getattr(tables, name))
        assert getattr(back, name).dtype.isnative
    assert back.spatialField == tables.spatialField
    assert back.backgroundField == tables.backgroundField
    assert back.metadata == tables.metadata
    if background:
        assert bits(back.background) == bits(tables.background)
    else:
        assert back.background is None
    with fits.open(path) as hdus:
        assert hdus["KCOEF"].header["KMODEL"] == "chebyshev1"
        assert hdus["KCOEF"].header["KORDER"] == 2
        assert hdus["KCOEF"].header["KXSCALE"] == 20.5
        assert hdus["KCOEF"].columns["COEF"].format == "6D"


def test_fixedKernel(tmp_path):
    tables = KernelTables(np.ones((1, 3, 3)), np.full((1, 1), 0.5), SpatialField("polynomial", 0))
    writeKernelTables(tmp_path / "k.fits", tables)
    assert readKernelTables(tmp_path / "k.fits").coefficients.tolist() == [[0.5]]
    with pytest.raises(FileExistsError, match="exists already"):
        writeKernelTables(tmp_path / "k.fits", tables, overwrite=False)


def damageRows(hdus):
    hdus["KCOEF"] = fits.BinTableHDU(hdus["KCOEF"].data[:2], hdus["KCOEF"].header)


def damageModel(hdus):
    hdus["KCOEF"].header["KMODEL"] = "spline"


def damageCards(hdus):
    del hdus["BCOEF"].header["BORDER"]


def damageColumn(hdus):
    hdus["KCOEF"].columns["COEF"].name = "OTHER"


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (damageRows, r"do not fit together: 4 basis images of spatial order 2 need .*\(4, 6\), not \(2, 6\)"),
        (damageModel, r"spatial model 'spline' is none of chebyshev1, polynomial"),
        (damageCards, r"BORDER"),
        (damageColumn, r"HDU 2 has no column COEF of numbers"),
    ],
)
def test_damagedKernels(tmp_path, damage, match):
    writeKernelTables(tmp_path / "a.fits", makeKernel())
    with fits.open(tmp_path / "a.fits") as hdus:
        damage(hdus)
        hdus.writeto(tmp_path / "b.fits")
    with pytest.raises(ExposureReadError, match=match):
        readKernelTables(tmp_path / "b.fits")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"basis": np.ones((3, 3))}, r"\(n, h, w\) array, but this one has shape \(3, 3\)"),
        ({"coefficients": np.ones((4, 5))}, r"need coefficients of shape \(4, 6\), not \(4, 5\)"),
        ({"background": None}, "come together or not at all"),
        ({"background": np.ones(4)}, r"order 1 has 3 coefficients, not an array of shape \(4,\)"),
    ],
)
def test_tablesThatDoNotFit(change, match):
    tables = makeKernel()
    fields = {name: getattr(tables, name) for name in tables.__dataclass_fields__}
    with pytest.raises(ValueError, match=match):
        KernelTables(**{**fields, **change})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": "spline"}, "'spline' is none of"),
        ({"order": -1}, "order -1 is negative"),
        ({"xScale": 0.0}, "not both positive"),
    ],
)
def test_senselessFunctions(change, match):
    with pytest.raises(ValueError, match=match):
        SpatialField(**{"model": "polynomial", "order": 1, **change})


def test_planesThatDoNotFit(tmp_path):
    image = np.ones(SHAPE, np.float32)
    with pytest.raises(ValueError, match=r"variance has shape \(3, 3\), but the image \(30, 41\)"):
        writePlanes(tmp_path / "a.fits", ImagePlanes(image, variance=np.ones((3, 3), np.float32)))
    with pytest.raises(ValueError, match=r"matched has shape \(41, 30\)"):
        writePlanes(tmp_path / "a.fits", ImagePlanes(image), matched=image.T)
    with pytest.raises(ValueError, match=r"shape \(5,\); only two-dimensional"):
        writePlanes(tmp_path / "a.fits", ImagePlanes(np.ones(5, np.float32)))
    assert not list(tmp_path.iterdir())


def test_configThatIsNoJson(tmp_path):
    path = tmp_path / "a.fits"
    table = fits.table_to_hdu(Table({"CONFIG": ["import os"]}))
    table.name = "CONFIG"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    with pytest.raises(ExposureReadError, match="HDU CONFIG holds no JSON"):
        readConfig(path)
