"""The kernel that decorrelates: its transfer, its shape, and how it follows kernel and variances over a field."""

import logging

import numpy as np
import pytest

from psfmatch import Box, LinearCombinationKernel, MaskedImage
from psfmatch._core import CellGrid
from psfmatch.difference import correctionKernel
from psfmatch.difference.decorrelation.correction import fitField, fitPositions, makeCorrection
from psfmatch.difference.decorrelation.decorrelation import measureVariances

BOX = Box(100, -50, 300, 200)


def gaussian(sigma, side=21, flux=1.0):
    offset = np.arange(side) - side // 2
    image = np.exp(-0.5 * (offset[:, np.newaxis] ** 2 + offset**2) / sigma**2)
    return flux * image / image.sum()


def transferOf(image, size=128):
    """Transform of an image about its middle pixel; real for even images."""
    padded = np.zeros((size, size))
    padded[: image.shape[0], : image.shape[1]] = image
    return np.fft.fft2(np.roll(padded, [-(side // 2) for side in image.shape], (0, 1)))


def grid(value):
    return CellGrid(np.full((2, 2), float(value)), np.array([150.0, 300.0]), np.array([0.0, 100.0]))


@pytest.mark.parametrize("ratio", [0.1, 1.0, 100.0])
def test_transferIsTheFormula(ratio):
    kernel = gaussian(1.2, flux=1.3)
    phi = correctionKernel(kernel, 2.0, 2.0 * ratio)
    wanted = np.sqrt((1.0 + ratio * 1.3**2) / (1.0 + ratio * np.abs(transferOf(kernel)) ** 2))
    # What the stamp cuts off is 1e-4 of sum |phi|, which is below 3 times the largest of the transfer.
    np.testing.assert_allclose(transferOf(phi), wanted, rtol=0, atol=3e-4 * wanted.max())
    assert phi.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(phi, phi[::-1, ::-1])


def test_transferOfTheScoreImage():
    kernel, psf = gaussian(1.5, flux=0.8), gaussian(1.3)
    phi = correctionKernel(kernel, 1.0, 2.0, psf)
    kernelPower, psfPower = np.abs(transferOf(kernel)) ** 2, np.abs(transferOf(psf)) ** 2
    wanted = (1.0 + 2.0 * 0.64) / (1.0 + 2.0 * kernelPower / psfPower)
    # Where the PSF has no power left nothing can be said, and nothing is there to correct.
    known = psfPower > 1e-6
    np.testing.assert_allclose(transferOf(phi)[known], wanted[known], rtol=0, atol=2e-3)


def test_noiselessTemplateNeedsNone():
    np.testing.assert_array_equal(correctionKernel(gaussian(1.2), 1.0, 0.0), [[1.0]])


def test_noiselessScienceIsLimited():
    """Without the limit the correction would be a deconvolution."""
    phi = correctionKernel(gaussian(1.2), 0.0, 1.0)
    assert np.isfinite(phi).all()
    assert np.abs(transferOf(phi)).max() < 101.0


@pytest.mark.parametrize("variances", [(-1.0, 1.0), (1.0, np.nan), (np.inf, 1.0)])
def test_impossibleVariances(variances):
    with pytest.raises(ValueError, match="must be finite and not negative"):
        correctionKernel(gaussian(1.2), *variances)


@pytest.mark.parametrize("image", [np.ones((4, 5)), np.ones(5), np.full((3, 3), np.nan)])
def test_impossibleKernels(image):
    with pytest.raises(ValueError, match="2-D with odd sides and finite"):
        correctionKernel(image, 1.0, 1.0)


def test_fieldOfThirdOrderIsFittedExactly():
    x, y = fitPositions(BOX)
    u, v = (x - BOX.centre[0]) / 150.0, (y - BOX.centre[1]) / 100.0
    values = 1.0 + 2.0 * u - v + u * v**2
    coefficients, fitted = fitField(values, BOX, 3)
    np.testing.assert_allclose(fitted, values, rtol=0, atol=1e-13)
    kernel = LinearCombinationKernel(np.ones((1, 1, 1)), coefficients[np.newaxis], bbox=BOX)
    assert kernel.kernelSum(BOX.x0, BOX.y0 + 7) == pytest.approx(
        1.0 - 2.0 * 299 / 300 + 185 / 200 - 299 / 300 * (185 / 200) ** 2, abs=1e-12
    )


@pytest.fixture(scope="module")
def varyingKernel():
    """A Gaussian whose width runs from 1.0 px at the left to 1.5 px at the right, as a polynomial."""
    x, _ = fitPositions(BOX)
    images = np.array([gaussian(1.25 + 0.25 * (position - BOX.centre[0]) / 150.0, flux=1.2) for position in x])
    basis, _ = fitField(images, BOX, 4)
    return LinearCombinationKernel(basis, np.eye(len(basis)), bbox=BOX)


@pytest.mark.parametrize("x", [101.0, 180.0, 398.0])
def test_correctionFollowsTheKernel(varyingKernel, x):
    correction = makeCorrection(varyingKernel, BOX, grid(1.0), grid(1.0))
    phi, kernel = transferOf(correction.computeImage(x, 0.0)), transferOf(varyingKernel.computeImage(x, 0.0))
    power = np.abs(phi) ** 2 * (1.0 + np.abs(kernel) ** 2)
    # The mean error over frequencies is bound by 4e-3 at the lattice; single frequencies and the margin by more.
    assert np.abs(power / 2.44 - 1.0).mean() < 6e-3
    assert correction.kernelSum(x, 77.0) == pytest.approx(1.0, abs=1e-12)
    constant = makeCorrection(varyingKernel, BOX, grid(1.0), grid(1.0), varying=False)
    assert not constant.isVarying


def test_correctionFollowsTheVariances():
    kernel = LinearCombinationKernel([gaussian(1.2)], [[1.0]])
    ramp = CellGrid(np.array([[0.5, 2.0]]), np.array([100.0, 400.0]), np.array([50.0]))
    correction = makeCorrection(kernel, BOX, grid(1.0), ramp)
    assert correction.isVarying
    for x, ratio in ((110.0, 0.55), (390.0, 1.95)):
        wanted = correctionKernel(kernel.computeImage(0, 0), 1.0, ratio)
        assert correction.computeImage(x, 0.0).max() == pytest.approx(wanted.max(), rel=2e-3)


def test_longTailsAreTold(caplog):
    with caplog.at_level(logging.WARNING, logger="psfmatch.difference"):
        phi = correctionKernel(gaussian(8.0, 81), 1.0, 1e4)
    assert "does not end within 31 px" in caplog.text
    assert phi.shape == (63, 63)
    assert phi.sum() == pytest.approx(1.0, abs=1e-12)


def test_cellsLeaveStarsAndFlaggedPixelsOut():
    random = np.random.default_rng(1)
    variance = random.normal(4.0, 0.1, (128, 160)).astype(np.float32)
    variance[10:20, 10:20] = 500.0
    image = MaskedImage(np.zeros_like(variance), variance=variance)
    variance[:, 80:] = 9.0
    variance[100, 100] = np.nan
    image.mask[:, 150:] = image.mask.getPlaneBitMask("EDGE")
    variance[:, 150:] = 1e3
    cells = measureVariances(image, ("EDGE",))
    assert cells.values.shape == (4, 5)
    np.testing.assert_allclose(cells.at(np.array([2.0, 140.0]), np.array([60.0, 60.0])), [4.0, 9.0], rtol=0.01)
    nothing = MaskedImage(np.zeros((40, 40)), variance=np.full((40, 40), np.nan))
    assert not measureVariances(nothing, ()).isKnown
