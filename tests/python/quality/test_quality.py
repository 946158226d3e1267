"""Quality of a difference: figures against what was put in, the grade, gates, and input that holds nothing."""

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from psfmatch.images import Box, Exposure, Mask, MaskedImage
from psfmatch.kernels import LinearCombinationKernel, Polynomial2D
from psfmatch.quality import RULES, FinishedSubtraction, Quality, Rule, assessQuality, checkGates
from psfmatch.quality.grading import gradeFigures

SIDE = 400
SIGMA = 3.0  # counts, of the difference
N_STARS = 80


def assess(*, caps=(), without=(), **parts):
    """Return the quality of what is given by name: parts of a `FinishedSubtraction`, or figures told."""
    names = {field.name for field in dataclasses.fields(FinishedSubtraction)}
    figures = {name: value for name, value in parts.items() if name not in names}
    parts = {name: value for name, value in parts.items() if name in names}
    return assessQuality(FinishedSubtraction(**parts, told=figures), caps=caps, without=without)


def makeScene(seed=1, side=SIDE, flux=20_000.0, number=N_STARS):
    """Return positions and noiseless image of Gaussian stars of sigma 1.5 px, 26 px apart or more."""
    generator = np.random.default_rng(seed)
    cells = [(i, j) for i in range(16, side - 16, 26) for j in range(16, side - 16, 26)]
    places = np.array([cells[k] for k in generator.permutation(len(cells))[:number]], dtype=float).reshape(-1, 2)
    x, y = places.T + generator.uniform(-2, 2, (len(cells), 2))[: len(places)].T
    rows, columns = np.indices((side, side))
    image = np.zeros((side, side))
    for starX, starY in zip(x, y, strict=True):
        part = np.s_[max(int(starY) - 12, 0) : int(starY) + 14, max(int(starX) - 12, 0) : int(starX) + 14]
        square = (columns[part] - starX) ** 2 + (rows[part] - starY) ** 2
        image[part] += flux / (2 * np.pi * 1.5**2) * np.exp(-square / (2 * 1.5**2))
    return x, y, image


@pytest.fixture(scope="module")
def scene():
    """Stars, and white noise of the difference; template and science image show the stars alike."""
    x, y, stars = makeScene()
    noise = np.random.default_rng(2).normal(0.0, SIGMA, stars.shape)
    return x, y, stars, noise


def planes(image, sigma=SIGMA, mask=None):
    return MaskedImage(image, mask, np.full(np.shape(image), sigma**2, dtype=np.float32))


def pictures(scene, left=0.0, template=None):
    """Return difference, template and science image; `left` is what the difference holds beside its noise."""
    _, _, stars, noise = scene
    science = planes(stars + noise)
    return planes(noise + left), planes(stars if template is None else template, 0.5), science


