"""Sentences of the reference page on the command line of HOTPANTS; what each option does is in test_hotpantsOptions."""

import logging
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from referencePage import TEXT, codes, rowsOf

from psfmatch.cli import main
from psfmatch.errors import InsufficientKernelSourcesError
from psfmatch.hotpants import OPTIONS, MaskBit, fitting, parse
from psfmatch.hotpants.preparing import readInputs
from psfmatch.hotpants.running import run
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, makeSpatialFunction

pytestmark = pytest.mark.usefixtures("packageLogging")

SECTION = "The command line of HOTPANTS"
SIDE = 64
NOISE = 3.0


def test_eachOptionHasOneRow():
    named = [code.removeprefix("-") for row in rowsOf(SECTION) for code in codes(row.cells[0])]
    assert sorted(named) == sorted(OPTIONS)
    # What the page says to be of no meaning is what says so when it is given.
    silent = {c for row in rowsOf(SECTION) if row.cells[1] == "no meaning" for c in codes(row.cells[0])}
    assert silent == {f"-{name}" for name, option in OPTIONS.items() if option.reason}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images of sky, and one of them as the only extension of a file that has nothing else."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(2)
    for letter in "st":
        sky = random.normal(100.0, NOISE, (SIDE, SIDE)).astype(np.float32)
        fits.writeto(f"{letter}.fits", sky, fits.Header({"OBSERVER": "Tycho"}))
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(), fits.ImageHDU(sky)]).writeto(f"{letter}2.fits")
    fits.writeto("n.fits", np.full((SIDE, SIDE), 5.0, np.float32))
    return tmp_path


def asked(text="", **files):
    names = {"inim": "s.fits", "tmplim": "t.fits", "outim": "d.fits"} | files
    return parse([*(word for name, path in names.items() for word in (f"-{name}", path)), *text.split()])


def pixelsOf(name):
    return fits.getdata(name).astype(np.float32)


def change(name, **values):
    """Set pixels of a file: y0_y1_x0_x1=value."""
    with fits.open(name, mode="update") as hdus:
        for place, value in values.items():
            y0, y1, x0, x1 = map(int, place.strip("p").split("_"))
            hdus[0].data[y0:y1, x0:x1] = value


# Inputs


def test_bracketsChooseAnHdu(folder):
    template, science = readInputs(asked(inim="s2.fits[2]"))
    np.testing.assert_array_equal(science.exposure.image, pixelsOf("s.fits"))
    np.testing.assert_array_equal(template.exposure.image, pixelsOf("t.fits"))


def test_saturationIsTwoPixelsWider(folder):
    change("s.fits", p30_31_40_41=5000.0)
    _, science = readInputs(asked("-iu 5000"))
    y, x = np.mgrid[:SIDE, :SIDE]
    isNear = (y - 30) ** 2 + (x - 40) ** 2 <= 4
    np.testing.assert_array_equal((science.bits & MaskBit.SAT) != 0, isNear)


def test_noLimitsWhereNoneAreGiven(folder):
    """HOTPANTS' own are 25000 and 0."""
    change("s.fits", p30_31_40_41=26000.0, p10_11_10_11=-50.0)
    _, science = readInputs(asked())
    assert not science.bits.any()
    assert science.saturation != readInputs(asked("-iu 30000"))[1].saturation == "from the counts given up"


@pytest.mark.parametrize("isInFile", [False, True])
def test_varianceOfTheFileOrOfTheSky(folder, isInFile):
    """Scaled to the scatter: 4000 pixels tell a variance to 2.3 %, clipped ones to half as much again."""
    if isInFile:
        ramp = np.linspace(1.0, 2.0, SIDE, dtype=np.float32) * np.ones((SIDE, 1), np.float32)
        Exposure(MaskedImage(pixelsOf("s.fits"), variance=100.0 * ramp)).writeFits("v.fits")
    _, science = readInputs(asked(inim="v.fits" if isInFile else "s.fits"))
    variance = science.exposure.variance
    if isInFile:
        np.testing.assert_allclose(variance / variance[0, 0], ramp, rtol=1e-5)
        assert variance[0, 0] < 0.1 * 100.0
    assert np.mean((pixelsOf("s.fits") - 100.0) ** 2 / variance) == pytest.approx(1.0, abs=0.12)


