"""Every field of the configuration of sky, detection and stamps: setting it changes pixels or counts, or raises."""

import functools
import itertools
import math

import numpy as np
import pytest
from astropy.table import Table
from lsst.pex.config import FieldValidationError

from psfmatch.config import (
    DetectionConfig,
    KernelOptions,
    PsfMatchConfigAL,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
)
from psfmatch.fit import KernelCandidateDetection, makeCandidateList, stampRules
from psfmatch.images import Exposure, Mask, MaskedImage
from psfmatch.sources import SourceDetectionTask, getSelectSources
from psfmatch.sources.background import estimateBackground, measureBackground
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.tasks.imagePsfMatch import ImagePsfMatchTask

effects = {}


def effectOf(Config, *names):
    """Register a test as the one of some fields."""

    def register(test):
        effects.update(dict.fromkeys(((Config, name) for name in names), functools.cache(test)))
        return test

    return register


configs = (DetectionConfig, SourceDetectionConfig, SourceMeasurementConfig, SubtractBackgroundConfig)
fields = [(Config, name) for Config in configs for name in Config._fields]


@pytest.mark.parametrize(("Config", "name"), fields, ids=lambda value: getattr(value, "__name__", value))
def test_field(Config, name):
    effects[Config, name]()


def test_everyFieldIsHere():
    assert set(effects) == set(fields)


# Stamps


def addStar(image, x, y, flux, sigma=1.6):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    image += flux / (2.0 * math.pi * sigma**2) * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


def noise(shape=(200, 200), sky=0.0, seed=0, sigma=1.0):
    return np.random.default_rng(seed).normal(sky, sigma, shape).astype(np.float32)


def setAll(config, values):
    for name, value in values.items():
        setattr(config, name, value)
    return config


@functools.cache
def kernelConfig(**values):
    config = PsfMatchConfigAL()
    setAll(config.detectionConfig, values)
    return config


def stampWidth(kernelSize=21, **values):
    image = MaskedImage(np.zeros((200, 200)), variance=np.ones((200, 200)))
    table = Table({"x": [100.0], "y": [100.0]})
    (candidate,), _ = makeCandidateList(
        image, image, table, stampRules(KernelOptions.fromConfig(kernelConfig(**values)), kernelSize)
    )
    return candidate["footprint"].bbox.width


@effectOf(DetectionConfig, "fpGrowKernelScaling", "scaleByFwhm", "fpGrowPix")
def stampsGrow():
    assert stampWidth() == 2 * 21 + 1
    assert stampWidth(fpGrowKernelScaling=2.0) == 2 * 42 + 1
    assert stampWidth(scaleByFwhm=False) == 2 * 30 + 1
    assert stampWidth(scaleByFwhm=False, fpGrowPix=12) == 2 * 12 + 1
    assert blocks(fpGrowPix=12)[0].bbox.width == blocks(fpGrowPix=10)[0].bbox.width + 4


@functools.cache
def footprintTask(**values):
    return KernelCandidateDetection(setAll(DetectionConfig(), {"fpGrowPix": 10} | values))


def blocks(**values):
    """Find footprints among blocks of 4, 20 and 600 pixels, and a faint one; others are on the science image."""
    template, science = np.zeros((200, 300), dtype=np.float32), np.zeros((200, 300), dtype=np.float32)
    template[100:102, 30:32] = template[100:104, 80:85] = template[100:120, 130:160] = 100.0
    template[100:104, 220:225] = 6.0
    science[50, 50:60] = 100.0
    planes = [MaskedImage(image, variance=np.full(image.shape, 4.0)) for image in (template, science)]
    planes[1].mask[105, 75] = planes[1].mask.getPlaneBitMask("CR")
    return footprintTask(**values).apply(*planes)


