"""From sources to the stamps that the kernel is fitted to."""

import logging
import math

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from psfmatch.config import (
    KernelOptions,
    PsfMatchConfigAL,
    SourceDetectionConfig,
    SourceMeasurementConfig,
    SubtractBackgroundConfig,
)
from psfmatch.errors import InputImagesError, NoKernelCandidatesError
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.fit.candidates.selection import StampRules, buildCellSet, makeCandidateList, stampRules
from psfmatch.images import Box, Exposure, MaskedImage
from psfmatch.sources import Footprint, SourceDetectionTask
from psfmatch.sources.finding import getSelectSources
from psfmatch.sources.measurement import SourceMeasurementTask
from psfmatch.testing import simulatePair

quick = settings(max_examples=30, deadline=None, derandomize=True)

PLANES = ("BAD", "SAT", "NO_DATA")


def makeImage(shape=(120, 150), xy0=(0, 0)):
    return MaskedImage(np.zeros(shape), variance=np.ones(shape), xy0=xy0)


def positions(*xy):
    return Table(rows=[tuple(map(float, pair)) for pair in xy], names=("x", "y"))


def rules(halfWidth=10, kernelSize=11, badPlanes=PLANES, maxLostFraction=0.1):
    return StampRules(halfWidth, kernelSize, badPlanes, maxLostFraction)


def isKept(template, science, x, y, *, which=None):
    """Whether one source passes; the reason must be `which` if not."""
    try:
        candidates, rejected = makeCandidateList(template, science, positions((x, y)), which or rules())
    except NoKernelCandidatesError as error:
        candidates, rejected = [], error.rejected
    assert rejected == ({} if candidates else {"bad pixels in the stamp": 1})
    return len(candidates) == 1


def test_stampsScaleWithTheKernel():
    config = PsfMatchConfigAL()
    found = stampRules(KernelOptions.fromConfig(config), 21)
    assert (found.halfWidth, found.kernelSize, found.maxLostFraction) == (21, 21, 0.1)
    assert set(found.badPlanes) == {"BAD", "SAT", "CR", "EDGE", "NO_DATA"}
    config.detectionConfig.fpGrowKernelScaling = 1.5
    # 31.5 + 0.5, truncated.
    assert stampRules(KernelOptions.fromConfig(config), 21).halfWidth == 32
    config.detectionConfig.scaleByFwhm = False
    assert stampRules(KernelOptions.fromConfig(config), 21).halfWidth == 30


def test_rulesOfTheReference():
    config = PsfMatchConfigAL()
    config.zeroWeightBadPixels = False
    config.maskedStampFraction = 0.3
    found = stampRules(KernelOptions.fromConfig(config), 25)
    assert found.maxLostFraction == 0.0
    assert set(found.badPlanes) == {"NO_DATA", "EDGE", "SAT"}
    config.zeroWeightBadPixels = True
    config.detectionConfig.badMaskPlanes = ["STREAK"]
    found = stampRules(KernelOptions.fromConfig(config), 25)
    assert found.maxLostFraction == 0.3
    assert set(found.badPlanes) == {"STREAK", "BAD", "SAT", "CR", "EDGE", "NO_DATA"}


def test_stampsAboutTheNearestPixels():
    image = makeImage(xy0=(1000, -500))
    table = positions((1050.4, -440.6), (1060.5, -430.5))
    candidates, rejected = makeCandidateList(image, image, table, rules())
    assert rejected == {}
    assert [c["footprint"] for c in candidates] == [
        Footprint(Box(1040, -451, 21, 21), (1050.4, -440.6)),
        Footprint(Box(1051, -440, 21, 21), (1060.5, -430.5)),
    ]
    assert [float(c["source"]["x"]) for c in candidates] == [1050.4, 1060.5]


@quick
@given(st.floats(-5.0, 155.0), st.floats(-5.0, 125.0), st.integers(0, 40), st.integers(1, 15))
def test_boxesShrinkAtTheEdgesOnBothSides(x, y, halfWidth, kernelSize):
    image = makeImage(xy0=(0, 0))
    px, py = math.floor(x + 0.5), math.floor(y + 0.5)

    def largest(p, size):
        return max((r for r in range(halfWidth + 1) if p - r >= 0 and p + r < size), default=None)

    rx, ry = largest(px, 150), largest(py, 120)
    # A second source in the middle, so that the list never ends up empty.
    table = positions((75.0, 60.0), (x, y))
    which = rules(halfWidth, min(kernelSize, 2 * halfWidth + 1))
    candidates, rejected = makeCandidateList(image, image, table, which)
    if rx is None or ry is None:
        assert rejected == {"outside the image": 1}
    elif 2 * min(rx, ry) + 1 < which.kernelSize:
        assert rejected == {"too close to the edge": 1}
    else:
        assert rejected == {}
        assert candidates[1]["footprint"].bbox == Box(px - rx, py - ry, 2 * rx + 1, 2 * ry + 1)


