"""Kernels and backgrounds as functions of position, and the convolution with them."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.pex.config import FieldValidationError
from numpy.polynomial import chebyshev, polynomial

from psfmatch._core import InstructionSet, isSupported
from psfmatch.config import PsfMatchConfigAL
from psfmatch.errors import ExposureReadError, NumericalError
from psfmatch.images import Box, Mask, MaskedImage
from psfmatch.kernels import (
    Chebyshev2D,
    EdgeHandling,
    LinearCombinationKernel,
    Polynomial2D,
    frameOf,
    makeSpatialFunction,
)
from psfmatch.kernels.spatialFunction import orderOf

quick = settings(max_examples=30, deadline=None, derandomize=True)

MODELS = ["chebyshev1", "polynomial"]


def powersOf(order):
    """Degrees (in x, in y) of the terms, in their sequence."""
    return [(total - j, j) for total in range(order + 1) for j in range(total + 1)]


def termsAt(model, order, frame, x, y):
    """Values of the terms at one position, from numpy's own polynomials."""
    evaluate = chebyshev.chebval if model == "chebyshev1" else polynomial.polyval
    u, v = (x - frame[0]) / frame[2], (y - frame[1]) / frame[3]
    unit = np.eye(order + 1)
    return np.array([evaluate(u, unit[i]) * evaluate(v, unit[j]) for i, j in powersOf(order)])


