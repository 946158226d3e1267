"""The PSF of an image from its stars."""

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import Exposure, InsufficientKernelSourcesError, MaskedImage, getFwhmPix, psfFromStars

SIZE = 420


def sigmaAt(x):
    return 1.5 + 0.6 * x / SIZE


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(8)
    image = rng.normal(100.0, 3.0, (SIZE, SIZE))
    grid = np.arange(30, SIZE - 20, 48)
    x, y = (v.ravel() + rng.uniform(-5, 5, v.size) for v in np.meshgrid(grid, grid))
    pixel = np.arange(SIZE)
    for a, b, flux in zip(x, y, 10 ** rng.uniform(3.6, 5, x.size), strict=True):
        s = sigmaAt(a)
        image += (
            flux
            / (2 * np.pi * s**2)
            * np.outer(np.exp(-0.5 * (pixel - b) ** 2 / s**2), np.exp(-0.5 * (pixel - a) ** 2 / s**2))
        )
    masked = MaskedImage(image, variance=np.full(image.shape, 9.0), xy0=(-40, 900))
    masked.mask[:60, :60] |= masked.mask.getPlaneBitMask("SAT")
    return Exposure(masked), Table({"x": x - 40, "y": y + 900})


@pytest.fixture(scope="module")
def psf(field):
    return psfFromStars(field[0])


def test_widthFollowsTheField(psf):
    assert psf.nStars > 40
    assert psf.kernel.order == 2
    # The pixel is not part of the Gaussians; the sky of the rings takes a trifle of the wings.
    for x in (60.0, 200.0, 360.0):
        for y in (80.0, 350.0):
            image = psf.computeKernelImage(x - 40, y + 900)
            assert image.sum() == pytest.approx(1.0)
            assert getFwhmPix(image) == pytest.approx(2.3548 * sigmaAt(x), rel=0.02)
            # The flux that a fit finds for the true star with this PSF.
            offset = np.arange(image.shape[0]) - image.shape[0] // 2
            true = np.exp(-0.5 * np.add.outer(offset**2, offset**2) / sigmaAt(x) ** 2) / (2 * np.pi * sigmaAt(x) ** 2)
            assert (image * true).sum() / (image**2).sum() == pytest.approx(1.0, abs=0.02)


def test_givenStars(field, psf):
    exposure, stars = field
    given = psfFromStars(exposure, stars)
    a, b = (p.computeKernelImage(150.0, 1100.0) for p in (given, psf))
    np.testing.assert_allclose(a, b, atol=0.02 * a.max())


def test_fewStarsGiveSimplerPsfs(field):
    exposure, stars = field
    assert psfFromStars(exposure, stars[-14:]).kernel.order == 1
    assert psfFromStars(exposure, stars[-5:]).kernel.order == 0


def test_tooFewStars(field):
    exposure, stars = field
    with pytest.raises(InsufficientKernelSourcesError, match="of 2 sources are isolated") as error:
        psfFromStars(exposure, stars[-2:])
    assert error.value.nRequired == 3
    noise = Exposure(MaskedImage(np.random.default_rng(0).normal(size=(128, 128)), variance=np.ones((128, 128))))
    with pytest.raises(InsufficientKernelSourcesError):
        psfFromStars(noise)


def test_inputIsNotChanged(field):
    exposure, stars = field
    before = exposure.copy()
    psfFromStars(exposure, stars)
    np.testing.assert_array_equal(exposure.image, before.image)
