"""Saturation: found in mask, header or pixels, not found where there is none, flagged and grown."""

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage
from psfmatch.sources import findSaturation, flagSaturation
from psfmatch.testing import simulatePair

LEVEL = 5e4


def gaussianField(level=LEVEL, size=256, nStars=30, sigma=2.0, sky=200.0, noise=5.0, seed=1, ratio=2.0):
    """Stars of which the brightest would peak at `ratio` times the level, clipped there; the saturated pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for i in range(nStars):
        x0, y0 = rng.uniform(15, size - 15, 2)
        image += LEVEL * ratio * 0.8**i * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
    image += sky + rng.normal(0.0, noise, image.shape)
    saturated = image >= level
    return np.minimum(image, level).astype(np.float32), saturated


def exposureOf(image, **metadata):
    return Exposure(MaskedImage(image, variance=np.full(image.shape, 25.0)), metadata=metadata)


def bare(exposure):
    return Exposure(MaskedImage(exposure.image, None, exposure.variance, exposure.xy0))


# Found


def test_exactPlateau():
    image, saturated = gaussianField()
    assert saturated.sum() > 30
    found = findSaturation(exposureOf(image))
    assert (found.source, found.nAtLevel) == ("plateau", int(saturated.sum()))
    assert found.level == LEVEL
    assert f"{saturated.sum()} pixels lie on a plateau from 50000 counts" in found.reason


@pytest.mark.parametrize("spread", [0.003, 0.01, 0.02])
def test_plateauWithNoise(spread):
    image, saturated = gaussianField(ratio=4.0)
    image[saturated] *= 1.0 + spread * np.random.default_rng(2).standard_normal(int(saturated.sum()), np.float32)
    found = findSaturation(exposureOf(image))
    assert found.source == "plateau"
    # The lower end of a plateau of some hundred normal deviates: 2 to 5 of their sigmas below it.
    assert 1.0 - 5.0 * spread - 0.002 < found.level / LEVEL < 1.0 - spread
    assert np.mean(image[saturated] >= found.level) > 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_simulatedFieldWithoutItsMask(seed):
    pair = simulatePair(seed=seed, size=384, brightStars=200, saturation=1e4)
    for exposure in (pair.template, pair.science):
        # Defects hold anything, saturated or not.
        isSaturated = exposure.mask.hasAny("SAT") & ~exposure.mask.hasAny("BAD")
        assert isSaturated.sum() >= 12
        found = findSaturation(bare(exposure))
        assert found.source == "plateau"
        # Bleeding columns too: all of them hold the full well.
        assert found.level == pytest.approx(1e4, rel=0.005)
        flagged = flagSaturation(bare(exposure), found).mask.hasAny("SAT")
        assert flagged[isSaturated].all()
        assert findSaturation(exposure).source == "mask"


def test_hotPixelsDoNotHideThePlateau():
    image, _ = gaussianField()
    rng = np.random.default_rng(4)
    image.flat[rng.choice(image.size, 60, replace=False)] = rng.uniform(0.2, 3.0, 60) * LEVEL
    image.flat[rng.choice(image.size, 40, replace=False)] = 65535.0
    found = findSaturation(exposureOf(image))
    assert found.source == "plateau"
    assert found.level == pytest.approx(LEVEL, rel=0.01)


def test_digitisedFaintImage():
    # Whole counts: 30 of them make a step of 3 per cent, and every one of them is a small pile.
    image, _ = gaussianField(level=np.inf, noise=0.5, sky=0.0)
    image = np.rint(image / LEVEL * 40.0 + np.random.default_rng(1).normal(0.0, 0.5, image.shape)).astype(np.float32)
    assert findSaturation(exposureOf(image)).source == "none"


# Not found


@pytest.mark.parametrize("sigma", [1.0, 2.0, 6.0])
def test_noSaturation(sigma):
    image, _ = gaussianField(level=np.inf, sigma=sigma)
    found = findSaturation(exposureOf(image))
    assert (found.level, found.source) == (None, "none")
    assert found.reason.startswith("none; no pixel has SAT")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("changes", [{}, {"brightStars": 300, "faintStars": 1200}, {"scienceFwhm": 8.0}])
def test_simulatedFieldThatDoesNotSaturate(seed, changes):
    pair = simulatePair(seed=seed, size=256, saturation=np.inf, **changes)
    for exposure in (pair.template, pair.science):
        assert findSaturation(bare(exposure)).level is None


def test_hotPixelsAtOneLevelAreNoPlateau():
    image, _ = gaussianField(level=np.inf, ratio=0.5)
    image.flat[np.random.default_rng(4).choice(image.size, 60, replace=False)] = 65535.0
    assert findSaturation(exposureOf(image)).level is None


def test_equalStarsAreNoPlateau():
    y, x = np.mgrid[:200, :200]
    image = sum(1000.0 * np.exp(-((x - i) ** 2 + (y - j) ** 2) / 2.0) for i in range(20, 200, 32) for j in (40, 100))
    assert findSaturation(exposureOf(image.astype(np.float32))).level is None


@pytest.mark.parametrize(
    "image", [np.full((20, 20), np.nan), np.zeros((20, 20)), np.ones((1, 1)), np.full((3, 3), np.inf)]
)
def test_imagesWithoutStars(image):
    found = findSaturation(exposureOf(image))
    assert (found.level, found.source) == (None, "none")


def test_allMasked():
    image, _ = gaussianField()
    exposure = Exposure(MaskedImage(image, np.ones(image.shape, dtype=bool)))
    assert findSaturation(exposure).level is None


# Header and mask


def test_headerOfAnImageThatDoesNotReachIt():
    image, _ = gaussianField(level=np.inf, ratio=0.5)
    found = findSaturation(exposureOf(image, SATURATE=60000.0, SATURATB=5.5e4, SATURATA=float("nan")))
    assert (found.level, found.source, found.nAtLevel) == (5.5e4, "header", 0)
    assert "from 55000 counts, as SATURATB of the header says, which 0 pixels of stars reach" in found.reason


def test_headerBelowThePlateau():
    image, saturated = gaussianField()
    found = findSaturation(exposureOf(image, SATLEVEL=4.5e4))
    assert (found.level, found.source) == (4.5e4, "header")
    assert found.nAtLevel > saturated.sum()
    assert "below the plateau" in found.reason


def test_headerThatThePixelsContradict():
    image, _ = gaussianField()
    found = findSaturation(exposureOf(image, SATURATE=65535.0))
    assert (found.level, found.source) == (LEVEL, "plateau")
    assert "SATURATE = 65535 of the header does not fit" in found.reason
    # Counts per second: nothing to do with the pixels.
    assert findSaturation(exposureOf(image, SATURATE=400.0)).source == "plateau"
    whole, _ = gaussianField(level=np.inf)
    found = findSaturation(exposureOf(whole, SATURATE=400.0))
    assert (found.level, found.source) == (None, "none")
    assert "not in the units of the pixels" in found.reason


def test_incompleteMask():
    image, saturated = gaussianField()
    exposure = exposureOf(image)
    first = np.argwhere(saturated)[0]
    exposure.mask[first[0], first[1]] |= exposure.mask.getPlaneBitMask("SAT")
    found = findSaturation(exposure)
    assert (found.level, found.source, found.nFlagged) == (LEVEL, "plateau", 1)
    assert f"{saturated.sum() - 1} of the plateau lack it" in found.reason


def test_maskWithoutValues():
    # Saturated cores that a pipeline replaced: the mask alone knows.
    image, _ = gaussianField(level=np.inf, ratio=0.5)
    exposure = exposureOf(image)
    exposure.mask[10:14, 10:14] |= exposure.mask.getPlaneBitMask("SAT")
    found = findSaturation(exposure)
    assert (found.level, found.source, found.nFlagged) == (None, "mask", 16)


def test_stepOfTheHeaderThatStarsContradict():
    # Stars of good shape from 33000 to 50000 counts: the card is too low, though a plateau lies above it.
    image, _ = gaussianField()
    y, x = np.mgrid[:256, :256]
    for i in range(6):
        image += (0.75 + 0.03 * i) * LEVEL * np.exp(-((x - 20 - 40 * i) ** 2 + (y - 9) ** 2) / 8.0).astype(np.float32)
    found = findSaturation(exposureOf(image, SATURATE=3e4))
    assert (found.level, found.source) == (LEVEL, "plateau")
    assert "stars of good shape are more than 10 % above it, where 2 may be" in found.reason


# Bleed trails, which are cut below the level


def trailedField(cut=0.7, isMasked=True, coreLevel=None, **metadata):
    """Stars just below the level, and saturated ones that were cut, with their columns; what was cut."""
    image, _ = gaussianField(level=np.inf, nStars=40, ratio=0.6, seed=3)
    trails = np.zeros(image.shape, dtype=bool)
    cores = np.zeros(image.shape, dtype=bool)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for i in range(8):
        image += (0.75 + 0.03 * i) * LEVEL * np.exp(-((x - 20 - 30 * i) ** 2 + (y - 12) ** 2) / 8.0)
    for x0, y0 in ((60, 70), (150, 190), (200, 60)):
        star = 4.0 * LEVEL * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8.0)
        image += star
        cores |= star > LEVEL
        trails[y0 - 30 : y0 + 31, x0] = True
    trails |= cores
    image[trails] = cut * LEVEL
    if coreLevel is not None:
        image[cores] = coreLevel
    exposure = exposureOf(image, **metadata)
    if isMasked:
        exposure.mask[trails] |= exposure.mask.getPlaneBitMask("SAT")
    return exposure, trails


@pytest.mark.parametrize(("header", "level"), [(LEVEL, LEVEL), (None, None), (0.6 * LEVEL, None)])
def test_maskedTrailsLabelThemselvesAlone(header, level):
    exposure, trails = trailedField(**({} if header is None else {"SATURATE": header}))
    found = findSaturation(exposure)
    assert (found.level, found.source) == (level, "mask" if level is None else "header")
    # The ends of the three trails have one bright neighbour only.
    assert (found.nFlagged, found.nFlaggedPlateau) == (trails.sum(), trails.sum() - 6)
    assert (found.trails, found.isPiledUp) == (None, True)
    np.testing.assert_array_equal(flagSaturation(exposure, found).mask.hasAny("SAT"), trails)


@pytest.mark.parametrize("coreLevel", [None, LEVEL])
def test_trailsThatAreNotMasked(coreLevel):
    exposure, trails = trailedField(isMasked=False, coreLevel=coreLevel)
    found = findSaturation(exposure)
    assert found.level == coreLevel
    least, most, nPixels = found.trails
    assert (least, most, nPixels) == (pytest.approx(0.7 * LEVEL), pytest.approx(0.7 * LEVEL), 3)
    assert f"clumps of 3 pixels from {least:.6g} to {most:.6g} counts are bleed trails" in found.reason
    np.testing.assert_array_equal(flagSaturation(exposure, found).mask.hasAny("SAT"), trails)


def test_starsAboveAPlateauAreTold():
    found = findSaturation(trailedField(isMasked=False)[0])
    assert found.reason.startswith("none; no pixel has SAT")
    assert "stars of good shape are above it, where 2 may be" in found.reason


def test_ringingOfResampledCoresIsNoStar():
    # A kernel with negative lobes rings by several per cent at the rims of clipped cores.
    image, _ = gaussianField(ratio=6.0, nStars=60)
    ringing = np.zeros(5)
    ringing[[0, 1, 2, 3, 4]] = 0.06, -0.13, 1.14, -0.13, 0.06
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, ringing, mode="same")
    assert image.max() > 1.03 * LEVEL
    found = findSaturation(exposureOf(image[5:-5, 5:-5]))
    assert found.source == "plateau"
    # It rings inside, too.
    assert found.level == pytest.approx(LEVEL, rel=0.07)


# Not clipped in value


def discField(limb, radius=25.0, sigma=1.7):
    """A planet's disc, blurred by a Gaussian, with a few stars."""
    y, x = np.mgrid[:200, :200].astype(float)
    squares = ((x - 90.3) ** 2 + (y - 104.6) ** 2) / radius**2
    disc = np.where(squares < 1.0, 3e4 * (1.0 - limb + limb * np.sqrt(np.maximum(1.0 - squares, 0.0))), 0.0)
    kernel = np.exp(-(np.arange(-8, 9) ** 2) / (2.0 * sigma**2))
    for axis in (0, 1):
        disc = np.apply_along_axis(np.convolve, axis, disc, kernel / kernel.sum(), mode="same")
    for i in range(12):
        disc += 2e4 * 0.8**i * np.exp(-((x - 15 - 14 * i) ** 2 + (y - 20) ** 2) / (2.0 * sigma**2))
    return disc + 200.0 + np.random.default_rng(1).normal(size=disc.shape) * np.sqrt(disc / 2.0 + 100.0)


