"""The spatial system of pixel regions against the same system, put together by plain loops over regions and terms."""

from dataclasses import replace

import numpy as np
import pytest

from psfmatch import KernelSolutionError
from psfmatch.regions import RegionSystem, SpatialModel
from psfmatch.regions.prior import wideningOf
from psfmatch.regions.system import ORDER_DECAY, RIDGE, degreesOf, nTerms

N_REGIONS, N_IMAGES, MAX_ORDER, N_FOLDS, NORM = 40, 5, 3, 4, 0.35


def polynomials(x, y, order):
    return np.array([x ** (degree - k) * y**k for degree in range(order + 1) for k in range(degree + 1)])


def basisImages():
    """Five images of 5x5 pixels of which only the first has a sum."""
    images = np.random.default_rng(3).normal(size=(N_IMAGES, 5, 5))
    images[1:] -= images[1:].mean(axis=(1, 2), keepdims=True)
    images[0] /= images[0].sum()
    return images


def makeSystem(noise=0.0, exact=False, seed=1):
    """Regions of 60 pixels without structure; `exact`: their data follow a model of orders 1 and 2."""
    generator = np.random.default_rng(seed)
    x, y = generator.uniform(-1, 1, (2, N_REGIONS))
    terms = polynomials(x, y, MAX_ORDER)
    columns = generator.normal(size=(N_REGIONS, N_IMAGES + 1, 60))
    columns[:, -1] = 1.0
    weights = generator.uniform(0.5, 2.0, (N_REGIONS, 60))
    data = generator.normal(size=(N_REGIONS, 60))
    truth = None
    if exact:
        kernel = generator.normal(size=(N_IMAGES, 3))
        kernel[0, 1:] = 0.0
        background = generator.normal(size=6)
        truth = kernel, background
        values = np.vstack([kernel @ terms[:3], background @ terms[:6]])
        data = np.einsum("nt,tnk->tk", values, columns)
    matrices = np.einsum("tik,tk,tjk->tij", columns, weights, columns)
    sides = np.einsum("tik,tk,tk->ti", columns, weights, data)
    squares = (weights * data**2).sum(axis=1)
    spread = noise * generator.uniform(0.5, 1.5, N_REGIONS)
    folds = np.arange(N_REGIONS) % N_FOLDS
    system = RegionSystem(matrices, sides, squares, spread, folds, terms, basisImages(), NORM)
    return system, truth, (columns, weights, data)


def bruteForce(system, model, regions):
    """Solve for the free parameters (kernel sum; other images, term by term; background) of some regions."""
    p, q, m = nTerms(model.kernelOrder), nTerms(model.backgroundOrder), len(model.images)
    parameters = [(model.images[0], 0)]
    parameters += [(image, term) for image in model.images[1:] for term in range(p)]
    parameters += [(system.n, term) for term in range(q)]
    size = len(parameters)
    assert size == model.nParameters == 1 + (m - 1) * p + q
    matrix, noise, prior, side = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)
    for region in regions:
        for a, (i, s) in enumerate(parameters):
            side[a] += system.terms[s, region] * system.rightHandSides[region, i]
            for b, (j, t) in enumerate(parameters):
                pair = system.terms[s, region] * system.terms[t, region]
                matrix[a, b] += pair * system.matrices[region, i, j]
                if i < system.n and j < system.n:
                    noise[a, b] += pair * system.noise[region] * (system.basisList[i] * system.basisList[j]).sum()
    gram = np.einsum("iyx,jyx->ij", system.basisList, system.basisList)
    others = list(model.images[1:])
    for term, degree in enumerate(degreesOf(model.kernelOrder).tolist()):
        scale = model.shapeScale if degree == 0 else model.variationScale * ORDER_DECAY ** (degree - 1)
        if scale > 0 and others:
            covariance = scale**2 * np.linalg.inv(gram[np.ix_(others, others)])
            if degree > 0:
                constant = system.solve(replace(model, kernelOrder=0, backgroundOrder=0)).kernel[:, 0]
                widening = wideningOf(constant[list(model.images)], system.basisList[list(model.images)])[1:]
                covariance += (model.widthScale * ORDER_DECAY ** (degree - 1)) ** 2 * np.outer(widening, widening)
            rows = [parameters.index((image, term)) for image in others]
            prior[np.ix_(rows, rows)] = np.linalg.inv(covariance) / NORM**2
    penalised = matrix + prior
    penalised += RIDGE * np.diag(np.diag(penalised))
    first = np.linalg.solve(penalised, side)
    values = first + np.linalg.solve(penalised, side + noise @ first - penalised @ first)
    kernel, background = np.zeros((system.n, p)), np.zeros(q)
    for value, (i, s) in zip(values, parameters, strict=True):
        if i == system.n:
            background[s] = value
        else:
            kernel[i, s] = value
    inverse = np.linalg.inv(penalised)
    return kernel, background, inverse @ matrix @ inverse


