"""What a batch leaves for the morning: the page over all pairs, the ledger as a table, what was set apart."""

import dataclasses
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.table import Table

from psfmatch.batch import Pair, PairOptions, runBatch
from psfmatch.cli import main
from psfmatch.io import readLedgers
from psfmatch.io.pairRecords import FIELDS
from psfmatch.pictures.index import requireIndexPath, writeIndex
from psfmatch.pictures.triplets import thumbnail
from psfmatch.testing import simulatePair


class Page(HTMLParser):
    """Sections of a page by their anchors, each with the text of its rows; pictures and links."""

    def __init__(self, path):
        super().__init__()
        self.rows, self.pictures, self.links, self._section = {}, [], [], None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "section":
            self._section = found["id"]
            self.rows[self._section] = []
        elif tag == "tr" and self._section:
            self.rows[self._section].append([])
        elif tag in ("td", "th") and self._section:
            self.rows[self._section][-1].append("")
        elif tag == "img":
            self.pictures.append(found["src"])
        elif tag == "a":
            self.links.append(found["href"])

    def handle_data(self, data):
        if self._section and self.rows[self._section] and self.rows[self._section][-1]:
            self.rows[self._section][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A batch of a good pair with transients, one that does not pass the gate, two that fail, and one not done."""
    folder = tmp_path_factory.mktemp("night")
    pair = simulatePair(seed=3, size=256)
    pair.template.writeFits(folder / "t.fits")
    pair.science.writeFits(folder / "good one.fits")
    poor = pair.science.withPixels(pair.science.maskedImage.copy())
    poor.image[:] += np.random.default_rng(1).normal(0.0, 60.0, poor.shape).astype(np.float32)
    poor.writeFits(folder / "poor.fits")
    (folder / "broken.fits").write_bytes(b"SIMPLE")
    rows = ["t.fits;good one.fits", "t.fits;poor.fits", "t.fits;broken.fits", "t.fits;missing.fits"]
    (folder / "night.csv").write_text("Template;Science\r\n" + "\r\n".join(rows) + "\r\n;\r\n")
    directory = folder / "out"
    with ThreadPoolExecutor(1) as executor:
        options = PairOptions(sources=True, gates={"noiseRobustStdev": 1.5}, setApart="poor")
        summary = runBatch(folder / "night.csv", directory, options, executor=executor)
    return summary, directory


def test_thePoorPairIsSetApart(night):
    summary, directory = night
    assert (summary.nDone, summary.nFailed) == (2, 2)
    (poor,) = summary.gateFailures
    assert (poor.name, poor.folder) == ("poor", "poor")
    outputs = {f"poor{rest}" for rest in (".fits", ".json", ".png", "_sources.fits")}
    assert {path.name for path in (directory / "poor").iterdir()} == outputs
    assert not outputs & {path.name for path in directory.iterdir()}
    assert (directory / "good one.fits").exists()


def test_everyPairIsOnThePage(night):
    _, directory = night
    page = Page(directory / "index.html")
    sections = list(page.rows)
    assert sections[0] == "failed"
    failed = {row[0]: row[1] for row in page.rows["failed"][1:]}
    assert list(failed) == ["broken", "missing"]
    assert failed["broken"].startswith("ExposureReadError: ")
    assert "no such file" in failed["missing"]
    graded = {row[1]: row for name in sections[1:] for row in page.rows[name][1:]}
    assert set(graded) == {"good one", "poor"}
    assert graded["poor"][2].startswith("set apart in poor: ")
    counts = {record.name: record.nDetections for record in readLedgers(directory)}
    assert {name: int(row[3]) for name, row in graded.items()} == {name: counts[name] for name in graded}
    for name, folder in (("good one", directory), ("poor", directory / "poor")):
        numbers = json.loads((folder / f"{name}.json").read_text())
        assert counts[name] == numbers["detections"]["nDetections"]
        assert counts[name] == len(Table.read(folder / f"{name}_sources.fits", 1))
    assert page.pictures == ["./poor/poor.png", "./good%20one.png"] or page.pictures == [
        "./good%20one.png",
        "./poor/poor.png",
    ]
    assert {"./broken.log", "./missing.log"} <= set(page.links)
    assert "4 pairs in out" in (directory / "index.html").read_text()


def test_thePageIsMadeAnewElsewhereAndAgain(night, tmp_path, capsys):
    _, directory = night
    before = (directory / "index.html").read_text()
    assert main(["report", str(directory)]) == 0
    assert (directory / "index.html").read_text() == before
    assert main(["report", str(directory), "-o", str(tmp_path / "page.html")]) == 0
    pictures = Page(tmp_path / "page.html").pictures
    assert len(pictures) == 2
    assert all((tmp_path / name.replace("%20", " ")).exists() for name in pictures)
    (tmp_path / "mine.html").write_text("<p>my notes</p>")
    assert main(["report", str(directory), "-o", str(tmp_path / "mine.html")]) == 3
    assert "is no index of psfmatch; add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "mine.html").read_text() == "<p>my notes</p>"
    requireIndexPath(tmp_path / "mine.html", overwrite=True)


def test_pairsThatAreNotDone(night, tmp_path):
    """Such as of a run that was ended: they stand after those that failed."""
    _, directory = night
    with sqlite3.connect(directory / "ledger.sqlite") as connection:
        connection.execute("UPDATE pairs SET state = 'pending' WHERE name = 'good one'")
    try:
        writeIndex(directory, tmp_path / "page.html")
    finally:
        with sqlite3.connect(directory / "ledger.sqlite") as connection:
            connection.execute("UPDATE pairs SET state = 'done' WHERE name = 'good one'")
    rows = Page(tmp_path / "page.html").rows
    assert list(rows)[:2] == ["failed", "unfinished"]
    assert [row[:2] for row in rows["unfinished"][1:]] == [["good one", "pending"]]
    assert "good one" not in {row[1] for name in list(rows)[2:] for row in rows[name]}


def test_theLedgerAsATable(night):
    summary, _ = night
    table = summary.toTable()
    assert table.colnames == list(FIELDS)
    assert list(table["name"]) == [record.name for record in summary.records]
    assert sorted(table["name"]) == ["broken", "good one", "missing", "poor"]
    row = table[list(table["name"]).index("good one")]
    record = next(record for record in summary.records if record.name == "good one")
    assert (row["state"], row["grade"], row["nDetections"]) == ("done", record.grade, record.nDetections)
    assert row["errorType"] is np.ma.masked
    assert str(table["wallSeconds"].unit) == "s"
    assert "records" not in summary.toDict()


@pytest.mark.parametrize("ending", ["ecsv", "csv", "tsv", "txt", "vot", "fits", "html"])
def test_statusAsATable(night, tmp_path, capsys, ending):
    _, directory = night
    path = tmp_path / f"ledger.{ending}"
    assert main(["batch", "--status", str(directory), "-o", str(path)]) == 0
    assert "2; grades" in capsys.readouterr().out
    if ending == "html":
        assert "ExposureReadError" in path.read_text()
        return
    forms = {"csv": "ascii.csv", "tsv": "ascii.tab", "txt": "ascii.commented_header"}
    table = Table.read(path, format=forms.get(ending))
    assert sorted(map(str, table["name"])) == ["broken", "good one", "missing", "poor"]
    # Once more it is not replaced unasked.
    assert main(["batch", "--status", str(directory), "-o", str(path)]) == 3
    assert main(["batch", "--status", str(directory), "-o", str(path), "--overwrite"]) == 0


def test_statusToStandardOutput(night, capsys):
    _, directory = night
    assert main(["batch", "--status", str(directory), "-o", "-"]) == 0
    out, err = capsys.readouterr()
    table = Table.read(out, format="ascii.ecsv")
    assert len(table) == 4
    assert "failed" in err
    assert main(["batch", "--status", str(directory), "-o", "-", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["rows"]] == ["broken", "good one", "missing", "poor"]
    assert told["rows"][0]["grade"] is None
    assert main(["batch", "--status", str(directory)]) == 0
    assert re.search(r"failed +2", capsys.readouterr().out)


def test_anOlderLedgerIsUnderstood(tmp_path):
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE pairs (name TEXT, template TEXT, science TEXT, fingerprint TEXT, state TEXT)")
        connection.execute("INSERT INTO pairs VALUES ('a', 't', 's', 'f', 'failed')")
    (record,) = readLedgers(tmp_path)
    assert (record.name, record.state, record.nDetections) == ("a", "failed", None)
    with ThreadPoolExecutor(1) as executor:
        summary = runBatch([Pair("b", "t", "s")], tmp_path, executor=executor)
    assert [record.name for record in readLedgers(tmp_path)] == ["a", "b"]
    assert summary.nFailed == 1


def test_outputsThatNobodyKnowsAreNotReplaced(tmp_path):
    (tmp_path / "a.fits").write_text("mine")
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(FileExistsError, match=r"a\.fits exist already and are in no ledger"):
            runBatch([Pair("a", "t", "s")], tmp_path, executor=executor)
        assert runBatch([Pair("a", "t", "s")], tmp_path, executor=executor, overwrite=True).nFailed == 1
        # What is in the ledger is done anew only if that is said.
        with pytest.raises(ValueError, match=r"1 of these pairs in its ledger; .* replace it by overwrite=True"):
            runBatch([Pair("a", "t", "s")], tmp_path, executor=executor)
        runBatch([Pair("a", "t", "s")], tmp_path, executor=executor, overwrite=True)
    assert readLedgers(tmp_path)[0].attempts == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PairOptions(setApart="poor"), "needs a gate"),
        (PairOptions(setApart="../poor", gates={"grade": "B"}), "plain name of a directory"),
        (PairOptions(setApart=".partial", gates={"grade": "B"}), "plain name of a directory"),
        (PairOptions(setApart="", gates={"grade": "B"}), "plain name of a directory"),
    ],
)
def test_wrongPlacesToSetApart(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        runBatch([Pair("a", "t", "s")], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_whatWasLeftOfAnOlderRunGoes(night, tmp_path):
    """A pair that passes now lies with the others, and nothing of it elsewhere; what is not asked for is not kept."""
    summary, _ = night
    record = next(record for record in summary.records if record.name == "good one")
    (tmp_path / "poor").mkdir()
    for path in (tmp_path / "poor" / "a.fits", tmp_path / "a.html", tmp_path / "a_sources.fits"):
        path.write_text("older")
    options = PairOptions(gates={"grade": "F"}, setApart="poor")
    with ThreadPoolExecutor(1) as executor:
        runBatch([Pair("a", record.template, record.science)], tmp_path, options, executor=executor, overwrite=True)
    assert {path.name for path in tmp_path.glob("a*")} == {"a.fits", "a.json", "a.png", "a.log"}
    assert list((tmp_path / "poor").iterdir()) == []


def test_thumbnailsOfOddImages():
    """Of any size, of nothing that can be used: always a picture."""
    from PIL import Image

    result = simulatePair(seed=2, size=64)

    @dataclasses.dataclass
    class Odd:
        matched: object
        unconvolved: object
        difference: object
        convolved: str = "template"

    for image in (result.science, result.science.subset(result.science.getBBox())):
        picture = thumbnail(Odd(image, image, image))
        assert picture.startswith(b"\x89PNG")
    empty = result.science.withPixels(result.science.maskedImage.copy())
    empty.image[:] = np.nan
    import io as streams

    with Image.open(streams.BytesIO(thumbnail(Odd(empty, empty, empty)))) as opened:
        assert opened.size == (3 * 64 + 6, 64)
        assert len(set(np.asarray(opened).ravel()) - {254}) == 1
