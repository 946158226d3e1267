"""``psfmatch subtract`` on files with an image for each detector."""

import argparse
import json

import numpy as np
import pytest
from astropy.io import fits

from psfmatch.cli import main
from psfmatch.cli.ccds import Ccd, _outputOf, commonCcds
from psfmatch.images import Exposure
from psfmatch.testing import simulatePair

pytestmark = pytest.mark.usefixtures("packageLogging")

OFF = (
    *("doAssessQuality", "doDecorrelate", "doAlign", "doScaleVariance"),
    *("doFindSaturation", "doFindStreaks", "doFindDefects"),
)
QUICK = ("-q", "-c", "kernel.active.spatialKernelOrder=0", *(text for name in OFF for text in ("-c", f"{name}=False")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two detectors, N1 and N2, in template.fits and science.fits, with their noise in files of their own."""
    folder = tmp_path_factory.mktemp("mosaic")
    pairs = [simulatePair(seed=seed, size=192, brightStars=400, badFraction=0.0) for seed in (4, 5)]
    for which in ("template", "science"):
        images = [fits.PrimaryHDU()]
        noises = [fits.PrimaryHDU()]
        for number, pair in enumerate(pairs, 1):
            exposure = getattr(pair, which)
            images.append(fits.ImageHDU(exposure.image, name=f"N{number}"))
            noises.append(fits.ImageHDU(np.sqrt(exposure.variance), name=f"N{number}"))
        images.append(fits.ImageHDU(np.ones((64, 64), np.float32), name=f"{which}Only"))
        fits.HDUList(images if which == "template" else [images[0], images[2], images[1], images[3]]).writeto(
            folder / f"{which}.fits"
        )
        fits.HDUList(noises).writeto(folder / f"{which}Noise.fits")
    return folder


@pytest.fixture
def run(folder, tmp_path, capsys):
    def call(template, science, *arguments):
        noise = [f"--{which}-noise={folder / which}Noise.fits" for which in ("template", "science")]
        files = str(folder / template), str(folder / science), "-o", str(tmp_path / "d.fits")
        status = main(["subtract", *files, *noise, *QUICK, *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_everyDetectorOfBothFiles(run, tmp_path):
    status, out, err = run("template.fits", "science.fits", "--threads", "2")
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"d_N1.fits", "d_N2.fits"}
    assert "has no SCIENCEONLY: left out" in err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["N2", "N1"]
    assert all(str(tmp_path / f"d_{line.split()[0]}.fits") in line for line in lines)


@pytest.mark.parametrize(
    ("output", "named"),
    [("x/d.fits", "x/d_N1.fits"), ("d.1.fits.gz", "d.1_N1.fits.gz"), ("v1.2.png", "v1.2_N1.png"), ("d", "d_N1")],
)
def test_namesOfOutputs(output, named):
    assert _outputOf(Ccd("N1", ("N1", 1), 1, 1), output) == named


@pytest.mark.parametrize(
    ("hdus", "names"),
    [
        ([("SCI", 1), ("ERR", 1), ("SCI", 2), ("ERR", 2)], ["SCI1", "SCI2"]),
        ([("A", 1), ("B", 1), ("MASK", 1)], ["A", "B"]),
        ([("", 1), ("", 1)], ["1", "2"]),
        ([("IMAGE", 1), ("MASK", 1), ("VARIANCE", 1)], []),
        ([("SCI", 1), ("OTHER", 1)], []),
        ([("A", 1)], []),
    ],
)
def test_whichAreDetectors(tmp_path, hdus, names):
    images = [fits.ImageHDU(np.zeros((2, 2)), name=name, ver=version) for name, version in hdus]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    options = argparse.Namespace(template=str(tmp_path / "a.fits"), science=str(tmp_path / "a.fits"))
    assert [ccd.name for ccd in commonCcds(options)] == names
    options.template += "[1]"
    assert commonCcds(options) == []


def test_eachIsThatOfItsOwnHdu(run, folder, tmp_path):
    status, out, _ = run("template.fits", "science.fits", "--json")
    assert status == 0
    summaries = json.loads(out)["ccds"]
    together = Exposure.readFits(tmp_path / "d_N1.fits").image
    alone = [f"--{which}-noise={folder / which}Noise.fits[N1]" for which in ("template", "science")]
    status, out, _ = run("template.fits[N1]", "science.fits[N1]", "--json", *alone)
    assert status == 0
    np.testing.assert_array_equal(together, Exposure.readFits(tmp_path / "d.fits").image)
    assert json.loads(out)["kernelSum"] == summaries["N1"]["kernelSum"]


def test_oneThatFailsStopsNoOther(run, folder, tmp_path):
    with fits.open(folder / "science.fits") as hdus:
        hdus["N2"].data[:] = np.nan
        hdus.writeto(folder / "blind.fits", overwrite=True)
    status, out, err = run("template.fits", "blind.fits", "--json")
    assert status == 3
    assert "error" in json.loads(out)["ccds"]["N2"]
    assert "N2 failed" in err
    assert (tmp_path / "d_N1.fits").exists()
