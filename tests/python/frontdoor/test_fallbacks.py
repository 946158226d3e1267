"""What the front door does where stars are few: simpler models, their grades, and errors where nothing is sound."""

import numpy as np
import pytest
from astropy.table import Table

from psfmatch import (
    Exposure,
    GaussianPsf,
    InputImagesError,
    InsufficientKernelSourcesError,
    MaskedImage,
    NoKernelCandidatesError,
    frontDoorConfig,
    subtract,
)
from psfmatch.config import KernelOptions
from psfmatch.frontdoor.simplerModels import byPsfModels, byScale
from psfmatch.testing import simulatePair

SIDE, SKY, NARROW, WIDE, RATIO, LEVEL = 128, 5.0, 1.3, 1.9, 1.6, 12.0


@pytest.fixture(scope="module")
def config():
    return KernelOptions.fromConfig(frontDoorConfig().kernel.active)


def makePair(x=(), y=(), flux=1e4, seed=0, ratio=RATIO, sigmas=(NARROW, WIDE), side=SIDE, psf=False, photoCalib=False):
    """Gaussian stars on noise of 5 counts; the science image is 1.6 times as bright, wider, and 12 counts higher."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    exposures = []
    for sigma, scale, level in ((sigmas[0], 1.0, 0.0), (sigmas[1], ratio, LEVEL)):
        light = np.zeros((side, side))
        for x0, y0 in zip(x, y, strict=True):
            squared = (columns - x0) ** 2 + (rows - y0) ** 2
            light += scale * flux * np.exp(-0.5 * squared / sigma**2) / (2 * np.pi * sigma**2)
        variance = SKY**2 + light
        pixels = light + level + np.sqrt(variance) * generator.normal(size=light.shape)
        exposure = Exposure(MaskedImage(pixels.astype(np.float32), variance=variance.astype(np.float32)))
        exposure.psf = GaussianPsf(sigma) if psf else None
        exposure.photoCalib = 1.0 / scale if photoCalib else None
        exposures.append(exposure)
    return exposures


def sources(x=(), y=(), snr=100.0):
    return Table({"x": np.array(x, dtype=float), "y": np.array(y, dtype=float), "snr": np.full(len(x), snr)})


POSITIONS = ([30.0, 64.2, 95.7], [40.0, 80.4, 33.1])


# The models themselves


def test_kernelOfTwoPsfs(config):
    """Between two Gaussians lies a Gaussian; the flux ratio is that of the calibrations, the level the median."""
    template, science = makePair(*POSITIONS, psf=True, photoCalib=True)
    made = byPsfModels(template, science, sources(), True, config, 1)
    kernel = made.psfMatchingKernel.computeImage(64.0, 64.0)
    assert kernel.sum() == pytest.approx(RATIO, rel=1e-6)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - (kernel.shape[0] // 2)
    width = np.sqrt(WIDE**2 - NARROW**2)
    expected = RATIO * np.exp(-0.5 * (x**2 + y**2) / width**2) / (2 * np.pi * width**2)
    # The Wiener filter damps frequencies where the narrower PSF has hardly a thousandth of its power: 3 % of the peak.
    assert abs(kernel - expected).max() < 0.05 * expected.max()
    # A median of 16 000 pixels of noise 6.4.
    assert made.backgroundModel(3.0, 4.0) == pytest.approx(LEVEL, abs=0.3)
    inner = np.s_[20:-20, 20:-20]
    difference = made.subtractedExposure
    pull = difference.image[inner] / np.sqrt(difference.variance[inner])
    assert 0.9 < np.std(pull) < 1.1
    assert made.kernelFit is None
    assert list(made.kernelCellSet) == []


def test_scaleAlone(config):
    """One pixel of the flux ratio, and the other way round its inverse, on the science image's scale."""
    template, science = makePair(photoCalib=True)
    made = byScale(template, science, sources(), True, config, 1)
    assert made.psfMatchingKernel.kernelSum(64, 64) == pytest.approx(RATIO)
    expected = science.image - RATIO * template.image - made.backgroundModel(64.0, 64.0)
    np.testing.assert_allclose(made.subtractedExposure.image, expected, rtol=0, atol=1e-4)
    other = byScale(template, science, sources(), False, config, 1)
    assert other.psfMatchingKernel.kernelSum(64, 64) == pytest.approx(1.0 / RATIO)
    np.testing.assert_allclose(other.subtractedExposure.image, expected, rtol=0, atol=0.05)


