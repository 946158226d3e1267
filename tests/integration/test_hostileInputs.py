"""Whatever comes in, out comes a typed error that helps, or a finite difference whose flags tell what is lost."""

import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from psfmatch import (
    Box,
    Exposure,
    ExposureReadError,
    ImagePsfMatchTask,
    InputImagesError,
    InsufficientKernelSourcesError,
    MaskedImage,
    NoKernelCandidatesError,
    PsfMatchError,
    frontDoorConfig,
    subtract,
)
from psfmatch.sources import Footprint
from psfmatch.testing import simulatePair

UNUSABLE = ("BAD", "SAT", "EDGE", "NO_DATA")
DIRECTIONS = ("convolveTemplate", "convolveScience")
NO_STARS = (NoKernelCandidatesError, InsufficientKernelSourcesError)


@pytest.fixture(scope="module")
def pair():
    """Some fifteen kernel stars, no defects but those that a test makes."""
    return simulatePair(seed=4, size=192, brightStars=500, faintStars=100, badFraction=0)


@pytest.fixture(scope="module")
def plainConfig():
    """The configured kernel, whose Gaussians follow the widths of the PSFs, and no step after the difference."""
    config = frontDoorConfig()
    config.update(chooseKernel=False, doDecorrelate=False, doAssessQuality=False)
    config.freeze()
    return config


@pytest.fixture(scope="module")
def positions(pair):
    stars = pair.truth.stars[pair.truth.stars["isBright"] & ~pair.truth.stars["isSaturated"]]
    return np.column_stack([stars["x"], stars["y"]])


def assertHonest(result):
    """Check that a kernel is one and that what no plane marks is a number with an error bar."""
    difference = result.difference
    kernelSum = result.kernel.kernelSum(*difference.getBBox().centre)
    assert np.isfinite(kernelSum)
    assert kernelSum > 0
    unflagged = ~difference.mask.hasAny(UNUSABLE)
    assert unflagged.any()
    assert np.isfinite(difference.image[unflagged]).all()
    assert np.isfinite(difference.variance[unflagged]).all()
    assert (difference.variance[unflagged] >= 0).all()
    assert np.isfinite(result.noise.robustStdev)


def honestOrTyped(call):
    """Return an honest result, or None where a typed error with its numbers says why there is none."""
    caught = None
    try:
        result = call()
    except PsfMatchError as error:
        caught = error
    if caught is not None:
        assert caught.counts
        return None
    assertHonest(result)
    return result


def edited(pair, which, edit):
    exposures = {"template": pair.template.copy(), "science": pair.science.copy()}
    for name in ("template", "science") if which == "both" else (which,):
        edit(exposures[name])
    return exposures["template"], exposures["science"]


def setPlane(plane, values, where=slice(None)):
    def edit(exposure):
        getattr(exposure, plane)[where] = values

    return edit


def scatter(plane, value, seed, fraction=0.005):
    """Edit that puts a value into random pixels, others in each image."""

    def edit(exposure):
        generator = np.random.default_rng([seed, int(np.nanmedian(exposure.variance))])
        getattr(exposure, plane)[generator.random(exposure.shape) < fraction] = value

    return edit


# Pixels: what survives


