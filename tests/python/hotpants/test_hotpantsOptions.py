"""Every option of HOTPANTS: what changes when it is given, or the reason that is printed.

The command runs as a user runs it, but for the fit, which is made once: in its place the runs get the stored result,
and what they ask of it is noted.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from psfmatch.cli import main
from psfmatch.frontdoor import subtract
from psfmatch.hotpants import OPTIONS, MaskBit, fitting, parse, readHotpantsKernel
from psfmatch.images import Exposure
from psfmatch.testing import simulatePair

pytestmark = pytest.mark.usefixtures("packageLogging")

SIZE = 176
R = 8
# All that HOTPANTS knows.
KNOWN = """
inim tmplim outim tu iu tuk iuk tl il tg ig tr ir tp ip tni ini tmi imi r kcs ng ko bgo pca ki hki oki nsx nsy
nss rss ft sft nft ssf cmp afssc savexy gd nrx nry rf rkw c n fom sconv ssig ks mins mous kfm omi fi fin okn
oni ond oci nim ndm cim allm convvar sht nsht obs obz nbs nbz nc v
""".split()  # noqa: SIM905
PLANES = {"tni": "tn.fits", "ini": "sn.fits", "tmi": "tm.fits", "imi": "sm.fits"}
FILES = {"inim": "s.fits", "tmplim": "t.fits", "outim": "d.fits", **PLANES, "omi": "m.fits"}
BASE = {**FILES, "n": "i", "r": R, "ng": "2 3 0.8 1 2.0", "ko": 1, "bgo": 1, "c": "t"}


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=SIZE, brightStars=900, templateBadFraction=0.01, variableFraction=0.0)


@pytest.fixture(scope="module")
def fitted(pair):
    """The fit of the base command line, and what it was asked."""
    asked = parse(words(BASE))
    config = fitting.configuration(asked)
    images = Exposure(pair.template.maskedImage), Exposure(pair.science.maskedImage)
    return subtract(*images, config=config, mode="convolveTemplate")


class Outcome:
    """What a run left behind: files, output, and the fits that it asked for."""

    def __init__(self, folder, status, captured, calls):
        self.folder, self.status, self.calls = folder, status, calls
        self.out, self.err = captured

    def hdus(self, name="d.fits"):
        with fits.open(self.folder / name) as hdus:
            return [(hdu.name, hdu.header.copy(), None if hdu.data is None else hdu.data.copy()) for hdu in hdus]

    def image(self, name="d.fits"):
        return self.hdus(name)[0][2]

    @property
    def header(self):
        return self.hdus()[0][1]

    def has(self, bit):
        return (self.image("m.fits") & int(bit)) != 0


def words(options):
    return [
        word
        for name, value in options.items()
        if value is not None
        for word in [f"-{name}", *([] if value == "" else str(value).split())]
    ]


@pytest.fixture(scope="module")
def run(pair, fitted, tmp_path_factory):
    """Run the command with some options changed; the same ones are run once."""
    folder = tmp_path_factory.mktemp("hotpants")
    known = {}
    for letter, image in (("t", pair.template), ("s", pair.science)):
        fits.writeto(folder / f"{letter}.fits", image.image, fits.Header({"RANGE0": "[1:90,1:176]", "OBJECT": "M 31"}))
        fits.writeto(folder / f"{letter}5.fits", image.image + np.float32(5.0))
        fits.writeto(folder / f"{letter}n.fits", np.sqrt(image.variance))
        fits.writeto(folder / f"{letter}n2.fits", 2.0 * np.sqrt(image.variance))
        fits.writeto(folder / f"{letter}m.fits", np.asarray(image.mask))
    stars = pair.truth.stars
    bright = stars[np.argsort(-np.asarray(stars["flux"]))[:12]]
    lines = [f"{x + 1:.3f} {y + 1:.3f} {n}" for n, (x, y) in enumerate(bright.iterrows("x", "y"))]
    (folder / "stars.txt").write_text("# x y n\n" + "\n".join(lines))
    (folder / "regions.txt").write_text("# two\n1:88,1:176\n89:176,1:176\n")
    side = np.arange(-R, R + 1)
    for n, sigma in enumerate((1.2, 2.2)):
        gaussian = np.exp(-(side**2) / (2 * sigma**2))
        fits.writeto(folder / f"b{n}.fits", np.outer(gaussian, gaussian))

    def call(capsys, monkeypatch, **changes):
        key = tuple(sorted(changes.items()))
        if key in known:
            return known[key]
        here = folder / f"run{len(known)}"
        here.mkdir()
        calls = []

        def stored(template, science, *, config, mode, candidateList):
            calls.append((template, science, config, mode, candidateList))
            if mode == "convolveScience":
                # So much worse that no merit takes it.
                worse = fitted.difference.copy()
                worse.image *= np.float32(3.0)
                return replace(fitted, difference=worse, convolved="science")
            return fitted

        monkeypatch.setattr(fitting, "subtract", stored)
        inputs = {path.name: str(path) for path in folder.iterdir() if path.is_file()}
        options = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
        line = [inputs.get(w, w.replace("OUT", str(here))) for w in words(options)]
        line = [str(here / w) if w in ("d.fits", "m.fits") else w for w in line]
        status = main(["hotpants", *line])
        known[key] = Outcome(here, status, capsys.readouterr(), calls)
        return known[key]

    return call


# What each option does: the changes of the command line, and the check of what came out of it, next to the base run.
# Options that do not stand in each other's way share a run.

LIMITS = {"tu": 1500, "iu": 2500, "tuk": 900, "iuk": 1200, "tl": 290, "il": 380, "mins": 0.25, "mous": 0.5}
DETECTOR = {"tni": None, "ini": None, "tg": 2, "ig": 3, "tr": 10, "ir": 20, "tp": 50, "ip": 30}
FIT = {"r": 6, "ng": "1 2 1.5", "ko": 0, "bgo": 2, "nsx": 4, "nsy": 5, "nss": 2, "rss": 9, "ks": 3.0}
WRITTEN = {
    "oni": "OUT/n.fits", "ond": "OUT/p.fits", "oci": "OUT/c.fits", "oki": "OUT/k.fits", "savexy": "OUT/s.reg",
    "allm": "", "hki": "", "fi": -99, "fin": -7, "ssig": 2.0, "kfm": 0.5,
}  # fmt: skip
SHORT = {"sht": "", "obs": 0.5, "obz": 100, "nsht": "", "nbs": 0.01, "nbz": 3, "oni": "OUT/n.fits"}
STARS = {"ft": 20, "sft": 1.0, "nft": 1.0, "nsx": 6, "nsy": 6, "nss": 2}
NOTHING = {"kcs": 10, "sconv": "", "convvar": ""}


def planeOf(pair, letter):
    return pair.template if letter == "t" else pair.science


def limited(letter, name, bit):
    def check(o, base, pair):
        values = planeOf(pair, letter).image
        # Hot pixels under the mask are no stars, and saturation spreads by two pixels.
        known = np.asarray(planeOf(pair, letter).mask) == 0
        beyond = known & (values >= LIMITS[letter + name] if name == "u" else values <= LIMITS[letter + name])
        assert beyond.sum() > 10
        isBad = MaskBit.T_BAD if letter == "t" else MaskBit.I_BAD
        for expected in (bit, isBad, MaskBit.INPUT_ISBAD):
            assert o.has(expected)[beyond].all()
        assert not base.has(bit)[beyond].all()
        assert (o.image()[beyond & o.has(MaskBit.I_BAD)] == np.float32(1e-30)).all()

    return check


def skipped(letter):
    def check(o, base, pair):
        skip, bad = (MaskBit.T_SKIP, MaskBit.T_BAD) if letter == "t" else (MaskBit.I_SKIP, MaskBit.I_BAD)
        beyond = (planeOf(pair, letter).image >= LIMITS[f"{letter}uk"]) & ~o.has(bad)
        assert beyond.sum() > 10
        assert o.has(skip)[beyond].all()
        assert not base.has(skip).any()
        asked = o.calls[0]["ti".index(letter)]
        assert (np.asarray(asked.mask)[beyond] & asked.mask.getPlaneBitMask("BAD") != 0).all()

    return check


def noisy(letter):
    def check(o, base, pair):
        image = planeOf(pair, letter).image
        gain, noise, pedestal = (DETECTOR[letter + name] for name in "grp")
        expected = np.maximum(image - pedestal, 0) / gain + (noise / gain) ** 2
        good = np.isfinite(image)
        np.testing.assert_allclose(o.calls[0]["ti".index(letter)].variance[good], expected[good], rtol=1e-5)

    return check


def noiseOf(letter):
    def check(o, base, pair):
        # As the file has it, to the rounding of a square root.
        np.testing.assert_allclose(
            base.calls[0]["ti".index(letter)].variance, planeOf(pair, letter).variance, rtol=1e-6
        )

    return check


def maskOf(letter):
    def check(o, base, pair):
        masked = np.asarray(planeOf(pair, letter).mask) != 0
        assert base.has(MaskBit.INPUT_MASK)[masked].all()
        assert base.has(MaskBit.T_BAD if letter == "t" else MaskBit.I_BAD)[masked].all()

    return check


def fixedTo(**fields):
    def check(o, base, pair):
        config = o.calls[0][2]
        assert config.chooseKernel
        for name, value in fields.items():
            assert getattr(config.kernel.active, name) == value
            assert name in config.fixedKernelFields

    return check


def region(**fields):
    def check(o, base, pair):
        for name, value in fields.items():
            assert getattr(o.calls[0][2].kernel.active.regionConfig, name) == value

    return check


def reason(name):
    def check(o, base, pair):
        assert f"-{name} has no meaning here: {OPTIONS[name].reason}" in o.err
        assert f"-{name} has no meaning" not in base.err
        np.testing.assert_array_equal(o.image(), base.image())

    return check


def asImages(o, base, pair):
    good = ~o.has(MaskBit.OUTPUT_ISBAD)
    names = [name for name, _, _ in o.hdus()]
    assert names[:5] == ["PRIMARY", "CONVOLVED", "DIFFNOISE", "NOISE", "MASK"]
    layers = {name: data for name, _, data in o.hdus()[:5]}
    for layer, file in (("NOISE", "n.fits"), ("DIFFNOISE", "p.fits"), ("CONVOLVED", "c.fits"), ("MASK", "m.fits")):
        np.testing.assert_array_equal(layers[layer], o.image(file))
    np.testing.assert_allclose(layers["DIFFNOISE"][good], (o.image() / o.image("n.fits"))[good], rtol=1e-6)
    # float32 of 1e4 counts, twice.
    np.testing.assert_allclose((pair.science.image - layers["CONVOLVED"])[good], o.image()[good], atol=1e-2)


def lone(name):
    def check(o, base, pair):
        assert [hdu for hdu, _, _ in o.hdus()] == ["PRIMARY", name]

    return check


def filled(o, base, pair):
    bad = o.has(MaskBit.OUTPUT_ISBAD)
    assert bad.any()
    assert (o.image()[bad] == -99).all()
    assert o.header["MASKVAL"] == -99
    assert (base.image()[base.has(MaskBit.OUTPUT_ISBAD)] == np.float32(base.header["MASKVAL"])).all()


def noiseFilled(o, base, pair):
    assert (o.image("n.fits")[o.has(MaskBit.OUTPUT_ISBAD)] == -7).all()


def hasKernelTable(o, base, pair):
    assert o.header["KERINFO"] is True
    assert base.header["KERINFO"] is False
    kernel, _ = readHotpantsKernel(o.folder / "d.fits")
    # Written in another basis: to the precision with which that one holds it.
    assert kernel.kernelSum(80.0, 90.0) == pytest.approx(o.header["KSUM00"], rel=1e-8)


def hasKernelFile(o, base, pair):
    kernel, background = readHotpantsKernel(o.folder / "k.fits")
    assert kernel.kernelSum(80.0, 90.0) == pytest.approx(o.header["KSUM00"], rel=1e-8)
    good = ~o.has(MaskBit.OUTPUT_ISBAD)
    again = kernel.convolve(pair.template.maskedImage).image + background(
        np.arange(SIZE)[np.newaxis] * 1.0, np.arange(SIZE)[:, np.newaxis] * 1.0
    )
    quiet = good & ~o.has(MaskBit.OK_CONV)
    np.testing.assert_allclose((pair.science.image - again)[quiet], o.image()[quiet], atol=2e-2)


def hasStampFile(o, base, pair):
    lines = (o.folder / "s.reg").read_text().splitlines()
    boxes = [line for line in lines if line.startswith("box(") and line.endswith(("green", "red"))]
    assert len(boxes) == len(lines) - 3 == int(re.search(r"of (\d+) stamps", o.out)[1])


def shortScaled(name, file, exact, scale, zero):
    def check(o, base, pair):
        with fits.open(o.folder / file, do_not_scale_image_data=True) as hdus:
            assert hdus[0].header["BITPIX"] == 16
            assert (hdus[0].header["BSCALE"], hdus[0].header["BZERO"]) == (scale, zero)
        good = ~o.has(MaskBit.OUTPUT_ISBAD)
        expected = exact(base, pair)[good]
        inRange = np.abs(expected - zero) < 32767 * scale
        assert np.abs(o.image(file)[good] - expected)[inRange].max() <= 0.5 * scale + 1e-4
        assert base.hdus()[0][1]["BITPIX"] == -32

    return check


def differenceOf(base, pair):
    return base.image()


def noiseOfResult(base, pair):
    return np.where(base.has(MaskBit.OUTPUT_ISBAD), 0.0, base.noise)


def moreStars(o, base, pair):
    stars = o.calls[0][4]
    assert base.calls[0][4] is None
    # At most two in each of 36 stamps.
    assert 3 < len(stars) <= 72


def fewerStars(o, base, pair):
    # All stamps may stay empty, so that the threshold is not lowered, as it is for the option -sft.
    assert len(o.calls[0][4]) < len(base.moreStars)


def scaleOf(letter):
    def check(o, base, pair):
        good = ~base.has(MaskBit.OUTPUT_ISBAD)
        factor = base.header["KSUM00"] if letter == "t" else 1.0
        np.testing.assert_allclose(o.image()[good] * factor, base.image()[good], rtol=1e-5, atol=1e-6)
        assert o.header["PHOTNORM"] == ("TEMPLATE" if letter == "t" else "IMAGE")

    return check


def twoRegions(o, base, pair):
    assert o.header["NREGION"] == 2
    boxes = [call[1].getBBox() for call in o.calls]
    assert len(boxes) == 2
    assert boxes[0] != boxes[1]
    for number, box in enumerate(boxes):
        text = f"[{box.x0 + 1}:{box.x1},{box.y0 + 1}:{box.y1}]"
        assert o.header[f"REGION{number:02d}"] == text
        assert o.header[f"CONVOL{number:02d}"] == "TEMPLATE"
    # The second region is fitted like the first, with one kernel for both: nothing is lost at the border.
    np.testing.assert_array_equal(o.has(MaskBit.OUTPUT_ISBAD), base.has(MaskBit.OUTPUT_ISBAD))


def cut(x1, x2, y1, y2):
    def check(o, base, pair):
        inside = np.zeros((SIZE, SIZE), dtype=bool)
        inside[y1 - 1 : y2, x1 - 1 : x2] = True
        assert (o.image()[~inside] == np.float32(1e-30)).all()
        assert o.header["REGION00"] == f"[{x1}:{x2},{y1}:{y2}]"
        np.testing.assert_array_equal(o.has(MaskBit.OUTPUT_ISBAD)[inside], base.has(MaskBit.OUTPUT_ISBAD)[inside])

    return check


def direction(mode):
    def check(o, base, pair):
        assert [call[3] for call in o.calls] == mode
        # Of both the better one is taken.
        assert o.header["CONVOL00"] == ("TEMPLATE" if "convolveTemplate" in mode else "IMAGE")

    return check


def grownBad(o, base, pair):
    # Half of half width 8.
    bad = base.has(MaskBit.I_BAD) | base.has(MaskBit.T_BAD)
    y, x = np.argwhere(bad)[len(np.argwhere(bad)) // 2]
    around = np.s_[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
    assert o.has(MaskBit.OUTPUT_ISBAD)[around].all()
    assert not base.has(MaskBit.OUTPUT_ISBAD)[around].all()


def grownSkip(o, base, pair):
    # A quarter of half width 8.
    bad = o.has(MaskBit.I_BAD)
    y, x = np.argwhere(bad & ~np.roll(bad, 2, axis=1))[3]
    assert (o.has(MaskBit.I_SKIP) | o.has(MaskBit.I_BAD))[y, max(0, x - 2) : x + 3].all()
    assert not (base.has(MaskBit.I_SKIP)).any()


def fewerBad(o, base, pair):
    # Half of the kernel is enough: what a bad pixel of the template spoils is less.
    isBad = o.has(MaskBit.BAD_CONV), base.has(MaskBit.BAD_CONV)
    assert isBad[0].sum() < isBad[1].sum()
    assert o.has(MaskBit.OK_CONV).sum() > base.has(MaskBit.OK_CONV).sum()


def rescaled(o, base, pair):
    # Noise planes twice too large.
    assert o.header["NSCALO00"] != 1.0
    assert o.header["FSCAT00"] == pytest.approx(base.header["FSCAT00"], rel=0.1)
    ratio = o.calls[0][1].variance / base.calls[0][1].variance
    # The sky's scatter is known to 1/sqrt(2 N) of some 20000 pixels; sources and background add to it.
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)


def clippedMore(o, base, pair):
    assert o.header["FSCAT00"] < base.header["FSCAT00"]


def useStored(o, base, pair):
    assert o.calls == []
    good = ~o.has(MaskBit.OUTPUT_ISBAD) & ~base.has(MaskBit.OUTPUT_ISBAD)
    np.testing.assert_allclose(o.image()[good], base.image()[good], atol=2e-2)
    assert "-ko has no meaning here: with -ki no kernel is fitted" in o.err


def byImages(o, base, pair):
    assert o.calls == []
    truth = pair.truth.kernelSum(SIZE / 2, SIZE / 2)
    # Two Gaussians are no good kernel; its sum is what it is all the same.
    assert o.header["KSUM00"] == pytest.approx(truth, rel=0.03)


def listed(count):
    def check(o, base, pair):
        stars = o.calls[0][4]
        expected = np.array([[float(w) for w in line.split()[:2]] for line in o.lines]) - 1.0
        np.testing.assert_allclose(stars[: len(expected)], expected) if count else None
        assert (len(stars) == 12) if count == 12 else len(stars) > 12

    return check


CASES = {
    "inim": ({"inim": "s5.fits"}, lambda o, base, pair: shifted(o, base, 5.0)),
    "tmplim": ({"tmplim": "t5.fits"}, lambda o, base, pair: shifted(o, base, -5.0 * base.header["KSUM00"])),
    "outim": ({"outim": "OUT/other.fits"}, lambda o, base, pair: assertTrue((o.folder / "other.fits").exists())),
    "tu": (LIMITS, limited("t", "u", MaskBit.SAT)),
    "iu": (LIMITS, limited("i", "u", MaskBit.SAT)),
    "tuk": (LIMITS, skipped("t")),
    "iuk": (LIMITS, skipped("i")),
    "tl": (LIMITS, limited("t", "l", MaskBit.LOW)),
    "il": (LIMITS, limited("i", "l", MaskBit.LOW)),
    **{letter + name: (DETECTOR, noisy(letter)) for letter in "ti" for name in "grp"},
    "tni": ({}, noiseOf("t")),
    "ini": ({}, noiseOf("i")),
    "tmi": ({}, maskOf("t")),
    "imi": ({}, maskOf("i")),
    "r": (FIT, fixedTo(kernelSize=13)),
    "kcs": (NOTHING, reason("kcs")),
    "ng": (FIT, fixedTo(alardNGauss=1, alardDegGauss=[2], alardSigGauss=[1.5])),
    "ko": (FIT, fixedTo(spatialKernelOrder=0)),
    "bgo": (FIT, fixedTo(spatialBgOrder=2)),
    "pca": ({"pca": "2 b0.fits b1.fits", "ng": None, "r": None, "rss": 8}, byImages),
    "ki": ({"ki": "STORED"}, useStored),
    "hki": (WRITTEN, hasKernelTable),
    "oki": (WRITTEN, hasKernelFile),
    "nsx": (FIT, region(maxRegions=4 * 5 * 2)),
    "nsy": (FIT, region(maxRegions=4 * 5 * 2)),
    "nss": (FIT, region(maxRegions=4 * 5 * 2)),
    "rss": (FIT, region(halfWidth=9)),
    "ft": (STARS, moreStars),
    "sft": ({**STARS, "ft": 300, "nft": 0.0, "sft": 0.05}, moreStars),
    "nft": ({**STARS, "ft": 300, "nft": 1.0, "sft": 0.05}, fewerStars),
    "ssf": ({"ssf": "stars.txt", "afssc": 0}, listed(12)),
    "cmp": ({"cmp": "stars.txt", "afssc": 0}, listed(12)),
    "afssc": ({"ssf": "stars.txt", "afssc": 1}, listed(0)),
    "savexy": (WRITTEN, hasStampFile),
    "gd": ({"gd": "21 120 31 150"}, cut(21, 120, 31, 150)),
    "nrx": ({"nrx": 2}, twoRegions),
    "nry": ({"nry": 2}, twoRegions),
    "rf": ({"rf": "regions.txt"}, twoRegions),
    "rkw": ({"rkw": "RANGE 1"}, cut(1, 90, 1, 176)),
    "c": ({"c": "i"}, direction(["convolveScience"])),
    "n": ({"n": "t"}, scaleOf("t")),
    "fom": ({"fom": "v", "c": None}, direction(["convolveTemplate", "convolveScience"])),
    "sconv": (NOTHING, reason("sconv")),
    "ssig": (WRITTEN, clippedMore),
    "ks": (FIT, region(threshold=7.5)),
    "mins": (LIMITS, grownSkip),
    "mous": (LIMITS, grownBad),
    "kfm": (WRITTEN, fewerBad),
    "omi": ({}, lambda o, base, pair: assertTrue(set(np.unique(base.image("m.fits"))) > {0, 64})),
    "fi": (WRITTEN, filled),
    "fin": (WRITTEN, noiseFilled),
    "okn": ({"okn": "", "tni": "tn2.fits", "ini": "sn2.fits"}, rescaled),
    "oni": (WRITTEN, asImages),
    "ond": (WRITTEN, asImages),
    "oci": (WRITTEN, asImages),
    "nim": ({"nim": ""}, lone("NOISE")),
    "ndm": ({"ndm": ""}, lone("DIFFNOISE")),
    "cim": ({"cim": ""}, lone("CONVOLVED")),
    "allm": (WRITTEN, asImages),
    "convvar": (NOTHING, reason("convvar")),
    **{name: (SHORT, shortScaled(name, "d.fits", differenceOf, 0.5, 100)) for name in ("sht", "obs", "obz")},
    **{name: (SHORT, shortScaled(name, "n.fits", noiseOfResult, 0.01, 3)) for name in ("nsht", "nbs", "nbz")},
    "nc": ({"nc": "", "oni": "s.fits"}, lambda o, base, pair: assertTrue(o.status == 2 and "same file" in o.err)),
    "v": ({"v": 0}, lambda o, base, pair: assertTrue(o.out == "" and "INFO" not in o.err and "INFO" in base.err)),
}


def assertTrue(condition):
    assert condition


def shifted(o, base, expected):
    good = ~o.has(MaskBit.OUTPUT_ISBAD) & ~base.has(MaskBit.OUTPUT_ISBAD)
    # float32 counts of up to 4e4.
    np.testing.assert_allclose((o.image() - base.image())[good], expected, atol=2e-2)


def test_everyKnownOptionAndNoOther():
    assert sorted(OPTIONS) == sorted(KNOWN)
    assert sorted(CASES) == sorted(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_option(name, run, pair, capsys, monkeypatch):
    changes, check = CASES[name]
    base = run(capsys, monkeypatch)
    assert base.status == 0
    if name == "ki":
        changes = {"ki": str(run(capsys, monkeypatch, **WRITTEN).folder / "k.fits")}
    o = run(capsys, monkeypatch, **changes)
    assert o.status == (2 if name == "nc" else 0), o.err
    if name in ("nsht", "nbs", "nbz"):
        base.noise = run(capsys, monkeypatch, **WRITTEN).image("n.fits")
    if name == "nft":
        base.moreStars = run(capsys, monkeypatch, **CASES["sft"][0]).calls[0][4]
    if name in ("ssf", "cmp", "afssc"):
        o.lines = (base.folder.parent / "stars.txt").read_text().splitlines()[1:]
    check(o, base, pair)


def test_fitKeepsWhatIsGiven(fitted, pair):
    kernel = fitted.config.kernel.active
    assert (kernel.kernelSize, kernel.spatialKernelOrder, kernel.spatialBgOrder) == (2 * R + 1, 1, 1)
    assert (list(kernel.alardDegGauss), list(kernel.alardSigGauss)) == ([3, 1], [0.8, 2.0])
    assert fitted.kernel.shape == (2 * R + 1, 2 * R + 1)
    # What is not given is chosen.
    assert kernel.regionConfig.kernelNorm != type(kernel.regionConfig).kernelNorm.default
    x, y = pair.truth.box.centre
    # A kernel of 17 px leaves some of the wings out.
    assert fitted.kernel.kernelSum(x, y) == pytest.approx(pair.truth.kernelSum(x, y), rel=0.01)


def test_headerOfTheScience(run, capsys, monkeypatch):
    o = run(capsys, monkeypatch)
    header = o.header
    assert header["OBJECT"] == "M 31"
    assert header["SOFTNAME"] == "psfmatch"
    assert header["COMMAND"] == header["DIFFCMD"]
    assert header["COMMAND"].startswith("psfmatch hotpants -inim ")
    assert header["TARGET"].endswith("s.fits")
    assert header["TEMPLATE"].endswith("t.fits")
    assert header["DIFFIM"].endswith("d.fits")
    assert (header["NREGION"], header["REGION00"]) == (1, f"[1:{SIZE},1:{SIZE}]")
    good = ~o.has(MaskBit.OUTPUT_ISBAD)
    figures = ("KSUM00", "SSSIG00", "SSSCAT00", "FSIG00", "FSCAT00", "X2NRM00", "NSCALO00")
    assert all(np.isfinite(float(header[name])) for name in figures)
    # Pixels of sky scatter by their noise, to 5 % and what transients and a smoothed template's neighbours add.
    assert header["FSCAT00"] == pytest.approx(1.0, abs=0.1)
    assert good.mean() > 0.5


def test_storedKernelsOfRegions(run, capsys, monkeypatch):
    first = run(capsys, monkeypatch, nrx=2, oki="OUT/k.fits")
    again = run(capsys, monkeypatch, ki=str(first.folder / "k.fits"))
    assert again.header["NREGION"] == 2
    assert again.header["REGION01"] == first.header["REGION01"]
    np.testing.assert_allclose(again.image(), first.image(), atol=2e-2)


@pytest.mark.parametrize("merit", ["s", "h"])
def test_otherMerits(merit, run, capsys, monkeypatch):
    o = run(capsys, monkeypatch, fom=merit, c=None)
    direction(["convolveTemplate", "convolveScience"])(o, None, None)
    # Three times the counts, three times the merit, whatever it is.
    template, science = map(float, re.search(r"Merit .: (\S+) with the template convolved, (\S+) the", o.err).groups())
    assert science == pytest.approx(3.0 * template, rel=1e-3)
