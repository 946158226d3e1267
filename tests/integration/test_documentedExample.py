"""The documented example of the task, its class and debug module as the documentation gives them, in a fresh process.

Nothing of the source tree is on that process's path: it has the installed package alone. Continuous integration
installs a wheel and says so by ``PSFMATCH_INSTALL=wheel``; the name of a test tells on which kind it ran.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The debug module of the documentation, with its values.
DEBUG = """
import sys
import lsstDebug
def DebugInfo(name):
    di = lsstDebug.getInfo(name)
    if name == "lsst.ip.diffim.psfMatch":
        # enable debug output
        di.display = True
        # display mask transparency
        di.maskTransparency = 80
        # show all the candidates and residuals
        di.displayCandidates = True
        # show kernel basis functions
        di.displayKernelBasis = False
        # show kernel realized across the image
        di.displayKernelMosaic = True
        # show coefficients of spatial model
        di.plotKernelSpatialModel = False
        # show the bad candidates (red) along with good (green)
        di.showBadCandidates = True
    elif name == "lsst.ip.diffim.imagePsfMatch":
        di.display = True
        di.maskTransparency = 30
        # show full (remapped) template
        di.displayTemplate = True
        # show science exposure
        di.displaySciIm = True
        # show spatial cells
        di.displaySpatialCells = True
        # show difference image
        di.displayDiffIm = True
        # show the bad candidates (red) along with good (green)
        di.showBadCandidates = True
    elif name == "lsst.ip.diffim.diaCatalogSourceSelector":
        di.display = False
        di.maskTransparency = 30
        di.displayExposure = True
        di.pauseAtEnd = False
    return di
lsstDebug.Info = DebugInfo
lsstDebug.frame = 1
"""

# The class, the block that loads the debug module, the configuration and the call are those of the documentation; the
# exposures come from the script of the examples, as they do there, and what is returned is told.
SCRIPT = """
import json
import runpy
import sys

import lsst.utils.logging as logUtils
logUtils.trace_set_at("lsst.ip.diffim", 4)

from psfmatch import ImagePsfMatchTask


class MyImagePsfMatchTask(ImagePsfMatchTask):

    def __init__(self, *args, **kwargs):
        ImagePsfMatchTask.__init__(self, *args, **kwargs)

    def run(self, templateExp, scienceExp, mode):
        if mode == "matchExposures":
            return self.matchExposures(templateExp, scienceExp)
        elif mode == "subtractExposures":
            return self.subtractExposures(templateExp, scienceExp)


def run(mode, templateExp, scienceExp):
    # Create the Config and use sum of gaussian basis
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.name = "AL"
    config.kernel.active.fitForBackground = True
    config.kernel.active.spatialKernelOrder = 1
    config.kernel.active.spatialBgOrder = 0
    config.kernel.active.sizeCellX = 128
    config.kernel.active.sizeCellY = 128
    # Create the Task
    psfMatchTask = MyImagePsfMatchTask(config=config)
    # Run the Task
    result = psfMatchTask.run(templateExp, scienceExp, mode)
    return psfMatchTask, result


def told(struct):
    return {name: type(value).__name__ for name, value in struct.getDict().items()}


templateExp, scienceExp = runpy.run_path(sys.argv[1])["makeFakeExposures"]()
before = run("subtractExposures", templateExp, scienceExp)[1]
if __name__ == "__main__":
    try:
        import debug
        # Since I am displaying 2 images here, set the starting frame number for the LSST debug LSST
        debug.lsstDebug.frame = 3
    except ImportError as e:
        print(e, file=sys.stderr)