MODELS = [
    SpatialModel((0, 1, 2, 3, 4), 2, 1, 1.0, 0.1),
    SpatialModel((0, 1, 2, 3, 4), 2, 1, 1.0, 0.01, 0.2),
    SpatialModel((0, 2, 4), 3, 0, 1.0, 0.03, 0.03),
    SpatialModel((0, 1, 2, 3, 4), 0, 3, 0.3, 0.0),
    SpatialModel((0, 2, 4), 3, 0, 0.0, 0.03),
    SpatialModel((0,), 1, 0, 1.0, 1.0),
    SpatialModel((0, 1, 2, 3, 4), 1, 2, 0.0, 0.0),
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_solveBruteForce(model, noise):
    """All regions, and all but a fold: solutions of well-conditioned systems of numbers about 1."""
    system, _, _ = makeSystem(noise)
    for without in (None, 2):
        regions = [k for k in range(N_REGIONS) if without is None or system.folds[k] != without]
        kernel, background, covariance = bruteForce(system, model, regions)
        solution = system.solve(model, without=without, withCovariance=True)
        np.testing.assert_allclose(solution.kernel, kernel, rtol=0, atol=1e-9)
        np.testing.assert_allclose(solution.background, background, rtol=0, atol=1e-9)
        q = background.size
        np.testing.assert_allclose(solution.backgroundCovariance, covariance[-q:, -q:], rtol=0, atol=1e-9)
        assert solution.kernelSumError == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-8)
        assert solution.conditionNumber >= 1.0


def test_exactData():
    """Data that follow a model are solved for it, whatever is left out, and leave no chi-square."""
    system, (kernel, background), _ = makeSystem(exact=True)
    model = SpatialModel((0, 1, 2, 3, 4), 1, 2, 0.0, 0.0)
    for without in (None, 0, 3):
        solution = system.solve(model, without=without)
        # The ridge of 1e-10 pulls; the second solution squares what is left of it.
        np.testing.assert_allclose(solution.kernel, kernel, rtol=0, atol=1e-8)
        np.testing.assert_allclose(solution.background, background, rtol=0, atol=1e-8)
    assert abs(system.chiSquares(*system.heldOut(model))).max() < 1e-8
    # Nothing may vary too little: an order less leaves residuals.
    assert system.chiSquares(*system.heldOut(replace(model, kernelOrder=0))).sum() > 10.0


def test_heldOutIsWithoutTheFold():
    """Each region under the solution of a system that never held its fold."""
    system, _, _ = makeSystem(noise=2.0)
    model = MODELS[0]
    coefficients, backgrounds = system.heldOut(model)
    for fold in range(N_FOLDS):
        inside, kept = system.folds == fold, system.folds != fold
        fewer = RegionSystem(
            system.matrices[kept],
            system.rightHandSides[kept],
            system.squares[kept],
            system.noise[kept],
            np.zeros(kept.sum(), dtype=np.int64),
            system.terms[:, kept],
            system.basisList,
            NORM,
        ).solve(model)
        ownCoefficients, ownBackgrounds = system.at(fewer, np.flatnonzero(inside))
        np.testing.assert_allclose(coefficients[inside], ownCoefficients, rtol=0, atol=1e-9)
        np.testing.assert_allclose(backgrounds[inside], ownBackgrounds, rtol=0, atol=1e-9)
    # And it is not the solution of all.
    assert abs(coefficients - system.at(system.solve(model))[0]).max() > 1e-3