@pytest.mark.parametrize(("limb", "radius"), [(0.0, 25.0), (0.4, 25.0), (0.2, 9.0)])
def test_discOfAPlanet(limb, radius):
    image = discField(limb, radius)
    found = findSaturation(exposureOf(image))
    assert (found.level, found.trails) == (None, None)
    clipped = np.minimum(image, 0.7 * 3e4)
    assert findSaturation(exposureOf(clipped)).level == pytest.approx(0.7 * 3e4, rel=1e-6)


def test_starsOfOneBrightnessAreNoPlateau():
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:400, :400].astype(float)
    image = 200.0 + rng.normal(0.0, 5.0, x.shape)
    for i in range(100):
        x0, y0 = 20 + 40 * (i % 10) + rng.uniform(-0.5, 0.5), 20 + 40 * (i // 10) + rng.uniform(-0.5, 0.5)
        peak = LEVEL if i % 2 else LEVEL * rng.uniform(0.02, 0.3)
        image += peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8.0)
    exposure = exposureOf(image)
    assert flagSaturation(exposure, findSaturation(exposure)) is exposure


@pytest.mark.parametrize("level", [4095.0, 65535.0])
@pytest.mark.parametrize("fwhm", [1.8, 4.0, 9.0])
def test_clippedIntegers(level, fwhm):
    # Few saturated pixels below many of stars: the level is that of the converter, whatever the stars' counts.
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:256, :256].astype(float)
    image = np.full(x.shape, 0.05 * level)
    for _ in range(80):
        square = (x - rng.uniform(9, 247)) ** 2 + (y - rng.uniform(9, 247)) ** 2
        image += level * np.exp(rng.uniform(-4.0, 0.6) - 2.77 * square / fwhm**2)
    image = np.minimum(np.rint(image + rng.normal(size=x.shape) * np.sqrt(image / 2.0)), level)
    assert np.count_nonzero(image == level) >= 9
    found = findSaturation(exposureOf(image))
    assert found.source == "plateau"
    assert found.level == pytest.approx(level, rel=0.01)