@effectOf(
    DetectionConfig, "detThreshold", "detThresholdType", "detOnTemplate", "fpNpixMin", "fpNpixMax", "badMaskPlanes"
)
def footprintsOfOneImage():
    # The faint block has 3 sigma of the variance plane, and 6 counts.
    assert [round(f.centroid[0]) for f in blocks()] == [82, 144]
    assert len(blocks(detThreshold=3.0)) == 2
    assert len(blocks(detThreshold=5.0, detThresholdType="value")) == 3
    assert [f.centroid for f in blocks(detOnTemplate=False)] == [(54.5, 50.0)]
    assert len(blocks(fpNpixMin=21)) == 1
    # The large block's middle, grown, unless large begins below 20 pixels.
    assert [f.bbox.width for f in blocks()] == [25, 21]
    assert [f.bbox.width for f in blocks(fpNpixMax=10)] == [21, 21]
    assert len(blocks(badMaskPlanes=("CR",))) == 1


# Measurement


@effectOf(SourceMeasurementConfig, "badMaskPlanes")
def flagsOfSources():
    image = noise()
    addStar(image, 100.0, 100.0, 1e4)
    planes = MaskedImage(image, variance=np.ones(image.shape))
    planes.mask[100, 100] = planes.mask.getPlaneBitMask("INTRP")
    table = Table({"x": [100.0], "y": [100.0]})
    found = [
        SourceMeasurementTask(config=setAll(SourceMeasurementConfig(), values)).run(table, Exposure(planes))
        for values in ({}, {"badMaskPlanes": ["INTRP"]})
    ]
    assert [bool(row["badCentre"][0]) for row in found] == [False, True]
    assert found[0]["psfFlux"][0] != found[1]["psfFlux"][0]


# Detection


@functools.cache
def makeTask(**values):
    config = SourceDetectionConfig()
    for name, value in ({"thresholdValue": 10.0, "reEstimateBackground": False} | values).items():
        group, _, last = name.rpartition("__")
        setattr(getattr(config, group) if group else config, last, value)
    return SourceDetectionTask(config=config)


def run(image, variance=1.0, mask=None, sigma=1.6, doSmooth=True, **values):
    planes = MaskedImage(np.array(image, dtype=np.float32), mask, np.full(np.shape(image), variance))
    return makeTask(**values).run(planes, sigma, doSmooth)


@functools.cache
def twoStars(distance=40.0, secondFlux=3e3, background=0.0):
    image = noise() + np.float32(background)
    addStar(image, 80.0, 100.0, 3e3)
    addStar(image, 80.0 + distance, 100.0, secondFlux)
    return image


def count(*args, **values):
    return len(run(*args, **values).sources)


@effectOf(SourceDetectionConfig, "minPixels")
def smallFootprints():
    image = np.zeros((50, 50))
    image[10, 10:12] = image[30, 10:20] = 100.0
    options = {"doSmooth": False, "thresholdType": "value"}
    assert [count(image, minPixels=n, **options) for n in (1, 2, 3, 11)] == [2, 2, 1, 0]


@effectOf(SourceDetectionConfig, "isotropicGrow", "combinedGrow", "nSigmaToGrow", "returnOriginalFootprints")
def grownFootprints():
    image = np.zeros((60, 60))
    image[20, 20] = image[20, 34] = 100.0
    options = {"doSmooth": False, "thresholdType": "value", "sigma": 3.0}

    def grown(**values):
        return run(image, **options, **values)

    # 2.4 sigma are 7 px: diamonds of 2 * 7 * 8 + 1 = 113 pixels that share the one at (20, 27).
    default = grown()
    assert (len(default.positive), default.positive.areas.tolist()) == (1, [225])
    assert default.sources["footprint"].tolist() == [0, 0]
    separate = grown(combinedGrow=False)
    assert separate.positive.areas.tolist() == [113, 113]
    assert sorted(separate.sources["footprint"]) == [0, 1]
    disc = grown(isotropicGrow=True, combinedGrow=False).positive
    # Pixels within 7 of the centre.
    assert disc.areas.tolist() == [149, 149]
    assert grown(nSigmaToGrow=1.0).positive.areas.tolist() == [25, 25]
    assert grown(nSigmaToGrow=0.0).positive.areas.tolist() == [1, 1]
    original = grown(returnOriginalFootprints=True)
    assert original.positive.areas.tolist() == [1, 1]
    assert original.detected.positive.areas.tolist() == [225]


