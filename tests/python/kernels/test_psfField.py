"""The PSF over a field: what is drawn is given back, constant or varying, and shifts are exact."""

import numpy as np
import pytest
from starFields import sampledPsf

from psfmatch import Box, GaussianPsf, GridPsf, ImagePsf
from psfmatch.kernels.psfField import PsfField, shiftedImages, squareImage


class VaryingGaussian:
    """Round Gaussian whose width grows with x and y; not defined for x beyond a limit."""

    def __init__(self, limit=np.inf):
        self.limit = limit

    def sigma(self, x, y):
        return 1.5 + 0.001 * x + 5e-7 * y**2

    def computeKernelImage(self, x, y):
        if x > self.limit:
            raise ValueError("no PSF here")
        return GaussianPsf(self.sigma(x, y), 31).computeKernelImage(x, y)


def gaussian(half, sigma, dx=0.0, dy=0.0):
    offset = np.arange(-half, half + 1)
    image = np.exp(-0.5 * ((offset[None, :] - dx) ** 2 + (offset[:, None] - dy) ** 2) / sigma**2)
    return image / (2 * np.pi * sigma**2)


def test_constantPsfIsOneImage():
    field = PsfField(sampledPsf(1.7), Box(100, 50, 300, 200))
    assert field.isExact
    assert not field.kernel.isVarying
    assert field.fwhm == pytest.approx(1.7 * 2.3548, rel=1e-3)
    # Noise-equivalent area of a Gaussian: 4 pi sigma^2.
    assert field.noiseArea == pytest.approx(4 * np.pi * 1.7**2, rel=1e-3)
    np.testing.assert_allclose(field.images([120.0, 390.0], [60.0, 240.0]), [gaussian(field.half, 1.7)] * 2, atol=1e-6)


def test_varyingPsfBetweenTheNodes():
    psf, box = VaryingGaussian(), Box(0, 0, 500, 700)
    field = PsfField(psf, box)
    assert field.isExact
    for x, y in ((33.0, 480.0), (467.0, 120.0)):
        true = squareImage(psf.computeKernelImage(x, y), field.half)
        np.testing.assert_allclose(field.images([x], [y])[0], true, atol=2e-3 * true.max())


def test_roughPsfIsDrawnAnew():
    rng = np.random.default_rng(3)
    widths = rng.uniform(1.2, 2.5, (9, 9))
    images = np.array([[gaussian(10, s) for s in row] for row in widths])
    psf = GridPsf(images, np.linspace(0, 511, 9), np.linspace(0, 511, 9))
    field = PsfField(psf, Box(0, 0, 512, 512))
    assert not field.isExact
    x, y = 201.0, 77.0
    np.testing.assert_allclose(
        field.images([x], [y])[0], squareImage(psf.computeKernelImage(x, y), field.half), atol=1e-12
    )


def test_gapsInThePsf():
    field = PsfField(VaryingGaussian(limit=300.0), Box(0, 0, 500, 500))
    assert np.isfinite(field.images([450.0], [100.0])).all()
    with pytest.raises(ValueError, match=r"the PSF is defined nowhere on .*no PSF here"):
        PsfField(VaryingGaussian(limit=-1.0), Box(0, 0, 500, 500))


def test_fieldOfAFieldIsItself():
    field = PsfField(GaussianPsf(2.0), Box(0, 0, 64, 64))
    assert PsfField.of(field, Box(0, 0, 64, 64)) is field
    assert PsfField.of(field, Box(0, 0, 80, 64)) is not field


def test_onePixelImage():
    assert PsfField(ImagePsf(gaussian(5, 1.5)), Box(7, 9, 1, 1)).kernel.shape == (11, 11)


def test_shiftsAndDerivativesOfAGaussian():
    # Of a Gaussian of 1.8 px, exp(-(pi 1.8)^2 / 2) = 1e-7 lies beyond the Nyquist frequency.
    dx, dy = np.array([0.3, -0.7]), np.array([-0.45, 0.2])
    shifted, alongX, alongY = shiftedImages(np.array([gaussian(12, 1.8)] * 2), dx, dy)
    for i in range(2):
        true = gaussian(12, 1.8, dx[i], dy[i])
        offset = np.arange(-12, 13)
        np.testing.assert_allclose(shifted[i], true, atol=1e-7)
        np.testing.assert_allclose(alongX[i], true * (offset[None, :] - dx[i]) / 1.8**2, atol=1e-6)
        np.testing.assert_allclose(alongY[i], true * (offset[:, None] - dy[i]) / 1.8**2, atol=1e-6)


def test_shiftOfNothing():
    assert shiftedImages(np.zeros((0, 5, 5)), np.zeros(0), np.zeros(0))[0].shape == (0, 5, 5)
