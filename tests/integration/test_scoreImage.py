"""The score image: its noise against the best possible, its calibration, its planes, and templates of any PSF."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

from psfmatch import (
    Exposure,
    GaussianPsf,
    ImagePsf,
    InputImagesError,
    MaskedImage,
    PsfMatchError,
    computeScore,
    frontDoorConfig,
    subtract,
)
from psfmatch.frontdoor import Score
from psfmatch.testing import simulatePair

SIZE = 512
TRANSIENT = (260.0, 251.0)


def star(x, y, flux, sigma):
    """The image of a star; sigma is (along x, along y)."""
    pixel = np.arange(SIZE)
    profiles = (np.exp(-0.5 * ((pixel - c) / s) ** 2) for c, s in zip((y, x), sigma[::-1], strict=True))
    return flux / (2 * np.pi * sigma[0] * sigma[1]) * np.outer(*profiles)


def exposure(sigma, noise, seed, transient=0.0, nStars=90):
    image = np.random.default_rng(seed).normal(0, noise, (SIZE, SIZE))
    generator = np.random.default_rng(5)
    places, fluxes = generator.uniform(0, SIZE, (nStars, 2)), 10 ** generator.uniform(2.5, 4.3, nStars)
    for (x, y), flux in zip(places, fluxes, strict=True):
        image += star(x, y, flux, sigma)
    image += star(*TRANSIENT, transient, sigma)
    offset = np.arange(-20, 21)
    psf = np.outer(*(np.exp(-0.5 * (offset / s) ** 2) for s in sigma[::-1]))
    return Exposure(MaskedImage(image, variance=np.full(image.shape, noise**2)), psf=ImagePsf(psf / psf.sum()))


def robust(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def bestError(science, template, noises):
    """The least error of a flux: 1 / error^2 = mean over frequencies of 1 / (v_S / |P_S|^2 + v_T / |P_T|^2)."""
    k = 2 * np.pi * np.fft.fftfreq(128)
    power = [np.outer(np.exp(-((k * s[1]) ** 2)), np.exp(-((k * s[0]) ** 2))) for s in (science, template)]
    below = noises[0] ** 2 * power[1] + noises[1] ** 2 * power[0]
    return np.divide(power[0] * power[1], below, out=np.zeros_like(below), where=below > 1e-200).mean() ** -0.5


@pytest.mark.parametrize(
    ("template", "noises"),
    [
        ((2.2, 2.2), (1.0, 1.0)),
        ((1.5, 1.5), (1.0, 1.0)),
        ((1.5, 1.5), (0.3, 1.0)),
        ((3.0, 3.0), (1.0, 1.0)),
        ((3.0, 3.0), (1.0, 0.3)),
        ((1.8, 2.8), (1.0, 1.0)),  # sharper along x, wider along y: neither way is without sharpening
    ],
)
def test_noiseIsTheBestPossible(template, noises):
    science = 2.2, 2.2
    best = bestError(science, template, noises)
    score = computeScore(exposure(template, noises[1], 2), exposure(science, noises[0], 1, 30 * best))
    known = np.isfinite(score.significance)
    assert known.mean() > 0.8
    # Of some 2600 independent places; the third digit is what they tell.
    assert robust(score.significance[known]) == pytest.approx(1.0, abs=0.03)
    assert score.noise.applied == 1.0
    assert abs(np.median(score.significance[known])) < 0.05
    # The best error is that of sources whose light is all on the image.
    inside = np.s_[20:-20, 20:-20]
    assert robust(score.score.image[inside][known[inside]]) / score.fluxScale == pytest.approx(best, rel=0.05)
    x, y = map(int, TRANSIENT)
    assert score.score.image[y, x] / score.fluxScale == pytest.approx(30 * best, abs=4 * best)
    assert score.significance[y, x] == pytest.approx(30, abs=4)
    np.testing.assert_allclose(
        score.significance[known], score.score.image[known] / np.sqrt(score.score.variance[known]), rtol=1e-4, atol=1e-6
    )
    # The transient stands out most, where images need not be sharpened it alone, and it is measured as it is.
    found, *others = score.detect()
    assert not others or template[0] != template[1]
    assert np.hypot(found["x"] - x, found["y"] - y) < 0.5
    assert found["psfFlux"] == pytest.approx(30 * best, abs=4 * best)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=5, size=256)


@pytest.fixture(scope="module")
def result(pair):
    return subtract(pair.template, pair.science)


def test_samePreparation(pair, result):
    """What `subtract` does to the images before is done, and told; the given ones are not changed."""
    before = pair.science.copy()
    score = computeScore(pair.template, pair.science)
    np.testing.assert_array_equal(pair.science.image, before.image)
    np.testing.assert_array_equal(score.significance, result.score.significance)
    assert score.score == result.score.score
    assert score.result.preparation == result.preparation
    names = {choice.name for choice in score.result.choices}
    assert {"saturation", "variance", "alignment", "coverage", "direction"} <= names
    assert score.result.metadata["scaleScienceVarianceFactor"] > 0.0
    one, two = (computeScore(pair.template, pair.science, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.significance, two.significance)


def test_variancesThatAreWrong(pair, result):
    science = pair.science.copy()
    science.variance /= 1.345
    score = computeScore(pair.template, science)
    assert score.result.metadata["scaleScienceVarianceFactor"] == pytest.approx(
        1.345 * result.metadata["scaleScienceVarianceFactor"], rel=0.01
    )
    known = np.isfinite(score.significance) & np.isfinite(result.score.significance)
    assert robust(score.significance[known]) == pytest.approx(robust(result.score.significance[known]), rel=0.02)


def test_planes(pair, result):
    """Detections of the images do not stay; borders are flagged, and what is not known is said to be so."""
    science = pair.science.copy()
    detected = science.mask.getPlaneBitMask(["DETECTED", "DETECTED_NEGATIVE"])
    science.mask[40:80] |= detected
    score = computeScore(pair.template, science).score
    assert not (np.asarray(score.mask) & detected).any()
    edge = score.mask.hasAny("EDGE")
    assert edge[0].all()
    assert edge[:, -1].all()
    assert not edge[128, 128]
    unknown = np.isnan(result.score.significance)
    assert unknown.any()
    mask = result.score.score.mask
    np.testing.assert_array_equal(mask.hasAny("NO_DATA") & ~np.isfinite(result.score.score.image), unknown)
    assert np.isinf(result.score.score.variance[unknown]).all()
    assert np.isfinite(result.score.score.variance[~unknown]).all()


def test_placeInTheResult(result):
    assert isinstance(result.score, Score)
    assert result.score is result.score
    columns = {"x", "y", "significance", "psfFlux"}
    for name in columns:
        np.testing.assert_array_equal(result.score.detect()[name], result.detect()[name])
    assert pickle.loads(pickle.dumps(result.score)) == result.score
    # No circle that would keep images alive until somebody looks for circles.
    other = copy.copy(result)
    assert other.score.result == result
    gone = weakref.ref(other)
    gc.disable()
    try:
        del other
        assert gone() is None
    finally:
        gc.enable()


def test_withoutDecorrelation(pair, result):
    """Where no decorrelated difference was asked for, the score is the same."""
    config = frontDoorConfig()
    config.doDecorrelate = False
    plain = subtract(pair.template, pair.science, config=config)
    assert plain.decorrelation is None
    np.testing.assert_allclose(plain.score.significance, result.score.significance, atol=1e-3)


def test_psfThatIsGiven(pair):
    psf = GaussianPsf(1.7)
    score = computeScore(pair.template, pair.science, psf=psf)
    assert score.result.science.psf is psf
    assert score.psfFrom == "that of the science image"
    assert pair.science.psf is None


@pytest.mark.parametrize(
    ("size", "error"), [((15, 15), PsfMatchError), ((1, 1), PsfMatchError), ((40, 300), PsfMatchError)]
)
def test_smallImages(size, error):
    image = np.random.default_rng(1).normal(0, 1, size)
    with pytest.raises(error):
        computeScore(Exposure(MaskedImage(image)), Exposure(MaskedImage(image)), ImagePsf(np.ones((3, 3)) / 9))


class NowherePsf:
    def computeKernelImage(self, x, y):
        raise RuntimeError("no stars")


def test_slips(pair):
    with pytest.raises((ValueError, InputImagesError), match="no stars"):
        computeScore(pair.template, pair.science, NowherePsf())
