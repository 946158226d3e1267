"""The documented task: its four ways in, what they return, and the pixel algebra behind the difference."""

import math
import pickle

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from psfmatch import (
    Box,
    Exposure,
    GaussianPsf,
    ImagePsfMatchTask,
    InputImagesError,
    LinearCombinationKernel,
    MaskedImage,
    NoKernelCandidatesError,
)
from psfmatch.config import Task
from psfmatch.fit import SpatialCellSet
from psfmatch.kernels import Chebyshev2D
from psfmatch.sources import Footprint
from psfmatch.testing import simulatePair

MATCH_FIELDS = {"matchedImage", "psfMatchingKernel", "backgroundModel", "kernelCellSet"}
FLAGGED = ("BAD", "SAT", "EDGE", "NO_DATA")


@pytest.fixture(scope="module")
def pair():
    pair = simulatePair(seed=4, size=(224, 288), brightStars=300, faintStars=100, transients=(30.0, -30.0))
    pair.template.mask.addPlane("STREAK")
    pair.template.mask[50, 60:70] |= pair.template.mask.getPlaneBitMask("STREAK")
    pair.template.filter, pair.science.filter = "R", "r"
    pair.template.photoCalib, pair.science.photoCalib = 2.0, 3.0
    pair.science.metadata["NIGHT"] = 7
    return pair


def makeTask(**changes):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(spatialKernelOrder=1, spatialBgOrder=1, fitForBackground=True, **changes)
    return ImagePsfMatchTask(config=config)


@pytest.fixture(scope="module")
def results(pair):
    """The results of subtractExposures by convolveTemplate."""
    return {
        convolveTemplate: makeTask().subtractExposures(
            pair.template, pair.science, 2.7, 3.9, convolveTemplate=convolveTemplate
        )
        for convolveTemplate in (True, False)
    }


def positionsOf(pair):
    stars = pair.truth.stars[pair.truth.stars["isBright"] & ~pair.truth.stars["isSaturated"]]
    return np.column_stack([stars["x"], stars["y"]])


def same(first, second):
    """Compare with NaN equal to NaN."""
    return np.array_equal(np.asarray(first), np.asarray(second), equal_nan=np.asarray(first).dtype.kind == "f")


# What is returned


@pytest.mark.parametrize("convolveTemplate", [True, False])
def test_fieldsOfSubtractExposures(pair, results, convolveTemplate):
    result = results[convolveTemplate]
    assert MATCH_FIELDS | {"warpedExposure", "matchedExposure", "subtractedExposure"} <= set(result.getDict())
    assert "subtractedExposure" in result
    assert "noSuchField" not in result
    assert isinstance(result.matchedImage, MaskedImage)
    assert isinstance(result.matchedExposure, Exposure)
    assert isinstance(result.subtractedExposure, Exposure)
    assert isinstance(result.psfMatchingKernel, LinearCombinationKernel)
    assert isinstance(result.backgroundModel, Chebyshev2D)
    assert isinstance(result.kernelCellSet, SpatialCellSet)
    assert result.matchedImage.getBBox() == pair.science.getBBox()
    assert result.subtractedExposure.getBBox() == pair.science.getBBox()


def test_fieldsOfMatchExposures(pair):
    result = makeTask().matchExposures(pair.template, pair.science, 2.7, 3.9)
    assert MATCH_FIELDS | {"warpedExposure", "matchedExposure"} <= set(result.getDict())
    assert "subtractedExposure" not in result
    matched = result.matchedExposure
    assert matched.filter == "R"
    assert matched.photoCalib == 3.0
    assert matched.psf is None
    assert matched.wcs.to_header_string() == pair.science.wcs.to_header_string()
    assert same(matched.image, result.matchedImage.image)


