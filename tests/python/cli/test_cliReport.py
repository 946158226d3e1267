"""The command ``psfmatch report``, and the reports of other commands."""

import json

import pytest

from psfmatch.cli import main
from psfmatch.testing import simulatePair

pytestmark = pytest.mark.usefixtures("packageLogging", "undrawnReport")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    pair = simulatePair(seed=4, size=160, brightStars=300, faintStars=100)
    pair.template.writeFits(folder / "template.fits")
    pair.science.writeFits(folder / "<b>.fits")
    return folder


@pytest.fixture
def images(folder):
    return [str(folder / "template.fits"), str(folder / "<b>.fits")]


def test_reportThenIndex(images, tmp_path, capsys):
    status = main(["report", *images, "-o", str(tmp_path / "one.html"), "--json", "-q", "-c", "doDecorrelate=False"])
    told = json.loads(capsys.readouterr().out)
    numbers = json.loads((tmp_path / "one.json").read_text())
    assert (status, told["output"], told["grade"]) == (0, str(tmp_path / "one.html"), numbers["grade"])
    assert numbers["title"] == "<b>.fits - template.fits"
    assert numbers["decorrelation"] is None
    assert "<h1>&lt;b&gt;.fits - template.fits</h1>" in (tmp_path / "one.html").read_text()

    assert main(["report", str(tmp_path)]) == 0
    assert f"1 {numbers['grade']}" in capsys.readouterr().out
    assert 'href="./one.html"' in (tmp_path / "index.html").read_text()


def test_reportOfSubtract(images, tmp_path, capsys):
    output = ["-o", str(tmp_path / "difference.fits"), "--report", str(tmp_path / "page.html")]
    assert main(["subtract", *images, *output]) == 0
    assert f"report            {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {"difference.fits", "page.html", "page.json"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["template.fits"], 2, "is no directory: give TEMPLATE and SCIENCE"),
        (["", "template.fits"], 2, "is a directory: give it alone, or two images"),
        (["template.fits", "<b>.fits", "-o", "page.json"], 2, "its numbers go beside it"),
        ([""], 3, "holds no report"),
    ],
)
def test_wrongUse(folder, capsys, arguments, status, message):
    assert main(["report", *(a if a.startswith("-") else str(folder / a) for a in arguments)]) == status
    assert message in capsys.readouterr().err.splitlines()[-1]
