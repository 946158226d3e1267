"""The spatial system of pixel regions as Python sees it; its mathematics is tested in C++."""

import pickle

import numpy as np
import pytest

from psfmatch import _core
from psfmatch.errors import KernelSolutionError

N_REGIONS, N_IMAGES, N_FOLDS = 40, 5, 4
FUNCTION = _core.SpatialFunction(_core.SpatialModel.polynomial, 3, _core.Frame())
MODEL = _core.SpatialModelOptions((0, 1, 2, 3, 4), FUNCTION.ofOrder(1), FUNCTION.ofOrder(2), 0.0, 0.0)


def makeSystem(threads=1, broken=False):
    """Regions of 60 pixels without structure, whose data follow a model of the orders 1 and 2."""
    generator = np.random.default_rng(1)
    x, y = generator.uniform(-1, 1, (2, N_REGIONS))
    terms = FUNCTION.evaluate(x, y)
    columns = generator.normal(size=(N_REGIONS, N_IMAGES + 1, 60))
    columns[:, -1] = 1.0
    weights = generator.uniform(0.5, 2.0, (N_REGIONS, 60))
    kernel, background = generator.normal(size=(N_IMAGES, 3)), generator.normal(size=6)
    kernel[0, 1:] = 0.0
    values = np.column_stack([terms[:, :3] @ kernel.T, terms[:, :6] @ background])
    data = np.einsum("tn,tnk->tk", values, columns)
    matrices = np.einsum("tik,tk,tjk->tij", columns, weights, columns)
    if broken:
        matrices[0, 0, 0] = np.nan
    equations = _core.StampEquations(
        matrices, np.einsum("tik,tk->ti", columns, weights * data), (weights * data**2).sum(axis=1), np.zeros(N_REGIONS)
    )
    images = generator.normal(size=(N_IMAGES, 5, 5))
    folds = np.arange(N_REGIONS) % N_FOLDS
    system = _core.SpatialSystem(equations, x, y, folds, FUNCTION, images, 0.35, nThreads=threads)
    return system, (kernel, background)


def test_exactData():
    """Data that follow a model are solved for it, whatever is left out, and leave no chi-square."""
    system, (kernel, background) = makeSystem()
    assert system.nFolds == N_FOLDS
    some = np.arange(N_REGIONS) % N_FOLDS == 3
    for without in (None, some):
        solution = system.solve(MODEL, without=without)
        # The ridge of 1e-10 pulls; the second solution squares what is left of it.
        np.testing.assert_allclose(solution.kernel, kernel, rtol=0, atol=1e-8)
        np.testing.assert_allclose(solution.background, background, rtol=0, atol=1e-8)
        assert np.isnan(solution.conditionNumber)
        assert solution.kernelCovariance is None
    solution = system.solve(MODEL, withCovariance=True)
    assert solution.kernelCovariance.shape == (15, 15)
    assert solution.backgroundCovariance.shape == (6, 6)
    assert solution.kernelSumError == pytest.approx(np.sqrt(solution.kernelCovariance[0, 0]))
    coefficients, backgrounds, chiSquares = system.heldOut(MODEL)
    assert abs(chiSquares).max() < 1e-8
    np.testing.assert_array_equal(system.chiSquares(coefficients, backgrounds), chiSquares)
    # Nothing may vary too little: an order less leaves residuals.
    assert system.heldOut(MODEL.replaced(kernelOrder=0))[2].sum() > 10.0
    assert system.lightGain(solution) > 100.0


def test_heldOut():
    """Each region under the solution without its fold, the same on any number of threads."""
    system, _ = makeSystem()
    model = MODEL.replaced(kernelOrder=2, variationScale=0.1, widthScale=0.1)
    coefficients, backgrounds, chiSquares = system.heldOut(model)
    folds = np.arange(N_REGIONS) % N_FOLDS
    for fold in range(N_FOLDS):
        inside = folds == fold
        alone = system.at(system.solve(model, without=inside))
        np.testing.assert_allclose(coefficients[inside], alone[0][inside], rtol=0, atol=1e-9)
        np.testing.assert_allclose(backgrounds[inside], alone[1][inside], rtol=0, atol=1e-9)
    for one, two in zip(makeSystem(threads=2)[0].heldOut(model), (coefficients, backgrounds, chiSquares), strict=True):
        np.testing.assert_array_equal(one, two)


def test_refusals():
    broken, _ = makeSystem(broken=True)
    with pytest.raises(KernelSolutionError, match=r"19 unknowns .* from 40 stamps.*hold NaN"):
        broken.solve(MODEL)
    system, _ = makeSystem()
    with pytest.raises(ValueError, match="not all among those of the system, of order 3"):
        system.solve(MODEL.replaced(kernelOrder=4))
    with pytest.raises(ValueError, match="one flag for each of 40 stamps"):
        system.solve(MODEL, without=np.zeros(3, dtype=bool))


def test_models():
    """A model is a value: equal, hashed and pickled by its fields, and changed into another."""
    other = MODEL.replaced(widthScale=0.1, images=(0, 2))
    assert (other.images, other.kernelOrder, other.backgroundOrder) == ((0, 2), 1, 2)
    assert (other.shapeScale, other.variationScale, other.widthScale) == (0.0, 0.0, 0.1)
    assert other.whole == FUNCTION.ofOrder(2)
    assert other.nParameters == 1 + 3 + 6
    same = other.replaced(widthScale=0.0, images=MODEL.images)
    assert same == MODEL
    assert hash(same) == hash(MODEL)
    assert other != MODEL
    assert pickle.loads(pickle.dumps(other)) == other
    assert repr(other).startswith("SpatialModelOptions((0, 2), SpatialFunction('polynomial', (1.0,")
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        MODEL.replaced(order=3)


def test_imagesOfLowerDegrees():
    """A tuple, as the model takes it; the rule is tested in C++."""
    assert _core.alardLuptonImages((2, 0), (2, 1)) == (0, 1, 2, 3, 4, 5, 6)
    with pytest.raises(ValueError, match="degree 3 of Gaussian 0 is not between 0 and 2"):
        _core.alardLuptonImages((3, 0), (2, 1))