def test_fieldsOfTheMaskedImageMethods(pair):
    arguments = (pair.template.maskedImage, pair.science.maskedImage, positionsOf(pair), 2.7, 3.9)
    matched = makeTask().matchMaskedImages(*arguments)
    assert MATCH_FIELDS | {"psfMatchedMaskedImage"} <= set(matched.getDict())
    assert matched.psfMatchedMaskedImage is matched.matchedImage
    assert "subtractedMaskedImage" not in matched
    subtracted = makeTask().subtractMaskedImages(*arguments)
    assert MATCH_FIELDS | {"subtractedMaskedImage"} <= set(subtracted.getDict())
    assert isinstance(subtracted.subtractedMaskedImage, MaskedImage)
    assert same(subtracted.matchedImage.image, matched.matchedImage.image)


def test_methodsAgree(pair, results):
    """The four ways lead to one kernel and one difference."""
    for convolveTemplate, slots in ((True, ("template", "science")), (False, ("science", "template"))):
        images = [getattr(pair, slot).maskedImage for slot in slots]
        fwhms = (2.7, 3.9) if convolveTemplate else (3.9, 2.7)
        sources = makeTask().getSelectSources(pair.science)
        result = makeTask().subtractMaskedImages(*images, sources, *fwhms)
        expected = results[convolveTemplate]
        assert same(result.matchedImage.image, expected.matchedImage.image)
        assert same(result.psfMatchingKernel.scaledParameters, expected.psfMatchingKernel.scaledParameters)
        if convolveTemplate:
            assert same(result.subtractedMaskedImage.image, expected.subtractedExposure.image)
            assert same(result.subtractedMaskedImage.variance, expected.subtractedExposure.variance)
        else:
            # T - (K * S + b) there, (K * S + b - T) / sum K here.
            kernelSum = expected.psfMatchingKernel.kernelSum(*pair.science.getBBox().centre)
            ours, theirs = result.subtractedMaskedImage.image, expected.subtractedExposure.image
            good = np.isfinite(theirs)
            np.testing.assert_allclose(-ours[good] / kernelSum, theirs[good], rtol=0, atol=0.02)


# Pixel algebra


def gridOf(maskedImage):
    box = maskedImage.getBBox()
    return np.arange(box.x0, box.x1)[np.newaxis, :], np.arange(box.y0, box.y1)[:, np.newaxis]


def test_differenceOfConvolvedTemplate(pair, results):
    result = results[True]
    background = result.backgroundModel(*gridOf(pair.science.maskedImage))
    expected = pair.science.image - result.matchedImage.image - background
    good = np.isfinite(expected)
    # Three float32 roundings of up to 5e4 counts (0.004 each).
    np.testing.assert_allclose(result.subtractedExposure.image[good], expected[good], rtol=0, atol=0.012)
    assert same(result.subtractedExposure.variance, pair.science.variance + result.matchedImage.variance)


def test_differenceOfConvolvedScience(pair, results):
    result = results[False]
    kernelSum = result.psfMatchingKernel.kernelSum(*pair.science.getBBox().centre)
    background = result.backgroundModel(*gridOf(pair.science.maskedImage))
    expected = (result.matchedImage.image + background - pair.template.image) / kernelSum
    good = np.isfinite(expected)
    np.testing.assert_allclose(result.subtractedExposure.image[good], expected[good], rtol=0, atol=0.02)
    variance = (result.matchedImage.variance + pair.template.variance) / kernelSum**2
    np.testing.assert_allclose(result.subtractedExposure.variance[good], variance[good], rtol=1e-6)


