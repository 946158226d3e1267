"""The solve loop: who replaces whom, what counts as an iteration, when it gives up, and what it tells."""

import logging
import math

import numpy as np
import pytest

from psfmatch import Box, InsufficientKernelSourcesError, NoKernelCandidatesError
from psfmatch.fit import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.tasks import PsfMatchTask
from psfmatch.testing import makeFakeKernelSet

GOOD, BAD, UNKNOWN = CandidateStatus.GOOD, CandidateStatus.BAD, CandidateStatus.UNKNOWN
HALF_WIDTH = 30


@pytest.fixture(scope="module")
def fakes():
    return makeFakeKernelSet(sizeCell=96, spatialModelType="chebyshev1", seed=2)


def makeTask(**changes):
    config = PsfMatchTask.ConfigClass()
    settings = {"kernelSize": 21, "scaleByFwhm": False, "alardNGauss": 1, "alardSigGauss": [2.5]}
    settings |= {"alardDegGauss": [2], "spatialKernelOrder": 0, "spatialBgOrder": 0, "fitForBackground": True}
    config.kernel.active.update(**settings | changes)
    return PsfMatchTask(config=config)


def makeCandidates(fakes, task, rating=1.0):
    candidates = []
    for x, y in fakes.starCentres:
        box = Box(int(x), int(y), 1, 1).grown(HALF_WIDTH)
        stamps = fakes.template.subset(box).copy(), fakes.science.subset(box).copy()
        candidates.append(KernelCandidate(x, y, *stamps, task.kConfig, rating=rating))
    return candidates


def makeCellSet(fakes, *lists):
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for candidate in (c for candidates in lists for c in candidates):
        cellSet.insertCandidate(candidate)
    return cellSet


def spoil(candidate):
    """Add a spike that no kernel makes: the candidate's own fit fails its residual test."""
    candidate.scienceMaskedImage.image[HALF_WIDTH, HALF_WIDTH + 4] += 5000


def otherKernel(candidate, fakes):
    """Give the star a kernel that its own fit finds, but that the field does not have."""
    windows = np.lib.stride_tricks.sliding_window_view(
        candidate.templateMaskedImage.image.astype(np.float64), fakes.basis.shape[1:]
    )
    coefficients = [1.0, 0.3, 0.2, 0.0, 0.0, 0.3]
    matched = np.tensordot(windows, np.tensordot(coefficients, fakes.basis, axes=1), axes=2)
    candidate.scienceMaskedImage.image[10:-10, 10:-10] = matched + fakes.background


def test_allAgree(fakes, caplog):
    task = makeTask()
    candidates = makeCandidates(fakes, task)
    cellSet = makeCellSet(fakes, candidates)
    with caplog.at_level(logging.INFO, "psfmatch"):
        fit = task._solve(cellSet, fakes.basis)
    assert [c.status for c in candidates] == [GOOD] * 9
    assert len(fit.passes) == 1
    summary = fit.passes[0]
    assert (summary.iteration, summary.nUsed) == (0, 9)
    assert (summary.nRejectedSingle, summary.nRejectedKernelSum, summary.nRejectedSpatial) == (0, 0, 0)
    sums = [c.kernelSolution.kernelSum for c in candidates]
    # Nine equal stars: weights that differ by little change the mean by less than its own error.
    assert summary.kernelSumMean == pytest.approx(np.mean(sums), abs=np.std(sums) / 3)
    assert summary.kernelSumStd == pytest.approx(np.std(sums, ddof=1), rel=0.3)
    assert summary.conditionNumber == fit.conditionNumber

    centre = fakes.box.centre
    assert task.metadata["spatialKernelSum"] == fit.kernel.kernelSum(*centre)
    assert task.metadata["spatialConditionNum"] == fit.conditionNumber
    counts = [task.metadata[name] for name in ("nCandidates", "nGoodCandidates", "nBadCandidates")]
    assert counts == [9, 9, 0]
    assert task.metadata["rejectionReasons"] == {}
    assert task.metadata["solveEndWallTime"] > task.metadata["solveStartWallTime"]
    assert f"Final spatial kernel sum {fit.kernel.kernelSum(*centre):.4f}" in caplog.text
    assert "Kernel candidates: 9 in total, 9 good, 0 rejected" in caplog.text
    assert "well constrained by 9 candidates for 1 terms" in caplog.text
    # Nine stars of 1e4 counts on a sky of 100: 3 % is five sigma (see test_recovery).
    assert fit.kernel.kernelSum(*centre) == pytest.approx(1.0, abs=0.03)


