"""The kernel that comes out is the kernel that was put in: wherever the pixels lie, by either road, in either model."""

import numpy as np
import pytest

from psfmatch import Exposure, ImagePsfMatchTask, MaskedImage, subtract
from psfmatch.fit import BuildSingleKernelVisitor, BuildSpatialKernelVisitor, KernelCandidate, SpatialCellSet
from psfmatch.testing import (
    backgroundPull,
    falseDetections,
    makeFakeKernelSet,
    simulatePair,
    starPull,
    transientFluxes,
    usableFraction,
)

MODELS = ("chebyshev1", "polynomial")
FAR_CORNERS = ((5000, 7000), (100000, 50000))


def fakeConfig(model):
    """The configuration of LSST's fake kernel set: six functions of order 1, nothing is clipped."""
    config = ImagePsfMatchTask.ConfigClass()
    kernel = config.kernel.active
    kernel.update(alardNGauss=1, alardSigGauss=[2.5], alardDegGauss=[2], scaleByFwhm=False, kernelSize=21)
    kernel.update(spatialModelType=model, spatialKernelOrder=1, spatialBgOrder=0, fitForBackground=True)
    kernel.update(singleKernelClipping=False, kernelSumClipping=False, spatialKernelClipping=False)
    kernel.detectionConfig.fpGrowKernelScaling = 2.0
    return config


def solveFakes(fakes, road):
    """Return kernel and background by the visitors alone or by the task."""
    config = fakeConfig(fakes.spatialModelType)
    if road == "task":
        task = ImagePsfMatchTask(config=config)
        result = task.subtractMaskedImages(fakes.template, fakes.science, fakes.starCentres.astype(float))
        return result.psfMatchingKernel, result.backgroundModel
    kernelConfig = config.kernel.active
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for x, y in fakes.starCentres:
        box = type(fakes.box)(int(x), int(y), 1, 1).grown(fakes.stampHalfWidth)
        cellSet.insertCandidate(
            KernelCandidate(x, y, fakes.template.subset(box), fakes.science.subset(box), kernelConfig)
        )
    single = BuildSingleKernelVisitor(fakes.basis, kernelConfig)
    cellSet.visitCandidates(single, 1)
    assert (single.nProcessed, single.nRejected) == (9, 0)
    spatial = BuildSpatialKernelVisitor(fakes.basis, fakes.box, kernelConfig)
    cellSet.visitCandidates(spatial, 1)
    spatial.solveLinearEquation()
    return spatial.getSolutionPair()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("road", ["visitors", "task"])
