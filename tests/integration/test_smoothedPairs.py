"""Pairs of equal, undersampled PSFs: one image smoothed before the fit, and what follows of it for the difference."""

import math

import numpy as np
import pytest
from astropy.table import Table
from lsst.pex.config import FieldValidationError

from psfmatch import (
    Exposure,
    GaussianPsf,
    InputImagesError,
    MaskedImage,
    frontDoorConfig,
    measureEfficiency,
    subtract,
)
from psfmatch.cli import main
from psfmatch.difference import (
    SMOOTHING_SIGMA,
    StoredKernel,
    SubtractionRecipe,
    applyKernel,
    correctionKernel,
    decorrelate,
    smoothedExposure,
    smoothedFwhm,
    smoothedPsf,
    smoothingKernel,
)
from psfmatch.difference.decorrelation.correction import LEAST_POWER
from psfmatch.images import SIGMA_TO_FWHM, Box, getFwhmPix
from psfmatch.kernels import EdgeHandling, LinearCombinationKernel

SIDE = 320
EDGES = EdgeHandling(copyEdge=True)


def gaussian(sigma, half):
    pixel = np.arange(-half, half + 1)
    image = np.exp(-0.5 * np.add.outer(pixel**2, pixel**2) / sigma**2)
    return image / image.sum()


def starOn(image, x, y, flux, sigma):
    """Add a Gaussian star that is integrated over pixels."""
    erf = np.vectorize(math.erf)
    at = np.arange(-12, 13)
    column, row = round(x), round(y)
    shares = [
        0.5 * np.diff(erf((np.append(at, 13) - 0.5 - offset) / (sigma * np.sqrt(2.0))))
        for offset in (y - row, x - column)
    ]
    image[row - 12 : row + 13, column - 12 : column + 13] += flux * np.outer(*shares)


def makePair(sigma, seed=1):
    """Return images of 100 stars with the same PSF, dithered by 0.4 and 0.3 px, of noise and sky of 100."""
    rng = np.random.default_rng(seed)
    images = [np.full((SIDE, SIDE), 100.0) for _ in range(2)]
    for i in range(10):
        for j in range(10):
            x, y = 25 + 30 * i + rng.uniform(-4, 4), 25 + 30 * j + rng.uniform(-4, 4)
            flux = 10 ** rng.uniform(3.0, 4.7)
            starOn(images[0], x, y, flux, sigma)
            starOn(images[1], x + 0.4, y + 0.3, flux, sigma)
    return [MaskedImage(image + np.sqrt(image) * rng.standard_normal(image.shape), variance=image) for image in images]


def test_smoothedExposure():
    rng = np.random.default_rng(4)
    image = MaskedImage(rng.standard_normal((40, 50)), variance=rng.uniform(1, 2, (40, 50)), xy0=(7, -3))
    exposure = Exposure(image, psf=GaussianPsf(1.2))
    before = image.copy()
    found = smoothedExposure(exposure, 0.7, EDGES)
    g = gaussian(0.7, 3)
    for x, y in ((20, 20), (3, 3), (45, 30)):
        rows, columns = slice(y - 3, y + 4), slice(x - 3, x + 4)
        assert found.image[y, x] == pytest.approx((g * image.image[rows, columns]).sum(), abs=1e-5)
        # The engine's variance is good to 1e-3.
        assert found.variance[y, x] == pytest.approx((g**2 * image.variance[rows, columns]).sum(), rel=1e-3)
    assert found.maskedImage.xy0 == (7, -3)
    assert getFwhmPix(found.psf) == pytest.approx(
        smoothedFwhm(np.hypot(1.2, np.sqrt(1 / 12)) * SIGMA_TO_FWHM, 0.7), rel=0.01
    )
    assert np.array_equal(image.image, before.image)
    assert np.array_equal(image.variance, before.variance)
    assert smoothedExposure(Exposure(image), 0.7, EDGES).psf is None
    one, seven = (smoothedExposure(exposure, 0.7, EDGES, threads=n) for n in (1, 7))
    assert np.array_equal(one.image, seven.image)
    nan = smoothedExposure(Exposure(MaskedImage(np.full((9, 9), np.nan), variance=np.ones((9, 9)))), 0.7, EDGES)
    assert nan.maskedImage.badPixels(("NO_DATA", "EDGE", "BAD")).all()
    for sigma in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="give a positive number of pixels"):
            smoothingKernel(sigma, Box(0, 0, 9, 9))


def test_correctionIsThatOfItsPower():
    kernel, g = 1.3 * gaussian(1.1, 8), gaussian(0.7, 3)
    phi = correctionKernel(kernel, 2.0, 3.0, smoothingImage=g)
    assert phi.sum() == pytest.approx(1.0)
    size = 128

    def power(image):
        return np.abs(np.fft.fft2(image, s=(size, size))) ** 2

    noise = 2.0 * power(g) + 3.0 * power(kernel)
    most = 2.0 + 3.0 * 1.3**2
    expected = most / np.hypot(noise, LEAST_POWER * most) * np.hypot(1.0, LEAST_POWER)
    # 1e-4 of the weight, a few times the sum, lies beyond the stamp.
    np.testing.assert_allclose(power(phi), expected, rtol=2e-3)
    assert phi.shape[0] < 40
    # Without smoothing it is what it has always been.
    plain = correctionKernel(kernel, 2.0, 3.0)
    assert np.array_equal(plain, correctionKernel(kernel, 2.0, 3.0, None, None))
    with pytest.raises(ValueError, match="psfImage or smoothingImage"):
        correctionKernel(kernel, 2.0, 3.0, g, g)


