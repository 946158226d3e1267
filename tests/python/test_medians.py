"""Medians of many sets of pixels at once, each against numpy's of its good values."""

import numpy as np
import pytest

from psfmatch.medians import medians


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
