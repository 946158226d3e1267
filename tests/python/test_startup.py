"""What the first import, the first answer of the command and a plain subtraction load: nothing that takes time."""

import json
import os
import subprocess
import sys

import pytest

from psfmatch import Exposure
from psfmatch.io import readConfig
from psfmatch.testing import simulatePair

# Half a second and more together; each is imported by the function that needs it first.
HEAVY = {"numpy", "astropy", "sep", "lsst", "matplotlib", "scipy", "tqdm", "pebble", "psfmatch._core"}
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"

# What only other images, other results or other commands need: each takes longer than a step of the subtraction.
UNNEEDED = {
    "asdf",
    "astropy.coordinates",
    "astropy.io.ascii",
    "astropy.nddata",
    "astropy.table",
    "astropy.time",
    "astropy.wcs",
    "asyncio",
    "dask",
    "gwcs",
    "lsst.pex.config",
    "lsst.resources",
    "lsst.utils",
    "matplotlib",
    "photutils",
    "psfmatch.pictures",
    "psfmatch.transients",
    "scipy",
    "structlog",
    "tqdm",
    "unittest.mock",
    "yaml",
}


def modulesAfter(*steps):
    """Names of the modules that a new interpreter has loaded after each of some pieces of code."""
    code = "\n".join(f"{step}\n{REPORT}" for step in steps)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(json.loads(line)) for line in found.stdout.splitlines() if line.startswith("[")]


def afterCommand(*arguments):
    """Names of the modules that a command has loaded when it ends."""
    status = f"status = main({list(map(str, arguments))!r})\nassert status == 0, status"
    (modules,) = modulesAfter(f"from psfmatch.cli import main\n{status}")
    return modules


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a template and a science image with a plain WCS, and of the difference to write."""
    directory = tmp_path_factory.mktemp("startup")
    pair = simulatePair(seed=3, size=256)
    pair.template.writeFits(directory / "template.fits")
    pair.science.writeFits(directory / "science.fits")
    return directory / "template.fits", directory / "science.fits", directory / "difference.fits"


@pytest.mark.parametrize(
    "code",
    [
        "import psfmatch; dir(psfmatch)",
        "from psfmatch.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass",
        "from psfmatch.cli import main\ntry: main(['subtract', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "version", "help"],
)
def test_nothingHeavyIsLoaded(code):
    (modules,) = modulesAfter(code)
    assert "psfmatch" in modules
    assert not HEAVY & modules


def test_theVersionIsLookedUpForWhoAsks():
    before, after = modulesAfter("import psfmatch", "psfmatch.__version__")
    assert "importlib.metadata" not in before
    assert "importlib.metadata" in after


def test_readingNeedsNoTaskAndTheFrontDoorNoPictures():
    reading, everything = modulesAfter("from psfmatch import Exposure", "from psfmatch import subtract")
    assert "astropy.io.fits" in reading
    assert not {"lsst.pex.config", "lsst.utils", "sep"} & reading
    assert "psfmatch._core" in everything
    assert not UNNEEDED & everything


def test_infoReadsHeadersAlone(files):
    modules = afterCommand("info", files[0])
    assert "astropy.io.fits" in modules
    assert not (UNNEEDED | {"lsst", "psfmatch._core"}) & modules


def test_aPlainSubtractionMakesNoTableNoWcsAndNoConfiguration(files):
    template, science, difference = files
    assert not UNNEEDED & afterCommand("subtract", template, science, "-o", difference, "--overwrite")
    written = Exposure.readFits(difference)
    assert written.shape == (256, 256)
    assert written.hasWcs
    assert readConfig(difference)["chooseKernel"] is False


def test_aFieldThatIsSetNeedsTheConfiguration(files):
    template, science, difference = files
    assert "lsst.pex.config" in afterCommand(
        "subtract", template, science, "-o", difference, "--overwrite", "-c", "kernel.active.spatialKernelOrder=1"
    )


@pytest.mark.parametrize(("name", "usual", "given"), [
    ("NUMPY_MADVISE_HUGEPAGE", "0", "1"),
    ("OPENBLAS_NUM_THREADS", "1", "2"),
])  # fmt: skip
def test_theCommandTellsNumpyWhatItNeedsUnlessTold(name, usual, given):
    """No huge pages, and no threads for an algebra that is not used; a caller with arguments has its own process."""
    code = (
        f"import os, sys\nfrom psfmatch.cli import main\nsys.argv = ['psfmatch', '--version']\nname = {name!r}\n"
        "before = 'numpy' in sys.modules\nfor own in (sys.argv[1:], None):\n"
        "    try: main(own)\n    except SystemExit: print(os.environ.get(name), before)"
    )
    for value in (None, given):
        environment = {key: told for key, told in os.environ.items() if key != name}
        environment |= {} if value is None else {name: value}
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        # Later would be too late: NumPy reads both when it is loaded.
        told = [line for line in found.stdout.splitlines() if line.endswith("False")]
        assert told == [f"{value} False", f"{value or usual} False"]
