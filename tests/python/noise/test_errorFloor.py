"""The error floor: its fit and its plane, against sums written out; what detection, scores and files make of it."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from psfmatch import (
    Exposure,
    GaussianPsf,
    InputImagesError,
    MaskedImage,
    _core,
    detectOnDifference,
    subtract,
)
from psfmatch.cli import main
from psfmatch.images import DEFAULT_BAD_PLANES, SIGMA_TO_FWHM
from psfmatch.kernels import PsfField
from psfmatch.noise import LitDifference
from psfmatch.noise.blankSky import findBlankSky
from psfmatch.quality import RULES
from psfmatch.transients import filterDifference, significanceImage

SIGMA = 1.3
FWHM = SIGMA * SIGMA_TO_FWHM
SIDE = 320


def star(x, y, side=SIDE):
    pixel = np.arange(side)
    profile = [np.exp(-0.5 * (pixel - at) ** 2 / SIGMA**2) for at in (y, x)]
    return np.outer(*profile) / (2 * np.pi * SIGMA**2)


def lattice():
    """Return places of stars: 81 on 320x320 pixels."""
    return [(24.0 + 34 * i + 0.3 * j, 24.0 + 34 * j - 0.2 * i) for i in range(9) for j in range(9)]


@pytest.fixture(scope="module")
def pair():
    """Template and science image of noise 1, and a sky of 50: stars differ by 5 % of their light, one standard one."""
    rng = np.random.default_rng(3)
    images = [50.0 + rng.standard_normal((SIDE, SIDE)) for _ in range(2)]
    # Levels of a Gaussian in random order: 5 % of them exactly, however few.
    ranks = (rng.permutation(81) + 0.5) / 81
    errors = 0.05 * np.sqrt(2.0) * np.array([_erfInverse(2 * rank - 1) for rank in ranks])
    for (x, y), error in zip(lattice(), errors, strict=True):
        flux = 10 ** rng.uniform(3.5, 4.5)
        images[0] += flux * star(x, y)
        images[1] += flux * (1.0 + error) * star(x, y)
    ones = np.ones((SIDE, SIDE))
    return [MaskedImage(image, variance=ones) for image in images]


def _erfInverse(value):
    from math import erf

    low, high = -6.0, 6.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if erf(middle) < value else (low, middle)
    return middle


@pytest.fixture(scope="module")
def difference(pair):
    template, science = pair
    return MaskedImage(science.image - template.image, variance=2 * np.ones((SIDE, SIDE)))


def profile():
    half = int(np.ceil(2.5 * SIGMA))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / SIGMA) ** 2)
    taps /= taps.sum()
    return np.outer(taps, taps)


def test_shareOfTheLight(pair, difference):
    found = LitDifference(difference, pair[1]).errorFloor(findBlankSky(difference), FWHM)
    # The 81 stars' levels are those of a Gaussian, to 1 %; noise and light off the middles add a few per cent.
    assert found.share == pytest.approx(0.05, rel=0.06)
    assert found.nSources == 81
    assert found.pull > 2.0
    # 1.17 over the root of some 500 places of sky.
    assert found.skyPull == pytest.approx(1.0, abs=0.12)
    assert "5." in found.sentence
    assert "81 sources" in found.sentence
    # With the share in the error, the width of the pulls is 1 at the same places: the fit's own definition.
    plane = LitDifference(difference, pair[1]).errorFloorPlane(found)
    g = profile()
    x, y = np.rint(lattice()).astype(int).T
    stamps = np.array([difference.image[j - 4 : j + 5, i - 4 : i + 5] for i, j in zip(x, y, strict=True)])
    flux = (stamps * g).sum(axis=(1, 2)) / (g**2).sum()
    error = np.sqrt(2.0 / (g**2).sum())
    pulls = flux / np.hypot(error, plane[y, x])
    assert 1.4826 * np.median(np.abs(pulls)) == pytest.approx(1.0, abs=0.2)


def test_noFloorWhereNoiseIsAllThereIs(pair, difference):
    rng = np.random.default_rng(8)
    noise = MaskedImage(np.sqrt(2.0) * rng.standard_normal((SIDE, SIDE)), variance=difference.variance)
    found = LitDifference(noise, pair[1]).errorFloor(findBlankSky(noise), FWHM)
    assert found.share == 0.0
    assert found.pull == pytest.approx(1.0, abs=3 * found.pullError)
    assert "Error floor: none" in found.sentence
    # Noise that is correlated has a wider filter on the sky too, and is no floor.
    smooth = sum(np.roll(noise.image, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 3.0
    correlated = MaskedImage(smooth, variance=difference.variance)
    found = LitDifference(correlated, pair[1]).errorFloor(findBlankSky(correlated), FWHM)
    assert found.skyPull > 1.8
    assert found.share == 0.0


def test_planeAgainstSumsWrittenOut(pair, difference):
    science = pair[1]
    image = science.copy()
    image.image[100, 100] = np.nan
    bad = difference.copy()
    bad.mask[60:63, 60:63] |= bad.mask.getPlaneBitMask("BAD")
    floor = dataclasses.replace(LitDifference(bad, image).errorFloor(findBlankSky(bad), FWHM), share=1.0)
    plane = LitDifference(bad, image, scale=0.5).errorFloorPlane(floor)
    g = profile()
    half = g.shape[0] // 2
    bits = image.mask.getPlaneBitMask(DEFAULT_BAD_PLANES, ignoreMissing=True)
    cells = _core.measureCells(
        image.image, image.image, np.asarray(image.mask), bits, isVariance=False, x0=0, y0=0
    )  # the image for the variance: all but the NaN is positive
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    sky = cells.at(x.ravel(), y.ravel()).reshape(SIDE, SIDE)
    assert sky == pytest.approx(50.0, abs=0.2)
    light = 0.5 * np.nan_to_num(np.asarray(image.image, float) - sky)
    change = np.where(bad.badPixels(("BAD",)), 0.0, np.asarray(bad.image, float))
    padded = [np.pad(values, half) for values in (light, change)]
    for x, y in ((24, 24), (100, 101), (61, 58), (0, 0), (SIDE - 1, 130), (159, 158)):
        sums = [(g * part[y : y + 2 * half + 1, x : x + 2 * half + 1]).sum() / (g**2).sum() for part in padded]
        expected = max(0.0, min(sums[0], sums[0] - sums[1]))
        # Sums in single precision, of values up to 1500 with weights of 21 in all.
        assert plane[y, x] == pytest.approx(expected, rel=1e-6, abs=1e-3)
    # What only one image shows is no light of both.
    new = 5000.0 * star(200.0, 210.0)
    image = MaskedImage(science.image + new, variance=science.variance)
    plane = LitDifference(MaskedImage(difference.image + new, variance=difference.variance), image).errorFloorPlane(
        floor
    )
    assert plane[210, 200] < 40.0
    # The other way round the difference is matched - image, and the light of both the same.
    turned = MaskedImage(-difference.image, variance=difference.variance)
    assert np.array_equal(
        LitDifference(turned, science, isMinuend=False).errorFloorPlane(floor),
        LitDifference(difference, science).errorFloorPlane(floor),
    )


def test_threads(pair, difference):
    sky = findBlankSky(difference)
    one, *others = (LitDifference(difference, pair[1], threads=n).errorFloor(sky, FWHM) for n in (1, 2, 7))
    planes = [LitDifference(difference, pair[1], threads=n).errorFloorPlane(one) for n in (1, 2, 7)]
    assert all(other == one for other in others)
    assert all(np.array_equal(plane, planes[0]) for plane in planes)


def test_nothingToTell(pair, difference):
    nan = MaskedImage(np.full((SIDE, SIDE), np.nan), variance=difference.variance)
    dot = MaskedImage(np.ones((1, 1)), variance=np.ones((1, 1)))
    masked = difference.copy()
    masked.mask[:] |= masked.mask.getPlaneBitMask("SAT")
    for image, other in ((nan, pair[1]), (difference, nan), (masked, pair[1]), (dot, dot)):
        found = LitDifference(image, other).errorFloor(findBlankSky(image), FWHM)
        assert found.share == 0.0
        assert found.nPlaces == 0
        assert "no source is bright enough" in found.sentence
        assert np.isfinite(LitDifference(image, other).errorFloorPlane(dataclasses.replace(found, share=0.1))).all()
    with pytest.raises(ValueError, match="must have one shape"):
        LitDifference(difference, dot).errorFloor(findBlankSky(difference), FWHM)
    with pytest.raises(ValueError, match="outside the difference"):
        LitDifference(dot, dot).errorFloor(findBlankSky(difference), FWHM)
    for fwhm in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="positive width"):
            LitDifference(difference, pair[1]).errorFloor(findBlankSky(difference), fwhm)


def test_significanceAndErrors(difference):
    psf = PsfField(GaussianPsf(SIGMA), difference.getBBox())
    floor = np.linspace(0.0, 300.0, SIDE, dtype=np.float32)[None, :] * np.ones((SIDE, 1), np.float32)
    exposure = Exposure(difference)
    (flux, error), (same, wider) = (
        filterDifference(exposure, GaussianPsf(SIGMA), floor=plane).fluxes() for plane in (None, floor)
    )
    # The variances of the engine are good to 1e-3.
    np.testing.assert_allclose(wider, np.hypot(error, floor), rtol=1e-3)
    np.testing.assert_allclose(same, flux, rtol=2e-3, atol=0.02)
    found = significanceImage(difference, psf, floor=floor)
    assert np.array_equal(
        significanceImage(difference, psf, floor=0 * floor).image, significanceImage(difference, psf).image
    )
    assert found.floor is floor
    without, with_ = (detectOnDifference(exposure, GaussianPsf(SIGMA), floor=plane) for plane in (None, floor))
    assert len(with_) < len(without)
    assert (without["errorFloor"] == 0.0).all()
    assert (with_["errorFloor"] > 0.0).all()
    for row in with_:
        nearest = int(np.argmin(np.hypot(without["x"] - row["x"], without["y"] - row["y"])))
        # What is left of the background is measured beside what was found.
        assert row["psfFlux"] == pytest.approx(without["psfFlux"][nearest], abs=0.1 * without["psfFluxErr"][nearest])
        expected = np.hypot(without["psfFluxErr"][nearest], row["errorFloor"])
        assert row["psfFluxErr"] == pytest.approx(expected, rel=1e-6)
        assert abs(row["significance"]) == pytest.approx(abs(row["psfFlux"]) / row["psfFluxErr"], rel=0.02)
    assert with_["errorFloor"].unit == with_["psfFlux"].unit
    with pytest.raises(InputImagesError, match=r"error floor of shape \(3, 3\)"):
        detectOnDifference(exposure, GaussianPsf(SIGMA), floor=floor[:3, :3])


@pytest.fixture(scope="module")
def result(pair):
    return subtract(*pair)


def test_frontDoor(pair, result):
    assert result.errorFloor.share == pytest.approx(0.05, rel=0.15)
    assert result.quality.errorFloor == result.errorFloor.share
    assert result.errorFloor.sentence in result.explain()
    # The grade is that of what is left, not of what the floor makes of it.
    assert any("off by 0.05" in reason or "off by 0.04" in reason for reason in result.quality.reasons)
    rule = next(rule for rule in RULES if rule.figure == "errorFloor")
    assert rule.grade(0.0) == "A"
    assert rule.grade(0.05) == "C"
    without, found = result.detect(floor=None), result.detect()
    assert len(without) > 40
    # A Gaussian's five standard deviations: nothing but the fit's error of the share.
    assert len(found) == 0
    score = result.score
    plain = dataclasses.replace(result, errorFloor=None).score
    x, y = np.rint(lattice()).astype(int).T
    assert np.abs(score.significance[y, x]).max() < 5.0 < np.abs(plain.significance[y, x]).max()
    sky = result.errorFloorPlane < 0.2  # of a noise of 7
    assert sky.mean() > 0.3
    np.testing.assert_allclose(score.significance[sky], plain.significance[sky], rtol=2e-3, atol=2e-3)
    scale = score.fluxScale**2
    np.testing.assert_allclose(
        score.score.variance / scale, plain.score.variance / scale + result.errorFloorPlane**2, rtol=4e-3
    )


def test_newSourceOnBlankSkyHasNoFloor(pair):
    template, science = pair
    new = 3000.0 * star(41.3, 41.1)
    result = subtract(template, MaskedImage(science.image + new, variance=science.variance))
    found = result.detect()
    row = found[np.hypot(found["x"] - 41.3, found["y"] - 41.1) < 1.0]
    assert len(row) == 1
    noise2 = row["psfFluxErr"][0] ** 2 - row["errorFloor"][0] ** 2
    # 5 % of what both images show there: the wings of stars 24 px away, and noise.
    assert row["errorFloor"][0] ** 2 < 0.02 * noise2


def test_files(result, tmp_path):
    path, out = tmp_path / "difference.fits", tmp_path / "sources.fits"
    result.writeFits(path)
    with fits.open(path) as hdus:
        assert np.array_equal(hdus["FLOOR"].data, result.errorFloorPlane)
        assert hdus["FLOOR"].header["EXTTYPE"] == "FLOOR"
    assert main(["detect", str(path), "-o", str(out), "--overwrite", "-q", "--psf-fwhm", str(FWHM)]) == 0
    assert len(Table.read(out)) == 0
    expected = detectOnDifference(Exposure.readFits(path), GaussianPsf(SIGMA))
    assert len(expected) > 40
    result.writeDecorrelated(tmp_path / "white.fits")
    with fits.open(tmp_path / "white.fits") as hdus:
        assert np.array_equal(hdus["FLOOR"].data, result.errorFloorPlane)
    # Without a floor there is no plane, and nothing changes.
    none = dataclasses.replace(result, errorFloor=dataclasses.replace(result.errorFloor, share=0.0))
    assert none.errorFloorPlane is None
    none.writeFits(path)
    with fits.open(path) as hdus:
        assert "FLOOR" not in hdus
    assert main(["detect", str(path), "-o", str(out), "--overwrite", "-q", "--psf-fwhm", str(FWHM)]) == 0
    assert len(Table.read(out)) == len(expected)
