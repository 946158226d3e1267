"""Photon noise of images that came without a gain: measured in a first difference, added before the fit."""

import math

import numpy as np
import pytest

from psfmatch import Exposure, MaskedImage, applyKernel, subtract
from psfmatch.io import isWithoutPhotons
from psfmatch.noise import LitDifference, addPhotonNoise
from psfmatch.registration import Preparation
from psfmatch.testing import simulatePair

GAIN = 1.5


@pytest.fixture(scope="module")
def pair():
    return simulatePair(12, 400, gain=GAIN, badFraction=0.0, brightStars=80, faintStars=400, galaxies=0)


@pytest.fixture(scope="module")
def arrays(pair):
    return pair.template.image, pair.science.image


@pytest.fixture(scope="module")
def result(arrays):
    return subtract(*arrays)


def photonChoices(result):
    return [choice for choice in result.choices if choice.name == "photonNoise"]


def test_arrays_are_graded_as_images_that_have_their_variance(pair, result):
    told = subtract(pair.template, pair.science)
    assert not photonChoices(told)
    assert told.grade == "A"
    assert result.grade in "AB"
    assert result.quality.sourceRobust < 1.15 * told.quality.sourceRobust


def test_the_gain_is_found_and_told(result):
    (choice,) = photonChoices(result)
    # The template's photons, smoothed by the kernel, add to those of the science image.
    assert 1.0 / GAIN * 0.8 < choice.figure < 1.0 / GAIN * 1.6
    assert f"a gain of {1.0 / choice.figure:.3g} e-/count" in choice.sentence
    assert choice.sentence in result.explain()
    assert result.preparation.sciencePhotonNoise == choice.figure
    assert result.preparation.templatePhotonNoise == 0.0


def test_the_variance_follows_the_light(arrays, result):
    sky = float(np.nanmedian(arrays[1]))
    bright = np.isfinite(result.difference.variance) & (arrays[1] > sky + 2000.0)
    blank = np.isfinite(result.difference.variance) & (arrays[1] < sky + 10.0)
    perCount = result.preparation.sciencePhotonNoise
    more = np.median(result.difference.variance[bright]) - np.median(result.difference.variance[blank])
    assert more == pytest.approx(perCount * (np.median(arrays[1][bright]) - sky), rel=0.15)


def test_a_stored_kernel_adds_it_again(arrays, result, tmp_path):
    result.writeFits(tmp_path / "difference.fits")
    applied = applyKernel(tmp_path / "difference.fits", *arrays)
    stored = Exposure.readFits(tmp_path / "difference.fits")
    np.testing.assert_array_equal(applied.difference.variance, stored.variance)
    np.testing.assert_array_equal(applied.difference.image, stored.image)


def test_who_told_a_gain_or_wants_no_scaling_gets_none(pair, arrays):
    from psfmatch import frontDoorConfig

    told = Exposure.fromArray(arrays[1], gain=GAIN)
    assert not photonChoices(subtract(Exposure.fromArray(arrays[0]), told))
    config = frontDoorConfig()
    config.doScaleVariance = False
    assert not photonChoices(subtract(*arrays, config=config))
    assert isWithoutPhotons(Exposure.fromArray(arrays[1]).metadata["VARSRC"])
    assert not isWithoutPhotons(told.metadata["VARSRC"])
    assert not isWithoutPhotons(None)


def test_the_template_where_the_science_image_is_convolved(arrays):
    turned = subtract(arrays[1], arrays[0])
    assert turned.convolved == "science"
    (choice,) = photonChoices(turned)
    assert turned.preparation.templatePhotonNoise == choice.figure
    assert "of the template" in choice.sentence
    assert 1.0 / GAIN * 0.8 < choice.figure < 1.0 / GAIN * 1.6


def test_threads_change_nothing(arrays, result):
    for threads in (1, 2, 7):
        other = subtract(*arrays, threads=threads)
        np.testing.assert_array_equal(other.difference.image, result.difference.image)
        np.testing.assert_array_equal(other.difference.variance, result.difference.variance)


def test_images_that_tell_nothing():
    blank = MaskedImage(np.full((40, 50), 3.0, dtype=np.float32), variance=np.ones((40, 50), dtype=np.float32))
    assert math.isnan(LitDifference(blank, blank).photonNoise().perCount)
    bad = MaskedImage(np.full((40, 50), np.nan, dtype=np.float32))
    assert math.isnan(LitDifference(bad, bad).photonNoise().perCount)
    dot = MaskedImage(np.ones((1, 1), dtype=np.float32))
    assert math.isnan(LitDifference(dot, dot).photonNoise().perCount)
    with pytest.raises(ValueError, match="one shape"):
        LitDifference(blank, dot).photonNoise()
    exposure = Exposure(blank)
    assert addPhotonNoise(exposure, 0.0) is exposure
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match="variance per count"):
            addPhotonNoise(exposure, wrong)
        with pytest.raises(ValueError, match="sciencePhotonNoise"):
            Preparation(sciencePhotonNoise=wrong)
