"""File names, damaged files, and writing that never leaves half a file."""

import bz2
import gzip
import io
import lzma
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits

from psfmatch.errors import ExposureReadError
from psfmatch.io import describe, parseFileName, readPlanes, writePlanes
from psfmatch.io.planes import ImagePlanes

IMAGE = np.arange(10000, dtype=np.float32).reshape(100, 100)


@pytest.fixture
def threeHdus(tmp_path):
    path = tmp_path / "three.fits"
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="SCI"), fits.ImageHDU(IMAGE + 1, name="ERR")]
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize(
    ("name", "path", "hdu"),
    [
        ("a.fits", "a.fits", None),
        ("a.fits[SCI]", "a.fits", "SCI"),
        ("a.fits[ SCI , 2 ]", "a.fits", ("SCI", 2)),
        ("a.fits[0]", "a.fits", 0),
        ("dir[1]/a.fits", "dir[1]/a.fits", None),
        ("dir[1]/a.fits[12]", "dir[1]/a.fits", 12),
        ("a.fits[N6]", "a.fits", "N6"),
    ],
)
def test_bracketsNameTheHdu(name, path, hdu):
    parsed, selector = parseFileName(name)
    assert parsed.as_posix() == path
    assert selector == hdu


def test_aRealFileWithBracketsWins(tmp_path):
    path = tmp_path / "image[1]"
    path.write_bytes(b"")
    assert parseFileName(path) == (path, None)
    assert parseFileName(f"{path}[2]") == (path, 2)


@pytest.mark.parametrize("inside", ["", "1:5,1:5", "SCI,x", ","])
def test_otherBracketsAreRefused(inside):
    with pytest.raises(ValueError, match=r"names no HDU; write \[1\], \[SCI\] or \[SCI,2\]"):
        parseFileName(f"a.fits[{inside}]")


def test_missingFile(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.fits: no such file"):
        readPlanes(tmp_path / "none.fits")
    with pytest.raises(FileNotFoundError, match=r"none\.fits: no such file"):
        describe(f"{tmp_path}/none.fits[1]")


@pytest.mark.parametrize("content", [b"", b"no FITS here", b"\x89PNG\r\n" + b"\0" * 3000, b"SIMPLE  =" + b" " * 100])
def test_notFits(tmp_path, content):
    path = tmp_path / "odd.fits"
    path.write_bytes(content)
    with pytest.raises(ExposureReadError, match=r"odd\.fits: ") as raised:
        readPlanes(path)
    assert raised.value.path == str(path)


def test_directory(tmp_path):
    with pytest.raises(ExposureReadError, match="is a directory, not a FITS file"):
        readPlanes(tmp_path)


# The file: header 2880, SCI header 2880 and data 40000 (40320 with fill), ERR likewise: 89280 bytes.
@pytest.mark.parametrize(
    ("nBytes", "match"),
    [
        (45000, r"truncated: HDU 1 \(SCI\) needs 45760 bytes, but the file has 45000; fetch it again"),
        (47000, r"truncated inside the header of HDU 2"),
        (60000, r"truncated: HDU 2 \(ERR\) needs 88960 bytes, but the file has 60000"),
        (4000, r"truncated inside the header of HDU 1"),
    ],
)
def test_truncatedFilesRaise(threeHdus, nBytes, match):
    threeHdus.write_bytes(threeHdus.read_bytes()[:nBytes])
    with pytest.raises(ExposureReadError, match=match):
        readPlanes(threeHdus)


def test_missingFillIsHarmless(threeHdus):
    threeHdus.write_bytes(threeHdus.read_bytes()[:88960])
    planes = readPlanes(threeHdus)
    np.testing.assert_array_equal(planes.variance, (IMAGE + 1) ** 2)


def test_damageInAnHduThatIsNotNeededIsHarmless(threeHdus):
    threeHdus.write_bytes(threeHdus.read_bytes()[:60000])
    planes = readPlanes(f"{threeHdus}[SCI]", gain=1.0, noise=f"{threeHdus}[1]")
    np.testing.assert_array_equal(planes.image, IMAGE)


@pytest.mark.parametrize("tail", [b"tail", b"\0" * 2880, b"\n"])
def test_bytesAfterTheLastHduAreHarmless(threeHdus, tail, caplog):
    threeHdus.write_bytes(threeHdus.read_bytes() + tail)
    np.testing.assert_array_equal(readPlanes(threeHdus).image, IMAGE)
    announced = "bytes that belong to no HDU follow after byte 89280" in caplog.text
    assert announced == (not tail.startswith(b"\0"))


def test_truncatedFpackedFile(tmp_path):
    path = tmp_path / "packed.fits.fz"
    rng = np.random.default_rng(1)
    fits.CompImageHDU(rng.normal(size=(100, 100)).astype(np.float32), compression_type="RICE_1").writeto(path)
    path.write_bytes(path.read_bytes()[:-6000])
    with pytest.raises(ExposureReadError, match="truncated: HDU 1"):
        readPlanes(path)


def test_gzippedFiles(threeHdus, tmp_path):
    packed = tmp_path / "three.fits.gz"
    for compress in (bz2.compress, lzma.compress, gzip.compress):
        packed.write_bytes(compress(threeHdus.read_bytes()))
        np.testing.assert_array_equal(readPlanes(packed).image, IMAGE)
    packed.write_bytes(packed.read_bytes()[:-4000])
    with pytest.raises(ExposureReadError, match=r"three\.fits\.gz: .*(cannot be|truncated)"):
        readPlanes(packed)
    packed.write_bytes(gzip.compress(threeHdus.read_bytes()[:60000]))
    with pytest.raises(ExposureReadError, match=r"gz: truncated: HDU 2 \(ERR\) needs 88960"):
        readPlanes(packed)


def test_ourOwnFileCutBetweenHdus(tmp_path):
    path = tmp_path / "own.fits"
    writePlanes(path, ImagePlanes(IMAGE, np.zeros(IMAGE.shape, np.int32), None, IMAGE))
    with fits.open(path) as hdus:
        end = hdus["MASK"].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ExposureReadError, match="truncated: 1 of 3 extensions are there") as raised:
        readPlanes(path)
    assert raised.value.nExpected == 3


