"""Data quality masks of telescopes: each bit in the plane that its public table gives it."""

import numpy as np
import pytest
from astropy.io import fits

from psfmatch import Exposure
from psfmatch.cli import main
from psfmatch.io import DEFAULT_MASK_PLANES, decodeMask, describe, readPlanes
from psfmatch.io.dqFlags import conventionOf

SHAPE = (30, 40)
IMAGE = np.random.default_rng(2).normal(100.0, 5.0, SHAPE).astype(np.float32)

ACS = {"TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "WFC"}
UVIS = {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "UVIS"}
IR = {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "IR"}
WFPC2 = {"TELESCOP": "HST", "INSTRUME": "WFPC2", "DETECTOR": 3}
STIS = {"TELESCOP": "HST", "INSTRUME": "STIS", "DETECTOR": "CCD"}
NICMOS = {"TELESCOP": "HST", "INSTRUME": "NICMOS"}
JWST = {"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1"}
ROMAN = {"TELESCOP": "ROMAN"}
GEMINI = {"TELESCOP": "Gemini-North", "INSTRUME": "GMOS-N"}
CODES = {"TELESCOP": "CTIO 4.0-m telescope", "INSTRUME": "DECam", "PLVER": "V4.8"}
BITS = {"TELESCOP": "CTIO 4.0-m telescope", "INSTRUME": "DECam", "PLVER": "V3.2.1"}
DES = {"INSTRUME": "DECam", "DES_EXT": "MASK"}
PAN_STARRS = {"HIERARCH FPA.TELESCOPE": "PS1"}
ZTF = {"TELESCOP": "Palomar 48-inch", "INSTRUME": "ZTF/MOSAIC"}
SDSS = {"TELESCOP": "2.5m"}
LEGACY = {"LEGPIPEV": "DR9.6"}

# header, value, planes that a pixel of that value gets
TABLE = [
    (ACS, 1, {"NO_DATA"}),
    (ACS, 4, {"BAD"}),
    (ACS, 16, {"BAD", "HOT"}),
    (ACS, 64, {"SUSPECT"}),
    (ACS, 128, {"BAD"}),
    (ACS, 256, {"SAT"}),
    (ACS, 2048, {"SAT"}),
    (ACS, 4096, {"CR"}),
    (ACS, 8192, {"CR"}),
    (ACS, 8192 + 256 + 16, {"CR", "SAT", "BAD", "HOT"}),
    (UVIS, 256, {"SAT"}),
    (UVIS, 8192, {"CR"}),
    (UVIS, 16384, {"SUSPECT"}),
    (UVIS, 2, {"NO_DATA"}),
    (UVIS, -32768, {"BAD"}),
    (IR, 4, {"BAD", "DEAD"}),
    (IR, 1024, {"SUSPECT"}),
    (IR, 256, {"SAT"}),
    (IR, 2048, {"SUSPECT"}),
    (IR, 512, {"SUSPECT"}),
    (WFPC2, 8, {"SAT"}),
    (WFPC2, 16, {"NO_DATA"}),
    (WFPC2, 4, {"BAD", "DEAD"}),
    (WFPC2, 4096, {"CR"}),
    (WFPC2, 512, {"BAD", "HOT"}),
    (WFPC2, 1024, {"SUSPECT"}),
    (STIS, 256, {"SAT"}),
    (STIS, 8192, {"CR"}),
    (NICMOS, 64, {"SAT"}),
    (NICMOS, 512, {"CR"}),
    (NICMOS, 128, {"NO_DATA"}),
    (JWST, 1 << 0 | 1 << 9, {"BAD", "NO_DATA"}),
    (JWST, 1 << 1, {"SAT"}),
    (JWST, 1 << 2, {"CR"}),
    (JWST, 1 << 3, {"NO_DATA"}),
    (JWST, 1 << 4, {"CR"}),
    (JWST, 1 << 9, {"NO_DATA"}),
    (JWST, 1 << 10 | 1, {"BAD", "DEAD"}),
    (JWST, 1 << 11 | 1, {"BAD", "HOT"}),
    (JWST, 1 << 12, set()),
    (JWST, 1 << 16, {"SUSPECT"}),
    (ROMAN, 1 << 1, {"SAT"}),
    (ROMAN, 1 << 7, {"CR"}),
    (GEMINI, 2, {"SUSPECT"}),
    (GEMINI, 4, {"SAT"}),
    (GEMINI, 8, {"CR"}),
    (GEMINI, 16, {"NO_DATA"}),
    (CODES, 2, {"NO_DATA"}),
    (CODES, 3, {"SAT"}),
    (CODES, 4, {"SAT"}),
    (CODES, 5, {"CR"}),
    (CODES, 6, {"BAD"}),
    (CODES, 7, {"SUSPECT"}),
    (CODES, 8, {"STREAK"}),
    (BITS, 2, {"SAT"}),
    (BITS, 5, {"BAD", "INTRP"}),
    (BITS, 16, {"CR"}),
    (BITS, 64, {"SAT"}),
    (DES, 2, {"SAT"}),
    (DES, 16, {"CR"}),
    (DES, 32, set()),
    (DES, 1024, {"STREAK"}),
    (PAN_STARRS, 0x20, {"SAT"}),
    (PAN_STARRS, 0x100, {"CR"}),
    (PAN_STARRS, 0x8, {"NO_DATA"}),
    (PAN_STARRS, 0x2, {"BAD"}),
    (PAN_STARRS, 0x1000, set()),
    (ZTF, 1 << 8, {"SAT"}),
    (ZTF, 1 << 7, {"CR"}),
    (ZTF, 1 << 9, {"BAD", "DEAD"}),
    (ZTF, 1 << 10, {"NO_DATA"}),
    (SDSS, 2, {"SAT"}),
    (SDSS, 512, {"CR"}),
    (LEGACY, 4, {"SAT"}),
    (LEGACY, 2, set()),
]


def planesOf(mask, planes):
    """Return the names of the planes that the first pixel has."""
    return {name for name, bit in planes.items() if mask.flat[0] >> bit & 1}


@pytest.mark.parametrize(("cards", "value", "expected"), TABLE)
def test_bitsByTheTelescope(cards, value, expected):
    header = fits.Header(cards)
    values = np.zeros(SHAPE, dtype=np.int64)
    values[0, 0] = value
    mask, planes = decodeMask(values, header, str(header.get("TELESCOP", "")), "dq.fits")
    assert planesOf(mask, planes) == expected
    assert np.count_nonzero(mask) == bool(expected)
    assert all(planes[name] == DEFAULT_MASK_PLANES[name] for name in expected & set(DEFAULT_MASK_PLANES))


def quality(dtype=np.uint16, **pixels):
    values = np.zeros(SHAPE, dtype=dtype)
    for n, value in enumerate(pixels.values()):
        values[0, n] = value
    return values


@pytest.mark.parametrize("cards", [ACS, UVIS, IR])
def test_hstFiles(tmp_path, cards):
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    values = quality(np.int16, saturated=256, cosmicRay=8192, hot=16, dead=4, lost=1)
    hdus = [
        fits.ImageHDU(IMAGE, name="SCI"),
        fits.ImageHDU(np.sqrt(IMAGE), name="ERR"),
        fits.ImageHDU(values, name="DQ"),
    ]
    fits.HDUList([primary, *hdus]).writeto(tmp_path / "flt.fits")
    exposure = Exposure.readFits(tmp_path / "flt.fits")
    for x, plane in enumerate(("SAT", "CR", "HOT", "BAD", "NO_DATA")):
        assert exposure.mask.hasAny(plane)[0, x], plane
    np.testing.assert_array_equal(exposure.mask.hasAny("BAD")[0, :5], [False, False, True, True, False])


def test_theImageTellsWhatItsMaskFileDoesNot(tmp_path):
    image = fits.PrimaryHDU(IMAGE)
    image.header.update(WFPC2)
    image.writeto(tmp_path / "c0f.fits")
    fits.PrimaryHDU(quality(saturated=8, ray=4096)).writeto(tmp_path / "c1f.fits")
    planes = readPlanes(tmp_path / "c0f.fits", mask=tmp_path / "c1f.fits")
    np.testing.assert_array_equal(planes.mask[0, :3], [2, 8, 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_zerosAndOnesNeedNoTable(tmp_path, dtype):
    # A mask that somebody made of an image of SDSS, where bit 0 would be that of interpolated pixels.
    image = fits.PrimaryHDU(IMAGE)
    image.header.update(SDSS)
    image.writeto(tmp_path / "frame.fits")
    fits.PrimaryHDU(quality(bad=1).astype(dtype)).writeto(tmp_path / "mask.fits")
    planes = readPlanes(tmp_path / "frame.fits", mask=tmp_path / "mask.fits")
    assert planes.maskPlanes == {"BAD": 0}
    assert planes.mask[0, 0] == 1
    assert np.count_nonzero(planes.mask) == 1


@pytest.mark.parametrize("good", [1, 255])
def test_masksOfGoodPixels(tmp_path, good, caplog):
    values = np.full(SHAPE, good, dtype=np.uint8)
    values[3:6, 4:9] = 0
    fits.HDUList([fits.PrimaryHDU(IMAGE), fits.ImageHDU(values, name="MASK")]).writeto(tmp_path / "good.fits")
    planes = readPlanes(tmp_path / "good.fits")
    np.testing.assert_array_equal(planes.mask, values == 0)
    assert f"{good} is taken for good, 0 for bad" in caplog.text


BAD = np.zeros(SHAPE, dtype=bool)
BAD[3:6, 4:9] = True
WILD = {
    "booleans of bad pixels": (BAD.astype(np.uint8), BAD),
    "booleans of good pixels": ((~BAD).astype(np.uint8), BAD),
    "255 is bad": (np.where(BAD, 255, 0).astype(np.uint8), BAD),
    "100 is good": (np.where(BAD, 0, 100).astype(np.uint8), BAD),
    "1000 is good": (np.where(BAD, 0, 1000).astype(np.int16), BAD),
    "-1 is bad": (np.where(BAD, -1, 0).astype(np.int16), BAD),
    "a bit of 64": (np.where(BAD, 2**40, 0), BAD),
    "1 of 64 bits is good": (np.where(BAD, 0, 1), BAD),
    "beyond the range of 16 bits": (np.where(BAD, 40000, 0).astype(np.uint16), BAD),
    "floats": (np.where(BAD, 1.0, 0.0).astype(np.float32), BAD),
    "floats of good pixels": (np.where(BAD, 0.0, 1.0).astype(np.float32), BAD),
    "NaN among zeros": (np.where(BAD, np.nan, 0.0).astype(np.float32), BAD),
    "NaN among ones": (np.where(BAD, np.nan, 1.0).astype(np.float32), BAD),
    "negative floats": (np.where(BAD, -1.0, 0.0).astype(np.float32), BAD),
    "a cube of one plane": (BAD[np.newaxis].astype(np.uint8), BAD),
    "all good": (np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, dtype=bool)),
}


@pytest.mark.parametrize("name", WILD)
@pytest.mark.parametrize("isPacked", [False, True])
def test_masksWithoutNames(name, isPacked, tmp_path):
    values, isBad = WILD[name]
    if isPacked and values.dtype.itemsize < 8:
        level = {"quantize_level": 0.0} if values.dtype.kind == "f" else {}
        hdu = fits.CompImageHDU(values, name="MASK", compression_type="GZIP_1", **level)
    else:
        hdu = fits.ImageHDU(values, name="MASK")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="SCI"), hdu]).writeto(tmp_path / "a.fits")
    planes = readPlanes(tmp_path / "a.fits", gain=1.0)
    np.testing.assert_array_equal(planes.mask & 1 != 0, isBad)


