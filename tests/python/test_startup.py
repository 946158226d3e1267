"""What the first import and the first answer of the command load: nothing that takes time."""

import json
import subprocess
import sys

import pytest

# Half a second and more together; each is imported by the function that needs it first.
HEAVY = {"numpy", "astropy", "sep", "lsst", "matplotlib", "scipy", "tqdm", "psfmatch._core"}
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def modulesAfter(code):
    """Names of the modules that a new interpreter has loaded after some code, in the last line of its output."""
    found = subprocess.run([sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=True)
    return set(json.loads(found.stdout.splitlines()[-1]))


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
    modules = modulesAfter(code)
    assert "psfmatch" in modules
    assert not HEAVY & modules


def test_readingAnImageNeedsNoTask():
    modules = modulesAfter("from psfmatch import Exposure")
    assert "astropy.io.fits" in modules
    assert not {"astropy.nddata", "lsst.pex.config", "sep", "matplotlib", "scipy"} & modules


def test_theFrontDoorDrawsNothingUnasked():
    modules = modulesAfter("from psfmatch import subtract")
    assert not {"matplotlib", "scipy", "astropy.nddata", "tqdm"} & modules
