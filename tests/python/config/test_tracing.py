"""Debugging lines come out by level or by trace number, once, under our names or those of the reference."""

import logging
import subprocess
import sys
from contextlib import contextmanager

import pytest
from lsst.utils.logging import TRACE, VERBOSE, LsstLogAdapter, trace_set_at

from psfmatch import ImagePsfMatchTask
from psfmatch.config import Task
from psfmatch.config.taskLog import getTaskLog
from psfmatch.config.tracing import getLogger, writingFor
from psfmatch.testing import simulatePair


@contextmanager
def traced(name, number):
    """Set the trace loggers of a name, and give them back as they were."""
    try:
        trace_set_at(name, number)
        yield
    finally:
        for i in range(6):
            logging.getLogger(f"TRACE{i}.{name}").setLevel(logging.NOTSET)


def write(log):
    log.verbose("verbose %d", 1)
    log.debug("debug %d", 2)
    log.trace("trace %d", 3)


@pytest.mark.parametrize("get", [getLogger, getTaskLog])
def test_byLevelAsAnyLogger(caplog, get):
    log = get("psfmatch.test")
    assert isinstance(log, LsstLogAdapter) == (get is getTaskLog)
    assert type(log.getChild("child")) is type(log)
    for level, expected in (
        (logging.INFO, []),
        (VERBOSE, ["verbose 1"]),
        (logging.DEBUG, ["verbose 1", "debug 2"]),
        (TRACE, ["verbose 1", "debug 2", "trace 3"]),
    ):
        caplog.clear()
        with caplog.at_level(level, logger="psfmatch"):
            write(log)
            assert log.isEnabledFor(logging.DEBUG) == (level <= logging.DEBUG)
        assert caplog.messages == expected
        assert {record.name for record in caplog.records} <= {"psfmatch.test"}


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, []), (1, []), (2, [2]), (3, [2]), (4, [2, 4]), (5, [2, 4, 5])],
)
@pytest.mark.parametrize("name", ["psfmatch.test", "psfmatch", "lsst.ip.diffim.test", "lsst.ip.diffim"])
@pytest.mark.parametrize("get", [getLogger, getTaskLog])
def test_byTraceNumber(caplog, get, name, number, expected):
    with traced(name, number):
        write(get("psfmatch.test"))
    own = "psfmatch.test" if name.startswith("psfmatch") else "lsst.ip.diffim.test"
    assert [record.name for record in caplog.records] == [f"TRACE{i}.{own}" for i in expected]
    # Trace loggers write at DEBUG only: that is the level which handlers are set for.
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG}
    assert all(record.filename == "test_tracing.py" for record in caplog.records)
    assert all(record.funcName == "write" for record in caplog.records)


def test_eachLineOnce(caplog):
    with traced("psfmatch.test", 5), caplog.at_level(logging.DEBUG, logger="psfmatch"):
        write(getLogger("psfmatch.test"))
    assert sorted(caplog.messages) == ["debug 2", "trace 3", "verbose 1"]
    assert [record.name for record in caplog.records] == ["psfmatch.test", "psfmatch.test", "TRACE5.psfmatch.test"]


def test_higherLevelsAreUntouched(caplog):
    log = getLogger("psfmatch.test").getChild("child")
    with traced("psfmatch", 5), caplog.at_level(logging.ERROR, logger="psfmatch"):
        log.info("info")
        log.warning("warning")
        log.error("error")
    assert caplog.messages == ["error"]
    assert caplog.records[0].name == "psfmatch.test.child"


def test_otherNamesAreLeftAlone(caplog):
    with traced("psfmatch.other", 5), traced("lsst.ip.diffim.other", 5), traced("psfmatchother", 5):
        write(getLogger("psfmatch.test"))
        assert not getLogger("psfmatch.test").isEnabledFor(logging.DEBUG)
    assert caplog.messages == []
    with traced("foreign.task", 4):
        getLogger("foreign.task").debug("of a foreign pipeline")
    assert [record.name for record in caplog.records] == ["TRACE4.foreign.task"]


def test_helpersAnswerToTheTaskThatRuns(caplog):
    helper = getLogger("psfmatch.helper")
    with traced("psfmatch.config.task", 4):
        helper.debug("before")
        with writingFor("psfmatch.config.task"):
            helper.debug("inside")
            with writingFor("psfmatch.config.task.subtask"):
                helper.debug("below")
        helper.debug("after")
    assert caplog.messages == ["inside", "below"]


