"""The noise of a difference beside its variance plane."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.difference import differenceNoise
from psfmatch.images import Box, MaskedImage

quick = settings(max_examples=30, deadline=None, derandomize=True)


def makeDifference(scale=1.0, offset=0.0, shape=(300, 300), seed=0):
    rng = np.random.default_rng(seed)
    variance = rng.uniform(1.0, 9.0, shape)
    image = (scale * rng.normal(size=shape) + offset) * np.sqrt(variance)
    return MaskedImage(image, variance=variance)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1.5, 0.0), (0.5, 2.0), (3.0, -1.0)])
def test_noiseOfADifference(scale, offset):
    noise = differenceNoise(makeDifference(scale, offset))
    # A median of n values has 1.25 / sqrt(n) sigma, the deviation from the MAD 1.17 / sqrt(n); n = 90 000; four sigma.
    assert noise.nPixels == 90_000
    assert noise.robustStdev == pytest.approx(scale, rel=4 * 1.17 / 300)
    assert noise.median == pytest.approx(offset, abs=4 * 1.25 / 300 * scale)


def test_noiseAgainstItsDefinition():
    difference = makeDifference(shape=(41, 53))
    pull = (difference.image.astype(float) / np.sqrt(difference.variance.astype(float))).ravel()
    noise = differenceNoise(difference)
    # Pulls in float32.
    assert noise.median == pytest.approx(np.median(pull), abs=1e-6)
    assert noise.robustStdev == pytest.approx(1.4826 * np.median(np.abs(pull - np.median(pull))), rel=1e-6)


def test_starsDoNotSpoilTheNoise():
    difference = makeDifference()
    clean = differenceNoise(difference)
    difference.image[::20, ::20] += 1e5
    noise = differenceNoise(difference)
    # A quarter of a percent of the pixels moves the quantiles by as much.
    assert noise.robustStdev == pytest.approx(clean.robustStdev, rel=0.01)
    assert noise.median == pytest.approx(clean.median, abs=0.01)


@pytest.mark.parametrize("plane", ["BAD", "SAT", "CR", "EDGE", "NO_DATA", "DETECTED", "DETECTED_NEGATIVE"])
def test_maskedPixelsAreLeftOut(plane):
    difference = makeDifference(shape=(50, 60))
    expected = differenceNoise(difference.subset(Box(0, 0, 60, 20)))
    difference.image[20:] = 1e6
    difference.mask[20:] = difference.mask.getPlaneBitMask(plane)
    assert differenceNoise(difference) == expected
    assert expected.nPixels == 1200
    assert differenceNoise(difference, excludePlanes=()).nPixels == 3000
    assert differenceNoise(difference, excludePlanes=(plane, "UNKNOWN")) == expected


def test_valuesThatCannotBeUsedAreLeftOut():
    difference = makeDifference(shape=(50, 60))
    expected = differenceNoise(difference.subset(Box(0, 7, 60, 43)))
    for row, (image, variance) in enumerate(
        [(np.nan, 1), (np.inf, 1), (-np.inf, 1), (0, np.nan), (0, np.inf), (0, -1), (5, 0)]
    ):
        difference.image[row], difference.variance[row] = image, variance
    assert differenceNoise(difference) == expected


def test_noiseWithoutAPixel():
    for difference in (MaskedImage(np.zeros((4, 5))), MaskedImage(np.full((4, 5), np.nan), variance=np.ones((4, 5)))):
        noise = differenceNoise(difference)
        assert math.isnan(noise.robustStdev)
        assert math.isnan(noise.median)
        assert noise.nPixels == 0


def test_noiseOfOnePixel():
    noise = differenceNoise(MaskedImage([[6.0]], variance=[[4.0]]))
    assert (noise.robustStdev, noise.median, noise.nPixels) == (0.0, 3.0, 1)


@quick
@given(st.integers(1, 90_000))
def test_regularGridOfPixels(maxPixels):
    noise = differenceNoise(makeDifference(), maxPixels=maxPixels)
    step = max(1, math.isqrt(90_000 // maxPixels))
    assert noise.nPixels == len(range(0, 300, step)) ** 2
    # A step of whole pixels takes at most four times as many as wanted, and rounding at the edges.
    assert noise.nPixels <= 4 * maxPixels + 4 * math.sqrt(maxPixels) + 1


@quick
@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_noiseHasNoUnit(scale, seed):
    difference = makeDifference(1.2, 0.3, shape=(20, 20), seed=seed)
    scaled = difference.copy()
    scaled *= scale
    first, second = differenceNoise(difference), differenceNoise(scaled)
    # The scaled pixels are rounded to float32.
    assert second.robustStdev == pytest.approx(first.robustStdev, rel=1e-5)
    assert second.median == pytest.approx(first.median, abs=1e-5)
