"""Pixels as files have them: every type, integers without a value, asinh stacks, planes of cubes, damaged files."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from psfmatch.cli import main
from psfmatch.errors import ExposureReadError
from psfmatch.hotpants import readImage
from psfmatch.images import Exposure
from psfmatch.io import ImagePlanes, parseFileName, readPlanes, writePlanes
from psfmatch.io.names import PlaneSelector

SHAPE = (40, 50)
random = np.random.default_rng(7)
COUNTS = random.integers(1, 200, SHAPE)
FLUX = random.normal(50.0, 30.0, SHAPE)
CUBE = random.normal(100.0, 5.0, (3, *SHAPE)).astype(np.float32)
SOFTENING, OFFSET = 2.7, 1.5


def write(path, hdu):
    primary = [] if isinstance(hdu, fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*primary, hdu]).writeto(path)
    return path


def withCards(path, **cards):
    """Put cards behind the last one of the file's last header, past what astropy would have them be."""
    content = path.read_bytes()
    ends = [at for at in range(0, len(content), 80) if content[at : at + 80] == b"END".ljust(80)]
    new = b"".join(f"{key:<8}= {value:>20}".ljust(80).encode() for key, value in cards.items()) + b"END".ljust(80)
    assert not content[ends[-1] + 80 : ends[-1] + len(new)].strip()
    path.write_bytes(content[: ends[-1]] + new + content[ends[-1] + len(new) :])
    return path


