"""The score image: its noise, its calibration as a significance, and templates of any PSF."""

import numpy as np
import pytest

from psfmatch import Exposure, GaussianPsf, ImagePsf, InputImagesError, MaskedImage, computeScore, frontDoorConfig

SIZE, SIGMA = 320, 2.4
STARS = np.random.default_rng(5).uniform(0, SIZE, (2, 110))
FLUXES = 10 ** np.random.default_rng(6).uniform(2.5, 4.3, 110)
TRANSIENT = (160.0, 158.0, 300.0)


def exposure(sigma, noise, seed, transient=0.0):
    image = np.random.default_rng(seed).normal(0, noise, (SIZE, SIZE))
    pixel = np.arange(SIZE)
    places = [*zip(*STARS, FLUXES, strict=True), (*TRANSIENT[:2], transient)]
    for x, y, flux in places:
        image += (
            flux
            / (2 * np.pi * sigma**2)
            * np.outer(np.exp(-0.5 * (pixel - y) ** 2 / sigma**2), np.exp(-0.5 * (pixel - x) ** 2 / sigma**2))
        )
    return Exposure(MaskedImage(image, variance=np.full(image.shape, noise**2)), psf=GaussianPsf(sigma))


@pytest.fixture(scope="module")
def config():
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = 0
    config.kernel.active.spatialBgOrder = 0
    return config


@pytest.fixture(scope="module")
def science():
    science = exposure(SIGMA, 1.0, 1, TRANSIENT[2])
    science.mask[200:203, 100:102] |= science.mask.getPlaneBitMask("BAD")
    science.image[200:203, 100:102] = 1e6
    return science


def robust(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


@pytest.mark.parametrize("templateSigma", [SIGMA, 1.8, 2.9])
def test_noiseAndSignificance(science, config, templateSigma):
    template = exposure(templateSigma, 1.0, 2)
    score = computeScore(template, science, config=config)
    usable = np.isfinite(score.significance)
    assert robust(score.significance[usable]) == pytest.approx(1.0, abs=0.05)
    # The best filter for the difference: 1 / error^2 = mean over frequencies of |P_S|^2 / (v + v |P_S / P_T|^2).
    k2 = np.add.outer(*2 * [(2 * np.pi * np.fft.fftfreq(256)) ** 2])
    forScience, forTemplate = (np.exp(-0.5 * k2 * s**2) for s in (SIGMA, templateSigma))
    best = (forScience**2 / (1 + (forScience / forTemplate) ** 2)).mean() ** -0.5
    noise = robust(score.score.image[usable]) / score.fluxScale
    assert noise == pytest.approx(best, rel=0.05)
    if templateSigma == SIGMA:
        # Equal images: sqrt(2) times the noise over the root of the noise-equivalent area.
        assert robust(score.score.image[usable]) == pytest.approx(np.sqrt(2) / np.sqrt(4 * np.pi) / SIGMA, rel=0.1)
    y, x = TRANSIENT[1], TRANSIENT[0]
    assert score.score.image[int(y), int(x)] / score.fluxScale == pytest.approx(TRANSIENT[2], abs=4 * best)
    assert score.significance[int(y), int(x)] == pytest.approx(TRANSIENT[2] / best, abs=4)
    # Nothing else but the transient stands out.
    beyond = np.argwhere(np.where(usable, np.abs(score.significance), 0) > 6)
    assert len(beyond)
    assert np.hypot(*(beyond - (y, x)).T).max() < 3 * SIGMA


def test_planesAndEdges(science, config):
    before = science.copy()
    score = computeScore(exposure(SIGMA, 1.0, 2), science, config=config)
    np.testing.assert_array_equal(science.image, before.image)
    edge = np.asarray(score.score.mask) & score.score.mask.getPlaneBitMask("EDGE") != 0
    half = science.psf.computeKernelImage(0, 0).shape[0] // 2
    assert edge[:half].all() or half > 7
    assert edge[0].all()
    assert edge[:, -1].all()
    assert not edge[SIZE // 2, SIZE // 2]
    assert np.isnan(score.significance[edge]).all()
    # Filled from its neighbours, the defect of a million counts has left nothing behind.
    assert np.nanmax(np.abs(score.significance[190:215, 90:115])) < 5
    assert score.score.psf is science.psf
    assert score.metadata["nInterpolated"] == 6
    assert score.metadata["preconvolvedSciencePsfSize"] == pytest.approx(np.sqrt(2) * 2.3548 * SIGMA, rel=0.01)
    one, two = (computeScore(exposure(SIGMA, 1.0, 2), science, config=config, threads=n).significance for n in (1, 2))
    np.testing.assert_array_equal(one, two)


class EvenPsf:
    def computeKernelImage(self, x, y):
        return np.ones((4, 4)) / 16


class NowherePsf:
    def computeKernelImage(self, x, y):
        raise RuntimeError("no stars")


def test_slips(science, config):
    template = exposure(SIGMA, 1.0, 2)
    with pytest.raises(ValueError, match="the science image has no PSF"):
        computeScore(template, Exposure(science.maskedImage), config=config)
    with pytest.raises(ValueError, match="must be odd"):
        computeScore(template, science, EvenPsf(), config=config)
    with pytest.raises(ValueError, match=r"not defined at .*no stars"):
        computeScore(template, science, NowherePsf(), config=config)
    with pytest.raises(InputImagesError, match="of 15x15 pixels are smaller than"):
        computeScore(
            Exposure(MaskedImage(np.ones((15, 15)))),
            Exposure(MaskedImage(np.ones((15, 15)))),
            ImagePsf(np.ones((3, 3))),
        )
