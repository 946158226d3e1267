"""PSFs that vary over the field, and PSFs of other packages."""

import numpy as np
import photutils.psf
import pytest
from astropy.modeling import Fittable2DModel, Parameter
from astropy.modeling.models import Gaussian2D, Moffat2D
from starFields import sampledPsf, widthOverPixels

from psfmatch import GaussianPsf, GridPsf, ImagePsf, ModelPsf, Psf, getFwhmPix
from psfmatch.images import SIGMA_TO_FWHM, asPsf, averagePosition


def image(sigma, size=21):
    return GaussianPsf(sigma, size).computeKernelImage(0.0, 0.0)


# Grids


@pytest.fixture
def grid():
    """PSFs of sigma 1 to 2.5 at the corners of a rectangle."""
    nodes = [[image(1.0), image(1.5)], [image(2.0), image(2.5)]]
    return GridPsf(nodes, [10.0, 110.0], [20.0, 220.0])


def test_gridAtItsNodes(grid):
    assert isinstance(grid, Psf)
    for x, y, sigma in ((10, 20, 1.0), (110, 20, 1.5), (10, 220, 2.0), (110, 220, 2.5)):
        np.testing.assert_allclose(grid.computeKernelImage(x, y), image(sigma), rtol=1e-14)


def test_gridBetweenItsNodes(grid):
    # At a quarter of the way along x and three quarters along y.
    expected = 0.25 * (0.75 * image(1.0) + 0.25 * image(1.5)) + 0.75 * (0.75 * image(2.0) + 0.25 * image(2.5))
    np.testing.assert_allclose(grid.computeKernelImage(35.0, 170.0), expected, rtol=1e-13)
    assert grid.computeKernelImage(35.0, 170.0).sum() == pytest.approx(1.0, abs=1e-14)


def test_gridBeyondItsNodes(grid):
    np.testing.assert_allclose(grid.computeKernelImage(-50.0, 0.0), image(1.0), rtol=1e-14)
    np.testing.assert_allclose(grid.computeKernelImage(1e6, 1e6), image(2.5), rtol=1e-14)
    np.testing.assert_allclose(grid.computeKernelImage(110.0, -1e6), image(1.5), rtol=1e-14)


def test_gridOfOneNode():
    psf = GridPsf([[image(1.3)]], 5.0, 7.0)
    np.testing.assert_allclose(psf.computeKernelImage(100.0, -3.0), image(1.3), rtol=1e-14)
    assert psf.getAveragePosition() == (5.0, 7.0)


def test_gridOwnsItsPixels(grid):
    nodes = np.array([[image(1.0)]])
    psf = GridPsf(3.0 * nodes, [0], [0])
    psf.computeKernelImage(0, 0)[:] = 0.0
    np.testing.assert_allclose(psf.computeKernelImage(0, 0), image(1.0), rtol=1e-14)
    np.testing.assert_array_equal(nodes, [[image(1.0)]])


def test_gapsOfAGrid():
    nodes = np.tile(image(1.0), (3, 3, 1, 1))
    nodes[1, 1] = np.nan
    psf = GridPsf(nodes, [0, 10, 20], [0, 10, 20])
    for x, y in ((10.0, 10.0), (9.0, 9.0), (15.0, 10.0)):
        with pytest.raises(ValueError, match=rf"not known at \({x}, {y}\): the grid has a gap there"):
            psf.computeKernelImage(x, y)
    # On the outer lines the gap has no weight.
    np.testing.assert_allclose(psf.computeKernelImage(20.0, 10.0), image(1.0), rtol=1e-14)
    assert psf.getAveragePosition() == (10.0, 10.0)
    nodes[:, 2] = np.nan
    assert GridPsf(nodes, [0, 10, 20], [0, 10, 20]).getAveragePosition() == pytest.approx((4.0, 10.0))


