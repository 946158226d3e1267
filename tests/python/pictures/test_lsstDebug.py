"""Asking for debug views: the user's debug module, the with block, the command, and no cost for everybody else."""

import logging
import subprocess
import sys

import pytest

from psfmatch.cli import main
from psfmatch.pictures import debugging
from psfmatch.pictures import lsstDebug as debugModule
from psfmatch.testing import makeFakeKernelSet

# The form that the reference documents, with its example values; nothing in it is ours.
DEBUG_MODULE = """
import lsstDebug
def DebugInfo(name):
    debug = lsstDebug.getInfo(name)
    if name == "lsst.ip.diffim.psfMatch":
        debug.display = True
        debug.maskTransparency = 80
        debug.displayCandidates = False
        debug.displayKernelBasis = True
        debug.displayKernelMosaic = False
        debug.plotKernelSpatialModel = False
        debug.showBadCandidates = True
    elif name == "lsst.ip.diffim.imagePsfMatch":
        debug.display = True
        debug.maskTransparency = 30
        debug.displayTemplate = True
        debug.displaySciIm = False
        debug.displaySpatialCells = False
        debug.displayDiffIm = False
        debug.showBadCandidates = True
    elif name == "lsst.ip.diffim.diaCatalogSourceSelector":
        debug.display = False
        debug.maskTransparency = 30
        debug.displayExposure = True
        debug.pauseAtEnd = False
    return debug

lsstDebug.Info = DebugInfo
lsstDebug.frame = 3
"""

SCRIPT = """
import sys
import psfmatch
from psfmatch.testing import makeFakeKernelSet

fakes = makeFakeKernelSet(sizeCell=64, nCell=3, tGaussianWidth=1.5)
config = psfmatch.ImagePsfMatchTask.ConfigClass()
config.kernel.active.alardNGauss = 1
config.kernel.active.alardSigGauss = [2.5]
config.kernel.active.alardDegGauss = [2]
config.kernel.active.scaleByFwhm = False
config.kernel.active.fitForBackground = True
task = psfmatch.ImagePsfMatchTask(config=config)

def run():
    return task.subtractMaskedImages(fakes.template, fakes.science, fakes.starCentres).subtractedMaskedImage.image

plain = run()
assert not {"matplotlib", "lsstDebug"} & set(sys.modules), "debug machinery is loaded without being asked for"
import debug
watched = run()
assert (plain[30:-30, 30:-30] == watched[30:-30, 30:-30]).all()
assert debug.lsstDebug.frame == 5
"""