def test_logOfATask(caplog):
    task = Task(name="plain")
    with traced("psfmatch.plain", 4), task.timer("block"):
        task.log.debug("in the block")
    assert caplog.messages[:2] == ["block: start", "in the block"]
    with caplog.at_level(logging.DEBUG, logger="psfmatch"), task.log.temporary_log_level(logging.WARNING):
        task.log.info("hidden")
    assert "hidden" not in caplog.messages


@pytest.mark.parametrize("name", ["psfmatch.imagePsfMatch", "lsst.ip.diffim.imagePsfMatch"])
def test_traceOfASubtraction(caplog, name):
    """The candidates, the rejections, the passes and the steps of one run."""
    pair = simulatePair(seed=4, size=224, brightStars=300, faintStars=100, transients=0)
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialKernelOrder=0, fitForBackground=True)
    with traced(name, 4):
        task = ImagePsfMatchTask(config=config, threads=1)
        result = task.subtractExposures(pair.template, pair.science, 2.7, 3.9)
    lines = [record.getMessage() for record in caplog.records if record.name == f"TRACE4.{name}"]
    fitted = [c for c in result.kernelCellSet if c.isInitialized]
    assert fitted
    for candidate in fitted:
        place = f"Candidate {candidate.id} at ({candidate.x:.1f}, {candidate.y:.1f}): residual"
        assert any(line.startswith(place) and "kernel sum" in line for line in lines)
    for candidate in result.kernelCellSet:
        if candidate.reason is not None:
            assert any(line.startswith(f"Rejecting candidate {candidate.id}") for line in lines)
    for start in ("Pass 0: rejected", "Kernel sum", "Spatial solution", "solve: end after"):
        assert any(line.startswith(start) for line in lines)


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("lsst.ip.diffim.psfMatch", ("Pass 0: rejected", "Candidate ", "Rejecting candidate", "Kernel sum")),
        ("lsst.ip.diffim.BuildSingleKernelVisitor", ("Candidate ",)),
        ("lsst.ip.diffim.KernelSumVisitor", ("Kernel sum",)),
        ("lsst.ip.diffim.BuildSpatialKernelVisitor", ("Spatial solution",)),
        ("lsst.ip.diffim.AssessSpatialKernelVisitor", ("Rejecting candidate",)),
        ("lsst.ip.diffim.KernelPcaVisitor", ("Principal components",)),
    ],
)
def test_namesOfTheDocumentation(caplog, name, starts):
    """Whatever a task is called, its steps answer to the names that the reference gives them."""
    pair = simulatePair(seed=4, size=224, brightStars=300, faintStars=100, transients=0)
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialKernelOrder=0, fitForBackground=True, usePcaForSpatialKernel="Pca" in name)
    with traced(name, 4):
        ImagePsfMatchTask(config=config, name="mine", threads=1).matchExposures(pair.template, pair.science, 2.7, 3.9)
    lines = [record.getMessage() for record in caplog.records if record.name == f"TRACE4.{name}"]
    for start in starts:
        assert any(line.startswith(start) for line in lines), lines


def test_theLoggerOfATaskIsLsstsWhenItIsRead():
    task = ImagePsfMatchTask(threads=1)
    assert isinstance(task.selectDetection.log, LsstLogAdapter)
    assert task.log is task.log
    assert task.log.name == "psfmatch.imagePsfMatch"
    with task.log.temporary_log_level(logging.ERROR):
        assert not task.log.isEnabledFor(logging.INFO)
    task.log = logging.getLogger("other")
    assert task.log.name == "other"


def test_twoLinesAlone():
    """The reference's documentation sets a trace and nothing else: lines come out without a handler."""
    script = (
        "from lsst.utils.logging import trace_set_at\n"
        "trace_set_at('lsst.ip.diffim.psfMatch', 4)\n"
        "from psfmatch.config.tracing import getLogger\n"
        "log = getLogger('psfmatch.psfMatch')\n"
        "log.debug('%d of %d candidates', 3, 5)\n"
        "log.trace('too fine')\n"
        "log.warning('100 %')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["TRACE4.lsst.ip.diffim.psfMatch DEBUG: 3 of 5 candidates", "100 %"]