def test_theNextOfTheCellTakesThePlace(fakes):
    task = makeTask(nStarPerCell=1)
    first, second = makeCandidates(fakes, task, rating=2.0), makeCandidates(fakes, task, rating=1.0)
    for i in (0, 4):
        spoil(first[i])
    fit = task._solve(makeCellSet(fakes, first, second), fakes.basis)
    assert [c.status for c in first] == [BAD if i in (0, 4) else GOOD for i in range(9)]
    assert [c.status for c in second] == [GOOD if i in (0, 4) else UNKNOWN for i in range(9)]
    assert not second[1].isInitialized
    assert fit.passes[0].nRejectedSingle == 2
    assert fit.passes[0].nUsed == 9


@pytest.mark.parametrize(("nStarPerCell", "nUsed"), [(1, 9), (2, 18), (3, 27), (-1, 27)])
def test_starsPerCell(fakes, nStarPerCell, nUsed):
    task = makeTask(nStarPerCell=nStarPerCell)
    lists = [makeCandidates(fakes, task, rating) for rating in (1.0, 3.0, 2.0)]
    fit = task._solve(makeCellSet(fakes, *lists), fakes.basis)
    assert fit.passes[-1].nUsed == nUsed
    # The best rated come first.
    assert [c.status for c in lists[1]] == [GOOD] * 9
    assert [c.status for c in lists[2]] == [GOOD if nUsed > 9 else UNKNOWN] * 9
    assert [c.status for c in lists[0]] == [GOOD if nUsed > 18 else UNKNOWN] * 9


def test_kernelSumOutlierIsNotAnIteration(fakes):
    task = makeTask(nStarPerCell=1, maxSpatialIterations=1)
    first, second = makeCandidates(fakes, task, rating=2.0), makeCandidates(fakes, task, rating=1.0)
    for plane in (first[3].scienceMaskedImage.image, first[3].scienceMaskedImage.variance):
        plane *= np.float32(2.0)
    fit = task._solve(makeCellSet(fakes, first, second), fakes.basis)
    assert [c.status for c in first] == [BAD if i == 3 else GOOD for i in range(9)]
    assert first[3].reason.startswith("kernel sum: ")
    assert second[3].status is GOOD
    assert [s.iteration for s in fit.passes] == [0, 0]
    assert [s.nRejectedKernelSum for s in fit.passes] == [1, 0]
    assert math.isnan(fit.passes[0].conditionNumber)
    assert task.metadata["rejectionReasons"] == {"kernel sum": 1}


def test_spatialRejectionIsAnIteration(fakes):
    task = makeTask(nStarPerCell=1)
    first, second = makeCandidates(fakes, task, rating=2.0), makeCandidates(fakes, task, rating=1.0)
    otherKernel(first[4], fakes)
    fit = task._solve(makeCellSet(fakes, first, second), fakes.basis)
    assert first[4].status is BAD
    assert first[4].reason.startswith("spatial residual ")
    assert first[4].residual.rms < 1.5 < first[4].spatialResidual.rms
    assert second[4].status is GOOD
    assert [(s.iteration, s.nRejectedSpatial, s.nUsed) for s in fit.passes] == [(0, 1, 9), (1, 0, 9)]


def test_lastIteration(fakes):
    """After the last rejection one more fit, with those that are left, and without any never fitted."""
    task = makeTask(nStarPerCell=1, maxSpatialIterations=1)
    first, second = makeCandidates(fakes, task, rating=2.0), makeCandidates(fakes, task, rating=1.0)
    otherKernel(first[4], fakes)
    fit = task._solve(makeCellSet(fakes, first, second), fakes.basis)
    assert [(s.nRejectedSpatial, s.nUsed) for s in fit.passes] == [(1, 9), (0, 8)]
    assert [c.status for c in first] == [BAD if i == 4 else GOOD for i in range(9)]
    assert second[4].status is UNKNOWN
    # The summary is of those that made the model, not of those that were rejected before.
    sums = [c.kernelSolution.kernelSum for c in first if c.status is GOOD]
    assert min(sums) < fit.passes[-1].kernelSumMean < max(sums)
    assert fit.passes[-1].kernelSumMean != fit.passes[0].kernelSumMean

    without = makeTask(nStarPerCell=1)
    others = [c for i, c in enumerate(makeCandidates(fakes, without)) if i != 4]
    expected = without._solve(makeCellSet(fakes, others), fakes.basis)
    np.testing.assert_array_equal(fit.kernel.scaledParameters, expected.kernel.scaledParameters)


def test_clippingsOff(fakes):
    task = makeTask(singleKernelClipping=False, kernelSumClipping=False, spatialKernelClipping=False)
    candidates = makeCandidates(fakes, task)
    spoil(candidates[0])
    candidates[3].scienceMaskedImage.image[...] *= np.float32(2.0)
    otherKernel(candidates[4], fakes)
    fit = task._solve(makeCellSet(fakes, candidates), fakes.basis)
    assert [c.status for c in candidates] == [GOOD] * 9
    assert [s.nUsed for s in fit.passes] == [9]


