"""Pixels straight from and to the file: byte for byte what astropy writes, and nothing but what it reads."""

import io
import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from psfmatch import _core
from psfmatch import threads as strips
from psfmatch.io import ImagePlanes, readPlanes, writePlanes
from psfmatch.io.pixels import converted, isPlain, pieces, readPlain, writePieces

SHAPE = (37, 29)


@pytest.fixture(autouse=True)
def manyStrips(monkeypatch):
    """Three rows at a time, two threads."""
    monkeypatch.setattr(strips, "STRIP_PIXELS", 3 * SHAPE[1])
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "2")


def numbersOf(dtype):
    return np.random.default_rng(11).integers(0, 200, SHAPE).astype(dtype)


def makeHdus():
    image = numbersOf("f4")
    image[0, :3] = np.nan, np.inf, 1e-42
    whole = numbersOf("f4")
    planes = [
        image,
        numbersOf("i4"),
        numbersOf("f8"),
        numbersOf("i2"),
        numbersOf("u1"),
        numbersOf("u2"),  # BZERO in the file
        numbersOf(">f4"),
        whole[3:20, 5:9],
        numbersOf("f4").T,
        np.arange(24, dtype="f4").reshape(2, 3, 4),
    ]
    for plane in planes:
        plane.flags.writeable = False
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(plane, name=f"PLANE{i}") for i, plane in enumerate(planes))]
    hdus[1].header["OBJECT"] = "a long value that goes on " * 5
    return [*hdus, fits.table_to_hdu(Table({"x": [1.0, 2.0], "name": ["a", "bc"]})), fits.ImageHDU()]


@pytest.mark.parametrize("isPacked", [False, True])
def test_theFileIsThatOfAstropy(tmp_path, isPacked):
    expected = io.BytesIO()
    fits.HDUList(makeHdus()).writeto(expected)
    path = tmp_path / "a.fits"
    with path.open("wb") as file:
        writePieces(file, pieces(makeHdus()), isPacked)
    assert path.read_bytes() == expected.getvalue()


def test_planesAreReadBitForBit(tmp_path):
    image, bits = numbersOf("f4"), numbersOf("i4")
    image[0, :4] = np.nan, -np.inf, 1e-42, -0.0
    image.view(np.int32)[1, 0] = 0x7FA00001  # a signalling NaN with a payload
    writePlanes(tmp_path / "a.fits", ImagePlanes(image, mask=bits, variance=image))
    back = readPlanes(tmp_path / "a.fits")
    assert back.image.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(back.image.view(np.int32), image.view(np.int32))
    np.testing.assert_array_equal(back.mask, bits)
    back.image[0, 0] = back.mask[0, 0] = 1


def test_partsOfAReadOrWriteAreContinued(tmp_path, monkeypatch):
    image = numbersOf("f4")
    read, write = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda file, parts, at: read(file, [parts[0][:50]], at))
    monkeypatch.setattr(os, "pwrite", lambda file, part, at: write(file, part[:70], at))
    writePlanes(tmp_path / "a.fits", ImagePlanes(image))
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits", "IMAGE"), image)
    np.testing.assert_array_equal(readPlanes(tmp_path / "a.fits").image, image)


def test_aFileThatShrinksWhileItIsRead(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(4 * SHAPE[0] * SHAPE[1] - 1))
    with path.open("rb") as file, pytest.raises(OSError, match="ends too early"):
        readPlain(file, 0, -32, SHAPE)


def test_pagesAreProvidedWithoutAChange():
    plane = np.arange(700_000, dtype=np.float32).reshape(700, 1000)  # above the megabyte from which it does anything
    before = plane.copy()
    _core.providePages(plane, nThreads=2)
    np.testing.assert_array_equal(plane, before)
    with pytest.raises(ValueError, match="without gaps"):
        _core.providePages(plane[:, ::2])
    plane.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _core.providePages(plane)


def test_aFullDiskLeavesTheOldFileAndNothingElse(tmp_path, monkeypatch):
    path = tmp_path / "out.fits"
    writePlanes(path, ImagePlanes(numbersOf("f4")))
    before = path.read_bytes()

    def full(file, part, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        writePlanes(path, ImagePlanes(numbersOf("f4") + 1))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.fits"]


@pytest.mark.parametrize(
    ("cards", "expected"),
    [({}, True), ({"BSCALE": 1.0, "BZERO": 0.0}, True), ({"BSCALE": 2.0}, False), ({"BZERO": 5}, False)],
)
def test_scaledPixelsAreLeftToAstropy(tmp_path, cards, expected):
    hdu = fits.PrimaryHDU(numbersOf("f4"))
    fits.HDUList([hdu]).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].header.update(cards)
    with fits.open(tmp_path / "a.fits") as hdus:
        assert isPlain(hdus[0]) is expected
    with fits.open(tmp_path / "a.fits") as hdus:
        np.testing.assert_array_equal(readPlanes(tmp_path / "a.fits").image, hdus[0].data)


def test_whatElseIsLeftToAstropy():
    assert not isPlain(fits.CompImageHDU(numbersOf("f4")))
    assert not isPlain(fits.table_to_hdu(Table({"x": [1.0]})))
    blank = fits.ImageHDU(numbersOf("i4"))
    blank.header["BLANK"] = -1
    assert not isPlain(blank)
    assert isPlain(fits.ImageHDU(numbersOf("i4")))


def test_conversionRoundsOnceAndOverflowsToInfinity():
    values = np.random.default_rng(12).normal(size=SHAPE)
    values[0, :2] = 1e300, np.nan
    for stored in (values, values.astype(">f8"), values[::-1]):
        plane = converted(stored, np.float32)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(plane, stored.astype(np.float32))
        assert plane.dtype.isnative
