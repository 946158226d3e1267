"""Table, picture, report, log, JSON and ``psfmatch detect`` of one run tell the same changes with the same numbers."""

import json
import logging
import re

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import Exposure, GaussianPsf, MaskedImage, subtract
from psfmatch.cli import main
from psfmatch.testing import simulatePair

pytestmark = pytest.mark.usefixtures("packageLogging", "undrawnReport")

RUNS = {
    "templateConvolved": (9, []),
    "scienceConvolved": (3, ["--mode", "convolveScience"]),
    "smoothed": (3, ["-c", "smoothingSigma=0.7"]),
    "notDecorrelated": (9, ["-c", "doDecorrelate=False"]),
    "notGraded": (7, ["-c", "doAssessQuality=False"]),
    "packed": (7, []),
}
"""Seeds of what is simulated, and how it is subtracted."""


@pytest.fixture
def pictures(monkeypatch):
    """Figures that are written, kept rather than drawn."""
    kept = []

    def keep(figure, path, overwrite=True):
        kept.append(figure)

    monkeypatch.setattr("psfmatch.pictures.savePicture", keep)
    return kept


def circlesOf(figure):
    """How many places are circled in each colour, by the legend and by the circles; the labels on the difference."""
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    counts = [int(number) for text in told for number in re.findall(r"(?:brighter|fainter) in science \((\d+)\)", text)]
    panel = figure.axes[3]
    drawn = [len(line.get_xdata()) for line in panel.lines]
    assert drawn == counts
    return sum(counts), [text.get_text() for text in panel.texts]


def labelsOf(table):
    return [f"{ratio:+.0f}σ".replace("-", "\N{MINUS SIGN}") for ratio in table["significance"]]


def theSame(found, expected):
    """Whether two tables tell the same: every number to a hundred-thousandth, every flag."""
    assert len(found) == len(expected)
    assert found.colnames == expected.colnames
    for name in expected.colnames:
        values, wanted = np.asarray(found[name]), np.asarray(expected[name])
        if wanted.dtype.kind == "f":
            # What is left is of the last bits of the images: fluxes have errors of some ten counts.
            least = 5e-3 if "Flux" in name else 1e-5
            np.testing.assert_allclose(values.astype(float), wanted, rtol=1e-5, atol=least, err_msg=name)
        else:
            np.testing.assert_array_equal(values, wanted, err_msg=name)
    for key in ("THRESH", "NOISESCL", "PSFFWHM", "NPOS", "NNEG", "NDIPOLE", "NUNCOVER", "PSFFROM"):
        wanted = expected.meta[key]
        assert found.meta[key] == (pytest.approx(wanted, rel=1e-5) if isinstance(wanted, float) else wanted), key


