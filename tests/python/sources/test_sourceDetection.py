"""The sources on an image."""

import functools
import math

import numpy as np
import pytest

from psfmatch.config import (
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
)
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.sources import SourceDetectionTask, getSelectSources
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.testing import simulatePair

measurement = SourceMeasurementTask(config=SourceMeasurementConfig())
backgroundConfig = SubtractBackgroundConfig()
COLUMNS = ["id", "x", "y", "flux", "fluxErr", "snr", "peak", "a", "b", "npix", "flags", "isNegative", "footprint"]


@functools.cache
def makeTask(thresholdValue=10.0, **fields):
    config = SourceDetectionConfig()
    config.thresholdValue = thresholdValue
    for name, value in fields.items():
        setattr(config, name, value)
    return SourceDetectionTask(config=config)


def detect(image, variance=1.0, bad=None, sigma=1.6, doSmooth=True, xy0=(0, 0), **fields):
    """Detect on a background-free image."""
    image = np.asarray(image, dtype=np.float32)
    planes = MaskedImage(image, bad, np.broadcast_to(np.float32(variance), image.shape), xy0=xy0)
    return makeTask(**fields).run(planes, sigma, doSmooth=doSmooth).sources


def select(image, variance=1.0, mask=None, sigma=1.6, **fields):
    """Detect as the task does: sky, sources, measurement."""
    image = np.asarray(image, dtype=np.float32)
    planes = MaskedImage(image, mask, np.broadcast_to(np.float32(variance), image.shape))
    return getSelectSources(Exposure(planes), makeTask(**fields), measurement, backgroundConfig, sigma)


def addStar(image, x, y, flux, sigma=1.6):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    profile = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)
    image += flux / (2.0 * math.pi * sigma**2) * profile


def noise(shape, sky=100.0, seed=0, sigma=1.0):
    return np.random.default_rng(seed).normal(sky, sigma, shape).astype(np.float32)