def test_fakeKernelSet(model, road):
    """A stamp's kernel is taken at its centre, while the science image's varies over the stamp.

    First-order terms cancel for a symmetric star, so 1 % of the peak leaves a factor of ten.
    """
    fakes = makeFakeKernelSet(addNoise=False, spatialModelType=model)
    kernel, background = solveFakes(fakes, road)
    for x, y in fakes.starCentres:
        true, solved = fakes.kernelImage(x, y), kernel.computeImage(x, y)
        assert abs(solved - true).max() < 0.01 * true.max()
        assert abs(solved.sum() - true.sum()) < 1e-3
    assert background(*fakes.box.centre) == pytest.approx(fakes.background, abs=1e-3)
    # The functions that do not vary, or vary little, come out by name as well.
    np.testing.assert_allclose(kernel.spatialParameters[:, 0], fakes.coefficients[:, 0], atol=5e-4)
    assert (kernel.spatialParameters[0, 1:] == 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_fakeKernelSetWithNoise(model):
    """Nine stars of 1e4 counts on a sky of 100: a kernel sum good to 1/sqrt(9e4) = 0.3 % each way from photons.

    The sky under the 21-pixel kernels adds as much again; 3 % is five sigma. Kernel images: 15 % of the peak.
    """
    fakes = makeFakeKernelSet(spatialModelType=model, seed=3)
    kernel, background = solveFakes(fakes, "task")
    for x, y in fakes.starCentres:
        true, solved = fakes.kernelImage(x, y), kernel.computeImage(x, y)
        assert abs(solved - true).max() < 0.15 * true.max()
        assert abs(solved.sum() - true.sum()) < 0.03
    assert background(*fakes.box.centre) == pytest.approx(fakes.background, abs=0.5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("road", "xy0"), [("visitors", FAR_CORNERS[0]), ("task", FAR_CORNERS[1])])
def test_fakeKernelSetFarFromTheOrigin(model, road, xy0):
    near = makeFakeKernelSet(addNoise=False, spatialModelType=model)
    far = makeFakeKernelSet(addNoise=False, spatialModelType=model, xy0=xy0)
    nearKernel, nearBackground = solveFakes(near, road)
    farKernel, farBackground = solveFakes(far, road)
    for x, y in near.starCentres:
        expected = nearKernel.computeImage(x, y)
        moved = farKernel.computeImage(x + xy0[0], y + xy0[1])
        assert abs(moved - expected).max() < 1e-6 * expected.max()
        assert farBackground(x + xy0[0], y + xy0[1]) == pytest.approx(nearBackground(x, y), rel=1e-6)
    if model == "chebyshev1":
        np.testing.assert_allclose(farKernel.spatialParameters, nearKernel.spatialParameters, rtol=0, atol=1e-9)
        np.testing.assert_allclose(farBackground.parameters, nearBackground.parameters, rtol=1e-9)
    else:
        # Raw monomials: slopes stay, constants move.
        np.testing.assert_allclose(
            farKernel.spatialParameters[:, 1:], nearKernel.spatialParameters[:, 1:], rtol=0, atol=1e-10
        )
        assert abs(farKernel.spatialParameters[1:, 0] - nearKernel.spatialParameters[1:, 0]).max() > 1e-3


def movedTo(maskedImage, xy0):
    return MaskedImage(maskedImage.image, maskedImage.mask, maskedImage.variance, xy0=xy0)


@pytest.fixture(scope="module")
def field():
    """A field for 27 functions of order 2: 80 bright stars of a known varying kernel, without defects."""
    return simulatePair(seed=11, size=512, brightStars=300, faintStars=0, galaxies=0, badFraction=0, transients=0)


def fieldConfig(model):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialModelType=model, spatialKernelOrder=2, spatialBgOrder=2, fitForBackground=True)
    return config


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("xy0", "detect"), [(FAR_CORNERS[0], True), (FAR_CORNERS[1], False)])
def test_fieldFarFromTheOrigin(field, model, xy0, detect):
    stars = field.truth.stars
    positions = np.column_stack([stars["x"], stars["y"]])
    results = []
    for corner in ((0, 0), xy0):
        task = ImagePsfMatchTask(config=fieldConfig(model))
        template, science = movedTo(field.template.maskedImage, corner), movedTo(field.science.maskedImage, corner)
        candidates = None if detect else positions + corner
        results.append(task.subtractMaskedImages(template, science, candidates, 2.7, 3.9))
    near, far = results
    assert near.psfMatchingKernel.scaledParameters.shape == (27, 6)
    assert far.subtractedMaskedImage.xy0 == xy0
    for x in (0, 130, 255, 400, 511):
        for y in (0, 255, 511):
            expected = near.psfMatchingKernel.computeImage(x, y)
            moved = far.psfMatchingKernel.computeImage(x + xy0[0], y + xy0[1])
            assert abs(moved - expected).max() < 1e-6 * expected.max()
    difference = far.subtractedMaskedImage.image - near.subtractedMaskedImage.image
    # Kernels agree to 1e-6, stars have up to 5e4 counts, float32 rounds them by 0.004.
    assert np.nanmax(abs(difference)) < 0.1
    assert (np.asarray(far.subtractedMaskedImage.mask) == np.asarray(near.subtractedMaskedImage.mask)).all()


