"""Sharp pixels looked up in the other image: what it shows is a star, long trails that it does not show are none."""

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage
from psfmatch.sources import Crossed, crossDefects, inverted

NOISE = 10.0
SIZE = 96


def exposureOf(seed, places, flagged=(), plane="BAD"):
    """Return an image of noise with light at (y, x): counts, as given and with some pixels flagged."""
    image = np.random.default_rng(seed).normal(300.0, NOISE, (SIZE, SIZE)).astype(np.float32)
    for place, counts in places.items():
        image[place] += counts
    given = Exposure(MaskedImage(image, variance=np.full((SIZE, SIZE), NOISE**2, dtype=np.float32)))
    mask = given.mask.copy()
    for place in flagged:
        np.asarray(mask)[place] |= mask.getPlaneBitMask(plane)
    return given, given.withPixels(MaskedImage(image, mask, given.variance))


def same(x, y):
    return x, y


def shifted(x, y):
    return x + 5.0, y - 3.0


def test_starIsUnflagged():
    given, flagged = exposureOf(1, {(40, 50): 5000.0, (70, 20): 5000.0}, [(40, 50), (70, 20)])
    otherGiven, other = exposureOf(2, {(37, 55): 2500.0})
    crossed, told = crossDefects(given, flagged, other, shifted, 2.0, otherGiven)
    assert not crossed.mask.hasAny("BAD")[40, 50]
    assert crossed.mask.hasAny("BAD")[70, 20]
    assert told == Crossed(nStars=1)
    assert told.told("template", "science image") == (
        "Defects of the template against the science image: 1 pixel no longer flagged, for the science image shows "
        "that light too."
    )
    assert flagged.mask.hasAny("BAD")[40, 50]


@pytest.mark.parametrize("counts", [0.0, 600.0, 20000.0])
def test_otherLight(counts):
    given, flagged = exposureOf(1, {(40, 50): 5000.0}, [(40, 50)])
    otherGiven, other = exposureOf(2, {(40, 50): counts})
    crossed, told = crossDefects(given, flagged, other, same, 1.0, otherGiven)
    assert crossed is flagged
    assert told == Crossed()


def test_starFlaggedInBoth():
    given, flagged = exposureOf(1, {(40, 50): 5000.0}, [(40, 50)])
    otherGiven, other = exposureOf(2, {(40, 50): 5000.0}, [(40, 50)])
    assert crossDefects(given, flagged, other, same, 1.0, otherGiven)[1].nStars == 1


def test_manyHotPixelsMeetByChance():
    rng = np.random.default_rng(3)
    pairs = []
    for seed in (1, 2):
        hot = {divmod(int(place), SIZE): 5000.0 for place in rng.choice(SIZE * SIZE, 400, replace=False)}
        pairs.append(exposureOf(seed, hot, list(hot)))
    told = crossDefects(*pairs[0], pairs[1][1], same, 1.0, pairs[1][0])[1]
    assert told.nStars == 0


def test_darkPixelInLight():
    light = {(j, i): 4000.0 for j in range(38, 43) for i in range(48, 53)}
    given, flagged = exposureOf(1, {**light, (40, 50): -300.0}, [(40, 50)])
    otherGiven, other = exposureOf(2, light)
    assert crossDefects(given, flagged, other, same, 1.0, otherGiven)[0] is flagged


def test_inverse():
    exposure = exposureOf(1, {})[0]

    def curved(x, y):
        return 3.0 + 0.9 * x - 0.2 * y + 1e-4 * x * y, -2.0 + 0.2 * x + 0.9 * y

    x, y = np.array([5.0, 50.0, 90.0]), np.array([80.0, 40.0, 3.0])
    np.testing.assert_allclose(inverted(curved, exposure)(*curved(x, y)), [x, y], atol=1e-3)
    nowhere = inverted(lambda u, v: (np.full_like(u, np.nan), np.full_like(v, np.nan)), exposure)
    assert np.isnan(nowhere(x, y)).all()


def test_nothingKnown():
    given, flagged = exposureOf(1, {(40, 50): 5000.0}, [(40, 50)])
    empty = Exposure(MaskedImage(np.full((1, 1), np.nan, dtype=np.float32)))
    for mapping in (same, lambda x, y: (np.full_like(x, np.nan), np.full_like(y, np.nan))):
        assert crossDefects(given, flagged, empty, mapping, 1.0, empty)[0] is flagged
    assert crossDefects(empty, empty, flagged, same, 1.0, given)[1] == Crossed()
