"""Correlations of blank sky: those of white noise, of smoothed noise, and none of sources."""

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage
from psfmatch.noise import measureWhiteness
from psfmatch.noise.blankSky import findBlankSky


def field(image, variance=1.0):
    return MaskedImage(image, variance=np.full(image.shape, variance))


@pytest.fixture(scope="module")
def white():
    return np.random.default_rng(4).normal(size=(512, 512))


def test_whiteNoise(white):
    found = measureWhiteness(field(white, 4.0))
    assert found.isWhite
    assert abs(found.lag1) < 4.0 * found.lagError
    assert abs(found.lag2) < 4.0 * found.lagError
    assert found.pullWidth == pytest.approx(0.5, abs=4.0 * found.pullWidthError)
    assert found.lagError == pytest.approx(0.5 / np.sqrt(found.nPixels), rel=0.06)
    assert found.correlations[2, 2] == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(found.correlations, found.correlations[::-1, ::-1])


def test_errorsAreThoseOfManyDraws():
    found = [measureWhiteness(field(np.random.default_rng(seed).normal(size=(128, 128)))) for seed in range(40)]
    # The scatter of 40 draws is known to 11 %; three times that.
    assert np.std([one.lag1 for one in found]) == pytest.approx(found[0].lagError, rel=0.35)
    assert np.std([one.lag2 for one in found]) == pytest.approx(found[0].lagError, rel=0.35)
    assert np.std([one.pullWidth for one in found]) == pytest.approx(found[0].pullWidthError, rel=0.35)
    assert abs(np.mean([one.lag1 for one in found])) < 3.5 * found[0].lagError / np.sqrt(40)


def test_noiseSmoothedAlongX(white):
    """(a + b) / sqrt 2 of neighbours: correlation 1/2 at one pixel along x, none elsewhere."""
    smooth = (white[:, 1:] + white[:, :-1]) / np.sqrt(2.0)
    found = measureWhiteness(field(smooth))
    assert found.correlations[2, 3] == pytest.approx(0.5, abs=0.01)
    assert found.correlations[3, 2] == pytest.approx(0.0, abs=0.01)
    assert found.correlations[3, 3] == pytest.approx(0.0, abs=0.01)
    assert found.lag1 == pytest.approx(0.125, abs=0.01)
    assert not found.isWhite


def test_sourcesAndGradientsDoNotCount(white):
    image = white.copy()
    y, x = np.indices(image.shape)
    random = np.random.default_rng(5)
    for _ in range(60):
        column, row = random.uniform(0, 512, 2)
        image += random.choice([-30.0, 100.0]) * np.exp(-0.5 * ((x - column) ** 2 + (y - row) ** 2) / 1.6**2)
    image += 0.01 * x
    image[::37, ::41] = np.nan
    found = measureWhiteness(Exposure(field(image)))
    assert abs(found.lag1) < 0.01
    assert found.pullWidth == pytest.approx(1.0, abs=0.01)
    blank = findBlankSky(field(image))
    assert 0.6 < blank.isBlank.mean() < 0.95
    assert np.abs(blank.pulls).max() < 6.0


def test_flaggedPixelsDoNotCount(white):
    image = field(white)
    image.image[100:, :] = np.repeat(white[100::2, :], 2, axis=0)
    image.mask[98:, :] = image.mask.getPlaneBitMask("EDGE")
    found = measureWhiteness(image)
    assert found.isWhite
    assert found.nPixels < 60_000


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (64, 70)])
def test_nothingToMeasure(shape):
    found = measureWhiteness(MaskedImage(np.full(shape, np.nan), variance=np.ones(shape)))
    assert found.nPixels == 0
    assert np.isnan([found.lag1, found.lag2, found.lagError, found.pullWidth]).all()
    assert not found.isWhite


def test_smallImages():
    found = measureWhiteness(field(np.random.default_rng(1).normal(size=(20, 1))))
    assert found.nPixels > 10
    assert np.isnan(found.lag1)
