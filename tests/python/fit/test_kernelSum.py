"""Clipping of kernel sums whose errors are known: bright stars set the value, faint ones are judged by their noise."""

import numpy as np
import pytest

from psfmatch import MaskedImage, PsfMatchConfigAL
from psfmatch.config import KernelOptions
from psfmatch.fit import CandidateStatus, KernelCandidate, KernelSumVisitor
from psfmatch.kernels import KernelSolution

CONTROL = KernelOptions.fromConfig(PsfMatchConfigAL())
STAMP = MaskedImage(np.ones((5, 5)), variance=np.ones((5, 5)))


def candidatesOf(sums, errors):
    candidates = []
    for kernelSum, error in zip(sums, errors, strict=True):
        candidate = KernelCandidate(2.0, 2.0, STAMP, STAMP, CONTROL)
        empty = np.zeros((0, 0))
        candidate.setKernelSolution(
            KernelSolution(np.ones((1, 1, 1)), np.ones(1), 0.0, kernelSum, empty, np.zeros(0), kernelSumError=error)
        )
        candidates.append(candidate)
    return candidates


def clip(sums, errors):
    candidates = candidatesOf(sums, errors)
    visitor = KernelSumVisitor(CONTROL)
    visitor.aggregate(candidates)
    visitor.processKsumDistribution()
    visitor.processCandidates(candidates)
    return visitor, np.array([c.status is CandidateStatus.BAD for c in candidates])


@pytest.fixture(scope="module")
def mixture():
    """Twenty bright stars that scatter by 0.02, and forty faint ones that scatter by 0.5."""
    generator = np.random.default_rng(2)
    errors = np.repeat([0.005, 0.5], [20, 40])
    return 1.25 + generator.normal(0.0, np.hypot(errors, 0.02)), errors


def test_bright_variable(mixture):
    sums, errors = (values.copy() for values in mixture)
    sums[3] = 1.6
    visitor, bad = clip(sums, errors)
    # Among faint stars that scatter by 0.5 the deviation of 0.35 is nothing; for a bright one it is 17 sigma.
    assert np.flatnonzero(bad).tolist() == [3]
    assert visitor.kSumMean == pytest.approx(1.25, abs=3 * 0.02 / np.sqrt(19))


def test_faint_stars_stay(mixture):
    sums, errors = (values.copy() for values in mixture)
    sums[30] = 1.25 + 0.9
    sums[50] = 1.25 + 5.0
    _, bad = clip(sums, errors)
    # 1.8 and 10 of their own sigma.
    assert np.flatnonzero(bad).tolist() == [50]


def test_equal_errors_are_the_plain_rule():
    generator = np.random.default_rng(5)
    sums = np.append(generator.normal(1.0, 0.1, 30), 2.0)
    weighted, badByWeight = clip(sums, np.full(31, 0.1))
    plain, badPlain = clip(sums, np.full(31, np.nan))
    np.testing.assert_array_equal(badByWeight, badPlain)
    # The weighted mean is over all that the last limit keeps.
    assert weighted.kSumMean == pytest.approx(plain.kSumMean, abs=0.01)
    assert weighted.kSumStd == pytest.approx(plain.kSumStd, rel=1e-9)


@pytest.mark.parametrize("error", [0.0, 1e-9])
def test_sums_that_agree(error):
    visitor, bad = clip(np.full(12, 1.1), np.full(12, error))
    assert not bad.any()
    assert visitor.kSumMean == pytest.approx(1.1, rel=1e-15)
