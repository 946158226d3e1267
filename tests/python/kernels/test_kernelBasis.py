"""A kernel basis of one's own: one class and one registration, then chosen by configuration, in both fits.

The basis are bilinear tents on a grid of pixels, in a few lines, as a newcomer would add them.
"""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from lsst.pex.config import RangeField

from psfmatch import ImagePsfMatchTask, ModelPsfMatchTask, SnapPsfMatchTask, frontDoorConfig, subtract
from psfmatch.config import (
    KERNEL_CONFIGS,
    KernelOptions,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
    configFromDict,
    configToDict,
)
from psfmatch.fit import BuildSpatialKernelVisitor
from psfmatch.images import Box, MaskedImage
from psfmatch.kernels import (
    AlardLuptonBasis,
    DeltaFunctionBasis,
    KernelBasis,
    makeKernelBasis,
    registerKernelBasis,
    renormalizeBasis,
)
from psfmatch.kernels.basis import KERNEL_BASES, kernelBasisClass
from psfmatch.testing import backgroundPull, simulatePair, starPull


class Tents(KernelBasis):
    """Bilinear tents on a grid, the one in the middle first."""

    kind = "tents"

    @classmethod
    def make(cls, options, targetFwhmPix=None, referenceFwhmPix=None):
        spacing, half = options.own("spacing"), options.kernelSize // 2
        pixels, knots = np.arange(-half, half + 1), np.arange(-half + spacing, half, spacing)
        lines = np.maximum(0.0, 1.0 - np.abs(pixels - knots[:, np.newaxis]) / spacing)
        tents = np.einsum("jy,ix->jiyx", lines, lines).reshape(-1, pixels.size, pixels.size)
        distance = np.hypot(*np.meshgrid(knots, knots)).ravel()
        return cls(renormalizeBasis(tents[np.argsort(distance, kind="stable")]))


@pytest.fixture(autouse=True)
def registry():
    """Register the tents for a test, and forget them after it."""
    bases, configs = dict(KERNEL_BASES), dict(KERNEL_CONFIGS)
    registerKernelBasis("tents", Tents, spacing=RangeField(doc="Of the grid (px).", dtype=int, default=2, min=1))
    yield
    for known, before in ((KERNEL_BASES, bases), (KERNEL_CONFIGS, configs)):
        known.clear()
        known.update(before)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=1, size=300, brightStars=100, skySubtracted=True)


def configOf(config, **fields):
    config.kernel.name = "tents"
    # Half of 12 is a multiple of the spacing: the grid has a knot in the middle.
    config.kernel.active.update(
        **{"kernelSize": 17, "spatialKernelOrder": 1, "spatialBgOrder": 1, "fitForBackground": True, **fields}
    )
    return config


@pytest.mark.parametrize("fitMethod", ["candidates", "regions"])
def test_taskFitsIt(pair, fitMethod):
    config = configOf(ImagePsfMatchTask.ConfigClass(), fitMethod=fitMethod)
    task = ImagePsfMatchTask(config=config, threads=1)
    result = task.subtractExposures(pair.template, pair.science)
    kernel = result.psfMatchingKernel
    assert kernel.basis.shape == (49, 17, 17)
    # The sum is that of the simulation, and does not vary: the first tent alone carries it.
    sums = [kernel.kernelSum(x, y) for x, y in ((10, 10), (290, 40), (150, 290))]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-6)
    assert sums[0] == pytest.approx(1.25, rel=0.03)
    assert backgroundPull(result.subtractedExposure, pair.truth) == pytest.approx(1.0, abs=0.05)
    # 2 and more with a kernel that cannot follow the PSFs.
    assert starPull(result.subtractedExposure, pair.truth)[0] < 1.5


@pytest.mark.parametrize("fitMethod", ["candidates", "regions"])
def test_subtractFitsIt(pair, fitMethod):
    config = configOf(frontDoorConfig(), fitMethod=fitMethod)
    result = subtract(pair.template, pair.science, config=config, threads=1)
    assert result.kernel.basis.shape == (49, 17, 17)
    assert result.options.kernel.kernelBasisSet == "tents"
    assert result.options.kernel.fitMethod == fitMethod
    assert any("Kernel tents" in choice.sentence for choice in result.choices)
    assert result.kernel.kernelSum(150.0, 150.0) == pytest.approx(1.25, rel=0.03)
    assert starPull(result.difference, pair.truth)[0] < 1.5
    again = subtract(pair.template, pair.science, config=result.config, threads=1)
    np.testing.assert_array_equal(again.difference.image, result.difference.image)
    assert pickle.loads(pickle.dumps(result)) == result


def test_ownFieldsReachIt():
    config = configOf(ImagePsfMatchTask.ConfigClass(), spacing=4)
    task = ImagePsfMatchTask(config=config)
    basis = task.makeKernelBasisList(2.5, 3.0)
    assert type(basis) is Tents
    assert basis.shape == (9, 17, 17)
    assert str(basis) == "Basis of 9 tents: kernel 17x17 px"
    options = KernelOptions.fromConfig(config.kernel.active)
    assert options.own("spacing") == 4
    changed = replace(options, ownFields=(("spacing", 8),))
    changed.setIn(config.kernel.active)
    assert config.kernel.active.spacing == 8


def test_configurationsTravel():
    config = configOf(frontDoorConfig(), spacing=4)
    for travelled in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert travelled == config
        assert travelled.kernel.active.spacing == 4
    assert configFromDict(type(config), configToDict(config)).kernel.active.spacing == 4
    # Data of another kernel can be read where nobody has registered this one.
    assert "tents" not in configToDict(frontDoorConfig())["kernel"]["values"]
    kernel = pickle.loads(pickle.dumps(config.kernel.active))
    assert type(kernel) is Tents.ConfigClass
    assert kernel.spacing == 4


