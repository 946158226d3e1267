"""The matched filter and its peaks: against sums written out, and on noise."""

import numpy as np
import pytest

from psfmatch import Box, GaussianPsf, ImagePsf, InputImagesError, MaskedImage
from psfmatch.images import weightImage
from psfmatch.kernels import PsfField
from psfmatch.transients import findPeaks, significanceImage

SIGMA = 1.6


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(11)
    variance = 4.0 + np.linspace(0, 1, 400)[:, None] * np.ones((400, 400))
    return MaskedImage(rng.standard_normal((400, 400)) * np.sqrt(variance), variance=variance, xy0=(30, -10))


@pytest.fixture(scope="module")
def field(noise):
    return PsfField(GaussianPsf(SIGMA), noise.getBBox())


def test_againstSumsWrittenOut(noise, field):
    image = noise.copy()
    image.mask[40:44, 60:62] |= image.mask.getPlaneBitMask("BAD")
    image.image[41, 61] = np.nan
    image.image[10, 10] = np.inf
    found = significanceImage(image, field)
    weight = np.asarray(found.weight, dtype=float)
    psf, half = field.images([100.0], [100.0])[0], field.half
    assert weight[42, 60] == weight[10, 10] == 0.0
    for x, y in ((62, 45), (200, 200), (2, 3), (399, 399), (61, 41)):
        top = bottom = 0.0
        for v in range(-half, half + 1):
            for u in range(-half, half + 1):
                if 0 <= x + u < 400 and 0 <= y + v < 400 and weight[y + v, x + u] > 0:
                    p, w = psf[v + half, u + half], weight[y + v, x + u]
                    top += p * w * float(image.image[y + v, x + u])
                    bottom += p * p * w * w * float(image.variance[y + v, x + u])
        # The engine's variance is good to 1e-3, its image to 1e-5 of the largest value: here some 4 sigma.
        expected = top / np.sqrt(bottom) / found.noise.applied
        assert found.image[y, x] == pytest.approx(expected, abs=3e-3)


def test_lopsidedPsf():
    # A star with a companion to its upper right: filtered with the PSF turned round, it would lose a third.
    y, x = np.mgrid[-9:10, -9:10]
    psf = np.exp(-0.5 * (x**2 + y**2) / 1.5**2) + 0.6 * np.exp(-0.5 * ((x - 4) ** 2 + (y - 2) ** 2) / 1.5**2)
    psf /= psf.sum()
    image = np.zeros((80, 90), dtype=np.float32)
    image[31:50, 41:60] = 1000 * psf
    masked = MaskedImage(image, variance=np.ones_like(image))
    found = significanceImage(masked, PsfField(ImagePsf(psf), masked.getBBox()))
    assert np.unravel_index(np.argmax(found.image), image.shape) == (40, 50)
    assert found.image[40, 50] == pytest.approx(1000 * np.sqrt((psf**2).sum()), rel=2e-3)
    assert found.noise.applied == 1.0  # there is no noise to measure


def test_noiseHasUnitWidth(noise, field):
    found = significanceImage(noise, field)
    # 160000 pixels hold some 5000 independent ones: 1.17 / sqrt(5000) = 0.017.
    assert found.noise.measured == pytest.approx(1.0, abs=3 * found.noise.error)
    assert found.noise.error == pytest.approx(0.0166, rel=0.1)
    assert found.noise.applied == 1.0
    assert found.image.std() == pytest.approx(1.0, abs=0.05)


def test_wrongVarianceIsDividedOut(noise, field, caplog):
    wrong = MaskedImage(noise.image, variance=noise.variance / 4.0, xy0=noise.xy0)
    found = significanceImage(wrong, field)
    assert found.noise.applied == pytest.approx(2.0, abs=0.1)
    np.testing.assert_allclose(
        found.image, significanceImage(noise, field).image * 2 / found.noise.applied, rtol=1e-4, atol=1e-4
    )
    assert "scatters by" in caplog.text


def test_sourcesDoNotWidenTheNoise(noise, field):
    image = noise.copy()
    y, x = np.mgrid[:400, :400]
    for cx in range(20, 400, 60):
        for cy in range(20, 400, 60):
            image.image += (
                3000.0
                / (2 * np.pi * SIGMA**2)
                * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / SIGMA**2).astype(np.float32)
            )
    clean, crowded = significanceImage(noise, field).noise, significanceImage(image, field).noise
    assert crowded.nPixels < 0.8 * clean.nPixels
    assert crowded.measured == pytest.approx(clean.measured, abs=0.03)


def test_threadsChangeNothing(noise, field):
    one, two = (significanceImage(noise, field, threads=n).image for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_inputIsNotChanged(noise, field):
    before = noise.copy()
    significanceImage(noise, field)
    np.testing.assert_array_equal(noise.image, before.image)
    np.testing.assert_array_equal(noise.variance, before.variance)


def test_weightsOfSmoothAndOfPeakedVariance():
    rng = np.random.default_rng(0)
    variance = rng.normal(100.0, 5.0, (60, 60))
    # 49 pixels average to a seventh of a pixel's scatter.
    assert (1 / weightImage(MaskedImage(np.zeros((60, 60)), variance=variance)))[5:-5, 5:-5].std() < 1.0
    variance[30, 30] = 1e4
    peaked = 1 / weightImage(MaskedImage(np.zeros((60, 60)), variance=variance))
    assert peaked[30, 30] == pytest.approx((1e4 + 800) / 9, rel=0.01)
    assert peaked[30, 34] == pytest.approx(100.0, rel=0.05)


def test_nothingUsable(field):
    image = MaskedImage(np.zeros((20, 20)), variance=np.zeros((20, 20)))
    with pytest.raises(InputImagesError, match=r"none of the 400 pixels .* can be used") as error:
        significanceImage(image, PsfField(GaussianPsf(SIGMA), Box(0, 0, 20, 20)))
    assert error.value.nPixels == 400


def test_peaksOfBothSigns():
    image = np.zeros((50, 50), dtype=np.float32)
    image[10, 12], image[11, 13], image[30, 40], image[0, 0], image[49, 49] = 7.0, 6.0, -9.0, 5.0, -5.5
    image[20, 20] = image[20, 21] = 6.5  # a plateau is one peak
    peaks = findPeaks(image, 5.0, 2)
    assert list(zip(peaks.x, peaks.y, peaks.value, strict=True)) == [
        (40, 30, -9.0),
        (12, 10, 7.0),
        (20, 20, 6.5),
        (49, 49, -5.5),
        (0, 0, 5.0),
    ]
    assert findPeaks(image, 10.0, 2).x.size == 0
    # Neighbours of opposite sign do not hide each other.
    image[31, 40] = 8.0
    assert findPeaks(image, 5.0, 2).x.size == 6
