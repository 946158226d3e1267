"""Batches: whatever dies, fails or is interrupted, every other pair is done, once, and the ledger tells it."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import batchStandIns
import numpy as np
import pytest
from batchStandIns import begun, pairsNamed, touch

from psfmatch.batch import Pair, PairOptions, readManifest, runBatch
from psfmatch.batch.memory import estimateMemory
from psfmatch.images import Exposure
from psfmatch.io import readLedgers
from psfmatch.pictures import reportNumbers
from psfmatch.testing import simulatePair


def inThreads(pairs, directory, number=1, **options):
    """Run a batch of stand-ins in threads of this process."""
    with ThreadPoolExecutor(number) as executor:
        return runBatch(pairs, directory, executor=executor, **{"work": touch, **options})


def states(directory):
    return {record.name: record.state for record in readLedgers(directory)}


# Own processes


@pytest.fixture(scope="module", autouse=True)
def lightWorkers():
    """Workers need not import what started the tests; that takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "__spec__", None)
        patch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
        yield


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Summary and directory of a batch in two processes of which pairs kill some."""
    directory = tmp_path_factory.mktemp("killed")
    names = ["a", "die", "b", "dieOnce", "c", "fail", "d"]
    return runBatch(pairsNamed(*names), directory, workers=2, threads=3, work=touch), directory


def test_aKilledWorkerLosesNothing(killed):
    summary, directory = killed
    done = {"a", "b", "c", "d", "dieOnce"}
    assert {path.stem for path in directory.glob("*.fits")} == done
    assert (summary.nDone, summary.nFailed, summary.nPending) == (5, 2, 0)
    assert sorted(begun(directory)) == sorted([*done, "die", "die", "dieOnce", "fail"])
    # Libraries that ask the environment have the threads of the pair, also after a new start.
    assert {path.read_text() for path in directory.glob("*.fits")} == {"3"}
    # What the dead had half written is gone.
    assert not (directory / ".partial").exists()


def test_theLedgerTellsWhatHappened(killed):
    summary, directory = killed
    records = {record.name: record for record in readLedgers(directory)}
    assert {name: records[name].attempts for name in records} == {
        **dict.fromkeys(("a", "b", "c", "d", "fail"), 1),
        **dict.fromkeys(("die", "dieOnce"), 2),
    }
    dead = records["die"]
    assert (dead.state, dead.errorType) == ("failed", "WorkerDied")
    assert "was killed (signal 9), perhaps out of memory, as another was before" in dead.errorMessage
    assert records["dieOnce"].errorMessage is None
    with sqlite3.connect(directory / "ledger.sqlite") as connection:
        events = connection.execute("SELECT name, event FROM events ORDER BY time").fetchall()
    assert events[0][1].startswith(f"run begins with 7 pairs, process {os.getpid()} on ")
    assert events[-1] == (None, "run ends")
    assert sorted(name for name, event in events if "was killed (signal 9)" in event) == ["die", "die", "dieOnce"]
    assert (records["fail"].errorType, records["fail"].errorMessage) == ("ValueError", "as the name says")
    assert {record.name for record in summary.failures} == {"die", "fail"}
    for name in ("a", "b", "c", "d", "dieOnce"):
        record = records[name]
        assert record.pid not in (os.getpid(), None)
        assert record.host
        assert record.grade == "A"
        assert 0.01 <= record.wallSeconds <= record.endTime - record.startTime + 0.05  # two clocks
        assert record.cpuSeconds < 1.0
        # An interpreter with nothing in it takes more than 5 MB, one with numpy less than 200.
        assert 5e6 < record.peakMemory < 2e8
    assert len({records[name].pid for name in ("a", "b", "c", "d")}) <= 4
    assert summary.startUpSeconds > 0.0
    assert summary.pairsPerHour == pytest.approx(3600.0 * 7 / summary.seconds)
    assert "as the name says" in (directory / "fail.log").read_text()
    assert "Traceback" in (directory / "fail.log").read_text()


def test_aPairThatTakesTooLong(tmp_path):
    """It is ended and told, as is one over which a worker ends as if all were well; the others are done."""
    summary = runBatch(pairsNamed("slow", "exit", "a", "b"), tmp_path, workers=2, threads=1, timeout=1.5, work=touch)
    assert states(tmp_path) == {"a": "done", "b": "done", "exit": "failed", "slow": "failed"}
    told = {record.name: (record.errorType, record.errorMessage) for record in summary.failures}
    assert told["slow"] == ("TimeoutError", "took longer than 1.5 s, which timeout= allows")
    assert told["exit"][0] == "WorkerDied"
    assert "ended by itself with status 0, as another was before" in told["exit"][1]
    assert sorted(begun(tmp_path)) == ["a", "b", "exit", "exit", "slow"]
    assert not (tmp_path / "slow.fits").exists()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM events WHERE name = 'slow'").fetchone() == (1,)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_timeoutsThatAreNone(tmp_path, timeout):
    with pytest.raises(ValueError, match="must be a positive number of seconds"):
        runBatch(pairsNamed("a"), tmp_path, timeout=timeout, work=touch)


def test_inputsThatNeverEnd(images, tmp_path):
    """A device, and a pipe that nobody writes to: refused, neither read here for their sizes nor by a worker."""
    never = [os.devnull]
    if hasattr(os, "mkfifo"):  # POSIX
        os.mkfifo(tmp_path / "pipe.fits")
        never += [str(tmp_path / "pipe.fits"), "/dev/zero"]
    template, science = str(images / "template.fits"), str(images / "science.fits")
    pairs = []
    for path in never:
        pairs.append(Pair(f"p{len(pairs)}", template, path))
        pairs.append(Pair(f"p{len(pairs)}", path, science))
        pairs.append(Pair(f"p{len(pairs)}", template, science, scienceMask=f"{path}[1]"))
        assert estimateMemory(pairs[-3], 1) < estimateMemory(Pair("e", template, science), 1)
    with ThreadPoolExecutor(1) as executor:
        summary = runBatch(pairs, tmp_path / "out", executor=executor)
    assert [record.errorType for record in summary.failures] == ["ExposureReadError"] * len(pairs)
    assert all("is a pipe or a device, not a file" in record.errorMessage for record in summary.failures)


def test_workersThatCannotStart(tmp_path, monkeypatch):
    monkeypatch.setattr("psfmatch.batch.processes.START_TRIALS", 1)
    monkeypatch.setattr("psfmatch.batch.processes.prepareProcess", batchStandIns.dieAtOnce)
    with pytest.raises(BrokenExecutor, match=r"workers end before they begin .*status 7.*__main__"):
        runBatch(pairsNamed("a"), tmp_path, workers=1, work=touch)
    assert states(tmp_path) == {"a": "pending"}


def test_killingTheWholeRun(tmp_path):
    """Workers end with their parent, and what is repeated is what was not done."""
    names = ["a", "b", "c", "slow1", "slow2"]
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
from batchStandIns import pairsNamed, touch
from psfmatch.batch import runBatch
if __name__ == "__main__":
    runBatch(pairsNamed(*{names!r}), {str(tmp_path)!r}, workers=2, threads=1, work=touch)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    run = subprocess.Popen([sys.executable, script])
    try:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline and not waitsForSlowOnes(tmp_path):
            time.sleep(0.1)
        workers = [record.pid for record in readLedgers(tmp_path) if record.state == "running"]
    finally:
        run.kill()
        run.wait()
    assert len(workers) == 2
    while time.monotonic() < deadline and any(map(isAlive, workers)):
        time.sleep(0.05)
    assert not any(map(isAlive, workers))
    assert states(tmp_path) == {**dict.fromkeys("abc", "done"), "slow1": "running", "slow2": "running"}
    (tmp_path / "begun.txt").unlink()
    summary = inThreads(pairsNamed(*names), tmp_path, resume=True, work=batchStandIns.touchQuickly)
    assert begun(tmp_path) == ["slow1", "slow2"]
    assert (summary.nDone, summary.nLeft) == (5, 3)
    assert {record.name: record.attempts for record in readLedgers(tmp_path)}["slow1"] == 2


def waitsForSlowOnes(directory):
    if not (directory / "ledger.sqlite").exists():
        return False
    try:
        found = states(directory)
    except OSError:  # just being made
        return False
    return sorted(found.values()) == ["done"] * 3 + ["running"] * 2


def isAlive(pid):
    try:
        # A zombie waits for a parent that is gone.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Executors of others, resume, shards


def test_anExecutorFromPython(tmp_path):
    told = []
    summary = inThreads(pairsNamed("b", "a", "fail"), tmp_path, tell=lambda *what: told.append(what))
    assert (summary.nPairs, summary.nDone, summary.nFailed) == (3, 2, 1)
    assert begun(tmp_path) == ["b", "a", "fail"]
    assert [(record.name, n, of) for record, n, of in told] == [("b", 1, 3), ("a", 2, 3), ("fail", 3, 3)]
    assert {record.pid for record in readLedgers(tmp_path)} == {os.getpid()}


def test_resumeRepeatsWhatIsNotDone(tmp_path):
    pairs = pairsNamed("a", "b", "fail", "c")
    inThreads(pairs[:3], tmp_path)
    with pytest.raises(ValueError, match="has 3 of these pairs in its ledger; go on with it by resume"):
        inThreads(pairs, tmp_path)
    summary = inThreads(pairs, tmp_path, resume=True)
    assert begun(tmp_path) == ["a", "b", "fail", "c"]
    assert (summary.nDone, summary.nFailed, summary.nLeft) == (3, 1, 3)
    inThreads(pairs, tmp_path, resume=True, retryFailed=True)
    assert begun(tmp_path)[4:] == ["fail"]
    assert {r.name: r.attempts for r in readLedgers(tmp_path)} == {"a": 1, "b": 1, "c": 1, "fail": 2}
    # What is gone, or would be another, is not done.
    (tmp_path / "a.fits").unlink()
    pairs[1] = Pair("b", "another.fits", "b.fits")
    inThreads(pairs, tmp_path, resume=True)
    assert begun(tmp_path)[5:] == ["a", "b"]
    inThreads(pairs, tmp_path, options=PairOptions(mode="convolveScience"), resume=True)
    assert sorted(begun(tmp_path)[7:]) == ["a", "b", "c", "fail"]


def test_outputsThatCameTooLateForTheLedger(tmp_path):
    """The parent was killed between the last rename of a worker and its row."""
    pairs = pairsNamed("a", "b")
    inThreads(pairs, tmp_path)
    fingerprint = readLedgers(tmp_path)[0].fingerprint
    (tmp_path / "a.json").write_text(json.dumps({"fingerprint": fingerprint, "grade": "C", "failedGates": ["g"]}))
    (tmp_path / "b.json").write_text("{}")
    forget(tmp_path)
    summary = inThreads(pairs, tmp_path, resume=True)
    assert begun(tmp_path) == ["a", "b", "b"]
    assert summary.grades == {"A": 1, "C": 1}
    assert [record.name for record in summary.gateFailures] == ["a"]


def forget(directory):
    """Let the ledger believe that everything is still running."""
    with sqlite3.connect(directory / "ledger.sqlite") as connection:
        connection.execute("UPDATE pairs SET state = 'running'")


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shardsAreEverythingOnce(tmp_path, count):
    pairs = [Pair(f"p{i}", f"t{i % 2}", f"s{i}") for i in range(5)]
    for number in range(1, count + 1):
        inThreads(pairs, tmp_path, shard=(number, count))
    assert sorted(begun(tmp_path)) == [f"p{i}" for i in range(5)]
    assert len(list(tmp_path.glob("ledger-*.sqlite"))) == count
    assert set(states(tmp_path).values()) == {"done"}
    # The whole, and other shards, know what these have done.
    summary = inThreads(pairs, tmp_path, resume=True)
    assert (summary.nDone, summary.nLeft) == (5, 5)
    assert len(begun(tmp_path)) == 5


def test_aBrokenExecutor(tmp_path):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(BrokenExecutor, match=r"does no more work .*; make a new one and resume"):
        runBatch(pairsNamed("a"), tmp_path, executor=executor, work=touch)
    assert states(tmp_path) == {"a": "pending"}


def test_ctrlC(tmp_path):
    """The first lets the pairs at work end, the second ends at once; nothing that is done is lost."""
    pairs = pairsNamed(*"abcdef")
    before = signal.getsignal(signal.SIGINT)  # ignored where a shell has put the tests in the background
    asked = threading.Event()

    def work(job):
        if job.pair.name != "a":
            asked.wait(20.0)
        return touch(job)

    def interrupt(*_):
        if not asked.is_set():
            os.kill(os.getpid(), signal.SIGINT)
        asked.set()

    with ThreadPoolExecutor(1) as executor:
        summary = runBatch(pairs, tmp_path, executor=executor, work=work, tell=interrupt)
    assert summary.isInterrupted
    # The first, that at work when it had ended, and perhaps one that began before the others were taken back.
    assert 1 <= summary.nDone <= 3
    assert summary.nDone + summary.nPending == 6
    assert len(begun(tmp_path)) == summary.nDone
    with pytest.raises(KeyboardInterrupt):
        inThreads(pairs, tmp_path, resume=True, tell=lambda *_: [os.kill(os.getpid(), signal.SIGINT) for _ in "12"])
    assert "running" not in states(tmp_path).values()
    assert signal.getsignal(signal.SIGINT) is before
    assert inThreads(pairs, tmp_path, resume=True).nDone == 6


class Silent(Executor):
    """Does the first pair alone and says nothing of the others, as Dask's executor of those that it has cancelled."""

    def __init__(self):
        self.futures = []

    def submit(self, work, job):
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_result(work(job))
        return self.futures[-1]


