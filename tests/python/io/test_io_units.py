"""Units in the words of headers, what two of them are to each other, and that astropy reads what is written."""

import logging

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, NDData, VarianceUncertainty

from psfmatch import Exposure, InputImagesError, MaskedImage, subtract
from psfmatch.cli import main
from psfmatch.images import requireUnits
from psfmatch.io import readPlanes, unitOf, unitText
from psfmatch.io.detectors import detectorsOf
from psfmatch.testing import simulatePair

SHAPE = (30, 40)
IMAGE = np.random.default_rng(3).normal(100.0, 5.0, SHAPE).astype(np.float32)
ELECTRON_RATE = units.electron / units.s
FLAM = units.erg / units.s / units.cm**2 / units.Angstrom

WORDS = {
    "ELECTRONS": units.electron,
    "electron": units.electron,
    "e-": units.electron,
    "e": units.electron,
    "e-/s": ELECTRON_RATE,
    "E-/SEC": ELECTRON_RATE,
    "ELECTRONS/S": ELECTRON_RATE,
    "electrons/sec": ELECTRON_RATE,
    "electron s-1": ELECTRON_RATE,
    "electrons per second": ELECTRON_RATE,
    "counts": units.ct,
    "COUNTS": units.ct,
    "count/s": units.ct / units.s,
    "COUNTS/S": units.ct / units.s,
    "counts s**-1": units.ct / units.s,
    "cps": units.ct / units.s,
    "CPS": units.ct / units.s,
    "DN": units.DN,
    "Data Number": units.DN,
    "DN/S": units.DN / units.s,
    "dn/sec": units.DN / units.s,
    "DN / s": units.DN / units.s,
    "ADU": units.adu,
    "ADUs": units.adu,
    "ADU/S": units.adu / units.s,
    "adu per second": units.adu / units.s,
    "ADU/sec.": units.adu / units.s,
    "photons": units.ph,
    "MJy/sr": units.MJy / units.sr,
    "MJY/SR": units.MJy / units.sr,
    "MJy sr-1": units.MJy / units.sr,
    "nJy": units.nJy,
    "mJy": units.mJy,
    "MJy": units.MJy,
    "uJy": units.uJy,
    "microJy": units.uJy,
    "JY/BEAM": units.Jy / units.beam,
    "Jy/beam": units.Jy / units.beam,
    "nanomaggies": units.nmgy,
    "nanomaggy": units.nmgy,
    "10**-9 Jy": 1e-9 * units.Jy,
    "1e-9 Jy": 1e-9 * units.Jy,
    "erg/s/cm2/Hz": units.erg / units.s / units.cm**2 / units.Hz,
    "erg/s/cm2/A": FLAM,
    "erg/s/cm^2/A": FLAM,
    "erg s-1 cm-2 A-1": FLAM,
    "ERG/S/CM2/A": FLAM,
    "ergs/s/cm**2/Ang": FLAM,
    "10^-17 erg/s/cm^2/A": 1e-17 * FLAM,
    "10-17erg/s/cm2/A": 1e-17 * FLAM,
    "Normalized": units.dimensionless_unscaled,
    "": units.dimensionless_unscaled,
    "1": units.dimensionless_unscaled,
    "mag/arcsec2": units.mag / units.arcsec**2,
    # Of what is wild.
    "ELECTRONS/PIX/S": ELECTRON_RATE / units.pix,
    "el/s": ELECTRON_RATE,
    "photoelectrons": units.electron,
    "photo-electron/s": ELECTRON_RATE,
    "e^-/s": ELECTRON_RATE,
    "e$^-$": units.electron,
    "e\u2212/s": ELECTRON_RATE,
    "electrons s^{-1}": ELECTRON_RATE,
    "e- per second": ELECTRON_RATE,
    "A.D.U.": units.adu,
    "analog-digital unit": units.adu,
    "[adu]": units.adu,
    "'ADU'": units.adu,
    "RAW COUNTS": units.ct,
    "c/s": units.ct / units.s,
    "counts per pixel": units.ct / units.pix,
    "count s-1 pix-1": units.ct / units.s / units.pix,
    "cts/sec/arcsec2": units.ct / units.s / units.arcsec**2,
    "DU/s": units.DN / units.s,
    "DN/ms": units.DN / units.ms,
    "DATA NUMBER/S": units.DN / units.s,
    "ph/s/cm2": units.ph / units.s / units.cm**2,
    "Jy/pix": units.Jy / units.pix,
    "jy per pixel": units.Jy / units.pix,
    "mJy/beam": units.mJy / units.beam,
    "mJy/sr": units.mJy / units.sr,
    "MJy/str": units.MJy / units.sr,
    "MJy*sr^-1": units.MJy / units.sr,
    "Jy/sq arcsec": units.Jy / units.arcsec**2,
    "\xb5Jy": units.uJy,
    "\u03bcJy/pix": units.uJy / units.pix,
    "nMgy": units.nmgy,
    "10^-9 maggies": 1e-9 * units.mgy,
    "1e-29 erg/s/cm2/Hz": 1e-29 * units.erg / units.s / units.cm**2 / units.Hz,
    "erg/(s cm2 Hz)": units.erg / units.s / units.cm**2 / units.Hz,
    "erg/s/cm2/\xc5": FLAM,
    "10**(-20)*erg/s/cm**2/Angstrom": 1e-20 * FLAM,
    "W/m2/um": units.W / units.m**2 / units.um,
    "S/N": units.dimensionless_unscaled,
    "UNITLESS": units.dimensionless_unscaled,
    "ABmag": units.mag,
    "log10(counts)": units.dex * units.ct,
}
UNKNOWN = [
    "electon",
    "cuonts/s",
    "pixel value",
    "flux",
    "--",
    "%",
    "electrons/fortnite",
    "DN/s, sort of",
    "unknown",
    "none",
    "3 + 4",
    "**",
    "/",
    "(((",
    "µ?",
]


