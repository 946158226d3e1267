"""``psfmatch config``: what it shows is what a run uses, and what it writes is read back."""

import json

import pytest

from psfmatch.cli import main
from psfmatch.cli.config import USUAL
from psfmatch.cli.options import configuration
from psfmatch.config import RegionConfig, applyOverride, configToDict, listFields
from psfmatch.config.forms import updateFromFile
from psfmatch.frontdoor import frontDoorConfig
from psfmatch.frontdoor.options import STEPS

pytestmark = pytest.mark.usefixtures("packageLogging")


@pytest.fixture(scope="module")
def config():
    return frontDoorConfig()


@pytest.fixture(scope="module")
def fields(config):
    return {field.path: field for field in listFields(config)}


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = main(["config", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def asRead(path):
    """Configuration of a run with ``--config path``."""

    class Options:
        config = str(path)
        overrides = ()

    return configToDict(configuration(Options))


def test_everyFieldIsListedOnceAndCanBeSet(config, fields):
    assert len(list(listFields(config))) == len(fields)
    count = 0

    def leaves(data):
        for key, value in data.items():
            if not isinstance(value, dict):
                yield key
            elif "values" not in value:
                yield from leaves(value)
            else:
                yield key
                for choice in value["values"].values():
                    yield from leaves(choice)

    count = sum(1 for _ in leaves(configToDict(config)))
    assert len(fields) == count
    for path in ("kernel.active.kernelSize", "kernel.DF.lambdaValue", "selectDetection.background.binSize", "doAlign"):
        applyOverride(config, f"{path}={fields[path].value}")


def test_limitsTypesAndChoices():
    fields = {field.path: field for field in listFields(RegionConfig())}
    assert fields["halfWidth"].limits == "at least 3"
    assert fields["kernelNorm"].limits == "above 0"
    assert fields["layout"].choices == (
        ("stars", "around the sources"),
        ("tiles", "side by side over the whole field"),
    )
    assert fields["halfWidth"].type == "int"
    assert all(field.doc and "\n" not in field.doc for field in fields.values())


def test_usualFields(run):
    status, out, _ = run()
    assert status == 0
    paths = [line.partition(" = ")[0] for line in out.splitlines() if " = " in line and not line.startswith(" ")]
    assert paths == [*STEPS, *USUAL]
    assert "chooseKernel = True" in out
    assert "--full shows all" in out


def test_fullShowsEveryField(run, fields):
    _, out, _ = run("--full", "--json")
    assert [entry["path"] for entry in json.loads(out)] == list(fields)


def test_searchFindsPathsAndWords(run):
    _, out, _ = run("--search", "LANCZOS", "warpingKernelName")
    assert "kernel.active.warpingConfig.warpingKernelName = lanczos3\n" in out
    assert "doAlign" not in out
    # Only the description has it.
    _, out, _ = run("--search", "shift and affine")
    assert out.startswith("doAlign = True\n")


def test_searchForNothing(run):
    status, _, err = run("--search", "nosuchword")
    assert status == 2
    assert "no field has nosuchword" in err


def test_whatDiffersFromTheDefaultSaysSo(run):
    _, out, _ = run("-c", "kernel.active.spatialKernelOrder=1")
    assert "kernel.active.spatialKernelOrder = 1  (default 2)" in out
    # As in a run: what is set is kept, the rest is chosen.
    assert "chooseKernel = True\n" in out
    assert out.count("(default") == 1
    assert "is kept, and the rest is chosen around it" in out
    _, out, _ = run("-c", "kernel=DF")
    assert "kernel = DF  (default 'AL')" in out


@pytest.mark.parametrize("suffix", [".json", ".toml", ".yaml", ".YML", ".py"])
def test_writtenFileIsReadByARun(run, tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    status, out, _ = run("-c", "kernel.active.kernelSize=23", "-o", path)
    assert status == 0
    assert f"--config {path}" in out
    data = asRead(path)
    expected = frontDoorConfig()
    expected.kernel.active.kernelSize = 23
    expected.fixedKernelFields = ["kernelSize"]
    assert data == configToDict(expected)
    # And by the command itself, to go on from.
    _, out, _ = run("--config", path, "--search", "kernelSize")
    assert "kernel.active.kernelSize = 23  (default 21)" in out


def test_writtenDefaultsAreThoseOfARunWithoutOptions(run, tmp_path):
    run("-o", tmp_path / "usual.json")
    assert asRead(tmp_path / "usual.json") == configToDict(frontDoorConfig())


def test_unknownForm(run, tmp_path):
    status, _, err = run("-o", tmp_path / "mine.txt")
    assert status == 2
    assert "must end in one of .json, .toml, .yaml, .yml, .py" in err


def test_invalidConfigurationIsNotWritten(run, tmp_path):
    status, _, err = run("-c", "kernel.active.alardNGauss=2", "-o", tmp_path / "mine.json")
    assert status == 2
    assert "alardDegGauss has 3 items for alardNGauss=2" in err
    assert not (tmp_path / "mine.json").exists()


@pytest.mark.parametrize("ending", [".json", ".toml", ".py"])
def test_aFileThatIsNotThere(tmp_path, ending):
    with pytest.raises(FileNotFoundError, match=rf"mine\{ending}: no such file"):
        updateFromFile(frontDoorConfig(), tmp_path / f"mine{ending}")
