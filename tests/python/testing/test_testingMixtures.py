"""Gaussian mixtures of the simulator: against brute-force sums over pixels, conserving flux everywhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.testing.mixtures import GaussianMixture, addSource, circularFwhm, ellipse


def gaussian(sigma, e1=0.0, e2=0.0, mean=(0.0, 0.0), weight=1.0):
    return GaussianMixture(np.array([weight]), np.array([mean]), ellipse(sigma**2, e1, e2)[None])


def correlated(image, kernel):
    """Brute force: sum_ji K[j, i] image[y - c + j, x - c + i], zero beyond the image."""
    c = kernel.shape[0] // 2
    padded = np.pad(image, c)
    result = np.zeros_like(image)
    for j in range(kernel.shape[0]):
        for i in range(kernel.shape[1]):
            result += kernel[j, i] * padded[j : j + image.shape[0], i : i + image.shape[1]]
    return result


@pytest.mark.parametrize(("narrow", "wide"), [(1.0, 0.9), (1.0, 1.8), (1.5, 1.5)])
@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.5, 0.5), (0.31, -0.17)])
def test_convolutionOnThePixelGrid(narrow, wide, phase):
    star, kernel = gaussian(narrow), gaussian(wide)
    sampled = correlated(star.image(45, *phase), kernel.reflected().image(31))
    exact = star.convolved(kernel).image(45, *phase)
    # Aliasing of the two sampled functions, see the module, one per cent more for higher orders; 1e-9 for the
    # truncation at 15 px or more than 8 sigma.
    harmonic = 1 / (1 / narrow**2 + 1 / wide**2)
    tolerance = 4.04 * math.exp(-2 * math.pi**2 * harmonic) + 1e-9
    assert np.abs(sampled - exact).max() < tolerance * exact.max()


def test_convolutionOfOffCentreEllipses():
    star = gaussian(1.6, 0.3, -0.2, mean=(0.3, -0.4), weight=3.0)
    kernel = GaussianMixture(
        np.array([0.9, 0.35]),
        np.array([[0.5, -0.25], [-1.0, 0.75]]),
        np.array([ellipse(3.0, 0.1, 0.2), ellipse(9.0, -0.2, 0.1)]),
    )
    sampled = correlated(star.image(61), kernel.reflected().image(41))
    # Smallest variance along an axis is 1.6^2 * 0.7 = 1.8 and 2.7 px^2: harmonic 1.1, aliasing 1.7e-9; the
    # wing's stamp ends at 20 px or 5.9 sigma: 3e-8 of the peak.
    np.testing.assert_allclose(sampled, star.convolved(kernel).image(61), atol=1e-7 * sampled.max())
    assert star.convolved(kernel).total == pytest.approx(3.0 * 1.25)


@given(
    sigma=st.floats(0.8, 2.5),
    e1=st.floats(-0.2, 0.2),
    e2=st.floats(-0.2, 0.2),
    dx=st.floats(-0.5, 0.5),
    dy=st.floats(-0.5, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_pixelSumIsTheFlux(sigma, e1, e2, dx, dy):
    mixture = gaussian(sigma, e1, e2)
    least = sigma**2 * (1 - math.hypot(e1, e2))
    # The sum of samples is the sum of the transform over integer frequencies: eight neighbours of zero, the
    # largest of them below exp(-2 pi^2 least); the stamp ends beyond 7 sigma.
    assert abs(mixture.image(45, dx, dy).sum() - 1) < 8 * math.exp(-2 * math.pi**2 * least) + 1e-9


def test_peakAndWidthOfAGaussian():
    assert gaussian(1.7).image(3)[1, 1] == pytest.approx(1 / (2 * math.pi * 1.7**2), rel=1e-12)
    assert circularFwhm(gaussian(1.7)) == pytest.approx(1.7 * math.sqrt(8 * math.log(2)), rel=1e-8)
    assert gaussian(2.0, 0.3, 0.4).narrowestSigma == pytest.approx(2.0 * math.sqrt(0.5), rel=1e-12)


def test_sourceOnAnImage():
    source = gaussian(1.3, 0.1, 0.1, weight=100.0)
    whole = np.zeros((60, 80), dtype=np.float32)
    addSource(whole, (10, -20), 47.3, 9.6, source)
    # The stamp reaches six sigma: 2e-8 of the flux is lost; float32 sums to 1e-7 of it.
    assert whole.sum(dtype=np.float64) == pytest.approx(100.0, abs=1e-4)
    y, x = np.indices(whole.shape)
    assert (x * whole).sum() / whole.sum() + 10 == pytest.approx(47.3, abs=1e-5)
    assert (y * whole).sum() / whole.sum() - 20 == pytest.approx(9.6, abs=1e-5)
    left, right = np.zeros((2, 60, 40), dtype=np.float32)
    addSource(left, (10, -20), 47.3, 9.6, source)
    addSource(right, (50, -20), 47.3, 9.6, source)
    np.testing.assert_array_equal(np.hstack([left, right]), whole)
    addSource(right, (5000, 0), 47.3, 9.6, source)
    np.testing.assert_array_equal(right, whole[:, 40:])


def test_evenSide():
    with pytest.raises(ValueError, match="side is 20: give an odd number"):
        gaussian(1.0).image(20)