def test_chiSquaresBruteForce():
    system, _, (columns, weights, data) = makeSystem()
    generator = np.random.default_rng(8)
    coefficients, backgrounds = generator.normal(size=(N_REGIONS, N_IMAGES)), generator.normal(size=N_REGIONS)
    model = np.einsum("ti,tik->tk", np.column_stack([coefficients, backgrounds]), columns)
    expected = (weights * (data - model) ** 2).sum(axis=1)
    np.testing.assert_allclose(system.chiSquares(coefficients, backgrounds), expected, rtol=1e-11)
    some = np.array([3, 17])
    np.testing.assert_allclose(
        system.chiSquares(coefficients[some], backgrounds[some], some), expected[some], rtol=1e-11
    )


def test_lightGainBruteForce():
    """Chi-square of the best background alone, less that of the solution."""
    system, _, (columns, weights, data) = makeSystem(noise=1.0)
    solution = system.solve(MODELS[0])
    assert solution.background.size == 3
    root = np.sqrt(weights)
    design = np.repeat(system.terms[:3].T, data.shape[1], axis=0) * root.ravel()[:, None]
    wanted = (root * data).ravel()
    left = wanted - design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
    values = np.column_stack(system.at(solution))
    chiSquare = (weights * (data - np.einsum("ti,tik->tk", values, columns)) ** 2).sum()
    assert system.lightGain(solution) == pytest.approx((left**2).sum() - chiSquare, rel=1e-9)


def test_orderOfRegions():
    """Regions in another sequence, folds with them, have the same solution but for rounding."""
    system, _, _ = makeSystem(noise=1.0)
    order = np.random.default_rng(2).permutation(N_REGIONS)
    shuffled = RegionSystem(
        system.matrices[order],
        system.rightHandSides[order],
        system.squares[order],
        system.noise[order],
        system.folds[order],
        system.terms[:, order],
        system.basisList,
        NORM,
    )
    np.testing.assert_allclose(shuffled.solve(MODELS[0]).kernel, system.solve(MODELS[0]).kernel, rtol=0, atol=1e-11)
    np.testing.assert_allclose(shuffled.heldOut(MODELS[0])[0], system.heldOut(MODELS[0])[0][order], rtol=0, atol=1e-10)


