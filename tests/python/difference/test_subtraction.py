"""The arithmetic of the difference: values, variances, what is flagged, and that inputs stay."""

import numpy as np
import pytest

from psfmatch import Box, LinearCombinationKernel, Mask, MaskedImage, subtract
from psfmatch.difference.subtraction import subtractMatchedScience, subtractMatchedTemplate
from psfmatch.kernels import Chebyshev2D, Polynomial2D, frameOf
from psfmatch.testing import simulatePair

SHAPE = (41, 50)
KERNEL = np.outer([0.1, 0.2, 0.4, 0.2, 0.1], [0.0, 0.3, 0.5, 0.1, 0.1]) * 1.2
INNER = np.s_[2:-2, 2:-2]


@pytest.fixture(scope="module")
def template():
    random = np.random.default_rng(3)
    return MaskedImage(random.normal(50.0, 20.0, SHAPE), variance=random.uniform(1.0, 4.0, SHAPE))


@pytest.fixture(scope="module")
def matched(template):
    return LinearCombinationKernel([KERNEL], [[1.0]]).convolve(template)


def scienceOf(template, background):
    """The template through the kernel by direct sums, plus a constant."""
    windows = np.lib.stride_tricks.sliding_window_view(template.image.astype(np.float64), KERNEL.shape)
    image = np.full(SHAPE, background)
    image[INNER] += np.tensordot(windows, KERNEL, axes=2)
    return MaskedImage(image, variance=np.full(SHAPE, 2.0))


