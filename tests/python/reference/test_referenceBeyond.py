"""Sentences of the reference page on what goes beyond the reference: lists of names that can be read off the code."""

import logging
import re
import sqlite3

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from referencePage import HOMES, ROOT, ROWS, TEXT, codes, rowsOf

import psfmatch
import suite.hotpants
from psfmatch import ImagePsfMatchTask, frontDoorConfig, subtract
from psfmatch.batch import BatchSummary, PairRecord, batchRun, memory
from psfmatch.batch.ledger import Ledger
from psfmatch.cli.batch import _statusOfExit
from psfmatch.config import listFields
from psfmatch.hotpants import MaskBit
from psfmatch.io.generalWcs import fitsWcs
from psfmatch.pictures import reportNumbers
from psfmatch.testing import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=200, brightStars=300)


@pytest.fixture(scope="module")
def result(pair):
    return subtract(pair.template, pair.science, threads=1)


def paragraph(start):
    """Return the paragraph of the page that begins so."""
    (found,) = [part for part in re.split(r"\n\n|\n(?=#)", TEXT) if part.startswith(start)]
    return found


def test_fieldsThatTheFrontDoorSets():
    """Its configuration is that of the task but for five fields, and with its own besides."""
    ours = {field.path: field.value for field in listFields(frontDoorConfig())}
    plain = {field.path: field.value for field in listFields(ImagePsfMatchTask.ConfigClass())}
    differing = {path.split(".")[-1] for path, value in plain.items() if ours[path] != value}
    assert differing == {
        "fitForBackground",
        "doCopyEdge",
        "keepCentroids",
        "badPixelMaskPlanes",
        "safeKernelFraction",
    }
    own = {row.cells[0].strip("`") for row in rowsOf("The front door")}
    assert {path.split(".")[-1] for path in set(ours) - set(plain)} == own


# Front door: what is not told, or not there, when one step is left out


def told(result, *beginnings):
    return any(choice.sentence.startswith(beginnings) for choice in result.choices)


STEPS = {
    "doFindDefects": lambda result: told(result, "Defects of"),
    "doFindSaturation": lambda result: told(result, "Saturation of"),
    "doFindStreaks": lambda result: told(result, "Streaks of"),
    "doScaleVariance": lambda result: result.preparation.templateVarianceFactor != 1.0,
    "doAlign": lambda result: result.alignment is not None,
    "doDecorrelate": lambda result: result.decorrelated is not result.difference,
    "doAssessQuality": lambda result: result.grade is not None,
}


@pytest.mark.parametrize("field", STEPS)
def test_stepsOfTheFrontDoor(result, pair, field):
    config = frontDoorConfig()
    setattr(config, field, False)
    without = subtract(pair.template, pair.science, config=config, threads=1)
    assert [name for name, isTaken in STEPS.items() if not isTaken(without)] == [field]
    assert all(isTaken(result) for isTaken in STEPS.values())


def test_numbersOfTheReport(result):
    named = set(codes(paragraph("Of the JSON")))
    assert set(reportNumbers(result)) - named == {"formatVersion", "psfmatch", "title"}
    assert named <= set(reportNumbers(result))


def test_plots():
    (row,) = [row for row in rowsOf("Reports") if "plotDifference" in row.cells[0]]
    named = {re.sub(r"\(.*|result\.", "", code) for code in codes(row.cells[0])}
    assert named == {name for name in dir(psfmatch.SubtractionResult) if name.startswith("plot")}


def test_filesOfKernels(result, tmp_path):
    """The tables that the page lists, in a difference's file, all float64, and the cards of the functions."""
    result.writeFits(tmp_path / "d.fits")
    with fits.open(tmp_path / "d.fits") as hdus:
        rows = [row for row in ROWS if row.header == ("HDU", "holds")]
        named = [name for row in rows for name in row.cells[0].split(", ")]
        assert named == ["KBASIS", "KCOEF", "BCOEF", "KCOV", "BCOV", "RECIPE"]
        assert set(named) <= {hdu.name for hdu in hdus}
        assert hdus["KBASIS"].data.dtype.newbyteorder("=") == np.float64
        assert hdus["KCOEF"].columns.names == hdus["BCOEF"].columns.names == ["COEF"]
        assert hdus["KCOEF"].data["COEF"].dtype.newbyteorder("=") == np.float64
        np.testing.assert_array_equal(hdus["KBASIS"].data, result.kernel.basis)
        assert len(hdus["KCOEF"].data) == len(result.kernel.basis)
        assert len(hdus["BCOEF"].data) == 1
        cards = re.search(r"cards ([A-Z ]+),", rows[1].cells[1])[1].split()
        assert len(cards) == 6
        for card in cards:
            assert card in hdus["KCOEF"].header
            assert "B" + card[1:] in hdus["BCOEF"].header


def test_headerOfADifference(result, tmp_path):
    result.writeFits(tmp_path / "d.fits")
    (row,) = [row for row in rowsOf("Astropy in and out") if row.cells[0] == "header cards of a difference"]
    named = set(" ".join(codes(row.cells[1])).split())
    header = set(fits.getheader(tmp_path / "d.fits"))
    # The images of this one come from no file.
    assert named - header == {"TARGET", "TEMPLATE"}
    assert named - set(result.toCCDData().meta) == {"TARGET", "TEMPLATE"}


class Wavy:
    """Pixels of 0.2 arcsec on the equator, on a wave of an amplitude (pixels)."""

    def __init__(self, amplitude):
        self.amplitude = amplitude

    def pixel_to_world(self, x, y):
        waved = x + self.amplitude * np.sin(x / 1.5)
        return SkyCoord(150.0 - waved * 0.2 / 3600, y * 0.2 / 3600, unit="deg")


