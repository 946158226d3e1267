"""Decorrelated differences: white noise, right variances, fluxes kept, bad pixels kept to themselves."""

import logging

import numpy as np
import pytest

from psfmatch import Exposure, GaussianPsf, InputImagesError, LinearCombinationKernel, MaskedImage, applyKernel
from psfmatch.difference import decorrelate
from psfmatch.difference.decorrelation.correction import fitField, fitPositions
from psfmatch.noise import measureWhiteness
from psfmatch.noise.blankSky import findBlankSky

SHAPE = (192, 224)
XY0 = (1000, -500)
INNER = np.s_[24:-24, 24:-24]
LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2))
FLUX_RATIO = 1.25


def gaussian(sigma, side=17):
    offset = np.arange(side) - side // 2
    image = np.exp(-0.5 * (offset[:, np.newaxis] ** 2 + offset**2) / sigma**2)
    return image / image.sum()


@pytest.fixture(scope="module")
def kernel():
    """A Gaussian whose width varies by 20 % over the field."""
    box = MaskedImage(np.zeros(SHAPE), xy0=XY0).getBBox()
    x, y = fitPositions(box)
    u = (x - box.centre[0] + y - box.centre[1]) / (box.width + box.height)
    basis, _ = fitField(np.array([FLUX_RATIO * gaussian(1.3 * (1.0 + 0.2 * value)) for value in u]), box, 3)
    return LinearCombinationKernel(basis, np.eye(len(basis)), bbox=box)


def noise(seed, variance, shape=SHAPE):
    """An image of noise alone, with its variance plane: a number, or an array."""
    plane = np.broadcast_to(np.asarray(variance, dtype=np.float32), shape)
    image = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.sqrt(plane)
    return MaskedImage(image, variance=plane, xy0=XY0)


def subtracted(kernel, convolved, unconvolved, isScienceConvolved=False):
    """Return the difference in either direction, with a background of zero."""
    if isScienceConvolved:
        return applyKernel(kernel, unconvolved, convolved, convolved="science").difference
    return applyKernel(kernel, convolved, unconvolved, convolved="template").difference


def correlations(difference):
    """Correlation of the pulls at each lag (dy, dx)."""
    pulls = (difference.image / np.sqrt(difference.variance))[INNER].astype(np.float64)
    pulls -= pulls.mean()
    ny, nx = pulls.shape
    return np.array([np.mean(pulls[: ny - dy, : nx - dx] * pulls[dy:, dx:]) for dy, dx in LAGS]) / np.mean(pulls**2)


