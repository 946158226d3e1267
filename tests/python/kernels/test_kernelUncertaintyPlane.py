"""The error of the kernel as variance of the difference: brute force, eigenvectors left out, tiles left out."""

import numpy as np
import pytest

from psfmatch import InputImagesError, LinearCombinationKernel, MaskedImage
from psfmatch.kernels import EdgeHandling, kernelUncertaintyPlane

SHAPE = (100, 140)
SKY = 50.0


@pytest.fixture(scope="module")
def stars():
    """Three stars on a sky of 50, one of them at the corner."""
    y, x = np.indices(SHAPE)
    image = np.full(SHAPE, SKY)
    for column, row, peak in ((30, 20, 1e3), (70.3, 60.2, 1e4), (137, 97, 4e3)):
        image += peak * np.exp(-0.5 * ((x - column) ** 2 + (y - row) ** 2) / 1.5**2)
    return MaskedImage(image, variance=np.full(SHAPE, 4.0))


@pytest.fixture(scope="module")
def kernel():
    """Four random basis images of 9 x 7 pixels, whose coefficients err together."""
    random = np.random.default_rng(3)
    factor = random.normal(size=(4, 4))
    return LinearCombinationKernel(random.normal(size=(4, 9, 7)), np.ones((4, 1)), covariance=1e-6 * factor @ factor.T)


def byBruteForce(kernel, stars):
    """g^T C g with the basis applied image by image; nothing lies beyond the border."""
    half = tuple(side // 2 for side in kernel.shape)
    padded = np.pad(stars.image.astype(np.float64) - SKY, [(size, size) for size in half])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    factors = np.tensordot(windows, kernel.basis, axes=([2, 3], [1, 2]))
    return np.einsum("yxi,ij,yxj->yx", factors, kernel.covariance, factors)


def test_bruteForce(kernel, stars):
    plane = kernelUncertaintyPlane(kernel, stars, np.full(SHAPE, 9.0, dtype=np.float32), minShare=0.0)
    wanted = byBruteForce(kernel, stars)
    assert plane.dtype == np.float32
    # Eigenvectors with 1 % of the variance of the kernel may be missing.
    assert np.abs(plane - wanted).max() < 0.01 * wanted.max()


def test_onlyWhereItMatters(kernel, stars):
    variance = np.full(SHAPE, 9.0, dtype=np.float32)
    wanted = byBruteForce(kernel, stars)
    variance *= 10.0 * wanted[:40, :60].max() / 9.0
    plane = kernelUncertaintyPlane(kernel, stars, variance, minShare=0.5)
    assert np.count_nonzero(plane) < 0.7 * plane.size
    left = np.where(plane == 0.0, wanted, 0.0)
    assert (left <= 0.5 * variance).all()
    assert plane.max() == pytest.approx(wanted.max(), rel=0.02)


def test_varyingCoefficients(stars):
    """With 1 and x as functions, the error at a star is that at its place."""
    box = stars.getBBox()
    delta = np.zeros((1, 5, 5))
    delta[0, 2, 2] = 1.0
    kernel = LinearCombinationKernel(delta, [[1.0, 0.0, 0.0]], bbox=box, covariance=np.diag([0.0, 1e-4, 0.0]))
    plane = kernelUncertaintyPlane(kernel, stars, np.ones(SHAPE, dtype=np.float32))
    x = 112.0
    stars = stars.copy()
    # The sum of the kernel has the error 0.01 |x'|; within a tile it is that of its middle.
    middle = (15.5 - 69.5) / 70.0
    assert plane[20, 30] == pytest.approx((0.01 * middle * (stars.image[20, 30] - SKY)) ** 2, rel=1e-3)
    assert x < SHAPE[1]


def test_throughTheCorrection(kernel, stars):
    """A correction of the difference acts on its errors too."""
    phi = np.zeros((3, 3))
    phi[1] = -0.1, 1.2, -0.1
    correction = LinearCombinationKernel([phi], [[1.0]])
    composite = np.array([np.apply_along_axis(np.convolve, 1, image, phi[1]) for image in kernel.basis])
    whole = LinearCombinationKernel(composite, np.ones((4, 1)), covariance=kernel.covariance)
    variance = np.full(SHAPE, 9.0, dtype=np.float32)
    plane = kernelUncertaintyPlane(kernel, stars, variance, correction=correction, minShare=0.0, scale=2.0)
    wanted = byBruteForce(whole, stars) / 4.0
    assert np.abs(plane - wanted).max() < 0.01 * wanted.max()


def test_drawsOfTheKernel(stars):
    """Scatter of the matched image over kernels drawn from their covariance."""
    random = np.random.default_rng(8)
    offset = np.arange(7) - 3
    basis = np.array([np.exp(-0.5 * (offset[:, np.newaxis] ** 2 + offset**2) / s**2) for s in (0.8, 1.2, 2.0)])
    covariance = 1e-5 * np.array([[1.0, -0.8, 0.1], [-0.8, 1.0, 0.0], [0.1, 0.0, 0.2]])
    parameters = np.array([0.5, 0.05, 0.01])
    kernel = LinearCombinationKernel(basis, parameters[:, np.newaxis], covariance=covariance)
    plane = kernelUncertaintyPlane(kernel, stars, np.ones(SHAPE, dtype=np.float32))
    light = MaskedImage(stars.image - SKY, variance=stars.variance)
    draws = [
        LinearCombinationKernel(basis, one[:, np.newaxis]).convolve(light, EdgeHandling(copyEdge=True)).image
        for one in random.multivariate_normal(parameters, covariance, 200)
    ]
    scatter = np.var(draws, axis=0, ddof=1)
    near = np.s_[55:66, 65:76]
    # 200 draws tell a variance to 10 %, all pixels together: three times that.
    assert scatter[near].sum() == pytest.approx(plane[near].sum(), rel=0.3)


def test_badPixelsAndInputs(kernel, stars):
    spoilt = stars.copy()
    spoilt.image[20, 28] = np.nan
    spoilt.image[50:60, 10:20] = 1e6
    spoilt.mask[50:60, 10:20] = spoilt.mask.getPlaneBitMask("SAT")
    before = spoilt.image.copy()
    variance = np.full(SHAPE, 9.0, dtype=np.float32)
    plane = kernelUncertaintyPlane(kernel, spoilt, variance)
    np.testing.assert_array_equal(spoilt.image, before)
    assert np.isfinite(plane).all()
    assert plane[50:60, 10:20].max() < 1.0
    np.testing.assert_array_equal(plane, kernelUncertaintyPlane(kernel, spoilt, variance, threads=2))
    spoilt.image[...] = np.nan
    assert not kernelUncertaintyPlane(kernel, spoilt, variance).any()


def test_slips(kernel, stars):
    variance = np.ones(SHAPE, dtype=np.float32)
    with pytest.raises(ValueError, match="set calculateKernelUncertainty"):
        kernelUncertaintyPlane(LinearCombinationKernel([[[1.0]]], [[1.0]]), stars, variance)
    with pytest.raises(ValueError, match="minShare is -1"):
        kernelUncertaintyPlane(kernel, stars, variance, minShare=-1.0)
    with pytest.raises(InputImagesError, match="does not belong to an image of shape"):
        kernelUncertaintyPlane(kernel, stars, variance[1:])