def test_fieldKernelIsTheTrueOne(field):
    """27 functions of order 2 from some fifty stars with 1e4 to 1e6 counts.

    Single kernel pixels hold frequencies that no star of FWHM 2.6 px shows; what a star becomes under the kernel is
    what counts: 2 % of its peak, two times what the few thousand photons in the peak of the fainter stars allow.
    """
    task = ImagePsfMatchTask(config=fieldConfig("chebyshev1"))
    result = task.subtractExposures(field.template, field.science)
    kernel, truth = result.psfMatchingKernel, field.truth
    for x, y in ((128, 128), (256, 256), (384, 128), (200, 400)):
        windows = np.lib.stride_tricks.sliding_window_view(truth.templatePsfImage(x, y, 41), (21, 21))
        true = np.tensordot(windows, truth.kernelImage(x, y, 21), axes=2)
        solved = np.tensordot(windows, kernel.computeImage(x, y), axes=2)
        assert abs(solved - true).max() < 0.02 * true.max()
        assert kernel.kernelSum(x, y) == pytest.approx(truth.kernelSum(x, y), rel=5e-3)
        # The background is a small difference of 400 and 1.25 * 300 counts.
        assert float(result.backgroundModel(x, y)) == pytest.approx(float(truth.background(x, y)), abs=1.5)


def test_modelsAgree(field):
    """Chebyshev functions and monomials span one space: the same kernel by either name."""
    kernels, backgrounds = [], []
    for model in MODELS:
        task = ImagePsfMatchTask(config=fieldConfig(model))
        result = task.subtractExposures(field.template, field.science)
        kernels.append(result.psfMatchingKernel)
        backgrounds.append(result.backgroundModel)
    for x, y in ((20, 20), (256, 256), (490, 100), (100, 490)):
        first, second = (kernel.computeImage(x, y) for kernel in kernels)
        # Both systems are solved with condition numbers below 1e10: 1e10 eps = 2e-6 of the coefficients.
        assert abs(first - second).max() < 1e-5 * first.max()
        assert first.sum() == pytest.approx(second.sum(), rel=1e-5)
        assert float(backgrounds[0](x, y)) == pytest.approx(float(backgrounds[1](x, y)), abs=1e-3)


@pytest.mark.parametrize("fitForBackground", [True, False])
def test_imageAgainstItself(field, fitForBackground):
    """Matched to itself an image needs the unit kernel and no background, and nothing remains."""
    config = fieldConfig("chebyshev1")
    config.kernel.active.fitForBackground = fitForBackground
    science = field.science
    result = ImagePsfMatchTask(config=config).subtractExposures(science, science.copy(), 3.8, 3.8)
    assert result.psfMatchingKernel.kernelSum(255.5, 255.5) == pytest.approx(1.0, abs=2e-3)
    pull = result.subtractedExposure.image / np.sqrt(science.variance)
    assert np.nanstd(pull[30:-30, 30:-30]) < 0.1


@pytest.mark.parametrize(("factor", "offset"), [(2.7, 0.0), (1.0, 11.3), (0.04, -500.0)])
def test_scaledCopy(field, factor, offset):
    """S = factor T + offset gives that kernel sum and background exactly, whatever the kernel has to be."""
    config = fieldConfig("chebyshev1")
    config.kernel.active.update(spatialKernelOrder=1, spatialBgOrder=0, alardSigGauss=[0.5, 1.5, 3.0])
    template = field.template
    scaled = MaskedImage(template.image * np.float32(factor) + np.float32(offset), template.mask, template.variance)
    scaled.variance *= np.float32(factor**2)
    reference = ImagePsfMatchTask(config=config).matchExposures(template, template.copy(), 2.6, 2.6)
    result = ImagePsfMatchTask(config=config).matchExposures(template, Exposure(scaled), 2.6, 2.6)
    # Same stars, same fit, one scaled data vector: linear up to the rounding of the scaled float32 pixels.
    unit = reference.psfMatchingKernel.kernelSum(256, 256)
    assert result.psfMatchingKernel.kernelSum(256, 256) == pytest.approx(factor * unit, rel=1e-4)
    expected = factor * float(reference.backgroundModel(256, 256)) + offset
    assert float(result.backgroundModel(256, 256)) == pytest.approx(expected, abs=0.02 * max(1.0, abs(factor)))


