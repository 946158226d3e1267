"""Templates that cover a part of the science image: there the difference is as good as that of a whole one."""

import numpy as np
import pytest

from psfmatch import Box, Exposure, ImagePsfMatchTask, applyKernel, subtract
from psfmatch.cli import main
from psfmatch.registration import coveredArea, isCovered
from psfmatch.testing import simulatePair

SIDE = 320
AREAS = {
    "left half": Box(0, 0, 160, SIDE),
    "60 % of the sides": Box(100, 20, 192, 192),
    "strip": Box(0, 120, SIDE, 80),
    "corner": Box(SIDE - 120, SIDE - 120, 120, 120),
    "middle": Box(105, 105, 110, 110),
}
BAD = ("BAD", "SAT", "CR", "NO_DATA", "EDGE")


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=2, size=SIDE, brightStars=400, faintStars=800)


@pytest.fixture(scope="module")
def whole(pair):
    return subtract(pair.template, pair.science, threads=1)


def scatterOf(difference, where):
    pulls = (difference.image / np.sqrt(difference.variance))[where]
    return 1.4826 * float(np.median(np.abs(pulls - np.median(pulls))))


def requireSound(difference, whole, area):
    """Check the pixels inside and outside."""
    outside = np.ones(difference.shape, dtype=bool)
    outside[area.y0 : area.y1, area.x0 : area.x1] = False
    bit = difference.mask.getPlaneBitMask("NO_DATA")
    assert ((np.asarray(difference.mask)[outside] & bit) != 0).all()
    good = ~difference.maskedImage.badPixels(BAD)
    assert good.sum() > 0.7 * area.width * area.height
    both = good & ~whole.difference.maskedImage.badPixels(BAD)
    assert scatterOf(difference, both) == pytest.approx(scatterOf(whole.difference, both), rel=0.03)


@pytest.mark.parametrize("name", AREAS)
def test_frontDoor(pair, whole, name):
    area = AREAS[name]
    result = subtract(pair.template.subset(area), pair.science, threads=1)
    requireSound(result.difference, whole, area)
    truth = pair.truth.kernelSum(*area.centre)
    assert result.kernel.kernelSum(*area.centre) == pytest.approx(truth, rel=0.01)
    assert not result.steps
    assert result.grade in "ABC"
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.03)
    assert all(area.contains(x, y) for x, y in result.candidates.iterrows("x", "y"))


def test_frontDoorScienceConvolved(pair):
    area = AREAS["corner"]
    result = subtract(pair.template.subset(area), pair.science, mode="convolveScience", threads=1)
    # What sharpens lets noise grow: the scatter is in units of it.
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.05)
    assert 1.0 / result.kernel.kernelSum(*area.centre) == pytest.approx(1.25, rel=0.05)


def test_hole(pair, whole):
    template = pair.template.copy()
    template.image[80:240, 80:240] = np.nan
    result = subtract(template, pair.science, threads=1)
    good = ~result.difference.maskedImage.badPixels(BAD)
    assert not good[80:240, 80:240].any()
    assert scatterOf(result.difference, good) == pytest.approx(scatterOf(whole.difference, good), rel=0.03)
    assert result.kernel.kernelSum(160, 160) == pytest.approx(whole.kernel.kernelSum(160, 160), rel=0.01)


def test_largerTemplate(pair, whole):
    area = AREAS["60 % of the sides"]
    result = subtract(pair.template, pair.science.subset(area), threads=1)
    assert result.difference.getBBox() == area
    assert result.kernel.kernelSum(*area.centre) == pytest.approx(whole.kernel.kernelSum(*area.centre), rel=0.01)


def test_withoutCoordinates(pair, whole):
    """A template of another size that knows nothing of the sky: its stars tell where it lies."""
    area = AREAS["60 % of the sides"]
    cut = pair.template.subset(area).maskedImage
    template = Exposure(type(cut)(cut.image, cut.mask, cut.variance))
    result = subtract(template, Exposure(pair.science.maskedImage), threads=1)
    assert result.kernel.kernelSum(*area.centre) == pytest.approx(1.25, rel=0.01)


@pytest.mark.parametrize("fitMethod", ["candidates", "regions"])
@pytest.mark.parametrize("name", ["left half", "corner"])
def test_task(pair, whole, fitMethod, name):
    area = AREAS[name]
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(fitMethod=fitMethod, fitForBackground=True, spatialKernelOrder=0, nStarPerCell=-1)
    template = pair.template.subset(area)
    result = ImagePsfMatchTask(config=config, threads=1).subtractExposures(template, pair.science)
    requireSound(result.subtractedExposure, whole, area)
    assert result.kernelCellSet.bbox == coveredArea(result.warpedExposure.maskedImage, pair.science.maskedImage)
    assert result.psfMatchingKernel.kernelSum(*area.centre) == pytest.approx(1.25, rel=0.02)


def test_applied(pair):
    """A kernel of a part, applied to the same images, makes the same difference; so does the command."""
    area = AREAS["corner"]
    template = pair.template.subset(area)
    result = subtract(template, pair.science, threads=1)
    applied = applyKernel(result.storedKernel(), template, pair.science)
    for plane in ("image", "variance"):
        np.testing.assert_array_equal(getattr(applied.difference, plane), getattr(result.difference, plane))


def test_command(pair, tmp_path):
    names = [str(tmp_path / f"{name}.fits") for name in ("template", "science", "difference")]
    pair.template.subset(AREAS["corner"]).writeFits(names[0])
    pair.science.writeFits(names[1])
    assert main(["subtract", *names[:2], "-o", names[2], "--threads", "1"]) == 0
    good = ~Exposure.readFits(names[2]).maskedImage.badPixels(BAD)
    assert 0.75 < good.sum() / 120**2 <= 1.0


def test_coveredPlaces(pair):
    image = pair.template.maskedImage.copy()
    image.image[:, 100:] = np.nan
    assert isCovered(image, [50.0, 109.0, 110.0, -1.0, -11.0], [50.0] * 5).tolist() == [True, True, False, True, False]
    assert coveredArea(image, pair.science.maskedImage) == Box(0, 0, 100, SIDE)
    image.image[:, 100:310] = 1.0
    assert coveredArea(image, pair.science.maskedImage) == Box(0, 0, SIDE, SIDE)
