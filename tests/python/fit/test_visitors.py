"""The four visitors: whom they count, reject and why, and their numbers against dense calculations in numpy."""

import copy
import logging
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from psfmatch import (
    Box,
    KernelSolutionError,
    LinearCombinationKernel,
    MaskedImage,
    NoKernelCandidatesError,
    PsfMatchConfigAL,
    PsfMatchError,
)
from psfmatch.config import KernelOptions
from psfmatch.fit import (
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    BuildSpatialKernelVisitor,
    CandidateStatus,
    KernelCandidate,
    KernelSumVisitor,
    SpatialCellSet,
)
from psfmatch.fit.stars.judging import stampPairs
from psfmatch.kernels import Chebyshev2D, KernelSolution, Polynomial2D, SolutionSlot
from psfmatch.testing import makeFakeKernelSet

GOOD, BAD, UNKNOWN = CandidateStatus.GOOD, CandidateStatus.BAD, CandidateStatus.UNKNOWN


def makeConfig(**changes):
    config = PsfMatchConfigAL()
    settings = {"kernelSize": 21, "scaleByFwhm": False, "alardNGauss": 1, "alardSigGauss": [2.5]}
    settings |= {"alardDegGauss": [2], "spatialKernelOrder": 1, "spatialBgOrder": 0, "fitForBackground": True}
    config.update(**settings | changes)
    return config


@pytest.fixture(scope="module")
def fakes():
    return makeFakeKernelSet(spatialModelType="chebyshev1", seed=1)


@pytest.fixture
def config():
    return makeConfig()


def candidatesOf(fakes, config, halfWidth=42):
    candidates = []
    for x, y in fakes.starCentres:
        box = Box(int(x) - halfWidth, int(y) - halfWidth, 2 * halfWidth + 1, 2 * halfWidth + 1)
        stamps = fakes.template.subset(box).copy(), fakes.science.subset(box).copy()
        candidates.append(KernelCandidate(x, y, *stamps, config))
    return candidates


def cellSetOf(fakes, candidates):
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for candidate in candidates:
        cellSet.insertCandidate(candidate)
    return cellSet


def fittedCandidates(fakes, config):
    candidates = candidatesOf(fakes, config)
    BuildSingleKernelVisitor(fakes.basis, config).processCandidates(candidates)
    return candidates


