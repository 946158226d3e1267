"""The number of threads: argument, environment, CPUs of the process."""

import os
import threading

import numpy as np
import pytest

from psfmatch import _core, subtract
from psfmatch.testing import simulatePair
from psfmatch.threads import (
    availableCpus,
    mapThreads,
    resolveThreads,
    sideBySide,
    usingThreads,
    withThreads,
)


@pytest.fixture(autouse=True)
def _noEnvironment(monkeypatch):
    monkeypatch.delenv("PSFMATCH_NUM_THREADS", raising=False)


@pytest.mark.parametrize("threads", [1, 7, 1000, np.int64(3)])
def test_argumentComesFirst(monkeypatch, threads):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "5")
    found = resolveThreads(threads)
    assert found == threads
    assert type(found) is int


@pytest.mark.parametrize("text", ["1", "5", "064"])
def test_environmentComesNext(monkeypatch, text):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", text)
    assert resolveThreads() == resolveThreads(None) == int(text)


def test_emptyEnvironmentMeansNone(monkeypatch):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "")
    assert resolveThreads() >= 1


def test_cpusOfThisProcessComeLast(monkeypatch):
    # Not the machine's: a batch system may have given the process two of 64.
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 11} if pid == 0 else set(), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert availableCpus("/nowhere") == 2
    assert 1 <= resolveThreads() <= 2  # less by a quota of where the tests run


@pytest.mark.parametrize(("count", "expected"), [(12, 12), (None, 1)])
def test_systemsWithoutAffinity(monkeypatch, count, expected):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert availableCpus("/nowhere") == expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/job/step", {"job/step/cpu.max": "150000 100000"}, 2),  # one and a half: two threads fill it best
        ("0::/job/step", {"job/cpu.max": "100000 100000", "job/step/cpu.max": "max 100000"}, 1),
        ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "400000 100000"}, 3),
        ("0::/job/step", {"other/cpu.max": "100000 100000"}, 8),
        ("0::/", {"cpu.max": "5000 100000"}, 1),
        ("0::/", {"cpu.max": "6400000 100000"}, 8),  # more than the affinity
        ("0::/", {"cpu.max": "unknown"}, 8),
        ("0::/outside/the/container", {"cpu.max": "200000 100000"}, 2),
        ("", {"cpu.max": "200000 100000"}, 8),  # no file says which group
        (
            "4:memory:/m\n2:cpu,cpuacct:/job\n0::/",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "350000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("2:cpuacct,cpu:/job", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "50000"}, 1),
        ("2:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 8),
        ("2:cpuset:/job", {"cpuset/job/cpu.cfs_quota_us": "1", "cpuset/job/cpu.cfs_period_us": "1"}, 8),
    ],
)
def test_quotasOfControlGroupsCount(monkeypatch, tmp_path, groups, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    if groups:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups + "\n")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert availableCpus(tmp_path) == expected


def test_environmentIsReadAtEachCall(monkeypatch):
    for text in ("2", "3"):
        monkeypatch.setenv("PSFMATCH_NUM_THREADS", text)
        assert resolveThreads() == int(text)


@pytest.mark.parametrize("threads", [0, -1, 1.5, float("nan"), float("inf"), "4", "many"])
def test_argumentThatIsNoNumberOfThreads(threads):
    with pytest.raises(ValueError, match=rf"^threads={threads}: must be a whole number of at least 1$"):
        resolveThreads(threads)


@pytest.mark.parametrize("text", ["0", "-2", "1.5", "all", " 4", "²"])
def test_environmentThatIsNoNumberOfThreads(monkeypatch, text):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", text)
    with pytest.raises(
        ValueError, match=rf"PSFMATCH_NUM_THREADS='{text}': must be a whole number of at least 1; unset it"
    ):
        resolveThreads()
    assert resolveThreads(3) == 3


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_itemsKeepTheirOrder(threads):
    assert mapThreads(lambda number: number * number, range(4), threads) == [0, 1, 4, 9]
    assert mapThreads(lambda number: number, [], threads) == []


def test_helpersHaveTheCallersContext():
    together = threading.Barrier(2, timeout=30.0)

    def work(divisor):
        together.wait()  # one item on each thread
        return np.ones(1) / np.array([divisor])

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        mapThreads(work, [0.0, 0.0], 2)
    with np.errstate(divide="ignore"):
        assert np.isinf(mapThreads(work, [0.0, 0.0], 2)).all()


def test_workWithinABlockIsBounded(monkeypatch):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "8")
    with usingThreads(3) as number:
        assert (number, resolveThreads(), resolveThreads(2), resolveThreads(5)) == (3, 3, 2, 3)
        with usingThreads(None), usingThreads(5):
            assert resolveThreads() == 3
        with usingThreads(1):
            assert resolveThreads(8) == 1
        with pytest.raises(ValueError, match=r"^threads=0: must be a whole number of at least 1$"):
            resolveThreads(0)
    assert resolveThreads() == 8


def test_decoratedFunctionsBoundWhatTheyCall():
    @withThreads
    def work(number, *, threads=None):
        """Document."""
        return number, resolveThreads(7)

    assert work(1, threads=2) == (1, 2)
    assert work(number=1, threads=9) == (1, 7)
    assert work.__doc__ == "Document."


@pytest.mark.parametrize(("threads", "nItems", "share"), [(1, 3, 1), (5, 2, 2), (6, 1, 6), (2, 3, 1), (2, 0, None)])
def test_itemsShareTheThreads(threads, nItems, share):
    """Work of an item that asks for all threads gets its part: together no more are busy than were asked for."""
    assert mapThreads(lambda _: resolveThreads(64), range(nItems), threads) == [share] * nItems


def test_sideBySideKeepsTheirOrder():
    together = threading.Barrier(2, timeout=30.0)

    def first():
        together.wait()  # each on a thread of its own
        return "first", resolveThreads()

    def second():
        together.wait()
        return 2, resolveThreads()

    assert sideBySide(first, second, 5) == (("first", 2), (2, 2))


def test_threadsWithinThreadsAreNoMoreThanAskedFor(monkeypatch):
    """No call of the core on the default path uses more threads than what is around it has."""
    seen = []

    def watched(call):
        def bounded(*args, **keywords):
            seen.append((call.__name__, keywords.get("nThreads", 1), resolveThreads()))
            return call(*args, **keywords)

        return bounded

    for name in dir(_core):
        call = getattr(_core, name)
        if not name.startswith("_") and callable(call) and not isinstance(call, type):
            monkeypatch.setattr(_core, name, watched(call))
    pair = simulatePair(seed=3, size=256)
    subtract(pair.template, pair.science, threads=2)
    assert {nThreads for _, nThreads, _ in seen} == {1, 2}
    assert not [call for call in seen if call[1] > call[2]]
