"""Point-spread functions and their widths."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starFields import widthOverPixels

from psfmatch.images import (
    DoubleGaussianPsf,
    GaussianPsf,
    ImagePsf,
    MaskedImage,
    Psf,
    adaptiveMoments,
    getFwhmPix,
)
from psfmatch.sources import measureWidths, selectStarWidths, starFwhms
from psfmatch.testing import simulatePair

quick = settings(max_examples=30, deadline=None, derandomize=True)

SIGMA_TO_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


def covarianceOf(major, minor, angle):
    c, s = math.cos(angle), math.sin(angle)
    return (
        (c * major) ** 2 + (s * minor) ** 2,
        (s * major) ** 2 + (c * minor) ** 2,
        c * s * (major**2 - minor**2),
    )


def ellipse(covariance, centre, shape=(61, 61)):
    """Gaussian sampled at the pixel centres."""
    cxx, cyy, cxy = covariance
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    dx, dy = x - centre[0], y - centre[1]
    return np.exp(-0.5 * (cyy * dx**2 - 2.0 * cxy * dx * dy + cxx * dy**2) / (cxx * cyy - cxy**2))


def samplingError(sigma):
    """Relative error of a width found by sums over pixels instead of integrals.

    Poisson's sum formula for the second moment of exp(-x^2 / sigma^2), the Gaussian under its own weight, gives a
    relative error of 2 (2 pi)^2 (sigma^2 / 2) exp(-pi^2 sigma^2) at a pixel's centre; the fixed point doubles it, the
    square root of the variance halves it.
    """
    return 4.0 * math.pi**2 * sigma**2 * math.exp(-((math.pi * sigma) ** 2))


sigmas = st.floats(1.0, 5.0)


@quick
@given(sigmas, sigmas, st.floats(0.0, math.pi), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_adaptiveMomentsOfEllipticalGaussians(first, second, angle, dx, dy):
    expected = covarianceOf(max(first, second), min(first, second), angle)
    moments = adaptiveMoments(ellipse(expected, (30 + dx, 30 + dy)), 30, 30)
    # The iteration stops at changes of 1e-6, half of which is still to come. Wings beyond 6 sigma are below 1e-8.
    tolerance = 3.0 * samplingError(min(first, second)) + 4e-6
    assert moments == pytest.approx(expected, abs=tolerance * (expected[0] + expected[1]))
    determinant = moments[0] * moments[1] - moments[2] ** 2
    assert determinant**0.25 == pytest.approx(math.sqrt(first * second), rel=max(1e-3, tolerance))


@pytest.mark.parametrize("sigma", [1.1, 1.5, 2.0, 3.7, 8.0, 12.0])
@pytest.mark.parametrize("guess", [0.8, 1.5, 4.0])
def test_adaptiveMomentsFromAnyGuess(sigma, guess):
    image = ellipse((sigma**2, sigma**2, 0.0), (60.0, 60.0), (121, 121))
    ixx, iyy, ixy = adaptiveMoments(image, 61.0, 59.5, sigma=guess)
    assert math.sqrt(ixx) == pytest.approx(sigma, rel=1e-3)
    assert iyy == pytest.approx(ixx, rel=1e-5)
    assert ixy == pytest.approx(0.0, abs=1e-5 * ixx)


@quick
@given(st.floats(1.2, 3.0), st.floats(1.2, 3.0), st.floats(0.0, math.pi), st.floats(1e-3, 1e6))
def test_adaptiveMomentsTurnAndScaleWithTheImage(first, second, angle, flux):
    image = ellipse(covarianceOf(first, second, angle), (20.3, 19.8), (41, 41))
    ixx, iyy, ixy = adaptiveMoments(image, 20, 20)
    # Each run stops within 1e-6 of the fixed point.
    tolerance = {"abs": 4e-6 * (ixx + iyy)}
    assert adaptiveMoments(flux * image, 20, 20) == pytest.approx((ixx, iyy, ixy), **tolerance)
    assert adaptiveMoments(image.T, 20, 20) == pytest.approx((iyy, ixx, ixy), **tolerance)
    assert adaptiveMoments(image[::-1], 20, 20) == pytest.approx((ixx, iyy, -ixy), **tolerance)
    padded = np.pad(image, ((3, 0), (0, 7)))
    assert adaptiveMoments(padded, 20, 23) == pytest.approx((ixx, iyy, ixy), **tolerance)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((21, 21)),
        -np.ones((21, 21)),
        np.full((21, 21), np.nan),
        np.eye(21)[10:11].T @ np.eye(21)[10:11],
        np.zeros((1, 1)),
    ],
    ids=["zero", "negative", "nan", "onePixel", "tiny"],
)
def test_objectsWithoutMoments(image):
    assert all(math.isnan(moment) for moment in adaptiveMoments(image, 10.0, 10.0))


def test_neighboursInTheWingsHardlyCount():
    image = ellipse((4.0, 4.0, 0.0), (30, 30)) + 0.5 * ellipse((4.0, 4.0, 0.0), (45, 30))
    ixx, iyy, _ = adaptiveMoments(image, 30, 30)
    # At 7.5 sigma the neighbour's light has the weight exp(-14), times its distance squared of 56 sigma^2.
    assert math.sqrt(ixx) == pytest.approx(2.0, rel=1e-3)
    assert math.sqrt(iyy) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("sigma", [1.1, 1.2346, 2.1, 5.0])
def test_fwhmOfAGaussian(sigma):
    expected = pytest.approx(SIGMA_TO_FWHM * widthOverPixels(sigma), rel=1e-3)
    assert getFwhmPix(GaussianPsf(sigma)) == expected
    # The image may be cut at 4 sigma, and need not be square.
    side = 2 * math.ceil(4 * sigma) + 1
    image = GaussianPsf(sigma, side + 2).computeKernelImage(0, 0)[:, 1:-1]
    assert getFwhmPix(ImagePsf(image)) == expected


def test_fwhmIsTheDeterminantRadius():
    psf = ImagePsf(ellipse(covarianceOf(3.0, 1.5, 0.7), (30, 30)))
    assert getFwhmPix(psf) == pytest.approx(SIGMA_TO_FWHM * math.sqrt(3.0 * 1.5), rel=1e-3)


@pytest.mark.parametrize("sigma", [0.5, 0.6, 0.7, 0.8, 1.0])
def test_fwhmOfAnUndersampledPsf(sigma):
    # Space telescopes and wide-field surveys have 1.2 to 2 px; a width that is 15 % off still chooses good Gaussians.
    assert getFwhmPix(GaussianPsf(sigma, 21)) == pytest.approx(SIGMA_TO_FWHM * sigma, rel=0.15)


def test_fwhmAtAPosition():
    class GrowingPsf:
        def computeKernelImage(self, x, y):
            return GaussianPsf(1.5 + 0.01 * x + 0.02 * y).computeKernelImage(x, y)

    assert isinstance(GrowingPsf(), Psf)
    assert getFwhmPix(GrowingPsf(), (50.0, 25.0)) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(2.5), rel=1e-3)
    assert getFwhmPix(GrowingPsf()) == pytest.approx(SIGMA_TO_FWHM * widthOverPixels(1.5), rel=1e-3)


def test_psfWithoutAWidth():
    class BrokenPsf:
        def __init__(self, value):
            self.value = value

        def computeKernelImage(self, x, y):
            return np.full((9, 9), self.value)

    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"PSF at \(3\.0, 4\.0\) has no measurable width.*shape \(9, 9\)"):
            getFwhmPix(BrokenPsf(value), (3.0, 4.0))


def overPixel(d, sigma):
    """Integral of a Gaussian over a pixel at distance d, by Gauss and Legendre's 40 points."""
    points, weights = np.polynomial.legendre.leggauss(40)
    profile = np.exp(-0.5 * ((d + 0.5 * points) / sigma) ** 2) / math.sqrt(2.0 * math.pi) / sigma
    return float(0.5 * weights @ profile)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_gaussianPsfIsIntegratedOverPixels(sigma):
    image = GaussianPsf(sigma, 41).computeKernelImage(0, 0)
    profile = np.array([overPixel(d, sigma) for d in range(-20, 21)])
    expected = np.outer(profile, profile) / profile.sum() ** 2
    # In the wings, too, where the error function is 1 to all its digits.
    np.testing.assert_allclose(image, expected, rtol=1e-9, atol=1e-200)


