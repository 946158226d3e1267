"""Runs of masks that differ: as found over the whole image at once, wherever its strips end."""

from __future__ import annotations

import numpy as np
import pytest

from psfmatch.io.detection import _bitsOf, _runsOf


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 65536), (2, 65536), (257, 256), (300, 400)])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 1.0])
def testRunsAreThoseOfTheWholeImage(shape: tuple[int, int], fraction: float) -> None:
    rng = np.random.default_rng(3)
    mask = rng.integers(0, 512, shape).astype(np.int32)
    bits = np.where(rng.random(shape) < fraction, rng.integers(0, 512, shape), mask).astype(np.int32)
    differing = (bits ^ mask).ravel()
    expected = [0, *(i for i in range(1, differing.size) if differing[i] != differing[i - 1])]

    starts, values = _runsOf(bits, mask)

    assert starts.dtype == np.int32
    np.testing.assert_array_equal(starts, expected)
    np.testing.assert_array_equal(values, differing[expected])
    np.testing.assert_array_equal(_bitsOf(starts, values, mask), bits)
