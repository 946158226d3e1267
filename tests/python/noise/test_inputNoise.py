"""The noise of an image whose sky is a crowd, a nebula, or resampled; gains and read noises of headers."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter

from psfmatch import Exposure, InputImagesError, MaskedImage, subtract
from psfmatch.io.detectors import DetectorNoise, detectorsOf
from psfmatch.noise import measureNoiseFactor, scaleVariance

SIZE, SKY = 320, 600.0


def crowd(seed=1, *, gain=2.0, readNoise=5.0, sigma=2.3, perPixel=0.02, stars=30.0, sky=SKY):
    """Counts of a field in which stars too faint to be told from one another outshine the noise."""
    random = np.random.default_rng(seed)
    light = np.zeros((SIZE, SIZE))
    fluxes = stars * random.pareto(1.6, light.size)
    light[random.random(light.shape) < perPixel] = 1.0
    light *= np.minimum(fluxes, 3000.0).reshape(light.shape) * 2.0 * np.pi * sigma**2
    expected = gaussian_filter(light, sigma, mode="wrap") + sky
    electrons = random.poisson(expected * gain) + random.normal(0.0, readNoise, light.shape)
    return electrons / gain


def exposure(image, variance=None):
    return Exposure(MaskedImage(image, variance=np.full(image.shape, 100.0 if variance is None else variance)))


def test_crowdIsNoNoise():
    image = crowd(perPixel=0.05, stars=150.0)
    faint = np.quantile(image, 0.2)
    truth = (faint / 2.0 + 2.5**2) / 100.0
    noise = measureNoiseFactor(exposure(image).maskedImage)
    assert noise.isOfCrowd
    assert noise.blank > 2.0 * truth
    # Stars lie everywhere: neighbours differ by some light as well.
    assert noise.factor == pytest.approx(truth, rel=0.2)
    scaled, factor = scaleVariance(exposure(image).maskedImage)
    assert factor == noise.factor
    np.testing.assert_allclose(scaled.variance, 100.0 * factor, rtol=1e-6)
    assert measureNoiseFactor(exposure(image).maskedImage, threads=2) == noise


@pytest.mark.parametrize("seed", range(4))
def test_fieldsWithBlankSkyKeepWhatItTells(seed):
    """Sparse fields, white or resampled: blank sky tells, whatever neighbours share."""
    random = np.random.default_rng(seed)
    white = random.normal(SKY, 10.0, (SIZE, SIZE))
    for image in (white, gaussian_filter(white, 0.7)):
        image[100:110, 100:110] += 500.0
        noise = measureNoiseFactor(exposure(image).maskedImage)
        assert not noise.isOfCrowd
        assert noise.factor == pytest.approx(np.var(image[120:]) / 100.0, rel=0.05)
        # Pixels three apart share next to nothing.
        assert noise.neighbours == pytest.approx(noise.blank, rel=0.1)


def test_nebulaIsNoNoise():
    y, x = np.mgrid[:SIZE, :SIZE]
    nebula = 40.0 * np.sin(x / 3.0) * np.cos(y / 3.5)
    image = np.random.default_rng(4).normal(SKY, 5.0, (SIZE, SIZE)) + nebula
    noise = measureNoiseFactor(exposure(image).maskedImage)
    assert noise.isOfCrowd
    assert noise.factor == pytest.approx(0.25, rel=0.4)


def test_tooFewPixelsAndUnitsThatCannotBe():
    small = np.random.default_rng(1).normal(0.0, 1.0, (12, 12))
    assert np.isnan(measureNoiseFactor(exposure(small, 1.0).maskedImage).neighbours)
    field = np.random.default_rng(1).normal(0.0, 1.0, (SIZE, SIZE))
    with pytest.raises(InputImagesError, match="check the units"):
        measureNoiseFactor(exposure(field, 1e-4).maskedImage)


def write(path, image, **cards):
    fits.PrimaryHDU(image.astype(np.float32), header=fits.Header(cards)).writeto(path)
    return path


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"GAIN": 2.0, "RDNOISE": 5.0}, "GAIN = 2 e-/count and RDNOISE = 5 e-"),
        ({"EGAIN": 2.0, "GAIN": 100.0, "READNOIS": 5.0}, "EGAIN = 2 e-/count and READNOIS = 5 e-"),
        ({"EGAIN": 9.0, "GAIN": 2.0, "RON": 5.0}, "GAIN = 2 e-/count and RON = 5 e-"),
        ({"GAIN": 0.5, "RDNOISE": 2.5, "NCOMBINE": 4}, "GAIN = 0.5 e-/count and RDNOISE = 2.5 e-, a mean of 4 frames"),
    ],
)
def test_headerWithWhichPixelsAgree(tmp_path, caplog, cards, words):
    image = crowd(perPixel=0.004)
    read = Exposure.readFits(write(tmp_path / "a.fits", image, **cards))
    assert read.metadata["VARSRC"] == f"the header, {words}"
    np.testing.assert_allclose(read.variance, np.maximum(read.image, 0.0) / 2.0 + 2.5**2, rtol=1e-5)
    assert f"variance from the header, {words}: at the sky that is a noise of" in caplog.text
    assert measureNoiseFactor(read.maskedImage).factor == pytest.approx(1.0, abs=0.15)


def test_electrons(tmp_path):
    image = np.random.default_rng(2).poisson(400.0, (SIZE, SIZE)) + np.random.default_rng(3).normal(0, 8, (SIZE, SIZE))
    read = Exposure.readFits(write(tmp_path / "a.fits", image, BUNIT="electron", GAIN=3.0, RDNOISE=8.0))
    assert read.metadata["VARSRC"] == "the header, counts in electrons and RDNOISE = 8 e-"


@pytest.mark.parametrize("cards", [{"GAIN": 100.0}, {"GAIN": 0.02, "RDNOISE": 3.0}])
def test_settingsOfACameraAreNamed(tmp_path, caplog, cards):
    read = Exposure.readFits(
        write(tmp_path / "a.fits", np.random.default_rng(1).normal(SKY, 20.0, (SIZE, SIZE)), **cards)
    )
    assert read.metadata["VARSRC"] == "estimated from the sky"
    assert np.ptp(read.variance) == 0.0
    assert f"GAIN = {cards['GAIN']:g} e-/count" in caplog.text
    assert "of the header does not fit, for it says" in caplog.text


def test_skyThatHasBeenTakenOff(tmp_path):
    """Nothing contradicts a gain then: what is bright gets its photon noise."""
    image = crowd(perPixel=0.0005, stars=100.0) - SKY
    read = Exposure.readFits(write(tmp_path / "a.fits", image, GAIN=2.0))
    assert read.metadata["VARSRC"].startswith("the sky's scatter of")
    brightest = np.unravel_index(np.argmax(read.image), read.image.shape)
    assert read.variance[brightest] == pytest.approx(read.image[brightest] / 2.0 + np.median(read.variance), rel=0.1)


def test_cardsThatMeanNothing():
    assert detectorsOf([{"GAIN": 2.0, "BUNIT": "electron/s"}]) == []
    assert detectorsOf([{"GAIN": "high"}, {"GAIN": True}, {"GAIN": float("nan")}, {"GAIN": -1.0}]) == []
    assert detectorsOf([{}, {"GAIN": 2}]) == [DetectorNoise(2.0, 0.0, "GAIN = 2 e-/count")]


def test_noGradeHangsOnAnEstimate(tmp_path, caplog):
    """Variances that were estimated here follow the difference's own sky, and cost no grade."""
    caplog.set_level(logging.ERROR)
    template, science = (crowd(seed, perPixel=0.01, stars=60.0) for seed in (1, 1))
    noise = np.random.default_rng(9)
    science = science + noise.normal(0.0, 10.0, science.shape)
    arrays = subtract(template, science, threads=1)
    assert arrays.quality.varianceScale is None
    planes = [np.full(image.shape, 400.0) for image in (template, science)]
    given = subtract(
        *(
            Exposure(MaskedImage(image, variance=plane))
            for image, plane in zip((template, science), planes, strict=True)
        ),
        threads=1,
    )
    assert given.quality.varianceScale is not None