@pytest.mark.parametrize("name", RUNS)
def test_allTellTheSame(name, tmp_path, capsys, pictures, caplog):
    seed, options = RUNS[name]
    pair = simulatePair(seed=seed, size=256)
    ending = ".fits.fz" if name == "packed" else ".fits"
    pair.template.writeFits(tmp_path / "t.fits")
    pair.science.writeFits(tmp_path / "s.fits")
    inputs = [str(tmp_path / "t.fits"), str(tmp_path / "s.fits"), *options]
    out = ["-o", str(tmp_path / f"d{ending}"), "--sources", str(tmp_path / "s.ecsv")]
    more = ["--picture", str(tmp_path / "p.pdf"), "--report", str(tmp_path / "r.html"), "--json"]
    assert main(["subtract", *inputs, *out, *more]) == 0
    printed = capsys.readouterr()
    told, sources = json.loads(printed.out), Table.read(tmp_path / "s.ecsv")
    positive = int((np.asarray(sources["polarity"]) > 0).sum())
    counts = {"nDetections": len(sources), "nPositive": positive, "nNegative": len(sources) - positive}
    assert len(sources) >= 2
    assert {key: told[key] for key in counts} == counts
    # It is looked for once, and said once.
    said = re.findall(r"(\d+) sources above 5\.0 sigma: (\d+) positive, (\d+) negative", printed.err)
    assert said == [tuple(str(number) for number in counts.values())]
    # The picture.
    assert circlesOf(pictures[0]) == (len(sources), labelsOf(sources))
    # The report, as numbers and as a page.
    report = json.loads((tmp_path / "r.json").read_text())
    assert {key: report["detections"][key] for key in counts} == counts
    assert [row["significance"] for row in report["detections"]["rows"]] == list(sources["significance"][:50])
    page = (tmp_path / "r.html").read_text()
    assert f"{len(sources)} detections above 5 sigma: {positive} brighter, {len(sources) - positive} fainter" in page
    # What is found on the file, later.
    assert main(["detect", str(tmp_path / f"d{ending}"), "-o", str(tmp_path / "later.ecsv"), "--json"]) == 0
    later = json.loads(capsys.readouterr().out)
    theSame(Table.read(tmp_path / "later.ecsv"), sources)
    assert (later["nSources"], later["nPositive"], later["nNegative"]) == tuple(counts.values())
    if name != "templateConvolved":
        return
    # The report on its own.
    assert main(["report", *inputs, "-o", str(tmp_path / "alone.html"), "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert {key: alone[key] for key in counts} == counts
    assert json.loads((tmp_path / "alone.json").read_text())["detections"] == report["detections"]


def test_theLanguageTellsTheSame(tmp_path, pictures):
    """From Python: detect(), the list that all read, the score image's, and what a file of it gives."""
    pair = simulatePair(seed=9, size=256)
    result = subtract(pair.template, pair.science)
    theSame(result.detect(), result.changes)
    theSame(result.score.detect(), result.changes)
    result.writeFits(tmp_path / "d.fits")
    assert main(["detect", str(tmp_path / "d.fits"), "-o", str(tmp_path / "s.fits"), "-q"]) == 0
    theSame(Table.read(tmp_path / "s.fits", mask_invalid=False), result.changes)
    assert circlesOf(result.plotDifference(result.changes))[0] == len(result.changes)


def moved(exposure, xy0=(0, 0)):
    pixels = exposure.maskedImage
    return Exposure(MaskedImage(pixels.image.copy(), pixels.mask.copy(), pixels.variance.copy(), xy0))


@pytest.mark.parametrize("what", ["origin", "otherOrigin", "variance", "psf", "psfOfTheTemplate", "holes"])
def test_filesOfOddPairs(tmp_path, what):
    """Of images with an origin, with origins of their own, wrong variances, PSFs of their own, and holes."""
    pair, mode = simulatePair(seed=9, size=256), "auto"
    template, science = moved(pair.template), moved(pair.science)
    if what == "origin":
        template, science = moved(pair.template, (100, -50)), moved(pair.science, (100, -50))
    elif what == "otherOrigin":
        template, mode = moved(pair.template, (7, 3)), "convolveScience"
    elif what == "variance":
        science.variance[:] *= 0.8
    elif what == "psf":
        science.psf = GaussianPsf(1.7)
    elif what == "psfOfTheTemplate":
        template.psf, mode = GaussianPsf(1.2), "convolveScience"
    else:
        science.image[50:90, 60:120] = np.nan
        science.mask[:40] |= science.mask.getPlaneBitMask("BAD")
    result = subtract(template, science, mode=mode)
    result.writeFits(tmp_path / "d.fits")
    assert main(["detect", str(tmp_path / "d.fits"), "-o", str(tmp_path / "s.fits"), "-q"]) == 0
    theSame(Table.read(tmp_path / "s.fits", mask_invalid=False), result.changes)


@pytest.mark.parametrize("threads", ["1", "2", "7"])
def test_threadsChangeNothing(tmp_path, threads):
    pair = simulatePair(seed=9, size=256)
    result = subtract(pair.template, pair.science)
    result.writeFits(tmp_path / "d.fits")
    names = [str(tmp_path / name) for name in ("one.ecsv", "other.ecsv")]
    assert main(["detect", str(tmp_path / "d.fits"), "-o", names[0], "-q"]) == 0
    assert main(["detect", str(tmp_path / "d.fits"), "-o", names[1], "-q", "--threads", threads]) == 0
    assert (tmp_path / "one.ecsv").read_bytes() == (tmp_path / "other.ecsv").read_bytes()


def test_imagesThatAreGivenTakeThePlaceOfThoseInTheFile(tmp_path):
    """And change nothing of what is found."""
    pair = simulatePair(seed=9, size=256)
    result = subtract(pair.template, pair.science)
    result.writeFits(tmp_path / "d.fits")
    above = pair.science.withPixels(pair.science.maskedImage.copy())
    above.image[:] += 100.0  # as of a brighter sky, which is taken off
    above.writeFits(tmp_path / "above.fits")
    difference, output = str(tmp_path / "d.fits"), str(tmp_path / "s.fits")
    assert main(["detect", difference, "--science", str(tmp_path / "above.fits"), "-o", output, "-q"]) == 0
    found = Table.read(output, mask_invalid=False)
    for column in ("x", "significance"):
        np.testing.assert_allclose(found[column], result.changes[column], rtol=1e-5)
    np.testing.assert_allclose(found["scienceFlux"], result.changes["scienceFlux"], rtol=1e-2)


def test_theDemonstration(tmp_path, capsys, pictures, caplog):
    folder = tmp_path / "demo"
    with caplog.at_level(logging.INFO, "psfmatch"):
        assert main(["demo", "--size", "256", "--seed", "9", "-o", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    report = json.loads((folder / "report.json").read_text())
    assert told["nDetections"] == report["detections"]["nDetections"] == circlesOf(pictures[0])[0]
    assert 1 <= told["nDetected"] <= min(told["nDetections"], told["nInjected"])
    assert main(["detect", str(folder / "difference.fits"), "-o", "-", "-q"]) == 0
    sources = Table.read(capsys.readouterr().out, format="ascii.ecsv")
    assert [row["id"] for row in report["detections"]["rows"]] == list(sources["id"])
    np.testing.assert_allclose(
        [row["significance"] for row in report["detections"]["rows"]], sources["significance"], rtol=1e-5
    )
    # Once more on the files that it has left.
    files = [str(folder / name) for name in ("template.fits", "science.fits")]
    assert main(["subtract", *files, "-o", str(tmp_path / "d.fits"), "--sources", str(tmp_path / "s.csv"), "-q"]) == 0
    assert f"changes           {len(sources)} found" in capsys.readouterr().out
    assert len(Table.read(tmp_path / "s.csv", format="ascii.csv")) == len(sources)


def test_aDifferenceAloneIsStillLookedAt(tmp_path, capsys):
    """What another program has subtracted, with the stars of a science image."""
    pair = simulatePair(seed=9, size=256)
    result = subtract(pair.template, pair.science)
    Exposure(result.difference.maskedImage).writeFits(tmp_path / "d.fits")
    pair.science.writeFits(tmp_path / "s.fits")
    arguments = [str(tmp_path / "d.fits"), "--science", str(tmp_path / "s.fits"), "-o", "-", "--json", "-q"]
    assert main(["detect", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["psfFrom"] == "from the stars of the science image"
    assert len(told["rows"]) == told["nSources"] >= 3
