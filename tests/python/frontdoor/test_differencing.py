"""The front door: what it takes, how it chooses direction and stars, what it hands back and writes."""

import json
import math
from dataclasses import replace
from inspect import get_annotations
from typing import get_args

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table

from psfmatch import (
    Exposure,
    GaussianPsf,
    ImageLike,
    ImagePsfMatchTask,
    InputImagesError,
    LinearCombinationKernel,
    MaskedImage,
    NoKernelCandidatesError,
    SubtractionResult,
    asQTable,
    frontDoorConfig,
    subtract,
)
from psfmatch.config import Task, configFromDict, configToDict
from psfmatch.frontdoor import MODES
from psfmatch.frontdoor.provenance import describeInputs
from psfmatch.images import asPsf, toExposure
from psfmatch.images.conversion import HDUListLike, NDDataLike
from psfmatch.sources import SourceDetectionTask, findSaturation
from psfmatch.sources.starSelection import chooseIsolatedStars
from psfmatch.testing import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(seed=4, size=256, brightStars=300, faintStars=100)


@pytest.fixture(scope="module")
def result(pair):
    return subtract(pair.template, pair.science)


def plainConfig():
    """Return a configuration of the front door that takes no step around the task, and leaves the kernel as it is."""
    config = frontDoorConfig()
    config.update(
        doFindDefects=False,
        doFindSaturation=False,
        doScaleVariance=False,
        doAlign=False,
        doDecorrelate=False,
        doAssessQuality=False,
    )
    config.update(doFindStreaks=False)
    config.chooseKernel = False
    return config


@pytest.fixture(scope="module")
def plain():
    return plainConfig()


def same(first, second):
    return np.array_equal(np.asarray(first), np.asarray(second), equal_nan=np.asarray(first).dtype.kind == "f")


# What it takes


def test_formsOfImages(pair, plain, tmp_path):
    """Exposure, MaskedImage, path, open file: the same pixels give the same difference."""
    pair.template.writeFits(tmp_path / "template.fits")
    pair.science.writeFits(tmp_path / "science.fits")
    expected = subtract(pair.template, pair.science, config=plain).difference.image
    forms = {
        "masked image": (pair.template.maskedImage, pair.science.maskedImage),
        "path": (tmp_path / "template.fits", tmp_path / "science.fits"),
        "mixed": (pair.template, str(tmp_path / "science.fits") + "[IMAGE]"),
    }
    for template, science in forms.values():
        assert same(subtract(template, science, config=plain).difference.image, expected)
    with fits.open(tmp_path / "template.fits") as template, fits.open(tmp_path / "science.fits") as science:
        assert same(subtract(template, science, config=plain).difference.image, expected)


def test_ccdData(pair, result):
    def ccdOf(exposure):
        return CCDData(
            exposure.image,
            uncertainty=StdDevUncertainty(np.sqrt(exposure.variance)),
            mask=exposure.mask.hasAny(("BAD", "SAT")),
            unit="adu",
            wcs=exposure.wcs,
        )

    difference = subtract(ccdOf(pair.template), ccdOf(pair.science), config=result.config).difference
    good = ~difference.mask.hasAny(("BAD", "SAT", "EDGE", "NO_DATA"))
    # The square of a float32 root is the variance to 1e-7; the saturated pixels are BAD here.
    deviation = difference.image[good] - result.difference.image[good]
    assert abs(deviation).max() < 0.05


def test_toExposure(pair, tmp_path):
    assert toExposure(pair.science) is pair.science
    assert toExposure(pair.science.maskedImage).maskedImage is pair.science.maskedImage
    array = toExposure(pair.science.image)
    assert same(array.image, pair.science.image)
    # The sky of 400 counts and 6 e- of read noise at 1.5 e-/count scatter by sqrt(400 / 1.5 + 16) = 16.8.
    assert math.sqrt(np.median(array.variance)) == pytest.approx(16.8, rel=0.05)
    for thing in (None, 3.5, {"image": 1}, object()):
        with pytest.raises(TypeError, match=f"cannot make an Exposure of a {type(thing).__name__}"):
            toExposure(thing)
    with pytest.raises(FileNotFoundError):
        toExposure(tmp_path / "nowhere.fits")


