"""What the tests of the reference implementation ask for, where no other test of ours does, on skies made up here."""

import numpy as np
import pytest

from psfmatch import (
    Box,
    Exposure,
    ImagePsfMatchTask,
    LinearCombinationKernel,
    MaskedImage,
    ModelPsfMatchTask,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
)
from psfmatch.fit import BuildSingleKernelVisitor, BuildSpatialKernelVisitor, KernelCandidate, SpatialCellSet
from psfmatch.kernels import Chebyshev2D, Polynomial2D
from psfmatch.kernels.basis import makeKernelBasisList
from psfmatch.sources import SourceDetectionTask, SourceMeasurementTask
from psfmatch.tasks import PsfMatchTask
from psfmatch.testing import makeFakeKernelSet, makeNineStars, simulatePair

SIDE = 19


def gaussian(sigmaX, sigmaY, half):
    x = np.arange(-half, half + 1)
    image = np.exp(-0.5 * (x / sigmaX) ** 2) * np.exp(-0.5 * (x / sigmaY) ** 2)[:, None]
    return image / image.sum()


def correlated(image, kernel):
    """The pixels that the kernel covers, zero elsewhere."""
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    return np.pad(np.tensordot(windows, kernel, axes=2), kernel.shape[0] // 2)


# One candidate


@pytest.mark.parametrize("constantVariance", [True, False])
@pytest.mark.parametrize("fitForBackground", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_gaussianFromACrowdedField(constantVariance, fitForBackground, noise):
    """Delta functions find a (2, 3) px Gaussian in a field where every pixel has a star."""
    config = PsfMatchConfigDF()
    config.update(
        kernelSize=SIDE,
        useRegularization=False,
        usePcaForSpatialKernel=False,
        constantVarianceWeighting=constantVariance,
        fitForBackground=fitForBackground,
    )
    random = np.random.default_rng(12)
    template = random.exponential(1e3, (75, 75)).astype(np.float32).astype(np.float64)
    truth = gaussian(2.0, 3.0, SIDE // 2)
    science = correlated(template, truth) + random.normal(0.0, noise, template.shape)
    stamps = [MaskedImage(image, variance=np.full(image.shape, 1.0)) for image in (template, science)]
    candidate = KernelCandidate(37, 37, *stamps, config)
    basis = np.eye(SIDE**2).reshape(-1, SIDE, SIDE)
    BuildSingleKernelVisitor(basis, config).processCandidate(candidate)
    solution = candidate.kernelSolution
    found = solution.computeImage()
    # Noise: 57^2 pixels of scatter 1e3 give each kernel pixel to 0.3 / (57 * 1e3) = 5e-6, and 6 sigma of that.
    # Without it, float32 pixels of 1e3 (3e-5 rms) leave 1e-9.
    isBright = truth > 1e-4
    np.testing.assert_allclose(found, truth, rtol=0, atol=4e-5 if noise else 1e-8)
    np.testing.assert_allclose(found[isBright] / truth[isBright], 1.0, rtol=0, atol=0.4 if noise else 1e-4)
    # The sum is told by the mean light, the background by what the mean light leaves.
    assert solution.kernelSum == pytest.approx(1.0, abs=1e-3 if noise else 1e-6)
    assert solution.background == pytest.approx(0.0, abs=1.0 if noise else 1e-3)
    assert fitForBackground or solution.background == 0.0


# Hotpants' arrangement: nine stars, constant weights, positions from -1 to 1


def hotpantsCandidates():
    config = PsfMatchConfigAL()
    config.update(kernelSize=SIDE, scaleByFwhm=False, fitForBackground=True, spatialModelType="polynomial")
    config.update(alardNGauss=1, alardSigGauss=[3.0], alardDegGauss=[3], constantVarianceWeighting=True)
    config.update(singleKernelClipping=False)
    template, science, centres = makeNineStars()
    candidates = []
    for x, y in centres:
        box = Box(int(x), int(y), 1, 1).grown(24)
        stamps = template.subset(box), science.subset(box)
        candidates.append(KernelCandidate((x - 96.5) / 96.5, (y - 96.5) / 96.5, *stamps, config))
    return config, candidates, np.asarray(centres)


def monomials(x, y, order):
    return np.array([x ** (n - j) * y**j for n in range(order + 1) for j in range(n + 1)])


@pytest.mark.parametrize(
    ("corner", "kernelOrder", "backgroundOrder"),
    [(150, 0, 0), (90, 0, 0), (90, 1, 0), (90, 0, 1), (90, 1, 1), (0, 0, 2), (0, 2, 0), (0, 2, 2)],
    ids="ABCDEFGH",
)
def test_hotpantsCases(corner, kernelOrder, backgroundOrder):
    """The same cases that hotpants was compared with: all stamps in one least-squares problem, term by term."""
    config, candidates, centres = hotpantsCandidates()
    chosen = [c for c, (x, y) in zip(candidates, centres, strict=True) if x > corner and y > corner]
    assert len(chosen) == {150: 1, 90: 4, 0: 9}[corner]
    config.update(spatialKernelOrder=kernelOrder, spatialBgOrder=backgroundOrder)
    basis = makeKernelBasisList(config)
    BuildSingleKernelVisitor(basis, config).processCandidates(chosen)
    visitor = BuildSpatialKernelVisitor(basis, Box(-1, -1, 3, 3), config)
    visitor.processCandidates(chosen)
    visitor.solveLinearEquation()
    kernel, background = visitor.getSolutionPair()

    rows, data = [], []
    inner = np.s_[SIDE // 2 : -(SIDE // 2), SIDE // 2 : -(SIDE // 2)]
    for candidate in chosen:
        images = [
            correlated(candidate.templateMaskedImage.image.astype(float), image)[inner].ravel() for image in basis
        ]
        terms = monomials(candidate.x, candidate.y, kernelOrder)
        sky = monomials(candidate.x, candidate.y, backgroundOrder)
        columns = [images[0], *(term * image for image in images[1:] for term in terms)]
        rows.append(np.column_stack([*columns, *(np.full(images[0].size, term) for term in sky)]))
        data.append(candidate.scienceMaskedImage.image[inner].astype(float).ravel())
    solution, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(data), rcond=None)
    nTerms = len(terms)
    expected = np.zeros((len(basis), nTerms))
    expected[0, 0] = solution[0]
    expected[1:] = solution[1 : 1 + (len(basis) - 1) * nTerms].reshape(-1, nTerms)
    # Six decimals; the template's pixels are the same float32 for both.
    np.testing.assert_allclose(kernel.spatialParameters, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(background.parameters, solution[-len(sky) :], rtol=0, atol=2e-5)


# The field


@pytest.fixture(scope="module")
def fakes():
    return makeFakeKernelSet(sizeCell=64, seed=6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("AL", {}), ("DF", {"useRegularization": True}), ("DF", {"useRegularization": False})],
    ids=["AL", "DF", "DF without penalty"],
)
@pytest.mark.parametrize("subtractMean", [True, False])
@pytest.mark.parametrize("order", [0, 1])
def test_componentsOfTheField(fakes, name, changes, subtractMean, order):
    """Three principal components make a spatial model of three rows, whose first one does not vary."""
    config = PsfMatchTask.ConfigClass()
    config.kernel.name = name
    config.kernel.active.update(
        kernelSize=11,
        scaleByFwhm=False,
        fitForBackground=True,
        spatialKernelOrder=order,
        spatialBgOrder=order,
        usePcaForSpatialKernel=True,
        subtractMeanForPca=subtractMean,
        numPrincipalComponents=3,
        singleKernelClipping=False,
        kernelSumClipping=False,
        spatialKernelClipping=False,
        **changes,
    )
    task = PsfMatchTask(config=config)
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for x, y in fakes.starCentres:
        box = Box(int(x), int(y), 1, 1).grown(20)
        stamps = fakes.template.subset(box), fakes.science.subset(box)
        cellSet.insertCandidate(KernelCandidate(x, y, *stamps, task.kConfig))
    fit = task._solve(cellSet, makeKernelBasisList(task.kConfig))
    nTerms = (order + 1) * (order + 2) // 2
    assert fit.kernel.spatialParameters.shape == (3, nTerms)
    np.testing.assert_array_equal(fit.kernel.spatialParameters[0, 1:], 0.0)
    assert fit.background.parameters.shape == (nTerms,)
    assert fit.kernel.kernelSum(96, 96) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("model", ["chebyshev1", "polynomial"])
def test_coefficientsOfTheFakeKernelSet(model):
    """Zeros come out as zeros, all other terms by name and to 2 %: the kernel varies over a stamp by as much."""
    fakes = makeFakeKernelSet(addNoise=False, spatialModelType=model)
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(
        alardNGauss=1, alardSigGauss=[2.5], alardDegGauss=[2], scaleByFwhm=False, kernelSize=21,
        spatialModelType=model, spatialKernelOrder=1, spatialBgOrder=0, fitForBackground=True,
        singleKernelClipping=False, kernelSumClipping=False, spatialKernelClipping=False,
    )  # fmt: skip
    result = ImagePsfMatchTask(config=config).subtractMaskedImages(
        fakes.template, fakes.science, fakes.starCentres.astype(float)
    )
    found, truth = result.psfMatchingKernel.spatialParameters, np.asarray(fakes.coefficients)
    assert found.shape == truth.shape == (6, 3)
    np.testing.assert_array_equal(found[truth == 0.0], 0.0)
    np.testing.assert_allclose(found, truth, rtol=0.02)


# The task


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=21, size=(176, 176), brightStars=600, faintStars=0, galaxies=0)


FAMILIES = {
    "AL": ("AL", {}),
    "DF": ("DF", {"useRegularization": False, "usePcaForSpatialKernel": False}),
    "DF with penalty": ("DF", {"useRegularization": True, "usePcaForSpatialKernel": False}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_subtractExposuresOfAShiftedTemplate(pair, family):
    """CRPIX off by one pixel: the template is registered, whatever the basis, and the stars are subtracted."""
    name, changes = FAMILIES[family]
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.name = name
    config.kernel.active.update(kernelSize=11, fitForBackground=True, spatialKernelOrder=0, spatialBgOrder=0, **changes)
    config.kernel.active.update(scaleByFwhm=False, sizeCellX=64, sizeCellY=64, candidateResidualStdMax=2.0)
    shifted = pair.template.copy()
    # One pixel to the right, with a coordinate system that knows of it.
    shifted.maskedImage.image[:] = np.roll(pair.template.image, 1, axis=1)
    shifted.maskedImage.variance[:] = np.roll(pair.template.variance, 1, axis=1)
    np.asarray(shifted.mask)[:] = np.roll(np.asarray(pair.template.mask), 1, axis=1)
    shifted.wcs = pair.template.wcs.deepcopy()
    shifted.wcs.wcs.crpix += np.array([1.0, 0.0])
    result = ImagePsfMatchTask(config=config).subtractExposures(shifted, pair.science, 2.7, 3.9)
    assert isinstance(result.subtractedExposure, Exposure)
    assert isinstance(result.matchedImage, MaskedImage)
    assert isinstance(result.psfMatchingKernel, LinearCombinationKernel)
    assert isinstance(result.backgroundModel, Chebyshev2D | Polynomial2D)
    assert isinstance(result.kernelCellSet, SpatialCellSet)
    np.testing.assert_array_equal(result.warpedExposure.image[:, :-1], pair.template.image[:, :-1])
    strengths = [c.kernelSolution.regularizationStrength for c in result.kernelCellSet if c.isInitialized]
    assert all((s > 0.0) == (family == "DF with penalty") for s in strengths)
    difference = result.subtractedExposure
    good = ~difference.mask.hasAny(("NO_DATA", "EDGE", "BAD", "SAT", "CR"))
    pulls = (difference.image / np.sqrt(difference.variance))[good]
    assert 1.4826 * np.median(np.abs(pulls)) < 1.3


@pytest.mark.parametrize(
    "Task", [PsfMatchTask, ImagePsfMatchTask, ModelPsfMatchTask, SourceDetectionTask, SourceMeasurementTask]
)
def test_defaultConfigurationsAreValid(Task):
    config = Task.ConfigClass()
    config.validate()
    Task(config=config)


def test_growByTenPixelsIsLegal():
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.detectionConfig.fpGrowPix = 10
    config.validate()