def test_refolded():
    """Other folds change what is held out, not what all regions say."""
    system, _, _ = makeSystem()
    other = system.refolded(np.arange(N_REGIONS) // 20)
    assert other.nFolds == 2
    np.testing.assert_allclose(other.solve(MODELS[0]).kernel, system.solve(MODELS[0]).kernel, rtol=0, atol=1e-11)
    kernel, _, _ = bruteForce(system, MODELS[0], range(20))
    np.testing.assert_allclose(other.solve(MODELS[0], without=1).kernel, kernel, rtol=0, atol=1e-9)


def test_prior():
    """A tight prior holds the shape at the first image, and the variation at none; the sum is free of it."""
    system, _, _ = makeSystem(exact=True)
    free = SpatialModel((0, 1, 2, 3, 4), 1, 2, 0.0, 0.0)
    still = system.solve(replace(free, variationScale=1e-6)).kernel
    assert abs(still[:, 1:]).max() < 1e-6
    assert abs(still[1:, 0]).max() > 0.1
    point = system.solve(replace(free, shapeScale=1e-6, variationScale=1e-6)).kernel
    assert abs(point[1:]).max() < 1e-6
    assert point[0, 0] != 0.0


def test_singularSystem():
    """An image that no region has takes no part; pixels that are not finite are an error."""
    system, _, _ = makeSystem()
    matrices, sides = system.matrices.copy(), system.rightHandSides.copy()
    matrices[:, 3] = matrices[:, :, 3] = sides[:, 3] = 0.0
    hollow = RegionSystem(
        matrices, sides, system.squares, system.noise, system.folds, system.terms, system.basisList, NORM
    )
    solution = hollow.solve(MODELS[-1])
    without = hollow.solve(replace(MODELS[-1], images=(0, 1, 2, 4)))
    assert abs(solution.kernel[3]).max() < 1e-12
    np.testing.assert_allclose(solution.kernel, without.kernel, rtol=0, atol=1e-9)
    sides[0, 0] = np.nan
    matrices[0, 0, 0] = np.nan
    broken = RegionSystem(
        matrices, sides, system.squares, system.noise, system.folds, system.terms, system.basisList, NORM
    )
    with pytest.raises(KernelSolutionError, match="could not be solved from 40 regions"):
        broken.solve(MODELS[0])


def test_terms():
    assert [nTerms(order) for order in range(4)] == [1, 3, 6, 10]
    assert degreesOf(2).tolist() == [0, 1, 1, 2, 2, 2]
    assert SpatialModel((0, 1), 1, 2, 1.0, 1.0).nParameters == 1 + 3 + 6


def noisyTemplate(generator, nRegions=24, side=24):
    """Regions of Gaussian light whose template is as noisy as the science image; the true kernel is the first image."""
    images = np.zeros((3, 3, 3))
    images[0, 1, 1] = 1.0
    images[1, 1, [0, 2]], images[2, [0, 2], 1] = [-1.0, 1.0], [-1.0, 1.0]
    y, x = np.mgrid[:side, :side] - side / 2
    star = 100.0 * np.exp(-0.5 * (x**2 + y**2) / 2.0**2)
    matrices, sides = np.zeros((nRegions, 4, 4)), np.zeros((nRegions, 4))
    for k in range(nRegions):
        template = star + generator.normal(0, 10, star.shape)
        science = (star + generator.normal(0, 10, star.shape))[1:-1, 1:-1].ravel()
        columns = [sum(image[v, u] * template[v : side - 2 + v, u : side - 2 + u] for v in range(3) for u in range(3))
                   for image in images]  # fmt: skip
        columns = np.array([column.ravel() for column in columns] + [np.ones(science.size)])
        matrices[k], sides[k] = columns @ columns.T / 200.0, columns @ science / 200.0
    noise = np.full(nRegions, (side - 2) ** 2 * 100.0 / 200.0)
    terms = np.ones((1, nRegions))
    folds = np.arange(nRegions) % 4
    return [RegionSystem(matrices, sides, np.zeros(nRegions), n, folds, terms, images, 1.0) for n in (noise, 0 * noise)]


def test_noiseOfTheTemplate():
    """A template as noisy as the science image pulls the kernel sum down; with its noise known it does so no more.

    Ordinary least squares loses the share r of the noise in the template's power; the second solve leaves r^2 of it.
    """
    model = SpatialModel((0, 1, 2), 0, 0, 0.0, 0.0)
    generator = np.random.default_rng(5)
    found = np.array([[s.solve(model).kernel[0, 0] for s in noisyTemplate(generator)] for _ in range(12)])
    pixels, sky = 22 * 22, 100.0
    # Power of the star about its mean, that of the noise beside it.
    y, x = np.mgrid[1:23, 1:23] - 12.0
    star = 100.0 * np.exp(-0.5 * (x**2 + y**2) / 4.0)
    power = ((star - star.mean()) ** 2).sum()
    share = pixels * sky / (power + pixels * sky)
    error = found.std(axis=0, ddof=1) / np.sqrt(12)
    assert abs(found[:, 1].mean() - (1.0 - share)) < 4 * error[1] + 0.02
    assert abs(found[:, 0].mean() - (1.0 - share**2)) < 4 * error[0] + 0.02
    assert 1.0 - found[:, 1].mean() > 3 * (1.0 - found[:, 0].mean()) > 0.0
