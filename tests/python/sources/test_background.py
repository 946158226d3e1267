"""The sky under the stars: statistics in super-pixels and the surface through them."""

import functools

import numpy as np
import pytest

from psfmatch.config import SubtractBackgroundConfig
from psfmatch.images import MaskedImage
from psfmatch.sources.background import estimateBackground, measureBackground
from psfmatch.testing import simulatePair


def noise(shape, sky=100.0, seed=0, sigma=1.0):
    return np.random.default_rng(seed).normal(sky, sigma, shape).astype(np.float32)


@functools.cache
def makeConfig(**fields):
    config = SubtractBackgroundConfig()
    for name, value in fields.items():
        setattr(config, name, value)
    return config


def background(image, bad=None, **fields):
    return estimateBackground(MaskedImage(image, bad), makeConfig(**fields))


@pytest.mark.parametrize("value", [0.0, 100.0, -7.25, 1e5])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (1, 300), (128, 128), (300, 200)])
def test_backgroundOfAConstant(value, shape):
    sky = background(np.full(shape, value))
    assert sky.shape == shape
    assert sky.dtype == np.float32
    # Splines in float32.
    np.testing.assert_allclose(sky, value, rtol=1e-6)


def test_backgroundOfANoisyRamp():
    y, x = np.mgrid[:512, :512]
    ramp = 50.0 + 0.02 * x - 0.01 * y
    sky = background(noise((512, 512), 0.0) + ramp)
    # Each mesh of 128^2 pixels has 1 % of the noise; the spline cannot follow a slope of 0.02 in the outer half
    # meshes of 64 px.
    assert np.abs(sky - ramp)[64:-64, 64:-64].max() < 0.3
    assert np.abs(sky - ramp).max() < 64 * 0.03


def test_starsHardlyRaiseTheBackground():
    pair = simulatePair(seed=2, size=256, transients=0, backgroundVariation=0)
    sky = estimateBackground(pair.science.maskedImage, makeConfig(), ("SAT",))
    # Faint wings stay within the clipping: a quarter of the noise, which is 17 counts.
    assert np.abs(sky - 400.0).max() < 5.0


def test_badPixelsDoNotCountInTheBackground():
    image = noise((256, 300))
    bad = np.zeros(image.shape, dtype=bool)
    bad[:, :140] = True
    image[:, :100] = 1e6
    image[:, 100:140] = np.nan
    before = image.copy()
    sky = background(image, bad)
    assert np.isfinite(sky).all()
    assert np.abs(sky - 100.0).max() < 0.5
    np.testing.assert_array_equal(image, before)


def test_sizeOfTheMesh():
    x = np.mgrid[:256, :256][1]
    wave = (10.0 * np.sin(2.0 * np.pi * x / 128.0)).astype(np.float32)
    coarse, fine = (background(wave, binSizeX=size, useApprox=False) for size in (128, 16))
    # 3 super-pixels of 85 px average over two thirds of a wave; 17 of 15 px lower the crests by 2 %.
    assert np.abs(coarse - wave).max() > 8.0
    assert np.abs(fine - wave)[:, 8:-8].max() < 0.6
    # Straight on in the outer half super-pixels.
    assert np.abs(fine - wave).max() < 2.0
    alongY = background(wave.T, binSizeX=128, binSizeY=16, useApprox=False)
    # Splines in float32.
    np.testing.assert_allclose(alongY, fine.T, atol=1e-4)


@pytest.mark.parametrize("shape", [(129, 129), (257, 130), (257, 257), (300, 257)])
def test_backgroundOfASizeThatLeavesARest(shape):
    # The mesh must not end in cells of a single pixel. Cells of 64 pixels and more have 0.12 of noise.
    assert np.abs(background(noise(shape)) - 100.0).max() < 0.7


def test_backgroundOfAnImageThatIsMostlyBad():
    # No cell has half its pixels left, yet 26000 good pixels say what the sky is.
    image = noise((256, 256))
    bad = np.random.default_rng(1).random(image.shape) < 0.6
    image[bad] = 0.0
    assert np.abs(background(image, bad) - 100.0).max() < 0.5


def test_backgroundWithoutAGoodPixel():
    with pytest.raises(ValueError, match="no good pixel to estimate a background from"):
        background(np.full((50, 50), np.nan))


def clippedMean(values):
    """Three passes at three sigma from median and quartiles, written out."""
    centre = np.median(values)
    sigma = 0.741301109252801 * np.subtract(*np.percentile(values, [75, 25]))
    for _ in range(3):
        kept = values[np.abs(values - centre) <= 3.0 * sigma]
        centre, sigma = kept.mean(), kept.std()
    return centre, kept.var() / kept.size


