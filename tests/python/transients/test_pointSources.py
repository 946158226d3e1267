"""Photometry of point sources: exact without noise, unbiased with it, honest errors."""

import numpy as np
import pytest
from astropy.modeling.models import Moffat2D
from starFields import sampledPsf

from psfmatch import Box, Exposure, MaskedImage, forcedPhotometry, psfFromStars
from psfmatch.images import DoubleGaussianPsf, GaussianPsf, GridPsf, ImagePsf, ModelPsf, weightImage
from psfmatch.kernels import PsfField
from psfmatch.transients import fitPointSources

SIGMA = 1.8


def scene(x, y, flux, shape, sky=0.0):
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    image = np.full(shape, sky)
    for a, b, f in zip(x, y, flux, strict=True):
        image += (
            f
            / (2 * np.pi * SIGMA**2)
            * np.outer(np.exp(-0.5 * (rows - b) ** 2 / SIGMA**2), np.exp(-0.5 * (columns - a) ** 2 / SIGMA**2))
        )
    return image


def grid(n, step=40, seed=0):
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    return [(values.ravel() + 0.75) * step + rng.uniform(-0.5, 0.5, n * n) for values in (x, y)]


@pytest.fixture(scope="module")
def field():
    return PsfField(sampledPsf(SIGMA), Box(0, 0, 500, 500))


def test_exactWithoutNoise(field):
    x, y = grid(3)
    flux = np.linspace(-500, 500, 9) + 1.0
    shape = (150, 150)
    image = MaskedImage(scene(x, y, flux, shape, sky=20.0), variance=np.ones(shape), xy0=(1000, -50))
    image.mask[28:30, 31] |= image.mask.getPlaneBitMask("BAD")
    own = PsfField(sampledPsf(SIGMA), image.getBBox())
    forced = forcedPhotometry(image, own, x + 1000, y - 50)
    # The stamp holds all but 1e-6 of the light; the clipped ring meets wings of a neighbour at 1e-4.
    np.testing.assert_allclose(forced["flux"], flux, atol=0.2)
    np.testing.assert_allclose(forced["sky"], 20.0, atol=1e-2)
    assert forced["coverage"][0] < 0.99
    assert np.all(np.abs(forced["coverage"][1:] - 1) < 1e-6)
    # Noise-equivalent area of a Gaussian: 4 pi sigma^2.
    assert forced["fluxErr"][8] == pytest.approx(np.sqrt(4 * np.pi) * SIGMA, rel=2e-3)
    bare = forcedPhotometry(image, own, x + 1000, y - 50, localSky=False)
    assert bare["flux"][4] == pytest.approx(flux[4] + 20.0 * 4 * np.pi * SIGMA**2, rel=1e-2)


def test_positionsAreFitted(field):
    x, y = grid(3, seed=1)
    shape = (150, 150)
    image = MaskedImage(scene(x, y, [400, -300] * 4 + [900], shape), variance=np.ones(shape))
    fits = fitPointSources(
        image, weightImage(image), field, np.floor(x + 0.5).astype(int), np.floor(y + 1.5).astype(int)
    )
    assert fits.isFitted.all()
    np.testing.assert_allclose(fits.x, x, atol=1e-4)
    np.testing.assert_allclose(fits.y, y, atol=1e-4)
    np.testing.assert_allclose(fits.flux, [400, -300] * 4 + [900], rtol=1e-4)
    # sigma_x = sqrt(8 pi) sigma^2 / flux for a Gaussian in white noise of 1.
    np.testing.assert_allclose(fits.xErr * np.abs(fits.flux), np.sqrt(8 * np.pi) * SIGMA**2, rtol=1e-2)


def test_unbiasedWhenTheVarianceIsMadeOfTheNoisyPixels(field):
    # Weights of single pixels would take 1 / (gain sum P^2) = 41 counts off, four times the error of the mean.
    x, y = grid(12, seed=2)
    rng = np.random.default_rng(4)
    differences, errors = [], []
    expected = scene(x, y, [300.0] * 144, (500, 500), sky=60.0)
    for _ in range(4):
        counts = rng.poisson(expected).astype(float)
        image = MaskedImage(counts - 60.0, variance=np.maximum(counts, 1.0))
        forced = forcedPhotometry(image, field, x, y, localSky=False)
        differences.append(np.asarray(forced["flux"]) - 300.0)
        errors.append(np.asarray(forced["fluxErr"]))
    pull = np.concatenate(differences) / np.concatenate(errors)
    # 576 sources: 0.042 for the mean, 0.03 for the width.
    assert pull.mean() == pytest.approx(0.0, abs=0.13)
    assert pull.std() == pytest.approx(1.0, abs=0.09)