def test_aMaskOfSeveralPlanesIsSaid(tmp_path, caplog):
    cube = fits.ImageHDU(np.zeros((2, *SHAPE), np.uint8), name="DQ")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="SCI"), cube]).writeto(tmp_path / "a.fits")
    assert readPlanes(tmp_path / "a.fits", gain=1.0).mask is None
    assert "HDU [2] DQ image 40x30x2 uint8 is not used: it is a cube of 2 planes" in caplog.text


@pytest.mark.parametrize(
    "image",
    [np.where(np.arange(40) < 30, np.nan, IMAGE).astype(np.float32), np.where(np.arange(40) < 30, 0, IMAGE)],
    ids=["NaN", "zeros"],
)
def test_masksOfFewGoodPixelsStayMasksOfBadOnes(tmp_path, image):
    # Three quarters are bad, and show nothing.
    values = np.broadcast_to((np.arange(40) < 30).astype(np.uint8), SHAPE)
    fits.HDUList([fits.PrimaryHDU(image), fits.ImageHDU(values, name="MASK")]).writeto(tmp_path / "half.fits")
    np.testing.assert_array_equal(readPlanes(tmp_path / "half.fits").mask, values)


@pytest.mark.parametrize(
    ("cards", "value", "plane"),
    [
        ({"MSKNAM00": "BLANK", "MSKVAL00": 8, "MSKNAM01": "SAT", "MSKVAL01": 32}, 8, "NO_DATA"),
        ({"MSKNAM00": "DETECTOR", "MSKVAL00": 1, "MSKNAM01": "MASK.VALUE", "MSKVAL01": 9}, 1, "BAD"),
        ({"MSKNAM00": "SUSPECT", "MSKVAL00": 128, "MSKNAM01": "BURNTOOL", "MSKVAL01": 128}, 128, "SUSPECT"),
        ({"MP_MISSING_DATA": 3}, 8, "NO_DATA"),
        ({"MP_NONFUNC": 2}, 4, "BAD"),
        ({"MP_OVERFLOW": 1}, 2, "SAT"),
        ({"MBIT_2": "SATUR_G"}, 4, "SAT"),
        ({"MSKN0004": "COSMIC_RAY", "MSKM0004": 16}, 16, "CR"),
    ],
)
def test_planesByOtherNames(cards, value, plane):
    header = fits.Header()
    for key, one in cards.items():
        header[key if len(key) <= 8 else f"HIERARCH {key}"] = one
    mask, planes = decodeMask(np.array([[value, 0]]), header, "", "m.fits")
    assert plane in planesOf(mask, planes)
    assert mask[0, 1] == 0