def test_wholeStars():
    image, _ = gaussianField(level=np.inf, nStars=130, size=512, ratio=0.9)
    image[200, 300:304] = 4.0 * LEVEL  # a cosmic ray: no star
    found = findSaturation(exposureOf(image))
    assert len(found.wholeStars) >= 20
    assert found.starsAboveLevel == 0.0
    x, y = np.array(found.wholeStars).T
    peaks = image[y, x]
    assert (np.diff(peaks) <= 0.0).all()
    assert peaks[0] == pytest.approx(0.9 * LEVEL, rel=0.1)


def test_starsThatEndAtTheLevelAreNotWhole():
    pair = simulatePair(seed=2, size=512, brightStars=400, badFraction=0.0, saturation=1e4)
    image = pair.template.image
    found = findSaturation(exposureOf(image))
    assert found.level == pytest.approx(1e4, rel=0.01)
    x, y = np.array(found.wholeStars).T
    assert x.size >= 50
    assert (image[y, x] < found.level).all()


# Masks that do not say why


def withoutReasons(exposure):
    """The exposure with all that is wrong with a pixel as BAD."""
    flags = exposure.mask.hasAny(["BAD", "SAT", "CR", "NO_DATA"])
    return Exposure(MaskedImage(exposure.image, flags, exposure.variance, exposure.xy0))


