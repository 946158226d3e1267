"""The parts of a batch: manifest, shards, order, ledger, memory, cache of templates, and the command."""

import json
import os
import platform
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from batchStandIns import begun, pairsNamed, touch

import psfmatch.batch
from psfmatch.batch import Job, Pair, PairOptions, readManifest, shardOf
from psfmatch.batch.dispatcher import Dispatcher
from psfmatch.batch.ledger import Ledger
from psfmatch.batch.memory import PROCESS, availableMemory, estimateMemory, parseMemory
from psfmatch.batch.pairSubtraction import fileState
from psfmatch.cli import main
from psfmatch.frontdoor import frontDoorConfig
from psfmatch.io import PairRecord, readLedgers

# Manifest


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "txt"])
def test_manifestInAnyForm(tmp_path, form):
    columns = ["name", "template", "science", "science_noise", "gain", "mjd"]
    rows = [("0012", "t.fits", "/data/s.fits[SCI]", "n.fits", 1.5, 6.0), ("b", "sub/t.fits", "s2.fits", "", 2.0, 7.0)]
    table = Table(rows=rows, names=columns)
    path = tmp_path / f"night.{form}"
    table.write(path, format="ascii.basic" if form == "txt" else None)
    first, second = readManifest(path)
    assert first == Pair(
        "0012",
        str(tmp_path / "t.fits"),
        "/data/s.fits[SCI]",
        scienceNoise=str(tmp_path / "n.fits"),
        gain=1.5,
    )
    assert (second.template, second.scienceNoise) == (str(tmp_path / "sub/t.fits"), None)


