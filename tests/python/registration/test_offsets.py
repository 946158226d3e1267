"""Models of offsets between positions: recovered, with right errors, outliers left out, none richer than needed."""

import math

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.registration.asterisms import Match
from psfmatch.registration.centroids import StarPositions
from psfmatch.registration.offsets import IDENTITY, OffsetFits, applied, asRows, displaced, excessVariance

CENTRE = (500.0, 400.0)
AFFINE = np.array([[1.001, 0.003, 2.0], [-0.002, 0.998, -3.0]])
SHIFT = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -3.0]])


def fits(matrix, n=60, seed=0, error=0.03, extra=0.0, nOutliers=0):
    """Fits to n pairs of the given error per axis and image, and a scatter beyond that."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(-400.0, 400.0, (n, 2))
    end = applied(matrix, start) + math.hypot(math.sqrt(2.0) * error, extra) * rng.normal(size=start.shape)
    end[:nOutliers] += rng.uniform(0.5, 1.0, (nOutliers, 2))
    errors = np.full(n, error)
    science, template = (StarPositions(*(xy + CENTRE).T, errors, errors, 3.0) for xy in (start, end))
    return OffsetFits(science, template, Match(np.arange(n), np.arange(n), 0.0), CENTRE)


@pytest.mark.parametrize(("matrix", "model"), [(np.array(IDENTITY), "none"), (SHIFT, "shift"), (AFFINE, "affine")])
def test_modelAndItsErrors(matrix, model):
    pulls, chosen = [], []
    for seed in range(20):
        found = fits(matrix, seed=seed)
        chosen.append(found.best)
        if model != "none":
            isFitted = found.errors[model] > 0.0
            pulls += list((found.matrices[model] - matrix)[isFitted] / found.errors[model][isFitted])
    # A BIC of n = 120 takes one term too many at 2 ln 120 / 2 = 2.2 sigma per term, both at once: one time in 100.
    assert chosen.count(model) >= 18
    if model != "none":
        # 40 pulls at least: rms known to 11 %.
        assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.25)


def test_scatterBeyondTheErrorsCounts():
    found = fits(SHIFT, extra=0.2)
    # 0.2 px with 60 stars.
    assert found.errors["shift"][0, 2] == pytest.approx(0.2 / math.sqrt(60.0), rel=0.25)
    assert found.rms("shift") == pytest.approx(0.2, rel=0.2)


@pytest.mark.parametrize("nOutliers", [1, 10, 20])
def test_outliersAreLeftOut(nOutliers):
    found = fits(AFFINE, nOutliers=nOutliers)
    assert not found.used[:nOutliers].any()
    # A normal deviate beyond 4 sigma comes once in 16000.
    assert found.used[nOutliers:].sum() >= 59 - nOutliers
    np.testing.assert_array_less(np.abs(found.matrices["affine"] - AFFINE), 5.0 * found.errors["affine"])


@pytest.mark.parametrize("n", [2, 3, 7])
def test_fewStarsTellAShiftAlone(n):
    found = fits(SHIFT, n=n)
    assert "affine" not in found.merit
    assert found.best == "shift"
    assert (np.abs(found.matrices["shift"] - SHIFT)[:, 2] < 0.2).all()


def test_equalPositionsWithoutErrors():
    found = fits(np.array(IDENTITY), error=0.0)
    assert found.best == "none"
    assert found.rms("affine") < 1e-9


def test_excessVariance():
    rng = np.random.default_rng(3)
    variance = rng.uniform(0.5, 2.0, 20000)
    deviates = rng.normal(size=20000)
    # The mean of 20000 squares is good to 1 %.
    assert excessVariance(deviates**2 * (variance + 0.7), variance, 0) == pytest.approx(0.7, abs=0.05)
    assert excessVariance(0.5 * deviates**2 * variance, variance, 0) == 0.0
    # Fitted parameters take their share: 2 numbers, 1 parameter.
    assert excessVariance(np.array([1.0, 1.0]), np.zeros(2), 1) == pytest.approx(2.0, rel=1e-6)


def test_displaced():
    rng = np.random.default_rng(4)
    points = rng.uniform(0.0, 900.0, (12, 2))
    x, y = displaced(AFFINE, CENTRE, *points.T.reshape(2, 3, 4))
    assert x.shape == (3, 4)
    expected = applied(AFFINE, points - CENTRE) + CENTRE
    np.testing.assert_allclose(np.column_stack([x.ravel(), y.ravel()]), expected, rtol=1e-12)
    np.testing.assert_array_equal(np.array(asRows(AFFINE)), AFFINE)


def test_linearFit():
    rng = np.random.default_rng(8)
    first, matrix = rng.uniform(-1.0, 1.0, (12, 2)), np.array([[1.1, 0.2, 3.0], [-0.1, 0.9, -4.0]])
    terms, second = np.column_stack([first, np.ones(12)]), applied(matrix, first)
    np.testing.assert_allclose(_core.fitLinear(terms, second)[0], matrix, rtol=1e-12)
    # A position of no weight may be anywhere; the errors are those of the normal equations.
    second[0] += 100.0
    variance = rng.uniform(0.5, 2.0, second.shape)
    variance[0] = np.inf
    found, errors = _core.fitLinear(terms, second, variance)
    np.testing.assert_allclose(found, matrix, rtol=1e-12)
    normals = [np.linalg.inv((terms.T / own) @ terms) for own in variance.T]
    np.testing.assert_allclose(errors, np.sqrt([np.diag(normal) for normal in normals]), rtol=1e-12)
    with pytest.raises(ValueError, match="12 rows of terms, 3 of values"):
        _core.fitLinear(terms, second[:3])
