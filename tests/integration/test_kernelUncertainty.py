"""Uncertainties of kernels against repeated draws of the noise.

The same scene is drawn a hundred times and more; what the solution says of its own errors must be the scatter
of what it finds. The ratios are printed (`pytest -s`).
"""

import numpy as np
import pytest

from psfmatch import Box, MaskedImage
from psfmatch.fit import KernelCandidate, SpatialCellSet
from psfmatch.tasks import PsfMatchTask
from psfmatch.testing import makeFakeKernelSet

N_DRAWS = 120
HALF_WIDTH = 24
PLACES = ((48.0, 48.0), (120.0, 100.0))


@pytest.fixture(scope="module")
def scene():
    """Nine noiseless stars; the kernel varies over the field."""
    return makeFakeKernelSet(sizeCell=64, deltaFunctionCounts=5e4, addNoise=False)


def makeTask(**changes):
    config = PsfMatchTask.ConfigClass()
    settings = {"kernelSize": 21, "scaleByFwhm": False, "alardNGauss": 1, "alardSigGauss": [2.5], "alardDegGauss": [2]}
    settings |= {"spatialKernelOrder": 1, "spatialBgOrder": 0, "fitForBackground": True}
    settings |= {"kernelSumClipping": False, "calculateKernelUncertainty": True}
    config.kernel.active.update(**settings | changes)
    return PsfMatchTask(config=config, threads=1)


def draw(scene, generator, templateVariance):
    """Both images with normal noise of their variance planes."""
    images = []
    for exact, extra in ((scene.template, templateVariance), (scene.science, 50.0)):
        variance = exact.variance + np.float32(extra)
        noise = generator.standard_normal(exact.shape, dtype=np.float32) * np.sqrt(variance)
        images.append(MaskedImage(exact.image + noise, variance=variance))
    return images


def solve(task, scene, images):
    cellSet = SpatialCellSet(scene.box, scene.sizeCell)
    for x, y in scene.starCentres:
        box = Box(int(x), int(y), 1, 1).grown(HALF_WIDTH)
        cellSet.insertCandidate(KernelCandidate(x, y, *(image.subset(box) for image in images), task.kConfig))
    return task._solve(cellSet, scene.basis), list(cellSet)


@pytest.mark.parametrize(("constantVariance", "templateVariance"), [(True, 25.0), (False, 1.0)])
def test_uncertaintyIsTheScatterOfTheDraws(scene, constantVariance, templateVariance):
    task = makeTask(constantVarianceWeighting=constantVariance)
    generator = np.random.default_rng(11)
    found = {"kernelSum": [], "kernel": [], "background": [], "ownSum": [], "ownKernel": []}
    told = {name: [] for name in found}
    for _ in range(N_DRAWS):
        fit, candidates = solve(task, scene, draw(scene, generator, templateVariance))
        own = candidates[4].kernelSolution
        found["kernelSum"].append([fit.kernel.kernelSum(*place) for place in PLACES])
        told["kernelSum"].append([fit.kernel.kernelSumSigma(*place) for place in PLACES])
        found["kernel"].append([fit.kernel.computeImage(*place) for place in PLACES])
        told["kernel"].append([fit.kernel.computeSigmaImage(*place) for place in PLACES])
        found["background"].append([fit.background(*place) for place in PLACES])
        told["background"].append([fit.background.sigma(*place) for place in PLACES])
        found["ownSum"].append(own.kernelSum)
        told["ownSum"].append(own.kernelSumSigma)
        found["ownKernel"].append(own.computeImage())
        told["ownKernel"].append(own.computeSigmaImage())
    for name in found:
        scatter = np.std(found[name], axis=0, ddof=1)
        typical = np.sqrt(np.mean(np.square(told[name]), axis=0))
        # Kernel pixels: over all of them, weighted by what matters, the square root of summed variances.
        ratio = np.sqrt((typical**2).sum() / (scatter**2).sum())
        print(f"constantVariance {constantVariance}, template variance {templateVariance}: {name} {ratio:.3f}")  # noqa: T201
        # A standard deviation from 120 draws is known to 1 / sqrt(2 * 119) = 6.5 %; three times that.
        assert ratio == pytest.approx(1.0, abs=0.2), name


def test_noUncertaintyUnlessAskedFor(scene):
    task = makeTask(calculateKernelUncertainty=False)
    fit, candidates = solve(task, scene, draw(scene, np.random.default_rng(1), 1.0))
    assert fit.kernel.covariance is None
    for ask in (
        lambda: fit.kernel.computeSigmaImage(0, 0),
        lambda: fit.kernel.kernelSumSigma(0, 0),
        lambda: fit.background.sigma(0, 0),
        candidates[0].kernelSolution.computeSigmaImage,
    ):
        with pytest.raises(RuntimeError, match="calculateKernelUncertainty"):
            ask()


def test_numbersOfTheCovariance(scene):
    fit, candidates = solve(makeTask(), scene, draw(scene, np.random.default_rng(1), 1.0))
    n, p = fit.kernel.scaledParameters.shape
    covariance = fit.kernel.covariance
    assert covariance.shape == (n * p, n * p)
    # The first coefficient is one number for the whole field: its slopes are zero, without error.
    assert covariance[0, 0] > 0.0
    assert not covariance[1:p].any()
    np.testing.assert_allclose(covariance, covariance.T, rtol=0, atol=1e-12 * covariance.max())
    assert (np.linalg.eigvalsh(covariance) > -1e-9 * covariance.max()).all()
    own = candidates[0].kernelSolution
    assert own.covariance.shape == (n + 1, n + 1)
    assert own.kernelSumSigma == pytest.approx(np.sqrt(own.covariance[0, 0]), rel=1e-9)
    # Nine stars together know the sum better than one.
    assert fit.kernel.kernelSumSigma(96.0, 96.0) < own.kernelSumSigma


@pytest.mark.parametrize(("constantVariance", "low", "high"), [(False, 0.8, 1.1), (True, 0.2, 1.0)])
def test_errorThatTheWeightsTell(scene, constantVariance, low, high):
    """With weights of their own only the correlation of the template's noise is missing; one for all forgets the
    photons of bright stars."""
    task = makeTask(constantVarianceWeighting=constantVariance)
    _, candidates = solve(task, scene, draw(scene, np.random.default_rng(1), 1.0))
    ratios = [c.kernelSolution.kernelSumError / c.kernelSolution.kernelSumSigma for c in candidates]
    assert min(ratios) > low
    assert max(ratios) < high