@pytest.mark.parametrize("compression", [None, "RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
@pytest.mark.parametrize(
    ("dtype", "stored", "blank"),
    [
        ("uint8", 255, 255),
        ("int16", -32768, -32768),
        ("int16", 0, 0),
        ("int32", -2147483648, -2147483648),
        ("int64", -99, -99),
        # FITS has the others in another range: BLANK is the number before BZERO.
        ("uint16", 0, -32768),
        ("uint16", 65535, 32767),
        ("uint32", 0, -2147483648),
        ("int8", -128, 0),
    ],
)
def test_integersWithoutAValue(dtype, stored, blank, compression, tmp_path):
    if compression is not None and dtype in ("int64", "uint32", "int8"):
        compression, hdu = None, fits.ImageHDU  # not compressed by astropy
    values = (COUNTS % 100 + 1).astype(dtype)
    values[0, :3] = stored
    expected = values.astype(np.float32)
    expected[0, :3] = np.nan
    hdu = fits.ImageHDU(values) if compression is None else fits.CompImageHDU(values, compression_type=compression)
    path = withCards(write(tmp_path / "a.fits", hdu), BLANK=blank)
    np.testing.assert_array_equal(readPlanes(path, gain=1.0).image, expected)
    np.testing.assert_array_equal(readImage(path), expected)


@pytest.mark.parametrize("key", ["BLANK", "ZBLANK"])
def test_blanksOfCompressedIntegers(key, tmp_path):
    values = COUNTS.astype(np.int16)
    values[0, :3] = -32768
    hdu = fits.CompImageHDU(values, compression_type="RICE_1")
    path = withCards(write(tmp_path / "a.fits", hdu), **{key: -32768})
    image = readPlanes(path, gain=1.0).image
    assert np.isnan(image[0, :3]).all()
    np.testing.assert_array_equal(image[1:], values[1:])


@pytest.mark.parametrize(
    ("blank", "isBlank", "words"),
    [
        ("-32768", True, ""),
        ("-32768.", True, "card BLANK = -32768.: read as -32768"),
        ("'-32768'", True, "card BLANK = '-32768': read as -32768"),
        ("-99999999", False, ""),
        ("nan", False, "card BLANK = nan is left out"),
        ("", False, "card BLANK = is left out"),
    ],
)
def test_theCardOfBlanks(blank, isBlank, words, tmp_path, caplog):
    values = COUNTS.astype(np.int16)
    values[0, 0] = -32768
    path = withCards(write(tmp_path / "a.fits", fits.PrimaryHDU(values)), BLANK=blank, BSCALE="0.5", BZERO="10.0")
    image = readPlanes(path, gain=1.0).image
    expected = values.astype(np.float32) * 0.5 + 10.0
    if isBlank:
        expected[0, 0] = np.nan
    np.testing.assert_array_equal(image, expected)
    assert (words in caplog.text) if words else ("BLANK" not in caplog.text)


def test_blanksOfFloatsAreIgnored(tmp_path, caplog):
    values = FLUX.astype(np.float32)
    values[0, :2] = -32768.0, np.nan
    path = withCards(write(tmp_path / "a.fits", fits.PrimaryHDU(values)), BLANK=-32768)
    np.testing.assert_array_equal(readPlanes(path, gain=1.0).image, values)
    assert (
        caplog.text.count("BLANK of HDU [0] PRIMARY image 50x40 float32 is ignored, for its pixels are no integers")
        == 1
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float64"])
def test_everyTypeIsReadByValue(dtype, tmp_path):
    values = COUNTS.astype(dtype)
    values[0, 0] = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1e30
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(values))
    np.testing.assert_array_equal(readPlanes(path, gain=1.0).image, values.astype(np.float32))


@pytest.mark.parametrize("compression", ["GZIP_1", "GZIP_2", "RICE_1"])
def test_nanInCompressedFloats(compression, tmp_path):
    values = FLUX.astype(np.float32)
    values[0, :3] = np.nan
    level = {"quantize_level": 0.0} if compression != "RICE_1" else {}
    path = write(tmp_path / "a.fits.fz", fits.CompImageHDU(values, compression_type=compression, **level))
    image = readPlanes(path, gain=1.0).image
    assert np.isnan(image[0, :3]).all()
    # Quantised in steps of a quarter of the noise of 30.
    np.testing.assert_allclose(image[1:], values[1:], rtol=0, atol=0.0 if level else 8.0)


def asinhOf(flux, offset=OFFSET, softening=SOFTENING):
    return (2.5 / np.log(10.0) * np.arcsinh((flux - offset) / (2.0 * softening))).astype(np.float32)


@pytest.mark.parametrize("isCompressed", [False, True])
@pytest.mark.parametrize("flux", [FLUX, -FLUX, FLUX * 1e6, FLUX * 1e-3], ids=["sky", "negative", "bright", "faint"])
def test_asinhStacksAreMadeLinear(flux, isCompressed, tmp_path, caplog):
    flux = flux.copy()
    flux[0, 0] = np.nan
    hdu = fits.ImageHDU(asinhOf(flux))
    if isCompressed:
        hdu = fits.CompImageHDU(asinhOf(flux), compression_type="GZIP_1", quantize_level=0.0)
    hdu.header.update({"BSOFTEN": SOFTENING, "BOFFSET": OFFSET})
    path = write(tmp_path / "stack.fits", hdu)
    planes = readPlanes(path, gain=1.0)
    # The numbers stored have 24 bits: up to 20 they give 1e-6 of the argument of sinh; near 0 of what is added.
    np.testing.assert_allclose(planes.image, flux, rtol=4e-6, atol=4e-6)
    assert caplog.text.count("stack.fits: pixels are on an asinh scale and made linear") == 1
    assert not {"BSOFTEN", "BOFFSET"} & set(planes.metadata)
    np.testing.assert_array_equal(readImage(path), planes.image)
    # What is written is linear, and stays so.
    writePlanes(tmp_path / "out.fits", planes)
    np.testing.assert_array_equal(readPlanes(tmp_path / "out.fits").image, planes.image)


def test_theVarianceOfAStackHasItsOwnScale(tmp_path):
    image, plain, scaled = fits.ImageHDU(asinhOf(FLUX), name="SCI"), np.full(SHAPE, 9.0, np.float32), FLUX**2 + 1.0
    image.header.update({"BSOFTEN": SOFTENING, "BOFFSET": OFFSET})
    variance = fits.ImageHDU(asinhOf(scaled, 0.5, 4.0), name="VARIANCE")
    variance.header.update({"BSOFTEN": 4.0, "BOFFSET": 0.5})
    fits.HDUList([fits.PrimaryHDU(), image, variance]).writeto(tmp_path / "a.fits")
    np.testing.assert_allclose(readPlanes(tmp_path / "a.fits").variance, scaled, rtol=4e-6)
    fits.HDUList([fits.PrimaryHDU(), image, fits.ImageHDU(plain, name="VARIANCE")]).writeto(tmp_path / "b.fits")
    np.testing.assert_array_equal(readPlanes(tmp_path / "b.fits").variance, plain)
    # And in a file of its own.
    write(tmp_path / "wt.fits", variance)
    np.testing.assert_allclose(
        readPlanes(tmp_path / "b.fits", variance=tmp_path / "wt.fits").variance, scaled, rtol=4e-6
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"BSOFTEN": "2.7"},
        {"BOFFSET": "1.5"},
        {"BSOFTEN": "0.0", "BOFFSET": "1.5"},
        {"BSOFTEN": "-1.0", "BOFFSET": "1.5"},
        {"BSOFTEN": "nan", "BOFFSET": "1.5"},
        {"BSOFTEN": "2,7", "BOFFSET": "1,5"},
    ],
    ids=str,
)
def test_anAsinhScaleThatIsNotKnown(cards, tmp_path):
    path = withCards(write(tmp_path / "a.fits", fits.PrimaryHDU(asinhOf(FLUX))), **cards)
    for read in (readPlanes, readImage):
        with pytest.raises(ExposureReadError, match=r"a\.fits: HDU .*pixels are on an asinh scale \(BSOFTEN = "):
            read(path)


