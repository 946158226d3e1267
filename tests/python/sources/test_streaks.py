"""Streaks in simulated pairs: found in the image that has them, flagged, told, and no part of the fit."""

import numpy as np
import pytest

from psfmatch import applyKernel, frontDoorConfig, subtract
from psfmatch.images import Exposure, MaskedImage
from psfmatch.sources import Streaks, flagStreaks, isOfStreak, streakFluxRatio
from psfmatch.testing import simulatePair

LINE = (30.0, 40.0, 220.0, 190.0)

NONE = "no line of 60 px or more that the other image does not show"


def streakLight(shape, line, peak, sigma=1.6):
    """Return light (ny, nx) of a line with a Gaussian profile across."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    dx, dy = line[2] - line[0], line[3] - line[1]
    length = np.hypot(dx, dy)
    along = ((x - line[0]) * dx + (y - line[1]) * dy) / length
    across = ((y - line[1]) * dx - (x - line[0]) * dy) / length
    return np.where((along >= 0) & (along <= length), peak * np.exp(-0.5 * (across / sigma) ** 2), 0.0)


def withStreak(exposure, line, peak):
    image = exposure.image + streakLight(exposure.image.shape, line, peak).astype(np.float32)
    return exposure.withPixels(MaskedImage(image, exposure.mask, exposure.variance, exposure.maskedImage.xy0))


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=256, brightStars=200)


@pytest.fixture(scope="module")
def sigma(pair):
    return float(np.sqrt(np.median(pair.science.variance)))


def told(result):
    return [choice.sentence for choice in result.choices if choice.name == "streaks"]


@pytest.fixture(scope="module")
def streaked(pair, sigma):
    return subtract(pair.template, withStreak(pair.science, LINE, 4.0 * sigma), threads=1)


def test_scienceImage(pair, streaked):
    first, second = told(streaked)
    assert first == f"Streaks of the template: {NONE}."
    assert second.startswith("Streaks of the science image: 1 line that the other image does not show, from (")
    isFlagged = streaked.difference.mask.hasAny("STREAK")
    light = streakLight(isFlagged.shape, LINE, 1.0)
    bright = light > 0.3
    assert np.mean(isFlagged[bright]) > 0.9
    assert np.count_nonzero(isFlagged) == pytest.approx(np.count_nonzero(bright), rel=1.5)
    assert f"; {np.count_nonzero(streaked.science.mask.hasAny('STREAK'))} pixels get STREAK" in second
    assert "STREAK" not in pair.science.mask.planes
    clean = subtract(pair.template, pair.science, threads=1)
    centre = clean.difference.getBBox().centre
    assert streaked.kernel.kernelSum(*centre) == pytest.approx(clean.kernel.kernelSum(*centre), rel=0.003)


def test_template(pair, sigma):
    result = subtract(withStreak(pair.template, LINE, 3.0 * sigma), pair.science, threads=1)
    first, second = told(result)
    assert first.startswith("Streaks of the template: 1 line")
    assert second == f"Streaks of the science image: {NONE}."
    assert result.difference.mask.hasAny("STREAK").any()


def test_none(pair):
    result = subtract(pair.template, pair.science, threads=1)
    assert told(result) == [f"Streaks of the template: {NONE}.", f"Streaks of the science image: {NONE}."]
    assert "STREAK" not in result.difference.mask.planes
    config = frontDoorConfig()
    config.doFindStreaks = False
    without = subtract(pair.template, pair.science, config=config, threads=1)
    assert told(without) == []
    np.testing.assert_array_equal(result.difference.image, without.difference.image)


def test_switch(pair, sigma):
    config = frontDoorConfig()
    config.doFindStreaks = False
    result = subtract(pair.template, withStreak(pair.science, LINE, 4.0 * sigma), config=config, threads=1)
    assert told(result) == []
    assert "STREAK" not in result.difference.mask.planes
    assert result.preparation.streakFluxRatio is None


def test_replay(pair, sigma, streaked, tmp_path):
    streaked.writeFits(tmp_path / "difference.fits")
    science = withStreak(pair.science, LINE, 4.0 * sigma)
    again = applyKernel(str(tmp_path / "difference.fits"), pair.template, science, threads=1).difference
    np.testing.assert_array_equal(again.image, streaked.difference.image)
    np.testing.assert_array_equal(np.asarray(again.mask), np.asarray(streaked.difference.mask))


def test_flagStreaks(pair, sigma):
    science = withStreak(pair.science, LINE, 4.0 * sigma)
    template, flagged, none, found = flagStreaks(pair.template, science, 1.25)
    assert template is pair.template
    assert none == Streaks()
    assert found.nPixels == np.count_nonzero(flagged.mask.hasAny("STREAK"))
    again = flagStreaks(pair.template, science, 1.25, threads=3)[3]
    assert again == found
    x0, y0, x1, y1, halfWidth, significance = found.lines[0]
    for x, y in ((x0, y0), (x1, y1)):
        dx, dy = LINE[2] - LINE[0], LINE[3] - LINE[1]
        assert abs((y - LINE[1]) * dx - (x - LINE[0]) * dy) / np.hypot(dx, dy) < 2.0
    assert 3.0 < halfWidth < 8.0
    assert significance > 9.0


def test_sentences():
    two = Streaks(((0.0, 0.0, 30.0, 40.0, 2.5, 12.0), (0.0, 9.0, 300.0, 9.0, 2.0, 10.0)), 1500)
    assert two.told("template") == (
        "Streaks of the template: 2 lines that the other image does not show, the clearest from (0, 0) to (30, 40), "
        "50 px long and 5 px wide, of 12 sigma; 1500 pixels get STREAK and no part in the fit."
    )


def test_sourcesOfStreaks(pair, sigma):
    science = flagStreaks(pair.template, withStreak(pair.science, LINE, 4.0 * sigma), 1.25)[1].maskedImage
    template = pair.template.maskedImage
    isOn = isOfStreak(template, science, [125.0, 10.0], [115.0, 200.0])
    assert isOn.tolist() == [True, False]
    assert not isOfStreak(template, pair.science.maskedImage, [125.0], [115.0]).any()
    seen = template.image.copy()
    seen[112:119, 122:129] += 500.0 * sigma
    bright = MaskedImage(seen, template.mask, template.variance, template.xy0)
    assert not isOfStreak(bright, science, [125.0], [115.0]).any()


def test_fluxRatio(pair):
    stars = {"x": np.asarray(pair.truth.stars["x"]), "y": np.asarray(pair.truth.stars["y"])}
    template, science = pair.template.maskedImage, pair.science.maskedImage
    assert streakFluxRatio(template, science, stars) == pytest.approx(1.25, rel=0.1)
    assert streakFluxRatio(template, science, {"x": np.array([]), "y": np.array([])}) == 1.0


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_nothingThere(value):
    empty = Exposure(MaskedImage(np.full((80, 90), value, dtype=np.float32)))
    assert flagStreaks(empty, empty, 1.0) == (empty, empty, Streaks(), Streaks())


CROWD = {"brightStars": 1500, "faintStars": 6000, "galaxies": 100, "transients": 0}


def test_noneInCrowds():
    for seed in (3, 4):
        pair = simulatePair(seed=seed, size=512, **CROWD)
        result = subtract(pair.template, pair.science)
        assert told(result) == [f"Streaks of the template: {NONE}.", f"Streaks of the science image: {NONE}."]
        # Stars that saturate in the template alone would tell 6.
        assert result.preparation.streakFluxRatio == pytest.approx(1.25, rel=0.03)


@pytest.mark.parametrize("inTemplate", [False, True])
def test_crowds(inTemplate):
    pair = simulatePair(seed=3, size=512, **CROWD)
    images = [pair.template, pair.science]
    place = 0 if inTemplate else 1
    images[place] = withStreak(images[place], (40.0, 60.0, 470.0, 380.0), 60.0)
    result = subtract(*images, threads=1)
    sentences = told(result)
    assert "1 line that the other image does not show" in sentences[place]
    assert NONE in sentences[1 - place]
    light = streakLight(pair.science.image.shape, (40.0, 60.0, 470.0, 380.0), 1.0)
    image = (result.template, result.science)[place]
    isFlagged = image.mask.hasAny("STREAK")
    assert isFlagged[light > 0.5].mean() > 0.9
    assert isFlagged[light == 0.0].mean() < 0.01


@pytest.mark.parametrize("isMasked", [False, True])
def test_saturated(pair, sigma, isMasked):
    light = streakLight(pair.science.image.shape, LINE, 2000.0 * sigma)
    image = np.minimum(pair.science.image + light, 2e4).astype(np.float32)
    mask = pair.science.mask.copy()
    if isMasked:
        np.asarray(mask)[(image == 2e4) & (light > 0.0)] |= mask.getPlaneBitMask("SAT")
    science = pair.science.withPixels(MaskedImage(image, mask, pair.science.variance, pair.science.maskedImage.xy0))
    result = subtract(pair.template, science, threads=1)
    isFlagged = result.science.mask.hasAny("STREAK")
    assert isFlagged[light > sigma].mean() > 0.95
    assert "1 line" in told(result)[1]


def bareExposure(seed, light):
    """Return 256x256 pixels of noise 1 with some light."""
    noise = np.random.default_rng(seed).standard_normal((256, 256))
    return Exposure(MaskedImage((noise + light).astype(np.float32), variance=np.ones((256, 256))))


def starLight(places):
    y, x = np.mgrid[:256, :256]
    return sum(peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 2.3**2) for x0, y0, peak in places)


@pytest.mark.parametrize("gap", [18.0, 26.0])
def test_rowOfTransients(gap):
    row = starLight([(80.0 + 0.9 * gap * k, 90.0 + 0.43 * gap * k, 8.0) for k in range(6)])
    assert flagStreaks(bareExposure(1, 0.0), bareExposure(2, row), 1.0)[3] == Streaks()
    # As bright in the mean, but of one piece.
    line = streakLight((256, 256), (80.0, 90.0, 80.0 + 4.5 * gap, 90.0 + 2.15 * gap), 8.0 * 5.8 / gap)
    assert len(flagStreaks(bareExposure(1, 0.0), bareExposure(2, line), 1.0)[3].lines) == 1


def test_pastBrightStar():
    y, x = np.mgrid[:256, :256]
    across = np.abs((x - 130) * np.cos(np.deg2rad(2.0)) - (y - 128) * np.sin(np.deg2rad(2.0)))
    stars = starLight([(60, 40, 300.0), (200, 90, 400.0), (131, 128, 2000.0)])

    def lines(light):
        return len(flagStreaks(bareExposure(1, stars), bareExposure(2, stars + light), 1.0)[3].lines)

    assert lines(3.0 * np.exp(-0.5 * (across / 1.7) ** 2)) == 1
    # What has bled from the star is as bright as it, also where an image was turned.
    assert lines(np.where((across < 1.5) & (np.abs(y - 128) < 60), 1500.0, 0.0)) == 0
    # And what is read out late ends there.
    assert lines(np.where((across < 1.5) & (y > 128), 10.0, 0.0)) == 0
