"""Cut-outs through the front door: transients kept, doubts told, and never worse than a typed error."""

import logging

import numpy as np
import numpy.typing as npt
import pytest

from psfmatch import (
    Exposure,
    GaussianPsf,
    InputImagesError,
    MaskedImage,
    NoKernelCandidatesError,
    PsfMatchError,
    frontDoorConfig,
    subtract,
)
from psfmatch.fit.stampFit import fitStamp
from psfmatch.frontdoor.cutouts import hasTransientInMiddle, isCutout
from psfmatch.frontdoor.options import RunOptions
from psfmatch.testing import simulatePair

SIDE = 63
NARROW, WIDE = 1.1, 1.5


def star(x, y, flux, sigma, shape=(SIDE, SIDE)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


def host(sigma, x=31.6, y=30.1, flux=8000.0):
    """Three Gaussians that look like a galaxy, as a PSF of sigma shows them."""
    parts = ((0.3, 0.6), (0.4, 1.6), (0.3, 3.0))
    return sum(star(x, y, share * flux, np.hypot(sigma, size)) for share, size in parts)


def alert(transient, seed=0, sigmas=(NARROW, WIDE), ratio=1.0, stars=((12.2, 40.7, 5000.0), (50.4, 15.1, 3000.0))):
    """Template and science image of a host with something new on it, noise 0.3 and 1, no plane and no coordinates."""
    generator = np.random.default_rng(seed)
    before, after = (host(s) + sum(star(*place, s) for place in stars) for s in sigmas)
    template = before + 50.0 + generator.normal(0.0, 0.3, (SIDE, SIDE))
    science = ratio * after + 80.0 + star(31, 31, transient, sigmas[1]) + generator.normal(0.0, 1.0, (SIDE, SIDE))
    return template.astype(np.float32), science.astype(np.float32)


def psfFlux(difference, sigma=WIDE):
    """Return flux and its error in the middle, of the PSF that the science image has."""
    psf = star(31, 31, 1.0, sigma)
    weights = np.where(difference.mask.hasAny("NO_DATA"), 0.0, 1.0 / difference.variance)
    norm = (weights * psf**2).sum()
    return np.nansum(weights * psf * difference.image) / norm, norm**-0.5


# Transients


@pytest.mark.parametrize("scales", [(1.0, 1e-10), (1.0, 1e8), (1e-12, 1.0), (1e9, 1e-4), (1e-12, 1e-12)])
def test_imagesInOtherUnits(scales):
    """Counts on one side, and nanomaggies or erg on the other."""
    images = alert(0.0, 4)
    template, science = (MaskedImage(np.float32(scale) * image) for image, scale in zip(images, scales, strict=True))
    fit = fitStamp(template, science, hasTransientInMiddle=True)
    assert fit.ratio * scales[0] / scales[1] == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize(
    ("sigmas", "ratio"), [((1.0, 1.45), 1.0), ((1.27, 1.27), 1.0), ((1.0, 1.45), 1.5)], ids=["wider", "equal", "ratio"]
)
def test_supernovaOnItsHost(sigmas, ratio):
    """Neither fitted away nor drawn up: pulls of a width near one about zero, with the kernel's own error."""
    pulls, shares = [], []
    for seed, flux in enumerate((100.0, 200.0, 400.0, 800.0)):
        template, science = alert(flux, seed, sigmas, ratio)
        fit = fitStamp(MaskedImage(template), MaskedImage(science), hasTransientInMiddle=True)
        assert fit.ratio == pytest.approx(ratio, rel=0.03)
        best = fit.attempts[0]
        # Of a Gaussian, within 3.5 px.
        expected = flux * (1.0 - np.exp(-0.5 * (3.5 / sigmas[1]) ** 2))
        pulls.append((best.middleFlux - expected) / np.hypot(best.middleError, fit.middleNoise))
        shares.append(best.middleFlux / expected - 1.0)
    assert abs(np.mean(pulls)) < 3.0 / np.sqrt(4.0)
    assert np.abs(pulls).max() < 4.0
    assert abs(np.median(shares)) < 0.1


def test_supernovaInTheDifference():
    """What the fit tells is what the difference holds."""
    result = subtract(*alert(800.0, 3), threads=1)
    found, error = psfFlux(result.difference)
    # Its host is as bright as 8000, of which the kernel is uncertain by half a per cent.
    assert found == pytest.approx(800.0, abs=4.0 * np.hypot(error, 40.0))


def test_whatFadesIsNegative():
    result = subtract(*alert(-300.0, 3), threads=1)
    found, error = psfFlux(result.difference)
    assert abs(found + 300.0) < 5.0 * error + 60.0


def test_changesElsewhere():
    """A new source beside the middle leaves the fit, keeps its light, and is named."""
    template, science = alert(0.0, 4)
    science += star(20, 12, 700.0, WIDE).astype(np.float32)
    result = subtract(template, science, threads=1)
    light = result.difference.image[8:17, 16:25].sum()
    # 81 pixels of noise 1.
    assert light == pytest.approx(700.0, abs=5 * 9)
    assert "1 places have changed and are left out of the fit: (20, 12)." in result.explain()
    assert result.kernel.kernelSum(31, 31) == pytest.approx(1.0, rel=0.02)


def test_noiseOfTheDifference():
    """The noise of both images is told by the fit, and no grade hangs on planes that were only estimated."""
    result = subtract(*alert(400.0, 5), threads=1)
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.08)
    assert np.median(result.science.variance) == pytest.approx(1.0, rel=0.15)
    assert np.median(result.template.variance) == pytest.approx(0.09, rel=0.3)
    assert "variance plane" not in "".join(result.quality.reasons)
    assert result.convolved == "template"
    assert result.grade in ("B", "C")
    names = [choice.name for choice in result.choices]
    assert {"kernel", "noise", "middle"} <= set(names)