def test_whatIsNotSaidInARow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = Table({"Template": ["t.fits"] * 3, "science": ["a.fits.fz", "b.fits[SCI,2]", "c.fits.gz[1]"]})
    table["gain"] = MaskedColumn([1.0, 2.0, 3.0], mask=[True, False, False])
    table["template-fwhm"] = [np.nan, 2.5, 3.0]
    pairs = readManifest(table)
    assert [pair.name for pair in pairs] == ["a", "b_SCI2", "c_1"]
    assert [pair.gain for pair in pairs] == [None, 2.0, 3.0]
    assert [pair.templateFwhmPix for pair in pairs] == [None, 2.5, 3.0]
    assert pairs[0].template == str(tmp_path / "t.fits")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("template,image\na,b\n", "no column 'science' among template, image"),
        ("template,science,template_nose\na,b,c\n", "column 'template_nose' is unknown; known are gain"),
        ("template,science\n", "has no rows"),
        ("template,science,mjd\na.fits,,1\n", "row 1: names no science"),
        ("template,science,gain\na,b,high\n", "row 1: gain is 'high', not a number"),
        ("name,template,science\nx/y,a,b\n", "name 'x/y' is not fit for a file"),
        ("name,template,science\n.x,a,b\n", "name '.x' is not fit for a file"),
        ("template,science\na,1/s.fits\na,2/S.fits\n", "1 names stand for several pairs: s; tell them apart"),
    ],
)
def test_wrongManifest(tmp_path, text, message):
    (tmp_path / "night.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        readManifest(tmp_path / "night.csv")


def test_noManifest(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        readManifest(tmp_path / "night.csv")
    (tmp_path / "broken.ecsv").write_bytes(b"\x00\x01")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        readManifest(tmp_path / "broken.ecsv")


def test_fingerprint():
    pair = Pair("a", "t", "s")
    assert pair.fingerprint({"x": 1}) == Pair("a", "t", "s").fingerprint({"x": 1})
    others = [Pair("a", "t", "s", gain=1.0).fingerprint({"x": 1}), pair.fingerprint({"x": 2}), pair.fingerprint()]
    assert len({pair.fingerprint({"x": 1}), *others}) == 4


def test_fingerprintOfAFieldSetToItsDefault():
    """Set, it is not chosen: the pair is another."""
    pair, config = Pair("a", "t", "s"), frontDoorConfig()
    usual = pair.fingerprint(*PairOptions(config).deciding())
    config.kernel.active.spatialKernelOrder = config.kernel.active.spatialKernelOrder
    assert pair.fingerprint(*PairOptions(config).deciding()) != usual


@pytest.mark.parametrize("count", [1, 2, 3, 8, 50])
def test_shards(count):
    pairs = [Pair(f"p{i}", f"t{i % 4}", "s") for i in range(37)]
    parts = [shardOf(pairs, (number, count)) for number in range(1, count + 1)]
    assert sorted(pair.name for part in parts for pair in part) == sorted(pair.name for pair in pairs)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    # Each cut between shards divides one template at most.
    assert sum(len({pair.template for pair in part}) for part in parts) <= 4 + count - 1
    with pytest.raises(ValueError, match=f"must be from 1 to {count}"):
        shardOf(pairs, (0, count))


# Order


def jobsOf(*templates):
    return [Job(Pair(f"p{i}", template, "s"), b"", "", 1, "") for i, template in enumerate(templates)]


class InTurn:
    """A worker that does its pair when it is asked for the next one, two of them in turn."""

    isOwn, host, pid, timeout, template = True, None, None, None, ""

    def __init__(self, pool):
        self.pool, self.given = pool, []

    def submit(self, work, job):
        self.template = job.pair.template
        self.given.append(job.pair.template)
        return self.pool.submit(work, job)

    def stop(self, atOnce):
        assert not atOnce

    def join(self):
        pass


def runWith(workers, jobs, directory, budget=None, work=touch):
    with Ledger(directory) as ledger:
        ledger.put(*(job.record for job in jobs))
        Dispatcher(jobs, workers, ledger, work, budget).run()


def test_workersKeepTheirTemplates(tmp_path):
    """Each template is read once, until a worker has to help the other."""
    other = threading.Barrier(2, timeout=20.0)

    def inStep(job):
        # All but the last of nine pairs are done by two at a time.
        if job.pair.name != "p8":
            other.wait()
        return job.record

    jobs = jobsOf(*"abababbbb")
    with ThreadPoolExecutor(2) as pool:
        workers = [InTurn(pool) for _ in range(2)]
        runWith(workers, jobs, tmp_path, work=inStep)
    first, second = (worker.given for worker in workers)
    assert sorted(first + second) == list("aaabbbbbb")
    # Most pairs are b's; whoever began with a comes to b when no a is left.
    assert first[:3] == list("bbb")
    assert second[:3] == list("aaa")
    assert set(first + second[3:]) == {"b"}


def test_aPairPutBackIsTheNext(tmp_path):
    """A process that ends before it has begun is started anew, and its pair is not lost, nor counted as begun."""

    class Broken(InTurn):
        def submit(self, work, job):
            super().submit(work, job) if self.restarts else None
            future = Future()
            if self.restarts:
                future.set_result(job.record)
            else:
                future.set_exception(BrokenExecutor("before it began"))
            return future

        restarts = 0

        def restart(self, error):
            self.restarts += 1

    worker = Broken(None)
    worker.pool = type("Pool", (), {"submit": lambda *_: None})()
    runWith([worker], jobsOf("a", "a", "b"), tmp_path)
    assert worker.restarts == 1
    assert worker.given == ["a", "a", "b"]
    assert {record.attempts for record in readLedgers(tmp_path)} == {1}


# Ledger

RECORD = PairRecord("a", "t", "s", "f")


def test_ledgerKeepsWhatItIsGiven(tmp_path):
    full = PairRecord(
        *("b", "t", "s", "f", "failed", 2, "host", 7, 1.5, 3.25, 1.75, 0.5, 10**10, "C", "g", True, "E", "why")
    )
    with Ledger(tmp_path) as ledger:
        ledger.put(RECORD, full)
    assert readLedgers(tmp_path) == (RECORD, full)
    with Ledger(tmp_path) as ledger:
        assert ledger.records == {"a": RECORD, "b": full}
        ledger.put(RECORD.begun("h", 1, 2.0))
    assert readLedgers(tmp_path)[0] == PairRecord("a", "t", "s", "f", "running", 1, "h", 1, 2.0)


def test_severalLedgersOfOnePair(tmp_path):
    """The row counts that knows most."""
    for number, state in enumerate(("failed", "done", "running"), 1):
        with Ledger(tmp_path, (number, 3)) as ledger:
            ledger.put(PairRecord("a", "t", "s", "f", state, endTime=float(number)))
    assert [record.state for record in readLedgers(tmp_path)] == ["done"]


def test_aFullDiskDoesNotStopTheLedger(tmp_path, caplog):
    with Ledger(tmp_path) as ledger:
        ledger.put(RECORD)
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        many = [PairRecord(f"p{i}", "t" * 200, "s", "f") for i in range(100)]
        ledger.put(*many)
        ledger.put(*many)
        assert len(readLedgers(tmp_path)) == 1
        ledger._connection.execute("PRAGMA max_page_count = 10000")
        ledger.put(RECORD.begun("h", 1, 2.0))
    assert len(readLedgers(tmp_path)) == 101
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "database or disk is full" in caplog.text


def test_aLedgerInUse(tmp_path):
    with Ledger(tmp_path):
        with pytest.raises(OSError, match="another run is at work here"):
            Ledger(tmp_path)
        Ledger(tmp_path, (1, 2)).__exit__(None, None, None)
    Ledger(tmp_path).__exit__(None, None, None)


def test_noLedger(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no ledger"):
        readLedgers(tmp_path)
    (tmp_path / "ledger.sqlite").write_text("x" * 5000)
    with pytest.raises(OSError, match="cannot be read as a ledger"):
        readLedgers(tmp_path)
    with pytest.raises(OSError, match="cannot be used as a ledger"):
        Ledger(tmp_path)


def test_theLedgerIsPlainSqlite(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.put(RECORD)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("SELECT name, state, attempts FROM pairs").fetchall() == [("a", "pending", 0)]


# Memory


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("16G", 16 << 30), ("1.5 GiB", 3 << 29), ("20mb", 20 << 20), ("2T", 2 << 40)]
)
def test_memoryInWords(text, size):
    assert parseMemory(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "16X", "ten"])
def test_memoryThatIsNone(text):
    with pytest.raises(ValueError, match="such as 16G"):
        parseMemory(text)


def test_freedMemoryIsKept():
    script = """
import resource, sys
import numpy as np
from psfmatch.batch.memory import keepFreedMemory
kept = keepFreedMemory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(20):
    np.full(1 << 20, 1.0)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as in the workers of Dask
    kept, faults = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    # An array takes 2048 pages of 4 KiB, all of them anew each time, or some once.
    assert kept == str(platform.libc_ver()[0] == "glibc")
    assert kept == "False" or int(faults) < 3 * 2048


def test_memoryOfAPair(tmp_path):
    fits.PrimaryHDU(np.zeros((100, 200), np.float32)).writeto(tmp_path / "s.fits")
    pair = Pair("a", str(tmp_path / "none.fits"), str(tmp_path / "s.fits[0]"))
    more = estimateMemory(pair, 2) - estimateMemory(Pair("a", "none.fits", "none.fits"), 2)
    # Image, mask and variance of template, science image, matched image and difference are 48 bytes at least.
    assert 48 * 20_000 <= more <= 480 * 20_000
    assert estimateMemory(pair, 2) > estimateMemory(pair, 1) > PROCESS
    assert availableMemory() > 1 << 20


class Counter(InTurn):
    """Counts how many are at work at a time."""

    atWork = most = 0

    def submit(self, work, job):
        Counter.atWork += 1
        Counter.most = max(Counter.most, Counter.atWork)
        future = super().submit(work, job)
        future.add_done_callback(Counter.leave)
        return future

    @staticmethod
    def leave(future: Future):
        Counter.atWork -= 1


@pytest.mark.parametrize(("factor", "most"), [(0.5, 1), (2.5, 2), (10.0, 4)])
def test_noMorePairsThanTheMemoryBears(tmp_path, caplog, factor, most):
    Counter.most = Counter.atWork = 0
    jobs = [Job(pair, b"", str(tmp_path), 1, "") for pair in pairsNamed(*"abcdefgh")]
    with ThreadPoolExecutor(4) as pool:
        budget = int(factor * estimateMemory(jobs[0].pair, 1))
        runWith([Counter(pool) for _ in range(4)], jobs, tmp_path, budget)
    assert sorted(begun(tmp_path)) == list("abcdefgh")
    assert Counter.most == most
    assert ("is done alone" in caplog.text) == (factor < 1.0)
    assert caplog.text.count("Memory allows") == (factor < 4.0)
    assert f"Memory allows {most} of 4 workers; see memory=" in caplog.text or factor > 4.0


# Templates


def test_aChangedFileIsAnother(tmp_path):
    path = tmp_path / "t.fits"
    path.write_text("one")
    before = fileState(str(path)), fileState(f"{path}[SCI]")
    assert before == (fileState(str(path)), fileState(f"{path}[SCI]"))
    os.utime(path, ns=(1, 1))
    assert before[0] != fileState(str(path))
    assert before[1] != fileState(f"{path}[SCI]")
    assert fileState(f"{path}[SCI]") != fileState(f"{path}[ERR]")
    assert fileState(None) == ()


# The command


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, packageLogging):
    """Call ``psfmatch batch`` on pairs of the names given, with stand-ins in threads; status, output, errors."""
    inProcesses = psfmatch.batch.runBatch

    def inThreads(pairs, directory, options, *, workers, memory, timeout, **others):
        given.append((options, workers, memory, timeout))
        with ThreadPoolExecutor(1) as executor:
            return inProcesses(pairs, directory, options, executor=executor, work=touch, **others)

    given = []
    monkeypatch.setattr("psfmatch.batch.runBatch", inThreads)

    def call(names, *arguments):
        text = "\n".join(["name,template,science", *(f"{name},t.fits,{name}.fits" for name in names)])
        (tmp_path / "night.csv").write_text(text + "\n")
        status = main(["batch", str(tmp_path / "night.csv"), "-o", str(tmp_path / "out"), *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    call.given = given
    return call


def test_commandTellsWhatItCameTo(run, tmp_path):
    status, out, err = run(["a", "fail", "b"])
    assert status == 3
    rows = {line[:17].strip(): line[18:] for line in out.splitlines()}
    assert rows["pairs"] == "3"
    assert rows["done"] == "2; grades: 2 A"
    assert rows["failed"] == "1; 1 ValueError"
    assert rows["fail"] == "as the name says"
    assert rows["written"] == str(tmp_path / "out")
    assert "WARNING fail failed: ValueError: as the name says" in err
    assert "a: grade A in 0.0 s (1 of 3)" in err
    assert run(["a", "b"], "--status")[0] == 0
    status, out, err = run(["a", "fail", "b", "c"], "--resume", "--json", "-q")
    assert status == 3
    summary = json.loads(out)
    assert (summary["nPairs"], summary["nDone"], summary["nFailed"], summary["nLeft"]) == (4, 3, 1, 3)
    assert summary["failures"][0]["errorMessage"] == "as the name says"
    assert run(["a", "b", "c"], "--resume")[0] == 0


def test_commandExitStatus(run):
    assert run(["a", "gate"])[0] == 5
    status, _, err = run(["a", "gate"])
    assert status == 2
    assert err.splitlines()[-1].endswith("by --resume, replace it by --overwrite, or choose another directory")


def test_commandShards(run, tmp_path):
    assert "1 of 3 done" in run(["a", "b", "c"], "--shard", "1/3")[1]
    assert "3 of 3 done" in run(["a", "b", "c"], "--shard", "2/2", "--resume")[1]
    status, out, _ = run(["a", "b", "c"], "--resume", "--json")
    assert status == 0
    assert json.loads(out)["nDone"] == 3
    assert sorted(begun(tmp_path / "out")) == ["a", "b", "c"]


def test_commandOptions(run):
    run(
        ["a"],
        *(
            "--workers",
            "3",
            "--memory",
            "2G",
            "--timeout",
            "90",
            "--gate",
            "grade=B",
            "--mode",
            "convolveScience",
            "--sources",
        ),
        *("-c", "kernel.active.spatialKernelOrder=1"),
    )
    ((options, workers, memory, timeout),) = run.given
    assert (workers, memory, timeout) == (3, 2 << 30, 90.0)
    assert options.config.kernel.active.spatialKernelOrder == 1
    expected = PairOptions(options.config, "convolveScience", {"grade": "B"}, sources=True)
    assert options == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "2"], "give I/N"),
        (["--shard", "3/2"], "must be from 1 to 2"),
        (["--memory", "much"], "such as 16G"),
        (["--retry-failed"], "goes with --resume"),
        (["--gate", "grade"], "give FIGURE=LIMIT"),
        (["--gate", "grade=Z"], "choose one of A, B, C, D, F"),
        (["--gate", "noSuchFigure=1"], "'noSuchFigure' is no figure"),
        (["--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "a cluster has its own"),
        (["--scheduler", "tcp://127.0.0.1:9", "--timeout", "2"], "a cluster has its own"),
    ],
)
def test_commandSlips(run, arguments, message):
    status, _, err = run(["a"], *arguments)
    assert status == 2
    assert message in err.splitlines()[-1]


def test_reportsNeedMatplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr("psfmatch.batch.batchRun.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"psfmatch\[plot\]"):
        psfmatch.batch.runBatch(pairsNamed("a"), tmp_path, PairOptions(report=True), work=touch)


def test_threadsAndMemoryAreTheExecutorsOwn(tmp_path):
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="an executor has its own"):
        psfmatch.batch.runBatch(pairsNamed("a"), tmp_path, executor=executor, workers=2)