def test_noisePlaneComesBeforeTheGain(folder, caplog):
    with caplog.at_level(logging.WARNING, "psfmatch"):
        _, science = readInputs(asked("-ini n.fits -ig 2 -ir 10"))
    np.testing.assert_array_equal(science.exposure.variance, 25.0)


def test_namedBitsOfMasks(folder):
    """Of a mask that names its bits the bad ones count, else all."""
    for name, cards in (("named.fits", {"MP_BAD": 0, "HIERARCH MP_DETECTED": 1}), ("nameless.fits", {})):
        mask = np.zeros((SIDE, SIDE), np.int32)
        mask[5, 5], mask[6, 6] = 1, 2
        fits.writeto(name, mask, fits.Header(cards))
    for name, expected in (("named.fits", [[5, 5]]), ("nameless.fits", [[5, 5], [6, 6]])):
        _, science = readInputs(asked(imi=name))
        assert np.argwhere(science.bits & MaskBit.INPUT_MASK).tolist() == expected


def test_badPixelsAloneLeaveTheFit(folder):
    """Without -mins nothing beside them does."""
    change("s.fits", p30_31_40_41=np.nan)
    for text, nLeft in (("", 0), ("-r 8 -mins 0.25", 24)):
        _, science = readInputs(asked(text))
        assert np.count_nonzero(science.bits) == 1
        assert np.count_nonzero(science.isSkipped) == nLeft


# The fit


def fittedAs(convolved="template", config=None):
    """A kernel of two pixels, which no Gaussians hold."""
    basis = np.zeros((1, 5, 5))
    basis[0, 2, 2], basis[0, 2, 3] = 0.75, 0.25
    return fitting.Fitted(
        LinearCombinationKernel(basis, [[1.0]], bbox=Box(0, 0, SIDE, SIDE)),
        makeSpatialFunction("polynomial", [1.5], (0.0, 0.0, 1.0, 1.0)),
        convolved,
        Table({"x": [], "y": [], "status": [], "spatialRms": []}, dtype=[float, float, str, float]),
        config,
    )


def test_givenAndChosenForTheFit(folder, monkeypatch):
    """-kfm is one less maskedKernelFraction; without -c the direction is chosen; regions are fitted like the first."""
    calls = []

    def noted(template, science, *, config, mode, candidateList):
        calls.append((config, mode))
        raise InsufficientKernelSourcesError("none", nUsed=0, nRequired=1)

    monkeypatch.setattr(fitting, "subtract", noted)
    template, science = (image.toFit() for image in readInputs(asked()))
    first = fittedAs("science", fitting.configuration(asked("-ko 3")))
    for settings, like in ((asked("-kfm 0.7"), None), (asked("-c i"), None), (asked("-kfm 0.7"), first)):
        with pytest.raises(InsufficientKernelSourcesError):
            fitting.fit(template, science, settings, like)
    assert [mode for _, mode in calls] == ["auto", "convolveScience", "convolveScience"]
    assert calls[0][0].kernel.active.maskedKernelFraction == pytest.approx(0.3)
    assert calls[2][0] is first.config


