"""Candidates and the grid of cells: tiling, ranking, standing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.config import PsfMatchConfigAL
from psfmatch.fit.candidates.cells import CandidateStatus, KernelCandidate, SpatialCell, SpatialCellSet
from psfmatch.images import Box, MaskedImage
from psfmatch.kernels.solutions import KernelSolution, SolutionSlot

quick = settings(max_examples=30, deadline=None, derandomize=True)

config = PsfMatchConfigAL()


def makeStamp(shape=(11, 11), signal=0.0, variance=1.0, xy0=(0, 0)):
    return MaskedImage(np.full(shape, signal), variance=np.full(shape, variance), xy0=xy0)


def makeCandidate(x=5.0, y=5.0, rating=1.0, science=None):
    science = makeStamp() if science is None else science
    return KernelCandidate(x, y, makeStamp(science.shape), science, config, rating=rating)


def makeSolution(kernelSum=1.0):
    basis = np.zeros((2, 3, 3))
    basis[0, 1, 1], basis[1, 0, 0] = 1.0, 1.0
    return KernelSolution(basis, np.array([kernelSum, 0.5]), 0.0, kernelSum, np.eye(2), np.ones(2))


class RecordingVisitor:
    def __init__(self, rejects=()):
        self.rejects = rejects
        self.passes = []
        self.nResets = 0

    def reset(self):
        self.nResets += 1

    def processCandidates(self, candidates):
        self.passes.append([c.rating for c in candidates])
        for candidate in candidates:
            if candidate.rating in self.rejects:
                candidate.reject("residual rms: 9.9 sigma")


def test_tilingOfAKnownBox():
    cellSet = SpatialCellSet(Box(100, -50, 300, 128), 128, 64)
    assert [cell.label for cell in cellSet.cells] == [f"Cell {ix}x{iy}" for iy in (0, 1) for ix in (0, 1, 2)]
    assert [cell.bbox for cell in cellSet.cells] == [
        Box(x, y, width, 64) for y in (-50, 14) for x, width in ((100, 128), (228, 128), (356, 44))
    ]


@quick
@given(
    st.builds(Box, st.integers(-999, 999), st.integers(-999, 999), st.integers(1, 60), st.integers(1, 60)),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_everyPixelLiesInOneCell(box, sizeX, sizeY):
    cellSet = SpatialCellSet(box, sizeX, sizeY)
    assert len(cellSet.cells) == math.ceil(box.width / sizeX) * math.ceil(box.height / sizeY)
    count = np.zeros(box.shape, dtype=int)
    for cell in cellSet.cells:
        assert not cell.bbox.isEmpty
        assert cell.bbox.width <= sizeX
        assert cell.bbox.height <= sizeY
        x, y = cell.bbox.x0 - box.x0, cell.bbox.y0 - box.y0
        count[y : y + cell.bbox.height, x : x + cell.bbox.width] += 1
    assert (count == 1).all()


def test_cellsAreSquareUnlessToldOtherwise():
    cells = SpatialCellSet(Box(0, 0, 100, 100), 50).cells
    assert [cell.bbox.shape for cell in cells] == [(50, 50)] * 4


@pytest.mark.parametrize(("sizeX", "sizeY"), [(0, 10), (10, 0), (-5, None), (10, -1)])
def test_sizesMustBePositive(sizeX, sizeY):
    with pytest.raises(ValueError, match=r"cells of -?\d+x-?\d+ pixels: both sides must be positive"):
        SpatialCellSet(Box(0, 0, 100, 100), sizeX, sizeY)


@pytest.mark.parametrize("box", [Box(0, 0, 0, 10), Box(0, 0, 10, 0)])
def test_emptyBox(box):
    with pytest.raises(ValueError, match="the box to divide into cells is empty"):
        SpatialCellSet(box, 32)


@quick
@given(st.floats(-20.5, 79.4), st.floats(9.5, 69.4), st.integers(1, 50), st.integers(1, 50))
def test_candidateGoesToTheCellOfItsNearestPixel(x, y, sizeX, sizeY):
    cellSet = SpatialCellSet(Box(-20, 10, 100, 60), sizeX, sizeY)
    candidate = makeCandidate(x, y)
    cellSet.insertCandidate(candidate)
    (holder,) = [cell for cell in cellSet.cells if cell.candidates]
    assert holder.candidates == [candidate]
    assert holder.bbox.contains(x, y)


def test_positionsHalfwayBelongToTheNextPixel():
    # Pixel 33 is the first one of the second cell; 32.5 does not round to the even 32.
    cellSet = SpatialCellSet(Box(0, 0, 66, 66), 33)
    for x, y, label in ((32.5, 32.5, "Cell 1x1"), (32.49, 32.5, "Cell 0x1"), (32.5, 32.49, "Cell 1x0")):
        candidate = makeCandidate(x, y)
        cellSet.insertCandidate(candidate)
        assert [cell.label for cell in cellSet.cells if candidate in cell.candidates] == [label]


@pytest.mark.parametrize(
    ("x", "y"),
    [(9.49, 30.0), (110.0, 30.0), (109.5, 30.0), (50.0, 19.4), (50.0, 59.5), (math.nan, 30.0), (50.0, math.inf)],
)
def test_positionsOutside(x, y):
    cellSet = SpatialCellSet(Box(10, 20, 100, 40), 32)
    with pytest.raises(ValueError, match=r"candidate at .* lies outside the box 100x40 pixels from \(10, 20\)"):
        cellSet.insertCandidate(makeCandidate(x, y))
    assert len(cellSet) == 0
    assert list(cellSet) == []


def test_bestRatingFirst():
    cell = SpatialCell("Cell 0x0", Box(0, 0, 10, 10))
    for rating in (3.0, 7.0, -math.inf, 5.0, math.inf, 0.0):
        cell.insertCandidate(makeCandidate(rating=rating))
    assert [c.rating for c in cell.candidates] == [math.inf, 7.0, 5.0, 3.0, 0.0, -math.inf]


def test_newcomerStandsBeforeItsEquals():
    cell = SpatialCell("Cell 0x0", Box(0, 0, 10, 10))
    first, second, third, better, worse = (makeCandidate(rating=r) for r in (2.0, 2.0, 2.0, 3.0, 1.0))
    for candidate in (first, worse, second, better, third):
        cell.insertCandidate(candidate)
    assert cell.candidates == [better, third, second, first, worse]


@quick
@given(st.lists(st.integers(0, 5), max_size=15))
def test_rankingAgainstASort(ratings):
    cell = SpatialCell("Cell 0x0", Box(0, 0, 10, 10))
    candidates = [makeCandidate(rating=rating) for rating in ratings]
    for candidate in candidates:
        cell.insertCandidate(candidate)
    order = sorted(range(len(ratings)), key=lambda i: (-ratings[i], -i))
    assert cell.candidates == [candidates[i] for i in order]


def test_ratingThatIsNotANumberIsTheLowest():
    cell = SpatialCell("Cell 0x0", Box(0, 0, 10, 10))
    for rating in (1.0, math.nan, 3.0, 2.0):
        cell.insertCandidate(makeCandidate(rating=rating))
    assert [c.rating for c in cell.candidates][:3] == [3.0, 2.0, 1.0]


def test_idsCountInsertions():
    cellSet = SpatialCellSet(Box(0, 0, 100, 100), 50)
    candidates = [makeCandidate(x, y) for x, y in ((80, 80), (10, 10), (80, 10), (12, 12))]
    assert {c.id for c in candidates} == {0}
    for candidate in candidates:
        cellSet.insertCandidate(candidate)
    assert [c.id for c in candidates] == [1, 2, 3, 4]
    assert len(cellSet) == 4
    # Cell by cell, row by row, the newcomer first among equals.
    assert [c.id for c in cellSet] == [4, 2, 3, 1]
    # Each set counts for itself.
    other = SpatialCellSet(Box(0, 0, 10, 10), 50)
    other.insertCandidate(makeCandidate())
    assert [c.id for c in other] == [1]


def fillTwoCells():
    cellSet = SpatialCellSet(Box(0, 0, 100, 50), 50)
    for rating in (1.0, 2.0, 3.0, 4.0):
        cellSet.insertCandidate(makeCandidate(10, 10, rating))
    for rating in (0.1, 0.2):
        cellSet.insertCandidate(makeCandidate(60, 10, rating))
    return cellSet


@pytest.mark.parametrize(
    ("nMax", "expected"),
    [
        (1, [4.0, 0.2]),
        (2, [4.0, 3.0, 0.2, 0.1]),
        (3, [4.0, 3.0, 2.0, 0.2, 0.1]),
        (0, [4.0, 3.0, 2.0, 1.0, 0.2, 0.1]),
        (-1, [4.0, 3.0, 2.0, 1.0, 0.2, 0.1]),
    ],
)
def test_activeCandidatesAreTheBestOfEachCell(nMax, expected):
    cellSet = fillTwoCells()
    assert [c.rating for c in cellSet.activeCandidates(nMax)] == expected
    visitor = RecordingVisitor()
    cellSet.visitCandidates(visitor, nMax)
    assert visitor.passes == [expected]
    assert visitor.nResets == 1


def test_nextInLineReplacesARejectedCandidateOnTheNextPass():
    cellSet = fillTwoCells()
    visitor = RecordingVisitor(rejects=(4.0, 2.0, 0.2, 0.1))
    for _ in range(4):
        cellSet.visitCandidates(visitor, 2)
    # A candidate that is rejected during its visit still counts in that pass.
    assert visitor.passes == [[4.0, 3.0, 0.2, 0.1], [3.0, 2.0], [3.0, 1.0], [3.0, 1.0]]
    assert visitor.nResets == 4
    assert len(cellSet) == 6


def test_cellOfOnePixel():
    cellSet = SpatialCellSet(Box(0, 0, 1, 1), 1)
    candidate = makeCandidate(0.0, 0.0)
    candidate.accept()
    cellSet.insertCandidate(candidate)
    visitor = RecordingVisitor()
    cellSet.visitCandidates(visitor, 1)
    assert visitor.passes == [[1.0]]
    assert cellSet.activeCandidates(0) == [candidate]
    assert candidate.status is CandidateStatus.GOOD


def test_visitingNothing():
    visitor = RecordingVisitor()
    SpatialCellSet(Box(0, 0, 10, 10), 5).visitCandidates(visitor, 3)
    assert visitor.passes == [[]]


def test_errorsOfAVisitorReachTheCaller():
    class FailingVisitor(RecordingVisitor):
        def processCandidates(self, candidates):
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fillTwoCells().visitCandidates(FailingVisitor())


def test_countsOfStatusAndReasons():
    cellSet = fillTwoCells()
    candidates = list(cellSet)
    candidates[0].accept()
    candidates[1].reject("residual rms: 2.0 sigma, limit 1.5")
    candidates[2].reject("residual rms: 3.0 sigma, limit 1.5")
    candidates[3].reject("bad pixels")
    assert cellSet.countByStatus() == {
        CandidateStatus.GOOD: 1,
        CandidateStatus.BAD: 3,
        CandidateStatus.UNKNOWN: 2,
    }
    assert cellSet.countReasons() == {"residual rms": 2, "bad pixels": 1}
    assert SpatialCellSet(Box(0, 0, 10, 10), 5).countByStatus() == dict.fromkeys(CandidateStatus, 0)
    assert SpatialCellSet(Box(0, 0, 10, 10), 5).countReasons() == {}


def test_statusValues():
    assert [status.value for status in (CandidateStatus.BAD, CandidateStatus.GOOD, CandidateStatus.UNKNOWN)] == [
        0,
        1,
        2,
    ]


def test_newCandidate():
    template, science = makeStamp(), makeStamp()
    candidate = KernelCandidate(np.float32(5.25), 6, template, science, config, source="row 7")
    assert (candidate.x, candidate.y) == (5.25, 6.0)
    assert candidate.templateMaskedImage is template
    assert candidate.scienceMaskedImage is science
    assert candidate.source == "row 7"
    assert candidate.status is CandidateStatus.UNKNOWN
    assert candidate.reason is None
    assert candidate.chi2 == math.inf
    assert not candidate.isInitialized
    assert candidate.residual is candidate.spatialResidual is None
    assert repr(candidate) == "KernelCandidate(0, x=5.2, y=6.0, UNKNOWN)"


def test_rejectAndAccept():
    candidate = makeCandidate()
    candidate.accept()
    assert (candidate.status, candidate.reason) == (CandidateStatus.GOOD, None)
    candidate.reject("kernel sum: 3.1")
    assert (candidate.status, candidate.reason) == (CandidateStatus.BAD, "kernel sum: 3.1")


def test_stampsOfDifferentShapes():
    with pytest.raises(ValueError, match=r"at \(5\.0, 7\.0\) differ in shape: template \(9, 11\), science \(11, 11\)"):
        KernelCandidate(5, 7, makeStamp((9, 11)), makeStamp((11, 11)), config)


def test_solutionSlots():
    candidate = makeCandidate()
    for slot in SolutionSlot:
        with pytest.raises(
            RuntimeError, match=r"candidate 0 at \(5\.0, 5\.0\) has no \w+ solution; it must be visited"
        ):
            candidate.getKernelSolution(slot)
    with pytest.raises(RuntimeError, match="no ORIG solution"):
        _ = candidate.kernelSolution
    original, components = makeSolution(1.0), makeSolution(2.0)
    candidate.setKernelSolution(original)
    assert candidate.isInitialized
    assert candidate.kernelSolution is candidate.getKernelSolution(SolutionSlot.ORIG) is original
    with pytest.raises(RuntimeError, match="no PCA solution"):
        candidate.getKernelSolution(SolutionSlot.PCA)
    candidate.setKernelSolution(components, SolutionSlot.PCA)
    assert candidate.kernelSolution is candidate.getKernelSolution(SolutionSlot.PCA) is components
    assert candidate.getKernelSolution(SolutionSlot.ORIG) is original
    candidate.setKernelSolution(makeSolution(3.0), SolutionSlot.PCA)
    assert candidate.kernelSolution.kernelSum == 3.0
    with pytest.raises(ValueError, match="RECENT names whichever slot is filled; choose ORIG or PCA"):
        candidate.setKernelSolution(original, SolutionSlot.RECENT)


def test_imageOfASolution():
    expected = np.zeros((3, 3))
    expected[1, 1], expected[0, 0] = 4.0, 0.5
    np.testing.assert_array_equal(makeSolution(4.0).computeImage(), expected)


def ratingOf(science):
    return KernelCandidate(5, 5, makeStamp(science.shape), science, config).rating


def test_ratingIsTheMeanSignalToNoiseOfTheCore():
    rng = np.random.default_rng(3)
    science = makeStamp((21, 25))
    science.image[:] = rng.normal(50.0, 5.0, science.shape)
    science.variance[:] = rng.uniform(1.0, 4.0, science.shape)
    core = np.s_[7:14, 9:16]
    expected = (science.image[core].astype(float) / np.sqrt(science.variance[core].astype(float))).mean()
    assert ratingOf(science) == pytest.approx(expected, rel=1e-12)


def test_coreMayBeLargerThanTheStamp():
    science = makeStamp((3, 5), signal=6.0, variance=4.0)
    assert ratingOf(science) == pytest.approx(3.0)


@pytest.mark.parametrize("plane", ["SAT", "EDGE", "NO_DATA", "BAD", "CR"])
def test_badPixelsDoNotCountInTheRating(plane):
    # A defect of 6e4 counts must not make its candidate the best of its cell.
    science = makeStamp(signal=2.0)
    science.image[5, 5], science.image[0, 0] = 6e4, 1e9
    science.mask[5, 5] = science.mask.getPlaneBitMask(plane)
    assert ratingOf(science) == pytest.approx(2.0)


def test_planesThatDoNotMatterInTheRating():
    science = makeStamp(signal=2.0)
    science.mask[:] = science.mask.getPlaneBitMask(["DETECTED", "INTRP", "SUSPECT"])
    assert ratingOf(science) == pytest.approx(2.0)


def test_valuesThatDoNotCountInTheRating():
    science = makeStamp(signal=2.0)
    science.image[4, 4], science.image[4, 5] = np.nan, np.inf
    science.variance[5, 4], science.variance[5, 5], science.variance[6, 6] = np.nan, -1.0, np.inf
    science.variance[6, 5] = 0.0
    assert ratingOf(science) == pytest.approx(2.0)


@pytest.mark.parametrize("kind", ["masked", "nan", "noiseless"])
def test_coreWithoutAGoodPixelRanksLast(kind):
    science = makeStamp((21, 21), signal=100.0)
    if kind == "masked":
        science.mask[7:14, 7:14] = science.mask.getPlaneBitMask("SAT")
    elif kind == "nan":
        science.image[7:14, 7:14] = np.nan
    else:
        science.variance[:] = 0.0
    assert ratingOf(science) == -math.inf
    cell = SpatialCell("Cell 0x0", Box(0, 0, 10, 10))
    for candidate in (makeCandidate(rating=-50.0), KernelCandidate(5, 5, science, science, config)):
        cell.insertCandidate(candidate)
    assert [c.rating for c in cell.candidates] == [-50.0, -math.inf]


def test_givenRating():
    assert makeCandidate(rating=np.float32(12.5)).rating == 12.5
