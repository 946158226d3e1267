"""Which stars are which: found through rotation, scale, strangers and lacking stars, and never by chance."""

import math

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.registration.asterisms import matchStars

SIDE = 1000.0


def lists(seed, common, strangers, angle=0.0, scale=1.0, shift=(0.0, 0.0), noise=0.05):
    """Two lists of positions, shuffled at the top alike, and the index of each in the other."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.0, SIDE, (common, 2))
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    second = (first - SIDE / 2) @ [[c, s], [-s, c]] + SIDE / 2 + shift + noise * rng.normal(size=first.shape)
    orders = [rng.permutation(common + strangers) for _ in range(2)]
    both = [
        np.vstack([xy, rng.uniform(0.0, SIDE, (strangers, 2))])[o]
        for xy, o in zip((first, second), orders, strict=True)
    ]
    where = [np.argsort(order)[:common] for order in orders]
    return both, where


def requireRight(positions, where, maxOffset=100.0, fraction=0.95):
    match = matchStars(*positions, SIDE**2, maxOffset)
    assert match.isFound
    truth = set(zip(*where, strict=True))
    right = sum(pair in truth for pair in zip(match.first, match.second, strict=True))
    assert right >= fraction * len(truth)
    # Within a tolerance of 1 px a stranger lies at one in 300000 / n of the stars.
    assert len(match) - right <= 2


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.7, -2.2), (-99.0, 60.0)])
def test_shift(shift):
    requireRight(*lists(1, 50, 10, shift=shift))


@pytest.mark.parametrize(("angle", "scale"), [(0.2, 1.0), (1.0, 1.01), (-1.1, 0.99), (0.0, 1.002)])
def test_rotationAndScale(angle, scale):
    requireRight(*lists(2, 60, 20, math.radians(angle), scale, (40.0, -25.0)))


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_mostStarsAreStrangers(angle):
    requireRight(*lists(3, 25, 100, math.radians(angle), shift=(12.3, -7.0)))


def test_brightListsThatDiffer():
    """No star among the brightest hundred is common; among three hundred some are."""
    positions, where = lists(4, 150, 0, shift=(20.0, 30.0))
    rng = np.random.default_rng(5)
    strangers = [rng.uniform(0.0, SIDE, (100, 2)) for _ in range(2)]
    requireRight(
        [np.vstack([s, xy]) for s, xy in zip(strangers, positions, strict=True)], [100 + index for index in where]
    )


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewStars(n):
    requireRight(*lists(6, n, 0, shift=(20.25, 3.0)), fraction=1.0)


def test_chanceIsNotBelieved():
    found = [matchStars(*lists(seed, 0, n)[0], SIDE**2, 100.0).isFound for seed in range(8) for n in (2, 5, 40, 110)]
    # One in a thousand may be.
    assert sum(found) == 0


def test_oneStarOrNoneTellsNothing():
    for n, m in ((0, 0), (0, 5), (1, 1), (1, 9)):
        rng = np.random.default_rng(n + m)
        match = matchStars(rng.uniform(0, SIDE, (n, 2)), rng.uniform(0, SIDE, (m, 2)), SIDE**2, 100.0)
        assert not match.isFound


def test_offsetsBeyondTheLimitAreNotFound():
    positions, _ = lists(7, 40, 0, shift=(150.0, 0.0))
    assert not matchStars(*positions, SIDE**2, 100.0).isFound
    assert matchStars(*positions, SIDE**2, 160.0).isFound


def test_distortionIsFollowed():
    """Four pixels in the corners, of which two are left that no affine transform takes away."""
    positions, where = lists(8, 120, 30, shift=(8.0, 3.0))
    u = (positions[1] - SIDE / 2) / (SIDE / 2)
    requireRight([positions[0], positions[1] + 2.0 * u * (u**2).sum(axis=1)[:, np.newaxis]], where)


def test_impossibleFields():
    stars = np.zeros((3, 2))
    with pytest.raises(ValueError, match="an area of 0"):
        matchStars(stars, stars, 0.0, 100.0)
    with pytest.raises(ValueError, match=r"first must have shape \(n, 2\)"):
        _core.matchStars(np.zeros(6), stars, area=1.0, maxOffset=1.0, maxChance=1e-3)