CUBES = {
    "primary": (fits.PrimaryHDU(CUBE), "[0]"),
    "extension": (fits.ImageHDU(CUBE, name="SCI"), "[SCI]"),
    "version": (fits.ImageHDU(CUBE, name="SCI", ver=2), "[SCI,2]"),
    "compressed": (fits.CompImageHDU(CUBE, compression_type="GZIP_1", quantize_level=0.0), "[1]"),
    "four axes": (fits.PrimaryHDU(CUBE[np.newaxis]), "[0]"),
    "four long axes": (fits.PrimaryHDU(np.stack([CUBE, CUBE + 1])), "[0]"),
    "colours last": (fits.PrimaryHDU(np.ascontiguousarray(np.moveaxis(CUBE, 0, -1))), "[0]"),
    "integers": (fits.PrimaryHDU(np.round(CUBE).astype(np.uint8)), "[0]"),
}


@pytest.mark.parametrize("name", CUBES)
def test_planesOfCubes(name, tmp_path):
    hdu, brackets = CUBES[name]
    path = write(tmp_path / "cube.fits", hdu)
    nPlanes = 6 if name == "four long axes" else 3
    for plane in range(nPlanes):
        expected = CUBE[plane % 3] + plane // 3
        expected = np.round(expected) if name == "integers" else expected
        np.testing.assert_array_equal(readPlanes(f"{path}{brackets}[{plane}]", gain=1.0).image, expected)
        np.testing.assert_array_equal(readImage(f"{path}{brackets}[{plane}]"), expected)
    for wrong in ("", brackets, f"{brackets}[{nPlanes}]"):
        with pytest.raises(
            ExposureReadError, match=rf"is a cube of {nPlanes} planes, not one image; name a plane"
        ) as raised:
            readPlanes(f"{path}{wrong}")
        # The way that the message names is one.
        named = re.search(r"'(.*)'", str(raised.value))[1]
        assert readPlanes(named, gain=1.0).image.shape == SHAPE


def test_whatBelongsToAPlane(tmp_path):
    """Noise and mask of a cube, or of all its planes; the WCS, of which the third axis is not the sky."""
    path = tmp_path / "cube.fits"
    image = fits.ImageHDU(CUBE, name="SCI")
    image.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CTYPE3": "WAVE", "CRVAL1": 10.0, "CRVAL2": 20.0})
    image.header.update({"CRPIX1": 5.0, "CRPIX2": 6.0, "CD1_1": -1e-4, "CD2_2": 1e-4, "CD3_3": 1e-9})
    mask = np.zeros(SHAPE, np.int16)
    mask[3, 4] = 1
    fits.HDUList(
        [fits.PrimaryHDU(), image, fits.ImageHDU(CUBE**2, name="VAR"), fits.ImageHDU(mask, name="DQ")]
    ).writeto(path)
    planes = readPlanes(f"{path}[SCI][2]")
    np.testing.assert_array_equal(planes.variance, CUBE[2] ** 2)
    assert planes.mask[3, 4] == 1
    np.testing.assert_allclose(planes.wcs.all_pix2world(4.0, 5.0, 0), (10.0, 20.0))
    np.testing.assert_array_equal(Exposure.readFits(f"{path}[SCI][1]").image, CUBE[1])