@pytest.mark.parametrize("text", WORDS)
def test_words(text):
    unit = unitOf(text)
    assert unit is not None
    assert units.Unit(unit).is_equivalent(WORDS[text])
    assert (1 * units.Unit(unit)).to_value(WORDS[text]) == pytest.approx(1.0, rel=1e-12)
    # What is written means the same to astropy by itself.
    written, source = unitText({"BUNIT": text})
    assert source == ""
    assert (1 * units.Unit(written)).to_value(WORDS[text]) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("text", [*UNKNOWN, None])
def test_wordsThatNobodyKnows(text):
    assert unitOf(text) is None
    written, source = unitText({"BUNIT": text})
    assert written == "adu"
    assert source.startswith("assumed: ")


@pytest.mark.parametrize(
    ("cards", "factor"),
    [
        ({"BUNIT": "nJy"}, 1.0),
        ({"BUNIT": "10**-9 Jy"}, 1.0),
        ({"BUNIT": "MICROJY"}, 1000.0),
        ({"BUNIT": "nanomaggies"}, 3630.78),
        ({"BUNIT": "MJY/SR", "PIXAR_SR": 2e-14}, 20.0),
        ({"BUNIT": "erg/s/cm2/Hz"}, 1e32),
        ({"BUNIT": "DN/S"}, None),
        ({"BUNIT": "erg/s/cm2/A"}, None),
    ],
)
def test_calibration(tmp_path, cards, factor):
    hdu = fits.PrimaryHDU(IMAGE)
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "a.fits")
    assert readPlanes(tmp_path / "a.fits").photoCalib == (None if factor is None else pytest.approx(factor, rel=1e-5))


