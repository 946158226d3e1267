"""The parts of the command line of HOTPANTS: words, regions, positions, scales, kernel tables, and their mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from psfmatch import LinearCombinationKernel
from psfmatch.cli import main
from psfmatch.errors import InputImagesError, KernelSolutionError
from psfmatch.hotpants import (
    MaskBit,
    fitting,
    helpText,
    hotpantsBasis,
    hotpantsTable,
    parse,
    readHotpantsKernel,
    writeHotpantsTables,
)
from psfmatch.hotpants.differencing import subtractRegions
from psfmatch.hotpants.fitting import Fitted
from psfmatch.hotpants.header import headerCards
from psfmatch.hotpants.masks import grown
from psfmatch.hotpants.options import OPTIONS
from psfmatch.hotpants.positions import ds9Regions, readPositions
from psfmatch.hotpants.preparing import InputImage, readInputs
from psfmatch.hotpants.regions import regionBoxes, section
from psfmatch.hotpants.running import run
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.kernels import makeSpatialFunction

pytestmark = pytest.mark.usefixtures("packageLogging")

FILES = "-inim s.fits -tmplim t.fits -outim d.fits"


def settings(text=""):
    return parse(f"{FILES} {text}".split())


# Words


def test_wordsAndNumbers():
    asked = settings("-tl -1e4 -ng 3 4 0.7 2 1.5 2 3.0 -gd 1 20 3 40 -rkw REGION 2 -hki")
    assert asked["tl"] == -1e4
    assert asked["ng"] == ((4, 2, 2), (0.7, 1.5, 3.0))
    assert asked["gd"] == (1, 20, 3, 40)
    assert asked["rkw"] == ("REGION", 2)
    assert asked["hki"] is True
    assert "hki" in asked
    assert "nim" not in asked
    # Defaults are HOTPANTS' own.
    assert (asked["n"], asked["rss"], asked["fi"], asked["kfm"], asked["nsx"]) == ("t", 15, 1e-30, 0.99, 10)
    assert asked.command.startswith(f"psfmatch hotpants {FILES} -tl -1e4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-foo", r"unknown option -foo; did you mean -fom"),
        ("-xyzzy", r"unknown option -xyzzy; see psfmatch hotpants --help"),
        ("stray", r"'stray' belongs to no option"),
        ("-r 10 -r 11", r"-r is given twice"),
        ("-tu", r"-tu needs COUNTS; COUNTS is missing"),
        ("-tu -iu 3", r"-tu needs COUNTS; COUNTS is missing"),
        ("-tu many", r"-tu needs COUNTS; 'many' is no number"),
        ("-r 2.5", r"-r needs PIX; '2.5' is no whole number"),
        ("-ng 2 4 0.7", r"-ng needs N DEG SIGMA ...; a degree is missing"),
        ("-ng 0", r"at least one Gaussian"),
        ("-ng 1 2 -0.5", r"sigmas above 0"),
        ("-gd 1 2 3", r"-gd needs XMIN XMAX YMIN YMAX; YMAX is missing"),
        ("-c b", r"-c is t or i, not 'b'"),
        ("-v 3", r"-v is 0 or 1 or 2, not 3"),
        ("-r 0", r"-r is 0; it must be above 0"),
        ("-ko -1", r"-ko is -1; it must not be negative"),
        ("-kfm 1.5", r"at most 1"),
        ("-pca 1 a.fits -ng 1 2 2.0", r"-pca and -ng exclude each other"),
    ],
)
def test_mistakesInWords(text, message):
    with pytest.raises(ValueError, match=message):
        settings(text)


def test_required():
    with pytest.raises(ValueError, match=r"-tmplim, -outim missing"):
        parse(["-inim", "a.fits"])


def test_helpNamesEveryOption(capsys):
    text = helpText()
    for name in OPTIONS:
        assert re.search(rf"-{name}[ ,]", text)
    assert max(len(line) for line in text.splitlines()) <= 118
    with pytest.raises(SystemExit) as ended:
        main(["hotpants", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == text + "\n"


def test_referenceNamesEveryOption():
    text = (Path(__file__).resolve().parents[3] / "docs" / "reference.md").read_text()
    assert [name for name in OPTIONS if f"`-{name}`" not in text] == []


def test_mistakeEndsInUsage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["hotpants", "-inim", "a.fits"])
    assert ended.value.code == 2
    assert "-tmplim, -outim missing" in capsys.readouterr().err


# Regions


def image(shape=(40, 60), **cards):
    return Exposure(MaskedImage(np.zeros(shape), xy0=(5, 7)), metadata=cards)


def test_gridFillsThePartAskedFor():
    boxes = regionBoxes(settings("-gd 11 43 1 40 -nrx 2 -nry 3"), image())
    assert len(boxes) == 6
    covered = np.zeros((40, 60), dtype=int)
    for box in boxes:
        covered[box.y0 - 7 : box.y1 - 7, box.x0 - 5 : box.x1 - 5] += 1
    assert (covered[:, 10:43] == 1).all()
    assert covered.sum() == 33 * 40
    assert section(boxes[0], image().getBBox()) == "[11:26,1:13]"


@pytest.mark.parametrize("names", [("PART00", "PART01"), ("PART01", "PART02"), ("PART0", "PART1"), ("PART1", "PART2")])
def test_regionsFromCards(names):
    cards = dict(zip(names, ("[1:30,1:40]", "[31:60,1:40]"), strict=True))
    boxes = regionBoxes(settings("-rkw part 2"), image(**cards))
    assert boxes == [Box(5, 7, 30, 40), Box(35, 7, 30, 40)]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("-gd 0 20 1 20", InputImagesError, r"-gd: \[0:20,1:20\] is no part of an image of 60x40"),
        ("-rkw PART 2", ValueError, r"has no cards PART0 to PART1"),
        ("-nrx 61", ValueError, r"61 by 1 regions do not fit into 60x40"),
        ("-rf LINES", ValueError, r"line 2 of .*: 'nonsense' is no section"),
        ("-rf LINES -gd 41 60 1 40", ValueError, r"nonsense"),
    ],
)
def test_mistakesInRegions(text, error, message, tmp_path):
    (tmp_path / "lines.txt").write_text("1:20,1:20\nnonsense\n")
    with pytest.raises(error, match=message):
        regionBoxes(settings(text.replace("LINES", str(tmp_path / "lines.txt"))), image())


# Positions


def test_positions(tmp_path):
    path = tmp_path / "stars.cmp"
    path.write_text("id x y\n# comment\n 10.5 20.25 17.3\n\n3 4\n")
    np.testing.assert_array_equal(readPositions(str(path)), [[10.5, 20.25], [3.0, 4.0]])
    path.write_text("x y\n")
    with pytest.raises(ValueError, match="no line begins with two numbers"):
        readPositions(str(path))


def test_ds9Regions():
    lines = ds9Regions([(9.0, 19.5, True), (1.0, 2.0, False)], 15).splitlines()
    assert lines[2] == "image"
    assert lines[3:] == ["box(10.00,20.50,31,31,0) # color=green", "box(2.00,3.00,31,31,0) # color=red"]


# Scales and masks


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_grown(radius):
    flags = np.random.default_rng(3).random((23, 31)) < 0.02
    expected = np.zeros_like(flags)
    for y, x in np.argwhere(flags):
        expected[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = True
    np.testing.assert_array_equal(grown(flags, radius), expected)


def inputOf(values):
    pixels = MaskedImage(values, variance=np.full(values.shape, 4.0))
    flags = np.zeros(values.shape, dtype=np.int32)
    return InputImage(Exposure(pixels), flags, flags != 0, "")


@pytest.mark.parametrize("convolved", ["template", "science"])
@pytest.mark.parametrize("scale", ["t", "i", "u"])
def test_scaleOfTheDifference(convolved, scale):
    # science = 2 template + 3, and 10 science counts more in one pixel; the kernel is a point.
    template = np.random.default_rng(1).uniform(50.0, 100.0, (30, 30))
    science = 2.0 * template + 3.0
    science[15, 12] += 10.0
    kernelSum, level = (2.0, 3.0) if convolved == "template" else (0.5, -1.5)
    point = np.zeros((1, 5, 5))
    point[0, 2, 2] = 1.0
    box = Box(0, 0, 30, 30)
    none = Table({"x": [], "y": [], "status": [], "spatialRms": []}, dtype=[float, float, str, float])
    fitted = Fitted(
        LinearCombinationKernel(point, [[kernelSum]], bbox=box),
        makeSpatialFunction("polynomial", [level], (0.0, 0.0, 1.0, 1.0)),
        convolved,
        none,
    )
    asked = settings(f"-n {scale}")
    planes, figures = subtractRegions(inputOf(template), inputOf(science), [(box, fitted)], asked)
    isTemplateScale = scale == "t" or (scale == "u" and convolved == "science")
    unit = 0.5 if isTemplateScale else 1.0
    expected = np.zeros((30, 30))
    expected[15, 12] = 10.0 * unit
    inner = np.s_[2:-2, 2:-2]
    # float32 of some 200 counts
    np.testing.assert_allclose(planes.difference[inner], expected[inner], atol=1e-4)
    # var_S + 2^2 var_T in science counts
    np.testing.assert_allclose(planes.noise[inner], np.sqrt(4.0 + 4.0 * 4.0) * unit, rtol=1e-6)
    isBad = (planes.mask & MaskBit.OUTPUT_ISBAD) != 0
    assert not isBad[inner].any()
    # Half a kernel at the edges.
    assert isBad.sum() == 30 * 30 - 26 * 26
    assert ((planes.mask & MaskBit.BAD_CONV) != 0).sum() == isBad.sum()
    cards = {name: value for name, value, _ in headerCards(asked, figures, box)}
    assert cards["PHOTNORM"] == ("TEMPLATE" if isTemplateScale else "IMAGE")
    assert cards["CONVOL00"] == ("TEMPLATE" if convolved == "template" else "IMAGE")
    assert cards["KSUM00"] == pytest.approx(kernelSum)
    assert "SSSIG00" not in cards


def test_regionWithoutKernelIsFilled():
    values = np.ones((20, 20))
    planes, figures = subtractRegions(inputOf(values), inputOf(values), [(Box(0, 0, 20, 20), None)], settings())
    assert (planes.difference == np.float32(1e-30)).all()
    cards = {name: value for name, value, _ in headerCards(settings(), figures, Box(0, 0, 20, 20))}
    assert cards["CONVOL00"] == "NONE"
    assert "KSUM00" not in cards


# Saturation under a mask that does not say why


def test_namelessMaskHoldsSaturation(tmp_path):
    values = np.full((40, 40), 100.0, dtype=np.float32)
    values[10:13, 20:23] = 60000.0
    values[30, 30] = 60000.0
    mask = (values > 50000).astype(np.int16)
    for letter in "ts":
        fits.writeto(tmp_path / f"{letter}.fits", values)
    fits.writeto(tmp_path / "m.fits", mask)
    fits.writeto(tmp_path / "n.fits", np.ones_like(values))
    line = f"-inim {tmp_path}/s.fits -tmplim {tmp_path}/t.fits -outim d.fits -tmi {tmp_path}/m.fits -tu 50000"
    line += f" -tni {tmp_path}/n.fits -ini {tmp_path}/n.fits -iu 50000"
    template, science = readInputs(parse(line.split()))
    bit = template.exposure.mask.getPlaneBitMask("SAT")
    isSaturated = (np.asarray(template.exposure.mask) & bit) != 0
    # The star's core with two pixels around; a single hot pixel under the mask is none.
    assert isSaturated[10:13, 20:23].all()
    assert isSaturated[8, 21]
    assert not isSaturated[30, 30]
    assert template.bits[30, 30] & MaskBit.INPUT_MASK
    # Without a mask every pixel above is.
    assert science.bits[30, 30] & MaskBit.SAT


# Kernel tables


@pytest.mark.parametrize(("kernelOrder", "backgroundOrder"), [(0, 0), (1, 2), (2, 1)])
def test_kernelTablesAndBack(tmp_path, kernelOrder, backgroundOrder):
    random = np.random.default_rng(5)
    degrees, sigmas, box = (3, 2), (0.9, 2.0), Box(0, 0, 80, 60)
    theirs = hotpantsBasis(15, sigmas, degrees)
    # Any basis of the same functions whose first alone has a sum, which does not vary.
    mixed = theirs.copy()
    mixed[1:] = np.tensordot(random.normal(size=(len(theirs) - 1,) * 2), theirs[1:], axes=1)
    nTerms = (kernelOrder + 1) * (kernelOrder + 2) // 2
    parameters = random.normal(size=(len(theirs), nTerms))
    parameters[0, 1:] = 0.0
    kernel = LinearCombinationKernel(mixed, parameters, bbox=box)
    background = makeSpatialFunction(
        "chebyshev1", random.normal(size=(backgroundOrder + 1) * (backgroundOrder + 2) // 2), kernel.frame
    ) if kernelOrder else makeSpatialFunction("polynomial", [2.5], (0.0, 0.0, 1.0, 1.0))  # fmt: skip
    table = hotpantsTable(kernel, background, degrees, sigmas, box, "science")
    assert table is not None
    writeHotpantsTables(tmp_path / "k.fits", [table, table])
    for region in (0, 1):
        again, level = readHotpantsKernel(tmp_path / "k.fits", region)
        for x, y in ((0.0, 0.0), (41.0, 13.0), (79.0, 59.0)):
            expected = kernel.computeImage(x, y)
            np.testing.assert_allclose(again.computeImage(x, y), expected, atol=1e-9 * np.abs(expected).max())
            assert level(x, y) == pytest.approx(background(x, y), abs=1e-10)


def test_otherKernelsHaveNoTable():
    box = Box(0, 0, 80, 60)
    basis = hotpantsBasis(15, (1.5,), (2,))
    zero = makeSpatialFunction("polynomial", [0.0], (0.0, 0.0, 1.0, 1.0))
    pixel = np.zeros((1, 15, 15))
    pixel[0, 7, 7] = 1.0
    varying = np.zeros((len(basis), 3))
    varying[0] = 1.0, 0.1, 0.0
    for kernel in (
        LinearCombinationKernel(pixel, [[1.0]], bbox=box),
        LinearCombinationKernel(basis, varying, bbox=box),
        LinearCombinationKernel(np.ones((1, 15, 13)), [[1.0]], bbox=box),
    ):
        assert hotpantsTable(kernel, zero, (2,), (1.5,), box, "template") is None


# The whole way


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    random = np.random.default_rng(0)
    for letter, size in (("s", 64), ("t", 64), ("u", 50)):
        fits.writeto(folder / f"{letter}.fits", random.normal(100.0, 3.0, (size, size)).astype(np.float32))
    (folder / "old.fits").write_text("left over")
    fits.writeto(folder / "n.fits", np.full((64, 64), 3.0, dtype=np.float32))
    return folder


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("-tmplim u.fits", 3, "the template has 50x50 pixels, the science image 64x64"),
        ("-tmplim missing.fits", 3, "missing.fits"),
        ("-outim t.fits", 2, "-outim and -tmplim are the same file"),
        ("-oni out.fits", 2, "-oni and -outim are the same file"),
        ("-oni missing/n.fits", 3, "there is no directory .*missing"),
        ("-outim old.fits -nc", 3, "-outim .*old.fits exists already, and -nc says not to replace it"),
        ("-ki n.fits", 3, "holds no kernel"),
        ("-pca 2 s.fits u.fits", 2, "-pca needs images of one shape with odd sides"),
        ("-rss 1", 2, "-rss makes halfWidth 1"),
    ],
)
def test_mistakesOfTheRun(folder, text, status, message, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    words = {"-inim": "s.fits", "-tmplim": "t.fits", "-outim": "out.fits"}
    rest = text.split()
    while rest and rest[0] in words:
        words[rest[0]] = rest[1]
        rest = rest[2:]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    line = [word for pair in words.items() for word in pair]
    noise = [] if "u.fits" in line else ["-tni", "n.fits", "-ini", "n.fits"]
    assert main(["hotpants", *line, *rest, *noise, "-v", "0"]) == status
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("psfmatch: error: ")
    assert re.search(message, error)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_regionsWithTooFewStars(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def fail(*arguments, **options):
        raise KernelSolutionError("no stars")

    monkeypatch.setattr(fitting, "subtract", fail)
    line = "-inim s.fits -tmplim t.fits -outim out.fits -tni n.fits -ini n.fits -nrx 2"
    with pytest.raises(KernelSolutionError, match="no stars"):
        run(parse(line.split()))
    assert not (folder / "out.fits").exists()