def test_fluxRatioOfStars(config):
    """Without calibrations the light of stars tells the ratio, a fit of none."""
    template, science = makePair(*POSITIONS)
    made = byScale(template, science, sources(*POSITIONS), True, config, 1)
    # 225 pixels of noise 5 are 75 counts of 1e4; 0.8 %, and the ring holds a little of the wider star's wings.
    assert made.psfMatchingKernel.kernelSum(64, 64) == pytest.approx(RATIO, rel=0.03)


def test_nothingTellsTheRatio(config):
    template, science = makePair(*POSITIONS)
    empty, _ = makePair(seed=3)
    with pytest.raises(InputImagesError, match=r"nothing tells the flux ratio: .* and 0 of 0"):
        byScale(template, science, sources(), True, config, 1)
    with pytest.raises(InputImagesError, match="0 of 0"):
        byScale(template, science, sources(*POSITIONS, snr=9.0), True, config, 1)
    with pytest.raises(InputImagesError, match="0 of 3 sources stand out in both"):
        byScale(empty, science, sources(*POSITIONS), True, config, 1)
    with pytest.raises(InputImagesError, match="an image has no PSF model"):
        byPsfModels(template, science, sources(*POSITIONS), True, config, 1)


# The front door


def test_noStarButModels():
    """Empty sky, PSF models and calibrations: a difference of pure noise, of grade C at best, and it says why."""
    template, science = makePair(psf=True, photoCalib=True)
    before = template.image.copy(), science.image.copy()
    result = subtract(template, science)
    assert np.array_equal(template.image, before[0])
    assert np.array_equal(science.image, before[1])
    assert result.grade in ("C", "D", "F")
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.05)
    assert any("two PSF models" in reason for reason in result.quality.reasons)
    assert any("two PSF models" in step for step in result.steps)
    assert result.kernel.kernelSum(64, 64) == pytest.approx(RATIO, rel=1e-5)
    assert set(result.steps) <= set(result.explain().split("\n"))


def test_noStarAndNoModel():
    """Nothing tells PSFs or fluxes: an error of what was found, no guess."""
    template, science = makePair()
    with pytest.raises((NoKernelCandidatesError, InsufficientKernelSourcesError)) as error:
        subtract(template, science)
    assert error.value.nSources == 0


def test_oneStar():
    """It tells a kernel as part of a stamp, and the grade says that no other star has checked it."""
    template, science = makePair(*(axis[:1] for axis in POSITIONS), flux=3e4)
    result = subtract(template, science)
    assert result.grade == "B"
    assert "B: the kernel is that of one stamp, without stars held out" in result.quality.reasons
    # Some forty pixels of light, of which few terms were fitted.
    assert 0.6 < result.quality.sourceRobust < 1.12
    assert "Kernel of the whole stamp of 128x128 pixels" in result.explain()
    # Noise of 5 per pixel over 9 px: 0.3 % of 3e4 counts, and the wings.
    assert result.kernel.kernelSum(64, 64) == pytest.approx(RATIO, rel=0.02)


def test_oneStarOfALargeImage():
    """The kernel is that of its surroundings; a template that shows nothing leaves the science image minus its sky."""
    template, science = makePair([100.0], [120.0], flux=1e4, side=256)
    result = subtract(template, science)
    assert result.kernel.kernelSum(64, 64) == pytest.approx(RATIO, rel=0.02)
    assert result.steps[-1] == "The kernel is that of the surroundings of the brightest source."
    assert result.grade in ("C", "D")
    assert set(result.steps) <= set(result.explain().split("\n"))
    empty, _ = makePair(side=256)
    alone = subtract(empty, science)
    assert alone.grade == "C"
    assert alone.steps[-1] == "The template shows no source above S/N 20: science minus sky."
    assert np.nanmax(alone.difference.image) > 0.98 * (science.image.max() - np.median(science.image))