@pytest.fixture(autouse=True)
def withoutDebug(monkeypatch):
    for name in ("lsstDebug", "debug"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("PSFMATCH_DEBUG_DIR", "PSFMATCH_DEBUG_SCREEN"):
        monkeypatch.delenv(name, raising=False)
    yield
    sys.modules.pop("lsstDebug", None)


def writeDebug(folder, kernelBasis=True, more=""):
    """Write the user's module to a folder, which is made if need be."""
    folder.mkdir(exist_ok=True)
    text = DEBUG_MODULE.replace("displayKernelBasis = True", f"displayKernelBasis = {kernelBasis}")
    (folder / "debug.py").write_text(text + more)


def run(script, folder):
    """Run a script beside the debug module in a process of its own; return what it prints."""
    ended = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def isBasisShown():
    return debugModule.switchesOf("psfMatch").isOn("displayKernelBasis")


def test_unchangedDebugModule(tmp_path):
    writeDebug(tmp_path)
    run(SCRIPT, tmp_path)
    written = sorted(path.name for path in (tmp_path / "psfmatch-debug").iterdir())
    assert written == ["003-imagePsfMatch-Image-to-convolve.png", "004-psfMatch-kernel-basis.png"]


def test_offDoesNothing():
    with debugging(False) as module:
        assert module is None
        assert "lsstDebug" not in sys.modules
        assert debugModule.switchesOf("psfMatch") is None


def test_usefulViewsWithoutAModule(tmp_path):
    with debugging(searchFolder=tmp_path) as module:
        assert module is sys.modules["lsstDebug"]
        for channel, values in debugModule.DEFAULT_SWITCHES.items():
            found = debugModule.switchesOf(channel)
            assert all(found.isOn(name) for name in ["display", *values.split()])
            assert found.maskOpacity == pytest.approx(0.4)
        module.frame = 40
    assert debugModule.switchesOf("psfMatch") is None
    assert sys.modules["lsstDebug"].frame == 1


def test_usersModuleIsRunEachTime(tmp_path):
    for kernelBasis in (True, False):
        # A new file of the same size and second must not be answered from the bytecode of the old one.
        folder = tmp_path / str(kernelBasis)
        writeDebug(folder, kernelBasis)
        with debugging(searchFolder=folder) as module:
            assert module.frame == 3
            assert isBasisShown() is kernelBasis
            assert not debugModule.switchesOf("psfMatch").isOn("displayCandidates")
            assert debugModule.switchesOf("diaCatalogSourceSelector") is None
        assert "debug" not in sys.modules


def test_moduleOnThePath(tmp_path, monkeypatch):
    writeDebug(tmp_path / "path")
    monkeypatch.syspath_prepend(tmp_path / "path")
    monkeypatch.setitem(sys.modules, "debug", pytest)
    with debugging(searchFolder=tmp_path) as module:
        assert module.frame == 3
    assert sys.modules["debug"] is pytest


def test_packageCalledDebugIsNotTaken(tmp_path):
    (tmp_path / "debug").mkdir()
    (tmp_path / "debug" / "__init__.py").write_text("raise AssertionError('not the user\\'s debug module')")
    with debugging(searchFolder=tmp_path):
        assert isBasisShown()


def test_callersOwnInfoIsKept(tmp_path):
    import lsstDebug

    lsstDebug.Info = lambda name: lsstDebug.getInfo(name)
    with debugging(searchFolder=tmp_path):
        assert debugModule.switchesOf("psfMatch") is None


def test_brokenModule(tmp_path):
    (tmp_path / "debug.py").write_text("import lsstDebug\nlsstDebug.frame = 9\nlsstDebug.noSuchThing()\n")
    with pytest.raises(ValueError, match=r"debug\.py: AttributeError: .*noSuchThing"), debugging(searchFolder=tmp_path):
        pass
    assert sys.modules["lsstDebug"].frame == 1
    assert "debug" not in sys.modules


def test_command(tmp_path, monkeypatch, capsys):
    fakes = makeFakeKernelSet(sizeCell=64, nCell=3, tGaussianWidth=1.5)
    from psfmatch import Exposure

    Exposure(fakes.template).writeFits(tmp_path / "t.fits")
    Exposure(fakes.science).writeFits(tmp_path / "s.fits")
    writeDebug(tmp_path, kernelBasis=False, more="lsstDebug.dpi = 20\n")
    monkeypatch.chdir(tmp_path)
    small = ["alardNGauss=1", "alardSigGauss=[2.5]", "alardDegGauss=[2]", "scaleByFwhm=False", "spatialKernelOrder=1"]
    settings = [word for setting in small for word in ("-c", f"kernel.active.{setting}")]
    arguments = ["subtract", "t.fits", "s.fits", "-o", "d.fits", *settings]
    try:
        assert main([*arguments, "--debug"]) == 0
        assert "1 debug views written to psfmatch-debug" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "psfmatch-debug").iterdir()] == [
            "003-imagePsfMatch-Image-to-convolve.png"
        ]
        (tmp_path / "debug.py").write_text("1 / 0")
        assert main([*arguments, "--debug"]) == 2
        assert "ZeroDivisionError" in capsys.readouterr().err
    finally:
        logger = logging.getLogger("psfmatch")
        logger.handlers.clear()
        logger.propagate = True


def test_debugModuleBeforeThePackage(tmp_path):
    """As a script of the reference has it: ``import debug`` first, the package after it."""
    writeDebug(tmp_path)
    script = (
        "import debug, psfmatch\n"
        "from psfmatch.pictures.lsstDebug import switchesOf\n"
        "import lsstDebug\n"
        "print(lsstDebug.frame, switchesOf('psfMatch') is not None)"
    )
    assert run(script, tmp_path).split() == ["3", "True"]