def test_aPlaneIsNotMeantByOtherBrackets(tmp_path):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(CUBE[0]))
    np.testing.assert_array_equal(readPlanes(f"{path}[0][0]", gain=1.0).image, CUBE[0])
    with pytest.raises(ExposureReadError, match=r"HDU \[0\] PRIMARY image 50x40 float32 is no cube and has no plane 1"):
        readPlanes(f"{path}[0][1]")
    odd = tmp_path / "a[0].fits"
    odd.write_bytes(path.read_bytes())
    assert parseFileName(f"{odd}[0]") == (odd, 0)
    assert parseFileName(f"{path}[SCI,2][1]") == (path, PlaneSelector(("SCI", 2), 1))
    bracketed = tmp_path / "b.fits[1]"
    bracketed.write_bytes(path.read_bytes())
    assert parseFileName(f"{bracketed}[0]") == (bracketed, 0)
    for wrong in ("[1][a]", "[1][2][3]", "[1:5,2:6][1]"):
        with pytest.raises((ValueError, ExposureReadError, FileNotFoundError)):
            readPlanes(f"{path}{wrong}")


def zipped(content, *others):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("folder/a.fits", *others):
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("a.fits")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PACKERS = {
    "gzip": gzip.compress,
    "gzip twice": lambda content: gzip.compress(gzip.compress(content)),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
    "zip": zipped,
    "zip of a Mac": lambda content: zipped(content, "__MACOSX/folder/._a.fits"),
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("isBad", [False, True])
def test_packedFiles(pack, isBad, tmp_path, caplog):
    """A file that is packed as a whole is mended like any other."""
    path = tmp_path / "a.fits"
    writePlanes(path, ImagePlanes(CUBE[0], variance=CUBE[1]))
    if isBad:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"NEXTEND =                    2", b"NEXTEND =                  nan"))
    packed = tmp_path / "a.fits.packed"
    packed.write_bytes(pack(path.read_bytes()))
    planes = readPlanes(packed)
    np.testing.assert_array_equal(planes.image, CUBE[0])
    np.testing.assert_array_equal(planes.variance, CUBE[1])
    assert ("card NEXTEND = nan is left out" in caplog.text) is isBad
    packed.write_bytes(packed.read_bytes()[:-300])
    with pytest.raises(ExposureReadError, match=r"a\.fits\.packed"):
        readPlanes(packed)


FITS = fits.HDUList([fits.PrimaryHDU(CUBE[0])])
NO_FITS = {
    "zip of two": (
        lambda content: zipped(content, "b.fits"),
        "holds 2 files, not one: folder/a.fits, b.fits; unpack it",
    ),
    "tar": (tarred, "is no FITS file, but an archive of tar; unpack it"),
    "packed tar": (lambda content: gzip.compress(tarred(content)), "an archive of tar; unpack it"),
    "compress": (lambda content: b"\x1f\x9d\x90" + content, "gzip -d"),
    "zstd": (lambda content: b"\x28\xb5\x2f\xfd" + content, "zstd -d"),
    "page": (lambda content: b"<!DOCTYPE html><html>404</html>", "a page of the web"),
    "answer": (lambda content: b'{"error": "no such file"}', "JSON, perhaps the answer of a server"),
    "Git LFS": (lambda content: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "PNG": (lambda content: b"\x89PNG\r\n\x1a\n" + content, "a PNG picture"),
    "TIFF": (lambda content: b"II*\0" + content, "a TIFF picture; convert it to FITS"),
    "NumPy": (lambda content: b"\x93NUMPY" + content, "an array of NumPy"),
    "HDF5": (lambda content: b"\x89HDF\r\n" + content, "an HDF5 file"),
    "nothing": (lambda content: b"", "an empty one; fetch it again"),
    "BOM": (lambda content: b"\xef\xbb\xbf" + content, "begins with '...SIMPLE  =    ', where FITS has 'SIMPLE  ='"),
}


@pytest.mark.parametrize("name", NO_FITS)
def test_whatIsNoFits(name, tmp_path):
    """What it is, and what to do, whether it is a file or open."""
    make, words = NO_FITS[name]
    buffer = io.BytesIO()
    FITS.writeto(buffer)
    path = tmp_path / "a.fits"
    path.write_bytes(make(buffer.getvalue()))
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(ExposureReadError, match=re.escape(words)):
            readPlanes(source)


def test_infoTellsThePlanes(tmp_path, capsys):
    path = write(tmp_path / "cube.fits", fits.ImageHDU(CUBE, name="SCI"))
    assert main(["info", str(path)]) == 0
    assert "3x40x50          float32    a cube: its planes are [1][0] to [1][2]" in capsys.readouterr().out