def test_ctrlCWhereCancelledPairsAreNeverTold(tmp_path):
    executor = Silent()
    summary = runBatch(
        pairsNamed(*"abc"),
        tmp_path,
        executor=executor,
        work=touch,
        tell=lambda *_: os.kill(os.getpid(), signal.SIGINT),
    )
    assert (summary.isInterrupted, summary.nDone, summary.nPending) == (True, 1, 2)
    assert [future.cancelled() for future in executor.futures] == [False, True, True]
    assert states(tmp_path) == {"a": "done", "b": "pending", "c": "pending"}


# The subtraction itself


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    pair = simulatePair(seed=4, size=160, brightStars=300, faintStars=100)
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "science.fits")
    (folder / "corrupt.fits").write_bytes((folder / "science.fits").read_bytes()[:100_000])
    (folder / "night.csv").write_text(
        "name,template,science\n01,template.fits,science.fits\n02,template.fits,corrupt.fits\n"
    )
    return folder


@pytest.fixture(scope="module")
def subtracted(images, tmp_path_factory):
    directory = tmp_path_factory.mktemp("differences")
    with ThreadPoolExecutor(1) as executor:
        gates = {"grade": "A"}
        return runBatch(images / "night.csv", directory, PairOptions(gates=gates), executor=executor), directory


