"""The variance plane scaled to the sky: factors, with and without sources, and where it gives up."""

import numpy as np
import pytest

from psfmatch import InputImagesError, MaskedImage
from psfmatch.noise import scaleVariance
from psfmatch.testing import DENSE_FIELD, simulatePair


def sky(seed=1, shape=(512, 512), stdev=3.0):
    image = np.random.default_rng(seed).normal(100.0, stdev, shape)
    return MaskedImage(image, variance=np.full(shape, stdev**2))


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.345, 9.0])
def test_factorOfPureNoise(factor):
    image = sky()
    y, x = np.indices(image.shape)
    image.image += 0.05 * x - 0.02 * y
    image.variance /= factor
    scaled, found = scaleVariance(image)
    # 0.7413 IQR of 2.6e5 values: 0.23 % of the width, 0.46 % of its square; three times that.
    assert found == pytest.approx(factor, rel=0.015)
    np.testing.assert_allclose(scaled.variance, image.variance * found, rtol=1e-6)
    assert scaled.image is image.image
    assert scaled.mask is image.mask


def test_crowdedFieldWithoutFlags():
    """Sources hold a third of the pixels, none of which is flagged."""
    pair = simulatePair(2, 512, DENSE_FIELD, estimateVariance=True)
    for exposure in (pair.template, pair.science):
        image = MaskedImage(exposure.image, variance=exposure.variance / 1.345)
        # Errors of the width, and what faint wings add: HEAD's own test allows 0.05.
        assert scaleVariance(image)[1] == pytest.approx(1.345, abs=0.03)


def test_inputStays():
    image = sky()
    image.variance *= 2.0
    before = image.variance.copy()
    one, two = (scaleVariance(image, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(image.variance, before)
    np.testing.assert_array_equal(one[0].variance, two[0].variance)
    assert one[1] == two[1]


def test_variancesThatScatter():
    """Pixel by pixel the factor is too large; that of the typical variance is right."""
    image = sky(stdev=1.0)
    image.variance[np.random.default_rng(2).random(image.shape) < 0.3] /= 3.0
    assert scaleVariance(image)[1] > 1.2
    assert scaleVariance(image, maxFactor=1.2)[1] == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("factor", [30.0, 1e-9])
def test_wrongUnits(factor):
    image = sky()
    image.variance /= factor
    if factor < 1.0:
        # Noise below its variance is a matter of scale, however far.
        assert scaleVariance(image)[1] == pytest.approx(factor, rel=0.02)
        return
    with pytest.raises(InputImagesError, match=r"has (29\.\d|30\.?\d?) times the variance") as caught:
        scaleVariance(image)
    assert caught.value.maxFactor == 10.0
    assert caught.value.factor == pytest.approx(30.0, rel=0.02)


def test_constantImage():
    with pytest.raises(InputImagesError, match="has 0 times the variance"):
        scaleVariance(MaskedImage(np.ones((64, 64)), variance=np.ones((64, 64))))


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan, np.inf])
def test_nothingToTell(variance, caplog):
    image = MaskedImage(np.ones((40, 30)), variance=np.full((40, 30), variance))
    assert scaleVariance(image) == (image, 1.0)
    assert "Only 0 pixels of blank sky" in caplog.text
    one = MaskedImage([[1.0]], variance=[[1.0]])
    assert scaleVariance(one) == (one, 1.0)


def test_flaggedPixelsDoNotCount():
    image = sky()
    image.image[:, 200:] *= 5.0
    image.mask[:, 200:] = image.mask.getPlaneBitMask("DETECTED")
    assert scaleVariance(image)[1] == pytest.approx(1.0, rel=0.03)