SURVIVABLE = {
    "NaN scattered": ("both", scatter("image", np.nan, seed=0)),
    "infinity scattered": ("both", scatter("image", np.inf, seed=1)),
    "minus infinity scattered": ("both", scatter("image", -np.inf, seed=2)),
    "NaN rows": ("both", setPlane("image", np.nan, np.s_[100:103])),
    "NaN border": ("both", setPlane("image", np.nan, np.s_[:, :20])),
    "one huge pixel": ("both", setPlane("image", 1e30, (100, 140))),
    "one pixel near the largest float": ("both", setPlane("image", 3e38, (100, 140))),
    "one very negative pixel": ("both", setPlane("image", -3e38, (100, 140))),
    "some negative variances": ("both", scatter("variance", -3.0, seed=3)),
    "some NaN variances": ("both", scatter("variance", np.nan, seed=4)),
    "some infinite variances": ("both", scatter("variance", np.inf, seed=5)),
    "some zero variances": ("both", scatter("variance", 0.0, seed=6)),
}
UNUSUAL = {
    "template without noise": ("template", setPlane("variance", 0.0)),
    "negative everywhere": ("both", lambda e: e.image.__isub__(np.float32(1e5))),
    "far above zero": ("both", lambda e: e.image.__iadd__(np.float32(1e5))),
    "counts of 1e20": ("both", lambda e: e.maskedImage.__imul__(1e15)),
    "counts of 1e-12": ("both", lambda e: e.maskedImage.__imul__(1e-16)),
    "no WCS": ("both", lambda e: setattr(e, "wcs", None)),
    "no WCS on the template": ("template", lambda e: setattr(e, "wcs", None)),
}


def allOf(*names):
    """Edit that does to an image what each of these does."""

    def edit(exposure):
        for name in names:
            SURVIVABLE[name][1](exposure)

    return edit


@pytest.mark.parametrize("name", SURVIVABLE)
@pytest.mark.parametrize("mode", DIRECTIONS)
def test_survivable(pair, plainConfig, mode, name):
    """The kernel as configured, fitted to stamps of stars."""
    # The sharper of the two is convolved: garbage is what is to be survived, not the want of sharpness.
    sharp, blurred = edited(pair, *SURVIVABLE[name])
    images = (sharp, blurred) if mode == "convolveTemplate" else (blurred, sharp)
    assertHonest(subtract(*images, mode=mode, config=plainConfig))


@pytest.mark.parametrize(
    "names",
    [
        ("NaN scattered", "infinity scattered", "minus infinity scattered", "NaN rows", "NaN border"),
        ("some negative variances", "some NaN variances", "some infinite variances", "some zero variances"),
        ("one huge pixel",),
        ("one pixel near the largest float",),
        ("one very negative pixel",),
    ],
    ids=lambda names: names[0],
)
def test_survivableWithoutParameters(pair, names):
    """All is chosen, the kernel fitted to regions: what is scattered comes together, what is huge alone."""
    assertHonest(subtract(*edited(pair, "both", allOf(*names)), mode="convolveTemplate"))


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual(pair, name):
    result = subtract(*edited(pair, *UNUSUAL[name]))
    assertHonest(result)
    # Units, levels and coordinates are no reason for a simpler model than a fitted kernel.
    assert result.steps == ()


# Pixels: what cannot be done


