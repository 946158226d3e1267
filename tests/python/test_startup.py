"""What the first import and the first answer of the command load: nothing that takes time."""

import json
import subprocess
import sys

import pytest

# Half a second and more together; each is imported by the function that needs it first.
HEAVY = {"numpy", "astropy", "sep", "lsst", "matplotlib", "scipy", "tqdm", "psfmatch._core"}
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def modulesAfter(*steps):
    """Names of the modules that a new interpreter has loaded after each of some pieces of code."""
    code = "\n".join(f"{step}\n{REPORT}" for step in steps)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(json.loads(line)) for line in found.stdout.splitlines() if line.startswith("[")]


@pytest.mark.parametrize(
    "code",
    [
        "import psfmatch; psfmatch.__version__; dir(psfmatch)",
        "from psfmatch.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass",
        "from psfmatch.cli import main\ntry: main(['subtract', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "version", "help"],
)
def test_nothingHeavyIsLoaded(code):
    (modules,) = modulesAfter(code)
    assert "psfmatch" in modules
    assert not HEAVY & modules


def test_readingNeedsNoTaskAndTheFrontDoorNoPictures():
    reading, everything = modulesAfter("from psfmatch import Exposure", "from psfmatch import subtract")
    assert "astropy.io.fits" in reading
    assert not {"astropy.nddata", "lsst.pex.config", "sep", "matplotlib", "scipy"} & reading
    assert "lsst.pex.config" in everything
    assert not {"matplotlib", "scipy", "astropy.nddata", "tqdm"} & everything
