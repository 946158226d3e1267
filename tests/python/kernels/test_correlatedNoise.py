"""Images that were resampled: their pixels share noise, and a convolution takes less of it off than variances say."""

import numpy as np
import pytest

from psfmatch import MaskedImage, applyKernel, frontDoorConfig, subtract
from psfmatch.difference import differenceNoise
from psfmatch.testing import simulatePair

SIDE, NOISE = 256, 6.0
PIXELS = np.array([0.25, 0.5, 0.25])


def smoothed(image):
    """Return the image under PIXELS along both axes, round the edges."""
    for axis in (0, 1):
        image = sum(weight * np.roll(image, step, axis) for weight, step in zip(PIXELS, (-1, 0, 1), strict=True))
    return image


def star(x, y, fluxes, sigma):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    light = np.zeros((SIDE, SIDE))
    for at, to, flux in zip(x, y, fluxes, strict=True):
        light += flux * np.exp(-0.5 * ((columns - at) ** 2 + (rows - to) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    return light


@pytest.fixture(scope="module")
def results():
    """Return the inputs and the result with independent noise, and both with shared noise."""
    generator = np.random.default_rng(21)
    x, y = generator.uniform(25, SIDE - 25, (2, 30))
    fluxes = 10 ** generator.uniform(3.5, 4.5, 30)
    config = frontDoorConfig()
    config.doDecorrelate = False
    made = []
    for isShared in (False, True):
        images = []
        for sigma in (1.2, 1.7):
            noise = generator.normal(size=(SIDE, SIDE))
            if isShared:
                # The squares of PIXELS sum to 3/8 along either axis: the variance plane is that of the pixel.
                noise = smoothed(noise) / 0.375
            light = star(x, y, fluxes, sigma)
            variance = np.full((SIDE, SIDE), NOISE**2, np.float32)
            images.append(MaskedImage((light + NOISE * noise).astype(np.float32), None, variance))
        made.append((images, subtract(*images, config=config)))
    return made


def test_independentNoiseNeedsNone(results):
    """The variance plane stays as it was propagated, and the sentence says within which limit."""
    _, result = results[0]
    assert result.varianceFactor == 1.0
    assert "left as it is" in result.explain()


def test_sharedNoiseIsFollowed(results):
    """The sky scatters by its noise to 2 %, of 60 000 pixels that share noise with nine others; the factor is told."""
    _, result = results[1]
    assert result.varianceFactor > 1.1
    # Beyond the border noise is no longer that of the images.
    inner = result.difference.maskedImage.subset(result.difference.getBBox().shrunk(result.kernel.shape[0] // 2))
    assert differenceNoise(inner).robustStdev == pytest.approx(1.0, abs=0.02)
    assert f"multiplied by {result.varianceFactor:.3f}" in result.explain()
    assert result.quality.varianceScale == pytest.approx(result.varianceFactor)


def test_factorIsReplayed(results, tmp_path):
    """A stored kernel makes the same variance plane again, bit for bit; and the configuration the same result."""
    images, result = results[1]
    result.storedKernel().writeFits(tmp_path / "kernel.fits")
    applied = applyKernel(tmp_path / "kernel.fits", *images)
    again = subtract(*images, config=result.config)
    for other in (applied, again):
        assert np.array_equal(other.difference.image, result.difference.image, equal_nan=True)
        assert np.array_equal(other.difference.variance, result.difference.variance, equal_nan=True)
    with pytest.raises(ValueError, match="cannot be multiplied by -1"):
        type(applied.stored.recipe)(varianceFactor=-1.0)


def test_oneExposureTwice():
    """Its difference is nothing, its noise is not: the variance stays, and the grade says that it cannot be."""
    image = simulatePair(3, 320, badFraction=0.0).science.image
    result = subtract(image, image.copy())
    assert result.varianceFactor == 1.0
    blank = np.isfinite(result.difference.image) & (np.asarray(result.difference.mask) == 0)
    assert np.median(np.abs(result.difference.image[blank])) < 0.05 * np.sqrt(
        np.median(result.difference.variance[blank])
    )
    assert "Do the images share their noise" in result.explain()
    assert result.grade == "F"
    assert any("of its predicted noise" in reason for reason in result.quality.reasons)