def test_outputsAreThoseOfTheSubtraction(subtracted, images):
    from psfmatch import subtract

    summary, directory = subtracted
    expected = subtract(images / "template.fits", images / "science.fits", threads=1)
    written = Exposure.readFits(directory / "01.fits")
    np.testing.assert_array_equal(written.image, expected.difference.image)
    np.testing.assert_array_equal(written.variance, expected.difference.variance)
    figures = json.loads((directory / "01.json").read_text())
    plain = json.loads(json.dumps(reportNumbers(expected, title="01")))
    assert {name: figures[name] for name in plain} == plain
    assert figures["grade"] == expected.grade
    assert figures["failedGates"] == [f"the grade is {expected.grade}, below A"]
    assert summary.grades == {expected.grade: 1}
    assert [record.name for record in summary.gateFailures] == ["01"]
    assert {path.name for path in directory.iterdir() if not path.name.startswith(".")} == {
        *(f"01.{kind}" for kind in ("fits", "json", "png", "log")),
        "02.log",
        "index.html",
        "ledger.sqlite",
    }


def test_aCorruptFileFailsAlone(subtracted):
    summary, _ = subtracted
    (record,) = summary.failures
    assert (record.name, record.errorType) == ("02", "ExposureReadError")
    assert "truncated" in record.errorMessage