def test_gaussianPsf():
    psf = GaussianPsf(1.7)
    image = psf.computeKernelImage(12.0, -3.0)
    # Half width 5 sigma = 8.5, rounded up.
    assert image.shape == (19, 19)
    assert image.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(image, image[::-1, ::-1], rtol=1e-14)
    np.testing.assert_allclose(image, image.T, rtol=1e-14)
    assert image[9, 12] / image[9, 9] == pytest.approx(overPixel(3, 1.7) / overPixel(0, 1.7), rel=1e-13)
    assert psf.sigma == 1.7
    assert isinstance(psf, Psf)
    assert GaussianPsf(1.7, 5).computeKernelImage(0, 0).shape == (5, 5)
    assert GaussianPsf(1.7, 1).computeKernelImage(0, 0).tolist() == [[1.0]]


def test_doubleGaussianPsf():
    image = DoubleGaussianPsf(1.0, 3.0, ratio=0.2).computeKernelImage(0, 0)
    assert image.shape == (31, 31)
    assert image.sum() == pytest.approx(1.0, abs=1e-14)
    at, middle = (
        overPixel(d, 1.0) * overPixel(0, 1.0) + 0.2 * 9.0 * overPixel(d, 3.0) * overPixel(0, 3.0) for d in (4, 0)
    )
    assert image[15, 19] / image[15, 15] == pytest.approx(at / middle, rel=1e-13)
    assert DoubleGaussianPsf(3.0, 1.0).computeKernelImage(0, 0).shape == (31, 31)


