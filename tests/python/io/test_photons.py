"""Photons added to a variance plane: against the sum written out, in place, and what is refused."""

import numpy as np
import pytest

from psfmatch.io.photons import addPhotons


@pytest.mark.parametrize("shape", [(300, 211), (1, 1), (1, 900)])
def test_againstTheSum(shape):
    image = np.random.default_rng(1).normal(100.0, 30.0, shape).astype(np.float32)
    image.flat[0], image.flat[-1] = np.nan, 500.0
    kept = image.copy()
    light = image.astype(float) - 90.0
    expected = 4.0 + np.where(light > 25.0, light, 0.0) / 1.7
    for threads in (1, 2, 7):
        variance = np.full(shape, 4.0, dtype=np.float32)
        addPhotons(variance, image, 1.7, level=90.0, least=25.0, threads=threads)
        np.testing.assert_allclose(variance, expected, rtol=1e-6)
    turned = np.full(shape[::-1], 4.0, dtype=np.float32)
    addPhotons(turned, image.T, 1.7, level=90.0, least=25.0)
    np.testing.assert_array_equal(turned.T, variance)
    np.testing.assert_array_equal(image, kept)


def test_whatIsRefused():
    image, variance = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)
    for gain in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="gain"):
            addPhotons(variance, image, gain, level=0.0, least=0.0)
    with pytest.raises(ValueError, match="one shape"):
        addPhotons(variance, image[:2], 1.0, level=0.0, least=0.0)
    np.testing.assert_array_equal(variance, 1.0)
