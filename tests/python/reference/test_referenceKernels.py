"""Sentences of the reference page on the kernel's solution and its configuration that no other test holds."""

import dataclasses

import numpy as np
import pytest
from lsst.pex.config import FieldValidationError

from psfmatch import Box, ImagePsfMatchTask, MaskedImage, PsfMatchConfigAL, PsfMatchConfigDF
from psfmatch.config import KernelOptions, RegionConfig
from psfmatch.fit import BuildSingleKernelVisitor, BuildSpatialKernelVisitor, CandidateStatus, KernelCandidate
from psfmatch.fit.stars.judging import _lambdaGrid
from psfmatch.kernels import SolutionSlot, makeKernelBasisList, makeRegularizationMatrix
from psfmatch.testing import makeFakeKernelSet, simulatePair


@pytest.fixture(scope="module")
def fakes():
    return makeFakeKernelSet(sizeCell=64, nCell=3, deltaFunctionCounts=5e4, seed=6)


AL = {"kernelSize": 21, "alardNGauss": 1, "alardSigGauss": [2.5], "alardDegGauss": [2], "scaleByFwhm": False}
AL |= {"fitForBackground": True, "spatialKernelOrder": 0, "spatialBgOrder": 0}


def alConfig():
    config = PsfMatchConfigAL()
    config.update(**AL)
    return config


def dfConfig(**changes):
    config = PsfMatchConfigDF()
    config.update(kernelSize=7, usePcaForSpatialKernel=False, spatialKernelOrder=0, spatialBgOrder=0, **changes)
    return config


def candidatesOf(fakes, options, half=20):
    made = []
    for x, y in fakes.starCentres:
        box = Box(int(x), int(y), 1, 1).grown(half)
        made.append(KernelCandidate(x, y, fakes.template.subset(box), fakes.science.subset(box), options))
    return made


# Parts


def test_optionsInPlaceOfAConfiguration(fakes):
    """The same kernels, and frozen."""
    config = alConfig()
    options = KernelOptions.fromConfig(config)
    basis = makeKernelBasisList(config)
    kernels = []
    for given in (config, options):
        candidates = candidatesOf(fakes, given)
        BuildSingleKernelVisitor(basis, given).processCandidates(candidates)
        visitor = BuildSpatialKernelVisitor(basis, fakes.box, given)
        visitor.processCandidates(candidates)
        visitor.solveLinearEquation()
        kernels.append(visitor.getSolutionPair()[0].spatialParameters)
    np.testing.assert_array_equal(*kernels)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.kernelSize = 5


def test_solutionsBySlot(fakes):
    config = alConfig()
    candidate = candidatesOf(fakes, config)[0]
    BuildSingleKernelVisitor(makeKernelBasisList(config), config).processCandidate(candidate)
    own = candidate.getKernelSolution(SolutionSlot.ORIG)
    assert own is candidate.getKernelSolution(SolutionSlot.RECENT)
    # Six unknowns and the background.
    assert own.method == "ldlt"
    assert own.computeImage().shape == (21, 21)
    with pytest.raises(RuntimeError, match="no PCA solution"):
        candidate.getKernelSolution(SolutionSlot.PCA)


# Delta functions and solvers


def test_penaltyMakesUpForPixels(fakes):
    """13 x 13 stamps leave 49 pixels that the kernel reaches, of which 9 are bad, for 49 unknowns."""
    statuses = {}
    for isPenalised in (True, False):
        config = dfConfig(useRegularization=isPenalised, maskedStampFraction=0.5)
        (candidate, *_) = candidatesOf(fakes, config, half=6)
        candidate.scienceMaskedImage.mask[3:6, 3:6] |= candidate.scienceMaskedImage.mask.getPlaneBitMask("BAD")
        visitor = BuildSingleKernelVisitor(makeKernelBasisList(config), config, makeRegularizationMatrix(config))
        visitor.processCandidate(candidate)
        statuses[isPenalised] = candidate.reason
    assert statuses[False] == "fit failed: 40 good pixels for 49 coefficients"
    assert "coefficients" not in (statuses[True] or "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"centralRegularizationStencil": 7}, "centralRegularizationStencil"),
        ({"forwardRegularizationOrders": [4]}, "forwardRegularizationOrders"),
        ({"forwardRegularizationOrders": [0]}, "forwardRegularizationOrders"),
        ({"regularizationBorderPenalty": -1.0}, "regularizationBorderPenalty"),
        ({"lambdaType": "largest"}, "lambdaType"),
    ],
)
def test_valuesThatAPenaltyCannotHave(changes, field):
    with pytest.raises(FieldValidationError, match=field):
        dfConfig(**changes)


