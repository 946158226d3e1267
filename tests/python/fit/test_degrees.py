"""Polynomial degrees by the Bayesian information criterion."""

import logging

import numpy as np
import pytest

from psfmatch import Box, NoKernelCandidatesError, PsfMatchConfigAL
from psfmatch.fit import CandidateStatus, KernelCandidate, SpatialCellSet
from psfmatch.fit.stars.degrees import chooseDegrees
from psfmatch.kernels.basis import makeKernelBasisList
from psfmatch.testing import makeFakeKernelSet

HALF_WIDTH = 30


def makeConfig(degrees, sigmas, **changes):
    config = PsfMatchConfigAL()
    settings = {"kernelSize": 21, "scaleByFwhm": False, "fitForBackground": True, "constantVarianceWeighting": False}
    settings |= {"alardNGauss": len(degrees), "alardDegGauss": degrees, "alardSigGauss": sigmas}
    config.update(**settings | changes)
    return config


@pytest.fixture(scope="module")
def fakes():
    """Nine stars whose kernel needs all six functions of one Gaussian of degree 2, at a signal to tell it."""
    return makeFakeKernelSet(sizeCell=96, deltaFunctionCounts=3e5, seed=4)


def cellSetOf(fakes, config):
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for x, y in fakes.starCentres:
        box = Box(int(x), int(y), 1, 1).grown(HALF_WIDTH)
        cellSet.insertCandidate(KernelCandidate(x, y, fakes.template.subset(box), fakes.science.subset(box), config))
    return cellSet


def choose(fakes, config):
    cellSet = cellSetOf(fakes, config)
    return cellSet, chooseDegrees(cellSet, config, lambda degrees: makeKernelBasisList(config, None, None, degrees), 1)


def criterion(candidate, basis):
    """BIC from its definition, for weights 1 / (var_S + var_T) and residuals over var_S + sum K^2 var_T."""
    pixels = candidate.templateMaskedImage
    windows = np.lib.stride_tricks.sliding_window_view(pixels.image.astype(np.float64), (21, 21))
    design = np.tensordot(windows, basis, axes=([2, 3], [1, 2])).reshape(-1, len(basis))
    design = np.column_stack([design, np.ones(len(design))])
    inner = np.s_[10:-10, 10:-10]
    data = candidate.scienceMaskedImage.image[inner].astype(np.float64).ravel()
    scienceVariance = candidate.scienceMaskedImage.variance[inner].astype(np.float64).ravel()
    weight = 1 / np.sqrt(scienceVariance + pixels.variance[inner].ravel())
    solution, *_ = np.linalg.lstsq(design * weight[:, None], data * weight, rcond=None)
    kernel = np.tensordot(solution[:-1], basis, axes=1)
    varianceWindows = np.lib.stride_tricks.sliding_window_view(pixels.variance.astype(np.float64), (21, 21))
    variance = scienceVariance + np.tensordot(varianceWindows, kernel**2, axes=2).ravel()
    residual = data - design @ solution
    return (residual**2 / variance).sum() + len(basis) * np.log(data.size)


@pytest.mark.parametrize(("degrees", "sigmas"), [([4], [2.5]), ([3, 2], [2.5, 1.2])])
def test_choiceIsThatOfTheDefinition(fakes, degrees, sigmas):
    config = makeConfig(degrees, sigmas)
    cellSet, chosen = choose(fakes, config)
    tried = [tuple(index + 1 for index in choice) for choice in np.ndindex(*degrees)]
    votes = []
    for candidate in cellSet:
        scores = [criterion(candidate, makeKernelBasisList(config, None, None, choice)) for choice in tried]
        votes.append(tried[int(np.argmin(scores))])
    most = max(votes.count(choice) for choice in votes)
    assert votes.count(chosen) == most
    # The truth is degree 2 of the first Gaussian: BIC must not ask for the largest basis.
    assert chosen != tuple(degrees)


def test_degreeZeroStays(fakes):
    """A plain Gaussian leaves nothing to choose for itself, but must not keep the others from their choice."""
    _, chosen = choose(fakes, makeConfig([2, 0], [2.5, 1.2]))
    assert chosen[0] in (1, 2)
    assert chosen[1] == 0


def test_candidatesStayAsTheyWere(fakes):
    config = makeConfig([3], [2.5])
    cellSet, _ = choose(fakes, config)
    assert all(candidate.status is CandidateStatus.UNKNOWN for candidate in cellSet)
    assert not any(candidate.isInitialized for candidate in cellSet)


def test_logTellsTheVotes(fakes, caplog):
    with caplog.at_level(logging.INFO, "psfmatch.fit.stars.degrees"):
        _, chosen = choose(fakes, makeConfig([3], [2.5]))
    assert f"BIC prefers the degrees {chosen[0]} (" in caplog.text


def test_nobodyVotes(fakes):
    config = makeConfig([2], [2.5], candidateResidualStdMax=0.1)
    with pytest.raises(NoKernelCandidatesError, match="none of 9 is subtracted well enough"):
        choose(fakes, config)
