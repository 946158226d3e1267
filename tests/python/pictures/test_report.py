"""Reports: one page that needs nothing else, the same numbers as JSON, figures, and an index over many."""

import base64
import dataclasses
import io
import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column
from PIL import Image

from psfmatch import subtract
from psfmatch.errors import InputImagesError, NoKernelCandidatesError
from psfmatch.pictures import findDetections, reportNumbers, writeIndex, writeNumbers, writeReport
from psfmatch.pictures.field import fieldRows, hotSpots, scatterInBlocks, tellWorst
from psfmatch.pictures.files import _reduced
from psfmatch.pictures.glossary import WORDS, Words, goodValue, headingOf, ruleOfReason, sectionOf, withNewFigures
from psfmatch.pictures.markup import tell
from psfmatch.pictures.page import SECTIONS
from psfmatch.pictures.triplets import Place, candidatePlaces, tripletTiles
from psfmatch.quality import RULES, Quality
from psfmatch.testing import simulatePair
from psfmatch.transients import writeSources

VOID = {"meta", "img", "br"}
TITLE = "<script>alert('1')</script> & \"two\".fits"


class Reader(HTMLParser):
    """Reads a page: its text, attributes, anchors, and what is not well-formed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.words, self.attributes, self.tags = [], [], [], [], []
        self.feed(text)
        self.close()
        self.wrong += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> ends {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "\n".join(self.words)

    def valuesOf(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def requireSound(text):
    """Check that a page is well-formed and asks for nothing but itself; return it read."""
    read = Reader(text)
    assert read.wrong == []
    assert "script" not in read.tags
    assert not re.search(r"https?://|@import|url\(", text)
    assert all(source.startswith("data:image/png;base64,") for source in read.valuesOf("src"))
    anchors = set(read.valuesOf("id"))
    assert {link[1:] for link in read.valuesOf("href") if link.startswith("#")} <= anchors
    return read


def leaves(value):
    """Numbers and texts of nested JSON."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@pytest.fixture(scope="module")
def result():
    pair = simulatePair(seed=3, size=256)
    return subtract(pair.template, pair.science, threads=1)