def test_scaleIsLeft():
    """Where the science image must be convolved, a stamp tells no kernel: the photometric scale is left."""
    template, science = makePair(*(axis[:1] for axis in POSITIONS), flux=3e4)
    result = subtract(template, science, mode="convolveScience")
    assert result.grade in ("D", "F")
    assert result.kernel.shape == (1, 1)
    assert result.steps[-1] == "The kernel is that of the photometric scale alone."
    assert "an image has no PSF model" in result.steps[-2]


def test_threeStars():
    """They tell the kernel with all pixels about them, which is graded as one that few vouch for."""
    result = subtract(*makePair(*POSITIONS, flux=3e4))
    assert not result.steps
    # Their light of 1e5 electrons and the sky's noise: 0.3 %, and as much for the wings.
    assert result.kernel.kernelSum(64, 64) == pytest.approx(RATIO, rel=0.02)
    assert result.grade in ("B", "C")


def test_givenStarsAreNotReplaced():
    """Too few stars of the caller's own are told; nothing else is fitted instead."""
    template, science = makePair(*POSITIONS)
    config = frontDoorConfig()
    config.kernel.active.minKernelSources = 5
    with pytest.raises(InsufficientKernelSourcesError, match=r"3 sources given .*minKernelSources is 5"):
        subtract(template, science, config=config, candidateList=np.array(POSITIONS).T)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=256, brightStars=300, faintStars=100)


@pytest.fixture(scope="module")
def chosen(pair):
    return subtract(pair.template, pair.science)


def test_replay(pair, chosen):
    """The configuration of a result makes the same difference, bit for bit, on any number of threads."""
    assert chosen.config.chooseKernel is False
    assert chosen.config.kernel.active.fitMethod == "regions"
    replayed = subtract(pair.template, pair.science, config=chosen.config, threads=3)
    for name in ("image", "variance"):
        assert np.array_equal(getattr(replayed.difference, name), getattr(chosen.difference, name), equal_nan=True), (
            name
        )
    assert np.array_equal(np.asarray(replayed.difference.mask), np.asarray(chosen.difference.mask))
    assert np.array_equal(replayed.kernel.computeImage(9.0, 200.0), chosen.kernel.computeImage(9.0, 200.0))


def test_explainHoldsNumbers(chosen):
    """Every choice is a sentence with a figure, and names what was chosen."""
    lines = chosen.explain().split("\n")
    for choice in chosen.choices:
        assert choice.sentence in lines
        assert any(character.isdigit() for character in choice.sentence), choice.sentence
    names = {choice.name for choice in chosen.choices}
    assert {"saturation", "variance", "alignment", "coverage", "direction", "kernel", "layout"} <= names
    assert f"Grade {chosen.grade}" in chosen.explain()


def test_swappedImages(pair, chosen):
    """Template and science image exchanged: the negative difference, on the other's scale, within the noise."""
    other = subtract(pair.science, pair.template)
    assert other.convolved != chosen.convolved
    good = ~(chosen.difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA")))
    good &= ~(other.difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA")))
    scale = chosen.kernel.kernelSum(*pair.truth.box.centre)
    total = chosen.difference.image[good] + scale * other.difference.image[good]
    pull = total / np.sqrt(chosen.difference.variance[good])
    # Both hold the same noise; the kernels are of two fits.
    assert 1.4826 * np.median(abs(pull - np.median(pull))) < 0.5
    assert abs(np.median(pull)) < 0.3


def test_equalImages():
    """The same sky and PSF twice, noise of their own: pure noise, and a kernel sum of one."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(20.3, 250, 36.1), np.arange(19.7, 250, 36.4)))
    result = subtract(*makePair(x, y, flux=3e4, ratio=1.0, sigmas=(1.5, 1.5), side=256))
    # 60 000 pixels: 0.3 %, and what correlated noise adds.
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.05)
    total = result.kernel.kernelSum(128, 128)
    assert total == pytest.approx(1.0, abs=0.01)
    good = ~result.difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA"))
    pull = result.difference.image[good] / np.sqrt(result.difference.variance[good])
    # Nothing is left of 49 stars of S/N 300.
    assert abs(pull).max() < 7.0
    assert result.grade in ("A", "B")
