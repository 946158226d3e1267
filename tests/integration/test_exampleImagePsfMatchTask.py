"""The example script of the documented task: its modes, its debug pictures and its errors."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

path = Path(__file__).resolve().parents[2] / "examples" / "imagePsfMatchTask.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("exampleImagePsfMatchTask", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lsstDebug", "debug"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    sys.modules.pop("lsstDebug", None)


def test_fakeExposures(example):
    template, science = example.makeFakeExposures()
    assert template.shape == science.shape == (384, 384)
    for exposure in (template, science):
        assert list(exposure.wcs.wcs.ctype) == ["RA---SIN", "DEC--SIN"]
        np.testing.assert_allclose(exposure.wcs.wcs.crval, [215.604, 53.1595], atol=1e-3)
        np.testing.assert_allclose(exposure.wcs.proj_plane_pixel_scales()[0].value, 5.1e-5, rtol=0.01)
        assert exposure.psf.computeKernelImage(0, 0).shape == (21, 21)
    # Median of 147456 Poisson draws of 200 counts, five sigma.
    assert np.median(science.image) == pytest.approx(200.0, abs=1)
    assert np.median(template.image) == 0.0


def test_subtractWithDebug(example, tmp_path, capsys):
    text = """
    import lsstDebug
    def DebugInfo(name):
        debug = lsstDebug.getInfo(name)
        if name == "lsst.ip.diffim.imagePsfMatch":
            debug.display = debug.displaySciIm = True
        return debug
    lsstDebug.Info, lsstDebug.frame, lsstDebug.dpi = DebugInfo, 2, 20
    """
    (tmp_path / "debug.py").write_text("\n".join(line[4:] for line in text.splitlines()))
    result = example.main(["--debug"])
    assert sorted(path.name for path in (tmp_path / "psfmatch-debug").iterdir()) == [
        "002-imagePsfMatch-Image-to-not-convolve.png",
        "003-image-Matched-template.png",
        "004-image-Subtracted-image.png",
    ]
    assert result.subtractedExposure.shape == (384, 384)
    # The noise of the background is about 0.1 counts; the true constant 200.
    assert result.backgroundModel(192, 192) == pytest.approx(200.0, abs=2)
    assert len(result.kernelCellSet.cells) == 9
    assert "subtractExposures: LinearCombinationKernel" in capsys.readouterr().out


def test_matchOnly(example, tmp_path):
    template, science = example.makeFakeExposures()
    template.writeFits(tmp_path / "t.fits")
    science.writeFits(tmp_path / "s.fits")
    result = example.main(["--mode", "matchExposures", "-t", "t.fits", "-s", "s.fits"])
    assert "matchedExposure" in result
    assert "subtractedExposure" not in result
    assert not (tmp_path / "psfmatch-debug").exists()


def test_runsAsAProgram(tmp_path):
    """By its first line and its mode, with the interpreter that the path names."""
    here = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run([path, "--debug"], cwd=tmp_path, env=here, capture_output=True, text=True, check=True)
    assert "subtractExposures: LinearCombinationKernel" in done.stdout
    assert any((tmp_path / "psfmatch-debug").glob("*.png"))


def test_errors(example, tmp_path, capsys):
    (tmp_path / "bad.fits").write_text("no FITS file")
    with pytest.raises(FileNotFoundError, match=r"there is no file missing\.fits for the template"):
        example.main(["-t", "missing.fits", "-s", "bad.fits"])
    with pytest.raises(RuntimeError, match=r"cannot read the template, bad\.fits"):
        example.main(["-t", "bad.fits", "-s", "bad.fits"])
    with pytest.raises(SystemExit):
        example.main(["-t", "bad.fits"])
    assert "give --template and --science" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example.main(["--mode", "addExposures"])
    task = example.MyImagePsfMatchTask(config=example.makeConfig(True))
    with pytest.raises(ValueError, match="mode 'addExposures' is unknown"):
        task.run(None, None, "addExposures")
    kernel = task.config.kernel.active
    assert (kernel.fitForBackground, kernel.spatialKernelOrder, kernel.spatialBgOrder) == (True, 1, 0)
    assert (kernel.sizeCellX, kernel.sizeCellY) == (128, 128)
