"""Detection on a difference: what is there is found, measured and flagged, and noise is not."""

import numpy as np
import pytest
from astropy.table import Table
from starFields import sampledPsf

from psfmatch import Box, Exposure, GaussianPsf, InputImagesError, MaskedImage, detectOnDifference
from psfmatch.testing import makeTanWcs, simulatePair
from psfmatch.transients import PhotometryImage, filterDifference, writeSources

SIGMA = 1.7
PSF = sampledPsf(SIGMA)
AREA = 4 * np.pi * SIGMA**2  # px, noise-equivalent


def addStar(image, x, y, flux):
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    image += (
        flux
        / (2 * np.pi * SIGMA**2)
        * np.outer(np.exp(-0.5 * (rows - y) ** 2 / SIGMA**2), np.exp(-0.5 * (columns - x) ** 2 / SIGMA**2))
    )


STARS = [(40.3, 60.7, 30.0), (100.5, 100.5, -20.0), (150.0, 50.2, 9.0), (60.1, 150.4, -8.0), (1.2, 180.0, 40.0)]
"""x, y and signal-to-noise ratio."""


@pytest.fixture(scope="module")
def difference():
    """Noise 1 on 200x200 pixels at (500, -300), stars, a saturated one, a bad column."""
    rng = np.random.default_rng(21)
    image = rng.standard_normal((200, 200)) + 0.5
    for x, y, ratio in STARS:
        addStar(image, x, y, ratio * np.sqrt(AREA))
    masked = MaskedImage(image, variance=np.ones((200, 200)), xy0=(500, -300))
    masked.mask[:, 150] |= masked.mask.getPlaneBitMask("BAD")
    masked.mask[60:62, 40] |= masked.mask.getPlaneBitMask("SAT")
    masked.mask[96:100, 98:102] |= masked.mask.getPlaneBitMask("INTRP")
    return Exposure(masked, makeTanWcs(0.2, 0.4, (600.0, -200.0)), PSF, metadata={"BUNIT": "nJy"})


@pytest.fixture(scope="module")
def sources(difference):
    return detectOnDifference(difference)


def test_everyStarAndNothingElse(difference, sources):
    assert len(sources) == len(STARS)
    assert list(sources["id"]) == [1, 2, 3, 4, 5]
    assert np.all(np.diff(np.abs(sources["significance"])) <= 0)
    for x, y, ratio in STARS:
        row = sources[np.argmin(np.hypot(sources["x"] - 500 - x, sources["y"] + 300 - y))]
        assert row["polarity"] == np.sign(ratio)
        for name, true in (("x", x + 500), ("y", y - 300), ("psfFlux", ratio * np.sqrt(AREA))):
            assert abs(row[name] - true) < 4 * row[name + "Err"]
        assert row["chi2"] == pytest.approx(1.0, abs=0.4)
    # A quarter of the field around each star may move the robust width; its error is 1.5 %.
    assert sources.meta["NOISEMES"] == pytest.approx(1.0, abs=0.06)
    assert (sources.meta["NPOS"], sources.meta["NNEG"], sources.meta["NDIPOLE"]) == (3, 2, 0)
    assert sources.meta["PSFFWHM"] == pytest.approx(2.3548 * SIGMA, rel=1e-3)


def flagged(sources, name):
    """Return the numbers of the stars whose row has a flag."""
    near = [int(np.argmin([np.hypot(x + 500 - a, y - 300 - b) for x, y, _ in STARS])) for a, b in sources["x", "y"]]
    return sorted(i for i, row in zip(near, sources, strict=True) if row[name])


def test_flags(sources):
    assert flagged(sources, "flagSaturated") == [0]
    assert flagged(sources, "flagMasked") == [0, 2]
    assert flagged(sources, "flagNearBad") == [0, 2]
    assert flagged(sources, "flagInterpolated") == [1]
    assert flagged(sources, "flagEdge") == [4]
    assert flagged(sources, "flagDipole") == flagged(sources, "flagNoFit") == []
    row = sources[np.argmin(np.abs(sources["x"] - 650))]
    # A column through the middle of a Gaussian holds 1 / (sqrt(pi) sigma) of sum P^2.
    assert row["coverage"] == pytest.approx(1 - 1 / (np.sqrt(np.pi) * SIGMA), abs=0.02)


def test_skyPositionsAndUnits(difference, sources):
    ra, dec = difference.wcs.all_pix2world(sources["x"], sources["y"], 0)
    np.testing.assert_allclose(sources["ra"], ra)
    np.testing.assert_allclose(sources["dec"], dec)
    assert str(sources["psfFlux"].unit) == str(sources["scienceFluxErr"].unit) == "nJy"
    assert str(sources["x"].unit) == "pix"
    assert str(sources["ra"].unit) == "deg"
    bare = detectOnDifference(difference.maskedImage, PSF)
    assert np.isnan(bare["ra"]).all()
    assert str(bare["psfFlux"].unit) == "adu"


