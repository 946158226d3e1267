"""What a solution says about itself."""

import logging
import math

import numpy as np
import pytest
from hypothesis import settings

from psfmatch.config import PsfMatchConfigAL
from psfmatch.fit.candidates.cells import KernelCandidate, SpatialCellSet
from psfmatch.fit.diagnostics import PassSummary, candidateTable, reportSolution
from psfmatch.images import Box, MaskedImage
from psfmatch.kernels import Chebyshev2D, LinearCombinationKernel, frameOf
from psfmatch.kernels.solutions import KernelSolution, ResidualSummary, SolutionSlot

quick = settings(max_examples=30, deadline=None, derandomize=True)

config = PsfMatchConfigAL()
BOX = Box(100, 200, 64, 32)


def makeCellSet(nGood=0, nBad=0, nUnknown=0, reason="residual rms: 2.0 sigma, limit 1.5"):
    cellSet = SpatialCellSet(BOX, 32)
    stamp = MaskedImage(np.zeros((5, 5)))
    for i in range(nGood + nBad + nUnknown):
        candidate = KernelCandidate(100 + i % 64, 210.0, stamp, stamp, config, rating=-i)
        cellSet.insertCandidate(candidate)
        if i < nGood:
            candidate.accept()
        elif i < nGood + nBad:
            candidate.reject(reason)
    return cellSet