@pytest.fixture(scope="module")
def written(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    numbers = result.report(folder / "pair.html", title=TITLE)
    return SimpleNamespace(folder=folder, numbers=numbers, text=(folder / "pair.html").read_text())


def test_pageIsSoundSmallAndComplete(written):
    read = requireSound(written.text)
    assert len(written.text) < 5e6
    pictures = [base64.b64decode(source.partition(",")[2]) for source in read.valuesOf("src")]
    assert len(pictures) == 10
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as opened:
            opened.load()
            assert opened.format == "PNG"
    assert len(read.valuesOf("alt")) == len(pictures)


def test_gradeAndReasonsComeFirst(written, result):
    text = written.text
    first = text.index(result.grade, text.index("<main>"))
    assert first < text.index("data:image")
    for reason in result.quality.reasons:
        words = reason.partition(": ")[2]
        assert words[1:] in Reader(text[: text.index('id="images"')]).text


def test_everyNumberOfTheJsonIsOnThePage(written):
    text = Reader(written.text).text
    tokens = set(re.split(r"[\s,;:()]+", text))
    stored = json.loads((written.folder / "pair.json").read_text())
    assert stored == written.numbers
    assert stored["quality"].pop("reasons") == stored["reasons"]
    stored["reasons"] = [reason.partition(": ")[2][1:] for reason in stored["reasons"]]
    for part, values in stored.items():
        for leaf in leaves(values):
            if isinstance(leaf, str):
                assert leaf in text, f"{part}: {leaf}"
            else:
                assert tell(leaf) in tokens, f"{part}: {leaf}"


def test_numbersAreThoseOfTheResult(written, result):
    numbers = written.numbers
    assert numbers["quality"] == json.loads(json.dumps(result.quality.toDict()))
    summary = result.summary()
    assert (numbers["grade"], numbers["reasons"]) == (summary.pop("grade"), summary.pop("gradeReasons"))
    assert numbers["summary"] == json.loads(json.dumps(summary))
    assert [choice["sentence"] for choice in numbers["choices"]] == [choice.sentence for choice in result.choices]
    found = findDetections(result, threads=1).table
    assert numbers["detections"]["nDetections"] == len(found)
    assert [row["significance"] for row in numbers["detections"]["rows"]] == list(found["significance"][:50])
    # The worst figure gives the grade.
    assert max([*numbers["grades"].values(), "A"]) == result.grade


def test_namesAreEscaped(written):
    assert "<script" not in written.text
    assert TITLE in Reader(written.text).text


def test_writeNumbersIsCheapAndEqual(result, written, tmp_path, monkeypatch):
    monkeypatch.setattr(type(result), "detect", lambda *_, **__: pytest.fail("nothing is to be detected"))
    writeNumbers(result, tmp_path / "pair.json", title=TITLE)
    stored = json.loads((tmp_path / "pair.json").read_text())
    assert stored["detections"] is None
    assert stored | {"detections": 0} == written.numbers | {"detections": 0}
    assert [file.name for file in tmp_path.iterdir()] == ["pair.json"]


def spoilt(result, how):
    """A result that lacks what a page could rest on."""
    table = result.candidates.copy()
    if how == "nothing measured":
        return dataclasses.replace(
            result, quality=None, decorrelation=None, alignment=None, coverage=None, candidates=table[:0], choices=()
        )
    table.replace_column("status", Column(["BAD"] * len(table)))
    table.replace_column("reason", Column(["<b>: bad"] * len(table)))
    table["spatialRms"] = np.nan
    quality = dataclasses.replace(
        result.quality,
        grade="F",
        reasons=("F: the kernel is not finite", "D: the kernel is that of <two> PSF models, not fitted"),
        chiSquareByFlux=(),
        heldOutChiSquareByFlux=((150.0, np.inf, 2, np.nan),),
        sourceRobust=np.nan,
        lag1=None,
        rejected={"<b>": 3},
    )
    steps = ("The kernel could not be fitted (<few> stars).",)
    difference = result.difference.copy()
    np.asarray(difference.mask)[:] |= difference.mask.getPlaneBitMask("NO_DATA")
    return dataclasses.replace(result, candidates=table, quality=quality, steps=steps, difference=difference)


@pytest.mark.parametrize("how", ["nothing measured", "all rejected"])
def test_spoiltResultsGiveAPage(result, how, tmp_path, undrawnReport, monkeypatch):
    def fail(*_, **__):
        raise NoKernelCandidatesError("no <stars> at all", nSources=0)

    monkeypatch.setattr(type(result), "detect", fail)
    bad = spoilt(result, how)
    numbers = bad.report(tmp_path / "bad.html")
    read = requireSound((tmp_path / "bad.html").read_text())
    assert "no <stars> at all" in read.text
    assert numbers["detections"]["nDetections"] is None
    if how == "all rejected":
        assert "The kernel could not be fitted (<few> stars)." in read.text
        assert "No pixel of the difference can be used." in read.text
        assert numbers["summary"]["nGood"] == 0
    else:
        assert "Not graded" in read.text
        assert bad._repr_html_().count("<tr>") == 5


def test_detectionsFallBackToAGaussian(result, monkeypatch, tmp_path):
    def withoutStars(exposure, **options):
        raise NoKernelCandidatesError(f"no star\nof {'many ' * 20}", nSources=0)

    monkeypatch.setattr("psfmatch.sources.starPsf.psfFromStars", withoutStars)
    # A copy: what the result has measured once it keeps.
    found = findDetections(dataclasses.replace(result), threads=1)
    fwhm = result.metadata["scienceFwhmPix" if result.convolved == "template" else "templateFwhmPix"]
    # The grid of pixels makes a moment of the Gaussian inexact by a per cent or so.
    assert found.table.meta["PSFFWHM"] == pytest.approx(fwhm, rel=0.05)
    assert f"Gaussian of FWHM {fwhm:.2f} px, for no star of many" in found.note
    writeSources(found.table, tmp_path / "sources.fits")
    assert found.note == f"PSF: {fits.getheader(tmp_path / 'sources.fits', 1)['PSFFROM']}."


def test_matplotlibIsAskedFor(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'psfmatch\[plot\]'"):
        result.report(tmp_path / "no.html")
    with pytest.raises(ModuleNotFoundError, match=r"psfmatch\[plot\]"):
        result.plotKernel()
    assert list(tmp_path.iterdir()) == []
    # The small picture of a notebook needs none.
    assert "data:image/png" in result._repr_html_()


def test_otherFilesAreNotOverwritten(result, tmp_path):
    with pytest.raises(ValueError, match=r"its numbers go beside it"):
        writeReport(result, tmp_path / "pair.json")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config.json, where the numbers .* is another file"):
        writeReport(result, tmp_path / "config.html")
    assert (tmp_path / "config.json").read_text() == "{}"


def test_figuresForNotebooks(result):
    from matplotlib.figure import Figure

    names = [name for name in dir(result) if name.startswith("plot")]
    assert len(names) == 8
    for name in names:
        assert isinstance(getattr(result, name)(), Figure), name
    with pytest.raises(ValueError, match="triplets of 'stars' are unknown"):
        result.plotTriplets("stars")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_smallSummary(result):
    text = result._repr_html_()
    read = requireSound(text)
    assert len(text) < 2e5
    assert result.quality.reasons[0] in read.text
    assert tell(result.quality.noiseRobustStdev) in read.text


def test_ninthsAndSpotsFindWhatIsBad(result):
    noise = np.random.default_rng(1).normal(size=result.difference.shape)
    difference = result.difference.copy()
    difference.variance[:] = 4.0
    difference.image[:] = 2.0 * noise
    np.asarray(difference.mask)[:] = 0
    even = dataclasses.replace(result, difference=difference)
    rows = fieldRows(even)
    # 85^2 pixels, so that sigma of a scatter is 1 / sqrt(2 * 7225) = 0.008.
    assert [row["scatter"] for row in rows] == pytest.approx([1.0] * 9, abs=0.04)
    assert sum(row["nUsed"] + row["nRejected"] for row in rows) == len(result.candidates)
    assert hotSpots(even) == []
    assert tellWorst(rows, []).startswith("No part of the field is worse")

    difference.image[200:, :60] *= 1.5
    difference.image[96:112, 48:64] = 4.4
    rows, spots = fieldRows(even), hotSpots(even)
    worst = max(rows, key=lambda row: row["scatter"])
    assert worst["part"] == "upper left"
    assert (worst["x"], worst["y"]) == ([0, 85], [171, 256])
    # Blocks have 16 px at least.
    assert spots[0] == {"x": 56.0, "y": 104.0, "scatter": pytest.approx(2.2)}
    assert "Worst in the upper left (x 0 to 85, y 171 to 256)" in tellWorst(rows, spots)


def test_scatterOfBlocksIsThatOfTheirPixels(result):
    scatter, side = scatterInBlocks(result)
    image = result.difference.maskedImage
    part = np.s_[3 * side : 4 * side, 2 * side : 3 * side]
    good = ~image.badPixels(("BAD", "SAT", "EDGE", "NO_DATA"))[part]
    pulls = np.clip((image.image[part] / np.sqrt(image.variance[part]))[good], -5, 5)
    assert scatter[3, 2] == pytest.approx(float(np.sqrt(np.mean(pulls**2))), rel=1e-4)


def test_stampsAreCutWhereTheyAre(result):
    x0, y0 = result.difference.xy0
    tiles, names = tripletTiles(result, [Place(x0 + 40, y0 + 50, "here", "red"), Place(x0, y0, "corner", "red")], 5)
    assert names[2] == "difference / noise"
    pulls = result.difference.image[45:56, 35:46] / np.sqrt(result.difference.variance[45:56, 35:46])
    np.testing.assert_allclose(tiles[0].panels[2][0], pulls, rtol=1e-5)
    assert np.isnan(tiles[1].panels[2][0][:5]).all()


def test_placesAreOfEachKind(result):
    table = result.candidates[:7].copy()
    table.replace_column("status", Column(["GOOD"] * 5 + ["BAD"] * 2))
    table.replace_column("reason", Column([""] * 5 + ["too crooked: by 3"] * 2))
    table["spatialRms"] = [1.0, 9.0, 1.0, 1.0, 1.0, np.nan, np.nan]
    places = candidatePlaces(dataclasses.replace(result, candidates=table), 4)
    labels = [place.label for place in places]
    assert len(places) == 4
    assert f"{table['id'][1]}: residual 9.00" in labels
    assert sum("too crooked" in label for label in labels) == 1
    assert len({place.label for place in places}) == 4


def test_newFiguresShowUpBesideTheirNeighbours():
    words = {"one": Words("a", "x", "", ""), "two": Words("a", "x", "0", "why"), "three": Words("b", "y", "", "")}
    found = withNewFigures(words, ("one", "more", "two", "three", "four"))
    assert list(found) == ["one", "more", "two", "three", "four"]
    assert found["more"] == Words("a", "x", "", "")
    assert found["four"] == Words("b", "y", "", "")
    assert withNewFigures(words, words) == words


def test_everyFigureHasItsWords():
    figures = set(WORDS) - {"remainingExcess"}
    apart = {"grade", "reasons", "rejected", "chiSquareByFlux", "heldOutChiSquareByFlux"}
    assert figures == {field.name for field in dataclasses.fields(Quality)} - apart
    assert all(headingOf(name) and (goodValue(name) or name == "lag2") for name in figures)
    assert {rule.figure for rule in RULES} == {name for name, words in WORDS.items() if words.meaning}
    assert all(words.section in SECTIONS for words in WORDS.values())
    for rule in RULES:
        assert ruleOfReason(f"C: {rule.tell(rule.limits[2] * 3 + 2)}") is rule
        assert sectionOf(rule) != "figures"
    assert ruleOfReason("C: no source of signal-to-noise above 30 was found: the match could not be checked") is None


def test_fewColoursKeepWhiteGreysAndRareOnes():
    pixels = np.zeros((40, 64, 3), dtype=np.uint8)
    pixels[:] = np.arange(0, 256, 4, dtype=np.uint8)[:, None]
    pixels[20:] = np.random.default_rng(2).integers(0, 256, (20, 64, 3))
    pixels[0, 0], pixels[0, 1] = (255, 0, 0), (255, 255, 255)
    indices, palette = _reduced(pixels)
    assert len(palette) <= 256
    back = palette[indices].astype(int)
    assert list(back[0, 1]) == [255, 255, 255]
    # Six bits of a grey: half of four levels, and the stretch of 252 to 255.
    assert np.abs(back[:20, 2:] - pixels[:20, 2:]).max() <= 4
    assert np.abs(back[0, 0] - [255, 0, 0]).max() < 60


def test_indexShowsTheWorstFirst(result, written, tmp_path):
    numbers = reportNumbers(result, title="x")
    for name, grade in (("good", "A"), ("bad <b>&", "F"), ("poor", "D"), ("ungraded", None)):
        quality = None if grade is None else numbers["quality"] | {"grade": grade}
        writeNumbers(result, tmp_path / f"{name}.json", numbers=numbers | {"grade": grade, "quality": quality})
    (tmp_path / "bad <b>&.html").write_text("")
    (tmp_path / "other.json").write_text('{"grade": "A"}')
    (tmp_path / "broken.json").write_text("{")
    assert writeIndex(tmp_path) == {"F": 1, "D": 1, "A": 1, None: 1}
    read = requireSound((tmp_path / "index.html").read_text())
    places = [read.text.index(name) for name in ("bad <b>&", "poor", "good", "ungraded", "broken.json")]
    assert places == sorted(places)
    assert [link for link in read.valuesOf("href") if not link.startswith("#")] == ["./bad%20%3Cb%3E%26.html"]
    assert "other" not in read.text
    with pytest.raises(InputImagesError, match="holds no report"):
        writeIndex(written.folder.parent)
    with pytest.raises(NotADirectoryError, match="is no directory"):
        writeIndex(tmp_path / "broken.json")
