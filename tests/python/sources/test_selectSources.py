"""Detection, measurement and candidate lists through the task, with subtasks of the user's own."""

import functools
import itertools
import logging

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from lsst.pex.config import Config, Field

from psfmatch import ImagePsfMatchTask
from psfmatch.config import Task
from psfmatch.config.task import Struct
from psfmatch.errors import NoKernelCandidatesError
from psfmatch.fit import BuildSingleKernelVisitor
from psfmatch.fit.candidates.cells import KernelCandidate
from psfmatch.images import Exposure, GaussianPsf, Mask, MaskedImage
from psfmatch.testing import simulatePair


@functools.cache
def makeTask(**values):
    config = ImagePsfMatchTask.ConfigClass()
    config.selectDetection.update(**values)
    return ImagePsfMatchTask(config=config)


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=8, size=320, transients=0, galaxies=0, brightStars=150)


def planesOf(exposure):
    return [np.asarray(plane).copy() for plane in (exposure.image, exposure.mask, exposure.variance)]


def test_unitsOfTheCatalogue(pair):
    sources = makeTask().getSelectSources(pair.science)
    found = {name: sources[name].unit for name in ("x", "y", "a", "b", "ra", "dec", "ixx", "iyy", "ixy")}
    assert found == dict.fromkeys(("x", "y", "a", "b"), units.pix) | dict.fromkeys(("ra", "dec"), units.deg) | (
        dict.fromkeys(("ixx", "iyy", "ixy"), units.pix**2)
    )


def test_onlyTheBrightestAndTheirFootprintsAsFound(pair):
    """Both change what is done, and none of the numbers of those that are left."""
    task = makeTask(thresholdPolarity="both")
    all_, few = (task.selectSources(pair.science, isGrown=False, most=most) for most in (None, 20))
    grown = task.selectSources(pair.science)
    isAbove = ~np.asarray(all_["isNegative"])
    assert np.count_nonzero(isAbove) > 20
    assert np.count_nonzero(~np.asarray(few["isNegative"])) == 20
    assert len(few) == np.flatnonzero(isAbove)[19] + 1
    for name in all_.colnames:
        np.testing.assert_array_equal(few[name], all_[name][: len(few)])
        if name != "footprint":
            np.testing.assert_array_equal(grown[name], all_[name])
    # Neighbours grow together.
    assert len(set(grown["footprint"][isAbove])) < len(set(all_["footprint"][isAbove]))
    assert len(task.selectSources(pair.science, most=10**6)) == len(all_)


def test_measurementsOfTheStars(pair):
    exposure = Exposure(pair.science.maskedImage, pair.science.wcs, psf=GaussianPsf(1.66))
    sources = makeTask().getSelectSources(exposure)
    stars = pair.truth.stars
    nChecked = 0
    for star in stars[stars["flux"] > 1e4]:
        distance = np.hypot(stars["x"] - star["x"], stars["y"] - star["y"])
        row = sources[np.argmin(np.hypot(sources["x"] - star["x"], sources["y"] - star["y"]))]
        if np.sum(distance < 15.0) > 1 or any(row[f"flag{name}"] for name in ("Saturated", "Edge", "NoData", "Bad")):
            continue
        if not 12 < star["x"] < 308 or not 12 < star["y"] < 308:
            continue
        nChecked += 1
        # The PSF is no Gaussian: what its wings hold, a tenth, is not in a Gaussian of its core.
        assert row["psfFlux"] == pytest.approx(star["flux"], rel=0.15)
        assert row["gaussianFlux"] == pytest.approx(star["flux"], rel=0.15)
        assert 1.5 < row["ixx"] < 5.0
        assert 1.5 < row["iyy"] < 5.0
    assert nChecked >= 5


def test_nothingOfTheExposureChanges(pair):
    before, names = planesOf(pair.science), dict(pair.science.mask.planes)
    makeTask().getSelectSources(pair.science)
    for old, new in zip(before, planesOf(pair.science), strict=True):
        np.testing.assert_array_equal(old, new)
    assert pair.science.mask.planes == names


