"""What detectors leave in a difference: levels of the sky at its border, rings and lines of saturated stars."""

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage, _core, applyKernel, frontDoorConfig, subtract
from psfmatch.difference import SubtractionRecipe, flagSaturationTraces
from psfmatch.difference.background import BorderLevels, findBorderLevels
from psfmatch.sources import flagStreaks
from psfmatch.testing import simulatePair

SIZE = 320
SAT = 1 << 1


def noise(seed=0, shape=(SIZE, SIZE), sigma=1.0, xy0=(0, 0)):
    rng = np.random.default_rng(seed)
    image = rng.normal(0.0, sigma, shape).astype(np.float32)
    mask = np.zeros(shape, dtype=np.int32)
    return MaskedImage(image, mask, np.full(shape, sigma**2, dtype=np.float32), xy0)


def distancesTo(x, y, shape=(SIZE, SIZE), radius=6.0):
    """Distance of all pixels to the nearest of a disc, by loops over its pixels."""
    rows, columns = np.indices(shape)
    inside = np.argwhere(np.hypot(rows - y, columns - x) <= radius)
    return np.min([np.hypot(rows - j, columns - i) for j, i in inside], axis=0)


def withDisc(image, x, y, radius=6.0):
    rows, columns = np.indices(image.shape)
    np.asarray(image.mask)[np.hypot(rows - y, columns - x) <= radius] |= SAT
    return image


def isSaturated(image):
    return (np.asarray(image.mask) & SAT) != 0


# Rings


@pytest.mark.parametrize(("height", "reach"), [(2.0, 5), (-3.0, 9), (40.0, 14)])
def test_ringsAreThoseThatDistancesTell(height, reach):
    image = withDisc(noise(1), 150, 160)
    distance = distancesTo(150, 160)
    image.image[(distance > 0) & (distance <= reach)] += np.float32(height)
    traces = flagSaturationTraces(image, 20)
    np.testing.assert_array_equal(isSaturated(image), distance <= reach)
    assert (traces.nStars, traces.nRings, traces.nLined) == (1, 1, 0)
    assert traces.nRingPixels == np.count_nonzero((distance > 0) & (distance <= reach))
    assert "of 1 clump of pixels with SAT in the difference 1 lie in rings" in traces.sentence
    assert f"{traces.nRingPixels} pixels, and 0 on rows" in traces.sentence


def test_ringsOfScatterWithoutALevel():
    image = withDisc(noise(2), 150, 160)
    distance = distancesTo(150, 160)
    near = (distance > 0) & (distance <= 6)
    image.image[near] *= np.float32(4.0)
    flagSaturationTraces(image, 20)
    np.testing.assert_array_equal(isSaturated(image), distance <= 6)


def test_ringsEndAtTheKernel():
    image = withDisc(noise(3), 150, 160)
    image.image += np.float32(0.0)
    distance = distancesTo(150, 160)
    image.image[distance <= 40] += np.float32(5.0)
    flagSaturationTraces(image, 12)
    np.testing.assert_array_equal(isSaturated(image), distance <= 12)


def test_ringsAtTheBorder():
    image = withDisc(noise(4), 2, 160)
    distance = distancesTo(2, 160)
    image.image[(distance > 0) & (distance <= 5)] += np.float32(4.0)
    flagSaturationTraces(image, 20)
    np.testing.assert_array_equal(isSaturated(image), distance <= 5)


# Lines


@pytest.mark.parametrize("isColumn", [False, True])
@pytest.mark.parametrize(("height", "first", "end"), [(3.0, 150, SIZE), (-2.0, 0, 150), (8.0, 0, SIZE)])
def test_lines(height, first, end, isColumn):
    image = withDisc(noise(5), 150, 150)
    pixels, flags = (each.T if isColumn else each for each in (image.image, np.asarray(image.mask)))
    pixels[149:152, first:end] += np.float32(height)
    before = isSaturated(image)
    traces = flagSaturationTraces(image, 20)
    isLine = np.zeros((SIZE, SIZE), dtype=bool)
    isLine[149:152, first:end] = True
    found = (flags & SAT) != 0
    assert found[isLine].all()
    assert not (found & ~isLine & ~(before.T if isColumn else before)).any()
    assert (traces.nRings, traces.nLined) == (0, 1)


