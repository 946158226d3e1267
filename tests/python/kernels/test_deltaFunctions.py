"""Kernels of delta functions: the basis, the penalty on roughness, and what their fits recover."""

import numpy as np
import pytest

from psfmatch import Box, MaskedImage, PsfMatchConfigAL, PsfMatchConfigDF
from psfmatch.fit import BuildSingleKernelVisitor, BuildSpatialKernelVisitor, CandidateStatus, KernelCandidate
from psfmatch.kernels import SolutionSlot, makeKernelBasisList, makeRegularizationMatrix

SIDE = 11


def makeConfig(**changes):
    config = PsfMatchConfigDF()
    settings = {"kernelSize": SIDE, "useRegularization": False, "usePcaForSpatialKernel": False}
    config.update(**settings | changes)
    return config


@pytest.fixture(scope="module")
def plain():
    """Configuration without penalty, components or background."""
    return makeConfig()


def gaussian(sigmaX, sigmaY, half):
    x = np.arange(-half, half + 1)
    image = np.exp(-0.5 * (x / sigmaX) ** 2) * np.exp(-0.5 * (x / sigmaY) ** 2)[:, None]
    return image / image.sum()


def starField(seed=3, half=20, nStars=12):
    """A stamp full of stars, so that every kernel pixel is constrained."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    image = np.full(x.shape, 10.0)
    for starX, starY, flux in generator.uniform((-half, -half, 5e2), (half, half, 5e3), (nStars, 3)):
        image += flux * np.exp(-0.5 * ((x - starX) ** 2 + (y - starY) ** 2) / 1.1**2)
    return image


def correlate(image, kernel):
    """The pixels of the image that a kernel covers, NaN elsewhere."""
    half = kernel.shape[0] // 2
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    return np.pad(np.tensordot(windows, kernel, axes=2), half, constant_values=np.nan)


def candidateOf(template, science, config, variance=1.0, x=50.0, y=50.0):
    science = np.where(np.isfinite(science), science, 0.0)
    images = [MaskedImage(image, variance=np.full(image.shape, variance)) for image in (template, science)]
    return KernelCandidate(x, y, *images, config)


def fit(candidate, config, **options):
    visitor = BuildSingleKernelVisitor(makeKernelBasisList(config), config, makeRegularizationMatrix(config), **options)
    visitor.processCandidate(candidate)
    return candidate.kernelSolution


def test_basisIsOnePixelEach(plain):
    basis = makeKernelBasisList(plain, 2.0, 3.0)
    assert basis.shape == (SIDE**2, SIDE, SIDE)
    for k, image in enumerate(basis):
        assert image[k // SIDE, k % SIDE] == 1.0
        assert np.count_nonzero(image) == 1


def test_evenKernelIsRefused():
    with pytest.raises(ValueError, match="kernelSize is 10"):
        makeKernelBasisList(makeConfig(kernelSize=10))


def test_gaussiansHaveNoPenalty(plain):
    assert makeRegularizationMatrix(PsfMatchConfigAL()) is None
    assert makeRegularizationMatrix(plain) is None


def laplacian(side, stencil, borderPenalty):
    """B of the central difference, from its definition (spec of the stencil by neighbours)."""
    centre, edge, corner = {5: (-4.0, 1.0, 0.0), 9: (-20 / 6, 4 / 6, 1 / 6)}[stencil]
    b = np.zeros((side**2, side**2))
    for y in range(side):
        for x in range(side):
            i = x + y * side
            if x in (0, side - 1) or y in (0, side - 1):
                b[i, i] = borderPenalty
                continue
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    value = {0: centre, 1: edge, 2: corner}[abs(dx) + abs(dy)]
                    b[i, x + dx + (y + dy) * side] = value
    return b


@pytest.mark.parametrize("stencil", [5, 9])
@pytest.mark.parametrize("fitForBackground", [False, True])
def test_centralDifference(stencil, fitForBackground):
    config = makeConfig(
        kernelSize=5,
        useRegularization=True,
        centralRegularizationStencil=stencil,
        regularizationBorderPenalty=1.5,
        fitForBackground=fitForBackground,
    )
    hMat = makeRegularizationMatrix(config)
    b = laplacian(5, stencil, 1.5)
    np.testing.assert_allclose(hMat[:25, :25], b.T @ b, rtol=0, atol=1e-12)
    assert hMat.shape == ((26, 26) if fitForBackground else (25, 25))
    assert not hMat[25:].any()
    assert not hMat[:, 25:].any()


@pytest.mark.parametrize("orders", [[1], [2], [3], [1, 2]])
def test_forwardDifference(orders):
    side, penalty = 5, 2.5
    config = makeConfig(
        kernelSize=side,
        useRegularization=True,
        regularizationType="forwardDifference",
        forwardRegularizationOrders=orders,
        regularizationBorderPenalty=penalty,
    )
    steps = {0: [penalty], 1: [-1.0, 1.0], 2: [-1.0, 2.0, -1.0], 3: [-1.0, 3.0, -3.0, 1.0]}
    b = np.zeros((side**2, side**2))
    for order in orders:
        for y in range(side):
            for x in range(side):
                for distance, step in ((side - 1 - x, 1), (side - 1 - y, side)):
                    for k, value in enumerate(steps[min(distance, order)]):
                        b[x + y * side, x + y * side + k * step] += value
    np.testing.assert_allclose(makeRegularizationMatrix(config), b.T @ b, rtol=0, atol=1e-12)


def test_penaltyOfTheWrongKind(plain):
    basis = makeKernelBasisList(plain)
    with pytest.raises(ValueError, match=r"hMat has shape \(4, 4\)"):
        BuildSingleKernelVisitor(basis, plain, np.eye(4))
    withBackground = makeConfig(fitForBackground=True)
    with pytest.raises(ValueError, match="belong to the background"):
        BuildSingleKernelVisitor(basis, withBackground, np.eye(SIDE**2 + 1))


# What the fits recover


def test_imageAgainstItself(plain):
    image = starField()
    config = makeConfig(fitForBackground=True)
    candidate = candidateOf(image, image.copy(), config)
    assert not candidate.isInitialized
    solution = fit(candidate, config)
    kernel = solution.computeImage()
    delta = np.zeros_like(kernel)
    delta[SIDE // 2, SIDE // 2] = 1.0
    np.testing.assert_allclose(kernel, delta, rtol=0, atol=1e-5)
    assert solution.kernelSum == pytest.approx(1.0, abs=1e-5)
    assert solution.background == pytest.approx(0.0, abs=1e-4 * image.max() / 10)
    assert candidate.status is CandidateStatus.GOOD
    assert candidate.getKernelSolution(SolutionSlot.RECENT) is candidate.getKernelSolution(SolutionSlot.ORIG)
    with pytest.raises(RuntimeError, match="no PCA solution"):
        candidate.getKernelSolution(SolutionSlot.PCA)


@pytest.mark.parametrize(("factor", "offset"), [(2.7, 0.0), (1.0, 11.3)])
def test_scaledImage(factor, offset):
    image = starField()
    config = makeConfig(fitForBackground=True)
    solution = fit(candidateOf(image, factor * image + offset, config), config)
    # Pixels are float32: 1e-7 of 5000 counts over a sky of 10 counts that tells the constant.
    assert solution.kernelSum == pytest.approx(factor, rel=1e-4)
    assert solution.background == pytest.approx(offset, abs=1e-2)


def test_gaussianKernelFromOnePixelOfLight(plain):
    half = 30
    template = np.zeros((2 * half + 1, 2 * half + 1))
    template[half, half] = 1e4
    kernel = gaussian(1.5, 2.0, SIDE // 2)
    candidate = candidateOf(template, correlate(template, kernel), plain, variance=1e-4)
    solution = fit(candidate, plain)
    found = solution.computeImage()
    # One pixel of light in the template shows the kernel mirrored, as float32 pixels: 6e-8 of each.
    np.testing.assert_allclose(found, kernel, rtol=1e-6, atol=1e-10)
    assert solution.kernelSum == pytest.approx(1.0, abs=1e-7)
    assert solution.background == 0.0


def test_skewKernelIsNotMirrored(plain):
    template = starField()
    kernel = gaussian(1.0, 1.6, SIDE // 2)
    kernel[3, 8] += 0.2
    solution = fit(candidateOf(template, correlate(template, kernel), plain), plain)
    # Stars of 5000 counts as float32 (3e-4 counts) over 441 pixels; the kernel's pixels are resolved to 1e-5.
    np.testing.assert_allclose(solution.computeImage(), kernel, rtol=0, atol=2e-5)


def test_penaltySmoothsAndOnlyThat():
    kernel = gaussian(1.2, 1.8, SIDE // 2)
    template = starField()
    noise = np.random.default_rng(5).normal(0.0, 3.0, template.shape)
    science = correlate(template, kernel) + noise
    roughness, errors = [], []
    for lambdaValue in (0.0, 1.0, 100.0):
        config = makeConfig(useRegularization=True, lambdaValue=lambdaValue, singleKernelClipping=False)
        solution = fit(candidateOf(template, science, config, variance=4.5), config)
        image = solution.computeImage()
        hMat = makeRegularizationMatrix(config)
        roughness.append(image.ravel() @ hMat @ image.ravel())
        errors.append(np.abs(image - kernel).max())
        assert solution.regularizationStrength == lambdaValue
        assert solution.kernelSum == pytest.approx(1.0, abs=0.02)
    assert roughness[0] > 3 * roughness[1] > 3 * roughness[2]
    assert errors[1] < 0.5 * errors[0]


def test_regularizedFitIsRidgeRegression():
    config = makeConfig(useRegularization=True, lambdaValue=7.0, fitForBackground=True, singleKernelClipping=False)
    template = starField()
    science = correlate(template, gaussian(1.2, 1.8, SIDE // 2)) + 3.0
    candidate = candidateOf(template, science, config, variance=2.0)
    solution = fit(candidate, config)
    windows = np.lib.stride_tricks.sliding_window_view(
        candidate.templateMaskedImage.image.astype(np.float64), (SIDE, SIDE)
    )
    design = np.column_stack([windows.reshape(-1, SIDE**2), np.ones(windows.shape[0] * windows.shape[1])])
    data = candidate.scienceMaskedImage.image[5:-5, 5:-5].astype(np.float64).ravel()
    # Both variances are 2.
    matrix = design.T @ design / 4.0 + 7.0 * makeRegularizationMatrix(config)
    expected = np.linalg.solve(matrix, design.T @ data / 4.0)
    np.testing.assert_allclose(solution.coefficients, expected[:-1], rtol=0, atol=1e-8)
    assert solution.background == pytest.approx(expected[-1], rel=1e-6)


@pytest.mark.parametrize("lambdaType", ["relative", "minimizeBiasedRisk", "minimizeUnbiasedRisk"])
def test_strengthByRule(lambdaType):
    config = makeConfig(
        useRegularization=True, lambdaType=lambdaType, lambdaScaling=1e-3, lambdaMin=-1.0, lambdaMax=1.0, lambdaStep=0.5
    )
    template = starField()
    noise = np.random.default_rng(5).normal(0.0, 1.0, template.shape)
    candidate = candidateOf(template, correlate(template, gaussian(1.2, 1.8, SIDE // 2)) + noise, config)
    strength = fit(candidate, config).regularizationStrength
    if lambdaType == "relative":
        windows = np.lib.stride_tricks.sliding_window_view(
            candidate.templateMaskedImage.image.astype(np.float64), (SIDE, SIDE)
        )
        trace = (windows**2).sum() / 2.0
        assert strength == pytest.approx(1e-3 * trace / np.trace(makeRegularizationMatrix(config)), rel=1e-9)
    else:
        grid = 10.0 ** np.arange(-1.0, 1.01, 0.5)
        assert np.isclose(strength, grid, rtol=1e-12).any()


@pytest.mark.parametrize("stepType", ["log", "linear"])
def test_gridOfStrengths(stepType):
    """The scan reads lambdaMin, lambdaMax and lambdaStep, with both ends."""
    config = makeConfig(
        useRegularization=True,
        lambdaType="minimizeUnbiasedRisk",
        lambdaStepType=stepType,
        lambdaMin=0.3,
        lambdaMax=0.3,
        lambdaStep=0.1,
    )
    template = starField()
    solution = fit(candidateOf(template, correlate(template, gaussian(1.2, 1.8, SIDE // 2)), config), config)
    assert solution.regularizationStrength == pytest.approx(10**0.3 if stepType == "log" else 0.3, rel=1e-12)


@pytest.mark.parametrize("regularized", [False, True])
def test_visitorsOnOneBasis(regularized):
    config = makeConfig(useRegularization=regularized)
    template = starField()
    candidates = [
        candidateOf(template, correlate(template, gaussian(width, 1.6, SIDE // 2)), config, x=x)
        for width, x in ((1.0, 20.0), (1.2, 50.0), (1.4, 80.0))
    ]
    visitor = BuildSingleKernelVisitor(makeKernelBasisList(config), config, makeRegularizationMatrix(config))
    visitor.processCandidates(candidates)
    assert (visitor.nProcessed, visitor.nRejected) == (3, 0)
    for candidate in candidates:
        assert candidate.getKernelSolution(SolutionSlot.RECENT) is candidate.getKernelSolution(SolutionSlot.ORIG)
        with pytest.raises(RuntimeError, match="no PCA solution"):
            candidate.getKernelSolution(SolutionSlot.PCA)
    visitor.reset()
    visitor.processCandidates(candidates)
    assert visitor.nProcessed == 0


# The spatial fit


def spatialCandidates(config, truth):
    template = starField()
    candidates = []
    for x in (10.0, 50.0, 90.0):
        for y in (10.0, 50.0, 90.0):
            candidates.append(candidateOf(template, correlate(template, truth(x, y)), config, x=x, y=y))
    return candidates


def test_spatialFitOfDeltaFunctions(plain):
    def truth(x, y):
        return gaussian(1.3, 1.7, SIDE // 2) * (1 + 0.002 * x) + 0.001 * y * gaussian(2.0, 1.0, SIDE // 2)

    config = makeConfig(spatialKernelOrder=1)
    candidates = spatialCandidates(config, truth)
    basis = makeKernelBasisList(config)
    BuildSingleKernelVisitor(basis, config).processCandidates(candidates)
    visitor = BuildSpatialKernelVisitor(basis, Box(0, 0, 100, 100), config)
    visitor.processCandidates(candidates)
    visitor.solveLinearEquation()
    kernel, _ = visitor.getSolutionPair()
    # Every coefficient varies: delta functions have no first term that carries the flux alone.
    assert kernel.spatialParameters.shape == (SIDE**2, 3)
    for x, y in ((30.0, 70.0), (95.0, 5.0)):
        np.testing.assert_allclose(kernel.computeImage(x, y), truth(x, y), rtol=0, atol=5e-5)


def test_spatialFitUsesThePenalty():
    config = makeConfig(spatialKernelOrder=0, useRegularization=True, lambdaValue=50.0, singleKernelClipping=False)
    noise = np.random.default_rng(8)
    template = starField()
    candidates = [
        candidateOf(
            template,
            correlate(template, gaussian(1.3, 1.7, SIDE // 2)) + noise.normal(0, 2.0, template.shape),
            config,
            x=x,
        )
        for x in (20.0, 70.0)
    ]
    basis, hMat = makeKernelBasisList(config), makeRegularizationMatrix(config)
    BuildSingleKernelVisitor(basis, config, hMat).processCandidates(candidates)
    visitor = BuildSpatialKernelVisitor(basis, Box(0, 0, 100, 100), config, hMat)
    visitor.processCandidates(candidates)
    visitor.solveLinearEquation()
    kernel, _ = visitor.getSolutionPair()
    matrix, rightHandSide = np.zeros((SIDE**2, SIDE**2)), np.zeros(SIDE**2)
    for candidate in candidates:
        windows = np.lib.stride_tricks.sliding_window_view(
            candidate.templateMaskedImage.image.astype(np.float64), (SIDE, SIDE)
        )
        design = windows.reshape(-1, SIDE**2)
        data = candidate.scienceMaskedImage.image[5:-5, 5:-5].astype(np.float64).ravel()
        matrix += design.T @ design / 2.0 + 50.0 * hMat
        rightHandSide += design.T @ data / 2.0
    expected = np.linalg.solve(matrix, rightHandSide)
    np.testing.assert_allclose(kernel.computeImage(0, 0).ravel(), expected, rtol=0, atol=1e-8)