@pytest.mark.parametrize("statistic", ["MEANCLIP", "MEAN", "MEDIAN"])
def test_statisticsOfSuperPixels(statistic):
    # 31 x 31 pixels or fewer each: all are looked at.
    rng = np.random.default_rng(3)
    image = rng.normal(50.0, 3.0, (60, 90)).astype(np.float32)
    image[rng.random(image.shape) < 0.1] = 500.0
    image[rng.random(image.shape) < 0.05] = np.nan
    image[5, 7], image[6, 7] = -1e30 if statistic != "MEAN" else 0.0, np.inf
    mask = rng.random(image.shape) < 0.1
    grid = measureBackground(MaskedImage(image, mask), makeConfig(binSize=29, statisticsProperty=statistic))
    # 60 // 29 + 1 rows, 90 // 29 + 1 columns, of nearly equal sides.
    assert grid.values.shape == (3, 4)
    assert grid.edgesX.tolist() == [0, 22, 45, 68, 90]
    assert grid.edgesY.tolist() == [0, 20, 40, 60]
    for j, i in np.ndindex(3, 4):
        part = np.s_[grid.edgesY[j] : grid.edgesY[j + 1], grid.edgesX[i] : grid.edgesX[i + 1]]
        pixels = image[part][~mask[part] & np.isfinite(image[part])].astype(np.float64)
        expected = {"MEANCLIP": clippedMean(pixels)[0], "MEAN": pixels.mean(), "MEDIAN": np.median(pixels)}
        # Offsets from the median are rounded to float32: 1e-7 of 450.
        assert grid.values[j, i] == pytest.approx(expected[statistic], abs=1e-4)
        if statistic == "MEANCLIP":
            assert grid.variances[j, i] == pytest.approx(clippedMean(pixels)[1], rel=1e-5)


def chebyshevImage(shape, coefficients):
    y, x = (np.linspace(-1.0, 1.0, 2 * n + 1)[1::2] for n in shape)
    return np.polynomial.chebyshev.chebgrid2d(y, x, coefficients)


@pytest.mark.parametrize("weighting", [True, False])
def test_polynomialOfTheGrid(weighting):
    # Of a plane the mean over a super-pixel is the value at its centre: float32 is all that errs.
    plane = chebyshevImage((300, 260), [[100.0, 7.0], [-3.0, 0.0]])
    sky = background(plane, binSize=20, statisticsProperty="MEAN", weighting=weighting)
    np.testing.assert_allclose(sky, plane, rtol=1e-6)
    # Order 6 bends by less than 36 over a side, 15 super-pixels: (36 / 15)^2 / 24 of the term, at the ends.
    curved = chebyshevImage((300, 260), np.diag([100.0, 0.0, 0.0, 1.0]))
    assert np.abs(background(curved, binSize=20) - curved).max() < 0.3
    assert np.abs(background(curved, binSize=20, approxOrderX=5) - curved).max() > 0.3


@pytest.mark.parametrize("holes", ["half", "corner", "scattered"])
def test_holesAreBridged(holes):
    image = noise((512, 512))
    bad = np.zeros(image.shape, dtype=bool)
    if holes == "half":
        bad[:, 256:] = True
    elif holes == "corner":
        bad[:200, :200] = True
    else:
        bad[:] = np.random.default_rng(1).random(image.shape) < 0.9
    image[bad] = 1e4
    for useApprox in (True, False):
        sky = background(image, bad, binSize=32, useApprox=useApprox)
        # 17 x 17 super-pixels of 900 pixels, 0.03 each (0.1 with a tenth of the pixels). Half a step beyond
        # the ends the spline has twice the noise, in corners 5 times; the polynomial far within a hole as much.
        error = 0.1 if holes == "scattered" else 0.03
        assert np.abs(sky - 100.0).max() < 15.0 * error


def test_interpolationOfAKnownCurve():
    # Along x only, with knots 16 px apart; linear between, straight on beyond.
    image = np.broadcast_to(np.sin(np.arange(256) / 20.0), (256, 256)).astype(np.float32)
    grid = measureBackground(MaskedImage(image), makeConfig(binSizeX=17, useApprox=False, algorithm="LINEAR"))
    knots, values = 0.5 * (grid.edgesX[1:] + grid.edgesX[:-1]) - 0.5, grid.values[0]
    x = np.arange(256)
    inside = (x >= knots[0]) & (x <= knots[-1])
    np.testing.assert_allclose(grid.image()[100][inside], np.interp(x, knots, values)[inside], atol=1e-6)
    slope = (values[1] - values[0]) / (knots[1] - knots[0])
    np.testing.assert_allclose(grid.image()[100][0], values[0] - slope * knots[0], atol=1e-6)