def test_linesEndWhereTheyEnd():
    image = withDisc(noise(6), 60, 150)
    image.image[150, 60:190] += np.float32(4.0)  # 123 px beyond the star: 3.8 runs
    flagSaturationTraces(image, 20)
    columns = np.flatnonzero(isSaturated(image)[150])
    assert columns[0] == 54
    assert 189 <= columns[-1] <= 66 + 4 * 32


def test_oneBrightSourceBesideAStarIsNoLine():
    image = withDisc(noise(7), 150, 150)
    rows, columns = np.indices(image.shape)
    image.image += (1000.0 * np.exp(-0.5 * ((columns - 175) ** 2 + (rows - 150) ** 2) / 9.0)).astype(np.float32)
    assert flagSaturationTraces(image, 20) is None or not isSaturated(image)[150, 190:].any()


@pytest.mark.parametrize("seed", range(10))
def test_noiseIsLeftAsItIs(seed):
    image = noise(seed)
    rng = np.random.default_rng(1000 + seed)
    for x, y in rng.uniform(10, SIZE - 10, (12, 2)):
        withDisc(image, x, y, 3.0)
    before = np.asarray(image.mask).copy()
    assert flagSaturationTraces(image, 20) is None
    np.testing.assert_array_equal(np.asarray(image.mask), before)


def test_unitsAndThreadsDoNotMatter():
    results = []
    for scale, threads in ((1.0, 1), (1.0, 2), (1.0, 7), (1024.0, 1)):
        image = noise(8)
        for x in (60, 150, 250):
            withDisc(image, x, 150)
        image.image[150, 150:] += np.float32(3.0)
        scaled = MaskedImage(image.image * np.float32(scale), image.mask, image.variance * np.float32(scale**2))
        flagSaturationTraces(scaled, 20, threads)
        results.append(isSaturated(scaled))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (64, 64)])
@pytest.mark.parametrize("kind", ["nan", "masked", "saturated", "whole"])
def test_nothingToTell(shape, kind):
    image = noise(9, shape)
    if kind == "nan":
        image.image[:] = np.nan
    if kind == "masked":
        np.asarray(image.mask)[:] = 1
    if kind == "saturated":
        np.asarray(image.mask)[:] = SAT
    if kind in ("nan", "masked"):
        np.asarray(image.mask)[0, 0] |= SAT
    assert flagSaturationTraces(image, 20) is None
    assert findBorderLevels(image) is None


# Borders


def level(shape, left=0.0, upper=0.0, length=16.0):
    rows, columns = np.indices(shape)
    return left * np.exp(-columns / length) + upper * np.exp(-(shape[0] - 1 - rows) / length)


@pytest.mark.parametrize("seed", range(10))
def test_levelsAreTakenOff(seed):
    image = noise(seed, (400, 360), sigma=20.0)
    truth = 20.0 * level(image.shape, left=-1.5, upper=0.8)
    image.image += truth.astype(np.float32)
    found = findBorderLevels(image)
    (left, _), right, lower, (upper, _) = found.sides
    assert right == lower == (0.0, 0.0)
    # Medians of columns of 400 pixels, four or five of them at a border's weight: 0.03 of the noise.
    assert left == pytest.approx(-30.0, abs=2.5)
    assert upper == pytest.approx(16.0, abs=2.5)
    before = image.image.copy()
    found.subtractFrom(image)
    assert np.abs(before - image.image - truth).max() < 5.0
    assert f"{left:+.3g} at the left one ({left / found.noise:+.2f} of a pixel's noise)" in found.sentence
    assert "at the right one" not in found.sentence


@pytest.mark.parametrize("seed", range(10))
def test_noiseHasNoLevels(seed):
    assert findBorderLevels(noise(seed)) is None