def test_listsInMemoryAreCopiedAndStayOpen(threeHdus):
    with fits.open(threeHdus) as hdus:
        planes = readPlanes(hdus)
        planes.image[:] = 0
        assert float(hdus["SCI"].data[1, 1]) == 101.0
    fresh = fits.HDUList([fits.PrimaryHDU(IMAGE.copy())])
    readPlanes(fresh, gain=1).image[:] = 0
    np.testing.assert_array_equal(fresh[0].data, IMAGE)
    with pytest.raises(ExposureReadError, match="HDUList: no two-dimensional image"):
        readPlanes(fits.HDUList([fits.PrimaryHDU()]))


def test_overwrite(tmp_path):
    path = tmp_path / "out.fits"
    writePlanes(path, ImagePlanes(IMAGE))
    with pytest.raises(FileExistsError, match="exists already; pass overwrite=True"):
        writePlanes(path, ImagePlanes(IMAGE + 1), overwrite=False)
    np.testing.assert_array_equal(fits.getdata(path, "IMAGE"), IMAGE)
    writePlanes(path, ImagePlanes(IMAGE + 1))
    np.testing.assert_array_equal(fits.getdata(path, "IMAGE"), IMAGE + 1)
    assert [file.name for file in tmp_path.iterdir()] == ["out.fits"]


def test_aFailureLeavesTheOldFileAndNothingElse(tmp_path, monkeypatch):
    path = tmp_path / "out.fits"
    writePlanes(path, ImagePlanes(IMAGE))
    before = path.read_bytes()

    def failing(self, file, *args, **kwargs):
        file.write(b"SIMPLE  = half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", failing)
    with pytest.raises(OSError, match="No space left"):
        writePlanes(path, ImagePlanes(IMAGE + 1))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.fits"]


def test_whereNothingCanBeWritten(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the directory .*missing does not exist"):
        writePlanes(tmp_path / "missing" / "out.fits", ImagePlanes(IMAGE))
    with pytest.raises(ValueError, match=r"out.fits.bz2: its name must end in .fits, .fit, .fts, "):
        writePlanes(tmp_path / "out.fits.bz2", ImagePlanes(IMAGE))


def test_equalContentGivesEqualFiles(tmp_path):
    contents = []
    for name in ("a.fits", "b.fits", "c.fits.gz", "d.fits.gz"):
        writePlanes(tmp_path / name, ImagePlanes(IMAGE, metadata={"OBJECT": "M31"}))
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1] == gzip.decompress(contents[2])
    assert contents[2] == contents[3]
    np.testing.assert_array_equal(readPlanes(tmp_path / "d.fits.gz").image, IMAGE)


def test_threadsLeaveTheWarningsAlone(threeHdus):
    before = warnings.filters[:], warnings.showwarning
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda _: readPlanes(threeHdus).image, range(32)))
    assert all(np.array_equal(image, IMAGE) for image in images)
    assert (warnings.filters[:], warnings.showwarning) == before
    with pytest.warns(UserWarning, match="still seen"):
        warnings.warn("still seen", stacklevel=1)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_openFiles(tmp_path, pack):
    path = tmp_path / "a.fits"
    image = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    fits.PrimaryHDU(image).writeto(path)
    file = io.BytesIO(pack(path.read_bytes()))
    file.seek(7)
    np.testing.assert_array_equal(readPlanes(file, gain=1.0).image, image)
    # Left open, where it stood.
    assert file.tell() == 7
    with path.open("rb") as opened:
        planes = readPlanes(opened, gain=1.0)
    np.testing.assert_array_equal(planes.image, image)
    assert planes.source == str(path)
    with pytest.raises(ExposureReadError, match="BytesIO: is no FITS file, but a file that begins with"):
        readPlanes(io.BytesIO(b"nothing of the kind"))
    with pytest.raises(TypeError, match="open it with mode 'rb'"):
        readPlanes(io.StringIO("text"))


def test_urls(tmp_path, monkeypatch):
    path = tmp_path / "with space.fits"
    image = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]).writeto(path)
    np.testing.assert_array_equal(readPlanes(f"{path.as_uri()}[SCI]", gain=1.0).image, image)
    np.testing.assert_array_equal(readPlanes(path.as_uri(), gain=1.0).image, image)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        readPlanes((tmp_path / "nowhere.fits").as_uri())
    fetched = []

    def fetch(url, **options):
        fetched.append((url, options["cache"]))
        if "gone" in url:
            raise OSError("404")
        return str(path)

    monkeypatch.setattr("astropy.utils.data.download_file", fetch)
    np.testing.assert_array_equal(readPlanes("https://archive.org/a.fits[SCI]", gain=1.0).image, image)
    assert fetched == [("https://archive.org/a.fits", True)]
    with pytest.raises(FileNotFoundError, match=r"https://gone.org/a.fits: cannot be fetched \(404\)"):
        readPlanes("https://gone.org/a.fits")
