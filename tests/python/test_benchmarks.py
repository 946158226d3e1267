"""The arithmetic behind the tables of the benchmarks: medians in turns, power laws, counts, quality of differences."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest

import batch
import instructions
import peers
import quality as frontDoor
import realPairs
import run
from psfmatch.testing import metrics, simulatePair
from suite import automatic, cases, command, fields, machine, quality, scaling
from suite.context import Context
from suite.timing import exponent, medians, printTable, runChild, takeTurns


def test_worksTakeTurnsAfterOneToWarmUp():
    calls = []
    figures = takeTurns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b") or 7.0}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert len(figures["a"]) == 3
    assert all(0 <= seconds < 1 for seconds in figures["a"])
    assert figures["b"] == [7.0] * 3  # it has measured itself
    assert len(takeTurns({"a": lambda: None}, repeats=1)["a"]) == 1


def test_throughputOfManyPairs(tmp_path):
    """Links stand for pairs of their own; a way that takes twice as long has half the throughput."""
    (tmp_path / "batch-64").mkdir()
    for name in ("template.fits", "science.fits"):
        (tmp_path / "batch-64" / name).write_text(name)
    pairs = batch.makePairs(tmp_path, 5, 64, 2)
    assert len({pair.science for pair in pairs}) == 5
    assert len({pair.template for pair in pairs}) == 2
    assert len({pair.template for pair in batch.makePairs(tmp_path, 5, 64, 0)}) == 5
    assert (tmp_path / "batch-64" / "science4.fits").read_text() == "science.fits"
    figures = {"bare loops": [batch.Times(1.0, 10.0), batch.Times(1.0, 12.0)], "batch": [batch.Times(2.0, 22.0)]}
    loops, ours = batch._records(figures, batch._parse(["--pairs", "44"]))
    assert (loops["ratio"], ours["ratio"], ours["rate"], ours["goal"]) == (1.0, 0.5, 2.0, 0.9)


def test_medians():
    assert medians({"x": [3.0, 1.0, 100.0], "y": [2.0, 4.0]}) == {"x": 3.0, "y": 3.0}


@pytest.mark.parametrize("power", [-1.0, 0.0, 2.5])
def test_exponentOfAPowerLaw(power):
    assert exponent([(x, 3.0 * x**power) for x in (1.0, 2.0, 5.0)]) == pytest.approx(power, abs=1e-12)


def test_exponentNeedsTwoPoints():
    assert np.isnan(exponent([(2.0, 3.0), (2.0, 4.0)]))


def test_tableLeavesUnknownFiguresBlankAndEmptyColumnsOut(capsys):
    printTable(
        "title",
        [("a", "x", ".1f"), ("b", "y", "d"), ("c", "z", "d")],
        [{"x": 1.25, "y": 3}, {"x": float("nan")}],
        ["note"],
    )
    assert capsys.readouterr().out.splitlines() == ["", "title", "    a  b", "  1.2  3", "        ", "  note"]


def test_childIsMeasured():
    work = "import time; a = bytearray(60 << 20); time.sleep(0.05); print('done')"
    child = runChild([sys.executable, "-c", work])
    assert child.status == 0
    assert child.output == "done\n"
    assert child.wall > 0.05
    # Not less than what it holds, and not what this process holds, which is more.
    assert 60 < child.peakMiB < 100


def test_childOverTheLimitIsEnded():
    child = runChild([sys.executable, "-c", "import time; time.sleep(30)"], timeLimit=0.2)
    assert child.status == -9
    assert child.wall < 5


def test_scalingFollowsTheFigures():
    whole = [
        {"kernel": "AL", "size": size, "threads": 1, "nsPerPixel": 10.0 * size / 2048, "total": 1e-8 * size**3 / 2048}
        | dict.fromkeys(("stamps", "solve", "convolve", "subtract"), 1e-9 * size**2)
        for size in (1024, 2048, 4096)
    ]
    rows = [
        {"size": 2048, "side": side, "order": order, "threads": 1, "imageMs": side**2 * (order + 1), "allMs": 1.0}
        for side in (21, 35)
        for order in (0, 2, 4)
    ]
    context = Context(None, None, [2048, 4096], [1], 1, False, {"subtraction": whole, "convolution": rows})
    found = {record["what"]: record.get("exponent", record.get("x")) for record in scaling.measure(context)}
    assert found["total: time per pixel against pixels"] == pytest.approx(0.5)  # grows with the side
    assert found["solve: time per pixel against pixels"] == pytest.approx(0.0, abs=1e-12)
    assert found["total: time per pixel, 4096 px over 2048 px"] == pytest.approx(2.0)
    assert found["convolution, image: time against side of the kernel"] == pytest.approx(2.0)
    assert found["convolution, image: time against order + 1"] == pytest.approx(1.0)
    assert found["convolution, image: order 4 over order 2"] == pytest.approx(5 / 3)


def test_phasesWithinOthersCountForThemselves():
    spans = {"chooseKernel": (1.0, 5.0), "stamps": (1.5, 2.0), "warp": ([0.0, 7.0], [0.25, 7.5]), "other": (0.0, 9.0)}
    metadata = {
        f"{name}{edge}CpuTime": time
        for name, times in spans.items()
        for edge, time in zip(("Start", "End"), times, strict=True)
    }
    found = automatic.phaseTimes(metadata | {"chooseKernelStartWallTime": 3.0})
    assert {name: seconds for name, seconds in found.items() if seconds} == {
        "chooseKernel": 3.5, "stamps": 0.5, "warp": 0.75
    }  # fmt: skip


def test_automaticRunsBesideYAndTheFixedConfiguration(tmp_path, monkeypatch):
    def spend(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return {"grade": "A", "solve": seconds / 2}

    monkeypatch.setattr(automatic, "loadExposures", lambda size, cache, field: (None, None))
    monkeypatch.setattr(automatic, "_subtract", lambda template, science, threads: spend(0.04 / threads))
    monkeypatch.setattr(automatic, "_subtractFixed", lambda template, science, threads: spend(0.01))
    monkeypatch.setattr(automatic, "yardstick", lambda: {"Y": lambda: 0.02})
    context = Context(None, tmp_path, [1024], [1, 2], 1, True)
    one, two = automatic.measure(context)
    assert (one["field"], one["size"], one["threads"], one["goal"], two["goal"]) == ("sparse", 1024, 1, 2.2, None)
    assert one["ofY"] == pytest.approx(2.0, rel=0.2)
    assert one["ofFixed"] == pytest.approx(4.0, rel=0.3)
    assert (one["solve"], two["solve"]) == (0.02, 0.01)
    assert one["rest"] == pytest.approx(one["cpu"] - one["solve"])
    assert "ofFirst" in two
    automatic.show([one, two])


def test_commandsAreMeasuredInTurnsWithY(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "yardstick", lambda: {"Y": lambda: 0.5})
    context = Context(None, tmp_path, [1024], [1], 2, True)
    (record,) = command._measure(context, {"nothing": (("-c", "pass"), 1)}, tmp_path / "out")
    assert record["what"] == "nothing"
    assert record["ofY"] == pytest.approx(record["cpu"] / 0.5)
    with pytest.raises(RuntimeError, match="ended with status 3"):
        command._measure(context, {"fails": (("-c", "raise SystemExit(3)"), 1)}, None)


def test_largeFieldsAreCopiesOfATileThatIsMadeOnce(tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "TILE_SIZE", 128)
    template, science = fields.loadPair(384, tmp_path)
    assert template.shape == science.shape == (384, 384)
    for plane in (template.image, template.variance, science.image, np.asarray(science.mask)):
        np.testing.assert_array_equal(plane[:128, :128], plane[256:, 128:256])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tile128-science.fits", "tile128-template.fits"]
    monkeypatch.setattr(fields, "simulatePair", None)  # not called again
    assert fields.loadPair(512, tmp_path)[0].shape == (512, 512)
    with pytest.raises(ValueError, match="500 px: fields above 256 px are multiples of 128 px"):
        fields.loadPair(500, tmp_path)


def test_resultsAreWrittenByRecordAndRounded(tmp_path):
    path = tmp_path / "new" / "results.json"
    run.write(path, {"machine": {"cores": 2}, "subtraction": [{"total": 1.23456789, "goal": None}, {"total": 2}]})
    assert json.loads(path.read_text()) == {"machine": {"cores": 2}, "subtraction": [{"total": 1.235}, {"total": 2}]}
    assert len(path.read_text().splitlines()) == 7


def test_machineIsDescribedWithoutNames():
    about = machine.describe("gcc 12.2.0")
    assert set(about) == {
        "processor", "architecture", "cores", "memoryGiB", "compiler", "python", "psfmatch", "numpy", "astropy"
    }  # fmt: skip
    name = machine.fileName({"processor": "Some (R) CPU @ 2/3", "cores": 2})
    assert name == "some-r-cpu-2-3-2-cores.json"


def test_countsAreCompared():
    committed = {"same": 1000, "more": 1000, "fewer": 1000, "gone": 10, "wide": 10}
    found = {"same": 1029, "more": 1031, "fewer": 969, "new": 5}
    rows = instructions.compare(committed, found, frozenset(["wide"]))
    verdicts = {row.name: (row.verdict, row.isWorse) for row in rows}
    assert verdicts == {
        "same": ("same", False),
        "more": ("more", True),
        "fewer": ("fewer", False),
        "gone": ("missing", True),
        "wide": ("left out", False),
        "new": ("new", True),
    }


def test_countsAreReadInTheirOrder(tmp_path):
    for part, name, count in ((2, "second, avx2", 7), (1, "first, avx2", 12)):
        text = f"version: 1\npart: {part}\ndesc: Trigger: Client Request: {name}\nsummary: {count}\n"
        (tmp_path / f"counts.{part}").write_text(text)
    (tmp_path / "counts.3").write_text("part: 3\ndesc: Trigger: Program termination\nsummary: 99\n")
    assert list(instructions.readDumps(tmp_path).items()) == [("first, avx2", 12), ("second, avx2", 7)]


@pytest.mark.parametrize(("factor", "compiler", "status"), [(1.0, "gcc 1", 0), (1.1, "gcc 1", 1), (1.1, "gcc 2", 0)])
def test_moreInstructionsFailWithTheSameCompiler(tmp_path, monkeypatch, capsys, factor, compiler, status):
    committed = tmp_path / "instructions.json"
    committed.write_text(json.dumps({"compiler": "gcc 1", "instructions": {"case": 1000}}))
    monkeypatch.setattr(instructions, "COMMITTED", committed)
    counted = {"case": round(1000 * factor)}, frozenset[str](), compiler
    monkeypatch.setattr(instructions, "countInstructions", lambda program: counted)
    assert instructions.main(["program"]) == status
    assert ("NOT JUDGED" in capsys.readouterr().out) == (compiler == "gcc 2")
    assert instructions.main(["program", "--update"]) == 0
    assert json.loads(committed.read_text()) == {"compiler": compiler, "instructions": counted[0]}


def test_flagsGrowByASquare():
    flags = np.zeros((9, 8), dtype=bool)
    flags[0, 0] = flags[5, 4] = True
    grown = quality.grow(flags, 2)
    expected = np.zeros_like(flags)
    expected[:3, :3] = expected[3:8, 2:7] = True
    np.testing.assert_array_equal(grown, expected)


@pytest.fixture(scope="module")
def judge():
    return quality.Judge(simulatePair(3, 384, brightStars=200, transients=12))


def test_perfectDifferenceIsJudgedSo(judge):
    figures = judge.judge(judge.pair.idealDifference().image)
    # Some 1000 pixels near stars, a dozen transients.
    assert figures["starRobust"] == pytest.approx(1.0, abs=0.1)
    assert figures["starPlain"] == pytest.approx(1.0, abs=0.1)
    assert abs(figures["scaleError"]) < 0.01
    assert abs(figures["fluxBias"]) < 0.05
    assert figures["completeness"] == 1.0
    assert figures["falsePerMpx"] < 30


def test_faultsShowInTheFigures(judge):
    ideal, truth = judge.pair.idealDifference().image, judge.pair.truth
    # A kernel 5 % too strong takes 5 % of every star too much.
    sky = np.median(truth.matched)
    tooStrong, perfect, weak = (judge.judge(d) for d in (ideal - 0.05 * (truth.matched - sky), ideal, 0.9 * ideal))
    assert tooStrong["scaleError"] - perfect["scaleError"] == pytest.approx(0.05, abs=0.01)
    assert tooStrong["starPlain"] > 1.5
    assert (1 + weak["fluxBias"]) / (1 + perfect["fluxBias"]) == pytest.approx(0.9, rel=1e-6)


def test_scaleOfItsOwnDoesNotMatter(judge):
    ideal = judge.pair.idealDifference().image
    figures = judge.judge(0.02 * ideal + 3.0, hasOwnScale=True)
    assert "fluxBias" not in figures
    assert figures["starRobust"] == pytest.approx(1.0, abs=0.1)


def test_skyOfTheWarpIsTheSameOnBothGrids():
    source, target = peers.makeSky(200)
    # About the middle, where both grids lie, the light is the same; elsewhere the stars have moved.
    assert source[60:140, 60:140].sum() == pytest.approx(target[60:140, 60:140].sum(), rel=0.2)
    assert peers.largestError(source, target) > 0.5
    assert peers.largestError(target, target) == 0.0


def test_ratiosAreThoseToOurs():
    records = [{"seconds": 2.0, "peakMiB": 10.0}, {"seconds": 5.0, "peakMiB": 5.0}, {"failure": "not installed"}]
    peers.addRatios(records)
    assert [record.get("times") for record in records] == [1.0, 2.5, None]
    assert [record.get("timesMemory") for record in records] == [1.0, 0.5, None]


def test_fieldsAreNamedByWords():
    assert cases.fieldOptions("dense+moffat+templateBad").brightStars == 300
    assert cases.fieldOptions("sparse+moffat").moffatWings
    with pytest.raises(ValueError, match=r"unknown odd; begin with one of sparse.*add any of moffat"):
        cases.fieldOptions("sparse+odd")


def test_exactDifferenceReachesTheFloor():
    case = cases.makeCase("dense", 3, 192)
    floor = case.pair.idealDifference()

    class Result:
        difference = floor

    record = frontDoor.judgeCase(case, lambda template, science, threads: Result(), 1, own=False, withheld=False)
    for name in ("starRobustRatio", "starPlainRatio"):
        assert record[name] == pytest.approx(1.0, abs=1e-6)
    assert record["pullExcess"] == record["completenessLoss"] == record["falseExcess"] == 0.0
    (summary,) = frontDoor.summarise([record, record])
    assert summary["fluxBias"] == pytest.approx(record["fluxBias"])
    assert summary["nSources"] == 2 * record["nSources"]
    assert [row["over"] for row in frontDoor.verdicts([record], [summary])][:2] == ["0 of 1"] * 2


def test_reversedDifferenceIsTurnedBack():
    case = cases.makeCase("dense+reversed", 3, 192)
    floor = case.pair.idealDifference()
    # fluxRatio 1.25: the other image's counts, and the other sign.
    turned = type(floor)(floor.image / -1.25, floor.mask, floor.variance / 1.25**2)
    np.testing.assert_allclose(frontDoor.onTruth(case, turned).image, floor.image, rtol=1e-5)
    np.testing.assert_allclose(frontDoor.onTruth(case, turned).variance, floor.variance, rtol=1e-5)


def test_equalPairsHaveAFloorOfUnitNoise():
    pair = cases.makeCase("sparse+equal", 3, 192).pair
    floor = pair.idealDifference()
    good = ~floor.badPixels(("BAD", "SAT"))
    pull = floor.image[good] / np.sqrt(floor.variance[good])
    # 36 000 pixels: the median deviation is good to 0.6 % (1 sigma); transients are few.
    assert metrics.robustSigma(pull) == pytest.approx(1.0, abs=0.02)


def test_realPairsAreFoundAndJudged(tmp_path):
    pair = simulatePair(2, 192)
    (tmp_path / "pair").mkdir()
    pair.template.writeFits(tmp_path / "pair" / "b.fits")
    pair.science.writeFits(tmp_path / "pair" / "c.fits")
    found = [(name, first.name, second.name) for name, first, second in realPairs.findPairs(tmp_path)]
    assert found == [("pair", "b.fits", "c.fits"), ("pair reversed", "c.fits", "b.fits")]
    figures = realPairs.figures(pair.template.maskedImage, pair.science.maskedImage, pair.idealDifference())
    assert figures["skyRobust"] == pytest.approx(1.0, abs=0.03)
    assert figures["nPeaks"] > 0
