"""Bad pixels that stand alone in even light: fewer results are flagged for them, and those have the noise they tell."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from psfmatch import Exposure, frontDoorConfig, subtract
from psfmatch.images import Box, Mask, MaskedImage
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel
from psfmatch.registration import Warper
from psfmatch.testing import simulatePair

SAFE = EdgeHandling(copyEdge=True, safeKernelFraction=0.05)


def gaussian(sigma, radius):
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.outer(line, line) / line.sum() ** 2


def fieldOf(seed, size=384, deadShare=0.01):
    """Return light without noise, and a noisy image of it with dead pixels."""
    generator = np.random.default_rng(seed)
    points = np.zeros((size, size))
    places = generator.integers(20, size - 20, (2, 250))
    points[tuple(places)] = np.minimum(300.0 / (1.0 - generator.uniform(0.0, 0.9999, 250)), 3e5)
    light = fftconvolve(points, gaussian(1.5, 10), mode="same")
    variance = np.maximum(light, 0.0) + 100.0
    image = light + np.sqrt(variance) * generator.normal(size=light.shape)
    isDead = generator.random(light.shape) < deadShare
    image[isDead] = 0.0
    return light, MaskedImage(image.astype(np.float32), Mask(isDead.astype(np.int32)), variance.astype(np.float32))


@pytest.mark.parametrize("side", [11, 21, 31, 61])
def test_noise(side):
    """On sky and on stars; the limits are 2 % and four times the error of the rms of so many results."""
    kernel = LinearCombinationKernel(gaussian(side / 7.0, side // 2)[None], [[1.0]])
    pulls = {"sky": [], "stars": []}
    before, after = [], []
    for seed in range(3):
        light, image = fieldOf(seed)
        generator = np.random.default_rng(100 + seed)
        truth = fftconvolve(light, kernel.computeImage(0, 0)[::-1, ::-1], mode="same")
        ownNoise = np.maximum(truth, 0.0) + 100.0
        result = kernel.convolve(image, SAFE, threads=1)
        difference = truth + np.sqrt(ownNoise) * generator.normal(size=truth.shape) - result.image
        inside = (slice(side, -side),) * 2
        isFlagged = [
            each.mask.hasAny("BAD")[inside]
            for each in (kernel.convolve(image, EdgeHandling(copyEdge=True), threads=1), result)
        ]
        assert not (isFlagged[1] & ~isFlagged[0]).any()
        pull = (difference / np.sqrt(result.variance + ownNoise))[inside]
        isStar = (truth > 10.0)[inside]
        isFreed = isFlagged[0] & ~isFlagged[1]
        pulls["sky"].append(pull[isFreed & ~isStar])
        pulls["stars"].append(pull[isFreed & isStar])
        before.append(isFlagged[0].mean())
        after.append(isFlagged[1].mean())
    assert np.mean(after) < 0.35 * np.mean(before)
    for values in map(np.concatenate, pulls.values()):
        assert values.std() == pytest.approx(1.0, abs=0.02 + 4.0 / np.sqrt(2.0 * values.size))


def test_brightLight():
    """In the core of a bright star a fill misses its peak, and counts as before."""
    light = 1e4 * gaussian(1.5, 20) / gaussian(1.5, 20).max()
    isDead = np.zeros(light.shape, dtype=np.int32)
    isDead[20, 20] = 1
    image = MaskedImage(light, Mask(isDead), light + 100.0)
    kernel = LinearCombinationKernel(gaussian(2.0, 7)[None], [[1.0]])
    strict = kernel.convolve(image, EdgeHandling(copyEdge=True), threads=1).mask
    np.testing.assert_array_equal(np.asarray(kernel.convolve(image, SAFE, threads=1).mask), np.asarray(strict))
    assert strict.hasAny("BAD").sum() > 20


def shifted(x, y):
    return x + 0.5, y + 0.5


def test_warp():
    _, image = fieldOf(1, 128)
    box = Box(0, 0, 128, 128)
    shares = [
        Warper(safeKernelFraction=each, threads=1).warpMaskedImage(image, shifted, box).mask.hasAny("BAD").mean()
        for each in (0.0, 0.2)
    ]
    assert shares[1] < 0.25 * shares[0]
    with pytest.raises(ValueError, match="safeKernelFraction is 1"):
        Warper(safeKernelFraction=1.0)


@pytest.mark.parametrize("value", [0.0, 3000.0])
def test_subtract(value):
    """1 % dead or hot pixels in the template of a pair whose kernel is broad."""
    pair = simulatePair(1, 384, templateFwhm=3.0, scienceFwhm=9.0, brightStars=200)
    template, science = (Exposure.fromArray(each.image) for each in (pair.template, pair.science))
    isWrong = np.random.default_rng(1).random(template.image.shape) < 0.01
    image = template.image.copy()
    image[isWrong] = value
    strict = frontDoorConfig()
    strict.kernel.active.safeKernelFraction = 0.0
    clean = subtract(template, science, threads=1)
    results = [subtract(Exposure.fromArray(image), science, config=config, threads=1) for config in (None, strict)]
    planes = ("BAD", "CR", "NO_DATA", "SAT", "EDGE")
    free, now, before = (each.difference.mask.hasAny(planes).mean() for each in (clean, *results))
    assert now < free + 0.06
    assert before > free + 0.25
    centre = clean.difference.getBBox().centre
    assert results[0].kernel.kernelSum(*centre) == pytest.approx(clean.kernel.kernelSum(*centre), rel=0.01)
    assert results[0].grade <= chr(ord(clean.grade) + 1)
