"""What shifts at few stars tell of the grade: their mean and their scatter, beyond their errors."""

from types import SimpleNamespace

import numpy as np
import pytest

from psfmatch.difference import residualShift
from psfmatch.io.sourceTable import SourceTable


def shiftOf(monkeypatch, shifts, errors, isUsed=None):
    """Return the shift that is told of stars with these shifts in x, and none in y."""
    n = len(shifts)
    columns = {"dx": shifts, "dy": np.zeros(n), "dxErr": errors, "dyErr": errors}
    used = np.ones(n, dtype=bool) if isUsed is None else isUsed
    stars = SourceTable({**{name: np.asarray(each, float) for name, each in columns.items()}, "isUsed": used})
    field = SimpleNamespace(stars=stars, mean=(0.0, 0.0), meanErr=(0.1, 0.1), excessRms=(0.06, 0.0), nUsed=used.sum())
    monkeypatch.setitem(residualShift.__globals__, "measureShiftField", lambda *args, threads: field)
    return residualShift(SimpleNamespace(maskedImage=None), None, range(n), 6, 1.0, None)


@pytest.mark.parametrize(
    ("chiSquare", "n", "isTold"),
    [
        # Quantiles of chi-square at 0.9772 for 4, 9 and 99 degrees of freedom: 11.3, 19.2, 128.9.
        (11.0, 5, False),
        (11.7, 5, True),
        (18.9, 10, False),
        (19.6, 10, True),
        (127.0, 100, False),
        (131.0, 100, True),
    ],
)
def test_scatterBeyondItsError(monkeypatch, chiSquare, n, isTold):
    pulls = np.linspace(-1.0, 1.0, n)
    pulls *= np.sqrt(chiSquare / (pulls**2).sum())
    assert shiftOf(monkeypatch, 0.03 * pulls, np.full(n, 0.03)) == (0.06 if isTold else 0.0)


def test_fewerStarsTellNoScatter(monkeypatch):
    assert shiftOf(monkeypatch, [0.5, -0.5, 0.5, -0.5], np.full(4, 0.01)) == 0.0


def test_onlyStarsThatAreUsedTell(monkeypatch):
    shifts, isUsed = np.array([9.0, *np.full(6, 0.01)]), np.array([False, *np.full(6, True)])
    assert shiftOf(monkeypatch, shifts, np.full(7, 0.03), isUsed) == 0.0
