"""Headers as they are met: one bad card costs that card and one line of the log, whatever is wrong with it."""

import io
import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.errors import ExposureReadError
from psfmatch.images import Exposure
from psfmatch.io import ImagePlanes, readPlanes, writePlanes
from psfmatch.io.cards import CARD, formatCard, mendHeader

SHAPE = (40, 50)
IMAGE = np.random.default_rng(3).normal(500, 20, SHAPE).astype(np.float32)
STRUCTURE = {
    "SIMPLE": "SIMPLE  =                    T",
    "BITPIX": "BITPIX  =                  -32",
    "NAXIS": "NAXIS   =                    2",
    "NAXIS1": "NAXIS1  =                   50",
    "NAXIS2": "NAXIS2  =                   40",
}
GOOD = "GOOD    =                  1.5 / as it should be"
ABSENT = object()


def rawFile(*cards, data=IMAGE, pad=b" ", **structure):
    """Return the bytes of a file of one image with the cards given, whatever they hold."""
    texts = [text for text in (STRUCTURE | structure).values() if text is not None]
    header = b"".join(text.encode("latin-1").ljust(CARD)[:CARD] for text in [*texts, *cards, GOOD, "END"])
    pixels = data.astype(data.dtype.newbyteorder(">")).tobytes()
    return header + pad * (-len(header) % 2880) + pixels + bytes(-len(pixels) % 2880)


def read(content, path, **options):
    path.write_bytes(content)
    return readPlanes(path, gain=1.0, **options)


def checkWritten(planes, path):
    """What is written is FITS to the letter."""
    writePlanes(path, planes)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            for card in hdu.header.cards:
                card.verify("exception")
                assert not isinstance(card.value, float) or math.isfinite(card.value)


# A card, and the value that is read from it; ABSENT where nobody can know it.
BAD_CARDS = [
    ("AIRMASS = nan", ABSENT),
    ("AIRMASS =                  NaN / comment", ABSENT),
    ("AIRMASS = -INF", ABSENT),
    ("AIRMASS = +Infinity / comment", ABSENT),
    ("AIRMASS = 1.#QNAN", ABSENT),
    ("AIRMASS =                1E400", ABSENT),
    ("CCDTEMP = -20,5", ABSENT),
    ("NPHOT   = 1,000", ABSENT),
    ("HEX     = 0x10", ABSENT),
    ("CLOCK   = 12:34:56.7", ABSENT),
    ("DATE-OBS= 2026-01-01T00:00:00", ABSENT),
    ("NAME    = none", ABSENT),
    ("AIRMASS   1.2", ABSENT),
    ("HIERARCH ESO TEL AIRM = nan", ABSENT),
    ("HIERARCH ESO TEL AIRM 1.2", ABSENT),
    ("AIR MASS= 1.2", ABSENT),
    ("OBJECT  = 'M31      / no end", "M31"),
    ("OBJECT  = 'M31", "M31"),
    ("OBJECT  = 'it's here' / quotes inside", "it's here"),
    ("OBJECT  = '" + 80 * "x", 68 * "x"),
    ("OBJECT  = 'a\tb'", "a b"),
    ("OBJECT  = 'a\0b'", "a b"),
    ("OBJECT  = 'a\rb\n'", "a b"),
    ("OBJECT  = 'caf\xe9'", "cafe"),
    ("OBJECT  = 'caf\xc3\xa9 \xce\xb1'", "cafe ?"),
    ("exptime =                 30.0", 30.0),
    ("EXPTIME=30.0", 30.0),
    ("EXPTIME =30.0 / s", 30.0),
    ("  EXPTIME = 30.0", 30.0),
    ("EXPTIME =\t30.0", 30.0),
    ("EXPTIME = '30.0'", 30.0),
    ("EXPTIME = 30.0 seconds", 30.0),
    ("BUNIT   = adu / no quotes", "adu"),
    ("A_LONG_KEYWORD = 5", 5),
    ("DATE    = 31/12/99", ABSENT),
    ("AIRMASS = 1.2.3", ABSENT),
    ("AIRMASS = 1.2E", ABSENT),
    ("AIRMASS = ******", ABSENT),
    ("AIRMASS = 30.0 30.0", ABSENT),
    ("CPLX    = (nan, 2.0)", ABSENT),
    ("#KEY    = 5", ABSENT),
    ("EXPTIME : 30.0", ABSENT),
    ("END     = 5", ABSENT),
    ("GAIN    = 1.5e-/ADU", ABSENT),
    ("EXPTIME = '30.0 s'", ABSENT),
    ("EXPTIME = T", ABSENT),
    ("LINEAR  = True", True),
    ("LINEAR  = .FALSE. / Fortran", False),
    ('OBJECT  = "M31" / of another language', "M31"),
    ('EXPTIME = "30.0"', 30.0),
    ("CCDTEMP = \xe2\x88\x9220.5", -20.5),
    ("CCDTEMP = - 20.5", -20.5),
    ("BUNIT   = '\xb5Jy'", "uJy"),
    ("BUNIT   = '\xce\xbcJy'", "uJy"),
    ("GAIN    = 1.5 e-/ADU", 1.5),
    ("MASK    = 'FF'x", "FF'x"),
    ("OBJECT  =\t'M31'\t/ x", "M31"),
    ("HIERARCH ESO OBS NAME = 'M31", "M31"),
    ("hierarch ESO TEL AIRM = 1.2", 1.2),
    ("HIERARCH\tESO TEL AIRM = 1.2", 1.2),
    ("ExpTime = 30.0", 30.0),
]