@pytest.mark.parametrize("convolveTemplate", [True, False])
def test_matchedImageIsTheConvolution(pair, results, convolveTemplate):
    """By direct sums at a few pixels, without the background."""
    result = results[convolveTemplate]
    convolved = pair.template if convolveTemplate else pair.science
    places = [(x, y) for y in range(15, 210, 6) for x in range(15, 270, 6)]
    stamps = {place: convolved.maskedImage.subset(Box(*place, 1, 1).grown(10)) for place in places}
    clean = {place: stamp for place, stamp in stamps.items() if not stamp.badPixels(FLAGGED).any()}
    assert len(clean) > 5
    for (x, y), stamp in clean.items():
        kernel = result.psfMatchingKernel.computeImage(x, y)
        # The core sums float32 products, good to 1e-5 of the largest result in the kernel's box; weights of both
        # signs add up to some ten when the kernel sharpens. The variance needs 1e-3 only.
        tolerance = 1e-5 * abs(kernel).sum() * abs(stamp.image).max()
        assert result.matchedImage.image[y, x] == pytest.approx((kernel * stamp.image).sum(), abs=tolerance)
        assert result.matchedImage.variance[y, x] == pytest.approx((kernel**2 * stamp.variance).sum(), rel=2e-3)


def test_masksUnite(pair, results):
    for convolveTemplate in (True, False):
        mask = results[convolveTemplate].subtractedExposure.mask
        unconvolved = pair.science if convolveTemplate else pair.template
        for name in ("BAD", "SAT"):
            assert mask.hasAny(name)[unconvolved.mask.hasAny(name)].all()
        # A plane of the template alone travels by name; it is none of the bad ones, so it spreads.
        assert "STREAK" in mask.planes
        assert mask.hasAny("STREAK")[50, 60:70].all()
    assert not results[False].subtractedExposure.mask.hasAny("STREAK")[51, 65]


def test_border(pair, results):
    """Half a kernel wide: NaN, infinite variance and NO_DATA by default, copied and EDGE with doCopyEdge."""
    half = results[True].psfMatchingKernel.shape[0] // 2
    border = np.ones(pair.science.shape, dtype=bool)
    border[half:-half, half:-half] = False
    matched = results[True].matchedImage
    assert np.isnan(matched.image[border]).all()
    assert np.isposinf(matched.variance[border]).all()
    assert matched.mask.hasAny("NO_DATA")[border].all()
    assert results[True].subtractedExposure.mask.hasAny("NO_DATA")[border].all()
    assert np.isfinite(matched.image[~border]).all()

    copied = makeTask(doCopyEdge=True).subtractExposures(pair.template, pair.science, 2.7, 3.9)
    assert same(copied.matchedImage.image[border], pair.template.image[border])
    assert copied.subtractedExposure.mask.hasAny("EDGE")[border].all()
    assert not copied.subtractedExposure.mask.hasAny("EDGE")[~border].any()
    assert same(copied.subtractedExposure.image[~border], results[True].subtractedExposure.image[~border])


@pytest.mark.parametrize("convolveTemplate", [True, False])
def test_polarity(pair, results, convolveTemplate):
    """A new star is positive and one that has gone negative, on the science image's flux scale, either way."""
    image = results[convolveTemplate].subtractedExposure.image
    for x, y, flux in pair.truth.transients.iterrows("x", "y", "flux"):
        column, row = round(x), round(y)
        light = image[row - 7 : row + 8, column - 7 : column + 8].astype(float).sum()
        # S/N of 30 in a matched filter; the unweighted sum over 15x15 pixels is about three times noisier, and
        # 10 % of a Moffat's light lies outside.
        assert light == pytest.approx(flux, rel=0.5)


def test_attributesOfTheDifference(pair):
    template, science = pair.template.copy(), pair.science.copy()
    template.psf, science.psf = GaussianPsf(1.15), GaussianPsf(1.65)
    for convolveTemplate in (True, False):
        result = makeTask().subtractExposures(template, science, convolveTemplate=convolveTemplate)
        difference = result.subtractedExposure
        assert difference.wcs.to_header_string() == science.wcs.to_header_string()
        assert (difference.filter, difference.photoCalib) == ("r", 3.0)
        assert difference.metadata["NIGHT"] == 7
        # The PSF is that of the image that was not convolved.
        assert difference.psf is (science.psf if convolveTemplate else template.psf)
        difference.metadata["NIGHT"] = 8
        assert science.metadata["NIGHT"] == 7
        assert result.warpedExposure is template