@pytest.mark.parametrize("background", [0.0, 10.0])
def test_whatIsLeftIsTheBackground(template, matched, background):
    science = scienceOf(template, background)
    difference = subtractMatchedTemplate(science, matched, Polynomial2D([0.0]))
    # float32 values of 60: 4e-6 each, and sums of 25 products.
    np.testing.assert_allclose(difference.image[INNER], background, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(difference.variance[INNER], (science.variance + matched.variance)[INNER])
    assert not difference.mask.hasAny("NO_DATA")[INNER].any()
    assert difference.mask.hasAny("NO_DATA")[:2].all()


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("Function", [Chebyshev2D, Polynomial2D])
def test_backgroundFunctionsOfZero(template, matched, Function, order):
    science = scienceOf(template, 0.0)
    zero = Function(np.zeros((order + 1) * (order + 2) // 2), frameOf(Box(0, 0, *SHAPE[::-1])))
    difference = subtractMatchedTemplate(science, matched, zero)
    np.testing.assert_allclose(difference.image[INNER], 0.0, rtol=0, atol=1e-4)
    plane = Polynomial2D([1.0, 0.5, -0.25])
    tilted = subtractMatchedTemplate(science, matched, plane)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    np.testing.assert_allclose(tilted.image[INNER], -(1.0 + 0.5 * x - 0.25 * y)[INNER], rtol=0, atol=1e-4)


def test_theOtherDirectionHasTheScienceScale(template, matched):
    """(K * S + background - T) / sum K, so that a source of the science image alone keeps its sign and flux."""
    unmatched = scienceOf(template, 10.0)
    difference = subtractMatchedScience(matched, unmatched, Polynomial2D([10.0]), 1.2)
    np.testing.assert_allclose(difference.image[INNER], 0.0, rtol=0, atol=1e-4)
    expected = (matched.variance + unmatched.variance)[INNER] / 1.44
    np.testing.assert_allclose(difference.variance[INNER], expected, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_unusablePixelsAreFlagged(template, matched, value):
    science = scienceOf(template, 0.0)
    science.image[20, 20] = value
    science.variance[25, 25] = -1.0
    science.variance[30, 30] = np.inf
    before = science.image.copy(), science.variance.copy(), np.array(science.mask), matched.image.copy()
    difference = subtractMatchedTemplate(science, matched, Polynomial2D([0.0]))
    flagged = difference.mask.hasAny("NO_DATA")[INNER]
    assert sorted(map(tuple, np.argwhere(flagged) + 2)) == [(20, 20), (25, 25), (30, 30)]
    for plane, kept in zip((science.image, science.variance, science.mask, matched.image), before, strict=True):
        np.testing.assert_array_equal(plane, kept)


def test_imagesWithoutVarianceAreNotFlagged(template):
    """Without any variance nothing tells the pixels apart."""
    plain = MaskedImage(template.image)
    difference = subtractMatchedTemplate(plain, MaskedImage(template.image), Polynomial2D([0.0]))
    np.testing.assert_array_equal(difference.image, 0.0)
    assert not difference.mask.hasAny("NO_DATA").any()


def test_masksAreMatchedByName(template, matched):
    """Planes at other bits of the other image are moved; one that no pixel uses costs no bit."""
    science = scienceOf(template, 0.0)
    other = matched.copy()
    planes = {**other.mask.planes, "GHOST": 12, "UNUSED": 13}
    bits = np.array(other.mask)
    bits[10, 10] |= 1 << 12
    bits[11, 11] |= 1 << planes["CR"]
    difference = subtractMatchedTemplate(
        science, MaskedImage(other.image, Mask(bits, planes), other.variance), Polynomial2D([0.0])
    )
    assert difference.mask.hasAny("GHOST")[INNER].sum() == 1
    assert difference.mask.hasAny("GHOST")[10, 10]
    assert difference.mask.hasAny("CR")[11, 11]
    assert "UNUSED" not in difference.mask.planes
    assert "GHOST" not in science.mask.planes


def test_detectionsOfTheInputsDoNotStay(template, matched):
    """Planes that say what an image shows are not those of the difference; all others come along."""
    science = scienceOf(template, 0.0)
    other = matched.copy()
    names = "DETECTED", "DETECTED_NEGATIVE", "CR"
    for image, row in ((science, 12), (other, 14)):
        image.mask[row, 10:20] |= image.mask.getPlaneBitMask(names)
    before = np.array(science.mask), np.array(other.mask)
    difference = subtractMatchedTemplate(science, other, Polynomial2D([0.0]))
    assert not difference.mask.hasAny(names[:2]).any()
    assert difference.mask.hasAny("CR")[[12, 14], 10:20].all()
    for image, mask in zip((science, other), before, strict=True):
        np.testing.assert_array_equal(np.asarray(image.mask), mask)
    scaled = subtractMatchedScience(other, science, Polynomial2D([0.0]), 1.25)
    assert not scaled.mask.hasAny(names[:2]).any()


def test_thePositionOfTheFirstPixelCounts(template, matched):
    """The background is a function of parent pixels."""
    science = MaskedImage(matched.image, variance=matched.variance, xy0=(100, 200))
    moved = MaskedImage(matched.image, variance=matched.variance, xy0=(100, 200))
    difference = subtractMatchedTemplate(science, moved, Polynomial2D([1.0, 0.5, -0.25]))
    assert difference.xy0 == (100, 200)
    # 1 + 50 - 50 at (100, 200), and half a unit more per column: exact in float32.
    np.testing.assert_array_equal(difference.image[2, 2:-2], -(1.0 + 0.5 * np.arange(102, 148) - 0.25 * 202))


def test_theNumberOfThreadsChangesNothing(template, matched):
    science = scienceOf(template, 3.0)
    plane = Polynomial2D([1.0, 0.5, -0.25])
    one, two = (subtractMatchedTemplate(science, matched, plane, threads) for threads in (1, 2))
    for a, b in ((one.image, two.image), (one.variance, two.variance), (one.mask, two.mask)):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(("mode", "sign"), [("convolveTemplate", 1.0), ("convolveScience", -1.0)])
def test_backgroundIsAddedToTheMatchedImage(mode, sign):
    """Whichever image is convolved: matched + background is the other one."""
    pair = simulatePair(seed=4, size=256)
    science = pair.science.withPixels(pair.science.maskedImage.copy())
    level = 500.0
    science.image += level
    before, after = (subtract(pair.template, image, mode=mode, threads=1) for image in (pair.science, science))
    scale = 1.0 if mode == "convolveTemplate" else after.kernel.kernelSum(*science.getBBox().centre)
    x, y = science.getBBox().centre
    assert after.background(x, y) - before.background(x, y) == pytest.approx(sign * scale * level, rel=0.01)
    other = after.science if mode == "convolveTemplate" else after.template
    left = other.image[100:156, 100:156] - after.matched.image[100:156, 100:156] - after.background(x, y)
    assert abs(np.nanmedian(left)) < 0.02 * level