def test_doubtsOfALoneSource():
    """One source in the middle of nothing: change and flux ratio are one, and the grade says what hangs on it."""
    template, science = alert(400.0, 6, stars=())
    result = subtract(template, science, threads=1)
    assert result.grade in ("C", "D")
    assert "a ratio that nothing here can check" in result.explain()
    assert np.isfinite(result.difference.image).all()


def test_lightThatChecks():
    """Two stars beside the middle judge the kernel; a lone source leaves it unchecked, and its shift is its own."""
    reasons = "".join(subtract(*alert(400.0, 9), threads=1).quality.reasons)
    assert reasons == "B: the kernel is that of one stamp, without stars held out"
    alone = subtract(*alert(400.0, 9, stars=()), threads=1).quality
    assert any(reason.endswith("check the kernel, 20 would do") for reason in alone.reasons)
    assert not alone.residualShiftPix


def test_kernelThatSharpens():
    result = subtract(*alert(300.0, 7, sigmas=(1.5, 1.1)), threads=1)
    assert "a kernel that sharpens" in result.explain()
    assert "the inverse, as far as the noise bears it" in result.explain()
    assert result.grade in ("C", "D", "F")


# What is not there


def test_templateWithoutASource():
    """Science minus its sky."""
    generator = np.random.default_rng(8)
    template = generator.normal(50.0, 0.3, (SIDE, SIDE)).astype(np.float32)
    science = (80.0 + generator.normal(0.0, 1.0, (SIDE, SIDE)) + star(31, 31, 2000.0, WIDE)).astype(np.float32)
    result = subtract(template, science, threads=1)
    expected = science - 80.0
    assert abs(np.median(result.difference.image - expected)) < 0.1
    assert np.std(result.difference.image - expected) < 0.2
    assert result.grade in ("C", "D")
    assert "science minus sky: the template shows no source" in result.explain()
    constant = subtract(np.full((SIDE, SIDE), 7.0, dtype=np.float32), science, threads=1)
    assert np.std(constant.difference.image - expected) < 0.2


def test_noSourceAtAll():
    generator = np.random.default_rng(9)
    images = [generator.normal(5.0, 1.0, (SIDE, SIDE)).astype(np.float32) for _ in range(2)]
    with pytest.raises(NoKernelCandidatesError, match="neither image of 63x63 pixels has a source") as error:
        subtract(*images, threads=1)
    assert error.value.nSources == 0
    with pytest.raises(NoKernelCandidatesError):
        subtract(np.full((SIDE, SIDE), 3.0, np.float32), np.full((SIDE, SIDE), 5.0, np.float32), threads=1)


def test_sourceThatIsGone():
    """The template's light with a minus, on the scale that the images are taken to have."""
    generator = np.random.default_rng(10)
    template, _ = alert(0.0, 10, stars=())
    science = generator.normal(80.0, 1.0, (SIDE, SIDE)).astype(np.float32)
    result = subtract(template, science, threads=1)
    assert result.kernel.kernelSum(31, 31) == pytest.approx(1.0, abs=0.2)
    assert result.difference.image.sum() < -5000.0


def test_detectorsEnd():
    """NaN in both: no data there, a difference of noise beside it."""
    template, science = alert(0.0, 11)
    template[:, :18], science[:22] = np.nan, np.nan
    result = subtract(template, science, threads=1)
    bad = result.difference.mask.hasAny("NO_DATA")
    assert bad[:22].all()
    assert bad[:, :18].all()
    good = np.s_[24:, 24:]
    assert not bad[good].any()
    pull = result.difference.image[good] / np.sqrt(result.difference.variance[good])
    assert np.std(pull) < 1.3


