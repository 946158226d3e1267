"""Bindings of the delta-function fits: basis, regularisation, fits from stamps, principal components."""

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.errors import KernelSolutionError

side = 5
stampSide = 21
function = _core.SpatialFunction(_core.SpatialModel.chebyshev1, 1, _core.frameOf(0, 0, 500, 400))
constantFunction = _core.SpatialFunction(_core.SpatialModel.chebyshev1, 0, _core.frameOf(0, 0, 500, 400))


def fitControl(**changes):
    options = {
        "fitBackground": True,
        "constantVariance": False,
        "iterate": False,
        "zeroWeightBadPixels": True,
        "coreRadius": 3,
        "checkConditionNumber": False,
        "maxConditionNumber": 5e6,
        "conditionNumberType": _core.ConditionNumberType.eigenvalue,
    }
    return _core.CandidateFitControl(**{**options, **changes})


def makeStamps(count, seed=1):
    """Return noisy template and science stamps; the science star is shifted by one pixel and 1.5 times as bright."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:stampSide, :stampSide] - stampSide // 2
    templates, sciences = [], []
    for _ in range(count):
        dy, dx = random.uniform(-0.5, 0.5, 2)
        for stamps, shift, flux in ((templates, 0, 1.0), (sciences, 1, 1.5)):
            star = 1000 * flux * np.exp(-0.5 * ((x - dx - shift) ** 2 + (y - dy) ** 2) / 1.2**2)
            image = (star + random.normal(0, 2, star.shape)).astype(np.float32)
            stamps.append((image, np.full_like(image, 4.0), np.zeros(image.shape, np.int32), 0))
    return [_core.StampPair(*pair) for pair in zip(templates, sciences, strict=True)]


@pytest.fixture(scope="module")
def basis():
    return _core.PreparedBasis(_core.makeDeltaFunctionBasis(side, side))


@pytest.fixture(scope="module")
def stamps():
    return makeStamps(20)


@pytest.fixture(scope="module")
def penalty():
    return _core.makeRegularizationMatrix(side, side, kind=_core.RegularizationKind.centralDifference)


def test_basis():
    basis = _core.makeDeltaFunctionBasis(3, 4)
    assert basis.shape == (12, 4, 3)
    for k, image in enumerate(basis):
        assert image.sum() == 1.0
        assert image[k // 3, k % 3] == 1.0
    with pytest.raises(ValueError, match="0x3 pixels; both sides must be at least 1"):
        _core.makeDeltaFunctionBasis(0, 3)


def test_preparedBasisIsRecognised(basis):
    assert basis.isDeltaFunction
    assert not basis.isSeparable
    assert not _core.PreparedBasis(2 * _core.makeDeltaFunctionBasis(3, 3)).isDeltaFunction


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stencil": 1}, "stencil of 5 or 9 points, not 1"),
        ({"borderPenalty": -1.0}, r"border penalty of the regularisation is -1\.0+, must be at least 0"),
        ({"kind": _core.RegularizationKind.forwardDifference, "orders": [0]}, "orders 1 to 3, not 0"),
        ({"kind": _core.RegularizationKind.forwardDifference, "orders": [4]}, "orders 1 to 3, not 4"),
        ({"kind": _core.RegularizationKind.forwardDifference, "orders": []}, "at least one order"),
    ],
)
def test_regularizationMatrixErrors(options, match):
    with pytest.raises(ValueError, match=match):
        _core.makeRegularizationMatrix(5, 5, **{"kind": _core.RegularizationKind.centralDifference, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"stencil": 5},
        {"stencil": 9, "borderPenalty": 0.0},
        {"kind": _core.RegularizationKind.forwardDifference, "orders": [1]},
        {"kind": _core.RegularizationKind.forwardDifference, "orders": [1, 2]},
    ],
)
def test_regularizationMatrixIsSymmetricAndSemidefinite(options):
    matrix = _core.makeRegularizationMatrix(5, 4, **{"kind": _core.RegularizationKind.centralDifference, **options})
    assert matrix.shape == (20, 20)
    np.testing.assert_array_equal(matrix, matrix.T)
    # Rounding of eigenvalues of order 100.
    assert np.linalg.eigvalsh(matrix)[0] > -1e-12


def test_regularizationErrors(basis, stamps):
    with pytest.raises(ValueError, match="no value to be chosen from"):
        _core.Regularization(np.eye(25), lambdaType=_core.LambdaType.minimizeBiasedRisk)
    with pytest.raises(ValueError, match=r"lambdaValue of the regularisation is -1\.0+"):
        _core.Regularization(np.eye(25), lambdaValue=-1.0)
    with pytest.raises(ValueError, match="24x24 for 25 basis functions"):
        _core.fitCandidates(stamps, basis, fitControl(), regularization=_core.Regularization(np.eye(24)))


def test_regularizedFit(basis, stamps, penalty):
    control = fitControl()
    regularization = _core.Regularization(penalty, lambdaValue=30.0)
    fit = _core.fitCandidates(stamps, basis, control, regularization=regularization)[0]
    plain = _core.fitCandidates(stamps, basis, control)[0]
    assert fit.regularizationStrength == 30.0
    assert plain.regularizationStrength == 0.0
    # The equations are kept without regularisation.
    np.testing.assert_array_equal(fit.matrix, plain.matrix)
    matrix = fit.matrix.copy()
    matrix[:25, :25] += 30.0 * penalty
    expected = np.linalg.solve(matrix, fit.rightHandSide)
    # Condition numbers of some 1e5.
    np.testing.assert_allclose(fit.coefficients, expected[:25], atol=1e-10)
    assert fit.background == pytest.approx(expected[25], abs=1e-8)


@pytest.mark.parametrize("name", list(_core.LambdaType.__members__))
def test_everyLambdaType(basis, stamps, penalty, name):
    lambdas = list(np.logspace(-1, 2, 31))
    regularization = _core.Regularization(penalty, lambdaType=_core.LambdaType[name], lambdas=lambdas)
    fit = _core.fitCandidates(stamps, basis, fitControl(), regularization=regularization)[0]
    assert fit.outcome is _core.CandidateOutcome.solved
    expected = {"absolute": 0.2, "relative": 1e-4 * np.trace(fit.matrix) / np.trace(penalty)}
    if name in expected:
        assert fit.regularizationStrength == pytest.approx(expected[name], rel=1e-12)
    else:
        assert fit.regularizationStrength in lambdas


def spatialFit(stamps, basis, control, **options):
    x = np.linspace(10, 490, len(stamps))
    y = 200 + 180 * np.sin(x)
    return _core.solveSpatialKernelFromStamps(
        stamps,
        basis,
        control,
        x,
        y,
        function,
        constantFunction,
        constantFirstTerm=False,
        conditionNumberType=_core.ConditionNumberType.eigenvalue,
        **options,
    )


@pytest.mark.parametrize("iterate", [False, True])
def test_spatialFitFromStampsEqualsThatFromEquations(basis, stamps, penalty, iterate):
    control = fitControl(iterate=iterate, covariance=True)
    regularization = _core.Regularization(penalty, lambdaType=_core.LambdaType.relative)
    fits = _core.fitCandidates(stamps, basis, control, regularization=regularization)
    strengths = [fit.regularizationStrength for fit in fits]
    padded = np.zeros((26, 26))
    padded[:25, :25] = penalty
    x = np.linspace(10, 490, len(fits))
    kept = _core.solveSpatialKernel(
        [fit.matrix + strength * padded for fit, strength in zip(fits, strengths, strict=True)],
        [fit.rightHandSide for fit in fits],
        x,
        200 + 180 * np.sin(x),
        25,
        function,
        constantFunction,
        constantFirstTerm=False,
        conditionNumberType=_core.ConditionNumberType.eigenvalue,
        noiseMatrices=[fit.noiseMatrix for fit in fits],
    )
    small = fitControl(iterate=iterate, covariance=True, keepEquations=False)
    rebuilt = spatialFit(stamps, basis, small, regularization=regularization, strengths=strengths)
    assert rebuilt.nUnknowns == 76
    assert rebuilt.covariance.shape == (76, 76)
    # Sums run in another order; condition numbers are some 1e5.
    np.testing.assert_allclose(rebuilt.kernelParameters, kept.kernelParameters, atol=1e-10)
    np.testing.assert_allclose(rebuilt.backgroundParameters, kept.backgroundParameters, atol=1e-8)
    np.testing.assert_allclose(rebuilt.covariance, kept.covariance, atol=1e-9 * kept.covariance.max())
    assert rebuilt.conditionNumber == pytest.approx(kept.conditionNumber, rel=1e-8)
    chosen = spatialFit(stamps, basis, small, regularization=regularization)
    np.testing.assert_array_equal(chosen.kernelParameters, rebuilt.kernelParameters)


def test_spatialFitFromStampsIsTheSameForAnyNumberOfThreads(basis, stamps, penalty):
    regularization = _core.Regularization(penalty)
    one, three = (
        spatialFit(stamps, basis, fitControl(covariance=True), regularization=regularization, nThreads=n)
        for n in (1, 3)
    )
    for name in ("kernelParameters", "backgroundParameters", "covariance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_spatialFitFromStampsErrors(basis, stamps):
    with pytest.raises(ValueError, match="strengths of a regularisation that is not given"):
        spatialFit(stamps, basis, fitControl(), strengths=[1.0] * 20)
    with pytest.raises(ValueError, match="goes with candidates fitted with a background"):
        spatialFit(stamps, basis, fitControl(fitBackground=False))
    with pytest.raises(KernelSolutionError, match="no candidate"):
        spatialFit([], basis, fitControl())


def test_equationsAreKeptOnDemand(basis, stamps):
    fit = _core.fitCandidates(stamps, basis, fitControl(keepEquations=False, covariance=True))[0]
    assert fit.matrix.size == fit.rightHandSide.size == fit.noiseMatrix.size == 0
    assert fit.covariance.shape == (26, 26)
    assert _core.fitCandidates(stamps, basis, fitControl())[0].covariance.size == 0


def test_principalComponents():
    image = np.outer(np.arange(5.0), np.ones(3))
    shape = image / np.linalg.norm(image)
    values, images = _core.principalComponents(np.stack([shape, 2 * shape, 3 * shape]))
    np.testing.assert_allclose(values, [14 / 3, 0, 0], atol=1e-14)
    np.testing.assert_allclose(images[0], image / 4, atol=1e-14)
    assert not images[1:].any()
    with pytest.raises(ValueError, match="principal components of no image"):
        _core.principalComponents(np.empty((0, 3, 3)))
    with pytest.raises(ValueError, match="not 2 dimensions"):
        _core.principalComponents(image)