def test_imagePsfIsNormalizedAndOwnsItsPixels():
    given = np.arange(15, dtype=np.float32).reshape(3, 5)
    psf = ImagePsf(given)
    given[:] = 0.0
    psf.computeKernelImage(0, 0)[:] = 0.0
    np.testing.assert_allclose(psf.computeKernelImage(7, 8), np.arange(15).reshape(3, 5) / 105.0, rtol=1e-15)


def test_psfErrors():
    for image in (np.ones((4, 5)), np.ones((5, 4)), np.ones(5), np.ones((1, 3, 3)), np.ones((0, 0))):
        with pytest.raises(ValueError, match=rf"2-D with odd sides, not of shape \({image.shape[0]}"):
            ImagePsf(image)
    for image in (np.zeros((3, 3)), -np.ones((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), np.inf)):
        with pytest.raises(ValueError, match="must be finite and have a positive sum"):
            ImagePsf(image)
    with pytest.raises(ValueError, match=r"odd sides, not of shape \(4, 4\)"):
        GaussianPsf(1.0, 4)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_sigmaMustBePositive(sigma):
    with pytest.raises(ValueError, match=f"sigma of a PSF is {sigma} pixels, must be positive"):
        GaussianPsf(sigma)
    with pytest.raises(ValueError, match=f"sigma of a PSF is {sigma} pixels, must be positive"):
        DoubleGaussianPsf(1.0, sigma)


PLANES = ("BAD",)


def starOn(sky=100.0, sigma=2.0, x=30.0, y=25.0, shape=(60, 70), flux=1e4):
    image = sky + flux * ellipse((sigma**2, sigma**2, 0.0), (x, y), shape) / (2.0 * math.pi * sigma**2)
    return MaskedImage(image.astype(np.float32), variance=np.ones(shape, dtype=np.float32))


def spoil(image, y, x):
    """Give pixels the plane BAD."""
    np.asarray(image.mask)[y, x] |= image.mask.getPlaneBitMask(["BAD"])


@pytest.mark.parametrize(("x", "y"), [(30.0, 25.0), (30.5, 24.5), (29.7, 25.2)])
def test_widthOfAStarOnASky(x, y):
    image = starOn(x=x, y=y)
    # The positions given are half a pixel off.
    widths = measureWidths(image, PLANES, [x + 0.4], [y - 0.5])
    # The rim of the stamp, at 6 sigma, holds 1e-7 of the peak.
    assert widths == pytest.approx([SIGMA_TO_FWHM * 2.0], rel=1e-3)


def test_oneWidthForEachSource():
    image = starOn()
    x = [30.0, 60.0, np.nan, 30.0, 4.0, -10.0, 69.0, 200.0, 30.0]
    y = [25.0, 52.0, 25.0, np.inf, 25.0, 25.0, 25.0, 25.0, 55.0]
    widths = measureWidths(image, PLANES, x, y)
    assert widths.shape == (9,)
    # Nothing stands at (60, 52), the others are not finite, outside, or within 5 px of the edge.
    assert np.isfinite(widths).tolist() == [True] + [False] * 8
    assert measureWidths(image, PLANES, [], []).shape == (0,)
    assert measureWidths(image, PLANES, 30.0, 25.0).shape == (1,)
    with pytest.raises(ValueError, match="2 values of x and 1 of y"):
        measureWidths(image, PLANES, [30.0, 31.0], [25.0])