def test_aSlopeIsNoLevel():
    image = noise(3)
    image.image += (np.indices(image.shape)[1] * 0.02).astype(np.float32)  # 6 of the noise over the image
    assert findBorderLevels(image) is None


@pytest.mark.parametrize("height", [1.0, 5.0, 100.0])
def test_aGalaxyOnTheBorderStays(height):
    image = noise(4)
    rows, columns = np.indices(image.shape)
    image.image += (height * np.exp(-0.5 * (columns**2 / 20.0**2 + (rows - 160) ** 2 / 40.0**2))).astype(np.float32)
    assert findBorderLevels(image) is None


def test_levelsBeginWhereTheDataDo():
    image = noise(5, (SIZE, 400))
    image.image[:, 50:] += level((SIZE, 350), left=2.0).astype(np.float32)
    np.asarray(image.mask)[:, :50] = 1 << 8
    found = findBorderLevels(image)
    assert found.area == (50, 0, 350, SIZE)
    assert found.sides[0][0] == pytest.approx(2.0, abs=0.2)


def test_levelsOfAPart():
    image = noise(6, xy0=(100, -20))
    image.image += level(image.shape, left=-2.0).astype(np.float32)
    found = findBorderLevels(image)
    assert found.area[:2] == (100, -20)
    part = image.subset(image.getBBox().__class__(130, 40, 60, 70)).copy()
    found.subtractFrom(image, threads=3)
    found.subtractFrom(part)
    np.testing.assert_array_equal(part.image, image.image[60:130, 30:90])


def test_levelsAreEqualForAnyThreads():
    image = noise(7)
    image.image += level(image.shape, left=-2.0, upper=3.0).astype(np.float32)
    assert findBorderLevels(image, 1) == findBorderLevels(image, 2) == findBorderLevels(image, 7)


def test_levelsOnDisk():
    levels = BorderLevels((0, 0, 300, 300), 10.0, ((1.0, 0.5), (0.0, 0.0), (0.0, 0.0), (-2.0, 0.0)), 3.0)
    assert BorderLevels.fromDict(levels.toDict()) == levels
    recipe = SubtractionRecipe(borderLevels=levels, traceGrowth=12)
    assert SubtractionRecipe.fromDict(recipe.toDict()) == recipe
    for name, value in (("area", [1, 2]), ("sides", [[1.0, 0.0]]), ("length", "long")):
        with pytest.raises(ValueError, match="levels at the border are damaged"):
            BorderLevels.fromDict(levels.toDict() | {name: value})
    with pytest.raises(ValueError, match="must be positive"):
        BorderLevels.fromDict(levels.toDict() | {"length": 0.0})


# The front door


@pytest.fixture(scope="module")
def pair():
    return simulatePair(3, SIZE, brightStars=60, brightFlux=(8e3, 4e6), saturation=1.5e4)


@pytest.fixture(scope="module")
def images(pair):
    """Template and science image whose sky falls to the left, with a row through the brightest saturated star."""
    science = pair.science.copy()
    sigma = float(np.sqrt(np.median(science.variance)))
    science.image += (sigma * level(science.shape, left=-3.0)).astype(np.float32)
    stars = pair.truth.stars[pair.truth.stars["isSaturated"]]
    row = round(float(stars["y"][int(np.argmax(np.asarray(stars["flux"])))]))
    science.image[row - 1 : row + 2] += np.float32(4.0 * sigma)
    return pair.template, science, row


@pytest.fixture(scope="module")
def result(images):
    return subtract(*images[:2], threads=1)


def told(result):
    return [choice.sentence for choice in result.choices if choice.name in ("borderLevels", "saturationTraces")]


