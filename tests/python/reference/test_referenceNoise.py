"""Sentences of the reference page on noise and on stored kernels that no other test holds."""

import json
from dataclasses import fields

import numpy as np
import pytest
from astropy.io import fits
from referencePage import rowsOf

from psfmatch import (
    Box,
    Exposure,
    ImagePsfMatchTask,
    LinearCombinationKernel,
    MaskedImage,
    StoredKernel,
    applyKernel,
    frontDoorConfig,
)
from psfmatch.difference import SubtractionRecipe, correctionKernel, decorrelate
from psfmatch.frontdoor import subtract
from psfmatch.kernels import noiseCovariance
from psfmatch.noise import measureWhiteness
from psfmatch.registration import Preparation, Warper, prepareInputs, registerInputs
from psfmatch.testing import simulatePair

SHAPE = 256, 256
BOX = Box(0, 0, 256, 256)


def gaussian(sigma, side=17):
    one = np.exp(-0.5 * (np.arange(side) - side // 2) ** 2 / sigma**2)
    return np.outer(one, one) / one.sum() ** 2


def noise(seed, variance=4.0, pixels=(1.0,)):
    """Noise of this variance under weights along x and y whose squares sum to one."""
    image = np.random.default_rng(seed).normal(0.0, variance**0.5, SHAPE)
    for axis in (0, 1):
        image = sum(w * np.roll(image, i, axis) for i, w in enumerate(pixels)) / np.sqrt(np.sum(np.square(pixels)))
    return MaskedImage(image, variance=np.full(SHAPE, variance))


def test_covarianceOfAnyDifference():
    """Of a kernel without symmetry: by the sum over pairs of pixels that share noise."""
    kernel = np.random.default_rng(1).normal(size=(3, 3))
    scale = 1.7
    found = noiseCovariance(
        100.0, 90.0, LinearCombinationKernel(kernel[np.newaxis], [[1.0]]), noise(1, 9.0), noise(2, 4.0), scale=scale,
        maxLag=2,
    )  # fmt: skip
    padded = np.pad(kernel, 4)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            shared = np.sum(kernel * padded[4 + dy : 7 + dy, 4 + dx : 7 + dx])
            expected = (9.0 * shared + 4.0 * (dy == dx == 0)) / scale**2
            assert found[2 + dy, 2 + dx] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("isShared", [False, True])
def test_noiseThatTheInputsBringCorrelated(isShared):
    """It stays, and is told."""
    pixels = (0.6, 0.8) if isShared else (1.0,)
    template, science = noise(1, pixels=pixels), noise(2, pixels=pixels)
    kernel = LinearCombinationKernel(gaussian(1.2)[np.newaxis], [[1.0]], bbox=BOX)
    result = decorrelate(applyKernel(kernel, template, science).difference, kernel, template, science)
    found = measureWhiteness(result.exposure)
    assert found.isWhite is not isShared
    # Along either axis neighbours of such noise correlate by 0.48, across by its square.
    assert found.lag1 == pytest.approx((2 * 0.48 + 2 * 0.48**2) / 4 if isShared else 0.0, abs=0.02)


def test_bordersStayAndOneCorrectionIsThatOfTheCentre():
    """Flags of the border do not grow; with varying=False the correction is that of the kernel at the centre."""
    wide = np.array([gaussian(1.2), gaussian(1.8) - gaussian(1.2)])
    kernel = LinearCombinationKernel(wide, [[1.0, 0.0, 0.0], [0.3, 0.2, 0.0]], bbox=BOX)
    template, science = noise(1), noise(2)
    difference = applyKernel(kernel, template, science).difference
    result, fixed = (decorrelate(difference, kernel, template, science, varying=varying) for varying in (True, False))
    assert difference.mask.hasAny("EDGE").any()
    np.testing.assert_array_equal(result.exposure.mask.hasAny("EDGE"), difference.mask.hasAny("EDGE"))
    np.testing.assert_array_equal(np.isfinite(result.exposure.image), np.isfinite(difference.image))
    assert result.kernel.isVarying
    phi = correctionKernel(kernel.computeImage(*BOX.centre), 4.0, 4.0)
    np.testing.assert_allclose(fixed.kernel.computeImage(3.0, 200.0), phi, atol=1e-6)


# Stored kernels


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=200, brightStars=300)


@pytest.mark.parametrize("how", ["front door", "front door without", "task"])
def test_covariancesWhereTheyWereCalculated(pair, tmp_path, how):
    if how == "task":
        made = ImagePsfMatchTask().subtractExposures(pair.template, pair.science, 2.6, 3.8)
        made.psfMatchingKernel.writeFits(tmp_path / "d.fits", made.backgroundModel)
    else:
        config = frontDoorConfig()
        if how == "front door without":
            config.kernel.active.calculateKernelUncertainty = False
        subtract(pair.template, pair.science, config=config, threads=1).writeFits(tmp_path / "d.fits")
    with fits.open(tmp_path / "d.fits") as hdus:
        names = {hdu.name for hdu in hdus}
        assert {"KCOV", "BCOV"} & names == ({"KCOV", "BCOV"} if how == "front door" else set())
        if how == "front door":
            size = hdus["KCOEF"].data["COEF"].size
            assert hdus["KCOV"].data.shape == (size, size)
            assert hdus["KCOV"].data.dtype.newbyteorder("=") == np.float64
        if how != "task":
            (text,) = hdus["RECIPE"].data["RECIPE"]
            recipe = StoredKernel.readFits(tmp_path / "d.fits").recipe
            assert SubtractionRecipe.fromDict(json.loads(text)) == recipe


def test_partsOfTheRecipe():
    """Each word of the row is a field, and no field is without a word."""
    words = {
        "which image was convolved": ("convolved",),
        "the divisor": ("divisor",),
        "the factor on the variance": ("varianceFactor",),
        "traces of the detector": ("borderLevels", "traceGrowth"),
        "edges": ("edges", "edgeFraction"),
        "resampling": ("warping", "warpBadPlanes", "warpMaskedKernelFraction", "warpSafeKernelFraction"),
        "preparation": ("preparation",),
        "smoothing": ("smoothing",),
        "decorrelation": ("decorrelation",),
        "mask planes": ("planes",),
        "pixels": ("shape", "xy0"),
        "version and instruction set": ("version", "instructionSet"),
    }
    (row,) = [row for row in rowsOf("Stored kernels and preparation") if row.words.startswith("StoredKernel")]
    assert "the recipe holds " + ", ".join(words) in row.cells[1]
    assert {name for names in words.values() for name in names} == {field.name for field in fields(SubtractionRecipe)}


def test_stepsOfThePreparation():
    """SAT flagged and grown, both variance planes scaled, the template on the science image's pixels."""
    template, science = (Exposure(noise(seed)) for seed in (1, 2))
    science.image[50, 60] = 1e4
    record = Preparation(2.0, 3.0, scienceSaturation=1e4, saturationGrowth=1.0, alignment=None)
    prepared, other = prepareInputs(template, science, record)
    assert (prepared.variance[0, 0], other.variance[0, 0]) == (8.0, 12.0)
    assert np.argwhere(other.mask.hasAny("SAT")).tolist() == [[49, 60], [50, 59], [50, 60], [50, 61], [51, 60]]
    assert registerInputs(prepared, other, record, Warper()).getBBox() == science.getBBox()
    assert Preparation.fromDict(json.loads(json.dumps(record.toDict()))) == record
