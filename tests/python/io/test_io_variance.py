"""Variances from noise planes, weights, gain and read noise, and the sky."""

import logging

import numpy as np
import pytest

from psfmatch.io import estimateVariance, skyScatter
from psfmatch.io.variance import varianceFromInverse, varianceFromSigma, varianceFromWeight


def makeSky(sigma=5.0, shape=(512, 640), seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(1000.0, sigma, shape).astype(np.float32)


# 80 blocks of 4096 pixels: each scatter is good to 1/sqrt(2*4096) = 1.1 per cent, their median to 1.25 times
# that over sqrt(80) = 0.15 per cent; four times this is 0.6 per cent. Clipping at 3 sigma instead of infinity
# adds below 0.1.
TOLERANCE = 0.007


def test_scatterOfPureNoise():
    assert skyScatter(makeSky()) == pytest.approx(5.0, rel=TOLERANCE)


def test_scatterIgnoresGradientsStarsNanAndBorders():
    sky = makeSky()
    y, x = np.mgrid[:512, :640].astype(np.float32)
    sky += 0.01 * x + 0.005 * y  # 0.6 counts over a block, 0.05 per cent of the scatter when squared
    rng = np.random.default_rng(4)
    for _ in range(150):
        cx, cy = rng.uniform(0, 640), rng.uniform(0, 512)
        sky += 3000 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8).astype(np.float32)
    sky[:, :40] = 0
    sky[rng.random(sky.shape) < 0.05] = np.nan
    before = sky.copy()
    # Wings of stars below 3 sigma stay in: 2 stars per block, about 90 pixels of 4096 within 1 to 3 sigma,
    # some 2 per cent.
    assert skyScatter(sky) == pytest.approx(5.0, rel=0.04)
    np.testing.assert_array_equal(sky, before)


@pytest.mark.parametrize("sigma", [0.3, 0.6, 1.2, 4.0])
def test_scatterOfWholeCounts(sigma):
    counts = np.round(makeSky(sigma) - 1000.25)
    # Rounding adds 1/12 to the variance (exactly so for sigma above 0.5); at 0.3 the distribution is not
    # normal any more.
    expected = np.sqrt(sigma**2 + 1 / 12)
    assert skyScatter(counts) == pytest.approx(expected, rel=0.03 if sigma > 0.5 else 0.25)


def test_scatterOfCorrelatedNoiseIsThatOfThePixels():
    noise = makeSky(1.0) - 1000
    smooth = sum(np.roll(noise, (j, i), (0, 1)) for j in (-1, 0, 1) for i in (-1, 0, 1)) / 3
    # Nine pixels share their noise: 9 times fewer independent ones.
    assert skyScatter(smooth) == pytest.approx(1.0, rel=3 * TOLERANCE)


@pytest.mark.parametrize(
    "image", [np.full((30, 40), 7.1, np.float32), np.full((3, 4), np.nan, np.float32), np.zeros((1, 1), np.float32)]
)
def test_scatterOfNothingIsZero(image):
    assert skyScatter(image) == 0.0


def test_scatterOfSmallAndMostlyEmptyImages():
    small = makeSky(shape=(20, 30))
    assert skyScatter(small) == pytest.approx(float(small.std()), rel=0.1)
    # Half of every block is missing: the finite pixels are taken together.
    sparse = makeSky(shape=(128, 128))
    sparse[np.arange(128) % 4 != 0] = np.nan
    assert skyScatter(sparse) == pytest.approx(5.0, rel=0.05)


def test_constantVarianceIsAnnounced(caplog):
    variance, source = estimateVariance(makeSky(), label="a.fits")
    assert source == "estimated from the sky"
    assert np.ptp(variance) == 0
    assert variance[0, 0] == pytest.approx(25.0, rel=2 * TOLERANCE)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "a.fits: no noise plane, variance taken as constant from the sky's scatter of" in caplog.text
    assert "Exposure.readFits(file, noise=...)" in caplog.text


def test_gainAndReadNoise(caplog):
    rng = np.random.default_rng(5)
    gain, readNoise = 2.5, 6.0
    electrons = rng.poisson(1000 * gain, (256, 256)) + rng.normal(0, readNoise, (256, 256))
    image = (electrons / gain).astype(np.float32)
    image[0, :3] = -20, 0, np.nan
    before = image.copy()
    variance, source = estimateVariance(image, gain, readNoise, "a.fits")
    assert source == "gain 2.5 e-/count, read noise 6 e-"
    np.testing.assert_array_equal(image, before)
    expected = np.maximum(image.astype(float), 0) / gain + (readNoise / gain) ** 2
    # Three float32 operations.
    np.testing.assert_allclose(variance, expected, rtol=2e-7)
    assert variance[0, 0] == variance[0, 1] == np.float32(5.76)
    assert "made from gain 2.5 e-/count, read noise 6 e-" in caplog.text
    assert "was the sky subtracted" not in caplog.text


@pytest.mark.parametrize(("offset", "gain"), [(-1000, 40.0), (0, 4.0)])
def test_gainThatContradictsTheSkyIsAnnounced(caplog, offset, gain):
    estimateVariance(makeSky() + np.float32(offset), gain, 1.0)
    assert "the sky scatters by" in caplog.text
    assert "was the sky subtracted" in caplog.text


@pytest.mark.parametrize(
    ("gain", "readNoise", "match"),
    [
        (0.0, None, "gain=0.0 e-/count is not a positive number"),
        (float("nan"), None, "gain=nan"),
        (1.0, -1.0, "readNoise=-1.0 e- is not a number from 0 up"),
        (None, 5.0, "readNoise=5.0 e- was given without gain"),
    ],
)
def test_senselessGain(gain, readNoise, match):
    with pytest.raises(ValueError, match=match):
        estimateVariance(makeSky(), gain, readNoise)


def test_squaredNoiseKeepsSignsAndNan():
    sigma = np.array([[2, 0, -3, np.nan, np.inf]], dtype=np.float32)
    np.testing.assert_array_equal(varianceFromSigma(sigma, ""), [[4, 0, -9, np.nan, np.inf]])


def test_noiseTooSmallForFloat32IsAnnounced(caplog):
    varianceFromSigma(np.full((2, 2), 3e-20, dtype=np.float32), "flux.fits")
    assert "flux.fits: the noise is below 3.0e-20 everywhere" in caplog.text
    assert "multiply image and noise by about 3e+19" in caplog.text


def test_inverseVariance():
    inverse = np.array([[4, 0, -1, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(varianceFromInverse(inverse), [[0.25, np.inf, np.inf, np.inf]])


def test_relativeWeightsAreScaledToTheSky(caplog):
    image = makeSky()
    weight = np.full(image.shape, 700.0, dtype=np.float32)
    weight[:, :64] = 350.0
    weight[0] = 0
    image[0] = 1e6
    variance = varianceFromWeight(weight, image, "w.fits")
    assert variance[1, 100] == pytest.approx(25.0, rel=2 * TOLERANCE)
    assert variance[1, 0] == pytest.approx(2 * variance[1, 100], rel=1e-6)
    assert np.isinf(variance[0]).all()
    assert "w.fits: weights taken as relative" in caplog.text
