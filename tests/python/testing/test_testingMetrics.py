"""Measures of a difference image: analytic cases, a perfect difference, and differences broken on purpose."""

import math

import numpy as np
import pytest

from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.testing import (
    backgroundPull,
    falseDetections,
    matchedFilter,
    robustSigma,
    simulatePair,
    starPull,
    transientCompleteness,
    transientFluxes,
    usableFraction,
)
from psfmatch.testing.convolving import correlateVarying


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=1, size=512, transients=20)


@pytest.fixture(scope="module")
def ideal(pair):
    return pair.idealDifference()


def psfOf(x=0.0, y=0.0, side=21):
    u = np.arange(side) - side // 2
    psf = np.exp(-((u - x) ** 2 + (u[:, None] - y) ** 2) / (2 * 1.6**2))
    return psf / psf.sum()


def test_perfectDifference(pair, ideal):
    truth = pair.truth
    # 1.4826 MAD of n normal pulls scatters by 1.17 / sqrt(n): some 1.2e5 sky pixels and 300 star pixels, five
    # sigma each. The variance's tiled kernel adds a part in a thousand.
    assert backgroundPull(ideal, truth) == pytest.approx(1, abs=0.02)
    robust, plain = starPull(ideal, truth)
    assert robust == pytest.approx(1, abs=0.3)
    assert plain == pytest.approx(1, abs=0.2)
    # Of twenty above 6 sigma those between 6 and 7 are missed now and then.
    assert transientCompleteness(ideal, truth) >= 0.9
    assert transientCompleteness(ideal, truth, leastSignalToNoise=9) == 1
    # One pixel in 1.7e6 exceeds five sigma; in 0.2 megapixels with 5 px correlation, hardly any.
    assert max(falseDetections(ideal, truth)) <= 10
    assert usableFraction(ideal) == pytest.approx(0.99, abs=1e-3)
    exposure = Exposure(ideal)
    assert backgroundPull(exposure, truth) == backgroundPull(ideal, truth)
    assert usableFraction(exposure) == usableFraction(ideal)


def test_wrongScaleIsSeen(pair, ideal):
    broken = ideal.copy()
    broken.image[...] -= np.float32(0.3) * (pair.truth.matched - np.float32(400))
    # 30 % of a star of S/N 90 spread over the 50 pixels within 4 px: a mean square of at least 15.
    assert starPull(broken, pair.truth)[1] > 3
    assert falseDetections(broken, pair.truth)[1] > 50
    assert backgroundPull(broken, pair.truth) == pytest.approx(1, abs=0.05)


def test_wrongVarianceIsSeen(pair, ideal):
    broken = ideal.copy()
    broken.variance[...] *= 4
    assert backgroundPull(broken, pair.truth) == pytest.approx(backgroundPull(ideal, pair.truth) / 2, rel=1e-5)


def test_signMatters(pair, ideal):
    flipped = ideal.copy()
    flipped.image[...] *= -1
    assert transientCompleteness(flipped, pair.truth) == 0
    fluxes, opposite = transientFluxes(ideal, pair.truth), transientFluxes(flipped, pair.truth)
    np.testing.assert_allclose(opposite["flux"], -np.asarray(fluxes["flux"]), rtol=1e-6)


def test_masksCount(ideal):
    masked = ideal.copy()
    masked.mask[:, :256] |= masked.mask.getPlaneBitMask("NO_DATA")
    masked.image[:, 300] = np.nan
    expected = 1 - masked.badPixels(("NO_DATA",)).mean()
    assert usableFraction(masked, ("NO_DATA",)) == pytest.approx(expected)
    assert usableFraction(masked, ()) > 0.99
    assert usableFraction(masked) < 0.5


def test_nothingToMeasure():
    pair = simulatePair(seed=1, size=64, transients=0, brightStars=0)
    difference = pair.idealDifference()
    assert math.isnan(transientCompleteness(difference, pair.truth))
    assert all(math.isnan(width) for width in starPull(difference, pair.truth))
    # The margins meet: no pixel of 64 x 64 is 32 px from all edges.
    assert math.isnan(backgroundPull(difference, pair.truth))
    assert falseDetections(difference, pair.truth) == (0, 0)
    assert math.isnan(robustSigma(np.empty(0)))


def test_robustSigma():
    values = np.random.default_rng(3).normal(5, 2, 100001)
    # 1.17 * 2 / sqrt(n) is 0.0074.
    assert robustSigma(values) == pytest.approx(2, abs=0.037)
    values[:1000] = 1e9
    assert robustSigma(values) == pytest.approx(2, abs=0.06)


