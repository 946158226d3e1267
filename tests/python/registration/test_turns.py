"""Turns by right angles: pixels, positions, masks and PSFs move together, and nothing is resampled."""

import math
import pickle

import numpy as np
import pytest

from psfmatch.images import Exposure, ImagePsf, MaskedImage
from psfmatch.registration.turns import (
    TURNS,
    UNTURNED,
    TurnedPsf,
    describeLinear,
    nearestTurn,
    turnBack,
    turned,
    turnedPlane,
    turnedTo,
)

SHAPE = 5, 7
PLANE = np.arange(35, dtype=np.float32).reshape(SHAPE)


@pytest.mark.parametrize("turn", TURNS)
def test_pixelsByTheirIndices(turn):
    """One by one: the pixel q of the turned plane is T q of the plane, from the corner where q = (0, 0) lies."""
    plane = turnedPlane(PLANE, turn)
    (a, b), (c, d) = turn
    x0 = SHAPE[1] - 1 if a + b < 0 else 0
    y0 = SHAPE[0] - 1 if c + d < 0 else 0
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            assert plane[y, x] == PLANE[c * x + d * y + y0, a * x + b * y + x0]
            there = turnBack(turn, SHAPE, np.array(float(x)), np.array(float(y)))
            assert PLANE[int(there[1]), int(there[0])] == plane[y, x]
            assert turnedTo(turn, SHAPE, *there) == (x, y)


def test_allTurnsDiffer():
    assert len({turnedPlane(PLANE, turn).tobytes() for turn in TURNS}) == 8
    np.testing.assert_array_equal(turnedPlane(PLANE, TURNS[2]), np.rot90(PLANE, 2))


@pytest.mark.parametrize("turn", TURNS)
def test_exposure(turn):
    rng = np.random.default_rng(1)
    image, variance = rng.normal(size=SHAPE), rng.uniform(1.0, 2.0, SHAPE)
    image[2, 3] = np.nan
    exposure = Exposure(MaskedImage(image, rng.random(SHAPE) < 0.3, variance, xy0=(11, -4)), photoCalib=2.0, filter="r")
    exposure.metadata["A"] = 1
    before = exposure.copy()
    found = turned(exposure, turn)
    assert exposure == before
    if turn == UNTURNED:
        assert found is exposure
        return
    for name in ("image", "variance", "mask"):
        plane = np.asarray(getattr(found, name))
        np.testing.assert_array_equal(plane, turnedPlane(np.asarray(getattr(exposure, name)), turn))
        assert plane.flags.c_contiguous
    assert (found.xy0, found.photoCalib, found.filter, found.metadata) == ((11, -4), 2.0, "r", {"A": 1})
    assert found.mask.planes == exposure.mask.planes


class Leaning:
    """A PSF that depends on the position and has no symmetry."""

    def computeKernelImage(self, x, y):
        stamp = np.arange(1.0, 16.0).reshape(3, 5) + 100.0 * x + y
        return stamp / stamp.sum()

    def getAveragePosition(self):
        return 13.0, 21.0


@pytest.mark.parametrize("turn", TURNS)
def test_psfMovesWithItsImage(turn):
    xy0 = (10, 20)
    psf = TurnedPsf(Leaning(), turn, SHAPE, xy0)
    x, y = np.array(2.0), np.array(1.0)
    u, v = turnBack(turn, SHAPE, x, y)
    expected = turnedPlane(Leaning().computeKernelImage(float(u) + xy0[0], float(v) + xy0[1]), turn)
    np.testing.assert_array_equal(psf.computeKernelImage(12.0, 21.0), expected)
    place = psf.getAveragePosition()
    back = turnBack(turn, SHAPE, np.array(place[0] - xy0[0]), np.array(place[1] - xy0[1]))
    assert (float(back[0]) + xy0[0], float(back[1]) + xy0[1]) == (13.0, 21.0)
    assert TurnedPsf(ImagePsf(np.ones((3, 3))), turn, SHAPE, xy0).getAveragePosition() is None
    other = TurnedPsf(ImagePsf(np.ones((3, 3))), turn, SHAPE, xy0)
    assert pickle.loads(pickle.dumps(other)) == other


def test_nearestTurn():
    for turn in TURNS:
        assert nearestTurn(turn) == turn
        angle = math.radians(30.0)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        assert nearestTurn(0.5 * rotation @ np.array(turn)) == turn


@pytest.mark.parametrize(
    ("linear", "words"),
    [
        (np.eye(2), ""),
        (TURNS[2], "turned by 180 degrees from x to y"),
        (TURNS[1], "turned by 90 degrees from x to y"),
        (TURNS[4], "mirrored"),
        (2.0 * np.eye(2), "with 2 times as many pixels along each axis"),
        (0.5 * np.array(TURNS[6]), "mirrored, turned by 90 degrees from x to y, with 0.5 times as many pixels along"),
    ],
)
def test_words(linear, words):
    assert describeLinear(linear).startswith(words)
    assert bool(describeLinear(linear)) == bool(words)