def test_urls(images, tmp_path, monkeypatch):
    """One that leads nowhere fails its pair alone; nothing is fetched before its pair is at work."""
    from http.client import IncompleteRead
    from urllib.error import URLError

    fetched = []

    def fetch(url, **_):
        fetched.append(url)
        if url.startswith("https"):
            return str(images / url.rpartition("/")[2])
        raise IncompleteRead(b"") if url.startswith("ftp") else URLError("Connection refused")

    monkeypatch.setattr("astropy.utils.data.download_file", fetch)
    urls = ["http://x.org/dead.fits?a=b", "https://x.org/science.fits", "ftp://x.org/half.fits[SCI]"]
    rows = [f"{images}/template.fits,{url}" for url in urls]
    (tmp_path / "night.csv").write_text("\n".join(["template,science", *rows]))
    pairs = readManifest(tmp_path / "night.csv")
    assert [pair.name for pair in pairs] == ["dead", "science", "half_SCI"]
    assert all(estimateMemory(pair, 1) < estimateMemory(Pair("e", *[pairs[0].template] * 2), 1) for pair in pairs)
    assert fetched == []
    with ThreadPoolExecutor(1) as executor:
        summary = runBatch(pairs, tmp_path / "out", executor=executor)
    assert summary.nDone == 1
    assert {record.name: record.errorMessage for record in summary.failures} == {
        "dead": "http://x.org/dead.fits?a=b: cannot be fetched (<urlopen error Connection refused>)",
        "half_SCI": "ftp://x.org/half.fits: cannot be fetched (IncompleteRead(0 bytes read))",
    }