def hasBrightNeighbour(image, level):
    isBright = np.pad(image >= level, 1)
    return isBright[:-2, 1:-1] | isBright[2:, 1:-1] | isBright[1:-1, :-2] | isBright[1:-1, 2:]


@pytest.mark.parametrize("seed", [0, 1])
def test_saturatedAmongTheBad(seed):
    pair = simulatePair(seed=seed, size=384, brightStars=200, saturation=1e4)
    for exposure in (pair.template, pair.science):
        hidden = withoutReasons(exposure)
        found = findSaturation(hidden)
        assert found.source == "plateau"
        assert found.level == pytest.approx(1e4, rel=0.005)
        assert found.reason.endswith("the mask has them as bad and does not say why.")
        flagged = flagSaturation(hidden, found).mask.hasAny("SAT")
        assert flagged[exposure.mask.hasAny("SAT") & ~exposure.mask.hasAny("BAD")].all()
        expected = (exposure.image >= found.level) & hasBrightNeighbour(exposure.image, 0.5 * found.level)
        np.testing.assert_array_equal(flagged, expected & hidden.mask.hasAny("BAD"))
        # Any reason tells that the mask has them.
        hidden.mask[0, 0] |= hidden.mask.getPlaneBitMask("CR")
        assert findSaturation(hidden).level is None
        assert flagSaturation(hidden, found.level).mask.hasAny("SAT").sum() == 0


