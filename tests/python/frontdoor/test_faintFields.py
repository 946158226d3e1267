"""Pairs of faint stars, from end to end: aligned, of the right kernel sum, and with words that say so."""

import math

import numpy as np
import pytest
from faintFields import makeField

import psfmatch
from psfmatch import Exposure, PsfMatchError, subtract
from psfmatch.registration import applyAlignment, measureAlignment, measureLightShift, movedBy
from psfmatch.testing import simulatePair


def sumOf(result):
    kernelSum = result.kernel.kernelSum(*result.difference.getBBox().centre)
    return kernelSum if result.convolved == "template" else 1.0 / kernelSum


@pytest.mark.parametrize(
    ("fwhms", "number"), [((2.0, 2.0), 60), ((3.0, 3.0), 60), ((4.0, 8.0), 40), ((8.0, 8.0), 40), ((12.0, 12.0), 25)]
)
def test_faintPairs(fwhms, number):
    shift = 4.3, -2.8
    template, science, _ = makeField(fwhms, (6.0, 14.0), number=number, seed=7, shift=shift)
    result = subtract(Exposure(template), Exposure(science), threads=1)
    assert math.hypot(*np.subtract(result.alignment.shift, shift)) < 0.08 * max(fwhms) + 0.1
    # Errors are 3 to 5 %; fits to pixels are off by 20 to 90 % here.
    assert sumOf(result) == pytest.approx(1.25, rel=0.15)
    assert result.quality.kernelShiftPix < 0.75
    assert result.grade in "CD"
    told = result.explain()
    assert "faint sources laid upon one another" in told
    assert "the kernel is that of" in told


def test_deepTemplate():
    """What the science image tells is little, however deep the template."""
    template, science, _ = makeField((12.0, 12.0), (6.0, 14.0), number=25, seed=3, shift=(3.0, 1.0), noise=(1.0, 10.0))
    result = subtract(Exposure(template), Exposure(science), threads=1)
    assert sumOf(result) == pytest.approx(1.25, rel=0.15)


def test_scienceImageWithTheSharperStars():
    template, science, _ = makeField((8.0, 4.0), (6.0, 14.0), number=60, seed=5)
    result = subtract(Exposure(template), Exposure(science), threads=1)
    assert result.convolved == "science"
    assert "Convolving the science image" in result.explain()
    assert sumOf(result) == pytest.approx(1.25, rel=0.15)
    forced = subtract(Exposure(template), Exposure(science), mode="convolveTemplate", threads=1)
    assert forced.convolved == "template"
    assert forced.grade in "DF"
    assert "the flux ratio alone" in forced.explain()
    assert sumOf(forced) == pytest.approx(sumOf(result))


def test_otherSkiesAreRefused():
    """Light at places of its own in each image is no light in common."""
    template, _, _ = makeField((4.0, 4.0), (6.0, 14.0), seed=1)
    _, science, _ = makeField((4.0, 4.0), (6.0, 14.0), seed=2)
    with pytest.raises(PsfMatchError):
        subtract(Exposure(template), Exposure(science), threads=1)


def test_brightFieldsHaveNoStack():
    pair = simulatePair(seed=1, size=256)
    assert "laid upon one another" not in subtract(pair.template, pair.science, threads=1).explain()


def test_threads():
    template, science, _ = makeField((3.0, 3.0), (6.0, 14.0), number=60, seed=7, shift=(1.2, 0.6))
    one, many = (subtract(Exposure(template), Exposure(science), threads=n) for n in (1, 2))
    assert np.array_equal(one.difference.image, many.difference.image, equal_nan=True)


@pytest.mark.parametrize("sigma", [1.5, 4.0])
def test_lightShift(sigma):
    """The mean over stars that none tells well, within its own errors."""
    fwhm = 2.3548 * sigma
    template, science, _ = makeField((fwhm, fwhm), (10.0, 20.0), number=40, seed=2, shift=(0.7, -0.4))
    found = measureLightShift(template, science, sigma)
    assert found.error < 0.2 * sigma
    assert max(abs(found.x + 0.7), abs(found.y - 0.4)) < 3.0 * found.error
    assert found == measureLightShift(template, science, sigma, threads=3)


def test_noLightHasNoShift():
    template, science, _ = makeField((3.0, 3.0), (10.0, 20.0), number=0)
    assert measureLightShift(template, science, 1.5).error > 0.5
    np.asarray(template.mask)[...] |= 1 << template.mask.addPlane("BAD")
    assert math.isinf(measureLightShift(template, science, 1.5).error)
    small = makeField((3.0, 3.0), (10.0, 20.0), number=0, size=30)[:2]
    assert math.isinf(measureLightShift(*small, 1.5).error)


@pytest.mark.parametrize("shift", [(3.2, -1.6), (2.0, 1.0)])
def test_movedBy(shift):
    """A shift that is put right is that between the images, whatever was done before."""
    template, science, _ = makeField((3.0, 3.0), (50.0, 200.0), number=30, shift=shift)
    images = Exposure(template), Exposure(science)
    alignment = measureAlignment(*images)
    assert np.subtract(alignment.shift, shift) == pytest.approx((0.0, 0.0), abs=0.05)
    laid = alignment.pixelShift if alignment.method == "pixels" else alignment.shift
    left = np.add(np.subtract(laid, shift), (2.0, -1.5))  # as if the template had been laid so far off
    moved = movedBy(alignment, *images, (left[0], left[1]), 0.01, "somebody says so")
    assert np.add(moved.shift, (2.0, -1.5)) == pytest.approx(shift, abs=0.05)
    assert moved.errors[0][2] == 0.01
    assert "somebody says so" in moved.reason
    assert psfmatch.registration.Alignment.fromDict(moved.toDict()) == moved
    assert applyAlignment(*images, moved).shape == science.shape