def test_everyTaskHasIt():
    for Task in (ImagePsfMatchTask, ModelPsfMatchTask, SnapPsfMatchTask):
        config = Task.ConfigClass()
        config.kernel.name = "tents"
        assert type(Task(config=config).kConfig) is Tents.ConfigClass
    # What both of ours are told for models they are told as well.
    config = ModelPsfMatchTask.ConfigClass()
    assert config.kernel["tents"].minKernelSources == config.kernel["AL"].minKernelSources == 1
    # The size that an image must have is its own: it does not follow the FWHMs.
    config = configOf(ImagePsfMatchTask.ConfigClass(), kernelSize=25)
    with pytest.raises(RuntimeError, match="smaller than the kernel of 25x25"):
        ImagePsfMatchTask(config=config).requireKernelFits(MaskedImage(np.zeros((24, 24))))


class Rough(Tents):
    """Tents with a penalty on the differences from the mean, and a sum that varies."""

    firstCarriesSum = False

    @classmethod
    def make(cls, options, targetFwhmPix=None, referenceFwhmPix=None):
        images = Tents.make(options).images
        return cls(images, np.eye(len(images)))


def test_penaltyAndSum(pair):
    field = RangeField(doc="Of the grid (px).", dtype=int, default=4, min=1)
    registerKernelBasis("rough", Rough, spacing=field, lambdaValue=RangeField("Of the penalty.", float, 0.0, min=0.0))
    config = configOf(ImagePsfMatchTask.ConfigClass())
    config.kernel.name = "rough"
    config.kernel.active.update(kernelSize=17, singleKernelClipping=False, kernelSumClipping=False)
    config.kernel.active.spatialKernelClipping = False
    task = ImagePsfMatchTask(config=config, threads=1)
    assert task.useRegularization
    np.testing.assert_array_equal(task.hMat, np.eye(9))
    kernels = []
    for config.kernel.active.lambdaValue in (0.0, 1e3):
        task = ImagePsfMatchTask(config=config, threads=1)
        kernels.append(task.matchExposures(pair.template, pair.science).psfMatchingKernel)
        # The coefficient of the first image varies, too.
        assert np.abs(kernels[-1].scaledParameters[0, 1:]).max() > 0.0
    free, penalised = (np.square(kernel.coefficients(150, 150)).sum() for kernel in kernels)
    assert penalised < free
    config.kernel.active.fitMethod = "regions"
    with pytest.raises(ValueError, match="set fitMethod to 'candidates'"):
        ImagePsfMatchTask(config=config, threads=1).subtractExposures(pair.template, pair.science)


def test_ownFamilies():
    basis = makeKernelBasis(PsfMatchConfigAL(), 3.0, 4.0)
    assert type(basis) is AlardLuptonBasis
    assert basis.firstCarriesSum
    assert basis.widthsFollowFwhm
    assert basis.penalty is None
    assert basis.metadata["ALBasisMode"] == "convolution"
    deltas = makeKernelBasis(PsfMatchConfigDF())
    assert type(deltas) is DeltaFunctionBasis
    assert not deltas.firstCarriesSum
    assert not deltas.widthsFollowFwhm
    assert deltas.penalty.shape == (441, 441)
    for each in (basis, deltas):
        assert len(each) == len(list(each)) == each.shape[0]
        np.testing.assert_array_equal(np.asarray(each), each.images)
        np.testing.assert_array_equal(each[1], each.images[1])
        for travelled in (pickle.loads(pickle.dumps(each)), copy.deepcopy(each)):
            assert travelled == each
    assert basis != deltas


@pytest.mark.parametrize(
    ("config", "isConstant"), [(PsfMatchConfigAL(), True), (PsfMatchConfigDF(), True), (PsfMatchConfigDF(), False)]
)
def test_constantFirstTerm(config, isConstant):
    # Plain images are those of the family, or principal components.
    config.usePcaForSpatialKernel = isConstant and not isinstance(config, PsfMatchConfigAL)
    images = np.ones((2, 3, 3))
    visitor = BuildSpatialKernelVisitor(images, Box(0, 0, 9, 9), config)
    assert visitor.constantFirstTerm is isConstant
    for Basis in (AlardLuptonBasis, DeltaFunctionBasis):
        visitor = BuildSpatialKernelVisitor(Basis(images), Box(0, 0, 9, 9), config)
        assert visitor.constantFirstTerm is Basis.firstCarriesSum


def test_errors():
    registerKernelBasis("tents", Tents)  # again: as when its module is read once more
    with pytest.raises(ValueError, match="'tents' is Tents already"):
        registerKernelBasis("tents", Rough)
    for name in ("AL", "two words"):
        with pytest.raises(ValueError, match="cannot be called"):
            registerKernelBasis(name, Rough)
    with pytest.raises(ValueError, match=r"'moffats' is not registered here, only .*tents"):
        kernelBasisClass(replace(KernelOptions.fromConfig(PsfMatchConfigAL()), kernelBasisSet="moffats"))
    with pytest.raises(NotImplementedError, match="has no method make"):
        KernelBasis.make(KernelOptions.fromConfig(PsfMatchConfigAL()))
    with pytest.raises(ValueError, match="at least one image"):
        KernelBasis(np.ones((3, 3)))
    config = configOf(ImagePsfMatchTask.ConfigClass())
    with pytest.raises(ValueError, match=r"Allowed values: \[tents\]"):
        config.kernel.active.kernelBasisSet = "alard-lupton"
    config.kernel.active.useBicForKernelBasis = True
    with pytest.raises(ValueError, match="the tents basis has no polynomial degrees"):
        config.validate()
