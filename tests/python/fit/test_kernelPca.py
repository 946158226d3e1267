"""Principal components of kernels: eigenvalues, the mean, the basis they make."""

from dataclasses import replace

import numpy as np
import pytest

from psfmatch import KernelSolutionError, MaskedImage, NoKernelCandidatesError, PsfMatchConfigAL
from psfmatch.config import KernelOptions
from psfmatch.fit import BuildSingleKernelVisitor, KernelCandidate, KernelPcaVisitor, SpatialCellSet
from psfmatch.kernels import KernelSolution, SolutionSlot
from psfmatch.testing import makeFakeKernelSet

SIDE = 15


def control(subtractMean=True, count=5, weighted=False):
    return replace(
        KernelOptions.fromConfig(PsfMatchConfigAL()),
        subtractMeanForPca=subtractMean,
        numPrincipalComponents=count,
        weightPcaByInformation=weighted,
    )


def withKernel(image, x=50.0, y=50.0, error=np.nan):
    """A candidate whose own solution is this kernel."""
    stamp = MaskedImage(np.ones((9, 9)), variance=np.ones((9, 9)))
    candidate = KernelCandidate(x, y, stamp, stamp, SHARED)
    basis = np.eye(image.size).reshape(-1, *image.shape)
    empty = np.zeros((0, 0))
    candidate.setKernelSolution(
        KernelSolution(basis, image.ravel(), 0.0, image.sum(), empty, np.zeros(0), kernelSumError=error)
    )
    return candidate


SHARED = PsfMatchConfigAL()


def gaussian(sigma, side=SIDE):
    x = np.arange(side) - side // 2
    image = np.exp(-0.5 * (x / sigma) ** 2) * np.exp(-0.5 * (x / sigma) ** 2)[:, None]
    return image / image.sum()


def analyzed(images, **options):
    visitor = KernelPcaVisitor(control(**options))
    visitor.processCandidates([withKernel(image) for image in images])
    visitor.analyze()
    return visitor


