"""``psfmatch detect``: what it writes and prints, where the PSF comes from, and how it fails."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from psfmatch import Box, Exposure, GaussianPsf, MaskedImage, detectOnDifference
from psfmatch.cli import main
from psfmatch.images import SIGMA_TO_FWHM

SIGMA = 1.6
pytestmark = pytest.mark.usefixtures("packageLogging")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A difference with a matched image of 25 stars in its file, the science image, a template twice as bright."""
    folder = tmp_path_factory.mktemp("detect")
    rng = np.random.default_rng(4)
    matched = np.full((256, 256), 100.0)
    pixel = np.arange(256)
    for y in range(30, 256, 48):
        for x in range(30, 256, 48):
            matched += (
                5000
                / (2 * np.pi * SIGMA**2)
                * np.outer(np.exp(-0.5 * (pixel - y) ** 2 / SIGMA**2), np.exp(-0.5 * (pixel - x) ** 2 / SIGMA**2))
            )
    new = np.zeros_like(matched)
    new[128, 55] = 900.0
    new = np.real(np.fft.ifft2(np.fft.fft2(new) * np.exp(-0.5 * SIGMA**2 * np.add.outer(*2 * [_k2(256)]))))
    science = matched + new + rng.standard_normal(matched.shape)
    ones = np.ones_like(matched)
    matched += 0.5 * rng.standard_normal(matched.shape)
    difference = Exposure(MaskedImage(science - matched, variance=1.25 * ones))
    difference.writeFits(folder / "difference.fits", matched=matched.astype(np.float32))
    difference.writeFits(folder / "alone.fits")
    Exposure(MaskedImage(science, variance=ones)).writeFits(folder / "science.fits")
    Exposure(MaskedImage(2 * matched, variance=ones)).writeFits(folder / "template.fits")
    difference.subset(Box(0, 0, 100, 100)).writeFits(folder / "part.fits")
    return folder


def _k2(n):
    return (2 * np.pi * np.fft.fftfreq(n)) ** 2


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Call ``psfmatch detect`` with names of the folder; returns status, output, errors and the table."""

    def call(*arguments):
        known = {path.name: str(path) for path in folder.iterdir()}
        output = tmp_path / "sources.fits"
        status = main(["detect", *(known.get(a, a) for a in arguments), "-o", str(output), "--overwrite"])
        captured = capsys.readouterr()
        return status, captured.out, captured.err, Table.read(output, mask_invalid=False) if output.exists() else None

    return call


def test_detect(run, folder, tmp_path):
    status, out, err, table = run("difference.fits", "--psf-fwhm", str(SIGMA * SIGMA_TO_FWHM))
    assert status == 0
    assert "1 above 5 sigma: 1 positive, 0 negative, 0 dipoles; 1 without a flag" in out
    assert "FWHM 3.83 px, given" in out
    assert str(tmp_path / "sources.fits") in out
    assert "Traceback" not in err
    expected = detectOnDifference(Exposure.readFits(folder / "difference.fits"), GaussianPsf(SIGMA))
    assert table["psfFlux"][0] == pytest.approx(expected["psfFlux"][0], rel=1e-6)
    assert [table["x"][0], table["y"][0]] == pytest.approx([55, 128], abs=0.3)
    # The matched image of the file serves for the fluxes before.
    assert table["templateFlux"][0] == pytest.approx(0, abs=100)
    assert np.isnan(table["scienceFlux"][0])
    with fits.open(tmp_path / "sources.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SOURCES"]


def test_psfFromStars(run):
    status, out, _, table = run("difference.fits", "-q")
    assert status == 0
    assert "from the stars of the matched image" in out
    assert table["psfFlux"][0] == pytest.approx(900, abs=4 * table["psfFluxErr"][0])
    status, out, _, table = run("alone.fits", "--science", "science.fits", "--json", "-q")
    summary = json.loads(out)
    assert summary["psfFrom"] == "from the stars of the science image"
    assert (summary["nSources"], summary["nPositive"], summary["nNegative"], summary["nUnflagged"]) == (1, 1, 0, 1)
    assert summary["psfFwhmPix"] == pytest.approx(3.77, abs=0.1)
    assert table["scienceFlux"][0] == pytest.approx(900, abs=5 * table["scienceFluxErr"][0])


def test_templateOfItsOwn(run):
    status, _, _, table = run(
        "difference.fits", "--template", "template.fits", "--template-scale", "0.5", "--psf-fwhm", "3.77",
        "--threshold", "4.5", "--threads", "1",
    )  # fmt: skip
    assert status == 0
    assert table["templateFlux"][0] == pytest.approx(0, abs=5 * table["templateFluxErr"][0])
    assert table.meta["THRESH"] == 4.5


def test_failures(run, folder):
    status, _, err, _ = run("alone.fits", "-q")
    assert status == 2
    assert "the PSF of the difference is unknown" in err
    assert "give --psf-fwhm" in err
    status, _, err, _ = run("part.fits", "--science", "science.fits", "--psf-fwhm", "4", "-q")
    assert status == 3
    assert "an image of 256x256 pixels is given with a difference of 100x100" in err
    assert main(["detect", str(folder / "alone.fits"), "-o", str(folder / "alone.fits")]) == 2
    assert main(["detect", str(folder / "nothing.fits"), "-o", "out.fits"]) == 3