def delta(dx, side=7, total=1.25):
    image = np.zeros((side, side))
    image[side // 2, side // 2 + dx] = total
    return image


def measured(difference, template, science, kernelSum=1.0):
    """Return the quality under a kernel that does nothing but scale the template."""
    kernel = LinearCombinationKernel([delta(0, total=kernelSum)], [[1.0]])
    return assess(difference=difference, template=template, science=science, kernel=kernel)


def test_perfectDifference(scene):
    found = measured(*pictures(scene))
    assert found.nSources == N_STARS
    assert found.nRemaining == 0
    # 80 stars of 49 pixels: the robust width is good to 1.167 / sqrt(3920) = 1.9 %.
    assert found.sourceRobust == pytest.approx(1.0, abs=0.06)
    # The worst tenth is left out: a little below one.
    assert 0.93 < found.sourcePlain < 1.02
    assert found.badSourceFraction == 0.0
    assert found.fluxMean == pytest.approx(0.0, abs=4 * found.kernelSumError)
    # Noise of 49 pixels over the light within 4 px, and the error of a median of 80 of them.
    assert found.kernelSumError == pytest.approx(1.25 * 7 * SIGMA / 19_400 / np.sqrt(N_STARS), rel=0.3)
    assert found.fluxScatter < 3e-4
    # 0.006 if the mean deviation of the sky, 2.4 counts, were not taken off.
    assert found.footprintRatioMean < 1.5e-3
    # S/N 20 000 / 21 = 920 within the core.
    assert [number for _, _, number, _ in found.chiSquareByFlux] == [0, 0, N_STARS, 0]
    assert found.chiSquareByFlux[2][3] == pytest.approx(1.0, abs=0.05)


def test_lightLeftIsMeasured(scene):
    found = measured(*pictures(scene, left=0.02 * scene[2]))
    assert found.fluxMean == pytest.approx(0.02, abs=4 * found.kernelSumError)
    assert found.fluxScatter < 3e-4
    assert found.sourceRobust > 1.5
    assert measured(*pictures(scene, left=-0.3 * scene[2])).fluxMean == pytest.approx(-0.3, abs=2e-3)


def test_starsThatOnlyOneImageShows(scene):
    _, _, some = makeScene(number=60)  # the same first sixty
    difference = scene[2] - some
    found = measured(*pictures(scene, left=difference, template=some))
    assert (found.nSources, found.nRemaining) == (80, 20)
    # The others are as good as ever.
    assert found.sourceRobust == pytest.approx(1.0, abs=0.07)
    assert found.badSourceFraction == 0.0
    # And the other way round, the template's counts half as large.
    swapped = measured(planes(scene[3] - difference), planes(0.5 * scene[2], 0.2), planes(some + scene[3]), 2.0)
    assert (swapped.nSources, swapped.nRemaining) == (80, 20)


def test_oneBadRegionIsFound(scene):
    left = np.zeros_like(scene[2])
    left[: SIDE // 3, : SIDE // 3] = 0.05 * scene[2][: SIDE // 3, : SIDE // 3]
    found = measured(*pictures(scene, left=left))
    assert found.worstRegion > 4.0
    # Chi-squares of 49 pixels scatter by 0.2, their lower third of five or more by about 0.12: three of those.
    assert measured(*pictures(scene)).worstRegion < 1.3


def test_badPixelsAreNoSources(scene):
    _, _, stars, noise = scene
    mask = np.zeros(stars.shape, dtype=np.int32)
    image = (stars + noise).copy()
    hot = np.random.default_rng(5).random(stars.shape) < 0.002
    image[hot] = 50_000.0
    mask[hot] = 1
    flagged = measured(planes(noise, mask=mask), planes(stars, 0.5), planes(image, mask=mask))
    assert flagged.nSources <= N_STARS
    assert flagged.nSources > 0.8 * N_STARS
    assert flagged.nRemaining == 0
    # Unflagged ones are sharper than any source.
    assert measured(planes(noise), planes(stars, 0.5), planes(image)).nRemaining <= 3


def test_skyOfWhiteNoise(scene):
    sky = measured(*pictures(scene))
    assert sky.nSkyPixels > 80_000
    # 1.167 / sqrt(n) and 1.25 / sqrt(n), four of them.
    assert sky.noiseRobustStdev == pytest.approx(1.0, abs=0.016)
    assert sky.noiseMedian == pytest.approx(0.0, abs=0.018)
    assert sky.lag1 == pytest.approx(0.0, abs=0.01)
    assert sky.skyLevel < 0.03
    assert sky.outlierFraction < 1e-4
    assert (sky.maskedFraction, sky.coverage) == (0.0, 1.0)


def test_levelOfTheSky(scene):
    steps = np.kron(np.random.default_rng(3).choice([-0.5, 0.5], (SIDE // 16, SIDE // 16)), np.ones((16, 16)))
    waves = 0.5 * SIGMA * np.sign(np.sin(np.arange(SIDE) / 40.0)) * np.ones((SIDE, 1))
    level = measured(*pictures(scene, left=waves)).skyLevel
    # Cells across a step show less.
    assert 0.35 < level < 0.52
    # Steps within a cell cancel: that is noise, not level.
    assert measured(*pictures(scene, left=SIGMA * steps)).skyLevel < 0.3


def test_correlationOfNeighbours(scene):
    white = np.random.default_rng(4).normal(0.0, SIGMA, (SIDE, SIDE + 1))
    image = (white[:, 1:] + white[:, :-1]) / np.sqrt(2)
    sky = measured(planes(image), planes(scene[2], 0.5), planes(scene[2] + scene[3]))
    # One half along x, none along y.
    assert sky.lag1 == pytest.approx(0.25, abs=0.01)
    assert sky.noiseRobustStdev == pytest.approx(1.0, abs=0.02)


def test_maskedAndOutlyingPixels(scene):
    difference, template, science = pictures(scene)
    mask = difference.mask.copy()
    mask[: SIDE // 2] |= mask.getPlaneBitMask("NO_DATA")
    mask[SIDE // 2 :, : SIDE // 4] |= mask.getPlaneBitMask("BAD")
    sky = measured(MaskedImage(difference.image, mask, difference.variance), template, science)
    # Cells overlap where 32 px do not divide the side.
    assert sky.coverage == pytest.approx(0.5, abs=0.04)
    assert sky.maskedFraction == pytest.approx(0.25, abs=0.04)
    spikes = np.where(np.random.default_rng(6).random((SIDE, SIDE)) < 0.01, 100.0, 0.0)
    assert measured(*pictures(scene, left=spikes)).outlierFraction == pytest.approx(0.01, rel=0.1)


def assessed(scene, left=0.0, **options):
    difference, template, science = pictures(scene, left)
    kernel = LinearCombinationKernel([delta(1, total=1.0)], [[1.0]])
    table = Table({"status": ["GOOD"] * 12 + ["BAD"], "reason": [""] * 12 + ["residual rms: 1.5 sigma, limit 1.5"]})
    arguments = {"kernel": kernel, "candidates": table} | options
    return assess(difference=difference, template=template, science=science, **arguments)


def test_allTogether(scene):
    quality = assessed(
        scene,
        background=Polynomial2D([2.0, 0.01, 0.0]),
        rejectedSources={"too close to the edge": 2},
        conditionNumber=1e3,
        varianceScales=(1.1, 0.8),
        kernel=LinearCombinationKernel([delta(0, total=1.0)], [[1.0]]),
    )
    assert quality.grade == "A"
    assert "all" in quality.reasons[0]
    assert (quality.nFound, quality.nUsed) == (15, 12)
    assert quality.rejected == {"too close to the edge": 2, "residual rms": 1}
    assert quality.kernelSum == 1.0
    assert quality.kernelSumScatter == 0.0
    assert quality.kernelShiftPix == 0.0
    assert quality.backgroundAtCentre == pytest.approx(2.0 + 0.01 * (SIDE - 1) / 2)
    assert quality.backgroundRange == pytest.approx(0.01 * 0.8 * (SIDE - 1))
    assert quality.varianceScale == 0.8
    assert quality.coverage == 1.0
    assert quality.limitingMagnitude is None


def test_shiftOfTheKernelIsTold(scene):
    quality = assessed(scene)
    assert quality.kernelShiftPix == pytest.approx(1.0, abs=1e-3)
    assert quality.grade == "C"
    assert quality.reasons == ("C: the kernel shifts the image by 1 px; B needs at most 0.6",)


def test_shiftIsThatOfTheCore(scene):
    y, x = np.indices((21, 21)) - 10
    core = np.exp(-((x + 0.4) ** 2 + (y - 0.3) ** 2) / (2 * 1.4**2))
    core /= core.sum()
    # Wings whose first moment alone is 10 * 0.1 px.
    core[:, 20] += 0.1 / 21
    quality = assessed(scene, kernel=LinearCombinationKernel([core], [[1.0]]))
    assert quality.kernelShiftPix == pytest.approx(0.5, abs=0.03)


def test_capsAndPartsOfOthers(scene):
    quality = assessed(
        scene,
        kernel=None,
        heldOutMean=0.1,
        heldOutRms=1.5,
        residualShiftPix=0.3,
        lag2=0.01,
        coverage=None,
        conditionNumber=np.nan,
        caps=[("D", "the kernel comes from the PSF models")],
    )
    assert (quality.heldOutRms, quality.residualShiftPix, quality.lag2) == (1.5, 0.3, 0.01)
    # None is not known, and gives way to what is measured; what is no number is not known either.
    assert (quality.coverage, quality.conditionNumber) == (1.0, None)
    assert quality.grade == "D"
    assert quality.reasons[0].startswith("D: ")
    assert "D: the kernel comes from the PSF models" in quality.reasons
    assert any(reason.startswith("C: stars kept out of the fit scatter by 1.5") for reason in quality.reasons)


def test_figuresOfOtherNames(scene):
    with pytest.raises(TypeError, match="heldOut"):
        assessed(scene, heldOut=(0.1, 1.5))


def test_everyFigureIsTold():
    for name in Quality.__dataclass_fields__:
        assert f"{name} : " in Quality.__doc__


def test_limitingMagnitude(scene):
    difference, template, science = pictures(scene)
    quality = assess(
        difference=difference,
        template=template,
        science=Exposure(science, photoCalib=10.0),
        kernel=None,
        fwhmPix=1.5 * 2.3548,
    )
    # 5 sigma of a Gaussian of 1.5 px: noise sqrt(4 pi) 1.5 SIGMA counts of 10 nJy each.
    expected = 31.4 - 2.5 * np.log10(5 * 10.0 * SIGMA * np.sqrt(4 * np.pi) * 1.5)
    assert quality.limitingMagnitude == pytest.approx(expected, abs=1e-3)


def test_forJsonAndForReaders(scene):
    quality = assessed(scene)
    stored = json.loads(json.dumps(quality.toDict(), allow_nan=False))
    assert stored["grade"] == "C"
    assert stored["chiSquareByFlux"][3] == [1000.0, None, 0, None]
    text = str(quality)
    assert text.startswith("Grade C\n  C: the kernel shifts")
    assert "candidates used" in text
    assert "rejected: residual rms" in text
    assert "condition number" not in text  # not known


@pytest.mark.parametrize("kind", ["nan", "masked", "no variance", "blank", "tiny", "one pixel", "infinite", "strip"])
def test_nothingToMeasure(kind):
    shape = {"tiny": (20, 20), "one pixel": (1, 1), "strip": (3, 200)}.get(kind, (100, 100))
    image = np.full(shape, {"nan": np.nan, "infinite": np.inf}.get(kind, 0.0), dtype=np.float32)
    source = MaskedImage(image, Mask(np.full(shape, int(kind == "masked"), dtype=np.int32)), np.ones(shape))
    if kind == "no variance":
        source.variance[...] = 0.0
    before = source.image.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quality = assess(difference=source, template=source, science=source, kernel=None)
    assert quality.grade in ("C", "D", "F")
    assert "no source of signal-to-noise above 30" in " ".join(quality.reasons)
    np.testing.assert_array_equal(source.image, before)
    json.dumps(quality.toDict(), allow_nan=False)


def test_kernelThatIsNotFinite(scene):
    quality = assessed(scene, kernel=LinearCombinationKernel([delta(0, total=np.nan)], [[1.0]]))
    assert quality.grade == "F"
    assert "F: the kernel is not finite" in quality.reasons
    negative = assessed(scene, kernel=LinearCombinationKernel([delta(0, total=-1.0)], [[1.0]]))
    assert negative.grade == "F"


@pytest.mark.parametrize(
    ("kind", "value", "grade"),
    [
        ("most", 1.0, "A"),
        ("most", 1.01, "B"),
        ("most", 8.0, "D"),
        ("most", 8.1, "F"),
        ("most", np.nan, "F"),
        ("near one", 0.5, "B"),
        ("near one", 0.49, "C"),
        ("near one", 0.0, "F"),
    ],
)
def test_ruleAtItsLimits(kind, value, grade):
    assert Rule("x", "x is {}", (1.0, 2.0, 4.0, 8.0), kind).grade(value) == grade


def test_ruleOfWhichMoreIsBetter():
    rule = Rule("n", "there are {}", (10, 6, 4, 1), "least")
    assert [rule.grade(n) for n in (10, 9, 6, 5, 4, 3, 1, 0)] == list("ABBCCDDF")
    assert rule.tell(5) == "there are 5; B needs at least 6"


def test_tableGetsStricterTowardsA():
    for rule in RULES:
        worse = rule.limits if rule.kind != "least" else rule.limits[::-1]
        assert list(worse) == sorted(worse), rule.figure
        assert "{}" in rule.words
        assert rule.figure in {*Quality.__dataclass_fields__, "remainingExcess"}


def test_gradeIsThatOfTheWorstFigure():
    quality = Quality("F", (), nSources=20, nRemaining=5, skyLevel=0.5, sourceRobust=1.2)
    assert quality.remainingExcess == 0.15
    grade, reasons = gradeFigures(quality)
    assert grade == "D"
    assert [reason[0] for reason in reasons] == ["D", "B", "B"]
    with pytest.raises(ValueError, match="grade 'E' is unknown"):
        gradeFigures(quality, caps=[("E", "why")])


def test_gatesNeedTheQuality():
    with pytest.raises(ValueError, match="leave doAssessQuality on"):
        checkGates(None, {"grade": "B"})


def test_gates():
    quality = Quality("B", ("B: why",), noiseRobustStdev=1.2, coverage=0.4, nUsed=20)
    assert checkGates(quality, {}) == []
    assert checkGates(quality, {"grade": "B", "noiseRobustStdev": 1.2, "coverage": 0.4, "nUsed": "20"}) == []
    assert checkGates(quality, {"grade": "A"}) == ["the grade is B, below A"]
    assert checkGates(quality, {"noiseRobustStdev": 1.1, "coverage": 0.5}) == [
        "noiseRobustStdev is 1.2, above 1.1",
        "coverage is 0.4, below 0.5",
    ]
    assert checkGates(quality, {"limitingMagnitude": 24}) == [
        "limitingMagnitude is not known, so it cannot be held to 24"
    ]
    with pytest.raises(ValueError, match="'oddness' is no figure; choose grade or one of nFound"):
        checkGates(quality, {"oddness": 1})
    with pytest.raises(ValueError, match="choose one of A, B, C, D, F"):
        checkGates(quality, {"grade": "E"})
    with pytest.raises(ValueError, match="nUsed=many: the limit is not a number"):
        checkGates(quality, {"nUsed": "many"})
    with pytest.raises(ValueError, match="noiseRobustStdev=nan: the limit is not a number"):
        checkGates(quality, {"noiseRobustStdev": "nan"})


def test_placesAreParentPixels(scene):
    """An origin far away changes nothing but where kernel and background are evaluated."""
    moved = [MaskedImage(p.image, p.mask, p.variance, (5000, -300)) for p in pictures(scene)]
    background = Polynomial2D([0.0, 1.0, 0.0])
    quality = assess(difference=moved[0], template=moved[1], science=moved[2], kernel=None, background=background)
    assert quality.backgroundAtCentre == pytest.approx(Box(5000, -300, SIDE, SIDE).centre[0])
    here = assess(**dict(zip(("difference", "template", "science"), pictures(scene), strict=True)), kernel=None)
    assert quality.sourceRobust == here.sourceRobust
    assert quality.noiseRobustStdev == here.noiseRobustStdev


def test_referencePageHasTheLimits():
    text = (Path(__file__).resolve().parents[3] / "docs" / "reference.md").read_text()
    for rule in RULES:
        limits = " | ".join("any" if np.isinf(limit) else f"{limit:g}" for limit in rule.limits)
        how = {"most": "at most", "least": "at least", "near one": "within a factor of"}[rule.kind]
        assert f"| `{rule.figure}` | {how} | {limits} |" in text


def test_brightStarsLost(scene):
    x, y, _, _ = scene
    difference, template, science = pictures(scene)
    stars = [(int(i), int(j)) for i, j in zip(np.rint(x), np.rint(y), strict=True)]
    lost = difference.mask.getPlaneBitMask("SAT"), difference.mask.getPlaneBitMask("EDGE")
    for plane, count in zip(lost, (12, 20), strict=True):
        for i, j in stars[:count] if plane == lost[0] else stars[-count:]:
            difference.mask[j, i] |= plane
    images = {"difference": difference, "template": template, "science": science, "kernel": None}
    found = assess(**images, brightStars=stars, starsAboveLevel=0.2)
    # Those at the border were not lost to a mask.
    assert found.brightLost == 12 / (N_STARS - 20)
    assert found.starsAboveLevel == 0.2
    assert "D: 0.2 of the brightest whole stars lie above the saturation level; C needs at most 0.15" in found.reasons
    assert "B: 0.2 of the brightest whole stars are unusable in the difference; A needs at most 0.15" in found.reasons
    assert assess(**images, brightStars=stars[:19]).brightLost is None
    assert assess(**images).starsAboveLevel is None


def test_shareOfSaturatedStars(scene):
    x, y, stars, noise = scene
    mask = np.zeros(stars.shape, dtype=np.int32)
    saturated = 0
    for starX, starY in zip(x[:30], y[:30], strict=True):
        row, column = round(starY), round(starX)
        if row % 16 in (3, 12) or column % 16 in (3, 12):
            continue
        mask[row - 1 : row + 2, column - 1 : column + 2] |= 2  # SAT
        saturated += 1
    found = measured(planes(noise), planes(stars, 0.5), planes(stars + noise, mask=mask))
    # Discs across borders of blocks may count for two when they touch at a corner only.
    assert found.saturatedFraction == pytest.approx(saturated / N_STARS, abs=0.06)
    assert measured(*pictures(scene)).saturatedFraction == 0.0
