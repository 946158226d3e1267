"""The PSF of an image from its stars."""

import math
import pickle

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import (
    Exposure,
    InsufficientKernelSourcesError,
    MaskedImage,
    _core,
    getFwhmPix,
    psfFromStars,
)
from psfmatch.kernels import PsfField
from psfmatch.sources import psfOrStars, starFit
from psfmatch.sources.starProfile import ProfileField, termsAt

SIZE = 420
X0, Y0 = -40, 900


def draw(x, y, flux, shapes, seed, sky=100.0):
    """Exposure of stars at array positions, shapes (n, 6) of `_core.drawStars`, with the noise of a gain of 1."""
    image = np.zeros((SIZE, SIZE), dtype=np.float32)
    _core.drawStars(image, np.column_stack([x, y, flux, 0.0 * x]), shapes, np.full(x.size, 60.0))
    variance = image + sky
    noise = np.random.default_rng(seed).normal(size=image.shape) * np.sqrt(variance)
    return Exposure(MaskedImage(variance + noise, variance=variance, xy0=(X0, Y0)))


def shapesOf(n, fwhm, beta=3.0, share=0.0, ratio=2.0):
    inverse = 0.0 if math.isinf(beta) else 1.0 / beta
    return np.column_stack(np.broadcast_arrays(inverse, share, math.log(ratio), np.log(fwhm), 0.04, -0.02, np.ones(n)))[
        :, :6
    ]


def fluxRatios(psf, shapeAt):
    """What a fit with this PSF finds of a true star of flux 1, on a lattice of 5x5 places."""
    field = PsfField(psf, Exposure(MaskedImage(np.zeros((SIZE, SIZE)), xy0=(X0, Y0))).getBBox())
    found = []
    for y in np.linspace(15, SIZE - 15, 5).round():
        for x in np.linspace(15, SIZE - 15, 5).round():
            image = field.images([x + X0], [y + Y0])[0]
            true = np.zeros(image.shape, dtype=np.float32)
            middle = image.shape[0] // 2
            _core.drawStars(true, [[middle, middle, 1.0, 0.0]], shapeAt(x), [100.0])
            found.append(float((image * true).sum() / (image**2).sum()))
    return np.array(found)


