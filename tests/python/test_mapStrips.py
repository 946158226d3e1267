"""Strips cover an image once, in order, whatever the number of threads."""

import threading

import numpy as np
import pytest

from psfmatch import threads as strips
from psfmatch.threads import mapStrips


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (10, 7), (9, 7), (3, 1000), (1000, 1)])
def test_everyRowOnce(monkeypatch, shape, threads):
    monkeypatch.setattr(strips, "STRIP_PIXELS", 21)
    found = mapStrips(lambda strip: np.arange(shape[0])[strip], shape, threads)
    np.testing.assert_array_equal(np.concatenate(found), np.arange(shape[0]))
    assert all(rows.size == max(1, 21 // shape[1]) for rows in found[:-1])


def test_severalThreadsWork(monkeypatch):
    monkeypatch.setattr(strips, "STRIP_PIXELS", 1)
    together = threading.Barrier(2, timeout=30.0)
    # Both strips must be under way at a time.
    assert mapStrips(lambda strip: together.wait() in (0, 1), (2, 1), 2) == [True, True]


def test_anErrorEndsTheCall(monkeypatch):
    monkeypatch.setattr(strips, "STRIP_PIXELS", 1)

    def fail(strip):
        raise OSError("no")

    for threads in (1, 2):
        with pytest.raises(OSError, match="no"):
            mapStrips(fail, (5, 1), threads)
    assert mapStrips(fail, (0, 4), 2) == []