@pytest.mark.parametrize("isScienceConvolved", [False, True])
@pytest.mark.parametrize("varying", [False, True])
def test_variancePlaneIsThatOfTheNoise(isScienceConvolved, varying):
    rng = np.random.default_rng(9)
    box = Box(0, 0, 400, 400)
    ours, theirs = (
        MaskedImage(np.sqrt(v) * rng.standard_normal((400, 400)), variance=np.full((400, 400), v)) for v in (2.0, 3.0)
    )
    kernel = LinearCombinationKernel(1.3 * gaussian(1.0, 6)[np.newaxis], [[1.0]], bbox=box)
    matched = kernel.convolve(theirs, EDGES)
    smoothed = smoothedExposure(Exposure(ours), 0.7, EDGES).maskedImage
    sign, scale = (1.0, 1.3) if isScienceConvolved else (-1.0, 1.0)
    image = (matched.image - smoothed.image) * sign / scale
    variance = (matched.variance + smoothed.variance) / scale**2
    difference = Exposure(MaskedImage(image, matched.mask, variance))
    found = decorrelate(
        difference,
        kernel,
        theirs,
        ours,
        isScienceConvolved=isScienceConvolved,
        varying=varying,
        smoothing=smoothingKernel(0.7, box),
    )
    white = found.exposure
    inside = np.s_[50:-50, 50:-50]
    pulls = white.image[inside] / np.sqrt(white.variance[inside])
    # 90 000 pixels, of which neighbours correlate: the spread is known to a third of a per cent.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.012)
    # The covariance that is told is that of the noise.
    told = found.covariance(200.0, 200.0, 1)
    assert told[1, 1] == pytest.approx(white.variance[200, 200], rel=5e-3)
    pixels = white.image[inside]
    beside = np.mean(pixels[:, 1:] * pixels[:, :-1])
    assert beside == pytest.approx(told[1, 2], abs=0.012 * told[1, 1])
    # Without being told of the smoothing, the sky is far too quiet.
    blind = decorrelate(
        difference, kernel, theirs, ours, isScienceConvolved=isScienceConvolved, varying=varying
    ).exposure
    assert np.std(blind.image[inside] / np.sqrt(blind.variance[inside])) < 0.9


def test_differentShapesAreRefused():
    image = MaskedImage(np.zeros((30, 30)), variance=np.ones((30, 30)))
    kernel = LinearCombinationKernel(gaussian(1.0, 3)[np.newaxis], [[1.0]], bbox=Box(0, 0, 30, 30))
    other = MaskedImage(np.zeros((20, 30)), variance=np.ones((20, 30)))
    with pytest.raises(InputImagesError, match="shape"):
        decorrelate(Exposure(image), kernel, image, other, smoothing=smoothingKernel(0.7, Box(0, 0, 30, 30)))


@pytest.fixture(scope="module")
def undersampled():
    return makePair(0.62)


@pytest.fixture(scope="module")
def result(undersampled):
    return subtract(*undersampled)