def test_gridErrors():
    nodes = np.tile(image(1.0), (2, 3, 1, 1))
    for x, y, images in (([0, 1], [0, 1], nodes), ([0, 1, 2], [0], nodes), ([0, 1, 2], [0, 1], nodes[0])):
        with pytest.raises(ValueError, match="do not fit a grid"):
            GridPsf(images, x, y)
    for x in ([0, 1, 1], [0, 2, 1], [0, 1, np.nan]):
        with pytest.raises(ValueError, match="must be finite and increase"):
            GridPsf(nodes, x, [0, 1])
    with pytest.raises(ValueError, match="known at one node at least"):
        GridPsf(np.full_like(nodes, np.nan), [0, 1, 2], [0, 1])
    with pytest.raises(ValueError, match="odd sides"):
        GridPsf(nodes[:, :, :20], [0, 1, 2], [0, 1])
    nodes[1, 2, 0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite and have a positive sum"):
        GridPsf(nodes, [0, 1, 2], [0, 1])


# Models of other packages


def test_gaussianOfPhotutils():
    psf = asPsf(photutils.psf.CircularGaussianPSF(flux=7.0, x_0=3.0, y_0=4.0, fwhm=SIGMA_TO_FWHM * 1.7))
    drawn = psf.computeKernelImage(100.3, 50.7)
    # Centred on the middle pixel whatever the fraction of the position, with sum 1 whatever the flux.
    half = drawn.shape[0] // 2
    sampled = sampledPsf(1.7, 2 * half + 1).computeKernelImage(0.0, 0.0)
    np.testing.assert_allclose(drawn, sampled, rtol=1e-9, atol=1e-15)
    assert getFwhmPix(psf) == pytest.approx(SIGMA_TO_FWHM * 1.7, rel=1e-3)


def test_imageOfPhotutils():
    # Two samples per pixel: 41 of them cover 20 pixels and a bit, of which 21 whole ones are drawn.
    y, x = (np.mgrid[:41, :41] - 20) / 2.0
    model = photutils.psf.ImagePSF(np.exp(-0.5 * (x**2 + y**2) / 1.5**2), oversampling=2)
    drawn = asPsf(model).computeKernelImage(12.0, 34.0)
    assert drawn.shape == (21, 21)
    np.testing.assert_allclose(drawn, sampledPsf(1.5, 21).computeKernelImage(0.0, 0.0), atol=1e-6)
    assert averagePosition(asPsf(model)) is None


def test_gridOfPhotutils():
    from astropy.nddata import NDData

    sigmas, positions = (1.2, 1.6, 1.6, 2.0), [(0, 0), (100, 0), (0, 100), (100, 100)]
    data = NDData(np.array([image(s, 31) for s in sigmas]), meta={"grid_xypos": positions, "oversampling": 1})
    psf = asPsf(photutils.psf.GriddedPSFModel(data))
    assert averagePosition(psf) == (50.0, 50.0)
    np.testing.assert_allclose(psf.computeKernelImage(100.0, 0.0), image(1.6, 31), atol=1e-6)
    middle = 0.25 * sum(image(s, 31) for s in sigmas)
    np.testing.assert_allclose(psf.computeKernelImage(50.0, 50.0), middle, atol=1e-6)
    assert getFwhmPix(psf) == pytest.approx(getFwhmPix(ImagePsf(middle)), rel=1e-4)


def test_modelsOfAstropy():
    model = Moffat2D(amplitude=5.0, x_0=1.0, y_0=2.0, gamma=2.0, alpha=3.0)
    psf = ModelPsf(model, size=41)
    drawn = psf.computeKernelImage(10.0, 20.0)
    y, x = np.mgrid[:41, :41] - 20
    expected = (1.0 + (x**2 + y**2) / 4.0) ** -3.0
    np.testing.assert_allclose(drawn, expected / expected.sum(), rtol=1e-12)
    # The model stays as it was.
    assert (model.amplitude.value, model.x_0.value, model.y_0.value) == (5.0, 1.0, 2.0)
    with pytest.raises(ValueError, match=r"Moffat2D does not say how large it is; use ModelPsf\(model, size"):
        asPsf(model)
    with pytest.raises(ValueError, match="odd size, not 40 pixels"):
        ModelPsf(model, size=40)


class BoundedModel(Fittable2DModel):
    """A square of light that knows its bounding box."""

    flux, x_0, y_0 = Parameter(default=1.0), Parameter(default=0.0), Parameter(default=0.0)

    @staticmethod
    def evaluate(x, y, flux, x_0, y_0):
        return flux * np.where((np.abs(x - x_0) <= 2) & (np.abs(y - y_0) <= 3), 1.0, 0.0)

    def bounding_box(self):
        return ((self.y_0 - 3.5, self.y_0 + 3.5), (self.x_0 - 2.5, self.x_0 + 2.5))


def test_sizeFromTheBoundingBox():
    drawn = asPsf(BoundedModel()).computeKernelImage(5.0, 5.0)
    assert drawn.shape == (9, 9)
    assert np.count_nonzero(drawn) == 35


def test_whatIsAPsf():
    psf = GaussianPsf(1.2)
    assert asPsf(psf) is psf
    np.testing.assert_allclose(asPsf(image(1.2)).computeKernelImage(0, 0), image(1.2), rtol=1e-14)
    assert getFwhmPix(image(1.7)) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(1.7), rel=1e-3)
    # Gaussian2D calls its centre x_mean.
    for other in (Gaussian2D(), 3.0, "gaussian", None, [[1.0]]):
        with pytest.raises(TypeError, match=f"not {type(other).__name__}"):
            asPsf(other)
    with pytest.raises(TypeError, match="Gaussian2D is no PSF model: it needs the parameters x_0, y_0"):
        ModelPsf(Gaussian2D())


@pytest.mark.parametrize("oversampling", [1, 2])
def test_whatEpsfBuilderReturns(oversampling):
    from astropy.nddata import NDData
    from astropy.table import Table

    # Stars whose Gaussians of sigma 1.6 px are integrated over no pixel: the ePSF is the Gaussian itself.
    random = np.random.default_rng(8)
    x, y = (30.0 * grid.ravel() + 20.0 for grid in np.meshgrid(np.arange(4), np.arange(4)))
    x, y = x + random.uniform(-0.5, 0.5, 16), y + random.uniform(-0.5, 0.5, 16)
    columns, rows = np.meshgrid(np.arange(130), np.arange(130))
    field = sum(np.exp(-0.5 * ((columns - a) ** 2 + (rows - b) ** 2) / 1.6**2) for a, b in zip(x, y, strict=True))
    stars = photutils.psf.extract_stars(NDData(1000.0 * field), Table({"x": x, "y": y}), size=21)
    builder = photutils.psf.EPSFBuilder(oversampling=oversampling, maxiters=3, progress_bar=False)
    built = builder(stars)
    psf = asPsf(built)
    drawn = psf.computeKernelImage(50.0, 60.0)
    assert drawn.shape[0] == drawn.shape[1] >= 19
    assert drawn.sum() == pytest.approx(1.0, abs=1e-12)
    # Three iterations of the builder smooth the PSF by a few per cent.
    assert getFwhmPix(psf) == pytest.approx(SIGMA_TO_FWHM * 1.6, rel=0.05)
    np.testing.assert_array_equal(asPsf(built.epsf).computeKernelImage(50.0, 60.0), drawn)