@pytest.mark.parametrize(("card", "value"), BAD_CARDS, ids=lambda case: "lost" if case is ABSENT else repr(case)[:24])
def test_aBadCardCostsThatCardAndOneLine(card, value, tmp_path, caplog):
    planes = read(rawFile(card), tmp_path / "a.fits")
    np.testing.assert_array_equal(planes.image, IMAGE)
    assert planes.metadata.pop("GOOD") == 1.5
    planes.metadata.pop("VARSRC")
    assert list(planes.metadata.values()) == ([] if value is ABSENT else [value])
    lines = [record.getMessage() for record in caplog.records if ": card" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith(f"{tmp_path / 'a.fits'}: card {card.split()[0].split('=')[0]}")
    checkWritten(planes, tmp_path / "out.fits")


# Cards that are FITS, though few write them, and the value they have; nothing is said about them.
ODD_CARDS = [
    ("NUMBER  = 1.", 1.0),
    ("NUMBER  = .5", 0.5),
    ("NUMBER  = 1D5", 1e5),
    ("NUMBER  = 1.5d-3 / comment", 1.5e-3),
    ("NUMBER  = 0012", 12),
    ("NUMBER  = +7", 7),
    ("NUMBER  =", None),
    ("NUMBER  =                      / undefined", None),
    ("TEXT    = 'it''s'", "it's"),
    ("TEXT    = ''", ""),
    ("TEXT    = 'a & b &'", "a & b &"),
    ("TEXT    = 'T'", "T"),
    ("TEXT    = 'a'/no space", "a"),
    ("LOGICAL =                    F", False),
    ("NUMBER  =                    3 / in \xb5m", 3),
    ("NUMBER  = 3/2 by hand", 3),
    ("NUMBER  = (1.0, 2.0)", 1 + 2j),
    ("NUMBER  = 123456789012345678901234567890", 123456789012345678901234567890),
    ("NUMBER  = 3.14159265358979323846264338327950288", math.pi),
    ("TEXT    = 'NGC 224 / M31'", "NGC 224 / M31"),
    ("TEXT    = '31/12/99'", "31/12/99"),
    ("TEXT    = 'INF'", "INF"),
    ("ENDTIME = '12:00'", "12:00"),
    ("COMMENT = 'this is a value'", "= 'this is a value'"),
]


@pytest.mark.parametrize(("card", "value"), ODD_CARDS, ids=lambda case: repr(case)[:24])
def test_oddCardsAreTakenAsTheyAre(card, value, tmp_path, caplog):
    planes = read(rawFile(card), tmp_path / "a.fits")
    assert planes.metadata[card.split()[0]] == value
    assert type(planes.metadata[card.split()[0]]) is type(value)
    assert ": card" not in caplog.text
    checkWritten(planes, tmp_path / "out.fits")


@pytest.mark.parametrize("bad", ["nan", "2,5", "'two'", "abc", "", "T", "-INF"])
def test_aNeededCardIsNamed(bad, tmp_path, caplog):
    """A gain that cannot be read is as none: the noise is that of the sky."""
    (tmp_path / "a.fits").write_bytes(rawFile(f"GAIN    = {bad}", "RDNOISE = 5.0"))
    planes = readPlanes(tmp_path / "a.fits")
    assert planes.varianceSource == "estimated from the sky"
    assert f"card GAIN = {bad}".strip() in caplog.text
    assert "GAIN" not in planes.metadata
    assert planes.metadata["RDNOISE"] == 5.0


@pytest.mark.parametrize(
    ("cards", "value", "line"),
    [
        (
            ["GAIN    = 1.0", "GAIN    = 2.0"],
            1.0,
            "GAIN is repeated with another value: the first, 1.0, counts, not 2.0",
        ),
        (["GAIN    = 1.0", "GAIN    = 1.0"], 1.0, None),
        (["GAIN    = nan", "GAIN    = 2.0"], 2.0, "GAIN = nan is left out"),
        (["GAIN    =    ", "GAIN    = 2.0"], 2.0, "GAIN = is left out: it has no value"),
        (["GAIN    = 1.0", "gain    = 2.0", "GAIN    = 3"], 1.0, "counts, not 3"),
        (
            ["AIRMASS =", "AIRMASS = 1.2", "GAIN    = 1.0"],
            1.0,
            "AIRMASS is repeated: the one with a value, 1.2, counts",
        ),
        (["AIRMASS = 1.2", "AIRMASS =", "GAIN    = 1.0"], 1.0, "the first, 1.2, counts, not one without a value"),
    ],
)
def test_repeatedKeywords(cards, value, line, tmp_path, caplog):
    planes = read(rawFile(*cards), tmp_path / "a.fits")
    assert planes.metadata["GAIN"] == value
    assert planes.metadata.get("AIRMASS", 1.2) == 1.2
    assert (line in caplog.text) if line else (": card" not in caplog.text)


@pytest.mark.parametrize(
    ("cards", "value", "line"),
    [
        (["LONG    = 'one, &'", "CONTINUE  'two, &'", "CONTINUE  'three' / comment"], "one, two, three", None),
        (["LONG    = 'one&'"], "one&", None),
        (["LONG    = 'one&'", "CONTINUE  'two"], "one", "LONG is cut short: a CONTINUE card is broken"),
        (["LONG    = 'one&'", "CONTINUE  two'"], "one", "LONG is cut short: a CONTINUE card is broken"),
        (["LONG    = 'one'", "CONTINUE  'two'"], "one", "LONG is cut short"),
        (["LONG    = 'one&'", "CONTINUE  'two&'", "CONTINUE= 3"], "onetwo", "LONG is cut short"),
        (["LONG    = 'one'", "OTHER   =    1", "CONTINUE  'two'"], "one", "a CONTINUE card that continues nothing"),
        (["LONG    = 'one&'", "CONTINUE 'two'"], "one", "LONG is cut short"),
        (["LONG    = 'one&'", "CONTINUE  ''"], "one", None),
        (["LONG    = 'a&'", *["CONTINUE  '" + 60 * "b" + "&'"] * 5, "CONTINUE  'end' / c"], f"a{300 * 'b'}end", None),
    ],
)
def test_continuedStrings(cards, value, line, tmp_path, caplog):
    planes = read(rawFile(*cards), tmp_path / "a.fits")
    assert planes.metadata["LONG"] == value
    assert (line in caplog.text) if line else ("CONTINUE" not in caplog.text)
    assert "CONTINUE" not in planes.metadata
    checkWritten(planes, tmp_path / "out.fits")


@pytest.mark.parametrize(
    "structure",
    [
        {"SIMPLE": "SIMPLE  =                    F"},
        {"SIMPLE": "SIMPLE  = 'T'"},
        {"SIMPLE": "SIMPLE  ="},
        {"BITPIX": "BITPIX  = -32."},
        {"NAXIS": "NAXIS   = '2'"},
        {"NAXIS1": "NAXIS1  = 50.0"},
        {"NAXIS1": "NAXIS1  =50"},
        {"NAXIS2": "naxis2  = 40"},
        {"PCOUNT": "PCOUNT  = 7"},
        {"GCOUNT": "GCOUNT  = 2"},
        {"GCOUNT": "GCOUNT  = one"},
        {"EXTEND": "EXTEND  = 'T'"},
        {"BSCALE": "BSCALE  = nan"},
        {"BSCALE": "BSCALE  =  0"},
        {"BZERO": "BZERO   = zero"},
        {"BZERO": "BZERO   = '0'"},
        {"BLANK": "BLANK   = '-32768'"},
        {"GROUPS": "GROUPS  =                    T"},
        {"EXTVER": "EXTVER  = 'one'"},
        {"EXTNAME": "EXTNAME = 1"},
        {"INHERIT": "INHERIT = 'T'"},
        {"EXTEND": "EXTEND  = 1"},
        {"NAXIS4": "NAXIS4  = 'x'"},
    ],
    ids=lambda structure: " ".join(*structure.values()),
)
def test_structureThatHasOneMeaning(structure, tmp_path, caplog):
    planes = read(rawFile(**structure), tmp_path / "a.fits")
    np.testing.assert_array_equal(planes.image, IMAGE)
    assert f"card {next(iter(structure))}".lower() in caplog.text.lower()
    assert planes.metadata["GOOD"] == 1.5


@pytest.mark.parametrize(
    ("structure", "named"),
    [
        ({"BITPIX": "BITPIX  = 15"}, "BITPIX = 15"),
        ({"BITPIX": "BITPIX  = abc"}, "BITPIX = abc"),
        ({"BITPIX": None}, "BITPIX is missing"),
        ({"NAXIS": "NAXIS   = two"}, "NAXIS = two"),
        ({"NAXIS": "NAXIS   = 2.5"}, r"NAXIS = 2\.5"),
        ({"NAXIS": "NAXIS   = -2"}, "NAXIS = -2"),
        ({"NAXIS": "NAXIS   = 5000"}, "NAXIS = 5000"),
        ({"NAXIS1": "NAXIS1  = -50"}, "NAXIS1 = -50"),
        ({"NAXIS1": "NAXIS1  = nan"}, "NAXIS1 = nan"),
        ({"NAXIS2": None}, "NAXIS2 is missing"),
        ({"PCOUNT": "PCOUNT  = -1"}, "PCOUNT = -1"),
    ],
    ids=str,
)
def test_structureThatNobodyCanGuess(structure, named, tmp_path):
    with pytest.raises(ExposureReadError, match=rf"a\.fits: HDU 0 cannot be read: card {named}") as raised:
        read(rawFile(**structure), tmp_path / "a.fits")
    assert raised.value.path == str(tmp_path / "a.fits")


def packedFile(tmp_path, **cards):
    """Write a compressed image, some cards of its table changed, and a second HDU behind it."""
    path = tmp_path / "a.fits"
    packed = fits.CompImageHDU(IMAGE, compression_type="GZIP_1", quantize_level=0.0)
    fits.HDUList([fits.PrimaryHDU(), packed, fits.ImageHDU(IMAGE + 1, name="ERR")]).writeto(path)
    content = bytearray(path.read_bytes())
    for key, value in cards.items():
        at = content.index(f"{key:<8}=".encode())
        content[at : at + CARD] = f"{key:<8}= {value:>20}".ljust(CARD).encode()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "cards",
    [{"ZIMAGE": "'T'"}, {"ZIMAGE": "F"}, {"ZBITPIX": "-32."}, {"ZNAXIS1": "'50'"}, {"PCOUNT": "0"}, {"PCOUNT": "many"}],
    ids=str,
)
def test_compressedImagesWithBadCards(cards, tmp_path, caplog):
    planes = readPlanes(packedFile(tmp_path, **cards))
    np.testing.assert_array_equal(planes.image, IMAGE)
    np.testing.assert_allclose(planes.variance, (IMAGE + 1) ** 2, rtol=1e-6)
    assert f"card {next(iter(cards))}" in caplog.text