@pytest.mark.parametrize("side", range(1, 10))
def test_tinyStamps(side):
    image = star(side / 2, side / 2, 500.0, 1.0, (side, side)).astype(np.float32)
    with pytest.raises(InputImagesError, match=f"images of {side}x{side} pixels hold no kernel; 10 on each side"):
        subtract(image, image + np.float32(1.0), threads=1)
    with pytest.raises(InputImagesError, match="holds no kernel"):
        fitStamp(MaskedImage(image), MaskedImage(image))


@pytest.mark.parametrize("side", [10, 11, 13, 16, 20])
def test_smallStamps(side):
    """A kernel of what they hold, a flux that is right within its errors, and a grade that says what is unchecked."""
    shape, middle = (side, side), side // 2
    generator = np.random.default_rng(side)
    template, science = (
        star(middle + 1.3, middle - 2.4, 3000.0, s, shape) + 9.0 + generator.normal(0.0, 0.5, shape) for s in (0.9, 1.1)
    )
    science += star(middle, middle, 300.0, 1.1, shape)
    result = subtract(template.astype(np.float32), science.astype(np.float32), threads=1)
    half = (side - 1) // 4
    assert max(result.kernel.shape) <= 2 * half + 1
    reasons = result.quality.reasons
    assert result.grade in ("C", "D")
    assert any(f"kernel of more than {2 * half + 1}x{2 * half + 1} pixels" in reason for reason in reasons)
    assert not any("pixels are unusable" in reason for reason in reasons)
    near = np.s_[middle - 3 : middle + 4, middle - 3 : middle + 4]
    # 49 pixels of noise 0.7, and a ratio known to 3 % of 3000 counts.
    assert result.difference.image[near].sum() == pytest.approx(300.0, abs=4 * np.hypot(5.0, 90.0))


def test_kernelThatIsCutOff():
    """Of two pixels to each side a sigma of 1.1 px is too much: the grade says so."""
    shape = (12, 12)
    generator = np.random.default_rng(3)
    template, science = (
        (star(6.3, 5.4, 9000.0, s, shape) + generator.normal(0.0, 0.5, shape)).astype(np.float32) for s in (0.9, 1.9)
    )
    result = subtract(template, science, threads=1)
    assert result.grade in ("D", "F")
    assert "is cut off by the kernel of 5x5 pixels, the largest that the stamp holds" in result.explain()


def test_stripsStayRefused():
    """Too long for one stamp, and too narrow for any other kernel."""
    strip = np.random.default_rng(0).normal(size=(12, 400)).astype(np.float32)
    with pytest.raises(InputImagesError, match="smaller than the kernel"):
        subtract(strip, strip, threads=1)


@pytest.mark.parametrize("shape", [(21, 21), (30, 30), (30, 50), (101, 41)])
def test_shapes(shape):
    generator = np.random.default_rng(12)
    images = [
        (star(12.3, 11.2, 4000.0, s, shape) + generator.normal(9.0, 1.0, shape)).astype(np.float32)
        for s in (NARROW, WIDE)
    ]
    result = subtract(*images, threads=1)
    assert result.difference.shape == shape
    assert max(result.kernel.shape) <= min(shape)
    good = ~result.difference.mask.hasAny("NO_DATA")
    assert good.mean() > 0.9


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan, 1e30, -32768.0])
def test_wrongPixels(wrong):
    """Whatever a hundredth of the pixels holds, there is a difference or a typed error."""
    template, science = alert(300.0, 13)
    template[np.random.default_rng(0).random(template.shape) < 0.01] = wrong
    try:
        result = subtract(template, science, threads=1)
    except PsfMatchError:
        return
    assert result.difference.shape == template.shape


# What the user has said


def test_psfsOfTheUser():
    """They come first, cut to what the stamp holds."""

    class Image35:
        def __init__(self, sigma):
            self.sigma = sigma

        def computeKernelImage(self, x, y):
            return star(17, 17, 1.0, self.sigma, (35, 35))

    generator = np.random.default_rng(14)
    exposures = []
    for sigma in (NARROW, WIDE):
        pixels = star(14.6, 15.3, 2e4, sigma, (30, 30)) + generator.normal(0.0, 1.0, (30, 30))
        exposures.append(Exposure(MaskedImage(pixels.astype(np.float32)), psf=Image35(sigma)))
    for exposure in exposures:
        exposure.variance = np.ones((30, 30), dtype=np.float32)
    result = subtract(*exposures, threads=1)
    assert result.steps == ("The kernel is that of the two PSF models.",)
    assert max(result.kernel.shape) < 30
    exposures[0].psf = GaussianPsf(NARROW)
    assert subtract(*exposures, threads=1).steps == result.steps