@pytest.mark.parametrize(
    ("unit", "gains"),
    [
        ("ADU", [2.0]),
        ("ELECTRONS", [1.0, 2.0]),
        ("e-", [1.0, 2.0]),
        ("cps", []),
        ("DN s-1", []),
        ("adu per second", []),
        ("DN/ms", []),
        ("e-/min", []),
        ("mJy/beam", []),
        ("photoelectrons", [1.0, 2.0]),
        ("nanomaggies", []),
        (None, [2.0]),
    ],
)
def test_gainsAreOfCounts(unit, gains):
    cards = {"GAIN": 2.0} | ({} if unit is None else {"BUNIT": unit})
    assert [detector.gain for detector in detectorsOf([cards])] == gains


# Two images


def exposureIn(unit, **cards):
    return Exposure(MaskedImage(IMAGE), metadata={"BUNIT": unit, **cards})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("nJy", "10**-9 Jy"),
        ("MJy/sr", "MJY/SR"),
        ("ADU", "DN"),
        ("counts", "adu"),
        ("e-/s", "ELECTRONS/S"),
        ("nanomaggies", "uJy"),
        ("erg/s/cm2/Hz", "Jy"),
        ("Jy/arcsec2", "MJy/sr"),
        ("electron", "electron/pix"),
        ("adu", "made up"),
        ("", "DN"),
    ],
)
def test_unitsOfOneKind(first, second, caplog):
    requireUnits(exposureIn(first), exposureIn(second))
    requireUnits(exposureIn(second), exposureIn(first))
    assert not caplog.records


@pytest.mark.parametrize(
    ("first", "second", "between"),
    [
        (("DN/S", {}), ("DN", {"EXPTIME": 30.0}), "the exposure time of the science image (EXPTIME = 30 s)"),
        (("ADU", {}), ("ADU/S", {}), "the exposure time of the template (not in its header)"),
        (("electron", {}), ("adu", {}), "the gain"),
        (
            ("ELECTRONS", {"EXPTIME": 9.0}),
            ("DN/s", {}),
            "the exposure time of the template (EXPTIME = 9 s) and the gain",
        ),
        (("Jy", {}), ("counts", {}), "the flux calibration"),
        (("nanomaggies", {}), ("electron/s", {}), "the flux calibration"),
        (("MJy/sr", {"PIXAR_SR": 2e-14}), ("nJy", {}), "the area of a pixel (PIXAR_SR = 2e-14 sr)"),
        (("Jy/beam", {}), ("Jy", {}), "the area of a beam"),
        (("erg/s/cm2/A", {}), ("nJy", {}), "the flux calibration"),
    ],
)
def test_whatTheKernelCarries(first, second, between, caplog):
    requireUnits(exposureIn(first[0], **first[1]), exposureIn(second[0], **second[1]))
    assert caplog.messages[0].endswith(f": the kernel's sum carries {between}")


@pytest.mark.parametrize(
    "text", ["mag", "MAG", "mag(AB)", "AB mag", "ABmag", "STmag", "mag/arcsec^2", "luptitudes", "log(Jy)",
             "log10(counts)", "dex", "dex(Jy)", "dB"],
)  # fmt: skip
def test_magnitudesAndLogarithmsAreRefused(text):
    for first, second, name in ((text, "adu", "template"), ("Jy", text, "science image")):
        with pytest.raises(
            InputImagesError, match=f"the {name} is in .*: magnitudes and logarithms cannot be subtracted"
        ):
            requireUnits(exposureIn(first), exposureIn(second))


def test_filesAreAskedToo(tmp_path, caplog):
    pair = simulatePair(seed=3, size=256)
    for name, exposure, unit in (("t", pair.template, "DN/S"), ("s", pair.science, "DN")):
        exposure.metadata["BUNIT"] = unit
        exposure.metadata["EXPTIME"] = 30.0
        exposure.writeFits(tmp_path / f"{name}.fits")
    caplog.set_level(logging.WARNING)
    subtract(str(tmp_path / "t.fits"), tmp_path / "s.fits", threads=1)
    assert (
        "the template is in DN / s, the science image in DN: the kernel's sum carries the exposure time of the science "
        "image (EXPTIME = 30 s)"
    ) in caplog.text