def designOf(candidate, basis):
    """Return the basis-convolved template pixels that the kernel covers, (nPixel, n), by direct sums in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(
        candidate.templateMaskedImage.image.astype(np.float64), basis.shape[1:]
    )
    return np.tensordot(windows, basis, axes=([2, 3], [1, 2])).reshape(-1, len(basis))


def covered(plane, half=10):
    return np.asarray(plane, dtype=np.float64)[half:-half, half:-half].ravel()


def withKernelSum(value, x=50.0, y=50.0):
    pixels = MaskedImage(np.ones((5, 5)), variance=np.ones((5, 5)))
    candidate = KernelCandidate(x, y, pixels, pixels, makeConfig())
    candidate.setKernelSolution(
        KernelSolution(np.zeros((1, 3, 3)), np.zeros(1), 0.0, value, np.zeros((1, 1)), np.zeros(1))
    )
    return candidate


# BuildSingleKernelVisitor


def test_singleFitCounts(fakes, config):
    candidates = candidatesOf(fakes, config)[:3]
    assert not any(c.isInitialized for c in candidates)
    with pytest.raises(RuntimeError, match=r"candidate 0 at \(64\.0, 64\.0\) has no ORIG solution"):
        _ = candidates[0].kernelSolution
    visitor = BuildSingleKernelVisitor(fakes.basis[:1], makeConfig(singleKernelClipping=False))
    assert (visitor.nProcessed, visitor.nRejected) == (0, 0)
    visitor.processCandidates(candidates)
    assert (visitor.nProcessed, visitor.nRejected) == (3, 0)
    for candidate in candidates:
        assert candidate.isInitialized
        assert candidate.status is GOOD
        assert candidate.reason is None
        assert candidate.kernelSolution is candidate.getKernelSolution(SolutionSlot.ORIG)
        with pytest.raises(RuntimeError, match="has no PCA solution"):
            candidate.getKernelSolution(SolutionSlot.PCA)


def test_stampsAreCheckedOnceUntilTheyChange(fakes, config):
    candidate, other = candidatesOf(fakes, config)[:2]
    first = stampPairs([candidate, other], config)
    assert stampPairs([other, candidate], config) == [first[1], first[0]]
    # Pixels are views: what is written into them counts without another check.
    single = BuildSingleKernelVisitor(fakes.basis, config, skipBuilt=False)
    single.processCandidate(candidate)
    before = candidate.kernelSolution.kernelSum
    candidate.scienceMaskedImage.image[:] *= 2.0
    single.processCandidate(candidate)
    assert candidate.kernelSolution.kernelSum == pytest.approx(2.0 * before, rel=1e-6)
    # Other stamps, and a plane that has become a bad one, count as well.
    candidate.scienceMaskedImage = other.scienceMaskedImage
    replaced = stampPairs([candidate], config)[0]
    assert replaced is not first[0]
    candidate.templateMaskedImage.mask.addPlane("GHOST")
    ghosts = makeConfig(badMaskPlanes=[*config.badMaskPlanes, "GHOST"])
    assert stampPairs([candidate], ghosts)[0] is not replaced
    # The core's view of the stamps stays behind when a candidate is copied.
    assert other.keptStamps is not None
    assert copy.copy(other).keptStamps is None


def test_solutionsShowTheCoresEquations(fakes, config):
    candidate = candidatesOf(fakes, config)[0]
    BuildSingleKernelVisitor(fakes.basis, config).processCandidate(candidate)
    solution = candidate.kernelSolution
    assert solution.matrix.shape == (len(fakes.basis) + 1,) * 2
    np.testing.assert_array_equal(solution.matrix, solution.matrix.T)
    unknowns = np.append(solution.coefficients, solution.background)
    # The residual of a system of condition 1e5 or so, scaled by its own sums.
    scale = np.abs(solution.matrix) @ np.abs(unknowns)
    assert np.all(np.abs(solution.matrix @ unknowns - solution.rightHandSide) < 1e-10 * scale)
    with pytest.raises(ValueError, match="read-only"):
        solution.matrix[0, 0] = 0.0


def test_skipBuilt(fakes, config):
    candidates = candidatesOf(fakes, config)
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidates(candidates[:3])
    first = [c.kernelSolution for c in candidates[:3]]
    visitor.reset()
    visitor.processCandidates(candidates[:3])
    assert (visitor.nProcessed, visitor.nRejected) == (0, 0)
    assert all(c.kernelSolution is solution for c, solution in zip(candidates[:3], first, strict=True))
    # Built and new ones in one pass: only the new ones count.
    visitor.processCandidates(candidates)
    assert visitor.nProcessed == 6
    again = BuildSingleKernelVisitor(fakes.basis, config, skipBuilt=False)
    again.processCandidates(candidates[:3])
    assert again.nProcessed == 3
    for candidate, solution in zip(candidates[:3], first, strict=True):
        assert candidate.kernelSolution is not solution
        np.testing.assert_array_equal(candidate.kernelSolution.coefficients, solution.coefficients)


def test_refitGoesToThePcaSlot(fakes, config):
    candidate = fittedCandidates(fakes, config)[0]
    original = candidate.kernelSolution
    visitor = BuildSingleKernelVisitor(fakes.basis[:3], config, skipBuilt=False, slot=SolutionSlot.PCA)
    visitor.processCandidate(candidate)
    refit = candidate.getKernelSolution(SolutionSlot.PCA)
    assert candidate.kernelSolution is refit
    assert candidate.getKernelSolution(SolutionSlot.ORIG) is original
    assert refit.coefficients.shape == (3,)
    visitor.processCandidate(candidate)
    assert candidate.kernelSolution is not refit
    np.testing.assert_array_equal(candidate.kernelSolution.coefficients, refit.coefficients)
    assert candidate.getKernelSolution(SolutionSlot.ORIG) is original


@pytest.mark.parametrize("constantVariance", [True, False])
@pytest.mark.parametrize("fitForBackground", [True, False])
def test_singleFitIsWeightedLeastSquares(fakes, constantVariance, fitForBackground):
    config = makeConfig(
        constantVarianceWeighting=constantVariance, fitForBackground=fitForBackground, singleKernelClipping=False
    )
    candidate = candidatesOf(fakes, config)[4]
    BuildSingleKernelVisitor(fakes.basis, config).processCandidate(candidate)
    template, science = candidate.templateMaskedImage, candidate.scienceMaskedImage
    design = designOf(candidate, fakes.basis)
    if fitForBackground:
        design = np.column_stack([design, np.ones(len(design))])
    values, variance = covered(science.image), covered(science.variance + template.variance)
    weight = np.ones_like(values) if constantVariance else 1 / np.sqrt(variance)
    expected, *_ = np.linalg.lstsq(design * weight[:, None], values * weight, rcond=None)

    solution = candidate.kernelSolution
    # The normal matrix squares the design's condition number, below 1e4 here: 1e8 eps = 2e-8 of the largest.
    np.testing.assert_allclose(solution.coefficients, expected[:6], rtol=0, atol=2e-8)
    np.testing.assert_allclose(solution.background, expected[6] if fitForBackground else 0.0, rtol=1e-7)
    # The first function sums to one, all others to zero.
    np.testing.assert_allclose(solution.kernelSum, expected[0], rtol=2e-8)
    np.testing.assert_allclose(solution.computeImage().sum(), solution.kernelSum, rtol=1e-12)
    assert solution.matrix.shape == (design.shape[1],) * 2

    residual = values - design @ expected
    windows = np.lib.stride_tricks.sliding_window_view(template.variance.astype(np.float64), (21, 21))
    kernelSquared = np.tensordot(expected[:6], fakes.basis, axes=1) ** 2
    predicted = covered(science.variance) + np.tensordot(windows, kernelSquared, axes=2).ravel()
    pull = residual / np.sqrt(predicted)
    # Coefficients good to 2e-8 times 1e4 counts over a sigma of 10.
    assert candidate.residual.mean == pytest.approx(pull.mean(), abs=1e-5)
    assert candidate.residual.rms == pytest.approx(pull.std(ddof=1), abs=1e-5)
    assert candidate.residual.count == pull.size
    assert candidate.chi2 == pytest.approx(candidate.residual.rms**2)


def test_iteratedFitUsesTheDifferencesVariance(fakes):
    config = makeConfig(constantVarianceWeighting=False, iterateSingleKernel=True, singleKernelClipping=False)
    candidate = candidatesOf(fakes, config)[4]
    BuildSingleKernelVisitor(fakes.basis, makeConfig(constantVarianceWeighting=False)).processCandidate(candidate)
    first = candidate.kernelSolution
    BuildSingleKernelVisitor(fakes.basis, config, skipBuilt=False).processCandidate(candidate)
    windows = np.lib.stride_tricks.sliding_window_view(
        candidate.templateMaskedImage.variance.astype(np.float64), (21, 21)
    )
    variance = covered(candidate.scienceMaskedImage.variance)
    variance += np.tensordot(windows, first.computeImage() ** 2, axes=2).ravel()
    design = np.column_stack([designOf(candidate, fakes.basis), np.ones(variance.size)]) / np.sqrt(variance)[:, None]
    values = covered(candidate.scienceMaskedImage.image) / np.sqrt(variance)
    expected, *_ = np.linalg.lstsq(design, values, rcond=None)
    np.testing.assert_allclose(candidate.kernelSolution.coefficients, expected[:6], rtol=0, atol=2e-8)
    assert abs(first.coefficients - expected[:6]).max() > 1e-6


def test_rejectionOfAStarThatIsNone(fakes, config):
    candidates = candidatesOf(fakes, config)[:4]
    # A spike three pixels off the star, which no function of the basis can make.
    candidates[2].scienceMaskedImage.image[42, 45] += 5000
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidates(candidates)
    assert (visitor.nProcessed, visitor.nRejected) == (4, 1)
    assert [c.status for c in candidates] == [GOOD, GOOD, BAD, GOOD]
    assert candidates[2].reason.startswith("residual rms: ")
    assert candidates[2].reason.endswith("limit 1.5")
    assert candidates[2].isInitialized

    lenient = candidatesOf(fakes, config)[2]
    lenient.scienceMaskedImage.image[42, 45] += 5000
    BuildSingleKernelVisitor(fakes.basis, makeConfig(singleKernelClipping=False)).processCandidate(lenient)
    assert lenient.status is GOOD


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("candidateResidualMeanMax", 0.0, r"residual mean: -?0\.\d{3} sigma, limit 0.0"),
        ("candidateResidualStdMax", 0.5, r"residual rms: [01]\.\d{3} sigma, limit 0.5"),
    ],
)
def test_residualLimits(fakes, field, value, reason):
    # Without a background term the mean of the residuals is not zero by construction.
    config = makeConfig(fitForBackground=False, candidateResidualMeanMax=1e6, candidateResidualStdMax=1e6)
    setattr(config, field, value)
    candidate = candidatesOf(fakes, config)[0]
    candidate.scienceMaskedImage.image -= fakes.background
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidate(candidate)
    assert candidate.status is BAD
    assert re.fullmatch(reason, candidate.reason)
    assert (visitor.nProcessed, visitor.nRejected) == (1, 1)


def test_coreStatistics(fakes):
    """With useCoreStats only the (2r+1)^2 pixels in the middle judge."""
    whole, core = makeConfig(), makeConfig(useCoreStats=True, candidateCoreRadius=2)
    results = []
    for config in (whole, core):
        candidate = candidatesOf(fakes, config)[4]
        candidate.scienceMaskedImage.image[15, 15] += 3e3  # far from the star, in the fitted region
        BuildSingleKernelVisitor(fakes.basis, config).processCandidate(candidate)
        results.append(candidate)
    assert results[0].status is BAD
    assert results[1].status is GOOD
    assert (results[0].residual.count, results[1].residual.count) == (65**2, 5**2)


def test_stampSmallerThanTheKernel(fakes, config):
    candidates = candidatesOf(fakes, config, halfWidth=8)[:1] + candidatesOf(fakes, config)[1:2]
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidates(candidates)
    assert [c.status for c in candidates] == [BAD, GOOD]
    assert candidates[0].reason == "fit failed: stamp of 17x17 pixels is smaller than the kernel of 21x21"
    assert not candidates[0].isInitialized
    assert (visitor.nProcessed, visitor.nRejected) == (1, 1)


def test_tooFewPixelsForTheCoefficients(fakes, config):
    candidate = candidatesOf(fakes, config, halfWidth=10)[0]
    BuildSingleKernelVisitor(fakes.basis, config).processCandidate(candidate)
    assert candidate.status is BAD
    assert candidate.reason == "fit failed: 1 good pixels for 7 coefficients"


def test_maskedStamp(fakes, config):
    """Bad pixels have no weight; a stamp that loses more than maskedStampFraction is dropped."""
    few, many, all_ = candidatesOf(fakes, config)[:3]
    few.scienceMaskedImage.mask[12:30, 12:30] |= few.scienceMaskedImage.mask.getPlaneBitMask("BAD")
    few.scienceMaskedImage.image[12:30, 12:30] = -3e4
    many.scienceMaskedImage.mask[12:34, 12:34] |= many.scienceMaskedImage.mask.getPlaneBitMask("SAT")
    all_.scienceMaskedImage.mask[...] = all_.scienceMaskedImage.mask.getPlaneBitMask("NO_DATA")
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidates([few, many, all_])
    assert few.status is GOOD
    assert few.kernelSolution.lostFraction == pytest.approx(18**2 / 65**2)
    assert few.residual.count == 65**2 - 18**2
    assert many.status is BAD
    assert many.reason == f"bad pixels in stamp: {22**2 / 65**2:.1%} of the fit, limit 10.0%"
    assert all_.status is BAD
    assert all_.reason == "fit failed: 0 good pixels for 7 coefficients"
    assert visitor.nRejected == 2


def test_zeroVarianceInThePixelWeights(fakes):
    """A pixel of zero variance would have infinite weight: it is left out, or the fit fails, but never divides."""
    for zeroWeight in (True, False):
        config = makeConfig(constantVarianceWeighting=False, zeroWeightBadPixels=zeroWeight)
        candidate = candidatesOf(fakes, config)[0]
        candidate.scienceMaskedImage.variance[40, 40] = 0
        candidate.templateMaskedImage.variance[40, 40] = 0
        BuildSingleKernelVisitor(fakes.basis, config).processCandidate(candidate)
        if zeroWeight:
            assert candidate.status is GOOD
            assert candidate.residual.count == 65**2 - 1
        else:
            assert candidate.status is BAD
            assert candidate.reason.startswith("fit failed: variance equals 0.0, cannot inver")


def test_conditionNumberLimit(fakes):
    config = makeConfig(checkConditionNumber=True, maxConditionNumber=1.0)
    candidates = candidatesOf(fakes, config)[:2]
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidates(candidates)
    assert [c.status for c in candidates] == [BAD, BAD]
    assert all(c.reason.startswith("condition number: ") for c in candidates)
    assert visitor.nRejected == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38])
def test_unusablePixelsRejectOrVanish(fakes, config, value):
    """Whatever one pixel holds, the visitor decides, and what it keeps is finite."""
    template, science = candidatesOf(fakes, config)[:2]
    template.templateMaskedImage.image[30, 50] = value
    science.scienceMaskedImage.image[30, 50] = value
    BuildSingleKernelVisitor(fakes.basis, config).processCandidates([template, science])
    for candidate in (template, science):
        assert candidate.status is not UNKNOWN
        if candidate.status is GOOD:
            assert np.isfinite(candidate.kernelSolution.coefficients).all()
    if not math.isfinite(value):
        assert science.status is GOOD
        assert template.status is GOOD


def test_oneVisitOfTheCells(fakes, config):
    cellSet = cellSetOf(fakes, candidatesOf(fakes, config))
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    cellSet.visitCandidates(visitor, 1)
    assert (visitor.nProcessed, visitor.nRejected) == (9, 0)
    assert cellSet.countByStatus() == {BAD: 0, GOOD: 9, UNKNOWN: 0}
    cellSet.visitCandidates(visitor, 1)
    assert visitor.nProcessed == 0


def test_nothingToVisit(fakes, config):
    visitor = BuildSingleKernelVisitor(fakes.basis, config)
    visitor.processCandidates([])
    assert (visitor.nProcessed, visitor.nRejected) == (0, 0)


# KernelSumVisitor


def clippedMeanAndStdev(values):
    """Three rounds of three sigma, begun with median and interquartile range."""
    values = np.array(values, dtype=float)
    low, centre, high = np.percentile(values, [25, 50, 75])
    width = 3 * 0.741301109252802 * (high - low)
    for _ in range(3):
        kept = values[abs(values - centre) <= width]
        centre, width = kept.mean(), 3 * (kept.std(ddof=1) if kept.size > 1 else 0.0)
    return centre, width / 3


def test_kernelSumStatistics(config):
    visitor = KernelSumVisitor(config)
    assert (visitor.kSumMean, visitor.kSumStd, visitor.kSumNpts, visitor.dkSumMax, visitor.nRejected) == (0,) * 5
    candidates = [withKernelSum(value) for value in (1, 1, 1, 1, 2, 3, 4)]
    visitor.aggregate(candidates)
    assert (visitor.kSumMean, visitor.kSumStd, visitor.kSumNpts, visitor.dkSumMax) == (0,) * 4
    visitor.processKsumDistribution()
    mean, stdev = clippedMeanAndStdev((1, 1, 1, 1, 2, 3, 4))
    assert visitor.kSumMean == pytest.approx(mean, rel=1e-14)
    assert visitor.kSumStd == pytest.approx(stdev, rel=1e-14)
    assert visitor.kSumMean == pytest.approx(13 / 7)
    assert visitor.kSumNpts == 7
    assert visitor.dkSumMax == pytest.approx(config.maxKsumSigma * stdev, rel=1e-14)
    visitor.resetKernelSum()
    assert (visitor.kSumMean, visitor.kSumStd, visitor.kSumNpts, visitor.dkSumMax) == (0,) * 4


@pytest.mark.parametrize("clipping", [True, False])
def test_kernelSumOutlier(clipping):
    candidates = [withKernelSum(value) for value in (1, 1, 1, 1, 2, 3, 4, 50)]
    visitor = KernelSumVisitor(makeConfig(kernelSumClipping=clipping))
    visitor.aggregate(candidates)
    visitor.processKsumDistribution()
    visitor.processCandidates(candidates)
    assert visitor.kSumNpts == 8
    assert visitor.nRejected == (1 if clipping else 0)
    assert [c.status for c in candidates] == [UNKNOWN] * 7 + [BAD if clipping else UNKNOWN]
    if clipping:
        assert candidates[7].reason.startswith("kernel sum: 50.0000 is not within ")
    visitor.reset()
    assert visitor.nRejected == 0
    assert visitor.kSumNpts == 8


def test_kernelSumsOverTheCells(fakes, config):
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for i, (x, y) in enumerate(fakes.starCentres):
        cellSet.insertCandidate(withKernelSum(100.0 if i == 4 else 1.0 + 0.01 * i, x, y))
    visitor = KernelSumVisitor(config)
    visitor.aggregate(cellSet.activeCandidates(1))
    visitor.processKsumDistribution()
    cellSet.visitCandidates(visitor, 1)
    assert visitor.nRejected == 1
    assert [c.status for c in cellSet].index(BAD) == 4
    assert cellSet.countReasons() == {"kernel sum": 1}


def test_kernelSumOfUnfitted(fakes, config):
    visitor = KernelSumVisitor(config)
    with pytest.raises(RuntimeError, match="has no ORIG solution; it must be visited by a BuildSingleKernelVisitor"):
        visitor.aggregate(candidatesOf(fakes, config))


def test_kernelSumOfNone(config):
    with pytest.raises(NoKernelCandidatesError, match="Unable to determine kernel sum; 0 candidates") as caught:
        KernelSumVisitor(config).processKsumDistribution()
    assert caught.value.nCandidates == 0


def test_kernelSumOfOne(config, caplog):
    candidate = withKernelSum(1.25)
    visitor = KernelSumVisitor(config)
    visitor.aggregate([candidate])
    with caplog.at_level(logging.WARNING, "psfmatch.KernelSumVisitor"):
        visitor.processKsumDistribution()
    assert (visitor.kSumMean, visitor.kSumStd, visitor.kSumNpts, visitor.dkSumMax) == (1.25, 0.0, 1, 0.0)
    assert "Only 1 candidate" in caplog.text
    visitor.processCandidates([candidate])
    assert visitor.nRejected == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_kernelSumNotFinite(config, value):
    visitor = KernelSumVisitor(config)
    visitor.aggregate([withKernelSum(1.0), withKernelSum(value), withKernelSum(1.1)])
    with pytest.raises(PsfMatchError, match="finite"):
        visitor.processKsumDistribution()


# BuildSpatialKernelVisitor


@pytest.mark.parametrize("model", ["chebyshev1", "polynomial"])
@pytest.mark.parametrize(("kernelOrder", "bgOrder"), [(0, 0), (1, 0), (0, 1), (1, 1), (2, 2)])
def test_sizesOfSpatialModels(fakes, model, kernelOrder, bgOrder):
    config = makeConfig(spatialModelType=model, spatialKernelOrder=kernelOrder, spatialBgOrder=bgOrder)
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config)
    visitor.processCandidates(fittedCandidates(fakes, config))
    visitor.solveLinearEquation()
    kernel, background = visitor.getSolutionPair()
    terms = {0: 1, 1: 3, 2: 6}
    assert kernel.spatialParameters.shape == (6, terms[kernelOrder])
    assert background.parameters.shape == (terms[bgOrder],)
    assert kernel.isVarying == (kernelOrder > 0)
    np.testing.assert_array_equal(kernel.spatialParameters[0, 1:], 0.0)
    assert visitor.nUnknowns == 1 + 5 * terms[kernelOrder] + terms[bgOrder]
    assert math.isfinite(visitor.conditionNumber)
    # The flux ratio does not vary over the field: it is the coefficient of the first function.
    for x, y in ((0, 0), (383, 100), (200, 383)):
        assert kernel.kernelSum(x, y) == pytest.approx(kernel.spatialParameters[0, 0], rel=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_spatialModelWithoutBackground(fakes, order):
    config = makeConfig(fitForBackground=False, spatialKernelOrder=order, singleKernelClipping=False)
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config)
    visitor.processCandidates(fittedCandidates(fakes, config))
    visitor.solveLinearEquation()
    kernel, background = visitor.getSolutionPair()
    assert kernel.spatialParameters.shape == (6, (order + 1) * (order + 2) // 2)
    np.testing.assert_array_equal(kernel.spatialParameters[0, 1:], 0.0)
    assert background.parameters.shape == (1,)
    assert background(123, 45) == 0.0


def test_everyTermVariesIfAsked(fakes, config):
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config, constantFirstTerm=False)
    visitor.processCandidates(fittedCandidates(fakes, config))
    visitor.solveLinearEquation()
    kernel, _ = visitor.getSolutionPair()
    assert visitor.nUnknowns == 6 * 3 + 1
    assert (kernel.spatialParameters[0, 1:] != 0).all()


def test_unknownSpatialModel(fakes, config):
    settings = replace(KernelOptions.fromConfig(config), spatialModelType="foo")
    with pytest.raises(ValueError, match=r"spatialModelType 'foo' is unknown; choose 'chebyshev1', .* or 'bspline'"):
        BuildSpatialKernelVisitor(fakes.basis, fakes.box, settings)
    with pytest.raises(ValueError, match="foo"):
        config.spatialModelType = "foo"


@pytest.mark.parametrize("model", ["chebyshev1", "polynomial"])
def test_spatialFitAgainstTheLiftedSystem(fakes, model):
    """M = sum P^T Q P and B = sum P^T W with the lift P written out as a dense matrix."""
    config = makeConfig(spatialModelType=model, spatialKernelOrder=2, spatialBgOrder=1)
    candidates = fittedCandidates(fakes, config)
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config)
    visitor.processCandidates(candidates)
    visitor.solveLinearEquation()
    kernel, background = visitor.getSolutionPair()

    def terms(x, y, order):
        # Of one function space, whichever base spans it; the middle and half width of the box are 191.5 and 192.
        u, v = (x - 191.5) / 192, (y - 191.5) / 192
        return np.array([1, u, v, u * u, u * v, v * v][: (order + 1) * (order + 2) // 2])

    matrix, rightHandSide = np.zeros((34, 34)), np.zeros(34)
    for candidate in candidates:
        lift = np.zeros((7, 1 + 5 * 6 + 3))
        lift[0, 0] = 1
        for i in range(1, 6):
            lift[i, 1 + 6 * (i - 1) : 1 + 6 * i] = terms(candidate.x, candidate.y, 2)
        lift[6, 31:] = terms(candidate.x, candidate.y, 1)
        matrix += lift.T @ candidate.kernelSolution.matrix @ lift
        rightHandSide += lift.T @ candidate.kernelSolution.rightHandSide
    scale = 1 / np.sqrt(np.diag(matrix))
    expected = scale * np.linalg.solve(matrix * np.outer(scale, scale), rightHandSide * scale)
    for x, y in ((0, 0), (100, 300), (383, 383), (191, 20)):
        coefficients = np.concatenate([expected[:1], expected[1:31].reshape(5, 6) @ terms(x, y, 2)])
        # Condition number of the scaled system up to 1e7: 1e7 eps = 2e-9; ten times that.
        np.testing.assert_allclose(kernel.coefficients(x, y)[0], coefficients, rtol=0, atol=2e-8)
        assert background(x, y) == pytest.approx(expected[31:] @ terms(x, y, 1), rel=1e-7)


def test_spatialFitLeavesOutTheUnfitted(fakes, config):
    candidates = candidatesOf(fakes, config)
    BuildSingleKernelVisitor(fakes.basis, config).processCandidates(candidates[1:])
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config)
    visitor.processCandidates(candidates)
    assert visitor.nRejected == 1
    assert candidates[0].status is BAD
    assert candidates[0].reason.startswith("not fitted: ")
    assert len(visitor.candidates) == 8
    visitor.solveLinearEquation()


def test_spatialSolutionNotYet(fakes, config):
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config)
    with pytest.raises(RuntimeError, match="call solveLinearEquation first"):
        visitor.getSolutionPair()
    with pytest.raises(NoKernelCandidatesError, match="No kernel candidates for spatial fit"):
        visitor.solveLinearEquation()


def test_spatialEquationsNotFinite(fakes, config):
    candidates = fittedCandidates(fakes, config)
    solution = candidates[0].kernelSolution
    broken = KernelSolution(
        solution.basis, solution.coefficients, 0.0, 1.0, solution.matrix * np.nan, solution.rightHandSide
    )
    candidates[0].setKernelSolution(broken)
    visitor = BuildSpatialKernelVisitor(fakes.basis, fakes.box, config)
    visitor.processCandidates(candidates)
    with pytest.raises(KernelSolutionError, match="order 1 could not be solved from 9 candidates"):
        visitor.solveLinearEquation()


# AssessSpatialKernelVisitor


def trueModel(fakes):
    kernel = LinearCombinationKernel(fakes.basis, fakes.coefficients, fakes.spatialModelType, bbox=fakes.box)
    return kernel, Chebyshev2D([fakes.background], kernel.frame)


def test_assessTheTrueKernel(fakes, config):
    candidates = fittedCandidates(fakes, config)
    chi2 = [c.chi2 for c in candidates]
    visitor = AssessSpatialKernelVisitor(*trueModel(fakes), config)
    visitor.processCandidates(candidates[:1])
    assert (visitor.nProcessed, visitor.nRejected, visitor.nGood) == (1, 0, 1)
    visitor.processCandidates(candidates[1:])
    assert (visitor.nProcessed, visitor.nRejected, visitor.nGood) == (9, 0, 9)
    assert all(c.status is GOOD for c in candidates)
    # 4225 pixels of unit variance: rms 1 +- 0.011 each, five times that; Poisson with the drawn counts as variance
    # adds -1/mean = -1 % and a mean of -1/sqrt(mean) = -0.1.
    for candidate in candidates:
        assert candidate.spatialResidual.rms == pytest.approx(1.0, abs=0.07)
        assert abs(candidate.spatialResidual.mean) < 0.2
        assert candidate.spatialResidual.count == 65**2
    assert [c.chi2 for c in candidates] == chi2
    visitor.reset()
    assert (visitor.nProcessed, visitor.nRejected, visitor.nGood) == (0, 0, 0)


def test_assessAWrongKernel(fakes, config):
    kernel = LinearCombinationKernel(fakes.basis, [[0.0]] * 6)
    candidate = fittedCandidates(fakes, config)[0]
    visitor = AssessSpatialKernelVisitor(kernel, Polynomial2D([10.0, 10.0, 10.0]), config)
    visitor.processCandidate(candidate)
    assert (visitor.nProcessed, visitor.nRejected, visitor.nGood) == (1, 1, 0)
    assert candidate.status is BAD
    assert candidate.reason.startswith("spatial residual mean: -")

    lenient = fittedCandidates(fakes, config)[0]
    visitor = AssessSpatialKernelVisitor(
        kernel, Polynomial2D([10.0, 10.0, 10.0]), makeConfig(spatialKernelClipping=False)
    )
    visitor.processCandidate(lenient)
    assert (visitor.nRejected, visitor.nGood) == (0, 1)
    assert lenient.status is GOOD


def test_assessIsTheDifferenceOfTheStamp(fakes, config):
    kernel, background = trueModel(fakes)
    candidate = fittedCandidates(fakes, config)[2]
    AssessSpatialKernelVisitor(kernel, background, config).processCandidate(candidate)
    x, y = candidate.x, candidate.y
    template, science = candidate.templateMaskedImage, candidate.scienceMaskedImage
    matched = designOf(candidate, kernel.computeImage(x, y)[np.newaxis])[:, 0]
    windows = np.lib.stride_tricks.sliding_window_view(template.variance.astype(np.float64), (21, 21))
    variance = covered(science.variance) + np.tensordot(windows, kernel.computeImage(x, y) ** 2, axes=2).ravel()
    pull = (covered(science.image) - matched - background(x, y)) / np.sqrt(variance)
    # Sums in float32 are good to 1e-5 of a star's 300 counts, over a sigma of 10.
    assert candidate.spatialResidual.mean == pytest.approx(pull.mean(), abs=3e-4)
    assert candidate.spatialResidual.rms == pytest.approx(pull.std(ddof=1), abs=3e-4)


def test_assessTheUnfitted(fakes, config):
    candidates = candidatesOf(fakes, config)[:2]
    BuildSingleKernelVisitor(fakes.basis, config).processCandidate(candidates[1])
    visitor = AssessSpatialKernelVisitor(*trueModel(fakes), config)
    visitor.processCandidates(candidates)
    assert [c.status for c in candidates] == [BAD, GOOD]
    assert candidates[0].reason.startswith("not fitted: ")
    assert (visitor.nProcessed, visitor.nRejected, visitor.nGood) == (1, 1, 1)


def test_assessANanKernel(fakes):
    """Statistics that do not exist reject even with the clipping off."""
    config = makeConfig(spatialKernelClipping=False)
    kernel = LinearCombinationKernel(fakes.basis, [[np.nan]] * 6)
    candidate = fittedCandidates(fakes, config)[0]
    visitor = AssessSpatialKernelVisitor(kernel, Polynomial2D([0.0]), config)
    visitor.processCandidate(candidate)
    assert candidate.status is BAD
    assert (visitor.nRejected, visitor.nGood) == (1, 0)
    assert candidate.reason.startswith("spatial no residual statistics: 0 pixels")