def test_tableOnDisk(sources, tmp_path):
    writeSources(sources, tmp_path / "sources.fits")
    again = Table.read(tmp_path / "sources.fits", hdu="SOURCES")
    assert again.colnames == sources.colnames
    for name in sources.colnames:
        np.testing.assert_array_equal(again[name], sources[name])
        assert again[name].unit == sources[name].unit
    assert again.meta["NNEG"] == 2
    with pytest.raises(FileExistsError):
        writeSources(sources, tmp_path / "sources.fits", overwrite=False)


def test_signIsAllThatDistinguishes(difference, sources):
    negative = Exposure(
        MaskedImage(-difference.image, difference.mask, difference.variance, difference.xy0), difference.wcs, PSF
    )
    mirrored = detectOnDifference(negative)
    np.testing.assert_allclose(mirrored["psfFlux"], -np.asarray(sources["psfFlux"]), rtol=1e-4)
    np.testing.assert_allclose(mirrored["x"], sources["x"], atol=1e-4)


def test_threadsChangeNothing(difference, sources):
    again = detectOnDifference(difference, threads=2)
    for name in sources.colnames:
        np.testing.assert_array_equal(again[name], sources[name])


def test_inputsAreNotChanged(difference):
    before = difference.copy()
    detectOnDifference(difference, science=difference, template=PhotometryImage(difference, scale=2.0))
    np.testing.assert_array_equal(difference.image, before.image)
    np.testing.assert_array_equal(np.asarray(difference.mask), np.asarray(before.mask))


def test_noiseGivesWhatGaussianNoiseGives():
    rng = np.random.default_rng(5)
    noise = MaskedImage(rng.standard_normal((1000, 1000)), variance=np.ones((1000, 1000)))
    sources = detectOnDifference(noise, PSF, threshold=4.0)
    # Maxima of both signs per pixel, 2 (2 pi)^(-3/2) u exp(-u^2 / 2) / (2 sigma^2): 29.5 on a megapixel at 4 sigma.
    expected = 2e6 * (2 * np.pi) ** -1.5 * 4.0 * np.exp(-8.0) / (2 * SIGMA**2)
    assert len(sources) == pytest.approx(expected, abs=3.5 * np.sqrt(expected))
    assert sources["flagEdge"].sum() < 6


def test_fluxesOfTheBestDifference():
    ratios = tuple(np.geomspace(8, 60, 24) * np.where(np.arange(24) % 3, 1, -1))
    pair = simulatePair(7, 512, transients=ratios, withPsf=True, brightStars=20, faintStars=50, galaxies=20)
    sources = detectOnDifference(pair.idealDifference(), pair.science.psf, science=pair.science)
    truth = pair.truth.transients
    distance = np.hypot(*(np.subtract.outer(np.asarray(truth[n]), np.asarray(sources[n])) for n in ("x", "y")))
    assert distance.min(axis=1).max() < 1.5
    found = sources[distance.argmin(axis=1)]
    pull = (found["psfFlux"] - truth["flux"]) / found["psfFluxErr"]
    assert abs(np.mean(pull)) < 4 / np.sqrt(24)
    assert np.std(pull) < 1.5
    # Those on dark sky shine as much in the science image.
    isAlone = np.asarray(truth["flux"]) > 0
    isAlone &= np.abs(found["scienceFlux"] - truth["flux"]) < 0.5 * np.abs(truth["flux"])
    assert isAlone.sum() > 5
    assert np.isnan(found["templateFlux"]).all()


@pytest.fixture(scope="module")
def moved():
    """Return science and template of a star that moved by 2 px and a transient; the template is twice as bright."""
    rng = np.random.default_rng(2)
    science, template = (rng.standard_normal((120, 120)) + 40.0 for _ in range(2))
    addStar(science, 51.0, 50.0, 2000.0)
    addStar(science, 90.0, 90.0, 700.0)
    addStar(template, 49.0, 50.0, 2000.0)
    ones = np.ones((120, 120))
    return MaskedImage(science, variance=ones), MaskedImage(2 * template, variance=4 * ones)


