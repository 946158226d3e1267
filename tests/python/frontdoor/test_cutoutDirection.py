"""Stamps of a template that is no deeper than the science image: which is convolved, and what is left of the light."""

from dataclasses import replace

import numpy as np
import pytest

from psfmatch import MaskedImage, subtract
from psfmatch.fit.stampFit import fitStamp
from psfmatch.frontdoor.cutoutDirection import CommonLight, LeftLight

SIDE = 63
STARS = ((12.2, 40.7, 5000.0), (50.4, 15.1, 3000.0), (44.3, 50.6, 4000.0))


def star(x, y, flux, sigma):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)


def stamps(transient, ratio=1.0, noises=(4.0, 1.0), sigmas=(1.4, 1.3), seed=0):
    """Template and science image of three stars and something new in the middle."""
    generator = np.random.default_rng(seed)
    lights = [sum(star(*place, sigma) for place in STARS) for sigma in sigmas]
    lights[1] = ratio * (lights[1] + star(31, 31, transient, sigmas[1]))
    images = [light + generator.normal(0.0, noise, light.shape) for light, noise in zip(lights, noises, strict=True)]
    return [(image + 100.0).astype(np.float32) for image in images]


@pytest.mark.parametrize("ratio", [0.4, 1.0, 2.5])
def test_noisyTemplateIsNotConvolved(ratio):
    """Its kernel would be drawn to zero: the true flux ratio within 5 %, and the transient within four errors."""
    flux = 1500.0
    template, science = stamps(flux, ratio, noises=(4.0, ratio))
    result = subtract(template, science, threads=1)
    assert result.convolved == "science"
    assert 1.0 / result.quality.kernelSum == pytest.approx(ratio, rel=0.05)
    # The difference has the scale of the science image and the PSF of the template.
    y, x = np.indices(science.shape)
    disc = np.hypot(x - 31, y - 31) <= 5.0
    found = result.difference.image[disc].sum()
    error = 4.0 * ratio * np.sqrt(disc.sum())
    assert found == pytest.approx(ratio * flux * (1.0 - np.exp(-0.5 * (5.0 / 1.4) ** 2)), abs=4.0 * error)
    assert any(choice.name == "stampDirection" for choice in result.choices)


def test_exchangedStampsGiveTheSameWithTheOtherSign():
    """Where both directions are tried one fit serves both: the difference is minus the other, on the other's scale."""
    template, science = stamps(800.0, noises=(0.3, 1.0))
    there, back = subtract(template, science, threads=1), subtract(science, template, threads=1)
    assert (there.convolved, back.convolved) == ("template", "science")
    np.testing.assert_allclose(
        -back.difference.image * there.quality.kernelSum, there.difference.image, rtol=1e-3, atol=2e-2
    )


def test_directionAsAskedForIsKept():
    result = subtract(*stamps(800.0), mode="convolveTemplate", threads=1)
    assert result.convolved == "template"


def test_deepTemplateIsConvolvedWithoutAnotherFit():
    result = subtract(*stamps(800.0, noises=(0.3, 1.0)), threads=1)
    assert result.convolved == "template"
    assert not any(choice.name == "stampDirection" for choice in result.choices)


def test_lightLeftByAWrongKernel():
    """Of half the light a quarter of the power is left, at a ratio of 2; of all of it nothing."""
    images = [MaskedImage(image) for image in stamps(0.0, noises=(0.3, 1.0))]
    fit = fitStamp(*images, hasTransientInMiddle=True)
    common = CommonLight(*images, fit, isAlert=True, expectedRatio=1.0)
    # Noise to equal light: of one flux ratio that of the images.
    assert common.relativeNoise == pytest.approx(0.3, rel=0.15)
    right = common.leftBy(fit, isScienceConvolved=False)
    assert right.power < 0.002 + 3.0 * right.error
    assert right.ratio == pytest.approx(1.0, abs=0.02)
    assert right.cap is None
    sky = fit.ratio * fit.templateSky
    half = replace(
        fit,
        light=0.5 * fit.light,
        ratio=0.5 * fit.ratio,
        plane=(fit.plane[0] + 0.5 * sky, *fit.plane[1:]),
    )
    wrong = common.leftBy(half, isScienceConvolved=False)
    # Power is over that of means of 5x5 pixels, which are less peaked than the pixels.
    assert 0.25 < wrong.power < 0.6
    assert wrong.ratio == pytest.approx(2.0, rel=0.03)
    assert wrong.cap is not None
    assert wrong.cap[0] == "D"


@pytest.mark.parametrize(
    ("left", "grade"),
    [
        (LeftLight(0.001, 0.0001, 1.0), None),
        (LeftLight(0.05, 0.02, 1.5), None),
        (LeftLight(0.05, 0.002, 1.5), "C"),
        (LeftLight(0.5, 0.01, 1.01), "C"),
        (LeftLight(0.5, 0.01, 1.5), "D"),
        (LeftLight(np.nan, np.nan, np.nan), "C"),
    ],
)
def test_whatIsLeftKeepsTheGradeDown(left, grade):
    assert (left.cap and left.cap[0]) == grade


def test_withoutCommonLightTheDeeperImageIsConvolved():
    """A galaxy in the middle of an alert tells no direction; noise at the expected flux ratio does."""
    generator = np.random.default_rng(1)
    images = [star(31, 31, 9000.0, 1.5) + generator.normal(0.0, noise, (SIDE, SIDE)) for noise in (4.0, 1.0)]
    result = subtract(*(image.astype(np.float32) for image in images), threads=1)
    assert result.convolved == "science"
    assert result.grade in "CDF"