def test_imageLikeNamesWhatIsTaken(pair):
    """Its members are classes of ours and of Python; CCDData and HDUList have what their stand-ins ask for."""
    taken = get_args(ImageLike)
    assert {Exposure, MaskedImage, str} <= set(taken)
    ccd, hdus = CCDData(pair.science.image, unit="adu"), fits.HDUList([fits.PrimaryHDU(pair.science.image)])
    for thing, standIn in ((ccd, NDDataLike), (hdus, HDUListLike)):
        assert standIn in taken
        named = {*get_annotations(standIn), *(name for name in vars(standIn) if not name.startswith("_"))}
        assert named
        assert all(hasattr(thing, name) for name in named)
        assert same(toExposure(thing).image, pair.science.image)


def test_arraysAlone():
    """Without noise planes the variance is estimated from the sky, and the difference still comes out."""
    clean = simulatePair(seed=4, size=256, brightStars=300, faintStars=100, badFraction=0)
    fromArrays = subtract(clean.template.image, clean.science.image)
    centre = clean.truth.box.centre
    assert fromArrays.kernel.kernelSum(*centre) == pytest.approx(1.25, rel=0.03)
    assert fromArrays.noise.robustStdev == pytest.approx(1.0, abs=0.1)


# Direction


@pytest.mark.parametrize(
    ("templateFwhm", "scienceFwhm", "convolved"),
    [(2.6, 3.8, "template"), (3.8, 2.6, "science"), (3.0, 3.0, "template")],
)
def test_directionByFwhm(pair, plain, templateFwhm, scienceFwhm, convolved):
    """The sharper image is convolved; the template, usually the deeper one, where they are alike."""
    images = (pair.template, pair.science) if templateFwhm <= scienceFwhm else (pair.science, pair.template)
    result = subtract(*images, templateFwhmPix=templateFwhm, scienceFwhmPix=scienceFwhm, config=plain)
    assert result.convolved == convolved


def test_directionByPsf(pair, plain):
    """A PSF model goes before a measurement on stars, and a given FWHM before both."""
    template, science = pair.template.copy(), pair.science.copy()
    template.psf, science.psf = GaussianPsf(1.6), GaussianPsf(1.2)
    assert subtract(template, science, config=plain).convolved == "science"
    given = subtract(template, science, templateFwhmPix=2.6, scienceFwhmPix=3.8, config=plain)
    assert given.convolved == "template"


def test_directionByStars(pair, plain, result):
    assert result.convolved == "template"
    assert subtract(pair.science, pair.template, config=plain).convolved == "science"


def test_givenDirection(pair, plain, result):
    asked = subtract(pair.template, pair.science, mode="convolveTemplate", config=plain)
    assert same(asked.difference.image, subtract(pair.template, pair.science, config=plain).difference.image)
    other = subtract(pair.template, pair.science, mode="convolveScience", config=plain)
    assert other.convolved == "science"
    assert other.metadata["ALBasisMode"] == "deconvolution"
    assert MODES == ("auto", "convolveTemplate", "convolveScience")
    with pytest.raises(ValueError, match="mode 'template' is unknown; choose one of auto, convolveTemplate"):
        subtract(pair.template, pair.science, mode="template")


# Configuration


def test_chosenConfig(pair, result):
    """Without a configuration kernel and regions are chosen, all steps are taken, and the border is kept."""
    config, plain = result.config, ImagePsfMatchTask.ConfigClass()
    differing = {
        name: value for name, value in config.kernel.active.items() if value != getattr(plain.kernel.active, name)
    }
    assert differing["fitForBackground"] is True
    assert differing["doCopyEdge"] is True
    assert differing["fitMethod"] == "regions"
    assert not config.chooseKernel  # the choice is made
    # Of fewer Gaussians than the size was made for, the kernel is smaller.
    assert min(config.kernel.active.alardDegGauss) == -1
    assert result.kernel.shape[0] == result.kernel.shape[1] < config.kernel.active.kernelSize
    assert result.decorrelation is not None
    assert result.alignment is not None
    assert result.grade in "ABCDF"
    reach = result.kernel.reach(result.difference.getBBox(), config.edgeFraction)
    border = result.difference.mask.hasAny("EDGE")
    assert border[:reach].all()
    assert border[:, -reach:].all()
    assert not border[reach:-reach, reach:-reach].any()
    assert np.isfinite(result.difference.image[border & ~result.difference.mask.hasAny("BAD")]).all()


