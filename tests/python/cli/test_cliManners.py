"""How the command behaves towards who types it: help, versions, typing errors, completion, JSON, what is logged."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import psfmatch
from psfmatch import Exposure, MaskedImage, io
from psfmatch.cli import main
from psfmatch.cli.command import _parser
from psfmatch.cli.completion import completionScript
from psfmatch.cli.parser import commandsOf, optionsOf
from psfmatch.config import configText, configToDict
from psfmatch.frontdoor import frontDoorConfig
from psfmatch.quality import gateNames
from psfmatch.testing import simulatePair

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("packageLogging")


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=192, brightStars=300, faintStars=100)


@pytest.fixture
def folder(pair, tmp_path, monkeypatch):
    pair.template.writeFits(tmp_path / "template.fits")
    pair.science.writeFits(tmp_path / "science.fits")
    for name in ("template", "science"):
        fits.PrimaryHDU(getattr(pair, name).image).writeto(tmp_path / f"{name}-bare.fits")
    Exposure(MaskedImage(np.random.default_rng(0).normal(size=(96, 96)), variance=np.ones((96, 96)))).writeFits(
        tmp_path / "noise.fits"
    )
    (tmp_path / "text.fits").write_text("no FITS file")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys, *arguments):
    """Status, standard output and standard error of the command."""
    try:
        status = main(list(arguments))
    except SystemExit as exit_:
        status = exit_.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


PAIR = "subtract", "template.fits", "science.fits", "-o", "d.fits", "--overwrite"
FAST = "-c", "chooseKernel=False", "-c", "doDecorrelate=False"

# Typing errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["substract", "a", "b"], "no command 'substract': did you mean subtract?"),
        (["Detect", "a"], "no command 'Detect': did you mean detect?"),
        (["xyzzy"], "no command 'xyzzy'; choose from subtract, apply,"),
        ([*PAIR, "--sicence-noise", "n.fits"], "no option --sicence-noise: did you mean --science-noise"),
        ([*PAIR, "--tread", "2"], "no option --tread: did you mean --threads"),
        ([*PAIR, "--sience-gain=2"], "no option --sience-gain: did you mean --science-gain"),
        ([*PAIR, "--mode", "convolveTemplat"], "--mode 'convolveTemplat' is unknown: did you mean convolveTemplate"),
        ([*PAIR, "more.fits"], "unexpected more.fits"),
        (["subtract", "a"], "the following arguments are required: SCIENCE, -o/--output"),
        ([*PAIR, "--threads", "two"], "--threads: invalid int value: 'two'"),
        (["help", "subtrct"], "no command 'subtrct': did you mean subtract"),
        (["completion", "tcsh"], "SHELL 'tcsh' is unknown; choose from bash, zsh, fish"),
        ([*PAIR, "--gate", "noiseRobustStdv=1"], "did you mean noiseRobustStdev"),
        ([*PAIR, "-c", "kernel.active.kernelSice=21"], "did you mean kernelSize"),
        ([*PAIR, "--config", "a.ini"], "its name must end in one of .json, .toml, .yaml, .yml, .py"),
    ],
)
def test_usageErrors(arguments, words, folder, capsys):
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("psfmatch: error: ")
    assert words in line


# Help and version


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option, capsys):
    assert call(capsys, option) == (0, f"psfmatch {psfmatch.__version__}\n", "")


@pytest.mark.parametrize("command", sorted(commandsOf(_parser())))
def test_helpOfACommand(command, capsys):
    expected = call(capsys, command, "--help")
    assert expected[0] == 0
    assert expected[1]
    assert call(capsys, "help", command) == expected


def test_helpAlone(capsys):
    assert call(capsys, "help") == call(capsys, "--help")


# Completion


COMPLETED = [
    (["su"], {"subtract"}, set()),
    ([""], {"subtract", "help", "completion"}, {"--help"}),
    (["-"], {"-V", "--version", "--help"}, {"subtract"}),
    (["subtract", "--science-g"], {"--science-gain"}, {"--gain"}),
    (["subtract", "--mode", ""], {"auto", "convolveTemplate", "convolveScience"}, {"--mode"}),
    (["subtract", "--mode", "=", "con"], {"convolveTemplate", "convolveScience"}, {"auto"}),
    (["subtract", "-c", "kernel.active.spatialKernelO"], {"kernel.active.spatialKernelOrder="}, set()),
    (["subtract", "--gate", "gr"], {"grade="}, {"noiseRobustStdev="}),
    (["subtract", "--threads", ""], set(), {"auto"}),
    (["subtract", "a"], set(), {"apply"}),
    (["apply", "--conv"], {"--convolved"}, set()),
    (["help", "de"], {"detect", "demo"}, {"subtract"}),
    (["completion", ""], {"bash", "zsh", "fish"}, set()),
    (["hotpants", "-tm"], {"-tmplim"}, set()),
    (["config", "--form", ""], {"json", "toml", "yaml", "py"}, set()),
]


def idOf(value):
    """Words for a parameter; a set has no sequence to name it by."""
    return "" if isinstance(value, set) else " ".join(value)[:40]


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    script = tmp_path_factory.mktemp("completion") / "psfmatch"
    script.write_text(completionScript(_parser(), "bash"))

    def complete(*words):
        program = (
            f'source {script}; compopt() {{ :; }}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _psfmatch; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        shell = shutil.which("bash")
        assert shell
        ran = subprocess.run(
            [shell, "--norc", "-uc", program, "bash", "psfmatch", *words], capture_output=True, text=True, check=True
        )
        assert ran.stderr == ""
        return set(ran.stdout.split())

    return complete


@pytest.mark.parametrize(
    ("words", "there", "notThere"), COMPLETED, ids=lambda value: "" if isinstance(value, set) else " ".join(value)[:40]
)
def test_completionInBash(words, there, notThere, bash):
    found = bash(*words)
    assert there <= found
    assert not notThere & found
    if not there:
        assert not found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completionKnowsAllOptions(shell, capsys):
    status, script, _ = call(capsys, "completion", shell)
    assert status == 0
    for name, command in commandsOf(_parser()).items():
        assert re.search(rf"\b{name}\b", script)
        for option in optionsOf(command):
            assert option in script or f"-l {option[2:]} " in script or f"-s {option[1:]} " in script


# JSON


JSON = [
    ([*PAIR, *FAST], 0, None),
    ([*PAIR, *FAST, "-c", "doAssessQuality=False"], 0, None),
    ([*PAIR, *FAST, "--gate", "grade=A", "--gate", "noiseRobustStdev=0.1"], 5, None),
    ([*PAIR, "--threads", "0"], 2, "ValueError"),
    ([*PAIR, "--tread", "2"], 2, "UsageError"),
    (["subtract", "missing.fits", "science.fits", "-o", "d.fits"], 3, "FileNotFoundError"),
    (["subtract", "text.fits", "science.fits", "-o", "d.fits"], 3, "ExposureReadError"),
    (["subtract", "noise.fits", "noise.fits", "-o", "d.fits"], 4, "NoKernelCandidatesError"),
    (["detect", "text.fits", "-o", "s.fits"], 3, "ExposureReadError"),
    (["info", "science.fits"], 0, None),
    (["info", "nowhere.fits"], 3, "FileNotFoundError"),
    (["config", "--search", "kernelSize"], 0, None),
    (["config", "--search", "xyzzy"], 2, "ValueError"),
    (["batch", "nowhere.csv", "-o", "out"], 3, "FileNotFoundError"),
    (["report", "empty"], 3, "InputImagesError"),
    (["report", "template.fits"], 2, "ValueError"),
    (["help", "subtract"], 2, "UsageError"),
]


@pytest.mark.parametrize(("arguments", "expected", "error"), JSON, ids=lambda value: str(value)[-40:])
def test_json(arguments, expected, error, folder, capsys):
    status, out, err = call(capsys, *arguments, "--json", "-q")

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    told = json.loads(out, parse_constant=refuse)
    assert status == expected
    if error is not None:
        assert told == {"error": {"type": error, "message": told["error"]["message"]}, "status": status}
        assert err.splitlines()[-1] == f"psfmatch: error: {told['error']['message']}"


def test_jsonHoldsWhatGatesKnow(folder, capsys):
    status, out, _ = call(capsys, *PAIR, *FAST, "--json", "-q")
    assert status == 0
    quality = json.loads(out)["quality"]
    assert set(gateNames()) <= set(quality)
    assert sum(value is not None for value in quality.values()) > 25


def test_jsonOfNumbersThatAreNotFinite(capsys):
    from psfmatch.cli.reporting import printJson

    values = {"a": float("nan"), "b": np.float32(np.inf), "c": np.arange(2), 4: [(1.5, -np.inf)], "e": np.int64(3)}
    printJson(values | {"f": np.bool_(True), "g": None, "h": frozenset})
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "a": None,
        "b": None,
        "c": [0, 1],
        "4": [[1.5, None]],
        "e": 3,
        "f": True,
        "g": None,
        "h": str(frozenset),
    }


def test_jsonOfAnInterruptAndOfAnErrorOfOurs(folder, capsys, monkeypatch):
    for error, expected, kind in (
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
        (KeyError("a"), 6, "KeyError"),
        (MemoryError(), 6, "MemoryError"),
        (ZeroDivisionError("division by zero"), 6, "ZeroDivisionError"),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr("psfmatch.frontdoor.subtract", fail)
        status, out, err = call(capsys, *PAIR, "--json")
        assert status == expected
        assert json.loads(out)["error"]["type"] == kind
        assert ("please report it" in err) == (expected == 6)


# The log


def test_logOfARun(folder, capsys):
    """A line for each decision; -v tells the rest, -q nothing of a pair without a warning."""
    lines = {}
    for option in ("-q", "--", "-v", "-vv"):
        _, _, err = call(capsys, *PAIR, *(() if option == "--" else (option,)))
        lines[option] = err.splitlines()
        assert len(set(lines[option])) == len(lines[option])
    assert all(line.startswith("WARNING") for line in lines["-q"])
    subjects = [re.split(r"[:;]| \(", line.removeprefix("INFO").strip())[0] for line in lines["--"]]
    assert len(set(subjects)) == len(subjects) <= 10
    assert {"Alignment", "Convolving the template"} <= set(subjects)
    assert len(lines["--"]) + 8 < len(lines["-v"]) < len(lines["-vv"])


def test_explanationIsNotLoggedBesides(folder, capsys):
    _, out, err = call(capsys, *PAIR, "--explain")
    assert "Convolving the template" in out
    assert "INFO" not in err


def test_logOfPythonSaysWhatIsDecided(pair, caplog):
    caplog.set_level(logging.INFO, "psfmatch")
    psfmatch.subtract(pair.template, pair.science, threads=1)
    decided = [record for record in caplog.records if getattr(record, "isDecision", False)]
    assert 2 <= len(decided) < len(caplog.records) / 2


# Gains


@pytest.mark.parametrize(
    ("options", "python", "template", "science"),
    [
        (["--gain", "1.5"], {"gain": 1.5}, "gain 1.5 e-/count, read noise 0 e-", "gain 1.5 e-/count, read noise 0 e-"),
        (
            ["--gain", "1.5", "--read-noise", "6"],
            {"gain": 1.5, "readNoise": 6.0},
            "gain 1.5 e-/count, read noise 6 e-",
            "gain 1.5 e-/count, read noise 6 e-",
        ),
        (["--science-gain", "2"], {"scienceGain": 2.0}, "estimated", "gain 2 e-/count, read noise 0 e-"),
        (["--template-gain", "2"], {"templateGain": 2.0}, "gain 2 e-/count, read noise 0 e-", "estimated"),
        (
            ["--gain", "1.5", "--science-gain", "2", "--read-noise", "5"],
            {"gain": 1.5, "scienceGain": 2.0, "readNoise": 5.0},
            "gain 1.5 e-/count, read noise 5 e-",
            "gain 2 e-/count, read noise 5 e-",
        ),
        (
            ["--template-gain", "1", "--template-read-noise", "3", "--science-gain", "2", "--science-read-noise", "4"],
            {"templateGain": 1.0, "templateReadNoise": 3.0, "scienceGain": 2.0, "scienceReadNoise": 4.0},
            "gain 1 e-/count, read noise 3 e-",
            "gain 2 e-/count, read noise 4 e-",
        ),
    ],
)
def test_gains(options, python, template, science, folder, capsys):
    """The command's options and Python's keywords mean the same, for both images and for each."""
    status, _, err = call(
        capsys, "subtract", "template-bare.fits", "science-bare.fits", "-o", "d.fits", "--ignore-wcs", *FAST, *options
    )
    assert status == 0
    for name, told in (("template", template), ("science", science)):
        (line,) = [each for each in err.splitlines() if f"{name}-bare.fits: no noise plane" in each]
        assert told in line or (told == "estimated" and "the sky's scatter" in line)
    config = frontDoorConfig()
    config.chooseKernel = config.doDecorrelate = False
    result = psfmatch.subtract("template-bare.fits", "science-bare.fits", config=config, **python)
    np.testing.assert_array_equal(Exposure.readFits("d.fits").image, result.difference.image)
    # Arrays and Exposures with an estimated variance take them, too.
    again = psfmatch.subtract(
        fits.getdata("template-bare.fits").astype("f4"),
        Exposure.readFits("science-bare.fits"),
        config=config,
        **python,
    )
    np.testing.assert_array_equal(again.difference.variance, result.difference.variance)


def test_gainOfAnImageWithAVariance(pair, caplog):
    result = psfmatch.subtract(pair.template, pair.science, gain=3.0)
    assert "the gain given is not used" in caplog.text
    expected = psfmatch.subtract(pair.template, pair.science)
    np.testing.assert_array_equal(result.difference.variance, expected.difference.variance)


# Configurations


def changed():
    config = frontDoorConfig()
    config.kernel.active.spatialKernelOrder = 1
    config.kernel.active.alardSigGauss = [0.8, 1.6, 3.2]
    config.smoothingSigma = 0.7
    config.doDecorrelate = False
    return config.withNames()


@pytest.mark.parametrize("ending", ["json", "toml", "yaml", "yml", "py"])
def test_writtenConfigurationsAreReadBack(ending, folder, capsys):
    options = [
        *("-c", "kernel.active.spatialKernelOrder=1", "-c", "kernel.active.alardSigGauss=0.8,1.6,3.2"),
        *("-c", "smoothingSigma=0.7", "-c", "doDecorrelate=False"),
    ]
    assert call(capsys, "config", *options, "-o", f"mine.{ending}")[0] == 0
    status, out, _ = call(capsys, "config", "--config", f"mine.{ending}", "--form", "json")
    assert status == 0
    assert json.loads(out) == configToDict(changed())
    form = "yaml" if ending == "yml" else ending
    status, out, _ = call(capsys, "config", *options, "--form", form)
    assert out == (folder / f"mine.{ending}").read_text(encoding="utf-8")


def test_tomlIsToml():
    """Its own reader finds what JSON holds, but for what has no value."""
    data = configToDict(frontDoorConfig())
    assert data.pop("smoothingSigma") is None
    assert tomllib.loads(configText(frontDoorConfig(), "toml")) == data


WRITTEN_BY_HAND = [
    ("a.toml", "kernel.active.spatialKernelOrder = 1\n"),
    ("b.toml", "[kernel.values.AL]\nspatialKernelOrder = 1\n"),
    ("c.toml", '"kernel.AL.spatialKernelOrder" = 1\n'),
    ("d.toml", '[kernel]\nname = "AL"\n[kernel.active]\nspatialKernelOrder = 1\n'),
    ("e.yaml", "kernel:\n  active:\n    spatialKernelOrder: 1\n"),
    ("f.yml", "kernel.active.spatialKernelOrder: 1\n"),
    ("g.json", '{"kernel.active.spatialKernelOrder": 1}'),
    ("h.json", '\ufeff{"kernel": {"AL": {"spatialKernelOrder": 1}}}'),
    ("i.py", "config.kernel.active.spatialKernelOrder = 1\n"),
    ("J.TOML", "kernel.active.spatialKernelOrder = 1\r\n"),
]


@pytest.mark.parametrize(("name", "text"), WRITTEN_BY_HAND)
def test_configurationsWrittenByHand(name, text, folder, capsys):
    (folder / name).write_text(text, encoding="utf-8")
    status, out, _ = call(capsys, "config", "--config", name, "--search", "spatialKernelOrder")
    assert status == 0
    assert "kernel.active.spatialKernelOrder = 1  (default 2)" in out


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "kernel = [", "TOMLDecodeError"),
        ("b.yaml", "a: [", "while parsing"),
        ("c.json", "{", "JSONDecodeError"),
        ("d.toml", "kernel.active.kernelSice = 1", "use kernelSize"),
        ("e.yaml", "kernel:\n  activ: {}", "did you mean active"),
        ("f.toml", 'kernel = "XX"', "it has AL, DF"),
        ("g.json", '{"kernel.active.kernelSize": 21, "kernel": "AL"}', "kernel is given twice"),
        ("h.yaml", "- 1", "is a group of fields"),
        ("i.txt", "", "its name must end in"),
    ],
)
def test_wrongConfigurations(name, text, words, folder, capsys):
    (folder / name).write_text(text)
    status, out, err = call(capsys, "config", "--config", name)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert words in line


def test_yamlWithoutItsPackage(folder, capsys, monkeypatch):
    (folder / "a.yaml").write_text("doAlign: false\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    for arguments in (["config", "--config", "a.yaml"], ["config", "-o", "b.yaml"], ["config", "--form", "yaml"]):
        status, _, err = call(capsys, *arguments)
        assert status == 2
        assert "pip install 'psfmatch[yaml]'" in err


def test_projectUrls():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert {"Homepage", "Documentation", "Repository", "Issues", "Changelog"} <= set(urls)
    assert all(url.startswith("https://") for url in urls.values())


def test_anEndingConsoleIsNoError(folder):
    """A reader that has seen enough, as `head`, ends the command without a word."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "psfmatch", "config", "--full"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_infoTellsWhatIsRead(tmp_path, capsys):
    """A nameless image alone is the image; of several the number says which."""
    plane = np.ones((8, 9), dtype=np.float32)
    fits.PrimaryHDU(plane).writeto(tmp_path / "one.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane), fits.ImageHDU(plane)]).writeto(tmp_path / "two.fits")
    assert call(capsys, "info", str(tmp_path / "one.fits"))[1].splitlines()[-1].endswith("float32    image")
    lines = call(capsys, "info", str(tmp_path / "two.fits"))[1].splitlines()
    assert lines[-1].endswith("image, if [2] is added to the name of the file")
    assert io.readPlanes(f"{tmp_path / 'two.fits'}[2]").image.shape == plane.shape