@pytest.mark.parametrize(
    "cards",
    [{"ZBITPIX": "17"}, {"ZNAXIS": "x"}, {"ZNAXIS2": "-40"}, {"ZCMPTYPE": "'FOO'"}, {"ZTILE1": "0"}, {"ZTILE1": "nan"}],
    ids=str,
)
def test_compressedImagesThatCannotBeUnpacked(cards, tmp_path):
    with pytest.raises(ExposureReadError, match=f"HDU 1 cannot be read: card {next(iter(cards))}"):
        readPlanes(packedFile(tmp_path, **cards))


def lines(*cards, end="\n", blanks=0):
    """Return a header in lines of text."""
    texts = [*STRUCTURE.values(), *cards, GOOD, "END", *[" " * CARD] * blanks]
    return "".join(f"{text}{end}" for text in texts).encode()


def uneven(*cards):
    """Return a file with cards as long as they are, but for those that `FULL` has and FITS wants."""
    texts = [text if text not in FULL else text.ljust(CARD) for text in cards]
    header = "".join(text.ljust(CARD) for text in STRUCTURE.values()) + "".join(texts)
    header += GOOD.ljust(CARD) + "END".ljust(CARD)
    return header.encode() + b" " * (-len(header) % 2880) + PIXELS


PIXELS = IMAGE.astype(">f4").tobytes()
FULL = [f"K{i:<7}= {i}" for i in range(30)]