def test_parentCoordinates(pair):
    """Positions, boxes and models live in the science image's parent frame; without WCS the template's counts not."""
    science = Exposure(MaskedImage(pair.science.image, pair.science.mask, pair.science.variance, xy0=(300, -40)))
    template = Exposure(MaskedImage(pair.template.image, pair.template.mask, pair.template.variance, xy0=(9, 9)))
    result = makeTask().subtractExposures(template, science, 2.7, 3.9, positionsOf(pair) + np.array([300, -40]))
    expected = makeTask().subtractExposures(pair.template, pair.science, 2.7, 3.9, positionsOf(pair))
    assert result.subtractedExposure.xy0 == (300, -40)
    assert result.matchedImage.xy0 == (300, -40)
    assert result.kernelCellSet.bbox == science.getBBox()
    assert all(science.getBBox().contains(c.x, c.y) for c in result.kernelCellSet)
    good = np.isfinite(expected.subtractedExposure.image)
    np.testing.assert_allclose(
        result.subtractedExposure.image[good], expected.subtractedExposure.image[good], rtol=0, atol=0.05
    )


# Background, basis, FWHM


def test_backgroundIsOffByDefault(pair):
    task = ImagePsfMatchTask()
    assert task.kConfig.fitForBackground is False
    template, science = pair.template.copy(), pair.science.copy()
    for exposure, sky in ((template, 300), (science, 400)):
        exposure.image -= np.float32(sky)
    result = task.subtractExposures(template, science, 2.7, 3.9)
    assert result.backgroundModel.parameters.shape == (1,)
    assert result.backgroundModel(10, 20) == 0.0


@pytest.mark.parametrize(("kernelOrder", "bgOrder"), [(0, 0), (1, 2), (2, 1)])
@pytest.mark.parametrize("model", ["chebyshev1", "polynomial"])
def test_sizesOfTheModels(pair, kernelOrder, bgOrder, model):
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.update(
        spatialKernelOrder=kernelOrder, spatialBgOrder=bgOrder, spatialModelType=model, fitForBackground=True
    )
    result = ImagePsfMatchTask(config=config).matchExposures(pair.template, pair.science, 2.7, 3.9)
    terms = {0: 1, 1: 3, 2: 6}
    assert result.psfMatchingKernel.spatialParameters.shape == (27, terms[kernelOrder])
    assert result.backgroundModel.parameters.shape == (terms[bgOrder],)
    assert type(result.backgroundModel).__name__ == {"chebyshev1": "Chebyshev2D", "polynomial": "Polynomial2D"}[model]


def test_basisFollowsTheFwhms(pair):
    task = makeTask()
    metadata = {}
    basis = task.makeKernelBasisList(2.8, 5.6, metadata=metadata)
    assert basis.shape == (27, 25, 25)
    assert (metadata["ALBasisMode"], metadata["ALKernelSize"]) == ("convolution", 25)
    np.testing.assert_allclose(metadata["ALBasisSigGauss"], [1.0297, 2.0595, 4.1190], atol=1e-4)
    assert task.makeKernelBasisList().shape == (27, 21, 21)
    assert task.makeKernelBasisList(2.8, None).shape == (27, 21, 21)
    result = task.matchExposures(pair.template, pair.science, 2.7, 3.9)
    assert task.metadata["ALBasisMode"] == "convolution"
    assert task.metadata["ALBasisNGauss"] == 3
    assert result.psfMatchingKernel.basis.shape[0] == 27
    reverse = makeTask()
    reverse.matchExposures(pair.template, pair.science, 2.7, 3.9, convolveTemplate=False)
    assert reverse.metadata["ALBasisMode"] == "deconvolution"