def test_reasonsAreCounted():
    template, science = makeImage(), makeImage()
    science.image[60, 70] = np.nan
    template.mask[30:50, 30:50] = template.mask.getPlaneBitMask("SAT")
    table = positions(
        (100, 60),  # good
        (75, 62),  # one pixel of 441 lost: good
        (40, 40),  # saturated in the template
        (45, 30),  # half saturated
        (-1, 60),
        (np.nan, 60),
        (60, np.inf),
        (150, 119),
        (3, 60),  # 7 px wide
        (100, 116),
    )
    candidates, rejected = makeCandidateList(template, science, table, rules())
    assert [int(c["footprint"].centroid[0]) for c in candidates] == [100, 75]
    assert rejected == {
        "without a finite position": 2,
        "bad pixels in the stamp": 2,
        "outside the image": 2,
        "too close to the edge": 2,
    }


def test_positionsAreThoseOfTheParent():
    template, science = makeImage(xy0=(-20, 7)), makeImage(xy0=(-20, 7))
    template.mask[60, 70] = template.mask.getPlaneBitMask("BAD")
    strict = rules(maxLostFraction=0.0)
    # Pixel (70, 60) of the array is (50, 67) of the parent.
    assert not isKept(template, science, 50, 67, which=strict)
    assert not isKept(template, science, 60, 77, which=strict)
    assert isKept(template, science, 61, 67, which=strict)
    assert isKept(template, science, 39, 67, which=strict)


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("kind", ["BAD", "NO_DATA", "nan", "variance"])
def test_strictRuleTakesNoBadPixel(side, kind):
    images = {"template": makeImage(), "science": makeImage()}
    image = images[side]
    strict = rules(maxLostFraction=0.0)
    assert isKept(images["template"], images["science"], 60, 60, which=strict)
    if kind == "nan":
        image.image[70, 70] = np.nan
    elif kind == "variance":
        image.variance[70, 70] = -1.0
    else:
        image.mask[70, 70] = image.mask.getPlaneBitMask(kind)
    assert not isKept(images["template"], images["science"], 60, 60, which=strict)
    # The stamp of the next pixel to the left ends at column 69.
    assert isKept(images["template"], images["science"], 59, 60, which=strict)
    # By weight one corner of 441 pixels does not count.
    assert isKept(images["template"], images["science"], 60, 60)


def test_planesThatDoNotCount():
    science = makeImage()
    science.mask[:] = science.mask.getPlaneBitMask(["DETECTED", "INTRP", "CR"])
    assert isKept(makeImage(), science, 60, 60, which=rules(maxLostFraction=0.0))
    assert isKept(makeImage(), science, 60, 60, which=rules(badPlanes=("STREAK",), maxLostFraction=0.0))


def test_tenPercentOfTheArea():
    # The border of a stamp of 43 x 43 = 1849 pixels holds 168, the next ring the rest. 10 % are 184.9 pixels; the
    # star's light there, beyond 4.6 sigma of 4.3 px, is nothing.
    for nBad, kept in ((184, True), (185, False)):
        science = makeImage()
        stamp = np.zeros((43, 43), dtype=bool)
        stamp[:] = True
        stamp[1:-1, 1:-1] = False
        ring = np.flatnonzero(np.pad(np.ones((41, 41), bool), 1) & ~np.pad(np.ones((39, 39), bool), 2))
        stamp.flat[ring[: nBad - 168]] = True
        assert np.count_nonzero(stamp) == nBad
        science.mask[60 - 21 : 60 + 22, 70 - 21 : 70 + 22] = stamp
        assert isKept(makeImage(), science, 70, 60, which=rules(21, 21)) == kept


def test_tenPercentOfTheLight():
    # A Gaussian of sigma 4.3 px: a square of 7 px about its centre holds erf(3.5 / (4.3 sqrt(2)))^2 = 34 %, one of
    # 3 px erf(1.5 / 6.08)^2 = 7.4 %, one of 5 px 19 %; 49 of 1849 pixels are 3 % of the area.
    for half, kept in ((0, True), (1, True), (2, False), (3, False)):
        science = makeImage()
        science.mask[60 - half : 61 + half, 70 - half : 71 + half] = science.mask.getPlaneBitMask("SAT")
        assert isKept(makeImage(), science, 70, 60, which=rules(21, 21)) == kept
        # The same pixels in a corner of the stamp do not matter.
        assert isKept(makeImage(), science, 88, 78, which=rules(21, 21))