@pytest.mark.parametrize(
    "content",
    [
        rawFile(pad=b"\0"),
        rawFile(pad=b"\n"),
        rawFile("END OF  = 'not the end'"),
        rawFile()[: 7 * CARD] + PIXELS,
        rawFile()[: 7 * CARD] + PIXELS + bytes(-len(PIXELS) % 2880),
        rawFile().replace(b"END".ljust(CARD), b" " * CARD),
        b"".join(text.encode().ljust(CARD) for text in [*STRUCTURE.values(), *FULL, GOOD]) + PIXELS,
        lines() + PIXELS,
        lines(end="\r\n") + PIXELS,
        lines(end="\r\n").ljust(2880) + PIXELS + bytes(-len(PIXELS) % 2880),
        lines(end="\r\n", blanks=20) + PIXELS,
        lines("OBJECT  = '" + 90 * "x" + "'") + PIXELS,
        uneven("OBJECT  = '" + 90 * "x" + "'"),
        uneven("OBJECT  = '" + 90 * "x" + "'", *FULL, "OTHER   = '" + 200 * "x" + "'", *FULL),
        uneven("SHORT   = 3 / two"),
    ],
    ids=["NUL", "newlines", "END as a word", "no padding", "no padding before", "no END", "no END, full", "lines",
         "CRLF", "CRLF, padded", "CRLF, blank lines", "long line", "long card", "long cards", "short card"],
)  # fmt: skip
def test_headersThatDoNotFillTheirBlocks(content, tmp_path):
    planes = read(content, tmp_path / "a.fits")
    np.testing.assert_array_equal(planes.image, IMAGE)
    assert planes.metadata["GOOD"] == 1.5
    # And where what follows begins elsewhere by that.
    buffer = io.BytesIO(content)
    np.testing.assert_array_equal(readPlanes(buffer, gain=1.0).image, IMAGE)


