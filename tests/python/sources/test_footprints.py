"""Connected pixels, against flood filling and growing pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from psfmatch.images import Box, Mask
from psfmatch.sources.footprints import Footprint, FootprintSet, growRadius

quick = settings(max_examples=40, deadline=None, derandomize=True)
maps = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14))


def flood(isInside):
    """Groups of pixels (y, x) that touch, each a set, in order of their first pixel."""
    remaining, groups = {tuple(p) for p in np.argwhere(isInside).tolist()}, []
    for start in sorted(remaining):
        if start not in remaining:
            continue
        remaining.discard(start)
        group, border = set(), [start]
        while border:
            y, x = border.pop()
            group.add((y, x))
            near = {(y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)} & remaining
            remaining -= near
            border += near
        groups.append(group)
    return groups


def groupsOf(footprints):
    index, label = footprints.pixels()
    pixels = np.stack(np.divmod(index, footprints.shape[1]), axis=1)
    return [{tuple(p) for p in pixels[label == number].tolist()} for number in range(len(footprints))]


def grow(group, shape, radius, isotropic):
    """All pixels of an image within a distance of some pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    near = np.zeros(shape, dtype=bool)
    for py, px in group:
        near |= (y - py) ** 2 + (x - px) ** 2 <= radius**2 if isotropic else abs(y - py) + abs(x - px) <= radius
    return {tuple(p) for p in np.argwhere(near).tolist()}


@quick
@given(maps)
def test_labelsAgainstFloodFill(isInside):
    footprints = FootprintSet.fromPixels(isInside, xy0=(100, -7))
    groups = flood(isInside)
    assert groupsOf(footprints) == groups
    assert len(footprints) == len(groups)
    np.testing.assert_array_equal(footprints.where(), isInside)
    assert footprints.areas.tolist() == [len(group) for group in groups]
    for group, footprint in zip(groups, footprints.toFootprints(), strict=True):
        y, x = np.array(sorted(group)).T
        assert footprint.bbox == Box(x.min() + 100, y.min() - 7, np.ptp(x) + 1, np.ptp(y) + 1)
        assert footprint.centroid == pytest.approx((x.mean() + 100, y.mean() - 7), abs=1e-12)
    y, x = np.mgrid[: isInside.shape[0], : isInside.shape[1]]
    labels = footprints.labelsAt(x.ravel(), y.ravel()).reshape(isInside.shape)
    expected = np.full(isInside.shape, -1)
    for number, group in enumerate(groups):
        for pixel in group:
            expected[pixel] = number
    np.testing.assert_array_equal(labels, expected)


@quick
@given(maps, st.integers(0, 5), st.booleans())
def test_growthPixelByPixel(isInside, radius, isotropic):
    footprints = FootprintSet.fromPixels(isInside)
    alone = [grow(group, isInside.shape, radius, isotropic) for group in flood(isInside)]
    assert groupsOf(footprints.grown(radius, isotropic, combined=False)) == alone
    together = footprints.grown(radius, isotropic, combined=True)
    union = np.zeros(isInside.shape, dtype=bool)
    for group in alone:
        for pixel in group:
            union[pixel] = True
    assert groupsOf(together) == flood(union)


def test_spiral():
    # One long thread: the labels have far to travel.
    isInside = np.zeros((201, 201), dtype=bool)
    for k in range(0, 100, 2):
        isInside[k, k : 201 - k] = isInside[200 - k, k : 201 - k] = True
        isInside[k : 201 - k, k] = isInside[k : 201 - k, 200 - k] = True
        if k:
            isInside[k, k - 1 : k + 1] = True
    assert len(FootprintSet.fromPixels(isInside)) == len(flood(isInside)) == 1


def test_selection():
    isInside = np.eye(9, dtype=bool)[::2].repeat(2, axis=0)[:9]
    footprints = FootprintSet.fromPixels(isInside)
    groups = flood(isInside)
    isKept = np.arange(len(groups)) % 2 == 0
    assert groupsOf(footprints.select(isKept)) == groups[::2]


def test_planeOfAMask():
    isInside = np.zeros((20, 30), dtype=bool)
    isInside[3:5, 10:12] = True
    mask = Mask(np.ones((20, 30), dtype=np.int32))
    FootprintSet.fromPixels(isInside).setMask(mask, "DETECTED")
    np.testing.assert_array_equal(np.asarray(mask), 1 + 32 * isInside)


def test_noPixel():
    footprints = FootprintSet.fromPixels(np.zeros((5, 6), dtype=bool))
    assert len(footprints.grown(3)) == 0
    assert footprints.toFootprints() == []
    assert footprints.labelsAt(np.array([1]), np.array([2])).tolist() == [-1]
    assert not footprints.where().any()


def test_radius():
    # Whole pixels nearest to 2.4 sigma.
    assert [growRadius(2.4, sigma) for sigma in (0.1, 1.0, 1.6, 3.0)] == [0, 2, 4, 7]


def test_footprintIsPlain():
    assert Footprint(Box(1, 2, 3, 4), (2.0, 3.5)) == Footprint(Box(1, 2, 3, 4), (2.0, 3.5))