def test_badColumnIsNoSaturation():
    image, _ = gaussianField(level=np.inf)
    flags = np.zeros(image.shape, dtype=bool)
    flags[:, 100:102] = True
    image[flags] = 0.3 * LEVEL
    hidden = Exposure(MaskedImage(image, flags, np.full(image.shape, 25.0)))
    found = findSaturation(hidden)
    assert (found.level, found.source) == (None, "none")


def test_hotPixelUnderAMaskIsNoStar():
    image = np.zeros((9, 9), dtype=np.float32)
    image[4, 4] = 10.0
    assert flagSaturation(Exposure(MaskedImage(image, image > 0)), 5.0, 2.0).mask.hasAny("SAT").sum() == 0
    image[4, 5] = 6.0
    assert flagSaturation(Exposure(MaskedImage(image, image > 0)), 5.0).mask.hasAny("SAT").sum() == 2


# Flagged


@pytest.mark.parametrize("growth", [0.0, 1.0, 1.5, 3.0])
def test_growthIsADisc(growth):
    image = np.zeros((15, 17), dtype=np.float32)
    image[7, 8], image[0, 16] = 10.0, 11.0
    image[3, 3] = np.nan
    exposure = exposureOf(image)
    flagged = flagSaturation(exposure, 10.0, growth)
    y, x = np.mgrid[:15, :17]
    expected = (np.hypot(y - 7, x - 8) <= growth) | (np.hypot(y, x - 16) <= growth)
    np.testing.assert_array_equal(flagged.mask.hasAny("SAT"), expected)
    assert not exposure.mask.any()
    assert flagged.image is exposure.image


def test_otherPlanesAndOwnSaturatedPixelsStay():
    exposure = exposureOf(np.zeros((9, 9), dtype=np.float32))
    exposure.mask[4, 4] = exposure.mask.getPlaneBitMask(("SAT", "CR"))
    assert flagSaturation(exposure, None) is exposure
    grown = flagSaturation(exposure, None, 1.0)
    assert grown.mask.hasAny("SAT").sum() == 5
    assert grown.mask.hasAny("CR").sum() == 1
    assert flagSaturation(exposureOf(np.zeros((9, 9), dtype=np.float32)), 10.0, 3.0).mask.sum() == 0


def test_levelOfWhatWasFound():
    image, saturated = gaussianField()
    exposure = exposureOf(image)
    flagged = flagSaturation(exposure, findSaturation(exposure))
    np.testing.assert_array_equal(flagged.mask.hasAny("SAT"), saturated)


def test_negativeGrowth():
    with pytest.raises(ValueError, match="growth is -1, must be 0 or more pixels"):
        flagSaturation(exposureOf(np.zeros((3, 3))), 1.0, -1)