@pytest.mark.parametrize("nBytes", [0, 100, 500, 2880, 5000])
def test_filesCutAnywhere(nBytes, tmp_path):
    with pytest.raises(ExposureReadError, match=r"a\.fits"):
        read(rawFile("AIRMASS = nan")[:nBytes], tmp_path / "a.fits")


def test_headersOfWhichNobodyKnowsTheEnd(tmp_path):
    """A card that is too long, and a file that is cut off: nothing tells where the data begin."""
    with pytest.raises(ExposureReadError, match="nothing tells where its data begin"):
        read(uneven("OBJECT  = '" + 90 * "x" + "'")[:7000], tmp_path / "a.fits")


def test_aPrimaryHeaderWithoutPaddingIsEnough(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(
        b"".join(text.ljust(CARD).encode() for text in (*list(STRUCTURE.values())[:2], "NAXIS   = 0", "END"))
    )
    with pytest.raises(ExposureReadError, match="no two-dimensional image"):
        readPlanes(path)


def test_badCardsOfOtherHdusAreTheirs(tmp_path, caplog):
    """Cards of HDUs of which nothing is wanted are not talked about, and each fault once."""
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(IMAGE), fits.ImageHDU(IMAGE, name="OTHER")]).writeto(path)
    content = path.read_bytes()
    for at in (1, 2):
        end = [i for i in range(0, len(content), CARD) if content[i : i + CARD] == b"END".ljust(CARD)][at - 1]
        bad = f"BAD{at}    = nan".ljust(CARD).encode()
        content = content[:end] + bad + b"END".ljust(CARD) + content[end + 2 * CARD :]
    path.write_bytes(content)
    readPlanes(path, gain=1.0)
    assert caplog.text.count("card BAD1") == 1
    assert "BAD2" not in caplog.text
    readPlanes(f"{path}[OTHER]", gain=1.0)
    assert caplog.text.count("card BAD2") == 1


def test_manyBadCardsMakeFewLines(tmp_path, caplog):
    read(rawFile(*(f"N{i:<7}= nan" for i in range(200))), tmp_path / "a.fits")
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == 12
    assert "188 more cards are not FITS: N12, N13" in caplog.text


