"""A criterion of rejection of one's own, for either fit: one function in one list, of a subclass or an argument."""

import numpy as np
import pytest

from psfmatch import ImagePsfMatchTask, frontDoorConfig, subtract
from psfmatch.fit import (
    SINGLE_KERNEL_CRITERIA,
    SPATIAL_KERNEL_CRITERIA,
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    CandidateStatus,
)
from psfmatch.testing import simulatePair

LIMIT = 150.0


def tooFarWest(candidate, options):
    """Reject what lies at small x: the reason has a kind, a colon, and figures."""
    return f"west: x {candidate.x:.0f}, limit {LIMIT:.0f}" if candidate.x < LIMIT else None


class SingleTask(ImagePsfMatchTask):
    singleKernelCriteria = (*SINGLE_KERNEL_CRITERIA, tooFarWest)


class SpatialTask(ImagePsfMatchTask):
    spatialKernelCriteria = (*SPATIAL_KERNEL_CRITERIA, tooFarWest)


class RegionTask(ImagePsfMatchTask):
    regionCriteria = (tooFarWest,)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=1, size=384, brightStars=200, skySubtracted=True)


def configOf(config, **fields):
    config.kernel.active.update(spatialKernelOrder=0, spatialBgOrder=0, fitForBackground=True, **fields)
    return config


def kernelOf(Task, pair, **fields):
    task = Task(config=configOf(Task.ConfigClass(), nStarPerCell=-1, **fields), threads=1)
    result = task.matchExposures(pair.template, pair.science)
    return result.psfMatchingKernel, result.kernelCellSet


@pytest.mark.parametrize(
    ("Task", "fitMethod"), [(SingleTask, "candidates"), (SpatialTask, "candidates"), (RegionTask, "regions")]
)
def test_whatIsRejectedTakesNoPart(pair, Task, fitMethod):
    kernel, cells = kernelOf(Task, pair, fitMethod=fitMethod)
    west = [each for each in cells if each.x < LIMIT]
    assert len(west) > 3
    assert all(each.status is CandidateStatus.BAD for each in west)
    assert cells.countReasons()["west"] > 3
    assert all(each.x >= LIMIT for each in cells if each.status is CandidateStatus.GOOD)
    # The kernel is not that of all stars, but near it.
    usual, usualCells = kernelOf(ImagePsfMatchTask, pair, fitMethod=fitMethod)
    assert any(each.x < LIMIT for each in usualCells if each.status is CandidateStatus.GOOD)
    assert not np.array_equal(kernel.computeImage(200, 200), usual.computeImage(200, 200))
    # Of half the stars, whose own sums are known to 1 % and better.
    assert kernel.kernelSum(200, 200) == pytest.approx(usual.kernelSum(200, 200), rel=0.03)


@pytest.mark.parametrize(("Task", "fields"), [(RegionTask, {}), (SingleTask, {"fitMethod": "candidates"})])
def test_subtractAsksThem(pair, Task, fields):
    config = configOf(frontDoorConfig(), **fields) if fields else None
    result = subtract(pair.template, pair.science, config=config, task=Task, threads=1)
    candidates = result.candidates
    isWest = np.asarray(candidates["x"]) < LIMIT
    assert isWest.sum() > 3
    assert not np.any(np.asarray(candidates["status"])[isWest] == "GOOD")
    assert sum(str(reason).startswith("west: x") for reason in candidates["reason"]) > 3
    usual = subtract(pair.template, pair.science, config=config, threads=1)
    assert np.any(np.asarray(usual.candidates["status"])[np.asarray(usual.candidates["x"]) < LIMIT] == "GOOD")


def test_asArgumentOfTheVisitors(pair):
    task = ImagePsfMatchTask(config=configOf(ImagePsfMatchTask.ConfigClass()), threads=1)
    result = task.matchExposures(pair.template, pair.science)
    good = [each for each in result.kernelCellSet if each.status is CandidateStatus.GOOD]
    nWest = sum(each.x < LIMIT for each in good)
    assert 0 < nWest < len(good)
    basis = task.makeKernelBasisList(task.metadata["templateFwhmPix"], task.metadata["scienceFwhmPix"])
    single = BuildSingleKernelVisitor(basis, task.options, skipBuilt=False, criteria=(tooFarWest,))
    single.processCandidates(good)
    assert single.nRejected == nWest
    for each in good:
        each.accept()
    spatial = (result.psfMatchingKernel, result.backgroundModel)
    assess = AssessSpatialKernelVisitor(*spatial, task.options, criteria=(tooFarWest,))
    assess.processCandidates(good)
    assert (assess.nGood, assess.nRejected) == (len(good) - nWest, nWest)