def test_badPixelsInTheCoreForbidAMeasurement():
    for dx, dy, isMeasured in ((0, 0, False), (3, -3, False), (4, 0, True), (0, -4, True), (10, 10, True)):
        image = starOn(sigma=1.5)
        image.image[25 + dy, 30 + dx] = np.nan
        spoil(image, 25 + dy, 30 + dx)
        width = measureWidths(image, PLANES, [30.0], [25.0])[0]
        assert np.isfinite(width) == isMeasured
        if isMeasured:
            # A lost pixel at 4 px, 2.7 sigma, takes exp(-7) of the peak under the weight, with 7 sigma^2.
            assert width == pytest.approx(SIGMA_TO_FWHM * 1.5, rel=5e-3)


def test_rimOfBadPixelsForbidsAMeasurement():
    image = starOn()
    spoil(image, slice(None), slice(None))
    np.asarray(image.mask)[22:29, 27:34] = 0
    assert np.isnan(measureWidths(image, PLANES, [30.0], [25.0])).all()


def test_widthsHaveTheNoiseTheyMust():
    rng = np.random.default_rng(4)
    truth = starOn(flux=2e4)
    widths = []
    for _ in range(50):
        noisy = MaskedImage(truth.image + rng.normal(0, 5.0, truth.shape).astype(np.float32), variance=truth.variance)
        widths += measureWidths(noisy, PLANES, 30.0, 25.0).tolist()
    # S/N = 2e4 / (5 sqrt(4 pi) 2) = 560: sigma(width) / width is about 1 / (S/N) times sqrt(2).
    assert np.std(widths) / np.mean(widths) < 5e-3
    # The mean of 50 has 4e-4 of noise, and the rim's median 1e-4 of bias.
    assert np.mean(widths) == pytest.approx(SIGMA_TO_FWHM * 2.0, rel=3e-3)


def sourcesOf(pair):
    """Positions of all stars and galaxies, brightest first, as a detection would list them."""
    stars, galaxies = pair.truth.stars, pair.truth.galaxies
    flux = np.concatenate([stars["flux"], galaxies["flux"]])
    order = np.argsort(-flux)
    x, y = (np.concatenate([stars[c], galaxies[c]])[order] for c in ("x", "y"))
    isStar = np.concatenate([np.ones(len(stars), bool), np.zeros(len(galaxies), bool)])[order]
    return x, y, isStar


@pytest.mark.parametrize(
    ("seed", "contents"),
    [(0, {}), (2, {"galaxies": 200}), (3, {"brightStars": 300, "faintStars": 1200})],
    ids=["sparse", "galaxies", "dense"],
)
def test_starsOfSimulatedFields(seed, contents):
    pair = simulatePair(seed=seed, size=400, transients=0, badFraction=0.002, **contents)
    x, y, isStar = (values[:60] for values in sourcesOf(pair))
    images = [pair.template.maskedImage, pair.science.maskedImage]
    fwhms = starFwhms(*images, planes=("BAD", "SAT"), positions=np.column_stack([x, y]))
    widths = [measureWidths(image, ("BAD", "SAT"), x, y) for image in images]
    # Stars are narrow in both images.
    chosen = selectStarWidths(np.sqrt(widths[0] * widths[1]))
    assert np.count_nonzero(chosen) >= 5
    assert isStar[chosen].mean() >= 0.9
    assert fwhms == pytest.approx([np.median(own[chosen]) for own in widths], rel=1e-12)
    for measured, psfImage in zip(fwhms, (pair.truth.templatePsfImage, pair.truth.sciencePsfImage), strict=True):
        psfs = [psfImage(round(a), round(b)) for a, b in zip(x[isStar], y[isStar], strict=True)]
        truth = np.median([getFwhmPix(ImagePsf(image)) for image in psfs])
        # The science PSF varies by +-7.5 % over the field, and not all stars are chosen.
        assert measured == pytest.approx(truth, rel=0.07)


