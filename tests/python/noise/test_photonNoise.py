"""Flux errors on decorrelated differences, where sources make the noise themselves."""

import numpy as np
import pytest

from psfmatch import Exposure, LinearCombinationKernel, MaskedImage
from psfmatch.difference import decorrelate
from psfmatch.difference.decorrelation.correctedPsf import CorrectedPsf
from psfmatch.difference.subtraction import subtractMatchedTemplate
from psfmatch.images import GaussianPsf, weightImage
from psfmatch.kernels import PsfField, makeSpatialFunction
from psfmatch.transients import PointSources
from psfmatch.transients.photonErrors import withPhotonNoise
from psfmatch.transients.pointSources import cutStamps, measureFluxes

SIDE, STEP, SKY = 400, 40, 100.0
NARROW, WIDE = 1.3, 1.8
FLUX = 2e4  # as many photons as the sky has over the PSF, several times over


def field(sigma, flux):
    y, x = np.mgrid[:SIDE, :SIDE]
    light = np.full((SIDE, SIDE), SKY)
    for row in range(STEP // 2, SIDE, STEP):
        for column in range(STEP // 2, SIDE, STEP):
            near = np.s_[row - 15 : row + 16, column - 15 : column + 16]
            r2 = (x[near] - column) ** 2 + (y[near] - row) ** 2
            light[near] += flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * r2 / sigma**2)
    return light


def observed(light, generator):
    image = light + np.sqrt(light) * generator.normal(size=light.shape)
    return MaskedImage((image - SKY).astype(np.float32), variance=light.astype(np.float32))


def gaussianKernel(sigma, box):
    y, x = np.mgrid[-8:9, -8:9]
    image = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    return LinearCombinationKernel((image / image.sum())[np.newaxis], [[1.0]], bbox=box)


@pytest.mark.parametrize("fluxes", [(0.0, FLUX), (FLUX, 0.0), (FLUX, FLUX)], ids=["new", "gone", "constant"])
def test_pulls(fluxes):
    """Errors are those that the fluxes scatter by; what single pixels tell is off by far."""
    pulls, told = [], []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        template, science = (
            observed(field(sigma, flux), generator) for sigma, flux in zip((NARROW, WIDE), fluxes, strict=True)
        )
        box = science.getBBox()
        kernel = gaussianKernel(np.sqrt(WIDE**2 - NARROW**2), box)
        matched = kernel.convolve(template)
        nothing = makeSpatialFunction("polynomial", [0.0], (0.0, 0.0, 1.0, 1.0))
        difference = Exposure(subtractMatchedTemplate(science, matched, nothing))
        made = decorrelate(difference, kernel, template, science, completeVariance=True)
        psf = CorrectedPsf(GaussianPsf(np.sqrt(WIDE**2 - 1.0 / 12.0)), made.kernel, kernel)
        pixels, drawn = made.exposure.maskedImage, PsfField(psf, box)
        weight = weightImage(pixels)
        y, x = (axis.ravel() for axis in np.mgrid[STEP // 2 : SIDE : STEP, STEP // 2 : SIDE : STEP])
        flux, error, coverage = measureFluxes(cutStamps(pixels, weight, x, y, drawn.half), drawn.images(x, y))
        unknown = np.full(x.size, np.nan)
        found = PointSources(
            x.astype(float), y.astype(float), unknown, unknown, flux, error, coverage, unknown, coverage > 0.0
        )
        right = withPhotonNoise(found, pixels, weight, drawn, (science, matched), psf.photonNoise(*box.centre))
        expected = fluxes[1] - fluxes[0]
        pulls.append((flux - expected) / right.fluxErr)
        told.append((flux - expected) / error)
    # Of 800 the width is known to 2.5 %.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.08)
    assert not expected or abs(np.std(told) - 1.0) > 0.13


def test_nothingOwn():
    """On blank sky and where no matching kernel is known nothing changes."""
    pixels = MaskedImage(np.zeros((64, 64), np.float32), variance=np.full((64, 64), 4.0, np.float32))
    drawn, weight = PsfField(GaussianPsf(WIDE), pixels.getBBox()), weightImage(pixels)
    place = np.array([30.0])
    found = PointSources(place, place, place, place, place, np.array([2.0]), place, place, place > 0)
    assert withPhotonNoise(found, pixels, weight, drawn, (pixels, pixels), (0.5, 7.0)).fluxErr == 2.0
    kernel = gaussianKernel(1.0, pixels.getBBox())
    assert CorrectedPsf(GaussianPsf(WIDE), kernel).photonNoise(30, 30) is None
    own = CorrectedPsf(GaussianPsf(WIDE), kernel, kernel).photonNoise(30, 30)
    assert CorrectedPsf(GaussianPsf(WIDE), kernel, kernel, isScienceConvolved=True).photonNoise(30, 30) == own[::-1]
