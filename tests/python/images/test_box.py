"""Boxes against sets of pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.images import Box

boxes = st.builds(Box, st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 8), st.integers(0, 8))


def pixels(box):
    return {(x, y) for x in range(box.x0, box.x0 + box.width) for y in range(box.y0, box.y0 + box.height)}


def test_propertiesOfAKnownBox():
    box = Box(10, -20, 4, 3)
    assert (box.x1, box.y1) == (14, -17)
    assert box.shape == (3, 4)
    assert box.centre == (11.5, -19.0)
    assert not box.isEmpty
    assert str(box) == "4x3 pixels from (10, -20)"


@settings(deadline=None)
@given(boxes, boxes)
def test_intersectionHoldsTheCommonPixels(first, second):
    common = first.intersection(second)
    assert pixels(common) == pixels(first) & pixels(second)
    assert common.isEmpty == (not pixels(common))
    assert first.containsBox(second) or second.isEmpty or not pixels(second) <= pixels(first)


@settings(deadline=None)
@given(boxes, st.integers(0, 5))
def test_grownAndShrunkAreInverse(box, n):
    grown = box.grown(n)
    assert grown.shape == (box.height + 2 * n, box.width + 2 * n)
    assert grown.shrunk(n) == box
    assert box.shrunk(n).width == max(0, box.width - 2 * n)


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [
        (9.5, 20.0, True),
        (9.499, 20.0, False),
        (12.499, 21.499, True),
        (12.5, 21.0, False),
        (11.0, 21.5, False),
        (np.nan, 20.0, False),
        (11.0, np.inf, False),
    ],
)
def test_containsTakesTheNearestPixel(x, y, inside):
    box = Box(10, 20, 3, 2)
    assert box.contains(x, y) is inside
    assert box.contains(np.array([x]), np.array([y])).tolist() == [inside]


def test_wholeNumbersOnly():
    assert Box(np.int64(1), np.int32(2), np.uint8(3), 4) == Box(1, 2, 3, 4)
    assert type(Box(np.int64(1), 0, 1, 1).x0) is int
    with pytest.raises(TypeError, match="interpreted as an integer"):
        Box(0.5, 0, 1, 1)
    with pytest.raises(ValueError, match=r"-1x2 pixels has a negative size"):
        Box(0, 0, -1, 2)