def psfKinds(shape):
    """Return PSFs of every documented kind that stand for the stars of `scene`, whose light is sampled at points."""
    own = sampledPsf(SIGMA)
    drawn = own.computeKernelImage(0, 0)
    whole = MaskedImage(np.zeros(shape), variance=np.ones(shape))
    return {
        "GaussianPsf": GaussianPsf(SIGMA),
        "DoubleGaussianPsf": DoubleGaussianPsf(SIGMA, 2 * SIGMA, 0.0),
        "an image": drawn,
        "ImagePsf": ImagePsf(drawn),
        "GridPsf": GridPsf(np.array([[drawn, drawn]]), [0, shape[1] - 1], [0]),
        # Of an exponent that makes it a Gaussian but for r^4 / 4e5.
        "a model of astropy": ModelPsf(Moffat2D(1.0, 0.0, 0.0, SIGMA * np.sqrt(2e5), 1e5), size=25),
        "an object": own,
        "PsfField": PsfField(own, whole.getBBox()),
    }


KINDS = (
    "GaussianPsf", "DoubleGaussianPsf", "an image", "ImagePsf", "GridPsf", "a model of astropy", "an object",
    "PsfField",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_everyKindOfPsfIsTaken(kind):
    x, y = grid(3, seed=3)
    flux = np.linspace(200, 1000, 9)
    shape = (150, 150)
    image = MaskedImage(scene(x, y, flux, shape), variance=np.ones(shape))
    kinds = psfKinds(shape)
    assert tuple(kinds) == KINDS
    forced = forcedPhotometry(image, kinds[kind], x, y, localSky=False)
    # A Gaussian of sigma 1.8 that is integrated over pixels is 1 / 24 / 1.8^2 = 1.3 % wider, and so is its flux.
    np.testing.assert_allclose(forced["flux"], flux, rtol=0.014)
    if "Gaussian" not in kind:
        np.testing.assert_allclose(forced["flux"], flux, rtol=1e-3)


def test_theExposuresOwnPsfAndThatOfItsStars():
    rng = np.random.default_rng(11)
    x, y = grid(6, seed=4)
    flux = np.linspace(3000, 30000, 36)
    shape = (260, 260)
    image = scene(x, y, flux, shape) + rng.normal(size=shape)
    exposure = Exposure(MaskedImage(image, variance=np.ones(shape)), psf=sampledPsf(SIGMA))
    own = forcedPhotometry(exposure, None, x, y)
    np.testing.assert_allclose(own["flux"], flux, rtol=0.01)
    stars = forcedPhotometry(exposure, psfFromStars(exposure), x, y)
    # The PSF of 36 stars of S/N above 400 is known to far below a hundredth.
    np.testing.assert_allclose(stars["flux"], flux, rtol=0.01)


def test_psfsThatAreNone():
    image = MaskedImage(np.ones((30, 30)), variance=np.ones((30, 30)))
    with pytest.raises(ValueError, match="no PSF"):
        forcedPhotometry(image, None, [5.0], [5.0])
    with pytest.raises(ValueError, match="no PSF"):
        forcedPhotometry(Exposure(image), None, [5.0], [5.0])
    with pytest.raises(TypeError, match="a PSF is an object"):
        forcedPhotometry(image, "moffat", [5.0], [5.0])


def test_nothingToMeasure(field):
    shape = (60, 60)
    image = MaskedImage(np.ones(shape), variance=np.ones(shape))
    image.mask[:] |= image.mask.getPlaneBitMask("BAD")
    forced = forcedPhotometry(image, field, [30.0, np.nan, 1e12], [30.0, 5.0, 5.0])
    assert np.isnan(forced["flux"]).all()
    assert np.isnan(forced["fluxErr"]).all()
    assert len(forcedPhotometry(image, field, [], [])) == 0
    none = np.zeros(0, dtype=int)
    assert fitPointSources(image, weightImage(image), field, none, none).x.size == 0
