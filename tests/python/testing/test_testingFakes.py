"""The fake kernel set against a kernel evaluated pixel by pixel, its noise, and the nine stars."""

import math

import numpy as np
import pytest

from psfmatch.testing import alardLuptonBasis, makeFakeKernelSet, makeNineStars


def convolvedPixelByPixel(fakes):
    """Brute force: the kernel image of every pixel over the template around it, zero beyond the image."""
    half = fakes.basis.shape[1] // 2
    template = np.pad(fakes.template.image.astype(np.float64), half)
    result = np.empty(fakes.science.image.shape)
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            kernel = fakes.kernelImage(column + fakes.box.x0, row + fakes.box.y0)
            result[row, column] = np.sum(kernel * template[row : row + 2 * half + 1, column : column + 2 * half + 1])
    return result


@pytest.mark.parametrize("spatialModelType", ["polynomial", "chebyshev1"])
@pytest.mark.parametrize("xy0", [(0, 0), (700, -90)])
def test_everyPixelHasItsOwnKernel(spatialModelType, xy0):
    fakes = makeFakeKernelSet(sizeCell=40, nCell=2, addNoise=False, spatialModelType=spatialModelType, xy0=xy0)
    # float32 pixels of up to 1600 counts times kernels below 0.03 over many pixels.
    np.testing.assert_allclose(fakes.science.image - 100, convolvedPixelByPixel(fakes), atol=2e-4)


def test_familiesDescribeTheSamePixels():
    sets = [
        makeFakeKernelSet(addNoise=False, spatialModelType=model, xy0=xy0)
        for model in ("polynomial", "chebyshev1")
        for xy0 in ((0, 0), (5000, 3000))
    ]
    for other in sets[1:]:
        np.testing.assert_array_equal(other.science.image, sets[0].science.image)
        x0, y0 = other.box.x0, other.box.y0
        np.testing.assert_allclose(other.kernelImage(x0 + 17, y0 + 300), sets[0].kernelImage(17, 300), atol=1e-12)
    here, there = sets[0].coefficients, sets[1].coefficients
    np.testing.assert_array_equal(here[:, 1:], there[:, 1:])
    assert not np.allclose(here[1:, 0], there[1:, 0])
    np.testing.assert_array_equal(sets[2].coefficients, sets[3].coefficients)


def test_theRecipe():
    fakes = makeFakeKernelSet(addNoise=False)
    np.testing.assert_array_equal(fakes.coefficients[0], (1, 0, 0))
    np.testing.assert_array_equal(fakes.coefficients[3], (-0.001, -3e-5, 3e-5))
    assert fakes.template.image.shape == fakes.science.image.shape == (384, 384)
    assert fakes.starCentres.tolist() == [[x, y] for y in (64, 192, 320) for x in (64, 192, 320)]
    assert (fakes.sizeCell, fakes.stampHalfWidth, fakes.background) == (128, 42, 100.0)
    for x, y in fakes.starCentres:
        assert fakes.template.image[y, x] == pytest.approx(1e4 / (2 * math.pi), rel=1e-4)
        stamp = np.s_[y - 42 : y + 43, x - 42 : x + 43]
        # The kernel sum is one everywhere, but the wings see other kernels than the core: 1e-3.
        light = fakes.science.image[stamp].sum(dtype=np.float64) - 100 * 85**2
        assert light == pytest.approx(1e4, rel=5e-3)
    np.testing.assert_array_equal(fakes.science.variance, fakes.science.image)
    np.testing.assert_array_equal(fakes.template.variance, fakes.template.image)


def test_noiseIsPoisson():
    exact, noisy, again = (makeFakeKernelSet(addNoise=noise, seed=3) for noise in (False, True, True))
    np.testing.assert_array_equal(noisy.science.image, again.science.image)
    assert not np.array_equal(noisy.science.image, makeFakeKernelSet(seed=4).science.image)
    assert (noisy.science.image == np.round(noisy.science.image)).all()
    pulls = (noisy.science.image - exact.science.image) / np.sqrt(exact.science.image)
    # Five standard errors; Poisson of 100 has an excess of 0.01 in the fourth moment.
    assert abs(pulls.mean(dtype=np.float64)) < 5 / 384
    assert abs(pulls.std(dtype=np.float64) - 1) < 5 / math.sqrt(2 * 384**2)
    np.testing.assert_array_equal(noisy.science.variance, noisy.science.image)
    assert noisy.template.image[64, 64] == pytest.approx(1591.5, abs=5 * 40)


def test_basis():
    basis = alardLuptonBasis()
    assert basis.shape == (6, 21, 21)
    assert basis[0].sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(basis[1:].sum(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((basis[1:] ** 2).sum(axis=(1, 2)), 1, rtol=1e-12)
    u = np.arange(-10, 11)
    # The order is 1, x, y, x^2, xy, y^2: odd or even in columns and rows as the powers are.
    for function, powerX, powerY in zip(basis, (0, 1, 0, 2, 1, 0), (0, 0, 1, 0, 1, 2), strict=True):
        np.testing.assert_allclose(function[:, ::-1], (-1) ** powerX * function, atol=1e-14)
        np.testing.assert_allclose(function[::-1], (-1) ** powerY * function, atol=1e-14)
    assert basis[1][10, 12] / basis[1][10, 11] == pytest.approx(2 * math.exp(-3 / (2 * 2.5**2)), rel=1e-12)
    assert (u**2 * basis[3]).sum() > 0


def test_anotherBasis():
    fakes = makeFakeKernelSet(sizeCell=40, nCell=1, addNoise=False, basis=alardLuptonBasis(5, 1.5, 1))
    assert fakes.coefficients.shape == (3, 3)
    assert fakes.stampHalfWidth == 22
    np.testing.assert_allclose(fakes.science.image - 100, convolvedPixelByPixel(fakes), atol=2e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spatialModelType": "spline"}, "spatialModelType is 'spline'"),
        ({"basis": np.zeros((7, 21, 21))}, r"basis has shape \(7, 21, 21\): give .* at most 6"),
        ({"sizeCell": 16}, "3 cells of 16 px: give at least"),
    ],
)
def test_badRequests(changes, message):
    with pytest.raises(ValueError, match=message):
        makeFakeKernelSet(**changes)


def test_nineStars():
    template, science, centres = makeNineStars(seed=None)
    assert template.image.shape == science.image.shape == (193, 193)
    assert centres.shape == (9, 2)
    # Values known from the data of the comparison: a star's centre, and one pixel beside another.
    assert template.image[32, 32] == pytest.approx(1591.5494, rel=1e-6)
    assert template.image[96, 96] == pytest.approx(965.3235, rel=1e-6)
    assert science.image[32, 32] == pytest.approx(1e4 / (2 * math.pi * 7.25), rel=1e-6)
    assert science.variance.min() == pytest.approx(100)
    noisy = makeNineStars(seed=1)[1]
    pulls = (noisy.image - science.image) / np.sqrt(science.variance)
    # Rounding adds 1/12 to a variance of 100; five standard errors otherwise.
    assert abs(pulls.std(dtype=np.float64) - 1) < 5 / math.sqrt(2 * 193**2) + 5e-4
    np.testing.assert_array_equal(noisy.variance, science.variance)
    assert (noisy.image == np.round(noisy.image)).all()