@pytest.mark.parametrize(("side", "method"), [(7, "ldlt"), (9, "llt")])
def test_methodsBySize(side, method):
    """49 unknowns, and 81."""
    random = np.random.default_rng(5)
    template = random.exponential(1e3, (41, 41)).astype(np.float32)
    kernel = np.zeros((side, side))
    kernel[side // 2, side // 2 - 1 : side // 2 + 2] = 0.3, 0.5, 0.2
    windows = np.lib.stride_tricks.sliding_window_view(template.astype(float), kernel.shape)
    science = np.pad(np.tensordot(windows, kernel, axes=2), side // 2)
    config = PsfMatchConfigDF()
    config.update(kernelSize=side, useRegularization=False, usePcaForSpatialKernel=False, fitForBackground=False)
    images = [MaskedImage(image, variance=np.ones(image.shape)) for image in (template, science)]
    candidate = KernelCandidate(20, 20, *images, config)
    BuildSingleKernelVisitor(makeKernelBasisList(config), config).processCandidate(candidate)
    assert candidate.status is not CandidateStatus.UNKNOWN
    assert candidate.kernelSolution.method == method
    np.testing.assert_allclose(candidate.kernelSolution.computeImage(), kernel, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("stepType", "limits", "expected"),
    [
        ("linear", (-1.0, 2.0, 1.0), [-1.0, 0.0, 1.0, 2.0]),
        ("log", (0.0, 3.0, 0.1), 10.0 ** np.linspace(0.0, 3.0, 31)),
        ("linear", (0.0, 1.0, 0.4), [0.0, 0.4, 0.8]),
    ],
)
def test_bothEndsBelongToTheGrid(stepType, limits, expected):
    minimum, maximum, step = limits
    config = PsfMatchConfigDF()
    config.update(lambdaStepType=stepType, lambdaMin=minimum, lambdaMax=maximum, lambdaStep=step)
    np.testing.assert_allclose(_lambdaGrid(KernelOptions.fromConfig(config)), expected, rtol=1e-12, atol=1e-12)


# Configuration


@pytest.mark.parametrize("field", ["alardDegGaussDeconv", "alardNGaussDeconv"])
@pytest.mark.parametrize(("rule", "acts"), [("classic", True), ("continuous", False)])
def test_deconvolutionFieldsOfTheClassicRule(field, rule, acts):
    bases = []
    for change in ({}, {field: 4 if field == "alardNGaussDeconv" else 2}):
        config = PsfMatchConfigAL()
        config.update(alardWidthRule=rule, **change)
        bases.append(makeKernelBasisList(config, 5.0, 4.0))
    assert (bases[0].shape != bases[1].shape) is acts


def test_degreesAreThoseOfGaussiansOnly():
    with pytest.raises(FieldValidationError, match="no polynomial degrees to choose"):
        dfConfig(useBicForKernelBasis=True).validate()


def test_uncertaintiesByTheirNames(fakes):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(**AL, calculateKernelUncertainty=True)
    result = ImagePsfMatchTask(config=config, threads=1).matchMaskedImages(
        fakes.template, fakes.science, fakes.starCentres
    )
    kernel, background = result.psfMatchingKernel, result.backgroundModel
    assert kernel.covariance.shape == (6, 6)
    assert kernel.computeSigmaImage(80, 80).shape == kernel.shape
    assert 0.0 < kernel.kernelSumSigma(80, 80) < 0.1
    assert background.sigma(80, 80) > 0.0
    fitted = next(c for c in result.kernelCellSet if c.status is CandidateStatus.GOOD).kernelSolution
    assert fitted.computeSigmaImage().shape == kernel.shape
    assert fitted.kernelSumSigma > kernel.kernelSumSigma(80, 80)


# Regions: what each field of theirs changes


def kernelOf(result):
    return result.psfMatchingKernel.computeImage(30.0, 40.0)


def asIs(result):
    return kernelOf(result).tobytes()


def sharpness(result):
    """How much of the kernel is in its images beside the first; a narrow prior leaves little."""
    first = result.psfMatchingKernel.basis[0]
    return float(np.abs(kernelOf(result) - first * kernelOf(result).sum()).sum())


def variation(result):
    kernel = result.psfMatchingKernel
    return float(np.abs(kernel.computeImage(5.0, 5.0) - kernel.computeImage(250.0, 250.0)).sum())


REGIONS = {
    "layout": ("tiles", lambda result: len(result.kernelCellSet), "differs"),
    "halfWidth": (9, asIs, "differs"),
    "maxRegions": (12, lambda result: len(result.kernelCellSet), "falls"),
    "iterations": (1, asIs, "differs"),
    "rejectPixels": (False, asIs, "differs"),
    "threshold": (3.5, asIs, "differs"),
    "growth": (2, asIs, "differs"),
    "refineBackground": (False, lambda result: "blankSky" in result, "falls"),
    "shapeScale": (0.01, sharpness, "falls"),
    "variationScale": (0.001, variation, "falls"),
    "widthScale": (5.0, variation, "differs"),
    "kernelNorm": (0.01, variation, "falls"),
    "firstDegrees": ([2, 0, 0], asIs, "differs"),
}


@pytest.fixture(scope="module")
def runRegions():
    pair = simulatePair(seed=4, size=256, brightStars=300, faintStars=100, transients=(2e3, 3e3))
    done = {}

    def run(**changes):
        key = repr(changes)
        if key not in done:
            config = ImagePsfMatchTask.ConfigClass()
            config.kernel.active.update(fitMethod="regions", fitForBackground=True, spatialKernelOrder=1)
            config.kernel.active.regionConfig.update(**changes)
            task = ImagePsfMatchTask(config=config, threads=1)
            done[key] = task.matchExposures(pair.template, pair.science, 2.7, 3.9)
        return done[key]

    return run


def test_everyFieldOfTheRegionsIsHere():
    assert set(REGIONS) == set(RegionConfig._fields)


@pytest.mark.parametrize("field", REGIONS)
def test_fieldsOfTheRegions(runRegions, field):
    value, look, what = REGIONS[field]
    before, after = look(runRegions()), look(runRegions(**{field: value}))
    assert after < before if what == "falls" else after != before