def test_chosenConfigMakesTheSameAgain(pair, result):
    """What the result holds is enough: nothing is chosen any more, and every bit comes out as before."""
    again = subtract(pair.template, pair.science, config=result.config)
    assert same(again.difference.image, result.difference.image)
    assert same(again.difference.variance, result.difference.variance)
    assert same(again.decorrelated.image, result.decorrelated.image)
    assert configToDict(again.config) == configToDict(result.config)


def test_stepsAreTakenAsConfigured(pair, plain):
    without = subtract(pair.template, pair.science, config=plain)
    assert without.decorrelation is None
    assert without.decorrelated is without.difference
    assert without.alignment is None
    assert without.quality is None
    assert without.grade is None
    assert without.template is pair.template


def test_configIsUsedAndKept(pair):
    config = plainConfig()
    config.kernel.active.update(spatialKernelOrder=1, spatialBgOrder=0, spatialModelType="polynomial")
    before = configToDict(config)
    result = subtract(pair.template, pair.science, config=config)
    assert configToDict(config) == before
    config.kernel.active.spatialKernelOrder = 0  # the caller's own is not frozen
    assert result.kernel.order == 1
    assert result.kernel.model == "polynomial"
    assert result.background.order == 0
    assert result.config.kernel.active.spatialKernelOrder == 1


# Stars


def sources(x, y, flux, snr=100.0, bad=False):
    n = len(x)
    return Table(
        {
            "x": np.asarray(x, dtype=float),
            "y": np.asarray(y, dtype=float),
            "flux": np.asarray(flux, dtype=float),
            "snr": np.broadcast_to(np.asarray(snr, dtype=float), n),
            "badCentre": np.broadcast_to(bad, n),
        }
    )


def test_isolatedStars():
    """Of two neighbours within a kernel the fainter always falls, the brighter if the other has a tenth of its flux."""
    grid = np.arange(12) * 100.0
    x = np.concatenate([grid, grid[:3] + np.array([5, 20.9, 21.1])])
    y = np.zeros(15)
    flux = np.concatenate([np.full(12, 1000.0), [50.0, 200.0, 500.0]])
    chosen = chooseIsolatedStars(sources(x, y, flux), 21)
    # The first star keeps its faint neighbour's company, the second does not, the third's is too far away.
    assert set(chosen["x"]) == {0.0, *grid[2:], 221.1}
    reversedRows = chooseIsolatedStars(sources(x[::-1], y[::-1], flux[::-1]), 21)
    assert set(reversedRows["x"]) == set(chosen["x"])


def test_neighboursBruteForce():
    generator = np.random.default_rng(0)
    x, y = generator.uniform(0, 300, (2, 200))
    flux = 10 ** generator.uniform(2, 5, 200)
    chosen = chooseIsolatedStars(sources(x, y, flux), 21)
    distance = np.hypot(x - x[:, None], y - y[:, None])
    np.fill_diagonal(distance, np.inf)
    blended = ((distance <= 21) & (flux > 0.1 * flux[:, None])).any(axis=1)
    assert sorted(chosen["x"]) == sorted(x[~blended])


def test_faintAndBadStars():
    x = np.arange(30) * 100.0
    snr = np.where(np.arange(30) % 2, 5.0, 50.0)
    bad = np.arange(30) == 4
    chosen = chooseIsolatedStars(sources(x, x * 0, np.full(30, 1e3), snr, bad), 21)
    assert set(chosen["x"]) == {100.0 * i for i in range(0, 30, 2) if i != 4}


def test_rulesYieldToNeed():
    """With fewer than ten left the isolation is waived, then the brightness: few stars are better than none."""
    x = np.repeat(np.arange(8) * 100.0, 2) + np.tile([0, 5], 8)
    crowded = sources(x, x * 0, np.full(16, 1e3))
    assert len(chooseIsolatedStars(crowded, 21)) == 16
    few = sources(np.arange(5) * 100.0, np.zeros(5), np.full(5, 1e3), snr=[50, 50, 5, 5, 5])
    assert len(chooseIsolatedStars(few, 21)) == 5
    assert len(chooseIsolatedStars(few[:0], 21)) == 0


# What it hands back