def test_detectedMask(pair):
    task = makeTask()
    mask = pair.science.mask.copy()
    stale = mask.getPlaneBitMask(["DETECTED", "DETECTED_NEGATIVE"])
    mask[:] |= np.int32(stale)
    sources = task.getSelectSources(pair.science, detectedMask=mask)
    others = np.int32(~stale)
    np.testing.assert_array_equal(np.asarray(mask) & others, np.asarray(pair.science.mask) & others)
    isDetected = mask.hasAny("DETECTED")
    assert isDetected[np.round(sources["y"]).astype(int), np.round(sources["x"]).astype(int)].mean() > 0.95
    assert 0.02 < isDetected.mean() < 0.5
    assert not mask.hasAny("DETECTED_NEGATIVE").any()
    smaller = Mask(np.zeros((320, 320), dtype=np.int32))
    makeTask(nSigmaToGrow=0.0).getSelectSources(pair.science, detectedMask=smaller)
    assert smaller.hasAny("DETECTED").sum() < isDetected.sum()
    assert (smaller.hasAny("DETECTED") <= isDetected).all()
    with pytest.raises(ValueError, match=r"detectedMask has shape \(5, 5\), the exposure \(320, 320\)"):
        task.getSelectSources(pair.science, detectedMask=Mask(np.zeros((5, 5), dtype=np.int32)))


def test_detectionsOfAnEarlierRunDoNotCount(pair):
    """Images of a survey come with DETECTED set on every star."""
    exposure = pair.science.copy()
    expected = makeTask().getSelectSources(exposure)
    makeTask().getSelectSources(exposure, detectedMask=exposure.mask)
    found = makeTask().getSelectSources(exposure)
    # The sky is now estimated without the stars, which moves the threshold a little.
    assert len(found) == pytest.approx(len(expected), rel=0.1)


def test_widthOfTheSmoothing(pair, caplog):
    bare = Exposure(pair.science.maskedImage)
    with caplog.at_level(logging.INFO, "psfmatch"):
        assumed = makeTask().getSelectSources(bare)
    assert "No PSF on the image and no sigma: smoothing for a FWHM of 3.0 pixels" in caplog.text
    caplog.clear()
    given_ = makeTask().getSelectSources(bare, sigma=3.0 / 2.3548200450309493)
    np.testing.assert_array_equal(given_["flux"], assumed["flux"])
    withPsf = makeTask().getSelectSources(Exposure(pair.science.maskedImage, psf=GaussianPsf(2.0)))
    np.testing.assert_allclose(
        withPsf["flux"], makeTask().getSelectSources(bare, sigma=np.hypot(2.0, 12**-0.5))["flux"], rtol=1e-3
    )
    assert "No PSF" not in caplog.text
    for sigma in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"sigma .*must be positive"):
            makeTask().getSelectSources(bare, sigma=sigma)


def test_idFactories(pair):
    class Factory:
        def __init__(self):
            self.count = itertools.count(7_000_000_000, 16)

        def __call__(self):
            return next(self.count)

    ids = makeTask().getSelectSources(pair.science, idFactory=Factory())["id"]
    assert ids[:2].tolist() == [7_000_000_000, 7_000_000_016]
    with pytest.raises(ValueError, match="idFactory gave 1 different ids for"):
        makeTask().getSelectSources(pair.science, idFactory=lambda: 1)


@pytest.mark.parametrize("kind", ["masked", "nan", "one pixel", "no variance", "constant"])
def test_hostileExposures(kind):
    shape = (1, 1) if kind == "one pixel" else (64, 64)
    image = MaskedImage(np.full(shape, 7.0), variance=np.ones(shape))
    if kind == "masked":
        image.mask[:] = 1
    elif kind == "nan":
        image.image[:] = np.nan
    elif kind == "no variance":
        image.variance[:] = 0.0
    for options in ({}, {"thresholdPolarity": "both", "reEstimateBackground": True, "doTempWideBackground": True}):
        mask = Mask(np.zeros(shape, dtype=np.int32))
        sources = makeTask(**options).getSelectSources(Exposure(image), detectedMask=mask)
        assert len(sources) == 0
        assert not np.asarray(mask).any()
        assert "psfFlux" in sources.colnames
    with pytest.raises(NoKernelCandidatesError, match="No kernel candidates"):
        makeTask().makeCandidateList(Exposure(image), Exposure(image), 21)


def brightest(pair, n=12):
    sources = makeTask().getSelectSources(pair.science)
    return sources[~sources["badCentre"]][:n]


def test_skyPositionsThroughTheScienceWcs(pair):
    sources = brightest(pair)
    sky = SkyCoord(sources["ra"], sources["dec"], unit="deg")
    pixels = makeTask().makeCandidateList(pair.template, pair.science, 21, sources["x", "y"])
    for given_ in (sky, list(sky), Table({"where": sky}), sources["ra", "dec"], list(sources)):
        found = makeTask().makeCandidateList(pair.template, pair.science, 21, given_)
        assert [c["footprint"].bbox for c in found] == [c["footprint"].bbox for c in pixels]


