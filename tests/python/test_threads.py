"""The number of threads: argument, environment, CPUs of the process."""

import os
import threading

import numpy as np
import pytest

from psfmatch.threads import mapThreads, resolveThreads


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
    assert resolveThreads() == 2


@pytest.mark.parametrize(("count", "expected"), [(12, 12), (None, 1)])
def test_systemsWithoutAffinity(monkeypatch, count, expected):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert resolveThreads() == expected


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
