"""Templates that show nothing: an error that says so and with how many candidates, never a kernel of sum 0."""

import numpy as np
import pytest

from psfmatch import (
    Exposure,
    ImagePsfMatchTask,
    KernelSolutionError,
    MaskedImage,
    subtract,
)
from psfmatch.cells import CandidateStatus
from psfmatch.testing import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=256)


def empty(pair, value, variance):
    shape = pair.science.shape
    planes = np.full(shape, value, dtype=np.float32), np.full(shape, variance, dtype=np.float32)
    return Exposure(MaskedImage(planes[0], variance=planes[1]), wcs=pair.science.wcs)


def configured(basis, fitMethod):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.name = basis
    config.kernel.active.fitMethod = fitMethod
    return config


EMPTY = pytest.mark.parametrize(("value", "variance"), [(0.0, 0.0), (0.0, 1.0), (100.0, 1.0)])


@EMPTY
@pytest.mark.parametrize(("basis", "fitMethod"), [("AL", "candidates"), ("AL", "regions"), ("DF", "candidates")])
def test_task(pair, basis, fitMethod, value, variance):
    task = ImagePsfMatchTask(config=configured(basis, fitMethod), threads=1)
    with pytest.raises(KernelSolutionError, match="does not show the") as caught:
        task.subtractExposures(empty(pair, value, variance), pair.science, templateFwhmPix=3.0, scienceFwhmPix=3.5)
    assert caught.value.nCandidates > 0


@EMPTY
@pytest.mark.parametrize("mode", ["auto", "convolveTemplate", "convolveScience"])
def test_frontDoor(pair, mode, value, variance):
    with pytest.raises(KernelSolutionError):
        subtract(empty(pair, value, variance), pair.science, mode=mode, threads=1)


@pytest.mark.parametrize("basis", ["AL", "DF"])
def test_oneCandidateOfZeros(pair, basis):
    """It is BAD with its reason; the others make the kernel."""
    template = pair.template.copy()
    task = ImagePsfMatchTask(config=configured(basis, "candidates"), threads=1)
    whole = task.subtractExposures(template, pair.science, templateFwhmPix=3.0, scienceFwhmPix=3.5)
    star = max((c for c in whole.kernelCellSet if c.status is CandidateStatus.GOOD), key=lambda c: c.rating)
    box = star.templateMaskedImage.getBBox()
    part = np.s_[box.y0 : box.y1, box.x0 : box.x1]
    template.image[part] = 0.0
    result = task.subtractExposures(template, pair.science, templateFwhmPix=3.0, scienceFwhmPix=3.5)
    (found,) = [c for c in result.kernelCellSet if (c.x, c.y) == (star.x, star.y)]
    assert found.status is CandidateStatus.BAD
    assert found.reason.startswith("no light: the image to convolve is the same everywhere")
    centre = pair.science.getBBox().centre
    assert result.psfMatchingKernel.kernelSum(*centre) == pytest.approx(
        whole.psfMatchingKernel.kernelSum(*centre), rel=0.2
    )
