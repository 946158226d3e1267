"""The command line: what it writes, prints and returns, and that a mistake ends in one line, not in a traceback."""

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

import psfmatch
from psfmatch import Exposure, MaskedImage, frontDoorConfig, subtract
from psfmatch.cli import main
from psfmatch.config import configToDict
from psfmatch.testing import simulatePair

pytestmark = pytest.mark.usefixtures("packageLogging")


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=192, brightStars=300, faintStars=100)


@pytest.fixture(scope="module")
def folder(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "science.fits")
    random = np.random.default_rng(0)
    for name in ("noise.fits", "other.fits"):
        noise = MaskedImage(random.normal(size=(128, 128)), variance=np.ones((128, 128)))
        Exposure(noise).writeFits(folder / name)
    (folder / "text.fits").write_text("no FITS file")
    return folder


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Call main with file names in the folder; returns status, standard output and standard error."""

    def call(*arguments):
        known = {path.name: str(path) for path in folder.iterdir()}
        status = main([known.get(a, a).replace("OUT", str(tmp_path)) for a in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


PAIR = ("subtract", "template.fits", "science.fits", "-o", "OUT/difference.fits")
# The kernel as configured, where the choice of the model is not what is looked at.
FIXED = ("-c", "chooseKernel=False", "-c", "kernel.active.spatialKernelOrder=1")
BARE = (*FIXED, "-c", "doDecorrelate=False", "-c", "doAssessQuality=False")


# subtract


@pytest.fixture(scope="module")
def expected(pair):
    """What the command has to write without an option."""
    return subtract(pair.template, pair.science)


def test_subtract(run, expected, tmp_path):
    status, out, err = run(*PAIR)
    assert status == 0
    written = Exposure.readFits(tmp_path / "difference.fits")
    # Files hold everything but the PSFs, which this pair does not have.
    np.testing.assert_array_equal(written.image, expected.difference.image)
    np.testing.assert_array_equal(written.variance, expected.difference.variance)
    np.testing.assert_array_equal(np.asarray(written.mask), np.asarray(expected.difference.mask))
    centre = expected.difference.getBBox().centre
    assert f"sum {expected.kernel.kernelSum(*centre):.4f}" in out
    assert "template convolved" in out
    assert str(tmp_path / "difference.fits") in out
    assert "Convolving the template" in err
    assert "Final spatial kernel sum" not in err
    assert "Traceback" not in err
    # Besides the difference the file holds kernel, stars and configuration.
    kernel = psfmatch.LinearCombinationKernel.readFits(tmp_path / "difference.fits")
    np.testing.assert_array_equal(kernel.scaledParameters, expected.kernel.scaledParameters)
    with fits.open(tmp_path / "difference.fits") as hdus:
        assert {"IMAGE", "MASK", "VARIANCE", "MATCHED", "KBASIS", "KCOEF", "STAMPS", "CONFIG"} <= {
            hdu.name for hdu in hdus
        }
        assert len(hdus["STAMPS"].data) == len(expected.candidates)


def test_subtractAsJson(run, pair, tmp_path):
    status, out, _ = run(*PAIR, "--json", "-q")
    assert status == 0
    summary = json.loads(out)
    assert summary["shape"] == [192, 192]
    assert summary["convolved"] == "template"
    assert summary["output"] == str(tmp_path / "difference.fits")
    assert summary["kernelSum"] == pytest.approx(1.25, rel=0.05)
    assert summary["chiRobustStdev"] == pytest.approx(1.0, abs=0.15)
    assert summary["nGood"] + summary["nRejected"] <= summary["nCandidates"]
    assert sum(summary["rejectionReasons"].values()) == summary["nRejected"]
    assert summary["seconds"] > 0


def test_quietAndVerbose(run):
    _, _, quiet = run(*PAIR, "-q", *FIXED)
    _, _, usual = run(*PAIR, "--overwrite")
    _, _, verbose = run(*PAIR, "-v", "--overwrite")
    _, _, everything = run(*PAIR, "-vv", "--overwrite")
    assert "INFO" not in quiet
    lines = usual.splitlines()
    assert 2 <= len(lines) <= 10
    # More and more, the same lines among them, none twice.
    for fewer, more in ((usual, verbose), (verbose, everything)):
        assert len(more.splitlines()) > 2 * len(fewer.splitlines())
        assert set(fewer.splitlines()) <= set(more.splitlines())
        assert len(set(fewer.splitlines())) == len(fewer.splitlines())
    assert "DEBUG" not in verbose
    assert "chooseKernel: start" in everything


@pytest.mark.parametrize(("mode", "convolved"), [("convolveTemplate", "template"), ("convolveScience", "science")])
def test_mode(run, mode, convolved):
    status, out, _ = run(*PAIR, "--mode", mode, "--json", *BARE)
    assert status == 0
    assert json.loads(out)["convolved"] == convolved


def test_threads(run, tmp_path):
    files = []
    for threads in ("1", "3"):
        assert run(*PAIR, "--threads", threads, *BARE, "--overwrite")[0] == 0
        files.append(Exposure.readFits(tmp_path / "difference.fits").image.tobytes())
    assert files[0] == files[1]
    status, _, err = run(*PAIR, "--threads", "0", "--overwrite")
    assert status == 2
    assert "--threads 0: must be a whole number of at least 1" in err


def test_givenFwhm(run):
    # The documented rule for the widths.
    status, out, _ = run(*PAIR, "--template-fwhm", "2.7", "--science-fwhm", "3.9", "--json", *BARE)
    assert status == 0
    summary = json.loads(out)
    assert summary["basisSigmas"] == pytest.approx([0.7, 1.4, 2.8])
    status, _, err = run(*PAIR, "--template-fwhm", "-1", "--overwrite")
    assert status == 2
    assert "must be a positive number of pixels" in err


def test_picture(run, tmp_path):
    status, _, _ = run(*PAIR, "--picture", "OUT/difference.png", *BARE)
    assert status == 0
    assert (tmp_path / "difference.png").read_bytes().startswith(b"\x89PNG")


def test_planesFromOtherFiles(run, pair, folder, tmp_path):
    """Noise, variance and mask may come from files of their own."""
    exposure = pair.science
    fits.PrimaryHDU(exposure.image).writeto(tmp_path / "bare.fits")
    fits.PrimaryHDU(np.sqrt(exposure.variance)).writeto(tmp_path / "sigma.fits")
    fits.PrimaryHDU(exposure.variance).writeto(tmp_path / "variance.fits")
    bad = exposure.mask.hasAny(("BAD", "SAT"))
    fits.PrimaryHDU(bad.astype(np.uint8)).writeto(tmp_path / "bad.fits")
    sums = []
    for option, file in (("--science-noise", "sigma"), ("--science-variance", "variance")):
        arguments = ("subtract", "template.fits", "OUT/bare.fits", "-o", "OUT/d.fits", "--science-mask", "OUT/bad.fits")
        status, out, _ = run(*arguments, option, f"OUT/{file}.fits", "--ignore-wcs", "--json", *BARE, "--overwrite")
        assert status == 0
        written = Exposure.readFits(tmp_path / "d.fits")
        assert written.mask.hasAny("BAD")[bad].all()
        sums.append(json.loads(out)["kernelSum"])
    # The square of a float32 root is the variance to 1e-7.
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)


def test_bracketsAndGain(run, tmp_path):
    clean = simulatePair(seed=4, size=192, brightStars=300, faintStars=100, badFraction=0)
    hdus = [fits.PrimaryHDU()]
    hdus += [fits.ImageHDU(e.image, name=n) for e, n in ((clean.template, "OLD"), (clean.science, "NEW"))]
    fits.HDUList(hdus).writeto(tmp_path / "both.fits")
    files = ("OUT/both.fits[OLD]", "OUT/both.fits[NEW]")
    status, out, err = run("subtract", *files, "-o", "OUT/d.fits", "--gain", "1.5", "--read-noise", "6", "--json")
    assert status == 0
    assert "gain 1.5" in err
    assert json.loads(out)["kernelSum"] == pytest.approx(1.25, rel=0.05)


def test_ignoreWcs(run, pair, tmp_path):
    moved = pair.template.copy()
    moved.wcs.wcs.crpix = moved.wcs.wcs.crpix + 2000
    moved.writeFits(tmp_path / "moved.fits")
    arguments = ("subtract", "OUT/moved.fits", "science.fits", "-o", "OUT/d.fits")
    status, _, err = run(*arguments)
    assert status == 3
    assert "do not overlap" in err
    assert run(*arguments, "--ignore-wcs", *BARE)[0] == 0


def test_explain(run):
    status, out, _ = run(*PAIR, "--explain", "-q")
    assert status == 0
    assert "Convolving the template: PSF FWHM" in out.split("\n\n", 1)[1]


def test_decorrelatedScoreAndSources(run, expected, tmp_path):
    outputs = "--decorrelated", "OUT/white.fits", "--score", "OUT/score.fits", "--sources", "OUT/sources.fits"
    status, out, _ = run(*PAIR, *outputs, "--json")
    assert status == 0
    summary = json.loads(out)
    written = Exposure.readFits(tmp_path / "white.fits")
    np.testing.assert_array_equal(written.image, expected.decorrelated.image)
    assert summary["score"] == str(tmp_path / "score.fits")
    score = Exposure.readFits(tmp_path / "score.fits")
    np.testing.assert_array_equal(score.image, expected.score.score.image)
    assert score.metadata["FLUXSCAL"] == pytest.approx(expected.score.fluxScale)
    assert score.metadata["SOFTNAME"] == "psfmatch"
    with fits.open(tmp_path / "sources.fits") as hdus:
        found = hdus[1].data
        assert len(found) == summary["nDetections"] == len(expected.detect())


def test_gate(run, tmp_path):
    """A difference that does not pass is written and reported all the same."""
    assert run(*PAIR, "--gate", "grade=F", "--gate", "noiseRobustStdev=2", *FIXED)[0] == 0
    status, out, err = run(*PAIR, "--gate", "noiseRobustStdev=0.1", "--json", *FIXED, "--overwrite")
    assert status == 5
    (failure,) = json.loads(out)["failedGates"]
    assert failure.startswith("noiseRobustStdev is ")
    assert "Quality gate: noiseRobustStdev is" in err
    assert (tmp_path / "difference.fits").exists()


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("grade", "give FIGURE=LIMIT"),
        ("=B", "give FIGURE=LIMIT"),
        ("grade=Z", "choose one of A, B, C, D, F"),
        ("noiseRobustStdev=small", "the limit is not a number"),
        ("noSuchFigure=1", "is no figure"),
    ],
)
def test_wrongGate(run, gate, message):
    status, out, err = run(*PAIR, "--gate", gate, "-q", *FIXED)
    assert status == 2
    assert out == ""
    assert message in err


NOT_WRITTEN = [
    (("-o", "OUT/missing/d.fits"), 3, "there is no directory"),
    (("-o", "OUT"), 3, "it is not a file"),
    (("-o", "science.fits"), 2, "is one of the inputs"),
    (("--sources", "OUT/missing/s.fits"), 3, "there is no directory"),
    (("--picture", "OUT/missing/d.png"), 3, "there is no directory"),
    (("--report", "OUT/missing/d.html"), 3, "there is no directory"),
    (("--decorrelated", "template.fits"), 2, "is one of the inputs"),
    (("--decorrelated", "OUT/difference.fits"), 2, "two outputs go to the same file"),
]


@pytest.mark.parametrize(("arguments", "expected", "message"), NOT_WRITTEN)
def test_outputsAreLookedAtFirst(run, tmp_path, monkeypatch, arguments, expected, message):
    monkeypatch.setattr("psfmatch.cli.subtract.subtractInputs", lambda options: pytest.fail("computed in vain"))
    status, out, err = run(*PAIR, *arguments)
    assert status == expected
    assert out == ""
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["detect", "report"])
def test_outputOfOtherCommands(run, command):
    inputs = ("template.fits",) if command == "detect" else ("template.fits", "science.fits")
    status, out, err = run(command, *inputs, "-o", "OUT/missing/file")
    assert (status, out) == (3, "")
    assert "there is no directory" in err


# Configuration


def test_override(run):
    status, out, _ = run(*PAIR, *BARE, "-c", "kernel.AL.alardDegGauss=2,2,2", "--json")
    assert status == 0
    summary = json.loads(out)
    assert summary["spatialKernelOrder"] == 1
    assert summary["nBasis"] == 18


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kernel.active.spatialKernelOrdr=1", "did you mean spatialKernelOrder"),
        ("nonsense=1", "no field 'nonsense'"),
        ("kernel.active.spatialKernelOrder", "expected field=value"),
        ("kernel.active.spatialKernelOrder=-3", "cannot set kernel.active.spatialKernelOrder"),
        ("kernel.active.kernelSize=20", "even"),
    ],
)
def test_wrongOverride(run, tmp_path, override, message):
    status, out, err = run(*PAIR, "-c", override)
    assert status == 2
    assert out == ""
    assert err.startswith("psfmatch: error: ")
    assert message in err
    assert not (tmp_path / "difference.fits").exists()


def test_configurationFiles(run, tmp_path):
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = 1
    config.doDecorrelate = config.doAssessQuality = False
    config.save(str(tmp_path / "saved.py"))
    (tmp_path / "saved.json").write_text(json.dumps(configToDict(config)))
    for file in ("OUT/saved.py", "OUT/saved.json"):
        status, out, _ = run(*PAIR, "--config", file, "--json", "--overwrite")
        assert status == 0
        assert json.loads(out)["spatialKernelOrder"] == 1
    # An override comes after the file.
    status, out, _ = run(
        *PAIR, "--config", "OUT/saved.json", "-c", "kernel.active.spatialKernelOrder=0", "--json", "--overwrite"
    )
    assert json.loads(out)["spatialKernelOrder"] == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken.json", "{"),
        ("unknown.json", '{"noSuchField": 1}'),
        ("list.json", "[1, 2]"),
        ("broken.py", "config.kernel.active.("),
        ("unknown.py", "config.noSuchField = 1\n"),
        ("name.py", "noSuchName\n"),
        ("other.py", "assert type(config).__name__ == 'OtherConfig'\n"),
        ("missing.py", None),
        ("missing.json", None),
    ],
)
def test_brokenConfigurationFiles(run, tmp_path, name, text):
    """One line that names the file, and a status; no traceback."""
    if text is not None:
        (tmp_path / name).write_text(text)
    status, _, err = run(*PAIR, "--config", f"OUT/{name}")
    assert status in (2, 3)
    assert err.startswith("psfmatch: error: ")
    assert name in err


# Errors


@pytest.mark.parametrize(
    ("template", "science", "status", "message"),
    [
        ("template.fits", "OUT/nowhere.fits", 3, "nowhere.fits"),
        ("OUT/nowhere.fits", "science.fits", 3, "nowhere.fits"),
        ("text.fits", "science.fits", 3, "text.fits"),
        ("noise.fits", "science.fits", 3, "128x128"),
        ("template.fits[NOISE]", "science.fits", 3, "NOISE"),
        ("noise.fits", "other.fits", 4, "neither image of 128x128 pixels has a source"),
    ],
)
def test_exitStatus(run, folder, tmp_path, template, science, status, message):
    template = template.replace("template.fits[", f"{folder}/template.fits[")
    found, out, err = run("subtract", template, science, "-o", "OUT/difference.fits")
    assert found == status
    assert out == ""
    assert message in err
    assert err.splitlines()[-1].startswith("psfmatch: error: ")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_tooFewStars(run, tmp_path):
    status, _, err = run(*PAIR, *FIXED, "-c", "kernel.active.minKernelSources=500")
    assert status == 4
    assert "minKernelSources is 500" in err
    assert not (tmp_path / "difference.fits").exists()


def test_outputCannotBeWritten(run, tmp_path):
    for output in ("OUT/no/such/folder/d.fits", "OUT"):
        status, _, err = run("subtract", "template.fits", "science.fits", "-o", output, *BARE)
        assert status in (2, 3)
        assert str(tmp_path) in err.splitlines()[-1]


def test_outputIsAnInput(run, pair, tmp_path):
    """A slip in the order of arguments must not cost an image."""
    path = tmp_path / "science.fits"
    pair.science.writeFits(path)
    before = path.read_bytes()
    status, _, err = run("subtract", "template.fits", "OUT/science.fits", "-o", "OUT/science.fits")
    assert path.read_bytes() == before
    assert status == 2
    assert "science.fits" in err


def test_interrupt(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("psfmatch.frontdoor.subtract", interrupted)
    status, _, err = run(*PAIR)
    assert status == 130
    assert err.endswith("psfmatch: interrupted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["subtract"],
        ["subtract", "a.fits", "b.fits"],
        ["subtract", "a.fits", "b.fits", "-o", "d.fits", "--mode", "both"],
        ["subtract", "a.fits", "b.fits", "-o", "d.fits", "--threads", "two"],
        ["subtract", "a.fits", "b.fits", "-o", "d.fits", "-v", "-q"],
        ["nonsense"],
        ["demo", "--size", "large"],
    ],
)
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("psfmatch: error: ")


# info


def test_info(run, folder):
    status, out, _ = run("info", "science.fits")
    assert status == 0
    for name in ("IMAGE", "MASK", "VARIANCE"):
        assert name in out
    assert "192x192" in out
    status, out, _ = run("info", "science.fits", "--json")
    rows = json.loads(out)
    assert {row["name"]: row["role"] for row in rows if row["name"]} == {
        "PRIMARY": rows[0]["role"],
        "IMAGE": "image",
        "MASK": "mask",
        "VARIANCE": "variance",
    }
    assert [row["shape"] for row in rows if row["name"] == "IMAGE"] == [[192, 192]]


def test_infoOnWhatIsNone(run):
    for name in ("OUT/nowhere.fits", "text.fits", "OUT"):
        status, out, err = run("info", name)
        assert status == 3
        assert out == ""
        assert err.startswith("psfmatch: error: ")


# demo


def test_demo(run, tmp_path, undrawnReport):
    status, out, _ = run("demo", "--size", "192", "--seed", "4", "-o", "OUT/demo")
    assert status == 0
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"template.fits", "science.fits", "difference.fits", "difference.png", "report.html", "report.json"}
    assert "true kernel sum   1.2500" in out
    assert "injected" in out
    assert Exposure.readFits(tmp_path / "demo" / "difference.fits").shape == (192, 192)


@pytest.mark.parametrize("size", ["128", "64"])
def test_smallDemo(run, size, undrawnReport):
    """So small a field may have too few stars: that is said in one line."""
    status, out, err = run("demo", "--size", size, "-o", "OUT/demo", "--json")
    assert status in (0, 2, 4)
    assert "Traceback" not in err
    if status:
        assert err.splitlines()[-1].startswith("psfmatch: error: ")
    else:
        summary = json.loads(out)
        assert summary["trueKernelSum"] == pytest.approx(1.25)
        assert 0 <= summary["nDetected"] <= summary["nInjected"]


def test_impossibleDemo(run):
    status, _, err = run("demo", "--size", "10", "-o", "OUT/demo")
    assert status == 2
    assert "at least 64" in err


# help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--help"],
            ["subtract", "info", "demo", "report", "Exit status: 0 done, 2 usage, 3 bad input, 4 too few stars"],
        ),
        (["subtract", "--help"], ["TEMPLATE", "SCIENCE", "--mode", "--threads", "--json", "-c FIELD=VALUE", "--gain"]),
        (["info", "--help"], ["FILE", "--json"]),
        (["demo", "--help"], ["--size", "--seed", "default: 1024"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in words:
        assert word in text


def test_nothingToDo(capsys):
    assert main([]) == 2
    assert "usage: psfmatch" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == f"psfmatch {psfmatch.__version__}"


def test_moduleAsCommand():
    result = subprocess.run(
        [sys.executable, "-m", "psfmatch", "info", "nowhere.fits"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 3
    assert "nowhere.fits" in result.stderr
    assert "Traceback" not in result.stderr


def test_aProcessOfItsOwnIsNotSearchedForGarbage():
    code = (
        "import gc, sys\n"
        "from psfmatch.cli import main\n"
        "usual = gc.get_threshold()\n"
        "assert main(['info', 'missing.fits']) == 3\n"
        "assert gc.get_threshold() == usual and gc.get_freeze_count() == 0\n"
        "sys.argv = ['psfmatch', 'info', 'missing.fits']\n"
        "assert main() == 3\n"
        "assert gc.get_threshold()[0] > usual[0] and gc.get_freeze_count() > 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