def test_theVersionTellsCodesFromBits():
    assert conventionOf({"INSTRUME": "decam", "PLVER": "V3.5"}).codes is not None
    assert conventionOf({"INSTRUME": "decam", "PLVER": "V10.0"}).codes is not None
    assert conventionOf({"INSTRUME": "decam", "PLVER": "V3.4.9"}).codes is None
    assert conventionOf({"INSTRUME": "DECam"}, largest=7).codes is not None
    assert conventionOf({"INSTRUME": "DECam"}, largest=128).codes is None
    assert conventionOf({"TELESCOP": "SAAO 1.0m"}) is None


def test_infoTellsWhatBitsMean(tmp_path, capsys):
    primary = fits.PrimaryHDU()
    primary.header.update({**ACS, "BUNIT": "ELECTRONS"})
    hdus = [fits.ImageHDU(IMAGE, name="SCI"), fits.ImageHDU(quality(), name="DQ"), fits.ImageHDU(IMAGE, name="WHT")]
    fits.HDUList([primary, *hdus]).writeto(tmp_path / "flt.fits")
    assert main(["info", str(tmp_path / "flt.fits")]) == 0
    told = capsys.readouterr().out
    assert "image, in electron" in told
    assert "bits of HST ACS: BAD 4+8+16+128+512+1024+16384, SAT 256+2048, CR 4096+8192" in told
    assert "weight, 1/variance, relative or 0/1, as its pixels tell" in told
    assert [entry.unit for entry in describe(tmp_path / "flt.fits")] == ["", "electron", "", ""]


@pytest.mark.parametrize("shape", [(20, 20), (1, 40), SHAPE[::-1]])
def test_masksOfOtherShapes(tmp_path, shape):
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "image.fits")
    fits.PrimaryHDU(np.zeros(shape, np.uint8)).writeto(tmp_path / "mask.fits")
    with pytest.raises(RuntimeError, match="does not fit the image of 40x30 pixels"):
        readPlanes(tmp_path / "image.fits", mask=tmp_path / "mask.fits")