def test_fwhmFromTheExposuresPsf(pair):
    template, science = pair.template.copy(), pair.science.copy()
    template.psf, science.psf = GaussianPsf(1.15), GaussianPsf(1.65)
    task = makeTask()
    task.matchExposures(template, science)
    # The determinant radius of a Gaussian is its sigma, to which the pixel adds its own variance of 1/12.
    assert task.metadata["templateFwhmPix"] == pytest.approx(2.3548 * np.hypot(1.15, 12**-0.5), rel=0.01)
    assert task.metadata["scienceFwhmPix"] == pytest.approx(2.3548 * np.hypot(1.65, 12**-0.5), rel=0.01)
    assert task.getFwhmPix(GaussianPsf(2.0)) == pytest.approx(2.3548 * np.hypot(2.0, 12**-0.5), rel=0.01)


def test_fwhmFromTheStars(pair):
    """Moffat stars of 2.6 and 3.8 px: the adaptive moments of their wings are a few per cent wider."""
    task = makeTask()
    task.matchExposures(pair.template, pair.science)
    assert task.metadata["templateFwhmPix"] == pytest.approx(2.6, rel=0.15)
    assert task.metadata["scienceFwhmPix"] == pytest.approx(3.8, rel=0.15)


def test_fwhmUnknown(caplog):
    """Without PSF and stars the configured Gaussians serve, and a warning says what to give."""
    generator = np.random.default_rng(0)
    noise = [Exposure(MaskedImage(generator.normal(size=(90, 90)), variance=np.ones((90, 90)))) for _ in range(2)]
    with pytest.raises(NoKernelCandidatesError):
        makeTask().matchExposures(*noise, candidateList=[(1000.0, 1000.0)])
    for which in ("template", "science"):
        assert f"No PSF and no measurable star on the {which} image" in caplog.text
        assert f"give {which}FwhmPix" in caplog.text


# Sources and candidates


def test_selectSources(pair):
    task = makeTask()
    before = pair.science.image.tobytes(), np.asarray(pair.science.mask).tobytes()
    sources = task.getSelectSources(pair.science)
    assert (pair.science.image.tobytes(), np.asarray(pair.science.mask).tobytes()) == before
    assert {"id", "x", "y", "flux", "fluxErr", "snr", "ra", "dec"} <= set(sources.colnames)
    assert (np.diff(sources["flux"]) <= 0).all()
    assert len(np.unique(sources["id"])) == len(sources)
    x, y = pair.science.wcs.all_world2pix(sources["ra"], sources["dec"], 0)
    np.testing.assert_allclose(x, sources["x"], atol=1e-6)
    np.testing.assert_allclose(y, sources["y"], atol=1e-6)
    # Every bright star that is neither masked, at the edge nor blended is found where it is.
    stars = pair.truth.stars
    nChecked = 0
    for star in stars[stars["isBright"] & ~stars["isSaturated"]]:
        column, row = round(star["x"]), round(star["y"])
        isInside = 8 <= column < 280 and 8 <= row < 216
        isAlone = np.sum(np.hypot(stars["x"] - star["x"], stars["y"] - star["y"]) < 15) == 1
        core = np.asarray(pair.science.mask)[row - 3 : row + 4, column - 3 : column + 4]
        if isInside and isAlone and not core.any():
            nChecked += 1
            # Centroids of sources with bad pixels and faint neighbours in their wings.
            assert np.hypot(sources["x"] - star["x"], sources["y"] - star["y"]).min() < 0.3
    assert nChecked >= 3


def test_selectSourcesOptions(pair):
    task = makeTask()
    counter = iter(range(100, 10_000))
    sources = task.getSelectSources(pair.science, sigma=1.6, doSmooth=False, idFactory=lambda: next(counter))
    assert list(sources["id"]) == list(range(100, 100 + len(sources)))
    moved = Exposure(MaskedImage(pair.science.image, pair.science.mask, pair.science.variance, xy0=(1000, 500)))
    there, here = task.getSelectSources(moved, sigma=1.6), task.getSelectSources(pair.science, sigma=1.6)
    np.testing.assert_allclose(there["x"], here["x"] + 1000)
    np.testing.assert_allclose(there["y"], here["y"] + 500)
    assert np.isnan(there["ra"]).all()


