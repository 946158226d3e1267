"""MaskedImage: what is kept and what is converted, and arithmetic with mask and variance."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.errors import InputImagesError
from psfmatch.images import Box, Mask, MaskedImage


def makeImage(seed=0, shape=(5, 7), xy0=(0, 0), planes=None):
    rng = np.random.default_rng(seed)
    mask = Mask(rng.integers(0, 512, shape, dtype=np.int32) * (rng.random(shape) < 0.3), planes)
    image = rng.normal(100, 10, shape).astype(np.float32)
    return MaskedImage(image, mask, rng.uniform(1, 4, shape).astype(np.float32), xy0)


def test_nativeFloat32IsKept():
    image = np.zeros((4, 6), dtype=np.float32)
    masked = MaskedImage(image, np.zeros((4, 6), dtype=np.int32), image.copy())
    assert masked.image is image
    rows = np.zeros((8, 10), dtype=np.float32)[1:5, 2:8]
    assert MaskedImage(rows).image is rows


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a.astype(np.float64),
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.int16),
        lambda a: a.astype(">i2"),
        lambda a: a.astype(np.uint8),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), dtype=np.float32, offset=1).reshape(a.shape),
        lambda a: a.tolist(),
    ],
)
def test_everythingElseIsConvertedOnceAndLeftAlone(make):
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    given = make(values)
    image = MaskedImage(given, None, given).image
    np.testing.assert_array_equal(image, values)
    assert image.dtype == np.float32
    assert image.dtype.isnative
    assert image.flags.c_contiguous
    assert image.flags.aligned
    image += 1
    np.testing.assert_array_equal(np.asarray(given), values)


def test_broadcastPlanesBecomeRealOnes():
    variance = np.broadcast_to(np.float32(4), (3, 3))
    masked = MaskedImage(np.ones((3, 3)), variance=variance)
    masked.variance[0, 0] = 9
    assert masked.variance.sum() == 8 * 4 + 9


def test_valuesBeyondFloat32AreBad():
    masked = MaskedImage(np.array([[1e300, 1.0]]))
    np.testing.assert_array_equal(masked.badPixels([]), [[True, False]])


def test_defaults():
    masked = MaskedImage(np.ones((2, 3)))
    assert not masked.mask.any()
    assert not masked.variance.any()
    assert masked.xy0 == (0, 0)
    assert masked.shape == (2, 3) == (masked.height, masked.width)
    assert repr(masked) == "MaskedImage(3x2 pixels from (0, 0))"


@pytest.mark.parametrize(
    ("planes", "Error", "match"),
    [
        ({"image": np.zeros(5)}, InputImagesError, r"shape \(5,\); two dimensions"),
        ({"image": np.zeros((0, 4))}, InputImagesError, r"shape \(0, 4\); two dimensions with at least one"),
        ({"image": np.zeros((2, 3, 4))}, InputImagesError, r"shape \(2, 3, 4\)"),
        (
            {"variance": np.zeros((3, 2))},
            InputImagesError,
            r"variance has shape \(3, 2\), but the image \(2, 3\)",
        ),
        (
            {"mask": np.zeros((2, 2), int)},
            InputImagesError,
            r"mask has shape \(2, 2\), but the image \(2, 3\)",
        ),
        ({"image": np.zeros((2, 3), complex)}, TypeError, "image has type complex128; real numbers"),
        ({"image": np.zeros((2, 3), bool)}, TypeError, "image has type bool"),
        ({"variance": np.full((2, 3), "a")}, TypeError, "variance has type <U1"),
        ({"image": np.ma.zeros((2, 3), complex)}, TypeError, "image has type complex128; real numbers"),
        ({"mask": np.zeros((2, 3))}, TypeError, "bits or booleans, not float64"),
        ({"xy0": (0.5, 0)}, TypeError, "integer"),
    ],
)
def test_badInputs(planes, Error, match):
    with pytest.raises(Error, match=match):
        MaskedImage(**{"image": np.zeros((2, 3)), **planes})


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_differenceAgainstPixelByPixel(seed):
    a = makeImage(seed, planes={"STREAK": 9, "SAT": 1})
    b = makeImage(seed + 1, xy0=(40, 50), planes={"GHOST": 1, "SAT": 9})
    before, other = a.copy(), b.copy()
    same = a
    a -= b
    assert a is same
    for y in range(5):
        for x in range(7):
            # One float32 operation each: exact.
            assert a.image[y, x] == before.image[y, x] - b.image[y, x]
            assert a.variance[y, x] == before.variance[y, x] + b.variance[y, x]
            for name in ("SAT", "BAD", "EDGE"):
                assert a.mask.hasAny(name)[y, x] == (before.mask.hasAny(name)[y, x] or b.mask.hasAny(name)[y, x])
    if b.mask.hasAny("GHOST").any():
        np.testing.assert_array_equal(a.mask.hasAny("GHOST"), b.mask.hasAny("GHOST"))
    np.testing.assert_array_equal(b.image, other.image)
    np.testing.assert_array_equal(np.asarray(b.mask), np.asarray(other.mask))


@pytest.mark.parametrize("value", [3, 2.5, np.float32(1.5), np.arange(7.0), np.arange(35.0).reshape(5, 7)])
def test_numbersAndArraysChangeTheImageOnly(value):
    masked = makeImage()
    before = masked.copy()
    masked -= value
    # float64 operands: one rounding to float32.
    np.testing.assert_array_equal(masked.image, (before.image - np.float64(1) * value).astype(np.float32))
    np.testing.assert_array_equal(masked.variance, before.variance)
    np.testing.assert_array_equal(np.asarray(masked.mask), np.asarray(before.mask))


def test_functionsAreEvaluatedAtParentPositions():
    masked = makeImage(xy0=(1000, -30))
    before = masked.copy()
    masked -= lambda x, y: 0.25 * x + 2.0 * y
    for y in range(5):
        for x in range(7):
            expected = np.float32(before.image[y, x] - np.float64(0.25 * (1000 + x) + 2.0 * (y - 30)))
            assert masked.image[y, x] == expected
    masked -= lambda x, y: 1.0
    np.testing.assert_array_equal(masked.variance, before.variance)


def test_scaling():
    masked = makeImage()
    before = masked.copy()
    masked *= 3
    np.testing.assert_array_equal(masked.image, before.image * np.float32(3))
    # 9 and the square of 0.1 are applied in float64, rounded once: half a unit in the last place of float32.
    np.testing.assert_allclose(masked.variance, before.variance.astype(float) * 9, rtol=6e-8)
    masked /= 3
    np.testing.assert_allclose(masked.image, before.image, rtol=1.2e-7)
    masked *= 0.1
    np.testing.assert_allclose(masked.variance, before.variance.astype(float) * 0.01, rtol=3e-7)
    np.testing.assert_array_equal(np.asarray(masked.mask), np.asarray(before.mask))


def test_arithmeticErrors():
    masked = makeImage()
    with pytest.raises(InputImagesError, match=r"\(5, 7\) and \(3, 7\) cannot be subtracted; warp or cut") as raised:
        masked -= makeImage(shape=(3, 7))
    assert raised.value.otherShape == (3, 7)
    for values in (np.zeros((3, 7)), np.zeros((2, 5, 7)), np.zeros(5)):
        with pytest.raises(InputImagesError, match="does not fit an image of shape"):
            masked -= values
    with pytest.raises(TypeError, match="cannot subtract values of type complex128"):
        masked -= 1j
    with pytest.raises(TypeError, match="cannot subtract values of type object"):
        masked -= object()
    with pytest.raises(ZeroDivisionError, match="divided by 0"):
        masked /= 0
    with pytest.raises(ValueError, match="scaled by nan"):
        masked *= float("nan")
    with pytest.raises(TypeError, match="one real number, not by ndarray"):
        masked *= np.ones(7)
    with pytest.raises(InputImagesError, match=r"mask of shape \(2, 2\) does not fit"):
        masked.mergeMask(Mask(np.zeros((2, 2), dtype=np.int32)))


def test_subsetIsAView():
    masked = makeImage(xy0=(100, 200))
    part = masked.subset(Box(102, 201, 3, 2))
    assert part.getBBox() == Box(102, 201, 3, 2)
    np.testing.assert_array_equal(part.image, masked.image[1:3, 2:5])
    part *= 2
    part.mask.addPlane("STREAK")
    assert part.image[0, 0] == masked.image[1, 2]
    assert part.variance[1, 2] == masked.variance[2, 4]
    assert "STREAK" in masked.mask.planes
    part -= lambda x, y: x * 0 + y * 0 + part.image
    assert not masked.image[1:3, 2:5].any()
    assert part.subset(Box(103, 202, 1, 1)).xy0 == (103, 202)


@pytest.mark.parametrize("box", [Box(99, 200, 3, 3), Box(100, 200, 8, 1), Box(100, 204, 1, 2), Box(101, 201, 0, 3)])
def test_subsetMustLieInside(box):
    with pytest.raises(InputImagesError, match=r"is no part of the image of 7x5 pixels from \(100, 200\)"):
        makeImage(xy0=(100, 200)).subset(box)


def test_copyOwnsItsPixels():
    masked = makeImage()
    duplicate = masked.copy()
    duplicate *= 2
    duplicate.mask |= 1
    duplicate.mask.addPlane("STREAK")
    fresh = makeImage()
    np.testing.assert_array_equal(masked.image, fresh.image)
    np.testing.assert_array_equal(np.asarray(masked.mask), np.asarray(fresh.mask))
    assert "STREAK" not in masked.mask.planes


def test_badPixelsAgainstTheDefinition():
    values = [0.0, -1.0, -0.0, 1.0, np.nan, np.inf, -np.inf]
    image, variance = (a.astype(np.float32) for a in np.meshgrid(values, values))
    masked = MaskedImage(image, np.arange(49, dtype=np.int32).reshape(7, 7) % 4, variance)
    bad = masked.badPixels(["SAT", "NOT_A_PLANE"])
    for y in range(7):
        for x in range(7):
            expected = (
                bool(masked.mask[y, x] & 2)
                or not np.isfinite(image[y, x])
                or not np.isfinite(variance[y, x])
                or variance[y, x] < 0
            )
            assert bad[y, x] == expected
    assert masked.badPixels([]).sum() < bad.sum()


def test_assignmentCopiesIntoTheArrays():
    masked = makeImage()
    image, mask = masked.image, masked.mask
    masked.image -= 1
    masked.image = np.ones((5, 7))
    masked.variance = 4.0
    assert masked.image is image
    assert image.sum() == 35
    assert masked.variance.sum() == 140
    masked.mask |= 4
    masked.mask = np.eye(5, 7, dtype=bool)
    assert masked.mask is mask
    np.testing.assert_array_equal(mask.hasAny("BAD"), np.eye(5, 7, dtype=bool))
    assert not mask.hasAny("INTRP").any()
    masked.mask = Mask(np.eye(5, 7, dtype=np.int32), {"SAT": 0, "BAD": 1})
    np.testing.assert_array_equal(mask.hasAny("SAT"), np.eye(5, 7, dtype=bool))
    assert not mask.hasAny("BAD").any()


def test_pickling():
    masked = makeImage(xy0=(3, 4))
    back = pickle.loads(pickle.dumps(masked))
    assert back.getBBox() == masked.getBBox()
    np.testing.assert_array_equal(back.image, masked.image)
    assert back.mask.planes == masked.mask.planes


def test_infinitePixelsAreQuiet():
    masked = MaskedImage(np.full((2, 2), np.inf), variance=np.full((2, 2), np.inf))
    masked -= masked.copy()
    masked *= 0
    assert np.isnan(masked.image).all()
    assert masked.badPixels([]).all()
