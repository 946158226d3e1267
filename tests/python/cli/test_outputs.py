"""Where names lead: endings choose formats, unknown ones are refused, nothing is replaced unasked, - is a pipe."""

import io as streams
import json
import logging
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy.io import fits, registry
from astropy.table import QTable, Table

import psfmatch
from psfmatch import Exposure, StoredKernel, io, subtract
from psfmatch.cli import main
from psfmatch.cli.outputs import TABLE_ENDINGS
from psfmatch.pictures import savePicture
from psfmatch.testing import simulatePair
from psfmatch.transients import writeSources

pytestmark = pytest.mark.usefixtures("packageLogging", "undrawnReport")

TABLES = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".tsv": "ascii.tab",
    ".txt": "ascii.commented_header",
    ".dat": "ascii.commented_header",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".fit": "fits",
    ".fts": "fits",
    ".fits.gz": "fits",
}
PICTURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Template, science image, their difference, and a kernel."""
    folder = tmp_path_factory.mktemp("outputs")
    pair = simulatePair(seed=9, size=192)
    pair.template.writeFits(folder / "t.fits")
    pair.science.writeFits(folder / "s.fits")
    result = subtract(pair.template, pair.science)
    result.writeFits(folder / "d.fits")
    result.storedKernel().writeFits(folder / "k.fits")
    return folder


@pytest.fixture(scope="module")
def result():
    pair = simulatePair(seed=9, size=192)
    return subtract(pair.template, pair.science)


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Call main with names of the folder and OUT for a new one; returns status, output, errors."""

    def call(*words):
        known = {path.name: str(path) for path in folder.iterdir()}
        status = main([known.get(word, word).replace("OUT", str(tmp_path)) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


# Endings


@pytest.mark.parametrize("isUpper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize(("ending", "form"), TABLES.items())
def test_tables(tmp_path, result, ending, form, isUpper):
    path = tmp_path / f"s{ending.upper() if isUpper else ending}"
    writeSources(result.changes, path)
    table = Table.read(path, **({"hdu": 1} if form == "fits" else {}), format=form)
    assert table.colnames == result.changes.colnames
    np.testing.assert_allclose(table["significance"], result.changes["significance"], rtol=1e-12)
    if form in ("ascii.ecsv", "votable", "fits"):
        assert table["x"].unit == "pix"
    assert ending.startswith((".fi", ".ft")) or b"\0" not in path.read_bytes()


@pytest.mark.parametrize("ending", [".html", ".htm"])
def test_tablesAsPages(tmp_path, result, ending):
    writeSources(result.changes, tmp_path / f"s{ending}")
    tree = ElementTree.fromstring((tmp_path / f"s{ending}").read_text())
    rows = tree.findall(".//{*}tr")
    assert len(rows) == 1 + len(result.changes)
    assert [cell.text.strip() for cell in rows[0]] == result.changes.colnames


def test_parquetAsksForItsLibrary(tmp_path, result, run, monkeypatch):
    monkeypatch.setattr("psfmatch.io.endings.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"\.parquet needs pyarrow \(pip install pyarrow\)"):
        writeSources(result.changes, tmp_path / "s.parquet")
    status, out, err = run("detect", "d.fits", "-o", "OUT/s.parquet")
    assert (status, out) == (2, "")
    assert "pip install pyarrow" in err
    assert not list(tmp_path.iterdir())


def test_parquetIsWhatItsWriterMakes(tmp_path, result, monkeypatch):
    """The writer of astropy gets the name of a file; pyarrow itself is not among the tests' needs."""
    monkeypatch.setattr("psfmatch.io.endings.find_spec", lambda name: name)
    writer = registry.get_writer("parquet", Table)

    def stand(table, target):
        table.write(target, format="ascii.ecsv")

    registry.register_writer("parquet", Table, stand, force=True)
    try:
        writeSources(result.changes, tmp_path / "s.parquet")
    finally:
        registry.register_writer("parquet", Table, writer, force=True)
    assert len(Table.read(tmp_path / "s.parquet", format="ascii.ecsv")) == len(result.changes)


def test_tablesOfQuantities(tmp_path, result):
    """Positions as one column are left out: ra and dec tell them."""
    table = psfmatch.asQTable(result.changes, result.difference.wcs)
    assert isinstance(table, QTable)
    for ending in (".ecsv", ".csv", ".vot", ".fits"):
        writeSources(table, tmp_path / f"s{ending}")
        assert (tmp_path / f"s{ending}").stat().st_size > 500


@pytest.mark.parametrize(
    "ending", [".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".fts.fz", ".FITS", ".FITS.GZ", ".Fits.Fz"]
)
def test_images(tmp_path, result, ending):
    path = tmp_path / f"d{ending}"
    result.writeFits(path)
    magic = path.read_bytes()[:2]
    assert (magic == b"\x1f\x8b") == ending.lower().endswith(".gz")
    with fits.open(path) as hdus:
        isPacked = any(isinstance(hdu, fits.CompImageHDU) for hdu in hdus)
    assert isPacked == ending.lower().endswith(".fz")
    read, made = Exposure.readFits(path), result.difference
    np.testing.assert_array_equal(read.image, made.image)
    np.testing.assert_array_equal(read.variance, made.variance)
    np.testing.assert_array_equal(np.asarray(read.mask), np.asarray(made.mask))
    kernel = StoredKernel.readFits(path).kernel
    np.testing.assert_array_equal(kernel.scaledParameters, result.kernel.scaledParameters)


@pytest.mark.parametrize(("ending", "magic"), PICTURES.items())
def test_pictures(tmp_path, result, ending, magic):
    figure = result.plotDifference()
    for name in (f"a{ending}", f"b{ending.upper()}"):
        savePicture(figure, tmp_path / name)
    content = (tmp_path / f"a{ending}").read_bytes()
    assert content.startswith(magic)
    # Nothing in it tells when it was made.
    assert content == (tmp_path / f"b{ending.upper()}").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        savePicture(figure, tmp_path / f"a{ending}", overwrite=False)


UNKNOWN = [
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.tif"), "cannot write an image to", ".fits, .fit, .fts"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/difference"), "cannot write an image to", ".fts.fz"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits.bz2"), "cannot write an image to", ".fits.gz"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--score", "OUT/x.csv"), "cannot write an image to", ".fits"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--decorrelated", "OUT/x"), "cannot write an image", ".fits"),
    (
        ("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--sources", "OUT/x.xls"),
        "cannot write a table",
        ".ecsv, .csv",
    ),
    (
        ("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--picture", "OUT/x.bmp"),
        "cannot write a picture",
        ".png, .pdf",
    ),
    (
        ("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--report", "OUT/x.pdf"),
        "cannot write a page",
        ".html or .htm",
    ),
    (("detect", "d.fits", "-o", "OUT/x.json"), "cannot write a table", ".vot"),
    (("detect", "d.fits", "-o", "OUT/csv"), "cannot write a table", ".csv"),
    (("apply", "k.fits", "t.fits", "s.fits", "-o", "OUT/x.png"), "cannot write an image", ".fits"),
    (("report", "t.fits", "s.fits", "-o", "OUT/x.txt"), "cannot write a page", ".html"),
    (("config", "-o", "OUT/x.xml"), "x.xml", ".json"),
]


@pytest.mark.parametrize(("words", "message", "listed"), UNKNOWN)
def test_unknownEndingsAreRefusedFirst(run, tmp_path, monkeypatch, words, message, listed):
    for module in ("subtract", "report"):
        monkeypatch.setattr(f"psfmatch.cli.{module}.subtractInputs", lambda options: pytest.fail("computed in vain"))
    monkeypatch.setattr("psfmatch.transients.detectOnDifference", lambda *_, **__: pytest.fail("computed in vain"))
    monkeypatch.setattr("psfmatch.difference.applyKernel", lambda *_, **__: pytest.fail("computed in vain"))
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert message in err
    assert listed in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.png", "x", "x.fits.bz2", "x.csv", "x.fitsy", "fits"])
def test_theLanguageRefusesThemToo(tmp_path, result, name):
    path = tmp_path / name
    writers = [result.writeFits, result.difference.writeFits, result.score.writeFits, result.writeDecorrelated]
    writers += [result.storedKernel().writeFits, result.kernel.writeFits]
    for write in writers:
        with pytest.raises(ValueError, match=r"its name must end in \.fits, \.fit, \.fts"):
            write(path)
    assert not path.exists()


def test_theHelpTellsTheEndings():
    assert set(TABLE_ENDINGS.split(", ")) <= set(io.TABLES.forms)
    assert {".ecsv", ".csv", ".vot", ".xml", ".parquet", ".fits", ".html", ".txt"} <= set(TABLE_ENDINGS.split(", "))


# What exists

EXISTING = [
    (("subtract", "t.fits", "s.fits", "-o", "OUT/x.fits"), "x.fits"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--sources", "OUT/x.csv"), "x.csv"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--picture", "OUT/x.pdf"), "x.pdf"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--report", "OUT/x.html"), "x.html"),
    (("detect", "d.fits", "-o", "OUT/x.ecsv"), "x.ecsv"),
    (("apply", "k.fits", "t.fits", "s.fits", "-o", "OUT/x.fits"), "x.fits"),
    (("report", "t.fits", "s.fits", "-o", "OUT/x.html"), "x.html"),
    (("config", "-o", "OUT/x.json"), "x.json"),
    (("demo", "--size", "128", "-o", "OUT"), "science.fits"),
    (("demo", "--size", "128", "-o", "OUT"), "report.json"),
]


@pytest.mark.parametrize(("words", "name"), EXISTING)
def test_whatExistsIsReplacedOnlyIfAsked(run, tmp_path, monkeypatch, words, name):
    (tmp_path / name).write_text("mine")
    with monkeypatch.context() as patched:
        for module in ("subtract", "report"):
            patched.setattr(f"psfmatch.cli.{module}.subtractInputs", lambda options: pytest.fail("computed in vain"))
        patched.setattr("psfmatch.difference.applyKernel", lambda *_, **__: pytest.fail("computed in vain"))
        status, out, err = run(*words)
    assert (status, out) == (3, "")
    assert f"{tmp_path / name} exists already" in err
    assert "--overwrite" in err
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("words", [words for words, _ in EXISTING if words[0] in ("detect", "apply", "config")])
def test_withOverwriteItIs(run, tmp_path, words):
    name = words[-1].removeprefix("OUT/")
    (tmp_path / name).write_text("mine")
    assert run(*words, "--overwrite")[0] == 0
    assert not (tmp_path / name).read_bytes().startswith(b"mine")


def test_numbersOfAReportAreAnOutputToo(run, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"format": "psfmatch report"}))
    status, _, err = run("report", "t.fits", "s.fits", "-o", "OUT/x.html")
    assert status == 3
    assert "x.json exists already" in err


def test_everyDetectorsOutputIsLookedAtFirst(tmp_path, folder, capsys, monkeypatch):
    names = [tmp_path / "many_t.fits", tmp_path / "many_s.fits"]
    for name, source in zip(names, ("t.fits", "s.fits"), strict=True):
        image = fits.getdata(folder / source, "IMAGE")
        fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(image, name=f"CCD{i}") for i in (1, 2))]).writeto(name)
    (tmp_path / "d_CCD2.fits").write_text("mine")
    monkeypatch.setattr("psfmatch.cli.subtract.subtractInputs", lambda options: pytest.fail("computed in vain"))
    assert main(["subtract", *map(str, names), "-o", str(tmp_path / "d.fits")]) == 3
    assert "d_CCD2.fits exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda r, path: r.writeFits(path, overwrite=False), "x.fits"),
        (lambda r, path: r.writeDecorrelated(path, overwrite=False), "x.fits"),
        (lambda r, path: r.difference.writeFits(path, overwrite=False), "x.fits.gz"),
        (lambda r, path: r.score.writeFits(path, overwrite=False), "x.fits"),
        (lambda r, path: r.storedKernel().writeFits(path, overwrite=False), "x.fits"),
        (lambda r, path: writeSources(r.changes, path, overwrite=False), "x.csv"),
        (lambda r, path: writeSources(r.changes, path, overwrite=False), "x.fits"),
        (lambda r, path: r.report(path, overwrite=False), "x.html"),
        (lambda r, path: savePicture(r.plotDifference(), path, overwrite=False), "x.svg"),
    ],
)
def test_theLanguageDoesNotReplaceEither(tmp_path, result, write, name):
    path = tmp_path / name
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=rf"{name}: exists already; pass overwrite=True"):
        write(result, path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


# Outputs and inputs

SAME = [
    (("subtract", "t.fits", "s.fits", "-o", "s.fits"), "one of the inputs"),
    (("subtract", "t.fits", "s.fits", "--science-mask", "OUT/in.fits", "-o", "OUT/in.fits"), "one of the inputs"),
    (
        ("subtract", "t.fits", "s.fits", "--template-variance", "OUT/in.fits[1]", "-o", "OUT/in.fits"),
        "one of the inputs",
    ),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/link.fits"), "one of the inputs"),
    (("detect", "d.fits", "-o", "d.fits"), "one of the inputs"),
    (("detect", "d.fits", "--science", "OUT/in.fits", "-o", "OUT/in.fits"), "one of the inputs"),
    (("apply", "k.fits", "t.fits", "s.fits", "-o", "k.fits"), "one of the inputs"),
    (("config", "--config", "OUT/in.json", "-o", "OUT/in.json"), "one of the inputs"),
    (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--score", "OUT/d.fits"), "two outputs go to the same file"),
]


@pytest.mark.parametrize(("words", "message"), SAME)
def test_anInputIsNeverReplaced(run, folder, tmp_path, words, message):
    (tmp_path / "in.fits").write_bytes((folder / "s.fits").read_bytes())
    (tmp_path / "in.json").write_text("{}")
    (tmp_path / "link.fits").symlink_to(folder / "s.fits")
    before = {path: path.read_bytes() for path in (*folder.iterdir(), *tmp_path.iterdir())}
    status, out, err = run(*words, "--overwrite")
    assert (status, out) == (2, "")
    assert message in err
    assert {path: path.read_bytes() for path in (*folder.iterdir(), *tmp_path.iterdir())} == before


# Standard output


def test_aTableToStandardOutput(run):
    status, out, err = run("detect", "d.fits", "-o", "-", "-q")
    assert status == 0
    table = Table.read(out, format="ascii.ecsv")
    assert table.meta["THRESH"] == 5.0
    assert "sources" in err


def test_aTableToStandardOutputAsJson(run):
    status, out, _ = run("detect", "d.fits", "-o", "-", "--json", "-q")
    told = json.loads(out)
    assert status == 0
    assert len(told["rows"]) == told["nSources"]


def test_sourcesToStandardOutput(run):
    status, out, err = run("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--sources", "-", "-q", "--explain")
    assert status == 0
    Table.read(out, format="ascii.ecsv")
    assert "kernel" in err
    assert "Grade" in err


def test_aConfigurationToStandardOutput(run, tmp_path):
    status, out, _ = run("config", "-o", "-")
    assert status == 0
    (tmp_path / "mine.json").write_text(out)
    assert run("config", "--config", "OUT/mine.json", "-o", "OUT/again.json")[0] == 0
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("subtract", "t.fits", "s.fits", "-o", "-"),
            "an image cannot go to standard output (-), only tables and JSON",
        ),
        (("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--score", "-"), "an image cannot go to standard output"),
        (
            ("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--picture", "-"),
            "a picture cannot go to standard output",
        ),
        (
            ("subtract", "t.fits", "s.fits", "-o", "OUT/d.fits", "--report", "-"),
            "a report cannot go to standard output",
        ),
        (("report", "t.fits", "s.fits", "-o", "-"), "a report cannot go to standard output"),
        (("apply", "k.fits", "t.fits", "s.fits", "-o", "-"), "an image cannot go to standard output"),
    ],
)
def test_whatIsNoTableGoesToNoPipe(run, words, message):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert message in err


def test_logGoesElsewhere(run, caplog):
    with caplog.at_level(logging.INFO, "psfmatch"):
        _, out, err = run("detect", "d.fits", "-o", "-", "-vv")
    assert "DEBUG" in err
    Table.read(streams.StringIO(out).read(), format="ascii.ecsv")