HOPELESS = {
    # All pixels bad: the message must not send the user after the detection threshold.
    "science NaN": ("science", setPlane("image", np.nan), "bad|finite|usable"),
    "template NaN": ("template", setPlane("image", np.nan), "bad pixels in the stamp"),
    "both NaN": ("both", setPlane("image", np.nan), "bad|finite|usable"),
    "science infinite": ("science", setPlane("image", np.inf), "bad|finite|usable"),
    "science masked": ("science", setPlane("mask", 1), "bad|masked|usable"),
    "template masked": ("template", setPlane("mask", 1), "bad pixels in the stamp"),
    "science saturated": ("science", setPlane("mask", 2), "bad|masked|usable"),
    "science variance negative": ("science", setPlane("variance", -1.0), "variance"),
    "template variance negative": ("template", setPlane("variance", -1.0), "bad pixels|variance"),
    "science variance NaN": ("science", setPlane("variance", np.nan), "variance"),
    "science variance infinite": ("science", setPlane("variance", np.inf), "variance"),
    "no variance at all": ("both", setPlane("variance", 0.0), "variance"),
    "variance far too small": ("both", lambda e: e.variance.__imul__(np.float32(1e-6)), "variance"),
    "pixels of 1e30, variances of 1e3": ("both", lambda e: e.image.__imul__(np.float32(1e26)), "variance"),
    # Constant images hold no star.
    "science constant": ("science", setPlane("image", 100.0), "no source was found"),
    "both constant": ("both", setPlane("image", 100.0), "no source was found"),
    "both zero": ("both", setPlane("image", 0.0), "no source was found"),
    "negated": ("both", lambda e: e.image.__imul__(np.float32(-1)), "no source was found"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_hopeless(pair, name):
    which, edit, message = HOPELESS[name]
    # Images without a good pixel are told before stars are looked for; what noise no plane tells, the grade does.
    result, error = None, None
    try:
        result = subtract(*edited(pair, which, edit))
    except PsfMatchError as caught:
        error = caught
    if error is None:
        assert result.grade in "DF"
    else:
        assert re.search(f"{message}|do not overlap enough|the kernel takes", str(error))
        assert error.counts


TEMPLATES_OF_ANOTHER_SKY = {
    "constant": setPlane("image", 100.0),
    "zero": setPlane("image", 0.0),
    "negated": lambda e: e.image.__imul__(np.float32(-1)),
    "noise": lambda e: e.image.__setitem__(slice(None), np.random.default_rng(1).normal(300, 5, e.shape)),
}


@pytest.mark.parametrize("mode", DIRECTIONS)
@pytest.mark.parametrize("name", TEMPLATES_OF_ANOTHER_SKY)
def test_templateOfAnotherSky(pair, name, mode):
    """Where the template does not show the science image's stars no kernel makes them: an error, not a sum of 0.

    But a template that shows nothing at all is left where it is, and the grade is one of a template that is wrong.
    """
    template, science = edited(pair, "template", TEMPLATES_OF_ANOTHER_SKY[name])
    if (name, mode) == ("noise", "convolveTemplate"):
        result = subtract(template, science, mode=mode)
        assert result.grade in "DF"
        assert "The template shows no source above S/N 20: science minus sky." in result.explain()
        return
    with pytest.raises(PsfMatchError, match="kernel") as caught:
        subtract(template, science, mode=mode)
    assert caught.value.counts


@pytest.mark.parametrize("mode", DIRECTIONS)
def test_templateTurnedUnderItsWcs(pair, mode):
    """The pixels lie turned by 180 degrees, the coordinates do not: the stars tell, and the grade does."""
    template, science = pair.template.copy(), pair.science
    for plane in (template.image, template.variance, np.asarray(template.mask)):
        plane[...] = plane[::-1, ::-1].copy()
    result = subtract(template, science, mode=mode)
    assert result.alignment.isTurned
    assert result.grade in "DF"
    assert any("the coordinates are wrong" in reason for reason in result.quality.reasons)
    centre = pair.truth.box.centre
    if mode == "convolveTemplate":
        assert result.kernel.kernelSum(*centre) == pytest.approx(pair.truth.kernelSum(*centre), rel=0.05)


@pytest.mark.parametrize("mode", DIRECTIONS)
def test_scienceWithoutVariance(pair, mode):
    """Stars are found in noise and fitted without a measure: refused, or at least a kernel of positive sum."""
    honestOrTyped(lambda: subtract(*edited(pair, "science", setPlane("variance", 0.0)), mode=mode))


def noiseImage(shape, seed, stars=()):
    generator = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = generator.normal(100.0, 10.0, shape)
    sigma = 1.3 + 0.5 * seed
    for column, row, flux in stars:
        light = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
        image += flux * light / (2 * np.pi * sigma**2)
    return Exposure(MaskedImage(image, variance=np.full(shape, 100.0)))


@pytest.mark.parametrize("mode", DIRECTIONS)
def test_pureNoise(mode):
    with pytest.raises(NoKernelCandidatesError, match="no source was found") as caught:
        subtract(noiseImage((200, 200), 0), noiseImage((200, 200), 1), mode=mode)
    assert caught.value.nSources == 0


@pytest.mark.parametrize(("nStars", "mode"), [(1, "convolveTemplate"), (2, "convolveScience")])
def test_tooFewStars(mode, nStars):
    stars = [(60, 70, 5e4), (140, 130, 5e4)][:nStars]
    images = [noiseImage((200, 200), seed, stars) for seed in (0, 1)]
    # Simpler models than a fit to stars are tried; what they give is graded, and never as good.
    result = honestOrTyped(lambda: subtract(*images, mode=mode))
    assert result is None or result.grade in "CDF"
    config = frontDoorConfig()
    config.chooseKernel = False
    with pytest.raises(InsufficientKernelSourcesError, match=rf"^{nStars} .*minKernelSources is 3") as caught:
        subtract(*images, mode=mode, config=config)
    assert (caught.value.nSources, caught.value.nRequired) == (nStars, 3)


def test_tooFewStarsAreEnoughIfAllowed():
    """One star fixes a kernel that does not vary."""
    images = [noiseImage((200, 200), seed, [(60, 70, 5e5)]) for seed in (0, 1)]
    config = frontDoorConfig()
    config.chooseKernel = False
    config.kernel.active.update(minKernelSources=1, spatialKernelOrder=0, spatialBgOrder=0)
    result = subtract(*images, config=config)
    assertHonest(result)
    assert result.kernel.kernelSum(60, 70) == pytest.approx(1.0, abs=0.03)


def test_oneStarManyTimes(pair, positions):
    """Five entries of one star are one star."""
    with pytest.raises(InsufficientKernelSourcesError, match=r"^1 .*minKernelSources is 3"):
        subtract(pair.template, pair.science, candidateList=np.repeat(positions[3:4], 5, axis=0))


def test_galaxiesAndNothingElse():
    """Extended sources are honest kernel candidates; whatever is decided, it is said."""
    pair = simulatePair(seed=2, size=256, brightStars=0, faintStars=0, galaxies=300, badFraction=0, transients=0)
    honestOrTyped(lambda: subtract(pair.template, pair.science))


@pytest.mark.parametrize(("badFraction", "size"), [(0.002, 192), (0.01, 128)])
def test_hotPixelsWithoutMask(badFraction, size):
    """Raw images: hot and dead pixels that nobody marked outnumber the stars, and look like stars to a detection."""
    pair = simulatePair(seed=4, size=size, brightStars=500, faintStars=100, badFraction=badFraction)
    template, science = (MaskedImage(e.image, None, e.variance) for e in (pair.template, pair.science))
    result = honestOrTyped(lambda: subtract(template, science))
    if result is not None and result.grade not in "DF":
        centre = pair.truth.box.centre
        assert result.kernel.kernelSum(*centre) == pytest.approx(pair.truth.kernelSum(*centre), rel=0.05)


# Shapes


@pytest.mark.parametrize("method", ["subtractExposures", "matchExposures"])
def test_shapesOfExposures(pair, method):
    """Without a WCS nothing tells the task how arrays of unequal shapes lie on each other."""
    template = pair.template.subset(Box(0, 0, 128, 192))
    template.wcs = None
    call = getattr(ImagePsfMatchTask(), method)
    with pytest.raises(InputImagesError, match="different size: template 128x192, science 192x192") as caught:
        call(template, pair.science)
    assert (caught.value.templateShape, caught.value.scienceShape) == ((192, 128), (192, 192))


def test_starsTellHowShapesLie(pair):
    """Without a WCS the front door matches the stars of both images."""
    template = pair.template.subset(Box(40, 0, 152, 192))
    template.wcs = None
    result = subtract(template, pair.science)
    assertHonest(result)
    assert result.alignment.isFound
    assert result.coverage.fraction == pytest.approx(152 / 192, abs=0.02)


@pytest.mark.parametrize("method", ["subtractMaskedImages", "matchMaskedImages"])
def test_shapesOfMaskedImages(pair, positions, method):
    template = pair.template.maskedImage.subset(Box(0, 0, 192, 191))
    with pytest.raises(InputImagesError, match="different size: template 192x191, science 192x192"):
        getattr(ImagePsfMatchTask(), method)(template, pair.science.maskedImage, positions)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 20)])