@pytest.fixture
def quickResult(subtracted, images, monkeypatch):
    """Let the subtraction return at once what a file holds."""

    class Result:
        grade, quality = "B", None

        def writeFits(self, path):
            path.write_bytes(b"difference")

    monkeypatch.setattr("psfmatch.batch.pairSubtraction.subtract", lambda *_, **__: Result())
    monkeypatch.setattr("psfmatch.batch.pairSubtraction.reportNumbers", lambda *_, **__: {"grade": "B"})
    monkeypatch.setattr("psfmatch.batch.pairSubtraction.thumbnail", lambda _: b"picture")
    return Result


def test_aTemplateIsReadOnce(images, tmp_path, monkeypatch, quickResult):
    monkeypatch.setattr("psfmatch.batch.pairSubtraction.templates", {})
    template, science = str(images / "template.fits"), str(images / "science.fits")
    pairs = [Pair("a", template, science), Pair("b", science, template), Pair("c", template, science)]
    pairs.append(Pair("d", template, science, gain=2.0))
    with ThreadPoolExecutor(1) as executor:
        runBatch(pairs, tmp_path, executor=executor)
    # The pairs of a template come together, and what is read with other options is another.
    assert {r.name: r.templateFromCache for r in readLedgers(tmp_path)} == {
        "a": False,
        "b": False,
        "c": True,
        "d": False,
    }