def test_nobodyIsLeft(fakes, caplog):
    """Every pass removes someone, so the loop ends, with the reasons counted."""
    task = makeTask()
    lists = [makeCandidates(fakes, task, rating) for rating in (1.0, 2.0, 3.0, 4.0, 5.0)]
    for candidate in (c for candidates in lists for c in candidates):
        spoil(candidate)
    lists[0][0].templateMaskedImage.image[...] = np.nan
    with pytest.raises(NoKernelCandidatesError, match=r"left of 45; rejected: .*44 for residual rms") as caught:
        task._solve(makeCellSet(fakes, *lists), fakes.basis)
    error = caught.value
    assert (error.nSources, error.nCandidates, error.nBad) == (0, 45, 45)
    assert error.rejected == {"residual rms": 44, "fit failed": 1}
    assert "Unable to calculate psf matching kernel" in caplog.text
    assert "solveEndUtc" in task.metadata


@pytest.mark.parametrize(("nStars", "minimum"), [(2, 3), (1, 3), (4, 5)])
def test_tooFewAreLeft(fakes, nStars, minimum):
    task = makeTask(minKernelSources=minimum)
    candidates = makeCandidates(fakes, task)
    for candidate in candidates[nStars:]:
        spoil(candidate)
    message = rf"^{nStars} .* left of 9, minKernelSources is {minimum}; rejected: {9 - nStars} for residual rms"
    with pytest.raises(InsufficientKernelSourcesError, match=message) as caught:
        task._solve(makeCellSet(fakes, candidates), fakes.basis)
    assert (caught.value.nSources, caught.value.nRequired) == (nStars, minimum)
    assert caught.value.rejected == {"residual rms": 9 - nStars}


def test_noCandidates(fakes):
    with pytest.raises(NoKernelCandidatesError, match="left of 0; rejected: none") as caught:
        makeTask()._solve(SpatialCellSet(fakes.box, 96), fakes.basis)
    assert caught.value.nCandidates == 0


def test_advice(fakes, caplog):
    """A model with more terms than stars, or hardly fewer, is warned of, by its field."""
    task = makeTask(spatialKernelOrder=1, spatialBgOrder=1)
    candidates = makeCandidates(fakes, task)[:4]
    with caplog.at_level(logging.WARNING, "psfmatch"):
        task._solve(makeCellSet(fakes, candidates), fakes.basis)
    expected = "model poorly constrained by 4 candidates for 3 terms; consider a lower"
    assert f"kernel {expected} spatialKernelOrder" in caplog.text
    assert f"background {expected} spatialBgOrder" in caplog.text

    caplog.clear()
    task = makeTask(maxSpatialConditionNumber=1.0, minKernelSources=2)
    candidates = makeCandidates(fakes, task)
    for candidate in candidates[:7]:
        spoil(candidate)
    with caplog.at_level(logging.WARNING, "psfmatch"):
        task._solve(makeCellSet(fakes, candidates), fakes.basis)
    assert "Many more candidates rejected (7) than accepted (2)" in caplog.text
    assert "exceeds max condition number" in caplog.text


def test_everyPassIsLogged(fakes, caplog):
    task = makeTask(nStarPerCell=1)
    candidates = makeCandidates(fakes, task)
    spoil(candidates[0])
    with caplog.at_level(logging.DEBUG, "psfmatch"):
        task._solve(makeCellSet(fakes, candidates), fakes.basis)
    assert "Rejecting candidate 1 at (48.0, 48.0): residual rms: " in caplog.text
    assert "Pass 0: rejected 1 by own residuals, 0 by kernel sum, 0 by principal components, " in caplog.text


def test_solvedAgainWithoutChange(fakes):
    """Built candidates are kept: a second solution of the same cells is the first, bit for bit."""
    task = makeTask()
    cellSet = makeCellSet(fakes, makeCandidates(fakes, task))
    first, second = task._solve(cellSet, fakes.basis), task._solve(cellSet, fakes.basis)
    np.testing.assert_array_equal(first.kernel.scaledParameters, second.kernel.scaledParameters)


def test_threadsOfTheTask(monkeypatch):
    monkeypatch.setenv("PSFMATCH_NUM_THREADS", "5")
    assert PsfMatchTask().threads == 5
    assert PsfMatchTask(threads=2).threads == 2
    with pytest.raises(ValueError, match="threads=0: must be a whole number of at least 1"):
        PsfMatchTask(threads=0)


def test_configuration():
    task = PsfMatchTask()
    assert task.getName() == "psfMatch"
    assert task.kConfig is task.config.kernel.active
    assert task.config.kernel.name == "AL"
    with pytest.raises(ValueError, match="even"):
        makeTask(kernelSize=20)