def makeKernel(order=1):
    basis = np.zeros((1, 3, 3))
    basis[0, 1, 1] = 1.0
    parameters = np.zeros((1, (order + 1) * (order + 2) // 2))
    parameters[0, 0] = 2.5
    if order > 0:
        # Zero at the centre of the cells.
        parameters[0, 1] = 1.0
    return LinearCombinationKernel(basis, parameters, bbox=BOX)


def makeBackground(*parameters):
    return Chebyshev2D(parameters or (0.0,), frameOf(BOX))


def report(caplog, cellSet, kernel=None, background=None, condition=100.0, limit=1e10):
    """Return the metadata and what was logged, as (level, message)."""
    metadata = {}
    logger = logging.getLogger("psfmatch.test")
    caplog.clear()
    with caplog.at_level(logging.INFO, "psfmatch.test"):
        reportSolution(
            logger, metadata, cellSet, kernel or makeKernel(), background or makeBackground(), condition, limit
        )
    return metadata, [(r.levelname, r.getMessage()) for r in caplog.records]


def test_metadataOfASolution(caplog):
    metadata, messages = report(caplog, makeCellSet(nGood=10, nBad=3, nUnknown=2))
    assert metadata == {
        "spatialKernelSum": pytest.approx(2.5, rel=1e-14),
        "spatialConditionNum": 100.0,
        "nCandidates": 15,
        "nGoodCandidates": 10,
        "nBadCandidates": 3,
        "rejectionReasons": {"residual rms": 3},
    }
    assert messages == [
        ("INFO", "Final spatial kernel sum 2.5000"),
        ("INFO", "Spatial model condition number 100"),
        ("INFO", "Kernel candidates: 15 in total, 10 good, 3 rejected"),
        ("INFO", "  rejected 3: residual rms"),
        ("INFO", "Spatial kernel model well constrained by 10 candidates for 3 terms"),
    ]


def test_commonReasonsComeFirst(caplog):
    cellSet = makeCellSet(nGood=20, nBad=6)
    for candidate, reason in zip([c for c in cellSet if c.reason], "abbbcc", strict=True):
        candidate.reject(f"{reason}: 1")
    metadata, messages = report(caplog, cellSet)
    assert metadata["rejectionReasons"] == {"a": 1, "b": 3, "c": 2}
    assert [m for _, m in messages if m.startswith("  rejected")] == [
        "  rejected 3: b",
        "  rejected 2: c",
        "  rejected 1: a",
    ]


@pytest.mark.parametrize(
    ("condition", "warning"),
    [
        (1e9, None),
        (1e10, None),
        (1.1e10, "exceeds max condition number: 1.1e+10 > 1e+10"),
        (math.inf, "exceeds max condition number: inf"),
        (-3.0, r"Condition number is negative (-3)"),
    ],
)
def test_conditionNumber(caplog, condition, warning):
    metadata, messages = report(caplog, makeCellSet(nGood=10), condition=condition)
    assert metadata["spatialConditionNum"] == condition
    warnings = [message for level, message in messages if level == "WARNING"]
    assert len(warnings) == (warning is not None)
    assert all(warning in message for message in warnings)


@pytest.mark.parametrize(("nBad", "isWarned"), [(8, False), (9, True)])
def test_manyRejectedCandidates(caplog, nBad, isWarned):
    _, messages = report(caplog, makeCellSet(nGood=4, nBad=nBad), makeKernel(order=0))
    expected = ("WARNING", "Many more candidates rejected (9) than accepted (4); check the variance planes and masks")
    assert (expected in messages) == isWarned


@pytest.mark.parametrize(
    ("nGood", "order", "level", "text"),
    [
        (5, 2, "WARNING", "kernel model underconstrained by 5 candidates for 6 terms; use a lower spatialKernelOrder"),
        (6, 2, "WARNING", "kernel model poorly constrained by 6 candidates for 6 terms; consider a lower"),
        (12, 2, "WARNING", "kernel model poorly constrained by 12 candidates for 6 terms"),
        (13, 2, "INFO", "kernel model well constrained by 13 candidates for 6 terms"),
        (0, 0, "WARNING", "kernel model underconstrained by 0 candidates for 1 terms"),
        (3, 0, "INFO", "kernel model well constrained by 3 candidates for 1 terms"),
    ],
)
def test_constraintOfTheKernel(caplog, nGood, order, level, text):
    _, messages = report(caplog, makeCellSet(nGood=nGood), makeKernel(order))
    assert [found for found, message in messages if text in message] == [level]


def test_constraintOfTheBackground(caplog):
    background = makeBackground(1.0, 0.0, 2.0)
    _, messages = report(caplog, makeCellSet(nGood=5), makeKernel(order=0), background)
    assert (
        "WARNING",
        "Spatial background model poorly constrained by 5 candidates for 3 terms; consider a lower spatialBgOrder",
    ) in messages
    # A background of nothing but zero was not fitted.
    _, messages = report(caplog, makeCellSet(nGood=5), makeKernel(order=0), makeBackground(0.0))
    assert not any("background" in message for _, message in messages)


def test_emptyCells(caplog):
    metadata, _ = report(caplog, makeCellSet())
    assert (metadata["nCandidates"], metadata["nGoodCandidates"], metadata["nBadCandidates"]) == (0, 0, 0)
    assert metadata["rejectionReasons"] == {}


tableColumns = [
    *("id", "x", "y", "rating", "status", "reason", "kernelSum", "background"),
    *("residualMean", "residualRms", "spatialMean", "spatialRms"),
]


def test_tableOfCandidates():
    cellSet = makeCellSet(nGood=1, nBad=1, nUnknown=1)
    good, bad, unknown = cellSet
    basis = np.ones((1, 3, 3)) / 9.0
    original = KernelSolution(basis, np.array([1.5]), 3.25, 1.5, np.eye(1), np.ones(1))
    recent = KernelSolution(basis, np.array([1.75]), 4.5, 1.75, np.eye(1), np.ones(1))
    good.setKernelSolution(original)
    good.setKernelSolution(recent, SolutionSlot.PCA)
    good.residual, good.spatialResidual = ResidualSummary(0.1, 1.1, 400), ResidualSummary(-0.2, 1.3, 400)
    bad.setKernelSolution(original)
    bad.residual = ResidualSummary(math.nan, math.nan, 0)
    table = candidateTable(cellSet)
    assert table.colnames == tableColumns
    assert table["id"].tolist() == [1, 2, 3]
    assert table["x"].tolist() == [100.0, 101.0, 102.0]
    assert table["y"].tolist() == [210.0] * 3
    assert table["rating"].tolist() == [0.0, -1.0, -2.0]
    assert table["status"].tolist() == ["GOOD", "BAD", "UNKNOWN"]
    assert table["reason"].tolist() == ["", "residual rms: 2.0 sigma, limit 1.5", ""]
    nan = math.nan
    for name, expected in (
        ("kernelSum", [1.75, 1.5, nan]),
        ("background", [4.5, 3.25, nan]),
        ("residualMean", [0.1, nan, nan]),
        ("residualRms", [1.1, nan, nan]),
        ("spatialMean", [-0.2, nan, nan]),
        ("spatialRms", [1.3, nan, nan]),
    ):
        np.testing.assert_array_equal(table[name], expected)
    assert unknown.residual is None


def test_tableOfNoCandidates():
    table = candidateTable(makeCellSet())
    assert table.colnames == tableColumns
    assert len(table) == 0


def test_longReasonsAreKeptWhole():
    reason = "single kernel: " + "12 pixels for 31 coefficients; " * 10
    (row,) = candidateTable(makeCellSet(nBad=1, reason=reason))
    assert row["reason"] == reason


def test_summaryOfAPassWithoutASolution():
    summary = PassSummary(1, 2, 3, 0, 0, 5, 1.0, 0.1)
    assert math.isnan(summary.conditionNumber)