@pytest.mark.parametrize("algorithm", ["NATURAL_SPLINE", "AKIMA_SPLINE", "LINEAR"])
def test_interpolationGoesThroughTheGrid(algorithm):
    rng = np.random.default_rng(2)
    # Odd super-pixels have a pixel in their middle.
    image = np.repeat(np.repeat(rng.normal(size=(7, 9)), 17, axis=0), 17, axis=1).astype(np.float32)
    config = makeConfig(binSizeX=18, binSizeY=19, useApprox=False, algorithm=algorithm)
    grid = measureBackground(MaskedImage(image), config)
    assert grid.values.shape == (7, 9)
    sky = grid.image()
    np.testing.assert_allclose(sky[8::17, 8::17], grid.values, atol=1e-6)
    y, x = np.mgrid[0:119:7, 0:153:11]
    np.testing.assert_allclose(grid.at(x.ravel(), y.ravel()), sky[y, x].ravel(), atol=1e-6)
    # Without a kink but for the linear one: second differences are of the size of the curvature, not of a slope.
    if algorithm != "LINEAR":
        assert np.abs(np.diff(sky[8], 2)).max() < 0.5 * np.abs(np.diff(sky[8])).max()
        # A straight line stays one.
        line = np.broadcast_to(np.arange(153.0), (119, 153)).astype(np.float32)
        straight = measureBackground(MaskedImage(line), config).image()
        np.testing.assert_allclose(straight, line, atol=1e-4)


def test_naturalSplineHasContinuousCurvature():
    # The definition: equal second derivatives on both sides of a knot, none at the ends.
    rng = np.random.default_rng(5)
    image = np.repeat(np.repeat(rng.normal(size=(7, 9)), 17, axis=0), 17, axis=1).astype(np.float64)
    grid = measureBackground(
        MaskedImage(image), makeConfig(binSizeX=18, binSizeY=19, useApprox=False, algorithm="NATURAL_SPLINE")
    )
    step = 1e-3
    for knot in 8.0 + 17.0 * np.arange(9):
        left, right = (
            np.diff(grid.at(knot + side * step * np.arange(3), np.full(3, 8.0)), 2)[0] / step**2 for side in (-1, 1)
        )
        # Second differences of float64 at a step of 1e-3 err by 1e-9, and move by the third derivative, 1e-3 * step.
        assert left == pytest.approx(right, abs=1e-4)
        if knot in (8.0, 144.0):
            assert left == pytest.approx(0.0, abs=1e-4)


def test_coarseGrids():
    ramp = np.broadcast_to(np.linspace(0.0, 10.0, 200), (200, 200))
    grids = {"THROW_EXCEPTION": None, "REDUCE_INTERP_ORDER": 2.0, "INCREASE_NXNYSAMPLE": 0.2}
    curve = 10.0 * np.cos(ramp)
    for style, error in grids.items():
        if error is None:
            with pytest.raises(ValueError, match=r"approxOrderX=6 needs more than 6 super-pixels .* not 2"):
                background(curve, undersampleStyle=style)
            with pytest.raises(ValueError, match=r"AKIMA_SPLINE needs 5 super-pixels along each axis, not 2"):
                background(curve, undersampleStyle=style, useApprox=False)
            background(curve, undersampleStyle=style, binSize=30)
            continue
        # 10 radians are a wave and a half: order 1 knows nothing of it, order 6 through 7 super-pixels a good part.
        assert (np.abs(background(curve, undersampleStyle=style) - curve).mean() > 5.0) == (error == 2.0)


def test_maskedImageOfOnePixelRows():
    for shape in ((1, 5000), (17, 4000), (4000, 17)):
        assert np.abs(background(noise(shape), binSize=64) - 100.0).max() < 1.5


def test_finestGrid():
    # A super-pixel per pixel: the fit is to the pixels themselves.
    image = noise((40, 50))
    sky = background(image, binSize=1)
    # 28 coefficients of 2000 pixels: 0.12 of noise, up to 5 times that in the corners.
    assert np.abs(sky - 100.0).max() < 0.8
    np.testing.assert_allclose(background(image, binSize=1, useApprox=False), image, rtol=1e-6)