def test_smallerThanTheKernel(shape):
    """The kernel has 21 pixels; the message names the image's size, not the threshold of the detection."""
    with pytest.raises(PsfMatchError, match=f"{shape[1]}x{shape[0]}"):
        subtract(noiseImage(shape, 0), noiseImage(shape, 1))


@pytest.mark.parametrize("shape", [(21, 21), (22, 23), (30, 30), (45, 45)])
@pytest.mark.parametrize("mode", DIRECTIONS)
def test_barelyLargerThanTheKernel(shape, mode):
    star = [(shape[1] // 2, shape[0] // 2, 1e5)]
    images = noiseImage(shape, 0, star), noiseImage(shape, 1, star)
    fixedConfig = frontDoorConfig()
    fixedConfig.chooseKernel = False
    with pytest.raises(NO_STARS, match=r"too close to the edge|No kernel candidate is left of 1|no source|^1 "):
        subtract(*images, mode=mode, config=fixedConfig)
    result = honestOrTyped(lambda: subtract(*images, mode=mode))
    # Its own light is all that checks the kernel.
    assert result is None or result.grade in "BCDF"


@pytest.mark.parametrize(("name", "isScaled"), [("AL", False), ("DF", True), ("DF", False)])
def test_imageSmallerThanAFixedKernel(name, isScaled):
    """Delta functions have the configured size whatever the FWHMs are."""
    config = frontDoorConfig()
    config.chooseKernel = False
    config.kernel.name = name
    config.kernel.active.update(kernelSize=21, kernelSizeMin=11, scaleByFwhm=isScaled)
    with pytest.raises(InputImagesError, match=r"20x20 .* smaller than the kernel of 21x21.*smaller kernelSize$"):
        subtract(noiseImage((20, 20), 0), noiseImage((20, 20), 1), config=config)


def test_kernelLargerThanTheStamp(pair):
    """Stars in the middle of the image are not "too close to the edge": their stamps are too small."""
    config = frontDoorConfig()
    config.chooseKernel = False
    config.kernel.active.update(kernelSize=35, scaleByFwhm=False)
    config.kernel.active.detectionConfig.update(scaleByFwhm=False, fpGrowPix=10)
    with pytest.raises(NoKernelCandidatesError, match="21 pixels wide") as caught:
        subtract(pair.template, pair.science, config=config)
    assert "fpGrowPix" in str(caught.value)
    assert "edge" not in str(caught.value)


def test_kernelLargerThanTheImage(pair):
    config = frontDoorConfig()
    config.chooseKernel = False
    config.kernel.active.update(kernelSize=193, scaleByFwhm=False)
    with pytest.raises(PsfMatchError, match=r"kernelSize|193"):
        subtract(pair.template, pair.science, config=config)


@pytest.mark.parametrize("array", [np.zeros((1, 64, 64)), np.array(3.0), np.zeros((0, 5)), np.zeros(7)])
def test_arraysThatAreNoImages(array):
    with pytest.raises(InputImagesError, match=r"shape \("):
        subtract(array, array)


@pytest.mark.parametrize(
    "thing", [None, 5, [[1.0, 2.0]], np.zeros((64, 64), dtype=complex), np.zeros((64, 64), dtype="U3"), object()]
)
def test_thingsThatAreNoImages(pair, thing):
    with pytest.raises(TypeError, match=r"Exposure|real numbers"):
        subtract(thing, pair.science)
    with pytest.raises(TypeError, match=r"Exposure|real numbers"):
        subtract(pair.template, thing)


# Registration


def shiftedWcs(wcs, dx=0.0, dra=0.0):
    shifted = wcs.deepcopy()
    shifted.wcs.crpix = [shifted.wcs.crpix[0] + dx, shifted.wcs.crpix[1]]
    shifted.wcs.crval = [shifted.wcs.crval[0] + dra, shifted.wcs.crval[1]]
    shifted.wcs.set()
    return shifted


@pytest.mark.parametrize("method", ["subtractExposures", "matchExposures"])
def test_notRegistered(pair, method):
    template = pair.template.copy()
    template.wcs = shiftedWcs(template.wcs, dx=3.0)
    with pytest.raises(InputImagesError, match=r"not registered.* 3\.00 pixels.*doWarping is False") as caught:
        getattr(ImagePsfMatchTask(), method)(template, pair.science, doWarping=False)
    assert caught.value.offsetPix == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize("doWarping", [True, False])
def test_otherPartOfTheSky(pair, doWarping):
    template = pair.template.copy()
    template.wcs = shiftedWcs(template.wcs, dra=1.0)
    with pytest.raises(InputImagesError, match="do not overlap"):
        ImagePsfMatchTask().subtractExposures(template, pair.science, doWarping=doWarping)


@pytest.mark.parametrize("dra", [180.0, -90.0])
def test_otherSideOfTheSky(pair, dra):
    template = pair.template.copy()
    template.wcs = shiftedWcs(template.wcs, dra=dra)
    with pytest.raises(InputImagesError, match=r"do not overlap|not registered"):
        subtract(template, pair.science)


def test_sameSkyByAnotherName(pair, plainConfig):
    """Right ascensions that differ by 360 degrees are one direction."""
    template = pair.template.copy()
    template.wcs = shiftedWcs(template.wcs, dra=-360.0)
    assertHonest(subtract(template, pair.science, config=plainConfig))


def test_wcsWithoutSky(pair, plainConfig):
    """A spectral or linear WCS says nothing about registration."""
    template = pair.template.copy()
    template.wcs = WCS(naxis=2)
    assertHonest(subtract(template, pair.science, config=plainConfig))


def test_brokenWcs(pair):
    template = pair.template.copy()
    template.wcs = template.wcs.deepcopy()
    template.wcs.wcs.crval = [np.nan, np.nan]
    with pytest.raises(InputImagesError, match=r"not registered|overlap|WCS"):
        subtract(template, pair.science)


# Files


@pytest.fixture
def goodFile(pair, tmp_path):
    path = tmp_path / "science.fits"
    pair.science.writeFits(path)
    return path


def damaged(kind, goodFile, tmp_path):
    path = tmp_path / "damaged.fits"
    if kind == "truncated data":
        path.write_bytes(goodFile.read_bytes()[:100_000])
    elif kind == "truncated header":
        path.write_bytes(goodFile.read_bytes()[:1000])
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "text file":
        path.write_text("x y flux\n1 2 3\n")
    elif kind == "random bytes":
        path.write_bytes(np.random.default_rng(0).bytes(50_000))
    elif kind == "no image":
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table({"x": [1.0]}))]).writeto(path)
    elif kind == "three dimensions":
        fits.PrimaryHDU(np.zeros((3, 64, 64), dtype=np.float32)).writeto(path)
    elif kind == "one dimension":
        fits.PrimaryHDU(np.zeros(64, dtype=np.float32)).writeto(path)
    elif kind == "header without data":
        fits.PrimaryHDU().writeto(path)
    elif kind == "a folder":
        path.mkdir()
    return path


