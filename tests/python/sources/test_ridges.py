"""Ridges of bright streaks: told from clipped stars, bleed trails and clipped lines."""

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage
from psfmatch.sources import findSaturation
from psfmatch.sources.saturation.ridges import Ridge, findRidge
from psfmatch.testing import simulatePair


def lineOf(dx, dy, n=120, x0=20, y0=30, width=300):
    """Return places of pixels on a line from (x0, y0) in steps of (dx, dy), ascending."""
    steps = np.arange(n)
    return np.unique(np.rint(y0 + dy * steps).astype(int) * width + np.rint(x0 + dx * steps).astype(int))


def valuesOf(places, seed=1):
    return np.random.default_rng(seed).uniform(5000.0, 5300.0, places.size).astype(np.float32)


def test_line():
    places = lineOf(0.8, 0.6)
    ridge = findRidge(valuesOf(places), places, 300)
    ends = sorted([(ridge.x0, ridge.y0), (ridge.x1, ridge.y1)])
    np.testing.assert_allclose(ends, [(20.0, 30.0), (115.2, 101.4)], atol=2.0)
    assert ridge.nPixels == places.size
    assert ridge.told.startswith(f"{places.size} pixels of one brightness on a straight line from (")


@pytest.mark.parametrize("nStars", [20, 60])
def test_starsBeside(nStars):
    line = lineOf(0.8, 0.6)
    stars = np.random.default_rng(2).choice(300 * 200, nStars, replace=False)
    places = np.union1d(line, stars)
    ridge = findRidge(valuesOf(places), places, 300)
    assert abs(ridge.nPixels - line.size) < 15


@pytest.mark.parametrize("isRow", [False, True])
@pytest.mark.parametrize("degrees", [1.7, 2.0, 4.0])
@pytest.mark.parametrize("breadth", [1, 3, 5])
def test_alongColumns(isRow, degrees, breadth):
    slope = np.tan(np.radians(degrees))
    lines = [lineOf(slope, 1.0, 190, 60 + i, 5) for i in range(breadth)]
    y, x = np.divmod(np.unique(np.concatenate(lines)), 300)
    places = np.sort(x * 300 + y) if isRow else y * 300 + x
    ridge = findRidge(valuesOf(places), places, 300)
    assert ridge is not None
    assert ridge.length > 170.0


@pytest.mark.parametrize("offset", [3, 4, 5])
@pytest.mark.parametrize("breadth", [1, 2, 4])
def test_trailsBeside(offset, breadth):
    """Two stars whose charge has bled along columns beside each other, one above the other."""
    trails = [lineOf(0.0, 1.0, 90, 100 + i, 5) for i in range(breadth)]
    trails += [lineOf(0.0, 1.0, 90, 100 + offset + i, 95) for i in range(breadth)]
    places = np.unique(np.concatenate(trails))
    assert findRidge(valuesOf(places), places, 300) is None


def test_others():
    column, tilted = lineOf(0.0, 1.0), lineOf(0.03, 1.0)
    disc = np.array([(100 + j) * 300 + 100 + i for j in range(-9, 10) for i in range(-9, 10) if i * i + j * j < 80])
    two = np.union1d(disc[:0], [(40 + j) * 300 + 40 + i for j in range(3) for i in range(3)])
    two = np.union1d(two, [(120 + j) * 300 + 140 + i for j in range(3) for i in range(3)])
    spread = np.sort(np.random.default_rng(3).choice(300 * 200, 400, replace=False))
    for places in (column, tilted, disc, two, spread, spread[:3], spread[:0]):
        assert findRidge(valuesOf(places), places, 300) is None
    clipped = lineOf(0.8, 0.6)
    assert findRidge(np.full(clipped.size, 5e4, dtype=np.float32), clipped, 300) is None


def test_isNear():
    near = Ridge(20.0, 20.0, 80.0, 100.0, 60).isNear((130, 120))
    assert near[60, 50]
    assert near[60, 69]
    assert not near[60, 75]
    assert not near[125, 99]


@pytest.mark.parametrize("peak", [2e3, 6e3, 2e4])
def test_saturation(peak):
    pair = simulatePair(seed=1, size=384)
    y, x = np.indices(pair.science.image.shape)
    across = (y - 40.0) * 0.8 - (x - 20.0) * 0.6
    image = (pair.science.image + peak * np.exp(-0.5 * (across / 1.6) ** 2)).astype(np.float32)
    found = findSaturation(Exposure(MaskedImage(image, pair.science.mask, pair.science.variance)))
    assert found.level is None
    assert "pixels of one brightness on a straight line from (" in found.reason