def makeKernel(model="chebyshev1", order=1, shape=(5, 7), n=3, box=None, seed=1):
    """Return a random kernel over a box; its variation is as large as its mean."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(n, *shape))
    parameters = rng.normal(size=(n, (order + 1) * (order + 2) // 2))
    return LinearCombinationKernel(basis, parameters, model, frame=frameOf(box or Box(0, 0, 40, 30)))


def makeImage(shape=(30, 40), xy0=(0, 0), seed=2, planes=None):
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, dtype=np.int32)
    variance = rng.uniform(0.5, 2.0, shape)
    return MaskedImage(rng.normal(10.0, 3.0, shape), Mask(mask, planes), variance, xy0=xy0)


def bruteForce(image, variance, kernelAt, shape, xy0):
    """Correlate in float64 with a kernel that varies from pixel to pixel; NaN where it does not fit."""
    height, width = shape
    result, spread = np.full(image.shape, np.nan), np.full(image.shape, np.inf)
    for y in range(height // 2, image.shape[0] - height // 2):
        for x in range(width // 2, image.shape[1] - width // 2):
            kernel = kernelAt(x + xy0[0], y + xy0[1])
            part = np.s_[y - height // 2 : y + height // 2 + 1, x - width // 2 : x + width // 2 + 1]
            result[y, x] = (kernel * image[part].astype(float)).sum()
            spread[y, x] = (kernel**2 * variance[part].astype(float)).sum()
    return result, spread


def interior(shape, kernelShape):
    inside = np.zeros(shape, dtype=bool)
    dy, dx = kernelShape[0] // 2, kernelShape[1] // 2
    inside[dy : shape[0] - dy, dx : shape[1] - dx] = True
    return inside


def test_frameReachesHalfAPixelBeyondTheBox():
    assert frameOf(Box(10, -20, 5, 4)) == (12.0, -18.5, 2.5, 2.0)
    with pytest.raises(ValueError, match="at least 1x1 pixel"):
        frameOf(Box(0, 0, 0, 4))


def test_orderOfParameters():
    assert [orderOf(n) for n in (1, 3, 6, 10, 15, 21)] == [0, 1, 2, 3, 4, 5]
    for n in (0, 2, 4, 5, 7):
        with pytest.raises(ValueError, match=rf"^{n} parameters: a two-dimensional function has 1, 3, 6, 10, 15"):
            orderOf(n)


def test_chebyshevAtTheEdgesOfItsBox():
    # T_i(1) = 1 and T_i(-1) = (-1)^i, half a pixel outside the first and last pixel.
    function = Chebyshev2D([1, 2, 4, 8, 16, 32], frameOf(Box(100, 200, 11, 21)))
    assert function(110.5, 220.5) == pytest.approx(63.0)
    assert function(99.5, 220.5) == pytest.approx(1 - 2 + 4 + 8 - 16 + 32)
    assert function(99.5, 199.5) == pytest.approx(1 - 2 - 4 + 8 + 16 + 32)
    # T_2(0) = -1 in the middle.
    assert function(105.0, 210.0) == pytest.approx(1 - 8 - 32)
    # The first pixel's centre is not yet -1.
    assert function(100.0, 210.0) != function(99.5, 210.0)


def test_polynomialInRawPixels():
    function = Polynomial2D([3.0, 1.0, -2.0, 0.5, 0.25, -1.0])
    assert function(2.0, 3.0) == pytest.approx(3.0 + 2.0 - 6.0 + 2.0 + 1.5 - 9.0)
    assert function.parameters.tolist() == [3.0, 1.0, -2.0, 0.5, 0.25, -1.0]
    assert function.order == 2
    assert isinstance(function(2, 3), float)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
def test_gridAgainstPointsAndNumpy(model, order):
    frame = frameOf(Box(30, -10, 13, 9))
    parameters = np.random.default_rng(order).normal(size=(order + 1) * (order + 2) // 2)
    function = makeSpatialFunction(model, parameters, frame)
    x, y = np.arange(30.0, 43.0), np.arange(-10.0, -1.0)
    expected = np.array([[parameters @ termsAt(model, order, frame, a, b) for a in x] for b in y])
    # At most 21 products of numbers of order 1.
    grid = function(x[np.newaxis, :], y[:, np.newaxis])
    np.testing.assert_allclose(grid, expected, rtol=0, atol=1e-13)
    # The same positions as a full grid, as a row against a column of one dimension less, and one by one.
    np.testing.assert_allclose(function(*np.meshgrid(x, y)), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(function(x, y[:, np.newaxis]), expected, rtol=0, atol=1e-13)
    assert function(x[4], y[7]) == pytest.approx(expected[7, 4], abs=1e-13)
    np.testing.assert_allclose(function(x, y[2]), expected[2], rtol=0, atol=1e-13)
    np.testing.assert_allclose(function(x[3], y), expected[:, 3], rtol=0, atol=1e-13)
    np.testing.assert_allclose(function(x[:9], y), np.diagonal(expected), rtol=0, atol=1e-13)


def test_shapesOfTheValues():
    function = Chebyshev2D([1.0, 2.0, 3.0], (0.0, 0.0, 1.0, 1.0))
    assert isinstance(function(0, 0), float)
    assert isinstance(function(np.float32(1), np.int64(2)), float)
    assert function(np.zeros((1, 1)), np.zeros((1, 1))).shape == (1, 1)
    assert function(np.zeros((1, 4)), np.zeros((1, 1))).shape == (1, 4)
    assert function(np.zeros(0), np.zeros(0)).shape == (0,)
    assert function(np.zeros((2, 1, 3)), np.zeros((4, 1))).shape == (2, 4, 3)
    with pytest.raises(ValueError, match="broadcast"):
        function(np.zeros(3), np.zeros(4))


frames = st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(10, 300), st.floats(10, 300))


@quick
@given(frames, st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_polynomialReportsRawPixels(frame, order, seed):
    scaled = np.random.default_rng(seed).normal(size=(order + 1) * (order + 2) // 2)
    function = Polynomial2D(scaled, frame)
    np.testing.assert_array_equal(function.scaledParameters, scaled)
    raw = Polynomial2D(function.parameters)
    # Terms of up to (500 / 10)^3 cancel in the raw form, each with 1e-16 relative.
    x = np.linspace(frame[0] - frame[2], frame[0] + frame[2], 5)
    y = np.linspace(frame[1] - frame[3], frame[1] + frame[3], 5)
    sizes = sum(
        abs(p) * np.abs(x) ** i * np.abs(y) ** j for p, (i, j) in zip(raw.parameters, powersOf(order), strict=True)
    )
    assert (np.abs(raw(x, y) - function(x, y)) <= 1e-13 * (1.0 + sizes)).all()


def test_farAwayRawCoefficientsAreStillRight():
    # (x - 1e5)^2 / 100^2 in raw pixels: 1e6 - 20 x + 1e-4 x^2.
    function = Polynomial2D([0, 0, 0, 1, 0, 0], (1e5, 0.0, 100.0, 1.0))
    np.testing.assert_allclose(function.parameters, [1e6, -20.0, 0.0, 1e-4, 0.0, 0.0], rtol=1e-12, atol=1e-12)
    assert function(1e5 + 50.0, 7.0) == pytest.approx(0.25, rel=1e-12)


def test_parametersAreCopies():
    given = np.array([1.0, 2.0, 3.0])
    for function in (Chebyshev2D(given, (0, 0, 1, 1)), Polynomial2D(given)):
        given[0] = 9.0
        function.parameters[0] = 7.0
        function.scaledParameters[0] = 7.0
        assert function(0.0, 0.0) == 1.0
        given[0] = 1.0


def test_makeSpatialFunction():
    assert isinstance(makeSpatialFunction("chebyshev1", [1.0], (0, 0, 1, 1)), Chebyshev2D)
    assert isinstance(makeSpatialFunction("polynomial", [1.0], (0, 0, 1, 1)), Polynomial2D)
    with pytest.raises(ValueError, match=r"spatial model 'foo' is unknown; choose 'chebyshev1' or 'polynomial'"):
        makeSpatialFunction("foo", [1.0], (0, 0, 1, 1))
    assert "Polynomial2D(order=0" in repr(Polynomial2D([2.0]))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_computeImageIsTheSumOfItsParts(model, order):
    kernel = makeKernel(model, order)
    for x, y in ((0.0, 0.0), (39.0, 29.0), (12.25, -3.5), (1000.0, 50.0)):
        terms = termsAt(model, order, kernel.frame, x, y)
        coefficients = kernel.scaledParameters @ terms
        expected = sum(a * image for a, image in zip(coefficients, kernel.basis, strict=True))
        scale = np.abs(kernel.scaledParameters) @ np.abs(terms)
        # A few dozen products in float64, of up to T_3(50) = 5e5.
        np.testing.assert_allclose(kernel.coefficients(x, y)[0], coefficients, rtol=0, atol=1e-14 * scale.max())
        np.testing.assert_allclose(kernel.computeImage(x, y), expected, rtol=0, atol=1e-13 * scale.max())
        assert kernel.kernelSum(x, y) == pytest.approx(expected.sum(), abs=1e-12 * scale.max())
    assert kernel.isVarying == (order > 0)
    assert kernel.shape == (5, 7)


def test_computeImagesOfManyPositions():
    kernel = makeKernel(order=2)
    x, y = np.array([0.0, 5.5, 39.0]), np.array([29.0, 1.0, 3.0])
    images = kernel.computeImages(x, y)
    assert images.shape == (3, 5, 7)
    for image, a, b in zip(images, x, y, strict=True):
        # The products may be summed in another sequence.
        np.testing.assert_allclose(image, kernel.computeImage(a, b), rtol=0, atol=1e-13)
    assert kernel.coefficients(x, y).shape == (3, 3)
    with pytest.raises(ValueError, match="3 x for 2 y positions"):
        kernel.computeImages(x, y[:2])


def test_parametersAsReported():
    frame = (1000.0, 2000.0, 50.0, 80.0)
    scaled = np.array([[1.0, 0.5, -0.25], [0.0, 2.0, 3.0]])
    basis = np.ones((2, 3, 3))
    polynomialKernel = LinearCombinationKernel(basis, scaled, "polynomial", frame=frame)
    expected = [[1.0 - 0.5 * 20 + 0.25 * 25, 0.01, -0.25 / 80], [-2.0 * 20 - 3.0 * 25, 0.04, 3.0 / 80]]
    np.testing.assert_allclose(polynomialKernel.spatialParameters, expected, rtol=1e-13)
    np.testing.assert_array_equal(polynomialKernel.scaledParameters, scaled)
    raw = LinearCombinationKernel(basis, polynomialKernel.spatialParameters, "polynomial")
    # Raw terms reach 100 and cancel.
    np.testing.assert_allclose(raw.computeImage(1010, 1990), polynomialKernel.computeImage(1010, 1990), atol=1e-12)
    chebyshevKernel = LinearCombinationKernel(basis, scaled, frame=frame)
    np.testing.assert_array_equal(chebyshevKernel.spatialParameters, scaled)


@quick
@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(0, 2))
def test_shiftOfTheOriginLeavesChebyshevKernelsAlone(dx, dy, order):
    here, there = (makeKernel(order=order, box=Box(x, y, 40, 30)) for x, y in ((0, 0), (dx, dy)))
    # Positions of 1e6 carry 1e-10 of rounding, over 15 px.
    np.testing.assert_allclose(there.computeImage(7.5 + dx, 11.0 + dy), here.computeImage(7.5, 11.0), rtol=0, atol=1e-9)


def test_kernelDoesNotShareMemory():
    basis, parameters = np.ones((1, 3, 3)), np.ones((1, 1))
    kernel = LinearCombinationKernel(basis, parameters)
    basis[:], parameters[:] = 5.0, 5.0
    kernel.basis[:] = 5.0
    kernel.spatialParameters[:] = 5.0
    kernel.scaledParameters[:] = 5.0
    assert kernel.kernelSum(0, 0) == 9.0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (11, 3)])
def test_convolveAgainstBruteForce(model, order, shape):
    xy0 = (300, -70)
    kernel = makeKernel(model, order, shape, box=Box(*xy0, 26, 21))
    image = makeImage((21, 26), xy0=xy0)
    result = kernel.convolve(image)

    def kernelAt(x, y):
        return np.tensordot(kernel.scaledParameters @ termsAt(model, order, kernel.frame, x, y), kernel.basis, 1)

    expected, variance = bruteForce(image.image, image.variance, kernelAt, shape, xy0)
    inside = interior(image.shape, shape)
    # Sums in float32 are promised to 1e-5 of the largest result, variances to 1e-3.
    largest = np.abs(expected[inside]).max()
    np.testing.assert_allclose(result.image[inside], expected[inside], rtol=0, atol=1e-5 * largest)
    np.testing.assert_allclose(result.variance[inside], variance[inside], rtol=1e-3, atol=1e-4 * variance[inside].max())
    assert (np.asarray(result.mask)[inside] == 0).all()
    assert np.isnan(result.image[~inside]).all()
    assert np.isposinf(result.variance[~inside]).all()
    np.testing.assert_array_equal(result.mask.hasAny("NO_DATA"), ~inside)
    assert result.xy0 == xy0


def test_convolvingADeltaMovesThePixels():
    # A correlation: the pixel at kernel column 4 of 5 brings the input from two columns to the right.
    basis = np.zeros((1, 3, 5))
    basis[0, 0, 4] = 1.0
    image = makeImage((9, 12))
    result = LinearCombinationKernel(basis, [[1.0]]).convolve(image)
    np.testing.assert_array_equal(result.image[1:-1, 2:-2], image.image[:-2, 4:])
    np.testing.assert_array_equal(result.variance[1:-1, 2:-2], image.variance[:-2, 4:])


def test_convolveCopiesEdges():
    image = makeImage((12, 15))
    image.mask[0, 0] = image.mask.getPlaneBitMask("DETECTED")
    before = image.copy()
    result = makeKernel(shape=(5, 7)).convolve(image, EdgeHandling(copyEdge=True))
    edge = ~interior(image.shape, (5, 7))
    np.testing.assert_array_equal(result.image[edge], before.image[edge])
    np.testing.assert_array_equal(result.variance[edge], before.variance[edge])
    np.testing.assert_array_equal(result.mask.hasAny("EDGE"), edge)
    assert result.mask.hasAny("DETECTED")[0, 0]
    for plane in ("image", "variance", "mask"):
        np.testing.assert_array_equal(np.asarray(getattr(image, plane)), np.asarray(getattr(before, plane)))


def test_normalizeDividesByTheSumAtEachPixel():
    basis = np.abs(np.random.default_rng(5).normal(size=(2, 3, 3)))
    kernel = LinearCombinationKernel(basis, [[2.0, 0.3, 0.1], [1.0, -0.2, 0.4]], frame=frameOf(Box(0, 0, 40, 30)))
    image = makeImage()
    plain, normalized = kernel.convolve(image), kernel.convolve(image, normalize=True)
    inside = interior(image.shape, (3, 3))
    y, x = np.nonzero(inside)
    sums = kernel.computeImages(x, y).sum(axis=(1, 2))
    # Float32 rounding of the result.
    np.testing.assert_allclose(normalized.image[inside], plain.image[inside] / sums, rtol=1e-6)
    np.testing.assert_allclose(normalized.variance[inside], plain.variance[inside] / sums**2, rtol=1e-6)
    flat = MaskedImage(np.full((30, 40), 7.0), variance=np.ones((30, 40)))
    np.testing.assert_allclose(kernel.convolve(flat, normalize=True).image[inside], 7.0, rtol=1e-5)


@quick
@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 2))
def test_convolutionIsLinear(a, b, order):
    kernel = makeKernel(order=order)
    first, second = makeImage((14, 17), seed=3), makeImage((14, 17), seed=4)
    both = MaskedImage(a * first.image + b * second.image)
    inside = interior(first.shape, (5, 7))
    parts = [kernel.convolve(image).image[inside] for image in (first, second)]
    # Each sum to 1e-5 of the largest, and the rounding of `both` to float32.
    tolerance = 2e-5 * (abs(a) + abs(b) + 1e-3) * max(np.abs(part).max() for part in parts)
    expected = a * parts[0] + b * parts[1]
    np.testing.assert_allclose(kernel.convolve(both).image[inside], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("order", [0, 2])
def test_threadsStridesAndInstructionsDoNotMatter(order):
    kernel = makeKernel(order=order, shape=(7, 7), box=Box(0, 0, 150, 190))
    image = makeImage((190, 150))
    image.mask[50:60, 70:71] = 1
    expected = kernel.convolve(image, threads=1)

    def compare(result, exact=True):
        for plane in ("image", "variance"):
            # AVX2 with FMA rounds once per product where the baseline rounds twice.
            tolerance = {"rtol": 0, "atol": 0 if exact else 1e-3}
            np.testing.assert_allclose(getattr(result, plane), getattr(expected, plane), **tolerance)
        np.testing.assert_array_equal(np.asarray(result.mask), np.asarray(expected.mask))

    for threads in (2, 3, 7):
        compare(kernel.convolve(image, threads=threads))
    frame = MaskedImage(np.zeros((200, 160)))
    frame.image[4:-6, 3:-7] = image.image
    frame.variance[4:-6, 3:-7] = image.variance
    frame.mask[4:-6, 3:-7] = image.mask
    view = frame.subset(Box(3, 4, 150, 190))
    shifted = LinearCombinationKernel(kernel.basis, kernel.scaledParameters, frame=frameOf(Box(3, 4, 150, 190)))
    # The positions move by whole pixels, their scaled form by rounding only.
    compare(shifted.convolve(view), exact=False)
    for name in ("baseline", "avx2"):
        if isSupported(InstructionSet[name]):
            compare(kernel.convolve(image, instructionSet=name), exact=False)


def test_singleBadPixelIsFilled():
    kernel = LinearCombinationKernel(np.full((1, 3, 3), 1.0 / 9.0), [[1.0]])
    image = MaskedImage(np.full((9, 9), 4.0), variance=np.ones((9, 9)))
    image.image[4, 4] = 1e6
    image.mask[4, 4] = image.mask.getPlaneBitMask("BAD")
    result = kernel.convolve(image)
    # Its four neighbours say 4; one ninth of the kernel is above the fraction of 1 %.
    np.testing.assert_allclose(result.image[1:-1, 1:-1], 4.0, rtol=1e-6)
    near = np.zeros((9, 9), dtype=bool)
    near[3:6, 3:6] = True
    np.testing.assert_array_equal(result.mask.hasAny("BAD"), near)
    np.testing.assert_array_equal(result.mask.hasAny("INTRP"), near)
    forgiving = kernel.convolve(image, EdgeHandling(maskedKernelFraction=0.2))
    assert not forgiving.mask.hasAny(("BAD", "INTRP")).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_valuesThatAreNotFiniteDoNotSpread(value):
    image = makeImage()
    image.image[10, 20] = value
    image.variance[20, 10] = np.nan
    image.variance[20, 30] = -1.0
    result = makeKernel(shape=(3, 3)).convolve(image)
    inside = interior(image.shape, (3, 3))
    assert np.isfinite(result.image[inside]).all()
    assert np.isfinite(result.variance[inside]).all()
    assert (result.variance[inside] >= 0.0).all()
    marked = result.mask.hasAny("NO_DATA")
    for x, y in ((20, 10), (10, 20), (30, 20)):
        assert marked[y, x]
    assert np.count_nonzero(marked & inside) <= 3 * 9


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3])
def test_maskSpreadsByFractionOfTheKernel(order, fraction):
    kernel = makeKernel(order=order, shape=(3, 5), n=2)
    image = makeImage(planes={"STREAK": 9})
    rng = np.random.default_rng(8)
    bits = {name: image.mask.getPlaneBitMask(name) for name in ("BAD", "SAT", "DETECTED", "STREAK", "INTRP")}
    for name in ("BAD", "SAT", "DETECTED", "STREAK"):
        image.mask |= np.where(rng.random(image.shape) < 0.03, np.int32(bits[name]), np.int32(0))
    result = kernel.convolve(image, EdgeHandling(badPlanes=("BAD", "SAT"), maskedKernelFraction=fraction))
    pixels = np.asarray(image.mask)
    found = {name: result.mask.hasAny(name) for name in bits}
    for y in range(1, 29):
        for x in range(2, 38):
            part = pixels[y - 1 : y + 2, x - 2 : x + 3]
            weight = np.abs(kernel.computeImage(x, y))
            for name, bit in bits.items():
                members = (part & (bits["BAD"] | bits["SAT"] if name == "INTRP" else bit)) != 0
                isBadPlane = name in ("BAD", "SAT", "INTRP")
                expected = weight[members].sum() > fraction * weight.sum() if isBadPlane else members.any()
                assert found[name][y, x] == expected, (name, x, y)


def test_planesOfTheResult():
    image = makeImage(planes={"STREAK": 9})
    result = makeKernel().convolve(image)
    assert result.mask.planes == image.mask.planes
    result.mask.addPlane("GHOST")
    assert "GHOST" not in image.mask.planes


def test_imageWithoutAGoodPixel():
    image = makeImage((9, 9))
    image.image[:] = np.nan
    result = makeKernel(shape=(3, 3)).convolve(image)
    assert result.mask.hasAny("NO_DATA").all()
    assert (result.image[1:-1, 1:-1] == 0.0).all()


def test_imageOfTheKernelsSize():
    kernel = makeKernel(order=0, shape=(5, 7))
    image = makeImage((5, 7))
    result = kernel.convolve(image)
    assert np.isfinite(result.image).sum() == 1
    # 35 products of about 10 in float32.
    assert result.image[2, 3] == pytest.approx((kernel.computeImage(3, 2) * image.image).sum(), abs=1e-3)


awkward = [1.0 / 3.0, -0.0, 1e-300, 1e300, np.pi, -(2.0**-1074), np.nextafter(1.0, 2.0)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_fitsRoundTripIsExact(tmp_path, model, order):
    rng = np.random.default_rng(11)
    basis = rng.normal(size=(4, 5, 7))
    basis.flat[: len(awkward)] = awkward
    parameters = rng.normal(size=(4, (order + 1) * (order + 2) // 2))
    parameters.flat[: min(parameters.size, len(awkward))] = awkward[: parameters.size]
    frame = (1.0 / 3.0 + 1e5, -np.pi, 100.0 / 7.0, 1e3 * np.e)
    kernel = LinearCombinationKernel(basis, parameters, model, frame=frame)
    path = tmp_path / "kernel.fits"
    kernel.writeFits(path)
    back = LinearCombinationKernel.readFits(path)
    assert (back.model, back.order, back.shape) == (model, order, (5, 7))
    assert back.frame == kernel.frame
    assert back.basis.tobytes() == kernel.basis.tobytes()
    assert back.scaledParameters.tobytes() == kernel.scaledParameters.tobytes()
    assert back.spatialParameters.tobytes() == kernel.spatialParameters.tobytes()


def test_fitsRoundTripOfAConvolution(tmp_path):
    kernel, image = makeKernel(order=2), makeImage()
    kernel.writeFits(tmp_path / "k.fits")
    expected, result = (k.convolve(image) for k in (kernel, LinearCombinationKernel.readFits(tmp_path / "k.fits")))
    assert result.image.tobytes() == expected.image.tobytes()
    assert result.variance.tobytes() == expected.variance.tobytes()


def test_writeFitsOverwrites(tmp_path):
    path = tmp_path / "kernel.fits"
    makeKernel(order=0).writeFits(path)
    makeKernel(order=1).writeFits(path)
    assert LinearCombinationKernel.readFits(str(path)).order == 1
    with pytest.raises(FileExistsError, match=r"kernel\.fits"):
        makeKernel().writeFits(path, overwrite=False)


def test_readFitsErrors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.fits"):
        LinearCombinationKernel.readFits(tmp_path / "absent.fits")
    path = tmp_path / "text.fits"
    path.write_text("not a kernel")
    with pytest.raises(ExposureReadError, match=r"text\.fits"):
        LinearCombinationKernel.readFits(path)


def test_tablesCarryTheBackground():
    kernel = makeKernel(order=1)
    assert kernel.toTables().background is None
    assert kernel.toTables().backgroundField is None
    background = Polynomial2D([1.0, 2.0, 3.0], (10.0, 20.0, 30.0, 40.0))
    tables = kernel.toTables(background)
    np.testing.assert_array_equal(tables.background, [1.0, 2.0, 3.0])
    field = tables.backgroundField
    assert (field.model, field.order) == ("polynomial", 1)
    assert (field.xCentre, field.yCentre, field.xScale, field.yScale) == (10.0, 20.0, 30.0, 40.0)


def test_shapesThatDoNotBelongTogether():
    basis = np.ones((2, 3, 3))
    with pytest.raises(ValueError, match=r"basis has shape \(3, 3\), must be \(n, height, width\)"):
        LinearCombinationKernel(np.ones((3, 3)), [[1.0]])
    with pytest.raises(ValueError, match="3 rows of parameters for 2 basis images"):
        LinearCombinationKernel(basis, np.ones((3, 1)))
    with pytest.raises(ValueError, match="1 rows of parameters for 2 basis images"):
        LinearCombinationKernel(basis, [1.0, 2.0])
    with pytest.raises(ValueError, match="4 parameters: a two-dimensional function has"):
        LinearCombinationKernel(basis, np.ones((2, 4)), "polynomial")
    with pytest.raises(ValueError, match="parameters"):
        LinearCombinationKernel(basis, np.ones((2, 1, 1)))


def test_unknownModelAndMissingBox():
    basis = np.ones((1, 3, 3))
    with pytest.raises(ValueError, match="spatial model 'foo' is unknown; choose 'chebyshev1' or 'polynomial'"):
        LinearCombinationKernel(basis, [[1.0]], "foo")
    with pytest.raises(ValueError, match=r"Chebyshev functions need the bbox \(or frame\)"):
        LinearCombinationKernel(basis, [[1.0, 2.0, 3.0]])
    assert LinearCombinationKernel(basis, [[1.0, 2.0, 3.0]], bbox=Box(0, 0, 10, 20)).frame == (4.5, 9.5, 5.0, 10.0)
    assert LinearCombinationKernel(basis, [[1.0, 2.0, 3.0]], "polynomial").frame == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("shape", [(1, 4, 3), (1, 3, 4), (1, 0, 3), (0, 3, 3)])
def test_basisWithoutAMiddlePixel(shape):
    with pytest.raises(ValueError, match=r"odd|at least one"):
        LinearCombinationKernel(np.ones(shape), np.ones((shape[0], 1)))


def test_convolveErrors():
    kernel = makeKernel(shape=(5, 7))
    with pytest.raises(ValueError, match=r"image of shape \(5, 6\) is smaller than the kernel of shape \(5, 7\)"):
        kernel.convolve(makeImage((5, 6)))
    with pytest.raises(ValueError, match=r"maskedKernelFraction is -0\.1"):
        kernel.convolve(makeImage(), EdgeHandling(maskedKernelFraction=-0.1))
    with pytest.raises(ValueError, match="threads=0"):
        kernel.convolve(makeImage(), threads=0)
    broken = LinearCombinationKernel(np.ones((1, 3, 3)), [[math.nan]])
    with pytest.raises(NumericalError, match="parameters are not all finite"):
        broken.convolve(makeImage())
    empty = LinearCombinationKernel(np.zeros((1, 3, 3)), [[1.0]])
    with pytest.raises(NumericalError, match=r"sum, by which to normalize, is 0 at pixel \(1, 1\)"):
        empty.convolve(makeImage(), normalize=True)


def test_unknownInstructionSetIsACallersSlip():
    with pytest.raises(ValueError, match=r"sse9.*automatic"):
        makeKernel().convolve(makeImage(), instructionSet="sse9")


def test_everyFractionOfTheConfigurationIsLegal():
    legal = []
    for fraction in (0.0, 0.5, 0.999, 1.0):
        with contextlib.suppress(FieldValidationError):
            PsfMatchConfigAL().maskedKernelFraction = fraction
            legal.append(fraction)
    assert legal[:3] == [0.0, 0.5, 0.999]
    image = makeImage()
    image.mask[10, 10] = 1
    for fraction in legal:
        result = makeKernel(order=0, shape=(3, 3)).convolve(image, EdgeHandling(maskedKernelFraction=fraction))
        assert result.mask.hasAny("BAD")[10, 10] == (fraction < 0.5)


def test_repr():
    assert repr(makeKernel(order=1)) == "LinearCombinationKernel(3 functions, 7x5 px, chebyshev1 of order 1)"
