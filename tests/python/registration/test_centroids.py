"""Positions of stars: exact without noise, as far off as their errors say with it, bad pixels left out."""

import numpy as np
import pytest
from astropy.table import Table
from starFields import drawStars

from psfmatch.images import MaskedImage
from psfmatch.registration.centroids import findStars, fitPositions

RNG = np.random.default_rng(4)
X, Y = (40.0 + 44.0 * grid.ravel() + RNG.uniform(-0.5, 0.5, 25) for grid in np.meshgrid(range(5), range(5)))
FLUX = np.full(25, 5e4)


def fit(exposure, fwhm=3.0, bad=None, x=X, y=Y):
    if bad is not None:
        np.asarray(exposure.mask)[bad] |= exposure.mask.getPlaneBitMask(["BAD"])
    return fitPositions(exposure.maskedImage, ("BAD",), np.floor(x + 0.5), np.floor(y + 0.5), fwhm)


@pytest.mark.parametrize("fwhm", [2.5, 3.0, 4.5])
def test_exactWithoutNoise(fwhm):
    x, y, xErr, yErr = fit(drawStars(X, Y, FLUX, fwhm=fwhm), fwhm)
    # float32 pixels of 5e3 counts are good to 3e-4, the slope at the core is 1e3 counts per pixel; a last step of 1e-4.
    np.testing.assert_allclose([x, y], [X, Y], atol=1e-4)
    assert (np.minimum(xErr, yErr) > 0).all()


def test_anyWidthServes():
    """Stars are symmetric: a Gaussian that is too narrow or too wide finds their centres still."""
    for fwhm in (2.4, 4.0):
        x, y, _, _ = fit(drawStars(X, Y, FLUX, fwhm=3.2), fwhm)
        # Of a disc cut by whole pixels a hundredth of the light moves with the pixel phase.
        np.testing.assert_allclose([x, y], [X, Y], atol=5e-3)


def test_badPixelsTakeNoPart():
    exposure = drawStars(X, Y, FLUX)
    bad = np.zeros(exposure.shape, dtype=bool)
    for x, y in zip(X, Y, strict=True):
        bad[round(y), round(x) + 1] = bad[round(y) - 2, round(x)] = True
    exposure.image[bad] = np.nan
    x, y, _, _ = fit(exposure, bad=bad)
    np.testing.assert_allclose([x, y], [X, Y], atol=1e-4)


def test_errorsAreRight():
    pulls = []
    rng = np.random.default_rng(11)
    for _ in range(8):
        x, y, xErr, yErr = fit(drawStars(X, Y, FLUX, rng=rng))
        pulls += [(x - X) / xErr, (y - Y) / yErr]
    # 400 pulls: their rms is known to 1 / sqrt(800) = 3.5 %.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.12)
    # sigma / (S/N) = 1.3 / 200 and a third more, see the module: all pixels count alike.
    assert 0.005 < np.median(xErr) < 0.01


def test_whatCannotBeFitted():
    exposure = drawStars([100.0], [100.0], [5e4])
    bad = np.zeros(exposure.shape, dtype=bool)
    bad[96:105, 96:101] = True
    # More than half of the disc bad; a place without a star below the sky; far from the star; beyond the image.
    exposure.image[180:183, 180:183] -= 50.0
    for x, y, ownBad in ((100.0, 100.0, bad), (181.0, 181.0, None), (-30.0, 50.0, None)):
        assert np.isnan(fit(exposure, bad=ownBad, x=np.array([x]), y=np.array([y]))).all()
    assert all(len(part) == 0 for part in fit(exposure, x=np.zeros(0), y=np.zeros(0)))


def test_findStars():
    exposure = drawStars(X, Y, np.linspace(1e5, 1e4, 25), rng=np.random.default_rng(1), xy0=(1000, -50))
    before = exposure.image.copy()
    stars = findStars(exposure.maskedImage)
    np.testing.assert_array_equal(exposure.image, before)
    assert len(stars) == 25
    assert stars.fwhm == pytest.approx(3.0, abs=0.05)
    distance = np.hypot(stars.x - 1000 - X[:, np.newaxis], stars.y + 50 - Y[:, np.newaxis])
    # The faintest has an error of 0.04 px.
    assert (distance.min(axis=0) < 0.15).all()
    # Brightest first: the order of the fluxes that were drawn, but for neighbours within their errors.
    assert np.abs(distance.argmin(axis=0) - np.arange(25)).max() <= 2
    few = findStars(exposure.maskedImage, maxStars=7)
    assert len(few) == 7


def test_knownSourcesAreUsed():
    exposure = drawStars(X, Y, FLUX)
    sources = Table({"x": X[:4] + 0.3, "y": Y[:4] - 0.3, "isNegative": [False, False, True, False]})
    stars = findStars(exposure.maskedImage, sources)
    np.testing.assert_allclose(stars.positions, np.column_stack([X, Y])[[0, 1, 3]], atol=1e-3)


def test_hotPixelsAreNotStars():
    exposure = drawStars(X, Y, FLUX, rng=np.random.default_rng(2))
    exposure.image[62, 62::44] += 3e4
    assert len(findStars(exposure.maskedImage)) == 25


@pytest.mark.parametrize(
    "image", [np.full((64, 64), np.nan), np.zeros((1, 1)), np.zeros((40, 50)), RNG.normal(size=(80, 80))]
)
def test_imagesWithoutStars(image):
    stars = findStars(MaskedImage(image.astype(np.float32), variance=np.ones(image.shape, dtype=np.float32)))
    assert len(stars) <= 1


def test_numberOfThreadsDoesNotMatter():
    exposure = drawStars(X, Y, FLUX, rng=np.random.default_rng(3))
    one, three = (fitPositions(exposure.maskedImage, (), X, Y, 3.0, threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_impossibleWidth():
    with pytest.raises(ValueError, match="the FWHM of stars is 0"):
        fitPositions(drawStars(X, Y, FLUX).maskedImage, (), X, Y, 0.0)