def test_listsInMemory(tmp_path, caplog):
    """A list that its owner has open keeps its cards, and they cost no more than in a file."""
    path = tmp_path / "a.fits"
    path.write_bytes(rawFile("AIRMASS = nan", "GAIN    = 2,5", "EXPTIME = '30.0'"))
    with fits.open(path) as hdus:
        planes = readPlanes(hdus, gain=1.0)
        assert "AIRMASS" in hdus[0].header
    np.testing.assert_array_equal(planes.image, IMAGE)
    assert planes.metadata == {"EXPTIME": 30.0, "GOOD": 1.5, "VARSRC": "gain 1 e-/count, read noise 0 e-"}
    assert "card AIRMASS = nan is left out" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("XTENSION= 'IMAGE   '", "XTENSION= 'image   '"),
        ("XTENSION= 'IMAGE   '", "XTENSION= 'IMAGE    "),
        ("EXTNAME = 'SCI     '", "EXTNAME = SCI       "),
        ("EXTNAME = 'T       '", "EXTNAME = 'T\xe9\0     '"),
        ("TFORM1  = 'D       '", "TFORM1  = 'Q9Z     '"),
        ("TFIELDS =                    1", "TFIELDS =                  abc"),
        ("XTENSION= 'BINTABLE'", "XTENSION= 'UNHEARD '"),
    ],
)
def test_extensions(old, new, tmp_path):
    """Those that are wanted are found, and those that are not do no harm."""
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])], name="T")
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(IMAGE, name="SCI")]).writeto(path)
    content = path.read_bytes()
    assert content.count(old.encode()) == 1
    path.write_bytes(content.replace(old.encode(), new.encode("latin-1")))
    np.testing.assert_array_equal(readPlanes(f"{path}[SCI]", gain=1.0).image, IMAGE)


def test_headersThatAstropyHasRead(tmp_path, caplog):
    """A CCDData may carry a header with cards that have no value for astropy; numbers that are none stay in it."""
    path = tmp_path / "a.fits"
    path.write_bytes(rawFile("AIRMASS = nan", "LTV1    = 'abc'", "GAIN    = 2,5"))
    with fits.open(path) as hdus:
        ccd = CCDData(IMAGE, unit="adu", meta=hdus[0].header)
    exposure = Exposure.fromCCDData(ccd, useXY0=True)
    assert exposure.metadata["GOOD"] == 1.5
    assert not {"AIRMASS", "GAIN"} & set(exposure.metadata)
    assert exposure.xy0 == (0, 0)
    assert "card AIRMASS = nan is left out" in caplog.text
    odd = Exposure.fromCCDData(
        CCDData(IMAGE, unit="adu", meta={"AIRMASS": math.nan, "A": "b\tc", "LTV1": "x"}), useXY0=True
    )
    odd.writeFits(tmp_path / "out.fits")
    checkWritten(readPlanes(tmp_path / "out.fits"), tmp_path / "again.fits")


def test_aSoundFileIsReadAsItIs(tmp_path, monkeypatch):
    path = tmp_path / "a.fits"
    header = fits.Header([("OBJECT", "it's M 31"), ("LONG", "a long string that goes on " * 8), ("NOTHING", None)])
    header["HIERARCH ESO DET OUT1 CONAD"] = 1.5
    header.add_history("history")
    writePlanes(path, ImagePlanes(IMAGE, metadata=dict(header)))
    monkeypatch.setattr("psfmatch.io.cards._mendedHeader", None)
    monkeypatch.setattr("psfmatch.io.mending._Overlay", None)
    np.testing.assert_array_equal(readPlanes(path, gain=1.0).image, IMAGE)


@settings(deadline=None)
@given(st.binary(max_size=CARD), st.sampled_from([b"", b"KEY     = ", b"GAIN    = ", b"KEY     = '", b"CONTINUE  '"]))
def test_anyBytesBecomeCardsThatAstropyTakes(content, start):
    text = (b"FIRST   = 'a&'".ljust(CARD) + (start + content)[:CARD].ljust(CARD)).decode("latin-1")
    mended = mendHeader(text)
    assert len(mended.text) == len(text)
    for card in fits.Header.fromstring(mended.text).cards:
        assert not isinstance(card.value, float) or math.isfinite(card.value)
        card.verify("exception" if card.keyword == "FIRST" else "fix")
    assert mendHeader(mended.text).faults == ()


def test_formattedCards():
    assert formatCard("KEY", "1.5", "comment") == "KEY     =                  1.5 / comment".ljust(CARD)
    assert formatCard("KEY", "'a'") == "KEY     = 'a'".ljust(CARD)
    assert formatCard("a long key", "T") == "HIERARCH a long key =                    T".ljust(CARD)
    assert formatCard("KEY", "'" + 80 * "x" + "'") is None
    assert len(formatCard("KEY", "1", 100 * "c")) == CARD