def test_middleAsConfigured():
    """By itself for squares of odd sides without coordinates; else as configured, which the result explains."""
    template, science = alert(400.0, 15)
    options = RunOptions.fromConfig(None)
    exposures = Exposure.fromArray(template), Exposure.fromArray(science)
    assert hasTransientInMiddle(options, *exposures)
    even = tuple(Exposure.fromArray(image[:62, :62]) for image in (template, science))
    assert not hasTransientInMiddle(options, *even)
    config = frontDoorConfig()
    config.middleOfCutout = "nothing"
    result = subtract(template, science, config=config, threads=1)
    assert "Middle of the stamp" not in result.explain()
    assert result.config.middleOfCutout == "nothing"
    config.middleOfCutout = "transient"
    assert hasTransientInMiddle(RunOptions.fromConfig(config), *even)
    assert "Middle of the stamp" in subtract(*even, config=config, threads=1).explain()


def test_ratioOfCalibrations():
    template, science = alert(300.0, 16, ratio=2.0)
    exposures = [Exposure.fromArray(image) for image in (template, science)]
    exposures[0].photoCalib, exposures[1].photoCalib = 2.0, 1.0
    result = subtract(*exposures, threads=1)
    assert result.kernel.kernelSum(31, 31) == pytest.approx(2.0, rel=0.01)
    assert ", as expected" in result.explain()


def test_planesOfTheUser():
    """Variances that are known are used; the kernel is told as well."""
    template, science = alert(300.0, 17)
    exposures = [
        Exposure(MaskedImage(image, variance=np.full(image.shape, v, dtype=np.float32)))
        for image, v in ((template, 0.09), (science, 1.0))
    ]
    result = subtract(*exposures, threads=1)
    assert "as given" in result.explain()
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.08)


def test_planesOfZeros():
    """Variances of nothing but zeros are none: the pixels tell the noise."""
    template, science = alert(400.0, 18)
    bare = [MaskedImage(image) for image in (template, science)]
    result = subtract(*bare, threads=1)
    assert result.kernel.kernelSum(31, 31) == pytest.approx(1.0, abs=0.03)
    assert result.grade in ("B", "C")
    assert np.median(result.difference.variance) == pytest.approx(1.0, rel=0.2)


def test_whatHasChangedIsUsable():
    """The middle of an alert tells nothing of the match, and is no defect."""
    quality = subtract(*(image[14:45, 14:45] for image in alert(400.0, 19)), threads=1).quality
    assert quality.maskedFraction == 0.0


def test_largeImagesOfManyStars():
    """They are left to the fit of stars and regions."""
    pair = simulatePair(seed=2, size=192)
    result = subtract(pair.template, pair.science, threads=1)
    assert "whole stamp" not in result.explain()
    assert isCutout((101, 90), 50)
    assert isCutout((150, 150), 2)
    assert not isCutout((150, 150), 50)
    assert not isCutout((151, 20), 0)


def test_threadsAndReplay(caplog):
    """The same difference on any number of threads, and again with the configuration of the result."""
    caplog.set_level(logging.INFO, "psfmatch")
    images = alert(300.0, 18)
    result = subtract(*images, threads=1)
    assert "Middle of the stamp" in caplog.text
    other = subtract(*images, threads=2)
    again = subtract(*images, config=result.config, threads=1)
    for difference in (other.difference, again.difference):
        np.testing.assert_array_equal(difference.image, result.difference.image)
        np.testing.assert_array_equal(difference.variance, result.difference.variance)


def _moffat(flux: float, fwhm: float, beta: float) -> npt.NDArray[np.float64]:
    """Return a star in the middle of 63x63 pixels."""
    y, x = np.indices((63, 63))
    scale = 0.5 * fwhm / np.sqrt(2.0 ** (1.0 / beta) - 1.0)
    squared = (x - 31.2) ** 2 + (y - 30.9) ** 2
    peak = flux * (beta - 1.0) / (np.pi * scale**2)
    return np.asarray(peak * (1.0 + squared / scale**2) ** -beta)


@pytest.mark.parametrize("seed", [0, 2])
def test_brightStarAloneAtTheBorder_keepsExpectedFluxRatio(seed: int) -> None:
    """Its wings told ratios of 0.66 and 0.68, and a new point in the middle the rest of its light."""
    rng = np.random.default_rng(seed)
    template = _moffat(4e5, 3.7, 3.5) + rng.normal(0.0, 39.0, (63, 63))
    science = _moffat(4e5, 4.3, 2.5) + rng.normal(0.0, 57.0, (63, 63))
    for image in (template, science):
        image[:, :26] = np.nan
    images = (MaskedImage(image.astype(np.float32)) for image in (template, science))
    fit = fitStamp(*images, hasTransientInMiddle=True)
    assert fit.ratio == pytest.approx(1.0, abs=0.1)
    assert not fit.isFree