def test_makeCandidateList(pair):
    task = makeTask()
    positions = positionsOf(pair)
    candidates = task.makeCandidateList(pair.template, pair.science, 21, positions)
    box = pair.science.getBBox()
    for candidate in candidates:
        assert set(candidate) == {"source", "footprint"}
        footprint = candidate["footprint"]
        assert isinstance(footprint, Footprint)
        assert footprint.centroid == (candidate["source"]["x"], candidate["source"]["y"])
        assert box.containsBox(footprint.bbox)
        # Centred on the star, 2 * 21 + 1 wide or shrunk evenly at the edge, and never smaller than the kernel.
        centre = [math.floor(v + 0.5) for v in footprint.centroid]
        assert footprint.bbox.centre == tuple(centre)
        assert min(footprint.bbox.width, footprint.bbox.height) >= 21
        assert max(footprint.bbox.width, footprint.bbox.height) <= 43
    assert task.metadata["nSelectedSources"] == len(candidates)
    assert sum(task.metadata["rejectedSources"].values()) == len(positions) - len(candidates)
    assert any(c["footprint"].bbox.width == 43 for c in candidates)
    detected = task.makeCandidateList(pair.template, pair.science, 21)
    assert len(detected) > 3


def test_footprintsAreEnoughOfACandidateList(pair):
    """A list made by hand needs no catalogue entries."""
    task = makeTask()
    template, science = pair.template.maskedImage, pair.science.maskedImage
    candidates = task.makeCandidateList(pair.template, pair.science, 21, positionsOf(pair))
    bare = [{"footprint": candidate["footprint"]} for candidate in candidates]
    full = task.matchMaskedImages(template, science, candidates, 2.7, 3.9)
    result = task.matchMaskedImages(template, science, bare, 2.7, 3.9)
    assert all(candidate.source is None for candidate in result.kernelCellSet)
    np.testing.assert_array_equal(result.psfMatchingKernel.spatialParameters, full.psfMatchingKernel.spatialParameters)


def test_stampsAvoidMasks():
    """One bad pixel in either image rejects with maskedStampFraction = 0, as in the reference; by default it may."""
    for which in ("template", "science"):
        for plane in ("SAT", "EDGE", "NO_DATA"):
            blank = [Exposure(MaskedImage(np.zeros((101, 101)), variance=np.ones((101, 101)))) for _ in range(2)]
            masked = blank[0 if which == "template" else 1]
            masked.mask[65, 38] |= masked.mask.getPlaneBitMask(plane)
            strict = makeTask(maskedStampFraction=0.0)
            with pytest.raises(NoKernelCandidatesError, match="of 1 sources 1 bad pixels in the stamp") as caught:
                strict.makeCandidateList(*blank, 21, [(50.0, 50.0)])
            assert caught.value.nSources == 1
            assert len(strict.makeCandidateList(*blank, 21, [(60.0, 87.0)])) == 1
            assert len(makeTask().makeCandidateList(*blank, 21, [(50.0, 50.0)])) == 1


def test_growByPixels(pair):
    task = makeTask()
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.active.detectionConfig.update(scaleByFwhm=False, fpGrowPix=15)
    task = ImagePsfMatchTask(config=config)
    candidates = task.makeCandidateList(pair.template, pair.science, 21, positionsOf(pair))
    assert max(c["footprint"].bbox.width for c in candidates) == 31


# Registration


def test_registrationIsRequired(pair):
    template = pair.template.copy()
    template.wcs = pair.template.wcs.deepcopy()
    template.wcs.wcs.crpix = template.wcs.wcs.crpix + 1.0
    for method in ("matchExposures", "subtractExposures"):
        with pytest.raises(InputImagesError, match=r"not registered.* 1\.41 pixels"):
            getattr(makeTask(), method)(template, pair.science, doWarping=False)
    with pytest.raises(RuntimeError):
        makeTask().subtractExposures(template, pair.science, doWarping=False)