def test_told(result, images):
    levels, traces = told(result)
    assert levels == result.borderLevels.sentence
    assert levels in result.explain()
    assert levels.startswith("Sky at the border: -")
    assert traces.startswith("Traces of saturated stars: of ")
    isFlagged = result.difference.mask.hasAny("SAT")
    assert isFlagged[images[2]].mean() > 0.9
    assert isFlagged.mean() < 0.15
    pulls = result.difference.image / np.sqrt(result.difference.variance)
    isGood = (np.asarray(result.difference.mask) & result.difference.mask.getPlaneBitMask(("SAT", "EDGE", "BAD"))) == 0
    columns = np.flatnonzero(isGood.any(axis=0))[:6]
    assert abs(np.median(pulls[:, columns][isGood[:, columns]])) < 0.25


def test_switch(images, result):
    config = frontDoorConfig()
    config.doFindTraces = False
    without = subtract(*images[:2], config=config, threads=1)
    assert told(without) == []
    assert without.borderLevels is None
    assert without.storedKernel().recipe.traceGrowth == 0
    assert without.difference.mask.hasAny("SAT").sum() < result.difference.mask.hasAny("SAT").sum()
    # Difference and background are the science image again.
    sky = without.background(*np.meshgrid(*(np.arange(SIZE) for _ in range(2))))
    again = without.difference.image + without.matched.image + sky
    usable = np.isfinite(again)
    np.testing.assert_allclose(again[usable], without.science.image[usable], rtol=1e-4, atol=0.05)


def test_appliedAgain(images, result, tmp_path):
    result.writeFits(tmp_path / "difference.fits")
    for kernel in (result.storedKernel(), tmp_path / "difference.fits"):
        applied = applyKernel(kernel, *images[:2], threads=2)
        np.testing.assert_array_equal(applied.difference.image, result.difference.image)
        np.testing.assert_array_equal(applied.difference.variance, result.difference.variance)
        np.testing.assert_array_equal(np.asarray(applied.difference.mask), np.asarray(result.difference.mask))


def test_cleanFieldsAreLeftAsTheyAre():
    pair = simulatePair(5, SIZE, brightStars=100, brightFlux=(8e3, 1e5))
    config = frontDoorConfig()
    config.doFindTraces = False
    one, other = (
        subtract(pair.template, pair.science, threads=1),
        subtract(pair.template, pair.science, config=config, threads=1),
    )
    assert told(one) == []
    np.testing.assert_array_equal(one.difference.image, other.difference.image)
    np.testing.assert_array_equal(np.asarray(one.difference.mask), np.asarray(other.difference.mask))


# Streaks


STREAK_ALONG_ROW = (10.0, 148.0, 290.0, 153.0, 4.0)
"""Ends and half width: 5 px askew, less than it is wide."""


@pytest.mark.parametrize(
    ("line", "hasStar", "isStreak"),
    [
        (STREAK_ALONG_ROW, False, True),
        (STREAK_ALONG_ROW, True, False),
        ((148.0, 10.0, 153.0, 290.0, 4.0), True, False),
        ((10.0, 145.0, 290.0, 155.0, 4.0), True, True),  # 10 px askew
        ((10.0, 100.0, 290.0, 104.0, 4.0), True, True),  # beside the star
        ((-20.0, 149.0, 400.0, 151.0, 4.0), True, False),  # from border to border, and beyond
    ],
)
def test_aLineThroughASaturatedStarIsNoStreak(monkeypatch, line, hasStar, isStreak):
    image = noise(10, (300, 300))
    if hasStar:
        withDisc(image, 150, 150)
    found = [_core.Streak(*line, significance=9.0)]
    monkeypatch.setattr(_core, "findStreaks", lambda *args, **options: ([], found))
    template, _, streaks, others = flagStreaks(Exposure(image), Exposure(noise(11, (300, 300))), 1.0)
    assert others == type(others)()
    assert (len(streaks.lines), streaks.nOfStars) == ((1, 0) if isStreak else (0, 1))
    assert ("STREAK" in template.mask.planes) == isStreak
    assert (streaks.nPixels > 0) == isStreak
    ending = "Not counted: 1 line along a row or column through a saturated star, whose charge does that."
    assert streaks.told("template").endswith(ending) != isStreak