@pytest.mark.parametrize(
    ("first", "second"),
    [(CCDData(IMAGE, unit="adu"), IMAGE * units.DN), (IMAGE * units.nmgy, NDData(IMAGE, unit="nJy"))],
)
def test_givenUnitsOfOneKind(first, second):
    requireUnits(first, second)
    with pytest.raises(InputImagesError, match="one cannot be converted to the other"):
        requireUnits(first, IMAGE * units.m)


# Files


@pytest.mark.parametrize("text", [None, "ELECTRONS", "DN/S", "e-/s", "nanomaggies", "Normalized", "", "bananas"])
def test_ccdDataReadsWhatIsWritten(tmp_path, text):
    exposure = exposureIn(text) if text is not None else Exposure(MaskedImage(IMAGE))
    exposure.variance = np.full(SHAPE, 25.0)
    exposure.mask[2, 3] = 1 << exposure.mask.planes["SAT"]
    path = tmp_path / "a.fits"
    exposure.writeFits(path)
    expected = units.adu if text in (None, "bananas") else unitOf(text)
    ccd = CCDData.read(path, hdu_uncertainty="VARIANCE", hdu_flags="MASK")
    assert ccd.unit == expected
    assert isinstance(ccd.uncertainty, VarianceUncertainty)
    np.testing.assert_array_equal(ccd.uncertainty.array, 25.0)
    assert np.argwhere(ccd.mask).tolist() == [[2, 3]]
    assert ccd.flags[2, 3] == 2
    assert CCDData.read(path).unit == expected
    # And so do we.
    back = Exposure.fromCCDData(ccd)
    assert np.argwhere(back.mask.hasAny("SAT")).tolist() == [[2, 3]]
    again = Exposure.readFits(path)
    assert again.toCCDData().unit == expected
    assert ("UNITSRC" in again.metadata) == (text in (None, "bananas"))
    again.writeFits(tmp_path / "b.fits")
    assert Exposure.readFits(tmp_path / "b.fits").metadata == again.metadata


def test_everyFileOfTheCommand(tmp_path):
    pair = simulatePair(seed=3, size=256)
    for name, exposure, unit in (("t", pair.template, None), ("s", pair.science, "ELECTRONS")):
        if unit:
            exposure.metadata["BUNIT"] = unit
        exposure.writeFits(tmp_path / f"{name}.fits")
    template, science, difference = (str(tmp_path / f"{name}.fits") for name in "tsd")
    more = ["--decorrelated", str(tmp_path / "w.fits"), "--score", str(tmp_path / "m.fits")]
    assert main(["subtract", template, science, "-o", difference, *more, "-q", "--threads", "1"]) == 0
    assert main(["apply", difference, template, science, "-o", str(tmp_path / "a.fits"), "-q", "--threads", "1"]) == 0
    hotpants = ["hotpants", "-inim", science, "-tmplim", template, "-outim", str(tmp_path / "h.fits")]
    hotpants += ["-oni", str(tmp_path / "n.fits"), "-oci", str(tmp_path / "c.fits"), "-ond", str(tmp_path / "p.fits")]
    assert main([*hotpants, "-omi", str(tmp_path / "k.fits"), "-tu", "1e6", "-iu", "1e6"]) == 0
    plain = {"p": units.dimensionless_unscaled, "k": units.dimensionless_unscaled, "t": units.adu}
    for name in "tsdwmahncpk":
        ccd = CCDData.read(tmp_path / f"{name}.fits", hdu_uncertainty="VARIANCE")
        assert ccd.unit == plain.get(name, units.electron), name
        assert ccd.shape == (256, 256)
        assert (ccd.uncertainty is not None) == (name in "tsdwma"), name
