"""The place at which the light of two images agrees: as by brute force, found with few sources, and not guessed."""

import math

import numpy as np
import pytest
from starFields import drawStars

from psfmatch.images import MaskedImage
from psfmatch.registration.correlation import (
    MIN_LIGHT,
    MIN_OVERLAP,
    Correlation,
    _coefficients,
    _fastSize,
    correlate,
)
from psfmatch.registration.turns import TURNS, UNTURNED, turned, turnedTo


@pytest.mark.parametrize(("shape", "other"), [((9, 12), (7, 15)), ((6, 6), (6, 6)), ((3, 20), (11, 4))])
def test_coefficientsByBruteForce(shape, other):
    rng = np.random.default_rng(1)
    science, template = (np.maximum(rng.normal(0.0, 1.0, size), 0.0) for size in (shape, other))
    found, weights = _coefficients(science, template)
    assert found.shape == (shape[0] + other[0] - 1, shape[1] + other[1] - 1)
    total = (science**2).sum(), (template**2).sum()
    nTold = 0
    for i, dy in enumerate(range(1 - shape[0], other[0])):
        for j, dx in enumerate(range(1 - shape[1], other[1])):
            pairs = [
                (science[y, x], template[y + dy, x + dx])
                for y in range(shape[0])
                for x in range(shape[1])
                if 0 <= y + dy < other[0] and 0 <= x + dx < other[1]
            ]
            a, b = np.array(pairs).T
            shares = (a**2).sum() / total[0], (b**2).sum() / total[1]
            if len(pairs) < MIN_OVERLAP * min(science.size, template.size) or min(shares) < MIN_LIGHT:
                assert found[i, j] == 0.0
                continue
            nTold += 1
            # Sums of a hundred terms of double precision, through Fourier transforms.
            assert found[i, j] == pytest.approx((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()), abs=1e-12)
            assert weights[i, j] == pytest.approx((shares[0] * shares[1]) ** 0.25, abs=1e-12)
    assert nTold > 20


def test_fastSizes():
    assert [_fastSize(n) for n in (1, 7, 11, 13, 121, 127, 767)] == [1, 8, 12, 15, 125, 128, 768]


def fewStars(seed, n, shape=(300, 340), fwhm=3.0, shift=(0.0, 0.0), span=(40.0, 260.0)):
    """The same stars of any seed, shifted."""
    places = np.random.default_rng(seed).uniform(*span, (n, 2)) + shift
    fluxes = 3e4 * 10.0 ** np.random.default_rng(seed + 100).uniform(size=n)
    return drawStars(*places.T, fluxes, shape, fwhm, np.random.default_rng(seed + 200))


@pytest.mark.parametrize("turn", TURNS)
def test_turnsAndShifts(turn):
    """A template of 4 stars that lies turned; another PSF."""
    science, other = fewStars(1, 4), fewStars(1, 4, fwhm=4.5, shift=(-31.0, 22.0))
    # The inverse of a turn is its transpose.
    back = (turn[0][0], turn[1][0]), (turn[0][1], turn[1][1])
    template = turned(other, back)
    found = correlate(template.maskedImage, science.maskedImage)
    assert found.isClear
    assert found.turn == turn
    # Whole pixels of discs that are smoothed to two pixels.
    np.testing.assert_allclose(found.shift, (-31, 22), atol=1.0)
    assert found.second < 0.75 * found.coefficient


def test_largeImagesAreSampled():
    """Samples three pixels apart, and the shift to a pixel all the same."""
    science = fewStars(3, 4, shape=(1000, 900))
    template = fewStars(3, 4, shape=(800, 1100), shift=(403.0, 317.0))
    found = correlate(template.maskedImage, science.maskedImage)
    assert found.isClear
    assert found.turn == UNTURNED
    np.testing.assert_allclose(found.shift, (403, 317), atol=1.0)


def test_whereTheyAreIsNoOtherPlace():
    science, template = fewStars(5, 4), fewStars(5, 4, fwhm=4.0, shift=(0.3, -0.2))
    found = correlate(template.maskedImage, science.maskedImage)
    assert found.coefficient > 0.7
    assert found.nominal == pytest.approx(found.coefficient)
    assert found.isClear
    assert not found.isElsewhere


def test_otherStarsAreNotBelieved():
    """Seven stars of each of two skies: nothing takes most of them onto each other."""
    pairs = [[fewStars(seed, 7, (150, 170), span=(15.0, 135.0)).maskedImage for seed in (s, s + 50)] for s in range(10)]
    found = [correlate(*pair).isClear for pair in pairs]
    assert sum(found) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40)),
        np.full((40, 40), np.nan),
        np.zeros((1, 1)),
        np.random.default_rng(1).normal(size=(3, 200)),
    ],
)
def test_withoutLight(image):
    dark = MaskedImage(image, variance=np.ones(image.shape))
    found = correlate(dark, fewStars(1, 4).maskedImage)
    assert not found.isClear
    assert correlate(dark, dark) == Correlation(UNTURNED, (0, 0), 0.0, 0.0, 0.0) or not correlate(dark, dark).isClear


def test_threadsDoNotMatter():
    images = fewStars(7, 5).maskedImage, fewStars(7, 5, shift=(60.0, 9.0)).maskedImage
    assert correlate(*images, threads=1) == correlate(*images, threads=3)


def test_shiftsAreThoseOfTurnedIndices():
    """A star at q of the science image lies at q + shift of the turned template."""
    science, template = fewStars(9, 3), turned(fewStars(9, 3, shift=(20.0, -12.0)), TURNS[1])
    found = correlate(template.maskedImage, science.maskedImage)
    y, x = np.unravel_index(template.image.argmax(), template.shape)
    there = turnedTo(found.turn, template.shape, np.array(float(x)), np.array(float(y)))
    y, x = np.unravel_index(science.image.argmax(), science.shape)
    np.testing.assert_allclose(np.array(there) - (x, y), found.shift, atol=1.5)
