"""Bit planes: names, what keeps them and what does not, merging by name."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.images import DEFAULT_MASK_PLANES, Box, Mask, MaskedImage


def makeMask(values=((0, 1), (2, 256)), planes=None):
    return Mask(np.array(values, dtype=np.int32), planes)


def test_defaultPlanesAndTheirBits():
    mask = makeMask()
    assert mask.planes == dict(DEFAULT_MASK_PLANES)
    assert mask.getPlaneBitMask("NO_DATA") == 256
    assert mask.getPlaneBitMask(["BAD", "SAT"]) == 3
    assert mask.getPlaneBitMask([]) == 0
    np.testing.assert_array_equal(mask.hasAny(("SAT", "NO_DATA")), [[False, False], [True, True]])
    assert type(mask.hasAny("BAD")) is np.ndarray


def test_unknownPlaneNamesTheKnownOnes():
    with pytest.raises(ValueError, match=r"no mask plane 'STREAK'; known are BAD, CR, DETECTED,"):
        makeMask().getPlaneBitMask(["BAD", "STREAK"])
    assert makeMask().getPlaneBitMask(["BAD", "STREAK"], ignoreMissing=True) == 1


def test_int32ArrayIsNotCopied():
    array = np.zeros((3, 4), dtype=np.int32)
    mask = Mask(array)
    mask[1, 2] = 4
    assert array[1, 2] == 4


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">i2", ">i4", "int64", "uint32"])
def test_integersOfAnyTypeBecomeInt32(dtype):
    array = np.array([[0, 5], [64, 127]], dtype=dtype)
    before = array.copy()
    mask = Mask(array)
    mask |= 128
    assert mask.dtype == np.int32
    np.testing.assert_array_equal(np.asarray(mask), before.astype(int) | 128)
    np.testing.assert_array_equal(array, before)


def test_booleansMeanBad():
    mask = Mask(np.array([[True, False]]), {"SAT": 0, "BAD": 3})
    np.testing.assert_array_equal(np.asarray(mask), [[8, 0]])


def test_missingDefaultPlanesFindFreeBits():
    # NO_DATA's bit 8 is taken; 9 is the first bit that neither this mask nor a default plane uses.
    planes = makeMask(planes={"STREAK": 8, "SAT": 0}).planes
    assert planes["STREAK"] == 8
    assert planes["SAT"] == 0
    assert planes["INTRP"] == 2
    assert len(set(planes.values())) == len(planes) == len(DEFAULT_MASK_PLANES) + 1


def test_addPlaneUntilTheBitsRunOut():
    mask = makeMask()
    assert [mask.addPlane(name) for name in ("A", "B", "A")] == [9, 10, 9]
    for bit in range(11, 31):
        assert mask.addPlane(f"P{bit}") == bit
    with pytest.raises(ValueError, match=r"no bit left for mask plane 'ONE_MORE'.*use all 31"):
        mask.addPlane("ONE_MORE")


def test_viewsShareNamesAndCopiesOwnThem():
    mask = makeMask()
    view, duplicate = mask[:1], mask.copy()
    mask.addPlane("STREAK")
    assert view.planes is mask.planes
    assert "STREAK" not in duplicate.planes
    assert "STREAK" in copy.deepcopy(mask).planes
    duplicate[0, 0] = 7
    assert mask[0, 0] == 0


def test_picklingKeepsNames():
    mask = makeMask()
    mask.addPlane("STREAK")
    back = pickle.loads(pickle.dumps(mask))
    assert isinstance(back, Mask)
    assert back.planes == mask.planes
    np.testing.assert_array_equal(np.asarray(back), np.asarray(mask))


@pytest.mark.parametrize(
    "compute",
    [
        lambda m: m & 1,
        lambda m: m == 0,
        lambda m: ~m,
        lambda m: m | m,
        lambda m: 1 << m,
        lambda m: np.add(m, m),
    ],
)
def test_resultsArePlainArrays(compute):
    mask = makeMask(((0, 1), (2, 3)))
    result = compute(mask)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, compute(np.array([[0, 1], [2, 3]], dtype=np.int32)))


def test_inPlaceOperatorsKeepTheType():
    mask = makeMask()
    original = mask
    mask |= 4
    mask[0] &= ~4
    assert mask is original
    np.testing.assert_array_equal(np.asarray(mask), [[0, 1], [6, 260]])
    assert mask.any()
    assert int(mask.max()) == 260


names = st.sampled_from(["BAD", "SAT", "STREAK", "GHOST", "SAT_TEMPLATE", "NO_DATA"])
planeTables = st.dictionaries(names, st.integers(0, 20)).filter(lambda p: len(set(p.values())) == len(p))


@settings(deadline=None)
@given(planeTables, planeTables, st.integers(0, 2**32 - 1))
def test_mergeIsTheUnionPerName(firstPlanes, secondPlanes, seed):
    rng = np.random.default_rng(seed)

    def randomMask(planes):
        mask = Mask(np.zeros((3, 4), dtype=np.int32), planes)
        for bit in mask.planes.values():
            mask |= np.where(rng.random((3, 4)) < 0.3, np.int32(1 << bit), np.int32(0))
        return mask

    first, second = randomMask(firstPlanes), randomMask(secondPlanes)
    expected = {name: first.hasAny(name) for name in first.planes}
    for name in second.planes:
        expected[name] = expected.get(name, np.zeros((3, 4), dtype=bool)) | second.hasAny(name)
    before = second.copy()
    first.merge(second)
    for name, isSet in expected.items():
        if isSet.any():
            np.testing.assert_array_equal(first.hasAny(name), isSet)
    np.testing.assert_array_equal(np.asarray(second), np.asarray(before))


def test_mergeAddsOnlyPlanesInUse():
    mask, other = makeMask(((0, 0), (0, 0))), makeMask(((0, 512), (0, 0)), {"STREAK": 9, "GHOST": 10})
    mask.merge(other)
    assert "STREAK" in mask.planes
    assert "GHOST" not in mask.planes


def test_bitsInABox():
    """Which planes a part of an image holds: none, one, or the union of several."""
    image = MaskedImage(np.zeros((20, 30)))
    image.mask[5, 7] = image.mask.getPlaneBitMask("SAT")
    image.mask[6, 9] = image.mask.getPlaneBitMask("EDGE")

    def bitsIn(box):
        return np.bitwise_or.reduce(np.asarray(image.subset(box).mask), axis=None)

    assert bitsIn(Box(10, 10, 5, 5)) == 0
    assert bitsIn(Box(7, 5, 2, 2)) == image.mask.getPlaneBitMask("SAT")
    assert bitsIn(Box(7, 5, 3, 2)) == image.mask.getPlaneBitMask(["SAT", "EDGE"])
    assert not image.subset(Box(7, 5, 2, 2)).mask.hasAny("EDGE").any()


def test_errors():
    with pytest.raises(TypeError, match="bits or booleans, not float32"):
        Mask(np.zeros((2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"mask values from 0 to 2147483648 do not fit the bits 0 to 30"):
        Mask(np.array([[0, 2**31]], dtype=np.uint32))
    with pytest.raises(ValueError, match=r"'STREAK' has bit 31; bits go from 0 to 30"):
        makeMask(planes={"STREAK": 31})
    with pytest.raises(ValueError, match=r"bit 3 is used by two"):
        makeMask(planes={"A": 3, "B": 3})
    with pytest.raises(ValueError, match=r"shape \(2, 2\) and \(1, 2\) cannot be merged"):
        makeMask().merge(makeMask(((0, 0),)))
