"""Residual statistics of a stamp through the binding: which pixels count, and what is made of them."""

import numpy as np
import pytest

from psfmatch import _core

SIDE = 20
BAD, OTHER = 1, 2


def statistics(image, variance=1.0, mask=None, coreRadius=-1):
    image = np.asarray(image, dtype=np.float32)
    mask = np.zeros(image.shape, np.int32) if mask is None else mask
    return _core.residualStatistics(image, np.full(image.shape, variance, np.float32), mask, BAD, coreRadius=coreRadius)


@pytest.mark.parametrize("coreRadius", [-1, 3])
def test_withoutVarianceNoPixelCounts(coreRadius):
    assert statistics(np.ones((SIDE, SIDE)), 0.0, coreRadius=coreRadius).count == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constantStamps(value):
    found = statistics(np.full((SIDE, SIDE), value))
    assert (found.mean, found.rms, found.count) == (value, 0.0, SIDE**2)


def test_coreIsASquare():
    image = np.zeros((21, 21))
    image[7:14, 7:14] = 2.0
    found = statistics(image, 4.0, coreRadius=3)
    assert (found.mean, found.rms, found.count) == (1.0, 0.0, 7**2)


def test_ramp():
    y, x = np.mgrid[:SIDE, :SIDE]
    ramp = x + 2.3 * y
    found = statistics(ramp)
    # Values up to 63 as float32.
    assert found.mean == pytest.approx(ramp.mean(), rel=1e-6)
    assert found.rms == pytest.approx(ramp.std(ddof=1), rel=1e-6)


def test_onlyListedPlanesAreLeftOut():
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), np.int32)
    mask[:, 4] = OTHER
    assert statistics(x + 2.3 * y, mask=mask).count == SIDE**2
    mask[:, 4] = BAD | OTHER
    found = statistics(x + 2.3 * y, mask=mask)
    assert found.count == SIDE * (SIDE - 1)
    assert found.mean == pytest.approx(np.delete(x + 2.3 * y, 4, axis=1).mean(), rel=1e-6)
