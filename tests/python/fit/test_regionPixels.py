"""Which pixels of a region count and how much, on simulated pairs; which variation of the kernel is chosen for them."""

import re

import numpy as np
import pytest

from psfmatch import MaskedImage, frontDoorConfig
from psfmatch.config import KernelOptions
from psfmatch.fit import ImagePair, RegionCells, chooseKernel, effortFor, fitRegions
from psfmatch.kernels.gaussians import familyOf
from psfmatch.testing import simulatePair

# Stars alone, without anything that a fit has to reject.
PLAIN = {
    "faintStars": 0,
    "brightFlux": (2e4, 2e5),
    "galaxies": 0,
    "variableFraction": 0,
    "transients": 0,
    "badFraction": 0,
    "saturation": 1e9,
    "ellipticity": 0.0,
    "templateVariation": 0.0,
}


@pytest.fixture(scope="module")
def options():
    """Of the active kernel: one kernel and one background for the field, regions side by side."""
    kernel = frontDoorConfig().kernel.active
    kernel.update(
        fitMethod="regions",
        spatialKernelOrder=0,
        spatialBgOrder=0,
        fitForBackground=True,
        calculateKernelUncertainty=True,
    )
    kernel.nStarPerCell = -1
    kernel.regionConfig.layout = "tiles"
    return KernelOptions.fromConfig(kernel)


def test_saturatedTemplateUnderTheKernel(options):
    """One of the template costs all pixels whose kernel footprint holds it, one of the science image only itself."""
    size = 11
    generator = np.random.default_rng(1)
    template, science = (
        MaskedImage(
            generator.normal(100.0, 5.0, (64, 96)).astype(np.float32), variance=np.full((64, 96), 25.0, np.float32)
        )
        for _ in range(2)
    )
    for image, places in ((template, ((20, 30), (21, 30), (50, 80))), (science, ((32, 60),))):
        for y, x in places:
            image.mask[y, x] |= image.mask.getPlaneBitMask("SAT")
    cells = RegionCells(template, science, options, size)
    candidates = cells.regionsToFit(-1)
    stamps = cells.stampsOf(candidates)
    assert cells.stampsOf(list(candidates)) is stamps
    assert len(cells.stampsOf(candidates[1:])) == len(candidates) - 1
    assert len(stamps) == len(candidates) > 1
    saturated = template.mask.hasAny("SAT")
    for candidate, usable in zip(candidates, stamps.usable, strict=True):
        y0, x0 = int(candidate.y) - usable.shape[0] // 2, int(candidate.x) - usable.shape[1] // 2
        for i, j in np.ndindex(usable.shape):
            y, x = y0 + i, x0 + j
            footprint = saturated[y - size // 2 : y + size // 2 + 1, x - size // 2 : x + size // 2 + 1]
            assert usable[i, j] == (not footprint.any() and (y, x) != (32, 60))
    assert not np.all(stamps.usable)


def test_varianceOfNoisyPixels(options):
    """Variance planes made of the noisy pixels themselves draw the background down by an electron, but not here.

    A pixel that is low by chance has less variance and would weigh more: at a gain of 1 that is a count. The standard
    deviation of the background is 0.036; five of them are far from both.
    """
    fits = []
    for estimateVariance in (False, True):
        pair = simulatePair(
            5,
            256,
            **PLAIN,
            brightStars=200,
            scienceVariation=0.0,
            backgroundOrder=0,
            scienceSky=40.0,
            readNoise=3.0,
            gain=1.0,
            skySubtracted=True,
            estimateVariance=estimateVariance,
        )
        family = familyOf(2.6, 3.8, (256, 256), options.regions.halfWidth)
        cells = RegionCells(pair.template.maskedImage, pair.science.maskedImage, options, family.kernelSize)
        fits.append(fitRegions(cells, family.basis(), options))
    for fit in fits:
        assert fit.background.sigma(128, 128) < 0.05
        assert abs(fit.background(128, 128)) < 5 * fit.background.sigma(128, 128)
        assert abs(fit.kernel.kernelSum(128, 128) - 1.25) < 5 * fit.kernelSumError
    # The same noise in both: the two agree better than either is known.
    assert abs(fits[1].background(128, 128) - fits[0].background(128, 128)) < fits[0].background.sigma(128, 128)


@pytest.mark.parametrize(("variation", "scienceFwhm"), [(0.0, 3.8), (0.4, 4.6)])
def test_variationIsChosen(options, variation, scienceFwhm):
    """A kernel that is the same everywhere gets order 0 or the least variation; a width that varies by 40 %, more."""
    pair = simulatePair(1, 256, **PLAIN, brightStars=400, scienceVariation=variation, scienceFwhm=scienceFwhm)
    stars = pair.truth.stars[np.argsort(-np.asarray(pair.truth.stars["flux"]))]
    fwhms = 2.6, scienceFwhm
    chosen, isThorough = effortFor(options, len(stars), fwhms, (256, 256))
    images = pair.template.maskedImage, pair.science.maskedImage
    choice = chooseKernel(ImagePair(*images, stars, fwhms), chosen, isThorough=isThorough)
    order, scale = choice.options.spatialKernelOrder, choice.options.regions.variationScale
    assert (order >= 1) if variation else (order == 0 or scale == 0.01)
    # Each is told once for each family of Gaussians that was tried.
    names = [told.name for told in choice.choices if told.name != "functions"]
    assert max(names.count(name) for name in names) <= 1 + len(choice.choices) - len(names)
    assert {"kernel", "layout", "Kernel over the field", "rejection"} <= set(names)
    for told in choice.choices:
        assert len(re.findall(r"\d+(?:\.\d+)?", told.sentence)) >= 2, told.sentence