def test_result(pair, result):
    assert isinstance(result, SubtractionResult)
    assert result.difference.getBBox() == result.matched.getBBox() == pair.science.getBBox()
    # The pixels are those given; saturation and scale are in copies of mask and variance.
    assert same(result.template.image, pair.template.image)
    np.testing.assert_allclose(
        result.template.variance,
        pair.template.variance * result.preparation.templateVarianceFactor,
        rtol=2e-7,  # one rounding to float32 more
    )
    assert result.noise.robustStdev == pytest.approx(1.0, abs=0.1)
    assert abs(result.noise.median) < 0.2
    status = list(result.candidates["status"])
    assert status.count("GOOD") >= 3
    assert all(
        bool(row["reason"]) == (row["status"] == "BAD") and pair.truth.box.contains(row["x"], row["y"])
        for row in result.candidates
    )
    with pytest.raises(AttributeError):
        result.convolved = "science"


def test_summaryIsJson(result):
    summary = json.loads(json.dumps(result.summary(), allow_nan=False))
    assert summary["shape"] == [256, 256]
    assert summary["convolved"] == "template"
    assert summary["kernelSum"] == result.kernel.kernelSum(*result.difference.getBBox().centre)
    assert summary["nCandidates"] == len(result.candidates)
    assert summary["nRejected"] == sum(summary["rejectionReasons"].values())
    kernel = result.config.kernel.active
    assert summary["nBasis"] == sum((degree + 1) * (degree + 2) // 2 for degree in kernel.alardDegGauss)
    assert summary["kernelSize"] == result.kernel.shape[0] <= kernel.kernelSize
    assert summary["grade"] == result.grade
    assert len(summary["gradeReasons"]) == len(result.quality.reasons)
    assert 0 < summary["badFraction"] < 0.3
    assert summary["templateFwhmPix"] < summary["scienceFwhmPix"]


def test_summaryTellsGivenWidths(pair, plain):
    """The widths that chose direction and basis belong to the result, measured or given."""
    result = subtract(pair.template, pair.science, templateFwhmPix=2.7, scienceFwhmPix=3.9, config=plain)
    summary = result.summary()
    assert (summary["templateFwhmPix"], summary["scienceFwhmPix"]) == (2.7, 3.9)


def test_writeAndRead(result, tmp_path):
    path = tmp_path / "difference.fits"
    result.writeFits(path)
    difference = Exposure.readFits(path)
    assert same(difference.image, result.difference.image)
    assert same(difference.variance, result.difference.variance)
    assert same(difference.mask, result.difference.mask)
    kernel = LinearCombinationKernel.readFits(path)
    for x, y in ((0.0, 0.0), (200.0, 31.0)):
        assert same(kernel.computeImage(x, y), result.kernel.computeImage(x, y))
    with fits.open(path) as hdus:
        assert same(hdus["MATCHED"].data, result.matched.image)
        stamps = Table(hdus["STAMPS"].data)
        text = hdus["CONFIG"].data["CONFIG"][0]
    assert list(stamps["status"]) == list(result.candidates["status"])
    restored = configFromDict(type(result.config), json.loads(text))
    assert configToDict(restored) == configToDict(result.config)
    with pytest.raises(FileExistsError, match=r"difference\.fits"):
        result.writeFits(path, overwrite=False)


def test_provenance(pair, result, tmp_path):
    pair.science.writeFits(tmp_path / "science.fits")
    with fits.open(tmp_path / "science.fits") as hdus:
        hdus["IMAGE"].add_checksum()
        expected = hdus["IMAGE"].header["DATASUM"]
    assert describeInputs(pair.template, Exposure.readFits(tmp_path / "science.fits")) == {
        "science": str(tmp_path / "science.fits"),
        "templateChecksum": result.provenance["templateChecksum"],
        "scienceChecksum": expected,
    }
    result.writeFits(tmp_path / "difference.fits")
    header = fits.getheader(tmp_path / "difference.fits")
    centre = result.difference.getBBox().centre
    assert header["KSUM00"] == result.kernel.kernelSum(*centre)
    assert (header["CONVOL00"], header["PHOTNORM"], header["MASKVAL"]) == ("TEMPLATE", "IMAGE", 1e-30)
    assert header["SCIDSUM"] == expected
    assert (header["SOFTNAME"], header["GRADE"]) == ("psfmatch", result.grade)
    assert "TARGET" not in header
    # The result itself stays as it was.
    assert "KSUM00" not in result.difference.metadata


def test_differenceAsCcdData(pair, result):
    ccd = result.toCCDData()
    assert same(ccd.data, result.difference.image)
    assert same(ccd.uncertainty.array, result.difference.variance)
    assert same(ccd.flags, result.difference.mask)
    assert ccd.meta["KSUM00"] == pytest.approx(1.25, rel=0.03)
    assert ccd.meta["MP_SAT"] == result.difference.mask.planes["SAT"]
    back = Exposure.fromCCDData(ccd, useXY0=True)
    assert same(back.mask, result.difference.mask)


def test_decorrelatedPsfInTheFile(result, tmp_path):
    psf = result.decorrelated.psf
    if psf is None:
        psf = GaussianPsf(1.7)
    exposure = result.decorrelated.withPixels(result.decorrelated.maskedImage)
    exposure.psf = psf
    exposure.writeFits(tmp_path / "white.fits")
    back = Exposure.readFits(tmp_path / "white.fits")
    position = exposure.getBBox().centre
    np.testing.assert_allclose(
        back.psf.computeKernelImage(*position), asPsf(psf).computeKernelImage(*position), atol=1e-6
    )


def test_tablesWithUnits(result):
    candidates = asQTable(result.candidates, result.difference.wcs)
    assert candidates["x"].unit == "pix"
    assert len(candidates["sky"]) == len(result.candidates)


def test_imageAsPsfOfDetection(result):
    image = GaussianPsf(2.0).computeKernelImage(0.0, 0.0)
    assert len(result.detect(psf=image)) == len(result.detect(psf=GaussianPsf(2.0)))


@pytest.mark.parametrize("sigmas", [(1.6, 2.2), (2.2, 1.6)])
def test_fluxesWithPsfsFromStars(sigmas):
    """Without PSF models the difference's is that of the stars as the decorrelation has changed it."""
    size, flux = 512, 1500.0
    x, y = np.random.default_rng(8).uniform(60, size - 60, (2, 40))
    stars = [(*place, 10**e) for *place, e in np.random.default_rng(11).uniform((0, 0, 3), (size, size, 4.6), (70, 3))]
    changed = [(*place, flux) for place in zip(x, y, strict=True)]
    images = [
        starImage(size, sigma, seed, noise=3.0, stars=stars + new)
        for sigma, seed, new in zip(sigmas, (2, 1), ([], changed), strict=True)
    ]
    result = subtract(*images)
    found = result.detect()
    assert "from the stars of" in found.meta["PSFFROM"]
    distance = np.hypot(found["x"] - x[:, np.newaxis], found["y"] - y[:, np.newaxis])
    row = distance.argmin(axis=1)[distance.min(axis=1) < 1.0]
    assert len(row) > 30
    # The median of more than thirty fluxes of S/N 30 or more is good to 0.8 %, the sum of the PSF to 1 or 2 %. With the
    # PSF of the image itself the fluxes are 9 % too high.
    assert np.median(found["psfFlux"][row]) == pytest.approx(flux, rel=0.03)
    assert np.nanmedian(found["scienceFlux"][row]) == pytest.approx(flux, rel=0.03)


def starImage(size, sigma, seed, *, noise, stars):
    """An array of Gaussian stars (x, y, flux) on a sky of 100."""
    image = np.random.default_rng(seed).normal(100.0, noise, (size, size))
    pixel = np.arange(size)
    for x, y, flux in stars:
        profiles = (np.exp(-0.5 * ((pixel - c) / sigma) ** 2) for c in (y, x))
        image += flux / (2.0 * np.pi * sigma**2) * np.outer(*profiles)
    return image


def test_unitsOfTheImages(pair, plain):
    """Units of one kind need no conversion; the difference has that of the science image."""

    def inUnit(exposure, unit):
        given = exposure.withPixels(exposure.maskedImage)
        given.metadata["BUNIT"] = unit
        return given.toCCDData()

    template, science = inUnit(pair.template, "uJy"), inUnit(pair.science, "nJy")
    with pytest.raises(InputImagesError, match="one cannot be converted to the other"):
        subtract(pair.template.toCCDData(), science, config=plain)
    assert subtract(template, science, config=plain).toCCDData().unit == "nJy"


def test_kernelReproducesTheMatchedImage(pair, result, tmp_path):
    """The kernel on disk, put to the template again, gives the matched image."""
    result.writeFits(tmp_path / "difference.fits")
    kernel = LinearCombinationKernel.readFits(tmp_path / "difference.fits")
    matched = kernel.convolve(result.template.maskedImage)
    half = kernel.shape[0] // 2
    inner = np.s_[half:-half, half:-half]
    assert same(matched.image[inner], result.matched.image[inner])


def test_difference(pair, result):
    """science - matched - background, pixel by pixel."""
    x, y = np.arange(256)[np.newaxis], np.arange(256)[:, np.newaxis]
    expected = pair.science.image - result.matched.image - result.background(x, y)
    good = ~result.difference.mask.hasAny(("BAD", "NO_DATA"))
    np.testing.assert_allclose(result.difference.image[good], expected[good], rtol=0, atol=0.012)


def test_sameAsTheTask(pair, plain):
    """Without the steps around it the front door is the task with another list of stars, but for the border."""
    stars = pair.truth.stars[pair.truth.stars["isBright"]]
    positions = np.column_stack([stars["x"], stars["y"]])
    task = ImagePsfMatchTask(config=plain)
    expected = task.subtractExposures(pair.template, pair.science, 2.7, 3.9, positions)
    result = subtract(
        pair.template,
        pair.science,
        config=plain,
        candidateList=positions,
        templateFwhmPix=2.7,
        scienceFwhmPix=3.9,
    )
    inner = result.difference.getBBox().shrunk(result.kernel.shape[0] // 2)
    images = (exposure.maskedImage.subset(inner).image for exposure in (result.difference, expected.subtractedExposure))
    assert same(*images)


def test_maskedImagesInPixels(pair):
    """Nothing but arrays and pixels: no WCS, no PSF, xy0 kept."""
    images = [MaskedImage(e.image, e.mask, e.variance, xy0=(40, 50)) for e in (pair.template, pair.science)]
    result = subtract(*images)
    assert result.difference.xy0 == (40, 50)
    assert result.difference.wcs is None
    assert (np.asarray(result.candidates["x"]) >= 40).all()


def test_detectionOfAnotherKind(pair):
    """A task that stands in for the detection has its own configuration, without our fields."""

    class BlindTask(Task):
        _DefaultName = "blind"

        def run(self, *, maskedImage, **options):
            blank = MaskedImage(np.zeros(maskedImage.shape), variance=np.ones(maskedImage.shape))
            return SourceDetectionTask().run(maskedImage=blank, **options)

    config = frontDoorConfig()
    config.selectDetection.retarget(BlindTask)
    with pytest.raises(NoKernelCandidatesError, match="no source was found on the science image"):
        subtract(pair.template, pair.science, config=config)


def test_requiredCoverage():
    """How much of the science image must be good in both is a field; what is refused says how much is asked."""
    pair = simulatePair(seed=3, size=256)
    template = pair.template.copy()
    template.image[100:] = np.nan
    config = frontDoorConfig()
    config.requiredCoverage = 0.6
    with pytest.raises(InputImagesError, match=r"do not overlap enough: only 3\d\.\d %.*, 60 % are needed"):
        subtract(template, pair.science, config=config, threads=1)
    config.requiredCoverage = 0.0
    result = subtract(template, pair.science, config=config, threads=1)
    assert result.config.requiredCoverage == 0.0
    assert "0 % are needed" in result.explain()


# Bright stars that a level loses


def test_brightStarsSaturatedInTheTemplate(monkeypatch):
    # Half as wide, the template's stars have four times the peaks: the brightest whole ones of the science image are
    # saturated there, and no level that was found is to blame.
    options = {"brightStars": 1200, "brightFlux": (1e5, 3e6), "galaxies": 0, "transients": 0, "badFraction": 0}
    pair = simulatePair(seed=8, size=320, templateFwhm=2.6, scienceFwhm=5.2, **options)
    result = subtract(pair.template, pair.science)
    mask = result.template.mask.hasAny("SAT")
    science = findSaturation(pair.science)
    x, y = np.array(science.wholeStars[:20]).T
    assert np.mean(mask[y, x]) > 0.7
    assert result.quality.brightLost < 0.15

    for wrong in (pair.template, pair.science):

        def tooLow(image, threads=1, wrong=wrong):
            found = findSaturation(image, threads)
            return replace(found, level=5e3, source="plateau") if np.shares_memory(image.image, wrong.image) else found

        monkeypatch.setattr("psfmatch.sources.defects.findSaturation", tooLow)
        quality = subtract(pair.template, pair.science).quality
        assert quality.brightLost > 0.5
        assert quality.grade in ("D", "F")
