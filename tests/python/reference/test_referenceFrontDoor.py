"""Sentences of the reference page on the front door, and on names of ours, that no other test holds."""

import logging
import re

import numpy as np
import pytest
from referencePage import ROOT

import psfmatch
from psfmatch import ImagePsfMatchConfig, ImagePsfMatchTask, frontDoorConfig, subtract
from psfmatch.config import FieldEntry, KernelOptions, listFields
from psfmatch.fit import PassSummary
from psfmatch.frontdoor.simplerModels import byPsfModels
from psfmatch.kernels import Chebyshev2D, KernelSolution, Polynomial2D, ResidualSummary, SpatialFunction2D
from psfmatch.tasks import KernelFit
from psfmatch.testing import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=3, size=200, brightStars=300, withPsf=True)


@pytest.fixture(scope="module")
def result(pair):
    return subtract(pair.template, pair.science, threads=1)


def test_orderOfTheChoices(result):
    names = list(dict.fromkeys(choice.name for choice in result.choices))
    assert names[:8] == ["defects", "saturation", "variance", "alignment", "streaks", "coverage", "direction", "kernel"]
    # What follows the kernel's size is its model; the grade is told last.
    assert {"layout", "Background", "Gaussians", "Kernel over the field", "Prior of the kernel's shape"} <= set(
        names[7:]
    )
    sentences = result.explain().split("\n")
    nReasons = len(result.quality.reasons)
    (last,) = [place for place, line in enumerate(sentences) if line.startswith("Grade")]
    # Several reasons have lines of their own.
    assert last == len(sentences) - (nReasons if nReasons == 1 else nReasons + 1)
    assert result.summary()["steps"] == []


def test_plainConfigurationDoesNothingBefore(pair):
    config = ImagePsfMatchConfig()
    config.kernel.active.fitForBackground = True
    plain = subtract(pair.template, pair.science, config=config, threads=1)
    for name in ("template", "science"):
        for plane in ("image", "variance", "mask"):
            given, used = (np.asarray(getattr(getattr(x, name), plane)) for x in (pair, plain))
            np.testing.assert_array_equal(used, given)
    assert (plain.alignment, plain.decorrelation, plain.quality) == (None, None, None)
    assert {choice.name for choice in plain.choices} <= {"direction", "coverage"}


def starsOf(pair, number):
    stars = pair.truth.stars
    order = np.argsort(-np.asarray(stars["flux"]))
    x, y = (np.asarray(stars[name], dtype=float)[order] for name in ("x", "y"))
    isInside = (np.minimum(x, y) > 30) & (np.maximum(x, y) < 170)
    return np.stack([x, y], axis=1)[isInside][:number]


def test_lowerOrdersWithoutTheLadder(pair, caplog):
    """Of few stars the orders that they bear; of none an error, no PSF model in its place."""
    config = frontDoorConfig()
    config.chooseKernel = False
    with caplog.at_level(logging.WARNING, "psfmatch"):
        few = subtract(pair.template, pair.science, config=config, candidateList=starsOf(pair, 5), threads=1)
    assert "cannot constrain spatialKernelOrder 2: solving again with" in caplog.text
    assert few.kernel.order < 2
    assert few.steps == ()
    with pytest.raises(psfmatch.PsfMatchError):
        subtract(pair.template, pair.science, config=config, candidateList=np.array([[3.0, 3.0]]), threads=1)


def test_kernelOfThePsfModelsIsThatOfTheCentre(pair):
    class Widening:
        def __init__(self, least):
            self.least = least

        def computeKernelImage(self, x, y):
            return psfmatch.GaussianPsf(self.least + 0.005 * x, 31).computeKernelImage(0, 0)

    centres = []
    for psfs in ((Widening(1.0), Widening(1.6)), (psfmatch.GaussianPsf(1.4975, 31), psfmatch.GaussianPsf(2.0975, 31))):
        template, science = pair.template.copy(), pair.science.copy()
        template.psf, science.psf = psfs
        template.photoCalib = science.photoCalib = 1.0
        options = KernelOptions.fromConfig(frontDoorConfig().kernel.active)
        made = byPsfModels(template, science, None, True, options, 1)
        centres.append(made.psfMatchingKernel.computeImage(10.0, 10.0))
    np.testing.assert_allclose(centres[0], centres[1], atol=1e-6)


def test_fieldsAreListedOneByOne():
    entries = list(listFields(frontDoorConfig()))
    assert all(isinstance(entry, FieldEntry) for entry in entries)
    assert {"doAlign", "kernel.active.kernelSize"} <= {entry.path for entry in entries}


# Names of ours


def test_whatASolutionHolds(pair):
    """kernelFit with its passes, and of each candidate the kernel and the residuals."""
    config = ImagePsfMatchConfig()
    config.kernel.active.fitForBackground = True
    solved = ImagePsfMatchTask(config=config).subtractExposures(pair.template, pair.science, 2.6, 3.8)
    assert isinstance(solved.kernelFit, KernelFit)
    assert solved.kernelFit.kernel.kernelSum(9.0, 9.0) == solved.psfMatchingKernel.kernelSum(9.0, 9.0)
    assert solved.kernelFit.background(9.0, 9.0) == solved.backgroundModel(9.0, 9.0)
    assert solved.kernelFit.passes
    assert all(isinstance(one, PassSummary) for one in solved.kernelFit.passes)
    built = [c for c in solved.kernelCellSet if c.status.name == "GOOD"]
    assert len(built) > 3
    for candidate in built:
        assert isinstance(candidate.kernelSolution, KernelSolution)
        assert isinstance(candidate.residual, ResidualSummary)


def test_basesOfFunctionsAndOfErrors():
    assert issubclass(Polynomial2D, SpatialFunction2D)
    assert issubclass(Chebyshev2D, SpatialFunction2D)
    text = "\n".join(path.read_text() for path in (ROOT / "python" / "psfmatch").rglob("*.py"))
    # What does not stop the work is logged.
    assert not re.search(r"\bwarnings\.warn\(", text)
    assert "log.warning(" in text