# A field like that of the demonstration: as many stars as 1024x1024 pixels have, on a quarter of the area


@pytest.fixture(scope="module", params=["template", "science"])
def demo(request):
    """A pair, its difference by the front door, and the sign of a new star, for either direction of convolution.

    The science image has 1 % bad pixels both times; in the second it is the sharper image and is convolved.
    """
    if request.param == "template":
        pair = simulatePair(seed=1, size=512, brightStars=160, transients=20, badFraction=0.01)
        return pair, subtract(pair.template, pair.science), 1, request.param
    pair = simulatePair(seed=2, size=512, brightStars=160, transients=20, badFraction=0, templateBadFraction=0.01)
    return pair, subtract(pair.science, pair.template), -1, request.param


def test_demoDirection(demo):
    _, result, _, convolved = demo
    assert result.convolved == convolved


def test_demoBackgroundNoise(demo):
    """Empty sky scatters as its variance plane says: 9e4 pixels give 1.17 / sqrt(9e4) = 0.004, five times that."""
    pair, result, _, _ = demo
    assert backgroundPull(result.difference, pair.truth) == pytest.approx(1.0, abs=0.02)
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.02)


def test_demoKernelSum(demo):
    pair, result, _, _ = demo
    centre = pair.truth.box.centre
    assert result.kernel.kernelSum(*centre) == pytest.approx(pair.truth.kernelSum(*centre), rel=0.005)


def test_demoStars(demo):
    """Bright stars leave noise: 2000 pixels give 1 +- 0.026, the floor of such fields is at most 1.04."""
    pair, result, _, _ = demo
    robust, plain = starPull(result.difference, pair.truth)
    assert robust < 1.12
    assert plain < 1.2


def test_demoTransients(demo):
    """All transients of a true signal-to-noise above 8 stand out by 5 with their sign, and none is off by 5 sigma."""
    pair, result, sign, _ = demo
    table = transientFluxes(result.difference, pair.truth)
    strong = table[abs(table["predictedSignalToNoise"]) > 8]
    assert len(strong) > 10
    assert (sign * strong["flux"] * np.sign(strong["trueFlux"]) / strong["error"] > 5).all()
    # The second difference has the scale of the sharper image.
    scale = 1.0 if sign > 0 else pair.truth.kernelSum(*pair.truth.box.centre)
    assert (abs(sign * scale * table["flux"] - table["trueFlux"]) < 5 * scale * table["error"]).all()


def test_demoFalseDetections(demo):
    """Peaks where nothing changed: about one by chance; four on the sixth of a megapixel that counts are 25 per one."""
    pair, result, _, _ = demo
    assert max(falseDetections(result.difference, pair.truth)) < 25


def test_demoKernelStars(demo):
    """1 % bad pixels cost a stamp about 1 % of its weight: few stars, if any, are lost to them."""
    _, result, _, _ = demo
    lost = [row["reason"].startswith("bad pixels") for row in result.candidates]
    assert np.mean(lost) < 0.1


def test_demoUsablePixels(demo):
    """1 % bad science pixels cost at most 5 % of the difference when the template is convolved.

    When the science image itself is convolved, a bad pixel costs every output pixel in which it holds more than 1 % of
    the kernel: for a kernel of sigma 1.3 px (peak 0.09) those within 2.7 px, 23 of them; half of the bad pixels stand
    alone, 0.5 % times 23 is 12 %. Half a kernel of border is left out: 8 % of so small an image.
    """
    _, result, sign, _ = demo
    half = result.kernel.shape[0] // 2
    inside = result.difference.maskedImage.subset(result.difference.getBBox().shrunk(half))
    assert usableFraction(inside) >= (0.95 if sign > 0 else 0.86)