def test_pixelsAboveAValue():
    image = np.zeros((60, 70))
    image[10:13, 20:24] = 7.0
    image[30, 40] = 4.9
    image[45, 60] = 6.0
    sources = detect(image, doSmooth=False, thresholdValue=5.0, thresholdType="value", xy0=(100, -50))
    assert sources.colnames == COLUMNS
    assert sources["id"].tolist() == [1, 2]
    # Brightest first; the middle of columns 20..23 and rows 10..12.
    np.testing.assert_allclose(sources["x"], [121.5, 160.0], atol=1e-6)
    np.testing.assert_allclose(sources["y"], [-39.0, -5.0], atol=1e-6)
    np.testing.assert_allclose(sources["flux"], [84.0, 6.0], rtol=1e-6)
    np.testing.assert_allclose(sources["peak"], [7.0, 6.0], rtol=1e-6)
    assert sources["npix"].tolist() == [12, 1]
    # Variance 1 in each pixel.
    np.testing.assert_allclose(sources["fluxErr"], np.sqrt([12.0, 1.0]), rtol=1e-6)
    np.testing.assert_allclose(sources["snr"], [84.0 / math.sqrt(12.0), 6.0], rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("minPixels", [1, 4])
def test_footprintsAgainstFloodFill(seed, minPixels):
    # Flat blocks, so that nothing can be taken apart.
    rng = np.random.default_rng(seed)
    image = np.zeros((60, 70))
    for _ in range(12):
        y, x, h, w = rng.integers(0, 56), rng.integers(0, 66), *rng.integers(1, 5, 2)
        image[y : y + h, x : x + w] = 10.0
    sources = detect(image, doSmooth=False, thresholdValue=5.0, thresholdType="value", minPixels=minPixels)
    remaining = {(y, x) for y, x in np.argwhere(image > 5.0).tolist()}
    expected = []
    while remaining:
        group, border = set(), [remaining.pop()]
        while border:
            y, x = border.pop()
            group.add((y, x))
            near = {(y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)} & remaining
            remaining -= near
            border += near
        if len(group) >= minPixels:
            expected.append((len(group), *np.mean(list(group), axis=0)))
    found = sorted((row["npix"], row["y"], row["x"]) for row in sources)
    np.testing.assert_allclose(found, sorted(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("thresholdType", "sigma", "unit"),
    [("value", 0.1, 1.0), ("stdev", 3.0, 3.0), ("variance", 3.0, 9.0), ("pixel_stdev", 0.1, 2.0)],
)
def test_unitsOfTheThreshold(thresholdType, sigma, unit):
    # Scatter sigma, and a variance plane of 2^2.
    image = noise((200, 200), 0.0, sigma=sigma)
    for x, peak in ((50, 4.7), (150, 5.3)):
        image[100, x] = peak * unit
    sources = detect(image, 4.0, thresholdType=thresholdType, thresholdValue=5.0, doSmooth=False)
    # The clipped scatter is known to 1 %, its square to 2 %; 5 sigma happen once in 3e6 pixels.
    assert [(int(s["x"] + 0.5), int(s["y"] + 0.5)) for s in sources] == [(150, 100)]


def test_pixelThresholdFollowsTheVariancePixelByPixel():
    # A quarter of the image is ten times as noisy.
    variance = np.ones((200, 200), dtype=np.float32)
    variance[:, 150:] = 100.0
    image = noise((200, 200), 0.0) * np.sqrt(variance)
    addStar(image, 50.0, 100.0, 200.0)
    addStar(image, 175.0, 100.0, 2000.0)
    sources = detect(image, variance, thresholdType="pixel_stdev", thresholdValue=6.0)
    assert sorted(np.round(sources["x"]).astype(int)) == [50, 175]


def test_thresholdMultiplier():
    image = noise((200, 200), 0.0)
    # Peaks of 15 and 25 sigma of the smoothed image, whose noise is 1 / (sqrt(4 pi) sigma).
    for x, snr in ((50.0, 15.0), (150.0, 25.0)):
        addStar(image, x, 100.0, snr * math.sqrt(4.0 * math.pi) * 1.6)
    assert len(detect(image)) == 2
    assert len(detect(image, includeThresholdMultiplier=2.0)) == 1


def test_smoothingFindsFaintStars():
    image = noise((200, 200), 0.0)
    # S/N 20: a peak of 20 sqrt(4 pi) / (2 pi 1.6) = 7 sigma in one pixel.
    addStar(image, 80.3, 120.6, 20.0 * math.sqrt(4.0 * math.pi) * 1.6)
    (source,) = detect(image)
    # Error of a position: sigma / (S/N) = 0.08 px, times 1.4 for isophotal moments of a smoothed image.
    assert source["x"] == pytest.approx(80.3, abs=0.4)
    assert source["y"] == pytest.approx(120.6, abs=0.4)
    assert len(detect(image, doSmooth=False)) == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sigma", [1.0, 1.6, 3.0])
def test_noiseHoldsNoSource(seed, sigma):
    # Ten sigma do not happen, at the edges neither.
    assert len(select(noise((200, 220), seed=seed), sigma=sigma)) == 0


def test_simulatedStars():
    options = {"galaxies": 0, "brightStars": 150, "faintStars": 300, "badFraction": 0, "transients": 0}
    nBright = 0
    for seed in (0, 1):
        pair = simulatePair(seed=seed, size=320, saturation=math.inf, **options)
        sources = select(pair.science.image, pair.science.variance)
        stars = pair.truth.stars
        distance = np.hypot(*(sources[c][:, np.newaxis] - stars[c] for c in ("x", "y")))
        separation = np.hypot(*(np.subtract.outer(stars[c], stars[c]) for c in ("x", "y")))
        np.fill_diagonal(separation, np.inf)
        inside = np.minimum(np.minimum(stars["x"], stars["y"]), 319 - np.maximum(stars["x"], stars["y"])) > 12
        # S/N = flux / (sqrt(4 pi) 1.7 px * 17.5 counts) > 75; 15 px are 9 sigma.
        isBright = inside & (separation.min(axis=1) > 15.0) & (stars["flux"] > 8e3)
        nBright += np.count_nonzero(isBright)
        # Positions have sigma / (S/N) = 0.03 px of noise, sampling and neighbours add their share.
        assert distance[:, isBright].min(axis=0).max() < 0.2
        # Every source is at a star; blends may lie between two.
        assert np.mean(distance.min(axis=1) < 2.0) > 0.9
        assert (distance.min(axis=1) < 6.0).all()
    assert nBright > 15


def test_maskedPixelsAreNotDetected():
    image = noise((200, 200))
    addStar(image, 60.0, 60.0, 5e3)
    addStar(image, 140.0, 140.0, 5e3)
    mask = np.zeros(image.shape, dtype=bool)
    mask[132:149, 132:149] = True
    image[20, 100], image[100, 20], mask[20, 100] = 6e4, np.nan, True
    image[180, :] = 1e5
    mask[180, :] = True
    (source,) = select(image, mask=mask)
    assert source["x"] == pytest.approx(60.0, abs=0.1)
    assert source["y"] == pytest.approx(60.0, abs=0.1)


def test_variancesThatCannotBe():
    image, variance = noise((100, 100)), np.ones((100, 100))
    addStar(image, 50.0, 50.0, 5e3)
    variance[20:30, 20:30], variance[70, 70], variance[80, 20] = np.inf, np.nan, -1.0
    assert len(select(image, variance)) == 1


def test_noiselessImage():
    image = np.zeros((150, 150), dtype=np.float32)
    stars = [(40.25, 50.5, 1e4), (100.0, 45.75, 2e3), (70.0, 110.0, 500.0)]
    for x, y, flux in stars:
        addStar(image, x, y, flux)
    for variance in (0.0, 1.0):
        for sources in (detect(image, variance), select(image + 100.0, variance)):
            assert len(sources) == 3
            np.testing.assert_allclose(sources["x"], [x for x, _, _ in stars], atol=0.05)
            np.testing.assert_allclose(sources["y"], [y for _, y, _ in stars], atol=0.05)
            if variance == 0.0:
                assert np.isinf(sources["snr"]).all()


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_constantImage(variance):
    # Rounding of the sky is no source.
    for value in (0.0, 1.0, 100.0, 236.4325, -7116.8076, 8972.98894, 762.86627, 1e12):
        assert len(select(np.full((150, 170), value), variance)) == 0, value


@pytest.mark.parametrize("kind", ["nan", "masked", "variance"])
def test_imageWithoutAGoodPixel(kind):
    image, variance, mask = np.zeros((40, 50)), np.ones((40, 50)), np.zeros((40, 50), dtype=bool)
    if kind == "nan":
        image[:] = np.nan
    elif kind == "masked":
        mask[:] = True
    else:
        variance[:] = np.nan
    sources = select(image, variance, mask)
    assert len(sources) == 0
    assert sources.colnames[: len(COLUMNS)] == COLUMNS
    assert {"ra", "dec", "badCentre", "psfFlux", "ixx", "flagSaturated"} <= set(sources.colnames)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (3, 3), (5, 5), (5, 1), (7, 300), (8, 8)])