def test_aFullDisk(images, tmp_path, monkeypatch, quickResult):
    """The pair that meets it fails with the reason and leaves nothing; the next is written."""
    write, full = quickResult.writeFits, [True]

    def writeFits(self, path):
        write(self, path)
        if full.pop() if full else False:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(quickResult, "writeFits", writeFits)
    pairs = [Pair(name, str(images / "template.fits"), str(images / "science.fits")) for name in "ab"]
    with ThreadPoolExecutor(1) as executor:
        summary = runBatch(pairs, tmp_path, executor=executor)
    (record,) = summary.failures
    assert (record.name, record.errorType) == ("a", "OSError")
    assert "No space left on device" in record.errorMessage
    assert {path.name for path in tmp_path.iterdir()} - {".ledger.lock"} == {
        *("a.log", "b.log", "b.fits", "b.json", "b.png", "ledger.sqlite", "index.html")
    }


def test_aReportIfAskedFor(images, tmp_path, monkeypatch, quickResult):
    def report(self, path, title, threads):
        path.write_text(f"report of {title}")
        path.with_suffix(".json").write_text('{"grade": "B", "detections": {"nDetections": 3}}')

    monkeypatch.setattr(quickResult, "report", report, raising=False)
    pairs = [Pair("a", str(images / "template.fits"), str(images / "science.fits"))]
    with ThreadPoolExecutor(1) as executor:
        runBatch(pairs, tmp_path, PairOptions(report=True), executor=executor)
    assert (tmp_path / "a.html").read_text() == "report of a"
    figures = json.loads((tmp_path / "a.json").read_text())
    assert (figures["detections"], figures["name"]) == ({"nDetections": 3}, "a")
    assert readLedgers(tmp_path)[0].nDetections == 3


def test_outputsComeTogether(images, tmp_path, monkeypatch, quickResult):
    """Nothing has its final name before everything is complete, and on the disk."""
    seen = []
    toDisk = "psfmatch.batch.pairSubtraction._toDisk"
    monkeypatch.setattr(toDisk, lambda path: seen.append((path.name, (tmp_path / "a.json").exists())))
    pairs = [Pair("a", str(images / "template.fits"), str(images / "science.fits"))]
    with ThreadPoolExecutor(1) as executor:
        runBatch(pairs, tmp_path, executor=executor)
    assert seen == [("a.fits", False), ("a.png", False), ("a.json", False), (tmp_path.name, True)]


def test_anInputIsNotOverwritten(images):
    with pytest.raises(ValueError, match=r"would overwrite .*science\.fits; choose another directory"):
        runBatch([Pair("science", str(images / "template.fits"), str(images / "science.fits"))], images)


def test_dask(tmp_path, monkeypatch):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "1")  # set in the workers, which here are threads
    from distributed import LocalCluster

    from psfmatch.batch.cluster import connected

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        connected(cluster.scheduler_address) as client,
    ):
        intervals = partial(client.run, _profileInterval)
        (before,) = intervals().values()
        during = []
        summary = runBatch(
            pairsNamed("a", "fail", "b"),
            tmp_path,
            executor=client,
            work=touch,
            tell=lambda *_: during.extend(intervals().values()),
        )
        assert list(intervals().values()) == [before]
    # Dask's profiler slows a worker down and does not while pairs are at work.
    assert before < 1000.0
    assert during == [1000.0] * 3
    assert (summary.nDone, summary.nFailed) == (2, 1)
    assert sorted(begun(tmp_path)) == ["a", "b", "fail"]


def _profileInterval(dask_worker):
    return dask_worker.periodic_callbacks["profile"].callback_time


def test_noSchedulerAnswers(monkeypatch):
    from psfmatch.batch.cluster import connected

    monkeypatch.setattr("psfmatch.batch.cluster.TIMEOUT", 0.2)
    with (
        pytest.raises(OSError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        connected("tcp://127.0.0.1:9"),
    ):
        pass