def test_dipoleAndForcedFluxes(moved):
    science, template = moved
    difference = MaskedImage(science.image - template.image / 2, variance=2 * science.variance)
    sources = detectOnDifference(difference, PSF, science=science, template=PhotometryImage(template, scale=0.5))
    assert len(sources) == 3
    dipole = sources[sources["flagDipole"]]
    assert len(dipole) == 2
    assert list(dipole["dipoleId"]) == [1, 1]
    assert sorted(dipole["polarity"]) == [-1, 1]
    for row in dipole:
        assert row["dipoleFlux"] == pytest.approx(2000, abs=30)
        assert [row["dipoleX"], row["dipoleY"]] == pytest.approx([50.0, 50.0], abs=0.05)
        assert row["dipoleSeparation"] == pytest.approx(2.0, abs=0.05)
        assert row["dipoleOrientation"] == pytest.approx(0.0, abs=0.03)
    (single,) = sources[~sources["flagDipole"]]
    assert single["dipoleId"] == 0
    assert single["scienceFlux"] == pytest.approx(700, abs=4 * single["scienceFluxErr"])
    assert single["templateFlux"] == pytest.approx(0, abs=4 * single["templateFluxErr"])
    assert single["scienceFluxErr"] == pytest.approx(np.sqrt(AREA), rel=0.05)
    assert sources.meta["NDIPOLE"] == 1


def test_templateWithItsOwnPsfAndOrigin(moved):
    science, template = moved
    other = MaskedImage(template.image, template.mask, template.variance, xy0=(7, 7))
    sources = detectOnDifference(
        MaskedImage(science.image - 40, variance=science.variance),
        PSF,
        template=PhotometryImage(Exposure(other), sampledPsf(SIGMA), 0.5),
    )
    transient = sources[np.argmin(np.hypot(sources["x"] - 90, sources["y"] - 90))]
    assert transient["templateFlux"] == pytest.approx(0, abs=4 * transient["templateFluxErr"])


def test_manySourcesDoNotRaiseTheirOwnBackground():
    rng = np.random.default_rng(31)
    image = rng.standard_normal((256, 256)) + 2.0
    flux = 100 * np.sqrt(AREA)
    places = [(x + rng.uniform(-1, 1), y + rng.uniform(-1, 1)) for x in range(18, 250, 20) for y in range(18, 250, 20)]
    for x, y in places:
        addStar(image, x, y, flux)
    found = detectOnDifference(MaskedImage(image, variance=np.ones(image.shape)), PSF)
    assert len(found) == len(places)
    # A percent of noise each; the median of all pixels is a fifth of a standard deviation too high, 1.3 % of a flux.
    assert np.mean(found["psfFlux"]) == pytest.approx(flux, rel=3e-3)


def test_backgroundThatIsLeft(difference):
    x = np.arange(200.0)
    tilted = MaskedImage(difference.image + 0.01 * x, difference.mask, difference.variance)
    left = detectOnDifference(tilted, PSF, backgroundBin=0)
    assert left.meta["NOISEMES"] > 1.5
    taken = detectOnDifference(tilted, PSF, backgroundBin=64)
    assert taken.meta["NOISEMES"] == pytest.approx(1.0, abs=0.1)
    assert len(taken) == len(STARS)


def test_levelCostsNoSignificance():
    """A filter collects the errors of a background over the whole PSF: of some pixels alone they add 3 % noise."""
    widths = []
    for seed in range(4):
        image = np.random.default_rng(seed).normal(0.0, 3.0, (512, 512))
        exposure = Exposure(MaskedImage(image, variance=np.full(image.shape, 9.0)), psf=GaussianPsf(3.0))
        widths.append(np.std(filterDifference(exposure).found.image[40:-40, 40:-40]))
    # Each of four times some 1700 independent places: 0.9 %.
    assert np.mean(widths) == pytest.approx(1.0, abs=0.018)


def test_emptyAndTinyImages():
    assert len(detectOnDifference(MaskedImage(np.zeros((1, 1)), variance=np.ones((1, 1))), PSF)) == 0
    quiet = detectOnDifference(MaskedImage(np.zeros((64, 64)), variance=np.ones((64, 64))), PSF)
    assert len(quiet) == 0
    assert "flagDipole" in quiet.colnames
    nan = MaskedImage(np.full((64, 64), np.nan), variance=np.ones((64, 64)))
    with pytest.raises(InputImagesError, match="none of the 4096 pixels"):
        detectOnDifference(nan, PSF)


def test_slips(difference):
    with pytest.raises(ValueError, match="threshold is -1"):
        detectOnDifference(difference, threshold=-1.0)
    with pytest.raises(ValueError, match="backgroundBin is -3"):
        detectOnDifference(difference, backgroundBin=-3)
    with pytest.raises(ValueError, match="the difference has no PSF"):
        detectOnDifference(difference.maskedImage)
    with pytest.raises(InputImagesError, match="an image of 100x200 pixels is given with a difference of 200x200"):
        detectOnDifference(difference, science=difference.subset(Box(500, -300, 100, 200)))