def test_tinyImages(shape):
    assert len(select(np.full(shape, 7.0))) == 0
    assert len(select(np.full(shape, np.nan))) == 0
    # Few pixels do not show their noise, but their variance does.
    for seed in range(10):
        assert len(select(noise(shape, seed=seed))) == 0, seed


def test_valuesNearTheEndOfFloat32():
    # Sums of such pixels are infinite: no positions come of them, nor warnings.
    image = np.clip(noise((64, 64), 0.0), -3.0, 3.0) * np.float32(1e38)
    for doSmooth in (True, False):
        sources = detect(image, doSmooth=doSmooth, thresholdType="pixel_stdev")
        assert np.isfinite(sources["x"]).all()


@pytest.mark.parametrize("sigma", [0.05, 60.0])
def test_widthsBeyondReason(sigma):
    image = noise((64, 64))
    addStar(image, 30.0, 30.0, 1e4)
    assert len(select(image, sigma=sigma)) <= 1


def test_mostlyBadImageHoldsNoSource():
    mask = np.random.default_rng(1).random((256, 256)) < 0.6
    assert len(select(noise((256, 256)), mask=mask)) == 0


def test_oneGoodPixel():
    mask = np.ones((50, 60), dtype=bool)
    mask[20, 30] = False
    assert len(select(noise((50, 60)), mask=mask)) == 0