@effectOf(SourceDetectionConfig, "thresholdValue", "thresholdType", "includeThresholdMultiplier")
def thresholds():
    # Smoothed noise is 1 / (sqrt(4 pi) 1.6) = 0.18, a smoothed peak flux / (4 pi 2.56): 93 = 529 sigma, and 12 sigma.
    image = twoStars(secondFlux=70.0)
    assert [count(image, thresholdValue=value) for value in (6.0, 10.0, 20.0, 700.0)] == [2, 2, 1, 0]
    assert count(image, thresholdType="value") == 1
    assert count(image, thresholdType="value", thresholdValue=100.0) == 0
    assert count(image, thresholdType="pixel_stdev", variance=4.0) == 1
    assert count(image, thresholdType="variance", thresholdValue=50.0) == 2
    assert count(image, thresholdType="variance", thresholdValue=100.0) == 1
    # A footprint that passes keeps all its pixels above the threshold itself.
    low, high = (run(image, includeThresholdMultiplier=value, nSigmaToGrow=0.0) for value in (1.0, 2.0))
    assert (len(low.sources), len(high.sources)) == (2, 1)
    assert high.positive.areas[0] == low.positive.areas.max()
    assert count(image, includeThresholdMultiplier=70.0) == 0


@effectOf(SourceDetectionConfig, "thresholdPolarity")
def polarity():
    image = twoStars(secondFlux=-2e3)
    found = {value: run(image, thresholdPolarity=value) for value in ("positive", "negative", "both")}
    assert [round(x) for x in found["positive"].sources["x"]] == [80]
    assert [round(x) for x in found["negative"].sources["x"]] == [120]
    both = found["both"].sources
    assert both["isNegative"].tolist() == [False, True]
    assert (both["flux"][0], both["peak"][0]) > (0.0, 0.0) > (both["flux"][1], both["peak"][1])
    assert [len(found["both"].positive), len(found["both"].negative)] == [1, 1]
    assert [len(found["positive"].positive), len(found["positive"].negative)] == [1, 0]


@effectOf(SourceDetectionConfig, "adjustBackground")
def adjustment():
    image = twoStars(secondFlux=100.0)
    # The fainter peak is 3.1 counts high when smoothed, the threshold 1.8.
    assert count(image) == 2
    result = run(image, adjustBackground=2.0)
    assert len(result.sources) == 1
    assert result.background == 2.0
    # Lower than the sky by half a threshold's step: nothing but the stars, and they are brighter.
    assert run(image, adjustBackground=-0.1).sources["flux"][0] > run(image).sources["flux"][0]


def select(image, **values):
    """As the task does: with the sky, and measured."""
    planes = MaskedImage(np.array(image, dtype=np.float32), variance=np.ones(np.shape(image)))
    plain = backgroundConfig(algorithm="NONE")
    return getSelectSources(Exposure(planes), makeTask(**values), measurementTask(), plain, 1.6)


@functools.cache
def measurementTask():
    return SourceMeasurementTask()


@effectOf(SourceDetectionConfig, "reEstimateBackground", "background")
def secondBackground():
    # 1 count of sky is left, a fifth of the threshold: it adds to every flux, 4 pi sigma^2 / 1 = 32 counts.
    image = twoStars(background=1.0)
    before = select(image)["psfFlux"]
    after = select(image, reEstimateBackground=True)["psfFlux"]
    np.testing.assert_allclose(before - after, 4.0 * math.pi * 1.6**2, rtol=0.05)
    none = select(image, reEstimateBackground=True, background__algorithm="NONE")["psfFlux"]
    np.testing.assert_array_equal(none, before)
    # With stars and all: a mean without clipping that does not leave out the sources is too high.
    careless = select(
        image, reEstimateBackground=True, background__ignoredPixelMask=("BAD",), background__statisticsProperty="MEAN"
    )
    assert (careless["psfFlux"] < after - 1.0).all()