def test_equalWcsOfAnotherForm(pair):
    """The same projection written as a CD matrix is the same pixels."""
    template = pair.template.copy()
    header = pair.template.wcs.to_header()
    for i in (1, 2):
        header[f"CD{i}_{i}"] = header.pop(f"CDELT{i}")
    template.wcs = WCS(header)
    result = makeTask().matchExposures(template, pair.science, 2.7, 3.9, doWarping=False)
    assert "matchedExposure" in result


# Task


def test_taskTree(pair):
    task = makeTask()
    assert isinstance(task, Task)
    assert task.getName() == task.getFullName() == "imagePsfMatch"
    names = {"imagePsfMatch", "imagePsfMatch.selectDetection", "imagePsfMatch.selectMeasurement"}
    assert names == set(task.getTaskDict())
    assert task.config.selectDetection.thresholdValue == 10.0
    assert task.config.selectDetection.reEstimateBackground is False
    task.subtractExposures(pair.template, pair.science, 2.7, 3.9)
    full = task.getFullMetadata()
    assert full["imagePsfMatch.spatialKernelSum"] == task.metadata["spatialKernelSum"]
    for block in ("select", "solve", "convolve", "subtract"):
        assert task.metadata[f"{block}EndWallTime"] >= task.metadata[f"{block}StartWallTime"]
    task.emptyMetadata()
    assert not dict(task.metadata)
    assert not hasattr(task, "run")


def test_pickle():
    """Another process gets the same task."""
    task = ImagePsfMatchTask(config=makeTask(nStarPerCell=7).config, threads=1)
    copy = pickle.loads(pickle.dumps(task))
    assert copy.kConfig.nStarPerCell == 7
    assert copy.threads == 1


def test_subclass(pair):
    """A subclass adds its run, as the reference's example does."""

    class SubtractTask(ImagePsfMatchTask):
        _DefaultName = "subtractPair"

        def run(self, template, science):
            return self.subtractExposures(template, science, 2.7, 3.9)

    config = SubtractTask.ConfigClass()
    config.kernel.active.fitForBackground = True
    result = SubtractTask(config=config).run(pair.template, pair.science)
    assert result.subtractedExposure.shape == pair.science.shape


def test_candidateTableOfSky(pair):
    ra, dec = pair.science.wcs.all_pix2world(*positionsOf(pair).T, 0)
    task = makeTask()
    result = task.matchExposures(pair.template, pair.science, 2.7, 3.9, Table({"ra": ra, "dec": dec}))
    assert len(result.kernelCellSet) > 3


@pytest.mark.parametrize(("name", "changes"), [("AL", {}), ("DF", {}), ("DF", {"useRegularization": False})])
def test_documentedState(name, changes):
    """What the reference's tasks hold after their construction."""
    config = ImagePsfMatchTask.ConfigClass()
    config.kernel.name = name
    config.kernel.active.update(kernelSize=7, **changes)
    config.kernel.active.warpingConfig.warpingKernelName = "lanczos4"
    task = ImagePsfMatchTask(config=config, threads=1)
    isPenalised = name == "DF" and not changes
    assert task.useRegularization is isPenalised
    assert (task.hMat is not None) is isPenalised
    if isPenalised:
        np.testing.assert_array_equal(task.hMat, task.hMat.T)
    assert task.kConfig.kernelSize == 7
    assert task._warper.options.warpingKernelName == "lanczos4"
    assert len(task.selectSchema) == 0
    assert {"x", "y", "flux"} <= set(task.selectSchema.colnames)


def test_otherFiltersAreTold(caplog):
    pair = simulatePair(seed=3, size=256)
    for name, isTold in (("i", True), ("r", False), (None, False)):
        pair.template.filter, pair.science.filter = name, "r"
        caplog.clear()
        ImagePsfMatchTask(threads=1).matchExposures(pair.template, pair.science)
        assert ("Template in the filter i, science image in r" in caplog.text) is isTold