def test_imagesAsBasis(folder, monkeypatch):
    """Renormalised so that the first alone has a sum; without a prior."""
    side = np.arange(-4, 5)
    for number, sigma in enumerate((1.0, 2.0)):
        one = np.exp(-(side**2) / (2 * sigma**2))
        fits.writeto(f"b{number}.fits", np.outer(one, one))
    calls = []

    def noted(cells, basis, options):
        calls.append((basis, options))
        raise InsufficientKernelSourcesError("none", nUsed=0, nRequired=1)

    monkeypatch.setattr(fitting, "RegionCells", lambda *arguments: None)
    monkeypatch.setattr(fitting, "fitRegions", noted)
    template, science = (image.toFit() for image in readInputs(asked()))
    settings = asked("-pca 2 b0.fits b1.fits -cmp stars.txt -afssc 0")
    (folder / "stars.txt").write_text("10 10\n")
    with pytest.raises(InsufficientKernelSourcesError):
        fitting.fit(template, science, settings)
    ((basis, options),) = calls
    np.testing.assert_allclose(basis.sum(axis=(1, 2)), [1.0, 0.0], atol=1e-12)
    assert (options.regions.shapeScale, options.regions.variationScale) == (0.0, 0.0)


# Results


@pytest.fixture
def ran(folder, monkeypatch):
    """Run a command line with the kernel of two pixels for a fit; of two regions the second has none."""

    def fit(template, science, settings, like=None):
        if science.getBBox().x0 > 0:
            raise InsufficientKernelSourcesError("none", nUsed=0, nRequired=1)
        return fittedAs()

    def call(text="", **files):
        monkeypatch.setattr(fitting, "fit", fit)
        return run(asked(text, **files))

    return call


def test_kernelsThatHotpantsCannotHold(ran, caplog):
    """They are written in our tables, with a warning, and taken back."""
    with caplog.at_level(logging.WARNING, "psfmatch"):
        first = ran("-oki k.fits")
    assert "The kernel is written in our own tables" in caplog.text
    again = ran("-ki k.fits")
    np.testing.assert_array_equal(again.planes.difference, first.planes.difference)


def test_regionWithTooFewStars(ran):
    result = ran("-nrx 2 -fi -5")
    assert (result.planes.difference[:, SIDE // 2 :] == -5.0).all()
    assert np.isfinite(result.planes.difference[:, : SIDE // 2]).all()
    header = fits.getheader("d.fits")
    assert [header[f"CONVOL{number:02d}"] for number in (0, 1)] == ["TEMPLATE", "NONE"]
    assert "KSUM00" in header
    assert "KSUM01" not in header


def test_headerHasTheCardsOfThePage(ran):
    ran()
    header = fits.getheader("d.fits")
    assert header["OBSERVER"] == "Tycho"
    (text,) = [part for part in TEXT.split("\n\n") if part.startswith("Header: ")]
    named = set(re.findall(r"\b[A-Z][A-Z0-9]{5,7}\b", text)) - {"TEMPLATE"}
    # There is no stamp of which the rms would be known.
    assert named - set(header) == {"SSSIG00", "SSSCAT00"}
    for name in ("KSUM00", "FSIG00", "FSCAT00", "X2NRM00", "NSCALO00", "MASKVAL", "NREGION"):
        assert isinstance(header[name], int | float), name


def test_shortIntegersEndAtTheNearest(ran):
    whole = ran().planes.difference
    ran("-sht -obs 0.0001 -fi 0")
    written = fits.getdata("d.fits")
    isBeyond = np.abs(whole) > 32768 * 0.0001
    assert 0.1 < isBeyond.mean() < 0.9
    np.testing.assert_allclose(written, np.clip(np.where(np.abs(whole) < 1e-20, 0, whole), -3.2768, 3.2767), atol=2e-4)


def test_scaleIsTheTemplatesByDefault(ran):
    ran()
    assert fits.getheader("d.fits")["PHOTNORM"] == "TEMPLATE"


def test_whatHasNoMeaningIsToldWithoutASummary(folder, monkeypatch, capsys):
    monkeypatch.setattr(fitting, "fit", lambda *arguments: fittedAs())
    line = "hotpants -inim s.fits -tmplim t.fits -outim d.fits -kcs 11"
    assert main([*line.split(), "-v", "0"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    (told,) = [text for text in captured.err.splitlines() if "-kcs" in text]
    assert OPTIONS["kcs"].reason in told
