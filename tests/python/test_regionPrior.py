"""The prior of a kernel: a Gaussian varies as its width does, and the covariances of both parts add up."""

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.regions.prior import precisionOf, wideningOf

HALF = 12


def gaussian(sigma):
    offset = np.arange(-HALF, HALF + 1.0)
    image = np.exp(-(offset**2 + offset[:, None] ** 2) / (2 * sigma**2))
    return image / image.sum()


@pytest.fixture(scope="module")
def basis():
    raw = _core.makeAlardLuptonBasis(HALF, (0.8, 1.6, 3.2), (4, 4, 2), hermite=True)
    return _core.renormalizeBasis(raw)


def test_widening(basis):
    """The kernel between two Gaussians less that between a narrower one and the same."""
    images = basis.reshape(len(basis), -1)
    kernel = np.linalg.lstsq(images.T, gaussian(1.6).ravel())[0]
    widening = wideningOf(kernel, basis)
    change = np.tensordot(widening, basis, 1)
    assert widening[0] == 0.0
    assert np.linalg.norm(change) == pytest.approx(1.0)
    true = gaussian(1.65) - gaussian(1.55)
    # Differences of pixels are a derivative with an error of (1 / sigma)^2 / 12 in each direction: 3 %.
    assert (change * true).sum() / np.linalg.norm(true) > 0.99


def test_wideningOfNothing(basis):
    assert not wideningOf(np.zeros(len(basis)), basis).any()
    assert not wideningOf(np.ones(1), basis[:1]).any()


def test_precision(basis):
    """The inverse of the sum of two covariances, that of the one image without any."""
    gram = np.einsum("iyx,jyx->ij", basis, basis)
    kernel = np.zeros(len(basis))
    kernel[0] = 1.0
    widening = wideningOf(kernel, basis)
    covariance = 0.01**2 * np.linalg.inv(gram[1:, 1:]) + 0.2**2 * np.outer(widening[1:], widening[1:])
    precision = precisionOf(gram, 0.01, widening, 0.2)
    # Sums of a few hundred terms, whose largest is 1e4 (the inverse of 0.01^2) times those that remain.
    np.testing.assert_allclose(precision[1:, 1:] @ covariance, np.eye(len(basis) - 1), rtol=0, atol=1e-8)
    assert not precision[0].any()
    assert not precision[:, 0].any()
    np.testing.assert_array_equal(precisionOf(gram, 0.01, widening, 0.0), precisionOf(gram, 0.01))
    assert not precisionOf(gram, 0.0, widening, 0.2).any()