def test_matchedFilterIsExact():
    psf = psfOf(0.3, -0.2)
    variance = np.random.default_rng(1).uniform(5, 20, (40, 50))
    image = np.zeros((40, 50))
    image[10:31, 15:36] = 123.0 * psf
    flux, error = matchedFilter(image, variance, psf, 25.3, 19.8)
    assert flux == pytest.approx(123, rel=1e-12)
    assert error == pytest.approx(np.sum(psf**2 / variance[10:31, 15:36]) ** -0.5, rel=1e-12)
    assert matchedFilter(image, 9.0, psf, 25.3, 19.8)[1] == pytest.approx(3 / math.sqrt(np.sum(psf**2)))


def test_matchedFilterSkipsBadPixels():
    psf = psfOf()
    image, variance = np.zeros((40, 50)), np.ones((40, 50))
    image[10:31, 15:36] = 7.0 * psf
    image[20, 25], image[21, 25], variance[21, 25], variance[22, 25], image[22, 25] = (
        np.nan,
        1e9,
        0.0,
        np.inf,
        -1e9,
    )
    flux, error = matchedFilter(image, variance, psf, 25, 20)
    assert flux == pytest.approx(7, rel=1e-12)
    assert error > np.sum(psf**2) ** -0.5


@pytest.mark.parametrize("place", [(2, 3), (48, 38), (-4, 20), (25, -8)])
def test_matchedFilterAtTheEdge(place):
    x, y = place
    psf = psfOf()
    image = np.zeros((40, 50))
    for row in range(40):
        for column in range(50):
            if abs(row - y) <= 10 and abs(column - x) <= 10:
                image[row, column] = 11 * psf[row - y + 10, column - x + 10]
    assert matchedFilter(image, 1.0, psf, x, y)[0] == pytest.approx(11, rel=1e-12)


def test_matchedFilterOffTheImage():
    flux, error = matchedFilter(np.zeros((40, 50)), 1.0, psfOf(), 300, 20)
    assert math.isnan(flux)
    assert error == math.inf
    with pytest.raises(ValueError, match="no variance plane"):
        matchedFilter(np.zeros((40, 50)), None, psfOf(), 20, 20)


def test_matchedFilterInParentCoordinates():
    psf = psfOf()
    image = np.zeros((40, 50), dtype=np.float32)
    image[10:31, 15:36] = 50 * psf
    masked = MaskedImage(image, variance=np.full_like(image, 4), xy0=(100, -30))
    # float32 pixels: 1e-7.
    assert matchedFilter(masked, None, psf, 125, -10)[0] == pytest.approx(50, rel=1e-6)
    assert matchedFilter(image, 4.0, psf, 25, 20)[1] == matchedFilter(masked, None, psf, 125, -10)[1]


def test_matchedFilterLeavesMaskedPixelsOut():
    psf = psfOf()
    image = np.zeros((40, 50), dtype=np.float32)
    image[10:31, 15:36] = 50 * psf
    image[20, 26] = 1e6
    masked = MaskedImage(image, variance=np.full_like(image, 4))
    assert matchedFilter(masked, None, psf, 25, 20)[0] > 1e4
    masked.mask[20, 26] |= masked.mask.getPlaneBitMask("BAD")
    assert matchedFilter(masked, None, psf, 25, 20)[0] == pytest.approx(50, rel=1e-6)
    assert matchedFilter(masked, None, psf, 25, 20, planes=("SAT", "NOT_A_PLANE"))[0] > 1e4


def test_correlationByBruteForce():
    generator = np.random.default_rng(2)
    image = generator.normal(size=(170, 201)).astype(np.float32)
    kernel = generator.normal(size=(9, 9))
    padded = np.pad(image.astype(np.float64), 4, mode="edge")
    expected = sum(kernel[j, i] * padded[j : j + 170, i : i + 201] for j in range(9) for i in range(9))
    result = correlateVarying(image, Box(10, 20, 201, 170), lambda x, y: kernel)
    # float32 transforms of values near 9: 1e-6 of that.
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_correlationFollowsTheKernel():
    places = []

    def kernelAt(x, y):
        places.append((x, y))
        return np.array([[x + 1000 * y]])

    image = np.ones((200, 200), dtype=np.float32)
    result = correlateVarying(image, Box(50, 60, 200, 200), kernelAt)
    x, y = places[1]
    assert result[0, 0] == pytest.approx(x + 1000 * y, rel=1e-5)
    assert (x, y) == (50 + 159 / 2, 60 + 159 / 2)