@effectOf(SourceDetectionConfig, "doTempLocalBackground", "tempLocalBackground", "nPeaksMaxSimple")
def localBackground():
    # A halo of sigma 30 px and 500 counts with two lumps of 300 where it has 300: three peaks above 250 counts, of
    # which one does not stand out by as much from what is around it.
    image = noise((300, 300))
    addStar(image, 150.0, 150.0, 500.0 * 2.0 * math.pi * 900.0, sigma=30.0)
    for x, y in ((180.0, 150.0), (150.0, 180.0)):
        addStar(image, x, y, 330.0 * 2.0 * math.pi * 25.0, sigma=5.0)
    options = {"thresholdType": "value", "thresholdValue": 250.0}
    assert count(image, **options) == 2
    assert count(image, **options, doTempLocalBackground=False) == 3
    assert count(image, **options, nPeaksMaxSimple=3) == 3
    assert count(image, **options, tempLocalBackground__algorithm="NONE") == 3
    assert count(image, **options, tempLocalBackground__binSize=500, tempLocalBackground__algorithm="CONSTANT") == 3


@effectOf(SourceDetectionConfig, "doTempWideBackground", "tempWideBackground")
def wideBackground():
    x = np.arange(600)
    image = noise((300, 600)) + (0.1 * x).astype(np.float32)
    addStar(image, 100.0, 150.0, 3e3)
    options = {"thresholdType": "pixel_stdev"}
    # The ramp is detected as one large source.
    assert run(image, **options).positive.areas.max() > 5e4
    result = run(image, **options, doTempWideBackground=True)
    assert [round(v) for v in result.sources["x"]] == [100]
    flat = run(image, **options, doTempWideBackground=True, tempWideBackground__algorithm="CONSTANT")
    assert flat.positive.areas.max() > 1e4
    # Put back afterwards: nothing is added to the background of the measurement.
    assert result.background == 0.0


@effectOf(SourceDetectionConfig, "nSigmaForKernel")
def smoothingKernel():
    # A wider kernel leaves a wider border in which nothing is detected: 7 and 21 times 1.6 px, halved.
    image = noise()
    for x in (10.0, 60.0):
        addStar(image, x, 100.0, 3e3)
    assert count(image) == 2
    assert count(image, nSigmaForKernel=21.0) == 1


@effectOf(SourceDetectionConfig, "statsMask")
def maskedStars():
    mask = Mask(np.zeros((200, 200), dtype=np.int32))
    mask[90:111, 110:131] = mask.getPlaneBitMask("CR")
    assert count(twoStars(), mask=mask) == 2
    assert count(twoStars(), mask=mask, statsMask=("CR",)) == 1


# Sky


@functools.cache
def backgroundConfig(**values):
    return setAll(SubtractBackgroundConfig(), values)


def sky(image, mask=None, **values):
    return estimateBackground(MaskedImage(np.asarray(image, dtype=np.float32), mask), backgroundConfig(**values))


@effectOf(SubtractBackgroundConfig, "statisticsProperty")
def statistics():
    image = noise((256, 256), 100.0)
    image[np.random.default_rng(1).random(image.shape) < 0.2] += 50.0
    level = {name: sky(image, statisticsProperty=name).mean() for name in ("MEANCLIP", "MEAN", "MEDIAN")}
    # A fifth of the pixels is 50 higher; the median is the 0.5 / 0.8 quantile of the others, 0.32 sigma.
    assert level["MEAN"] == pytest.approx(110.0, abs=1.0)
    assert level["MEDIAN"] == pytest.approx(100.32, abs=0.1)
    assert level["MEANCLIP"] == pytest.approx(100.0, abs=0.1)


@effectOf(SubtractBackgroundConfig, "undersampleStyle")
def coarseGrid():
    image = noise((256, 256), 100.0)
    with pytest.raises(ValueError, match="approxOrderX=6 needs more than 6 super-pixels"):
        sky(image, undersampleStyle="THROW_EXCEPTION")
    grids = [
        measureBackground(MaskedImage(image), backgroundConfig(undersampleStyle=style)).values.shape
        for style in ("REDUCE_INTERP_ORDER", "INCREASE_NXNYSAMPLE")
    ]
    assert grids == [(3, 3), (7, 7)]