def test_undersampledPairIsSmoothed(result, undersampled):
    assert result.smoothing == SMOOTHING_SIGMA
    assert "Smoothing: the PSFs are equal within 10%" in result.explain()
    assert result.errorFloor.fwhmPix > 2.0
    choice = next(choice for choice in result.choices if choice.name == "smoothing")
    assert choice.figure == result.errorFloor.share
    assert choice.figure <= 0.7 * choice.alternativeFigure
    # The images are as they were, the difference that of the smoothed one.
    assert np.array_equal(result.science.image, undersampled[1].image)
    image = result.science if result.convolved == "template" else result.template
    smoothed = smoothedExposure(image, result.smoothing, result.storedKernel().recipe.edges).image
    assert np.array_equal(result.unconvolved.image, smoothed, equal_nan=True)
    x = result.matched.image
    background = result.background(*np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
    if result.convolved == "template":
        expected = smoothed - x - background
    else:
        expected = (x + background - smoothed) / result.kernel.kernelSum(*result.difference.getBBox().centre)
    good = ~result.difference.maskedImage.badPixels(("EDGE", "NO_DATA"))
    np.testing.assert_allclose(result.difference.image[good], expected[good], atol=2e-3)


def test_smoothedDifferenceIsMadeAgain(result, undersampled, tmp_path):
    stored = result.storedKernel()
    assert stored.recipe.smoothing == SMOOTHING_SIGMA
    assert SubtractionRecipe.fromDict(stored.recipe.toDict()) == stored.recipe
    again = applyKernel(stored, *undersampled)
    for name in ("image", "variance", "mask"):
        assert np.array_equal(
            np.asarray(getattr(again.difference, name)), np.asarray(getattr(result.difference, name)), equal_nan=True
        )
    result.writeFits(tmp_path / "difference.fits")
    assert StoredKernel.readFits(tmp_path / "difference.fits").recipe.smoothing == SMOOTHING_SIGMA
    assert np.array_equal(
        applyKernel(tmp_path / "difference.fits", *undersampled).difference.image,
        result.difference.image,
        equal_nan=True,
    )
    with pytest.raises(ValueError, match="smoothing is -1"):
        SubtractionRecipe(smoothing=-1.0)


def test_smoothingAsConfigured(result, undersampled):
    # What was chosen is in the configuration, and is done again by it.
    assert result.config.smoothingSigma == SMOOTHING_SIGMA
    again = subtract(*undersampled, config=result.config)
    assert again.smoothing == SMOOTHING_SIGMA
    assert "Smoothing:" not in again.explain()
    assert np.array_equal(again.difference.image, result.difference.image, equal_nan=True)
    config = frontDoorConfig()
    config.smoothingSigma = 0.0
    without = subtract(*undersampled, config=config)
    assert without.smoothing == 0.0
    assert without.config.smoothingSigma == 0.0
    assert without.errorFloor.share > result.errorFloor.share
    config = frontDoorConfig()
    config.smoothingSigma = 1.0
    assert subtract(*undersampled, config=config).smoothing == 1.0
    # One stamp has a kernel of its own kind.
    stamps = [MaskedImage(i.image[:41, :41], variance=i.variance[:41, :41]) for i in undersampled]
    assert subtract(*stamps, config=config).smoothing == 0.0
    with pytest.raises(FieldValidationError):
        config.smoothingSigma = -1.0


def test_commandKnowsOfIt(undersampled, tmp_path):
    template, science = undersampled
    image = science.copy()
    places = [(25.0 + 30 * i + 15, 25.0 + 30 * j + 15) for i in range(2, 7) for j in range(2, 7)]
    for x, y in places:
        starOn(image.image, x, y, 1800.0, 0.62)
    result = subtract(template, image, mode="convolveTemplate")
    assert result.smoothing == SMOOTHING_SIGMA
    path, out = tmp_path / "difference.fits", tmp_path / "sources.fits"
    result.writeFits(path)
    Exposure(image).writeFits(tmp_path / "science.fits")
    assert main(["detect", str(path), "--science", str(tmp_path / "science.fits"), "-o", str(out), "-q"]) == 0
    table = Table.read(out)
    for name in ("psfFlux", "scienceFlux"):
        ratios = []
        for x, y in places:
            near = np.hypot(table["x"] - x, table["y"] - y) < 1.0
            ratios += [value / 1800.0 for value in table[name][near]]
        assert len(ratios) == len(places)
        # PSFs are those of the undersampled stars: good to some per cent, where the wrong width is off by 40.
        assert np.median(ratios) == pytest.approx(1.0, abs=0.08)


def test_injectionKnowsOfIt(undersampled):
    found = measureEfficiency(
        *undersampled, signalToNoise=(20, 40), n=30, psf=GaussianPsf(0.62), mode="convolveTemplate", seed=2
    )
    assert found.result.smoothing == SMOOTHING_SIGMA
    # 30 sources of S/N 28: the mean is known to 0.7 %.
    assert np.mean(found.sources["measuredFlux"] / found.sources["flux"]) == pytest.approx(1.0, abs=0.025)


def test_fluxesOnASmoothedDifference(undersampled):
    template, science = undersampled
    image = science.copy()
    places = [(25.0 + 30 * i + 15, 25.0 + 30 * j + 15) for i in range(1, 8) for j in range(1, 8)]
    for x, y in places:
        starOn(image.image, x, y, 900.0, 0.62)
    # The science image was not resampled: its stars have the PSF that they were drawn with.
    result = subtract(template, image, mode="convolveTemplate")
    assert result.smoothing == SMOOTHING_SIGMA
    found = result.detect(psf=GaussianPsf(0.62))
    ratios, pulls = [], []
    for x, y in places:
        row = found[np.hypot(found["x"] - x, found["y"] - y) < 1.0]
        if len(row):
            ratios.append(row["psfFlux"][0] / 900.0)
            pulls.append((row["psfFlux"][0] - 900.0) / row["psfFluxErr"][0])
    assert len(ratios) > 45
    # 49 sources of S/N 23: the mean is known to 0.6 %.
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02)
    assert 0.7 < np.std(pulls) < 1.35
    # The score has the same sources at its peaks.
    score = result.score
    assert all(abs(score.significance[int(y), int(x)]) > 5.0 for x, y in places[:5])


def test_pairsThatNeedNoneAreAsTheyWere():
    for sigma in (1.3, 2.0):
        result = subtract(*makePair(sigma))
        assert result.smoothing == 0.0
        assert result.unconvolved is (result.science if result.convolved == "template" else result.template)
        assert "Smoothing" not in result.explain()
        assert result.storedKernel().recipe.smoothing == 0.0
    assert smoothedPsf(GaussianPsf(1.0), 0.7, Box(0, 0, 9, 9)) is not None