def test_starsThatOnlyOneImageShows():
    sharp, broad = starOn(sigma=1.5), starOn(sigma=2.5)
    positions = np.array([[30.0, 25.0], [60.0, 50.0]])
    one, other = SIGMA_TO_FWHM * 1.5, SIGMA_TO_FWHM * 2.5
    assert starFwhms(sharp, planes=PLANES, positions=positions) == pytest.approx([one], rel=1e-3)
    assert starFwhms(sharp, broad, planes=PLANES, positions=positions) == pytest.approx([one, other], rel=1e-3)
    # The second image's only star is spoiled: the first one is measured by itself.
    spoil(broad, 25, 30)
    first, second = starFwhms(sharp, broad, planes=PLANES, positions=positions)
    assert first == pytest.approx(one, rel=1e-3)
    assert second is None


def test_noStarAtAll():
    blank = MaskedImage(np.zeros((60, 70), dtype=np.float32), variance=np.ones((60, 70), dtype=np.float32))
    for positions in (np.zeros((0, 2)), np.array([[30.0, 25.0], [np.nan, 5.0]])):
        assert starFwhms(blank, blank, planes=PLANES, positions=positions) == [None, None]


def test_narrowestCommonWidthIsThatOfStars():
    stars = 3.0 * np.exp(0.01 * np.random.default_rng(1).normal(size=12))
    galaxies = np.linspace(3.4, 9.0, 40)
    artefacts = [1.5, 2.0]
    hotPixels = [0.9, 1.0, 1.0, 1.0, 1.0]
    widths = np.concatenate([galaxies, stars, artefacts, hotPixels, [np.nan, np.inf, -3.0]])
    chosen = selectStarWidths(widths)
    assert chosen[40:52].all()
    assert np.count_nonzero(chosen) == 12


def test_smallGroupsAreNotStars():
    # Two of one width may be chance even where they are a third of all.
    widths = np.array([2.0, 4.0, 4.0, 2.0, 4.0, 4.0])
    np.testing.assert_array_equal(selectStarWidths(widths), widths == 4.0)
    # A quarter of 20 is 5: four artefacts of one width are too few, five are enough.
    widths = np.concatenate([np.full(4, 2.0), np.full(20, 4.0)])
    np.testing.assert_array_equal(selectStarWidths(widths), widths == 4.0)
    widths = np.concatenate([np.full(5, 2.0), np.full(20, 4.0)])
    np.testing.assert_array_equal(selectStarWidths(widths), widths == 2.0)


def test_fewSources():
    assert selectStarWidths([]).tolist() == []
    assert selectStarWidths([np.nan]).tolist() == [False]
    assert selectStarWidths([1.0, 0.5, -2.0, np.nan]).tolist() == [False] * 4
    assert selectStarWidths([3.0]).tolist() == [True]
    assert selectStarWidths([2.0, 4.0, 4.1]).tolist() == [False, True, True]


def test_groupIsTakenWholeFromItsEdge():
    # Widths of one group, spread over 12 %: the window of +-6 % about its middle holds most of them.
    widths = 3.0 * np.exp(np.linspace(-0.06, 0.06, 25))
    assert np.count_nonzero(selectStarWidths(widths)) >= 20


@quick
@given(st.lists(st.floats(1.3, 10.0), max_size=30), st.floats(1.0, 5.0), st.randoms(use_true_random=False))
def test_selectionDependsOnNeitherScaleNorSequence(values, scale, random):
    widths = np.array(values)
    chosen = selectStarWidths(widths)
    assert chosen.dtype == bool
    assert chosen.any() == (len(values) > 0)
    order = list(range(len(values)))
    random.shuffle(order)
    assert sorted(widths[order][selectStarWidths(widths[order])]) == sorted(widths[chosen])
    # Members of one window of 12 %.
    if chosen.any():
        assert widths[chosen].max() / widths[chosen].min() <= math.exp(0.12) * (1 + 1e-12)
    # Powers of two move every logarithm by the same number up to rounding, which ties may feel.
    spacing = np.abs(np.subtract.outer(np.log(widths), np.log(widths)))
    if (np.abs(spacing - 0.06) > 1e-9).all() and (np.abs(spacing - 0.12) > 1e-9).all():
        np.testing.assert_array_equal(selectStarWidths(scale * widths), chosen)
