"""How the tests run: side by side, each on its own processor, and without a diary of their configurations."""

import gc
import logging
import os
import sys

# Before numpy is loaded, and inherited by the workers: its linear algebra would start threads of its own in each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import lsst.pex.config.wrap  # noqa: F401
import pytest
from lsst.pex.config import callStack


def nearestFrame(skip=0):
    """Return a call stack of one frame: the one that set the value."""
    return [callStack.StackFrame.fromFrame(callStack.getCallerFrame(skip + 1))]


# Each value of a configuration notes the whole call stack of its assignment: some sixty frames under pytest, which
# takes most of the time of a test of configurations and a good part of a small subtraction's. No test reads them.
for name, module in list(sys.modules.items()):
    if name.startswith("lsst.pex.config.") and hasattr(module, "getCallStack"):
        module.getCallStack = nearestFrame


def pytest_collection_finish():
    """What three thousand collected tests are made of stays: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each file to one worker (``pytest -n 2``), so that what its tests share is computed once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(autouse=True)
def packageLogging():
    """Give the package's logger back as it was: the command takes it over."""
    logger = logging.getLogger("psfmatch")
    state = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = state[0], state[2]
    logger.setLevel(state[1])


@pytest.fixture
def undrawnReport(monkeypatch):
    """Figures of reports are made, but not rendered, which takes most of a report's time."""
    from psfmatch.pictures import page

    def pngOf(figure, dpi):
        assert figure.get_size_inches().min() > 0
        return "data:image/png;base64,"

    monkeypatch.setattr(page, "pngOf", pngOf)
    monkeypatch.setattr(page, "_preview", lambda result: "")
