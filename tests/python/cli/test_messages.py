"""What messages name exists where they appear, and numbers are written as people write them."""

import argparse
import ast
import inspect
import json
import logging
import re
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from reference.referencePage import HOMES

import psfmatch
from psfmatch import images as psfModels
from psfmatch import testing
from psfmatch.batch import Pair, runBatch
from psfmatch.batch.manifest import FILE_COLUMNS, NUMBER_COLUMNS
from psfmatch.cli import main
from psfmatch.cli.command import _parser
from psfmatch.cli.parser import commandsOf, optionsOf
from psfmatch.config import listFields
from psfmatch.errors import OnceFilter, advice, fixed, significant, speakingTo
from psfmatch.io.reading import ReadOptions

ROOT = Path(psfmatch.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
KEYWORD = re.compile(r"(?<![\w.?<&'\"-])([a-z]\w*)=(?![=\"'])")

# Numbers


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "text"),
    [
        (-0.0, 2, False, "0.00"),
        (-0.004, 2, False, "0.00"),
        (-0.004, 2, True, "0.00"),
        (0.004, 2, True, "0.00"),
        (-0.006, 2, False, "-0.01"),
        (0.152, 3, True, "+0.152"),
        (-3.551e-16, 3, True, "0.000"),
        (-0.4, 0, False, "0"),
        (float("nan"), 2, False, "unknown"),
        (float("-inf"), 2, False, "-infinite"),
        (np.float32(-1e-8), 1, False, "0.0"),
    ],
)
def test_fixed(value, decimals, sign, text):
    assert fixed(value, decimals, sign=sign) == text


@pytest.mark.parametrize(
    ("value", "of", "text"),
    [
        (3.551e-16, 1.0, "0"),
        (-3.479e-87, 1.0, "0"),
        # Of a flux in other units it may be the whole.
        (3.551e-16, 0.0, "3.551e-16"),
        (-0.0, 0.0, "0"),
        (1.0, 1.0, "1"),
        (0.98765432, 1.0, "0.9877"),
        (18211.4, 1.0, "18210"),
        (-123456.0, 1.0, "-123500"),
        (2.5e12, 1.0, "2.5e+12"),
        (5.5e-6, 1.0, "5.5e-06"),
        (float("nan"), 1.0, "unknown"),
    ],
)
def test_significant(value, of, text):
    assert significant(value, of=of) == text


def test_linesOnce():
    lines = OnceFilter()
    record = [logging.makeLogRecord({"msg": "%s %d", "args": args, "levelno": 20}) for args in (("a", 1), ("a", 2))]
    assert [lines.filter(each) for each in (*record, *record)] == [True, True, False, False]


ODD = re.compile(
    r"(?<![\w.])[-+\u2212]0(\.0+)?(?![\d.]*[\de])|\d(\.\d+)?e-(0[7-9]|[1-9]\d)|"
    r"(multiplied|divided|scaled) by 1(\.0+)?(?![\d.])|\b(nan|inf)\b"
)


@pytest.fixture(scope="module")
def field():
    return testing.simulatePair(seed=3, size=256)


@pytest.mark.parametrize("name", ["pair", "same image", "twice the image", "moved", "other way", "its own noise"])
def test_noOddNumbersInWords(name, field, caplog):
    template, science = field.template, field.science
    pairs = {
        "pair": (template, science),
        "same image": (science, science),
        "twice the image": (science, psfmatch.Exposure.fromArray(science.image * 2)),
        "moved": (np.roll(template.image, (3, 0), (0, 1)), science.image),
        "other way": (science, template),
        "its own noise": (template.image, science.image),
    }
    caplog.set_level(logging.INFO, "psfmatch")
    result = psfmatch.subtract(*pairs[name], threads=1)
    for line in (*caplog.messages, *result.explain().splitlines(), *str(result.quality).splitlines()):
        assert not ODD.search(line), line


# Names


def test_whoIsSpokenTo():
    words = "gain=", "--gain and --none", "--gain"
    assert advice(*words, manifest="gain column") == "gain="
    with speakingTo("command", ["--gain", "-o"]):
        assert advice(*words) == "--gain"
        assert advice("gain=") == advice("gain=", "--nowhere") == ""
        # The process speaks, whatever thread does.
        heard = []
        thread = threading.Thread(target=lambda: heard.append(advice(*words)))
        thread.start()
        thread.join()
        assert heard == ["--gain"]
        with speakingTo("manifest"):
            assert advice(*words, manifest="the column") == "the column"
    assert advice(*words, manifest="the column") == "gain="


