"""The examples run as their texts say, on small fields, and print what they promise."""

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from batchStandIns import touch

from psfmatch.cli.command import _parser
from psfmatch.config import KERNEL_CONFIGS
from psfmatch.kernels.basis import KERNEL_BASES
from psfmatch.testing import simulatePair

folder = Path(__file__).resolve().parents[3] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def registry():
    """Forget the kernel basis that an example registers."""
    before = [(known, dict(known)) for known in (KERNEL_BASES, KERNEL_CONFIGS)]
    yield
    for known, was in before:
        known.clear()
        known.update(was)


def test_customBasis(capsys):
    example = load("customBasis")
    example.main(["--size", "300", "--degree", "4"])
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:22].strip(): [float(text) for text in line[22:].split()] for line in lines[1:3]}
    assert rows.keys() == {"Gaussians, default", "shapelets, degree 4"}
    assert [row[0] for row in rows.values()] == [27, 15]
    for _, stars, kernelSum, skyScatter, starScatter in rows.values():
        assert stars >= 3
        # The sum of the kernel is that of the simulation, known from stars of 1 % and better.
        assert kernelSum == pytest.approx(1.25, rel=0.03)
        assert skyScatter == pytest.approx(1.0, abs=0.05)
        # A star's noise has what the kernel could not match on top; a wrong basis gives 2 and more.
        assert starScatter < 1.5
    assert lines[3].startswith("True kernel sum 1.2500.")


def test_shapeletsAreOrthogonal():
    shapelets = load("customBasis").makeShapelets(41, 2.0, 3).reshape(10, -1)
    products = shapelets @ shapelets.T
    norms = np.sqrt(np.diagonal(products))
    # Hermite functions under the weight exp(-x^2): sums over pixels are integrals to exp(-pi^2 sigma^2).
    np.testing.assert_allclose(products / np.outer(norms, norms), np.eye(10), atol=1e-9)


def test_customBasisByConfiguration():
    example = load("customBasis")
    config = example.makeConfig("shapelets")
    config.kernel.active.degree = 2
    task = example.ImagePsfMatchTask(config=config)
    assert type(task.makeKernelBasisList(2.5, 3.5)) is example.Shapelets
    assert task.makeKernelBasisList().shape == (6, 21, 21)


def test_userCatalogue(capsys):
    load("userCatalogue").main(["--size", "512"])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert "stars have magnitudes 13.0 to 17.0" in lines[0]
    assert "3 not cut out: outside, or too close to the edge" in text
    assert "true kernel sum          1.2500" in lines
    assert sum(line.endswith("  used") for line in lines) >= 3
    for name in ("with the catalogue", "with its own detection"):
        line = next(line for line in lines if line.startswith(name))
        kernelSum, scatter = float(line[24:].split()[0]), float(line.split()[-1])
        assert kernelSum == pytest.approx(1.25, rel=0.03)
        assert scatter == pytest.approx(1.0, abs=0.05)
        assert f"from {sum(line.endswith('  used') for line in lines)} stars" in line or name != "with the catalogue"


def test_subclassedTask(capsys):
    load("subclassedTask").main(["--size", "256", "-c", "detection.thresholdValue=6"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["x", "y", "true", "S/N", "true", "flux", "measured"]
    assert "detections besides" in lines[2]
    assert "seconds spent" in lines
    assert any(line.split()[:1] == ["solve"] for line in lines[4:])
    found = re.fullmatch(r"subtract: (\d+) regions, (\d+) of them too bright; grade [A-F]", lines[-1])
    assert int(found[1]) > int(found[2])


def test_subclassedTaskFindsTransients():
    example = load("subclassedTask")
    config = example.TransientTask.ConfigClass()
    pair = simulatePair(seed=4, size=256, brightStars=300, faintStars=100, transients=(40.0, -30.0), badFraction=0.0)
    tables, detected = [], []
    for factor in (2.0, 1.0):
        config.maxElongation = factor
        task = example.TransientTask(config=config, threads=1)
        result = task.run(pair.template, pair.science)
        tables.append(result.transients)
        detected.append(task.metadata["nElongated"] + len(result.transients))
    # Elongated ones are counted, not lost.
    assert detected[0] == detected[1]
    for x, y, flux in pair.truth.transients.iterrows("x", "y", "flux"):
        distance, row = example.nearest(tables[0], x, y)
        assert distance < 1.0
        # Four times the noise of 1/30, and a Gaussian in place of the PSF.
        assert tables[0]["psfFlux"][row] == pytest.approx(flux, rel=0.2)
    # Nothing is perfectly round.
    assert len(tables[1]) == 0
    assert task.metadata["runEndUtc"]
    assert task.detection.getFullName() == "transient.detection"
    assert example.nearest(tables[1], 0.0, 0.0) == (np.inf, -1)


def test_batchExecutor(tmp_path, capsys, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    example = load("batchExecutor")
    monkeypatch.setattr(example, "ProcessPoolExecutor", lambda number, **_: ThreadPoolExecutor(number))
    monkeypatch.setattr("psfmatch.batch.batchRun._subtractPair", lambda: touch)
    (tmp_path / "night.csv").write_text("name,template,science\na,t.fits,s.fits\nfail,t.fits,s.fits\n")
    arguments = [str(tmp_path / "night.csv"), str(tmp_path / "out"), "--processes", "1"]
    assert example.main(arguments).nDone == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["1/2 a: A", "2/2 fail: as the name says"]
    assert lines[2:] == ["1 of 2 done; grades: {'A': 1}", "look at fail: as the name says"]
    # Once more: there is nothing left to do.
    assert example.main(arguments).nLeft == 2


@pytest.mark.parametrize("name", ["batchSlurm.sh", "batchCondor.sub", "batchSnakefile"])
def test_templatesOfBatchSystemsNameOptionsThatExist(name):
    # Continued lines, of a shell and of strings in Python, are one.
    text = re.sub(r'\\\n|"\n +"', " ", (folder / name).read_text())
    commands = [line for line in text.splitlines() if "psfmatch batch" in line and not line.startswith("#")]
    assert commands
    for command in commands:
        words = re.split(r'psfmatch batch|\|\||>|"$', command)[1]
        # What a batch system puts in for its variables is a number.
        words = re.sub(r"\$\w+|\$\(\w+\)|\{[\w.]+\}", "4", words)
        options = _parser().parse_args(["batch", *shlex.split(words)])
        assert (options.manifest, options.output) == ("4", "4")
        assert options.resume != options.status
        assert options.shard == (None if options.status else "4/4")


def test_notebookCell(capsys, tmp_path):
    from astropy.nddata import CCDData

    load("notebookCell").main(["--size", "256", "-o", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("difference of (256, 256) pixels in adu, grade ")
    # The true sum is 1.25, known from stars of 1 % and better.
    assert float(lines[1].split()[-1]) == pytest.approx(1.25, rel=0.03)
    difference = CCDData.read(tmp_path / "difference.fits", hdu_flags="FLAGS")
    assert difference.uncertainty.uncertainty_type == "var"
    assert difference.flags.any()
    assert difference.meta["SOFTNAME"] == "psfmatch"
    assert (tmp_path / "difference.png").stat().st_size > 10_000
