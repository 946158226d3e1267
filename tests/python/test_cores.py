"""Threads are cores: nothing on the default path works on threads that nobody asked for, and none holds up others."""

import _thread
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest

from psfmatch import ImagePsfMatchTask, _core, subtract
from psfmatch.testing import simulatePair

BINDINGS = Path(__file__).resolve().parents[2] / "python" / "bindings"
# Calls that only copy or read a few numbers; constructors by their class.
QUICK = {"bSplines", "ofOrder", "isSupported", "joined", "polynomials", "frameOf", "statistics", "asarray"}
QUICK |= {"Frame", "SpatialFunction", "CandidateFitControl", "StampPair", "StampEquations"}
QUICK |= {"RegionFlags", "SpatialModelOptions", "replaced", "CellGrid", "Streak", "part"}
RELEASE = re.compile(r"gil_scoped_release|withoutLock|self\.call\(")
# NumPy's BLAS shall have threads to use even on one core.
MORE_THREADS = os.environ | {"OPENBLAS_NUM_THREADS": "4"}
SMALL = 36  # elements of a matrix


@pytest.fixture(scope="module")
def usage():
    """What a run on one thread calls of NumPy's linear algebra, and the seconds that other threads worked for it."""
    script = Path(__file__).with_name("algebraCalls.py")
    found = subprocess.run([sys.executable, script], env=MORE_THREADS, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def test_defaultPathLeavesMatricesToTheCore(usage):
    large = [f"{name} of {size} elements: {place}" for place, name, size in usage["calls"] if size > SMALL]
    assert not large, f"{len(large)} calls of NumPy's linear algebra:\n" + "\n".join(large)
    places = [f"{name}: {place}" for place, name, _ in usage["calls"]]
    assert len(places) <= 12, f"{len(places)} small calls of NumPy's linear algebra:\n" + "\n".join(places)


@pytest.mark.parametrize("run", ["othersForOne", "othersForTwo"])
def test_nobodyElseWorks(usage, run):
    """Processor time, s, of threads that a run on one thread, or on two, did not start."""
    assert usage[run] < 0.005


def callsThatHoldTheLock(folder):
    """Functions, methods and constructors of the binding files that run with the lock, or long ones without Ctrl-C."""
    held = []
    for path in sorted(folder.glob("*.cpp")):
        owner, text = "?", path.read_text()
        functions = re.findall(r"^[\w:<>, ]+?\b(\w+)\([^;{}]*\) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
        helpers = [name for name, body in functions if RELEASE.search(body) and not name.startswith(("bind", "add"))]
        releases = re.compile("|".join([RELEASE.pattern, *(rf"\b{name}\b" for name in helpers)]))
        for piece in re.split(r"(?=\.def(?:_\w+)?\(|py::class_<|py::native_enum<)", text):
            begins = re.match(r'py::class_<(\w+)|\.def\(\s*(?:"(\w+)"|(py::init))', piece)
            if begins is None:
                continue
            owner = begins[1] or owner
            name = owner if begins[3] else begins[2]
            isQuick = name is None or name in QUICK or name.startswith("__")
            isDeaf = "int nThreads" in piece and "interruptible(" not in piece
            if isDeaf or not (isQuick or releases.search(piece)):
                held.append(f"{path.name}: {name}")
    return held


def test_everyCallOfTheCoreReleasesTheLock(tmp_path):
    assert callsThatHoldTheLock(BINDINGS) == []
    (tmp_path / "some.cpp").write_text("""
        py::class_<Thing>(module, "Thing")
            .def(py::init([](int n) { return make(n); }), py::arg("n"))
            .def_property_readonly("size", [](Thing const& self) { return self.size(); })
            .def("grow", [](Thing& self) { return withoutLock([&] { return grow(self); }); })
            .def("shrink", &shrink);
        module.def("isSupported", &isSupported);
        module.def("work", [](int nThreads) { return withoutLock([&] { return work({nThreads}); }); });
    """)
    assert callsThatHoldTheLock(tmp_path) == [f"some.cpp: {name}" for name in ("Thing", "shrink", "work")]


def test_theCoreNeedsNoInterpreterLock():
    """It says so; where an interpreter can do without its lock, the module does not bring it back."""
    assert "mod_gil_not_used" in (BINDINGS / "module.cpp").read_text()
    code = "import sys; from psfmatch import _core; print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == f"{not sysconfig.get_config_var('Py_GIL_DISABLED')}\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_longCallsCanBeInterrupted(threads):
    """Ctrl-C is looked for ten times a second; the work would take seconds."""
    image, boxes = np.ones((64, 64), np.float32), np.tile([0, 0, 64, 64], (1_000_000, 1))
    planes = image, image, np.zeros(image.shape, np.int32), 0
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.02, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _core.lostWeights(planes, planes, boxes, nThreads=threads)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def works():
    """Three kinds of work, each of which returns arrays."""
    pair = simulatePair(3, 160, brightStars=300)
    config = ImagePsfMatchTask.ConfigClass()
    config.selectDetection.thresholdValue = 10
    field = simulatePair(4, 256, brightStars=400)
    planes = field.template.maskedImage, field.science.maskedImage
    config.kernel.active.spatialKernelOrder = 1
    fitted = ImagePsfMatchTask(config=config, threads=1).subtractMaskedImages(*planes, None, 2.6, 3.8)
    kernel = fitted.psfMatchingKernel

    def whole():
        result = subtract(pair.template, pair.science, threads=1)
        return result.difference.image, result.difference.variance

    def fit():
        task = ImagePsfMatchTask(config=config, threads=2)
        return (task.subtractMaskedImages(*planes, None, 2.6, 3.8).subtractedMaskedImage.image,)

    def convolve():
        again = kernel.convolve(planes[0], threads=2)
        return again.image, again.variance, np.asarray(again.mask)

    return [whole, fit, convolve]


def test_eightThreadsAtOnce():
    """Results are those of the same work done alone, bit by bit."""
    kinds = works()
    expected = [work() for work in kinds]
    start = threading.Barrier(8, timeout=60.0)
    problems = []

    def run(number):
        try:
            start.wait()
            for turn in (0, 1):
                kind = (number + turn) % len(kinds)
                for found, wanted in zip(kinds[kind](), expected[kind], strict=True):
                    np.testing.assert_array_equal(found, wanted)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


FORKING = """
import os, threading
from psfmatch import subtract
from psfmatch.testing import simulatePair
pair = simulatePair(3, 384, brightStars=300)
isDone = threading.Event()
def work():
    while not isDone.is_set():
        subtract(pair.template, pair.science, threads=2)
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
for number in range(25):
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    isDone.wait(0.02)
isDone.set()
for worker in workers:
    worker.join()
print("forked")
"""


if hasattr(os, "fork"):  # elsewhere no process is made in the midst of a subtraction

    def test_forkWhileOthersSubtract():
        command = [sys.executable, "-W", "ignore", "-c", FORKING]
        done = subprocess.run(command, env=MORE_THREADS, capture_output=True, text=True, timeout=30)
        assert done.stdout == "forked\n", done.stderr