def crowd(n, seed, brightest=5.3):
    """Places and fluxes of stars that nobody has set apart."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-5, SIZE + 5, (2, n))
    return x, y, 10 ** rng.uniform(2.9, brightest, n)


def fwhmAt(x):
    return 3.5 * (1.0 + 0.1 * (2.0 * x / SIZE - 1.0))


@pytest.fixture(scope="module")
def field():
    """Stars that stand alone, of widths that grow from left to right by a fifth, one of them saturated."""
    rng = np.random.default_rng(8)
    grid = np.arange(30, SIZE - 20, 48)
    x, y = (v.ravel() + rng.uniform(-5, 5, v.size) for v in np.meshgrid(grid, grid))
    exposure = draw(x, y, 10 ** rng.uniform(3.6, 5, x.size), shapesOf(x.size, fwhmAt(x)), 8)
    exposure.mask[:60, :60] |= exposure.mask.getPlaneBitMask("SAT")
    return exposure, Table({"x": x + X0, "y": y + Y0})


@pytest.fixture(scope="module")
def psf(field):
    return psfFromStars(field[0])


def test_widthFollowsTheField(psf):
    assert psf.nStars > 40
    assert psf.order > 0
    assert psf.beta == pytest.approx(3.0, rel=0.05)
    assert psf.fwhm == pytest.approx(3.5, rel=0.01)
    # Sixty stars of signal-to-noise ratio 20 to 300.
    np.testing.assert_allclose(fluxRatios(psf, lambda x: shapesOf(1, fwhmAt(x))), 1.0, atol=0.02)
    image = psf.computeKernelImage(150.0 + X0, 200.0 + Y0)
    assert image.shape[0] % 2 == 1
    assert image.sum() == pytest.approx(1.0, abs=1e-12)
    assert image.argmax() == image.size // 2


def test_beyondTheImageThePsfIsThatOfItsBorder(psf):
    np.testing.assert_array_equal(
        psf.computeKernelImage(X0 + SIZE + 500, Y0 + 10.0), psf.computeKernelImage(X0 + SIZE - 0.5, Y0 + 10.0)
    )


@pytest.mark.parametrize(
    ("n", "shape"),
    [
        (60, {"fwhm": 4.0, "beta": math.inf}),
        (250, {"fwhm": 3.0, "beta": 2.5}),
        (150, {"fwhm": 4.0, "beta": math.inf, "share": 0.286}),
    ],
    ids=["Gauss", "Moffat", "doubleGauss"],
)
def test_crowdsDoNotEnterTheSum(n, shape):
    """Neighbours, wings and noise leave the flux alone: they made it up to a fifth too bright."""
    x, y, flux = crowd(n, seed=n)
    psf = psfFromStars(draw(x, y, flux, shapesOf(n, **shape), seed=n + 1))
    ratios = fluxRatios(psf, lambda _: shapesOf(1, **shape))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.007)
    np.testing.assert_allclose(ratios, 1.0, atol=0.03)


def test_wingsBelowTheNoise():
    """Wings that no single pixel shows are part of the light: eight fields of stars that stand alone have no bias."""
    grid = np.arange(36, SIZE - 30, 58)
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, y = (v.ravel() + rng.uniform(-0.5, 0.5, v.size) for v in np.meshgrid(grid, grid))
        exposure = draw(x, y, 10 ** rng.uniform(3.7, 4.7, x.size), shapesOf(x.size, 4.0), seed, sky=200.0)
        ratios.append(fluxRatios(psfFromStars(exposure), lambda x: shapesOf(1, 4.0)).mean())
    # A field tells the flux to 0.3 %; it was 0.5 % too small with stars that ended where they fell below the noise.
    assert np.mean(ratios) == pytest.approx(1.0, abs=3.0 * 0.003 / np.sqrt(8.0))


def test_starsAtTheBorderTakePart():
    """Smoothing ends a few pixels within the border; near corners these stars alone tell the PSF."""
    along = np.arange(30.0, SIZE - 20, 48)
    border = np.full(along.size, 4.0)
    x, y = np.concatenate([along, along, border]), np.concatenate([along, border, along])
    psf = psfFromStars(draw(x, y, np.full(x.size, 2e4), shapesOf(x.size, 3.5), 5))
    assert psf.nStars == x.size
    assert psf.fwhm == pytest.approx(3.5, rel=0.01)


def test_galaxiesAreNoStars():
    rng = np.random.default_rng(5)
    x, y, flux = crowd(160, seed=6)
    width = np.where(np.arange(160) < 50, rng.uniform(4.5, 9.0, 160), 3.5)
    psf = psfFromStars(draw(x, y, flux, shapesOf(160, width), seed=7))
    assert np.mean(fluxRatios(psf, lambda _: shapesOf(1, 3.5))) == pytest.approx(1.0, abs=0.01)


def test_lightThatTheProfileDoesNotHaveIsAdded():
    """A coma that no ellipse has: one side of every star is brighter."""
    rng = np.random.default_rng(11)
    grid = np.arange(30, SIZE - 20, 42)
    x, y = (v.ravel() + rng.uniform(-5, 5, v.size) for v in np.meshgrid(grid, grid))
    flux = 10 ** rng.uniform(4.5, 5, x.size)
    # Four fifths in the star, one in a companion 2 px aside.
    everywhere = np.concatenate([x, x + 2.0]), np.concatenate([y, y]), np.concatenate([0.8 * flux, 0.2 * flux])
    psf = psfFromStars(draw(*everywhere, shapesOf(2 * x.size, 3.0), 12))
    image = psf.computeKernelImage(X0 + 200.0, Y0 + 200.0)
    middle = image.shape[0] // 2
    centred = image[middle, middle - 4 : middle + 5]
    # Along x the light falls off more slowly on the companion's side; ellipses have no sides.
    assert centred[8] > 1.2 * centred[0]


def test_givenStars(field, psf):
    exposure, stars = field
    given = psfFromStars(exposure, stars)
    a, b = (p.computeKernelImage(150.0, 1100.0) for p in (given, psf))
    half = min(a.shape[0], b.shape[0]) // 2
    a, b = (v[v.shape[0] // 2 - half :, v.shape[0] // 2 - half :][: 2 * half + 1, : 2 * half + 1] for v in (a, b))
    np.testing.assert_allclose(a, b, atol=0.02 * a.max())


def test_fewStarsGiveSimplerPsfs(field):
    exposure, stars = field
    assert psfFromStars(exposure, stars[-14:]).nStars <= 14
    assert psfFromStars(exposure, stars[-3:]).nStars == 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fewStarsOfAConstantPsfGiveOne(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(30, SIZE - 30, (2, 8))
    exposure = draw(x, y, 10 ** rng.uniform(3.6, 4.6, 8), shapesOf(8, 3.5), seed)
    ratios = fluxRatios(psfFromStars(exposure), lambda _: shapesOf(1, 3.5))
    # Eight stars of S/N 30 to 150 know one width to a hundredth; a plane through them is off by several at corners.
    assert np.abs(ratios - 1.0).max() < 0.03


@pytest.mark.parametrize(("nBright", "takesPart"), [(24, True), (8, False)])
def test_faintStarsTakePartBesideBrightOnes(nBright, takesPart):
    rng = np.random.default_rng(5)
    grid = np.arange(30, SIZE - 20, 48)
    x, y = (v.ravel() + rng.uniform(-5, 5, v.size) for v in np.meshgrid(grid, grid))
    order = rng.permutation(x.size)[:48]
    # The fainter ones are between S/N 10 and 20.
    flux = np.where(np.arange(48) < nBright, 2e4, 1500.0)
    psf = psfFromStars(draw(x[order], y[order], flux, shapesOf(48, fwhmAt(x[order])), 5))
    assert psf.nStars > 1.5 * nBright if takesPart else psf.nStars <= nBright
    if takesPart:
        assert np.abs(fluxRatios(psf, lambda at: shapesOf(1, fwhmAt(at))) - 1.0).max() < 0.03


def test_theFieldIsTheMeanOverWhatIsLikely():
    rng = np.random.default_rng(7)
    n = 9
    stars = np.column_stack([rng.uniform(0, 100, (n, 2)), np.full(n, 1e3), np.zeros(n)])
    root = rng.normal(size=(n, 6, 6)) + 4.0 * np.eye(6)
    normal = 300.0 * root @ root.transpose(0, 2, 1)
    right = 100.0 * rng.normal(size=(n, 6)) + normal[:, :, 3] * 0.1 * (stars[:, :1] / 50.0 - 1.0)
    field = ProfileField(np.array([[0.3, 0.0, 0.7, 1.0, 0.0, 0.0]]).T, (49.5, 49.5, 50.0, 50.0))
    shapes = field.shapes(stars[:, 0], stars[:, 1])
    quadratics = starFit._Quadratics(normal, right, shapes, stars, field)
    found = quadratics.likelySolution()
    # Star by star, with inverses and determinants; unknowns are 1/beta, and term by term width and ellipticity.
    terms = termsAt(stars[:, 0], stars[:, 1], field.frame, 2)
    logarithms, means = [], []
    for width in starFit.VARIATIONS:
        for ellipse in starFit.VARIATIONS:
            size = 4 + 15
            precision, centre = np.zeros(size), np.zeros(size)
            for k, number in enumerate([0, 3, 4, 5]):
                precision[k], centre[k] = starFit.PRIOR_SIGMA[number] ** -2, starFit.PRIOR_MEAN[number]
            isFree = np.ones(size, dtype=bool)
            for term in range(1, 6):
                for k, sigma in enumerate((width, ellipse, ellipse)):
                    at = 4 + 3 * (term - 1) + k
                    isFree[at] = sigma > 0.0
                    if sigma > 0.0:
                        precision[at] = (sigma * (1.0 if term < 3 else starFit.DECAY)) ** -2
            matrix, side = np.diag(precision), precision * centre
            for i in range(n):
                design = np.zeros((6, size))
                design[0, 0] = 1.0
                for term in range(6):
                    for k in range(3):
                        design[3 + k, 1 + 3 * term + k] = terms[i, term]
                free = [0, 3, 4, 5]
                matrix += design.T @ normal[i] @ design
                side += design[free].T @ (normal[i][np.ix_(free, free)] @ shapes[i, free] + right[i, free])
            inner, outer = matrix[np.ix_(isFree, isFree)], side[isFree]
            solution = np.zeros(size)
            solution[isFree] = np.linalg.inv(inner) @ outer
            logarithms.append(
                0.5 * (outer @ solution[isFree] - np.linalg.slogdet(inner)[1] + np.log(precision[isFree]).sum())
            )
            coefficients = np.zeros((6, 6))
            coefficients[0, 0], coefficients[2, 0] = solution[0], starFit.PRIOR_MEAN[2]
            coefficients[3:] = solution[1:].reshape(6, 3).T
            means.append(coefficients)
    weights = np.exp(np.array(logarithms) - max(logarithms))
    expected = np.tensordot(weights, means, 1) / weights.sum()
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


def test_tooFewStars(field):
    exposure, stars = field
    with pytest.raises(InsufficientKernelSourcesError, match="of 2 sources are isolated") as error:
        psfFromStars(exposure, stars[-2:])
    assert error.value.nRequired == 3
    noise = Exposure(MaskedImage(np.random.default_rng(0).normal(size=(128, 128)), variance=np.ones((128, 128))))
    with pytest.raises(InsufficientKernelSourcesError):
        psfFromStars(noise)
    fallback, origin = psfOrStars(noise, 4.0, "science image")
    assert "a Gaussian of FWHM 4.00 px" in origin
    # The width was measured on pixels.
    assert getFwhmPix(fallback) == pytest.approx(4.0, rel=1e-3)


def test_inputIsNotChangedAndThreadsDoNotMatter(field, psf):
    exposure, _ = field
    before = exposure.copy()
    other = psfFromStars(exposure, threads=1)
    np.testing.assert_array_equal(exposure.image, before.image)
    np.testing.assert_array_equal(other.computeKernelImage(3.0, 950.0), psf.computeKernelImage(3.0, 950.0))


def test_psfTravels(psf):
    again = pickle.loads(pickle.dumps(psf))
    np.testing.assert_array_equal(again.computeKernelImage(100.0, 1000.0), psf.computeKernelImage(100.0, 1000.0))
    x, y = psf.getAveragePosition()
    assert X0 < x < X0 + SIZE
    assert Y0 < y < Y0 + SIZE


def test_log(field, caplog):
    with caplog.at_level("INFO", logger="psfmatch"):
        psfFromStars(field[0])
    assert "63 stars: FWHM 3.49 px" in caplog.text
    assert "beta " in caplog.text