def test_lostPixelsOfBothImagesAddUp():
    template, science = makeImage(), makeImage()
    # 1 / 21 of the stamp in each: 4.8 % and 9.5 %; the same row twice counts once.
    template.mask[50, :] = 1
    science.mask[50, :] = 1
    assert isKept(template, science, 60, 60)
    science.mask[51, :] = 1
    assert isKept(template, science, 60, 60)
    science.mask[70, :] = 1
    assert not isKept(template, science, 60, 60)


def test_neitherImageChanges():
    template, science = makeImage(), makeImage()
    science.mask[5, 5] = 1
    copies = template.copy(), science.copy()
    makeCandidateList(template, science, positions((60, 60)), rules())
    for image, copy in zip((template, science), copies, strict=True):
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(np.asarray(getattr(image, plane)), np.asarray(getattr(copy, plane)))


def test_noSource():
    with pytest.raises(NoKernelCandidatesError, match="No candidates in candidateList") as caught:
        makeCandidateList(makeImage(), makeImage(), positions()[:0], rules())
    assert caught.value.nSources == 0


def test_noSourceIsLeft():
    table = positions((-10, 0), (2, 2), (300, 300))
    with pytest.raises(
        NoKernelCandidatesError,
        match=r"Cannot find any objects suitable for KernelCandidacy: of 3 sources 2 outside the image, "
        r"1 too close to the edge\. Stamps are 21 pixels wide",
    ) as caught:
        makeCandidateList(makeImage(), makeImage(), table, rules())
    assert caught.value.nSources == 3
    assert caught.value.rejected == {"outside the image": 2, "too close to the edge": 1}


def test_imageSmallerThanAKernel():
    image = makeImage((9, 9))
    with pytest.raises(NoKernelCandidatesError, match="of 1 sources 1 too close to the edge"):
        makeCandidateList(image, image, positions((4, 4)), rules())


def test_templateOfAnotherSize():
    with pytest.raises(InputImagesError, match=r"differ in shape|different size"):
        makeCandidateList(makeImage((50, 50)), makeImage(), positions((100, 100)), rules())


def test_logTellsHowMany(caplog):
    with caplog.at_level(logging.INFO, "psfmatch.fit"):
        makeCandidateList(makeImage(), makeImage(), positions((60, 60), (-5, 0)), rules())
    assert "Growing 2 kernel candidate stars by 10 pixels" in caplog.text
    assert "Selected 1 / 2 sources for KernelCandidacy" in caplog.text


def makeCandidates(*xy, template=None, science=None):
    template, science = template or makeImage(), science or makeImage()
    return template, science, makeCandidateList(template, science, positions(*xy), rules())[0]


def test_cellSetOfCandidates():
    config = PsfMatchConfigAL()
    config.sizeCellX, config.sizeCellY = 64, 40
    images = makeImage(xy0=(1000, 500)), makeImage(xy0=(1000, 500))
    rng = np.random.default_rng(7)
    images[1].image[:] = rng.normal(20.0, 5.0, images[1].shape)
    images[1].variance[:] = rng.uniform(1.0, 3.0, images[1].shape)
    template, science, candidates = makeCandidates(
        (1030.25, 520.0), (1100.5, 560.75), (1032.0, 518.0), template=images[0], science=images[1]
    )
    cellSet = buildCellSet(template, science, candidates, KernelOptions.fromConfig(config))
    assert cellSet.bbox == science.getBBox()
    assert [cell.bbox.shape for cell in cellSet.cells] == [(40, 64), (40, 64), (40, 22)] * 3
    found = sorted(cellSet, key=lambda candidate: candidate.id)
    assert [(c.x, c.y) for c in found] == [(1030.25, 520.0), (1100.5, 560.75), (1032.0, 518.0)]
    for candidate, given_ in zip(found, candidates, strict=True):
        assert candidate.source is given_["source"]
        for stamp, image in (
            (candidate.templateMaskedImage, template),
            (candidate.scienceMaskedImage, science),
        ):
            assert stamp.getBBox() == given_["footprint"].bbox
            assert np.shares_memory(stamp.image, image.image)
        alone = KernelCandidate(
            candidate.x, candidate.y, candidate.templateMaskedImage, candidate.scienceMaskedImage, config
        )
        # 49 pixels in another sequence.
        assert candidate.rating == pytest.approx(alone.rating, rel=1e-12)


