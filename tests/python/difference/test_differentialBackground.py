"""The differential background from blank sky: where regions see little of it."""

import numpy as np
import pytest

from psfmatch import MaskedImage, frontDoorConfig, subtract
from psfmatch.difference.background import refineBackground
from psfmatch.images import Box, Mask
from psfmatch.kernels import makeSpatialFunction
from psfmatch.kernels.spatialFunction import frameOf
from psfmatch.testing import simulatePair

NOISE = 5.0
SHAPE = 200, 300
XY0 = 40, -20


def sky(order, seed=0):
    """Return a difference of noise and of a smooth background, the function that is its truth, and the frame."""
    generator = np.random.default_rng(seed)
    frame = frameOf(Box(*XY0, SHAPE[1], SHAPE[0]))
    truth = makeSpatialFunction("chebyshev1", generator.normal(size=(order + 1) * (order + 2) // 2), frame)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pixels = generator.normal(0.0, NOISE, SHAPE) + truth(columns + XY0[0], rows + XY0[1])
    return pixels, truth, frame


def masked(pixels, mask=None):
    return MaskedImage(pixels.astype(np.float32), mask, np.full(SHAPE, 0.5 * NOISE**2, np.float32), XY0)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_backgroundIsFound(order):
    """To the error of 60 000 pixels, which the covariance tells, beside stars, holes and what was known before."""
    pixels, truth, frame = sky(order)
    pixels[50:60, 100:110] += 300.0
    pixels[150:155, 30:35] -= 300.0
    pixels[:, 250:255] = np.nan
    mask = Mask(np.zeros(SHAPE, np.int32))
    mask[20:90, 180:240] |= mask.getPlaneBitMask("BAD")
    pixels[20:90, 180:240] = 1e5
    before = makeSpatialFunction(
        "chebyshev1", np.ones_like(truth.scaledParameters), frame, np.eye(len(truth.parameters))
    )
    # Half of the variance is that of the other image, whose own light goes off.
    light = 1000.0 * np.exp(-0.5 * ((np.arange(SHAPE[1]) - 70.0) / 3.0) ** 2) * np.ones((SHAPE[0], 1))
    science, matched = masked(pixels + light, mask), masked(light)
    kept = science.image.copy()
    found, blank = refineBackground(science, matched, before, threads=2)
    again, _ = refineBackground(science, matched, before)
    assert blank.nPixels > 40_000
    np.testing.assert_array_equal(found.scaledParameters, again.scaledParameters)
    errors = np.sqrt(np.diag(found.covariance))
    assert np.all(errors < 0.12)
    assert np.all(np.abs(found.scaledParameters - truth.scaledParameters) < 4.0 * errors)
    assert np.array_equal(kept, science.image, equal_nan=True)


def test_tooLittleSky():
    """The background stays what it was where all is masked, and where the image is smaller than three cells a term."""
    pixels, truth, _ = sky(2)
    mask = Mask(np.zeros(SHAPE, np.int32))
    mask[:] = mask.getPlaneBitMask("SAT")
    nothing = masked(np.zeros(SHAPE))
    assert refineBackground(masked(pixels, mask), nothing, truth)[0] is truth
    assert refineBackground(nothing, masked(pixels, mask), truth)[0] is truth
    small = MaskedImage(np.zeros((40, 40), np.float32), None, np.ones((40, 40), np.float32))
    assert refineBackground(small, small, truth)[0] is truth


def test_cornersOfSparseFields():
    """Stars in one half of the field: without the sky of the other, the background runs away there."""
    pair = simulatePair(3, 384, brightStars=150, faintStars=0, galaxies=0, variableFraction=0.0)
    stars = pair.truth.stars
    stars = stars[(stars["x"] < 190) & (stars["flux"] > 6e3)]
    ideal = pair.idealDifference()
    config = frontDoorConfig()
    config.doDecorrelate = config.doAssessQuality = False
    kernel = config.kernel.active
    kernel.update(fitMethod="regions", spatialKernelOrder=1, spatialBgOrder=2)
    far = np.s_[40:340, 250:340]
    left = []
    for refine in (False, True):
        kernel.regionConfig.refineBackground = refine
        result = subtract(pair.template, pair.science, config=config, candidateList=stars)
        left.append(abs(float(np.nanmedian(result.difference.image[far] - ideal.image[far]))))
    assert left[1] < 0.3
    assert left[1] < left[0]