def test_everyFormThroughTheTask(pair):
    sources = brightest(pair)
    expected = makeTask().matchExposures(pair.template, pair.science, 2.7, 3.9, sources)
    finished = makeTask().makeCandidateList(pair.template, pair.science, expected.psfMatchingKernel.shape[-1], sources)
    for given_ in (np.column_stack([sources["x"], sources["y"]]), list(sources), finished):
        result = makeTask().matchExposures(pair.template, pair.science, 2.7, 3.9, given_)
        np.testing.assert_array_equal(result.matchedImage.image, expected.matchedImage.image)
    with pytest.raises(NoKernelCandidatesError, match="it is empty"):
        makeTask().matchExposures(pair.template, pair.science, 2.7, 3.9, [])
    with pytest.raises(TypeError, match="different types"):
        makeTask().matchExposures(pair.template, pair.science, 2.7, 3.9, [sources[0], finished[0]])


class BlockConfig(Config):
    level = Field[float](doc="Counts above which a pixel is a source.", default=2000.0)


class BlockDetection(Task):
    """The least that can stand in: a run, a Table with x and y."""

    ConfigClass = BlockConfig
    _DefaultName = "blockDetection"

    def run(self, maskedImage, sigma, doSmooth=True, threads=1, rounding=0.0):
        image = np.where(np.asarray(maskedImage.mask) == 0, maskedImage.image, 0.0)
        y, x = np.nonzero(image > self.config.level)
        return Table({"x": x + float(maskedImage.xy0[0]), "y": y + float(maskedImage.xy0[1])})


class StructDetection(BlockDetection):
    def run(self, **kwargs):
        return Struct(sources=super().run(**kwargs))


class Nothing(Config):
    pass


class PassOn(Task):
    ConfigClass = Nothing
    _DefaultName = "passOn"

    def run(self, sources, exposure):
        sources["sky"] = exposure.image[np.asarray(sources["y"], int), np.asarray(sources["x"], int)]
        return sources


@pytest.mark.parametrize("Detection", [BlockDetection, StructDetection])
def test_subtasksOfOnesOwn(pair, Detection):
    config = ImagePsfMatchTask.ConfigClass()
    config.selectDetection.retarget(Detection)
    config.selectDetection.level = 3000.0
    config.selectMeasurement.retarget(PassOn)
    task = ImagePsfMatchTask(config=config)
    assert type(task.selectDetection) is Detection
    sources = task.getSelectSources(pair.science, sigma=1.6)
    assert sources.colnames == ["x", "y", "sky"]
    # The image that is handed on has its sky of 400 counts taken off.
    assert (sources["sky"] > 3000.0).all()
    result = task.subtractExposures(pair.template, pair.science, 2.7, 3.9)
    assert len(result.kernelCellSet) >= 3
    with pytest.raises(ValueError, match="run returns no detected footprints"):
        task.getSelectSources(pair.science, detectedMask=pair.science.mask.copy())
    blank = Exposure(MaskedImage(np.zeros((64, 64)), variance=np.ones((64, 64))))
    with pytest.raises(NoKernelCandidatesError, match="no source was found"):
        task.makeCandidateList(blank, blank, 21)


# A candidate that is rated by its source


class Record:
    def getX(self):
        return 60.0

    def getY(self):
        return 70.0

    def getPsfInstFlux(self):
        return 1234.5


def test_sourceRating(pair):
    config = makeTask().kConfig
    sources = brightest(pair)
    for candidate in makeTask().makeCandidateList(pair.template, pair.science, 21, sources):
        stamps = [image.maskedImage.subset(candidate["footprint"].bbox) for image in (pair.template, pair.science)]
        rated = KernelCandidate.fromSource(candidate["source"], *stamps, config)
        assert not rated.isInitialized
        assert rated.rating == candidate["source"]["psfFlux"]
        assert (rated.x, rated.y) == candidate["footprint"].centroid
        assert rated.source is candidate["source"]
        basis = makeTask().makeKernelBasisList(2.7, 3.9)
        BuildSingleKernelVisitor(basis, config).processCandidate(rated)
        assert rated.isInitialized
    record = KernelCandidate.fromSource(Record(), *stamps, config)
    assert (record.x, record.y, record.rating) == (60.0, 70.0, 1234.5)
    lost = Table({"x": [1.0], "y": [2.0], "psfFlux": [np.nan]})[0]
    assert KernelCandidate.fromSource(lost, *stamps, config).rating == -np.inf