@pytest.mark.parametrize(("amplitude", "isKept"), [(0.04, True), (0.4, False)])
def test_coordinatesThatFitsHoldsNearly(amplitude, isKept, caplog):
    """No polynomial follows the wave: its amplitude is what is left."""
    with caplog.at_level(logging.WARNING, "psfmatch"):
        assert (fitsWcs(Wavy(amplitude), (100, 120)) is not None) is isKept
    assert ("cannot be written as TAN-SIP" in caplog.text) is not isKept


def test_bitsOfMasks():
    told = {name: int(bit) for bit, name in re.findall(r"(\d+) ([A-Z_]+)", paragraph("Mask bits, as HOTPANTS"))}
    assert told == {name: int(bit) for name, bit in MaskBit.__members__.items()}


def test_columnsOfTheLedger(tmp_path):
    (row,) = [row for row in rowsOf("Batches") if row.cells[0] == "ledger"]
    with Ledger(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        for table in ("pairs", "events"):
            columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
            words = re.search(rf"table `{table}`: ([^;.]+)", row.cells[1])[1]
            assert re.sub(r" \([^)]*\)", "", words).split(", ") == columns


def test_memoryOfAPair():
    (row,) = [row for row in rowsOf("Batches") if row.cells[0] == "memory"]
    process, thread, science, template = map(
        int, re.search(r"\((\d+) .* (\d+) .* (\d+) .* (\d+) ", row.cells[1]).groups()
    )
    assert (process << 20, thread << 20) == (memory.PROCESS, memory.PER_THREAD)
    assert (science, template) == (memory.PER_SCIENCE_PIXEL, memory.PER_TEMPLATE_PIXEL)
    assert f"{batchRun.MEMORY_FRACTION} of what" in row.cells[1]


def summaryOf(errorTypes=(), gateFailures=(), isInterrupted=False):
    def records(names):
        return tuple(PairRecord("a", "t", "s", "f", "failed", errorType=name) for name in names)

    zero = dict.fromkeys(("nPairs", "nDone", "nFailed", "nPending", "nLeft"), 0)
    none = dict.fromkeys(("startUpSeconds", "seconds", "pairsPerHour"))
    failures, beyond = records(errorTypes), records(gateFailures)
    return BatchSummary(
        "out", **zero, **none, grades={}, failures=failures, gateFailures=beyond, isInterrupted=isInterrupted
    )


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (summaryOf(), "0 all done"),
        (summaryOf(["ValueError", "NoKernelCandidatesError"]), "3 some failed"),
        (summaryOf(["NoKernelCandidatesError", "InsufficientKernelSourcesError"]), "4 all of these for too few stars"),
        (summaryOf(gateFailures=[""]), "5 a gate"),
        (summaryOf(["ValueError"], isInterrupted=True), "130 interrupted"),
    ],
)
def test_exitStatusOfABatch(summary, words):
    (row,) = [row for row in rowsOf("Batches") if row.cells[0] == "exit status"]
    assert words in row.cells[1].split(", ")
    assert _statusOfExit(summary) == int(words.split()[0])


def test_programsThatMeasured():
    """Figures name the program, which still exists, and the day."""
    parts = re.split(r"\n\n", TEXT)
    measured = [part for part in parts if re.search(r"\b20\d\d\b", part) and "benchmarks/" in part]
    assert len(measured) >= 3
    for part in measured:
        assert re.search(r"\d+ (November|December)\s+20\d\d", part)
        for path in re.findall(r"benchmarks/[\w/]+\.py", part):
            assert (ROOT / path).is_file(), path
    for command in re.findall(r"`python (benchmarks/[^`]+)`", TEXT):
        path, *options = command.split()
        known = (ROOT / path).read_text()
        assert [option for option in options if option.startswith("--") and f'"{option}"' not in known] == []
    assert hasattr(suite.hotpants, "byCommandLine")


def test_figuresOfTheBases():
    """What is said of the table is what it shows."""
    rows = {row.cells[0]: row.cells[1:] for row in rowsOf("The bases compared")}
    figures = {name: [float(cell) for cell in cells] for name, cells in rows.items() if all(cells)}
    gaussians = figures.pop("AL")
    ratios = np.array([figure[:2] for figure in figures.values()]) / gaussians[:2]
    assert ratios.max() < 1.08
    assert (ratios <= 1.05).mean() > 0.7
    plain = {name: figure for name, figure in figures.items() if "PCA" not in name}
    scans = [name for name in plain if name.endswith(" risk")]
    assert len(scans) == 2
    for number in (0, 1):
        assert sorted(plain, key=lambda name: plain[name][number])[:2] == scans
    assert set(sorted(figures, key=lambda name: figures[name][-1])[-2:]) == set(scans)
    true = 1.25
    worst = max(abs(figure[2] - true) for name, figure in figures.items() if "PCA" in name)
    assert worst < min(abs(figure[2] - true) for figure in plain.values())


def test_namesInTheFirstColumns():
    """Of the tables of names of ours: each is public."""
    sections = ["Public names of ours", "Sources, scores, injection", "The noise of the difference", "Reports"]
    names = set()
    for row in [row for section in sections for row in rowsOf(section)] + rowsOf("Stored kernels and preparation"):
        if row.header[0] == "name":
            names |= {re.sub(r"\(.*", "", code) for code in codes(row.cells[0])}
    names = {name for name in names if not re.match(r"psfmatch |result\.|plot", name)}
    assert len(names) > 60
    methods = {"fromTables", "toTables", "LinearCombinationKernel.writeFits"}
    assert {name for name in names - methods if name not in HOMES} == set()
    for name in methods:
        assert hasattr(psfmatch.LinearCombinationKernel, name.split(".")[-1])