@pytest.mark.parametrize("isScienceConvolved", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 100.0])
def test_noiseIsWhiteAndAsPredicted(kernel, ratio, isScienceConvolved):
    after, before, power = [], [], []
    for seed in (1, 2):
        convolved, unconvolved = noise(10 + seed, 4.0 * ratio), noise(20 + seed, 4.0)
        difference = subtracted(kernel, convolved, unconvolved, isScienceConvolved)
        result = decorrelate(difference, kernel, convolved, unconvolved, isScienceConvolved=isScienceConvolved)
        before.append(correlations(difference))
        after.append(correlations(result.exposure))
        power.append(np.mean((result.exposure.image**2 / result.exposure.variance)[INNER]))
    # 2 x 144 x 176 products: errors of 0.0045 for each lag, and of 0.0063 for the variance; four times that.
    assert np.abs(np.mean(after, axis=0)).max() < 0.018
    assert np.mean(before, axis=0)[0] > (0.7 if ratio == 100.0 else 0.04)
    assert np.mean(power) == pytest.approx(1.0, abs=0.025)
    assert result.varianceRatio == pytest.approx(ratio * FLUX_RATIO**2, rel=0.01)
    # The sum of variances of white noise through a kernel of that sum, to 1e-2: the width varies within the kernel.
    centre = result.exposure.variance[SHAPE[0] // 2, SHAPE[1] // 2]
    wanted = 4.0 * (1.0 + ratio * FLUX_RATIO**2) / (FLUX_RATIO**2 if isScienceConvolved else 1.0)
    assert centre == pytest.approx(wanted, rel=1e-2)


@pytest.mark.parametrize("completeVariance", [False, True])
def test_varianceByDirectSums(kernel, completeVariance):
    """A bright star in either image: sums of squared weights, pixel by pixel."""
    y, x = np.indices(SHAPE)
    star = np.exp(-0.5 * ((x - 110) ** 2 + (y - 95) ** 2) / 1.4**2)
    convolved, unconvolved = noise(1, 4.0 + 400.0 * star), noise(2, 3.0 + 200.0 * star)
    result = decorrelate(
        subtracted(kernel, convolved, unconvolved), kernel, convolved, unconvolved, completeVariance=completeVariance
    )
    for row, column in ((95, 110), (97, 109), (91, 113), (60, 50)):
        position = column + XY0[0], row + XY0[1]
        covariance = result.covariance(*position, maxLag=0)
        phi = result.kernel.computeImage(*position)
        half = phi.shape[0] // 2
        ours = np.sum(phi**2 * unconvolved.variance[row - half : row + half + 1, column - half : column + half + 1])
        spread = np.zeros(np.add(phi.shape, 16))
        for dy, dx in np.ndindex(phi.shape):
            spread[dy : dy + 17, dx : dx + 17] += phi[dy, dx] * kernel.computeImage(*position)
        half += 8
        theirs = np.sum(spread**2 * convolved.variance[row - half : row + half + 1, column - half : column + half + 1])
        assert covariance == pytest.approx(ours + theirs, rel=1e-6)
        # The kernel at each of its pixels is not quite that at the middle; the fast way is good to 0.3 % besides.
        tolerance = 2e-3 if completeVariance else 6e-3
        assert result.exposure.variance[row, column] == pytest.approx(ours + theirs, rel=tolerance)


def test_covarianceThatIsLeftAndThatWas(kernel):
    convolved, unconvolved = noise(1, 8.0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    result = decorrelate(difference, kernel, convolved, unconvolved)
    position = (1080, -400)
    left, was = result.covariance(*position, maxLag=30), result.differenceCovariance(*position, maxLag=30)
    np.testing.assert_allclose(was, was[::-1, ::-1], rtol=1e-12)
    assert was[30, 30] == pytest.approx(difference.variance[100, 80], rel=1e-3)
    assert was[30, 31] / was[30, 30] > 0.1
    others = left / left[30, 30]
    others[30, 30] = 0.0
    # The correction's own bound for the field is 4e-3 of the power.
    assert np.abs(others).max() < 2e-3
    # Over all lags: the variance of a sum of many pixels, which no correction with sum 1 changes.
    total = 4.0 + 8.0 * kernel.kernelSum(*position) ** 2
    assert left.sum() == pytest.approx(total, rel=1e-3)
    assert was.sum() == pytest.approx(total, rel=1e-3)
    corner = result.covariance(*XY0, maxLag=1)
    assert np.isfinite(corner).all()
    with pytest.raises(ValueError, match="outside the image"):
        result.covariance(0, 0)
    with pytest.raises(ValueError, match="maxLag is -1"):
        result.covariance(*position, maxLag=-1)


@pytest.mark.parametrize("ratio", [1.0, 100.0])
def test_fluxAndEffectivePsf(kernel, ratio):
    """A source of the difference keeps its flux, and looks like the PSF that the result carries."""
    convolved, unconvolved = (MaskedImage(np.zeros(SHAPE), None, np.full(SHAPE, v), XY0) for v in (ratio, 1.0))
    psf = GaussianPsf(1.6, 31)
    unconvolved.image[80:111, 90:121] = 1000.0 * psf.computeKernelImage(0, 0)
    difference = subtracted(kernel, convolved, unconvolved)
    difference.psf = psf
    result = decorrelate(difference, kernel, convolved, unconvolved)
    # What lies beyond the stamps is less than 1e-4.
    assert float(result.exposure.image.sum(dtype=np.float64)) == pytest.approx(1000.0, rel=1e-3)
    effective = result.psf.computeKernelImage(105 + XY0[0], 95 + XY0[1])
    assert result.exposure.psf is result.psf
    assert effective.sum() == pytest.approx(1.0, abs=1e-12)
    half = effective.shape[0] // 2
    seen = result.exposure.image[95 - half : 96 + half, 105 - half : 106 + half] / 1000.0
    # The kernel at the star's own pixels differs from that of its middle.
    np.testing.assert_allclose(seen, effective, rtol=0, atol=5e-3 * effective.max())
    assert result.psf.getAveragePosition() is None
    assert effective.max() > 1.02 * psf.computeKernelImage(0, 0).max()


def test_badPixelsAreKeptToThemselves(kernel):
    convolved, unconvolved = noise(1, 4.0), noise(2, 4.0)
    clean = decorrelate(subtracted(kernel, convolved, unconvolved), kernel, convolved, unconvolved).exposure
    difference = subtracted(kernel, convolved, unconvolved)
    difference.image[60, 60] = np.nan
    difference.image[70, 70] = np.inf
    difference.variance[80, 80] = -1.0
    difference.image[90, 90] = 1e6
    difference.mask[90, 90] |= difference.mask.getPlaneBitMask("BAD")
    difference.mask[:, 100:110] |= difference.mask.getPlaneBitMask("DETECTED")
    result = decorrelate(difference, kernel, convolved, unconvolved).exposure
    assert np.isnan(result.image[60, 60])
    assert result.image[70, 70] == np.inf
    assert result.image[90, 90] == 1e6
    assert np.count_nonzero(~np.isfinite(result.image)) == 2
    for place in ((60, 60), (70, 70), (80, 80)):
        assert result.mask.hasAny("NO_DATA")[place]
    # No tap of the correction but the middle one holds 5 %: flags stay where they are.
    np.testing.assert_array_equal(result.mask.hasAny(("BAD", "DETECTED")), difference.mask.hasAny(("BAD", "DETECTED")))
    far = np.ones(SHAPE, dtype=bool)
    for place in ((60, 60), (70, 70), (80, 80), (90, 90)):
        far[place[0] - 15 : place[0] + 16, place[1] - 15 : place[1] + 16] = False
    # Only the level that stands in for bad pixels may differ, and the transforms of tiles round differently.
    np.testing.assert_allclose(result.image[far], clean.image[far], rtol=0, atol=1e-4)
    # A neighbour misses what the bad pixel would have added: less than 4 % of a value of some 4.
    assert abs(result.image[90, 91] - clean.image[90, 91]) < 1.0


def test_flagsSpreadByFraction(kernel):
    convolved, unconvolved = noise(1, 4.0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    difference.mask[90, 100] |= difference.mask.getPlaneBitMask("CR")
    # With BORDER, EDGE does not keep a pixel from lending light.
    np.asarray(difference.mask)[...] &= ~np.int32(difference.mask.getPlaneBitMask("BORDER"))
    result = decorrelate(difference, kernel, convolved, unconvolved, maskedKernelFraction=0.01)
    phi = result.kernel.computeImage(*difference.getBBox().centre)
    wanted = np.abs(phi) > 0.01 * np.abs(phi).sum()
    half = phi.shape[0] // 2
    flagged = result.exposure.mask.hasAny("CR")
    np.testing.assert_array_equal(flagged[90 - half : 91 + half, 100 - half : 101 + half], wanted[::-1, ::-1])
    assert flagged.sum() == wanted.sum() > 1
    # The border of the difference itself has EDGE; so do those that reach into it.
    assert result.exposure.mask.hasAny("EDGE").sum() > difference.mask.hasAny("EDGE").sum()


def test_inputsStayAndThreadsChangeNothing(kernel):
    convolved, unconvolved = noise(1, 40.0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    difference.metadata["EXPTIME"] = 30.0
    planes = [
        plane
        for image in (difference.maskedImage, convolved, unconvolved)
        for plane in (image.image, image.variance, np.asarray(image.mask))
    ]
    before = [plane.copy() for plane in planes]
    one, two = (decorrelate(difference, kernel, convolved, unconvolved, threads=threads) for threads in (1, 2))
    assert one.exposure is one.exposure
    assert two.exposure is not one.exposure
    for plane, kept in zip(planes, before, strict=True):
        np.testing.assert_array_equal(plane, kept)
    for name in ("image", "variance", "mask"):
        np.testing.assert_array_equal(
            *(np.asarray(getattr(result.exposure.maskedImage, name)) for result in (one, two))
        )
    assert one.exposure.metadata == {"EXPTIME": 30.0}
    assert one.exposure.maskedImage.xy0 == XY0


@pytest.mark.parametrize("exact", [False, True])
def test_whitenessWithoutTheWholePlane(exact):
    """Of a tall image only the rows about the windows of sky are corrected: that tells the same."""
    shape = 2000, 130
    convolved, unconvolved = (noise(seed, variance, shape) for seed, variance in ((1, 40.0), (2, 4.0)))
    convolved.image[700:720, 60:70] = np.nan
    kernel = LinearCombinationKernel(gaussian(1.3)[np.newaxis], [[1.0]], bbox=convolved.getBBox())
    difference = subtracted(kernel, convolved, unconvolved)
    result = decorrelate(difference, kernel, convolved, unconvolved, completeVariance=exact)
    sky = findBlankSky(difference.maskedImage, maxPixels=9000)
    by = result.measureWhiteness(sky)
    assert "exposure" not in vars(result)
    whole = measureWhiteness(result.exposure, where=sky)
    assert (by.nPixels, by.lagError) == (whole.nPixels, whole.lagError)
    np.testing.assert_allclose(by.correlations, whole.correlations, atol=1e-6)
    assert by.pullWidth == pytest.approx(whole.pullWidth, rel=1e-5)
    assert by.isWhite
    assert not measureWhiteness(difference, where=sky).isWhite
    # Where most of it would be, all of it is.
    small = decorrelate(difference, kernel, convolved, unconvolved)
    small.measureWhiteness(findBlankSky(difference.maskedImage))
    assert "exposure" in vars(small)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_withoutVariancesNothingIsDone(kernel, value, caplog):
    convolved, unconvolved = noise(1, 4.0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    unknown = [MaskedImage(image.image, None, np.full(SHAPE, value), XY0) for image in (convolved, unconvolved)]
    with caplog.at_level(logging.WARNING, logger="psfmatch.difference"):
        result = decorrelate(difference, kernel, *unknown)
    assert "Neither image has a usable variance plane" in caplog.text
    assert not result.isApplied
    assert result.exposure is difference
    assert result.kernel.kernelSum(0, 0) == 1.0


def test_noiselessTemplateChangesNothing(kernel):
    convolved, unconvolved = MaskedImage(np.ones(SHAPE), xy0=XY0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    result = decorrelate(difference, kernel, convolved, unconvolved)
    np.testing.assert_allclose(result.exposure.image, difference.image, rtol=1e-6)
    np.testing.assert_allclose(result.exposure.variance, difference.variance, rtol=1e-6)


def test_implausibleRatioIsTold(kernel, caplog):
    convolved, unconvolved = noise(1, 4.0), noise(2, 4e-9)
    difference = subtracted(kernel, convolved, unconvolved)
    with caplog.at_level(logging.WARNING, logger="psfmatch.difference"):
        result = decorrelate(difference, kernel, convolved, unconvolved)
    assert "one of the variance planes must be wrong" in caplog.text
    assert np.isfinite(result.exposure.image[INNER]).all()


def test_slipsAndMisfits(kernel):
    convolved, unconvolved = noise(1, 4.0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    with pytest.raises(InputImagesError, match=r"cannot have made a difference of shape \(192, 224\)"):
        decorrelate(difference, kernel, MaskedImage(np.zeros((5, 5))), unconvolved)
    with pytest.raises(ValueError, match=r"maskedKernelFraction is 1\.5"):
        decorrelate(difference, kernel, convolved, unconvolved, maskedKernelFraction=1.5)
    negative = LinearCombinationKernel([-gaussian(1.0)], [[1.0]])
    with pytest.raises(ValueError, match="must be positive"):
        decorrelate(difference, negative, convolved, unconvolved)


def test_everythingBad(kernel):
    """All flagged: the difference as it is, with the flags."""
    convolved, unconvolved = noise(1, 4.0), noise(2, 4.0)
    difference = subtracted(kernel, convolved, unconvolved)
    difference.mask[...] |= difference.mask.getPlaneBitMask("NO_DATA")
    result = decorrelate(difference, kernel, convolved, unconvolved)
    np.testing.assert_array_equal(result.exposure.image, difference.image)


def test_onePixel():
    kernel = LinearCombinationKernel([[[1.0]]], [[1.0]])
    one = MaskedImage([[2.0]], variance=[[1.0]])
    result = decorrelate(Exposure(MaskedImage([[0.5]], variance=[[2.0]])), kernel, one, one)
    assert result.exposure.image[0, 0] == pytest.approx(0.5)
    assert result.exposure.variance[0, 0] == pytest.approx(2.0)