@effectOf(SubtractBackgroundConfig, "binSize", "binSizeX", "binSizeY")
def superPixels():
    image = noise((256, 256), 100.0)
    for values, shape in (
        ({}, (3, 3)),
        ({"binSize": 60}, (5, 5)),
        ({"binSizeX": 40}, (3, 7)),
        ({"binSizeY": 40}, (7, 3)),
        ({"binSize": 60, "binSizeX": 40, "binSizeY": 30}, (9, 7)),
    ):
        assert measureBackground(MaskedImage(image), backgroundConfig(**values)).values.shape == shape
        assert np.abs(sky(image, **values) - sky(image)).max() > 0.0 or not values


@functools.cache
def waves():
    y, x = np.mgrid[:256, :256]
    return (10.0 * np.sin(x / 25.0) + 0.01 * y).astype(np.float32)


@effectOf(SubtractBackgroundConfig, "algorithm", "useApprox")
def surfaces():
    names = ("CONSTANT", "LINEAR", "NATURAL_SPLINE", "AKIMA_SPLINE", "NONE")
    found = {name: sky(waves(), algorithm=name, useApprox=False, binSize=25) for name in names}
    found["fit"] = sky(waves(), binSize=25)
    assert np.ptp(found["CONSTANT"]) == 0.0
    assert not found["NONE"].any()
    assert not sky(waves(), algorithm="NONE").any()
    error = {name: np.abs(surface - waves())[:, 16:-16].max() for name, surface in found.items()}
    # Ten radians through eleven places: chords cut the crests, a polynomial of order 6 does not quite follow.
    spline = max(error["NATURAL_SPLINE"], error["AKIMA_SPLINE"])
    assert spline < min(error["LINEAR"], error["fit"])
    assert max(error["LINEAR"], error["fit"]) < error["CONSTANT"]
    for one, other in itertools.combinations(found.values(), 2):
        assert np.abs(one - other).max() > 0.1


@effectOf(SubtractBackgroundConfig, "ignoredPixelMask")
def ignoredPlanes():
    image = noise((256, 256), 100.0)
    image[:, :100] = 200.0
    mask = Mask(np.zeros(image.shape, dtype=np.int32))
    mask[:, :100] = mask.getPlaneBitMask("DETECTED")
    assert np.abs(sky(image, mask) - 100.0).max() < 0.5
    assert sky(image, mask, ignoredPixelMask=("BAD",)).max() > 190.0


@effectOf(SubtractBackgroundConfig, "isNanSafe")
def notFinite():
    # Always so.
    image = noise((256, 256), 100.0)
    image[::3, ::3] = np.nan
    assert np.abs(sky(image) - 100.0).max() < 0.5
    with pytest.raises(FieldValidationError, match=r"isNanSafe=True asks for what is always done.*leave it False"):
        setAll(SubtractBackgroundConfig(), {"isNanSafe": True}).validate()
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.afwBackgroundConfig.isNanSafe = True
    with pytest.raises(FieldValidationError, match="isNanSafe"):
        ImagePsfMatchTask(config=config)


@effectOf(SubtractBackgroundConfig, "approxOrderX", "approxOrderY")
def orders():
    error = [np.abs(sky(waves(), binSize=20, approxOrderX=order) - waves()).mean() for order in (1, 3, 6)]
    assert error[0] > error[1] > error[2]
    same = sky(waves(), binSize=20, approxOrderX=4, approxOrderY=4)
    np.testing.assert_array_equal(same, sky(waves(), binSize=20, approxOrderX=4))
    with pytest.raises(FieldValidationError, match="approxOrderY=3 with approxOrderX=6"):
        setAll(SubtractBackgroundConfig(), {"approxOrderY": 3}).validate()


@effectOf(SubtractBackgroundConfig, "weighting")
def weights():
    # A noisy right half 5 counts higher: by weight the constant stays with the quiet half.
    image = noise((256, 256), 100.0)
    image[:, 128:] += 5.0 + noise((256, 128), seed=1, sigma=20.0)
    options = {"useApprox": True, "approxOrderX": 0, "binSizeX": 65}
    assert sky(image, **options).mean() == pytest.approx(100.0, abs=0.5)
    assert sky(image, weighting=False, **options).mean() == pytest.approx(102.5, abs=0.5)