@pytest.mark.parametrize("doSmooth", [True, False])
def test_viewsOfALargerImage(doSmooth):
    image = noise((120, 130), 0.0)
    addStar(image, 60.0, 50.0, 5e3)
    whole = MaskedImage(image, variance=np.ones(image.shape))
    part = whole.subset(Box(20, 10, 90, 95))
    (expected,) = makeTask().run(part.copy(), 1.6, doSmooth=doSmooth).sources
    (found,) = makeTask().run(part, 1.6, doSmooth=doSmooth).sources
    assert (found["x"], found["y"], found["flux"]) == (expected["x"], expected["y"], expected["flux"])
    assert found["x"] == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize("thresholdType", ["stdev", "pixel_stdev"])
def test_threadsDoNotChangeABit(thresholdType):
    rng = np.random.default_rng(3)
    image = noise((500, 1300), 0.0)
    for x, y, flux in zip(*rng.uniform(20.0, 480.0, (2, 60)), rng.uniform(-5e3, 5e3, 60), strict=True):
        addStar(image[:, 400:900], x, y, flux)
    planes = MaskedImage(image, rng.random(image.shape) < 0.01, np.ones(image.shape))
    task = makeTask(thresholdType=thresholdType, thresholdPolarity="both")
    expected = task.run(planes, 1.6)
    assert len(expected.sources) > 40
    for threads in (2, 3):
        found = task.run(planes, 1.6, threads=threads)
        for name in COLUMNS:
            np.testing.assert_array_equal(found.sources[name], expected.sources[name])
        for polarity in ("positive", "negative"):
            pixels = [getattr(result, polarity).where() for result in (found, expected)]
            np.testing.assert_array_equal(*pixels)


def test_imageIsNotChanged():
    image = noise((100, 100), 0.0)
    addStar(image, 50.0, 50.0, 1e4)
    planes = MaskedImage(image, variance=np.ones(image.shape))
    before = planes.copy()
    makeTask().run(planes, 1.6)
    for plane in ("image", "variance", "mask"):
        np.testing.assert_array_equal(np.asarray(getattr(planes, plane)), np.asarray(getattr(before, plane)))


def test_crowdInOneFootprint():
    # A plateau that connects 20 x 20 stars: each stands out with 1/400 of the whole, below the contrast of 1/200.
    image = np.zeros((240, 240), dtype=np.float32)
    image[2:238, 2:238] = 6.0
    rows, columns = np.mgrid[:240, :240]
    image += 300.0 * np.exp(-0.5 * ((rows % 12 - 6.0) ** 2 + (columns % 12 - 6.0) ** 2) / 1.5**2).astype(np.float32)
    options = {"doSmooth": False, "thresholdType": "value", "thresholdValue": 5.0, "doTempLocalBackground": False}
    assert len(detect(image, **options)) == 1
    # A hundred of them are above it; they are all found, each with its own pixels.
    sources = detect(image[:120, :120], **options)
    assert len(sources) == 100
    assert sources["npix"].sum() == (image[:120, :120] > 5.0).sum()
    np.testing.assert_allclose(np.sort(sources["x"] % 12), 6.0, atol=0.5)


def test_thousandsOfSources():
    image = noise((600, 600), 0.0)
    image[10:590:12, 10:590:12] += 300.0
    assert len(detect(image, sigma=1.0)) == 49**2