DAMAGES = ("truncated data", "truncated header", "empty file", "text file", "random bytes", "no image")
DAMAGES += ("three dimensions", "one dimension", "header without data", "a folder")


@pytest.mark.parametrize("kind", DAMAGES)
def test_damagedFiles(kind, goodFile, tmp_path):
    path = damaged(kind, goodFile, tmp_path)
    for template, science in ((path, goodFile), (goodFile, path)):
        with pytest.raises(ExposureReadError, match=r"damaged\.fits") as caught:
            subtract(template, science)
        assert caught.value.path.endswith("damaged.fits")


def test_missingFile(goodFile, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.fits"):
        subtract(tmp_path / "nowhere.fits", goodFile)


def test_missingHdu(goodFile):
    with pytest.raises(ExposureReadError, match=r"(?s)NOISE.*IMAGE"):
        subtract(f"{goodFile}[NOISE]", goodFile)


def test_openFile(pair, plainConfig, goodFile):
    """An open HDUList is as good as its path."""
    with fits.open(goodFile) as hdus:
        first = subtract(pair.template, hdus, config=plainConfig)
    second = subtract(pair.template, goodFile, config=plainConfig)
    np.testing.assert_array_equal(first.difference.image, second.difference.image)


# Candidate lists


def test_emptyCandidateList(pair):
    """An empty list is an error, not a wish for detection; the message does not speak of a detection."""
    for empty in ([], np.zeros((0, 2)), Table({"x": [], "y": []}), Table(names=["x", "y"])):
        with pytest.raises(NoKernelCandidatesError, match="candidateList") as caught:
            subtract(pair.template, pair.science, candidateList=empty)
        assert caught.value.nSources == 0
        with pytest.raises(NoKernelCandidatesError, match="candidateList"):
            ImagePsfMatchTask().matchMaskedImages(pair.template.maskedImage, pair.science.maskedImage, empty)
        assert "no source was found" not in str(caught.value)


STRAYS = {
    "NaN": (np.nan, 100.0),
    "infinite": (100.0, np.inf),
    "beyond integers": (1e300, 50.0),
    "left of the image": (-0.6, 100.0),
    "right of the image": (191.6, 100.0),
    "on the corner": (-0.5, -0.5),
}


@pytest.fixture(scope="module")
def fromPositions(pair, positions):
    return subtract(pair.template, pair.science, candidateList=positions)


def test_strayCandidates(pair, positions, fromPositions):
    """Positions that are none, or outside, are dropped, counted, and change nothing."""
    withStrays = np.concatenate([list(STRAYS.values()), positions])
    result = subtract(pair.template, pair.science, candidateList=withStrays)
    np.testing.assert_array_equal(result.difference.image, fromPositions.difference.image)
    dropped = [sum(r.summary()["rejectedSources"].values()) for r in (fromPositions, result)]
    assert dropped[1] == dropped[0] + len(STRAYS)


def test_onlyStrayCandidates(pair, positions):
    for strays in (positions + 1e5, positions * np.nan):
        with pytest.raises(NoKernelCandidatesError, match=f"all {len(positions)} sources of candidateList") as caught:
            subtract(pair.template, pair.science, candidateList=strays)
        assert caught.value.nSources == len(positions)


def test_duplicateCandidates(pair, positions, fromPositions):
    """Every star three times: the same kernel, the kernel sum to 1 %."""
    result = subtract(pair.template, pair.science, candidateList=np.repeat(positions, 3, axis=0))
    assertHonest(result)
    centre = result.difference.getBBox().centre
    assert result.kernel.kernelSum(*centre) == pytest.approx(fromPositions.kernel.kernelSum(*centre), rel=0.01)


def test_positionsOffTheStars(pair):
    """Blank sky and random places: rejected with reasons, or too few, but never a kernel that is none."""
    places = np.random.default_rng(3).uniform(30, 161, (20, 2))
    honestOrTyped(lambda: subtract(pair.template, pair.science, candidateList=places))


@pytest.mark.parametrize(
    ("candidates", "error", "message"),
    [
        (np.zeros((5, 3)), ValueError, r"shape \(5, 3\).*\(N, 2\)"),
        (np.zeros(4), TypeError, r"a list of numbers, where each source needs two"),
        (np.full((5, 2), 50.0 + 50.0j), TypeError, "not an array of numbers"),
        ("stars.csv", TypeError, "is a str; give"),
        ({"x": [1], "y": [2]}, TypeError, "is a dict; give"),
        (7, TypeError, "is a int; give"),
        (["a", "b"], (TypeError, ValueError), "candidateList"),
        ([object()], (TypeError, ValueError), "candidateList"),
        (Table({"flux": [1.0]}), ValueError, "columns flux.*needs x and y"),
    ],
)
def test_candidateListsThatAreNone(pair, candidates, error, message):
    with pytest.raises(error, match=message):
        subtract(pair.template, pair.science, candidateList=candidates)


def test_skyPositionsWithoutWcs(pair):
    template, science = edited(pair, "both", lambda e: setattr(e, "wcs", None))
    with pytest.raises(ValueError, match="no celestial WCS"):
        subtract(template, science, candidateList=Table({"ra": [215.6], "dec": [53.1]}))


class WrappedSource:
    """What LSST calls a PsfCandidate: something with getSource()."""

    def __init__(self, row):
        self.row = row

    def getSource(self):
        return self.row


@pytest.mark.parametrize("form", ["rows", "getSource", "footprints", "finished"])
def test_documentedFormsOfCandidates(pair, positions, form):
    """The documented kinds of candidateList: sources, wrapped sources, footprints, the list of makeCandidateList."""
    table = Table({"x": positions[:, 0], "y": positions[:, 1]})
    task = ImagePsfMatchTask(config=frontDoorConfig())
    expected = task.subtractExposures(pair.template, pair.science, 2.7, 3.9, table)
    candidates = {
        "rows": lambda: list(table),
        "getSource": lambda: [WrappedSource(row) for row in table],
        "footprints": lambda: [Footprint(Box(int(x) - 2, int(y) - 2, 5, 5), (x, y)) for x, y in positions],
        "finished": lambda: task.makeCandidateList(pair.template, pair.science, 21, table),
    }[form]()
    result = task.subtractExposures(pair.template, pair.science, 2.7, 3.9, candidates)
    np.testing.assert_array_equal(result.subtractedExposure.image, expected.subtractedExposure.image)


# Options


@pytest.mark.parametrize("value", [0, -3.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["templateFwhmPix", "scienceFwhmPix"])
def test_impossibleFwhm(pair, name, value):
    with pytest.raises(ValueError, match=r"FwhmPix is .*positive"):
        subtract(pair.template, pair.science, **{name: value})


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_impossibleThreads(pair, threads):
    with pytest.raises(ValueError, match=f"threads={threads}: must be a whole number of at least 1"):
        subtract(pair.template, pair.science, threads=threads)


def test_unknownMode(pair):
    with pytest.raises(ValueError, match="mode 'both' is unknown; choose one of auto, convolveTemplate, convolveSci"):
        subtract(pair.template, pair.science, mode="both")


@pytest.mark.parametrize("fwhms", [(0.01, 4.0), (2.7, 500.0), (500.0, 2.7)])
def test_wrongFwhm(pair, fwhms):
    template, science = fwhms
    honestOrTyped(lambda: subtract(pair.template, pair.science, templateFwhmPix=template, scienceFwhmPix=science))


def test_moreTermsThanStars(pair):
    """Order 4 has 15 terms for each function; ten stars cannot fix them.

    A spatial model that nothing holds between the stars must be refused or simplified: the noise of the difference
    would be several times what its variance plane says.
    """
    config = frontDoorConfig()
    config.chooseKernel = False
    config.kernel.active.update(spatialKernelOrder=4, spatialBgOrder=4)
    result = honestOrTyped(lambda: subtract(pair.template, pair.science, config=config))
    assert result is None or result.noise.robustStdev < 1.3


class BrokenPsf:
    def __init__(self, image):
        self.image = image

    def computeKernelImage(self, x, y):
        return self.image


@pytest.fixture(scope="module")
def withoutPsf(pair, plainConfig):
    assert pair.template.psf is None
    assert pair.science.psf is None
    return subtract(pair.template, pair.science, config=plainConfig)


@pytest.mark.parametrize("image", [np.zeros((21, 21)), np.full((21, 21), np.nan), np.ones((1, 1))])
@pytest.mark.parametrize("which", ["template", "science"])
def test_brokenPsf(pair, plainConfig, withoutPsf, which, image):
    """The stars tell the width of a PSF that has none."""
    exposures = edited(pair, which, lambda e: setattr(e, "psf", BrokenPsf(image)))
    result = subtract(*exposures, config=plainConfig)
    assert result.metadata[f"{which}FwhmPix"] == withoutPsf.metadata[f"{which}FwhmPix"]
    assert result.noise.robustStdev < 1.3
