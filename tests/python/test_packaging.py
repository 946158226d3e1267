"""Recipe, container, wheels and pyproject.toml say the same. What only an engine can try is tried by the workflows."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "docs" / "packaging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RECIPE = yaml.safe_load((PACKAGING / "recipe.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (PACKAGING / "Dockerfile").read_text(encoding="utf-8")
CLASSIFIERS = PROJECT["project"]["classifiers"]
PYTHONS = sorted(c.rpartition(" ")[2] for c in CLASSIFIERS if re.search(r"Python :: 3\.\d+$", c))

OTHER_NAMES = {"astropy": "astropy-base", "cmeel-eigen": "eigen"}
"""What conda calls what PyPI has under another name."""


def requirement(text):
    """Name and bounds of a requirement, as both write them."""
    name, bounds = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", text).groups()
    return OTHER_NAMES.get(name, name), bounds


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            RECIPE["requirements"]["run"],
            [*PROJECT["project"]["dependencies"], f"python{PROJECT['project']['requires-python']}"],
        ),
        (RECIPE["requirements"]["host"], [*PROJECT["build-system"]["requires"], "python", "pip"]),
        ([RECIPE["requirements"]["build"][2]], [f"cmake{PROJECT['tool']['scikit-build']['cmake']['version']}"]),
    ],
    ids=["run", "host", "cmake"],
)
def test_requirementsOfTheRecipe(theirs, ours):
    assert {requirement(text) for text in theirs} == {requirement(text) for text in ours}


def test_recipe():
    assert RECIPE["schema_version"] == 1
    assert RECIPE["context"]["version"] == PROJECT["project"]["version"]
    assert RECIPE["package"] == {"name": "psfmatch", "version": "${{ version }}"}
    assert (PACKAGING / RECIPE["source"]["path"]).resolve() == ROOT
    assert RECIPE["about"]["license"] == PROJECT["project"]["license"]
    assert (ROOT / RECIPE["about"]["license_file"]).is_file()
    assert RECIPE["about"]["homepage"] == PROJECT["project"]["urls"]["Homepage"]
    tried = set(RECIPE["tests"][1]["script"])
    assert tried <= set(PROJECT["tool"]["cibuildwheel"]["test-command"])


def instructions():
    """Instruction and argument of each line of the Dockerfile."""
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def test_dockerfile():
    known = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    bases = [argument.split()[0] for name, argument in instructions() if name == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:(.+)-slim", bases[0])[1] in PYTHONS
    extras = re.search(r"\[([a-z,]+)\]", DOCKERFILE)[1].split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    (entry,) = [argument for name, argument in instructions() if name == "ENTRYPOINT"]
    assert yaml.safe_load(entry) == list(PROJECT["project"]["scripts"])


def test_commandsInTheDockerfileExist():
    from psfmatch.cli.command import _parser
    from psfmatch.cli.parser import commandsOf

    commands = commandsOf(_parser())
    for name, argument in instructions():
        for part in re.findall(r"psfmatch (--version|[a-z]+)[^&]*", argument if name == "RUN" else ""):
            assert part == "--version" or part in commands
        if name == "CMD":
            assert yaml.safe_load(argument)[0] in commands
    for line in DOCKERFILE.splitlines():
        if line.startswith("#   docker run"):
            words = shlex.split(line.removeprefix("#"))
            commands[words[words.index("psfmatch") + 1]].parse_args(words[words.index("psfmatch") + 2 :])


@pytest.mark.parametrize("version", [*PYTHONS, "3.14t"])
def test_wheelsOfEachPython(version):
    assert f"cp{version.replace('.', '')}-*" in PROJECT["tool"]["cibuildwheel"]["build"]


@pytest.mark.parametrize(
    ("system", "table"),
    [("Linux", "linux"), ("MacOS", "macos"), ("Windows", "windows"), ("Free Threading", "overrides")],
)
def test_wheelsOfEachSystem(system, table):
    """What the classifiers name has wheels."""
    assert any(system in classifier for classifier in CLASSIFIERS)
    assert table in PROJECT["tool"]["cibuildwheel"]
    skipped = PROJECT["tool"]["cibuildwheel"]["skip"]
    assert not [pattern for pattern in skipped if re.search(r"win|macos|manylinux|cp3", pattern)]


def test_pybind11IsNewEnough():
    """native_enum and mod_gil_not_used are of pybind11 3."""
    assert "pybind11>=3" in PROJECT["build-system"]["requires"]
    module = (ROOT / "python" / "bindings" / "module.cpp").read_text(encoding="utf-8")
    cmake = (ROOT / "python" / "bindings" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "mod_gil_not_used" in module
    assert "find_package(pybind11 3 " in cmake


def test_extrasAreDocumented():
    told = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    internal = {"bench", "peers", "wheel"}
    for extra in set(PROJECT["project"]["optional-dependencies"]) - internal:
        assert f"`{extra}`" in told
