"""B-splines over the field: against scipy, in files, in convolutions, and copied."""

import copy
import pickle

import numpy as np
import pytest
from scipy import interpolate

from psfmatch import LinearCombinationKernel, MaskedImage
from psfmatch.kernels import BSpline2D, backgroundFromTables, spatialFunctionOf

FRAME = (60.0, 40.0, 60.5, 40.5)
KNOTS = [-0.5, 0.1, 0.4]


def axisFunctions(degree, knots, u):
    """1 and 2 C_j - 1, C_j the sum of scipy's B-splines from number j on: (n, u.size)."""
    whole = np.concatenate([np.full(degree + 1, -1.0), knots, np.full(degree + 1, 1.0)])
    n = len(knots) + degree + 1
    sums = [interpolate.BSpline(whole, (np.arange(n) >= j).astype(float), degree)(u) for j in range(1, n)]
    return np.array([np.ones_like(u), *(2.0 * each - 1.0 for each in sums)])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_valuesOfScipy(degree):
    """The sum over products of both coordinates, also beyond the field, where the outer pieces go on."""
    generator = np.random.default_rng(degree)
    nx, ny = len(KNOTS) + degree + 1, degree + 2
    function = BSpline2D(generator.normal(size=nx * ny), degree, KNOTS, [0.2], FRAME)
    x, y = generator.uniform([[-5.0], [-5.0]], [[125.0], [85.0]], (2, 50))
    ofX = axisFunctions(degree, KNOTS, (x - 60.0) / 60.5)
    ofY = axisFunctions(degree, [0.2], (y - 40.0) / 40.5)
    terms = [np.ones(50), *ofX[1:], *ofY[1:], *(a * b for b in ofY[1:] for a in ofX[1:])]
    # Some twenty terms of order one.
    np.testing.assert_allclose(function(x, y), function.parameters @ np.array(terms), rtol=0, atol=1e-11)
    assert function(3.0, 4.0) == pytest.approx(function(np.array([3.0]), 4.0)[0])


def test_copies():
    """Functions and kernels of B-splines pass to other processes, and are equal there."""
    function = BSpline2D(np.arange(20.0), 3, [0.0], [], FRAME)
    kernel = LinearCombinationKernel(np.ones((2, 3, 3)), np.ones((2, 20)), function=function.coreFunction)
    for thing in (function, kernel, function.coreFunction):
        assert pickle.loads(pickle.dumps(thing)) == thing
        assert copy.deepcopy(thing) == thing
    with pytest.raises(ValueError, match="19 parameters for 20 functions of B-splines of degree 3"):
        BSpline2D(np.arange(19.0), 3, [0.0], [], FRAME)
    with pytest.raises(ValueError, match="must rise"):
        BSpline2D(np.arange(9.0), 1, [0.5], [1.5], FRAME)


def test_files(tmp_path):
    """A kernel whose functions are of two kinds, and a background of splines, come back bit for bit."""
    generator = np.random.default_rng(1)
    background = BSpline2D(generator.normal(size=20), 3, [1 / 3], [], FRAME)
    plane = LinearCombinationKernel(np.ones((1, 3, 3)), np.ones((1, 3)), frame=FRAME).coreFunction
    both = plane.joined(BSpline2D(np.ones(2), 0, [1 / 7], [], FRAME).coreFunction)
    kernel = LinearCombinationKernel(generator.normal(size=(2, 3, 5)), generator.normal(size=(2, 4)), function=both)
    kernel.writeFits(tmp_path / "kernel.fits", background)
    assert LinearCombinationKernel.readFits(tmp_path / "kernel.fits") == kernel
    back = backgroundFromTables(kernel.toTables(background))
    assert back == spatialFunctionOf(background.coreFunction, background.parameters)


def test_convolution():
    """A step stands between two pixels: on either side the image is convolved with that side's kernel."""
    generator = np.random.default_rng(2)
    basis = generator.normal(size=(2, 3, 3))
    step = BSpline2D(np.ones(2), 0, [0.25], [], (39.5, 29.5, 40.0, 30.0))
    kernel = LinearCombinationKernel(basis, generator.normal(size=(2, 2)), function=step.coreFunction)
    image = MaskedImage(generator.normal(size=(60, 80)).astype(np.float32))
    found = kernel.convolve(image).image
    for x, columns in ((10.0, slice(1, 50)), (60.0, slice(50, 79))):
        fixed = LinearCombinationKernel(kernel.computeImage(x, 5.0)[np.newaxis], [[1.0]])
        # Sums of nine float32 products of order one.
        np.testing.assert_allclose(found[1:-1, columns], fixed.convolve(image).image[1:-1, columns], rtol=0, atol=1e-5)
