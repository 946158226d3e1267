"""Sentences of the reference page on batches that no other test holds."""

import inspect
import os
import signal
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.table import Table
from referencePage import TEXT, codes

from psfmatch.batch import Pair, PairOptions, memory, readManifest, runBatch
from psfmatch.batch.dispatcher import Dispatcher
from psfmatch.batch.manifest import FILE_COLUMNS, NUMBER_COLUMNS
from psfmatch.batch.worker import attempt
from psfmatch.io import readLedgers


def quick(job):
    def work():
        (Path(job.directory) / f"{job.pair.name}.fits").write_text("done")
        return replace(job.record, grade="A")

    return attempt(job, work)


def pairsNamed(*names):
    return [Pair(name, "t.fits", f"{name}.fits") for name in names]


def test_argumentsAndColumns():
    (text,) = [part for part in TEXT.split("\n\n") if part.startswith("`runBatch(")]
    call, *others = codes(text.replace("\n", " "))
    named = [word.strip().removesuffix("=...") for word in call.removeprefix("runBatch(").rstrip(")").split(",")]
    known = list(inspect.signature(runBatch).parameters)
    assert named == known[: len(named)] == [*known[: known.index("shard") + 1]]
    columns = {"name", *FILE_COLUMNS, *NUMBER_COLUMNS}
    ofScience = {name for name in columns if name.startswith("science_") and name != "science_fwhm"}
    assert set(others) - {"psfmatch batch"} == columns - ofScience
    assert "the same of `science`" in text.replace("\n", " ")


def test_pathsAreRelativeToTheManifest(tmp_path):
    (tmp_path / "night.csv").write_text("template,science\nt.fits[SCI],sub/s.fits\n")
    (pair,) = readManifest(tmp_path / "night.csv")
    assert (pair.template, pair.science) == (f"{tmp_path}/t.fits[SCI]", f"{tmp_path}/sub/s.fits")


@pytest.fixture
def quickResult(monkeypatch, tmp_path):
    """Let the subtraction return at once what a file would hold."""

    class Result:
        grade, quality = "B", None

        def writeFits(self, path):
            path.write_bytes(b"difference")

        def writeDecorrelated(self, path):
            path.write_bytes(b"decorrelated")

        changes = Table({"id": [1]}, meta={"PSFFROM": "its stars", "NPOS": 1, "NNEG": 0, "NDIPOLE": 0})

        def report(self, path, title, threads):
            path.write_text("report")
            path.with_suffix(".json").write_text("{}")

    module = "psfmatch.batch.pairSubtraction"
    monkeypatch.setattr(f"{module}.subtract", lambda *_, **__: Result())
    monkeypatch.setattr(f"{module}._read", lambda *_: None)
    monkeypatch.setattr(f"{module}.reportNumbers", lambda *_, **__: {"grade": "B"})
    monkeypatch.setattr(f"{module}.thumbnail", lambda _: b"picture")


def test_outputsOfAPair(tmp_path, monkeypatch, quickResult):
    """Each is brought to the disk in .partial/NAME and then renamed, the JSON last."""
    told = []
    replace = Path.replace

    def noted(path, target):
        told.append((str(path.relative_to(tmp_path)), str(target.relative_to(tmp_path))))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    monkeypatch.setattr("psfmatch.batch.pairSubtraction._toDisk", lambda path: told.append(path.name))
    options = PairOptions(decorrelated=True, sources=True, report=True)
    with ThreadPoolExecutor(1) as executor:
        assert runBatch(pairsNamed("a"), tmp_path, options, executor=executor).nDone == 1
    names = ["a.fits", "a.html", "a.png", "a_decorrelated.fits", "a_sources.fits", "a.json"]
    expected = [step for name in names for step in (name, (f".partial/a/{name}", name))]
    # The figures are written whole, too, by another name at first.
    told = [step for step in told if not step[0].startswith((".partial/a/.", ".index.html."))]
    assert told == [*expected, tmp_path.name]
    assert {path.name for path in tmp_path.iterdir()} - {".ledger.lock"} == {
        *names,
        "a.log",
        "ledger.sqlite",
        "index.html",
    }


def test_ledgerOfAShard(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        runBatch(pairsNamed("a", "b"), tmp_path, executor=executor, work=quick, shard=(1, 2))
    assert [path.name for path in tmp_path.glob("*.sqlite")] == ["ledger-1-of-2.sqlite"]
    (record,) = readLedgers(tmp_path)
    # Unix time in seconds.
    assert 1.5e9 < record.startTime <= record.endTime < 1e11


class Silent(Executor):
    """Gets pairs, and looks into the ledger of each before it does them, one by one; says not that it has begun."""

    def __init__(self, directory):
        self.directory, self.jobs, self.states = directory, [], None

    def submit(self, work, job):
        future = Future()
        self.jobs.append((future, work, job))
        if len(self.jobs) == 3:
            self.states = {record.state for record in readLedgers(self.directory)}
            for future, work, job in self.jobs:
                future.set_result(work(job))
        return future


def test_executorsOfOthersGetAllPairsAtOnce(tmp_path):
    """And where they do not say that they have begun, as Dask's does not, pairs are pending until they have ended."""
    executor = Silent(tmp_path)
    summary = runBatch(pairsNamed("a", "b", "c"), tmp_path, executor=executor, work=quick)
    assert executor.states == {"pending"}
    assert (summary.nDone, summary.nPending) == (3, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bothSignalsInTwoSteps(number):
    before = signal.getsignal(number)
    dispatcher = Dispatcher([], [], None, quick)
    with dispatcher.askedBySignals():
        os.kill(os.getpid(), number)
        assert dispatcher.isAskedToEnd
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_memoryThatAControlGroupLeaves(tmp_path, monkeypatch):
    """Its limit but for what is taken, of whichever group above it leaves less."""
    (tmp_path / "job").mkdir()
    for folder, limit in ((tmp_path, 5000), (tmp_path / "job", 9000)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.stat").write_text("anon 2000\nfile 700\n")
    (tmp_path / "cgroup").write_text("0::/job\n")
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "Path", lambda name: Path(tmp_path / "cgroup" if "cgroup" in str(name) else name))
    assert memory.availableMemory() == 3000
