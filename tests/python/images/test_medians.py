"""Medians, quantiles and robust widths, each against numpy's of the good values."""

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.images.medians import madSigma, median, medianAndSigma, medians, quantiles


def test_byHand():
    values = np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    good = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(medians(values, good), [2.0, 2.0, 1.0, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_asOneByOne(dtype):
    generator = np.random.default_rng(5)
    values = generator.normal(size=(40, 5, 7)).astype(dtype)
    good = generator.random(values.shape) < np.linspace(0.0, 1.0, 40)[:, None, None]
    # Nothing is asked of what is not good.
    values[~good & (generator.random(values.shape) < 0.5)] = np.nan
    expected = [
        np.median(own[use].astype(np.float64)) if use.any() else np.nan for own, use in zip(values, good, strict=True)
    ]
    np.testing.assert_array_equal(medians(values, good), expected)


def test_noSets():
    assert medians(np.empty((0, 4)), np.empty((0, 4), dtype=bool)).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int16])
def test_ofPartsOfArrays(dtype):
    values = np.random.default_rng(6).normal(0.0, 100.0, (60, 80, 3)).astype(dtype)[::-2, 3::3, 1]
    good = (np.arange(values.size).reshape(values.shape[::-1]) % 3 > 0).T
    taken = values[good].astype(np.float64)
    # The mean of two float32 in float32 may err by half a step, 1.2e-7 relative.
    assert median(values) == pytest.approx(np.median(values.astype(np.float64)), rel=1e-12)
    assert median(values, good) == pytest.approx(np.median(taken), rel=1e-12)
    np.testing.assert_allclose(quantiles(values, [0.1, 0.5, 0.93], good), np.quantile(taken, [0.1, 0.5, 0.93]))
    expected = 1.4826 * np.median(np.abs(taken - np.median(taken)))
    assert medianAndSigma(values, good) == pytest.approx((np.median(taken), expected), rel=1e-6)
    assert madSigma(values, good) == pytest.approx(expected, rel=1e-6)


def test_nanAndNothing():
    values = np.array([np.nan, 1.0, 2.0, np.inf, np.nan])
    assert median(values) == 2.0
    assert medianAndSigma(values)[1] == 1.4826
    nothing = np.zeros((3, 0), dtype=np.float32)
    assert np.isnan([median(nothing), *medianAndSigma(nothing), *quantiles(nothing, [0.0, 1.0])]).all()
    assert np.isnan(medians(nothing)).all()
    assert median(np.float64(3.0)) == 3.0


def test_wrongArrays():
    values = np.ones((2, 3))
    with pytest.raises(ValueError, match="values and good differ in shape"):
        median(values, np.ones((3, 2), dtype=bool))
    with pytest.raises(TypeError, match="good has dtype int64, must be bool"):
        median(values, np.ones((2, 3), dtype=np.int64))
    with pytest.raises(ValueError, match=r"fraction 1\.100000 is outside"):
        quantiles(values, [1.1])
    with pytest.raises(ValueError, match="values must have a first axis"):
        medians(np.float64(3.0))
    with pytest.raises(TypeError, match="values have dtype int64"):
        _core.quantiles(np.ones(3, dtype=np.int64), [0.5])