@pytest.mark.parametrize("plane", ["SAT", "NO_DATA", "BAD", "CR"])
def test_defectsDoNotRaiseTheRating(plane):
    science = makeImage()
    science.image[:] = 2.0
    science.image[60, 70] = 6e4
    science.mask[60, 70] = science.mask.getPlaneBitMask(plane)
    template, science, candidates = makeCandidates((70, 60), science=science)
    (candidate,) = buildCellSet(template, science, candidates, KernelOptions.fromConfig(PsfMatchConfigAL()))
    assert candidate.rating == pytest.approx(2.0)


def test_coreWithoutAGoodPixelRanksLast():
    science = makeImage()
    science.variance[:] = 0.0
    template, science, candidates = makeCandidates((70, 60), science=science)
    (candidate,) = buildCellSet(template, science, candidates, KernelOptions.fromConfig(PsfMatchConfigAL()))
    assert candidate.rating == -math.inf


def test_cellSetOfNothing():
    with pytest.raises(NoKernelCandidatesError, match="must be populated by makeCandidateList"):
        buildCellSet(makeImage(), makeImage(), [], KernelOptions.fromConfig(PsfMatchConfigAL()))


@pytest.fixture(scope="module")
def field():
    return simulatePair(seed=4, size=256, transients=0, brightStars=300, faintStars=0, galaxies=0).science


def findSources(exposure, **options):
    detectionConfig = SourceDetectionConfig()
    detectionConfig.thresholdValue = 10.0
    return getSelectSources(
        exposure,
        SourceDetectionTask(config=detectionConfig),
        SourceMeasurementTask(config=SourceMeasurementConfig()),
        SubtractBackgroundConfig(),
        sigma=1.6,
        **options,
    )


def test_sourcesOfAnExposure(field):
    before = field.copy()
    sources = findSources(field)
    for plane in ("image", "variance", "mask"):
        assert np.asarray(getattr(field, plane)).tobytes() == np.asarray(getattr(before, plane)).tobytes()
    assert len(sources) > 10
    assert (np.diff(sources["flux"]) <= 0.0).all()
    assert sources["id"].tolist() == list(range(1, len(sources) + 1))
    ra, dec = field.wcs.all_pix2world(sources["x"], sources["y"], 0)
    np.testing.assert_array_equal(sources["ra"], ra)
    np.testing.assert_array_equal(sources["dec"], dec)
    assert not sources["badCentre"].all()


def test_sourcesWithoutAWcs(field):
    with_ = findSources(field)
    without = findSources(Exposure(field.maskedImage))
    assert np.isnan(without["ra"]).all()
    assert np.isnan(without["dec"]).all()
    np.testing.assert_array_equal(without["x"], with_["x"])


def test_sourcesDoNotDependOnThreadsNorOnTheOrigin(field):
    expected = findSources(field, threads=1)
    image = field.maskedImage
    moved = MaskedImage(image.image, image.mask, image.variance, xy0=(1000, -2000))
    for sources, shift in ((findSources(field, threads=3), (0, 0)), (findSources(Exposure(moved)), (1000, -2000))):
        # Whole pixels of 1e3 leave 1e-13 of rounding.
        np.testing.assert_allclose(sources["x"] - shift[0], expected["x"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(sources["y"] - shift[1], expected["y"], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(sources["flux"], expected["flux"])
        np.testing.assert_array_equal(sources["badCentre"], expected["badCentre"])


def test_smoothingCanBeLeftOut(field):
    # Smoothing lowers the noise of 1.6 px stars by sqrt(4 pi) 1.6 = 5.7: more are found.
    assert 5 < len(findSources(field, doSmooth=False)) <= len(findSources(field))


def test_flagOfABadCentre(field):
    exposure = field.copy()
    sources = findSources(exposure)
    good = sources[~sources["badCentre"]][0]
    x, y = math.floor(good["x"] + 0.5), math.floor(good["y"] + 0.5)
    exposure.mask[y, x] |= exposure.mask.getPlaneBitMask("CR")
    measurement = SourceMeasurementTask(config=SourceMeasurementConfig())
    flags = measurement.run(Table([good]), exposure)["badCentre"]
    assert flags.tolist() == [True]
    exposure.mask[y, x] = exposure.mask.getPlaneBitMask("DETECTED")
    assert measurement.run(Table([good]), exposure)["badCentre"].tolist() == [False]


def test_medianStandsInForABackgroundThatFails(caplog, monkeypatch, field):
    def fail(*args):
        raise ValueError("the mesh of the background holds cells without a good pixel")

    monkeypatch.setattr("psfmatch.sources.finding.subtractBackground", fail)
    with caplog.at_level(logging.WARNING, "psfmatch.fit"):
        sources = findSources(field)
    assert "Background failed (the mesh of the background" in caplog.text
    assert "using the median" in caplog.text
    assert len(sources) > 10