def test_alikeButForTheirSums():
    images = [gaussian(2.0) * factor for factor in (1.0, 2.0, 3.0)]
    visitor = analyzed(images, subtractMean=False)
    # Each is divided by its sum, so that all three are the same image.
    first = (gaussian(2.0) ** 2).sum()
    np.testing.assert_allclose(visitor.eigenValues / first, [1.0, 0.0, 0.0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(visitor.eigenKernels[0], gaussian(2.0) / gaussian(2.0).max(), rtol=0, atol=1e-12)
    assert len(visitor.basisList()) == 1


def test_meanIsSubtracted():
    delta = np.zeros((SIDE, SIDE))
    delta[SIDE // 2, SIDE // 2] = 1.0
    visitor = analyzed([delta * factor for factor in (1.0, 2.0, 3.0)])
    np.testing.assert_array_equal(visitor.eigenValues, 0.0)
    np.testing.assert_array_equal(visitor.eigenKernels[0], delta)
    assert len(visitor.eigenKernels) == 4
    with pytest.raises(KernelSolutionError, match="Eigenvalues sum to zero: 3 kernels"):
        visitor.basisList()


@pytest.mark.parametrize("subtractMean", [False, True])
def test_noisyCopies(subtractMean):
    generator = np.random.default_rng(1)
    truth = gaussian(2.0)
    images = [truth + generator.normal(0.0, 0.02 * truth.max(), truth.shape) for _ in range(100)]
    visitor = analyzed(images, subtractMean=subtractMean)
    assert len(visitor.eigenValues) == 100
    assert len(visitor.eigenKernels) == 100 + subtractMean
    assert (np.diff(visitor.eigenValues) <= 0).all()
    scaled = visitor.eigenKernels[0] / visitor.eigenKernels[0].max()
    near = truth > 0.2 * truth.max()
    # The mean of a hundred, and the first component of what has none, are the common kernel.
    np.testing.assert_allclose(scaled[near], (truth / truth.max())[near], rtol=0.2)
    if subtractMean:
        assert visitor.eigenValues[-1] == pytest.approx(0.0, abs=1e-12 * visitor.eigenValues[0])
        plain = analyzed(images, subtractMean=False)
        assert plain.eigenValues[0] > 10 * visitor.eigenValues[0]


def test_componentsAreThoseOfTheSingularValues():
    generator = np.random.default_rng(4)
    images = [generator.normal(1.0, 0.3, (5, 5)) for _ in range(4)]
    visitor = analyzed(images)
    table = np.array([image.ravel() / image.sum() for image in images])
    _, singular, rows = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(visitor.eigenValues, singular**2 / 4, rtol=0, atol=1e-15)
    for component, row in zip(visitor.eigenKernels[1:4], rows[:3], strict=True):
        extreme = row[np.abs(row).argmax()]
        np.testing.assert_allclose(component.ravel(), row / extreme, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("subtractMean", "count", "expected"), [(True, 5, 5), (True, 3, 3), (False, 4, 4), (True, 9, 7)]
)
def test_numberOfComponents(subtractMean, count, expected):
    generator = np.random.default_rng(7)
    images = [gaussian(2.0) + generator.normal(0, 1e-3, (SIDE, SIDE)) for _ in range(7)]
    basis = analyzed(images, subtractMean=subtractMean, count=count).basisList()
    # Seven kernels less their mean span six dimensions; with the mean that is seven.
    assert len(basis) == expected
    np.testing.assert_allclose(basis.sum(axis=(1, 2)), [1.0] + [0.0] * (expected - 1), rtol=0, atol=1e-9)
    np.testing.assert_allclose((basis[1:] ** 2).sum(axis=(1, 2)), 1.0, rtol=1e-9)


def test_unfittedAreLeftOut():
    stamp = MaskedImage(np.ones((9, 9)), variance=np.ones((9, 9)))
    visitor = KernelPcaVisitor(control())
    visitor.processCandidate(KernelCandidate(5, 5, stamp, stamp, SHARED))
    with pytest.raises(NoKernelCandidatesError, match="No kernels"):
        visitor.analyze()


@pytest.mark.parametrize("factor", [0.0, 1e-320, np.inf, np.nan])
@pytest.mark.parametrize("weighted", [False, True])
def test_kernelsWithoutASumAreLeftOut(factor, weighted):
    """A science image without light gives kernels of zeros: they have no shape, and must not make NaN of all."""
    useless = withKernel(gaussian(2.0))
    solution = useless.kernelSolution
    # 1e-320: the quotient of pixels and sum overflows.
    useless.setKernelSolution(replace(solution, kernelSum=factor))
    visitor = KernelPcaVisitor(control(weighted=weighted))
    visitor.processCandidate(useless)
    with pytest.raises(NoKernelCandidatesError, match="sum is finite and not zero"):
        visitor.analyze()
    visitor.processCandidates([useless, withKernel(gaussian(2.0)), withKernel(gaussian(2.5))])
    visitor.analyze()
    assert len(visitor.eigenValues) == 2
    assert np.isfinite(visitor.basisList()).all()


def test_firstComponentWithoutASum():
    """Kernels that differ more than they have in common: what explains most of their squares is their difference."""
    noise = np.zeros((SIDE, SIDE))
    # Mirrored about the middle: the product with a Gaussian is zero.
    noise[3, 5], noise[11, 9] = 10.0, -10.0
    images = [gaussian(2.0) + noise, gaussian(2.0) - noise]
    with pytest.raises(KernelSolutionError, match="first component of 2 kernels sums to zero"):
        analyzed(images, subtractMean=False).basisList()
    assert len(analyzed(images).basisList()) == 2


def test_oneKernelIsItsOwnComponent():
    visitor = analyzed([gaussian(2.0)], subtractMean=False)
    assert len(visitor.eigenValues) == 1
    np.testing.assert_allclose(visitor.basisList()[0], gaussian(2.0), rtol=0, atol=1e-15)


def test_visitOfTheCells():
    fakes = makeFakeKernelSet(sizeCell=64)
    cellSet = SpatialCellSet(fakes.box, fakes.sizeCell)
    for x, y in fakes.starCentres:
        cellSet.insertCandidate(withKernel(gaussian(2.0) * (1.0 + x), float(x), float(y)))
    visitor = KernelPcaVisitor(control(subtractMean=False))
    cellSet.visitCandidates(visitor, 1)
    visitor.analyze()
    np.testing.assert_allclose(visitor.eigenValues / visitor.eigenValues[0], [1.0] + [0.0] * 8, rtol=0, atol=1e-12)


def test_componentsTakeThePlaceOfTheBasis():
    """Candidates are fitted again on the components; the first solutions stay."""
    config = PsfMatchConfigAL()
    config.update(kernelSize=21, alardNGauss=1, alardSigGauss=[2.5], alardDegGauss=[2], fitForBackground=True)
    fakes = makeFakeKernelSet(sizeCell=96, seed=3)
    candidates = []
    for x, y in fakes.starCentres:
        box = SpatialCellSet(fakes.box, 96).bbox.intersection(type(fakes.box)(int(x) - 30, int(y) - 30, 61, 61))
        candidates.append(KernelCandidate(x, y, fakes.template.subset(box), fakes.science.subset(box), config))
    BuildSingleKernelVisitor(fakes.basis, config).processCandidates(candidates)
    visitor = KernelPcaVisitor(config)
    visitor.processCandidates(candidates)
    visitor.analyze()
    again = BuildSingleKernelVisitor(visitor.basisList(), config, skipBuilt=False, slot=SolutionSlot.PCA)
    again.processCandidates(candidates)
    assert again.nProcessed == len(candidates)
    for candidate in candidates:
        pca, original = (candidate.getKernelSolution(slot) for slot in (SolutionSlot.PCA, SolutionSlot.ORIG))
        assert candidate.kernelSolution is pca
        assert len(pca.coefficients) == 5
        assert len(original.coefficients) == 6
        # Nine kernels of a six-function basis: five components are nearly all of them.
        assert pca.kernelSum == pytest.approx(original.kernelSum, abs=0.02)


def test_wellKnownKernelsCountMore():
    """The mean kernel is that of the star whose kernel is known, not half that of the other."""
    means = {}
    for weighted in (False, True):
        visitor = KernelPcaVisitor(control(weighted=weighted))
        visitor.processCandidates([withKernel(gaussian(1.5), error=1e-3), withKernel(gaussian(3.0), error=1.0)])
        visitor.analyze()
        means[weighted] = visitor.eigenKernels[0]
    np.testing.assert_allclose(means[False], (gaussian(1.5) + gaussian(3.0)) / 2, rtol=0, atol=1e-15)
    # Inverse variances: a million to one.
    np.testing.assert_allclose(means[True], gaussian(1.5), rtol=0, atol=1e-6)