answers = {}
task, result = run("subtractExposures", templateExp, scienceExp)
answers["subtractExposures"] = told(result)
frame, pictures = debug.lsstDebug.frame, [path.name for path in debug.lsstDebug.pictures]
debug.lsstDebug.Info = debug.lsstDebug.getInfo
difference, expected = result.subtractedExposure.image, before.subtractedExposure.image
same = difference.tobytes() == expected.tobytes()
task, result = run("matchExposures", templateExp, scienceExp)
answers["matchExposures"] = told(result)
images = templateExp.maskedImage, scienceExp.maskedImage
kernelSize = result.psfMatchingKernel.shape[0]
candidates = task.makeCandidateList(templateExp, scienceExp, kernelSize)
answers["matchMaskedImages"] = told(task.matchMaskedImages(*images, candidates))
answers["subtractMaskedImages"] = told(task.subtractMaskedImages(*images, candidates))
origin = [sys.modules[name].__file__ for name in ("psfmatch", "psfmatch._core", "lsstDebug")]
paths = dict(path=sys.path, origin=origin)
print(json.dumps(dict(answers=answers, frame=frame, pictures=pictures, same=same, **paths)))
"""

KERNEL = {
    "psfMatchingKernel": "LinearCombinationKernel",
    "backgroundModel": "Chebyshev2D",
    "kernelCellSet": "SpatialCellSet",
}
MATCHED = KERNEL | {"matchedImage": "MaskedImage", "psfMatchedMaskedImage": "MaskedImage"}
MATCHED_EXPOSURES = MATCHED | {"matchedExposure": "Exposure", "warpedExposure": "Exposure"}
DOCUMENTED = {
    "matchExposures": MATCHED_EXPOSURES,
    "subtractExposures": MATCHED_EXPOSURES | {"subtractedExposure": "Exposure"},
    "matchMaskedImages": MATCHED,
    "subtractMaskedImages": MATCHED | {"subtractedMaskedImage": "MaskedImage"},
}
OURS = {"kernelFit": "KernelFit"}
"""What the reference page says that every result holds besides."""


def kindOfInstallation():
    """Return "editable" or "wheel", as the installer has noted it."""
    noted = importlib.metadata.distribution("psfmatch").read_text("direct_url.json") or "{}"
    return "editable" if json.loads(noted).get("dir_info", {}).get("editable") else "wheel"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the script tells, run in an empty folder with the debug module on the path."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("scripts", "path", "work"):
        (folder / name).mkdir()
    (folder / "scripts" / "myScript.py").write_text(SCRIPT)
    (folder / "path" / "debug.py").write_text(DEBUG)
    given = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PSFMATCH_DEBUG"))}
    ended = subprocess.run(
        [sys.executable, folder / "scripts" / "myScript.py", ROOT / "examples" / "imagePsfMatchTask.py"],
        cwd=folder / "work",
        env=given | {"PYTHONPATH": str(folder / "path")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout) | {"folder": folder, "lines": ended.stderr.splitlines()}


@pytest.mark.parametrize("kind", [kindOfInstallation()])
def test_installation(run, kind):
    """A wheel lies with the interpreter's packages, an editable installation in the tree; the tree is on no path."""
    assert kind == os.environ.get("PSFMATCH_INSTALL", kind)
    fromTree = [Path(name).is_relative_to(ROOT / "python") for name in run["origin"]]
    # The core of an editable installation is built, and lies with the packages.
    assert fromTree == ([True, False, True] if kind == "editable" else [False, False, False])
    places = {Path(entry).resolve() for entry in run["path"] if entry}
    assert kind == "editable" or not any(place in places for place in (ROOT, ROOT / "python", Path.cwd()))


@pytest.mark.parametrize("method", DOCUMENTED)
def test_returnedFields(run, method):
    assert run["answers"][method] == DOCUMENTED[method] | OURS


def test_debugModule(run):
    """All views that the module asks for, numbered on from the script's frame; the pixels are those without it."""
    views = [name.split("-", 1)[1].removesuffix(".png") for name in run["pictures"]]
    # Candidates: three mosaics.
    assert views == [
        "imagePsfMatch-Image-to-convolve",
        "imagePsfMatch-Image-to-not-convolve",
        "psfMatch-candidates-stamps",
        "psfMatch-candidates-kernels",
        "psfMatch-candidates-chi",
        "psfMatch-kernel-over-the-field",
        "imagePsfMatch-spatial-cells",
        "imagePsfMatch-difference",
    ]
    assert [int(name.split("-")[0]) for name in run["pictures"]] == list(range(3, run["frame"]))
    written = (run["folder"] / "work" / "psfmatch-debug").iterdir()
    assert sorted(path.name for path in written) == sorted(run["pictures"])
    assert run["same"]


def test_traceLines(run):
    """The two lines that the documentation adds to a script print, without anything else about logging in it."""
    for channel, start in (
        ("imagePsfMatch", "subtractExposures: end after"),
        ("imagePsfMatch", "Pass 0: rejected"),
        ("BuildSingleKernelVisitor", "Candidate "),
        ("KernelSumVisitor", "Kernel sum"),
        ("BuildSpatialKernelVisitor", "Spatial solution"),
    ):
        expected = f"TRACE4.lsst.ip.diffim.{channel} DEBUG: {start}"
        assert any(line.startswith(expected) for line in run["lines"]), expected