def textsOf(path):
    """Yield the strings of a module that are no docstrings, and whether each is part of an `advice`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(getattr(node, "body", None), list) and node.body and isinstance(node.body[0], ast.Expr)
    }
    # Strings below a name's assignment describe it.
    documents |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    advised = {
        id(part): (number, keyword)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "advice"
        for number, keyword, argument in (
            *((number, "", argument) for number, argument in enumerate(call.args)),
            *((-1, named.arg, named.value) for named in call.keywords),
        )
        for part in ast.walk(argument)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value, advised.get(id(node))


def keywords():
    """All keywords of public functions and methods, fields of configurations and of dataclasses."""
    names = {field.path.rpartition(".")[2] for field in listFields(psfmatch.frontDoorConfig())}
    packages = [import_module(home) for home in sorted(set(HOMES.values()))]
    modules = [*packages, *(getattr(import_module(home), name) for name, home in HOMES.items())]
    modules += [testing, psfModels]
    for module in modules:
        for value in (module, *(getattr(module, name, None) for name in dir(module) if not name.startswith("__"))):
            try:
                names |= set(inspect.signature(value).parameters)
            except (TypeError, ValueError):
                continue
    return names | set(ReadOptions.__annotations__)


LIBRARY = sorted(path for path in ROOT.rglob("*.py") if "cli" not in path.relative_to(ROOT).parts)
LIBRARY = [path for path in LIBRARY if path.parts[-2:] not in {("hotpants", "parsing.py"), ("hotpants", "options.py")}]


def test_libraryNamesOptionsOnlyToTheCommand():
    options = {option for command in commandsOf(_parser()).values() for option in optionsOf(command)}
    found = 0
    for path in LIBRARY:
        for text, place in textsOf(path):
            # Style sheets have variables with two dashes.
            if "{" in text and place is None:
                continue
            for option in OPTION.findall(text.replace("--{which}-fwhm", "--science-fwhm")):
                found += 1
                assert (place or (0,))[0] >= 1, f"{path.name}: {text!r} is told to Python, too"
                assert option in options, f"{path.name}: there is no {option}"
    assert found > 12


def test_libraryNamesKeywordsThatExist():
    known = keywords()
    found = 0
    skipped = ("pictures", "testing", "hotpants")
    for path in LIBRARY:
        if any(part in skipped for part in path.relative_to(ROOT).parts):
            continue
        for text, place in textsOf(path):
            if place is not None and place[0] != 0:
                continue
            for keyword in KEYWORD.findall(text):
                found += 1
                assert keyword in known, f"{path.name}: {text!r} names {keyword}="
    assert found > 15


@pytest.mark.parametrize("path", sorted((ROOT / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_commandNamesItsOwnOptions(path):
    commands = {name: set(optionsOf(command)) for name, command in commandsOf(_parser()).items()}
    shared = set().union(*commands.values())
    known = commands.get(path.stem, shared) | {"--config", "--help", "--version", "--json"}
    for text, _ in textsOf(path):
        if path.stem != "completion":
            assert set(OPTION.findall(text)) <= known, f"{path.name}: {text!r}"


@pytest.mark.parametrize("name", sorted(commandsOf(_parser())))
def test_helpNamesOptionsOfItsCommand(name):
    parser = commandsOf(_parser())[name]
    if name == "hotpants":
        return
    known = set(optionsOf(parser)) | {"--config"}
    assert isinstance(parser, argparse.ArgumentParser)
    assert set(OPTION.findall(parser.format_help().replace("psfmatch hotpants --help", ""))) <= known


# Messages as they come out


@pytest.fixture(scope="module")
def folder(tmp_path_factory, field):
    from astropy.io import fits

    folder = tmp_path_factory.mktemp("messages")
    for name in ("template", "science"):
        exposure = getattr(field, name)
        fits.PrimaryHDU(exposure.image, exposure.wcs.to_header()).writeto(folder / f"{name}.fits")
    moved = field.template.copy()
    moved.wcs.wcs.crpix = moved.wcs.wcs.crpix + 2000
    moved.writeFits(folder / "moved.fits")
    placed = field.science.copy()
    placed.maskedImage = psfmatch.MaskedImage(placed.image, placed.mask, placed.variance, (30, 40))
    placed.writeFits(folder / "placed.fits")
    return folder


PAIR = "template.fits", "science.fits"


def idOf(value):
    """Words for a parameter; a set has no sequence to name it by."""
    return "" if isinstance(value, set) else str(value)[:40]


FAST = "-c", "chooseKernel=False", "-c", "doDecorrelate=False", "-c", "doAssessQuality=False", "-c", "doAlign=False"
MESSAGES = [
    (
        ["subtract", *PAIR, "-o", "d.fits", "--overwrite", *FAST],
        "no noise plane",
        {"--template-noise", "--science-noise", "--gain"},
    ),
    (["report", *PAIR, "-o", "r.html", *FAST, "--threads", "0"], "must be a whole number", {"--threads"}),
    (["apply", "d.fits", *PAIR, "-o", "e.fits"], "no noise plane", {"--template-noise", "--read-noise"}),
    (["detect", "science.fits", "-o", "s.fits"], "no noise plane", set()),
    (["subtract", "moved.fits", "placed.fits", "-o", "d.fits", "--overwrite"], "do not overlap", {"--ignore-wcs"}),
    (
        ["subtract", *PAIR, "-o", "d.fits", "--overwrite", "--science-gain", "-1"],
        "is not a positive number",
        {"--gain"},
    ),
    (
        ["subtract", *PAIR, "-o", "d.fits", "--overwrite", "--read-noise", "5"],
        "was given without",
        {"--read-noise", "--gain"},
    ),
    (
        ["subtract", *PAIR, "-o", "d.fits", "--overwrite", "--science-fwhm", "0"],
        "positive number of pixels",
        {"--science-fwhm"},
    ),
]


@pytest.mark.usefixtures("packageLogging")
@pytest.mark.parametrize(
    ("arguments", "words", "options"), MESSAGES, ids=lambda value: "" if isinstance(value, set) else str(value)[:40]
)
def test_messagesOfTheCommand(arguments, words, options, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    main(arguments)
    lines = [line for line in capsys.readouterr().err.splitlines() if words in line]
    assert lines
    known = set(optionsOf(commandsOf(_parser())[arguments[0]]))
    for line in lines:
        assert set(OPTION.findall(line)) <= known
        assert options <= set(OPTION.findall(line))
        assert not KEYWORD.search(line), line


PYTHON = [
    ({}, "no noise plane", {"gain", "readNoise", "noise", "variance"}),
    ({"threads": 0}, "must be a whole number", {"threads"}),
    ({"gain": -1.0}, "is not a positive number", {"gain"}),
    ({"scienceGain": float("nan")}, "is not a positive number", {"gain"}),
    ({"templateReadNoise": 3.0}, "was given without", {"readNoise", "gain"}),
    ({"scienceFwhmPix": -2.0}, "scienceFwhmPix is -2.0; a FWHM must be a positive number of pixels", set()),
]


@pytest.mark.parametrize(
    ("options", "words", "names"), PYTHON, ids=lambda value: "" if isinstance(value, set) else str(value)[:30]
)
def test_messagesOfPython(options, words, names, folder, caplog):
    known = set(inspect.signature(psfmatch.subtract).parameters) | {"noise", "variance"}
    config = psfmatch.frontDoorConfig()
    config.chooseKernel = config.doDecorrelate = config.doAssessQuality = False
    try:
        psfmatch.subtract(folder / PAIR[0], folder / PAIR[1], config=config, **options)
    except ValueError as error:
        lines = [str(error)]
    else:
        lines = [line for line in caplog.messages if words in line]
    for line in lines:
        assert words in line
        assert not OPTION.search(line)
        assert names <= set(KEYWORD.findall(line)) <= known


def test_messagesOfABatch(folder, tmp_path):
    """They name columns of the manifest, which the command's user and Python's both have."""
    pair = Pair("one", str(folder / PAIR[0]), str(folder / PAIR[1]))
    bad = Pair("two", str(folder / PAIR[0]), str(folder / PAIR[1]), scienceGain=-3.0)
    summary = runBatch([pair, bad], tmp_path / "out", workers=1, threads=1)
    assert (summary.nDone, summary.nFailed) == (1, 1)
    log = (tmp_path / "out" / "one.log").read_text(encoding="utf-8")
    assert "template_noise and science_noise, or gain and read_noise" in log
    assert not OPTION.search(log)
    assert len(log.splitlines()) == len({line.split(" ", 2)[2] for line in log.splitlines()})
    assert "gain -3.0 e-/count is not a positive number" in summary.failures[0].errorMessage
    columns = {*FILE_COLUMNS, *NUMBER_COLUMNS}
    assert {"template_noise", "science_noise", "gain", "read_noise", "science_gain"} <= columns
    assert json.loads((tmp_path / "out" / "one.json").read_bytes())["quality"]["nUsed"] > 0
